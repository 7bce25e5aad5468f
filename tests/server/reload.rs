//! SIGHUP: another configuration, whole or not at all, and nobody notices but those it is about.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{Gate, Server, Site, Tool, Upstream, folder, free_port, raw, wait_for};

fn says(body: &str) -> Site {
    Site {
        handler: format!("type = \"respond\"\nbody = \"{body}\""),
        ..Site::default()
    }
}

/// A second http binding, on an address and a port of its own.
fn with_binding(ip: &str, port: u16) -> Site {
    Site {
        tail: format!(
            "[[binding]]\nprotocol = \"http\"\nip = \"{ip}\"\nport = {port}\nhostname = \"*\"\nsite = \"main\"\n"
        ),
        ..Site::default()
    }
}

fn body(server: &Server, path: &str) -> String {
    let (head, content) = {
        let mut stream = raw::connect(server.http);
        raw::ask(&mut stream, path);
        raw::read_response(&mut stream)
    };
    assert_eq!(raw::status(&head), 200, "{head}");
    String::from_utf8(content).expect("text")
}

#[test]
fn twenty_reloads_under_load_fail_no_request() {
    let mut server = says("begin").start();
    let port = server.http;
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for keep in [true, true, false, false] {
            let (stop, served) = (&stop, &served);
            scope.spawn(move || {
                let mut kept = raw::connect(port);
                while !stop.load(Ordering::Relaxed) {
                    if !keep {
                        kept = raw::connect(port);
                    }
                    let (status, text) = raw::get(&mut kept, "/");
                    assert_eq!(status, 200, "{text}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for turn in 0..20 {
            let before = served.load(Ordering::Relaxed);
            let said = server.reload(&says(&format!("turn {turn}")).text());
            assert!(said.contains("reloaded"), "{said}");
            assert_eq!(body(&server, "/"), format!("turn {turn}"));
            wait_for("requests to be served", || {
                (served.load(Ordering::Relaxed) > before + 8).then_some(())
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_bad_file_is_refused_aloud_and_the_old_one_serves_on() {
    let mut server = says("old").start();
    let said = server.reload(
        &says("new")
            .text()
            .replace("site = \"main\"", "site = \"nain\""),
    );
    assert!(said.contains("was not taken"), "{said}");
    let log = server.log();
    assert!(
        log.contains("nain") && log.contains("bindings.toml:"),
        "{log}"
    );
    assert_eq!(body(&server, "/"), "old");
    let said = server.reload(&says("new").text());
    assert!(said.contains("reloaded"), "{said}");
    assert_eq!(body(&server, "/"), "new");
}

#[test]
fn a_binding_comes_and_goes_and_its_port_with_it() {
    let port = free_port();
    let mut server = Site::default().start();
    for _ in 0..3 {
        server.reload(&with_binding("127.0.0.1", port).text());
        assert_eq!(raw::get(&mut raw::connect(port), "/").0, 200);
        let mut kept = raw::connect(port);
        assert_eq!(raw::get(&mut kept, "/").0, 200);
        server.reload(&Site::default().text());
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_err(),
            "the port is closed"
        );
        drop(TcpListener::bind(("127.0.0.1", port)).expect("the port is free"));
    }
}

#[test]
fn one_address_becomes_every_address_and_one_again() {
    let port = free_port();
    let one = with_binding("127.0.0.1", port).text();
    let every = with_binding("*", port).text();
    let mut server = Server::start(&one);
    let at = |ip: &str| TcpStream::connect((ip, port));
    for _ in 0..2 {
        let said = server.reload(&every);
        assert!(said.contains("reloaded"), "{said}");
        for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
            let mut stream = at(ip).unwrap_or_else(|error| panic!("{ip}: {error}"));
            assert_eq!(raw::get(&mut stream, "/").0, 200, "{ip}");
        }
        let said = server.reload(&one);
        assert!(said.contains("reloaded"), "{said}");
        assert_eq!(
            raw::get(&mut at("127.0.0.1").expect("listened on"), "/").0,
            200
        );
        assert!(at("127.0.0.2").is_err() && at("::1").is_err());
    }
}

#[test]
fn a_taken_port_refuses_the_whole_reload() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let free = free_port();
    let mut server = says("old").start();
    let mut site = with_binding("127.0.0.1", port);
    site.tail += &with_binding("127.0.0.1", free).tail;
    site.handler = says("new").handler;
    let said = server.reload(&site.text());
    assert!(said.contains("was not taken"), "{said}");
    assert!(
        said.contains(&format!("127.0.0.1:{port} is taken by ")),
        "{said}"
    );
    assert_eq!(body(&server, "/"), "old");
    // What could be had beside it was given back.
    drop(TcpListener::bind(("127.0.0.1", free)).expect("the other port is free"));
    drop(taken);
    assert!(server.reload(&site.text()).contains("reloaded"));
    assert_eq!(body(&server, "/"), "new");
    assert_eq!(raw::get(&mut raw::connect(free), "/").0, 200);
}

/// One data thread, and a pool at `/slow` that runs one request at once.
fn slow(handler: &str, queue_length: usize) -> Site {
    Site {
        head: "[server]\nthreads = 1".into(),
        tail: format!(
            "[[site.route]]\npath = \"/slow\"\npool = \"slow\"\n\
             [[pool]]\nname = \"slow\"\nconcurrency = 1\nqueue_length = {queue_length}\n\
             [pool.handler]\n{handler}\n"
        ),
        ..Site::default()
    }
}

/// Requests for `/slow` on connections of their own, so many that the pool has not room for one more.
fn fill(server: &Server, count: usize) -> Vec<TcpStream> {
    let mut filled = Vec::new();
    for _ in 0..count {
        let mut stream = raw::connect(server.http);
        assert_eq!(raw::get(&mut stream, "/").0, 200);
        raw::ask(&mut stream, "/slow");
        filled.push(stream);
    }
    let (status, text) = raw::get(&mut raw::connect(server.http), "/slow");
    assert_eq!(status, 503, "{text}");
    filled
}

#[test]
fn a_pool_that_did_not_change_keeps_its_queue_and_what_it_runs() {
    let gate = Gate::default();
    let handler = Upstream::held(&gate, "slow").handler();
    let mut server = slow(&handler, 1).start();
    let mut filled = fill(&server, 2);
    let mut changed = slow(&handler, 1);
    changed.handler = says("new").handler;
    assert!(server.reload(&changed.text()).contains("reloaded"));
    assert_eq!(body(&server, "/"), "new");
    // One runs and one waits, as before.
    assert_eq!(raw::get(&mut raw::connect(server.http), "/slow").0, 503);
    gate.open();
    for stream in &mut filled {
        let (head, content) = raw::read_response(stream);
        assert_eq!((raw::status(&head), &*content), (200, &b"slow"[..]));
    }
}

#[test]
fn a_pool_with_other_limits_keeps_its_queue_and_lets_more_run() {
    let handler = "type = \"respond\"\ndelay = \"5m\"";
    let mut server = slow(handler, 1).start();
    let _filled = fill(&server, 2);
    let text = slow(handler, 3)
        .text()
        .replace("concurrency = 1", "concurrency = 2");
    assert!(server.reload(&text).contains("reloaded"));
    // Two run now, so that three more find room; the next does not.
    let _more = fill(&server, 3);
}

#[test]
fn a_request_under_way_ends_with_the_handler_it_began_with() {
    let gate = Gate::default();
    let mut server = slow(&Upstream::held(&gate, "old").handler(), 0).start();
    let mut filled = fill(&server, 1);
    assert!(
        server
            .reload(&slow("type = \"respond\"\nbody = \"new\"", 0).text())
            .contains("reloaded")
    );
    assert_eq!(body(&server, "/slow"), "new");
    gate.open();
    assert_eq!(raw::read_response(&mut filled[0]).1, b"old");
    // And its connection goes on, with the new one.
    raw::ask(&mut filled[0], "/slow");
    assert_eq!(raw::read_response(&mut filled[0]).1, b"new");
}

#[test]
fn limits_change_for_connections_to_come() {
    let with = |limit: &str| Site {
        head: format!("[limits]\nmax_uri_bytes = {limit}"),
        ..Site::default()
    };
    let mut server = with("1000").start();
    let long = format!("/{}", "x".repeat(600));
    assert_eq!(raw::get(&mut raw::connect(server.http), &long).0, 200);
    assert!(server.reload(&with("500").text()).contains("reloaded"));
    assert_eq!(raw::get(&mut raw::connect(server.http), &long).0, 414);
}

#[test]
fn the_number_of_connections_changes() {
    let with = |max: usize| Site {
        head: format!("[limits]\nmax_connections = {max}"),
        ..Site::default()
    };
    let mut server = with(2).start();
    let mut kept: Vec<_> = (0..2).map(|_| raw::connect(server.http)).collect();
    for stream in &mut kept {
        assert_eq!(raw::get(stream, "/").0, 200);
    }
    assert_eq!(
        raw::status(&raw::read_to_end(&mut raw::connect(server.http))),
        503
    );
    assert!(server.reload(&with(3).text()).contains("reloaded"));
    let mut third = raw::connect(server.http);
    assert_eq!(raw::get(&mut third, "/").0, 200);
    assert!(server.reload(&with(1).text()).contains("reloaded"));
    // Those that are open stay.
    assert_eq!(raw::get(&mut third, "/").0, 200);
    kept.clear();
    assert_eq!(
        raw::status(&raw::read_to_end(&mut raw::connect(server.http))),
        503
    );
}

#[test]
fn the_level_of_the_log_changes() {
    let with = |level: &str| Site {
        head: format!("[log]\nlevel = \"{level}\"\nerrors = \"../errors.log\""),
        ..Site::default()
    };
    let mut server = with("info").start();
    assert!(server.reload(&with("debug").text()).contains("reloaded"));
    // The h2 library tells of every frame, at that level.
    Tool::curl(&server)
        .arg("--http2")
        .arg(format!("https://localhost:{}/", server.https))
        .stdout();
    assert!(server.wait_line("DEBUG").is_some());
}

#[test]
fn keys_that_need_a_restart_say_so() {
    let mut server = Site::default().start();
    let changed = Site {
        head: "[server]\nthreads = 7\nuser = \"nobody\"".into(),
        ..Site::default()
    };
    assert!(server.reload(&changed.text()).contains("reloaded"));
    let log = server.log();
    for key in ["server.threads", "server.user"] {
        let line = log
            .lines()
            .find(|line| line.contains(&format!("key=\"{key}\"")));
        let line = line.unwrap_or_else(|| panic!("{key}: {log}"));
        assert!(
            line.contains("WARN") && line.contains("next start"),
            "{line}"
        );
    }
}

#[test]
fn a_log_that_cannot_be_opened_refuses_the_whole_reload() {
    let port = free_port();
    let mut server = says("old").start();
    let mut site = with_binding("127.0.0.1", port);
    site.handler = says("new").handler;
    site.head = "[log]\nerrors = \"../no-such-folder/errors.log\"".into();
    let said = server.reload(&site.text());
    assert!(said.contains("was not taken"), "{said}");
    assert!(said.contains("no-such-folder"), "{said}");
    assert_eq!(body(&server, "/"), "old");
    drop(TcpListener::bind(("127.0.0.1", port)).expect("the new port is free"));
    raw::exchange(server.http, "GET / HTTP/1.1\r\n\r\n");
    server.wait_error("Hostname");
}

#[test]
fn a_reload_in_quick_succession_is_as_good_as_one() {
    let mut server = says("old").start();
    for _ in 0..50 {
        server.signal("HUP");
    }
    let said = server.reload(&says("new").text());
    assert!(said.contains("reloaded"), "{said}");
    wait_for("the last file to be taken", || {
        (body(&server, "/") == "new").then_some(())
    });
}

#[test]
fn what_is_no_longer_configured_is_let_go_without_waiting_for_a_request() {
    let folder = folder();
    fs::create_dir(folder.path().join("www")).expect("www/");
    let files = Site {
        handler: "type = \"files\"\nroot = \"../www\"".into(),
        ..Site::default()
    };
    let mut server = Server::start_in(folder, &files.text(), |_| {});
    let holds_folder = |server: &Server| {
        let files = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs");
        let www = server.path().join("www");
        files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|to| to == www))
    };
    assert!(holds_folder(&server));
    assert!(server.reload(&Site::default().text()).contains("reloaded"));
    wait_for("the folder to be let go", || {
        (!holds_folder(&server)).then_some(())
    });
}

#[test]
fn a_release_that_is_put_in_place_by_moving_a_link_is_served_after_a_reload() {
    let folder = folder();
    for release in ["one", "two"] {
        fs::create_dir(folder.path().join(release)).expect("a folder");
        fs::write(folder.path().join(release).join("page"), release).expect("a page");
    }
    let link = folder.path().join("current");
    symlink("one", &link).expect("a link");
    let text = Site {
        handler: "type = \"files\"\nroot = \"../current\"".into(),
        ..Site::default()
    }
    .text();
    let mut server = Server::start_in(folder, &text, |_| {});
    assert_eq!(body(&server, "/page"), "one");
    symlink("two", link.with_extension("new")).expect("a link");
    fs::rename(link.with_extension("new"), &link).expect("moved");
    assert!(server.reload(&text).contains("reloaded"));
    assert_eq!(body(&server, "/page"), "two");
}
