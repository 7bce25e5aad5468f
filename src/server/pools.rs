//! What administrators ask of pools.

use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::json;

use super::answers::queues::Queue;
use crate::admin::{Answer, Declined, Form, PoolOrder, Told};
use crate::http::Edge;
use crate::model::plain;
use crate::pool::{Pool, PoolState};
use crate::report::metrics::PoolCounted;
use crate::worker::{PoolView, WorkerView};

/// Every pool, and its workers where it has some.
pub(super) struct Crewed(Vec<(Arc<Pool>, Option<PoolView>)>);

impl Crewed {
    /// Asks each pool for its workers.
    pub(super) fn look(edge: &Edge) -> impl Future<Output = Self> + use<> {
        let pools = edge.pools.clone();
        async move {
            let views = join_all(pools.iter().map(|pool| async {
                match pool.handler().desk() {
                    Some(desk) => desk.show().await,
                    None => None,
                }
            }));
            let views = views.await;
            Self(pools.into_iter().zip(views).collect())
        }
    }

    /// Each one's queue. `counted`: what came of their requests.
    pub(super) fn queues<'a>(&'a self, counted: &[PoolCounted]) -> Vec<Queue<'a>> {
        let pools = self.0.iter();
        pools
            .map(|(pool, view)| Queue::of(pool, counted, view.as_ref()))
            .collect()
    }

    /// How every pool stands.
    pub(super) fn told(&self, counted: &[PoolCounted], form: Form) -> Told {
        let queues = self.queues(counted);
        let text = || {
            let mut text = String::new();
            for (queue, (_, view)) in queues.iter().zip(&self.0) {
                queue.write("Pool", &mut text);
                if let Some(view) = view {
                    write_crew(&mut text, view);
                }
            }
            text
        };
        Told::of(form, || All { pools: &queues }, text)
    }
}

#[derive(Serialize)]
struct All<'a> {
    pools: &'a [Queue<'a>],
}

/// Tells a pool something.
pub(super) fn tell(edge: &Edge, name: &str, order: PoolOrder, form: Form) -> Answer {
    let Some(pool) = edge.pools.iter().find(|pool| pool.name() == name) else {
        let names: Vec<&str> = edge.pools.iter().map(|pool| pool.name()).collect();
        let why = format!("there is no pool {name:?}; there is {}", names.join(", "));
        return Box::pin(std::future::ready(Err(Declined(why))));
    };
    if let Some(desk) = pool.handler().desk() {
        // Made here and now: each is a future of its own type.
        return match order {
            PoolOrder::Recycle => answered(name, desk.recycle(), form),
            PoolOrder::Stop => answered(name, desk.stop(), form),
            PoolOrder::Start => answered(name, desk.start(), form),
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
    answered(name, std::future::ready(done), form)
}

fn answered(
    name: &str,
    done: impl Future<Output = Result<String, String>> + Send + 'static,
    form: Form,
) -> Answer {
    let name = name.to_owned();
    Box::pin(async move {
        match done.await {
            Ok(what) => {
                let json = || json!({ "pool": name, "done": what });
                let told = Told::of(form, json, || format!("{what}\n"));
                Ok(told.done(what))
            }
            Err(why) => Err(Declined(format!("pool {name:?}: {why}"))),
        }
    })
}

fn write_crew(text: &mut String, view: &PoolView) {
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
