//! Starting: who starts a worker, who waits for it, and for how long.

use super::*;

#[test]
fn the_first_request_starts_a_worker_and_others_wait_with_it() {
    let app = App::start("", "");
    assert_eq!(app.starts(), 0);
    assert_eq!(app.pool()["state"], "Idle");
    let client = app.client();
    let pids: Vec<u32> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..20).map(|_| scope.spawn(|| client.pid())).collect();
        asks.into_iter()
            .map(|ask| ask.join().expect("an answer"))
            .collect()
    });
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    assert_eq!(app.starts(), 1);
    let pool = app.pool();
    assert_eq!(pool["state"], "Running");
    assert_eq!(pool["workers"][0]["pid"], pids[0]);
    assert_eq!(pool["workers"][0]["state"], "ready");
    assert!(pool["queued"].as_u64() >= Some(1), "{pool}");
    // The last of them may not be over as soon as its client has all of its answer.
    wait_for("twenty requests", || {
        (app.pool()["workers"][0]["requests"] == 20).then_some(())
    });
}

#[test]
fn the_queue_keeps_its_bounds_while_a_worker_starts() {
    let asking = |timeout: &str, count: usize| {
        let pool = format!("queue_length = 2\nqueue_timeout = \"{timeout}\"");
        let app = App::start_with(&pool, "", &[("never-ready", "")]);
        let asks = (0..count).map(|_| {
            let mut stream = raw::connect(app.server.http);
            raw::ask(&mut stream, "/");
            stream
        });
        let asks: Vec<_> = asks.collect();
        (app, asks)
    };
    // Two wait for as long as it takes the others to be refused.
    let (app, _asks) = asking("10m", 5);
    app.server.wait_errors("QueueFull", 3);
    let (app, asks) = asking("700ms", 2);
    for mut ask in asks {
        assert_eq!(raw::status(&raw::read_response(&mut ask).0), 503);
    }
    app.server.wait_errors("Timer_ReqQueue", 2);
}

#[test]
fn a_start_that_takes_too_long_ends_in_503_that_says_so() {
    let app = App::start_with("", "startup_timeout = \"700ms\"", &[("never-ready", "")]);
    assert_eq!(app.get("/").0, 503);
    let error = app.server.wait_error("AppOffline");
    let detail = error["detail"].as_str().expect("a sentence");
    assert!(
        detail.contains("was not ready within startup_timeout (700ms)"),
        "{detail}"
    );
}

#[test]
fn a_pool_that_is_to_run_always_has_its_workers_without_a_request() {
    let app = App::start(
        "",
        "start_mode = \"always\"\nworkers = 2\nlisten = \"port\"",
    );
    let pool = wait_for("two workers", || {
        let pool = app.pool();
        let ready = |worker: &Value| worker["state"] == "ready";
        let workers = pool["workers"].as_array()?.clone();
        (workers.len() == 2 && workers.iter().all(ready)).then_some(pool)
    });
    assert_eq!(pool["arrived"], 0);
    let first = app.pid();
    // Both take their turns.
    wait_for("the other worker", || (app.pid() != first).then_some(()));
}

#[test]
fn a_worker_gets_requests_when_its_ready_path_answers_2xx_and_it_is_warm() {
    let app = App::start_with(
        "",
        "ready_path = \"/health\"\nwarm_up = [\"/first\", \"/second\"]\nenv = { RECORD = \"1\" }",
        &[("sick", "")],
    );
    let mut waits = raw::connect(app.server.http);
    raw::ask(&mut waits, "/asked");
    let asked = app.file("requests");
    wait_for("a look at its health", || {
        fs::read_to_string(&asked).ok().filter(|it| !it.is_empty())
    });
    fs::remove_file(app.file("sick")).expect("it gets well");
    let (head, _) = raw::read_response(&mut waits);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let requests = fs::read_to_string(&asked).expect("requests");
    let requests: Vec<_> = requests.lines().skip_while(|it| *it == "/health").collect();
    assert_eq!(requests, ["/first", "/second", "/asked"]);
}

#[test]
fn a_splash_page_is_served_while_the_first_worker_starts() {
    let app = App::start_with(
        "",
        "splash = \"../app/splash.html\"\nready_path = \"/health\"",
        &[("splash.html", "<p>Starting"), ("sick", "")],
    );
    let page = raw::exchange(
        app.server.http,
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    assert!(
        page.starts_with("HTTP/1.1 503") && page.ends_with("<p>Starting"),
        "{page}"
    );
    assert!(
        page.contains("content-type: text/html") && page.contains("retry-after:"),
        "{page}"
    );
    fs::remove_file(app.file("sick")).expect("it gets well");
    wait_for("the application", || (app.get("/").0 == 200).then_some(()));
}

#[test]
fn pools_of_other_handlers_are_stopped_and_started_and_have_nothing_to_recycle() {
    let site = Site {
        head: "[server]\nadmin = \"unix:../admin.sock\"\n".into(),
        ..Site::default()
    };
    let app = App {
        server: site.start(),
        site,
    };
    assert_eq!(
        app.ask(&["pool", "stop", "main"]),
        (true, "stopped\n".into())
    );
    assert_eq!(app.get("/").0, 503);
    app.server.wait_error("AppShutdown");
    assert_eq!(app.pool()["state"], "Stopped");
    assert_eq!(
        app.ask(&["pool", "start", "main"]),
        (true, "started\n".into())
    );
    assert_eq!(app.get("/").0, 200);
    let (done, said) = app.ask(&["pool", "recycle", "main"]);
    assert!(!done && said.contains("no workers"), "{said}");
    let (done, said) = app.ask(&["pool", "recycle", "nobody"]);
    assert!(
        !done && said.contains("there is no pool \"nobody\"") && said.contains("main"),
        "{said}"
    );
}
