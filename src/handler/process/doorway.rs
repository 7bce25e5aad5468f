//! Where new requests go: told by the supervisor, asked by the data threads.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use http::{Method, Response, StatusCode};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::page::Page;
use super::peer::{Peer, Settings};
use crate::config;
use crate::handler::Gate;
use crate::model::{Body, PerThread, Reason, Refusal};
use crate::worker::machine::WorkerId;
use crate::worker::{Asking, Direction, Front, Member, Work};

/// Where new requests go.
pub(super) struct Doorway {
    settings: ArcSwap<Settings>,
    threads: usize,
    route: ArcSwap<Route>,
    /// Told when the route is another.
    changed: Notify,
    /// Told when a request finds nobody.
    wanted: OnceLock<Arc<Notify>>,
    gate: OnceLock<Arc<dyn Gate>>,
    /// Workers that requests are sent to, or were: what is kept for one lasts as long as it does.
    seats: Mutex<BTreeMap<WorkerId, Weak<Seat>>>,
    /// Whose turn it is, where several have as little to do.
    turns: PerThread<AtomicUsize>,
}

/// What is to become of a new request.
enum Route {
    To(Vec<Arc<Seat>>),
    /// It waits for a worker.
    Hold,
    /// It is answered with a page; `wanted` if a worker is to be started for it.
    Page {
        page: Page,
        wanted: bool,
    },
    Stopped,
    Disabled(String),
}

/// A worker, and the connections to it.
pub(super) struct Seat {
    member: Arc<Member>,
    pub(super) peer: Peer,
}

/// A worker that has a request.
pub(super) struct Seated {
    pub(super) seat: Arc<Seat>,
    pub(super) work: Work,
}

impl Doorway {
    pub(super) fn new(settings: Settings, threads: usize) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            threads,
            route: ArcSwap::from_pointee(Route::Hold),
            changed: Notify::new(),
            wanted: OnceLock::new(),
            gate: OnceLock::new(),
            seats: Mutex::default(),
            turns: PerThread::new(threads, |_| AtomicUsize::new(0)),
        }
    }

    /// The settings as they are now.
    pub(super) fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    pub(super) fn reconfigure(&self, settings: &config::Process) {
        match Settings::new(settings) {
            Ok(settings) => self.settings.store(Arc::new(settings)),
            Err(error) => {
                tracing::error!(%error, "new settings of a pool are not taken; requests go on by the old ones");
            }
        }
    }

    /// Until the supervisor says otherwise, requests wait.
    pub(super) fn attach(&self, gate: Arc<dyn Gate>) {
        gate.hold();
        let wanted = gate.wanted();
        // A handler has one pool.
        let _ = (self.wanted.set(wanted), self.gate.set(gate));
    }

    /// The page that is served instead of the application, if one is.
    pub(super) fn page(&self) -> Option<Response<Body>> {
        match &**self.route.load() {
            Route::Page { page, wanted } => {
                if *wanted {
                    self.want();
                }
                Some(page.response())
            }
            _ => None,
        }
    }

    /// The status of that page, where one is served; nobody is woken for it.
    pub(super) fn page_status(&self) -> Option<StatusCode> {
        match &**self.route.load() {
            Route::Page { page, .. } => Some(page.response().status()),
            _ => None,
        }
    }

    /// Finds a worker that has not had the request yet, and waits for one where there is none.
    pub(super) async fn find(
        &self,
        method: &Method,
        path: &str,
        but: &[WorkerId],
    ) -> Result<Seated, Refusal> {
        if let Some(found) = self.look(method, path, but)? {
            return Ok(found);
        }
        Box::pin(self.wait(method, path, but)).await
    }

    async fn wait(&self, method: &Method, path: &str, but: &[WorkerId]) -> Result<Seated, Refusal> {
        let within = self.settings().process.startup_timeout;
        let until = Instant::now() + within;
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = self.look(method, path, but)? {
                return Ok(found);
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                let within = humantime::format_duration(within);
                let detail = format!("no worker was ready within startup_timeout ({within})");
                return Err(Refusal::new(Reason::AppOffline, detail));
            }
        }
    }

    fn look(
        &self,
        method: &Method,
        path: &str,
        but: &[WorkerId],
    ) -> Result<Option<Seated>, Refusal> {
        match &**self.route.load() {
            Route::To(seats) => Ok(self.choose(seats, method, path, but)),
            Route::Hold | Route::Page { .. } => {
                self.want();
                Ok(None)
            }
            Route::Stopped => {
                let detail = "the pool was stopped while the request was on its way to a worker";
                Err(Refusal::new(Reason::AppShutdown, detail))
            }
            Route::Disabled(why) => Err(Refusal::new(Reason::AppOffline, why.clone())),
        }
    }

    /// The worker that has the least to do.
    fn choose(
        &self,
        seats: &[Arc<Seat>],
        method: &Method,
        path: &str,
        but: &[WorkerId],
    ) -> Option<Seated> {
        let turns = self.turns.mine();
        let first = turns.load(Relaxed);
        turns.store(first.wrapping_add(1), Relaxed);
        let in_turn = (0..seats.len()).map(|step| &seats[first.wrapping_add(step) % seats.len()]);
        let fit = in_turn.filter(|seat| !but.contains(&seat.member.id()));
        let seat = fit.min_by_key(|seat| seat.member.in_flight())?;
        let entered = |seat: &Arc<Seat>| {
            Some(Seated {
                work: seat.member.enter(method, path)?,
                seat: Arc::clone(seat),
            })
        };
        // It may have closed since; then any that has not.
        entered(seat).or_else(|| {
            let fit = seats.iter().filter(|seat| !but.contains(&seat.member.id()));
            fit.filter_map(entered).next()
        })
    }

    fn want(&self) {
        self.wanted().notify_one();
    }

    fn wanted(&self) -> &Arc<Notify> {
        self.wanted.get_or_init(Arc::default)
    }

    fn set(&self, route: Route) {
        self.route.store(Arc::new(route));
        self.changed.notify_waiters();
    }

    fn gate(&self, tell: impl FnOnce(&dyn Gate)) {
        if let Some(gate) = self.gate.get() {
            tell(&**gate);
        }
    }

    /// What is kept for each of these workers, made where there is nothing yet.
    fn seats(&self, members: Vec<Arc<Member>>) -> Vec<Arc<Seat>> {
        let settings = self.settings();
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|_, seat| seat.strong_count() > 0);
        let mut kept = Vec::with_capacity(members.len());
        for member in members {
            let id = member.id();
            let seat = seats.get(&id).and_then(Weak::upgrade).unwrap_or_else(|| {
                let peer = Peer::new(member.address(), &settings, self.threads);
                Arc::new(Seat { member, peer })
            });
            seats.insert(id, Arc::downgrade(&seat));
            kept.push(seat);
        }
        kept
    }

    fn splash(&self) -> Option<Page> {
        let file = self.settings().process.splash.clone()?;
        match Page::read(&file) {
            Ok(page) => Some(page),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the splash page cannot be read; requests wait instead");
                None
            }
        }
    }

    fn offline_page(&self) -> Page {
        let settings = self.settings();
        let read = settings.process.offline_file.as_deref().map(Page::read);
        match read {
            Some(Ok(page)) => page,
            _ => Page::none(),
        }
    }
}

