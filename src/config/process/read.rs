//! Reading it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::{
    AtLimit, IdleAction, Ping, Process, RapidFail, Recycle, StartMode, TimeOfDay, WorkerLimits,
    WorkerListen, WorkerProtocol,
};
use crate::config::fastcgi::{self, Waits};
use crate::config::reader::{At, Table};
use crate::config::settings::WAIT;
use crate::config::wrong::{self, Wrong};
use crate::config::{FastCgiTerms, defaults, keys, telling, upgrades};

const WEEK: Duration = Duration::from_secs(7 * 86_400);
const WEEK_OR_NONE: RangeInclusive<Duration> = Duration::ZERO..=WEEK;

/// Reads the handler. Where the sockets go is added once the whole file is known.
pub(in crate::config) fn read(table: &Table<'_>) -> Process {
    let source = table.reader.source;
    let listen = table.one_of(
        "listen",
        &[
            ("unix", WorkerListen::Unix),
            ("port", WorkerListen::Port),
            ("fd", WorkerListen::Fd),
        ],
    );
    let start_mode = table.one_of(
        "start_mode",
        &[
            ("on_demand", StartMode::OnDemand),
            ("always", StartMode::Always),
        ],
    );
    let protocol = table.one_of(
        "protocol",
        &[
            ("http", WorkerProtocol::Http),
            ("fastcgi", WorkerProtocol::FastCgi),
        ],
    );
    let cwd = source.resolve(
        table
            .text("cwd")
            .map_or(defaults::WORKER_CWD, |at| at.value),
    );
    let protocol = protocol.map_or(defaults::WORKER_PROTOCOL, |at| at.value);
    let listen = listen.map_or(defaults::WORKER_LISTEN, |at| at.value);
    let start_mode = start_mode.map_or(defaults::WORKER_START_MODE, |at| at.value);
    let workers = table.count("workers", 1..=256, defaults::WORKERS);
    let ready_path = path(table, "ready_path");
    let (idle_timeout, idle_action) = idle(table, start_mode);
    let wait = |key, default| table.duration(key, WAIT, default);
    Process {
        command: command(table),
        env: variables(table, "env"),
        user: word(table, "user", defaults::WORKER_USER),
        group: word(table, "group", defaults::WORKER_GROUP),
        workers,
        start_mode,
        listen,
        protocol,
        startup_timeout: wait("startup_timeout", defaults::STARTUP_TIMEOUT),
        ping: ping(table, ready_path.as_deref()),
        ready_path,
        warm_up: warm_up(table),
        splash: table.text("splash").map(|at| source.resolve(at.value)),
        rapid_fail: rapid_fail(table),
        recycle: recycle(table, &cwd),
        shutdown_timeout: wait("shutdown_timeout", defaults::SHUTDOWN_TIMEOUT),
        idle_timeout,
        idle_action,
        offline_file: offline_file(table, &cwd),
        limits: limits(table),
        connect_timeout: wait("connect_timeout", defaults::CONNECT_TIMEOUT),
        response_timeout: wait("response_timeout", defaults::RESPONSE_TIMEOUT),
        body_timeout: wait("body_timeout", defaults::BODY_TIMEOUT),
        telling: telling::fields(table),
        upgrade: upgrades::read(table),
        fastcgi: fastcgi(table, protocol, &cwd, fastcgi::waits(table)),
        socket_folder: PathBuf::new(),
        cwd,
    }
}

fn command(table: &Table<'_>) -> Vec<String> {
    table.require("command", "[\"python3\", \"app.py\"]");
    if let Some(value) = table.value("command")
        && let Some(line) = value.get_ref().as_str()
    {
        let words: Vec<_> = line
            .split_whitespace()
            .map(|word| format!("{word:?}"))
            .collect();
        let wrong = wrong::kind("command", "an array of strings", value.get_ref());
        let help = format!(
            "no shell stands between, so that every argument is a string of its own: write [{}]",
            words.join(", ")
        );
        table.reader.wrong(&value.span(), wrong.help(help));
        return Vec::new();
    }
    let Some(written) = arguments(table) else {
        return Vec::new();
    };
    if written.value.first().is_none_or(String::is_empty) {
        let wrong = Wrong::new("empty-value", "`command` must name a program");
        table
            .reader
            .wrong(&written.span, wrong.help("write [\"python3\", \"app.py\"]"));
    }
    written.value
}

