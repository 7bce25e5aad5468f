use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Version};
use proptest::prelude::*;

use super::folder::Writer;
use super::redact::Redaction;
use super::*;
use crate::model::journal::{
    AttemptStep, Cause, Journal, RequestHead, ResponseHead, Step as Taken,
};
use crate::model::{
    BindingKey, ClientAddr, Connection, HostPattern, LocalAddr, Protocol, Provenance, Reason,
    RoutePath, Scheme,
};

fn rules(text: &str) -> Rules {
    let config = config(text);
    Rules::new(&config.failed_requests.rules, &["www", "shop"])
}

fn config(rules: &str) -> Config {
    let text = format!(
        "[[binding]]\nhostname = \"a.test\"\nsite = \"www\"\n[[binding]]\nhostname = \"b.test\"\nsite = \"shop\"\n\
         [[site]]\nname = \"www\"\n[[site.route]]\npool = \"p\"\n[[site]]\nname = \"shop\"\n[[site.route]]\npool = \"p\"\n\
         [[pool]]\nname = \"p\"\nhandler = {{ type = \"respond\" }}\n{rules}"
    );
    let loaded = crate::config::parse(&text, Path::new("rules.toml"));
    loaded
        .config
        .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

fn rule(text: &str) -> String {
    format!("[[failed_requests.rule]]\n{text}\n")
}

fn ended(site: Option<usize>, path: &str, status: u16, reason: Option<Reason>) -> Ended {
    let began = Instant::now();
    let address = SocketAddr::from(([192, 0, 2, 7], 4711));
    Ended {
        journal: Arc::new(Journal::new(
            began,
            UNIX_EPOCH + Duration::from_millis(1_800_000_000_123),
        )),
        at: began + Duration::from_millis(250),
        connection: Arc::new(Connection {
            client: ClientAddr::new(address),
            local: LocalAddr::new(SocketAddr::from(([192, 0, 2, 1], 80))),
            tls: None,
            activity: crate::model::Activity::default(),
        }),
        protocol: Protocol::Http1,
        provenance: Provenance::default(),
        path: path_of(path),
        site,
        status: StatusCode::from_u16(status).ok(),
        answered: Some(began + Duration::from_millis(20)),
        left_http: false,
        reason,
    }
}

fn path_of(text: &str) -> Option<RoutePath> {
    let target = text.parse::<PathAndQuery>().ok()?;
    RoutePath::parse(&target).ok()
}

#[test]
fn a_rule_fires_when_all_that_it_names_holds_and_any_of_several_fires() {
    let www = |path, status, reason| ended(Some(0), path, status, reason);
    let fires = |text: &str, ended: &Ended| !rules(text).fired(ended).is_empty();
    let status = rule("status = [404, \"500-502\", \"3xx\"]");
    for (code, expected) in [
        (404, true),
        (403, false),
        (500, true),
        (502, true),
        (503, false),
        (308, true),
        (0, false),
    ] {
        assert_eq!(fires(&status, &www("/", code, None)), expected, "{code}");
    }
    let path = rule("path = \"/api\"");
    for (path_of, expected) in [
        ("/api", true),
        ("/api/x?y", true),
        ("/apis", false),
        ("/", false),
    ] {
        assert_eq!(
            fires(&path, &www(path_of, 200, None)),
            expected,
            "{path_of}"
        );
    }
    assert!(fires(&rule("path = \"/\""), &www("/anything", 200, None)));
    let both = rule("site = \"shop\"\nreason = [\"QueueFull\", \"NoRoute\"]\nstatus = [503]");
    let of = |site, status, reason| ended(site, "/", status, reason);
    assert!(fires(&both, &of(Some(1), 503, Some(Reason::QueueFull))));
    assert!(!fires(&both, &of(Some(0), 503, Some(Reason::QueueFull))));
    assert!(!fires(&both, &of(None, 503, Some(Reason::QueueFull))));
    assert!(!fires(&both, &of(Some(1), 404, Some(Reason::NoRoute))));
    assert!(!fires(&both, &of(Some(1), 503, None)));
    let any = format!("{both}{status}{}", rule("reason = [\"QueueFull\"]"));
    let fired = rules(&any).fired(&of(Some(1), 503, Some(Reason::QueueFull)));
    let fired: Vec<_> = fired
        .iter()
        .map(|rule| (rule.number, rule.text.as_str()))
        .collect();
    assert_eq!(
        fired,
        [
            (
                1,
                "site = \"shop\", status = [503], reason = [\"QueueFull\", \"NoRoute\"]"
            ),
            (3, "reason = [\"QueueFull\"]")
        ]
    );
}

#[test]
fn a_time_is_that_to_the_last_byte_and_where_http_was_left_that_to_the_answer() {
    let slow = rules(&rule("longer_than = \"200ms\""));
    let mut request = ended(Some(0), "/", 200, None);
    assert_eq!(slow.fired(&request).len(), 1);
    request.left_http = true;
    assert!(slow.fired(&request).is_empty());
    request.answered = Some(request.journal.began() + Duration::from_millis(201));
    assert_eq!(slow.fired(&request).len(), 1);
}

#[test]
fn a_request_that_no_rule_is_for_is_not_recorded() {
    let rules = rules(&rule(
        "site = \"shop\"\npath = \"/api\"\nstatus = [\"5xx\"]",
    ));
    assert!(!rules.could_fire(path_of("/x").as_ref()));
    assert!(!rules.could_fire(None));
    assert!(rules.could_fire(path_of("/api/x").as_ref()));
    assert!(!rules.could_fire_at(path_of("/api/x").as_ref(), 0));
    assert!(rules.could_fire_at(path_of("/api/x").as_ref(), 1));
}

#[test]
fn what_is_secret_is_told_by_its_length_and_nothing_else() {
    let redaction = Redaction::new(&["x-session".to_owned(), "ticket".to_owned()]);
    let field = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        redaction.field(&name, &HeaderValue::from_str(value).expect("a value"))
    };
    assert_eq!(
        field("Authorization", "Bearer abc.def"),
        "Bearer [redacted, 7 bytes]"
    );
    assert_eq!(
        field("Authorization", "my secret words"),
        "[redacted, 15 bytes]"
    );
    assert_eq!(field("Cookie", "sid=1234; b=2"), "[redacted, 13 bytes]");
    for name in [
        "Proxy-Authorization",
        "Set-Cookie",
        "X-Api-Key",
        "X-Session",
    ] {
        assert_eq!(field(name, "abc"), "[redacted, 3 bytes]", "{name}");
    }
    assert_eq!(field("Accept", "abc"), "abc");
    let secret = "/a?x=1&Token=abc&%74oken=abc&ticket=abcd&y";
    let written =
        "/a?x=1&Token=[redacted, 3 bytes]&%74oken=[redacted, 3 bytes]&ticket=[redacted, 4 bytes]&y";
    assert_eq!(redaction.target(secret), written);
    assert_eq!(
        field("Referer", &format!("https://a.test{secret}")),
        format!("https://a.test{written}")
    );
    for (value, written) in [
        (
            "https://u:pw@a.test/cb#access_token=abc&state=1",
            "https://[redacted, 4 bytes]@a.test/cb#access_token=[redacted, 3 bytes]&state=1",
        ),
        ("/?x=1#token=abc", "/?x=1#token=[redacted, 3 bytes]"),
        ("/?a=1;token=abc;b", "/?a=1;token=[redacted, 3 bytes];b"),
        ("/?user[token]=abc", "/?user[token]=[redacted, 3 bytes]"),
        ("/?token%5b%5d=abc", "/?token%5b%5d=[redacted, 3 bytes]"),
        ("/?+token=abc", "/?+token=[redacted, 3 bytes]"),
        ("/?%20token=abc", "/?%20token=[redacted, 3 bytes]"),
        ("/a?mail=a@b.test&?", "/a?mail=a@b.test&?"),
        ("/plain/path", "/plain/path"),
    ] {
        assert_eq!(redaction.target(value), written);
        assert_eq!(field("X-Original-URI", value), written);
    }
    assert_eq!(field("Host", "u:pw@a.test"), "[redacted, 4 bytes]@a.test");
    let mut marked = HeaderValue::from_static("abc");
    marked.set_sensitive(true);
    assert_eq!(
        redaction.field(&http::header::ACCEPT, &marked),
        "[redacted, 3 bytes]"
    );
}

