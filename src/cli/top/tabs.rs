//! What each tab tells, out of two answers. Pure.

use super::seen::{Both, Pair};
use super::table::{Cell, Column, Mood, Row, Table};
use super::words::{age, bar, bytes, count, rate};

/// The tabs, in the order of their digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Pools,
    Bindings,
    Upstreams,
    Workers,
    Connections,
    Refusals,
}

impl Tab {
    pub(super) const ALL: [Self; 6] = [
        Self::Pools,
        Self::Bindings,
        Self::Upstreams,
        Self::Workers,
        Self::Connections,
        Self::Refusals,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pools => "Pools",
            Self::Bindings => "Bindings",
            Self::Upstreams => "Upstreams",
            Self::Workers => "Workers",
            Self::Connections => "Connections",
            Self::Refusals => "Refusals",
        }
    }

    pub(super) fn table(self, pair: &Pair<'_>) -> Table {
        match self {
            Self::Pools => pools(pair),
            Self::Bindings => bindings(pair),
            Self::Upstreams => upstreams(pair),
            Self::Workers => workers(pair),
            Self::Connections => connections(pair),
            Self::Refusals => refusals(pair),
        }
    }
}

fn pools(pair: &Pair<'_>) -> Table {
    let row = |pool: Both<'_>| {
        let limit = |key: &str| pool.number(key).unwrap_or(0.0);
        let state = pool.text("state");
        let rejected = pool.rate("rejected");
        let mood = match state {
            "Stopped" | "Disabled" => Mood::Bad,
            _ if rejected.unwrap_or(0.0) > 0.0 => Mood::Bad,
            _ if limit("waiting") > 0.0 => Mood::Strained,
            _ => Mood::Well,
        };
        let of = |now: &str, max: &str| {
            let (now, max) = (limit(now), limit(max));
            Cell::number(bar(now, max), Some(now))
        };
        Row {
            cells: vec![
                Cell::text(pool.text("name")),
                Cell::text(state),
                of("running", "concurrency"),
                of("waiting", "queue_length"),
                number(&pool, "oldest_wait_seconds", age),
                per_second(&pool, "arrived"),
                per_second(&pool, "rejected"),
                number(&pool, "rejected", count),
            ],
            mood,
        }
    };
    Table {
        columns: vec![
            Column::yielding("POOL"),
            Column::left("STATE"),
            Column::left("RUNNING"),
            Column::left("QUEUE"),
            Column::right("OLDEST"),
            Column::right("ARR/s"),
            Column::right("REJ/s"),
            Column::right("REJ"),
        ],
        rows: pair.pools().into_iter().map(row).collect(),
    }
}

fn bindings(pair: &Pair<'_>) -> Table {
    let row = |binding: Both<'_>| {
        let errors = binding.rate("responses_by_class.5xx");
        let mood = match errors {
            Some(rate) if rate > 0.0 => Mood::Bad,
            _ => Mood::Well,
        };
        Row {
            cells: vec![
                Cell::text(binding.text("binding")),
                per_second(&binding, "responses"),
                per_second(&binding, "responses_by_class.4xx"),
                per_second(&binding, "responses_by_class.5xx"),
                fast(&binding, "bytes_received"),
                fast(&binding, "bytes_sent"),
                number(&binding, "responses", count),
            ],
            mood,
        }
    };
    Table {
        columns: vec![
            Column::yielding("BINDING"),
            Column::right("RESP/s"),
            Column::right("4xx/s"),
            Column::right("5xx/s"),
            Column::right("IN/s"),
            Column::right("OUT/s"),
            Column::right("RESPONSES"),
        ],
        rows: pair.bindings().into_iter().map(row).collect(),
    }
}

fn upstreams(pair: &Pair<'_>) -> Table {
    let row = |(pool, upstream): (&str, Both<'_>)| {
        let state = upstream.text("state");
        // The last one of a pool is never ejected, however it fails.
        let fails = upstream.now["failing"] == true && matches!(state, "up" | "warming");
        let mood = match state {
            _ if fails => Mood::Strained,
            "up" | "draining" => Mood::Well,
            "warming" | "trying" => Mood::Strained,
            _ => Mood::Bad,
        };
        let told = format!("{state}{}", if fails { ", fails" } else { "" });
        let why = upstream.now["last_failure"]["what"].as_str();
        Row {
            cells: vec![
                Cell::text(pool),
                Cell::text(upstream.text("name")),
                Cell::text(&told),
                number(&upstream, "state_for_seconds", age),
                number(&upstream, "running", count),
                per_second(&upstream, "responses"),
                per_second(&upstream, "failures"),
                Cell::text(why.unwrap_or("")),
            ],
            mood,
        }
    };
    let all = pair.of_pools("upstreams", &["name"]);
    Table {
        columns: vec![
            Column::left("POOL"),
            Column::left("UPSTREAM"),
            Column::left("STATE"),
            Column::right("FOR"),
            Column::right("ACTIVE"),
            Column::right("RESP/s"),
            Column::right("FAIL/s"),
            Column::yielding("LAST FAILURE"),
        ],
        rows: all.into_iter().map(row).collect(),
    }
}

