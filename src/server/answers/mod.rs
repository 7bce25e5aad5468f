//! What the admin socket's questions are answered with; one file a subject.

mod bindings;
mod certificates;
mod connections;
mod explained;
mod failures;
mod health;
mod metrics;
mod overview;
mod process;
pub(super) mod queues;
mod reload;
mod service;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use serde_json::json;
use tokio::sync::oneshot;

use super::control::{Asked, By, Control, For};
use super::history::History;
use super::pools::{self, Crewed};
use super::{Server, plan};
use crate::admin::{Answer, Backend, Declined, Explained, Form, Question, Told};
use crate::certificate::Certificates;
use crate::config::Config;
use crate::http::Edge;
use crate::listener::{ConnectionLimits, Worker};
use crate::ocsp::Stapler;
use crate::report::{Audited, Report};
use crate::tls::TlsTable;

/// Answers from what is published, and asks the server's life for all that changes something.
pub(super) struct Answers {
    control: Control,
    serving: Arc<Serving>,
}

/// What the server serves with, for whoever asks; the server itself is its life's alone.
pub(super) struct Serving {
    now: ArcSwap<Shown>,
    stapler: Arc<Stapler>,
    report: Arc<Report>,
    limits: Arc<ConnectionLimits>,
    /// A data thread that has ended has let go of its own.
    threads: Box<[Weak<Worker>]>,
    draining: AtomicBool,
    history: Mutex<History>,
    /// Bytes of the metrics when they were last asked for.
    exposed: AtomicUsize,
    began: Instant,
}

/// What a look at the server finds.
struct Shown {
    config: Config,
    /// The same with the ports that the system chose, where it chose any.
    settled: Option<Config>,
    certificates: Arc<Certificates>,
    edge: Arc<Edge>,
    tls_table: Arc<TlsTable>,
    addresses: Vec<SocketAddr>,
}

impl Serving {
    pub(super) fn of(server: &Server) -> Arc<Self> {
        Arc::new(Self {
            now: ArcSwap::from_pointee(Self::look(server)),
            stapler: Arc::clone(server.stapler()),
            report: Arc::clone(&server.report),
            limits: Arc::clone(&server.limits),
            threads: server.workers.clone().into(),
            draining: AtomicBool::new(false),
            history: Mutex::default(),
            exposed: AtomicUsize::new(0),
            began: Instant::now(),
        })
    }

    /// Takes note of what the server serves with now.
    pub(super) fn follow(&self, server: &Server) {
        self.now.store(Arc::new(Self::look(server)));
    }

    /// Takes note of what became of a reload.
    pub(super) fn reloaded(&self, taken: bool) {
        let now = self.now.load();
        let bindings = now.edge.bindings.iter();
        let keys: std::collections::HashSet<_> = bindings.map(|bound| &*bound.key).collect();
        (self.report.metrics()).reloaded(taken, |key| keys.contains(key));
    }

