//! Sticky cookies and the key that signs them, which is read or made when it is first needed.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use super::Sticky;
use super::sticky::{fresh, known, secret};
use crate::config;

/// Sticky cookies, once their key is there.
pub(super) struct Keyed {
    config: config::Sticky,
    upstreams: Vec<String>,
    sticky: OnceLock<Sticky>,
}

impl Keyed {
    /// A key that is there and cannot be used is an error now; one that is not there is made later.
    pub(super) fn new(config: &config::Sticky, upstreams: &[String]) -> io::Result<Self> {
        if let Some(file) = &config.key_file {
            known(file).map_err(|error| told(file, &error))?;
        }
        Ok(Self {
            config: config.clone(),
            upstreams: upstreams.to_vec(),
            sticky: OnceLock::new(),
        })
    }

    pub(super) fn get(&self) -> &Sticky {
        self.sticky.get_or_init(|| {
            let names = self.upstreams.iter().map(String::as_str);
            Sticky::new(&self.config, &self.secret(), names)
        })
    }

    /// Without a file clients stay with their upstreams all the same, until the next start.
    fn secret(&self) -> Vec<u8> {
        let Some(file) = &self.config.key_file else {
            return fresh();
        };
        secret(file).unwrap_or_else(|error| {
            let error = told(file, &error);
            tracing::error!(%error, "sticky cookies hold until the next start only");
            fresh()
        })
    }
}

fn told(file: &Path, error: &io::Error) -> io::Error {
    let text = format!("the key of sticky cookies, {}: {error}", file.display());
    io::Error::new(error.kind(), text)
}
