//! What of a file is sent: ranges, encodings, and files that change meanwhile.

use std::fs;
use std::io::Write as _;

use http_body_util::BodyExt;

use super::*;

/// A text in which every position can be told from its neighbours.
fn numbers(length: usize) -> String {
    let mut text: String = (0..length / 8 + 1).map(|n| format!("{n:07} ")).collect();
    text.truncate(length);
    text
}

#[tokio::test]
async fn files_of_every_size_arrive_whole() {
    let piece = content::PIECE as usize;
    for length in [0, 1, piece - 1, piece, piece + 1, 2 * piece, 5 * piece + 17] {
        let text = numbers(length);
        let tree = Tree::new().file("a.txt", &text);
        let answer = tree.get("/a.txt").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.text() == text, "{length} bytes");
    }
}

#[tokio::test]
async fn one_range_is_answered_with_its_bytes() {
    let length = 300_000;
    let text = numbers(length);
    let tree = Tree::new().file("a.txt", &text);
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=-3", length - 3, length),
        ("bytes=1000-", 1_000, length),
        ("bytes=0-", 0, length),
        ("bytes=70000-290000", 70_000, 290_001),
    ] {
        let answer = tree.get_with("/a.txt", &[("range", range)]).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        let expected = format!("bytes {start}-{}/{length}", end - 1);
        assert_eq!(answer.field(CONTENT_RANGE), expected);
        assert_eq!(answer.field(CONTENT_TYPE), "text/plain; charset=utf-8");
        assert!(answer.headers.contains_key(ETAG));
        assert!(answer.text() == text[start..end], "{range}");
    }
}

#[tokio::test]
async fn several_ranges_are_parts_of_one_body() {
    let text = numbers(300_000);
    let tree = Tree::new().file("a.txt", &text);
    // Once within a piece and once beyond it, read at once and streamed.
    for (range, wanted) in [
        ("bytes=10-19,0-4", vec![10..20, 0..5]),
        (
            "bytes=0-9,1000-199999,-1",
            vec![0..10, 1_000..200_000, 299_999..300_000],
        ),
    ] {
        let answer = tree.get_with("/a.txt", &[("range", range)]).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        assert!(!answer.headers.contains_key(CONTENT_RANGE));
        let content_type = answer.field(CONTENT_TYPE);
        let boundary = content_type
            .strip_prefix("multipart/byteranges; boundary=")
            .unwrap();
        let mut expected = String::new();
        for wanted in wanted {
            expected += &format!(
                "--{boundary}\r\ncontent-type: text/plain; charset=utf-8\r\n\
                 content-range: bytes {}-{}/300000\r\n\r\n{}\r\n",
                wanted.start,
                wanted.end - 1,
                &text[wanted.clone()]
            );
        }
        expected += &format!("--{boundary}--\r\n");
        assert!(answer.text() == expected, "{range}");
    }
    let again = tree.get_with("/a.txt", &[("range", "bytes=0-1,4-5")]).await;
    let other = tree.get_with("/a.txt", &[("range", "bytes=0-1,4-5")]).await;
    assert_ne!(again.field(CONTENT_TYPE), other.field(CONTENT_TYPE));
}

