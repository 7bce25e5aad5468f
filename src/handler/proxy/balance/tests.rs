//! Which upstream is chosen, by what was told of all of them.

use proptest::prelude::*;
use tokio::time::advance;

use http::StatusCode;

use super::*;
use crate::config::{Balance, Member};
use crate::handler::Outlook;
use crate::model::Took;

const SECOND: Duration = Duration::from_secs(1);

fn balancer(count: usize, change: impl FnOnce(&mut Balance)) -> Balancer {
    let mut config = Balance::plain(count);
    change(&mut config);
    let names = (0..count).map(|index| format!("http://10.0.0.{index}"));
    Balancer::new(&config, names.collect(), 1).expect("a balancer")
}

fn wish() -> Wish {
    Wish {
        repeatable: true,
        ..Wish::default()
    }
}

fn took() -> Took {
    Took::default()
}

fn bad() -> Unwell {
    Unwell::from("bad".to_owned())
}

fn health() -> config::Health {
    config::Health {
        path: "/".into(),
        host: String::new(),
        interval: SECOND,
        jitter: 0,
        timeout: SECOND,
        statuses: Vec::new(),
        body: String::new(),
        healthy_after: 1,
        unhealthy_after: 1,
    }
}

fn down() -> Refusal {
    Refusal::new(Reason::UpstreamConnect, "nobody is there")
}

/// Sends a request; how it ends `answers` says of the upstream that was chosen.
fn send(balancer: &Balancer, wish: &Wish, answers: impl Fn(usize) -> bool) -> usize {
    let mut chosen = balancer
        .choose(wish)
        .unwrap_or_else(|_| panic!("there is room"));
    match answers(chosen.upstream) {
        true => chosen.answered(StatusCode::OK, took()),
        false => chosen.failed(&down()),
    }
    chosen.upstream
}

