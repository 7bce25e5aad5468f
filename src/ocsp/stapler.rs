//! The thread that keeps staples fresh, and what others hand it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::fetch::fetch;
use super::response::{Verified, read};
use super::schedule::{Chance, Pace, Schedule};
use super::state::{News, Stapling, State, Status, Watched, life};
use super::store::Store;
use super::subject::{Fingerprint, Subject, Unable};
use super::tell;
use crate::certificate::{Certificate, Certificates, Choice, Source};
use crate::config::Config;
use crate::model::HostPattern;

/// Keeps the staples of a server's certificates fresh. Dropping it ends its thread.
pub struct Stapler {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
    is_running: AtomicBool,
    is_over: AtomicBool,
    /// Since the start: responses that were good, and those that did not come or were not.
    fetched: [AtomicU64; 2],
}

/// Certificates that are about to be shown, with the staples that there are already.
pub struct Prepared {
    store: Store,
    watched: HashMap<Fingerprint, Watched>,
    unable: Vec<(Arc<Certificate>, Unable)>,
}

impl Default for Stapler {
    fn default() -> Self {
        Self::with_pace(Pace::USUAL)
    }
}

impl Stapler {
    pub(super) fn with_pace(pace: Pace) -> Self {
        let state = State {
            schedule: Schedule::new(pace),
            watched: HashMap::new(),
            unable: Vec::new(),
            store: Store::default(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                wake: Notify::new(),
                is_running: AtomicBool::new(false),
                is_over: AtomicBool::new(false),
                fetched: Default::default(),
            }),
        }
    }

    /// Staples what is known already to the certificates of a configuration: from before a reload, or from disk. Waits for
    /// nobody. Nothing else changes before [`Stapler::take`].
    pub fn prepare(&self, config: &Config, certificates: &Certificates) -> Prepared {
        let (on, off): (Vec<_>, Vec<_>) =
            (shown(config, certificates).into_iter()).partition(|(_, stapling)| *stapling);
        let wanted = on.into_iter().map(|(certificate, _)| certificate);
        let mut prepared = self.prepare_these(&config.server.state_dir, wanted.collect());
        for (certificate, _) in off {
            if certificate.requires_staple() {
                prepared.unable.push((certificate, Unable::Off));
            }
        }
        prepared
    }

    pub(super) fn prepare_these(
        &self,
        state_dir: &Path,
        certificates: Vec<Arc<Certificate>>,
    ) -> Prepared {
        let now = SystemTime::now();
        let mut prepared = Prepared {
            store: Store::below(state_dir),
            watched: HashMap::new(),
            unable: Vec::new(),
        };
        for certificate in certificates {
            match Subject::of(&certificate.arranged().cert) {
                Err(why) => prepared.unable.push((certificate, why)),
                Ok(subject) => (prepared.watched.entry(subject.fingerprint))
                    .or_insert_with(|| Watched {
                        subject: Arc::new(subject),
                        certificates: Vec::new(),
                        current: None,
                        last_error: None,
                    })
                    .certificates
                    .push(certificate),
            }
        }
        for (fingerprint, watched) in &mut prepared.watched {
            let known = self.shared.lock().known(*fingerprint);
            watched.current = known.or_else(|| {
                let response: Arc<[u8]> = prepared.store.load(*fingerprint)?.into();
                let verified = read(&response, &watched.subject, now).ok()?;
                Some((response, verified))
            });
            watched.show();
        }
        prepared
    }

    /// How often a responder was asked since the start and gave a response that could be used, and how often none came or it could
    /// not.
    pub fn fetched(&self) -> (u64, u64) {
        let [answered, failed] = &self.shared.fetched;
        (
            answered.load(Ordering::Relaxed),
            failed.load(Ordering::Relaxed),
        )
    }

    /// From now on these certificates are shown, and no others.
    pub fn take(&self, prepared: Prepared) {
        let now = SystemTime::now();
        let mut state = self.shared.lock();
        for (certificate, why) in &prepared.unable {
            let is_new = !(state.unable.iter())
                .any(|(told, before)| told.is_same(certificate) && before == why);
            if is_new {
                tell::unable(certificate, why);
            }
        }
        let mut watched = prepared.watched;
        for (fingerprint, new) in &mut watched {
            if let Some(old) = state.watched.get_mut(fingerprint) {
                // It may have changed since they were prepared.
                new.current = old.current.take().or_else(|| new.current.take());
                new.last_error = old.last_error.take();
                new.show();
            }
            if !state.schedule.knows(*fingerprint) {
                tell::new(new);
                let responder = &new.subject.responder;
                state.schedule.add(
                    *fingerprint,
                    format!("{}:{}", responder.host, responder.port).into(),
                    new.subject.not_after,
                    new.current.as_ref().map(|(_, verified)| life(verified)),
                    (now, chance()),
                );
            }
        }
        state
            .schedule
            .retain(|fingerprint| watched.contains_key(&fingerprint));
        state.watched = watched;
        state.unable = prepared.unable;
        state.store = prepared.store;
        let is_needed = !state.watched.is_empty();
        drop(state);
        match is_needed {
            true => self.start(),
            false => self.shared.wake.notify_one(),
        }
    }

    /// Most servers' certificates name no responder: they need no thread.
    fn start(&self) {
        self.shared.wake.notify_one();
        if self.shared.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let started = (std::thread::Builder::new().name("ocsp".into())).spawn(move || run(&shared));
        if let Err(error) = started {
            self.shared.is_running.store(false, Ordering::Release);
            tracing::warn!(%error, "OCSP responses cannot be fetched: the system gives no thread");
        }
    }

    /// How the staple of every certificate stands that bindings with `ocsp_stapling` may show.
    pub fn report(&self) -> Vec<Stapling> {
        self.shared.lock().report(SystemTime::now())
    }
}

