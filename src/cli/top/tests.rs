//! What is shown, of answers that are made up.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::draw::{Theme, draw};
use super::screen::Screen;
use super::seen::{Pair, Seen};

fn service(second: u64) -> Value {
    json!({
        "version": "0.1.0", "process_id": 2117, "ready": true, "uptime_seconds": 11_520 + second,
        "connections": { "open": 812, "limit": 61_440, "accepted": 40_000 + 12 * second, "rejected": 0 },
        "tls": { "handshakes": 9000 + 11 * second, "resumed": 100, "failed": 3 + second },
        "refused_by_reason": { "Hostname": 12, "QueueFull": 4 + 3 * second },
        "bindings": [
            {
                "binding": "https://*:443 shop.example.com",
                "responses": 9041 + 1200 * second,
                "responses_by_class": { "4xx": 16 + 2 * second, "5xx": 5 + second },
                "bytes_received": 12_001 + 60_000 * second,
                "bytes_sent": 88_120_417_u64 + 33_000_000 * second,
            },
            {
                "binding": "http://*:80 *",
                "responses": 7, "responses_by_class": { "4xx": 0, "5xx": 0 },
                "bytes_received": 0, "bytes_sent": 700,
            },
        ],
    })
}

fn pools(second: u64) -> Value {
    let worker = |number: u64, state: &str| {
        json!({
            "number": number, "generation": 3, "pid": 4000 + number, "state": state,
            "age_seconds": 3725, "requests": 500 + 40 * second, "in_flight": 2,
            "memory_bytes": 123_000_000, "cpu_seconds": 10.0 + 0.25 * second as f64,
        })
    };
    json!({ "pools": [
        {
            "name": "shop", "state": "Running", "concurrency": 64, "queue_length": 1000,
            "running": 64, "waiting": 170, "oldest_wait_seconds": 0.212,
            "arrived": 9120 + 1203 * second, "rejected": 4 + 3 * second,
            "upstreams": [
                {
                    "name": "http://127.0.0.1:5000", "state": "up", "state_for_seconds": 11_000.0,
                    "running": 31, "responses": 5012 + 900 * second, "failures": 0,
                    "last_failure": null,
                },
                {
                    "name": "http://127.0.0.1:5001", "state": "ejected", "state_for_seconds": 21.0,
                    "running": 0, "responses": 4021, "failures": 9 + second,
                    "last_failure": {
                        "time": "2026-11-21T10:42:00Z",
                        "what": "it cannot be connected to: \u{1b}[2Jrefused",
                    },
                },
            ],
        },
        {
            "name": "reports", "state": "Stopped", "concurrency": 4, "queue_length": 10,
            "running": 0, "waiting": 0, "oldest_wait_seconds": null, "arrived": 3, "rejected": 0,
            "upstreams": [], "workers": [worker(1, "ready"), worker(2, "draining")],
        },
    ]})
}

fn connections(second: u64) -> Value {
    let one = |client: &str, age: f64, doing: &str| {
        json!({
            "client": client, "local": "192.0.2.1:443", "protocol": "h2", "age_seconds": age,
            "requests": 9 + second, "bytes_received": 1000 + 2048 * second, "bytes_sent": 5000,
            "doing": doing, "pool": null, "request": null, "tls": { "version": "TLSv1.3" },
        })
    };
    let mut hangs = one("198.51.100.9:50001", 712.0, "handler");
    hangs["pool"] = "shop".into();
    hangs["request"] = json!({
        "host": "shop.example.com", "path": "/a\u{9b}31m/very/long/path/of/a/report/that/takes/long",
    });
    json!({ "connections": [hangs, one("203.0.113.4:4711", 12.0, "idle")] })
}

fn seen(second: u64) -> Seen {
    Seen::new(
        Duration::from_secs(second),
        service(second),
        pools(second),
        connections(second),
    )
}

fn looked() -> Screen {
    let mut screen = Screen::default();
    screen.answered(seen(0));
    screen.answered(seen(2));
    screen
}

fn press(screen: &mut Screen, keys: &str) -> bool {
    keys.chars().any(|sign| {
        let code = match sign {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            sign => KeyCode::Char(sign),
        };
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    })
}

/// What is on a terminal of this size.
fn drawn(screen: &Screen, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let (theme, now) = (Theme { colours: true }, Duration::from_secs(14));
    terminal
        .draw(|frame| {
            draw(frame, screen, theme, now);
        })
        .expect("drawn");
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(width));
    let rows = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    rows.map(|row| format!("{}\n", row.trim_end())).collect()
}

#[test]
fn the_pools_in_a_terminal_of_80_by_24() {
    insta::assert_snapshot!(drawn(&looked(), 80, 24));
}

