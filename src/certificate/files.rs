//! The files of one certificate, and what they held when they were read. Compared by content: times of modification lie, and a
//! link that leads elsewhere changes no file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use zeroize::Zeroizing;

use super::error::CertificateError;

/// Where a certificate lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The chain, and its key perhaps.
    pub chain: PathBuf,
    /// The key, where the chain's own file holds none.
    pub key: PathBuf,
    /// The password of an encrypted key: the first of these files that there is.
    pub passwords: Vec<PathBuf>,
}

/// What the files of a certificate held at one moment; wiped when it is dropped, as keys are in it.
pub struct Content {
    chain: Found,
    key: Found,
    /// Of the file that it was found in.
    password: (PathBuf, Found),
}

/// What opens an encrypted file.
pub(super) struct Password<'a> {
    /// The empty one, where none is given.
    pub(super) bytes: &'a [u8],
    pub(super) is_given: bool,
    /// Where it lies, or should.
    file: &'a Path,
}

/// A SHA-256 of contents.
pub(super) type Digest = [u8; 32];

/// What was found where a file is looked for.
pub(super) enum Found {
    Bytes(Zeroizing<Vec<u8>>),
    Absent,
    Unreadable(io::Error),
}

impl Files {
    /// Reads them. What cannot be read is content as well: it is told when the content is looked at.
    pub fn read(&self) -> Content {
        let chain = Found::read(&self.chain);
        let key = match self.key == self.chain {
            true => Found::Absent,
            false => Found::read(&self.key),
        };
        Content {
            chain,
            key,
            password: self.read_password(),
        }
    }

    fn read_password(&self) -> (PathBuf, Found) {
        for file in &self.passwords {
            let found = Found::read(file);
            if !matches!(found, Found::Absent) {
                return (file.clone(), found);
            }
        }
        let first = self.passwords.first().cloned().unwrap_or_default();
        (first, Found::Absent)
    }

    /// Every one of them.
    pub fn all(&self) -> impl Iterator<Item = &Path> {
        [&*self.chain, &*self.key]
            .into_iter()
            .chain(self.passwords.iter().map(|file| &**file))
    }
}

impl Content {
    /// What they would hold; none of a file that is not there.
    pub fn of(chain: Option<&[u8]>, key: Option<&[u8]>) -> Self {
        let found = |bytes: Option<&[u8]>| match bytes {
            Some(bytes) => Found::Bytes(bytes.to_vec().into()),
            None => Found::Absent,
        };
        Self {
            chain: found(chain),
            key: found(key),
            password: (PathBuf::new(), Found::Absent),
        }
    }

    /// The same with a password.
    pub fn with_password(self, password: &[u8]) -> Self {
        let found = Found::Bytes(password.to_vec().into());
        Self {
            password: (PathBuf::from("password"), found),
            ..self
        }
    }

    /// The same for the same content, and for no other.
    pub(super) fn digest(&self) -> Digest {
        let mut context = Context::new(&SHA256);
        for found in [&self.chain, &self.key, &self.password.1] {
            found.add_to(&mut context);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    /// What is in the file of the chain.
    pub(super) fn chain(&self, files: &Files) -> Result<&[u8], CertificateError> {
        let file = || files.chain.clone();
        match &self.chain {
            Found::Bytes(bytes) => Ok(bytes),
            Found::Absent => Err(CertificateError::Missing(file())),
            Found::Unreadable(error) => Err(unreadable(file(), error)),
        }
    }

    /// What is in the file of the key, which is needed.
    pub(super) fn key(&self, files: &Files) -> Result<&[u8], CertificateError> {
        match &self.key {
            Found::Bytes(bytes) => Ok(bytes),
            Found::Absent if files.key == files.chain => {
                Err(CertificateError::NoKey(files.key.clone()))
            }
            Found::Absent => Err(CertificateError::KeyMissing {
                chain: files.chain.clone(),
                key: files.key.clone(),
            }),
            Found::Unreadable(error) => Err(unreadable(files.key.clone(), error)),
        }
    }
}

impl Content {
    /// The password: the whole file, but for the end of its line.
    pub(super) fn password(&self) -> Result<Password<'_>, CertificateError> {
        let (file, found) = &self.password;
        let (bytes, is_given) = match found {
            Found::Bytes(bytes) => (&bytes[..], true),
            Found::Absent => (&[][..], false),
            Found::Unreadable(error) => return Err(unreadable(file.clone(), error)),
        };
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        Ok(Password {
            bytes: line.strip_suffix(b"\r").unwrap_or(line),
            is_given,
            file,
        })
    }
}

impl Password<'_> {
    /// It does not open the file, or is not there to.
    pub(super) fn wrong(&self, file: &Path) -> CertificateError {
        let (file, password) = (file.into(), self.file.into());
        match self.is_given {
            true => CertificateError::PasswordWrong { file, password },
            false => CertificateError::PasswordMissing { file, password },
        }
    }
}

impl Found {
    fn read(file: &Path) -> Self {
        match read_bounded(file) {
            Ok(bytes) => Self::Bytes(bytes),
            Err(error) if is_absence(&error) => Self::Absent,
            Err(error) => Self::Unreadable(error),
        }
    }

    fn add_to(&self, context: &mut Context) {
        // The length keeps the end of one file apart from the beginning of the next.
        match self {
            Self::Bytes(bytes) => {
                context.update(&[1]);
                context.update(&bytes.len().to_le_bytes());
                context.update(bytes);
            }
            Self::Absent => context.update(&[0]),
            Self::Unreadable(error) => {
                let error = error.to_string();
                context.update(&[2]);
                context.update(&error.len().to_le_bytes());
                context.update(error.as_bytes());
            }
        }
    }
}

/// Whether an error says that there is no such file: neither it nor, perhaps, the folder that it would be in.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn unreadable(file: PathBuf, error: &io::Error) -> CertificateError {
    // An error of the system keeps its number, and with it its words.
    let source = match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    };
    CertificateError::Unreadable { file, source }
}

/// Reads a file, if it is one and not of a size that no certificate has.
fn read_bounded(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // A pipe would wait for whoever writes to it.
    let metadata = std::fs::metadata(file)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB");
    let length = usize::try_from(metadata.len()).map_err(|_| too_long())?;
    if length > FILE_BYTES_MAX {
        return Err(too_long());
    }
    // With room for all of it: bytes that a growing vector leaves behind are not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    File::open(file)?
        .take(length as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > length {
        return Err(io::Error::other("it grows while it is read"));
    }
    Ok(bytes)
}

/// A chain of ten certificates of 8 KiB each has a tenth of it.
const FILE_BYTES_MAX: usize = 1 << 20;
