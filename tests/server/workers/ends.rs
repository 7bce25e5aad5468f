//! What is left when the server ends.

use std::thread;

use super::*;

/// The folders of servers that have workers, or had.
fn left(app: &App) -> Vec<PathBuf> {
    let entries = fs::read_dir(app.server.path().join("state/workers")).expect("the folder");
    entries
        .map(|entry| entry.expect("a folder").path())
        .collect()
}

#[test]
fn no_socket_is_left_behind_however_the_server_is_told_to_stop() {
    for how in ["TERM", "INT", "QUIT"] {
        let mut app = App::start("", "workers = 2");
        let pid = app.pid();
        assert_eq!(left(&app).len(), 1);
        app.server.signal(how);
        assert!(app.server.wait_exit().success(), "{how}");
        assert_eq!(left(&app), Vec::<PathBuf>::new(), "{how}");
        wait_for("the worker's end", || is_gone(pid).then_some(()));
    }
}

#[test]
fn no_socket_is_left_behind_of_a_worker_that_was_still_starting() {
    for how in ["TERM", "QUIT"] {
        let mut app = App::start_with("", "", &[("never-ready", "")]);
        let client = app.client();
        let asks = thread::spawn(move || {
            let mut stream = raw::connect(client.0);
            raw::ask(&mut stream, "/");
            // Whatever comes of it: an answer, or the connection's end.
            raw::read_to_end(&mut stream)
        });
        wait_for("a start", || (app.starts() == 1).then_some(()));
        app.server.signal(how);
        if how == "TERM" {
            // The request keeps the server until it is told again.
            app.server.wait_lines("requests in flight may finish", 1);
            app.server.signal(how);
        }
        assert!(app.server.wait_exit().success(), "{how}");
        assert_eq!(left(&app), Vec::<PathBuf>::new(), "{how}");
        asks.join().expect("the client");
    }
}
