//! A page that is served instead of the application: the offline file, the splash page.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::model::Body;

/// A page, in memory.
#[derive(Debug)]
pub(super) struct Page {
    content: Bytes,
    kind: HeaderValue,
}

impl Page {
    /// Reads a page.
    pub(super) fn read(file: &Path) -> io::Result<Self> {
        let mut content = Vec::new();
        let reading = File::open(file)?.take(PAGE_BYTES_MAX + 1);
        let mut reading = reading;
        reading.read_to_end(&mut content)?;
        if content.len() as u64 > PAGE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a page may have 1 MiB",
            ));
        }
        Ok(Self {
            content: content.into(),
            kind: kind(file),
        })
    }

    /// What is served where the page cannot be read: deployment tools put empty files there, too.
    pub(super) fn none() -> Self {
        Self {
            content: Bytes::from_static(b"503 Service Unavailable\n"),
            kind: HeaderValue::from_static("text/plain; charset=utf-8"),
        }
    }

    /// 503, which no cache keeps and no search engine takes for the site.
    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.content.clone()));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.kind.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        response
    }
}

fn kind(file: &Path) -> HeaderValue {
    let known = mime_guess::from_path(file).first_raw();
    match known {
        None | Some("text/html") => HeaderValue::from_static("text/html; charset=utf-8"),
        Some("text/plain") => HeaderValue::from_static("text/plain; charset=utf-8"),
        Some(known) => HeaderValue::from_static(known),
    }
}

/// Pages are made by hand and kept in memory.
const PAGE_BYTES_MAX: u64 = 1024 * 1024;

/// A start takes seconds, and so does the end of maintenance, seen from its end.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");