fn workers(pair: &Pair<'_>) -> Table {
    let row = |(pool, worker): (&str, Both<'_>)| {
        let state = worker.text("state");
        let mood = match state {
            "ready" => Mood::Well,
            _ => Mood::Strained,
        };
        let cpu = worker.rate("cpu_seconds").map(|rate| rate * 100.0);
        let percent = cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.0}%"));
        Row {
            cells: vec![
                Cell::text(pool),
                number(&worker, "pid", |pid| format!("{pid:.0}")),
                number(&worker, "generation", count),
                Cell::text(state),
                number(&worker, "age_seconds", age),
                number(&worker, "in_flight", count),
                per_second(&worker, "requests"),
                number(&worker, "requests", count),
                Cell::number(percent, cpu),
                number(&worker, "memory_bytes", bytes),
            ],
            mood,
        }
    };
    let all = pair.of_pools("workers", &["generation", "number"]);
    Table {
        columns: vec![
            Column::yielding("POOL"),
            Column::right("PID"),
            Column::right("GEN"),
            Column::left("STATE"),
            Column::right("AGE"),
            Column::right("ACTIVE"),
            Column::right("REQ/s"),
            Column::right("REQUESTS"),
            Column::right("CPU"),
            Column::right("MEMORY"),
        ],
        rows: all.into_iter().map(row).collect(),
    }
}

fn connections(pair: &Pair<'_>) -> Table {
    let row = |connection: Both<'_>| {
        let (doing, request) = (connection.text("doing"), &connection.now["request"]);
        let mood = match doing {
            "queued" => Mood::Strained,
            _ => Mood::Well,
        };
        let mut does = doing.to_owned();
        if let Some(pool) = connection.now["pool"].as_str() {
            does = format!("{does} {pool}");
        }
        let text = |key: &str| request[key].as_str().unwrap_or("");
        let tls = connection.now["tls"]["version"].as_str();
        Row {
            cells: vec![
                Cell::text(connection.text("client")),
                Cell::text(&does),
                Cell::text(&format!("{}{}", text("host"), text("path"))),
                number(&connection, "age_seconds", age),
                number(&connection, "requests", count),
                fast(&connection, "bytes_received"),
                fast(&connection, "bytes_sent"),
                Cell::text(connection.text("protocol")),
                Cell::text(tls.unwrap_or("-")),
            ],
            mood,
        }
    };
    Table {
        columns: vec![
            Column::left("CLIENT"),
            Column::left("DOING"),
            Column::yielding("REQUEST"),
            Column::right("AGE"),
            Column::right("REQ"),
            Column::right("IN/s"),
            Column::right("OUT/s"),
            Column::left("PROTOCOL"),
            Column::left("TLS"),
        ],
        rows: pair.connections().into_iter().map(row).collect(),
    }
}

fn refusals(pair: &Pair<'_>) -> Table {
    let row = |(reason, counted): (&str, Both<'_>)| {
        let mood = match counted.rate("") {
            Some(rate) if rate > 0.0 => Mood::Strained,
            _ => Mood::Well,
        };
        Row {
            cells: vec![
                Cell::text(reason),
                per_second(&counted, ""),
                number(&counted, "", count),
            ],
            mood,
        }
    };
    Table {
        columns: vec![
            Column::left("REASON"),
            Column::right("REFUSED/s"),
            Column::right("REFUSED"),
        ],
        rows: pair.refusals().into_iter().map(row).collect(),
    }
}

fn number(of: &Both<'_>, key: &str, write: impl Fn(f64) -> String) -> Cell {
    let number = of.number(key);
    Cell::number(number.map_or("-".to_owned(), write), number)
}

fn per_second(of: &Both<'_>, key: &str) -> Cell {
    let number = of.rate(key);
    Cell::number(number.map_or("-".to_owned(), rate), number)
}

fn fast(of: &Both<'_>, key: &str) -> Cell {
    let number = of.rate(key);
    Cell::number(number.map_or("-".to_owned(), bytes), number)
}