    /// Takes note that the server takes nothing new any more.
    pub(super) fn drains(&self) {
        self.draining.store(true, Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// The last hour. Nothing is left half done under its lock.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The data threads that run.
    fn threads(&self) -> impl Iterator<Item = Arc<Worker>> {
        self.threads.iter().filter_map(Weak::upgrade)
    }

    fn threads_started(&self) -> usize {
        self.threads.len()
    }

    fn look(server: &Server) -> Shown {
        let chosen = server.config().bindings.iter().any(|it| it.port == 0);
        Shown {
            config: server.config().clone(),
            settled: chosen.then(|| server.settled()),
            certificates: Arc::clone(server.certificates()),
            edge: Arc::clone(&server.edge),
            tls_table: Arc::clone(&server.tls_table),
            addresses: server.addresses(),
        }
    }
}

impl Answers {
    pub(super) fn new(control: Control, serving: Arc<Serving>) -> Self {
        Self { control, serving }
    }

    /// Has the configuration taken anew, or only told what that would do.
    fn reload(&self, dry_run: bool, form: Form) -> Answer {
        let control = self.control.clone();
        // Those that are there before it: they are what it is about.
        let crews = plan::crews(&self.serving.now.load().edge);
        Box::pin(async move {
            let crews = crews.await;
            let (reply, result) = oneshot::channel();
            let asked = match dry_run {
                true => Asked::Plan(reply),
                false => Asked::Reload(For::Whom(reply)),
            };
            if !control.ask(asked) {
                return Err(busy());
            }
            match result.await {
                Ok(Ok(reloaded)) => Ok(reload::told(&reloaded, &crews, dry_run, form)),
                Ok(Err(why)) => Err(Declined(why)),
                // It is stopping, and what it is asked is dropped.
                Err(_) => Err(Declined("the server is stopping".into())),
            }
        })
    }

    /// How every pool stands; the workers of those that have some are asked for.
    fn pools(&self, form: Form) -> Answer {
        let report = Arc::clone(&self.serving.report);
        let crewed = Crewed::look(&self.serving.now.load().edge);
        Box::pin(async move { Ok(crewed.await.told(&report.metrics().pools(), form)) })
    }

    /// How all of it is, in short.
    fn overview(&self) -> Answer {
        let serving = Arc::clone(&self.serving);
        let crewed = Crewed::look(&serving.now.load().edge);
        Box::pin(async move { Ok(overview::told(&serving, &crewed.await)) })
    }

    fn explain(&self, asked: Option<Box<Explained>>, form: Form) -> Answer {
        let serving = Arc::clone(&self.serving);
        Box::pin(async move { explained::told(&serving, asked, form).await })
    }

    fn stop(&self, now: bool, form: Form) -> Answer {
        let asked = match now {
            true => Asked::StopNow(By::Administrator),
            false => Asked::Stop(By::Administrator),
        };
        let answer = match self.control.ask(asked) {
            true => Ok(done("stopping", form)),
            false => Err(busy()),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Backend for Answers {
    fn audited(&self, entry: &Audited<'_>) {
        self.serving.report.audited(entry);
    }

    fn answer(&self, question: Question, form: Form) -> Answer {
        let serving = &self.serving;
        let told = match question {
            Question::Certificates => Ok(certificates::told(serving, form)),
            Question::Service => Ok(service::told(serving, form)),
            Question::Bindings => Ok(bindings::told(serving, form)),
            Question::Connections(filter) => Ok(connections::told(serving, filter, form)),
            Question::TlsFailures => Ok(failures::told(serving, form)),
            Question::Metrics => Ok(metrics::told(serving)),
            Question::Live(probe) => health::live(serving, &probe),
            Question::Ready(probe) => health::ready(serving, &probe),
            // Whoever passes questions on has the document himself.
            Question::OpenApi => Err(Declined("there is no document here".into())),
            Question::Pools => return self.pools(form),
            Question::Pool { name, order } => {
                return pools::tell(&serving.now.load().edge, &name, order, form);
            }
            Question::Overview => return self.overview(),
            Question::History => Ok(overview::history(serving)),
            Question::Refusals(wanted) => overview::refusals(serving, &wanted, form),
            Question::Explain(asked) => return self.explain(asked, form),
            Question::LoginCode => Err(Declined("codes are made by the admin address".into())),
            Question::Reload => return self.reload(false, form),
            Question::Plan => return self.reload(true, form),
            Question::Stop { now } => return self.stop(now, form),
        };
        Box::pin(std::future::ready(told))
    }

    fn sample(&self) {
        let serving = &self.serving;
        let look = overview::look(serving);
        let at = serving.began.elapsed();
        serving.history().take(at, SystemTime::now(), look);
    }
}

fn done(what: &str, form: Form) -> Told {
    Told::of(form, || json!({ what: true }), || format!("{what}\n"))
}

fn busy() -> Declined {
    Declined("the server is too busy to be asked; try again".into())
}
