//! The command that sets and removes TXT records, for dns-01.
//!
//! Called as lego's `exec` provider calls its own: `HOOK present|cleanup _acme-challenge.NAME. VALUE`; what hooks of certbot
//! read, `CERTBOT_DOMAIN` and `CERTBOT_VALIDATION`, is in the environment. No shell stands between.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::fault::Fault;

/// Calls the command, and waits for it. `name` is without `*.`.
pub(super) async fn call(
    argv: &[String],
    action: &'static str,
    name: &str,
    value: &str,
) -> Result<(), Fault> {
    let Some((program, first)) = argv.split_first() else {
        return Err(Fault::ours("`dns_hook` in [acme] names no command"));
    };
    let record = format!("_acme-challenge.{name}.");
    let mut command = Command::new(program);
    command
        .args(first)
        .args([action, &record, value])
        .env("CERTBOT_DOMAIN", name)
        .env("CERTBOT_VALIDATION", value)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Of its own, so that what it starts ends with it.
        .process_group(0);
    let said = format!("dns_hook `{} {action} {record} …`", argv.join(" "));
    let ended = tokio::task::spawn_blocking(move || run(&mut command, CALL_MAX)).await;
    let ended = ended.unwrap_or_else(|error| Err(error.to_string()));
    ended.map_err(|what| Fault::ours(format!("{said} {what}")))
}

/// Runs a command within its time; what it printed is told where it fails.
fn run(command: &mut Command, within: Duration) -> Result<(), String> {
    let mut child = command.spawn().map_err(|error| {
        format!("cannot be started: {error}; the user that the server runs as must be able to execute it")
    })?;
    let printed = [
        child.stdout.take().map(gather),
        child.stderr.take().map(gather),
    ];
    let ended = match wait(&mut child, within)? {
        Some(status) if status.success() => return Ok(()),
        Some(status) => format!("failed ({status})"),
        None => format!("did not end within {within:?}, and was killed"),
    };
    let texts = printed.into_iter().flatten().filter_map(|printed| {
        let bytes = printed.recv_timeout(LAST_WORDS_MAX).ok()?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    Err(format!("{ended}; it printed {text:?}"))
}

/// Waits for a command's end; none where it took too long, and was killed with all that it started.
fn wait(child: &mut Child, within: Duration) -> Result<Option<ExitStatus>, String> {
    let until = Instant::now() + within;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => return Ok(Some(status)),
            None if Instant::now() < until => std::thread::sleep(POLL),
            None => break,
        }
    }
    if let Ok(id) = i32::try_from(child.id()) {
        // It may have ended this moment.
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
    child.wait().map_err(|error| error.to_string())?;
    Ok(None)
}

/// Reads what a command prints to its end, so that it never waits for us, and keeps the beginning.
fn gather(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 1024]);
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let room = PRINTED_MAX - kept.len();
            kept.extend_from_slice(&buffer[..count.min(room)]);
        }
        // Nobody asks where the command succeeded.
        let _ = sender.send(kept);
    });
    receiver
}

/// An API of a DNS provider answers in seconds; a command that waits for its own record to spread takes longer.
const CALL_MAX: Duration = Duration::from_secs(300);
const PRINTED_MAX: usize = 4096;
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    #[test]
    fn what_a_failing_hook_printed_is_quoted_and_bounded() {
        assert_eq!(run(&mut shell("echo fine"), CALL_MAX), Ok(()));
        let failed = run(
            &mut shell("echo out; echo 'no such zone' >&2; exit 3"),
            CALL_MAX,
        );
        let failed = failed.unwrap_err();
        assert_eq!(
            failed,
            "failed (exit status: 3); it printed \"out\\nno such zone\""
        );
        let long = run(
            &mut shell("head -c 1000000 /dev/zero | tr '\\0' x; exit 1"),
            CALL_MAX,
        );
        assert!(long.unwrap_err().len() < PRINTED_MAX + 100);
        let mut none = Command::new("/does/not/exist");
        assert!(
            run(&mut none, CALL_MAX)
                .unwrap_err()
                .contains("cannot be started")
        );
    }

    #[test]
    fn a_hook_that_does_not_end_is_killed_with_all_that_it_started() {
        let within = Duration::from_millis(100);
        let failed = run(&mut shell("echo waiting; sleep 1000 & wait"), within).unwrap_err();
        assert!(
            failed.contains("was killed") && failed.contains("waiting"),
            "{failed}"
        );
    }
}