proptest::proptest! {
    #[test]
    fn whatever_a_target_is_it_can_be_written_and_holds_no_secret(before in ".{0,40}", after in "[?#&; ].{0,40}") {
        let redaction = Redaction::new(&[]);
        let _ = redaction.target(&before);
        let written = redaction.target(&format!("/a?{before}&token=Sesame{after}"));
        proptest::prop_assert!(!written.contains("Sesame"), "{written}");
    }
}

/// A request that was queued, sent twice, and cut; its fields are `count` of `length` bytes.
fn eventful(count: usize, length: usize, attempts: u32) -> Ended {
    let ended = ended(
        Some(0),
        "/api/x?token=abc",
        200,
        Some(Reason::UpstreamReset),
    );
    let journal = &ended.journal;
    let mut fields = HeaderMap::new();
    fields.insert("authorization", HeaderValue::from_static("Basic c2VjcmV0"));
    for number in 0..count {
        let name = HeaderName::from_bytes(format!("x-{number}").as_bytes()).expect("a name");
        fields.insert(
            name,
            HeaderValue::from_str(&"<\"é".repeat(length / 4)).expect("a value"),
        );
    }
    let mut at = 0;
    let mut note = |step| {
        at += 1;
        journal.note(journal.began() + Duration::from_millis(at), step);
    };
    note(Taken::HeadRead(Box::new(RequestHead {
        method: Method::GET,
        target: "/api/x?token=abc".parse().ok(),
        version: Version::HTTP_11,
        fields: fields.clone(),
    })));
    note(Taken::BindingFound {
        binding: Arc::new(BindingKey {
            scheme: Scheme::Http,
            ip: None,
            port: 80,
            hostname: HostPattern::Any,
        }),
        site: "www".into(),
    });
    note(Taken::RouteFound {
        route: "/api".into(),
        pool: "p".into(),
    });
    note(Taken::QueueEntered {
        position: 3,
        length: 10,
        running: 4,
    });
    note(Taken::QueueLeft);
    for number in 1..=attempts {
        let cause = if number == 1 {
            Cause::First
        } else {
            Cause::Retry
        };
        let upstream = "http://10.0.0.1:8080".into();
        note(Taken::Attempt(
            number,
            AttemptStep::Began { upstream, cause },
        ));
        let detail = "nobody listens. ".repeat(length / 16).into();
        let reason = Reason::UpstreamConnect;
        note(Taken::Attempt(
            number,
            AttemptStep::Failed { reason, detail },
        ));
    }
    note(Taken::ResponseHead(Box::new(ResponseHead {
        status: StatusCode::OK,
        fields,
    })));
    note(Taken::Cut { bytes: 7 });
    ended
}

