//! What is due, and when: the scheduler. Pure: no clock, no files, no dice of its own; times are seconds since 1970.
//!
//! ```text
//!             due, and in budget              the CA has an order
//!   waiting ────────────────────► ordering ────────────────────────► kept over restarts
//!      ▲                             │
//!      ├── certificate ──────────────┤   forgets all failures of the name
//!      ├── refused ──────────────────┤   the order is dropped; counts in the budget; the name backs off
//!      ├── hindered here ────────────┤   the same; without an order it does not count
//!      └── CA away, or in trouble ───┘   the order is kept; the CA backs off
//! ```
//!
//! All of it is written down before an order begins and after it ends, so that a restart knows no less.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::domain::registered;

/// Seconds since 1970.
pub type Seconds = u64;

/// What is remembered of one CA.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// How often in a row the CA could not be reached, or was in trouble.
    ca_failed: u32,
    /// Until when nothing is asked of it.
    ca_pause: Pause,
    /// When orders failed, by registered domain; those of the last hour.
    failed: BTreeMap<String, Vec<Seconds>>,
    /// By the name that a certificate is for, `*.parent` for a wildcard.
    names: BTreeMap<String, Name>,
}

/// What is remembered of one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Name {
    /// When the order that is under way was begun.
    begun: Option<Seconds>,
    /// That order's URL, once the CA has given it one.
    order: Option<String>,
    /// How often in a row orders failed.
    failed: u32,
    pause: Pause,
    /// Why the last order failed.
    why: Option<String>,
    /// When certificates were issued; no more than the budget asks for.
    issued: Vec<Seconds>,
    renewal: Option<Renewal>,
}

/// Something that is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Pause {
    /// Of our own accord; who asks for a certificate may cut it short.
    backoff: Seconds,
    /// As the CA asked (Retry-After); nobody here may cut it short.
    by_ca: Seconds,
}

/// When a certificate is to be renewed, as its CA suggests (RFC 9773).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Renewal {
    /// The certificate's end: of another certificate nothing is known.
    of: Seconds,
    /// When it is renewed.
    at: Seconds,
    /// The window that the moment was chosen from; none where the CA has no opinion.
    window: Option<(Seconds, Seconds)>,
    /// When the CA is asked again.
    ask_again: Seconds,
}

/// How long a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when.
    pub from: Seconds,
    /// Until when.
    pub to: Seconds,
}

/// What is to be done about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Order a certificate.
    Order,
    /// Go on with the order that the CA knows of.
    Resume,
    /// Ask the CA when it is to be renewed.
    AskRenewal,
    /// Nothing before this moment.
    Wait(Seconds, Why),
}

/// Why nothing is done about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// An order is under way.
    UnderWay,
    /// The certificate is good, and not due yet.
    NotDue,
    /// The CA could not be reached, or was in trouble.
    CaAway,
    /// The last order failed.
    Failed,
    /// The CA asked to wait.
    CaAsked,
    /// Too many orders of this registered domain failed within the hour.
    FailureBudget,
    /// Too many certificates were issued for this name.
    CertificateBudget,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnderWay => f.write_str("an order for it is under way"),
            Self::NotDue => f.write_str("its certificate is good, and not due yet"),
            Self::CaAway => f.write_str("the CA could not be reached, or was in trouble"),
            Self::Failed => f.write_str("the last order failed"),
            Self::CaAsked => f.write_str("the CA asked to wait (Retry-After)"),
            Self::FailureBudget => write!(
                f,
                "{FAILED_MAX} orders of its registered domain failed within the hour"
            ),
            Self::CertificateBudget => write!(
                f,
                "{ISSUED_MAX} certificates were issued for it within a week, or within the lifetime of one"
            ),
        }
    }
}

