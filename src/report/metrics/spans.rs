//! What became of spans that were to be sent to a collector.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of spans, since the server started: a reload that changes the exporter begins no new count.
#[derive(Debug, Default)]
pub struct SpanCounts {
    exported: AtomicU64,
    dropped: [AtomicU64; SpanLoss::ALL.len()],
}

/// Why spans were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanLoss {
    /// The queue to the exporter was full: the collector is slow or down.
    QueueFull,
    /// The collector refused them.
    Refused,
    /// The collector was asked in vain for too long.
    Unreachable,
    /// The server stopped, or another collector took over, before they could be sent.
    Stopped,
    /// More handshakes failed than have spans.
    Handshakes,
}

impl SpanLoss {
    /// All of them.
    pub const ALL: [SpanLoss; 5] = [
        SpanLoss::QueueFull,
        SpanLoss::Refused,
        SpanLoss::Unreachable,
        SpanLoss::Stopped,
        SpanLoss::Handshakes,
    ];

    /// As metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            SpanLoss::QueueFull => "queue_full",
            SpanLoss::Refused => "refused",
            SpanLoss::Unreachable => "unreachable",
            SpanLoss::Stopped => "stopped",
            SpanLoss::Handshakes => "handshakes",
        }
    }
}

impl SpanCounts {
    /// Spans that a collector took.
    pub fn exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Spans that were dropped for this reason.
    pub fn dropped(&self, why: SpanLoss) -> u64 {
        self.dropped[why as usize].load(Relaxed)
    }

    /// Spans that were dropped.
    pub fn all_dropped(&self) -> u64 {
        SpanLoss::ALL.iter().map(|why| self.dropped(*why)).sum()
    }

    /// A collector took so many.
    pub fn export(&self, spans: u64) {
        self.exported.fetch_add(spans, Relaxed);
    }

    /// So many were dropped.
    pub fn lose(&self, why: SpanLoss, spans: u64) {
        self.dropped[why as usize].fetch_add(spans, Relaxed);
    }
}
