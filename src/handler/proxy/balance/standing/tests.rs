use proptest::prelude::*;

use super::*;
use crate::config::Balance;

fn rules() -> Ejection {
    Balance::plain(1).eject
}

fn seconds(seconds: u64) -> Age {
    Age::from_secs(seconds)
}

fn fails(standing: &mut Standing, now: Age, times: u32) -> Option<Change> {
    let changes = (0..times).map(|_| standing.failed(now, false, &rules(), true));
    changes.last().flatten()
}

#[test]
fn three_failures_in_a_row_eject_and_a_success_between_them_counts_anew() {
    let mut standing = Standing::default();
    assert_eq!(fails(&mut standing, seconds(1), 2), None);
    assert_eq!(standing.succeeded(seconds(1), false), None);
    assert_eq!(fails(&mut standing, seconds(1), 2), None);
    assert_eq!(
        fails(&mut standing, seconds(1), 1),
        Some(Change::Ejected(seconds(10)))
    );
    assert_eq!(standing.mode(), Mode::Ejected(seconds(11)));
}

#[test]
fn one_request_tries_when_the_time_has_come_and_its_success_brings_it_back() {
    let mut standing = Standing::default();
    fails(&mut standing, seconds(0), 3);
    assert!(!standing.try_again(seconds(9)));
    assert!(standing.try_again(seconds(10)));
    assert!(!standing.try_again(seconds(10)), "one at a time");
    assert_eq!(standing.mode(), Mode::Trying);
    standing.not_tried();
    assert!(standing.try_again(seconds(11)), "the other one never knew");
    assert_eq!(standing.succeeded(seconds(12), true), Some(Change::Back));
    assert_eq!(standing.mode(), Mode::Warming(seconds(12)));
    standing.warmed();
    assert_eq!(standing.mode(), Mode::Up);
}

#[test]
fn each_ejection_is_twice_as_long_up_to_a_bound_and_time_forgives() {
    let mut standing = Standing::default();
    fails(&mut standing, seconds(0), 3);
    let mut now = seconds(0);
    for span in [20, 40, 80, 160, 300, 300] {
        let Mode::Ejected(until) = standing.mode() else {
            panic!("{standing:?}");
        };
        now = until;
        assert!(standing.try_again(now));
        assert_eq!(
            standing.failed(now, true, &rules(), true),
            Some(Change::Ejected(seconds(span)))
        );
    }
    now += seconds(300);
    assert!(standing.try_again(now));
    standing.succeeded(now, true);
    now += seconds(3600);
    assert_eq!(
        fails(&mut standing, now, 3),
        Some(Change::Ejected(seconds(10)))
    );
}

#[test]
fn the_last_one_is_spared_and_that_is_said_once() {
    let mut standing = Standing::default();
    let changes: Vec<_> = (0..5)
        .filter_map(|_| standing.failed(seconds(0), false, &rules(), false))
        .collect();
    assert_eq!(changes, [Change::Spared]);
    assert_eq!(standing.mode(), Mode::Up);
}

#[test]
fn too_many_errors_within_ten_seconds_eject_and_few_or_slow_ones_do_not() {
    let err = |standing: &mut Standing, now, all, errors| {
        standing.erred(now, Answers { all, errors }, &rules(), true)
    };
    let mut standing = Standing::default();
    // 49 answers say nothing.
    for at in 1..50 {
        assert_eq!(err(&mut standing, seconds(1), at, at), None);
    }
    assert_eq!(
        err(&mut standing, seconds(2), 50, 50),
        Some(Change::Ejected(seconds(10)))
    );
    // One bad page of two.
    let mut standing = Standing::default();
    for at in 1..500 {
        assert_eq!(err(&mut standing, seconds(1), at * 2, at), None);
    }
    // All bad, but a second apart.
    let mut standing = Standing::default();
    for at in 1..500 {
        assert_eq!(err(&mut standing, seconds(at), at, at), None);
    }
}

#[test]
fn the_first_check_decides_alone_and_then_it_takes_several() {
    let health = Health {
        path: "/".into(),
        host: String::new(),
        interval: seconds(5),
        jitter: 0,
        timeout: seconds(2),
        statuses: Vec::new(),
        body: String::new(),
        healthy_after: 2,
        unhealthy_after: 3,
    };
    let mut standing = Standing::default();
    let mut check = |good| standing.checked(seconds(1), good, &health);
    assert_eq!(check(false), Some(Change::Down));
    assert_eq!([check(true), check(true)], [None, Some(Change::Recovered)]);
    assert_eq!([check(false), check(false), check(true)], [None; 3]);
    assert_eq!(
        [check(false), check(false), check(false)],
        [None, None, Some(Change::Down)]
    );
    assert_eq!(standing.mode(), Mode::Down);
    assert!(!standing.try_again(seconds(999)));
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Fail,
    Succeed,
    Err,
    Try,
    Check(bool),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Fail),
        3 => Just(Event::Succeed),
        2 => Just(Event::Err),
        2 => Just(Event::Try),
        1 => any::<bool>().prop_map(Event::Check),
        2 => (1_u64..400).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Whatever happens: an ejection has an end that is near, and only one tries at a time.
    #[test]
    fn whoever_is_out_can_come_back(events in proptest::collection::vec(event(), 1..200)) {
        let health = Health {
            path: "/".into(), host: String::new(), interval: seconds(5), jitter: 0, timeout: seconds(2),
            statuses: Vec::new(), body: String::new(), healthy_after: 2, unhealthy_after: 3,
        };
        let mut standing = Standing::default();
        let mut now = seconds(0);
        let mut trying = false;
        let mut answers = Answers::default();
        for event in events {
            match event {
                Event::Fail => { standing.failed(now, std::mem::take(&mut trying), &rules(), true); }
                Event::Succeed => { standing.succeeded(now, std::mem::take(&mut trying)); }
                Event::Err => {
                    answers.all += 1;
                    answers.errors += 1;
                    standing.erred(now, answers, &rules(), true);
                }
                Event::Try => {
                    let may = standing.try_again(now);
                    prop_assert!(!(may && trying), "two at a time");
                    trying |= may;
                }
                Event::Check(good) => { standing.checked(now, good, &health); }
                Event::Wait(s) => now += seconds(s),
            }
            if let Mode::Ejected(until) = standing.mode() {
                prop_assert!(until <= now + rules().time_max);
            }
        }
        if trying {
            standing.succeeded(now, true);
        }
        standing.checked(now, true, &health);
        standing.checked(now, true, &health);
        now += rules().time_max;
        if standing.try_again(now) {
            standing.succeeded(now, true);
        }
        prop_assert!(matches!(standing.mode(), Mode::Up | Mode::Warming(_)), "{:?}", standing);
    }
}
