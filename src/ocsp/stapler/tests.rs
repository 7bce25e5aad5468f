//! The thread, against responders on ports of this machine that do whatever they want.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rasn_ocsp::OcspResponseStatus;

use super::super::fetch::RESPONSE_BYTES_MAX;
use super::super::tests::{Ca, Responder, Says, answer, load, request, whole};
use super::*;

/// Everything within moments.
const HASTY: Pace = Pace {
    refresh_min: Duration::from_millis(20),
    refresh_max: Duration::from_millis(20),
    retry_min: Duration::from_millis(20),
    retry_max: Duration::from_millis(20),
};

/// A certificate that is stapled by a responder that serves each connection like this.
struct Scene {
    ca: Arc<Ca>,
    certificate: Arc<Certificate>,
    pem: String,
    responder: Responder,
    state: tempfile::TempDir,
    stapler: Stapler,
}

type Serve = dyn Fn(usize, TcpStream, &Ca, &Subject) + Send + Sync;

impl Scene {
    fn new(
        pace: Pace,
        serve: impl Fn(usize, TcpStream, &Ca, &Subject) + Send + Sync + 'static,
    ) -> Self {
        let ca = Arc::new(Ca::new("test CA"));
        let subject: Arc<Mutex<Option<Subject>>> = Arc::default();
        let serve: Box<Serve> = Box::new(serve);
        let responder = Responder::start({
            let (ca, subject) = (Arc::clone(&ca), Arc::clone(&subject));
            move |number, stream| {
                let subject = subject.lock().unwrap().clone().unwrap();
                serve(number, stream, &ca, &subject);
            }
        });
        let pem = ca.pem_with(Some(&responder.url), |_| {}, &ca.pem);
        let certificate = load(&pem);
        *subject.lock().unwrap() = Some(Subject::of(&certificate.key.cert).unwrap());
        Self {
            ca,
            certificate,
            pem,
            responder,
            state: tempfile::tempdir().unwrap(),
            stapler: Stapler::with_pace(pace),
        }
    }

    /// The same, without a thread yet.
    fn start(self) -> Self {
        self.show(&self.stapler, &self.certificate);
        self
    }

    fn show(&self, stapler: &Stapler, certificate: &Arc<Certificate>) {
        let prepared = stapler.prepare_these(self.state.path(), vec![Arc::clone(certificate)]);
        stapler.take(prepared);
    }

    fn staple(&self) -> Option<Vec<u8>> {
        self.certificate.shown(SystemTime::now()).ocsp.clone()
    }

    fn stapling(&self) -> Stapling {
        self.stapler.report().remove(0)
    }

    /// Waits until it stands so.
    fn wait(&self, what: &str, is_so: impl Fn(&Stapling) -> bool) -> Stapling {
        wait(what, || Some(self.stapling()).filter(&is_so))
    }
}

fn wait<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn good(ca: &Ca, subject: &Subject) -> Vec<u8> {
    Says::good().signed_by(&ca.signer(), subject)
}

#[test]
fn a_response_is_fetched_shown_and_kept() {
    let (heads, head) = std::sync::mpsc::channel();
    let heads = Mutex::new(heads);
    let scene = Scene::new(Pace::USUAL, move |_, mut stream, ca, subject| {
        let (head, content) = request(&mut stream);
        assert_eq!(content, subject.request().unwrap());
        heads.lock().unwrap().send(head).unwrap();
        let response = good(ca, subject);
        let length = response.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response; x=y\r\nContent-Length: {length}\r\n\r\n"
        );
        stream
            .write_all(&[head.as_bytes(), &response].concat())
            .unwrap();
    });
    assert_eq!(scene.staple(), None);
    let scene = scene.start();
    let stapling = scene.wait("a staple", |stapling| stapling.status == Status::Good);
    let head = head.recv().unwrap();
    assert!(head.starts_with("post /ocsp http/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/ocsp-request\r\n"),
        "{head}"
    );
    assert!(head.contains("host: 127.0.0.1:"), "{head}");
    let staple = scene.staple().expect("a staple");
    let file = scene
        .state
        .path()
        .join("ocsp")
        .join(stapling.fingerprint + ".der");
    wait("the file", || {
        std::fs::read(&file).ok().filter(|kept| *kept == staple)
    });
    assert_eq!((stapling.failures, stapling.last_error), (0, None));
    assert!(stapling.fetch_at > stapling.this_update);
    assert_eq!(scene.responder.asked(), 1);
}