impl Drop for Stapler {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&self, fingerprint: Fingerprint) -> Option<(Arc<[u8]>, Verified)> {
        self.watched.get(&fingerprint)?.current.clone()
    }
}

/// Every certificate that the bindings may show, each once, and whether `ocsp_stapling` is on where it is shown.
fn shown(config: &Config, certificates: &Certificates) -> Vec<(Arc<Certificate>, bool)> {
    let mut shown: Vec<(Arc<Certificate>, bool)> = Vec::new();
    for binding in &config.bindings {
        let Some(tls) = &binding.tls else { continue };
        let mut add = |certificate: &Arc<Certificate>| {
            shown.push((Arc::clone(certificate), tls.ocsp_stapling));
        };
        match (certificates.source(binding), &binding.hostname) {
            (None, _) => {}
            (Some(Source::Named(choice)), _) => choice.all().for_each(add),
            (
                Some(Source::Folder(folder) | Source::Ordered(folder, _)),
                HostPattern::Exact(host),
            ) => {
                let choices = [folder.choice(host), folder.default_choice()];
                (choices.into_iter().flatten().flat_map(Choice::all)).for_each(add);
            }
            (Some(Source::Folder(folder) | Source::Ordered(folder, _)), _) => {
                folder.iter().for_each(|(_, of)| add(of))
            }
        }
    }
    shown.sort_by_key(|(certificate, on)| (Arc::as_ptr(certificate), *on));
    shown.dedup_by(|a, b| Arc::ptr_eq(&a.0, &b.0) && a.1 == b.1);
    shown
}

/// The thread.
fn run(shared: &Arc<Shared>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // They look names up.
        .max_blocking_threads(8)
        .build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(work(shared));
            // The system may look a name up for longer than anybody waits for it.
            runtime.shutdown_background();
        }
        Err(error) => {
            shared.is_running.store(false, Ordering::Release);
            tracing::warn!(%error, "OCSP responses cannot be fetched");
        }
    }
}

/// What came of asking: a response and what it says, or why not.
type Answer = Result<(Arc<[u8]>, Verified), String>;

async fn work(shared: &Shared) {
    let mut asking: JoinSet<Answer> = JoinSet::new();
    // A task that panics is known by its id alone.
    let mut asked = HashMap::new();
    shared.tidy();
    while !shared.is_over.load(Ordering::Acquire) {
        let now = SystemTime::now();
        for subject in shared.begin(now) {
            let fingerprint = subject.fingerprint;
            asked.insert(asking.spawn(ask(subject)).id(), fingerprint);
        }
        let rest = shared.lock().schedule.rest(now);
        tokio::select! {
            Some(ended) = asking.join_next_with_id(), if !asking.is_empty() => {
                let (id, answer) = match ended {
                    Ok((id, answer)) => (id, answer),
                    Err(error) => (error.id(), Err(error.to_string())),
                };
                if let Some(fingerprint) = asked.remove(&id) {
                    shared.settle(fingerprint, answer);
                }
            }
            () = shared.wake.notified() => shared.tidy(),
            () = tokio::time::sleep(rest) => {}
        }
    }
}

async fn ask(subject: Arc<Subject>) -> Answer {
    let request = subject.request().map_err(|error| error.to_string())?;
    let response = (fetch(&subject.responder, request).await).map_err(|error| error.to_string())?;
    let verified = read(&response, &subject, SystemTime::now())?;
    Ok((Arc::from(&*response), verified))
}

impl Shared {
    /// Those that are to be asked for now; and says whose staple has run out.
    fn begin(&self, now: SystemTime) -> Vec<Arc<Subject>> {
        let mut state = self.lock();
        for fingerprint in state.schedule.ran_out(now) {
            let watched = state.watched.get(&fingerprint);
            if let Some(watched) = watched.filter(|watched| watched.status(now) == Status::RanOut) {
                tell::ran_out(watched);
            }
        }
        let due = state.schedule.start(now);
        due.iter()
            .filter_map(|fingerprint| Some(Arc::clone(&state.watched.get(fingerprint)?.subject)))
            .collect()
    }

    fn settle(&self, fingerprint: Fingerprint, answer: Answer) {
        let response = answer
            .as_ref()
            .ok()
            .map(|(response, _)| Arc::clone(response));
        let (news, store) = {
            let mut state = self.lock();
            let news = state.settle(fingerprint, answer, (SystemTime::now(), chance()));
            if let Some(watched) = state.watched.get(&fingerprint) {
                tell::news(watched, &news);
            }
            (news, state.store.clone())
        };
        let failed = matches!(news, News::Failed(..));
        self.fetched[usize::from(failed)].fetch_add(1, Ordering::Relaxed);
        if let (News::Stapled(_) | News::Renewed(_) | News::Revoked(_), Some(response)) =
            (&news, response)
            && let Err(error) = store.save(fingerprint, &response)
        {
            let folder = store.folder().display();
            tracing::warn!(%folder, %error, "an OCSP response cannot be kept for the next start; give server.state_dir to the server's user");
        }
    }

    fn tidy(&self) {
        let (store, known) = {
            let state = self.lock();
            let known: Vec<String> = state.watched.keys().map(ToString::to_string).collect();
            (state.store.clone(), known)
        };
        store.tidy(
            |name| known.iter().any(|known| known == name),
            SystemTime::now(),
        );
    }
}

fn chance() -> Chance {
    let mut bytes = [0; 4];
    // Without chance, everybody asks at the same moment; that is all.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
