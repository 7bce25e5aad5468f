//! The rules, each a function from a source to its faults. A fault names the place, what is wrong and the remedy.

use crate::source::{Source, close_of, head_end, is_word, words};

/// The rooms from the one that knows nobody to the one that nobody knows: a room may import those before it.
const RANKS: &[&str] = &[
    "model",
    "chunked",
    "clock",
    "draft",
    "config",
    "report",
    "certificate",
    "acme",
    "ocsp",
    "traces",
    "worker",
    "handler",
    "pool",
    "site",
    "binding",
    "http",
    "tls",
    "listener",
    "admin",
    "server",
    "cli",
];

/// What the binding table may not touch: it is pure, so that it can be tested against a naive one and moved anywhere.
const IMPURE: [(&str, &str); 8] = [
    ("tokio", "a runtime"),
    ("Instant::now", "a clock"),
    ("SystemTime", "a clock"),
    ("std::fs", "files"),
    ("std::io", "input and output"),
    ("TcpListener", "sockets"),
    ("TcpStream", "sockets"),
    ("UdpSocket", "sockets"),
];

/// The only file that may hold `unsafe`.
const UNSAFE_FILE: &str = "listener/sys.rs";

const FILE_LINES_MAX: usize = 500;
const MAIN_LINES_MAX: usize = 150;
const FUNCTION_LINES_MAX: usize = 70;

/// The fewest words of an `expect` that count as a reason.
const REASON_WORDS_MIN: usize = 3;

/// Every fault of one file, each as `path:line: what; remedy`.
pub(crate) fn faults(source: &Source) -> Vec<String> {
    let rules = [
        imports,
        purity,
        file_length,
        function_length,
        unexplained_panics,
        unfinished,
        unsafety,
    ];
    let mut faults: Vec<(usize, String)> = rules.iter().flat_map(|rule| rule(source)).collect();
    faults.sort();
    faults
        .into_iter()
        .map(|(line, fault)| format!("{}:{line}: {fault}", source.path))
        .collect()
}

type Faults = Vec<(usize, String)>;

/// Imports go down the ranks, never up; the binary knows only `cli`.
fn imports(source: &Source) -> Faults {
    let own = room_of(&source.path);
    // The map names every room: that is what it is for.
    if own == "lib" {
        return Vec::new();
    }
    rooms_named(source)
        .into_iter()
        .filter(|(at, _)| !source.in_tests(*at))
        .filter_map(|(at, room)| Some((source.line_of(at), import_fault(own, room)?)))
        .collect()
}

fn import_fault(own: &str, room: &str) -> Option<String> {
    let rank = |room| RANKS.iter().position(|known| *known == room);
    if own == "main" {
        return (room != "cli").then(|| {
            format!(
                "main.rs imports `{room}`, but may only know `cli`; move what needs it to src/cli"
            )
        });
    }
    let Some(own_rank) = rank(own) else {
        return Some(format!(
            "the room `{own}` has no rank; give it its place in RANKS of tests/tidy/rules.rs"
        ));
    };
    match rank(room) {
        Some(rank) if rank <= own_rank => None,
        Some(_) => Some(format!(
            "`{own}` imports `{room}`, which stands above it; move the shared noun down to `model`, or hand it in \
             through a trait or a function from above (the order: {})",
            RANKS.join(" < ")
        )),
        // An item of the crate's root: lib.rs holds none, so that rustc says so itself, or a macro.
        None => None,
    }
}

/// The room that a file belongs to: its first folder, or its own name.
fn room_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Every room that the code names: by `crate::`, by the library's name, or by enough `super::` to reach the root.
fn rooms_named(source: &Source) -> Vec<(usize, &str)> {
    let code = &source.code;
    let mut named = Vec::new();
    for root in ["crate::", "portunus::"] {
        for at in words(code, root) {
            named.extend(first_names(code, at + root.len()));
        }
    }
    let depth = module_depth(&source.path);
    for at in words(code, "super::") {
        // Of a chain, the first place alone counts, with all that follow it.
        if code[..at].ends_with("super::") {
            continue;
        }
        let mut end = at;
        let mut climbed = 0;
        while code[end..].starts_with("super::") {
            end += "super::".len();
            climbed += 1;
        }
        if climbed >= depth {
            named.extend(first_names(code, end));
        }
    }
    named
}

/// How many steps a file's module stands below the root: `tls/mod.rs` 1, `tls/hello.rs` 2.
fn module_depth(path: &str) -> usize {
    let parts = path.split('/').count();
    if path.ends_with("/mod.rs") {
        parts - 1
    } else {
        parts
    }
}

/// The name behind `::`, or each first name of the group that stands there.
fn first_names(code: &str, from: usize) -> Vec<(usize, &str)> {
    let rest = &code[from..];
    let start = from + rest.len() - rest.trim_start().len();
    if !code[start..].starts_with('{') {
        return vec![(start, word_at(code, start))];
    }
    let end = close_of(code, start);
    let mut names = Vec::new();
    let mut expected = true;
    let mut at = start + 1;
    while at < end {
        match code.as_bytes()[at] {
            b'{' => at = close_of(code, at) - 1,
            b',' => expected = true,
            byte if expected && is_word(char::from(byte)) => {
                names.push((at, word_at(code, at)));
                expected = false;
            }
            _ => {}
        }
        at += 1;
    }
    names
}

