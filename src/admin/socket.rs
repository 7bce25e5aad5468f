//! The socket itself: made so that nobody else can use it, not even for a moment.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use socket2::{Domain, SockAddr, Socket, Type};
use zeroize::Zeroizing;

use super::token_file;
use crate::config;

/// A socket that is listened on, before anybody accepts from it.
pub enum Bound {
    /// A unix socket.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Where it lies.
        file: SocketFile,
    },
    /// A loopback address, and the token that it asks for.
    Loopback(TcpListener, Zeroizing<String>),
    /// A loopback address for whoever watches the server.
    Metrics(TcpListener),
}

impl Bound {
    /// What it is for, for the log.
    pub fn purpose(&self) -> &'static str {
        match self {
            Self::Unix { .. } | Self::Loopback(..) => "administrators may ask",
            Self::Metrics(_) => "metrics may be read",
        }
    }
}

/// The file of a unix socket, which is removed when this is dropped, if it is still the same.
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another server has it.
    #[error(
        "another server answers at {}; give each server a server.admin of its own", .0.display()
    )]
    Taken(PathBuf),
    /// A file cannot be made.
    #[error("{} cannot be {what}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The address cannot be bound.
    #[error("{address} cannot be listened on: {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Makes the socket that the configuration asks for; none where it asks for none. `owner` is who the server will run as, if
/// it is still somebody else.
pub fn bind(
    server: &config::Server,
    owner: Option<(u32, u32)>,
) -> Result<Option<Bound>, SocketError> {
    match &server.admin {
        config::Admin::Off => Ok(None),
        config::Admin::Unix(path) => bind_unix(path, owner).map(Some),
        config::Admin::Loopback(address) => {
            let token = make_token(&server.state_dir, owner)?;
            let listener = bind_address(*address)?;
            Ok(Some(Bound::Loopback(listener, token)))
        }
    }
}

/// Binds the address where whoever watches the server asks; none where there is to be none.
pub fn bind_metrics(server: &config::Server) -> Result<Option<Bound>, SocketError> {
    let listener = server.metrics.map(bind_address).transpose()?;
    Ok(listener.map(Bound::Metrics))
}

fn bind_address(address: SocketAddr) -> Result<TcpListener, SocketError> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|source| SocketError::Address { address, source })
}

/// Bound under another name, given its mode and its owner, listened on, and only then moved to its place: what a server that
/// was killed left there is replaced by it, and nobody finds a socket there that everybody may use.
fn bind_unix(path: &Path, owner: Option<(u32, u32)>) -> Result<Bound, SocketError> {
    let failed = |file: &Path, what| {
        let file = file.to_owned();
        move |source| SocketError::File { file, what, source }
    };
    if UnixStream::connect(path).is_ok() {
        return Err(SocketError::Taken(path.into()));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder, FOLDER_MODE, owner).map_err(failed(folder, "made"))?;
    // What lies there and is no socket is somebody's.
    if let Ok(found) = fs::symlink_metadata(path)
        && !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type())
    {
        let source = io::Error::other("something lies there that is no socket");
        return Err(failed(path, "bound")(source));
    }
    let making = folder.join(format!(".portunus-{}.sock", std::process::id()));
    let _ = fs::remove_file(&making);
    let listener = (|| {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&making)?)?;
        fs::set_permissions(&making, fs::Permissions::from_mode(SOCKET_MODE))?;
        if let Some((user, group)) = owner {
            chown(&making, Some(user), Some(group))?;
        }
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        fs::rename(&making, path)?;
        Ok(UnixListener::from(socket))
    })();
    let listener = listener.map_err(|source| {
        let _ = fs::remove_file(&making);
        failed(path, "bound")(source)
    })?;
    let inode = fs::symlink_metadata(path).map_err(failed(path, "looked at"))?;
    let file = SocketFile {
        path: path.into(),
        inode: inode.ino(),
    };
    Ok(Bound::Unix { listener, file })
}