fn settings(more: &str) -> Arc<Settings> {
    let config = config(&format!(
        "[failed_requests]\n{more}\n{}",
        rule("path = \"/\"")
    ))
    .failed_requests;
    Arc::new(Settings {
        redaction: Redaction::new(&config.redact),
        config,
    })
}

fn record(ended: &Ended, settings: &Settings) -> Record {
    let text = Record::text(ended, &[], settings);
    assert!(
        text.len() <= settings.config.max_file_bytes,
        "{}",
        text.len()
    );
    assert!(
        !text.contains("c2VjcmV0") && !text.contains("token=abc"),
        "{text}"
    );
    serde_json::from_str(&text).expect("what was written can be read")
}

#[test]
fn a_file_tells_the_whole_way_of_a_request() {
    let record = record(&eventful(1, 8, 2), &settings(""));
    assert_eq!(record.began, "2027-01-15T08:00:00.123Z");
    assert_eq!(
        (record.duration_ms, record.complete, record.bytes_sent),
        (250.0, false, 7)
    );
    assert_eq!(record.reason.as_deref(), Some("Upstream_Reset"));
    assert_eq!(record.blame.as_deref(), Some("upstream"));
    let request = record.request.expect("a head");
    assert_eq!(
        request.target.as_deref(),
        Some("/api/x?token=[redacted, 3 bytes]")
    );
    assert_eq!(request.fields[0].1, "Basic [redacted, 8 bytes]");
    assert_eq!(record.site.as_deref(), Some("www"));
    assert_eq!(record.binding.as_deref(), Some("http://*:80 *"));
    let queue = record.queue.expect("a wait");
    assert_eq!(
        (queue.position, queue.running, queue.admitted, queue.wait_ms),
        (3, 4, true, 1.0)
    );
    let causes: Vec<_> = record.attempts.iter().map(|it| it.cause.as_str()).collect();
    assert_eq!(causes, ["first", "retry"]);
    assert_eq!(record.attempts[1].began_ms, 8.0);
    assert_eq!(record.attempts[1].ended_ms, Some(9.0));
    assert_eq!(record.response.and_then(|head| head.status), Some(200));
    assert_eq!(record.steps.len(), 11);
    assert!(!record.shortened);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_file_is_longer_than_it_may_be(count in 0_usize..120, length in 0_usize..20_000, attempts in 0_u32..60) {
        let settings = settings("max_file_bytes = \"16KiB\"");
        let record = record(&eventful(count, length, attempts), &settings);
        prop_assert!(record.site.is_some());
    }
}

