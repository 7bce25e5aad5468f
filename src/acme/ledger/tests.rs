use proptest::prelude::*;

use super::*;

const NOW: Seconds = 1_800_000_000;
const NAME: &str = "www.a.test";

/// A certificate of 90 days that was issued so many days ago.
fn aged(days: Seconds) -> Option<Validity> {
    Some(Validity {
        from: NOW - days * DAY,
        to: NOW + (90 - days) * DAY,
    })
}

fn next(ledger: &Ledger, validity: Option<Validity>, now: Seconds) -> Next {
    ledger.next(NAME, validity, false, false, now)
}

fn wait(next: Next) -> (Seconds, Why) {
    match next {
        Next::Wait(until, why) => (until, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_without_a_certificate_is_ordered_at_once_and_a_good_one_is_left_alone() {
    let mut ledger = Ledger::default();
    assert_eq!(next(&ledger, None, NOW), Next::Order);
    assert_eq!(next(&ledger, aged(1), NOW), Next::AskRenewal);
    let validity = aged(1).unwrap();
    ledger.suggested(NAME, validity, None, DAY, NOW, 1.0);
    assert_eq!(wait(next(&ledger, aged(1), NOW)), (NOW + DAY, Why::NotDue));
    assert_eq!(ledger.next(NAME, aged(1), true, false, NOW), Next::Order);
    assert_eq!(
        ledger.next(NAME, None, true, true, NOW),
        Next::Wait(NOW + HOUR, Why::UnderWay)
    );
}

#[test]
fn a_certificate_is_renewed_when_a_third_of_its_lifetime_is_left_or_a_little_before() {
    let mut ledger = Ledger::default();
    let validity = aged(0).unwrap();
    let third = validity.third();
    assert_eq!(third, NOW + 60 * DAY);
    assert_eq!(next(&ledger, aged(0), third), Next::Order);
    for (dice, due) in [(1.0, third), (0.0, third - 3 * DAY)] {
        ledger.suggested(NAME, validity, None, DAY, NOW, dice);
        assert_ne!(next(&ledger, aged(0), due - 1), Next::Order);
        assert_eq!(next(&ledger, aged(0), due), Next::Order);
        ledger = Ledger::default();
    }
}

#[test]
fn the_ca_decides_when_to_renew_and_its_moment_stays_as_it_was_chosen() {
    let mut ledger = Ledger::default();
    let validity = aged(10).unwrap();
    let window = Some((NOW + DAY, NOW + 3 * DAY));
    ledger.suggested(NAME, validity, window, HOUR, NOW, 0.5);
    ledger.suggested(NAME, validity, window, HOUR, NOW + HOUR, 0.0);
    assert_eq!(next(&ledger, aged(10), NOW + 2 * DAY - 1), Next::AskRenewal);
    assert_eq!(next(&ledger, aged(10), NOW + 2 * DAY), Next::Order);
    // Revoked: the window is moved into the past.
    ledger.suggested(
        NAME,
        validity,
        Some((NOW - DAY, NOW - HOUR)),
        HOUR,
        NOW + HOUR,
        0.9,
    );
    assert_eq!(next(&ledger, aged(10), NOW + HOUR), Next::Order);
    // Of another certificate nothing was said.
    ledger.issued(NAME, NOW + HOUR);
    assert_eq!(next(&ledger, aged(0), NOW + HOUR), Next::AskRenewal);
    // A window behind the certificate's end is no reason to let it end.
    let validity = aged(0).unwrap();
    ledger.suggested(
        NAME,
        validity,
        Some((validity.to, validity.to + DAY)),
        HOUR,
        NOW,
        0.5,
    );
    assert_eq!(next(&ledger, aged(0), NOW + 81 * DAY), Next::Order);
}

#[test]
fn failures_back_off_and_what_the_ca_asks_for_is_never_cut_short() {
    let mut ledger = Ledger::default();
    let mut now = NOW;
    for expected in [60, 180, 540, 1620] {
        ledger.begin(NAME, now);
        ledger.refused(NAME, "no", None, now, 0.5);
        assert_eq!(
            wait(next(&ledger, None, now)),
            (now + expected, Why::Failed)
        );
        assert_eq!(ledger.next(NAME, None, true, false, now), Next::Order);
        now += expected;
    }
    ledger.begin(NAME, now);
    ledger.refused(NAME, "rateLimited", Some(now + 2 * DAY), now, 0.5);
    for asked in [false, true] {
        let waiting = ledger.next(NAME, None, asked, false, now);
        assert_eq!(wait(waiting), (now + 2 * DAY, Why::CaAsked));
    }
    assert_eq!(ledger.trouble(NAME), Some(("rateLimited", now + 2 * DAY)));
    ledger.issued(NAME, now + 3 * DAY);
    assert_eq!(ledger.trouble(NAME), None);
}

#[test]
fn a_ca_that_is_away_costs_no_order_and_holds_all_names_back_together() {
    let mut ledger = Ledger::default();
    for name in ["a.test", "b.test"] {
        ledger.begin(name, NOW);
    }
    for name in ["a.test", "b.test"] {
        ledger.away(name, "connection refused", None, NOW, 0.5);
    }
    assert_eq!(wait(next(&ledger, None, NOW)), (NOW + 1, Why::CaAway));
    let mut now = NOW;
    for step in [1, 2, 4, 8, 16, 32] {
        now += step;
        ledger.begin(NAME, now);
        ledger.away(NAME, "connection refused", None, now, 0.5);
    }
    // More than the budget of failures, and none of them an order.
    assert_eq!(wait(next(&ledger, None, now)), (now + 64, Why::CaAway));
    assert_eq!(next(&ledger, None, now + 64), Next::Order);
    ledger.begin(NAME, now + 64);
    ledger.ordered(NAME, "https://ca.test/order/1");
    ledger.away(NAME, "503", Some(now + 1000), now + 64, 0.5);
    assert_eq!(
        ledger.next(NAME, None, true, false, now + 65),
        Next::Wait(now + 1000, Why::CaAsked)
    );
    assert_eq!(next(&ledger, None, now + 1000), Next::Resume);
    // For a day; then it is given up.
    ledger.away(NAME, "503", None, now + 2 * DAY, 0.5);
    assert_eq!(next(&ledger, None, now + 3 * DAY), Next::Order);
}

#[test]
fn a_restart_goes_on_with_an_order_and_counts_one_that_nobody_knows_of_as_failed() {
    let mut ledger = Ledger::default();
    ledger.begin("a.test", NOW);
    ledger.ordered("a.test", "https://ca.test/order/1");
    ledger.begin("b.test", NOW);
    let json = serde_json::to_string(&ledger).unwrap();
    let mut ledger: Ledger = serde_json::from_str(&json).unwrap();
    ledger.recover(NOW + 1);
    assert_eq!(
        ledger.next("a.test", None, false, false, NOW + 1),
        Next::Resume
    );
    let waiting = ledger.next("b.test", None, false, false, NOW + 1);
    assert_eq!(wait(waiting).1, Why::Failed);
    // The CA has forgotten the first: another is begun at once.
    ledger.lost("a.test", NOW + 2);
    assert_eq!(
        ledger.next("a.test", None, false, false, NOW + 2),
        Next::Order
    );
}

#[test]
fn certificates_of_one_name_have_a_budget_that_short_lives_do_not_meet() {
    let mut ledger = Ledger::default();
    for _ in 0..ISSUED_MAX {
        assert_eq!(ledger.next(NAME, aged(1), true, false, NOW), Next::Order);
        ledger.begin(NAME, NOW);
        ledger.issued(NAME, NOW);
    }
    let waiting = ledger.next(NAME, aged(0), true, false, NOW + 1);
    assert_eq!(wait(waiting), (NOW + WEEK, Why::CertificateBudget));
    let hour = Some(Validity {
        from: NOW,
        to: NOW + HOUR,
    });
    assert_eq!(
        ledger.next(NAME, hour, true, false, NOW + HOUR),
        Next::Order
    );
}

/// What befalls a ledger.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes.
    Passes(Seconds),
    /// The scheduler looks at a name, asked or not, and does what it says.
    Looks(usize, bool),
    /// The order of a name, if there is one, ends.
    Ends(usize, Ending),
    /// The process ends and starts again.
    Restarts,
}

#[derive(Clone, Debug)]
enum Ending {
    Issued,
    Refused(Option<Seconds>),
    Away(Option<Seconds>),
    Hindered,
    Lost,
    Url,
}

fn event() -> impl Strategy<Value = Event> {
    let wait = proptest::option::of(0..2 * DAY);
    let ending = prop_oneof![
        Just(Ending::Issued),
        wait.clone().prop_map(Ending::Refused),
        wait.prop_map(Ending::Away),
        Just(Ending::Lost),
        Just(Ending::Hindered),
        Just(Ending::Url),
    ];
    prop_oneof![
        (0..HOUR).prop_map(Event::Passes),
        (0..NAMES.len(), any::<bool>()).prop_map(|(name, asked)| Event::Looks(name, asked)),
        (0..NAMES.len(), any::<bool>()).prop_map(|(name, asked)| Event::Looks(name, asked)),
        (0..NAMES.len(), ending).prop_map(|(name, ending)| Event::Ends(name, ending)),
        Just(Event::Restarts),
    ]
}

const NAMES: [&str; 7] = [
    "a.test",
    "www.a.test",
    "x.a.test",
    "y.a.test",
    "z.a.test",
    "*.a.test",
    "b.test",
];

proptest! {
    /// Whatever happens in whatever order, restarts among it: no domain fails more often within an hour than the budget says,
    /// no name has two orders, and nothing is asked of a CA before the moment that it named.
    #[test]
    fn no_sequence_of_events_breaks_a_budget_or_orders_twice(
        events in proptest::collection::vec((event(), 0.0..1.0_f64), 0..400)
    ) {
        let mut ledger = Ledger::default();
        let mut now = NOW;
        let mut running = [false; NAMES.len()];
        let mut urls: [Option<String>; NAMES.len()] = Default::default();
        let mut not_before = [0; NAMES.len()];
        let mut ca_not_before = 0;
        let mut failed: Vec<(&str, Seconds)> = Vec::new();
        let mut issued: Vec<(usize, Seconds)> = Vec::new();
        for (event, dice) in events {
            match event {
                Event::Passes(seconds) => now += seconds,
                Event::Restarts => {
                    let json = serde_json::to_string(&ledger).unwrap();
                    ledger = serde_json::from_str(&json).unwrap();
                    for name in 0..NAMES.len() {
                        if running[name] && urls[name].is_none() {
                            failed.push((registered(NAMES[name]), now));
                        }
                    }
                    running = [false; NAMES.len()];
                    ledger.recover(now);
                }
                Event::Looks(name, asked) => match ledger.next(NAMES[name], None, asked, running[name], now) {
                    Next::Order => {
                        prop_assert!(!running[name] && urls[name].is_none(), "two orders for {}", NAMES[name]);
                        prop_assert!(now >= not_before[name] && now >= ca_not_before, "sooner than the CA asked");
                        ledger.begin(NAMES[name], now);
                        running[name] = true;
                    }
                    Next::Resume => {
                        prop_assert!(!running[name]);
                        prop_assert_eq!(&ledger.order(NAMES[name]), &urls[name]);
                        prop_assert!(now >= not_before[name] && now >= ca_not_before);
                        running[name] = true;
                    }
                    Next::AskRenewal => prop_assert!(false, "there is no certificate"),
                    Next::Wait(until, _) => prop_assert!(until > now, "a wait that is over already"),
                },
                Event::Ends(name, ending) if running[name] => {
                    running[name] = false;
                    match ending {
                        Ending::Url => {
                            running[name] = true;
                            if urls[name].is_none() {
                                let url = format!("https://ca.test/{now}/{name}");
                                ledger.ordered(NAMES[name], &url);
                                urls[name] = Some(url);
                            }
                        }
                        Ending::Issued => {
                            ledger.issued(NAMES[name], now);
                            issued.push((name, now));
                            urls[name] = None;
                            not_before[name] = 0;
                        }
                        Ending::Refused(wait) => {
                            ledger.refused(NAMES[name], "no", wait.map(|w| now + w), now, dice);
                            failed.push((registered(NAMES[name]), now));
                            urls[name] = None;
                            not_before[name] = wait.map_or(0, |wait| now + wait);
                        }
                        Ending::Hindered => {
                            ledger.hindered(NAMES[name], "a file", now, dice);
                            if urls[name].take().is_some() {
                                failed.push((registered(NAMES[name]), now));
                            }
                            not_before[name] = 0;
                        }
                        Ending::Lost => {
                            ledger.lost(NAMES[name], now);
                            failed.push((registered(NAMES[name]), now));
                            urls[name] = None;
                            not_before[name] = 0;
                        }
                        Ending::Away(wait) => {
                            ledger.away(NAMES[name], "away", wait.map(|w| now + w), now, dice);
                            ca_not_before = ca_not_before.max(wait.map_or(0, |wait| now + wait));
                            // Given up after a day, as failed.
                            if urls[name].is_some() && ledger.names[NAMES[name]].begun.is_none() {
                                failed.push((registered(NAMES[name]), now));
                                urls[name] = None;
                                not_before[name] = wait.map_or(0, |wait| now + wait);
                            }
                        }
                    }
                }
                Event::Ends(..) => {}
            }
            for domain in ["a.test", "b.test"] {
                let recent = failed.iter().filter(|(d, at)| *d == domain && at + HOUR > now).count();
                prop_assert!(recent <= FAILED_MAX, "{recent} failures of {domain} within an hour");
            }
            for name in 0..NAMES.len() {
                let recent = issued.iter().filter(|(n, at)| *n == name && at + WEEK > now).count();
                prop_assert!(recent <= ISSUED_MAX, "{recent} certificates within a week");
            }
        }
    }
}
