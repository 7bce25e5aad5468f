//! What would happen to a request: by the configuration that runs, and as the pool stands that it comes to.

use super::Serving;
use super::queues::state_of;
use crate::admin::{Declined, Explained, Form, Told};
use crate::server::explain::{Asking, Handshakes, Standing, explain, render};

pub(super) async fn told(
    serving: &Serving,
    asked: Option<Box<Explained>>,
    form: Form,
) -> Result<Told, Declined> {
    let asked = asked.ok_or_else(|| Declined("url is missing".into()))?;
    let now = serving.now.load_full();
    let asking = Asking {
        url: asked.url,
        ip: asked.ip,
        sni: asked.sni,
        method: asked.method,
    };
    let config = now.settled.as_ref().unwrap_or(&now.config);
    let explanation = explain(config, &Handshakes::Running(&now.tls_table), &asking);
    let mut explanation = explanation.map_err(Declined)?;
    let mut pools = now.edge.pools.iter();
    let pool = pools.find(|pool| Some(pool.name()) == explanation.pool());
    if let Some(pool) = pool {
        // Of one with workers, these know its state better than its gate does.
        let view = match pool.handler().desk() {
            Some(desk) => desk.show().await,
            None => None,
        };
        let state = view.map_or_else(|| state_of(pool), |view| view.state.as_str());
        explanation.goes_on(&Standing::of(pool, state));
    }
    Ok(Told::of(form, || &explanation, || render(&explanation)))
}