#[test]
fn another_start_shows_what_was_kept_before_anybody_is_asked() {
    let scene = Scene::new(Pace::USUAL, |_, stream, ca, subject| {
        // An old one is renewed later, a new one now; this one is new for an hour.
        let mut says = Says::good();
        says.this_update = SystemTime::now();
        answer(stream, &says.signed_by(&ca.signer(), subject));
    })
    .start();
    let fingerprint =
        (scene.wait("a staple", |stapling| stapling.status == Status::Good)).fingerprint;
    let file = scene.state.path().join("ocsp").join(fingerprint + ".der");
    wait("the file", || file.exists().then_some(()));
    scene.certificate.unstaple();

    let again = Stapler::default();
    let prepared = again.prepare_these(scene.state.path(), vec![Arc::clone(&scene.certificate)]);
    assert!(scene.staple().is_some(), "before it is even taken");
    again.take(prepared);
    assert_eq!(again.report()[0].status, Status::Good);
    assert_eq!(scene.responder.asked(), 1);

    // What has been damaged is fetched again.
    std::fs::write(&file, b"damaged").unwrap();
    scene.certificate.unstaple();
    let third = Stapler::default();
    scene.show(&third, &scene.certificate);
    wait("a staple", || scene.staple());
    assert_eq!(scene.responder.asked(), 2);
}

#[test]
fn a_reload_carries_staples_to_the_same_certificate_and_to_no_other() {
    let scene = Scene::new(Pace::USUAL, |_, stream, ca, subject| {
        answer(stream, &good(ca, subject));
    })
    .start();
    scene.wait("a staple", |stapling| stapling.status == Status::Good);
    let same = load(&scene.pem);
    let other = scene.ca.leaf(None);
    let both = vec![Arc::clone(&same), Arc::clone(&other)];
    let prepared = scene.stapler.prepare_these(scene.state.path(), both);
    let shown = |certificate: &Certificate| certificate.shown(SystemTime::now()).ocsp.clone();
    assert_eq!(shown(&same), scene.staple());
    assert_eq!(shown(&other), None);
    scene.stapler.take(prepared);
    assert_eq!(shown(&same), scene.staple());
    let report = scene.stapler.report();
    assert_eq!(report.len(), 2);
    assert!(
        report
            .iter()
            .any(|s| s.status == Status::Unable(Unable::NoResponder))
    );
    assert_eq!(scene.responder.asked(), 1);
}

/// What a responder can do instead of answering, and what is said of it.
#[test]
fn nothing_that_a_responder_sends_is_shown_unless_it_is_right() {
    let kind = "application/ocsp-response";
    let plain = |status: &'static str, kind: &'static str, content: Vec<u8>| -> Box<Serve> {
        Box::new(move |_, mut stream, _, _| {
            request(&mut stream);
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: {}\r\n\r\n",
                content.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), &content].concat());
        })
    };
    let says = |change: fn(&mut Says)| -> Box<Serve> {
        Box::new(move |_, stream, ca, subject| {
            let mut says = Says::good();
            change(&mut says);
            answer(stream, &says.signed_by(&ca.signer(), subject));
        })
    };
    let cases: Vec<(Box<Serve>, &str)> = vec![
        (plain("200 OK", kind, b"garbage".to_vec()), "cannot be read"),
        (plain("200 OK", kind, Vec::new()), "cannot be read"),
        (
            plain("200 OK", "text/html", b"<p>Hello".to_vec()),
            "\"text/html\"",
        ),
        (
            plain("503 Unavailable", kind, Vec::new()),
            "the status is 503",
        ),
        (
            plain("302 Found", kind, Vec::new()),
            "redirects are not followed",
        ),
        (
            plain("200 OK", kind, vec![0; RESPONSE_BYTES_MAX + 1]),
            "longer than",
        ),
        (
            plain("200 OK", kind, whole(OcspResponseStatus::TryLater, None)),
            "tryLater",
        ),
        (
            plain(
                "200 OK",
                kind,
                whole(OcspResponseStatus::Unauthorized, None),
            ),
            "unauthorized",
        ),
        (says(|says| says.serial = Some(7)), "another certificate"),
        (
            says(|says| says.next_update = Some(says.this_update)),
            "expired",
        ),
        (
            says(|says| says.this_update = SystemTime::now() + Duration::from_secs(900)),
            "future",
        ),
        (says(|says| says.tampered = true), "signature is wrong"),
        (
            says(|says| says.status = rasn_ocsp::CertStatus::Unknown(())),
            "does not know",
        ),
        (
            Box::new(|_, stream, _, subject| {
                let stranger = Ca::new("another CA").signer();
                answer(stream, &Says::good().signed_by(&stranger, subject));
            }),
            "another CA's",
        ),
        // An endless one, and one that closes at once.
        (
            Box::new(move |_, mut stream, _, _| {
                request(&mut stream);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n");
                let mut sent = stream.write_all(head.as_bytes());
                while sent.is_ok() {
                    sent = stream.write_all(&[0; 4096]);
                }
            }),
            "longer than",
        ),
        (
            Box::new(|_, mut stream, _, _| {
                request(&mut stream);
                let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n");
                while sent.is_ok() {
                    sent = stream.write_all(b"x: endless\r\n");
                }
            }),
            "broke off",
        ),
        (Box::new(|_, stream, _, _| drop(stream)), "broke off"),
    ];
    for (serve, expected) in cases {
        let scene = Scene::new(Pace::USUAL, serve).start();
        let stapling = scene.wait(expected, |stapling| stapling.failures > 0);
        let (_, error) = stapling.last_error.expect("what went wrong");
        assert!(
            error.contains(expected),
            "{error:?} instead of {expected:?}"
        );
        assert_eq!(stapling.status, Status::Waiting);
        assert_eq!(scene.staple(), None);
        assert!(!scene.state.path().join("ocsp").exists());
    }
}