impl Front for Doorway {
    fn direct(&self, direction: Direction) {
        match direction {
            Direction::To(members) => {
                self.set(Route::To(self.seats(members)));
                self.gate(|gate| gate.open());
            }
            Direction::Hold => match self.splash() {
                Some(page) => {
                    self.set(Route::Page { page, wanted: true });
                    self.gate(|gate| gate.open());
                }
                None => {
                    self.gate(|gate| gate.hold());
                    self.set(Route::Hold);
                }
            },
            Direction::Stopped => {
                self.gate(|gate| gate.stop());
                self.set(Route::Stopped);
            }
            Direction::Disabled(why) => {
                self.gate(|gate| gate.offline(why.clone()));
                self.set(Route::Disabled(why));
            }
            Direction::Offline => {
                let page = self.offline_page();
                self.set(Route::Page {
                    page,
                    wanted: false,
                });
                self.gate(|gate| gate.open());
            }
        }
    }

    fn let_go(&self, why: String) {
        self.gate(|gate| gate.let_go(why));
    }

    fn wanted(&self) -> Arc<Notify> {
        Arc::clone(Doorway::wanted(self))
    }

    fn ask<'a>(&'a self, member: &'a Member, path: &'a str) -> Asking<'a> {
        Box::pin(async move {
            // A connection of its own: those of the data threads are moved along by their own runtimes.
            let peer = Peer::new(member.address(), &self.settings(), 1);
            let answer = tokio::time::timeout(ASK_MAX, peer.ask(path)).await;
            answer.unwrap_or_else(|_| Err("its answer did not end".to_owned()))
        })
    }
}

/// No start may take longer, and no ping.
const ASK_MAX: Duration = Duration::from_secs(3600);
