//! What is done to start a worker off the runtime: looking users up, making its socket, starting its keeper.

use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};

use nix::unistd::Uid;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::sync::oneshot;

use super::error::LaunchError;
use super::orders::{Inherits, ORDER_MAX, Order};
use super::socket::{self, Place};
use super::{LaunchSpec, environment, identity};
use crate::config::{WorkerListen, WorkerProtocol};
use crate::worker::limits::{self, Measure};

/// A keeper that was told what to start.
pub(super) struct Spawned {
    pub(super) keeper: Child,
    pub(super) control: UnixStream,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) place: Place,
    pub(super) measure: Measure,
}

type Answer = Result<Spawned, LaunchError>;
type Asked = (LaunchSpec, oneshot::Sender<Answer>);

/// The thread that has kept the right to become somebody else, where one has.
static PRIVILEGED: OnceLock<mpsc::Sender<Asked>> = OnceLock::new();

/// Starts the thread that may start workers of other users, with the capabilities that the calling thread has: it is then for
/// the caller to give its own up. Once in the life of a process.
pub(crate) fn keep_privileges() -> io::Result<()> {
    let (sender, asked) = mpsc::channel::<Asked>();
    std::thread::Builder::new()
        .name("launcher".to_owned())
        .spawn(move || {
            for (spec, answer) in asked {
                // Whoever asked may have given up.
                let _ = answer.send(start(&spec));
            }
        })?;
    let _ = PRIVILEGED.set(sender);
    Ok(())
}

/// Starts a worker's keeper, on the thread that has the right to.
pub(super) async fn spawn(spec: LaunchSpec) -> Answer {
    let (answer, answered) = oneshot::channel();
    match PRIVILEGED.get() {
        Some(thread) => {
            let _ = thread.send((spec, answer));
        }
        None => {
            tokio::task::spawn_blocking(move || drop(answer.send(start(&spec))));
        }
    }
    let nobody = |_| LaunchError::Keeper("the thread that starts it has gone".to_owned());
    answered.await.unwrap_or_else(|error| Err(nobody(error)))
}

fn start(spec: &LaunchSpec) -> Answer {
    let person = identity::look_up(&spec.user, &spec.group)?;
    let mut place = socket::make(spec, person.uid)?;
    let measure = limits::prepare(&spec.pool, spec.worker, &spec.limits);
    let user = person.entry.as_ref();
    let ours = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let order = Order {
        command: spec.command.clone(),
        env: environment::of(spec, user, &place.address, ours),
        cwd: spec.cwd.clone(),
        umask: umask(spec, person.become_.is_some()),
        identity: person.become_,
        join: measure.join(),
        limits: limits::of_process(&spec.limits, measure.in_force()),
        inherits: match (spec.listen, spec.protocol) {
            (WorkerListen::Fd, WorkerProtocol::FastCgi) => Inherits::ThirdAndStdin,
            (WorkerListen::Fd, WorkerProtocol::Http) => Inherits::Third,
            _ => Inherits::Nothing,
        },
    };
    let mut text =
        serde_json::to_vec(&order).map_err(|error| LaunchError::Keeper(error.to_string()))?;
    if text.len() > ORDER_MAX {
        return Err(LaunchError::TooLong(text.len()));
    }
    text.push(b'\n');
    let failed = |error: io::Error| LaunchError::Keeper(error.to_string());
    let (control, theirs) = UnixStream::pair().map_err(failed)?;
    let (stdout, their_stdout) = pipe().map_err(failed)?;
    let (stderr, their_stderr) = pipe().map_err(failed)?;
    let keeper = Command::new(&spec.keeper)
        // For who looks at the list of processes: whose keeper it is.
        .arg0("portunus")
        .args(["keep-worker", &format!("{}/{}", spec.pool, spec.worker)])
        // Nothing of ours is its business, and it is what a worker-to-be begins with.
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(their_stdout))
        .stderr(Stdio::from(their_stderr))
        .spawn()
        .map_err(failed)?;
    // The socket is the worker's from here on: what we kept of it would keep it open behind its back. A worker that is
    // replaced has its own.
    send(&control, &text, place.listening.take()).map_err(failed)?;
    Ok(Spawned {
        keeper,
        control,
        stdout,
        stderr,
        place,
        measure,
    })
}

/// What a worker makes is its own; its socket alone is for us too, where we are somebody else and not root.
fn umask(spec: &LaunchSpec, other: bool) -> u32 {
    match other && spec.listen == WorkerListen::Unix && !Uid::effective().is_root() {
        true => 0o007,
        // As the service manager's.
        false => 0o022,
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}

/// Sends the order, and the socket with it.
fn send(control: &UnixStream, order: &[u8], socket: Option<OwnedFd>) -> io::Result<()> {
    let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut passed = SendAncillaryBuffer::new(&mut room);
    let sockets: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
    if !sockets.is_empty() && !passed.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let sent = sendmsg(
        control,
        &[IoSlice::new(order)],
        &mut passed,
        SendFlags::NOSIGNAL,
    )?;
    (&mut &*control).write_all(&order[sent..])
}
