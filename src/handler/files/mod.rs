//! `type = "files"`: the files of one folder.
//!
//! A request's path names a file under the folder as it stands: a route's prefix is not taken off. What is not a regular
//! file beneath the folder does not exist, whatever the path or a symbolic link says; nor does anything whose name begins
//! with a dot, but for `/.well-known/`.
//!
//! Small files are opened, read and answered on the data thread itself: what is served often is in the page cache, where
//! open, stat and read take microseconds together, and a hop to the blocking pool and back costs more than that. Larger
//! files and listings go to the blocking pool.

mod answer;
mod conditions;
mod content;
mod encoding;
pub(in crate::handler) mod folder;
mod listing;
mod ranges;

use std::io;
use std::path::Path;
use std::sync::Arc;

use http::header::{ALLOW, CONTENT_LENGTH, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Handler, Outcome, Reply};
use crate::config;
use crate::model::{Body, Facts, Reason, Refusal};
use answer::Representation;
use encoding::Encoding;
use folder::{File, Folder, OpenError, Opened};

/// Serves the files of a folder.
///
/// The folder is opened once and held: what is renamed into its place later is served by the next handler that is made for
/// it, not by this one.
#[derive(Debug)]
pub struct Files {
    /// What the folder was found by.
    root: Box<Path>,
    folder: Arc<Folder>,
    index: Box<[Box<str>]>,
    listing: bool,
    cache_control: Option<HeaderValue>,
    precompressed: bool,
}

impl Files {
    /// Opens the folder. The error names it.
    pub fn new(config: &config::Files) -> io::Result<Self> {
        let folder = Folder::open_root(&config.root).map_err(|error| {
            let root = config.root.display();
            let text = format!("the folder {root} of a files handler cannot be opened: {error}");
            io::Error::new(error.kind(), text)
        })?;
        let cache_control = match config.cache_control.as_str() {
            "" => None,
            text => Some(HeaderValue::from_str(text).map_err(|_| {
                let text = format!("cache_control = {text:?} cannot be sent as a field");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?),
        };
        Ok(Self {
            root: config.root.as_path().into(),
            folder: Arc::new(folder),
            index: config
                .index
                .iter()
                .map(|name| name.as_str().into())
                .collect(),
            listing: config.listing,
            cache_control,
            precompressed: config.precompressed,
        })
    }

    /// Answers GET and HEAD.
    fn find<'a>(&'a self, request: &Request<Body>, facts: &Facts) -> Reply<'a> {
        let relative = facts.path.as_str().trim_start_matches('/');
        if is_hidden(relative) {
            return Reply::Now(Err(OpenError::Missing.into()));
        }
        if relative.is_empty() || relative.ends_with('/') {
            return self.find_index(request, relative);
        }
        Reply::Now(match self.folder.open(relative) {
            Ok(Opened::File(file)) => self.serve(request, relative, file),
            Ok(Opened::Folder) => redirect_to_folder(request, relative),
            Err(error) => Err(error.into()),
        })
    }

