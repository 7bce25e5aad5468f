//! Certificates are renewed while they are shown: new ones are taken by themselves, bad ones refused aloud, and no connection
//! notices.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rcgen::CertificateParams;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use crate::support::{Authority, Server, folder, raw, wait_for};

/// One binding for each host; their certificates come from the folder, or from where `keys` says.
fn config(hosts: &[&str], keys: &str, tail: &str) -> String {
    let binding = |host: &&str| {
        format!(
            "[[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"{host}\"\nsite = \"main\"\n{keys}\n"
        )
    };
    let bindings: String = hosts.iter().map(binding).collect();
    format!(
        "{bindings}[[site]]\nname = \"main\"\n[[site.route]]\npath = \"/\"\npool = \"main\"\n\
         [[pool]]\nname = \"main\"\n[pool.handler]\ntype = \"respond\"\nbody = \"Hello, World!\"\n{tail}"
    )
}

/// A folder in which clients find the CA that they trust.
fn prepared() -> (TempDir, Authority) {
    let folder = folder();
    let ca = Authority::new("test CA");
    ca.write(&folder.path().join("ca.pem"));
    (folder, ca)
}

type Stream = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// Connects to a host, and the leaf that was shown.
fn connect(folder: &Path, port: u16, host: &'static str) -> (Stream, Vec<u8>) {
    let pem = fs::read(folder.join("ca.pem")).expect("the CA");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut &*pem) {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host).expect("a name");
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut stream = raw::connect(port);
    session.complete_io(&mut stream).expect("a handshake");
    let leaf = session.peer_certificates().expect("certificates")[0].to_vec();
    (rustls::StreamOwned::new(session, stream), leaf)
}

/// What a new connection is shown.
fn shown(server: &Server, host: &'static str) -> Vec<u8> {
    connect(server.path(), server.https, host).1
}

/// The leaf of a chain in PEM.
fn leaf(pem: &str) -> Vec<u8> {
    let mut pem = pem.as_bytes();
    let mut certificates = rustls_pemfile::certs(&mut pem);
    let leaf = certificates.next().expect("a certificate").expect("PEM");
    leaf.to_vec()
}

fn ask(connection: &mut Stream) -> u16 {
    connection
        .write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .expect("a request");
    raw::status(&raw::read_response(connection).0)
}

#[test]
fn a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let (folder, ca) = prepared();
    let certs = folder.path().join("certs");
    let first = ca.issue(&["a.test"]);
    first.write(&certs, "a.test");
    let mut server = Server::start_in(folder, &config(&["a.test"], "", ""), |_| {});
    let (mut old, was) = connect(server.path(), server.https, "a.test");
    assert_eq!((was, ask(&mut old)), (leaf(&first.chain), 200));

    let renewed = ca.issue(&["a.test"]);
    renewed.write(&certs, "a.test");
    let line = server.wait_line("certificate taken").expect("a line");
    for part in ["a.test.pem", "names=", "not_after=", "fingerprint="] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(shown(&server, "a.test"), leaf(&renewed.chain));
    assert_eq!(ask(&mut old), 200);

    for issued in [&first, &renewed] {
        let secret = issued.key.lines().nth(1).expect("a key's first line");
        assert!(
            !server.log().contains(secret),
            "a key is no matter for a log"
        );
    }
}

