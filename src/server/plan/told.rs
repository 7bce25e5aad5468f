//! A plan, told: as lines for a person and as JSON. What a dry run announces and what a reload has done read the same.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{CrewFate, CrewPlan, Crews, How, Kind, Plan};

impl Plan {
    /// For a program.
    pub(in crate::server) fn json(&self, crews: &Crews) -> Value {
        let workers = self.crews.iter().map(|crew| {
            let mut told =
                json!({ "pool": crew.pool, "fate": crew.fate, "pids": pids(crew, crews) });
            if let Some(why) = &crew.why {
                told["why"] = json!(why);
            }
            told
        });
        let sockets = |keys: &[crate::listener::SocketKey]| -> Vec<String> {
            keys.iter().map(ToString::to_string).collect()
        };
        json!({
            "changes": self.changes,
            "listeners": {
                "opened": sockets(&self.sockets.open),
                "closed": sockets(&self.sockets.close),
            },
            "workers": workers.collect::<Vec<_>>(),
            "needs_restart": self.restart,
        })
    }

    /// For a person; empty where nothing is to be told.
    pub(in crate::server) fn text(&self, crews: &Crews) -> String {
        let mut text = String::new();
        for change in &self.changes {
            let sign = match change.change {
                How::Added => '+',
                How::Changed => '~',
                How::Removed => '-',
            };
            // Writing to memory does not fail.
            let _ = write!(text, "{sign} {}", change.kind.word());
            for part in [&change.name, &change.keys.join(", ")] {
                if !part.is_empty() {
                    let separator = if part == &change.name { " " } else { ": " };
                    let _ = write!(text, "{separator}{part}");
                }
            }
            match &change.detail {
                Some(detail) => {
                    let _ = writeln!(text, " ({detail})");
                }
                None => text.push('\n'),
            }
        }
        for key in &self.sockets.open {
            let _ = writeln!(text, "+ listens on {key}");
        }
        for key in &self.sockets.close {
            let _ = writeln!(text, "- listens on {key}");
        }
        for crew in &self.crews {
            let _ = writeln!(text, "{}", line(crew, crews));
        }
        for key in &self.restart {
            let _ = writeln!(text, "! {key} takes effect at the next start");
        }
        text
    }
}

fn line(crew: &CrewPlan, crews: &Crews) -> String {
    let pids: Vec<String> = pids(crew, crews).iter().map(ToString::to_string).collect();
    let pids = match pids.is_empty() {
        true => "none runs".to_owned(),
        false => format!("pid {}", pids.join(", ")),
    };
    let pool = &crew.pool;
    let mut line = match crew.fate {
        CrewFate::Kept => format!("= workers of {pool} go on: {pids}"),
        CrewFate::Recycled => format!("~ workers of {pool} are replaced: {pids}"),
        CrewFate::Ended => format!("- workers of {pool} end: {pids}"),
        CrewFate::Started => format!("+ workers of {pool}"),
    };
    if let Some(why) = &crew.why {
        let _ = write!(line, " ({why})");
    }
    line
}

fn pids<'a>(crew: &CrewPlan, crews: &'a Crews) -> &'a [u32] {
    match crew.fate {
        CrewFate::Started => &[],
        _ => crews.get(&crew.pool).map_or(&[], Vec::as_slice),
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Binding => "binding",
            Self::Site => "site",
            Self::Route => "route",
            Self::Pool => "pool",
            Self::Certificate => "certificate",
            Self::Server => "[server]",
            Self::Limits => "[limits]",
            Self::Log => "[log]",
            Self::FailedRequests => "[failed_requests]",
            Self::Tls => "[tls]",
            Self::Acme => "[acme]",
            Self::Traces => "[traces]",
        }
    }
}
