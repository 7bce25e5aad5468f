use http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER};
use http_body::Body as _;

use super::*;
use crate::model::{ClientAddr, Protocol};

fn page(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn entry(statuses: ErrorStatuses, file: PathBuf) -> ErrorPage {
    let place = config::Place::default();
    ErrorPage {
        statuses,
        file,
        place,
    }
}

fn put(pages: &Pages, mut response: Response<Body>) -> Response<Body> {
    let target = "/a'b&c|d".parse().unwrap();
    let said = Said {
        client: ClientAddr::new("192.0.2.7:4711".parse().unwrap()),
        scheme: crate::model::Scheme::Http,
        sni: None,
        request_id: Some("id-1"),
        protocol: Protocol::Http1,
        host: None,
        host_port: None,
        target: Some(&target),
        method: None,
        status: None,
    };
    pages
        .of(response.status())
        .expect("a page")
        .put(&mut response, &said);
    response
}

fn response(status: u16) -> Response<Body> {
    let mut response = Response::new(Body::full("of somebody else"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[test]
fn a_page_of_its_own_comes_before_that_of_its_class() {
    let folder = tempfile::tempdir().unwrap();
    let class = page(folder.path(), "5xx.html", "class {status} {reason}");
    let own = page(
        folder.path(),
        "503.json",
        "{\"status\": {status}, \"a\": {\"b\": 1}}",
    );
    let pages = [
        entry(ErrorStatuses::Class(5), class),
        entry(ErrorStatuses::One(503), own),
    ];
    let pages = Pages::load(&pages).unwrap();
    let mut own = put(&pages, response(503));
    assert_eq!(
        own.body_mut().take_full().unwrap(),
        "{\"status\": 503, \"a\": {\"b\": 1}}"
    );
    assert_eq!(own.headers()[CONTENT_TYPE], "application/json");
    let mut class = put(&pages, response(502));
    assert_eq!(
        class.body_mut().take_full().unwrap(),
        "class 502 Bad Gateway"
    );
    assert_eq!(class.status(), 502);
    assert!(pages.of(StatusCode::NOT_FOUND).is_none());
}

#[test]
fn what_is_said_of_the_content_goes_with_it_and_all_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = page(folder.path(), "a.html", "<p>page</p>");
    let pages = Pages::load(&[entry(ErrorStatuses::Class(5), file)]).unwrap();
    let mut upstreams = response(503);
    for name in OF_CONTENT
        .iter()
        .chain(&[RETRY_AFTER, ALLOW, CACHE_CONTROL])
    {
        upstreams
            .headers_mut()
            .insert(name, HeaderValue::from_static("1"));
    }
    let put = put(&pages, upstreams);
    assert_eq!(put.headers().len(), 4);
    assert_eq!(put.headers()[RETRY_AFTER], "1");
    assert_eq!(put.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(put.body().size_hint().exact(), Some(11));
}

#[test]
fn what_a_client_says_is_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let file = page(
        folder.path(),
        "a.html",
        "<a href='{path}'>{host}{reason} {request_id}</a> { color: {red} }",
    );
    let pages = Pages::load(&[entry(ErrorStatuses::Class(4), file)]).unwrap();
    let mut put = put(&pages, response(404));
    let text = put.body_mut().take_full().unwrap();
    assert_eq!(
        text,
        "<a href='/a&#39;b&amp;c%7Cd'>Not Found id-1</a> { color: {red} }"
    );
}

#[test]
fn a_page_that_cannot_be_used_is_told_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let large = page(
        folder.path(),
        "large.html",
        &"x".repeat(PAGE_BYTES_MAX as usize + 1),
    );
    std::fs::create_dir(folder.path().join("folder.html")).unwrap();
    for (file, why) in [
        (folder.path().join("gone.html"), "No such file"),
        (folder.path().join("folder.html"), "it is no file"),
        (large, "larger than 256 KiB"),
    ] {
        let error = Pages::load(&[entry(ErrorStatuses::Class(5), file.clone())]).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains(why) && told.contains(&*file.to_string_lossy()),
            "{told}"
        );
    }
}
