//! Libraries of Python that `.ci/setup` installs, each in a folder that nothing else looks into.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where `.ci/setup` puts a library.
pub fn library(name: &str) -> OsString {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let cache = cache.expect("HOME is set, below which .ci/setup installs libraries");
    cache.join("portunus").join(name).into_os_string()
}
