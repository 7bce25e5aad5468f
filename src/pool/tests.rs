//! One pool on one thread; threads at once are in `threads`.

mod starting;
mod threads;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use http::{Request, Response};

use super::*;
use crate::config::{Place, Pool as PoolConfig};
use crate::handler::Reply;
use crate::model::{Body, Facts};

struct Nothing;

impl Handler for Nothing {
    fn handle<'a>(&'a self, _: Request<Body>, _: &'a Facts) -> Reply<'a> {
        Reply::Now(Ok(Response::new(Body::empty())))
    }
}

fn config(concurrency: usize, queue_length: usize) -> PoolConfig {
    PoolConfig {
        name: "shop".to_owned(),
        queue_length,
        concurrency,
        queue_timeout: Duration::from_secs(30),
        on_overflow: Overflow::Respond503,
        handler: config::Handler::Library,
        place: Place::default(),
    }
}

fn pool(concurrency: usize, queue_length: usize) -> Arc<Pool> {
    Arc::new(Pool::new(
        &config(concurrency, queue_length),
        Arc::new(Nothing),
        1,
    ))
}

fn admitted(entry: Entry) -> Permit {
    match entry {
        Entry::Admitted(permit) => permit,
        other => panic!("not admitted: {other:?}"),
    }
}

fn waiting(entry: Entry) -> Waiting {
    match entry {
        Entry::Waiting(waiting) => waiting,
        other => panic!("not queued: {other:?}"),
    }
}

