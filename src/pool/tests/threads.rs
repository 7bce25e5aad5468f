//! Many threads at one pool.

use std::sync::Barrier;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use super::*;
use crate::model::enter_data_thread;

const THREADS: usize = 4;

/// Watches from outside how many hold a slot at once.
#[derive(Default)]
struct Watched {
    running: AtomicU32,
    most: AtomicU32,
    served: AtomicU32,
    refused: AtomicU32,
}

impl Watched {
    async fn work(&self, permit: Permit, turns: u32) {
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        self.running.fetch_sub(1, SeqCst);
        self.served.fetch_add(1, SeqCst);
        drop(permit);
    }

    /// One request, from its arrival to its end.
    async fn request(&self, pool: &Pool, turns: u32) {
        match pool.enter() {
            Entry::Admitted(permit) => self.work(permit, turns).await,
            Entry::Waiting(waiting) => {
                let permit = waiting.await.expect("the timeout is long");
                self.work(permit, turns).await;
            }
            Entry::Refused(refusal) => {
                assert_eq!(refusal.reason, Reason::QueueFull);
                self.refused.fetch_add(1, SeqCst);
            }
        }
    }
}

fn shared(concurrency: usize, queue_length: usize) -> Arc<Pool> {
    let config = config(concurrency, queue_length);
    Arc::new(Pool::new(&config, Arc::new(Nothing), THREADS))
}

/// Runs `body` on each of the data threads, each with a runtime of its own.
fn on_all_threads<F: Future<Output = ()>>(body: impl Fn(usize) -> F + Sync) {
    thread::scope(|scope| {
        for index in 0..THREADS {
            let body = &body;
            scope.spawn(move || {
                enter_data_thread(index);
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                tokio::task::LocalSet::new().block_on(&runtime, body(index));
            });
        }
    });
}

/// A sequence of numbers that differs from thread to thread and is the same in every run.
fn dice(seed: usize) -> impl FnMut(u64) -> u64 {
    let mut state = seed as u64 * 2 + 1;
    move |sides| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    }
}

#[test]
fn no_thread_gets_past_the_limits_and_no_slot_is_lost() {
    let (pool, watched) = (shared(5, 10), Arc::new(Watched::default()));
    on_all_threads(|index| {
        let (pool, watched) = (Arc::clone(&pool), Arc::clone(&watched));
        async move {
            let mut dice = dice(index);
            let clients: Vec<_> = (0..12)
                .map(|_| {
                    let (pool, watched) = (Arc::clone(&pool), Arc::clone(&watched));
                    let turns = dice(3) as u32;
                    tokio::task::spawn_local(async move {
                        for _ in 0..500 {
                            watched.request(&pool, turns).await;
                            tokio::task::yield_now().await;
                        }
                    })
                })
                .collect();
            for client in clients {
                client.await.unwrap();
            }
        }
    });
    let (served, refused) = (watched.served.load(SeqCst), watched.refused.load(SeqCst));
    assert!(watched.most.load(SeqCst) <= 5);
    assert_eq!(served + refused, THREADS as u32 * 12 * 500);
    let counts = pool.counts();
    assert_eq!((counts.running, counts.waiting), (0, 0));
    assert_eq!(counts.arrived, u64::from(served + refused));
    assert_eq!(counts.rejected, u64::from(refused));
}

