use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

fn target(path: &str) -> PathAndQuery {
    path.parse().expect(path)
}

fn parse(path: &str) -> Result<String, PathError> {
    RoutePath::parse(&target(path)).map(|path| path.as_str().to_owned())
}

#[test]
fn a_path_in_normal_form_stays_as_it_came() {
    let cases = [
        "/",
        "/index.html",
        "/a/b/",
        "/.well-known/acme",
        "/..a/.b/c../...",
        "/a.b/~c/$-_.+!*'(),;:@&=",
        "*",
    ];
    for path in cases {
        assert_eq!(parse(path).as_deref(), Ok(path));
        let parsed = RoutePath::parse(&target(path)).expect(path);
        assert!(parsed.rewritten.is_none(), "{path} was copied");
    }
}

#[test]
fn the_query_is_no_part_of_the_path() {
    assert_eq!(parse("/a?b/../%zz").as_deref(), Ok("/a"));
    assert_eq!(parse("?a").as_deref(), Ok("/"));
    assert_eq!(parse("/%61?x").as_deref(), Ok("/a"));
    assert_eq!(
        RoutePath::parse(&target("/a?x")),
        RoutePath::parse(&target("/%61?y"))
    );
}

#[test]
fn escapes_are_decoded_once_and_dot_segments_resolved_after_that() {
    let cases = [
        ("/%41%7a", "/Az"),
        ("/a%20b", "/a b"),
        ("/caf%c3%a9", "/café"),
        ("/caf%C3%A9", "/café"),
        ("/café", "/café"),
        ("/%3f%23%25", "/?#%"),
        ("/%252e%252e/a", "/%2e%2e/a"),
        ("/%25%32%65/a", "/%2e/a"),
        ("/%252f", "/%2f"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/.%2E/b", "/b"),
        ("/a/%2e./b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../", "/a/"),
        ("/a/.", "/a/"),
        ("/.", "/"),
        ("/./", "/"),
        ("//", "/"),
        ("///", "/"),
        ("//a", "/a"),
        ("/a//b", "/a/b"),
        ("/a//", "/a/"),
        ("/a//../b", "/b"),
        ("//evil.test/..", "/"),
        ("/a/...", "/a/..."),
        ("/a%2e%2e/b", "/a../b"),
        ("/a/..;/b", "/a/..;/b"),
    ];
    for (path, normal) in cases {
        assert_eq!(parse(path).as_deref(), Ok(normal), "{path}");
    }
}

#[test]
fn a_path_that_could_be_read_in_two_ways_is_refused() {
    use PathError::*;
    let cases = [
        ("/%", Escape),
        ("/%2", Escape),
        ("/%zz", Escape),
        ("/%2g", Escape),
        ("/%%41", Escape),
        ("/%+1", Escape),
        ("/%u002e", Escape),
        ("/a%2fb", Forbidden),
        ("/a%2Fb", Forbidden),
        ("/..%2f..%2fetc", Forbidden),
        ("/a%5cb", Forbidden),
        ("/a%5Cb", Forbidden),
        ("/..%5c", Forbidden),
        ("/%00", Forbidden),
        ("/a%00.html", Forbidden),
        ("/%0d%0aX:y", Forbidden),
        ("/%09", Forbidden),
        ("/%1f", Forbidden),
        ("/%7f", Forbidden),
        ("/%ff", Utf8),
        ("/%c3", Utf8),
        ("/%c3/%a9", Utf8),
        ("/%ff/../a", Utf8),
        ("/%c0%ae%c0%ae/", Utf8),
        ("/%c0%af", Utf8),
        ("/%e0%80%af", Utf8),
        ("/%f0%80%80%af", Utf8),
        ("/%ed%a0%80", Utf8),
        ("/%f4%90%80%80", Utf8),
        ("/..", AboveRoot),
        ("/../", AboveRoot),
        ("/a/../..", AboveRoot),
        ("/a/../../b", AboveRoot),
        ("/%2e%2e/b", AboveRoot),
        ("//../a", AboveRoot),
        ("/./../a", AboveRoot),
    ];
    for (path, error) in cases {
        assert_eq!(parse(path), Err(error), "{path}");
    }
}

#[test]
fn a_backslash_is_refused_wherever_the_uri_parser_lets_it_through() {
    for path in ["/a\\b", "/..\\a", "/\\evil.test"] {
        if let Ok(target) = path.parse::<PathAndQuery>() {
            assert_eq!(RoutePath::parse(&target), Err(PathError::Forbidden));
        }
        assert!(!is_plain(path.as_bytes()));
        assert_eq!(decode(path), Err(PathError::Forbidden));
    }
}

/// The rules once more, said as plainly as possible and with somebody else's decoder.
fn reference(path: &str) -> Option<String> {
    let escape = |at: usize| {
        path.get(at + 1..at + 3)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    if path.match_indices('%').any(|(at, _)| escape(at).is_none()) {
        return None;
    }
    if path.contains('\\') || path.to_lowercase().contains("%2f") {
        return None;
    }
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    if decoded.contains('\\') || decoded.chars().any(|c| c.is_ascii_control()) {
        return None;
    }
    let mut kept = Vec::new();
    for segment in decoded.split('/').filter(|s| !s.is_empty() && *s != ".") {
        if segment == ".." {
            kept.pop()?;
        } else {
            kept.push(segment);
        }
    }
    let folder = ["/", "/.", "/.."].iter().any(|end| decoded.ends_with(end));
    let slash = if folder && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", kept.join("/")))
}

fn re_encode(normal: &str) -> String {
    const NOT_IN_A_PATH: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'[')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    utf8_percent_encode(normal, NOT_IN_A_PATH).to_string()
}

/// Paths made of what has ever fooled anybody.
fn nasty_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("/".to_owned()),
        3 => Just(".".to_owned()),
        2 => Just("a".to_owned()),
        1 => prop::sample::select(vec![
            "%2e", "%2E", "%252e", "%25", "%2", "%2f", "%252f", "%5c", "%00", "%20", "%c3%a9", "%c0%ae", "%ff", "é", ";", "..", "%7f",
            "%3f", "%23", "~", "%41", "\\",
        ]).prop_map(str::to_owned),
        1 => any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn agrees_with_the_plain_reading_of_the_rules(path in nasty_path()) {
        if let Ok(target) = path.parse::<PathAndQuery>() {
            let parsed = RoutePath::parse(&target).ok().map(|path| path.as_str().to_owned());
            prop_assert_eq!(parsed, reference(&path));
        }
    }

    #[test]
    fn the_normal_form_is_safe_and_its_own_normal_form(path in nasty_path()) {
        let Ok(target) = path.parse::<PathAndQuery>() else { return Ok(()) };
        let Ok(parsed) = RoutePath::parse(&target) else { return Ok(()) };
        let normal = parsed.as_str();
        prop_assert!(normal.starts_with('/'));
        prop_assert!(!normal.contains("//"));
        prop_assert!(!normal.contains('\\'));
        prop_assert!(!normal.chars().any(|c| c.is_ascii_control()));
        prop_assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
        prop_assert_eq!(RoutePath::parse(&self::target(&re_encode(normal))), Ok(parsed.clone()));
    }

    #[test]
    fn an_encoded_path_is_never_decoded_twice(plain in "[a-z%.]{1,12}") {
        // Encoded wholly and twice; one layer must be left.
        let once: String = plain.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let twice = once.replace('%', "%25");
        prop_assert_eq!(parse(&format!("/x{twice}")), Ok(format!("/x{once}")));
    }

    #[test]
    fn reading_a_path_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(target) = PathAndQuery::try_from(&bytes[..]) {
            let _ = RoutePath::parse(&target);
        }
    }
}
