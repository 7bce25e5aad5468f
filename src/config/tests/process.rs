//! A process handler's keys.

use std::path::Path;
use std::time::Duration;

use super::super::*;
use super::{handler, rendered_handlers};

fn process(keys: &str) -> Process {
    let text = format!("{{ type = \"process\", command = [\"bin/app\", \"\"], {keys} }}");
    match handler(&text) {
        Handler::Process(process) => *process,
        other => panic!("{other:?}"),
    }
}

#[test]
fn paths_are_relative_to_the_file_and_to_the_folder_of_the_worker() {
    let read = process(
        "cwd = \"../app\", splash = \"wait.html\", recycle = { files = [\"restart.txt\"] }",
    );
    assert_eq!(read.command, ["bin/app", ""]);
    assert_eq!(read.cwd, Path::new("/etc/portunus/../app"));
    assert_eq!(read.offline_file, Some(read.cwd.join("app_offline.htm")));
    assert_eq!(read.splash, Some("/etc/portunus/wait.html".into()));
    assert_eq!(read.recycle.files, [read.cwd.join("restart.txt")]);
    let folder = Path::new("/etc/portunus/../state/workers");
    assert_eq!(read.socket_folder, folder);
    assert_eq!(process("offline_file = \"\"").offline_file, None);
}

#[test]
fn zero_turns_a_limit_off() {
    let read = process(
        "ping_interval = \"0s\", idle_timeout = \"0s\", rapid_fail = { failures = 0 }, \
         recycle = { time = \"0s\" }, limits = { memory = 0, cpu = \"0%\" }",
    );
    assert_eq!((read.ping, read.idle_timeout), (None, None));
    assert_eq!((read.rapid_fail.failures, read.recycle.time), (None, None));
    assert_eq!((read.limits.memory, read.limits.cpu), (None, None));
}

#[test]
fn what_runs_always_is_not_put_to_rest_unless_it_is_to_be_frozen() {
    let minutes = Some(Duration::from_secs(20 * 60));
    assert_eq!(process("workers = 2").idle_timeout, minutes);
    assert_eq!(process("start_mode = \"always\"").idle_timeout, None);
    let frozen = process("start_mode = \"always\", idle_action = \"suspend\"");
    assert_eq!(frozen.idle_timeout, minutes);
}

#[test]
fn a_ping_asks_what_readiness_asked_unless_it_is_told_otherwise() {
    let path = |keys: &str| process(keys).ping.and_then(|ping| ping.path);
    assert_eq!(path("workers = 1"), None);
    assert_eq!(path("ready_path = \"/up\"").as_deref(), Some("/up"));
    let both = path("ready_path = \"/up\", ping_path = \"/ping\"");
    assert_eq!(both.as_deref(), Some("/ping"));
}

#[test]
fn times_of_the_day_are_read_in_their_order() {
    let read = process("recycle = { schedule = [\"15:30\", \"03:00\", \"15:30\"] }");
    let times: Vec<_> = (read.recycle.schedule.iter())
        .map(ToString::to_string)
        .collect();
    assert_eq!(times, ["03:00", "15:30"]);
}

#[test]
fn mistakes_in_a_process() {
    let with = |keys: &str| format!("{{ type = \"process\", command = [\"app\"], {keys} }}");
    let texts = [
        "{ type = \"process\" }".to_owned(),
        "{ type = \"process\", command = \"python3 app.py\" }".to_owned(),
        "{ type = \"process\", command = [] }".to_owned(),
        "{ type = \"process\", command = [\"app\", 5, \"a\\u0000\"] }".to_owned(),
        with("comand = [\"app\"], listen = \"socket\", start_mode = \"ondemand\""),
        with("env = { PORT = \"1\", \"A=B\" = \"\", DEBUG = true }"),
        with("ready_path = \"up\", warm_up = [\"/\", 7], workers = 0"),
        with("start_mode = \"always\", idle_timeout = \"5m\""),
        with("recycle = { schedule = [\"3:00\", \"24:00\"], memory = \"1 G\" }"),
        with("limits = { memory = \"4KiB\", cpu = 50, on_cpu = \"restart\" }"),
        with("limits = { on_memory = \"kill\" }, fastcgi = { script = \"app.php\" }"),
    ];
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    insta::assert_snapshot!(rendered_handlers(&texts));
}
