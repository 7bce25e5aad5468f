//! When what is asked for, with the time handed in.

use std::time::UNIX_EPOCH;

use rustls::pki_types::CertificateDer;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint::of(&CertificateDer::from(vec![number]))
}

fn start() -> SystemTime {
    UNIX_EPOCH + DAY * 20_000
}

fn life(begins: SystemTime, whole: Duration) -> Life {
    Life {
        begins,
        ends: begins + whole,
        until: begins + whole,
    }
}

/// One certificate.
fn one(life: Option<Life>) -> (Schedule, Fingerprint) {
    let mut schedule = Schedule::new(Pace::USUAL);
    let one = fingerprint(1);
    schedule.add(
        one,
        "ca.test:80".into(),
        start() + DAY * 90,
        life,
        (start(), 0.0),
    );
    (schedule, one)
}

fn due(schedule: &Schedule, fingerprint: Fingerprint) -> SystemTime {
    schedule.next(fingerprint).unwrap().0
}

#[test]
fn what_has_no_answer_is_asked_for_at_once_and_by_one_only() {
    let (mut schedule, one) = one(None);
    assert_eq!(schedule.start(start()), [one]);
    assert_eq!(schedule.start(start()), [], "it is in flight");
    assert_eq!(schedule.start(start() + HOUR), []);
}

#[test]
fn an_answer_is_renewed_at_half_of_its_life() {
    let (mut schedule, one) = one(None);
    schedule.start(start());
    schedule.answered(one, life(start(), DAY * 4), (start(), 0.0));
    assert_eq!(due(&schedule, one), start() + DAY * 2);
    assert_eq!(schedule.start(start() + DAY * 2 - HOUR), []);
    assert_eq!(schedule.start(start() + DAY * 2), [one]);
    // Chance spreads those that were started together.
    schedule.answered(one, life(start(), DAY * 4), (start(), 1.0));
    assert!(due(&schedule, one) > start() + DAY * 2);
    assert!(due(&schedule, one) < start() + DAY * 3);
}

#[test]
fn an_answer_from_disk_is_renewed_when_it_would_have_been() {
    let (mut schedule, one) = one(Some(life(start() - DAY, DAY * 4)));
    assert_eq!(schedule.start(start()), []);
    assert_eq!(due(&schedule, one), start() + DAY);
}

#[test]
fn an_answer_that_is_old_already_is_renewed_before_it_ends_and_never_in_haste() {
    let (mut schedule, one) = one(None);
    let mut now = start();
    let old = life(now - DAY * 3, DAY * 4);
    let mut asked = 0;
    while now < old.ends {
        assert_eq!(schedule.start(now), [one]);
        asked += 1;
        schedule.answered(one, old, (now, 0.0));
        let next = due(&schedule, one);
        assert!(next >= now + Pace::USUAL.refresh_min);
        now = next;
    }
    assert!((5..50).contains(&asked), "{asked} requests in a day");
}

#[test]
fn neither_a_moment_nor_a_century_of_life_changes_how_often_it_is_asked() {
    let (mut schedule, one) = one(None);
    schedule.answered(one, life(start(), Duration::from_secs(1)), (start(), 0.0));
    assert_eq!(due(&schedule, one), start() + Pace::USUAL.refresh_min);
    schedule.answered(one, life(start(), DAY * 36_500), (start(), 1.0));
    assert_eq!(due(&schedule, one), start() + Pace::USUAL.refresh_max);
}

#[test]
fn what_its_signer_may_not_say_for_long_is_renewed_before_that() {
    let (mut schedule, one) = one(None);
    let mut short = life(start(), DAY * 4);
    short.until = start() + DAY;
    schedule.answered(one, short, (start(), 0.0));
    assert_eq!(due(&schedule, one), start() + DAY / 2);
}

#[test]
fn failures_are_spread_ever_wider_until_an_answer_comes() {
    let (mut schedule, one) = one(None);
    let mut now = start();
    let mut waits = Vec::new();
    for failure in 1..=12 {
        assert_eq!(schedule.start(now), [one]);
        assert_eq!(schedule.failed(one, (now, 1.0)), failure);
        waits.push(due(&schedule, one).duration_since(now).unwrap().as_secs());
        now = due(&schedule, one);
    }
    assert_eq!(
        waits,
        [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    );
    // Chance takes a quarter at most.
    schedule.failed(one, (now, 0.0));
    assert_eq!(due(&schedule, one), now + HOUR * 3 / 4);
    schedule.answered(one, life(now, DAY), (now, 0.0));
    assert_eq!(schedule.next(one), Some((now + DAY / 2, 0)));
}

#[test]
fn a_clock_that_was_set_back_leaves_nobody_waiting() {
    let (mut schedule, one) = one(Some(life(start(), DAY * 4)));
    assert_eq!(schedule.start(start()), []);
    assert_eq!(schedule.start(start() - DAY * 365), [one]);
}

#[test]
fn what_runs_out_is_told_once() {
    let (mut schedule, one) = one(Some(life(start() - DAY, DAY * 2)));
    assert_eq!(schedule.ran_out(start()), []);
    assert!(schedule.rest(start()) <= REST_MAX);
    assert_eq!(schedule.ran_out(start() + DAY), [one]);
    assert_eq!(schedule.ran_out(start() + DAY * 2), []);
    schedule.answered(one, life(start() + DAY * 2, DAY), (start() + DAY * 2, 0.0));
    assert_eq!(schedule.ran_out(start() + DAY * 3), [one]);
}

#[test]
fn a_dead_responder_keeps_nobody_else_waiting() {
    let mut schedule = Schedule::new(Pace::USUAL);
    let now = start();
    for number in 0..100 {
        let responder = if number < 90 {
            "dead.test:80"
        } else {
            "ca.test:80"
        };
        let ends = now + DAY;
        schedule.add(
            fingerprint(number),
            responder.into(),
            ends,
            None,
            (now, 0.0),
        );
    }
    let first = schedule.start(now);
    assert_eq!(first.len(), 2 * IN_FLIGHT_OF_RESPONDER_MAX);
    assert!(schedule.start(now).is_empty());
    assert!(
        schedule.rest(now) > REST_MIN,
        "what waits for room wakes nobody"
    );
    let alive: Vec<_> = (90..100).map(fingerprint).collect();
    for _ in 0..alive.len() {
        for fingerprint in &alive {
            schedule.answered(*fingerprint, life(now, DAY), (now, 0.0));
        }
        schedule.start(now);
    }
    assert!(alive.iter().all(|one| due(&schedule, *one) > now));
}

#[test]
fn nothing_is_asked_of_a_certificate_that_has_ended() {
    let mut schedule = Schedule::new(Pace::USUAL);
    let now = start();
    schedule.add(fingerprint(1), "ca.test:80".into(), now, None, (now, 0.0));
    assert_eq!(schedule.start(now), []);
    assert_eq!(schedule.rest(now), REST_MAX);
}

#[test]
fn what_is_let_go_of_is_forgotten() {
    let (mut schedule, one) = one(None);
    schedule.start(start());
    schedule.retain(|_| false);
    assert!(!schedule.knows(one));
    assert_eq!(schedule.failed(one, (start(), 0.0)), 0);
    assert_eq!(schedule.start(start()), []);
}
