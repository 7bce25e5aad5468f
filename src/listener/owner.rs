//! Who listens on a port, for the message that it is taken.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::Transport;

/// The program that listens on a port, as `name (pid 123)`; none where it cannot be found out, as is usual for programs
/// of other users.
pub(super) fn of_port(transport: Transport, port: u16) -> Option<String> {
    // A TCP socket listens in the state 0A; one for datagrams, which no peer is set for, is in 07.
    let (tables, state) = match transport {
        Transport::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], "0A"),
        Transport::Quic => (["/proc/net/udp", "/proc/net/udp6"], "07"),
    };
    let inodes: Vec<u64> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            table
                .lines()
                .filter_map(|line| listening_inode(line, state, port))
                .collect::<Vec<_>>()
        })
        .collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = files.flatten().any(|file| {
            // Following the link gives the socket's own inode.
            fs::metadata(file.path()).is_ok_and(|metadata| inodes.contains(&metadata.ino()))
        });
        if holds {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", command.trim()));
        }
    }
    None
}

/// The inode of the socket that a line of /proc/net/tcp or udp describes, if it is in this state on the port.
fn listening_inode(line: &str, state: &str, port: u16) -> Option<u64> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let listens = *fields.get(3)? == state;
    (listens && u16::from_str_radix(local_port, 16).ok()? == port)
        .then(|| fields.get(9)?.parse().ok())?
}
