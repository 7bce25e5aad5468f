//! Which script a path is for.
//!
//! A script is a regular file beneath the root, found by the same walls as the files of a `files` handler, or it does not exist:
//! what is no script never reaches the application, which might look for one itself. PHP does: asked for `/avatar.png/x.php`
//! it would run the picture (`cgi.fix_pathinfo`).

use std::io;
use std::path::{Path, PathBuf};

use crate::config;
use crate::handler::files::folder::{Folder, OpenError};
use crate::handler::files::is_hidden;
use crate::model::{Reason, Refusal};

/// The scripts beneath a folder, which is opened once and held.
#[derive(Debug)]
pub(in crate::handler) struct Scripts {
    /// What the folder was found by.
    named: PathBuf,
    /// The same without symbolic links: what the application is told. A release that is put in place by moving a link is told
    /// whole, the old one or the new one.
    root: PathBuf,
    folder: Folder,
    index: String,
    front: Option<String>,
    split: String,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Script(Script),
    /// A folder that has an index, asked for without its trailing slash.
    Folder,
}

/// A script, and what of the path is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// Its path, which begins with a slash.
    pub(super) name: String,
    /// What follows its name, from a slash on; mostly empty.
    pub(super) path_info: String,
}

impl Scripts {
    /// Opens the folder. The error names it.
    pub(in crate::handler) fn new(config: &config::Scripts) -> io::Result<Self> {
        let open = || {
            Ok((
                std::fs::canonicalize(&config.root)?,
                Folder::open_root(&config.root)?,
            ))
        };
        let (root, folder) = open().map_err(|error: io::Error| {
            let named = config.root.display();
            let text = format!("the folder {named} of FastCGI scripts cannot be opened: {error}");
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self {
            named: config.root.clone(),
            root,
            folder,
            index: config.index.clone(),
            front: config.script.clone(),
            split: config.split.clone(),
        })
    }

    /// Whether the folder's path leads to another folder by now.
    pub(in crate::handler) fn is_outdated(&self) -> bool {
        !self.folder.is_at(&self.named)
    }

    /// The folder, as the application is told.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What a path leads to.
    pub(super) fn find(&self, path: &str) -> Result<Found, Refusal> {
        let relative = path.trim_start_matches('/');
        if is_hidden(relative) {
            return Err(OpenError::Missing.into());
        }
        if let Some(end) = self.end_of_script(relative) {
            // Also where there is a script that takes all the rest: what asks for other scripts is mostly a scanner.
            return match self.is_script(&relative[..end])? {
                true => Ok(script(&relative[..end], &relative[end..])),
                false => Err(no_script()),
            };
        }
        let is_folder = relative.is_empty() || relative.ends_with('/');
        if is_folder {
            let index = format!("{relative}{}", self.index);
            if self.is_script(&index)? {
                return Ok(script(&index, ""));
            }
        } else if self.is_script(&format!("{relative}/{}", self.index))? {
            return Ok(Found::Folder);
        }
        let Some(front) = &self.front else {
            return Err(no_script());
        };
        match self.is_script(front)? {
            true => Ok(script(front, "")),
            false => {
                let root = self.root.display();
                let detail = format!(
                    "the script {front:?}, which takes what no other does, is not in {root}"
                );
                Err(Refusal::new(Reason::Internal, detail))
            }
        }
    }

    /// Where the first segment ends that is named as a script.
    fn end_of_script(&self, relative: &str) -> Option<usize> {
        let mut end = 0;
        for segment in relative.split_inclusive('/') {
            end += segment.len();
            let name = segment.strip_suffix('/').unwrap_or(segment);
            if name.len() > self.split.len() && name.ends_with(&self.split) {
                return Some(end - (segment.len() - name.len()));
            }
        }
        None
    }

    /// Whether a regular file is there. Whether it can be read is between the application and the system.
    fn is_script(&self, relative: &str) -> Result<bool, OpenError> {
        match self.folder.look(relative) {
            Ok(found) => Ok(found.is_file()),
            Err(OpenError::Missing) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn script(name: &str, path_info: &str) -> Found {
    Found::Script(Script {
        name: format!("/{name}"),
        path_info: path_info.to_owned(),
    })
}

/// A fixed text: what is asked for in vain is asked for often.
fn no_script() -> Refusal {
    Refusal::new(Reason::NoRoute, "there is no such script")
}

#[cfg(test)]
mod tests;
