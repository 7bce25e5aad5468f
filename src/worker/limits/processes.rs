//! What /proc says of processes, for where there are no cgroups.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::Duration;

/// A process, as /proc shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Seen {
    pub(in crate::worker) pid: u32,
    pub(in crate::worker) parent: u32,
    /// Its own processor time, and that of children that it has waited for, in clock ticks.
    ticks: u64,
}

/// All processes that may be seen.
pub(in crate::worker) fn processes() -> Vec<Seen> {
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let seen = |entry: std::io::Result<fs::DirEntry>| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        // It may have ended this moment.
        read_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    };
    all.filter_map(seen).collect()
}

/// proc_pid_stat(5). The name in parentheses may hold anything, a parenthesis and a line's end too.
pub(super) fn read_stat(pid: u32, stat: &str) -> Option<Seen> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let _state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // From the group (5) on to the first of the times (14).
    let mut times = fields.skip(9);
    let mut time = || times.next()?.parse::<i64>().ok();
    let all = [time()?, time()?, time()?, time()?];
    let ticks = all.iter().map(|ticks| ticks.unsigned_abs()).sum();
    Some(Seen { pid, parent, ticks })
}

/// Those that stand below a process, however deep.
pub(super) fn below(all: &[Seen], top: u32) -> Vec<Seen> {
    let mut children: HashMap<u32, Vec<Seen>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    let mut next = vec![top];
    while let Some(parent) = next.pop() {
        // /proc is no single moment: what was read of it could go round.
        if !seen.insert(parent) {
            continue;
        }
        for child in children.get(&parent).into_iter().flatten() {
            found.push(*child);
            next.push(child.pid);
        }
    }
    found
}

/// What these processes have for themselves: what is resident, less what is shared with files. Pages that a forked process
/// still shares with its parent count for each of the two.
pub(super) fn memory(processes: &[Seen]) -> Option<u64> {
    let page =
        u64::try_from(nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??).ok()?;
    let own = |process: &Seen| {
        let statm = fs::read_to_string(format!("/proc/{}/statm", process.pid)).ok()?;
        let mut fields = statm.split_ascii_whitespace().skip(1);
        let resident: u64 = fields.next()?.parse().ok()?;
        let shared: u64 = fields.next()?.parse().ok()?;
        Some(resident.saturating_sub(shared) * page)
    };
    let all: Vec<u64> = processes.iter().filter_map(own).collect();
    (!all.is_empty()).then(|| all.iter().sum())
}

/// The processor time that they have used.
pub(super) fn cpu(processes: &[Seen]) -> Option<Duration> {
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    let per_second = u64::try_from(per_second).ok().filter(|ticks| *ticks > 0)?;
    let ticks: u64 = processes.iter().map(|process| process.ticks).sum();
    (!processes.is_empty()).then(|| Duration::from_millis(ticks * 1000 / per_second))
}

/// How often the kernel has killed somebody because memory ran out.
pub(super) fn machine_oom() -> u64 {
    let all = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = all.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}
