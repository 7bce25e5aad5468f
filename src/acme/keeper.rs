//! Keeping certificates: what the ledger says is due is begun, and what comes of it is written down and put in service.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{CertificateIdentifier, Error};
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::challenges::Challenges;
use super::client::RetryAfter;
use super::errand::Errand;
use super::fault::{Blame, Fault};
use super::ledger::{Next, Seconds, Validity, Why};
use super::office::Office;
use super::renew::Request;
use super::{Wanted, now, store, utc};

/// Keeps what is wanted, until nobody wants anything any more.
pub(super) async fn keep(
    mut inbox: watch::Receiver<Option<Arc<Wanted>>>,
    challenges: Arc<Challenges>,
    changed: Box<dyn Fn() -> bool + Send>,
) {
    let mut keeper: Option<Keeper> = None;
    let mut said = false;
    loop {
        let wanted = inbox.borrow_and_update().clone();
        match wanted {
            None => {
                if let Some(old) = keeper.take() {
                    old.close().await;
                }
            }
            Some(wanted) => {
                if let Some(old) = keeper.take_if(|keeper| keeper.office.acme != wanted.acme) {
                    old.close().await;
                }
                match &mut keeper {
                    Some(keeper) => keeper.take(&wanted),
                    None => keeper = open(&wanted, &challenges, &mut said),
                }
            }
        }
        let ended = match &mut keeper {
            Some(keeper) => keeper.run(&mut inbox, &*changed).await,
            // Nothing to do, or the folder is another's: a server that is being replaced lets go of it soon.
            None => tokio::select! {
                changed = inbox.changed() => changed.is_err(),
                () = tokio::time::sleep(LOCK_POLL), if inbox.borrow().is_some() => false,
            },
        };
        if ended {
            return;
        }
    }
}

/// Opens the CA's folder; says once why that cannot be.
fn open(wanted: &Arc<Wanted>, challenges: &Arc<Challenges>, said: &mut bool) -> Option<Keeper> {
    let folder = wanted.acme.folder.display();
    let first = !std::mem::replace(said, true);
    match Office::open(&wanted.acme) {
        Ok(Some(office)) => {
            *said = false;
            Some(Keeper::new(Arc::new(office), wanted, challenges))
        }
        Ok(None) => {
            if first {
                tracing::warn!(%folder, "another server orders certificates here; this one waits until it has ended");
            }
            None
        }
        Err(fault) => {
            if first {
                tracing::error!(
                    why = fault.text,
                    "no certificate can be ordered: `server.state_dir` must be a folder that the server's user can write to"
                );
            }
            None
        }
    }
}

struct Keeper {
    office: Arc<Office>,
    /// Where `cert renew --staging` rehearses; opened when it first does.
    rehearsal: Option<Arc<Office>>,
    challenges: Arc<Challenges>,
    names: Vec<String>,
    /// The certificates in service.
    validity: HashMap<String, Validity>,
    /// Whether something was put in service of which the server has not heard.
    untold: bool,
    jobs: JoinSet<Done>,
    running: Vec<Job>,
    asked: Vec<(Job, Request)>,
}

/// A name, and whether it is rehearsed: one thing at a time is done for each.
type Job = (String, bool);

/// What a job came to.
struct Done {
    job: Job,
    outcome: Outcome,
}

enum Outcome {
    Ordered(Result<Zeroizing<String>, Fault>),
    /// When the CA would have the certificate renewed, and when it wants to be asked again.
    Suggested(Validity, Option<(Seconds, Seconds)>, Seconds),
}

impl Keeper {
    fn new(office: Arc<Office>, wanted: &Arc<Wanted>, challenges: &Arc<Challenges>) -> Self {
        let mut keeper = Self {
            office,
            rehearsal: None,
            challenges: Arc::clone(challenges),
            names: Vec::new(),
            validity: HashMap::new(),
            untold: false,
            jobs: JoinSet::new(),
            running: Vec::new(),
            asked: Vec::new(),
        };
        keeper.take(wanted);
        keeper
    }

