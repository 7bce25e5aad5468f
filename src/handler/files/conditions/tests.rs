use super::*;

/// 2024-05-06 07:08:09 UTC
const MODIFIED: i64 = 1_714_979_289;
const ETAG: &str = "\"17ccd493b5ff3a05-2a-7\"";
const WEAK: &str = "W/\"17ccd493b5ff3a05-2a-7\"";
const OTHER: &str = "\"other\"";
const SAME_DATE: &str = "Mon, 06 May 2024 07:08:09 GMT";
const EARLIER: &str = "Mon, 06 May 2024 07:08:08 GMT";
const LATER: &str = "Mon, 06 May 2024 07:08:10 GMT";

const WITH_RANGES: Verdict = Verdict::Proceed { ranges: true };
const WITHOUT_RANGES: Verdict = Verdict::Proceed { ranges: false };

fn stamp() -> Stamp {
    Stamp {
        size: 42,
        modified_secs: MODIFIED,
        modified_nanos: 5,
        inode: 7,
    }
}

fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap())
}

fn validators() -> Validators {
    Validators::new(&stamp(), None, at(MODIFIED + 3600))
}

fn judge(fields: &[(&'static str, &str)]) -> Verdict {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    validators().judge(&headers)
}

#[test]
fn the_etag_is_of_time_size_file_and_coding() {
    let validators = validators();
    let nanos = MODIFIED * 1_000_000_000 + 5;
    assert_eq!(validators.etag, format!("\"{nanos:x}-2a-7\""));
    assert_eq!(validators.etag, ETAG);
    let compressed = Validators::new(&stamp(), Some(Encoding::Gzip), at(MODIFIED));
    assert_eq!(compressed.etag, format!("\"{nanos:x}-2a-7.gz\""));
    let later = Stamp {
        modified_nanos: 6,
        ..stamp()
    };
    assert_ne!(Validators::new(&later, None, at(MODIFIED)).etag, ETAG);
}

#[test]
fn last_modified_is_never_in_the_future() {
    let shown = |now| {
        Validators::new(&stamp(), None, now)
            .last_modified()
            .unwrap()
    };
    assert_eq!(shown(at(MODIFIED + 9)), SAME_DATE);
    assert_eq!(shown(at(MODIFIED - 1)), EARLIER);
}

#[test]
fn a_file_from_before_1970_or_from_beyond_all_dates_has_an_answer() {
    for modified_secs in [i64::MIN, -1, i64::MAX] {
        let stamp = Stamp {
            modified_secs,
            ..stamp()
        };
        let validators = Validators::new(&stamp, None, at(MODIFIED));
        assert_eq!(validators.last_modified().is_some(), modified_secs > 0);
    }
}

#[test]
fn one_precondition_alone_decides() {
    let table: &[(&str, &str, Verdict)] = &[
        ("if-match", ETAG, WITH_RANGES),
        ("if-match", "*", WITH_RANGES),
        ("if-match", OTHER, Verdict::Failed),
        ("if-match", WEAK, Verdict::Failed),
        ("if-match", "", Verdict::Failed),
        ("if-match", "nonsense", Verdict::Failed),
        ("if-unmodified-since", SAME_DATE, WITH_RANGES),
        ("if-unmodified-since", LATER, WITH_RANGES),
        ("if-unmodified-since", EARLIER, Verdict::Failed),
        ("if-unmodified-since", "yesterday", WITH_RANGES),
        ("if-none-match", ETAG, Verdict::NotModified),
        ("if-none-match", WEAK, Verdict::NotModified),
        ("if-none-match", "*", Verdict::NotModified),
        ("if-none-match", OTHER, WITH_RANGES),
        ("if-none-match", "", WITH_RANGES),
        ("if-none-match", "17ccd493b5ff3a05-2a-7", WITH_RANGES),
        ("if-none-match", "\"unclosed", WITH_RANGES),
        ("if-modified-since", SAME_DATE, Verdict::NotModified),
        ("if-modified-since", LATER, Verdict::NotModified),
        ("if-modified-since", EARLIER, WITH_RANGES),
        ("if-modified-since", "0", WITH_RANGES),
        ("if-range", ETAG, WITH_RANGES),
        ("if-range", OTHER, WITHOUT_RANGES),
        ("if-range", WEAK, WITHOUT_RANGES),
        ("if-range", SAME_DATE, WITH_RANGES),
        ("if-range", EARLIER, WITHOUT_RANGES),
        ("if-range", LATER, WITHOUT_RANGES),
        ("if-range", "nonsense", WITHOUT_RANGES),
    ];
    for (name, value, expected) in table {
        assert_eq!(judge(&[(name, value)]), *expected, "{name}: {value}");
    }
}

#[test]
fn dates_in_the_obsolete_formats_are_read() {
    for date in ["Monday, 06-May-24 07:08:09 GMT", "Mon May  6 07:08:09 2024"] {
        let verdict = judge(&[("if-modified-since", date)]);
        assert_eq!(verdict, Verdict::NotModified, "{date}");
    }
}

#[test]
fn tags_are_found_in_lists_and_over_several_fields() {
    let list = format!("\"a,b\" , W/\"c\",, {ETAG}");
    assert_eq!(judge(&[("if-none-match", &list)]), Verdict::NotModified);
    assert_eq!(judge(&[("if-match", &list)]), WITH_RANGES);
    let apart = [("if-none-match", OTHER), ("if-none-match", ETAG)];
    assert_eq!(judge(&apart), Verdict::NotModified);
    // Behind something malformed nothing is believed.
    let broken = format!("nonsense, {ETAG}");
    assert_eq!(judge(&[("if-none-match", &broken)]), WITH_RANGES);
}

#[test]
fn preconditions_are_weighed_in_the_order_of_the_rfc() {
    let (im, ius) = ("if-match", "if-unmodified-since");
    let (inm, ims) = ("if-none-match", "if-modified-since");
    let table: &[(&[(&'static str, &str)], Verdict)] = &[
        // If-Match silences If-Unmodified-Since.
        (&[(im, ETAG), (ius, EARLIER)], WITH_RANGES),
        (&[(im, OTHER), (ius, LATER)], Verdict::Failed),
        // 412 comes before 304.
        (&[(im, OTHER), (inm, ETAG)], Verdict::Failed),
        (&[(ius, EARLIER), (inm, ETAG)], Verdict::Failed),
        (&[(im, ETAG), (inm, ETAG)], Verdict::NotModified),
        // If-None-Match silences If-Modified-Since.
        (&[(inm, OTHER), (ims, LATER)], WITH_RANGES),
        (&[(inm, ETAG), (ims, EARLIER)], Verdict::NotModified),
        // 304 comes before If-Range.
        (&[(inm, ETAG), ("if-range", OTHER)], Verdict::NotModified),
        (&[(im, ETAG), ("if-range", OTHER)], WITHOUT_RANGES),
        // Two dates are none.
        (&[(ims, SAME_DATE), (ims, SAME_DATE)], WITH_RANGES),
        (&[("if-range", ETAG), ("if-range", ETAG)], WITHOUT_RANGES),
    ];
    for (fields, expected) in table {
        assert_eq!(judge(fields), *expected, "{fields:?}");
    }
}

#[test]
fn a_date_is_no_strong_validator_within_its_own_second() {
    let mut headers = HeaderMap::new();
    headers.insert(IF_RANGE, SAME_DATE.parse().unwrap());
    let fresh = Validators::new(&stamp(), None, at(MODIFIED));
    assert_eq!(fresh.judge(&headers), WITHOUT_RANGES);
}
