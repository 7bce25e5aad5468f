//! Which requests are written. Pure.

use std::time::Duration;

use super::record::Rule;
use crate::config::FailedRule;
use crate::model::RoutePath;
use crate::report::witness::Ended;

/// The rules of a configuration.
pub(super) struct Rules(Vec<(FailedRule, Rule)>);

impl Rules {
    /// `sites`: the names that the rules' indices stand for.
    pub(super) fn new(rules: &[FailedRule], sites: &[&str]) -> Self {
        let told = |(at, rule): (usize, &FailedRule)| {
            let told = Rule {
                number: at + 1,
                line: rule.place.line,
                text: text(rule, sites),
            };
            (rule.clone(), told)
        };
        Self(rules.iter().enumerate().map(told).collect())
    }

    /// Whether any of them may fire, as far as a request's path tells. One that names a path asks for one that could be read.
    pub(super) fn could_fire(&self, path: Option<&RoutePath>) -> bool {
        self.0.iter().any(|(rule, _)| takes_path(rule, path))
    }

    /// The same, now that the site is known.
    pub(super) fn could_fire_at(&self, path: Option<&RoutePath>, site: usize) -> bool {
        let mut rules = self.0.iter();
        rules.any(|(rule, _)| takes_path(rule, path) && rule.site.is_none_or(|it| it == site))
    }

    /// Those that fire.
    pub(super) fn fired(&self, ended: &Ended) -> Vec<Rule> {
        let fired = self.0.iter().filter(|(rule, _)| fires(rule, ended));
        fired.map(|(_, told)| told.clone()).collect()
    }
}

fn fires(rule: &FailedRule, ended: &Ended) -> bool {
    let status = ended.status.map(|status| status.as_u16());
    let in_any = |status| rule.status.iter().any(|range| range.contains(&status));
    takes_path(rule, ended.path.as_ref())
        && (rule.site.is_none() || rule.site == ended.site)
        && (rule.status.is_empty() || status.is_some_and(in_any))
        && (rule.reason.is_empty() || ended.reason.is_some_and(|it| rule.reason.contains(&it)))
        && (rule.longer_than).is_none_or(|than| duration(ended) > than)
}

/// A connection that has left HTTP is meant to last: what counts is how long its client waited for that.
fn duration(ended: &Ended) -> Duration {
    let end = match ended.left_http {
        true => ended.answered.unwrap_or(ended.at),
        false => ended.at,
    };
    end.saturating_duration_since(ended.journal.began())
}

/// On whole segments, as routes.
fn takes_path(rule: &FailedRule, path: Option<&RoutePath>) -> bool {
    let Some(prefix) = &rule.path else {
        return true;
    };
    let Some(rest) = path.and_then(|path| path.as_str().strip_prefix(prefix.as_str())) else {
        return false;
    };
    rest.is_empty() || rest.starts_with('/') || prefix == "/"
}

/// As the file has it, in one line.
fn text(rule: &FailedRule, sites: &[&str]) -> String {
    let mut parts = Vec::new();
    if let Some(site) = rule.site {
        parts.push(format!("site = {:?}", sites.get(site).unwrap_or(&"")));
    }
    if let Some(path) = &rule.path {
        parts.push(format!("path = {path:?}"));
    }
    if !rule.status.is_empty() {
        let ranges = rule
            .status
            .iter()
            .map(|range| match range.start() == range.end() {
                true => range.start().to_string(),
                false => format!("\"{}-{}\"", range.start(), range.end()),
            });
        parts.push(format!(
            "status = [{}]",
            ranges.collect::<Vec<_>>().join(", ")
        ));
    }
    if !rule.reason.is_empty() {
        let reasons = rule.reason.iter().map(|reason| format!("\"{reason}\""));
        parts.push(format!(
            "reason = [{}]",
            reasons.collect::<Vec<_>>().join(", ")
        ));
    }
    if let Some(than) = rule.longer_than {
        parts.push(format!(
            "longer_than = \"{}\"",
            humantime::format_duration(than)
        ));
    }
    parts.join(", ")
}
