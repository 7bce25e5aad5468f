//! What is packaged for Prometheus and Grafana speaks of metrics that there are, in words that Prometheus understands.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use portunus::report::metrics::list::{ALL, Kind, Metric};
use serde_json::Value;

use crate::support::Tool;

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name)
}

/// Whom a name in an expression is of, with what a histogram's series have behind it.
fn metric(name: &str) -> Option<&'static Metric> {
    ALL.iter().copied().find(|metric| match metric.kind {
        Kind::Histogram(_) => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|end| name.strip_suffix(end) == Some(metric.name)),
        Kind::Counter | Kind::Gauge => name == metric.name,
    })
}

/// The metrics that an expression names, each with the labels that it selects by. Panics at one that there is not.
fn selected(expression: &str) -> Vec<(&'static Metric, BTreeSet<String>)> {
    let mut all = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for start in ["portunus_", "process_"] {
        for (at, _) in expression.match_indices(start) {
            if expression[..at].ends_with(is_word) {
                continue;
            }
            let rest = &expression[at..];
            let (name, behind) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
            let metric = metric(name).unwrap_or_else(|| panic!("there is no {name}"));
            let mut labels = BTreeSet::new();
            if let Some(inside) = behind.strip_prefix('{') {
                let inside = inside.split('}').next().expect("its end");
                for matcher in inside.split(", ").flat_map(|it| it.split("\",")) {
                    let label = matcher.split(['=', '!']).next().expect("a label");
                    labels.insert(label.trim().to_owned());
                }
            }
            all.push((metric, labels));
        }
    }
    all
}

/// What Prometheus adds to every series of a target.
const OF_TARGETS: [&str; 2] = ["job", "instance"];

fn check_labels(expression: &str) {
    let selected = selected(expression);
    let mut known: BTreeSet<&str> = OF_TARGETS.into();
    for (metric, labels) in &selected {
        known.extend(metric.labels);
        if matches!(metric.kind, Kind::Histogram(_)) {
            known.insert("le");
        }
        for label in labels {
            let is_there =
                metric.labels.contains(&label.as_str()) || OF_TARGETS.contains(&label.as_str());
            assert!(is_there, "{} has no {label}: {expression}", metric.name);
        }
    }
    for part in ["by (", "on ("]
        .iter()
        .flat_map(|word| expression.split(*word).skip(1))
    {
        let inside = part.split(')').next().expect("its end");
        for label in inside.split(',').map(str::trim) {
            assert!(known.contains(label), "nothing has {label}: {expression}");
        }
    }
}

#[test]
fn the_alerts_that_are_packaged_are_rules_over_metrics_that_there_are() {
    let file = packaged("prometheus-alerts.yml");
    Tool::new("promtool")
        .args(["check", "rules"])
        .arg(&file)
        .stdout();
    let rules = std::fs::read_to_string(file).expect("the rules");
    let page = include_str!("../../../docs/metrics.md");
    for rule in rules.split("- alert: ").skip(1) {
        let (name, rest) = rule.split_once('\n').expect("its end");
        let expression = rest.split("annotations:").next().expect("an expression");
        check_labels(expression);
        assert!(page.contains(&format!("\n| {name} |")), "{name} is told");
    }
}

#[test]
fn each_alert_fires_when_it_should_and_leaves_alone_what_it_should() {
    let file = packaged("prometheus-alerts.test.yml");
    let tested = std::fs::read_to_string(&file).expect("the tests");
    Tool::new("promtool")
        .args(["test", "rules"])
        .arg(&file)
        .stdout();
    let rules = std::fs::read_to_string(packaged("prometheus-alerts.yml")).expect("the rules");
    for name in rules
        .lines()
        .filter_map(|line| line.split_once("- alert: "))
    {
        let fires = tested
            .split(&format!("alertname: {}\n", name.1))
            .skip(1)
            .any(|rest| rest.trim_start().starts_with("exp_alerts:\n"));
        assert!(fires, "no test has {} fire", name.1);
    }
}

/// Every value of a key, wherever in the file it stands.
fn all_of<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == key => found.push(text),
                    value => all_of(value, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| all_of(value, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_for_grafana_asks_for_metrics_that_there_are_in_words_that_prometheus_parses() {
    let text = std::fs::read_to_string(packaged("grafana-dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    // Grafana 10.0 has 38; later ones read it.
    assert_eq!(dashboard["schemaVersion"], 38);
    let panels = dashboard["panels"].as_array().expect("panels");
    let rows = panels.iter().filter(|panel| panel["type"] == "row");
    let rows: Vec<&str> = rows
        .map(|row| row["title"].as_str().expect("a title"))
        .collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    for (row, kind) in rows.iter().zip(["Executive", "On call", "Debug"]) {
        assert!(row.starts_with(kind), "{row}");
    }
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len());

    let mut sources = Vec::new();
    all_of(&dashboard, "uid", &mut sources);
    let sources: BTreeSet<&str> = sources.into_iter().collect();
    assert_eq!(sources, BTreeSet::from(["${datasource}", "portunus"]));

    let mut definitions = Vec::new();
    all_of(&dashboard, "definition", &mut definitions);
    assert_eq!(definitions.len(), 4, "job, instance, binding, pool");
    definitions.iter().for_each(|asked| check_labels(asked));

    let mut expressions = Vec::new();
    all_of(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 40, "{}", expressions.len());
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, expression) in expressions.iter().enumerate() {
        check_labels(expression);
        let mut plain = expression.replace("$__rate_interval", "5m");
        plain = plain.replace("$__range", "1h");
        for variable in ["job", "instance", "binding", "pool"] {
            plain = plain.replace(&format!("${variable}"), ".*");
        }
        assert!(!plain.contains('$'), "{plain}");
        let plain = serde_json::to_string(&plain).expect("a string");
        writeln!(rules, "      - {{ record: \"d:{number}\", expr: {plain} }}").expect("memory");
    }
    let folder = crate::support::folder();
    let file = folder.path().join("dashboard.yml");
    std::fs::write(&file, rules).expect("written");
    Tool::new("promtool")
        .args(["check", "rules"])
        .arg(&file)
        .stdout();
}
