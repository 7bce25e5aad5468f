//! Watching what the kernel does not keep by itself. The decisions are pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{InForce, Measure};
use crate::config::{AtLimit, WorkerLimits};
use crate::worker::death::{Cause, MemoryLimit};
use crate::worker::launch::OverLimit;

/// What is to be done about a limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Reached {
    /// It is to be replaced.
    Replace(OverLimit),
    /// It is to be killed.
    Kill(Cause),
}

/// What is watched of a worker.
#[derive(Debug)]
pub(in crate::worker) struct Watch {
    limits: WorkerLimits,
    in_force: InForce,
    /// When how much processor time had been used, over the last minute.
    used: VecDeque<(Instant, Duration)>,
    /// It is told of once: it is then being replaced.
    told: bool,
}

/// IIS looks at the processor time of five minutes by default, which a visitor does not wait for.
const CPU_WINDOW: Duration = Duration::from_secs(60);
const CLOSE: Duration = Duration::from_secs(1);
const FAR: Duration = Duration::from_secs(30);

impl Watch {
    pub(in crate::worker) fn new(limits: &WorkerLimits, in_force: InForce) -> Self {
        Self {
            limits: *limits,
            in_force,
            used: VecDeque::new(),
            told: false,
        }
    }

    /// How often to look.
    pub(in crate::worker) fn every(&self) -> Duration {
        match self.memory().is_some() || self.cpu().is_some() {
            true => CLOSE,
            false => FAR,
        }
    }

    /// The limit of memory that is ours to keep.
    fn memory(&self) -> Option<u64> {
        let ours = match self.limits.on_memory {
            AtLimit::Throttle => false,
            AtLimit::Recycle => true,
            AtLimit::Kill => self.in_force == InForce::Processes,
        };
        self.limits.memory.filter(|_| ours)
    }

    /// The limit of processor time that is ours to keep.
    fn cpu(&self) -> Option<u32> {
        let ours = self.limits.on_cpu != AtLimit::Throttle;
        self.limits.cpu.filter(|_| ours)
    }

    /// Looks at a worker.
    pub(in crate::worker) fn look(&mut self, measure: &Measure) -> Option<Reached> {
        measure.look_at_machine();
        let memory = self.memory().and_then(|_| measure.memory());
        let cpu = self.cpu().and_then(|_| measure.cpu());
        self.decide(Instant::now(), memory, cpu)
    }

    /// What is to be done of what was seen.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        memory: Option<u64>,
        cpu: Option<Duration>,
    ) -> Option<Reached> {
        let reached = self.of_memory(memory).or_else(|| self.of_cpu(now, cpu));
        if let Some(Reached::Replace(_)) = reached
            && std::mem::replace(&mut self.told, true)
        {
            return None;
        }
        reached
    }

    fn of_memory(&self, memory: Option<u64>) -> Option<Reached> {
        let max = self.memory()?;
        if memory? < max {
            return None;
        }
        Some(match self.limits.on_memory {
            AtLimit::Recycle => Reached::Replace(OverLimit::Memory(max)),
            _ => Reached::Kill(Cause::OutOfMemory(MemoryLimit::Watched(max))),
        })
    }

    fn of_cpu(&mut self, now: Instant, used: Option<Duration>) -> Option<Reached> {
        let percent = self.cpu()?;
        let used = used?;
        self.used.push_back((now, used));
        // The oldest is the last that lies the whole window back.
        while let Some((next, _)) = self.used.get(1)
            && now.saturating_duration_since(*next) >= CPU_WINDOW
        {
            self.used.pop_front();
        }
        let (first, before) = *self.used.front()?;
        let passed = now.saturating_duration_since(first);
        if passed < CPU_WINDOW {
            return None;
        }
        // Processes that have ended take their time with them, where nobody waited for them.
        let share = used.saturating_sub(before).as_secs_f64() / passed.as_secs_f64();
        if share * 100.0 < f64::from(percent) {
            return None;
        }
        Some(match self.limits.on_cpu {
            AtLimit::Recycle => Reached::Replace(OverLimit::Cpu(percent)),
            _ => Reached::Kill(Cause::OutOfCpu(percent)),
        })
    }
}