fn refused(entry: Entry) -> Reason {
    match entry {
        Entry::Refused(refusal) => refusal.reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// What a wait has come to by now, if it is over.
async fn now(waiting: &mut Waiting) -> Option<Result<Permit, Reason>> {
    let mut waiting = pin!(waiting);
    poll_fn(|cx| {
        Poll::Ready(match waiting.as_mut().poll(cx) {
            Poll::Ready(outcome) => Some(outcome.map_err(|refusal| refusal.reason)),
            Poll::Pending => None,
        })
    })
    .await
}

fn running_and_waiting(pool: &Pool) -> (u32, u32) {
    let counts = pool.counts();
    (counts.running, counts.waiting)
}

#[test]
fn what_a_request_holds_can_sit_in_a_body_on_any_thread() {
    fn sendable<T: Send + 'static>() {}
    sendable::<Permit>();
    sendable::<Waiting>();
    sendable::<Entry>();
}

#[test]
fn a_hundred_arrivals_at_once_are_fifteen_admitted_and_eighty_five_refused() {
    let pool = pool(5, 10);
    let (mut permits, mut queue, mut full) = (Vec::new(), Vec::new(), 0);
    for _ in 0..100 {
        match pool.enter() {
            Entry::Admitted(permit) => permits.push(permit),
            Entry::Waiting(waiting) => queue.push(waiting),
            Entry::Refused(refusal) => {
                assert_eq!(refusal.reason, Reason::QueueFull);
                full += 1;
            }
        }
    }
    assert_eq!((permits.len(), queue.len(), full), (5, 10, 85));
    assert_eq!(running_and_waiting(&pool), (5, 10));
    let counts = pool.counts();
    assert_eq!(
        (counts.arrived, counts.queued, counts.rejected),
        (100, 10, 85)
    );
    assert!(counts.oldest_wait.is_some());
}

#[tokio::test]
async fn slots_go_to_those_that_wait_in_the_order_they_came() {
    let pool = pool(1, 3);
    let mut permit = admitted(pool.enter());
    let mut queue: Vec<_> = (0..3).map(|_| waiting(pool.enter())).collect();
    for _ in 0..3 {
        assert!(now(&mut queue[0]).await.is_none());
        drop(permit);
        for later in &mut queue[1..] {
            assert!(now(later).await.is_none(), "somebody was overtaken");
        }
        permit = now(&mut queue.remove(0)).await.unwrap().unwrap();
    }
    drop(permit);
    assert_eq!(running_and_waiting(&pool), (0, 0));
}

#[tokio::test]
async fn an_arrival_does_not_overtake_a_slot_that_is_handed_on() {
    let pool = pool(1, 2);
    let permit = admitted(pool.enter());
    let mut first = waiting(pool.enter());
    drop(permit);
    // The first has its slot, though it has not been told yet.
    let mut second = waiting(pool.enter());
    assert!(now(&mut second).await.is_none());
    assert!(now(&mut first).await.unwrap().is_ok());
    assert!(now(&mut second).await.unwrap().is_ok());
}

#[tokio::test]
async fn who_goes_away_leaves_the_place_to_a_later_arrival() {
    let pool = pool(1, 2);
    let permit = admitted(pool.enter());
    let gone = waiting(pool.enter());
    let mut second = waiting(pool.enter());
    assert_eq!(refused(pool.enter()), Reason::QueueFull);
    drop(gone);
    assert_eq!(running_and_waiting(&pool), (1, 1));
    let mut third = waiting(pool.enter());
    drop(permit);
    assert!(now(&mut third).await.is_none());
    assert!(now(&mut second).await.unwrap().is_ok());
    assert!(now(&mut third).await.unwrap().is_ok());
    assert_eq!(pool.counts().abandoned, 1);
}

#[tokio::test]
async fn a_slot_that_nobody_takes_any_more_goes_to_the_next() {
    let pool = pool(1, 2);
    let permit = admitted(pool.enter());
    let handed = waiting(pool.enter());
    let mut next = waiting(pool.enter());
    drop(permit);
    // The slot lies in this wait, unread.
    drop(handed);
    drop(now(&mut next).await.unwrap().unwrap());
    assert_eq!(running_and_waiting(&pool), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_longer_than_the_timeout_is_refused() {
    let pool = pool(1, 1);
    let _permit = admitted(pool.enter());
    let began = tokio::time::Instant::now();
    let refusal = waiting(pool.enter()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TimerReqQueue);
    assert!(refusal.detail.contains("30s"), "{}", refusal.detail);
    assert!(began.elapsed() >= Duration::from_secs(30));
    assert_eq!(running_and_waiting(&pool), (1, 0));
    let counts = pool.counts();
    assert_eq!((counts.timed_out, counts.abandoned), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_comes_with_the_timeout_is_taken() {
    let pool = pool(1, 1);
    let permit = admitted(pool.enter());
    let mut last = waiting(pool.enter());
    assert!(now(&mut last).await.is_none());
    drop(permit);
    tokio::time::advance(Duration::from_secs(31)).await;
    assert!(now(&mut last).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_timeout_beyond_the_clock_never_comes() {
    let mut config = config(1, 1);
    config.queue_timeout = Duration::MAX;
    let pool = Pool::new(&config, Arc::new(Nothing), 1);
    let permit = admitted(pool.enter());
    let mut patient = waiting(pool.enter());
    assert!(now(&mut patient).await.is_none());
    drop(permit);
    assert!(now(&mut patient).await.unwrap().is_ok());
}

#[tokio::test]
async fn stopping_lets_those_that_wait_go_and_refuses_whoever_comes() {
    for (state, reason) in [
        (PoolState::Stopped, Reason::AppShutdown),
        (PoolState::Disabled, Reason::Disabled),
        (PoolState::Offline, Reason::AppOffline),
    ] {
        let pool = pool(1, 2);
        let permit = admitted(pool.enter());
        let mut queue = [waiting(pool.enter()), waiting(pool.enter())];
        pool.set_state(state);
        assert_eq!(pool.state(), state);
        for waiting in &mut queue {
            assert_eq!(now(waiting).await.unwrap().unwrap_err(), reason);
        }
        assert_eq!(refused(pool.enter()), reason);
        assert_eq!(
            running_and_waiting(&pool),
            (1, 0),
            "who runs is left to end"
        );
        drop(permit);
        pool.set_state(PoolState::Started);
        drop(admitted(pool.enter()));
        let counts = pool.counts();
        assert_eq!((counts.turned_away, counts.rejected), (1, 0));
    }
}

#[tokio::test]
async fn more_slots_wake_those_that_wait() {
    let pool = pool(1, 3);
    let _running = admitted(pool.enter());
    let mut queue: Vec<_> = (0..3).map(|_| waiting(pool.enter())).collect();
    pool.reconfigure(&config(3, 3));
    let first = now(&mut queue[0]).await.unwrap().unwrap();
    let _second = now(&mut queue[1]).await.unwrap().unwrap();
    assert!(now(&mut queue[2]).await.is_none());
    drop(first);
    assert!(now(&mut queue[2]).await.unwrap().is_ok());
}

#[tokio::test]
async fn fewer_slots_hold_once_enough_have_ended() {
    let pool = pool(3, 1);
    let mut running: Vec<_> = (0..3).map(|_| admitted(pool.enter())).collect();
    let mut last = waiting(pool.enter());
    pool.reconfigure(&config(1, 0));
    assert_eq!(refused(pool.enter()), Reason::QueueFull);
    running.truncate(1);
    assert!(now(&mut last).await.is_none());
    assert_eq!(running_and_waiting(&pool), (1, 1));
    running.clear();
    assert!(now(&mut last).await.unwrap().is_ok());
    assert_eq!(running_and_waiting(&pool), (0, 0));
}

#[tokio::test]
async fn another_timeout_and_overflow_hold_for_those_that_come_later() {
    let pool = pool(1, 2);
    let _permit = admitted(pool.enter());
    let mut early = waiting(pool.enter());
    assert_eq!(pool.on_overflow(), Overflow::Respond503);
    let mut changed = config(1, 2);
    changed.queue_timeout = Duration::ZERO;
    changed.on_overflow = Overflow::Reset;
    pool.reconfigure(&changed);
    assert_eq!(pool.on_overflow(), Overflow::Reset);
    let late = waiting(pool.enter()).await.unwrap_err();
    assert_eq!(late.reason, Reason::TimerReqQueue);
    assert!(now(&mut early).await.is_none());
}

#[test]
fn a_long_queue_that_is_gone_costs_no_stack() {
    let pool = pool(1, 200_000);
    let permit = admitted(pool.enter());
    let queue: Vec<_> = (0..200_000).map(|_| waiting(pool.enter())).collect();
    // The slot passes through every wait, as each is dropped with the slot in it.
    drop(permit);
    drop(queue);
    assert_eq!(running_and_waiting(&pool), (0, 0));
}

#[test]
fn a_pool_that_is_gone_lets_its_requests_end() {
    let pool = pool(1, 1);
    let permit = admitted(pool.enter());
    let queued = waiting(pool.enter());
    drop(pool);
    drop(permit);
    drop(queued);
}

proptest::proptest! {
    #[test]
    fn what_is_foreseen_is_what_happens(
        slots in 1_usize..4,
        places in 0_usize..4,
        come in 0_usize..9,
        gone in 0_usize..9,
        state in 0_u8..5,
    ) {
        let pool = pool(slots, places);
        let mut entries: Vec<Entry> = (0..come).map(|_| pool.enter()).collect();
        entries.drain(..gone.min(come));
        let states = [
            PoolState::Started,
            PoolState::Starting,
            PoolState::Stopped,
            PoolState::Disabled,
            PoolState::Offline,
        ];
        pool.set_state(states[usize::from(state)]);
        let before = pool.counts();
        let prospect = pool.prospect();
        let after = pool.counts();
        proptest::prop_assert_eq!((before.arrived, before.rejected), (after.arrived, after.rejected));
        proptest::prop_assert_eq!((prospect.running, prospect.waiting), (after.running, after.waiting));
        match (prospect.entry, pool.enter()) {
            (Foreseen::Admitted, Entry::Admitted(_)) => {}
            (Foreseen::Waiting { place, timeout }, Entry::Waiting(waiting)) => {
                proptest::prop_assert_eq!(place, waiting.place());
                proptest::prop_assert_eq!(timeout, Duration::from_secs(30));
            }
            (Foreseen::Refused(foreseen), Entry::Refused(refused)) => {
                proptest::prop_assert_eq!((foreseen.reason, foreseen.detail), (refused.reason, refused.detail));
            }
            (foreseen, entry) => panic!("{foreseen:?} was foreseen of {entry:?}"),
        }
    }
}
