//! The folder of the files: written, named, and the oldest removed.
//!
//! Nothing that goes wrong here is anybody's trouble but this thread's: it is told, at most once in [`WARN_EVERY`], and the next
//! request is tried anew.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::Job;
use super::record::{Record, rfc3339};
use crate::draft;
use crate::model::journal::Step;
use crate::report::WARN_EVERY;

/// Writes requests into the folder that each one's configuration names.
#[derive(Default)]
pub(super) struct Writer {
    /// The folder that was written to last, and the files in it, the oldest first.
    folder: PathBuf,
    files: VecDeque<String>,
    /// Told apart by this where they are alike in all else.
    count: u64,
    trouble_told_at: Option<Instant>,
    dropped_told_at: Option<Instant>,
    dropped_told: u64,
}

impl Writer {
    /// Whether a file is there now.
    pub(super) fn write(&mut self, job: &Job) -> bool {
        match self.try_write(job) {
            Ok(()) => true,
            Err(error) => {
                // What was known of the folder may be wrong.
                self.folder = PathBuf::new();
                let due = is_due(&mut self.trouble_told_at);
                if due {
                    let folder = job.settings.config.folder.display();
                    tracing::warn!(%folder, %error, "a failed request cannot be written; make it a folder that the server's user can write to, on a disk with room, or name another as failed_requests.folder");
                }
                false
            }
        }
    }

    /// Tells of what found the queue full.
    pub(super) fn tell_of_dropped(&mut self, dropped: u64) {
        if dropped > self.dropped_told && is_due(&mut self.dropped_told_at) {
            let count = dropped - self.dropped_told;
            self.dropped_told = dropped;
            tracing::warn!(
                count,
                "failed requests came faster than they are written, and were dropped; name fewer of them by narrower rules"
            );
        }
    }

    fn try_write(&mut self, job: &Job) -> io::Result<()> {
        let config = &job.settings.config;
        self.enter(&config.folder)?;
        // The clock on the wall at the request's end: the order of the names is that of writing.
        let journal = &job.ended.journal;
        let took = job.ended.at.saturating_duration_since(journal.began());
        let at = (journal.began_at().checked_add(took)).unwrap_or(SystemTime::UNIX_EPOCH);
        self.count += 1;
        let name = name(
            at,
            &site(job),
            job.ended.status.map(|it| it.as_u16()),
            self.count,
        );
        let text = Record::text(&job.ended, &job.fired, &job.settings);
        let draft = config.folder.join(DRAFT);
        let written = draft::write_lightly(&draft, text.as_bytes())
            .and_then(|()| fs::rename(&draft, config.folder.join(&name)));
        if let Err(error) = written {
            // Half a file is worth nothing, and takes what may be the disk's last room.
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        self.files.push_back(name);
        self.remove_oldest(config.max_files);
        Ok(())
    }

    /// Makes the folder where it is missing, and looks at what is in it where it is another than before.
    fn enter(&mut self, folder: &Path) -> io::Result<()> {
        if self.folder == folder && folder.is_dir() {
            return Ok(());
        }
        // A folder that is there stays as it is: who may read in it is its owner's to say.
        (DirBuilder::new().recursive(true).mode(0o700)).create(folder)?;
        self.files = files(folder)?.into();
        self.folder = folder.to_path_buf();
        Ok(())
    }

    fn remove_oldest(&mut self, max: usize) {
        while self.files.len() > max {
            let Some(oldest) = self.files.pop_front() else {
                return;
            };
            let removed = fs::remove_file(self.folder.join(&oldest));
            // Somebody may have been quicker.
            if let Err(error) = removed
                && error.kind() != io::ErrorKind::NotFound
                && is_due(&mut self.trouble_told_at)
            {
                tracing::warn!(file = %oldest, %error, "an old failed request cannot be removed, and more than failed_requests.max_files are there");
            }
        }
    }
}

/// Whether something is to be told again.
fn is_due(told_at: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let due = told_at.is_none_or(|at| now.duration_since(at) >= WARN_EVERY);
    if due {
        *told_at = Some(now);
    }
    due
}

/// The site that the steps tell of.
fn site(job: &Job) -> String {
    let found = job.ended.journal.steps().noted.into_iter();
    let mut sites = found.filter_map(|noted| match noted.step {
        Step::BindingFound { site, .. } => Some(site.to_string()),
        _ => None,
    });
    sites.next().unwrap_or_else(|| NO_SITE.to_owned())
}

/// `2026-11-21T10-42-00.123Z-www-503-7.json`: sorted by name is sorted by time.
fn name(at: SystemTime, site: &str, status: Option<u16>, count: u64) -> String {
    let time = rfc3339(at).replace(':', "-");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let site: String = (site.chars().take(SITE_MAX))
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let status = status.map_or_else(|| NO_STATUS.to_owned(), |status| status.to_string());
    format!("{time}-{site}-{status}-{count}.json")
}

/// Whether a file of this name is one of ours: nothing else is ever removed, or listed.
pub fn is_record_name(name: &str) -> bool {
    let Some((time, rest)) = name.split_at_checked(TIME_FORM.len()) else {
        return false;
    };
    let fits = |(is, form): (u8, u8)| match form {
        b'0' => is.is_ascii_digit(),
        _ => is == form,
    };
    let mut parts = rest.trim_end_matches(".json").rsplitn(3, '-');
    let is_count = |part: Option<&str>| {
        part.is_some_and(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()))
    };
    time.bytes().zip(TIME_FORM.bytes()).all(fits)
        && rest.starts_with('-')
        && rest.ends_with(".json")
        && is_count(parts.next())
        && parts.next().is_some()
        && parts.next().is_some_and(|site| site.len() > 1)
}

/// The names of the files that are there, the oldest first.
pub(super) fn files(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().filter(|name| is_record_name(name)) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Where a file is written before it has its name.
const DRAFT: &str = "draft.tmp";

/// In a file's name, where no binding was found, or there was no response.
const NO_SITE: &str = "no_site";
const NO_STATUS: &str = "none";

/// Characters of a site's name in a file's name.
const SITE_MAX: usize = 64;

/// The time in a file's name; a 0 stands for any digit.
const TIME_FORM: &str = "0000-00-00T00-00-00.000Z";
