//! Telling what is found of a configuration, at start and at each reload.

use std::io::{self, IsTerminal};

use crate::config::{Diagnostic, Loaded, LogFormat, Severity};

/// On stderr: to a person whole, with the place underlined; as lines of the server's own log where those are for a program.
pub(super) fn tell(loaded: &Loaded, format: LogFormat) {
    match format {
        LogFormat::Text => eprint!("{}", loaded.render(io::stderr().is_terminal())),
        LogFormat::Json => loaded.diagnostics.iter().for_each(line),
    }
}

fn line(found: &Diagnostic) {
    let related = found.related.iter();
    let related: Vec<_> = related
        .map(|it| format!("line {}: {}", it.line, it.message))
        .collect();
    let related = (!related.is_empty()).then(|| related.join("; "));
    // A level is part of the call.
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(
                finding = found.code,
                file = found.file,
                line = found.line,
                column = found.column,
                help = found.help,
                related,
                "{}",
                found.message
            )
        };
    }
    match found.severity {
        Severity::Error => tell!(error),
        Severity::Warning => tell!(warn),
        Severity::Note => tell!(info),
    }
}
