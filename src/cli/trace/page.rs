//! A failed request as a page of its own: one file, nothing loaded, no script.
//!
//! All that it shows comes from clients and upstreams: every text goes through [`Escaped`], every number is one, and the page's own
//! policy forbids whatever a mistake here would let through.

use std::fmt::{self, Write as _};

use super::view::{self, Kind};
use crate::report::failed::{Head, Record};

pub(super) fn page(record: &Record, name: &str) -> String {
    let title = view::title(record);
    let title = Escaped(&title);
    let mut page = String::with_capacity(16 << 10);
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <p class=\"file\">{}</p>\n<h1>{title}</h1>\n",
        Escaped(name)
    );
    let why = view::why(record);
    if !why.is_empty() {
        let _ = writeln!(page, "<p class=\"why\">{}</p>", Escaped(&why));
    }
    if record.shortened {
        page.push_str("<p class=\"note\">Long values and fields beyond <code>max_file_bytes</code> are shortened or left out.</p>\n");
    }
    waterfall(&mut page, record);
    page.push_str("<section><h2>The request</h2>\n<dl>\n");
    for (name, fact) in view::facts(record) {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", Escaped(&fact));
    }
    page.push_str("</dl></section>\n");
    steps(&mut page, record);
    head(&mut page, "Request head", record.request.as_ref());
    head(&mut page, "Response head", record.response.as_ref());
    let _ = writeln!(
        page,
        "<footer>Written by Portunus {}. Values of secrets are left out.</footer>\n</main>\n</body>\n</html>",
        Escaped(&record.portunus)
    );
    page
}

/// A bar for each span, under a scale of the whole.
fn waterfall(page: &mut String, record: &Record) {
    let lanes = view::lanes(record);
    if lanes.is_empty() {
        return;
    }
    let whole = record.duration_ms;
    let _ = writeln!(
        page,
        "<section><h2>Where the time went</h2>\n<div class=\"scale\" aria-hidden=\"true\"><span>0</span><span>{}</span><span>{}</span></div>\n<ul class=\"waterfall\">",
        view::millis(whole / 2.0),
        view::millis(whole)
    );
    for lane in lanes {
        let left = percent(lane.from, whole);
        let width = (percent(lane.to, whole) - left).max(0.0);
        let kind = lane.kind.as_str();
        let failed =
            lane.kind == Kind::Attempt && !lane.end.starts_with(|c: char| c.is_ascii_digit());
        let class = if failed { " failed" } else { "" };
        let took = view::millis((lane.to - lane.from).max(0.0));
        let _ = writeln!(
            page,
            "<li class=\"{kind}{class}\"><span class=\"label\">{} <span class=\"end\">{}</span></span>\
             <span class=\"track\" aria-hidden=\"true\"><span class=\"bar\" style=\"left:{left:.3}%;width:{width:.3}%\"></span></span>\
             <span class=\"took\">{took}<span class=\"unseen\">, from {}</span></span></li>",
            Escaped(&lane.label),
            Escaped(&lane.end),
            view::millis(lane.from),
        );
    }
    page.push_str("</ul></section>\n");
}

fn steps(page: &mut String, record: &Record) {
    page.push_str("<section><h2>Every step</h2>\n<table class=\"steps\"><thead><tr><th scope=\"col\">After</th><th scope=\"col\">Step</th></tr></thead>\n<tbody>\n");
    for step in &record.steps {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td></tr>",
            view::millis(step.ms),
            Escaped(&view::words(step))
        );
    }
    page.push_str("</tbody></table>\n");
    if record.steps_left_out > 0 {
        let _ = writeln!(
            page,
            "<p class=\"note\">{} steps between these are left out.</p>",
            record.steps_left_out
        );
    }
    page.push_str("</section>\n");
}

fn head(page: &mut String, title: &str, head: Option<&Head>) {
    let Some(head) = head else { return };
    let _ = writeln!(page, "<section><h2>{title}</h2>\n<dl class=\"fields\">");
    for (name, value) in &head.fields {
        let _ = writeln!(
            page,
            "<dt>{}</dt><dd>{}</dd>",
            Escaped(name),
            Escaped(value)
        );
    }
    page.push_str("</dl>\n");
    if head.fields_left_out > 0 {
        let _ = writeln!(
            page,
            "<p class=\"note\">{} more fields are left out.</p>",
            head.fields_left_out
        );
    }
    page.push_str("</section>\n");
}

/// Of the whole, from 0 to 100.
fn percent(at: f64, whole: f64) -> f64 {
    match whole > 0.0 {
        true => (100.0 * at / whole).clamp(0.0, 100.0),
        false => 0.0,
    }
}

/// Text, and nothing but text, wherever in a page it stands.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in view::plain(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

const STYLE: &str = include_str!("page.css");
