use std::io::Read as _;

use super::*;

#[test]
fn levels_and_lists_of_levels_are_read() {
    let targets = parse("level", "info").unwrap();
    assert!(targets.would_enable("portunus", &tracing::Level::INFO));
    assert!(!targets.would_enable("portunus", &tracing::Level::DEBUG));
    let targets = parse("level", "warn, portunus=trace,rustls=off").unwrap();
    assert!(targets.would_enable("portunus::tls", &tracing::Level::TRACE));
    assert!(!targets.would_enable("rustls", &tracing::Level::ERROR));
    assert!(!targets.would_enable("h2", &tracing::Level::INFO));
    assert!(parse("level", "off").is_ok());
}

#[test]
fn a_level_that_is_none_is_refused_with_what_would_be_right() {
    for wrong in ["inof", "portunus=loud", "=info", "info,,", "portunus=", "7"] {
        let error = parse("$PORTUNUS_LOG", wrong).unwrap_err().to_string();
        assert!(
            error.contains(&format!("$PORTUNUS_LOG says {wrong:?}")),
            "{error}"
        );
        assert!(error.contains("info,portunus=debug"), "{error}");
    }
}

#[test]
fn a_stream_without_room_drops_lines_and_says_so_later() {
    let (mut reader, writer) = io::pipe().unwrap();
    let lines = Lines::new(writer);
    lines.line(b"first\n");
    let full = [b'x'; 4096];
    while lines.dropped.load(Ordering::Relaxed) == 0 {
        lines.line(&full);
    }
    lines.line(b"no room\n");
    assert_eq!(lines.dropped.load(Ordering::Relaxed), 2);

    let mut text = [0; 32 * 1024];
    let mut taken = reader.read(&mut text).unwrap();
    assert!(text.starts_with(b"first\n"));
    taken += reader.read(&mut text).unwrap();
    assert!(taken > 8192);
    lines.line(b"room again\n");
    drop(lines);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"(2 lines found no room here)\nroom again\n"));
}

#[test]
fn a_long_line_is_cut_and_stays_a_line() {
    let (mut reader, writer) = io::pipe().unwrap();
    let lines = Lines::new(writer);
    lines.line(&[&[b'x'; 2 * PIPE_BUF][..], b"\n"].concat());
    lines.line(b"next\n");
    drop(lines);
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert_eq!(text.len(), PIPE_BUF + 5);
    assert!(text.ends_with(b"x\nnext\n"));
}