/// An argument may be anything that a program can be given: an empty one, and one of several lines.
fn arguments(table: &Table<'_>) -> Option<At<Vec<String>>> {
    let array = table.read("command", |value| {
        value
            .as_array()
            .ok_or_else(|| wrong::kind("command", "an array of strings", value))
    })?;
    let mut words = Vec::with_capacity(array.value.len());
    for member in array.value.iter() {
        match argument("command", member.get_ref()) {
            Ok(word) => words.push(word),
            Err(wrong) => table.reader.wrong(&member.span(), wrong),
        }
    }
    Some(At {
        value: words,
        span: array.span,
    })
}

fn argument(key: &str, value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = wrong::string(key, value)?;
    if text.contains('\0') {
        let message = format!("`{key}` cannot hold a NUL, at which the system ends a string");
        return Err(Wrong::new("control-character", message));
    }
    Ok(text.to_owned())
}

/// What a worker's socket is named by: written by us, it cannot be written by the file.
const OURS: [&str; 6] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "PORT",
    "PORTUNUS_SOCKET",
    "PORTUNUS_POOL",
];

/// A table of variables.
fn variables(table: &Table<'_>, of: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let Some(entries) = table.entries(of) else {
        return variables;
    };
    for (key, value) in entries.value.iter() {
        let name: &str = key.get_ref();
        let wrong = |message: String| Wrong::new("bad-variable", message);
        if name.is_empty() || name.contains(['=', '\0']) {
            let wrong = wrong(format!("{name:?} cannot be the name of a variable"));
            let help = "write letters, digits and underscores, as in DATABASE_URL";
            table.reader.wrong(&key.span(), wrong.help(help));
        } else if of == "env" && OURS.contains(&name) {
            let wrong = wrong(format!(
                "`{name}` is set by Portunus, to say where to listen"
            ));
            table.reader.wrong(
                &key.span(),
                wrong.help("remove it; `listen` chooses what is set"),
            );
        } else {
            match argument(name, value.get_ref()) {
                Ok(text) => {
                    variables.insert(name.to_owned(), text);
                }
                Err(wrong) => table.reader.wrong(&value.span(), wrong),
            }
        }
    }
    variables
}

fn fastcgi(
    handler: &Table<'_>,
    protocol: WorkerProtocol,
    cwd: &Path,
    waits: Waits,
) -> FastCgiTerms {
    let Some(table) = handler.table("fastcgi", &keys::FASTCGI) else {
        return FastCgiTerms::plain(waits);
    };
    if protocol != WorkerProtocol::FastCgi {
        let wrong = Wrong::new("useless-key", "`fastcgi` is for workers that speak it");
        let help = "write protocol = \"fastcgi\", or remove `fastcgi`";
        table.reader.wrong(&table.span, wrong.help(help));
    }
    fastcgi::told(&table, |root| cwd.join(root), waits)
}

/// A name that may be empty.
fn word(table: &Table<'_>, key: &str, default: &str) -> String {
    table.string(key).map_or(default, |at| at.value).to_owned()
}

/// The path of a request that we make ourselves.
fn request_path(key: &str, value: &DeValue<'_>) -> Result<String, Wrong> {
    let path = wrong::text(key, value)?;
    match path.parse::<http::uri::PathAndQuery>() {
        Ok(_) if path.starts_with('/') => Ok(path.to_owned()),
        _ => Err(
            Wrong::new("bad-path", format!("{path:?} cannot be asked for"))
                .help("write a path that begins with /, as in \"/health\""),
        ),
    }
}

fn path(table: &Table<'_>, key: &str) -> Option<String> {
    table
        .read(key, |value| request_path(key, value))
        .map(|at| at.value)
}

fn warm_up(table: &Table<'_>) -> Vec<String> {
    let array = table.read("warm_up", |value| {
        value
            .as_array()
            .ok_or_else(|| wrong::kind("warm_up", "an array of paths", value))
    });
    let mut paths = Vec::new();
    for member in array.iter().flat_map(|array| array.value.iter()) {
        match request_path("warm_up", member.get_ref()) {
            Ok(path) => paths.push(path),
            Err(wrong) => table.reader.wrong(&member.span(), wrong),
        }
    }
    if let Some(array) = array
        && paths.len() > WARM_UP_MAX
    {
        let message = format!(
            "`warm_up` has {} paths, and must have {WARM_UP_MAX} at most",
            paths.len()
        );
        table
            .reader
            .wrong(&array.span, Wrong::new("out-of-range", message));
    }
    paths
}

