//! The certificates that are shown, and how their staples stand.

use std::fmt::Write;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value, json};

use super::Serving;
use crate::admin::{Form, Told};
use crate::certificate::{Inventory, InventoryEntry};
use crate::ocsp::{Stapling, Status};

pub(super) fn told(serving: &Serving, form: Form) -> Told {
    let now = serving.now.load();
    let inventory = Inventory::of(&now.config, &now.certificates);
    let staples = serving.stapler.report();
    Told::of(
        form,
        || json(&inventory, &staples),
        || text(&inventory, &staples),
    )
}

#[derive(Serialize)]
struct All<'a> {
    certificates: &'a [InventoryEntry],
    staples: Vec<Value>,
}

fn json<'a>(inventory: &'a Inventory, staples: &[Stapling]) -> All<'a> {
    All {
        certificates: &inventory.certificates,
        staples: staples.iter().map(staple_json).collect(),
    }
}

fn text(inventory: &Inventory, staples: &[Stapling]) -> String {
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
    text
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