#[test]
fn every_tab_by_its_digit() {
    let mut screen = looked();
    let mut all = String::new();
    for digit in ["2", "3", "4", "5", "6"] {
        press(&mut screen, digit);
        all.push_str(&drawn(&screen, 100, 8));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_small_terminal_and_a_tiny_one() {
    let mut screen = looked();
    press(&mut screen, "5");
    insta::assert_snapshot!(drawn(&screen, 60, 7));
    for (width, height) in [(1, 1), (2, 30), (200, 2), (9, 5)] {
        drawn(&screen, width, height);
    }
}

#[test]
fn one_frame_as_text() {
    insta::assert_snapshot!(super::frame(&seen(0), &seen(2)));
}

#[test]
fn before_a_second_answer_there_are_no_rates() {
    let mut screen = Screen::default();
    assert!(drawn(&screen, 80, 8).contains("portunus top"));
    screen.answered(seen(0));
    let text = drawn(&screen, 80, 8);
    assert!(text.contains("responses -  refused -  "), "{text}");
    screen.answered(seen(2));
    assert!(drawn(&screen, 80, 8).contains("responses 1200/s  refused 3.0/s"));
    // Another process begins to count at nought, and has done nothing in no time.
    let mut other = seen(3);
    other.service["process_id"] = 9.into();
    screen.answered(other);
    assert!(drawn(&screen, 80, 8).contains("responses -  refused -  "));
}

#[test]
fn a_counter_that_begins_anew_has_no_rate_for_once() {
    let (mut before, now) = (seen(0), seen(2));
    before.pools[0]["arrived"] = 1_000_000.into();
    let pair = Pair::new(&now, Some(&before));
    let pools = pair.pools();
    assert_eq!(pools[0].rate("arrived"), None);
    assert_eq!(pools[0].rate("rejected"), Some(3.0));
    assert_eq!(pools[1].rate("arrived"), Some(0.0));
    let refusals = pair.refusals();
    assert_eq!(refusals[1].1.rate(""), Some(3.0));
}

#[test]
fn a_server_that_is_gone_is_told_of_until_it_is_back() {
    let mut screen = looked();
    let at = Duration::from_secs(2);
    for clock in ["2026-11-21T10:42:00Z", "2026-11-21T10:42:01Z"] {
        let why = "no server answers".to_owned();
        screen.unanswered(at, clock.to_owned(), why);
    }
    let text = drawn(&screen, 80, 8);
    let said = "not reachable since 2026-11-21T10:42:00Z (12s): no server answers";
    assert!(text.contains(said), "{text}");
    assert!(text.contains("shop"), "what was known stays: {text}");
    screen.answered(seen(20));
    assert!(!drawn(&screen, 80, 8).contains("not reachable"));
}

#[test]
fn keys_sort_filter_and_pause() {
    let mut screen = looked();
    press(&mut screen, "s");
    let rows = |screen: &Screen| -> Vec<String> {
        let text = drawn(screen, 80, 10);
        text.lines()
            .skip(4)
            .take(2)
            .map(|it| it.get(..7).unwrap_or(it).trim().to_owned())
            .collect()
    };
    assert_eq!(rows(&screen), ["reports", "shop"]);
    press(&mut screen, "r");
    assert_eq!(rows(&screen), ["shop", "reports"]);
    assert!(drawn(&screen, 80, 10).contains("POOLv"));
    // Behind the last column it is as the server tells it.
    press(&mut screen, "ssssssss");
    assert!(!drawn(&screen, 80, 10).contains("POOLv"));

    press(&mut screen, "/REPq");
    assert!(drawn(&screen, 80, 10).contains("filter: REPq_"));
    assert!(drawn(&screen, 80, 10).contains("nothing has this in it"));
    screen.press(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
    press(&mut screen, "\n");
    assert_eq!(rows(&screen), ["reports", ""]);
    screen.press(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
    assert_eq!(rows(&screen), ["shop", "reports"]);

    press(&mut screen, "p");
    screen.answered(seen(60));
    assert!(drawn(&screen, 80, 10).contains("PAUSED"));
    assert!(drawn(&screen, 80, 10).contains("up 3h12m"));
    press(&mut screen, "p\t");
    screen.answered(seen(60));
    let text = drawn(&screen, 80, 10);
    assert!(
        text.contains("up 3h13m") && text.contains("BINDING"),
        "{text}"
    );

    assert!(press(&mut screen, "q"));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(screen.press(interrupt));
}

#[test]
fn help_names_the_keys() {
    let mut screen = looked();
    press(&mut screen, "?");
    assert!(drawn(&screen, 80, 24).contains("sort by the next column"));
    press(&mut screen, "q");
    assert!(drawn(&screen, 80, 24).contains("RUNNING"));
}

proptest! {
    /// Whatever clients and upstreams write, nothing of it reaches the terminal that it obeys.
    #[test]
    fn nothing_that_a_terminal_obeys_is_shown(text in any::<String>(), width in 1u16..150) {
        let mut now = seen(2);
        now.connections[0]["request"]["path"] = text.clone().into();
        now.pools[0]["upstreams"][0]["last_failure"] = json!({ "what": text });
        let mut screen = Screen::default();
        screen.answered(now);
        for tab in ["3", "5"] {
            press(&mut screen, tab);
            let text = drawn(&screen, width, 10);
            prop_assert!(!text.chars().any(|it| it.is_control() && it != '\n'));
        }
    }
}
