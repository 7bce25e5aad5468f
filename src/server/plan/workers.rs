//! What becomes of the processes of pools with workers.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::compare::{OUTDATED, is_outdated};
use super::{CrewFate, CrewPlan, Fate, keys};
use crate::config::{Config, Handler};
use crate::http::Edge;

/// The processes of each pool that has workers, by its name.
pub(in crate::server) type Crews = HashMap<String, Vec<u32>>;

/// The processes that there are now.
pub(in crate::server) fn crews(edge: &Arc<Edge>) -> impl Future<Output = Crews> + Send + use<> {
    let pools = edge.pools.iter();
    let asked: Vec<_> = pools
        .filter_map(|pool| Some((pool.name().to_owned(), pool.handler().desk()?.show())))
        .collect();
    async move {
        let views = asked.into_iter().map(|(name, view)| async move {
            let workers = view.await.map(|view| view.workers).unwrap_or_default();
            let of = workers.into_iter().filter_map(|worker| worker.pid);
            (name, of.collect())
        });
        join_all(views).await.into_iter().collect()
    }
}

/// What becomes of the workers of every pool that has some, or will have.
pub(super) fn plan(old: &Config, new: &Config, fates: &[Fate]) -> Vec<CrewPlan> {
    let has = |handler: &Handler| matches!(handler, Handler::Process(_));
    let before = |name: &str| old.pools.iter().find(|pool| pool.name == name);
    let mut plans = Vec::new();
    for (pool, fate) in new.pools.iter().zip(fates) {
        let had = before(&pool.name).filter(|old| has(&old.handler));
        let (fate, why) = match (fate, had, has(&pool.handler)) {
            (_, None, true) => (CrewFate::Started, None),
            (_, None, false) => continue,
            (Fate::LivesOn { same: true, .. }, Some(_), _) => (CrewFate::Kept, None),
            (Fate::LivesOn { .. }, Some(old), _) => (
                CrewFate::Recycled,
                Some(why(&old.handler, &pool.handler, *fate)),
            ),
            (Fate::New | Fate::Replaced, Some(old), _) => (
                CrewFate::Ended,
                Some(why(&old.handler, &pool.handler, *fate)),
            ),
        };
        plans.push(CrewPlan {
            pool: pool.name.clone(),
            fate,
            why,
        });
    }
    let gone = old
        .pools
        .iter()
        .filter(|old| has(&old.handler) && !new.pools.iter().any(|pool| pool.name == old.name));
    plans.extend(gone.map(|old| CrewPlan {
        pool: old.name.clone(),
        fate: CrewFate::Ended,
        why: Some("the pool is removed".to_owned()),
    }));
    plans
}

fn why(old: &Handler, new: &Handler, fate: Fate) -> String {
    let keys = keys::handler(old, new);
    if is_outdated(Some(fate), &keys) {
        return OUTDATED.to_owned();
    }
    let keys: Vec<String> = keys.iter().map(|key| format!("handler.{key}")).collect();
    format!("changed: {}", keys.join(", "))
}
