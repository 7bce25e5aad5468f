//! Writing metrics as Prometheus reads them: its text format, version 0.0.4.
//!
//! By ourselves: the format is these lines. The crates that write it bring registries whose counters all threads share, or
//! write OpenMetrics, of which `promtool` checks less.

use std::fmt::{Display, Write};

use super::Sum;
use super::list::{Kind, Metric};

/// Metrics, as text.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// The series of one metric.
#[derive(Debug)]
pub struct Series<'a> {
    metric: &'static Metric,
    text: &'a mut String,
}

/// Its content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Exposition {
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
        Series { metric, text }
    }

    /// A metric of one series.
    pub fn single(&mut self, metric: &'static Metric, value: impl Display) {
        self.metric(metric).value(&[], value);
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Series<'_> {
    /// One series. `labels`: the values, in the order of the metric's labels.
    pub fn value(&mut self, labels: &[&str], value: impl Display) {
        self.sample("", labels, None, value);
    }

    /// One series of a histogram.
    pub fn histogram(&mut self, labels: &[&str], sum: &Sum) {
        let Kind::Histogram(bounds) = self.metric.kind else {
            debug_assert!(false, "{} is no histogram", self.metric.name);
            return;
        };
        let mut so_far = 0;
        for (bound, count) in bounds.iter().zip(&sum.counts) {
            so_far += count;
            self.sample("_bucket", labels, Some(bound), so_far);
        }
        let count = sum.count();
        self.sample("_bucket", labels, Some(&f64::INFINITY), count);
        self.sample("_sum", labels, None, sum.sum);
        self.sample("_count", labels, None, count);
    }

    fn sample(&mut self, end: &str, labels: &[&str], bound: Option<&f64>, value: impl Display) {
        let Metric {
            name,
            labels: names,
            ..
        } = self.metric;
        debug_assert_eq!(names.len(), labels.len(), "{name} has the labels {names:?}");
        let text = &mut *self.text;
        text.push_str(name);
        text.push_str(end);
        let mut before = '{';
        for (name, value) in names.iter().zip(labels) {
            text.push(before);
            text.push_str(name);
            text.push_str("=\"");
            escape(text, value);
            text.push('"');
            before = ',';
        }
        if let Some(bound) = bound {
            text.push(before);
            // Writing to memory does not fail.
            let _ = match bound.is_finite() {
                true => write!(text, "le=\"{bound}\""),
                false => write!(text, "le=\"+Inf\""),
            };
            before = ',';
        }
        if before == ',' {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}
