//! The last hour as JSON: by column, as charts are drawn.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{BUCKETS, History, KEPT, STEPS_MAX, Series, Step};
use crate::admin::SAMPLE_EVERY;
use crate::model::Reason;
use crate::report::metrics::{CLASSES, list, quantile};

impl History {
    /// All of it.
    pub(in crate::server) fn json(&self) -> Value {
        let steps = &self.steps;
        let column = |of: &dyn Fn(&Step) -> Value| -> Value { steps.iter().map(of).collect() };
        let mut hour = Series::default();
        steps.iter().for_each(|step| hour.add(&step.traffic));
        let classes = CLASSES.iter().enumerate().map(|(index, class)| {
            let counts = column(&|step| json!(step.traffic.by_class[index]));
            ((*class).to_owned(), counts)
        });
        json!({
            "every_seconds": SAMPLE_EVERY.as_secs(),
            "kept_seconds": KEPT.as_secs(),
            "steps_max": STEPS_MAX,
            "reasons": reasons(),
            "number": column(&|step| json!(step.number)),
            "time": column(&|step| json!(unix(step.time))),
            "seconds": column(&|step| json!(step.took.as_secs_f64())),
            "responses": classes.collect::<Map<_, _>>(),
            "p50": column(&|step| at(&step.traffic, 0.5)),
            "p99": column(&|step| at(&step.traffic, 0.99)),
            "received": column(&|step| json!(step.traffic.received)),
            "sent": column(&|step| json!(step.traffic.sent)),
            "refused": sparse(steps.iter().map(|step| {
                step.refused.iter().map(|(reason, count)| (reason.as_str(), *count))
            })),
            "queues": sparse(steps.iter().map(|step| {
                step.queues.iter().map(|(pool, waiting)| (&**pool, u64::from(*waiting)))
            })),
            "handshakes": column(&|step| json!(step.handshakes)),
            "connections": column(&|step| json!(step.connections)),
            "running": column(&|step| json!(step.running)),
            "waiting": column(&|step| json!(step.waiting)),
            "hour": { "p50": at(&hour, 0.5), "p99": at(&hour, 0.99) },
        })
    }

    /// The last step; null before the first.
    pub(in crate::server) fn last(&self) -> Value {
        let Some(step) = self.steps.back() else {
            return Value::Null;
        };
        let classes = CLASSES.iter().zip(step.traffic.by_class);
        let classes = classes.map(|(class, count)| ((*class).to_owned(), json!(count)));
        let refused = step.refused.iter();
        let refused = refused.map(|(reason, count)| (reason.to_string(), json!(count)));
        let queues = step.queues.iter();
        let queues = queues.map(|(pool, waiting)| (pool.to_string(), json!(waiting)));
        let mut hour = Series::default();
        self.steps.iter().for_each(|step| hour.add(&step.traffic));
        json!({
            "number": step.number,
            "time": unix(step.time),
            "seconds": step.took.as_secs_f64(),
            "responses": classes.collect::<Map<_, _>>(),
            "p50": at(&step.traffic, 0.5),
            "p99": at(&step.traffic, 0.99),
            "received": step.traffic.received,
            "sent": step.traffic.sent,
            "refused": refused.collect::<Map<_, _>>(),
            "queues": queues.collect::<Map<_, _>>(),
            "handshakes": step.handshakes,
            "connections": step.connections,
            "running": step.running,
            "waiting": step.waiting,
            "hour": { "p50": at(&hour, 0.5), "p99": at(&hour, 0.99) },
        })
    }

    /// How many responses of a binding a second had in the last step.
    pub(in crate::server) fn rate(&self, binding: &str) -> f64 {
        let rate = self.steps.back().and_then(|step| {
            let count = step.of_bindings.get(binding)?;
            Some(*count as f64 / step.took.as_secs_f64())
        });
        rate.unwrap_or(0.0)
    }
}

/// How long at most that share of the requests took, in seconds; null where there were none.
fn at(series: &Series, share: f64) -> Value {
    json!(quantile(&list::REQUEST_DURATION, &series.durations, share))
}

/// Every reason, with who could do something about it.
fn reasons() -> Map<String, Value> {
    let all = Reason::ALL.iter();
    all.map(|reason| (reason.to_string(), json!(reason.blame().as_str())))
        .collect()
}

/// A column for each name that comes up, with 0 where it does not.
fn sparse<'a, Of: Iterator<Item = (&'a str, u64)>>(
    steps: impl ExactSizeIterator<Item = Of>,
) -> BTreeMap<&'a str, Vec<u64>> {
    let (len, mut columns) = (steps.len(), BTreeMap::new());
    for (index, step) in steps.enumerate() {
        for (name, count) in step {
            columns.entry(name).or_insert_with(|| vec![0; len])[index] = count;
        }
    }
    columns
}

fn unix(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as f64 / 1e3
}

const _: () = assert!(BUCKETS == list::DURATION_BOUNDS + 1);
