//! The worker-to-be: between fork and exec. The order of its steps is what makes them safe.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chdir, close, dup, dup2_stdin, setgid, setgroups, setsid, setuid};

use super::error::{Failed, Step};
use super::orders::{ERRAND, Errand, Identity, Inherits, Limit, Order};

/// Becomes the worker. Comes back only where a step failed, which is then told.
pub(crate) fn become_worker() -> ExitCode {
    let errand = std::env::var(ERRAND).ok();
    let Some(errand) = errand.and_then(|text| serde_json::from_str::<Errand>(&text).ok()) else {
        eprintln!(
            "portunus: `become-worker` is what Portunus calls itself to start a worker, and is for nobody else"
        );
        return ExitCode::FAILURE;
    };
    // It was told where it is waited for.
    let Err(_told) = steps(errand);
    ExitCode::from(COULD_NOT)
}

/// As `env` and the container tools end where they cannot run a program.
const COULD_NOT: u8 = 125;

type Done<T = ()> = Result<T, Failed>;

fn steps(errand: Errand) -> Done<std::convert::Infallible> {
    let Errand {
        order,
        keeper,
        status,
    } = errand;
    // Before anything else is opened: the socket must become descriptor 3.
    let handed = hand_on(order.inherits);
    // By its name in /proc, as a plain number is nobody's: from here on it closes by itself when the program runs.
    let tell = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{status}"));
    let _ = close(status);
    let failed = match handed.and_then(|()| prepare(&order, keeper)) {
        Ok(mut command) => program(&order, &command.exec()),
        Err(failed) => failed,
    };
    if let Ok(mut tell) = tell {
        // Whoever listened has gone.
        let _ = serde_json::to_writer(&mut tell, &failed).map(|()| tell.flush());
    }
    Err(failed)
}

fn prepare(order: &Order, keeper: i32) -> Done<Command> {
    // Of its own session: a ^C at the terminal is for Portunus, which then ends its workers in their order.
    setsid().map_err(failed(Step::Session, "setsid"))?;
    if let Some(join) = &order.join {
        // While we may still write there; what is started from here on is counted.
        fs::write(join, "0").map_err(|error| of_io(Step::Group, join.display(), &error))?;
    }
    be_expendable();
    // The keeper's, which is inherited: a worker could not be asked to end.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(failed(Step::Session, "sigprocmask"))?;
    for (limit, value) in &order.limits {
        set_limit(*limit, *value)?;
    }
    umask(Mode::from_bits_truncate(order.umask));
    if let Some(identity) = &order.identity {
        change(identity)?;
    }
    // What we were given beyond a common user (a port below 1024, say) is ours. What is ambient outlives an exec, all else
    // does not; a kernel without ambient capabilities has none to clear.
    let _ = rustix::thread::clear_ambient_capability_set();
    prctl::set_no_new_privs().map_err(failed(Step::Privileges, "PR_SET_NO_NEW_PRIVS"))?;
    // As the worker: where it may not go, it is told now and not in the midst of its work.
    chdir(&order.cwd).map_err(failed(Step::Folder, order.cwd.display()))?;
    // A change of identity clears it, so that it comes after; it is of the parent *thread*, and the keeper has but one.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed(Step::Bond, "PR_SET_PDEATHSIG"))?;
    if i64::from(parent_id()) != i64::from(keeper) {
        return Err(failed(Step::Bond, "waiting for the keeper")(Errno::ESRCH));
    }
    let Some((program, arguments)) = order.command.split_first() else {
        return Err(failed(Step::Program, "")(Errno::ENOENT));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&order.env);
    if order.inherits != Inherits::Nothing {
        // Known only here: it is the process that execs.
        command.env("LISTEN_PID", std::process::id().to_string());
    }
    Ok(command)
}

/// Makes the socket that came as stdin descriptor 3, open across exec.
fn hand_on(inherits: Inherits) -> Done {
    if inherits == Inherits::Nothing {
        return Ok(());
    }
    let socket = dup(std::io::stdin()).map_err(failed(Step::Descriptors, "dup"))?;
    let number = std::os::fd::IntoRawFd::into_raw_fd(socket);
    if number != FIRST_PASSED {
        let what = format!("making the socket descriptor 3, which is taken, and not {number}");
        return Err(failed(Step::Descriptors, what)(Errno::EBUSY));
    }
    if inherits == Inherits::Third {
        let null = fs::File::open("/dev/null")
            .map_err(|error| of_io(Step::Descriptors, "/dev/null", &error))?;
        dup2_stdin(null).map_err(failed(Step::Descriptors, "dup2"))?;
    }
    Ok(())
}

/// SD_LISTEN_FDS_START
const FIRST_PASSED: i32 = 3;

/// A server at the edge is mostly protected from the kernel's out-of-memory killer; its workers are what it may take.
fn be_expendable() {
    let file = "/proc/self/oom_score_adj";
    let negative = fs::read_to_string(file).is_ok_and(|score| score.starts_with('-'));
    if negative {
        // To raise one's own takes no right; without /proc there is none to raise.
        let _ = fs::write(file, "0");
    }
}

fn set_limit(limit: Limit, value: u64) -> Done {
    let (resource, name) = match limit {
        Limit::Data => (Resource::RLIMIT_DATA, "RLIMIT_DATA"),
        Limit::Processes => (Resource::RLIMIT_NPROC, "RLIMIT_NPROC"),
        Limit::Files => (Resource::RLIMIT_NOFILE, "RLIMIT_NOFILE"),
    };
    setrlimit(resource, value, value).map_err(failed(Step::Limits, format!("{name} of {value}")))
}

/// The groups first: once the user has changed, they cannot be.
fn change(identity: &Identity) -> Done {
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).map_err(failed(Step::Identity, "setgroups"))?;
    let gid = identity.gid;
    setgid(Gid::from_raw(gid)).map_err(failed(Step::Identity, format!("setgid({gid})")))?;
    let uid = identity.uid;
    setuid(Uid::from_raw(uid)).map_err(failed(Step::Identity, format!("setuid({uid})")))?;
    // With capabilities instead of root, a setuid can leave the way back open.
    let back = Uid::effective().as_raw() != uid || Uid::current().as_raw() != uid;
    match back {
        true => Err(failed(Step::Identity, format!("setuid({uid})"))(
            Errno::EPERM,
        )),
        false => Ok(()),
    }
}

fn program(order: &Order, error: &std::io::Error) -> Failed {
    of_io(
        Step::Program,
        order.command.first().map_or("", String::as_str),
        error,
    )
}

fn failed(step: Step, with: impl ToString) -> impl FnOnce(Errno) -> Failed {
    move |errno| Failed {
        step,
        with: with.to_string(),
        errno: errno as i32,
    }
}

fn of_io(step: Step, with: impl ToString, error: &std::io::Error) -> Failed {
    Failed {
        step,
        with: with.to_string(),
        errno: error.raw_os_error().unwrap_or(0),
    }
}
