use proptest::prelude::*;
use serde_json::json;

use super::*;

const HOSTILE: &str =
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{1b}]0;owned\u{7}\u{202e}";

/// A request that holds nothing but an attacker's text.
fn hostile() -> Record {
    let text = json!({
        "format": Record::FORMAT, "portunus": HOSTILE, "began": HOSTILE, "client": HOSTILE, "local": HOSTILE,
        "protocol": HOSTILE, "host": HOSTILE, "site": HOSTILE, "reason": HOSTILE, "blame": HOSTILE, "detail": HOSTILE,
        "duration_ms": 12.0,
        "rules": [{ "number": 1, "line": 3, "text": HOSTILE }],
        "request": { "method": HOSTILE, "target": HOSTILE, "fields": [[HOSTILE, HOSTILE]] },
        "response": { "status": 503, "fields": [[HOSTILE, HOSTILE]] },
        "queue": { "position": 2, "length": 3, "running": 4, "entered_ms": 1.0, "wait_ms": 2.0 },
        "attempts": [
            { "number": 1, "upstream": HOSTILE, "cause": HOSTILE, "began_ms": 3.0, "ended_ms": 4.0, "reason": HOSTILE },
        ],
        "steps": [
            { "ms": 0.0, "step": HOSTILE, HOSTILE: HOSTILE },
            { "ms": 3.0, "step": "attempt_began", "attempt": 1, "upstream": HOSTILE },
            { "ms": 4.0, "step": "attempt_failed", "attempt": 1, "reason": HOSTILE },
        ],
    });
    parse(&text.to_string()).expect("a record")
}

#[test]
fn nothing_of_an_attacker_s_is_markup_in_the_page() {
    let page = page::page(&hostile(), HOSTILE);
    // All that begins a tag is the page's own.
    let tags: std::collections::BTreeSet<&str> = (page.split('<').skip(1))
        .map(|rest| rest.split([' ', '>']).next().unwrap_or(""))
        .map(|tag| tag.trim_start_matches('/'))
        .collect();
    let own = [
        "!doctype", "body", "code", "dd", "div", "dl", "dt", "footer", "h1", "h2", "head", "html",
        "li", "main", "meta", "p", "section", "span", "style", "table", "tbody", "td", "th",
        "thead", "title", "tr", "ul",
    ];
    assert!(tags.iter().all(|tag| own.contains(tag)), "{tags:?}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;"));
    assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
    assert!(!page.contains(['\u{1b}', '\u{7}', '\u{202e}']));
}

#[test]
fn nothing_of_an_attacker_s_reaches_the_terminal_as_it_is() {
    let text = text::text(&hostile());
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
    assert!(text.contains("\\u{1b}]0;owned\\u{7}\\u{202e}"), "{text}");
}

#[test]
fn what_is_no_such_file_is_refused_with_what_it_is() {
    let why = |text: &str| parse(text).expect_err("no record");
    assert!(why("").contains("EOF"));
    assert!(why("[1, 2]").contains("invalid type") || why("[1, 2]").contains("invalid"));
    assert!(why("{}").contains("`format` is \"\""));
    assert!(
        why("{\"format\": \"portunus-failed-request/9\"}")
            .contains("and not \"portunus-failed-request/1\"")
    );
    assert!(
        why("{\"format\": \"portunus-failed-request/1\", \"steps\": 3}").contains("steps")
            || !why("{\"format\": 1}").is_empty()
    );
}

#[test]
fn the_parts_of_an_attempt_are_shown_below_it() {
    let lanes = view::lanes(&hostile());
    let kinds: Vec<view::Kind> = lanes.iter().map(|lane| lane.kind).collect();
    assert_eq!(
        kinds,
        [view::Kind::Queue, view::Kind::Attempt, view::Kind::Part]
    );
    assert_eq!((lanes[2].from, lanes[2].to), (3.0, 4.0));
}

proptest! {
    #[test]
    fn whatever_numbers_and_texts_a_file_has_it_is_shown(
        times in prop::collection::vec(any::<f64>().prop_filter("JSON has no others", |ms| ms.is_finite()), 3..8),
        texts in prop::collection::vec(any::<String>(), 3),
        whole in any::<f64>().prop_filter("JSON has no others", |ms| ms.is_finite()),
    ) {
        let names = ["handler_began", "attempt_began", "attempt_sent", "response_head", "cut"];
        let steps: Vec<_> = times.iter().zip(names.iter().cycle())
            .map(|(ms, step)| json!({ "ms": ms, "step": step, "attempt": 1, "more": texts[0] }))
            .collect();
        let record = json!({
            "format": Record::FORMAT, "duration_ms": whole, "steps": steps, "reason": texts[1], "host": texts[2],
            "attempts": [{ "number": 1, "began_ms": times[0], "ended_ms": times[1] }],
        });
        let record = parse(&record.to_string()).expect("a record");
        let page = page::page(&record, &texts[0]);
        prop_assert!(!page.contains("NaN") && !page.contains("inf%"));
        let text = text::text(&record);
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
