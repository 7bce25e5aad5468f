//! Writing a file beside its place, to be moved there: nobody reads half of it, and nobody's link is followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a new file for its owner alone, and brings it to the disk.
///
/// What an interrupted run has left there may be another's to read, or a link to somewhere else: it is removed first.
pub fn write(draft: &Path, content: &[u8]) -> io::Result<()> {
    create(draft, content)?.sync_all()
}

/// The same of what may be lost with the machine: it is not waited for the disk.
pub fn write_lightly(draft: &Path, content: &[u8]) -> io::Result<()> {
    create(draft, content).map(drop)
}

fn create(draft: &Path, content: &[u8]) -> io::Result<File> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(content)?;
    Ok(file)
}
