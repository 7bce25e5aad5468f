//! No more than an hour is remembered, and what is remembered is what was counted.

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::report::metrics::Sum;

/// What was counted of one binding and pool, with so many responses of 200 in a millisecond each.
fn counted(binding: &str, responses: u64) -> Counted {
    let mut counts = vec![0; BUCKETS];
    counts[1] = responses;
    let sum = Sum {
        counts,
        sum: responses as f64 / 1e3,
    };
    Counted {
        binding: binding.into(),
        pool: "shop".into(),
        durations: vec![("h2", "2xx", sum)],
        ..Counted::default()
    }
}

fn look(responses: u64) -> Look {
    Look {
        traffic: vec![counted("https://*:443 shop.test", responses)],
        refused: vec![responses / 2; Reason::ALL.len()],
        pools: vec![("shop".into(), 1, (responses % 3) as u32)],
        ..Look::default()
    }
}

fn taken(history: &mut History, seconds: f64, look: Look) {
    let at = Duration::from_secs_f64(seconds);
    history.take(at, UNIX_EPOCH + at, look);
}

proptest! {
    #[test]
    fn an_hour_is_what_is_remembered_however_steps_come(
        gaps in proptest::collection::vec(0.0f64..60.0, 1..1500),
        each in 0u64..1000,
    ) {
        let (mut history, mut at, mut all) = (History::default(), 0.0, 0);
        for gap in gaps {
            at += gap;
            all += each;
            taken(&mut history, at, look(all));
            prop_assert!(history.steps.len() <= STEPS_MAX);
            let oldest = history.steps.front().map_or(at, |step| step.at.as_secs_f64());
            prop_assert!(at - oldest < KEPT.as_secs_f64());
        }
        // Every column has a value for each step.
        let json = history.json();
        for column in ["number", "time", "seconds", "p50", "p99", "sent", "waiting"] {
            prop_assert_eq!(json[column].as_array().map(Vec::len), Some(history.steps.len()));
        }
        for columns in ["responses", "refused", "queues"] {
            for (name, column) in json[columns].as_object().expect("columns") {
                let len = column.as_array().map(Vec::len);
                prop_assert_eq!(len, Some(history.steps.len()), "{} {}", columns, name);
            }
        }
    }

    #[test]
    fn the_steps_of_an_hour_are_what_was_counted_in_it(
        counts in proptest::collection::vec(0u64..1000, 1..100),
    ) {
        let (mut history, mut all) = (History::default(), 0);
        for (index, count) in counts.iter().enumerate() {
            all += count;
            taken(&mut history, 5.0 * (index + 1) as f64, look(all));
        }
        let sum: u64 = history.steps.iter().map(|step| step.traffic.responses()).sum();
        prop_assert_eq!(sum, all);
        let last = counts.last().copied().unwrap_or_default();
        let rate = history.rate("https://*:443 shop.test");
        prop_assert!((rate - last as f64 / 5.0).abs() < 1e-9, "{}", rate);
        let full = Reason::QueueFull;
        let of = |step: &Step| step.refused.iter().find(|(it, _)| *it == full).map_or(0, |it| it.1);
        let refused: u64 = history.steps.iter().map(of).sum();
        prop_assert_eq!(refused, all / 2);
    }
}

#[test]
fn a_series_that_begins_anew_counts_from_nothing() {
    let mut history = History::default();
    taken(&mut history, 5.0, look(100));
    taken(&mut history, 10.0, look(7));
    let responses: Vec<_> = (history.steps.iter())
        .map(|step| step.traffic.responses())
        .collect();
    assert_eq!(responses, [100, 7]);
    // One that is new beside another does not hide what the other had.
    let mut both = look(7);
    both.traffic.push(counted("http://*:80", 3));
    taken(&mut history, 15.0, both);
    assert_eq!(history.last()["responses"]["2xx"], 3);
}

#[test]
fn of_many_queues_the_fullest_are_remembered() {
    let mut history = History::default();
    let pools = (0..1000).map(|pool| (format!("pool-{pool}"), 0, pool));
    let many = Look {
        pools: pools.collect(),
        ..Look::default()
    };
    taken(&mut history, 5.0, many);
    let queues = &history.steps[0].queues;
    assert_eq!(queues.len(), QUEUES_MAX);
    assert_eq!((&*queues[0].0, queues[0].1), ("pool-999", 999));
    assert!(history.before.names.len() <= QUEUES_MAX);
}
