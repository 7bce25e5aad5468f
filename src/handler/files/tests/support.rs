//! A folder of files, and a client of the handler that serves it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::*;
use crate::model::{
    Activity, ClientAddr, Connection, HostName, LocalAddr, Protocol, Provenance, Reached, RoutePath,
};

/// When files of a [`Tree`] were last changed.
pub(super) const LONG_AGO: u64 = 1_000_000_000;
/// The same, as Last-Modified has it.
pub(super) const LONG_AGO_TEXT: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

pub(super) struct Tree {
    folder: TempDir,
    config: config::Files,
    resolve: folder::Resolve,
}

/// A response that is read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) content: Vec<u8>,
}

pub(super) fn config(root: &Path) -> config::Files {
    config::Files {
        root: root.to_owned(),
        index: vec!["index.html".to_owned(), "index.htm".to_owned()],
        listing: false,
        cache_control: "max-age=60".to_owned(),
        precompressed: false,
    }
}

pub(super) fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn facts(request: &Request<Body>) -> Facts {
    let address: SocketAddr = "192.0.2.1:1000".parse().unwrap();
    Facts {
        connection: Arc::new(Connection {
            client: ClientAddr::new(address),
            local: LocalAddr::new(address),
            tls: None,
            activity: Activity::default(),
        }),
        protocol: Protocol::Http1,
        host: HostName::parse("files.test").unwrap(),
        host_port: None,
        path: RoutePath::parse(request.uri().path_and_query().unwrap()).unwrap(),
        rules: None,
        provenance: Provenance::default(),
        journal: None,
        reached: Reached::default(),
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        let config = config(&folder.path().join("root"));
        Self {
            folder,
            config,
            resolve: folder::Resolve::Kernel,
        }
    }

    /// A path beneath the folder that is served.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.config.root.join(name)
    }

    /// A path beside the folder that is served.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn place(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(super) fn file(self, name: &str, content: &str) -> Self {
        self.aged(name, content, 0)
    }

    /// A file that was changed so many seconds after the others.
    pub(super) fn aged(self, name: &str, content: &str, seconds: u64) -> Self {
        let path = self.place(name);
        fs::write(&path, content).unwrap();
        let modified = UNIX_EPOCH + Duration::from_secs(LONG_AGO + seconds);
        set_modified(&path, modified);
        // The folder too, so that listings are always the same.
        set_modified(path.parent().unwrap(), modified);
        self
    }

    pub(super) fn link(self, name: &str, target: impl AsRef<Path>) -> Self {
        symlink(target, self.place(name)).unwrap();
        self
    }

    pub(super) fn fifo(self, name: &str) -> Self {
        nix::unistd::mkfifo(&self.place(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut config::Files)) -> Self {
        change(&mut self.config);
        self
    }

    pub(super) fn resolving_by(mut self, resolve: folder::Resolve) -> Self {
        self.resolve = resolve;
        self
    }

    pub(super) async fn outcome(&self, request: Request<Body>) -> Outcome {
        let mut files = Files::new(&self.config).unwrap();
        let folder = Arc::into_inner(files.folder).unwrap();
        files.folder = Arc::new(folder.resolving_by(self.resolve));
        let facts = facts(&request);
        files.handle(request, &facts).wait().await
    }

    pub(super) async fn refused(&self, request: Request<Body>) -> Refusal {
        self.outcome(request).await.expect_err("a refusal")
    }

    pub(super) async fn ask(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.outcome(request).await.unwrap().into_parts();
        let announced = http_body::Body::size_hint(&body).exact();
        let content = body.collect().await.unwrap().to_bytes();
        assert_eq!(
            announced,
            Some(content.len() as u64),
            "the announced length"
        );
        Answer {
            status: head.status,
            headers: head.headers,
            content: content.into(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(request("GET", path, &[])).await
    }

    pub(super) async fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask(request("GET", path, fields)).await
    }

    pub(super) async fn status_of(&self, path: &str) -> StatusCode {
        match self.outcome(request("GET", path, &[])).await {
            Ok(response) => response.status(),
            Err(refusal) => refusal.status().unwrap(),
        }
    }
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.content.clone()).unwrap()
    }

    pub(super) fn field(&self, name: http::HeaderName) -> &str {
        self.headers
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is missing: {self:?}"))
            .to_str()
            .unwrap()
    }
}

fn set_modified(path: &Path, modified: SystemTime) {
    let file = fs::File::open(path).unwrap();
    file.set_modified(modified).unwrap();
}
