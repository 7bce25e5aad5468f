//! Giving privileges up once the sockets are bound.
//!
//! All of them, with one exception: where a pool names an identity of its own, one thread keeps what it takes to start its
//! workers ([`WORKERS_NEED`]), and no other thread has it.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl;
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, Group, Uid, User, fchown, initgroups, setgid, setuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities,
};

use crate::config;
use crate::worker::launch;

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// There is no such user.
    #[error("server.user: there is no user {0:?} on this system")]
    NoUser(String),
    /// There is no such group.
    #[error("server.group: there is no group {0:?} on this system")]
    NoGroup(String),
    /// Only root may become somebody else.
    #[error(
        "server.user: only root can change to the user {0:?}; start as root, or leave server.user empty"
    )]
    NotRoot(String),
    /// The system refused.
    #[error("{what} failed: {errno}")]
    System {
        /// Which call.
        what: &'static str,
        /// What it said.
        errno: Errno,
    },
}

/// Whom to become.
struct Identity {
    name: std::ffi::CString,
    uid: Uid,
    gid: Gid,
}

/// Becomes the configured user and group, with that user's supplementary groups.
/// The log files, which were opened before, become the user's, so that they can be opened anew.
pub(super) fn drop(config: &config::Config, log_files: &[&Path]) -> Result<(), PrivilegeError> {
    let server = &config.server;
    let keep = workers_have_users(config);
    if let Some(identity) = identity(server)? {
        if !Uid::effective().is_root() {
            if identity.uid == Uid::effective() && identity.gid == Gid::effective() {
                return match keep && may_launch() {
                    true => hand_to_launcher(),
                    false => Ok(()),
                };
            }
            return Err(PrivilegeError::NotRoot(server.user.clone()));
        }
        for file in log_files {
            hand_over(file, &identity).map_err(system("handing a log file over"))?;
        }
        initgroups(&identity.name, identity.gid).map_err(system("initgroups"))?;
        setgid(identity.gid).map_err(system("setgid"))?;
        // Of this thread alone: those that there are already lose all.
        prctl::set_keepcaps(keep).map_err(system("prctl(PR_SET_KEEPCAPS)"))?;
        setuid(identity.uid).map_err(system("setuid"))?;
        if keep {
            hand_to_launcher()?;
        }
    } else if keep && !Uid::effective().is_root() && may_launch() {
        // Given by the service manager, to all threads.
        hand_to_launcher()?;
    } else if Uid::effective().is_root() {
        tracing::warn!("running as root: set server.user, so that a fault cannot do what root can");
    }
    Ok(())
}

/// What it takes to start workers of other users, each with its reason.
const WORKERS_NEED: [CapabilitySet; 4] = [
    // To become them.
    CapabilitySet::SETUID,
    CapabilitySet::SETGID,
    // To end them: a signal to a process of another user.
    CapabilitySet::KILL,
    // To make the folders of their sockets theirs.
    CapabilitySet::CHOWN,
];

/// Whether a pool names an identity for its workers.
fn workers_have_users(config: &config::Config) -> bool {
    config.pools.iter().any(|pool| match &pool.handler {
        config::Handler::Process(process) => !process.user.is_empty() || !process.group.is_empty(),
        _ => false,
    })
}

fn may_launch() -> bool {
    let needed = CapabilitySet::from_iter(WORKERS_NEED);
    capabilities(None).is_ok_and(|sets| sets.permitted.contains(needed))
}

