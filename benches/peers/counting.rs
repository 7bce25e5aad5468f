//! What it costs a request to be counted, in nanoseconds: the looks at the clock and the additions that all requests have,
//! whoever asks for metrics. There is no switch to leave them out by, so they are timed alone.
//!
//! Two numbers: of a request that comes alone, as over HTTP/1.1, which looks at the clock twice; and of one of HTTP/2 that comes
//! together with 31 others, with which it shares the first look.

use std::hint::black_box;
use std::time::{Duration, Instant};

use portunus::model::Protocol;
use portunus::report::Report;
use portunus::report::metrics::{Answered, Tallies};

fn main() {
    let report = Report::none();
    let bindings = (0..BINDINGS).map(|index| (format!("https://*:443 host{index}.test"), vec![0]));
    let tallies = report.metrics().tallies(bindings, ["pool"].into_iter());
    let nanos = [1, 32].map(|together| best(&tallies, together));
    println!("{:.1} {:.1}", nanos[0], nanos[1]);
}

/// The best of many rounds, each shorter than a turn of the scheduler: what else the machine does only adds to it.
fn best(tallies: &Tallies, together: usize) -> f64 {
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for batch in 0..REQUESTS / together {
            let came = black_box(Instant::now());
            for number in 0..together {
                count(tallies, (batch * together + number) % BINDINGS, came);
            }
        }
        least = least.min(began.elapsed());
    }
    least.as_nanos() as f64 / REQUESTS as f64
}

fn count(tallies: &Tallies, index: usize, came: Instant) {
    let answered = Answered {
        protocol: Protocol::Http2,
        status: black_box(200),
        duration: came.elapsed(),
        received: black_box(0),
        sent: black_box(13),
    };
    let traffic = tallies.traffic(Some(black_box(index)), Some(black_box(0)));
    traffic.count(&answered);
}

/// So many that each is looked for, and that their counts are not all in the nearest cache.
const BINDINGS: usize = 64;
const ROUNDS: usize = 2_000;
/// A round's; of whole batches.
const REQUESTS: usize = 32 * 300;
