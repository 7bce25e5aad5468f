//! What the system says of this process, as every exporter of Prometheus tells it.

use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};

/// What it uses.
pub(super) struct Process {
    pub(super) cpu: Duration,
    pub(super) open_files: usize,
    pub(super) open_files_max: u64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
}

impl Process {
    /// Now. What the system does not say is 0.
    pub(super) fn now() -> Self {
        let (virtual_pages, resident_pages) = pages().unwrap_or_default();
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
        let page = page.ok().flatten().map_or(4096, |page| page as u64);
        Self {
            cpu: cpu().unwrap_or_default(),
            open_files: open_files(),
            open_files_max: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
            resident_bytes: resident_pages * page,
            virtual_bytes: virtual_pages * page,
        }
    }
}

/// The size of their folder, as Linux has it since 6.2; before, it is 0, and they are counted, which takes milliseconds for ten
/// thousand of them.
fn open_files() -> usize {
    const FOLDER: &str = "/proc/self/fd";
    let size = std::fs::metadata(FOLDER).map_or(0, |folder| folder.len());
    match size {
        0 => std::fs::read_dir(FOLDER).map_or(0, Iterator::count),
        size => size.try_into().unwrap_or(usize::MAX),
    }
}

fn cpu() -> nix::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(micros.try_into().unwrap_or(0))
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

/// Of all that it has addresses for, and of what is in memory; proc_pid_statm(5).
fn pages() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = text.split(' ');
    let mut next = || fields.next()?.parse().ok();
    Some((next()?, next()?))
}
