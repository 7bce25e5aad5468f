//! What workers may use of the machine: kept by the kernel for a group of processes where cgroups can be had, else by what it
//! counts for each process, and by watching.

mod groups;
mod processes;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::death::{Cause, MemoryLimit};
use super::launch::Limit;
use crate::config::{AtLimit, WorkerLimits};
use groups::Group;
pub(super) use processes::processes;
pub(super) use watch::{Reached, Watch};

/// How a worker's limits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InForce {
    /// By a cgroup.
    Group,
    /// By what the kernel counts for each process, and by watching.
    Processes,
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "cgroup",
            Self::Processes => "rlimits",
        })
    }
}

/// What a worker uses, and the means to keep it within.
#[derive(Debug)]
pub(super) struct Measure {
    group: Option<Group>,
    memory_max: Option<u64>,
    /// The keeper's process; 0 until there is one.
    keeper: AtomicU32,
    /// How often the machine's memory had run out when we last looked.
    machine_oom: AtomicU64,
}

/// Makes what keeps a worker's limits.
pub(super) fn prepare(pool: &str, worker: u64, limits: &WorkerLimits) -> Measure {
    let group = groups::tree().and_then(|tree| match tree.group(pool, worker, limits) {
        Ok(group) => Some(group),
        Err(error) => {
            tracing::warn!(pool, worker, %error, "no cgroup can be made for a worker: its limits are kept without");
            None
        }
    });
    if group.is_none() {
        for what in not_kept(limits) {
            tracing::warn!(pool, worker, "{what}");
        }
    }
    Measure {
        group,
        memory_max: limits.memory,
        keeper: AtomicU32::new(0),
        machine_oom: AtomicU64::new(processes::machine_oom()),
    }
}

/// What cannot be kept without a cgroup.
fn not_kept(limits: &WorkerLimits) -> Vec<&'static str> {
    let mut what = Vec::new();
    if limits.memory.is_some() && limits.on_memory == AtLimit::Throttle {
        what.push("limits.memory cannot throttle without cgroups: the worker is let alone (docs/workers.md#limits)");
    }
    if limits.cpu.is_some() && limits.on_cpu == AtLimit::Throttle {
        what.push("limits.cpu cannot throttle without cgroups: the worker is let alone (docs/workers.md#limits)");
    }
    what
}

/// The limits that each process of a worker has by itself.
pub(super) fn of_process(limits: &WorkerLimits, in_force: InForce) -> Vec<(Limit, u64)> {
    let mut all = Vec::new();
    if let Some(files) = limits.files {
        all.push((Limit::Files, files));
    }
    if in_force == InForce::Group {
        return all;
    }
    if let Some(processes) = limits.processes {
        all.push((Limit::Processes, processes));
    }
    if let Some(memory) = limits.memory
        && limits.on_memory != AtLimit::Throttle
    {
        all.push((Limit::Data, memory.saturating_mul(2).saturating_add(STACKS)));
    }
    all
}

/// What a process could write counts, written or not: the stacks of its threads, and what its runtime sets aside. The wall
/// stands behind the limit, for what grows faster than we look.
const STACKS: u64 = 256 << 20;

impl Measure {
    pub(super) fn in_force(&self) -> InForce {
        match self.group {
            Some(_) => InForce::Group,
            None => InForce::Processes,
        }
    }

    /// The file that a process joins its group by.
    pub(super) fn join(&self) -> Option<PathBuf> {
        self.group.as_ref().map(Group::join)
    }

    /// Its keeper is this process.
    pub(super) fn begin(&self, keeper: u32) {
        self.keeper.store(keeper, Ordering::Relaxed);
    }

    /// The memory of all its processes, in bytes; none where that cannot be known.
    pub(super) fn memory(&self) -> Option<u64> {
        match &self.group {
            Some(group) => group.memory(),
            None => processes::memory(&self.processes()),
        }
    }

    /// The processor time that all of them have used.
    pub(super) fn cpu(&self) -> Option<Duration> {
        match &self.group {
            Some(group) => group.cpu(),
            None => processes::cpu(&self.processes()),
        }
    }

    fn processes(&self) -> Vec<processes::Seen> {
        processes::below(&processes(), self.keeper.load(Ordering::Relaxed))
    }

    /// Kills all of them at once, where the kernel can.
    pub(super) fn kill(&self) {
        if let Some(group) = &self.group {
            group.kill();
        }
    }

    /// Stops all of them at once, or lets them go on; false where the kernel cannot.
    pub(super) fn freeze(&self, freeze: bool) -> bool {
        self.group
            .as_ref()
            .is_some_and(|group| group.freeze(freeze))
    }

    /// Notes how often the machine's memory has run out, so that an end soon after can be told to be of that.
    fn look_at_machine(&self) {
        let count = processes::machine_oom();
        self.machine_oom.store(count, Ordering::Relaxed);
    }

    /// The cause of its end, if it was the memory.
    pub(super) fn out_of_memory(&self, cause: Cause) -> Option<Cause> {
        if let Some(group) = &self.group {
            let killed = group.out_of_memory()?;
            let own = self.memory_max.filter(|_| killed.own_limit);
            return Some(Cause::OutOfMemory(
                own.map_or(MemoryLimit::Machine, MemoryLimit::Group),
            ));
        }
        let killed = matches!(cause, Cause::Signalled { signal: 9, .. });
        let before = self.machine_oom.load(Ordering::Relaxed);
        (killed && processes::machine_oom() > before)
            .then_some(Cause::OutOfMemory(MemoryLimit::Machine))
    }

    /// Nothing of it is left.
    pub(super) fn end(&self) {
        if let Some(group) = &self.group {
            group.remove();
        }
    }
}
