//! What the admin socket's questions are answered with; one file a subject.

mod certificates;

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::json;
use tokio::sync::oneshot;

use super::Server;
use super::control::{Asked, Control};
use crate::admin::{Answer, Backend, Declined, Question, Told};
use crate::certificate::Certificates;
use crate::config::Config;
use crate::ocsp::Stapler;

/// Answers from what is published, and asks the server's life for all that changes something.
pub(super) struct Answers {
    control: Control,
    serving: Arc<Serving>,
}

/// What the server serves with, for whoever asks; the server itself is its life's alone.
pub(super) struct Serving {
    now: ArcSwap<(Config, Arc<Certificates>)>,
    stapler: Arc<Stapler>,
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

    fn look(server: &Server) -> (Config, Arc<Certificates>) {
        (server.config().clone(), Arc::clone(server.certificates()))
    }
}

impl Answers {
    pub(super) fn new(control: Control, serving: Arc<Serving>) -> Self {
        Self { control, serving }
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
            Question::Certificates => {
                Box::pin(std::future::ready(Ok(certificates::told(&self.serving))))
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