#[test]
fn a_responder_that_never_answers_is_given_up() {
    let scene = Scene::new(Pace::USUAL, |_, mut stream, _, _| {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    let subject = Subject::of(&scene.certificate.key.cert).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let error = runtime.block_on(async {
        let asking = fetch(&subject.responder, b"request".to_vec());
        tokio::pin!(asking);
        // Until it has connected, time is what it is; from then on nothing else moves.
        while scene.responder.asked() == 0 {
            tokio::select! {
                answer = &mut asking => panic!("{answer:?}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        tokio::time::pause();
        asking.await.unwrap_err()
    });
    assert_eq!(error.to_string(), "no response within 10 s");
}

#[test]
fn a_responder_that_is_not_there_is_tried_again_until_it_is() {
    let scene = Scene::new(HASTY, |number, stream, ca, subject| {
        if number >= 3 {
            answer(stream, &good(ca, subject));
        }
    })
    .start();
    scene.wait("a staple", |stapling| stapling.status == Status::Good);
    assert!(scene.responder.asked() > 3);
    assert!(scene.staple().is_some());
}

#[test]
fn a_staple_goes_on_being_shown_while_its_responder_is_dead_and_ends_in_its_time() {
    let until = SystemTime::now() + Duration::from_secs(3);
    let scene = Scene::new(HASTY, move |number, stream, ca, subject| {
        if number == 0 {
            let mut says = Says::good();
            says.next_update = Some(until);
            answer(stream, &says.signed_by(&ca.signer(), subject));
        }
    })
    .start();
    wait("a staple", || scene.staple());
    let stapling = scene.wait("failures", |stapling| stapling.failures > 3);
    if SystemTime::now() < stapling.next_update.unwrap() {
        // The machine may have stood still until it was over.
        assert_eq!(stapling.status, Status::Good);
    }
    wait("the end of the staple", || {
        scene.staple().is_none().then_some(())
    });
    assert!(SystemTime::now() >= stapling.next_update.unwrap());
    scene.wait("its end to be known", |stapling| {
        stapling.status == Status::RanOut
    });
}

#[test]
fn a_revoked_certificate_loses_its_staple_and_no_old_answer_gives_it_back() {
    let before = SystemTime::now() - Duration::from_secs(7200);
    let scene = Scene::new(HASTY, move |number, stream, ca, subject| {
        let mut says = match number {
            1 => Says::revoked(),
            _ => Says::good(),
        };
        if number != 1 {
            says.this_update = before;
        }
        answer(stream, &says.signed_by(&ca.signer(), subject));
    })
    .start();
    let is_revoked = |stapling: &Stapling| matches!(stapling.status, Status::Revoked(_));
    scene.wait("the revocation", is_revoked);
    assert_eq!(scene.staple(), None);
    let stapling = scene.wait("old answers", |stapling| stapling.failures > 2);
    assert!(is_revoked(&stapling));
    assert!(
        stapling
            .last_error
            .unwrap()
            .1
            .contains("older than the last one")
    );
    assert_eq!(scene.staple(), None);
    // Neither does another start.
    let again = Stapler::default();
    scene.show(&again, &scene.certificate);
    assert!(is_revoked(&again.report()[0]));
    assert_eq!(scene.staple(), None);
}

#[test]
fn a_folder_that_cannot_be_written_costs_nothing_but_the_next_start() {
    let scene = Scene::new(Pace::USUAL, |_, stream, ca, subject| {
        answer(stream, &good(ca, subject));
    });
    std::fs::write(scene.state.path().join("ocsp"), "in the way").unwrap();
    let scene = scene.start();
    wait("a staple", || scene.staple());
}

#[test]
fn the_thread_ends_with_its_stapler() {
    let scene = Scene::new(HASTY, |_, stream, ca, subject| {
        answer(stream, &good(ca, subject));
    })
    .start();
    wait("a staple", || scene.staple());
    let shared = Arc::downgrade(&scene.stapler.shared);
    drop(scene.stapler);
    wait("the end of the thread", || {
        (shared.strong_count() == 0).then_some(())
    });
}