/// Each is waited for before a worker gets requests.
const WARM_UP_MAX: usize = 100;

fn ping(table: &Table<'_>, ready_path: Option<&str>) -> Option<Ping> {
    let interval = table.duration("ping_interval", WEEK_OR_NONE, defaults::PING_INTERVAL);
    let timeout = table.duration("ping_timeout", WAIT, defaults::PING_TIMEOUT);
    let written = path(table, "ping_path");
    let path = written.or_else(|| ready_path.map(str::to_owned));
    (!interval.is_zero()).then_some(Ping {
        interval,
        timeout,
        path,
    })
}

/// When it is put to rest, and how. What runs always is not stopped for want of requests; unless that is written, it is not
/// frozen either.
fn idle(table: &Table<'_>, start_mode: StartMode) -> (Option<Duration>, IdleAction) {
    let action = table.one_of(
        "idle_action",
        &[("stop", IdleAction::Stop), ("suspend", IdleAction::Suspend)],
    );
    let action = action.map_or(defaults::IDLE_ACTION, |at| at.value);
    let timeout = table.duration("idle_timeout", WEEK_OR_NONE, defaults::WORKER_IDLE_TIMEOUT);
    let timeout = (!timeout.is_zero()).then_some(timeout);
    if start_mode == StartMode::OnDemand || action == IdleAction::Suspend {
        return (timeout, action);
    }
    if let (Some(_), Some(written)) = (timeout, table.value("idle_timeout")) {
        let wrong = Wrong::new(
            "idle-always",
            "`idle_timeout` would stop a worker that `start_mode = \"always\"` keeps",
        );
        let help =
            "remove one of the two, or write idle_action = \"suspend\", which freezes it instead";
        table.reader.wrong(&written.span(), wrong.help(help));
    }
    (None, action)
}

fn rapid_fail(handler: &Table<'_>) -> RapidFail {
    let mut rapid_fail = RapidFail {
        failures: Some(defaults::RAPID_FAILURES as u32),
        within: defaults::RAPID_FAIL_WITHIN,
        probation: None,
    };
    let Some(table) = handler.table("rapid_fail", &keys::RAPID_FAIL) else {
        return rapid_fail;
    };
    let failures = table.count("failures", 0..=1000, defaults::RAPID_FAILURES) as u32;
    rapid_fail.failures = (failures > 0).then_some(failures);
    rapid_fail.within = table.duration("within", WAIT, defaults::RAPID_FAIL_WITHIN);
    let probation = table.duration("probation", WEEK_OR_NONE, defaults::RAPID_FAIL_PROBATION);
    rapid_fail.probation = (!probation.is_zero()).then_some(probation);
    rapid_fail
}

fn recycle(handler: &Table<'_>, cwd: &Path) -> Recycle {
    let mut recycle = Recycle {
        requests: None,
        time: Some(defaults::RECYCLE_TIME),
        schedule: Vec::new(),
        memory: None,
        files: Vec::new(),
    };
    let Some(table) = handler.table("recycle", &keys::RECYCLE) else {
        return recycle;
    };
    recycle.requests = positive(table.integer("requests", 0..=u64::from(u32::MAX)));
    let year = Duration::ZERO..=Duration::from_secs(365 * 86_400);
    let time = table.duration("time", year, defaults::RECYCLE_TIME);
    recycle.time = (!time.is_zero()).then_some(time);
    recycle.memory = positive(table.size("memory", 0..=MEMORY_MAX));
    for written in table
        .strings("schedule")
        .map_or_else(Vec::new, |at| at.value)
    {
        match time_of_day(written.value) {
            Some(time) => recycle.schedule.push(time),
            None => {
                let message = format!("{:?} is no time of the day", written.value);
                let wrong = Wrong::new("bad-time", message);
                table.reader.wrong(
                    &written.span,
                    wrong.help("write hours and minutes, as in \"03:30\""),
                );
            }
        }
    }
    recycle.schedule.sort();
    recycle.schedule.dedup();
    if let Some(files) = table.strings("files") {
        recycle.files = files
            .value
            .iter()
            .map(|file| cwd.join(file.value))
            .collect();
        if recycle.files.len() > WATCHED_FILES_MAX {
            let message = format!(
                "`files` names {} files, and may name {WATCHED_FILES_MAX}",
                files.value.len()
            );
            let wrong = Wrong::new("out-of-range", message);
            table.reader.wrong(
                &files.span,
                wrong.help("name one file, and touch it with every deployment"),
            );
        }
    }
    recycle
}

