//! Whom a worker runs as, and what that takes.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use rustix::thread::{CapabilitySet, capabilities};

use super::error::LaunchError;
use super::orders::Identity;

/// A worker's user, as this system knows it.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// Whom to become; none: it runs as we do.
    pub(super) become_: Option<Identity>,
    /// The user's number.
    pub(super) uid: u32,
    /// For HOME, USER, LOGNAME and SHELL; none where nobody of that number is known.
    pub(super) entry: Option<Entry>,
}

/// What the system's list of users says.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) home: PathBuf,
    pub(super) shell: PathBuf,
}

/// Looks a user and a group up, by name or number. This asks the system, which may ask the network: not for a data thread.
pub(super) fn look_up(user: &str, group: &str) -> Result<Person, LaunchError> {
    let (ours, our_group) = (Uid::effective(), Gid::effective());
    let known = match user.is_empty() {
        true => User::from_uid(ours).ok().flatten(),
        false => find_user(user),
    };
    let uid = match (&known, user.parse::<u32>()) {
        (Some(known), _) => known.uid,
        (None, _) if user.is_empty() => ours,
        (None, Ok(number)) => Uid::from_raw(number),
        (None, Err(_)) => return Err(LaunchError::NoUser(user.to_owned())),
    };
    let own_group = match (&known, user.is_empty()) {
        (_, true) => our_group,
        (Some(known), _) => known.gid,
        // A number that nobody has: of the group of the same number, as container tools take it.
        (None, false) => Gid::from_raw(uid.as_raw()),
    };
    let gid = match group.is_empty() {
        true => own_group,
        false => find_group(group)?,
    };
    let stays = uid == ours && gid == our_group;
    let become_ = (!stays).then(|| Identity {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        groups: groups_of(known.as_ref(), gid),
    });
    if become_.is_some() && !may_change() {
        let wanted = if user.is_empty() { group } else { user };
        return Err(LaunchError::NoRight(wanted.to_owned()));
    }
    Ok(Person {
        become_,
        uid: uid.as_raw(),
        entry: known.map(|known| Entry {
            name: known.name,
            home: known.dir,
            shell: known.shell,
        }),
    })
}

/// Which of the two there are.
pub(super) struct Looked {
    pub(super) user: bool,
    pub(super) group: bool,
}

/// Whether a user and a group can be found.
pub(super) fn look(user: &str, group: &str) -> Looked {
    Looked {
        user: user.is_empty() || user.parse::<u32>().is_ok() || find_user(user).is_some(),
        group: group.is_empty() || find_group(group).is_ok(),
    }
}

/// Whether this thread may become somebody else.
fn may_change() -> bool {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    Uid::effective().is_root()
        || capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}

fn find_user(text: &str) -> Option<User> {
    match text.parse::<u32>() {
        Ok(number) => User::from_uid(Uid::from_raw(number)).ok().flatten(),
        Err(_) => User::from_name(text).ok().flatten(),
    }
}

fn find_group(text: &str) -> Result<Gid, LaunchError> {
    if let Ok(number) = text.parse::<u32>() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(text).ok().flatten();
    found
        .map(|group| group.gid)
        .ok_or_else(|| LaunchError::NoGroup(text.to_owned()))
}

/// The user's groups, and none of ours.
fn groups_of(user: Option<&User>, gid: Gid) -> Vec<u32> {
    let listed = user
        .and_then(|user| CString::new(user.name.as_str()).ok())
        .and_then(|name| getgrouplist(&name, gid).ok());
    let groups = listed.unwrap_or_else(|| vec![gid]);
    groups.into_iter().map(Gid::as_raw).collect()
}
