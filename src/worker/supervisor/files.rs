//! Files that have something to say to a pool: the offline file, and those whose change calls for new workers. And the clock.
//!
//! They are looked at every second rather than watched: that works on every file system, and for files that are not there yet in
//! folders that are not there yet.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::minding::Report;
use super::{LOOK_EVERY, Why, schedule};
use crate::config;

/// What a file is told apart by; none where there is none.
type Print = Option<(u64, u64, Option<SystemTime>)>;

/// Looks for ever, and reports what calls for something.
pub(super) async fn watch(settings: Arc<config::Process>, reports: mpsc::Sender<Report>) {
    let mut offline = None;
    let mut prints: Vec<(PathBuf, Option<Print>)> = (settings.recycle.files.iter())
        .map(|file| (file.clone(), None))
        .collect();
    let mut clock = schedule::Clock::new(&settings.recycle.schedule);
    loop {
        let there = is_offline(&settings).await;
        if offline.replace(there) != Some(there)
            && reports.send(Report::Offline(there)).await.is_err()
        {
            return;
        }
        for (file, before) in &mut prints {
            let now = print(file).await;
            // Several changes within a second are one.
            if before.replace(now).is_some_and(|before| before != now) {
                let due = Report::Due(Why::File(file.clone()));
                // Nobody is there any more to be told.
                let _ = reports.send(due).await;
            }
        }
        if let Some(time) = clock.rings() {
            let _ = reports.send(Report::Due(Why::Schedule(time))).await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether the offline file is there.
pub(super) async fn is_offline(settings: &config::Process) -> bool {
    match &settings.offline_file {
        Some(file) => tokio::fs::metadata(file).await.is_ok_and(|it| it.is_file()),
        None => false,
    }
}

async fn print(file: &Path) -> Print {
    let found = tokio::fs::metadata(file).await.ok()?;
    Some((found.ino(), found.len(), found.modified().ok()))
}
