//! Limits through cgroups v2, where a part of the tree was handed to us (systemd: `Delegate=`; a container with a tree of its
//! own).
//!
//! ```text
//! …/portunus.service            what was handed to us: its processes must move down before it can hand controllers on
//! ├── portunus                  we ourselves
//! └── worker-PID-POOL-NUMBER    a worker, with all that it starts
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::config::{AtLimit, WorkerLimits};

/// The part of the tree that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    root: PathBuf,
    /// What it can limit: `memory`, `cpu`, `pids`.
    controllers: Vec<String>,
}

/// A worker's group.
#[derive(Debug)]
pub(super) struct Group(PathBuf);

/// Why the tree is not used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotOurs(String);

/// Our part of the tree, looked for once; the log says what was found.
pub(super) fn tree() -> Option<&'static Tree> {
    static TREE: OnceLock<Option<Tree>> = OnceLock::new();
    let found = TREE.get_or_init(|| match find().and_then(|place| Tree::take(&place)) {
        Ok(tree) => {
            let controllers = tree.controllers.join(" ");
            tracing::info!(root = %tree.root.display(), controllers, "workers' limits are kept by cgroups");
            Some(tree)
        }
        Err(NotOurs(why)) => {
            tracing::info!(why, "workers' limits are kept without cgroups");
            None
        }
    });
    found.as_ref()
}

fn find() -> Result<PathBuf, NotOurs> {
    let read =
        |file: &str| fs::read_to_string(file).map_err(|error| NotOurs(format!("{file}: {error}")));
    place(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?).ok_or_else(|| {
        NotOurs("this process is in no cgroup of version 2 that is mounted".to_owned())
    })
}

/// The folder of our own group, of /proc/self/cgroup and /proc/self/mountinfo.
pub(super) fn place(cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mounts.lines().find_map(|line| {
        // Behind the optional fields, which end with a dash, stands the kind (proc_pid_mountinfo(5)).
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then_some((root, point))
    });
    let (root, point) = mount?;
    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(Path::new(point).join(below))
}

/// The group that we ourselves move to; systemd's `DelegateSubgroup=portunus` puts us there at once.
const OWN: &str = "portunus";
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

impl Tree {
    /// Takes the tree that our group is the top of, if it is ours alone.
    pub(super) fn take(own: &Path) -> Result<Self, NotOurs> {
        let moved = own.file_name().is_some_and(|name| name == OWN);
        let root = match own.parent() {
            Some(parent) if moved => parent,
            _ => own,
        };
        let said = |file: &Path, error: io::Error| NotOurs(format!("{}: {error}", file.display()));
        let procs = root.join("cgroup.procs");
        let inside = fs::read_to_string(&procs).map_err(|error| said(&procs, error))?;
        let ours = std::process::id().to_string();
        if inside.lines().any(|pid| pid != ours) {
            let why = format!(
                "{} is not ours alone: other processes are in it",
                root.display()
            );
            return Err(NotOurs(why));
        }
        if !moved {
            let below = root.join(OWN);
            match fs::create_dir(&below) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(said(&below, error));
                }
                _ => {}
            }
            let join = below.join("cgroup.procs");
            fs::write(&join, &ours).map_err(|error| said(&join, error))?;
        }
        let there = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let there: Vec<_> = there.split_ascii_whitespace().collect();
        // Each alone: one that cannot be handed on is no reason to do without the others.
        let handed_on = |controller: &&str| {
            there.contains(controller)
                && fs::write(
                    root.join("cgroup.subtree_control"),
                    format!("+{controller}"),
                )
                .is_ok()
        };
        let controllers = CONTROLLERS.iter().filter(|name| handed_on(name));
        Ok(Self {
            controllers: controllers.map(|name| (*name).to_owned()).collect(),
            root: root.to_path_buf(),
        })
    }

    /// Makes a worker's group, with its limits.
    pub(super) fn group(
        &self,
        pool: &str,
        worker: u64,
        limits: &WorkerLimits,
    ) -> io::Result<Group> {
        for (wanted, controller) in [
            (limits.memory.is_some(), "memory"),
            (
                limits.cpu.is_some() && limits.on_cpu == AtLimit::Throttle,
                "cpu",
            ),
            (limits.processes.is_some(), "pids"),
        ] {
            if wanted && !self.controllers.iter().any(|has| has == controller) {
                let what = format!(
                    "the controller `{controller}` is not handed to us in {}",
                    self.root.display()
                );
                return Err(io::Error::other(what));
            }
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let pool: String = pool.chars().take(64).map(plain).collect();
        let path = self
            .root
            .join(format!("worker-{}-{pool}-{worker}", std::process::id()));
        fs::create_dir(&path)?;
        let group = Group(path);
        for (file, value) in settings(limits) {
            if let Err(error) = fs::write(group.0.join(file), &value) {
                group.remove();
                return Err(io::Error::new(
                    error.kind(),
                    format!("{file} = {value}: {error}"),
                ));
            }
        }
        // Where the machine swaps, a limit of memory would only begin it.
        if limits.memory.is_some() {
            let _ = fs::write(group.0.join("memory.swap.max"), "0");
        }
        Ok(group)
    }
}

