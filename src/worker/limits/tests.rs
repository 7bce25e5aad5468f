//! The promises of limits.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::groups::{Tree, place, settings};
use super::processes::{Seen, below, read_stat};
use super::*;
use crate::worker::launch::OverLimit;

const NONE: WorkerLimits = WorkerLimits {
    memory: None,
    cpu: None,
    processes: None,
    files: None,
    on_memory: AtLimit::Kill,
    on_cpu: AtLimit::Throttle,
};

const ALL: WorkerLimits = WorkerLimits {
    memory: Some(64 << 20),
    cpu: Some(150),
    processes: Some(20),
    files: Some(100),
    ..NONE
};

#[test]
fn our_group_is_found_where_it_is_mounted() {
    let mounts = "30 23 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs rw\n\
                  31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 master:2 - cgroup2 cgroup2 rw,nsdelegate\n";
    let own = "12:pids:/x\n0::/system.slice/portunus.service\n";
    let expected = "/sys/fs/cgroup/unified/system.slice/portunus.service";
    assert_eq!(place(own, mounts).as_deref(), Some(Path::new(expected)));
    // A container that sees a part of the tree, and not all of it.
    let part = "31 30 0:27 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
    let inside = place("0::/docker/abc/web\n", part);
    assert_eq!(inside.as_deref(), Some(Path::new("/sys/fs/cgroup/web")));
    assert_eq!(place("0::/elsewhere\n", part), None);
    assert_eq!(place("3:memory:/x\n", mounts), None);
    assert_eq!(
        place(own, "31 30 0:27 / /mnt rw - ext4 /dev/vda rw\n"),
        None
    );
}

/// A folder with the files that the kernel would put there.
struct Delegated(tempfile::TempDir);

impl Delegated {
    fn new(procs: &str, controllers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgroup.procs"), procs).unwrap();
        fs::write(folder.path().join("cgroup.controllers"), controllers).unwrap();
        Self(folder)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.path().join(file)).unwrap_or_default()
    }
}

#[test]
fn a_tree_is_taken_only_where_it_is_ours_alone() {
    let ours = std::process::id().to_string();
    let shared = Delegated::new(&format!("1\n{ours}\n"), "memory");
    assert!(Tree::take(shared.0.path()).is_err());
    assert!(
        !shared.0.path().join("portunus").exists(),
        "nothing is done there"
    );

    let alone = Delegated::new(&format!("{ours}\n"), "cpuset cpu memory pids");
    assert!(Tree::take(alone.0.path()).is_ok());
    assert_eq!(alone.read("portunus/cgroup.procs"), ours, "we move down");
    // The last of three writes, each of which the kernel would have added up.
    assert_eq!(alone.read("cgroup.subtree_control"), "+pids");

    // The service manager has moved us down already.
    let below = alone.0.path().join("portunus");
    fs::write(alone.0.path().join("cgroup.procs"), "").unwrap();
    assert_eq!(Tree::take(&below), Tree::take(&below));
    assert!(Tree::take(&below).is_ok());
    assert!(Tree::take(Path::new("/nowhere")).is_err());
}

#[test]
fn a_worker_gets_a_group_with_its_limits() {
    let ours = std::process::id().to_string();
    let place = Delegated::new(&ours, "cpu memory pids");
    let tree = Tree::take(place.0.path()).unwrap();
    let group = tree.group("shop/1", 7, &ALL).unwrap();
    let name = format!("worker-{ours}-shop_1-7");
    assert_eq!(
        group.join(),
        place.0.path().join(&name).join("cgroup.procs")
    );
    assert_eq!(place.read(&format!("{name}/memory.max")), "67108864");
    assert_eq!(place.read(&format!("{name}/memory.oom.group")), "1");
    assert_eq!(place.read(&format!("{name}/cpu.max")), "150000 100000");
    assert_eq!(place.read(&format!("{name}/pids.max")), "20");

    let folder = place.0.path().join(&name);
    fs::write(folder.join("memory.current"), "50000000\n").unwrap();
    fs::write(
        folder.join("memory.stat"),
        "anon 1\ninactive_file 10000000\n",
    )
    .unwrap();
    fs::write(folder.join("cpu.stat"), "usage_usec 1500000\nuser_usec 1\n").unwrap();
    assert_eq!(group.memory(), Some(40_000_000));
    assert_eq!(group.cpu(), Some(Duration::from_millis(1500)));
    assert!(group.freeze(true));
    assert_eq!(place.read(&format!("{name}/cgroup.freeze")), "1");
    group.kill();
    assert_eq!(place.read(&format!("{name}/cgroup.kill")), "1");
}

#[test]
fn a_kill_for_memory_is_told_from_any_other() {
    let ours = std::process::id().to_string();
    let place = Delegated::new(&ours, "memory");
    let tree = Tree::take(place.0.path()).unwrap();
    let limits = WorkerLimits {
        memory: Some(64 << 20),
        ..NONE
    };
    let group = tree.group("app", 1, &limits).unwrap();
    let events = group.join().with_file_name("memory.events");
    let measure = Measure {
        group: Some(group),
        memory_max: limits.memory,
        keeper: AtomicU32::new(0),
        machine_oom: AtomicU64::new(0),
    };
    let cause = |text: &str| {
        fs::write(&events, text).unwrap();
        measure.out_of_memory(Cause::Signalled {
            signal: 9,
            core: false,
        })
    };
    assert_eq!(cause("low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\n"), None);
    let own = Cause::OutOfMemory(MemoryLimit::Group(64 << 20));
    assert_eq!(cause("high 0\nmax 12\noom 1\noom_kill 1\n"), Some(own));
    let machine = Cause::OutOfMemory(MemoryLimit::Machine);
    assert_eq!(cause("high 0\nmax 0\noom 0\noom_kill 1\n"), Some(machine));
}