const WATCHED_FILES_MAX: usize = 64;
/// What no machine has is a slip of the pen.
const MEMORY_MAX: u64 = 1 << 46;

fn positive(written: Option<At<u64>>) -> Option<u64> {
    written.map(|at| at.value).filter(|value| *value > 0)
}

fn time_of_day(text: &str) -> Option<TimeOfDay> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    let time = TimeOfDay {
        hour: hour.parse().ok()?,
        minute: minute.parse().ok()?,
    };
    (time.hour < 24 && time.minute < 60).then_some(time)
}

/// A name in the worker's folder, or none.
fn offline_file(table: &Table<'_>, cwd: &Path) -> Option<PathBuf> {
    let name = word(table, "offline_file", defaults::OFFLINE_FILE);
    (!name.is_empty()).then(|| cwd.join(name))
}

const AT_LIMIT: [(&str, AtLimit); 3] = [
    ("throttle", AtLimit::Throttle),
    ("recycle", AtLimit::Recycle),
    ("kill", AtLimit::Kill),
];

fn limits(handler: &Table<'_>) -> WorkerLimits {
    let mut limits = WorkerLimits {
        memory: None,
        cpu: None,
        processes: None,
        files: None,
        on_memory: defaults::ON_MEMORY,
        on_cpu: defaults::ON_CPU,
    };
    let Some(table) = handler.table("limits", &keys::WORKER_LIMITS) else {
        return limits;
    };
    // A program that is given less does not even begin.
    limits.memory = positive(table.read("memory", |value| {
        match wrong::size("memory", value, &(0..=MEMORY_MAX))? {
            0 => Ok(0),
            _ => wrong::size("memory", value, &((1 << 20)..=MEMORY_MAX)),
        }
    }));
    limits.cpu = table
        .read("cpu", cpu)
        .map(|at| at.value)
        .filter(|cpu| *cpu > 0);
    limits.processes = positive(table.integer("processes", 0..=4_194_304));
    limits.files = positive(table.integer("files", 0..=1 << 20));
    let at_limit = |key, default| table.one_of(key, &AT_LIMIT).map_or(default, |at| at.value);
    limits.on_memory = at_limit("on_memory", defaults::ON_MEMORY);
    limits.on_cpu = at_limit("on_cpu", defaults::ON_CPU);
    for (key, of) in [("on_memory", "memory"), ("on_cpu", "cpu")] {
        if let (None, Some(written)) = (table.value(of), table.value(key)) {
            let message = format!("`{key}` is for a limit of `{of}`, and there is none");
            let wrong = Wrong::new("useless-key", message);
            table.reader.wrong(
                &written.span(),
                wrong.help(format!("write `{of}` too, or remove `{key}`")),
            );
        }
    }
    limits
}

/// `"150%"`: a core and a half.
fn cpu(value: &DeValue<'_>) -> Result<u32, Wrong> {
    let wrong = || {
        let message =
            "`cpu` must be a share of one core, from \"1%\" to \"100000%\", or \"0%\" for no limit";
        Wrong::new("bad-percentage", message)
    };
    let text = value.as_str().ok_or_else(|| match value.as_integer() {
        Some(number) => wrong().help(format!("write \"{number}%\"")),
        None => wrong().help("write it as in \"150%\", which is a core and a half"),
    })?;
    let number = text
        .strip_suffix('%')
        .and_then(|number| number.parse::<u32>().ok());
    number
        .filter(|number| *number <= 100_000)
        .ok_or_else(|| wrong().help("write it as in \"150%\", which is a core and a half"))
}
