//! The keeper: one small process for each worker, between it and Portunus.
//!
//! ```text
//! order ─► Starting ── the program runs ──► Running ── the worker ends ──► Ending ── nothing is left ──► told, over
//!             └─ a step failed: told, over      └─ Portunus is gone, or says so: all is killed ─┘
//! ```
//!
//! It has one thread, no file but those it needs, and runs nothing but the worker. What the worker starts and leaves behind
//! becomes its child (PR_SET_CHILD_SUBREAPER), whatever group or session that has put itself in.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, close, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::error::{Failed, Step};
use super::orders::{ERRAND, Errand, Inherits, Letter, ORDER_MAX, Order, Report};

/// Keeps one worker, from its start to its end.
pub(crate) fn keep() -> ExitCode {
    match Keeper::begin().and_then(|keeper| keeper.follow()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Its stderr is the worker's, and so goes to the log.
            eprintln!(
                "portunus: a worker cannot be kept: {error} (`keep-worker` is what Portunus calls itself, and is for nobody else)"
            );
            ExitCode::FAILURE
        }
    }
}

struct Keeper {
    control: UnixStream,
    signals: SignalFd,
    worker: Pid,
    /// What a failing worker-to-be says; none once its program runs.
    status: Option<fs::File>,
    said: Vec<u8>,
}

/// How the worker ended.
struct Ended(WaitStatus);

impl Keeper {
    fn begin() -> io::Result<Self> {
        close_all_but_standard();
        let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let null = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        dup2_stdin(&null)?;
        // Whoever ends Portunus' group or session, by ^C say, does not mean us: we end with Portunus.
        setsid()?;
        // It was executed by a name that says nothing. Without this one it works as well.
        let _ = prctl::set_name(c"keep-worker");
        prctl::set_child_subreaper(true)?;
        let (order, socket) = receive(&control)?;
        let mut mask = SigSet::empty();
        for signal in [
            Signal::SIGCHLD,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
        ] {
            mask.add(signal);
        }
        // The worker-to-be inherits it, and empties it.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let (worker, status) = start(order, socket)?;
        // From here on the output is the worker's alone, and ends with it.
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        Ok(Self {
            control,
            signals,
            worker,
            status: Some(status),
            said: Vec::new(),
        })
    }

    /// Waits for what comes, until nothing is left to be kept.
    fn follow(mut self) -> io::Result<()> {
        loop {
            let [control, signals, status] = self.wait()?;
            if status {
                self.hear();
            }
            if signals && let Some(ended) = self.reap()? {
                return self.finish(ended);
            }
            if control {
                self.obey()?;
            }
        }
    }

    /// Waits until one of the three has something.
    fn wait(&self) -> io::Result<[bool; 3]> {
        let mut waiting = vec![
            PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(status) = &self.status {
            waiting.push(PollFd::new(status.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok([false; 3]),
            Err(error) => return Err(error.into()),
        }
        let has = |index: usize| {
            let events = waiting.get(index).and_then(PollFd::revents);
            events.is_some_and(|events| !events.is_empty())
        };
        Ok([has(0), has(1), has(2)])
    }

    /// What the worker-to-be says; its end without a word is the program's beginning, or else its own end, which is noticed
    /// as such.
    fn hear(&mut self) {
        let Some(status) = &mut self.status else {
            return;
        };
        let mut buffer = [0; 1024];
        match status.read(&mut buffer) {
            Ok(count @ 1..) if self.said.len() < SAID_MAX => {
                self.said.extend_from_slice(&buffer[..count]);
            }
            Ok(1..) => {}
            Ok(0) | Err(_) => {
                self.status = None;
                if self.said.is_empty() {
                    let id = u32::try_from(self.worker.as_raw()).unwrap_or_default();
                    self.tell(&Report::Started(id));
                }
            }
        }
    }

    /// Reaps what has ended of all that the worker left behind. The worker itself is left as it is: its process group must
    /// not become another's before it was killed.
    fn reap(&mut self) -> io::Result<Option<Ended>> {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if number != Signal::SIGCHLD as i32 {
                // Somebody ends this process by name: it is the worker that is meant.
                let _ = killpg(self.worker, Signal::SIGTERM);
            }
        }
        loop {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let ended = match waitid(Id::All, flags) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => return Ok(None),
                Ok(ended) => ended,
                Err(error) => return Err(error.into()),
            };
            match ended.pid() {
                Some(pid) if pid == self.worker => return Ok(Some(Ended(ended))),
                Some(pid) => {
                    let _ = waitpid(pid, None);
                }
                None => return Ok(None),
            }
        }
    }

    /// What Portunus says, or that it has gone.
    fn obey(&mut self) -> io::Result<()> {
        let mut letters = [0; 64];
        let count = match self.control.read(&mut letters) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(_) => 0,
        };
        if count == 0 {
            // However Portunus ended, nobody is left to serve.
            kill_all(self.worker, Instant::now() + KILL_MAX);
            return Err(io::Error::other("Portunus has gone"));
        }
        for letter in letters[..count].iter().copied().filter_map(Letter::read) {
            match letter {
                // Also where it is frozen, in which it would never hear.
                Letter::Terminate => self.signal(&[Signal::SIGTERM, Signal::SIGCONT]),
                Letter::Kill => self.signal(&[Signal::SIGKILL]),
                Letter::Freeze => self.signal(&[Signal::SIGSTOP]),
                Letter::Thaw => self.signal(&[Signal::SIGCONT]),
            }
        }
        Ok(())
    }