impl Ledger {
    /// What is to be done about a name now. `asked`: somebody asked for a renewal, due or not. `running`: this process is at it.
    pub fn next(
        &self,
        name: &str,
        validity: Option<Validity>,
        asked: bool,
        running: bool,
        now: Seconds,
    ) -> Next {
        let nobody = Name::default();
        let known = self.names.get(name).unwrap_or(&nobody);
        if running {
            return Next::Wait(now + HOUR, Why::UnderWay);
        }
        let due = validity.map_or(now, |validity| known.due(validity));
        if known.begun.is_none() && !asked && now < due {
            return match validity {
                Some(v) if self.ca_pause.until() <= now && known.ask_at(v) <= now => {
                    Next::AskRenewal
                }
                Some(v) => Next::Wait(due.min(known.ask_at(v).max(now + 1)), Why::NotDue),
                None => Next::Wait(due, Why::NotDue),
            };
        }
        for (pause, why) in [(self.ca_pause, Why::CaAway), (known.pause, Why::Failed)] {
            if now < pause.by_ca && (asked || pause.by_ca >= pause.backoff) {
                return Next::Wait(pause.by_ca, Why::CaAsked);
            }
            if now < pause.backoff && !asked {
                return Next::Wait(pause.backoff, why);
            }
        }
        if known.begun.is_some() && known.order.is_some() {
            return Next::Resume;
        }
        if let Some(until) = self.failure_budget(name, now) {
            return Next::Wait(until, Why::FailureBudget);
        }
        match known.certificate_budget(validity, now) {
            Some(until) => Next::Wait(until, Why::CertificateBudget),
            None => Next::Order,
        }
    }

    /// Until when the registered domain of a name has no order left; none where it has. Orders under way count as if they were
    /// to fail.
    fn failure_budget(&self, name: &str, now: Seconds) -> Option<Seconds> {
        let domain = registered(name);
        let none = Vec::new();
        let failed = self.failed.get(domain).unwrap_or(&none);
        let mut recent: Vec<_> = failed.iter().filter(|at| **at + HOUR > now).collect();
        let under_way = (self.names.iter())
            .filter(|(other, state)| {
                *other != name && state.begun.is_some() && registered(other) == domain
            })
            .count();
        if recent.len() + under_way < FAILED_MAX {
            return None;
        }
        recent.sort_unstable();
        // With all of them under way, whoever ends first wakes this one.
        Some(recent.first().map_or(now + MINUTE, |at| **at + HOUR))
    }

    /// An order begins. This is written down before the CA hears of it.
    pub fn begin(&mut self, name: &str, now: Seconds) {
        let known = self.names.entry(name.to_owned()).or_default();
        debug_assert!(known.begun.is_none(), "one order at a time for a name");
        known.begun = Some(now);
        known.order = None;
    }

    /// The CA has given the order a URL, by which it is found again.
    pub fn ordered(&mut self, name: &str, url: &str) {
        self.names.entry(name.to_owned()).or_default().order = Some(url.to_owned());
    }

    /// A certificate is there.
    pub fn issued(&mut self, name: &str, now: Seconds) {
        self.ca_answered();
        let known = self.names.entry(name.to_owned()).or_default();
        let mut issued = std::mem::take(&mut known.issued);
        issued.push(now);
        let surplus = issued.len().saturating_sub(ISSUED_MAX);
        issued.drain(..surplus);
        *known = Name {
            issued,
            ..Name::default()
        };
    }

    /// A certificate could be had, and was thrown away.
    pub fn rehearsed(&mut self, name: &str) {
        self.ca_answered();
        self.names.remove(name);
    }

    /// The order was refused: another is begun later. `retry_after` is what the CA asks for; `dice` is
    /// between 0 and 1.
    pub fn refused(
        &mut self,
        name: &str,
        why: &str,
        retry_after: Option<Seconds>,
        now: Seconds,
        dice: f64,
    ) {
        self.ca_answered();
        self.failed(name, why, retry_after, now, dice);
    }

    /// It failed here. Where the CA has made no order yet, none of its budget is used up.
    pub fn hindered(&mut self, name: &str, why: &str, now: Seconds, dice: f64) {
        let known = self.names.entry(name.to_owned()).or_default();
        if known.order.is_some() {
            self.failed(name, why, None, now, dice);
        } else {
            known.back_off(why, None, now, dice);
        }
    }

