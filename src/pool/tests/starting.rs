//! Pools whose handler is not always ready.

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::handler::Gate;

/// A handler that gives its pool's gate to the test.
#[derive(Default)]
struct Gated(Mutex<Option<Arc<dyn Gate>>>);

impl Handler for Gated {
    fn handle<'a>(&'a self, _: Request<Body>, _: &'a Facts) -> Reply<'a> {
        Reply::Now(Ok(Response::new(Body::empty())))
    }

    fn attach(&self, gate: Arc<dyn Gate>) {
        *self.0.lock().unwrap() = Some(gate);
    }
}

fn gated(concurrency: usize, queue_length: usize) -> (Arc<Pool>, Arc<dyn Gate>) {
    let handler = Arc::new(Gated::default());
    let config = config(concurrency, queue_length);
    let pool = Pool::new(&config, Arc::clone(&handler) as Arc<dyn Handler>, 1);
    let gate = handler.0.lock().unwrap().clone();
    (Arc::new(pool), gate.expect("the pool gives it"))
}

#[tokio::test]
async fn while_a_pool_is_starting_whoever_comes_waits_in_turn_and_the_queue_keeps_its_bound() {
    let (pool, gate) = gated(2, 3);
    gate.hold();
    let mut queue: Vec<_> = (0..3).map(|_| waiting(pool.enter())).collect();
    assert_eq!(refused(pool.enter()), Reason::QueueFull);
    gate.wanted().notified().await;
    gate.open();
    let first = now(&mut queue[0]).await.unwrap().unwrap();
    let _second = now(&mut queue[1]).await.unwrap().unwrap();
    assert!(now(&mut queue[2]).await.is_none());
    drop(first);
    assert!(now(&mut queue[2]).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_pool_without_a_queue_is_wanted_all_the_same() {
    let (pool, gate) = gated(1, 0);
    gate.hold();
    assert_eq!(refused(pool.enter()), Reason::QueueFull);
    gate.wanted().notified().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_start_is_refused_when_the_queue_s_time_is_over() {
    let (pool, gate) = gated(1, 1);
    gate.hold();
    let refusal = waiting(pool.enter()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TimerReqQueue);
}

#[tokio::test]
async fn a_start_that_failed_lets_go_those_who_wait_with_its_reason_and_others_wait_again() {
    let (pool, gate) = gated(1, 1);
    gate.hold();
    let first = waiting(pool.enter());
    gate.let_go("worker 1 was not ready in time".into());
    let refusal = first.await.unwrap_err();
    assert_eq!(refusal.reason, Reason::AppOffline);
    assert!(
        refusal.detail.ends_with("worker 1 was not ready in time"),
        "{refusal}"
    );
    let mut second = waiting(pool.enter());
    gate.open();
    assert!(now(&mut second).await.unwrap().is_ok());
}

#[tokio::test]
async fn who_is_refused_by_a_pool_whose_application_fails_is_told_why() {
    let (pool, gate) = gated(1, 1);
    gate.offline("worker 5 ended by itself with status 1".into());
    match pool.enter() {
        Entry::Refused(refusal) => assert!(refusal.detail.contains("status 1"), "{refusal}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn limits_that_are_set_while_a_pool_is_starting_hold_once_it_has_started() {
    let (pool, gate) = gated(1, 5);
    gate.hold();
    let mut queue: Vec<_> = (0..3).map(|_| waiting(pool.enter())).collect();
    pool.reconfigure(&config(2, 5));
    assert!(now(&mut queue[0]).await.is_none());
    gate.open();
    let _first = now(&mut queue[0]).await.unwrap().unwrap();
    let _second = now(&mut queue[1]).await.unwrap().unwrap();
    assert!(now(&mut queue[2]).await.is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Enter,
    Finish(usize),
    Leave(usize),
    Hold,
    Open,
    Stop,
    LetGo,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Enter),
        3 => (0usize..8).prop_map(Step::Finish),
        2 => (0usize..8).prop_map(Step::Leave),
        2 => Just(Step::Hold),
        2 => Just(Step::Open),
        1 => Just(Step::Stop),
        1 => Just(Step::LetGo),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #[test]
    fn no_slot_is_lost_however_often_workers_come_and_go(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (pool, gate) = gated(3, 4);
            let (mut running, mut queue) = (Vec::new(), Vec::new());
            let mut open = true;
            for step in steps {
                match step {
                    Step::Enter => match pool.enter() {
                        Entry::Admitted(permit) => {
                            assert!(open, "admitted by a pool that is not open");
                            running.push(permit);
                        }
                        Entry::Waiting(waiting) => queue.push(waiting),
                        Entry::Refused(_) => {}
                    },
                    Step::Finish(at) if !running.is_empty() => {
                        running.remove(at % running.len());
                    }
                    Step::Leave(at) if !queue.is_empty() => {
                        queue.remove(at % queue.len());
                    }
                    Step::Finish(_) | Step::Leave(_) => {}
                    Step::Hold => (open, _) = (false, gate.hold()),
                    Step::Open => (open, _) = (true, gate.open()),
                    Step::Stop => (open, _) = (false, gate.stop()),
                    Step::LetGo => gate.let_go("why".into()),
                }
                let mut still = Vec::new();
                for mut waiting in queue.drain(..) {
                    match now(&mut waiting).await {
                        Some(Ok(permit)) => running.push(permit),
                        Some(Err(_)) => {}
                        None => still.push(waiting),
                    }
                }
                queue = still;
                assert!(running.len() <= 3 && queue.len() <= 4);
            }
            gate.open();
            drop((running, queue));
            let all: Vec<_> = (0..3).map(|_| admitted(pool.enter())).collect();
            assert_eq!(running_and_waiting(&pool), (3, 0));
            drop(all);
            assert_eq!(running_and_waiting(&pool), (0, 0));
        });
    }
}
