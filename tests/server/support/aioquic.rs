//! The second HTTP/3 client, which shares no code with the server: aioquic, by the scenarios of `aioquic_client.py`.

use serde_json::Value;

use super::python::library;
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
        .env("PYTHONPATH", library("aioquic"))
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
