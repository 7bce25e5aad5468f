//! What the admin socket's questions are answered with.

use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::control::{Asked, Control};
use super::{Server, pools};
use crate::admin::{Answer, Backend, Declined, Question, Told};
use crate::certificate::{Certificates, Inventory};
use crate::config::Config;
use crate::http::Edge;
use crate::ocsp::{Stapler, Stapling, Status};

/// Answers from what is published, and asks the server's life for all that changes something.
pub(super) struct Answers {
    control: Control,
    serving: Arc<Serving>,
}

/// What the server serves with, for whoever asks; the server itself is its life's alone.
pub(super) struct Serving {
    now: ArcSwap<Shown>,
    stapler: Arc<Stapler>,
}

/// What a look at the server finds.
struct Shown {
    config: Config,
    certificates: Arc<Certificates>,
    edge: Arc<Edge>,
}

impl Serving {
    pub(super) fn of(server: &Server) -> Arc<Self> {
        Arc::new(Self {
            now: ArcSwap::from_pointee(Self::look(server)),
            stapler: Arc::clone(server.stapler()),
        })
    }

    /// Takes note of what the server serves with now.
    pub(super) fn follow(&self, server: &Server) {
        self.now.store(Arc::new(Self::look(server)));
    }

    fn look(server: &Server) -> Shown {
        Shown {
            config: server.config().clone(),
            certificates: Arc::clone(server.certificates()),
            edge: Arc::clone(&server.edge),
        }
    }
}

impl Answers {
    pub(super) fn new(control: Control, serving: Arc<Serving>) -> Self {
        Self { control, serving }
    }

    fn certificates(&self) -> Told {
        let now = self.serving.now.load();
        let inventory = Inventory::of(&now.config, &now.certificates);
        let staples = self.serving.stapler.report();
        let mut text = inventory.to_string();
        if text.is_empty() {
            text = "no certificates: nothing is served over https\n".to_owned();
        }
        // A certificate without a responder is as its CA meant it.
        for staple in
            (staples.iter()).filter(|staple| staple.responder.is_some() || staple.requires_staple)
        {
            // Writing to memory does not fail.
            let _ = writeln!(text, "{}", staple_line(staple));
        }
        let staples: Vec<Value> = staples.iter().map(staple_json).collect();
        let json = json!({ "certificates": inventory.certificates, "staples": staples });
        Told { json, text }
    }

    fn reload(&self) -> Answer {
        let (reply, result) = oneshot::channel();
        let heard = self.control.ask(Asked::Reload(Some(reply)));
        Box::pin(async move {
            if !heard {
                return Err(busy());
            }
            match result.await {
                Ok(Ok(())) => Ok(done("reloaded")),
                Ok(Err(why)) => Err(Declined(why)),
                // It is stopping, and what it is asked is dropped.
                Err(_) => Err(Declined("the server is stopping".into())),
            }
        })
    }

    fn stop(&self, now: bool) -> Answer {
        let asked = if now { Asked::StopNow } else { Asked::Stop };
        let answer = match self.control.ask(asked) {
            true => Ok(done("stopping")),
            false => Err(busy()),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Backend for Answers {
    fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Certificates => Box::pin(std::future::ready(Ok(self.certificates()))),
            Question::Pools => pools::show(&self.serving.now.load().edge),
            Question::Pool { name, order } => {
                pools::tell(&self.serving.now.load().edge, &name, order)
            }
            Question::Reload => self.reload(),
            Question::Stop { now } => self.stop(now),
        }
    }
}

fn done(what: &str) -> Told {
    Told {
        json: json!({ what: true }),
        text: format!("{what}\n"),
    }
}

fn busy() -> Declined {
    Declined("the server is too busy to be asked; try again".into())
}

fn staple_line(staple: &Stapling) -> String {
    let mut line = format!(
        "OCSP  {}: {}",
        staple.file.display(),
        status(&staple.status)
    );
    if let Some(until) = staple.next_update {
        let _ = write!(line, ", until {}", humantime::format_rfc3339_seconds(until));
    }
    if let Some((_, error)) = &staple.last_error {
        let _ = write!(line, "; last error: {error}");
    }
    line
}

fn staple_json(staple: &Stapling) -> Value {
    let time =
        |at: Option<SystemTime>| at.map(|at| humantime::format_rfc3339_seconds(at).to_string());
    json!({
        "file": staple.file,
        "fingerprint_sha256": staple.fingerprint,
        "required": staple.requires_staple,
        "responder": staple.responder,
        "status": status(&staple.status),
        "this_update": time(staple.this_update),
        "next_update": time(staple.next_update),
        "fetch_at": time(staple.fetch_at),
        "failures": staple.failures,
        "last_error": staple.last_error.as_ref().map(|(_, error)| error),
    })
}

fn status(status: &Status) -> &'static str {
    match status {
        Status::Unable(_) => "cannot be asked for",
        Status::Waiting => "waiting for a first response",
        Status::Good => "stapled",
        Status::Revoked(_) => "revoked",
        Status::RanOut => "ran out",
    }
}