#[tokio::test]
async fn ranges_that_cannot_be_served_are_416_or_the_whole_file() {
    let tree = Tree::new().file("a.txt", "0123456789").file("empty", "");
    for range in ["bytes=10-", "bytes=-0", "bytes=50-60,70-"] {
        let answer = tree.get_with("/a.txt", &[("range", range)]).await;
        assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(answer.field(CONTENT_RANGE), "bytes */10");
    }
    for range in ["bytes=0-5,3-8", "lines=1-2", "bytes=5-1", "0-1"] {
        let answer = tree.get_with("/a.txt", &[("range", range)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{range}");
        assert_eq!(answer.text(), "0123456789");
    }
    let answer = tree.get_with("/empty", &[("range", "bytes=-5")]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = tree.get_with("/empty", &[("range", "bytes=0-")]).await;
    assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn preconditions_decide_before_ranges() {
    let tree = Tree::new().file("a.txt", "0123456789");
    let etag = tree.get("/a.txt").await.field(ETAG).to_owned();
    let range = ("range", "bytes=0-1");
    let table: &[(&str, &str, u16)] = &[
        ("if-none-match", &etag, 304),
        ("if-modified-since", LONG_AGO_TEXT, 304),
        ("if-match", "\"other\"", 412),
        ("if-range", &etag, 206),
        ("if-range", LONG_AGO_TEXT, 206),
        ("if-range", "\"other\"", 200),
    ];
    for (name, value, status) in table {
        let answer = tree.get_with("/a.txt", &[range, (name, value)]).await;
        assert_eq!(answer.status, *status, "{name}: {value}");
        if answer.status == StatusCode::NOT_MODIFIED {
            assert_eq!(answer.field(ETAG), etag);
            assert_eq!(answer.field(CACHE_CONTROL), "max-age=60");
            assert!(!answer.headers.contains_key(CONTENT_TYPE));
            assert!(answer.content.is_empty());
        }
    }
}

fn compressed() -> Tree {
    Tree::new()
        .file("a.js", "plain")
        .file("a.js.gz", "gzipped")
        .file("a.js.br", "brotlied")
        .aged("a.js.zst", "zstandard", 1)
        .file("stale.js", "plain")
        .aged("old.js", "plain", 10)
        .aged("old.js.gz", "stale", 9)
        .file("odd.js", "plain")
        .file("odd.js.gz/x", "a folder")
        .link("odd.js.br", "/etc/passwd")
        .fifo("odd.js.zst")
        .with(|config| config.precompressed = true)
}

#[tokio::test]
async fn the_sibling_that_the_client_likes_best_is_sent() {
    let tree = compressed();
    let plain = tree.get("/a.js").await;
    for (accept, coding, content) in [
        ("gzip, deflate, br, zstd", "zstd", "zstandard"),
        ("gzip;q=1, br;q=0.5", "gzip", "gzipped"),
        ("br", "br", "brotlied"),
    ] {
        let answer = tree.get_with("/a.js", &[("accept-encoding", accept)]).await;
        assert_eq!(answer.text(), content);
        assert_eq!(answer.field(CONTENT_ENCODING), coding);
        assert_eq!(answer.field(CONTENT_TYPE), "text/javascript; charset=utf-8");
        assert_eq!(answer.field(VARY), "accept-encoding");
        assert_ne!(answer.field(ETAG), plain.field(ETAG));
        let etag = [
            ("accept-encoding", accept),
            ("if-none-match", answer.field(ETAG)),
        ];
        let again = tree.get_with("/a.js", &etag).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        assert_eq!(again.field(VARY), "accept-encoding");
    }
    let ranged = [("accept-encoding", "gzip"), ("range", "bytes=0-3")];
    let answer = tree.get_with("/a.js", &ranged).await;
    assert_eq!(
        (answer.text(), answer.field(CONTENT_RANGE)),
        ("gzip".into(), "bytes 0-3/7")
    );
}

#[tokio::test]
async fn the_file_itself_is_sent_where_no_sibling_will_do() {
    let tree = compressed();
    let all = "gzip, br, zstd";
    for (path, accept) in [
        ("/a.js", "identity"),
        ("/a.js", "gzip;q=0"),
        ("/a.js", "deflate"),
        ("/stale.js", all),
        ("/old.js", all),
        ("/odd.js", all),
    ] {
        let answer = tree.get_with(path, &[("accept-encoding", accept)]).await;
        assert_eq!(answer.text(), "plain", "{path}, {accept}");
        assert!(!answer.headers.contains_key(CONTENT_ENCODING));
        assert_eq!(answer.field(VARY), "accept-encoding");
    }
    let off = compressed().with(|config| config.precompressed = false);
    let answer = off.get_with("/a.js", &[("accept-encoding", all)]).await;
    assert_eq!(answer.text(), "plain");
    assert!(!answer.headers.contains_key(VARY));
}

#[tokio::test]
async fn a_sibling_without_its_file_is_served_under_its_own_name_only() {
    let tree = Tree::new()
        .file("a.js.gz", "gzipped")
        .with(|config| config.precompressed = true);
    assert_eq!(tree.status_of("/a.js").await, StatusCode::NOT_FOUND);
    let answer = tree
        .get_with("/a.js.gz", &[("accept-encoding", "gzip")])
        .await;
    assert_eq!(answer.field(CONTENT_TYPE), "application/gzip");
    assert!(!answer.headers.contains_key(CONTENT_ENCODING));
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_sent_breaks_the_body() {
    let tree = Tree::new().file("a.bin", &numbers(1_000_000));
    let mut body = tree
        .outcome(request("GET", "/a.bin", &[]))
        .await
        .unwrap()
        .into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first.len() as u64, content::PIECE);
    fs::File::options()
        .write(true)
        .open(tree.path("a.bin"))
        .unwrap()
        .set_len(200_000)
        .unwrap();
    let mut received = first.len();
    let error = loop {
        match body.frame().await.expect("an error, and no silent end") {
            Ok(frame) => received += frame.data_ref().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert!(received <= 200_000, "{received}");
    assert_eq!(error.reason, Reason::Internal);
    assert!(Refusal::from(error).detail.contains("became shorter"));
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_sent_is_cut_at_the_announced_length() {
    let text = numbers(1_000_000);
    let tree = Tree::new().file("a.bin", &text);
    let body = tree
        .outcome(request("GET", "/a.bin", &[]))
        .await
        .unwrap()
        .into_body();
    let mut file = fs::File::options()
        .append(true)
        .open(tree.path("a.bin"))
        .unwrap();
    file.write_all(b"and more").unwrap();
    assert!(body.collect().await.unwrap().to_bytes() == text);
}

#[tokio::test]
async fn a_small_file_that_shrinks_before_it_is_read_is_refused() {
    let tree = Tree::new().file("a", "short");
    let file = fs::File::open(tree.path("a")).unwrap();
    let range = ranges::ByteRange { start: 0, end: 10 };
    let error = content::body_of_range(file, range).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_body_given_up_in_the_middle_leaves_no_file_open() {
    let tree = Tree::new().file("a.bin", &numbers(1_000_000));
    let mut body = tree
        .outcome(request("GET", "/a.bin", &[]))
        .await
        .unwrap()
        .into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    // A piece may still be being read ahead; it lets go of the file when it is done.
    let open = || {
        let links = fs::read_dir("/proc/self/fd").unwrap();
        let target = tree.path("a.bin");
        links
            .filter(|link| {
                fs::read_link(link.as_ref().unwrap().path()).is_ok_and(|to| to == target)
            })
            .count()
    };
    while open() > 0 {
        tokio::task::yield_now().await;
    }
}
