//! What administrators ask of pools.

use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::answers::queues::Queue;
use crate::admin::{Answer, Declined, PoolOrder, Told};
use crate::http::Edge;
use crate::model::plain;
use crate::pool::PoolState;
use crate::report::Report;
use crate::worker::{PoolView, WorkerView};

/// How every pool stands.
pub(super) fn show(edge: &Arc<Edge>, report: &Arc<Report>) -> Answer {
    let (pools, report) = (edge.pools.clone(), Arc::clone(report));
    Box::pin(async move {
        let views = join_all(pools.iter().map(|pool| async {
            match pool.handler().desk() {
                Some(desk) => desk.show().await,
                None => None,
            }
        }))
        .await;
        let mut told = Told {
            json: Value::Null,
            text: String::new(),
        };
        let mut all = Vec::new();
        let counted = report.metrics().pools();
        for (pool, view) in pools.iter().zip(&views) {
            let state = view.as_ref().map(|it| it.state.as_str());
            let queue = Queue::of(pool, &counted, state);
            all.push(json_of(&queue, view.as_ref()));
            write_text(&mut told.text, &queue, view.as_ref());
        }
        told.json = json!({ "pools": all });
        Ok(told)
    })
}

/// Tells a pool something.
pub(super) fn tell(edge: &Arc<Edge>, name: &str, order: PoolOrder) -> Answer {
    let Some(pool) = edge.pools.iter().find(|pool| pool.name() == name) else {
        let names: Vec<&str> = edge.pools.iter().map(|pool| pool.name()).collect();
        let why = format!("there is no pool {name:?}; there is {}", names.join(", "));
        return Box::pin(std::future::ready(Err(Declined(why))));
    };
    if let Some(desk) = pool.handler().desk() {
        // Made here and now: each is a future of its own type.
        return match order {
            PoolOrder::Recycle => answered(name, desk.recycle()),
            PoolOrder::Stop => answered(name, desk.stop()),
            PoolOrder::Start => answered(name, desk.start()),
        };
    }
    let done = match order {
        PoolOrder::Recycle => Err("it has no workers that could be replaced".to_owned()),
        PoolOrder::Stop => {
            pool.set_state(PoolState::Stopped);
            Ok("stopped".to_owned())
        }
        PoolOrder::Start => {
            pool.set_state(PoolState::Started);
            Ok("started".to_owned())
        }
    };
    answered(name, std::future::ready(done))
}

fn answered(
    name: &str,
    done: impl Future<Output = Result<String, String>> + Send + 'static,
) -> Answer {
    let name = name.to_owned();
    Box::pin(async move {
        match done.await {
            Ok(what) => Ok(Told {
                text: format!("{what}\n"),
                json: json!({ "pool": name, "done": what }),
            }),
            Err(why) => Err(Declined(format!("pool {name:?}: {why}"))),
        }
    })
}

fn json_of(queue: &Queue<'_>, view: Option<&PoolView>) -> Value {
    let mut told = queue.json();
    let mut say = |key: &str, value: Value| told.insert(key.to_owned(), value);
    if let Some(view) = view {
        say("workers", json!(view.workers));
        say("worker_failures", json!(view.failures));
        say("last_failure", json!(view.last_failure));
        say("history", json!(view.history));
    }
    Value::Object(told)
}

fn write_text(text: &mut String, queue: &Queue<'_>, view: Option<&PoolView>) {
    queue.write("Pool", text);
    let Some(view) = view else {
        return;
    };
    let _ = writeln!(text, "    Workers: {}", view.workers.len());
    for worker in &view.workers {
        let _ = writeln!(text, "        {}", line(worker));
    }
    let _ = writeln!(text, "    Worker failures: {}", view.failures);
    if let Some(failure) = &view.last_failure {
        let time = humantime::format_rfc3339_seconds(failure.time);
        let _ = writeln!(text, "    Last failure: {time} {}", plain(&failure.what));
    }
    if !view.history.is_empty() {
        let _ = writeln!(text, "    History:");
    }
    for event in &view.history {
        let time = humantime::format_rfc3339_seconds(event.time);
        let _ = writeln!(text, "        {time} {}", plain(&event.what));
    }
}

fn line(worker: &WorkerView) -> String {
    let age = std::time::Duration::from_secs(worker.age.as_secs());
    let mut line = format!(
        "ID: {}, generation: {}, state: {}, pid: {}, age: {}, requests: {}, in flight: {}",
        worker.number,
        worker.generation,
        worker.state,
        worker.pid.map_or("-".to_owned(), |pid| pid.to_string()),
        humantime::format_duration(age),
        worker.requests,
        worker.in_flight,
    );
    if let Some(bytes) = worker.memory_bytes {
        let _ = write!(
            line,
            ", memory: {:.1} MiB",
            bytes as f64 / f64::from(1 << 20)
        );
    }
    if let Some(cpu) = worker.cpu {
        let _ = write!(line, ", cpu: {:.1}s", cpu.as_secs_f64());
    }
    line
}