#[test]
fn a_hundred_at_once_from_all_threads_are_fifteen_served_and_eighty_five_refused() {
    for _ in 0..50 {
        let (pool, watched) = (shared(5, 10), Arc::new(Watched::default()));
        let (start, entered) = (Barrier::new(THREADS), Barrier::new(THREADS));
        on_all_threads(|_| {
            start.wait();
            let entries: Vec<_> = (0..100 / THREADS).map(|_| pool.enter()).collect();
            entered.wait();
            let watched = Arc::clone(&watched);
            async move {
                let work = entries.into_iter().map(|entry| async {
                    match entry {
                        Entry::Admitted(permit) => watched.work(permit, 2).await,
                        Entry::Waiting(waiting) => watched.work(waiting.await.unwrap(), 2).await,
                        Entry::Refused(_) => drop(watched.refused.fetch_add(1, SeqCst)),
                    }
                });
                futures_util::future::join_all(work).await;
            }
        });
        let (served, refused) = (watched.served.load(SeqCst), watched.refused.load(SeqCst));
        assert_eq!((served, refused), (15, 85));
        assert!(watched.most.load(SeqCst) <= 5);
    }
}

/// Everything at once, with nothing to slow it down: arrivals, ends, waits given up before and after their slot came, and
/// limits that change all the while.
#[test]
fn nothing_is_lost_while_requests_go_away_and_limits_change() {
    let pool = shared(2, 6);
    let (granted, over) = (AtomicU32::new(0), AtomicU32::new(0));
    on_all_threads(|index| {
        let (pool, granted, over) = (Arc::clone(&pool), &granted, &over);
        async move {
            let mut dice = dice(index);
            let (mut permits, mut queue) = (Vec::new(), Vec::new());
            for _ in 0..20_000 {
                match dice(10) {
                    0..4 => match pool.enter() {
                        Entry::Admitted(permit) => permits.push(permit),
                        Entry::Waiting(waiting) => queue.push(waiting),
                        Entry::Refused(_) => {}
                    },
                    4..7 => drop(permits.pop()),
                    7 if !queue.is_empty() => {
                        let nth = dice(queue.len() as u64) as usize;
                        drop(queue.swap_remove(nth));
                    }
                    8 if index == 0 && dice(20) == 0 => {
                        pool.reconfigure(&config(1 + dice(4) as usize, dice(8) as usize));
                    }
                    _ => {
                        if let Some(mut waiting) = queue.pop() {
                            match now(&mut waiting).await {
                                None => queue.push(waiting),
                                Some(permit) => permits.push(permit.unwrap()),
                            }
                            granted.fetch_add(1, SeqCst);
                        }
                    }
                }
                // Slots are bounded by the highest limit that there ever was.
                if pool.counts().running > 4 {
                    over.fetch_add(1, SeqCst);
                }
            }
            // Every request that still waits is served once those before it have ended, in whatever order that is.
            permits.clear();
            let rest = queue.into_iter().map(|waiting| async {
                drop(waiting.await.expect("the timeout is long"));
            });
            futures_util::future::join_all(rest).await;
        }
    });
    assert_eq!(over.load(SeqCst), 0);
    assert!(granted.load(SeqCst) > 0);
    assert_eq!(running_and_waiting(&pool), (0, 0));
    drop(admitted(pool.enter()));
}

/// Stopping and starting never leaves anybody in the queue who is not told.
#[test]
fn nobody_is_forgotten_while_a_pool_stops_and_starts() {
    let pool = shared(2, 1000);
    let answered = AtomicU32::new(0);
    on_all_threads(|index| {
        let (pool, answered) = (Arc::clone(&pool), &answered);
        async move {
            for turn in 0..2_000 {
                if index == 0 {
                    let states = [PoolState::Stopped, PoolState::Started];
                    pool.set_state(states[turn % 2]);
                    continue;
                }
                let outcome = match pool.enter() {
                    Entry::Admitted(permit) => Ok(permit),
                    Entry::Waiting(waiting) => waiting.await,
                    Entry::Refused(refusal) => Err(refusal),
                };
                if let Err(refusal) = outcome {
                    assert_eq!(refusal.reason, Reason::AppShutdown);
                }
                answered.fetch_add(1, SeqCst);
            }
        }
    });
    assert_eq!(answered.load(SeqCst), (THREADS as u32 - 1) * 2_000);
    assert_eq!(running_and_waiting(&pool), (0, 0));
}
