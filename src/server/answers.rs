//! What the admin socket's questions are answered with.

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::control::{Asked, Control};
use crate::admin::{Answer, Backend, Declined, Question};

/// Answers from what is published, and asks the server's life for all that changes something.
pub(super) struct Answers {
    pub(super) control: Control,
}

impl Backend for Answers {
    fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Reload => self.reload(),
            Question::Stop { now } => self.stop(now),
        }
    }
}

impl Answers {
    fn reload(&self) -> Answer {
        let (reply, result) = oneshot::channel();
        let heard = self.control.ask(Asked::Reload(Some(reply)));
        Box::pin(async move {
            if !heard {
                return Err(busy());
            }
            match result.await {
                Ok(Ok(())) => Ok(json!({ "reloaded": true })),
                Ok(Err(why)) => Err(Declined(why)),
                // It is stopping, and what it is asked is dropped.
                Err(_) => Err(Declined("the server is stopping".into())),
            }
        })
    }

    fn stop(&self, now: bool) -> Answer {
        let asked = if now { Asked::StopNow } else { Asked::Stop };
        let heard = self.control.ask(asked);
        Box::pin(std::future::ready(stopping(heard)))
    }
}

fn stopping(heard: bool) -> Result<Value, Declined> {
    if heard {
        Ok(json!({ "stopping": true }))
    } else {
        Err(busy())
    }
}

fn busy() -> Declined {
    Declined("the server is too busy to be asked; try again".into())
}