/// Starts the thread that starts workers, with what it takes, and keeps nothing of that on this one: whoever comes after it
/// inherits nothing.
fn hand_to_launcher() -> Result<(), PrivilegeError> {
    let before = capabilities(None).map_err(of_rustix("capget"))?;
    let needed = CapabilitySet::from_iter(WORKERS_NEED);
    let with = CapabilitySets {
        permitted: before.permitted | needed,
        effective: before.effective | needed,
        // What is to be ambient must be inheritable. It is ambient so that the process that keeps a worker has it too: that
        // one makes the change, and ends the worker.
        inheritable: before.inheritable | needed,
    };
    // After a change of user all of root's is still permitted: no more than what is needed stays.
    let with = match before.effective.is_empty() {
        true => CapabilitySets {
            permitted: needed,
            effective: needed,
            inheritable: needed,
        },
        false => with,
    };
    set_capabilities(None, with).map_err(of_rustix("capset"))?;
    for capability in WORKERS_NEED {
        configure_capability_in_ambient_set(capability, true)
            .map_err(of_rustix("prctl(PR_CAP_AMBIENT)"))?;
    }
    launch::keep_privileges().map_err(|error| PrivilegeError::System {
        what: "starting the thread that starts workers",
        errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)),
    })?;
    for capability in WORKERS_NEED {
        configure_capability_in_ambient_set(capability, false)
            .map_err(of_rustix("prctl(PR_CAP_AMBIENT)"))?;
    }
    let without = CapabilitySets {
        permitted: with.permitted - needed,
        effective: with.effective - needed,
        inheritable: with.inheritable - needed,
    };
    set_capabilities(None, without).map_err(of_rustix("capset"))?;
    tracing::info!(
        "one thread keeps CAP_SETUID, CAP_SETGID, CAP_KILL and CAP_CHOWN, to start workers of other users"
    );
    Ok(())
}

fn of_rustix(what: &'static str) -> impl Fn(rustix::io::Errno) -> PrivilegeError {
    move |error| PrivilegeError::System {
        what,
        errno: Errno::from_raw(error.raw_os_error()),
    }
}

/// Whom `drop` will make of this process, by their numbers; none where it stays who it is.
pub(super) fn becomes(server: &config::Server) -> Result<Option<(u32, u32)>, PrivilegeError> {
    let identity = identity(server)?.filter(|_| Uid::effective().is_root());
    Ok(identity.map(|identity| (identity.uid.as_raw(), identity.gid.as_raw())))
}

/// Makes a log file the user's. Only what is plainly a file is: not the device that `/dev/null` is, and nothing that the
/// owner of the folder put a link in the place of.
fn hand_over(file: &Path, identity: &Identity) -> nix::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match open(file, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::ELOOP | Errno::ENXIO) => return Ok(()),
        Err(error) => return Err(error),
    };
    let found = fstat(&file)?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
        && found.st_nlink == 1
    {
        fchown(&file, Some(identity.uid), Some(identity.gid))?;
    }
    Ok(())
}

/// Gives up gaining privileges ever again (by executing a program that has them).
pub(super) fn gain_none() -> Result<(), PrivilegeError> {
    nix::sys::prctl::set_no_new_privs().map_err(system("prctl(PR_SET_NO_NEW_PRIVS)"))
}

fn identity(server: &config::Server) -> Result<Option<Identity>, PrivilegeError> {
    if server.user.is_empty() && server.group.is_empty() {
        return Ok(None);
    }
    let user = if server.user.is_empty() {
        User::from_uid(Uid::effective())
    } else {
        User::from_name(&server.user)
    };
    let user = user
        .map_err(system("looking the user up"))?
        .ok_or_else(|| PrivilegeError::NoUser(server.user.clone()))?;
    let gid = if server.group.is_empty() {
        user.gid
    } else {
        let group = Group::from_name(&server.group).map_err(system("looking the group up"))?;
        group
            .ok_or_else(|| PrivilegeError::NoGroup(server.group.clone()))?
            .gid
    };
    let name = std::ffi::CString::new(user.name)
        .map_err(|_| PrivilegeError::NoUser(server.user.clone()))?;
    Ok(Some(Identity {
        name,
        uid: user.uid,
        gid,
    }))
}

fn system(what: &'static str) -> impl Fn(Errno) -> PrivilegeError {
    move |errno| PrivilegeError::System { what, errno }
}
