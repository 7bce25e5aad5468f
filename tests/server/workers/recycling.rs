//! Replacing workers without losing a request.

use std::io::{Read as _, Write as _};

use super::*;
use crate::support::Tool;

fn h2load(client: Client, requests: &str) -> String {
    let url = format!("http://127.0.0.1:{}/", client.0);
    let arguments = ["--h1", "-c", "8", "-t", "1", "-n", requests];
    Tool::new("h2load").args(arguments).arg(url).stdout()
}

#[test]
fn recycling_under_load_loses_no_request() {
    let app = App::start("", "workers = 2");
    app.pid();
    let client = app.client();
    let told = std::thread::scope(|scope| {
        let load = scope.spawn(|| h2load(client, "1500"));
        let mut recycled = 0;
        while !load.is_finished() {
            app.recycle();
            recycled += 1;
        }
        assert!(recycled > 0);
        load.join().expect("h2load")
    });
    assert!(
        told.contains("1500 succeeded, 0 failed, 0 errored"),
        "{told}"
    );
    assert!(told.contains("1500 2xx"), "{told}");
    assert!(app.server.errors().is_empty(), "{:?}", app.server.errors());
    assert!(app.starts() >= 4, "{}", app.starts());
}

#[test]
fn streams_and_tunnels_go_on_in_the_old_worker_until_they_end() {
    let app = App::start("", "");
    let old = app.pid();
    let mut tunnel = raw::connect(app.server.http);
    let upgrade =
        "GET /socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    tunnel.write_all(upgrade.as_bytes()).expect("a request");
    assert!(raw::read_head(&mut tunnel).starts_with("HTTP/1.1 101"));
    let mut stream = raw::connect(app.server.http);
    let ask = "GET /stream?20 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).expect("a request");
    let head = raw::read_head(&mut stream);
    app.recycle();
    assert_ne!(app.pid(), old);
    assert_eq!(app.pool()["state"], "Recycling");
    let rest = raw::read_to_end(&mut stream);
    assert!(
        head.contains("200") && rest.contains("0019") && rest.ends_with("0\r\n\r\n"),
        "{rest}"
    );
    tunnel
        .write_all(b"still there?")
        .expect("the tunnel stands");
    let mut echo = [0; 12];
    tunnel.read_exact(&mut echo).expect("the tunnel stands");
    assert_eq!(&echo, b"still there?");
    assert!(!is_gone(old));
    drop(tunnel);
    wait_for("the old worker's end", || is_gone(old).then_some(()));
    app.wait_state("Running");
}

#[test]
fn what_does_not_end_within_shutdown_timeout_is_cut() {
    let mut app = App::start("", "shutdown_timeout = \"500ms\"");
    let old = app.pid();
    let mut slow = raw::connect(app.server.http);
    slow.write_all(b"POST /slow?60 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        .expect("a request");
    wait_for("the request", || {
        (app.pool()["workers"][0]["in_flight"] == 1).then_some(())
    });
    app.recycle();
    let (head, _) = raw::read_response(&mut slow);
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    app.server.wait_error("Connection_Abandoned_By_ReqQueue");
    app.server
        .wait_lines("still had requests when shutdown_timeout was over", 1);
    wait_for("the old worker's end", || is_gone(old).then_some(()));
}

#[test]
fn so_many_requests_or_a_changed_file_call_for_a_new_worker() {
    let mut app = App::start_with(
        "",
        "recycle = { requests = 5, files = [\"deployed\"] }",
        &[("deployed", "1")],
    );
    let first = app.pid();
    for _ in 0..4 {
        assert_eq!(app.get("/").0, 200);
    }
    app.server.wait_lines(
        "generation 2 is started to follow: a worker has served 5 requests",
        1,
    );
    app.server.wait_lines("generation 2 takes the requests", 1);
    let second = app.pid();
    assert_ne!(second, first);
    fs::write(app.file("deployed"), "another version").expect("the file");
    app.server.wait_lines("generation 3 takes the requests", 1);
    assert_ne!(app.pid(), second);
    assert!(app.server.log().contains("deployed has changed"));
}

#[test]
fn a_worker_that_has_more_memory_than_it_may_is_replaced_and_loses_no_request() {
    let mut app = App::start("", "recycle = { memory = \"200MiB\" }");
    let first = app.pid();
    assert_eq!(app.get("/leak?300"), (200, "leaked".into()));
    app.server.wait_lines("of memory, and may have 200 MiB", 1);
    app.server.wait_lines("generation 2 takes the requests", 1);
    assert_ne!(app.pid(), first);
    wait_for("the old worker's end", || is_gone(first).then_some(()));
    assert!(app.server.errors().is_empty(), "{:?}", app.server.errors());
}

/// A zone of time in which it is shortly before 03:30 now. Where it takes long until the server looks, the next minute does.
fn zone_where_it_is_soon() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let utc = since.expect("a time").as_secs() % 86400;
    let soon = 3 * 3600 + 30 * 60 - 8;
    // As POSIX has it: what is to be added to get UTC.
    let behind = (utc + 86400 - soon) % 86400;
    format!(
        "SOON{}:{:02}:{:02}",
        behind / 3600,
        behind % 3600 / 60,
        behind % 60
    )
}

#[test]
fn the_workers_are_replaced_at_the_times_of_the_day_that_the_schedule_names() {
    let in_zone = |command: &mut Command| {
        command.env("TZ", zone_where_it_is_soon());
    };
    let minutes = (30..40).map(|minute| format!(", \"03:{minute}\""));
    let keys = format!(
        "recycle = {{ schedule = [\"12:00\"{}] }}",
        minutes.collect::<String>()
    );
    let mut app = App::start_in("", &keys, &[], in_zone);
    let first = app.pid();
    app.server.wait_lines(", as the schedule says", 1);
    app.server.wait_lines("generation 2 takes the requests", 1);
    assert_ne!(app.pid(), first);
    wait_for("the old worker's end", || is_gone(first).then_some(()));
}

#[test]
fn a_reload_that_does_not_touch_a_pool_leaves_its_workers_alone_and_one_that_does_replaces_them() {
    let mut app = App::start("", "");
    let pid = app.pid();
    app.site.pool = "queue_length = 7".into();
    assert!(app.reload("").contains("reloaded"));
    assert_eq!((app.pid(), app.starts()), (pid, 1));
    assert!(app.reload("env = { OTHER = \"1\" }").contains("reloaded"));
    app.server.wait_lines("generation 2 takes the requests", 1);
    assert_ne!(app.pid(), pid);
    wait_for("the old worker's end", || is_gone(pid).then_some(()));
    assert!(app.server.errors().is_empty());
}

#[test]
fn a_pool_that_is_no_longer_configured_ends_its_workers() {
    let mut app = App::start("", "");
    let pid = app.pid();
    app.site.handler = "type = \"respond\"\nbody = \"no application\"".into();
    let text = app.site.text();
    assert!(app.server.reload(&text).contains("reloaded"));
    assert_eq!(app.get("/"), (200, "no application".into()));
    wait_for("the worker's end", || is_gone(pid).then_some(()));
}