    /// Answers for a folder, which is `relative` with its trailing slash, or empty for the root.
    fn find_index<'a>(&'a self, request: &Request<Body>, relative: &str) -> Reply<'a> {
        for name in &self.index {
            let path = format!("{relative}{name}");
            match self.folder.open(&path) {
                Ok(Opened::File(file)) => return Reply::Now(self.serve(request, &path, file)),
                // A folder that is named like an index file is none.
                Ok(Opened::Folder) | Err(OpenError::Missing) => {}
                Err(error) => return Reply::Now(Err(error.into())),
            }
        }
        if self.listing {
            let relative = relative.to_owned();
            let head = request.method() == Method::HEAD;
            return Reply::later(self.list(relative, head));
        }
        // 404 and not 403: whether the folder exists is nobody's business when there is nothing to see in it.
        Reply::Now(Err(Refusal::new(
            Reason::NoRoute,
            "there is no such folder, or none of its index files, and listings are off",
        )))
    }

    /// Answers with a file, or with a compressed sibling of it. `path` is the file's own, beneath the folder.
    fn serve(&self, request: &Request<Body>, path: &str, file: File) -> Outcome {
        let (file, encoding) = match self.compressed_sibling(request, path, &file) {
            Some((sibling, encoding)) => (sibling, Some(encoding)),
            None => (file, None),
        };
        let representation = Representation {
            file,
            encoding,
            content_type: answer::content_type(path),
            cache_control: self.cache_control.as_ref(),
            varies: self.precompressed,
        };
        representation.answer(request)
    }

    /// The sibling that the client likes best among those that are there and not older than the file itself.
    ///
    /// A sibling that cannot be opened, for whatever reason, is no reason to refuse the file.
    fn compressed_sibling(
        &self,
        request: &Request<Body>,
        path: &str,
        file: &File,
    ) -> Option<(File, Encoding)> {
        if !self.precompressed {
            return None;
        }
        for encoding in encoding::accepted(request.headers()) {
            let sibling = format!("{path}{}", encoding.suffix());
            if let Ok(Opened::File(sibling)) = self.folder.open(&sibling)
                && sibling.stamp.modified() >= file.stamp.modified()
            {
                return Some((sibling, encoding));
            }
        }
        None
    }

    async fn list(&self, relative: String, head: bool) -> Outcome {
        let folder = Arc::clone(&self.folder);
        let rendered =
            tokio::task::spawn_blocking(move || listing::render(&folder, &relative)).await;
        let page = rendered.map_err(|error| {
            Refusal::new(Reason::Internal, format!("the listing failed: {error}"))
        })??;
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        listing::describe(headers);
        if let Some(value) = &self.cache_control {
            headers.insert(http::header::CACHE_CONTROL, value.clone());
        }
        if head {
            headers.insert(CONTENT_LENGTH, page.len().into());
        } else {
            *response.body_mut() = Body::full(page);
        }
        Ok(response)
    }
}

impl Handler for Files {
    /// A release that is put in place by moving a link, `current` say, is another folder under the same name.
    fn is_outdated(&self) -> bool {
        !self.folder.is_at(&self.root)
    }

    fn handle<'a>(&'a self, request: Request<Body>, facts: &'a Facts) -> Reply<'a> {
        match *request.method() {
            Method::GET | Method::HEAD => self.find(&request, facts),
            Method::OPTIONS => Reply::Now(Ok(options())),
            _ => Reply::Now(Err(Refusal::method_not_allowed(
                METHODS,
                "files can only be read",
            ))),
        }
    }
}

/// Whether a segment begins with a dot. `.well-known` is there to be read (RFC 8615), but only where it means something:
/// as the first segment.
pub(in crate::handler) fn is_hidden(relative: &str) -> bool {
    let mut segments = relative.split('/');
    let first = segments.next().unwrap_or_default();
    (first.starts_with('.') && first != ".well-known")
        || segments.any(|segment| segment.starts_with('.'))
}

/// A folder asked for without its trailing slash: relative links of its index would lead to the wrong place.
pub(in crate::handler) fn redirect_to_folder(request: &Request<Body>, relative: &str) -> Outcome {
    let mut location = format!("/{}/", utf8_percent_encode(relative, PATH));
    if let Some(query) = request.uri().query() {
        location.push('?');
        location.push_str(query);
    }
    let location = HeaderValue::try_from(location)
        .map_err(|_| Refusal::new(Reason::Url, "the query has a byte that no field may carry"))?;
    let mut response = Response::new(Body::empty());
    // Only GET and HEAD come here, so there is no method that 301 could change and 308 would keep.
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

fn options() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

const METHODS: &str = "GET, HEAD";

/// What is escaped in one segment of a path: everything but RFC 3986's unreserved characters, so that no name can be read
/// as a scheme, a query or a piece of HTML.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is escaped in a path.
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

#[cfg(test)]
mod tests;
