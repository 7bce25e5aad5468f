//! What `/metrics` tells of workers.

use super::*;
use crate::support::Tool;

/// The value of a series, as it is now.
fn count(app: &App, series: &str) -> f64 {
    let text = Tool::new("curl")
        .args(["-sS", "--noproxy", "*", "--unix-socket"])
        .arg(app.server.path().join("admin.sock"))
        .arg("http://localhost/metrics")
        .stdout();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let value = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
    value.trim().parse().expect("a number")
}

#[test]
fn workers_are_counted_by_phase_and_those_that_end_untold_as_failures() {
    let app = App::start("", "workers = 2");
    let ready = "portunus_pool_workers{pool=\"main\",state=\"ready\"}";
    let exits = "portunus_pool_worker_failures_total{pool=\"main\",kind=\"exit\"}";
    let starts = "portunus_pool_worker_starts_total{pool=\"main\"}";
    let recycles = "portunus_pool_worker_recycles_total{pool=\"main\"}";
    let pid = app.pid();
    wait_for("two that are ready", || {
        (count(&app, ready) == 2.0).then_some(())
    });
    assert_eq!((count(&app, exits), count(&app, starts)), (0.0, 2.0));
    signal("KILL", pid);
    wait_for("another in its place", || {
        (count(&app, starts) == 3.0 && count(&app, ready) == 2.0).then_some(())
    });
    assert_eq!((count(&app, exits), count(&app, recycles)), (1.0, 0.0));
    app.recycle();
    assert_eq!((count(&app, exits), count(&app, recycles)), (1.0, 1.0));
    wait_for("those before to be gone", || {
        let leaving = "portunus_pool_workers{pool=\"main\",state=\"ending\"}";
        (count(&app, ready) == 2.0 && count(&app, leaving) == 0.0).then_some(())
    });
}
