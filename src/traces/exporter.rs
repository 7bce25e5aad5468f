//! The thread that sends spans to a collector.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::timeout;

use super::client::{Collector, TracesError};
use super::delivery::{Delivery, Next};
use super::queue::{Batch, Queue};
use super::resource::Resource;
use crate::config;
use crate::report::metrics::{SpanCounts, SpanLoss};

/// Sends what tracers keep to one collector. Dropping it sends what waits, for [`FLUSH_WAIT_MAX`] at most, and waits for nobody.
#[derive(Debug)]
pub(super) struct Exporter {
    queue: Arc<Queue>,
    /// Taken and dropped to end the thread, and closed when that has ended.
    thread: Mutex<Option<Thread>>,
}

#[derive(Debug)]
struct Thread {
    stop: watch::Sender<()>,
    ended: mpsc::Receiver<()>,
}

impl Exporter {
    /// Reads the files that it needs, and starts its thread.
    pub(super) fn start(
        settings: &config::Traces,
        counts: &Arc<SpanCounts>,
    ) -> Result<Self, TracesError> {
        let queue = Arc::new(Queue::new(Arc::clone(counts)));
        let (stop, stopped) = watch::channel(());
        let (alive, ended) = mpsc::channel();
        let mut work = Work {
            collector: Collector::new(settings)?,
            resource: Resource::new(settings, u128::from_be_bytes(chance())),
            queue: Arc::clone(&queue),
            counts: Arc::clone(counts),
            telling: Telling::default(),
            stopped,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new().name("traces".into());
        thread.spawn(move || {
            runtime.block_on(work.run());
            work.queue.close();
            drop(alive);
        })?;
        Ok(Self {
            queue,
            thread: Mutex::new(Some(Thread { stop, ended })),
        })
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Sends what waits, and ends; waits for that, [`FLUSH_WAIT_MAX`] and a little at most.
    pub(super) fn finish(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Thread { stop, ended }) = thread.take() {
            drop(stop);
            // Nothing is ever sent: the wait is over when the thread has let go.
            let _ = ended.recv_timeout(FLUSH_WAIT_MAX + LEAVING_WAIT);
        }
    }
}

struct Work {
    collector: Collector,
    resource: Resource,
    queue: Arc<Queue>,
    counts: Arc<SpanCounts>,
    telling: Telling,
    stopped: watch::Receiver<()>,
}

impl Work {
    /// Sends until it is stopped, and then what is left.
    async fn run(&mut self) {
        let mut stopped = self.stopped.clone();
        let sending = self.send_all();
        tokio::pin!(sending);
        tokio::select! {
            () = &mut sending => {}
            _ = stopped.changed() => {
                let _ = timeout(FLUSH_WAIT_MAX, sending).await;
            }
        }
    }

    /// Ends when it is stopped and nothing waits.
    async fn send_all(&mut self) {
        loop {
            self.gather().await;
            while let Some(batch) = self.queue.take() {
                self.deliver(batch).await;
                if !self.queue.is_ripe() && !self.is_stopped() {
                    break;
                }
            }
            if self.is_stopped() && self.queue.is_empty() {
                return;
            }
        }
    }

    /// Waits until something is there, and then a moment for more.
    async fn gather(&mut self) {
        while self.queue.is_empty() {
            tokio::select! {
                () = self.queue.changed() => {}
                _ = self.stopped.changed() => return,
            }
        }
        let until = tokio::time::Instant::now() + GATHER;
        while !self.queue.is_ripe() {
            tokio::select! {
                () = self.queue.changed() => {}
                () = tokio::time::sleep_until(until) => return,
                _ = self.stopped.changed() => return,
            }
        }
    }

    /// Sends a batch until it is taken, refused, or too old.
    async fn deliver(&mut self, batch: Batch) {
        let mut in_hand = InHand {
            counts: Arc::clone(&self.counts),
            spans: batch.spans,
        };
        let content = Bytes::from(self.resource.around(&batch));
        drop(batch);
        let began = Instant::now();
        let mut delivery = Delivery::default();
        loop {
            let said = self.collector.send(content.clone()).await;
            let was_stopped = self.is_stopped();
            let next = delivery.next(said, began.elapsed(), u32::from_be_bytes(chance()));
            match next {
                Next::Done(partial) => {
                    let rejected = partial.rejected.min(in_hand.spans);
                    self.counts.export(in_hand.spans - rejected);
                    self.counts.lose(SpanLoss::Refused, rejected);
                    if partial != Default::default() {
                        self.telling.in_part(rejected, &partial.message);
                    }
                    self.telling.went_through(&self.counts);
                    return in_hand.settle();
                }
                Next::Dropped { because, why } => {
                    self.counts.lose(because, in_hand.spans);
                    self.telling.failed(&why, Some(in_hand.spans), &self.counts);
                    return in_hand.settle();
                }
                // The one try that there was after the stop.
                Next::Again { .. } if was_stopped => return,
                Next::Again { after, why } => {
                    self.telling.failed(&why, None, &self.counts);
                    let _ = timeout(after, self.stopped.changed()).await;
                }
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.has_changed().is_err()
    }
}

/// Spans whose fate is open. What is dropped with that, because the time to stop is over, counts so.
struct InHand {
    counts: Arc<SpanCounts>,
    spans: u64,
}

impl InHand {
    fn settle(&mut self) {
        self.spans = 0;
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.counts.lose(SpanLoss::Stopped, self.spans);
    }
}

/// What is said in the server's own log: that a collector fails, once a minute at most, and that it is back.
#[derive(Default)]
struct Telling {
    told: Option<Instant>,
    is_failing: bool,
}

impl Telling {
    fn failed(&mut self, why: &str, dropped: Option<u64>, counts: &SpanCounts) {
        self.is_failing = true;
        if self.may_tell() {
            let all_dropped = counts.all_dropped();
            match dropped {
                Some(spans) => tracing::warn!(
                    why,
                    spans,
                    all_dropped,
                    "the collector of [traces] does not take spans, and they are dropped"
                ),
                None => tracing::warn!(
                    why,
                    all_dropped,
                    "the collector of [traces] takes no spans; they wait, and it is tried again"
                ),
            }
        }
    }

    fn in_part(&mut self, rejected: u64, message: &str) {
        if self.may_tell() {
            tracing::warn!(
                rejected,
                message,
                "the collector of [traces] has something to say of spans"
            );
        }
    }

    fn went_through(&mut self, counts: &SpanCounts) {
        if std::mem::take(&mut self.is_failing) {
            self.told = None;
            let all_dropped = counts.all_dropped();
            tracing::info!(all_dropped, "the collector of [traces] takes spans again");
        }
    }

    fn may_tell(&mut self) -> bool {
        let may = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if may {
            self.told = Some(Instant::now());
        }
        may
    }
}

/// A server without chance goes on: what is made of it here is only to differ.
fn chance<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

/// How long spans wait for more: whoever has just sent a request wants to see it.
const GATHER: Duration = Duration::from_secs(1);

/// How long a stop, and a change of collectors, waits for what is still to be sent.
pub const FLUSH_WAIT_MAX: Duration = Duration::from_secs(3);

/// A thread that was told to end does it within this, unless it got no processor.
const LEAVING_WAIT: Duration = Duration::from_secs(1);

/// How often it is said that a collector fails.
const TELL_EVERY: Duration = Duration::from_secs(60);
