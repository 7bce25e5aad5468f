//! Responses on disk: a restart shows them at once. `state_dir/ocsp/FINGERPRINT.der`, for their owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;

use super::fetch::RESPONSE_BYTES_MAX;
use super::subject::Fingerprint;
use crate::draft;

/// A folder of responses.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    /// The one below a server's `state_dir`.
    pub(super) fn below(state_dir: &Path) -> Self {
        Self {
            folder: state_dir.join("ocsp"),
        }
    }

    fn file(&self, fingerprint: Fingerprint) -> PathBuf {
        self.folder.join(format!("{fingerprint}.der"))
    }

    /// The response that was kept for a certificate. What cannot be read is fetched again, so that nobody need know.
    pub(super) fn load(&self, fingerprint: Fingerprint) -> Option<Vec<u8>> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(self.file(fingerprint))
            .ok()?;
        let mut response = Vec::new();
        let most = RESPONSE_BYTES_MAX as u64 + 1;
        file.take(most).read_to_end(&mut response).ok()?;
        Some(response)
    }

    /// Keeps a response: written beside its place and moved there, so that nobody ever reads half of it.
    pub(super) fn save(&self, fingerprint: Fingerprint, response: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let beside = self.folder.join(format!("{fingerprint}.new"));
        draft::write(&beside, response)?;
        fs::rename(&beside, self.file(fingerprint))
    }

    /// Removes what was written for certificates that are no longer there, once it can be of no use.
    pub(super) fn tidy(&self, is_known: impl Fn(&str) -> bool, now: SystemTime) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some((stem, "der" | "new")) = name.to_str().and_then(|name| name.split_once('.'))
            else {
                continue;
            };
            let is_old = (entry.metadata().ok())
                .and_then(|metadata| now.duration_since(metadata.modified().ok()?).ok())
                .is_some_and(|age| age > KEPT_UNUSED);
            if stem.len() == FINGERPRINT_DIGITS && is_old && !is_known(stem) {
                // The next one who comes by tries again.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Where it is, for messages.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// CAs' responses are valid for ten days at most (CA/Browser Forum, Baseline Requirements 4.9.10); a certificate that was
/// taken out by mistake finds its own again.
const KEPT_UNUSED: Duration = Duration::from_secs(10 * 86_400);

/// Of a SHA-256.
const FINGERPRINT_DIGITS: usize = 64;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustls::pki_types::CertificateDer;

    use super::*;

    fn fingerprint(certificate: &'static [u8]) -> Fingerprint {
        Fingerprint::of(&CertificateDer::from(certificate))
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_response_comes_back_as_it_was_and_is_its_owners_alone() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::below(&state.path().join("state"));
        let one = fingerprint(b"one");
        assert_eq!(store.load(one), None);
        store.save(one, b"a response").unwrap();
        store.save(one, b"another").unwrap();
        assert_eq!(store.load(one).as_deref(), Some(&b"another"[..]));
        assert_eq!(store.load(fingerprint(b"two")), None);
        assert_eq!(mode(store.folder()), 0o700);
        assert_eq!(mode(&store.file(one)), 0o600);
        assert_eq!(fs::read_dir(store.folder()).unwrap().count(), 1);
    }

    #[test]
    fn no_link_is_followed_and_no_endless_file_read() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::below(state.path());
        let (one, two) = (fingerprint(b"one"), fingerprint(b"two"));
        store.save(one, b"a response").unwrap();
        let elsewhere = state.path().join("elsewhere");
        fs::write(&elsewhere, b"mine").unwrap();
        std::os::unix::fs::symlink(&elsewhere, store.file(two)).unwrap();
        assert_eq!(store.load(two), None);
        let beside = store.folder().join(format!("{two}.new"));
        std::os::unix::fs::symlink(&elsewhere, beside).unwrap();
        store.save(two, b"a response").unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
        fs::write(store.file(one), vec![0; 1 << 20]).unwrap();
        assert_eq!(
            store.load(one).map(|r| r.len()),
            Some(RESPONSE_BYTES_MAX + 1)
        );
    }

    #[test]
    fn what_is_of_no_use_any_more_goes_and_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::below(state.path());
        let (known, gone) = (fingerprint(b"known"), fingerprint(b"gone"));
        store.save(known, b"a response").unwrap();
        store.save(gone, b"a response").unwrap();
        fs::write(store.folder().join("README.der"), "somebody's").unwrap();
        let is_known = |name: &str| name == known.to_string();
        let now = SystemTime::now();
        store.tidy(is_known, now);
        assert!(store.load(gone).is_some(), "it may be of use still");
        store.tidy(is_known, now + KEPT_UNUSED + Duration::from_secs(60));
        assert_eq!(store.load(gone), None);
        assert!(store.load(known).is_some());
        assert!(store.folder().join("README.der").exists());
    }
}
