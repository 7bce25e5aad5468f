//! The second HTTP/3 client, which shares no code with the server: aioquic, by the scenarios of `aioquic_client.py`.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

use super::{Server, Tool};

/// Plays a scenario against a server; what came of it.
pub fn aioquic(server: &Server, scenario: &str, arguments: &[&str]) -> Value {
    aioquic_trusting(server, &server.ca(), scenario, arguments)
}

/// The same with a CA other than the development one.
pub fn aioquic_trusting(
    server: &Server,
    ca: &std::path::Path,
    scenario: &str,
    arguments: &[&str],
) -> Value {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/server/support/aioquic_client.py"
    );
    let mut tool = Tool::new("python3")
        .env("PYTHONPATH", library())
        .arg(script)
        .arg(server.https.to_string())
        .arg(ca)
        .arg(scenario);
    for argument in arguments {
        tool = tool.arg(argument);
    }
    let output = tool.output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stderr.contains("No module named 'aioquic'"),
        "aioquic is needed (.ci/setup installs it): {stderr}"
    );
    assert!(output.status.success(), "{scenario}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{scenario}: {error}"))
}

/// Where `.ci/setup` puts it.
fn library() -> OsString {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let cache = cache.expect("HOME is set, below which .ci/setup installs aioquic");
    cache.join("portunus/aioquic").into_os_string()
}