#[test]
fn half_a_renewal_waits_quietly_and_is_then_complained_of_once_while_good_ones_are_taken() {
    let (folder, ca) = prepared();
    let certs = folder.path().join("certs");
    let first = ca.issue(&["a.test"]);
    first.write(&certs, "a.test");
    ca.issue(&["b.test"]).write(&certs, "b.test");
    let text = config(&["a.test", "b.test"], "", "");
    let mut server = Server::start_in(folder, &text, |_| {});

    let (half, whole) = (ca.issue(&["a.test"]), ca.issue(&["b.test"]));
    fs::write(certs.join("a.test.pem"), &half.chain).expect("the chain");
    whole.write(&certs, "b.test");
    let line = server.wait_line("certificate ").expect("the good one");
    assert!(
        line.contains("taken"),
        "the other waits for its key: {line}"
    );
    assert_eq!(shown(&server, "b.test"), leaf(&whole.chain));
    assert_eq!(shown(&server, "a.test"), leaf(&first.chain));

    let line = server.wait_line("certificate refused").expect("a line");
    for part in [
        "ERROR",
        "a.test.pem",
        "is not the key of the certificate",
        "remedy=",
        "still_shown_until=",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(shown(&server, "a.test"), leaf(&first.chain));
    fs::write(certs.join("a.test.key"), &half.key).expect("the key");
    server.wait_line("certificate taken").expect("it is whole");
    assert_eq!(shown(&server, "a.test"), leaf(&half.chain));
    assert_eq!(server.log().matches("refused").count(), 1);
}

#[test]
fn a_reload_takes_all_but_the_certificate_that_went_bad() {
    let (folder, ca) = prepared();
    let certs = folder.path().join("certs");
    let first = ca.issue(&["a.test"]);
    first.write(&certs, "a.test");
    ca.issue(&["b.test"]).write(&certs, "b.test");
    let mut server = Server::start_in(folder, &config(&["a.test"], "", ""), |_| {});

    fs::write(certs.join("a.test.pem"), "broken").expect("the chain");
    let answer = server.reload(&config(&["a.test", "b.test"], "", ""));
    assert!(answer.contains("reloaded"), "{answer}");
    assert!(server.log().contains("certificate refused"));
    assert_eq!(shown(&server, "a.test"), leaf(&first.chain));
    // A binding that never had a good one is another matter.
    let answer = server.reload(&config(&["a.test", "c.test"], "", ""));
    assert!(answer.contains("was not taken"), "{answer}");
}

#[test]
fn what_is_worse_than_what_is_shown_is_refused() {
    let (folder, ca) = prepared();
    let certs = folder.path().join("certs");
    let first = ca.issue(&["a.test"]);
    first.write(&certs, "a.test");
    let mut server = Server::start_in(folder, &config(&["a.test"], "", ""), |_| {});
    let valid = |from: i64, to: i64| {
        move |params: &mut CertificateParams| {
            params.not_before = OffsetDateTime::now_utc() + Duration::days(from);
            params.not_after = OffsetDateTime::now_utc() + Duration::days(to);
        }
    };
    let worse = [
        (ca.issue_with(&["a.test"], valid(-9, -1)), "it expired"),
        (ca.issue_with(&["a.test"], valid(1, 9)), "not valid before"),
        (ca.issue(&["b.test"]), "does not cover a.test"),
    ];
    let text = config(&["a.test"], "", "");
    for (issued, why) in worse {
        issued.write(&certs, "a.test");
        server.reload(&text);
        assert!(server.log().contains(why), "{why}");
        assert_eq!(shown(&server, "a.test"), leaf(&first.chain));
    }
}

#[test]
fn a_file_that_is_deleted_and_a_folder_that_is_gone_leave_what_was_shown() {
    let (folder, ca) = prepared();
    let certs = folder.path().join("certs");
    let first = ca.issue(&["a.test"]);
    first.write(&certs, "a.test");
    let text = config(&["a.test"], "", "");
    let mut server = Server::start_in(folder, &text, |_| {});

    fs::remove_file(certs.join("a.test.pem")).expect("the chain");
    let line = server.wait_line("certificate refused").expect("a line");
    assert!(line.contains("does not exist"), "{line}");
    assert!(server.reload(&text).contains("reloaded"));
    assert_eq!(shown(&server, "a.test"), leaf(&first.chain));

    fs::remove_dir_all(&certs).expect("the folder");
    server.wait_line("certificate folder lost").expect("a line");
    assert!(server.reload(&text).contains("reloaded"));
    assert_eq!(shown(&server, "a.test"), leaf(&first.chain));

    // Another folder in its place.
    let next = server.path().join("next");
    let renewed = ca.issue(&["a.test"]);
    renewed.write(&next, "a.test");
    fs::rename(next, &certs).expect("it takes the place");
    server.wait_line("certificate taken").expect("a line");
    assert_eq!(shown(&server, "a.test"), leaf(&renewed.chain));
}

#[test]
fn a_chain_is_judged_as_it_is_sent() {
    let (folder, ca) = prepared();
    let certs = folder.path().join("certs");
    let intermediate = ca.intermediate("an intermediate");
    let mut first = intermediate.issue(&["a.test"]);
    first.chain += &intermediate.pem;
    first.write(&certs, "a.test");
    let beside = certs.join("intermediate.pem");
    fs::write(&beside, &intermediate.pem).expect("a file");
    let text = format!(
        "[tls]\ntrust = \"../ca.pem\"\n{}",
        config(&["a.test"], "", "")
    );
    let mut server = Server::start_in(folder, &text, |_| {});

    // The leaf alone, and its issuer lies in the folder.
    let alone = intermediate.issue(&["a.test"]);
    alone.write(&certs, "a.test");
    server.wait_line("certificate taken").expect("a line");
    assert_eq!(shown(&server, "a.test"), leaf(&alone.chain));

    // Its issuer lies nowhere.
    fs::remove_file(&beside).expect("the intermediate");
    intermediate.issue(&["a.test"]).write(&certs, "a.test");
    let line = server.wait_line("certificate refused").expect("a line");
    assert!(line.contains("leads nowhere"), "{line}");
    assert_eq!(shown(&server, "a.test"), leaf(&alone.chain));
}

/// Makes a link in the place of another, in one step.
fn turn(link: &Path, target: &str) {
    let next = link.with_file_name("next");
    symlink(target, &next).expect("a link");
    fs::rename(next, link).expect("it takes the place");
}

#[test]
fn a_folder_that_kubernetes_turns_is_followed() {
    let (folder, ca) = prepared();
    let certs = folder.path().join("certs");
    let first = ca.issue(&["a.test"]);
    first.write(&certs.join("..1"), "a.test");
    symlink("..1", certs.join("..data")).expect("a link");
    for kind in ["pem", "key"] {
        let file = format!("a.test.{kind}");
        symlink(format!("..data/{file}"), certs.join(file)).expect("a link");
    }
    let mut server = Server::start_in(folder, &config(&["a.test"], "", ""), |_| {});
    assert_eq!(shown(&server, "a.test"), leaf(&first.chain));

    let renewed = ca.issue(&["a.test"]);
    renewed.write(&certs.join("..2"), "a.test");
    turn(&certs.join("..data"), "..2");
    fs::remove_dir_all(certs.join("..1")).expect("the old folder");
    server.wait_line("certificate taken").expect("a line");
    assert_eq!(shown(&server, "a.test"), leaf(&renewed.chain));
    assert!(!server.log().contains("refused"));
}

#[test]
fn links_that_certbot_turns_are_followed_from_a_named_certificate_and_from_the_folder() {
    let (folder, ca) = prepared();
    let root = folder.path().join("letsencrypt");
    let (archive, live) = (root.join("archive/a.test"), root.join("live/a.test"));
    fs::create_dir_all(&live).expect("a folder");
    let issue = |number: u8| {
        let issued = ca.issue(&["a.test"]);
        fs::create_dir_all(&archive).expect("a folder");
        for (name, content) in [("fullchain", &issued.chain), ("privkey", &issued.key)] {
            fs::write(archive.join(format!("{name}{number}.pem")), content).expect("a file");
        }
        for name in ["privkey", "fullchain"] {
            let target = format!("../../archive/a.test/{name}{number}.pem");
            turn(&live.join(format!("{name}.pem")), &target);
        }
        issued
    };
    let first = issue(1);
    // The folder links into live/, which links into archive/.
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).expect("a folder");
    symlink(live.join("fullchain.pem"), certs.join("b.test.pem")).expect("a link");
    symlink(live.join("privkey.pem"), certs.join("b.test.key")).expect("a link");
    let named = "[[certificate]]\nname = \"own\"\nchain = \"../letsencrypt/live/a.test/fullchain.pem\"\nkey = \"../letsencrypt/live/a.test/privkey.pem\"\n";
    let text = config(&["a.test"], "certificate = \"own\"", named)
        + "[[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"b.test\"\nsite = \"main\"\n";
    let mut server = Server::start_in(folder, &text, |_| {});
    assert_eq!(shown(&server, "a.test"), leaf(&first.chain));

    let renewed = issue(2);
    for _ in ["the named one", "that of the folder"] {
        server.wait_line("certificate taken").expect("a line");
    }
    assert_eq!(shown(&server, "a.test"), leaf(&renewed.chain));
    assert!(!server.log().contains("refused"));
}