    /// Ends what is under way, which goes on when the CA's folder is opened again; then its lock is free.
    async fn close(mut self) {
        self.jobs.shutdown().await;
    }

    /// Takes the names that are wanted, and looks at what is in service.
    fn take(&mut self, wanted: &Arc<Wanted>) {
        self.names.clone_from(&wanted.names);
        self.validity.clear();
        for name in &self.names {
            match self.office.store.certificate(name) {
                Some(certificate) => {
                    self.validity
                        .insert(name.clone(), store::validity(&certificate));
                }
                None => tracing::warn!(
                    name,
                    "there is no certificate yet: a self-signed placeholder is shown until the CA has issued one"
                ),
            }
        }
    }

    /// Works until something else is wanted; whether nobody wants anything any more.
    async fn run(
        &mut self,
        inbox: &mut watch::Receiver<Option<Arc<Wanted>>>,
        changed: &(dyn Fn() -> bool + Send),
    ) -> bool {
        loop {
            self.untold = self.untold && !changed();
            self.hear();
            self.begin_due();
            tokio::select! {
                changed = inbox.changed() => return changed.is_err(),
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.finish(done),
                    Err(error) => {
                        // A job that panicked: nobody knows which, and its order is found again by its URL.
                        tracing::error!(%error, "ordering a certificate failed inside");
                        self.jobs.shutdown().await;
                        self.give_up_all();
                    }
                },
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// What `portunus cert renew` asks.
    fn hear(&mut self) {
        for request in Request::take_all(&self.office.store) {
            let refusal = if self.names.contains(&request.name) {
                request
                    .staging
                    .then(|| self.open_rehearsal())
                    .and_then(Result::err)
            } else {
                Some(format!(
                    "no binding of the running server has `certificate = \"acme\"` for {}",
                    request.name
                ))
            };
            match refusal {
                Some(why) => request.answer(&self.office.store, Err(why)),
                None => self
                    .asked
                    .push(((request.name.clone(), request.staging), request)),
            }
        }
    }

    fn open_rehearsal(&mut self) -> Result<(), String> {
        if self.rehearsal.is_some() {
            return Ok(());
        }
        let staging = self.office.acme.to_staging().ok_or(
            "this CA has no directory to try things out with: set `staging` in [acme] to the URL of one",
        )?;
        let office = Office::open(&staging).map_err(|fault| fault.text)?;
        let office = office.ok_or("another server rehearses in the same folder")?;
        self.rehearsal = Some(Arc::new(office));
        Ok(())
    }

    fn office(&self, rehearsed: bool) -> Option<&Arc<Office>> {
        if rehearsed {
            self.rehearsal.as_ref()
        } else {
            Some(&self.office)
        }
    }

    /// Begins what is due, and answers those who asked for what cannot be.
    fn begin_due(&mut self) {
        let rehearsed = self.asked.iter().map(|(job, _)| job).filter(|job| job.1);
        let jobs: Vec<Job> = (rehearsed.cloned())
            .chain(self.names.iter().map(|name| (name.clone(), false)))
            .collect();
        for job in jobs {
            if self.jobs.len() >= JOBS_MAX {
                return;
            }
            let Some(office) = self.office(job.1).map(Arc::clone) else {
                continue;
            };
            let asked = self.asked.iter().any(|(other, _)| *other == job);
            // A rehearsal too: of two proofs for one name a handshake shows one.
            let running = self.running.iter().any(|(name, _)| *name == job.0);
            // What is rehearsed has no certificate in service, and is due because it is asked for.
            let validity = self.validity.get(&job.0).copied().filter(|_| !job.1);
            match office.look(|ledger| ledger.next(&job.0, validity, asked, running, now())) {
                Next::Order => self.begin(job, &office, false),
                Next::Resume => self.begin(job, &office, true),
                Next::AskRenewal => self.ask_renewal(job, &office),
                Next::Wait(_, Why::UnderWay) => {}
                Next::Wait(until, why) if asked => {
                    let text = format!("not now: {why}; the next try is at {}", utc(until));
                    self.answer(&job, &Err(text));
                }
                Next::Wait(..) => {}
            }
        }
    }

    fn begin(&mut self, job: Job, office: &Arc<Office>, resumed: bool) {
        let (name, rehearsed) = &job;
        if !resumed && let Err(fault) = office.note(|ledger| ledger.begin(name, now())) {
            // What is not written down is not ordered: a restart would forget it, and order again.
            self.failed(&job, office, &fault);
            return;
        }
        let replaces = (office.store.certificate(name))
            .and_then(|certificate| certificate.key.cert.first().cloned())
            .filter(|_| !rehearsed);
        tracing::info!(name, ca = office.acme.directory, challenge = %office.acme.challenge, resumed, rehearsed, "ordering a certificate");
        let errand = Errand {
            office: Arc::clone(office),
            challenges: Arc::clone(&self.challenges),
            name: name.clone(),
            replaces,
        };
        self.running.push(job.clone());
        self.jobs.spawn(async move {
            Done {
                outcome: Outcome::Ordered(errand.run().await),
                job,
            }
        });
    }

    fn ask_renewal(&mut self, job: Job, office: &Arc<Office>) {
        let Some(validity) = self.validity.get(&job.0).copied() else {
            return;
        };
        let office = Arc::clone(office);
        self.running.push(job.clone());
        self.jobs.spawn(async move {
            let (window, again) = suggestion(&office, &job.0).await;
            Done {
                outcome: Outcome::Suggested(validity, window, again),
                job,
            }
        });
    }

    fn finish(&mut self, done: Done) {
        let Done { job, outcome } = done;
        self.running.retain(|other| *other != job);
        let Some(office) = self.office(job.1).map(Arc::clone) else {
            return;
        };
        match outcome {
            Outcome::Suggested(validity, window, again) => {
                let (name, _) = &job;
                let noted = office.note(|ledger| {
                    ledger.suggested(name, validity, window, again, now(), dice());
                });
                if let Err(fault) = noted {
                    tracing::error!(name, why = fault.text, "the CA's suggestion cannot be kept");
                }
            }
            Outcome::Ordered(Err(fault)) => self.failed(&job, &office, &fault),
            Outcome::Ordered(Ok(_)) if job.1 => {
                let noted = office.note(|ledger| ledger.rehearsed(&job.0));
                let text = format!(
                    "{} would issue a certificate for {}; it was thrown away",
                    office.acme.directory, job.0
                );
                self.answer(&job, &noted.map(|()| text).map_err(|fault| fault.text));
            }
            Outcome::Ordered(Ok(pem)) => self.put_in_service(&job, &office, &pem),
        }
    }

    fn put_in_service(&mut self, job: &Job, office: &Arc<Office>, pem: &str) {
        let (name, _) = job;
        let validity = match office.store.put_in_service(name, pem.as_bytes()) {
            Ok(validity) => validity,
            Err(why) => return self.failed(job, office, &Fault::ours(why)),
        };
        if let Err(fault) = office.note(|ledger| ledger.issued(name, now())) {
            tracing::error!(
                name,
                why = fault.text,
                "that a certificate was issued cannot be kept"
            );
        }
        // The certificate's file has it; where this stays behind, the next order overwrites it.
        let _ = std::fs::remove_file(office.store.order_key(name));
        self.validity.insert(name.clone(), validity);
        tracing::info!(name, until = %utc(validity.to), "a certificate was issued");
        self.untold = true;
        let text = format!(
            "a certificate for {name} was issued, and is good until {}",
            utc(validity.to)
        );
        self.answer(job, &Ok(text));
    }

    /// Whatever was under way is tried again later.
    fn give_up_all(&mut self) {
        for job in std::mem::take(&mut self.running) {
            if let Some(office) = self.office(job.1).map(Arc::clone) {
                let fault = Fault {
                    blame: Blame::CaAway,
                    ..Fault::ours("ordering it failed inside; the log says where")
                };
                self.failed(&job, &office, &fault);
            }
        }
    }

    fn failed(&mut self, job: &Job, office: &Arc<Office>, fault: &Fault) {
        let (name, _) = job;
        let noted = office.note(|ledger| match fault.blame {
            Blame::CaAway | Blame::Nonce => {
                ledger.away(name, &fault.text, fault.retry_after, now(), dice())
            }
            Blame::Ours => ledger.hindered(name, &fault.text, now(), dice()),
            Blame::OrderLost => ledger.lost(name, now()),
            Blame::Refused | Blame::AccountLost => {
                ledger.refused(name, &fault.text, fault.retry_after, now(), dice());
            }
        });
        if let Err(fault) = noted {
            tracing::error!(name, why = fault.text, "what failed cannot be kept");
        }
        let validity = self.validity.get(name).copied();
        let next = office.look(|ledger| ledger.next(name, validity, false, false, now()));
        let again = match next {
            Next::Wait(until, _) => until,
            _ => now(),
        };
        let (why, ca) = (&fault.text, &office.acme.directory);
        let good = validity.is_some_and(|validity| validity.to > now());
        let again_at = utc(again);
        if good || !matches!(fault.blame, Blame::Refused | Blame::Ours) {
            tracing::warn!(name, ca, %again_at, why, "no certificate could be had; it is tried again");
        } else {
            tracing::error!(name, ca, %again_at, why, "no certificate could be had, and none that is good is there; it is tried again");
        }
        self.answer(job, &Err(format!("{why}; the next try is at {again_at}")));
    }

    /// Tells those who asked for it what came of it.
    fn answer(&mut self, job: &Job, outcome: &Result<String, String>) {
        let store = &self.office.store;
        self.asked.retain(|(other, request)| {
            if other == job {
                request.answer(store, outcome.clone());
            }
            other != job
        });
    }
}

/// When the CA would have the certificate in service renewed (RFC 9773), and in how many seconds it is asked again.
async fn suggestion(office: &Office, name: &str) -> (Option<(Seconds, Seconds)>, Seconds) {
    let asked = async {
        let certificate = office.store.certificate(name)?;
        let leaf = certificate.key.cert.first()?;
        let id = CertificateIdentifier::try_from(leaf).ok()?;
        let account = office.account(&RetryAfter::default()).await.ok()?;
        match account.renewal_info(&id).await {
            Ok((info, again)) => {
                let seconds =
                    |at: time::OffsetDateTime| u64::try_from(at.unix_timestamp()).unwrap_or(0);
                let window = info.suggested_window;
                if let Some(url) = info.explanation_url {
                    tracing::info!(
                        name,
                        url,
                        "the CA explains when the certificate is to be renewed"
                    );
                }
                Some((
                    Some((seconds(window.start), seconds(window.end))),
                    again.as_secs(),
                ))
            }
            Err(Error::Unsupported(_)) => None,
            Err(error) => {
                tracing::debug!(name, %error, "the CA cannot be asked when to renew");
                // RFC 9773 section 4.3.3: six hours.
                Some((None, SUGGESTION_RETRY))
            }
        }
    };
    asked.await.unwrap_or((None, SUGGESTION_NONE))
}

/// Between 0 and 1.
fn dice() -> f64 {
    let mut bytes = [0; 4];
    // Without chance all that is lost is that many come at once.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

/// Orders at once: a first start with many names shall come to an end, and a CA not be run over.
const JOBS_MAX: usize = 4;
/// How soon a request of `portunus cert renew` is noticed, and a wait that has ended.
const TICK: Duration = Duration::from_millis(500);
const LOCK_POLL: Duration = Duration::from_secs(2);
const SUGGESTION_RETRY: Seconds = 6 * 3600;
const SUGGESTION_NONE: Seconds = 24 * 3600;
