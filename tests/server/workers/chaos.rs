//! Everything at once: clients while workers are killed, stopped, made to crash and to leak, break as they start, and are
//! recycled. `just chaos` runs it for a minute.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::*;

const POOL: &str = "queue_timeout = \"3s\"";

const HANDLER: &str = "workers = 2\nresponse_timeout = \"5s\"\nstartup_timeout = \"10s\"\nshutdown_timeout = \"2s\"\n\
                       ping_interval = \"200ms\"\nping_timeout = \"1s\"\nping_path = \"/health\"\n\
                       rapid_fail = { failures = 0 }\nrecycle = { requests = 200 }";

fn seconds() -> u64 {
    let said = std::env::var("PORTUNUS_CHAOS_SECONDS").ok();
    said.and_then(|it| it.parse().ok()).unwrap_or(4)
}

/// Numbers that look random, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

fn ask(client: Client, dice: &mut Dice) -> u16 {
    let path = ["/", "/", "/", "/slow?0.05", "/stream?3", "/leak?1"][dice.roll(6) as usize];
    let method = ["GET", "GET", "POST"][dice.roll(3) as usize];
    let mut stream = raw::connect(client.0);
    let ask = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let written = std::io::Write::write_all(&mut stream, ask.as_bytes());
    written.expect("the server takes requests");
    // It fails where nothing comes for far longer than all timeouts of a request together.
    raw::status(&raw::read_to_end(&mut stream))
}

/// What is done to a worker, every moment something else.
fn torment(app: &App, dice: &mut Dice) {
    let pool = app.pool();
    let workers = pool["workers"].as_array().expect("workers").clone();
    let pids: Vec<u32> = workers
        .iter()
        .filter_map(|it| it["pid"].as_u64())
        .map(|it| it as u32)
        .collect();
    let Some(pid) = pids.get(dice.roll(pids.len().max(1) as u64) as usize) else {
        return;
    };
    // It may just have gone.
    let send = |signal: &str| {
        let _ = Command::new("kill")
            .args([format!("-{signal}"), pid.to_string()])
            .output();
    };
    match dice.roll(6) {
        0 => send("KILL"),
        1 => send("STOP"),
        2 => send("SEGV"),
        3 => send("TERM"),
        4 => {
            let _ = fs::write(app.file("broken"), "");
            send("KILL");
            std::thread::sleep(Duration::from_millis(150));
            let _ = fs::remove_file(app.file("broken"));
        }
        _ => {
            app.ask(&["pool", "recycle", "main"]);
        }
    }
}

#[test]
fn whatever_happens_to_workers_each_request_is_answered_by_200_or_a_5xx_with_its_reason() {
    let app = App::start(POOL, HANDLER);
    app.pid();
    let (over, good) = (AtomicBool::new(false), AtomicUsize::new(0));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|seed| {
                let (client, over, good) = (app.client(), &over, &good);
                scope.spawn(move || {
                    let mut dice = Dice(seed);
                    let mut statuses = Vec::new();
                    while !over.load(Relaxed) {
                        let status = ask(client, &mut dice);
                        good.fetch_add(usize::from(status == 200), Relaxed);
                        statuses.push(status);
                    }
                    statuses
                })
            })
            .collect();
        let until = Instant::now() + Duration::from_secs(seconds());
        let mut dice = Dice(4711);
        // As often as not there are requests that are served, however long that takes.
        while Instant::now() < until || good.load(Relaxed) <= 20 {
            torment(&app, &mut dice);
            std::thread::sleep(Duration::from_millis(100 + dice.roll(500)));
        }
        over.store(true, Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"))
            .collect()
    });
    let bad: Vec<u16> = statuses
        .iter()
        .copied()
        .filter(|status| *status != 200)
        .collect();
    assert!(
        bad.iter().all(|status| matches!(status, 502..=504)),
        "{bad:?}"
    );
    let reasons = app.server.wait_all_errors(bad.len());
    assert!(
        reasons
            .iter()
            .all(|line| line["reason"].is_string() && line["detail"].is_string())
    );
    let _ = fs::remove_file(app.file("broken"));
    wait_for("all to be well", || (app.get("/").0 == 200).then_some(()));
}

#[test]
fn recycling_alone_loses_no_request_of_any_kind() {
    // Nothing here runs out: a worker that has to wait for the processor is no worker that hangs.
    let app = App::start("", "workers = 2\nrecycle = { requests = 200 }");
    app.pid();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (client, over) = (app.client(), &over);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                while !over.load(Relaxed) {
                    assert_eq!(ask(client, &mut dice), 200);
                }
            });
        }
        let until = Instant::now() + Duration::from_secs(seconds());
        while Instant::now() < until {
            app.recycle();
        }
        over.store(true, Relaxed);
    });
    assert!(app.server.errors().is_empty(), "{:?}", app.server.errors());
}
