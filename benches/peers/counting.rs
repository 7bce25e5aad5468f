//! What it costs a request to be counted, in nanoseconds: the two looks at the clock and the additions that all requests have,
//! whoever asks for metrics. There is no switch to leave them out by, so they are timed alone.

use std::hint::black_box;
use std::time::{Duration, Instant};

use portunus::model::Protocol;
use portunus::report::Report;
use portunus::report::metrics::Answered;

fn main() {
    let report = Report::none();
    let bindings = (0..BINDINGS).map(|index| (format!("https://*:443 host{index}.test"), vec![0]));
    let tallies = report.metrics().tallies(bindings, ["pool"].into_iter());
    let request = |index: usize| {
        let began = black_box(Instant::now());
        let answered = Answered {
            protocol: Protocol::Http2,
            status: black_box(200),
            duration: began.elapsed(),
            received: black_box(0),
            sent: black_box(13),
        };
        let traffic = tallies.traffic(Some(black_box(index)), Some(black_box(0)));
        traffic.count(&answered);
    };
    // The best of many, each shorter than a turn of the scheduler: what else the machine does only adds to it.
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for number in 0..REQUESTS {
            request(number % BINDINGS);
        }
        least = least.min(began.elapsed());
    }
    println!("{:.1}", least.as_nanos() as f64 / REQUESTS as f64);
}

/// So many that each is looked for, and that their counts are not all in the nearest cache.
const BINDINGS: usize = 64;
const ROUNDS: usize = 2_000;
const REQUESTS: usize = 10_000;
