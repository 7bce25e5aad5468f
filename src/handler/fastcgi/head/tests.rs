use proptest::prelude::*;

use super::*;

fn whole(text: &[u8]) -> Result<Option<(Head, Bytes)>, HeadFault> {
    Gather::default().push(text)
}

fn head(text: &str) -> Head {
    let (head, _) = whole(text.as_bytes())
        .expect("a head")
        .expect("a whole head");
    head
}

fn fault(text: impl AsRef<[u8]>) -> HeadFault {
    whole(text.as_ref()).expect_err("no head")
}

#[test]
fn lines_end_either_way_and_content_follows_an_empty_one() {
    for text in [
        "Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\n\nrest",
        "Status: 404 Not Found\nContent-Type: text/plain\n\n\nrest",
        "status:404\r\ncontent-type:  text/plain \n\r\n\nrest",
    ] {
        let (head, rest) = whole(text.as_bytes())
            .expect("a head")
            .expect("a whole head");
        assert_eq!(head.status, StatusCode::NOT_FOUND, "{text:?}");
        assert_eq!(head.fields["content-type"], "text/plain");
        assert_eq!(head.fields.len(), 1, "Status is no field of the response");
        assert_eq!(rest, "\nrest");
    }
}

#[test]
fn without_a_status_it_is_success_or_a_redirect() {
    assert_eq!(head("X: y\n\n").status, StatusCode::OK);
    assert_eq!(head("Location: /there\n\n").status, StatusCode::FOUND);
    assert_eq!(
        head("Status: 201\nLocation: /there\n\n").status,
        StatusCode::CREATED
    );
}

#[test]
fn a_status_is_one_that_a_response_can_have() {
    for bad in [
        "",
        "2000",
        "20",
        "abc",
        "101 Switching",
        "103",
        "099",
        "600",
        "-200",
        "2 0 0",
        "٢٠٠",
        "200,",
    ] {
        let fault = fault(format!("Status: {bad}\r\n\r\n"));
        assert!(matches!(fault, HeadFault::Status(_)), "{bad}: {fault}");
    }
    assert!(matches!(
        fault("Status: 200\nStatus: 200\n\n"),
        HeadFault::Line(_)
    ));
}

#[test]
fn what_is_no_field_is_no_head() {
    for bad in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "no colon\n\n",
        "X : y\n\n",
        ": y\n\n",
        "X: y\n folded\n\n",
        "X: a\rb\n\n",
        "X: a\0b\n\n",
        "Ä: y\n\n",
    ] {
        assert!(matches!(fault(bad), HeadFault::Line(_)), "{bad:?}");
    }
    assert_eq!(fault("\nX: y\n\n"), HeadFault::Empty);
    assert_eq!(fault("\r\ncontent"), HeadFault::Empty);
    assert_eq!(
        fault("X: y\n".repeat(FIELDS_MAX + 1) + "\n"),
        HeadFault::Fields
    );
}

#[test]
fn a_head_that_does_not_end_is_let_go() {
    let mut gather = Gather::default();
    let piece = b"X-Fill: 0123456789\r\n";
    for at in 0.. {
        match gather.push(piece) {
            Ok(None) => assert!(at * piece.len() <= HEAD_BYTES_MAX),
            other => {
                assert_eq!(other, Err(HeadFault::Long));
                break;
            }
        }
    }
    let long = format!("X: {}\n\n", "y".repeat(HEAD_BYTES_MAX));
    assert_eq!(fault(long), HeadFault::Long);
}

proptest! {
    #[test]
    fn a_head_is_the_same_however_it_is_cut(
        text in proptest::collection::vec(
            proptest::sample::select(&["\n", "\r\n", "Status: 404", "X-A: b", "\r", "rest"][..]), 0..12,
        ),
        cuts in proptest::collection::vec(1_usize..9, 1..6),
    ) {
        let text = text.concat().into_bytes();
        let at_once = whole(&text);
        let mut gather = Gather::default();
        let mut rest = &text[..];
        let mut cuts = cuts.iter().copied().cycle();
        let mut outcome = Ok(None);
        while !rest.is_empty() && outcome == Ok(None) {
            let (piece, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
            outcome = gather.push(piece);
            rest = after;
        }
        let outcome = outcome.map(|whole| whole.map(|(head, read)| {
            (head, Bytes::from([&read[..], rest].concat()))
        }));
        prop_assert_eq!(outcome, at_once);
    }
}