fn word_at(code: &str, at: usize) -> &str {
    let rest = &code[at..];
    &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())]
}

/// The binding table touches no runtime, no clock and no I/O.
fn purity(source: &Source) -> Faults {
    if room_of(&source.path) != "binding" {
        return Vec::new();
    }
    let found = |(name, what): (&'static str, &'static str)| {
        source.words(name).map(move |at| {
            let fault = format!(
                "`{name}` brings {what} into the binding table, which is pure; hand the value in from above"
            );
            (source.line_of(at), fault)
        })
    };
    IMPURE.into_iter().flat_map(found).collect()
}

/// A file is a room that can be seen at once.
fn file_length(source: &Source) -> Faults {
    let max = match source.path.as_str() {
        "main.rs" => MAIN_LINES_MAX,
        _ => FILE_LINES_MAX,
    };
    let lines = source.lines();
    if lines <= max || source.is_tests() {
        return Vec::new();
    }
    let fault = format!(
        "the file has {lines} lines, {max} are allowed; split it by what its parts are for, and put its tests into a \
         tests.rs beside it"
    );
    vec![(max + 1, fault)]
}

/// A function does one thing. Counted from `fn` to its closing brace.
fn function_length(source: &Source) -> Faults {
    let code = &source.code;
    let mut faults = Vec::new();
    for at in source.words("fn") {
        let name = word_at(code, at + "fn ".len());
        // `fn(…)` is a type.
        let Some(open) = head_end(code, at).filter(|_| !name.is_empty()) else {
            continue;
        };
        if code.as_bytes()[open] == b';' {
            continue;
        }
        let first = source.line_of(at);
        let lines = source.line_of(close_of(code, open) - 1) - first + 1;
        if lines > FUNCTION_LINES_MAX {
            faults.push((
                first,
                format!(
                    "`fn {name}` has {lines} lines, {FUNCTION_LINES_MAX} are allowed; make a function of each step, and \
                     of each long match arm"
                ),
            ));
        }
    }
    faults
}

/// A panic needs the reason why it cannot come.
fn unexplained_panics(source: &Source) -> Faults {
    let mut faults = Vec::new();
    for (at, call) in calls(source, &["unwrap", "unwrap_err", "expect", "expect_err"]) {
        let reasoned = call.starts_with("expect")
            && source.code[at + call.len()..].starts_with('(')
            && source
                .literal_at(at + call.len() + 1)
                .is_some_and(|text| text.split_whitespace().count() >= REASON_WORDS_MIN);
        if reasoned || source.has_comment_near(at) {
            continue;
        }
        let remedy = if call.starts_with("expect") {
            "say in its message, in three words or more, why it cannot fail"
        } else {
            "return the error, or use `expect` with the reason why it cannot fail, or give that reason in a comment on \
             this line or the one before"
        };
        let fault = format!("`{call}` without its reason; {remedy}");
        faults.push((source.line_of(at), fault));
    }
    faults
}

/// Where one of these methods is called or named by path, outside tests.
fn calls<'a>(source: &'a Source, names: &'a [&'a str]) -> Vec<(usize, &'a str)> {
    let behind = |at: usize| source.code[..at].trim_end();
    let is_call = |at: &usize| behind(*at).ends_with('.') || behind(*at).ends_with("::");
    names
        .iter()
        .flat_map(|name| {
            source
                .words(name)
                .filter(is_call)
                .map(move |at| (at, *name))
        })
        .collect()
}

/// Nothing is left for later without anybody knowing; tests are held to this too.
fn unfinished(source: &Source) -> Faults {
    let in_comments = ["TODO", "FIXME", "XXX"]
        .into_iter()
        .flat_map(|mark| words(&source.comments, mark).map(move |at| (at, mark)));
    let in_code = ["todo!", "unimplemented!"]
        .into_iter()
        .flat_map(|mark| words(&source.code, mark).map(move |at| (at, mark)));
    in_comments
        .chain(in_code)
        .map(|(at, mark)| {
            let fault = format!(
                "`{mark}` is left behind; do it now, or write down elsewhere that it is to be done"
            );
            (source.line_of(at), fault)
        })
        .collect()
}

/// `unsafe` lives in one small module.
fn unsafety(source: &Source) -> Faults {
    if source.path == UNSAFE_FILE {
        return Vec::new();
    }
    ["unsafe", "unsafe_code"]
        .into_iter()
        .flat_map(|word| source.words(word).map(move |at| (at, word)))
        .map(|(at, word)| {
            let fault = format!(
                "`{word}` outside src/{UNSAFE_FILE}; move the call there, behind a safe function"
            );
            (source.line_of(at), fault)
        })
        .collect()
}