    fn signal(&self, signals: &[Signal]) {
        for signal in signals {
            // Before it has a group of its own it is a single process.
            if killpg(self.worker, *signal) == Err(Errno::ESRCH) {
                let _ = kill(self.worker, *signal);
            }
        }
    }

    /// The worker has ended: ends what is left of it, and tells.
    fn finish(mut self, ended: Ended) -> io::Result<()> {
        // All that it had to say is there.
        while self.status.is_some() {
            self.hear();
        }
        let left = kill_all(self.worker, Instant::now() + KILL_MAX);
        if !self.said.is_empty() {
            let failed = serde_json::from_slice(&self.said).unwrap_or(Failed {
                step: Step::Fork,
                with: String::from_utf8_lossy(&self.said).into_owned(),
                errno: 0,
            });
            self.tell(&Report::Failed(failed));
            return Ok(());
        }
        let (status, signal, core) = match ended.0 {
            WaitStatus::Exited(_, status) => (Some(status), None, false),
            WaitStatus::Signaled(_, signal, core) => (None, Some(signal as i32), core),
            _ => (None, None, false),
        };
        self.tell(&Report::Ended {
            status,
            signal,
            core,
            left,
        });
        Ok(())
    }

    fn tell(&mut self, report: &Report) {
        let Ok(mut line) = serde_json::to_vec(report) else {
            return;
        };
        line.push(b'\n');
        // Whoever has gone is noticed when we listen.
        let _ = self.control.write_all(&line);
    }
}

/// Closes what came beside stdin, stdout and stderr: whatever Portunus had open is no worker's business.
fn close_all_but_standard() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers: Vec<i32> = open
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The folder's own is closed already.
        let _ = close(number);
    }
}

/// The order, and the listening socket that may come with it.
fn receive(control: &UnixStream) -> io::Result<(Order, Option<OwnedFd>)> {
    let mut text = Vec::new();
    let mut socket = None;
    while text.last() != Some(&b'\n') {
        let mut piece = [0; 4096];
        let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = RecvAncillaryBuffer::new(&mut room);
        let mut places = [io::IoSliceMut::new(&mut piece)];
        let count = recvmsg(control, &mut places, &mut passed, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in passed.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = message {
                socket = sockets.last().or(socket);
            }
        }
        if count == 0 || text.len() > ORDER_MAX {
            return Err(io::Error::other("no order came"));
        }
        text.extend_from_slice(&piece[..count]);
    }
    let order = serde_json::from_slice(&text).map_err(io::Error::other)?;
    Ok((order, socket))
}

/// Starts this program once more, to become the worker.
fn start(order: Order, socket: Option<OwnedFd>) -> io::Result<(Pid, fs::File)> {
    let (hear, tell) = pipe2(OFlag::O_CLOEXEC)?;
    // Handed down open, and high enough to leave descriptor 3 free. Nobody else forks in between: this is the only thread.
    let status = fcntl(&tell, FcntlArg::F_DUPFD(STATUS_MIN))?;
    let stdin = match (order.inherits, socket) {
        (Inherits::Nothing, _) | (_, None) => Stdio::null(),
        (_, Some(socket)) => Stdio::from(socket),
    };
    let errand = Errand {
        order,
        keeper: std::process::id().cast_signed(),
        status,
    };
    let child = Command::new("/proc/self/exe")
        .arg("become-worker")
        .env_clear()
        .env(
            ERRAND,
            serde_json::to_string(&errand).map_err(io::Error::other)?,
        )
        .stdin(stdin)
        .spawn();
    let _ = close(status);
    drop(tell);
    Ok((
        Pid::from_raw(child?.id().cast_signed()),
        fs::File::from(hear),
    ))
}

/// Kills the worker's group, and then what is left of all that it started, until nothing is or the time is over. How many
/// were left when the worker itself had ended.
fn kill_all(worker: Pid, until: Instant) -> u32 {
    let _ = killpg(worker, Signal::SIGKILL);
    let _ = kill(worker, Signal::SIGKILL);
    let mut left = 0;
    loop {
        // Those that a killed one had started become our children in turn.
        for child in children().into_iter().filter(|child| *child != worker) {
            let _ = kill(child, Signal::SIGKILL);
        }
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return left,
            Ok(WaitStatus::StillAlive) if Instant::now() >= until => return left,
            Ok(WaitStatus::StillAlive) => std::thread::sleep(KILL_POLL),
            Ok(status) if status.pid() != Some(worker) => left += 1,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Our children. The kernel's own list is ours to read whoever they are; without it, as far as we may look.
fn children() -> Vec<Pid> {
    let ours = std::process::id();
    if let Ok(list) = fs::read_to_string(format!("/proc/self/task/{ours}/children")) {
        let numbers = list.split_ascii_whitespace();
        return numbers
            .filter_map(|pid| pid.parse().ok().map(Pid::from_raw))
            .collect();
    }
    let all = crate::worker::limits::processes();
    let children = all.into_iter().filter(|process| process.parent == ours);
    children
        .map(|process| Pid::from_raw(process.pid.cast_signed()))
        .collect()
}

/// Above what a worker is handed.
const STATUS_MIN: i32 = 10;
const SAID_MAX: usize = 16 << 10;
/// SIGKILL is obeyed at once, but for a process that waits for a disk that does not answer.
const KILL_MAX: Duration = Duration::from_secs(5);
const KILL_POLL: Duration = Duration::from_millis(5);