#[test]
fn twenty_renewals_under_load_fail_no_request() {
    let (folder, ca) = prepared();
    let certs = folder.path().join("certs");
    ca.issue(&["a.test"]).write(&certs, "a.test");
    let mut server = Server::start_in(folder, &config(&["a.test"], "", ""), |_| {});
    let (is_done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (path, port) = (server.path().to_owned(), server.https);
    let (_, first) = connect(&path, port, "a.test");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (mut kept, _) = connect(&path, port, "a.test");
                while !is_done.load(Ordering::Relaxed) {
                    // Every handshake succeeds, every connection answers, and the one that was there first as well.
                    let (mut fresh, _) = connect(&path, port, "a.test");
                    assert_eq!((ask(&mut fresh), ask(&mut kept)), (200, 200));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..20 {
            let renewed = ca.issue(&["a.test"]);
            renewed.write(&certs, "a.test");
            server.wait_line("certificate taken").expect("a line");
            assert_eq!(connect(&path, port, "a.test").1, leaf(&renewed.chain));
        }
        let so_far = answered.load(Ordering::Relaxed);
        wait_for("requests after the last one", || {
            (answered.load(Ordering::Relaxed) > so_far + 4).then_some(())
        });
        is_done.store(true, Ordering::Relaxed);
    });
    assert_ne!(shown(&server, "a.test"), first);
    assert!(!server.log().contains("refused"));
    assert!(server.errors().is_empty(), "{:?}", server.errors());
}
