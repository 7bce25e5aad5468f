//! `portunus cert renew`: how a command asks the running server for a certificate, through files that both can reach.
//!
//! `renew/NAME.request` is written by the command and taken away by the server, which looks twice a second;
//! `renew/NAME.answer` the other way round. That a server runs is told by its lock.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::store::{self, Store, file_name};
use crate::config::Acme;

/// What a command asks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// The command's own, so that no answer is taken for another.
    id: String,
    /// Of which certificate.
    pub(super) name: String,
    /// Whether it is a rehearsal.
    pub(super) staging: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    id: String,
    done: bool,
    text: String,
}

/// Asks the running server to order a certificate now, and waits for what comes of it: the words for a person either way.
pub fn renew(acme: &Acme, name: &str, staging: bool) -> Result<String, String> {
    let store = Store::at(&acme.folder);
    let request = Request {
        id: format!("{}-{}", std::process::id(), super::now()),
        name: name.to_owned(),
        staging,
    };
    let failed = |error: io::Error| {
        let folder = acme.folder.display();
        format!("{folder} cannot be used: {error}; run this as the server's user, or as root")
    };
    if !is_served(&store).map_err(failed)? {
        return Err(format!(
            "no server runs that orders certificates in {}; start it, and it orders by itself what is due",
            acme.folder.display()
        ));
    }
    let answer_file = answer_file(&store, name);
    remove(&answer_file).map_err(failed)?;
    let json = serde_json::to_string(&request).map_err(|error| error.to_string())?;
    let file = request_file(&store, name);
    store::write_for_others(&file, json.as_bytes()).map_err(failed)?;
    let until = Instant::now() + ANSWER_WAIT;
    loop {
        if let Some(json) = store::read(&answer_file).map_err(failed)?
            && let Ok(answer) = serde_json::from_str::<Answer>(&json)
            && answer.id == request.id
        {
            remove(&answer_file).map_err(failed)?;
            return if answer.done {
                Ok(answer.text)
            } else {
                Err(answer.text)
            };
        }
        if Instant::now() > until || !is_served(&store).map_err(failed)? {
            remove(&file).map_err(failed)?;
            return Err("the server did not answer; its log says what it does".to_owned());
        }
        std::thread::sleep(POLL);
    }
}

/// Whether a server has the lock.
fn is_served(store: &Store) -> io::Result<bool> {
    if !store.folder().join("lock").exists() {
        return Ok(false);
    }
    // Taken and let go again at once where nobody has it.
    Ok(store.lock()?.is_none())
}

impl Request {
    /// Takes away what was asked since.
    pub(super) fn take_all(store: &Store) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(store.folder().join("renew")) else {
            return Vec::new();
        };
        let mut requests = Vec::new();
        for entry in entries.flatten().take(REQUESTS_MAX) {
            let file = entry.path();
            if file
                .extension()
                .is_none_or(|extension| extension != "request")
            {
                continue;
            }
            let text = store::read(&file);
            if remove(&file).is_err() {
                continue;
            }
            // Whatever is no request is nobody's.
            let request = text
                .ok()
                .flatten()
                .and_then(|text| serde_json::from_str(&text).ok());
            requests.extend(request);
        }
        requests
    }

    /// Tells the command what came of it.
    pub(super) fn answer(&self, store: &Store, outcome: Result<String, String>) {
        let answer = Answer {
            id: self.id.clone(),
            done: outcome.is_ok(),
            text: outcome.unwrap_or_else(|text| text),
        };
        let written = serde_json::to_string(&answer)
            .map_err(io::Error::from)
            .and_then(|json| store::write(&answer_file(store, &self.name), json.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(name = self.name, %error, "`portunus cert renew` cannot be answered");
        }
    }
}

fn request_file(store: &Store, name: &str) -> PathBuf {
    let renew = store.folder().join("renew");
    renew.join(format!("{}.request", file_name(name)))
}

fn answer_file(store: &Store, name: &str) -> PathBuf {
    let renew = store.folder().join("renew");
    renew.join(format!("{}.answer", file_name(name)))
}

fn remove(file: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A validation, an issuance, a DNS record that spreads, and their time-outs.
const ANSWER_WAIT: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(100);
/// Commands are typed by people.
const REQUESTS_MAX: usize = 100;
