//! What a person reads.

use std::fs;
use std::path::Path;

use super::*;
use crate::certificate::dev;
use crate::server::{self, LibraryHandlers};

const FILE: &str = r#"[tls]
certificates = "certs"

[[binding]]
protocol = "http"
port = 80
hostname = "www.shop.test"
site = "shop"

[[binding]]
protocol = "https"
port = 443
hostname = "www.shop.test"
site = "shop"

[[binding]]
protocol = "https"
port = 443
hostname = "*.shop.test"
site = "shop"
protocols = ["http/1.1"]

[[binding]]
protocol = "https"
port = 443
hostname = "*"
site = "rest"

[[site]]
name = "shop"
https_redirect = true
[[site.route]]
path = "/"
pool = "pages"
[[site.route]]
path = "/api"
methods = ["GET", "POST"]
pool = "api"

[[site]]
name = "rest"
[[site.route]]
path = "/only"
pool = "pages"

[[pool]]
name = "pages"
[pool.handler]
type = "respond"

[[pool]]
name = "api"
concurrency = 5
queue_length = 10
queue_timeout = "2s"
[pool.handler]
type = "redirect"
to = "https://api.test{uri}"
"#;

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("bindings.toml"), FILE).expect("the bindings file");
        let certs = folder.path().join("certs");
        for hosts in [["www.shop.test"], ["*.shop.test"]] {
            dev::make(&certs, &hosts.map(str::to_owned)).expect("a certificate");
        }
        Self { folder }
    }

    /// The explanation, and as it is shown; paths as seen from the folder.
    fn of(&self, url: &str, change: impl FnOnce(&mut Asking)) -> (Explanation, String) {
        let file = self.folder.path().join("bindings.toml");
        let mut prepared = server::check(&file, &LibraryHandlers::new());
        let (config, certificates) = prepared
            .take()
            .unwrap_or_else(|| panic!("{}", prepared.loaded.render(false)));
        let mut arguments = Asking {
            url: url.parse().expect("a URL"),
            ip: None,
            sni: None,
            method: Method::GET,
        };
        change(&mut arguments);
        let explanation =
            explain(&config, &Handshakes::With(&certificates), &arguments).expect("a URL");
        let text = render(&explanation);
        (explanation, without(self.folder.path(), &text))
    }

    fn text(&self, url: &str) -> String {
        self.of(url, |_| {}).1
    }

    fn refused(&self, url: &str, change: impl FnOnce(&mut Asking)) -> (String, Option<u16>) {
        let (explanation, text) = self.of(url, change);
        let refused = explanation.refused.unwrap_or_else(|| panic!("{text}"));
        assert!(!explanation.served);
        (refused.reason.into_owned(), refused.status)
    }
}

fn without(folder: &Path, text: &str) -> String {
    text.replace(&format!("{}/", folder.display()), "")
}

#[test]
fn a_request_that_is_served() {
    insta::assert_snapshot!(Folder::new().text("https://www.shop.test/api/orders?page=2"));
}

#[test]
fn a_request_that_is_sent_on_to_https() {
    insta::assert_snapshot!(Folder::new().text("http://www.shop.test/api/orders?page=2"));
}

#[test]
fn a_request_under_a_wildcard() {
    insta::assert_snapshot!(Folder::new().text("https://Blog.Shop.Test/"));
}

#[test]
fn a_request_that_no_route_takes() {
    let asking = Folder::new();
    let sni = |arguments: &mut Asking| arguments.sni = Some("www.shop.test".into());
    insta::assert_snapshot!(asking.of("https://elsewhere.test/", sni).1);
    insta::assert_snapshot!(
        asking
            .of("https://www.shop.test/api", |arguments| arguments.method =
                Method::DELETE)
            .1
    );
}

#[test]
fn a_request_that_finds_no_certificate() {
    insta::assert_snapshot!(Folder::new().text("https://elsewhere.test/"));
}

#[test]
fn a_request_that_finds_nobody_listening() {
    insta::assert_snapshot!(Folder::new().text("https://www.shop.test:8443/"));
}

#[test]
fn what_is_refused_is_refused_with_the_reason_and_status_of_the_server_itself() {
    let asking = Folder::new();
    let refused = |url: &str| asking.refused(url, |_| {});
    assert_eq!(
        refused("http://other.test/"),
        ("Hostname".to_owned(), Some(400))
    );
    assert_eq!(refused("https://elsewhere.test/").0, "Tls_NoCertificate");
    assert_eq!(refused("https://127.0.0.1/").0, "Tls_NoCertificate");
    assert_eq!(refused("http://www.shop.test:443/").0, "Tls_NotTls");
    assert_eq!(
        refused("https://www.shop.test:80/"),
        ("BadRequest".to_owned(), Some(400))
    );
    assert_eq!(refused("http://www.shop.test:81/").0, "Connection_Dropped");
    assert_eq!(
        refused("https://www.shop.test/%00"),
        ("URL".to_owned(), Some(400))
    );
    // A path that cannot be read is not sent on to https either.
    assert_eq!(
        refused("http://www.shop.test/%00"),
        ("URL".to_owned(), Some(400))
    );
    let long = format!("https://www.shop.test/{}", "a".repeat(20_000));
    assert_eq!(refused(&long), ("URL_Length".to_owned(), Some(414)));

    let with = |method: Method| {
        asking.refused("https://www.shop.test/api", |arguments| {
            arguments.method = method;
        })
    };
    assert_eq!(with(Method::DELETE), ("Verb".to_owned(), Some(405)));
    assert_eq!(with(Method::TRACE), ("Verb".to_owned(), Some(405)));
    assert_eq!(with(Method::CONNECT), ("N/I".to_owned(), Some(501)));

    let sni =
        |name: &'static str| move |arguments: &mut Asking| arguments.sni = Some(name.to_owned());
    // The certificate of www covers www alone; the wildcard's covers both.
    assert_eq!(
        asking.refused("https://blog.shop.test/", sni("www.shop.test")),
        ("MisdirectedRequest".to_owned(), Some(421))
    );
    let (explanation, text) = asking.of("https://www.shop.test/", sni("blog.shop.test"));
    assert!(explanation.served, "{text}");
    assert_eq!(
        asking.refused("https://www.shop.test/", sni("")).0,
        "Tls_NoCertificate"
    );
}

#[test]
fn an_address_of_ours_picks_the_socket() {
    let asking = Folder::new();
    let (explanation, text) = asking.of("https://www.shop.test/", |arguments| {
        arguments.ip = Some("192.0.2.7".parse().expect("an address"));
    });
    assert!(explanation.served);
    assert!(text.contains("tcp 192.0.2.7:443"), "{text}");
}

#[test]
fn a_url_that_no_client_could_send_is_no_question() {
    let asking = Folder::new();
    let file = asking.folder.path().join("bindings.toml");
    let mut prepared = server::check(&file, &LibraryHandlers::new());
    let (config, certificates) = prepared
        .take()
        .unwrap_or_else(|| panic!("{}", prepared.loaded.render(false)));
    for url in [
        "ftp://www.shop.test/",
        "/path",
        "www.shop.test",
        "https://user@www.shop.test/",
    ] {
        let arguments = Asking {
            url: url.parse().expect("a URI"),
            ip: None,
            sni: None,
            method: Method::GET,
        };
        assert!(
            explain(&config, &Handshakes::With(&certificates), &arguments).is_err(),
            "{url}"
        );
    }
}
