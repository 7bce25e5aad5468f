mod sent;
mod support;
mod walls;

use std::os::unix::fs::PermissionsExt;

use http::StatusCode;
use http::header::*;

use super::*;
use support::*;

#[tokio::test]
async fn a_file_is_served_with_what_describes_it() {
    let tree = Tree::new().file("a/page.html", "<p>hello</p>");
    let answer = tree.get("/a/page.html").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.text(), "<p>hello</p>");
    assert_eq!(answer.field(CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(answer.field(ACCEPT_RANGES), "bytes");
    assert_eq!(answer.field(CACHE_CONTROL), "max-age=60");
    assert_eq!(answer.field(LAST_MODIFIED), LONG_AGO_TEXT);
    let etag = answer.field(ETAG);
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    assert!(!answer.headers.contains_key(VARY));
}

#[tokio::test]
async fn content_types_follow_the_name() {
    let table = [
        ("a.css", "text/css; charset=utf-8"),
        ("a.TXT", "text/plain; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.csv", "text/csv; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.wasm", "application/wasm"),
        ("a.svg", "image/svg+xml"),
        ("a.tar.gz", "application/gzip"),
        ("a.unheard-of", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ];
    for (name, expected) in table {
        let answer = Tree::new().file(name, "x").get(&format!("/{name}")).await;
        assert_eq!(answer.field(CONTENT_TYPE), expected, "{name}");
    }
}

#[tokio::test]
async fn head_tells_what_get_would_without_the_content() {
    let tree = Tree::new()
        .file("small.txt", "hello")
        .file("large.bin", &"x".repeat(300_000))
        .file("empty.txt", "");
    for path in ["/small.txt", "/large.bin", "/empty.txt"] {
        let get = tree.get(path).await;
        let head = tree
            .ask(request("HEAD", path, &[("range", "bytes=0-1")]))
            .await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.content.len(), 0);
        assert_eq!(head.field(CONTENT_LENGTH), get.content.len().to_string());
        let mut headers = head.headers;
        headers.remove(CONTENT_LENGTH);
        assert_eq!(headers, get.headers);
    }
}

#[tokio::test]
async fn files_can_only_be_read() {
    let tree = Tree::new().file("a", "x");
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        let refusal = tree.refused(request(method, "/a", &[])).await;
        assert_eq!(refusal.status(), Some(StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(refusal.allow.as_deref(), Some("GET, HEAD"));
    }
    let answer = tree.ask(request("OPTIONS", "/a", &[])).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.field(ALLOW), "GET, HEAD");
}

#[tokio::test]
async fn the_first_index_file_found_stands_for_its_folder() {
    let tree = Tree::new()
        .file("index.htm", "second choice")
        .file("sub/index.html", "first choice")
        .file("sub/index.htm", "second choice")
        .file("odd/index.html/x", "a folder named like an index")
        .file("odd/index.htm", "second choice")
        .file("bare/x", "x");
    assert_eq!(tree.get("/").await.text(), "second choice");
    assert_eq!(tree.get("/sub/").await.text(), "first choice");
    assert_eq!(tree.get("/odd/").await.text(), "second choice");
    for path in ["/bare/", "/absent/", "/sub/index.html/"] {
        assert_eq!(tree.status_of(path).await, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_folder_without_its_slash_leads_to_the_one_with_it() {
    let tree = Tree::new().file("sub/deep/index.html", "x");
    let answer = tree.get("/sub/deep?a=%20b&c").await;
    assert_eq!(answer.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(answer.field(LOCATION), "/sub/deep/?a=%20b&c");
    assert_eq!(tree.get("/sub").await.field(LOCATION), "/sub/");
}

#[test]
fn the_path_of_a_redirect_is_escaped_anew() {
    let redirect = |relative| {
        let response = redirect_to_folder(&request("GET", "/", &[]), relative).unwrap();
        response.headers()[LOCATION].to_str().unwrap().to_owned()
    };
    assert_eq!(redirect("a b/%41/ü?#"), "/a%20b/%2541/%C3%BC%3F%23/");
    assert_eq!(redirect("x\r\nset-cookie: y"), "/x%0D%0Aset-cookie%3A%20y/");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let tree = Tree::new().file("a.txt", "x");
    let long = format!("/{}", "x".repeat(300));
    for path in ["/b.txt", "/a.txt/", "/a.txt/b", "/sub/a.txt", long.as_str()] {
        let refusal = tree.refused(request("GET", path, &[])).await;
        assert_eq!(refusal.reason, Reason::NoRoute, "{path}");
        assert_eq!(refusal.status(), Some(StatusCode::NOT_FOUND));
    }
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_forbidden() {
    let tree = Tree::new().file("secret", "x");
    let path = tree.path("secret");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o0)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        // The superuser may read everything.
        return;
    }
    let refusal = tree.refused(request("GET", "/secret", &[])).await;
    assert_eq!(refusal.reason, Reason::Filtered);
    assert_eq!(refusal.status(), Some(StatusCode::FORBIDDEN));
}

#[test]
fn every_errno_has_its_status() {
    use nix::errno::Errno::*;
    let table = [
        (
            &[ENOENT, ENOTDIR, ELOOP, EXDEV, ENXIO, ENAMETOOLONG][..],
            404,
        ),
        (&[EACCES, EPERM], 403),
        (&[EMFILE, ENFILE, ENOMEM, EAGAIN], 503),
        (&[EIO, ESTALE], 500),
    ];
    for (errnos, status) in table {
        for errno in errnos {
            let refusal = Refusal::from(OpenError::from(*errno));
            assert_eq!(refusal.status().unwrap(), status, "{errno}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_opened_is_named() {
    let mut config = config("/nowhere/to/be/found".as_ref());
    let error = Files::new(&config).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(
        error.to_string().contains("/nowhere/to/be/found"),
        "{error}"
    );

    config.root = file!().into();
    assert!(Files::new(&config).is_err(), "a file is no folder");

    config.root = "/".into();
    config.cache_control = "a\nb".to_owned();
    let error = Files::new(&config).unwrap_err();
    assert!(error.to_string().contains("cache_control"), "{error}");
}

#[tokio::test]
async fn no_cache_control_is_sent_where_none_is_configured() {
    let tree = Tree::new()
        .file("a", "x")
        .with(|config| config.cache_control.clear());
    assert!(!tree.get("/a").await.headers.contains_key(CACHE_CONTROL));
}

#[tokio::test]
async fn a_listing_shows_what_can_be_asked_for() {
    let tree = Tree::new()
        .file("sub/b&c.txt", "12345")
        .file("sub/<img src=x>.txt", "x")
        .file("sub/a b.txt", &"x".repeat(1536))
        .file("sub/folder/x", "x")
        .file("sub/.hidden", "x")
        .file("outside.txt", "x")
        .link("sub/in.txt", "../outside.txt")
        .link("sub/out.txt", "/etc/passwd")
        .link("sub/nowhere.txt", "absent")
        .fifo("sub/fifo")
        .with(|config| config.listing = true);
    let answer = tree.get("/sub/").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.field(CONTENT_TYPE), "text/html; charset=utf-8");
    let page = answer.text();
    let rows: Vec<_> = page.lines().filter(|line| line.contains("href")).collect();
    let date = "<td>2001-09-09 01:46";
    assert_eq!(
        rows,
        [
            "<tr><td><a href=\"../\">../</a><td><td>".to_owned(),
            format!("<tr><td><a href=\"folder/\">folder/</a><td>{date}"),
            format!(
                "<tr><td><a href=\"%3Cimg%20src%3Dx%3E.txt\">&lt;img src=x&gt;.txt</a><td>1 B{date}"
            ),
            format!("<tr><td><a href=\"a%20b.txt\">a b.txt</a><td>1.5 KiB{date}"),
            format!("<tr><td><a href=\"b%26c.txt\">b&amp;c.txt</a><td>5 B{date}"),
            format!("<tr><td><a href=\"in.txt\">in.txt</a><td>1 B{date}"),
        ]
    );
    assert_eq!(tree.status_of("/absent/").await, StatusCode::NOT_FOUND);
    assert_eq!(tree.status_of("/outside.txt/").await, StatusCode::NOT_FOUND);
    assert_eq!(tree.status_of("/sub/.hidden").await, StatusCode::NOT_FOUND);
    let root = tree.get("/").await.text();
    assert!(
        root.contains("<h1>/</h1>") && !root.contains("../"),
        "{root}"
    );
}

#[tokio::test]
async fn the_listing_of_a_huge_folder_is_cut_and_says_so() {
    let mut tree = Tree::new().with(|config| config.listing = true);
    for index in 0..5_100 {
        tree = tree.file(&format!("f{index:05}"), "");
    }
    let page = tree.get("/").await.text();
    let rows = page.matches("<tr><td>").count();
    assert!((4_990..=5_000).contains(&rows), "{rows}");
    assert!(page.contains("more entries"));
}