    fn failed(
        &mut self,
        name: &str,
        why: &str,
        retry_after: Option<Seconds>,
        now: Seconds,
        dice: f64,
    ) {
        let known = self.names.entry(name.to_owned()).or_default();
        known.back_off(why, retry_after, now, dice);
        let failed = self.failed.entry(registered(name).to_owned()).or_default();
        failed.retain(|at| *at + HOUR > now);
        failed.push(now);
    }

    /// The CA could not be reached, or could not do its work: the order is kept, if there is one.
    pub fn away(
        &mut self,
        name: &str,
        why: &str,
        retry_after: Option<Seconds>,
        now: Seconds,
        dice: f64,
    ) {
        let known = self.names.entry(name.to_owned()).or_default();
        known.why = Some(cut(why));
        if known.order.is_none() {
            known.begun = None;
        }
        // An order is good for days (RFC 8555 section 7.1.3); one that comes to nothing for a day is given up.
        if known.begun.is_some_and(|begun| begun + DAY < now) {
            self.failed(name, why, retry_after, now, dice);
        }
        self.ca_troubled(retry_after, now, dice);
    }

    /// The order is unknown to the CA, or of no use any more: it counts as one that failed, and another may be begun at once.
    pub fn lost(&mut self, name: &str, now: Seconds) {
        self.refused(name, "the CA no longer knows the order", None, now, 0.0);
        if let Some(known) = self.names.get_mut(name) {
            known.pause = Pause::default();
        }
    }

    /// What the CA says of a certificate's renewal: a window, of which `dice` (0 to 1) picks the moment; none where it has
    /// no opinion. It is asked again after `again`.
    pub fn suggested(
        &mut self,
        name: &str,
        validity: Validity,
        window: Option<(Seconds, Seconds)>,
        again: Seconds,
        now: Seconds,
        dice: f64,
    ) {
        let known = self.names.entry(name.to_owned()).or_default();
        let again = again.clamp(MINUTE, DAY);
        let before = known.renewal.take().filter(|r| r.of == validity.to);
        let at = match (&before, window) {
            // The moment stays as it was chosen, or asking often would make it early.
            (Some(before), window) if before.window == window => before.at,
            (_, Some((from, to))) => between(from, to, dice),
            (_, None) => {
                let third = validity.third();
                between(third - validity.lifetime() / 30, third, dice)
            }
        };
        known.renewal = Some(Renewal {
            of: validity.to,
            at,
            window,
            ask_again: now + again,
        });
    }

    /// What a restart makes of orders that were begun and have no URL: whether the CA has heard of them nobody knows, and
    /// they count as failed.
    pub fn recover(&mut self, now: Seconds) {
        let lost: Vec<String> = (self.names.iter())
            .filter(|(_, known)| known.begun.is_some() && known.order.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for name in lost {
            self.failed(&name, "the server ended while it ordered", None, now, 0.0);
        }
    }

    /// The order for a name that the CA knows of.
    pub fn order(&self, name: &str) -> Option<String> {
        self.names.get(name)?.order.clone()
    }

    /// Why the last order for a name failed, and until when the next waits.
    pub fn trouble(&self, name: &str) -> Option<(&str, Seconds)> {
        let known = self.names.get(name)?;
        let until = known.pause.until().max(self.ca_pause.until());
        Some((known.why.as_deref()?, until))
    }

    /// The CA does its work again; what it asked for holds.
    fn ca_answered(&mut self) {
        self.ca_failed = 0;
        self.ca_pause.backoff = 0;
    }

    fn ca_troubled(&mut self, retry_after: Option<Seconds>, now: Seconds, dice: f64) {
        let wait = jittered(backoff(1, 2, self.ca_failed, HOUR), dice);
        let pause = Pause::new(now, wait, retry_after);
        self.ca_pause.by_ca = self.ca_pause.by_ca.max(pause.by_ca);
        // Several orders meet the same trouble at once: it is one, and not a step each.
        if self.ca_pause.backoff <= now {
            self.ca_pause.backoff = pause.backoff;
            self.ca_failed = self.ca_failed.saturating_add(1);
        }
    }
}

impl Validity {
    fn lifetime(self) -> Seconds {
        self.to.saturating_sub(self.from)
    }

