//! Workers that are not needed, and pools that are stopped or offline.

use super::*;

#[test]
fn workers_without_requests_end_and_the_next_request_starts_others() {
    let app = App::start("", "idle_timeout = \"300ms\"");
    let pid = app.pid();
    wait_for("the worker's end", || is_gone(pid).then_some(()));
    app.wait_state("Idle");
    assert_ne!(app.pid(), pid);
}

#[test]
fn workers_that_are_to_be_suspended_stand_still_and_go_on_with_the_next_request() {
    let app = App::start("", "idle_timeout = \"300ms\"\nidle_action = \"suspend\"");
    let pid = app.pid();
    wait_for("it to stand still", || {
        (state_of(pid) == Some('T')).then_some(())
    });
    let pool = app.wait_state("Idle");
    assert_eq!(pool["workers"][0]["state"], "suspended");
    assert_eq!(app.pid(), pid);
    wait_for("it to stand still again", || {
        (state_of(pid) == Some('T')).then_some(())
    });
    app.recycle();
    wait_for("the worker's end", || is_gone(pid).then_some(()));
    assert_ne!(app.pid(), pid);
}

#[test]
fn while_the_offline_file_is_there_it_is_served_and_no_worker_runs() {
    let app = App::start("", "");
    let pid = app.pid();
    fs::write(app.file("app_offline.htm"), "<p>Back soon").expect("the offline file");
    // A file is there before its content is: it may be seen empty.
    wait_for("the page", || {
        let (status, page) = app.get("/");
        (status == 503 && page == "<p>Back soon").then_some(())
    });
    let url = format!("http://localhost:{}/", app.server.http);
    let (served, said) = app.ask(&["explain", &url, "--running"]);
    let verdict = "It would be answered with 503: a page is shown in place of the application";
    assert!(!served && said.contains(verdict), "{said}");
    wait_for("the worker's end", || is_gone(pid).then_some(()));
    fs::remove_file(app.file("app_offline.htm")).expect("it is over");
    wait_for("the application", || (app.get("/").0 == 200).then_some(()));
}

#[test]
fn a_pool_that_is_stopped_refuses_and_has_no_worker_until_it_is_started() {
    let app = App::start("", "");
    let pid = app.pid();
    let (done, said) = app.ask(&["pool", "stop", "main"]);
    assert!(done && said.starts_with("stopped"), "{said}");
    assert_eq!(app.get("/").0, 503);
    app.server.wait_error("AppShutdown");
    wait_for("the worker's end", || is_gone(pid).then_some(()));
    app.wait_state("Stopped");
    let (done, said) = app.ask(&["pool", "recycle", "main"]);
    assert!(!done && said.contains("stopped"), "{said}");
    let (done, said) = app.ask(&["pool", "start", "main"]);
    assert!(done && said.starts_with("started"), "{said}");
    assert_ne!(app.pid(), pid);
    let (_, text) = app.ask(&["show", "pools"]);
    for told in [
        "Pool: main",
        "State: Running",
        "state: ready, pid:",
        "an administrator stopped",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}
