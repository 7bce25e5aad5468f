//! Writing metrics as Prometheus reads them: its text format, version 0.0.4.
//!
//! By ourselves: the format is these lines. The crates that write it bring registries whose counters all threads share, or
//! write OpenMetrics, of which `promtool` checks less.

use std::fmt::Write;

use super::Sum;
use super::list::{Kind, Metric};

/// Metrics, as text.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// The series of one metric.
///
/// A server of a thousand bindings has a hundred thousand lines of them, which somebody asks for every few seconds: what is the
/// same in many lines is put together once.
#[derive(Debug)]
pub struct Series<'a> {
    metric: &'static Metric,
    text: &'a mut String,
    /// The end of each line of a histogram's buckets before its count: `le="0.5"} `.
    bounds: Vec<String>,
    /// The labels of a series, as they are written.
    labels: String,
    /// What all buckets of a series begin with.
    bucket: String,
}

/// What a sample may be.
pub trait Sample {
    /// Writes it behind what is there.
    fn write(&self, text: &mut String);
}

/// Its content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Exposition {
    /// With room for so many bytes: as many as it had when it was last asked for, or none.
    pub fn with_room(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
        }
    }

    /// Begins a metric; all its series follow.
    pub fn metric(&mut self, metric: &'static Metric) -> Series<'_> {
        let Metric { name, help, .. } = metric;
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let text = &mut self.text;
        // Writing to memory does not fail; no help of ours has a line end or a backslash.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        let bounds = match metric.kind {
            Kind::Histogram(bounds) => (bounds.iter().map(f64::to_string))
                .chain(["+Inf".to_owned()])
                .map(|bound| format!("le=\"{bound}\"}} "))
                .collect(),
            Kind::Counter | Kind::Gauge => Vec::new(),
        };
        Series {
            metric,
            text,
            bounds,
            labels: String::new(),
            bucket: String::new(),
        }
    }

    /// A metric of one series.
    pub fn single(&mut self, metric: &'static Metric, value: impl Sample) {
        self.metric(metric).value(&[], value);
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Series<'_> {
    /// One series. `labels`: the values, in the order of the metric's labels.
    pub fn value(&mut self, labels: &[&str], value: impl Sample) {
        self.label(labels);
        self.sample("", value);
    }

    /// One series of a histogram.
    pub fn histogram(&mut self, labels: &[&str], sum: &Sum) {
        debug_assert!(
            matches!(self.metric.kind, Kind::Histogram(_)),
            "{} is no histogram",
            self.metric.name
        );
        self.label(labels);
        self.bucket.clear();
        for part in [self.metric.name, "_bucket{", &self.labels] {
            self.bucket.push_str(part);
        }
        if !self.labels.is_empty() {
            self.bucket.push(',');
        }
        let mut so_far = 0;
        // The last of them is above all bounds.
        for (bound, count) in self.bounds.iter().zip(&sum.counts) {
            so_far += count;
            self.text.push_str(&self.bucket);
            self.text.push_str(bound);
            so_far.write(self.text);
            self.text.push('\n');
        }
        self.sample("_sum", sum.sum);
        self.sample("_count", so_far);
    }

    /// Puts together the labels of the lines to come.
    fn label(&mut self, values: &[&str]) {
        let Metric { name, labels, .. } = self.metric;
        debug_assert_eq!(
            labels.len(),
            values.len(),
            "{name} has the labels {labels:?}"
        );
        self.labels.clear();
        for (name, value) in labels.iter().zip(values) {
            if !self.labels.is_empty() {
                self.labels.push(',');
            }
            self.labels.push_str(name);
            self.labels.push_str("=\"");
            escape(&mut self.labels, value);
            self.labels.push('"');
        }
    }

    /// One line.
    fn sample(&mut self, end: &str, value: impl Sample) {
        let text = &mut *self.text;
        text.push_str(self.metric.name);
        text.push_str(end);
        if !self.labels.is_empty() {
            text.push('{');
            text.push_str(&self.labels);
            text.push('}');
        }
        text.push(' ');
        value.write(text);
        text.push('\n');
    }
}

macro_rules! whole_samples {
    ($($kind:ty)*) => {
        $(impl Sample for $kind {
            fn write(&self, text: &mut String) {
                text.push_str(itoa::Buffer::new().format(*self));
            }
        })*
    };
}

whole_samples! { u8 u32 u64 usize }

impl Sample for f64 {
    fn write(&self, text: &mut String) {
        // Writing to memory does not fail.
        let _ = write!(text, "{self}");
    }
}

fn escape(text: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        return text.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}
