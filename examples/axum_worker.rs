//! An axum application as a worker of Portunus: it listens where it is told to, and ends when its requests are done.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let app = Router::new()
        .route("/", get(async || "Hello from axum\n"))
        .route("/{name}", get(greet));
    let listener = UnixListener::bind(std::env::var("PORTUNUS_SOCKET")?)?;
    let mut terminate = signal(SignalKind::terminate())?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await?;
    Ok(())
}

async fn greet(Path(name): Path<String>) -> String {
    format!("Hello {name}\n")
}
