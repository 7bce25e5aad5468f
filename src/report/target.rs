//! What lines are written to: a file, or a standard stream.
//!
//! A standard stream is shared with other processes, so it cannot be made non-blocking. It is written to only while `poll`
//! says that it has room, and then in pieces that a pipe with room takes at once (`PIPE_BUF`), cut at line ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{AccessFlags, access};

use crate::config::LogTarget;

/// Linux' `PIPE_BUF`: a pipe that `poll` calls writable takes this much without waiting, and in one piece.
pub(super) const PIPE_BUF: usize = 4096;

/// Log files can hold what clients sent: their owner writes, his group reads.
const FILE_MODE: u32 = 0o640;

/// Between `poll` and the write nobody else of this process may take the room.
static STANDARD_STREAMS: Mutex<()> = Mutex::new(());

/// Something open to be appended to.
pub(super) struct Target {
    file: File,
    kind: Kind,
    /// As messages call it.
    pub(super) name: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file on a disk, which always takes what it can.
    Regular,
    /// A pipe or device that was opened here, without blocking.
    Special,
    /// Standard output or standard error.
    Standard,
}

/// A log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file cannot be opened.
    #[error(
        "cannot open the {log} log {path:?} for appending; its folder must exist and be writable for the user that Portunus runs as"
    )]
    Open {
        /// Which log.
        log: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A standard stream is closed.
    #[error("cannot write the {log} log to {stream}; it seems to be closed")]
    Stream {
        /// Which log.
        log: &'static str,
        /// Which stream.
        stream: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// There is no thread for writing.
    #[error("cannot start the thread that writes the logs")]
    Thread(#[source] io::Error),
    /// The logs are still being reopened.
    #[error(
        "the logs are still being reopened as the last reload asked; try again when the disk answers"
    )]
    Busy,
}

impl Target {
    /// Opens a log's target; none when the log is off.
    pub(super) fn open(
        log: &'static str,
        target: &LogTarget,
    ) -> Result<Option<Target>, ReportError> {
        match target {
            LogTarget::Off => Ok(None),
            LogTarget::Stdout => Self::standard(log, "stdout", io::stdout().as_fd()).map(Some),
            LogTarget::Stderr => Self::standard(log, "stderr", io::stderr().as_fd()).map(Some),
            LogTarget::File(path) => {
                let opened = || {
                    // Without blocking: the opening of a pipe that nobody reads would never return.
                    let file = OpenOptions::new()
                        .append(true)
                        .create(true)
                        .mode(FILE_MODE)
                        .custom_flags(OFlag::O_NONBLOCK.bits())
                        .open(path)?;
                    let kind = if file.metadata()?.is_file() {
                        Kind::Regular
                    } else {
                        Kind::Special
                    };
                    Ok((file, kind))
                };
                match opened() {
                    Ok((file, kind)) => Ok(Some(Target {
                        file,
                        kind,
                        name: path.display().to_string(),
                    })),
                    Err(source) => Err(ReportError::Open {
                        log,
                        path: path.clone(),
                        source,
                    }),
                }
            }
        }
    }

    fn standard(
        log: &'static str,
        stream: &'static str,
        fd: BorrowedFd<'_>,
    ) -> Result<Target, ReportError> {
        match fd.try_clone_to_owned() {
            Ok(fd) => Ok(Target {
                file: File::from(fd),
                kind: Kind::Standard,
                name: stream.to_owned(),
            }),
            Err(source) => Err(ReportError::Stream {
                log,
                stream,
                source,
            }),
        }
    }

    /// Writes as much of `lines` as the target takes without waiting: `WouldBlock` when that is nothing.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match self.kind {
            Kind::Regular => self.file.write(lines),
            Kind::Special => self.file.write(piece(lines)),
            Kind::Standard => write_if_room(&mut self.file, piece(lines)),
        }
    }

    /// Waits until the target has room, or as long as `most`.
    pub(super) fn wait_for_room(&self, most: Duration) {
        // Whatever ends the wait, the next write tells.
        let _ = has_room(self.file.as_fd(), most);
    }
}

/// Whether a log's target could be opened. A file that is not there is not made.
pub(super) fn try_out(log: &'static str, target: &LogTarget) -> Result<(), ReportError> {
    let LogTarget::File(path) = target else {
        return Target::open(log, target).map(drop);
    };
    let open = OpenOptions::new()
        .append(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    let source = match open {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let may = AccessFlags::W_OK | AccessFlags::X_OK;
            access(folder.unwrap_or(Path::new(".")), may)
                .err()
                .map(io::Error::from)
        }
        opened => opened.err(),
    };
    source.map_or(Ok(()), |source| {
        Err(ReportError::Open {
            log,
            path: path.clone(),
            source,
        })
    })
}

/// As many whole lines as a pipe takes at once; of a longer line, its beginning.
fn piece(lines: &[u8]) -> &[u8] {
    if lines.len() <= PIPE_BUF {
        return lines;
    }
    match memchr::memrchr(b'\n', &lines[..PIPE_BUF]) {
        Some(end) => &lines[..=end],
        None => &lines[..PIPE_BUF],
    }
}

/// Writes to a blocking stream, at most [`PIPE_BUF`] bytes, only if it has room.
pub(super) fn write_if_room<W: io::Write + AsFd>(
    stream: &mut W,
    bytes: &[u8],
) -> io::Result<usize> {
    let _room = STANDARD_STREAMS
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if has_room(stream.as_fd(), Duration::ZERO)? {
        stream.write(bytes)
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

fn has_room(fd: BorrowedFd<'_>, most: Duration) -> io::Result<bool> {
    let most = PollTimeout::try_from(most).unwrap_or(PollTimeout::ZERO);
    // A stream whose reader is gone counts as one with room: the write then says so.
    Ok(poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], most)? > 0)
}
