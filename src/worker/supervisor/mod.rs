//! What drives the machine of a pool's workers: starts them, looks after them, and tells of them.
//!
//! It runs off the data threads, for as long as its [`Desk`] is there and then until the last worker is gone.

mod desk;
mod files;
mod hands;
mod history;
mod minding;
mod schedule;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use self::desk::Desk;
use self::desk::{Answer, Order};
use self::hands::Hands;
use self::history::History;
use self::minding::Report;
pub use self::view::{Event as PastEvent, PoolView, WorkerView};
use super::front::{Direction, Front};
use super::launch::OverLimit;
use super::machine::Why;
use super::machine::{Effect, Event, Machine, Note, Rules, Seen, State, Traffic, WorkerId};
use crate::config::{self, IdleAction, StartMode};
use crate::worker::tally::{Failure, Tally};

/// The supervisor of one pool.
pub struct Supervisor {
    front: Arc<dyn Front>,
    machine: Machine,
    hands: Hands,
    history: History,
    tally: Arc<Tally>,
    settings: Arc<config::Process>,
    reports: mpsc::Sender<Report>,
    /// What looks at files and the clock, by the settings.
    watching: Option<JoinHandle<()>>,
    /// Who waits for other workers.
    recycling: Vec<Answer>,
    /// Who waits for the end.
    ending: Vec<oneshot::Sender<()>>,
}

/// What comes in.
struct Inbox {
    orders: mpsc::Receiver<Order>,
    /// Whether there may still be orders.
    open: bool,
    reports: mpsc::Receiver<Report>,
}

/// A supervisor that does not run yet.
pub struct Parked {
    supervisor: Supervisor,
    inbox: Inbox,
}

impl Supervisor {
    /// The supervisor of a pool, for `threads` data threads, and where it is asked. It does nothing before it is run.
    pub fn park(
        pool: &str,
        settings: config::Process,
        threads: usize,
        front: Arc<dyn Front>,
    ) -> (Parked, Desk) {
        let tally = Arc::default();
        let (desk, orders) = Desk::new(&tally);
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        let settings = Arc::new(settings);
        let supervisor = Self {
            machine: Machine::new(rules(&settings), Instant::now()),
            hands: Hands::new(pool, threads, Arc::clone(&front), sender.clone()),
            history: History::new(pool),
            tally,
            front,
            settings,
            reports: sender,
            watching: None,
            recycling: Vec::new(),
            ending: Vec::new(),
        };
        let inbox = Inbox {
            orders,
            open: true,
            reports,
        };
        (Parked { supervisor, inbox }, desk)
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Recycle(answer) => self.recycle(answer),
            Order::Stop(answer) => {
                self.take(Event::Stop);
                let done = "stopped: its workers end when their requests have";
                // Whoever asked may have gone.
                let _ = answer.send(Ok(done.to_owned()));
            }
            Order::Start(answer) => {
                self.take(Event::Start);
                let done = match self.machine.state() {
                    State::Idle => "started: the next request starts its workers",
                    State::Stopped | State::Stopping => "started, but its offline file is there",
                    _ => "started",
                };
                let _ = answer.send(Ok(done.to_owned()));
            }
            Order::Reload(settings) => {
                self.settings = Arc::from(settings);
                self.watch();
                let rules = Box::new(rules(&self.settings));
                self.take(Event::Reload(rules));
            }
            Order::End(done) => {
                self.ending.push(done);
                self.take(Event::End);
            }
            Order::Show(reply) => {
                let _ = reply.send(self.view());
            }
        }
    }

    fn recycle(&mut self, answer: Answer) {
        let before = self.machine.state();
        self.take(Event::Recycle(Why::Command));
        let now = match (before, self.machine.state()) {
            (_, State::Recycling) => {
                self.recycling.push(answer);
                return;
            }
            (State::Stopped | State::Stopping, _) => {
                Err("the pool is stopped; `portunus pool start` starts it")
            }
            (State::Disabled, _) => Err(
                "the pool is disabled, since its application keeps failing; `portunus pool start` tries again",
            ),
            (State::Idle, _) => {
                Ok("there is nothing to recycle: the next request starts new workers")
            }
            _ => Ok("its workers are being started anew"),
        };
        let _ = answer.send(now.map(str::to_owned).map_err(str::to_owned));
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Launched(id, process) => {
                let took = self.hands.launched(id, process, &self.settings);
                if let Some(pid) = took {
                    self.history
                        .note(&format!("worker {} is pid {pid}", id.number));
                }
            }
            Report::NotLaunched(id, why) => {
                self.hands.forget(id);
                let what = format!("worker {} could not be started: {why}", id.number);
                self.take_failure(Event::Died(id, what), Failure::Launch);
            }
            Report::Ready(id) => {
                self.hands.ready(id, &self.settings);
                self.take(Event::Ready(id));
            }
            Report::WarmUp(id, what) => {
                let what = format!("worker {}: warm_up {what}", id.number);
                self.history.warn(&what);
            }
            Report::Died(id, death) => {
                let what = self.hands.died(id, &death);
                if self.machine.is_leaving(id) {
                    match death.is_asked_for() {
                        true => self.history.note(&what),
                        false => self.history.warn(&what),
                    }
                }
                self.take_failure(Event::Died(id, what), Failure::Exit);
            }
            Report::Unresponsive(id, why) => {
                let what = format!("{} {why}", self.hands.name(id));
                self.take_failure(Event::Unresponsive(id, what), Failure::Unresponsive);
            }
            Report::Drained(id) => self.take(Event::Drained(id)),
            Report::OverLimit(id, limit) => {
                let why = match limit {
                    OverLimit::Memory(limit) => Why::Memory {
                        memory: self.hands.memory(id).unwrap_or(limit),
                        limit,
                    },
                    OverLimit::Cpu(percent) => Why::Cpu(percent),
                };
                if self.machine.is_current(id) {
                    self.take(Event::Recycle(why));
                }
            }
            Report::Due(why) => self.take(Event::Recycle(why)),
            Report::Offline(there) => self.take(Event::Offline(there)),
        }
    }

    /// Has the machine take an event, and does what it says.
    fn take(&mut self, event: Event) {
        // Of itself the machine finds that a worker failed when its time to start is over.
        self.take_failure(event, Failure::Startup);
    }

    /// The same; a worker that failed by it has failed in this way.
    fn take_failure(&mut self, event: Event, failure: Failure) {
        for effect in self.machine.on(event, Instant::now()) {
            self.count(&effect, failure);
            self.apply(effect);
        }
        self.tally.stand(self.hands.phases(&self.machine));
    }

    fn count(&self, effect: &Effect, failure: Failure) {
        match effect {
            Effect::Launch(_) => self.tally.starts(),
            Effect::Tell(Note::Recycles(..)) => self.tally.recycles(),
            Effect::Tell(Note::Failed(..)) => self.tally.fails(failure),
            Effect::Tell(Note::Killed(_)) => self.tally.fails(Failure::Shutdown),
            _ => {}
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Traffic(traffic) => self.front.direct(self.direction(traffic)),
            Effect::LetGo(why) => self.front.let_go(why),
            Effect::Launch(id) => self.hands.launch(id, &self.settings),
            Effect::Drain(id) => self.hands.drain(id),
            Effect::Terminate(id) => self.hands.terminate(id),
            Effect::Kill(id) => self.hands.kill(id),
            Effect::Freeze(id) => self.hands.freeze(id),
            Effect::Thaw(id) => self.hands.thaw(id),
            Effect::Tell(note) => {
                self.history.tell(&note);
                self.answer(&note);
            }
        }
    }

    fn direction(&self, traffic: Traffic) -> Direction {
        match traffic {
            Traffic::To(ids) => Direction::To(self.hands.members(&ids)),
            Traffic::Hold => Direction::Hold,
            Traffic::Stopped => Direction::Stopped,
            Traffic::Disabled(why) => Direction::Disabled(why),
            Traffic::Offline => Direction::Offline,
        }
    }

    /// Answers who waits for other workers, if this is what they wait for.
    fn answer(&mut self, note: &Note) {
        let answer = match note {
            Note::Serves(_) => Ok(note.to_string()),
            Note::Kept(..) | Note::Disabled(..) | Note::Offline(true) | Note::Stop => {
                Err(note.to_string())
            }
            _ => return,
        };
        for waits in self.recycling.drain(..) {
            let _ = waits.send(answer.clone());
        }
    }

    /// Tells the machine how the workers do.
    fn sample(&mut self) {
        let with_memory = self.settings.recycle.memory.is_some();
        for (id, seen) in self.hands.sample(with_memory) {
            self.take(Event::Seen(id, seen));
        }
    }

    /// Has files and the clock looked at, as the settings say now.
    fn watch(&mut self) {
        if let Some(before) = self.watching.take() {
            before.abort();
        }
        let watching = files::watch(Arc::clone(&self.settings), self.reports.clone());
        self.watching = Some(tokio::spawn(watching));
    }

    fn view(&self) -> PoolView {
        PoolView {
            state: self.machine.state(),
            workers: self.hands.view(&self.machine),
            failures: self.history.failures(),
            last_failure: self.history.last_failure(),
            history: self.history.events(),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(watching) = self.watching.take() {
            watching.abort();
        }
    }
}