fn make_folder(folder: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)?;
    match owner {
        Some((user, group)) => chown(folder, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// The token that is there, or a new one: whoever can read the server's own files may ask it.
fn make_token(
    state_dir: &Path,
    owner: Option<(u32, u32)>,
) -> Result<Zeroizing<String>, SocketError> {
    let file = token_file(state_dir);
    let failed = |what| {
        let file = file.clone();
        move |source| SocketError::File { file, what, source }
    };
    let ours = |user| {
        let own = nix::unistd::Uid::effective().as_raw();
        user == 0 || user == own || owner.is_some_and(|(owner, _)| owner == user)
    };
    match read_token_of(state_dir, ours) {
        Ok(token) => return Ok(token),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read")(error)),
    }
    make_folder(state_dir, STATE_MODE, owner).map_err(failed("made"))?;
    let mut random = Zeroizing::new([0; TOKEN_BYTES]);
    let filled = aws_lc_rs::rand::fill(&mut *random);
    filled.map_err(|_| failed("made")(io::Error::other("the system has no random bytes")))?;
    let token: Zeroizing<String> =
        Zeroizing::new(random.iter().map(|byte| format!("{byte:02x}")).collect());
    let write = || {
        let mut open = fs::OpenOptions::new();
        let mut made = open.write(true).create_new(true).mode(0o600).open(&file)?;
        made.write_all(token.as_bytes())?;
        match owner {
            Some((user, group)) => chown(&file, Some(user), Some(group)),
            None => Ok(()),
        }
    };
    write().map_err(failed("written"))?;
    Ok(token)
}

/// Reads the token of a server.
pub(super) fn read_token(state_dir: &Path) -> io::Result<Zeroizing<String>> {
    read_token_of(state_dir, |_| true)
}

/// Reads the token, if its file is one that nobody else can have put there or read.
fn read_token_of(
    state_dir: &Path,
    is_trusted: impl Fn(u32) -> bool,
) -> io::Result<Zeroizing<String>> {
    let mut token = Zeroizing::new(String::new());
    // A link may lead to another's file, and a pipe would never answer.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(token_file(state_dir));
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::ELOOP as i32 => io::Error::other(
            "it is a symbolic link, which is not followed; put the file itself there",
        ),
        _ => error,
    })?;
    let found = file.metadata()?;
    let wrong = if !found.is_file() {
        Some("it is no file; remove it, and the next start makes one".to_owned())
    } else if found.mode() & OTHERS != 0 {
        let mode = found.mode() & 0o7777;
        let advice = "remove it, since others may know it, and the next start makes one";
        Some(format!(
            "its mode {mode:04o} lets others read it, or its group write it; {advice}"
        ))
    } else if !is_trusted(found.uid()) {
        let advice = "remove it, and the next start makes one";
        Some(format!(
            "it belongs to uid {}, who may know it; {advice}",
            found.uid()
        ))
    } else {
        None
    };
    if let Some(wrong) = wrong {
        return Err(io::Error::other(wrong));
    }
    file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut token)?;
    let trimmed = token.trim();
    // An empty token would let everybody in.
    if trimmed.len() < TOKEN_BYTES {
        return Err(io::Error::other(
            "it holds no token; remove it, and the next start makes one",
        ));
    }
    Ok(Zeroizing::new(trimmed.to_owned()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A server that was started meanwhile may have put its own there.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Its owner and its group.
const SOCKET_MODE: u32 = 0o660;
const FOLDER_MODE: u32 = 0o750;
/// What must outlive a restart is for its owner alone.
const STATE_MODE: u32 = 0o700;
/// Nobody but the owner writes the token's file, and nobody but the owner and the group reads it.
const OTHERS: u32 = 0o027;
/// More administrators at once are none.
const BACKLOG: i32 = 64;
/// 256 bits.
const TOKEN_BYTES: usize = 32;
const TOKEN_FILE_BYTES_MAX: u64 = 1024;
