//! Files of ticket keys, for machines that are to resume each other's sessions.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::findings::Finding;
use crate::config::{BindingTls, Config};

/// What such a file holds. Nobody encrypts with these bytes: every binding derives keys of its own from them.
#[derive(PartialEq, Eq)]
pub struct TicketKey(Zeroizing<Vec<u8>>);

/// Why there is no key in a file.
#[derive(Debug, thiserror::Error)]
pub enum TicketKeyError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no key.
    #[error("{} is no ticket key: it must hold 48 or 80 random bytes, and holds {}", file.display(), held(*.bytes))]
    Length {
        /// The file.
        file: PathBuf,
        /// How many bytes it holds; more than a key are not counted.
        bytes: usize,
    },
    /// A key that others may read is none.
    #[error("{} may be read or written by everybody (mode {mode:04o})", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// The ticket keys of a configuration, each file read once.
#[derive(Clone, Default)]
pub struct TicketKeys(HashMap<PathBuf, Arc<TicketKey>>);

impl TicketKeys {
    /// Reads every file that a binding names; what is wrong with one is found for the first binding that names it.
    pub(super) fn load(config: &Config, findings: &mut Vec<Finding>) -> Self {
        let mut read = HashMap::new();
        let mut refused = HashSet::new();
        for (index, binding) in config.bindings.iter().enumerate() {
            for file in binding.tls.iter().flat_map(|tls| &tls.ticket_keys) {
                if read.contains_key(file) || refused.contains(file) {
                    continue;
                }
                match TicketKey::load(file) {
                    Ok(key) => {
                        read.insert(file.clone(), Arc::new(key));
                    }
                    Err(error) => {
                        refused.insert(file);
                        let found = Finding::error(index, error.code(), error.to_string());
                        findings.push(found.with_help(error.help()));
                    }
                }
            }
        }
        Self(read)
    }

    /// Those of a binding, in their order.
    pub fn of(&self, tls: &BindingTls) -> Vec<Arc<TicketKey>> {
        let files = tls.ticket_keys.iter();
        files.filter_map(|file| self.0.get(file).cloned()).collect()
    }
}

impl TicketKey {
    /// Reads a file.
    pub fn load(file: &Path) -> Result<Self, TicketKeyError> {
        let unreadable = |source| TicketKeyError::Unreadable {
            file: file.to_owned(),
            source,
        };
        // A pipe would wait for whoever writes to it.
        if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
            return Err(unreadable(error));
        }
        let opened = File::open(file).map_err(unreadable)?;
        let mode = opened.metadata().map_err(unreadable)?.mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(TicketKeyError::Open {
                file: file.to_owned(),
                mode,
            });
        }
        // Room for all that is read, so that no copy is left behind where the bytes have moved from.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        let most = LONGEST as u64 + 1;
        (opened.take(most).read_to_end(&mut bytes)).map_err(unreadable)?;
        if !LENGTHS.contains(&bytes.len()) {
            return Err(TicketKeyError::Length {
                file: file.to_owned(),
                bytes: bytes.len(),
            });
        }
        Ok(Self(bytes))
    }

    /// What keys are derived from.
    pub fn secret(&self) -> &[u8] {
        &self.0
    }

    /// A key that no file holds.
    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl TicketKeyError {
    /// Stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "ticket-key-unreadable",
            Self::Length { .. } => "ticket-key-broken",
            Self::Open { .. } => "ticket-key-open",
        }
    }

    /// What would mend it.
    pub fn help(&self) -> String {
        match self {
            Self::Unreadable { file, .. } => {
                format!(
                    "make one with: (umask 077; openssl rand -out {} 80)",
                    file.display()
                )
            }
            Self::Length { file, .. } => {
                format!("make another with: openssl rand -out {} 80", file.display())
            }
            Self::Open { file, .. } => format!(
                "whoever reads it can read what was said under it: make another with: (umask 077; openssl rand -out {} 80)",
                file.display()
            ),
        }
    }
}

fn held(bytes: usize) -> String {
    match bytes {
        bytes if bytes > LONGEST => "more".to_owned(),
        bytes => bytes.to_string(),
    }
}

/// nginx' ssl_session_ticket_key: a name of 16 bytes and two keys of 16 or 32.
const LENGTHS: [usize; 2] = [48, LONGEST];
const LONGEST: usize = 80;

/// Reading and writing by everybody. A group may read it: that is how a server without root's rights comes by its files.
const OTHERS: u32 = 0o006;

#[cfg(test)]
mod tests;
