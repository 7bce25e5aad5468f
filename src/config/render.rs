//! Findings as a person reads them: file, line and column, the line with the place underlined, and what would be right.

use std::ops::Range;

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::{Diagnostic, Place, Severity, Source};

/// Renders findings, an empty line between each two.
pub(super) fn render(diagnostics: &[Diagnostic], source: &Source, color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = String::new();
    for diagnostic in diagnostics {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&renderer.render(&[group(diagnostic, source)]));
        text.push('\n');
    }
    text
}

/// A place that is shown, with what is said beside it.
struct Mark<'a> {
    kind: AnnotationKind,
    line: usize,
    span: Range<usize>,
    label: Option<&'a str>,
}

/// Places of one diagnostic that are further apart are shown as two pieces of the file, so that showing many conflicts of
/// a long file costs no more than their own lines.
const LINES_IN_ONE_PIECE: usize = 30;

fn group<'a>(diagnostic: &'a Diagnostic, source: &'a Source) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code);
    let marks = marks(diagnostic, source);
    let mut group = Group::with_title(title);
    if marks.is_empty() {
        group = group.element(Origin::path(diagnostic.file.as_str()));
    }
    let mut from = 0;
    while from < marks.len() {
        let near = |mark: &&Mark<'_>| mark.line.abs_diff(marks[from].line) <= LINES_IN_ONE_PIECE;
        let to = from + marks[from..].iter().take_while(near).count();
        group = group.element(snippet(&marks[from..to], diagnostic, source));
        from = to;
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(normalize_untrusted_str(help))),
        None => group,
    }
}

/// The places of a finding that the file has, the finding's own first.
fn marks<'a>(diagnostic: &'a Diagnostic, source: &Source) -> Vec<Mark<'a>> {
    let own = Mark {
        kind: AnnotationKind::Primary,
        line: diagnostic.line,
        span: span(diagnostic.place(), diagnostic.underline, source),
        label: None,
    };
    let others = diagnostic.related.iter().map(|related| Mark {
        kind: AnnotationKind::Context,
        line: related.line,
        span: span(
            Place {
                line: related.line,
                column: related.column,
            },
            related.underline,
            source,
        ),
        label: Some(&related.message),
    });
    std::iter::once(own)
        .chain(others)
        .filter(|mark| source.line(mark.line).is_some())
        .collect()
}

/// What is underlined. It never leaves its line: a value of many lines is marked where it begins.
fn span(place: Place, underline: usize, source: &Source) -> Range<usize> {
    let Some(start) = source.offset(place) else {
        return 0..0;
    };
    let token = match underline {
        0 => source.token(start),
        length => start..start + length,
    };
    let end = source.line(place.line).map_or(start, |line| line.end);
    start..token.end.min(end).max(start)
}

/// One piece of the file that holds these marks, and no more of it.
fn snippet<'a>(
    marks: &[Mark<'a>],
    diagnostic: &'a Diagnostic,
    source: &'a Source,
) -> Snippet<'a, Annotation<'a>> {
    let first = marks.iter().map(|mark| mark.line).min().unwrap_or(1);
    let last = marks.iter().map(|mark| mark.line).max().unwrap_or(1);
    let start = source.line(first).map_or(0, |line| line.start);
    let end = source.line(last).map_or(start, |line| line.end);
    Snippet::source(&source.text()[start..end])
        .path(diagnostic.file.as_str())
        .line_start(first)
        .annotations(marks.iter().map(|mark| {
            mark.kind
                .span(mark.span.start - start..mark.span.end - start)
                .label(mark.label.map(normalize_untrusted_str))
        }))
}
