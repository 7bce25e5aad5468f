//! What is in a worker's environment: little, so that nothing of ours gets there that is none of its business.

use std::collections::BTreeMap;

use super::identity::Entry;
use super::{LaunchSpec, WorkerAddress};
use crate::config::WorkerListen;

/// What is taken over from our own environment. Not `NOTIFY_SOCKET`, `LISTEN_*`, `INVOCATION_ID`, `CREDENTIALS_DIRECTORY` and
/// the like: they are between the service manager and us. Not what somebody put there for us either.
const TAKEN_OVER: [&str; 4] = ["PATH", "LANG", "LANGUAGE", "TZ"];

/// Where programs are looked for when our own environment does not say.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A worker's whole environment, but for `LISTEN_PID`. What the configuration sets comes last.
pub(super) fn of(
    spec: &LaunchSpec,
    user: Option<&Entry>,
    address: &WorkerAddress,
    ours: impl Iterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    all.extend(
        ours.filter(|(name, _)| TAKEN_OVER.contains(&name.as_str()) || name.starts_with("LC_")),
    );
    let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
    if let Some(user) = user {
        set("HOME", user.home.to_string_lossy().into_owned());
        set("SHELL", user.shell.to_string_lossy().into_owned());
        set("USER", user.name.clone());
        set("LOGNAME", user.name.clone());
    }
    set("PORTUNUS_POOL", spec.pool.clone());
    match (spec.listen, address) {
        (WorkerListen::Fd, _) => {
            set("LISTEN_FDS", "1".to_owned());
            set("LISTEN_FDNAMES", "http".to_owned());
        }
        (_, WorkerAddress::Unix(path)) => {
            set("PORTUNUS_SOCKET", path.to_string_lossy().into_owned());
        }
        (_, WorkerAddress::Tcp(address)) => {
            set("PORT", address.port().to_string());
        }
    }
    all.extend(spec.env.clone());
    all
}
