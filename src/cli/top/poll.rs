//! Asking the server, on a thread of its own: an answer that takes its time keeps no key waiting.

use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::seen::Seen;
use super::terminal::Event;
use crate::admin::{Client, Filter, Form, Question};

/// Asks for all that is shown. `began`: when `top` was started.
pub(super) fn ask(client: &Client, began: Instant) -> Result<Seen, String> {
    let filter = Filter {
        limit: Some(CONNECTIONS),
        client: None,
    };
    let at = began.elapsed();
    let service = one(client, Question::Service)?;
    let pools = one(client, Question::Pools)?;
    let connections = one(client, Question::Connections(filter))?;
    Ok(Seen::new(at, service, pools, connections))
}

fn one(client: &Client, question: Question) -> Result<Value, String> {
    let text = client.ask(question, Form::Json);
    let text = text.map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("the answer cannot be read: {error}"))
}

/// Asks again and again, until nobody listens any more.
pub(super) fn run(client: &Client, interval: Duration, began: Instant, to: &SyncSender<Event>) {
    loop {
        let answer = ask(client, began);
        if to.send(Event::Answer(answer.map(Box::new))).is_err() {
            return;
        }
        std::thread::sleep(interval);
    }
}

/// The oldest; who looks for others filters with `show connections`.
const CONNECTIONS: usize = 500;