impl Parked {
    /// Runs until the workers are gone for good.
    pub async fn run(self) {
        let Self {
            mut supervisor,
            mut inbox,
        } = self;
        // Before the first worker: where the offline file is there, none is started.
        let offline = files::is_offline(&supervisor.settings).await;
        supervisor.watch();
        // What the machine begins with, and so does not tell.
        supervisor.front.direct(Direction::Hold);
        supervisor.take(Event::Offline(offline));
        let wanted = supervisor.front.wanted();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while !supervisor.machine.is_over() {
            let deadline = supervisor.machine.deadline();
            tokio::select! {
                order = inbox.orders.recv(), if inbox.open => match order {
                    Some(order) => supervisor.order(order),
                    None => {
                        inbox.open = false;
                        supervisor.take(Event::End);
                    }
                },
                Some(report) = inbox.reports.recv() => supervisor.report(report),
                () = wanted.notified() => supervisor.take(Event::Wanted),
                () = at(deadline) => {
                    supervisor.sample();
                    supervisor.take(Event::Tick);
                }
                _ = looks.tick() => supervisor.sample(),
            }
        }
        for done in supervisor.ending.drain(..) {
            let _ = done.send(());
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// What the machine goes by, of a pool's settings.
fn rules(settings: &config::Process) -> Rules {
    let failures = settings.rapid_fail.failures;
    Rules {
        workers: settings.workers,
        always: settings.start_mode == StartMode::Always,
        startup_timeout: settings.startup_timeout,
        shutdown_timeout: settings.shutdown_timeout,
        idle_timeout: settings.idle_timeout,
        suspends: settings.idle_action == IdleAction::Suspend,
        failures_max: failures.map(|failures| failures as usize),
        failures_within: settings.rapid_fail.within,
        probation: settings.rapid_fail.probation,
        recycle_requests: settings.recycle.requests,
        recycle_time: settings.recycle.time,
        recycle_memory: settings.recycle.memory,
    }
}

/// How often it is looked how the workers do, and what has become of files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What workers tell of themselves, and not yet heard.
const REPORTS_MAX: usize = 64;
