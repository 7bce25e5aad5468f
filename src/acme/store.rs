//! The files of one CA: account, ledger, keys of orders under way, certificates in service.
//!
//! ```text
//! state_dir/acme/<ca>/  lock                  held by the server that orders
//!                       account.json          the account's URL and key
//!                       ledger.json           what is due, what failed, what is waited for
//!                       orders/NAME.key       the key of an order under way
//!                       certificates/NAME.pem chain and key in one file, so that no half of a pair is ever seen
//!                       renew/                what `portunus cert renew` asks, and the answers
//! ```
//!
//! Folders are 0700, files 0600. A file is written beside its place, brought to the disk, and moved there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use nix::fcntl::{Flock, FlockArg};

use super::ledger::{Ledger, Validity};
use crate::certificate::{Certificate, CertificateError, Files};
use crate::draft;
use crate::model::HostName;

/// The files of one CA.
#[derive(Clone, Debug)]
pub(super) struct Store {
    folder: PathBuf,
}

/// Held as long as this process orders from the CA.
pub(super) type Lock = Flock<File>;

impl Store {
    /// The files in this folder; nothing is made yet.
    pub(super) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Makes the folders that are not there, and gives them to `owner`, as whom the server is to run.
    pub(super) fn make(&self, owner: Option<(u32, u32)>) -> io::Result<()> {
        for folder in ["orders", "certificates", "renew"] {
            let folder = self.folder.join(folder);
            let missing: Vec<_> = folder.ancestors().take_while(|f| !f.exists()).collect();
            for folder in missing.into_iter().rev() {
                DirBuilder::new().mode(0o700).create(folder)?;
                if let Some((user, group)) = owner {
                    chown(folder, Some(user), Some(group))?;
                }
            }
        }
        Ok(())
    }

    /// Takes the lock; none where another process has it.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.folder.join("lock"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error.into()),
        }
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The ledger. One that cannot be read is put aside, and a new one begun: what it knew of limits is lost, and said so.
    pub(super) fn ledger(&self) -> io::Result<Ledger> {
        let file = self.folder.join(LEDGER);
        let Some(text) = read(&file)? else {
            return Ok(Ledger::default());
        };
        match serde_json::from_str(&text) {
            Ok(ledger) => Ok(ledger),
            Err(error) => {
                let aside = file.with_extension("json.broken");
                fs::rename(&file, &aside)?;
                let (file, aside) = (file.display(), aside.display());
                tracing::error!(%file, %aside, %error, "what was ordered and what failed is forgotten: the ledger cannot be read");
                Ok(Ledger::default())
            }
        }
    }

    /// The ledger as it is, for whoever only wants to know.
    pub(super) fn peek(&self) -> Option<Ledger> {
        serde_json::from_str(&read(&self.folder.join(LEDGER)).ok()??).ok()
    }

    /// Writes the ledger.
    pub(super) fn save(&self, ledger: &Ledger) -> io::Result<()> {
        write(
            &self.folder.join(LEDGER),
            serde_json::to_string_pretty(ledger)?.as_bytes(),
        )
    }

    /// The account, if there is one.
    pub(super) fn account(&self) -> io::Result<Option<String>> {
        read(&self.folder.join(ACCOUNT))
    }

    /// Writes the account.
    pub(super) fn save_account(&self, json: &str) -> io::Result<()> {
        write(&self.folder.join(ACCOUNT), json.as_bytes())
    }

    /// Puts an account aside that the CA no longer knows.
    pub(super) fn lose_account(&self) -> io::Result<()> {
        fs::rename(
            self.folder.join(ACCOUNT),
            self.folder.join("account.json.lost"),
        )
    }

    /// The file of the key of an order under way.
    pub(super) fn order_key(&self, name: &str) -> PathBuf {
        self.folder
            .join("orders")
            .join(format!("{}.key", file_name(name)))
    }

    /// The file of a certificate in service.
    pub(super) fn certificate_file(&self, name: &str) -> PathBuf {
        self.folder
            .join("certificates")
            .join(format!("{}.pem", file_name(name)))
    }

    /// The certificate in service, if it can be used for its name.
    pub(super) fn certificate(&self, name: &str) -> Option<Certificate> {
        let file = self.certificate_file(name);
        let certificate = load(file).ok()?;
        covers(&certificate, name).then_some(certificate)
    }

    /// Puts a certificate in service, if it is one: its key fits, it covers the name, and it is valid.
    pub(super) fn put_in_service(
        &self,
        name: &str,
        chain_and_key: &[u8],
    ) -> Result<Validity, String> {
        let file = self.certificate_file(name);
        let beside = beside(&file);
        let failed = |error: io::Error| format!("{} cannot be written: {error}", file.display());
        draft::write(&beside, chain_and_key).map_err(failed)?;
        let checked = load(beside.clone()).map_err(|error| error.to_string());
        let sound = checked.and_then(|certificate| {
            if !covers(&certificate, name) {
                return Err(format!(
                    "the CA issued a certificate that does not cover {name}"
                ));
            }
            Ok(validity(&certificate))
        });
        if sound.is_err() {
            // It is of no use to anybody.
            let _ = fs::remove_file(&beside);
        } else {
            settle(&file).map_err(failed)?;
        }
        sound
    }
}

/// Reads chain and key, which lie in one file.
fn load(file: PathBuf) -> Result<Certificate, CertificateError> {
    let files = Files {
        key: file.clone(),
        chain: file,
        passwords: Vec::new(),
    };
    Certificate::read(&files, &files.read())
}

/// How long a certificate is valid.
pub(super) fn validity(certificate: &Certificate) -> Validity {
    let seconds = |time: std::time::SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    };
    Validity {
        from: seconds(certificate.not_before),
        to: seconds(certificate.not_after),
    }
}

fn covers(certificate: &Certificate, name: &str) -> bool {
    if name.starts_with("*.") {
        return certificate.covers.iter().any(|covered| **covered == *name);
    }
    HostName::parse(name).is_ok_and(|host| certificate.covers(&host))
}

/// A name as certificate folders spell it.
pub(super) fn file_name(name: &str) -> String {
    match name.strip_prefix("*.") {
        Some(parent) => format!("_.{parent}"),
        None => name.to_owned(),
    }
}

/// Reads a file of ours; none where there is none.
pub(super) fn read(file: &Path) -> io::Result<Option<String>> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    opened.take(READ_MAX).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Writes a file so that whoever reads it sees all of it or what was there before, over a loss of power too.
pub(super) fn write(file: &Path, content: &[u8]) -> io::Result<()> {
    draft::write(&beside(file), content)?;
    settle(file)
}

/// The same for a file that holds no secret, and that the server's user is to read though somebody else wrote it.
pub(super) fn write_for_others(file: &Path, content: &[u8]) -> io::Result<()> {
    draft::write(&beside(file), content)?;
    fs::set_permissions(beside(file), fs::Permissions::from_mode(0o644))?;
    settle(file)
}

fn beside(file: &Path) -> PathBuf {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    beside.into()
}

/// Moves what was written beside a file to its place.
fn settle(file: &Path) -> io::Result<()> {
    fs::rename(beside(file), file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

const LEDGER: &str = "ledger.json";
const ACCOUNT: &str = "account.json";

/// A ledger has some hundred bytes for each name, some thousand for each that fails.
const READ_MAX: u64 = 64 << 20;