fn job(settings: &Arc<Settings>, status: u16) -> Job {
    Job {
        ended: ended(Some(0), "/", status, None),
        fired: Vec::new(),
        settings: Arc::clone(settings),
    }
}

#[test]
fn the_oldest_files_give_way_and_nobody_else_s() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("made/here");
    let text = format!("folder = {inner:?}\nmax_files = 3");
    let settings = settings(&text);
    let mut writer = Writer::default();
    assert!(writer.write(&job(&settings, 501)));
    std::fs::write(inner.join("notes.json"), "mine").expect("a file");
    for status in 502..506 {
        assert!(writer.write(&job(&settings, status)));
    }
    // Another one finds what this one has left.
    assert!(Writer::default().write(&job(&settings, 506)));
    let left = folder::files(&inner).expect("a folder");
    let statuses: Vec<_> = left.iter().map(|name| &name[33..36]).collect();
    assert_eq!(statuses.len(), 3, "{left:?}");
    assert!(
        left.iter()
            .all(|name| name.starts_with("2027-01-15T08-00-00.373Z-no_site-50"))
    );
    assert!(inner.join("notes.json").exists() && !inner.join("draft.tmp").exists());
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&inner.join(&left[0])), 0o600);
}

#[test]
fn a_folder_that_cannot_be_is_tried_anew_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("file");
    std::fs::write(&inner, "in the way").expect("a file");
    let settings = settings(&format!("folder = {inner:?}"));
    let mut writer = Writer::default();
    assert!(!writer.write(&job(&settings, 500)));
    std::fs::remove_file(&inner).expect("it was there");
    assert!(writer.write(&job(&settings, 500)));
    // As somebody may, who has seen enough.
    std::fs::remove_dir_all(&inner).expect("it was there");
    assert!(writer.write(&job(&settings, 500)));
}

#[test]
fn what_comes_to_a_full_queue_is_dropped_and_counted() {
    let queue = Arc::new(Queue::default());
    let settings = settings("");
    // Without a thread nothing is taken out.
    queue.push(job(&settings, 500));
    assert_eq!(queue.count().dropped, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let settings = self::settings(&format!("folder = {:?}", folder.path()));
    queue.start().expect("a thread");
    queue.start().expect("the same thread");
    for _ in 0..QUEUE_MAX {
        queue.push(job(&settings, 500));
    }
    queue.close();
    let count = queue.count();
    assert_eq!(count.written + count.dropped, 1 + QUEUE_MAX as u64);
    assert_eq!(
        folder::files(folder.path()).expect("a folder").len() as u64,
        count.written
    );
    queue.push(job(&settings, 500));
    assert_eq!(queue.count().dropped, count.dropped + 1);
}

#[test]
fn only_names_that_are_ours_are_taken_for_ours() {
    for good in [
        "2027-01-15T08-00-00.373Z-www-503-7.json",
        "2027-01-15T08-00-00.373Z-a-b-none-12.json",
    ] {
        assert!(is_record_name(good), "{good}");
    }
    for bad in [
        "",
        "notes.json",
        "2027-01-15T08-00-00.373Z.json",
        "2027-01-15T08-00-00.373Z-www-503-x.json",
        "2027-01-15T08-00-00.373Z-503-7.json",
        "2027-01-15T08:00:00.373Z-www-503-7.json",
        "2027-01-15T08-00-00.373Z-www-503-7.txt",
    ] {
        assert!(!is_record_name(bad), "{bad}");
    }
}