#[test]
fn a_limit_that_no_controller_can_keep_is_not_taken_for_kept() {
    let place = Delegated::new("", "cpu");
    let tree = Tree::take(place.0.path()).unwrap();
    let error = tree.group("app", 1, &ALL).unwrap_err().to_string();
    assert!(error.contains("`memory` is not handed to us"), "{error}");
    assert!(tree.group("app", 2, &NONE).is_ok());
}

#[test]
fn what_is_to_be_replaced_has_time_for_it() {
    let recycle = WorkerLimits {
        on_memory: AtLimit::Recycle,
        on_cpu: AtLimit::Kill,
        ..ALL
    };
    let max = settings(&recycle)
        .into_iter()
        .find(|(file, _)| *file == "memory.max");
    assert_eq!(max, Some(("memory.max", (80 << 20).to_string())));
    assert!(
        settings(&recycle)
            .iter()
            .all(|(file, _)| *file != "cpu.max")
    );
    let throttle = WorkerLimits {
        on_memory: AtLimit::Throttle,
        ..ALL
    };
    assert!(
        settings(&throttle)
            .iter()
            .all(|(file, _)| *file != "memory.max")
    );
}

#[test]
fn without_groups_the_kernel_keeps_what_it_counts_for_a_process() {
    let limits = of_process(&ALL, InForce::Processes);
    assert_eq!(
        limits,
        [
            (Limit::Files, 100),
            (Limit::Processes, 20),
            (Limit::Data, (128 << 20) + STACKS)
        ]
    );
    assert_eq!(of_process(&ALL, InForce::Group), [(Limit::Files, 100)]);
    assert_eq!(not_kept(&ALL).len(), 1, "the processor time");
}

fn watch(limits: WorkerLimits, in_force: InForce) -> Watch {
    Watch::new(&limits, in_force)
}

#[test]
fn memory_at_its_limit_kills_or_replaces_once() {
    let now = Instant::now();
    let mut kills = watch(ALL, InForce::Processes);
    assert_eq!(kills.decide(now, Some(1 << 20), None), None);
    let cause = Cause::OutOfMemory(MemoryLimit::Watched(64 << 20));
    assert_eq!(
        kills.decide(now, Some(64 << 20), None),
        Some(Reached::Kill(cause))
    );
    // The kernel does it.
    assert_eq!(
        watch(ALL, InForce::Group).decide(now, Some(64 << 20), None),
        None
    );
    let mut replaces = watch(
        WorkerLimits {
            on_memory: AtLimit::Recycle,
            ..ALL
        },
        InForce::Group,
    );
    let over = Reached::Replace(OverLimit::Memory(64 << 20));
    assert_eq!(replaces.decide(now, Some(65 << 20), None), Some(over));
    assert_eq!(
        replaces.decide(now, Some(65 << 20), None),
        None,
        "it is known"
    );
}

#[test]
fn processor_time_counts_when_it_was_used_for_a_minute() {
    let start = Instant::now();
    let limits = WorkerLimits {
        cpu: Some(50),
        on_cpu: AtLimit::Kill,
        ..NONE
    };
    let mut watch = watch(limits, InForce::Processes);
    let mut used = Duration::ZERO;
    let mut killed_at = None;
    for second in 0..200 {
        // Busy from the hundredth second on.
        used += Duration::from_millis(if second > 100 { 1000 } else { 100 });
        let now = start + Duration::from_secs(second);
        if let Some(reached) = watch.decide(now, None, Some(used)) {
            assert_eq!(reached, Reached::Kill(Cause::OutOfCpu(50)));
            killed_at = Some(second);
            break;
        }
    }
    // 27 busy seconds and 33 at a tenth are half of a minute.
    assert_eq!(killed_at, Some(127));
}

#[test]
fn a_process_may_be_called_anything() {
    let times = "S 41 42 42 0 -1 4194560 100 0 0 0 30 12 5 1 20 0 1 0 100";
    let seen = read_stat(43, &format!("43 (a) R 1 (b\n) {times}")).unwrap();
    let expected = read_stat(43, &format!("43 (sh) {times}")).unwrap();
    assert_eq!(seen, expected);
    assert_eq!(seen.parent, 41);
    assert_eq!(read_stat(43, "43 (sh"), None);
}

#[test]
fn all_that_stands_below_is_found() {
    let process = |pid, parent| {
        read_stat(
            pid,
            &format!("{pid} (x) S {parent} 0 0 0 0 0 0 0 0 0 1 1 0 0"),
        )
        .unwrap()
    };
    let all = [
        process(2, 1),
        process(5, 2),
        process(6, 5),
        process(9, 1),
        process(7, 7),
    ];
    let pids = |top| {
        let mut pids: Vec<_> = below(&all, top).iter().map(|seen| seen.pid).collect();
        pids.sort_unstable();
        pids
    };
    assert_eq!(pids(2), [5, 6]);
    assert!(pids(9).is_empty());
    // What /proc cannot say, it never says without end.
    assert_eq!(pids(7), [7]);
}

#[test]
fn our_own_memory_can_be_read() {
    let ours: Vec<Seen> = processes()
        .into_iter()
        .filter(|seen| seen.pid == std::process::id())
        .collect();
    assert!(processes::memory(&ours).is_some_and(|memory| memory > 1 << 20));
    assert!(processes::cpu(&ours).is_some());
    assert_eq!(processes::memory(&[]), None);
}

proptest! {
    #[test]
    fn any_line_of_proc_is_read_or_not(text in "\\PC{0,200}") {
        let _ = read_stat(1, &text);
        let _ = place(&text, &text);
    }
}
