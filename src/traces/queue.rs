//! Between the data threads and the exporter: spans as bytes, bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::span::Spans;
use crate::report::metrics::{SpanCounts, SpanLoss};

/// Spans that wait to be sent.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    counts: Arc<SpanCounts>,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<Spans>,
    bytes: usize,
    /// Nothing is taken any more: nobody would send it.
    closed: bool,
}

/// Spans that are sent in one request.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// As fields of the message that holds them.
    pub(super) fields: Vec<u8>,
    /// How many.
    pub(super) spans: u64,
}

impl Queue {
    pub(super) fn new(counts: Arc<SpanCounts>) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            counts,
        }
    }

    /// Leaves a request's spans, or drops them where there is no room: what is there already began earlier, and is of a time that
    /// whoever looks at traces then wants to see as well.
    pub(super) fn push(&self, spans: Spans) {
        let mut waiting = self.waiting();
        let bytes = waiting.bytes + spans.bytes().len();
        if waiting.closed || bytes > QUEUE_BYTES_MAX {
            let why = if waiting.closed {
                SpanLoss::Stopped
            } else {
                SpanLoss::QueueFull
            };
            drop(waiting);
            return self.counts.lose(why, spans.count());
        }
        let was_empty = waiting.spans.is_empty();
        let was_ripe = waiting.bytes >= BATCH_BYTES;
        waiting.bytes = bytes;
        waiting.spans.push_back(spans);
        drop(waiting);
        if was_empty || (!was_ripe && bytes >= BATCH_BYTES) {
            self.wake.notify_one();
        }
    }

    /// Takes note of a span that was not even left here.
    pub(super) fn lose(&self, why: SpanLoss) {
        self.counts.lose(why, 1);
    }

    /// What is sent next; none where nothing waits.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut waiting = self.waiting();
        let mut batch = Batch::default();
        while let Some(spans) = waiting.spans.pop_front() {
            waiting.bytes -= spans.bytes().len();
            batch.fields.extend_from_slice(spans.bytes());
            batch.spans += spans.count();
            if batch.fields.len() >= BATCH_BYTES {
                break;
            }
        }
        (batch.spans > 0).then_some(batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting().spans.is_empty()
    }

    /// Whether so much waits that nothing is gained by waiting for more.
    pub(super) fn is_ripe(&self) -> bool {
        self.waiting().bytes >= BATCH_BYTES
    }

    /// Something has come, or so much that it is ripe.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Takes nothing any more, and drops what waits.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        let spans = waiting.spans.drain(..).map(|spans| spans.count()).sum();
        waiting.bytes = 0;
        drop(waiting);
        self.counts.lose(SpanLoss::Stopped, spans);
    }

    /// Nothing that is done under the lock panics half way.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for the exporter, at most: some ten thousand spans, and a minute of a collector's restart for most.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;

/// From here on a batch is sent. Collectors take 4 MiB and more; the OpenTelemetry SDKs send 512 spans.
const BATCH_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans(bytes: usize) -> Spans {
        Spans::of(vec![0; bytes], 2)
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_and_room_is_given_back() {
        let queue = Queue::new(Arc::default());
        let piece = QUEUE_BYTES_MAX / 4;
        for _ in 0..5 {
            queue.push(spans(piece));
        }
        assert_eq!(queue.counts.dropped(SpanLoss::QueueFull), 2);
        assert_eq!(queue.take().expect("a batch").spans, 2);
        queue.push(spans(piece));
        assert_eq!(queue.counts.all_dropped(), 2);
        queue.close();
        queue.push(spans(1));
        assert_eq!(queue.counts.dropped(SpanLoss::Stopped), 10);
        assert!(queue.is_empty() && queue.take().is_none());
    }

    proptest! {
        #[test]
        fn every_span_is_taken_once_or_counted_as_dropped(sizes in proptest::collection::vec(1..600_000_usize, 0..60)) {
            let queue = Queue::new(Arc::default());
            let mut taken = 0;
            for (at, size) in sizes.iter().enumerate() {
                queue.push(spans(*size));
                prop_assert!(queue.waiting().bytes <= QUEUE_BYTES_MAX);
                if at % 16 == 15 {
                    taken += queue.take().map_or(0, |batch| batch.spans);
                }
            }
            while let Some(batch) = queue.take() {
                taken += batch.spans;
            }
            prop_assert_eq!(queue.waiting().bytes, 0);
            prop_assert_eq!(taken + queue.counts.all_dropped(), 2 * sizes.len() as u64);
        }
    }
}
