//! The workers that there are, and what is done to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use super::minding::{self, Report};
use super::view::WorkerView;
use super::{Front, Machine, Seen, WorkerId};
use crate::config;
use crate::worker::Member;
use crate::worker::death::Death;
use crate::worker::launch::{self, LaunchSpec, Process};

/// The workers of one pool.
pub(super) struct Hands {
    pool: String,
    threads: usize,
    front: Arc<dyn Front>,
    reports: mpsc::Sender<Report>,
    workers: BTreeMap<WorkerId, Worker>,
}

struct Worker {
    born: Instant,
    /// Once it is launched.
    running: Option<Running>,
    /// What it was told before that.
    told: Told,
    /// What looks after it, ended with it.
    tasks: Vec<AbortHandle>,
    freezing: Option<AbortHandle>,
}

struct Running {
    process: Arc<Process>,
    member: Arc<Member>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Terminate,
    Kill,
}

impl Hands {
    pub(super) fn new(
        pool: &str,
        threads: usize,
        front: Arc<dyn Front>,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        Self {
            pool: pool.to_owned(),
            threads,
            front,
            reports,
            workers: BTreeMap::new(),
        }
    }

    /// Starts a worker.
    pub(super) fn launch(&mut self, id: WorkerId, settings: &config::Process) {
        let spec = LaunchSpec::new(&self.pool, id.number, settings);
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let report = match launch::launch(&spec).await {
                Ok(process) => Report::Launched(id, process),
                Err(error) => Report::NotLaunched(id, error.to_string()),
            };
            // The supervisor is there until the worker is gone.
            let _ = reports.send(report).await;
        });
        let worker = Worker {
            born: Instant::now(),
            running: None,
            told: Told::Nothing,
            tasks: Vec::new(),
            freezing: None,
        };
        self.workers.insert(id, worker);
    }

    /// A worker runs. What it was told meanwhile is told now; gives its process.
    pub(super) fn launched(
        &mut self,
        id: WorkerId,
        process: Process,
        settings: &Arc<config::Process>,
    ) -> Option<u32> {
        let worker = self.workers.get_mut(&id)?;
        let pid = process.pid();
        let member = Member::new(id, pid, process.address().clone(), self.threads);
        let (process, member) = (Arc::new(process), Arc::new(member));
        let mut tasks = minding::Tasks::new(id, &self.reports);
        tasks.end(&process);
        tasks.limits(&process);
        match worker.told {
            Told::Nothing => tasks.start(&self.front, &member, settings),
            Told::Terminate => process.terminate(),
            Told::Kill => process.kill_group(),
        }
        worker.tasks.extend(tasks.handles());
        worker.running = Some(Running { process, member });
        Some(pid)
    }

    /// A worker is ready: from now on it is asked whether it still lives.
    pub(super) fn ready(&mut self, id: WorkerId, settings: &Arc<config::Process>) {
        if let Some(worker) = self.workers.get_mut(&id)
            && let Some(running) = &worker.running
        {
            let mut tasks = minding::Tasks::new(id, &self.reports);
            tasks.ping(&self.front, &running.member, settings);
            worker.tasks.extend(tasks.handles());
        }
    }

    /// A worker is gone; says how, in a sentence.
    pub(super) fn died(&mut self, id: WorkerId, death: &Death) -> String {
        let name = self.name(id);
        let Some(worker) = self.workers.remove(&id) else {
            return format!("{name} {death}");
        };
        let Some(running) = &worker.running else {
            return format!("{name} {death}");
        };
        let member = &running.member;
        let serving = member.serving();
        let what = match serving.is_nothing() {
            true => format!("{name} {death}"),
            false => format!("{name} {death}; {serving}"),
        };
        member.died(&what);
        what
    }

    pub(super) fn forget(&mut self, id: WorkerId) {
        self.workers.remove(&id);
    }

    /// How a worker is called.
    pub(super) fn name(&self, id: WorkerId) -> String {
        let running = self.workers.get(&id).and_then(|it| it.running.as_ref());
        match running {
            Some(running) => format!("worker {} (pid {})", id.number, running.member.pid()),
            None => format!("worker {}", id.number),
        }
    }

    pub(super) fn members(&self, ids: &[WorkerId]) -> Vec<Arc<Member>> {
        let running = ids
            .iter()
            .filter_map(|id| self.workers.get(id)?.running.as_ref());
        running.map(|it| Arc::clone(&it.member)).collect()
    }

    pub(super) fn memory(&self, id: WorkerId) -> Option<u64> {
        self.workers.get(&id)?.running.as_ref()?.process.memory()
    }

    /// Nobody sends it anything more, and its last request is told of.
    pub(super) fn drain(&mut self, id: WorkerId) {
        self.end_freezing(id, true);
        if let Some(worker) = self.workers.get_mut(&id)
            && let Some(running) = &worker.running
        {
            running.member.close();
            let (member, reports) = (Arc::clone(&running.member), self.reports.clone());
            let draining = tokio::spawn(async move {
                member.drained().await;
                let _ = reports.send(Report::Drained(id)).await;
            });
            worker.tasks.push(draining.abort_handle());
        }
    }

    pub(super) fn terminate(&mut self, id: WorkerId) {
        self.end_freezing(id, true);
        self.tell(id, Told::Terminate, |process| process.terminate());
    }

    pub(super) fn kill(&mut self, id: WorkerId) {
        self.end_freezing(id, false);
        self.tell(id, Told::Kill, |process| process.kill_group());
    }

    fn tell(&mut self, id: WorkerId, told: Told, tell: impl Fn(&Process)) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.told = worker.told.max(told);
        if let Some(running) = &worker.running {
            running.member.close();
            tell(&running.process);
        }
    }

    /// Has it stand still as soon as nothing is sent to it any more.
    pub(super) fn freeze(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id)
            && let Some(Running { process, member }) = &worker.running
        {
            member.close();
            let (member, process) = (Arc::clone(member), Arc::clone(process));
            let freezing: JoinHandle<()> = tokio::spawn(async move {
                member.drained().await;
                process.freeze();
            });
            worker.freezing = Some(freezing.abort_handle());
        }
    }

    pub(super) fn thaw(&mut self, id: WorkerId) {
        self.end_freezing(id, true);
        if let Some(worker) = self.workers.get(&id)
            && let Some(running) = &worker.running
        {
            running.member.open();
        }
    }

    /// Whoever stands still hears nothing of SIGTERM.
    fn end_freezing(&mut self, id: WorkerId, thaw: bool) {
        if let Some(worker) = self.workers.get_mut(&id)
            && let Some(freezing) = worker.freezing.take()
        {
            freezing.abort();
            if let Some(running) = worker.running.as_ref().filter(|_| thaw) {
                running.process.thaw();
            }
        }
    }

    /// How those do that take requests, or may.
    pub(super) fn sample(&self, with_memory: bool) -> Vec<(WorkerId, Seen)> {
        let running =
            (self.workers.iter()).filter_map(|(id, worker)| Some((*id, worker.running.as_ref()?)));
        let seen = running.filter(|(_, it)| !it.member.is_closed());
        seen.map(|(id, it)| {
            let seen = Seen {
                requests: it.member.entered(),
                in_flight: it.member.in_flight(),
                memory: with_memory.then(|| it.process.memory()).flatten(),
            };
            (id, seen)
        })
        .collect()
    }

    /// The phase that each of them is in.
    pub(super) fn phases(&self, machine: &Machine) -> impl Iterator<Item = &'static str> {
        self.workers.keys().map(|id| machine.phase(*id))
    }

    pub(super) fn view(&self, machine: &Machine) -> Vec<WorkerView> {
        let view = |(id, worker): (&WorkerId, &Worker)| {
            let running = worker.running.as_ref();
            let member = running.map(|it| &it.member);
            WorkerView {
                number: id.number,
                generation: id.generation,
                pid: member.map(|it| it.pid()),
                state: machine.phase(*id),
                age: worker.born.elapsed(),
                requests: member.map_or(0, |it| it.entered()),
                in_flight: member.map_or(0, |it| it.in_flight()),
                memory_bytes: running.and_then(|it| it.process.memory()),
                cpu: running.and_then(|it| it.process.cpu()),
            }
        };
        self.workers.iter().map(view).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for task in self.tasks.iter().chain(&self.freezing) {
            task.abort();
        }
    }
}