fn counts(balancer: &Balancer, requests: usize, answers: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut counts = vec![0; balancer.config.members.len()];
    for _ in 0..requests {
        counts[send(balancer, &wish(), &answers)] += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_three_times_is_left_alone_and_then_tried_once() {
    let balancer = balancer(3, |config| config.slow_start = Duration::ZERO);
    assert_eq!(counts(&balancer, 30, |index| index != 1)[1], 3);
    advance(10 * SECOND).await;
    // Tried, and still gone: for twice as long.
    assert_eq!(counts(&balancer, 30, |index| index != 1)[1], 1);
    advance(19 * SECOND).await;
    assert_eq!(counts(&balancer, 30, |index| index != 1)[1], 0);
    advance(SECOND).await;
    assert!(
        counts(&balancer, 31, |_| true)
            .iter()
            .all(|count| *count >= 10)
    );
}

#[tokio::test(start_paused = true)]
async fn an_outlook_names_who_may_be_asked_and_how_who_fails_does() {
    let balancer = balancer(3, |config| config.members[2].backup = true);
    let takes = || -> Vec<bool> { balancer.state().iter().map(|it| it.takes).collect() };
    let reason = |index: usize| {
        let failure = balancer.state()[index].last_failure.clone();
        failure.and_then(|it| it.reason)
    };
    assert_eq!(takes(), [true, true, false]);
    // Ejected: not asked, until its time to be tried has come.
    counts(&balancer, 10, |index| index != 1);
    assert_eq!(takes(), [true, false, false]);
    assert_eq!(reason(1), Some(Reason::UpstreamConnect));
    advance(10 * SECOND).await;
    assert_eq!(takes(), [true, true, false]);
    // What a check finds is how it fails now; one that answers is not refused.
    let rules = health();
    balancer.checked(0, Err(&bad()), &rules);
    balancer.checked(1, Err(&bad()), &rules);
    assert_eq!(takes(), [false, false, true]);
    assert_eq!(reason(1), None);
    balancer.checked(2, Err(&bad()), &rules);
    // Nobody is well: all are asked that are no backups.
    assert_eq!(takes(), [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn an_outlook_is_what_a_request_finds_of_room() {
    let balancer = balancer(1, |config| {
        config.members[0].max_connections = Some(1);
        config.queue.length = 1;
    });
    assert_eq!(balancer.outlook().ok(), Some(Outlook::Ready));
    let held = balancer
        .choose(&wish())
        .unwrap_or_else(|_| panic!("there is room"));
    assert_eq!(balancer.outlook().ok(), Some(Outlook::Waits));
    let full = || balancer.choose(&wish()).err().expect("no room");
    let waiting = balancer.wait(full());
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let foreseen = balancer.outlook().expect_err("no place");
    let refused = balancer.wait(full()).await.err().expect("no place");
    assert_eq!(
        (foreseen.reason, foreseen.detail),
        (refused.reason, refused.detail)
    );
    drop(held);
    assert!(waiting.await.is_ok());
    assert_eq!(balancer.outlook().ok(), Some(Outlook::Ready));
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_repeated_tries_no_upstream_out() {
    let balancer = balancer(2, |_| {});
    counts(&balancer, 10, |index| index == 0);
    advance(20 * SECOND).await;
    let post = Wish::default();
    assert!((0..10).all(|_| send(&balancer, &post, |_| true) == 0));
    assert_eq!(send(&balancer, &wish(), |_| true), 1);
}

#[tokio::test(start_paused = true)]
async fn nor_does_it_by_hash_when_nobody_is_usable() {
    let policy = Policy::Hash(HashBy::Client);
    let balancer = balancer(2, |config| config.policy = policy);
    let key = |repeatable| Wish {
        key: Some(7),
        repeatable,
        ..Wish::default()
    };
    let health = health();
    let owner = (0..3)
        .map(|_| send(&balancer, &key(true), |_| false))
        .last();
    let owner = owner.expect("three requests");
    balancer.checked(1 - owner, Err(&bad()), &health);
    advance(20 * SECOND).await;
    let is_try = |repeatable| {
        balancer
            .choose(&key(repeatable))
            .is_ok_and(|it| it.is_try())
    };
    assert!(!is_try(false));
    assert!(is_try(true));
}

#[tokio::test(start_paused = true)]
async fn the_last_one_is_never_ejected() {
    let balancer = balancer(2, |_| {});
    let counts = counts(&balancer, 100, |_| false);
    assert_eq!(counts.iter().sum::<usize>(), 100);
    let states: Vec<_> = balancer.state().into_iter().map(|it| it.state).collect();
    assert_eq!(states.iter().filter(|state| **state == "up").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn backups_are_used_only_when_no_other_is_usable() {
    let balancer = balancer(3, |config| config.members[2].backup = true);
    assert_eq!(counts(&balancer, 10, |_| true), [5, 5, 0]);
    counts(&balancer, 10, |index| index == 2);
    assert_eq!(counts(&balancer, 10, |index| index == 2), [0, 0, 10]);
    advance(10 * SECOND).await;
    // The first that comes finds out that one is back, the second of the other.
    assert_eq!(counts(&balancer, 10, |_| true)[2], 0);
}

#[tokio::test(start_paused = true)]
async fn when_too_few_are_left_all_are_used() {
    let balancer = balancer(10, |config| config.panic_below = 50);
    let dead = counts(&balancer, 200, |index| index < 4);
    // The four that work are less than half: the others get their share again.
    assert!(dead[4..].iter().all(|count| *count >= 9), "{dead:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_back_gets_its_share_little_by_little() {
    let balancer = balancer(2, |_| {});
    counts(&balancer, 10, |index| index == 0);
    advance(10 * SECOND).await;
    assert_eq!(send(&balancer, &wish(), |_| true), 1);
    let mut shares = Vec::new();
    for _ in 0..3 {
        shares.push(counts(&balancer, 220, |_| true)[1]);
        advance(5 * SECOND).await;
    }
    // A tenth of the other's, half of it, and as much.
    assert!(shares[0].abs_diff(20) < 3, "{shares:?}");
    assert!(shares[1].abs_diff(73) < 3, "{shares:?}");
    assert_eq!(shares[2], 110);
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_with_errors_alone_is_ejected_and_never_half_of_all() {
    let balancer = balancer(4, |_| {});
    let ejected = |bad: usize| {
        for _ in 0..1000 {
            let Ok(mut chosen) = balancer.choose(&wish()) else {
                panic!("there is room");
            };
            let status = match chosen.upstream < bad {
                true => StatusCode::INTERNAL_SERVER_ERROR,
                false => StatusCode::OK,
            };
            chosen.answered(status, took());
        }
        let states = balancer.state();
        states.iter().filter(|it| it.state == "ejected").count()
    };
    assert_eq!(ejected(1), 1);
    assert_eq!(ejected(4), 2);
}

#[tokio::test(start_paused = true)]
async fn one_of_weight_0_keeps_its_own_and_gets_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let balancer = balancer(2, |config| {
        config.members[0].weight = 0;
        config.sticky = Some(config::Sticky {
            cookie: "a".into(),
            max_age: Duration::ZERO,
            path: "/".into(),
            same_site: config::SameSite::Lax,
            key_file: Some(folder.path().join("key")),
        });
    });
    // Whoever only builds a proxy, to check a configuration, makes no key.
    assert!(!folder.path().join("key").exists());
    assert_eq!(counts(&balancer, 10, |_| true), [0, 10]);
    let stays = Wish {
        stays: Some(Said {
            upstream: 0,
            aging: false,
        }),
        ..wish()
    };
    assert_eq!(send(&balancer, &stays, |_| true), 0);
    // It answers no more: its clients go elsewhere, and are told so.
    for _ in 0..3 {
        send(&balancer, &stays, |_| false);
    }
    assert_eq!(send(&balancer, &stays, |_| true), 1);
    let mut response = Response::new(());
    balancer.mark(&mut response, 1, &stays);
    assert!(response.headers().contains_key(SET_COOKIE));
    assert!(folder.path().join("key").exists());
}

#[tokio::test(start_paused = true)]
async fn keys_stay_while_their_upstream_does_and_come_back_with_it() {
    let balancer = balancer(4, |config| config.policy = Policy::Hash(HashBy::Path));
    let of = |key: u64, answers: fn(usize) -> bool| {
        let wish = Wish {
            key: Some(ring::mix(key)),
            ..wish()
        };
        send(&balancer, &wish, answers)
    };
    let before: Vec<_> = (0..100).map(|key| of(key, |_| true)).collect();
    for _ in 0..3 {
        (0..100).for_each(|key| {
            of(key, |index| index != 2);
        });
    }
    let away: Vec<_> = (0..100).map(|key| of(key, |_| true)).collect();
    for (before, away) in before.iter().zip(&away) {
        assert!(*away != 2 && (*before == 2 || before == away));
    }
    advance(60 * SECOND).await;
    let after: Vec<_> = (0..100).map(|key| of(key, |_| true)).collect();
    assert_eq!(before, after);
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_to_another_one_each_time() {
    let balancer = balancer(3, |config| config.members[2].backup = true);
    let mut sent_to = Vec::new();
    while sent_to.len() < 3 {
        let Ok(chosen) = balancer.choose_but(&wish(), &sent_to) else {
            panic!("there is room");
        };
        sent_to.push(chosen.upstream);
    }
    assert_eq!(sent_to[2], 2, "the backup last");
    assert!(!balancer.has_other(&sent_to));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_full_is_passed_over() {
    let balancer = balancer(2, |config| config.members[0].max_connections = Some(1));
    let choose = || balancer.choose(&wish());
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(choose().unwrap_or_else(|_| panic!("there is room")));
    }
    let first = held.iter().filter(|chosen| chosen.upstream == 0).count();
    assert_eq!(first, 1);
    held.clear();
    assert_eq!(balancer.state()[0].running, Some(0));
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Send { repeatable: bool },
    Turn(usize, bool),
    Check(usize, bool),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => any::<bool>().prop_map(|repeatable| Event::Send { repeatable }),
        2 => (0_usize..6, any::<bool>()).prop_map(|(index, works)| Event::Turn(index, works)),
        1 => (0_usize..6, any::<bool>()).prop_map(|(index, good)| Event::Check(index, good)),
        1 => (1_u64..60).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Whatever fails and comes back: somebody is always chosen; nobody who is out while another is usable, but for one try
    /// at a time; no backup while another is usable.
    #[test]
    fn whoever_is_chosen_is_the_best_there_is(
        policy in prop_oneof![Just(Policy::RoundRobin), Just(Policy::LeastRequests), Just(Policy::PowerOfTwo),
            Just(Policy::Hash(HashBy::Client))],
        weights in proptest::collection::vec(1_u32..5, 6),
        backups in 0_usize..3,
        events in proptest::collection::vec(event(), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let health = config::Health {
                path: "/".into(), host: String::new(), interval: SECOND, jitter: 0, timeout: SECOND,
                statuses: Vec::new(), body: String::new(), healthy_after: 2, unhealthy_after: 3,
            };
            let balancer = balancer(6, |config| {
                config.policy = policy;
                config.panic_below = 0;
                for (index, member) in config.members.iter_mut().enumerate() {
                    *member = Member { weight: weights[index], backup: index < backups, max_connections: None };
                }
            });
            let mut works = [true; 6];
            for (step, event) in events.into_iter().enumerate() {
                match event {
                    Event::Turn(index, now) => works[index] = now,
                    Event::Check(index, good) => {
                        let bad = bad();
                        balancer.checked(index, if good { Ok(()) } else { Err(&bad) }, &health);
                    }
                    Event::Wait(seconds) => advance(SECOND * u32::try_from(seconds).expect("few")).await,
                    Event::Send { repeatable } => {
                        let usable: Vec<_> = (0..6).filter(|it| balancer.board.is_usable(*it)).collect();
                        let wish = Wish { key: Some(ring::mix(step as u64)), repeatable, ..Wish::default() };
                        let Ok(mut chosen) = balancer.choose(&wish) else {
                            return Err(TestCaseError::fail("nobody was chosen"));
                        };
                        let index = chosen.upstream;
                        prop_assert!(repeatable || !chosen.is_try());
                        if !chosen.is_try() && !usable.is_empty() {
                            prop_assert!(usable.contains(&index), "{} of {:?}", index, usable);
                            let primaries = usable.iter().any(|it| *it >= backups);
                            prop_assert!(!primaries || index >= backups, "a backup: {} of {:?}", index, usable);
                        }
                        match works[index] {
                            true => chosen.answered(StatusCode::OK, took()),
                            false => chosen.failed(&down()),
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
}
