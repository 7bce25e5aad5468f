//! What the server said at one moment, and how fast it counts since the moment before. Pure: answers and times come from outside.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

/// What the server said.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// When, since `top` was started.
    pub(super) at: Duration,
    pub(super) service: Value,
    pub(super) pools: Vec<Value>,
    pub(super) connections: Vec<Value>,
}

/// Two answers of one server, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) now: &'a Seen,
    /// None where there is none yet, or another process has answered then.
    before: Option<&'a Seen>,
}

/// One thing of an answer, and the same in the answer before.
#[derive(Clone, Copy)]
pub(super) struct Both<'a> {
    pub(super) now: &'a Value,
    before: Option<&'a Value>,
    elapsed: f64,
}

impl Seen {
    /// Of what `/v1/service`, `/v1/pools` and `/v1/connections` answered.
    pub(super) fn new(
        at: Duration,
        service: Value,
        mut pools: Value,
        mut connections: Value,
    ) -> Self {
        Self {
            at,
            service,
            pools: list(pools["pools"].take()),
            connections: list(connections["connections"].take()),
        }
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(all) => all,
        _ => Vec::new(),
    }
}

impl<'a> Pair<'a> {
    pub(super) fn new(now: &'a Seen, before: Option<&'a Seen>) -> Self {
        let process = |seen: &Seen| seen.service["process_id"].as_u64();
        let before = before.filter(|before| process(before) == process(now));
        Self { now, before }
    }

    /// The server as a whole.
    pub(super) fn service(&self) -> Both<'a> {
        self.both(&self.now.service, self.before.map(|it| &it.service))
    }

    pub(super) fn bindings(&self) -> Vec<Both<'a>> {
        let of = |seen: &'a Seen| seen.service["bindings"].as_array().map(Vec::as_slice);
        let now = of(self.now).unwrap_or_default();
        self.each(now, self.before.and_then(of), &["binding"])
    }

    pub(super) fn pools(&self) -> Vec<Both<'a>> {
        let before = self.before.map(|it| it.pools.as_slice());
        self.each(&self.now.pools, before, &["name"])
    }

    /// What a pool has of these: each with the pool's name.
    pub(super) fn of_pools(&self, what: &str, keys: &[&str]) -> Vec<(&'a str, Both<'a>)> {
        let mut all = Vec::new();
        for pool in self.pools() {
            let name = pool.text("name");
            let before = pool.before.and_then(|it| it[what].as_array());
            let now = pool.now[what].as_array().map(Vec::as_slice);
            let each = self.each(now.unwrap_or_default(), before.map(Vec::as_slice), keys);
            all.extend(each.into_iter().map(|it| (name, it)));
        }
        all
    }

    pub(super) fn connections(&self) -> Vec<Both<'a>> {
        let before = self.before.map(|it| it.connections.as_slice());
        let keys = ["client", "local", "protocol"];
        self.each(&self.now.connections, before, &keys)
    }

    /// Reasons of refusals, with what each came to and how fast.
    pub(super) fn refusals(&self) -> Vec<(&'a str, Both<'a>)> {
        let name = "refused_by_reason";
        let now = self.now.service[name].as_object();
        let before = self.before.map(|it| &it.service[name]);
        let each = now.into_iter().flatten().map(|(reason, count)| {
            // A reason that had not come up before had come up nought times.
            let before = before.map(|it| it.get(reason).unwrap_or(&NOUGHT));
            (reason.as_str(), self.both(count, before))
        });
        each.collect()
    }

    fn each(&self, now: &'a [Value], before: Option<&'a [Value]>, keys: &[&str]) -> Vec<Both<'a>> {
        let key = |value: &Value| -> Vec<String> {
            keys.iter().map(|key| value[*key].to_string()).collect()
        };
        let before: HashMap<Vec<String>, &'a Value> = (before.into_iter().flatten())
            .map(|it| (key(it), it))
            .collect();
        let with_before = |value: &'a Value| {
            let before = before.get(&key(value)).copied();
            self.both(value, before)
        };
        now.iter().map(with_before).collect()
    }

    fn both(&self, now: &'a Value, before: Option<&'a Value>) -> Both<'a> {
        let elapsed = self.before.map_or(Duration::ZERO, |before| {
            self.now.at.saturating_sub(before.at)
        });
        Both {
            now,
            before,
            elapsed: elapsed.as_secs_f64(),
        }
    }
}

impl<'a> Both<'a> {
    pub(super) fn text(&self, key: &str) -> &'a str {
        self.now[key].as_str().unwrap_or("")
    }

    /// What it is now. Empty: the thing itself.
    pub(super) fn number(&self, path: &str) -> Option<f64> {
        self.at(self.now, path)
    }

    /// How fast it counts, in a second. None before a second answer, and where it has begun anew.
    pub(super) fn rate(&self, path: &str) -> Option<f64> {
        let now = self.at(self.now, path)?;
        let before = self.at(self.before?, path)?;
        (now >= before && self.elapsed > 0.0).then(|| (now - before) / self.elapsed)
    }

    fn at(&self, value: &Value, path: &str) -> Option<f64> {
        let parts = path.split('.').filter(|part| !part.is_empty());
        let found = parts.fold(value, |value, part| &value[part]);
        found.as_f64()
    }
}

/// What had not come up.
static NOUGHT: LazyLock<Value> = LazyLock::new(|| Value::from(0));
