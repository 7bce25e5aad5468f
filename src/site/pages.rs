//! A site's own pages for errors: read once, filled in for each response.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED, TRAILER,
};
use http::{HeaderValue, Response, StatusCode};

use crate::config::{self, ErrorPage, ErrorStatuses};
use crate::model::Body;
use crate::model::template::{Placeholder, Said, Template, Values};

/// The pages of a site.
#[derive(Debug, Default)]
pub(super) struct Pages(Vec<(ErrorStatuses, Page)>);

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    content_type: HeaderValue,
    /// Whether `&` and `'` mean something where values stand.
    is_html: bool,
    text: Template,
}

/// An error page that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the error page {} cannot be used: {source}", file.display())]
pub struct PageError {
    file: PathBuf,
    /// Where it was written.
    pub place: config::Place,
    source: io::Error,
}

impl Pages {
    /// Reads them.
    pub(super) fn load(pages: &[ErrorPage]) -> Result<Self, PageError> {
        let pages = pages.iter().map(|page| match Page::read(&page.file) {
            Ok(read) => Ok((page.statuses, read)),
            Err(source) => Err(PageError {
                file: page.file.clone(),
                place: page.place,
                source,
            }),
        });
        pages.collect::<Result<_, _>>().map(Self)
    }

    /// The page for a status: its own before that of its class.
    pub(super) fn of(&self, status: StatusCode) -> Option<&Page> {
        let code = status.as_u16();
        let page = |of| self.0.iter().find(|(statuses, _)| *statuses == of);
        let found =
            page(ErrorStatuses::One(code)).or_else(|| page(ErrorStatuses::Class(code / 100)));
        found.map(|(_, page)| page)
    }
}

impl Page {
    fn read(file: &Path) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let opened = File::open(file)?;
        if !opened.metadata()?.is_file() {
            return Err(wrong("it is no file"));
        }
        let mut text = String::new();
        opened.take(PAGE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > PAGE_BYTES_MAX {
            return Err(wrong(
                "it is larger than 256 KiB; let it name pictures and styles that a route serves",
            ));
        }
        let (kind, is_html) = match file.extension().and_then(|it| it.to_str()) {
            Some("json") => ("application/json", false),
            Some("txt") => ("text/plain; charset=utf-8", false),
            _ => ("text/html; charset=utf-8", true),
        };
        Ok(Self {
            content_type: HeaderValue::from_static(kind),
            is_html,
            text: Template::parse(&text, Placeholder::ALL),
        })
    }

    /// Puts the page in the place of a response's content. The status and what is said beside the content stay.
    pub(super) fn put(&self, response: &mut Response<Body>, said: &Said<'_>) {
        let said = Escaped {
            said: Said {
                status: Some(response.status()),
                ..*said
            },
            is_html: self.is_html,
        };
        *response.body_mut() = Body::full(self.text.fill(&said));
        let fields = response.headers_mut();
        for name in &OF_CONTENT {
            fields.remove(name);
        }
        fields.insert(CONTENT_TYPE, self.content_type.clone());
    }
}

/// What is said, escaped for HTML. Quotes and angle brackets are encoded in it already.
struct Escaped<'a> {
    said: Said<'a>,
    is_html: bool,
}

impl Values for Escaped<'_> {
    fn write(&self, placeholder: Placeholder, text: &mut String) {
        if !self.is_html {
            return self.said.write(placeholder, text);
        }
        let mut plain = String::new();
        self.said.write(placeholder, &mut plain);
        for character in plain.chars() {
            match character {
                '&' => text.push_str("&amp;"),
                '\'' => text.push_str("&#39;"),
                '<' => text.push_str("&lt;"),
                '>' => text.push_str("&gt;"),
                '"' => text.push_str("&quot;"),
                other => text.push(other),
            }
        }
    }
}

/// What a response says of content that it has no more.
static OF_CONTENT: [HeaderName; 9] = [
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_DISPOSITION,
    CONTENT_RANGE,
    ACCEPT_RANGES,
    ETAG,
    LAST_MODIFIED,
    TRAILER,
];

/// An error page is made for each response that needs one, mostly when there are many of them.
const PAGE_BYTES_MAX: u64 = 256 * 1024;

#[cfg(test)]
mod tests;
