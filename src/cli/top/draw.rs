//! Drawing what is looked at.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::screen::{Mode, Screen};
use super::seen::Pair;
use super::table::{Mood, cut};
use super::tabs::Tab;
use super::words::{age, bytes, count, rate};
use crate::model::plain;

/// Whether there are colours. Without them a row that somebody should look at is bold, and one for which somebody must act is
/// marked as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) colours: bool,
}

impl Theme {
    fn of(self, mood: Mood) -> Style {
        let style = Style::new();
        match (mood, self.colours) {
            (Mood::Well, _) => style,
            (Mood::Strained, true) => style.fg(Color::Yellow),
            (Mood::Bad, true) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Mood::Strained, false) => style.add_modifier(Modifier::BOLD),
            (Mood::Bad, false) => style.add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED)),
        }
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const TURNED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws it; `now` is the time since `top` was started. Gives back how many rows may be above the first one shown.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen, theme: Theme, now: Duration) -> usize {
    let lines = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ];
    let [title, totals, tabs, rest, foot] = Layout::vertical(lines).areas(frame.area());
    if let Some(pair) = screen.pair() {
        line(frame, title, self::title(&pair), BOLD);
        line(frame, totals, self::totals(&pair), Style::new());
    } else {
        line(frame, title, "portunus top".to_owned(), BOLD);
    }
    frame.render_widget(Paragraph::new(tab_line(screen)), tabs);
    let skipped_most = match screen.mode {
        Mode::Help => {
            frame.render_widget(Paragraph::new(HELP), rest);
            usize::MAX
        }
        _ => rows(frame, rest, screen, theme),
    };
    self::foot(frame, foot, screen, theme, now);
    skipped_most
}

fn line(frame: &mut Frame<'_>, area: Rect, text: String, style: Style) {
    let text = cut(&text, area.width.into());
    frame.render_widget(Paragraph::new(Line::styled(text, style)), area);
}

/// Who answers, and how it is.
pub(super) fn title(pair: &Pair<'_>) -> String {
    let service = pair.service();
    let number = |key| service.number(key).unwrap_or(0.0);
    let ready = match service.now["ready"].as_bool() {
        Some(true) => "ready",
        _ => "NOT READY",
    };
    let limit = match service.number("connections.limit") {
        Some(limit) => format!("/{}", count(limit)),
        None => String::new(),
    };
    format!(
        "portunus {}  pid {}  up {}  {ready}  connections {}{limit}",
        plain(service.text("version")),
        count(number("process_id")),
        age(number("uptime_seconds")),
        count(number("connections.open")),
    )
}

/// What all of it comes to in a second.
pub(super) fn totals(pair: &Pair<'_>) -> String {
    let service = pair.service();
    let bindings = pair.bindings();
    let sum = |key: &str| {
        let rates = bindings.iter().filter_map(|binding| binding.rate(key));
        let rates: Vec<f64> = rates.collect();
        (!rates.is_empty()).then(|| rates.iter().sum::<f64>())
    };
    let refusals = pair.refusals();
    // None before a second answer.
    let refused = (service.rate("uptime_seconds"))
        .map(|_| refusals.iter().filter_map(|(_, it)| it.rate("")).sum());
    let say = |number: Option<f64>, write: fn(f64) -> String| {
        number.map_or("-".to_owned(), |number| format!("{}/s", write(number)))
    };
    format!(
        "responses {}  refused {}  TLS {} (failed {})  out {}  in {}  accepted {}",
        say(sum("responses"), rate),
        say(refused, rate),
        say(service.rate("tls.handshakes"), rate),
        say(service.rate("tls.failed"), rate),
        say(sum("bytes_sent"), bytes),
        say(sum("bytes_received"), bytes),
        say(service.rate("connections.accepted"), rate),
    )
}

fn tab_line(screen: &Screen) -> Line<'static> {
    let mut spans = Vec::new();
    for (index, tab) in Tab::ALL.into_iter().enumerate() {
        let style = if tab == screen.tab {
            TURNED
        } else {
            Style::new()
        };
        spans.push(Span::styled(format!("{} {}", index + 1, tab.name()), style));
        spans.push(Span::raw("  "));
    }
    Line::from(spans)
}

fn rows(frame: &mut Frame<'_>, area: Rect, screen: &Screen, theme: Theme) -> usize {
    let (table, sorted) = screen.table();
    let (head, rows) = table.lines(Some(area.width.into()), sorted);
    let room = usize::from(area.height).saturating_sub(1);
    let skipped_most = rows.len().saturating_sub(room);
    let skipped = screen.skipped.min(skipped_most);
    let mut lines = vec![Line::styled(head, BOLD)];
    if rows.is_empty() && screen.pair().is_some() {
        let nothing = match screen.filter.is_empty() {
            true => "nothing",
            false => "nothing has this in it",
        };
        lines.push(Line::raw(nothing));
    }
    let shown = rows.into_iter().skip(skipped).take(room);
    lines.extend(shown.map(|(row, mood)| Line::styled(row, theme.of(mood))));
    frame.render_widget(Paragraph::new(lines), area);
    skipped_most
}

fn foot(frame: &mut Frame<'_>, area: Rect, screen: &Screen, theme: Theme, now: Duration) {
    if let Some(gone) = &screen.gone {
        let away = age(now.saturating_sub(gone.at).as_secs_f64());
        let text = format!(
            "not reachable since {} ({away}): {}",
            gone.since,
            plain(&gone.why)
        );
        return line(frame, area, text, theme.of(Mood::Bad));
    }
    let text = match screen.mode {
        Mode::Filter => format!(
            "filter: {}_  (Enter keeps it, Esc clears it)",
            screen.filter
        ),
        Mode::Help => "any key goes back".to_owned(),
        Mode::Look => {
            let mut text = "q quit  1-6 Tab  s sort  / filter  p pause  ? help".to_owned();
            if screen.paused {
                text.insert_str(0, "PAUSED  ");
            }
            if !screen.filter.is_empty() {
                text = format!("filter: {}  {text}", screen.filter);
            }
            text
        }
    };
    line(frame, area, text, TURNED);
}

const HELP: &str = "\
1-6, Tab, arrows   pools, bindings, upstreams, workers, connections, refusals
up, down, PageUp,  scroll
PageDown, Home
s                  sort by the next column; after the last, as the server tells it
r                  the other way round
/                  rows that have a text in them; Enter keeps the filter, Esc clears it
p, space           pause, and go on
?                  this
q, Ctrl-C          quit

Rates are differences between two answers of the server, in a second.
Red (without colours: underlined): somebody must act; yellow (bold): look.";