    /// When a third of it is left.
    fn third(self) -> Seconds {
        self.to - self.lifetime() / 3
    }
}

impl Name {
    /// When a certificate is to be renewed: as its CA suggests, else when a third of its lifetime is left; never later than
    /// when a tenth is.
    fn due(&self, validity: Validity) -> Seconds {
        let suggested = (self.renewal.as_ref())
            .filter(|renewal| renewal.of == validity.to)
            .map(|renewal| renewal.at);
        suggested
            .unwrap_or(validity.third())
            .min(validity.to - validity.lifetime() / 10)
    }

    /// Drops the order, if there is one, and waits before the next.
    fn back_off(&mut self, why: &str, retry_after: Option<Seconds>, now: Seconds, dice: f64) {
        self.begun = None;
        self.order = None;
        let backoff = jittered(backoff(MINUTE, 3, self.failed, FAILED_WAIT_MAX), dice);
        self.failed = self.failed.saturating_add(1);
        self.pause = Pause::new(now, backoff, retry_after);
        self.why = Some(cut(why));
    }

    /// When the CA is asked next for its suggestion.
    fn ask_at(&self, validity: Validity) -> Seconds {
        (self.renewal.as_ref())
            .filter(|renewal| renewal.of == validity.to)
            .map_or(0, |renewal| renewal.ask_again)
    }

    /// Until when there is no certificate left for this name; none where there is one. A week is Let's Encrypt's; of
    /// certificates that live for less, as many within a lifetime.
    fn certificate_budget(&self, validity: Option<Validity>, now: Seconds) -> Option<Seconds> {
        let within = validity.map_or(WEEK, Validity::lifetime).min(WEEK);
        let recent = self.issued.iter().filter(|at| **at + within > now);
        let (count, first) =
            recent.fold((0, None), |(count, first): (usize, Option<Seconds>), at| {
                (count + 1, Some(first.map_or(*at, |first| first.min(*at))))
            });
        (count >= ISSUED_MAX).then_some(first? + within)
    }
}

impl Pause {
    fn new(now: Seconds, backoff: Seconds, retry_after: Option<Seconds>) -> Self {
        Self {
            backoff: now + backoff,
            // A CA that names a year is not believed; Let's Encrypt's longest limit is a week.
            by_ca: retry_after.map_or(0, |until| until.min(now + WEEK)),
        }
    }

    fn until(self) -> Seconds {
        self.backoff.max(self.by_ca)
    }
}

/// `first · factor^failed`, and no more than `most`.
fn backoff(first: Seconds, factor: Seconds, failed: u32, most: Seconds) -> Seconds {
    factor
        .saturating_pow(failed)
        .saturating_mul(first)
        .min(most)
}

/// A quarter more or less, so that many who failed at once do not come back at once.
fn jittered(seconds: Seconds, dice: f64) -> Seconds {
    let spread = seconds / 4;
    between(seconds - spread, seconds + spread, dice).max(1)
}

fn between(from: Seconds, to: Seconds, dice: f64) -> Seconds {
    let span = to.saturating_sub(from);
    // Seconds of a lifetime are far below what an f64 counts exactly.
    from + (span as f64 * dice.clamp(0.0, 1.0)) as Seconds
}

/// What a CA says is quoted whole where people read it; what is kept has a bound.
fn cut(why: &str) -> String {
    why.chars().take(WHY_MAX).collect()
}

const MINUTE: Seconds = 60;
const HOUR: Seconds = 3600;
const DAY: Seconds = 24 * HOUR;
const WEEK: Seconds = 7 * DAY;

/// Let's Encrypt refuses a name for an hour after five failed validations. That is for each name and account; counted for the
/// registered domain, it is never more.
pub const FAILED_MAX: usize = 5;
/// Let's Encrypt issues five certificates a week for the same set of names.
pub const ISSUED_MAX: usize = 5;
const FAILED_WAIT_MAX: Seconds = 12 * HOUR;
const WHY_MAX: usize = 2000;

#[cfg(test)]
mod tests;