/// What is written into a group's files.
pub(super) fn settings(limits: &WorkerLimits) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if let Some(memory) = limits.memory {
        match limits.on_memory {
            AtLimit::Throttle => all.push(("memory.high", memory.to_string())),
            // Replaced by us at the limit; the wall stands behind it, so that there is time to.
            AtLimit::Recycle => all.push(("memory.max", (memory + memory / 4).to_string())),
            AtLimit::Kill => all.push(("memory.max", memory.to_string())),
        }
        // All of it, and not one process in its midst whose absence nobody notices.
        all.push(("memory.oom.group", "1".to_owned()));
    }
    if let Some(cpu) = limits.cpu
        && limits.on_cpu == AtLimit::Throttle
    {
        // Microseconds in each tenth of a second, the kernel's own period.
        all.push(("cpu.max", format!("{} 100000", u64::from(cpu) * 1000)));
    }
    if let Some(processes) = limits.processes {
        all.push(("pids.max", processes.to_string()));
    }
    all
}

/// That the kernel killed somebody in the group because memory ran out.
pub(super) struct OutOfMemory {
    /// Whether it was the group's own limit that was reached.
    pub(super) own_limit: bool,
}

impl Group {
    /// The file that a process joins by.
    pub(super) fn join(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// A value of a file of lines of names and values.
    fn event(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.0.join(file)).ok()?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.trim().parse().ok()
    }

    /// What it holds, less what the kernel keeps of files only because there is room.
    pub(super) fn memory(&self) -> Option<u64> {
        let current = fs::read_to_string(self.0.join("memory.current")).ok()?;
        let current: u64 = current.trim().parse().ok()?;
        let files = self.event("memory.stat", "inactive_file").unwrap_or(0);
        Some(current.saturating_sub(files))
    }

    pub(super) fn cpu(&self) -> Option<Duration> {
        self.event("cpu.stat", "usage_usec")
            .map(Duration::from_micros)
    }

    pub(super) fn out_of_memory(&self) -> Option<OutOfMemory> {
        let killed = self.event("memory.events", "oom_kill").unwrap_or(0);
        (killed > 0).then(|| OutOfMemory {
            own_limit: self.event("memory.events", "max").unwrap_or(0) > 0,
        })
    }

    /// Kills all of it (Linux 5.14; before that the keeper does it alone).
    pub(super) fn kill(&self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Stops all of it, or lets it go on (Linux 5.2).
    pub(super) fn freeze(&self, freeze: bool) -> bool {
        fs::write(self.0.join("cgroup.freeze"), if freeze { "1" } else { "0" }).is_ok()
    }

    /// Removes it. One that is not empty stays, and goes with what we stand in.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir(&self.0);
    }
}
