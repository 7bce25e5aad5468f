//! An axum application behind Portunus' bindings, pools and logs, in one process.
//!
//! ```sh
//! cargo run --example axum_router        # then: curl http://localhost:8080/hello/world
//! ```
//!
//! The bindings file is the ordinary one; the pool's handler says `type = "library"`, and the program brings it.

use std::sync::Arc;

use axum::extract::Path;
use axum::routing::get;
use axum::{Extension, Router};
use portunus::handler::tower::TowerHandler;
use portunus::model::Connection;
use portunus::server::{LibraryHandlers, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new()
        .route("/", get(|| async { "try /hello/world\n" }))
        .route("/hello/{name}", get(hello));
    let handlers =
        LibraryHandlers::from([("app".to_owned(), Arc::new(TowerHandler::new(app)) as _)]);
    run("examples/axum_router.toml".as_ref(), handlers)?;
    Ok(())
}

async fn hello(
    Path(name): Path<String>,
    Extension(connection): Extension<Arc<Connection>>,
) -> String {
    format!("Hello, {name} at {}!\n", connection.client)
}
