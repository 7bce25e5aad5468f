use super::*;

fn read_whole(said: &str, asked: &Method) -> Result<Option<Head>, String> {
    let bytes = Bytes::copy_from_slice(said.as_bytes());
    read(&bytes, asked, &mut HeaderMap::new())
}

fn head(said: &str, asked: &Method) -> Head {
    let read = read_whole(said, asked).unwrap_or_else(|fault| panic!("{said:?}: {fault}"));
    read.unwrap_or_else(|| panic!("{said:?} is whole"))
}

#[test]
fn where_content_ends_follows_from_method_status_and_fields() {
    use Framing::{Chunked, Length, UntilClose};
    for (asked, status, fields, framing) in [
        (Method::GET, 200, "Content-Length: 7", Length(7)),
        (Method::GET, 200, "Transfer-Encoding: Chunked", Chunked),
        (Method::GET, 200, "X: 1", UntilClose),
        (Method::HEAD, 200, "Content-Length: 7", Length(0)),
        (Method::HEAD, 200, "Transfer-Encoding: chunked", Length(0)),
        (Method::GET, 204, "Content-Length: 7", Length(0)),
        (Method::GET, 304, "Content-Length: 7", Length(0)),
        (Method::GET, 103, "Content-Length: 0", Length(0)),
        (Method::GET, 404, "Content-Length: 007", Length(7)),
    ] {
        let said = format!("HTTP/1.1 {status} X\r\n{fields}\r\n\r\n");
        assert_eq!(head(&said, &asked).framing, framing, "{asked} {said}");
    }
}

#[test]
fn a_connection_is_kept_where_both_sides_know_that_it_is() {
    for (said, keeps) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, CLOSE\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 204 No\r\n\r\n", true),
        ("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 304 No\r\nContent-Length: 7\r\n\r\n", true),
        // What it says will come would answer the next request.
        ("HTTP/1.1 204 No\r\nContent-Length: 7\r\n\r\n", false),
        (
            "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
        ),
    ] {
        assert_eq!(head(said, &Method::GET).keeps, keeps, "{said}");
    }
}

#[test]
fn an_interim_response_has_no_content_and_does_not_say_that_it_has() {
    for fields in ["Content-Length: 7", "Transfer-Encoding: chunked"] {
        let said = format!("HTTP/1.1 103 Early Hints\r\n{fields}\r\n\r\n");
        let read = read_whole(&said, &Method::GET);
        assert!(
            read.is_err_and(|fault| fault.contains("interim")),
            "{fields}"
        );
    }
}

#[test]
fn what_is_between_us_and_the_upstream_is_not_among_the_fields() {
    let said =
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\nServer: x\r\n\r\nok";
    let read = head(said, &Method::GET);
    let names: Vec<_> = read.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["server"]);
    assert!(!read.hops);
    assert_eq!(read.rest, "ok");
    // What Connection names has to go too, and somebody has to see to it.
    let said = "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
    let read = head(said, &Method::GET);
    assert!(read.hops && read.headers.contains_key("connection"));
    assert!(
        head(
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\n\r\n",
            &Method::GET
        )
        .hops
    );
}

#[test]
fn a_length_without_content_is_told_where_it_may_be() {
    for (asked, status, told) in [
        (Method::HEAD, 200, true),
        (Method::HEAD, 304, true),
        (Method::GET, 304, true),
        (Method::HEAD, 204, false),
        (Method::GET, 204, false),
    ] {
        for hop in ["", "Keep-Alive: timeout=5\r\n"] {
            let said = format!("HTTP/1.1 {status} X\r\n{hop}Content-Length: 7\r\n\r\n");
            let mut read = head(&said, &asked);
            fields::to_client(&mut read.headers, fields::tells_length(&asked, read.status));
            let tells = read.headers.contains_key(CONTENT_LENGTH);
            assert_eq!(tells, told, "{asked} {said}");
        }
    }
}

#[test]
fn a_head_is_none_before_its_last_byte() {
    let said = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    for length in 0..said.len() {
        let read = read_whole(&said[..length], &Method::GET);
        assert!(matches!(read, Ok(None)), "{:?}", &said[..length]);
    }
    assert!(head(said, &Method::GET).rest.is_empty());
}

#[test]
fn the_room_of_an_old_map_is_used_and_nothing_of_what_was_in_it() {
    let mut spare = HeaderMap::new();
    spare.insert("authorization", HeaderValue::from_static("secret"));
    let said = Bytes::from_static(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n");
    let read = read(&said, &Method::GET, &mut spare).expect("a response");
    let read = read.expect("it is whole");
    assert_eq!(read.headers.len(), 1);
    assert_eq!(read.headers["server"], "x");
}

#[test]
fn a_request_is_written_with_its_target_and_fields() {
    let request = Request::post("http://shop.test/a?b")
        .header("X-Empty", "")
        .header("x-two", "1")
        .header("x-two", "2")
        .body(())
        .expect("a request");
    let mut written = Vec::new();
    write(&request, &mut written);
    let expected = "POST /a?b HTTP/1.1\r\nx-empty: \r\nx-two: 1\r\nx-two: 2\r\n";
    assert_eq!(String::from_utf8_lossy(&written), expected);
}
