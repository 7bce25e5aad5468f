//! From a pool's settings to its handler.

use std::sync::Arc;

use super::Handler;
use crate::config;

/// Why a handler cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder of a `files` handler cannot be opened.
    #[error("{0}")]
    Files(#[from] std::io::Error),
    /// The folder of a FastCGI application's scripts cannot be opened.
    #[error("{0}")]
    Scripts(std::io::Error),
    /// The files of TLS to a proxy's upstreams cannot be used.
    #[error("TLS to upstreams: {0}")]
    ProxyTls(#[from] super::proxy::TlsFilesError),
    /// The key that signs the cookies by which clients stay with an upstream cannot be had.
    #[error("{0}")]
    Sticky(std::io::Error),
    /// `library` stands for a handler that the program itself brings.
    #[error("the handler type \"library\" is for programs that bring their own handler")]
    Library,
}

/// Makes the handler of the pool `pool` as configured, for `threads` data threads.
pub fn build(
    pool: &str,
    settings: &config::Handler,
    threads: usize,
) -> Result<Arc<dyn Handler>, BuildError> {
    Ok(match settings {
        config::Handler::Respond(settings) => {
            Arc::new(super::respond::Respond::new(settings, threads))
        }
        config::Handler::Redirect(settings) => Arc::new(super::redirect::Redirect::new(settings)),
        config::Handler::Files(settings) => Arc::new(super::files::Files::new(settings)?),
        config::Handler::Proxy(settings) => Arc::new(super::proxy::Proxy::new(settings, threads)?),
        config::Handler::Process(settings) => {
            let made = super::process::Process::new(pool, settings, threads);
            Arc::new(made.map_err(BuildError::Scripts)?)
        }
        config::Handler::FastCgi(settings) => {
            let made = super::fastcgi::FastCgi::new(settings, threads);
            Arc::new(made.map_err(BuildError::Scripts)?)
        }
        config::Handler::Library => return Err(BuildError::Library),
    })
}
