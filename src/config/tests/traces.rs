//! Where spans go, and which requests have them.

use std::time::Duration;

use super::super::*;
use super::rendered_with;

fn traces(keys: &str) -> Option<Traces> {
    let text = format!("[traces]\n{keys}\n{}", super::whole(""));
    super::config(&text).traces
}

fn endpoint(url: &str) -> String {
    let traces = traces(&format!("endpoint = {url:?}")).expect("spans are sent");
    traces.endpoint.to_string()
}

#[test]
fn nothing_is_traced_without_an_endpoint() {
    assert_eq!(super::config(&super::whole("")).traces, None);
    assert_eq!(traces("sample = 0.5"), None);
}

#[test]
fn an_endpoint_without_a_path_is_the_base_that_collectors_name() {
    let whole = "http://127.0.0.1:4318/v1/traces";
    assert_eq!(endpoint("http://127.0.0.1:4318"), whole);
    assert_eq!(endpoint("http://127.0.0.1:4318/"), whole);
    for url in [whole, "https://otlp.test/in", "https://otlp.test/?key=1"] {
        assert_eq!(endpoint(url), url);
    }
}

#[test]
fn what_is_not_written_is_as_documented() {
    let traces = traces("endpoint = \"http://[::1]:4318\"").expect("spans are sent");
    assert_eq!(traces.service_name, "portunus");
    assert_eq!((traces.sample, traces.trust_parent), (1.0, false));
    assert_eq!((traces.keep_errors, traces.keep_slower_than), (true, None));
    assert!(traces.headers.is_empty() && traces.resource.is_empty() && traces.ca.is_none());
}

#[test]
fn secrets_stand_in_the_file_or_in_one_of_their_own_and_are_never_shown() {
    let traces = traces(
        "endpoint = \"https://otlp.test\"\nheaders = { x-team = \"edge\", authorization = { file = \"key\" } }\n\
         resource = { \"deployment.environment.name\" = \"test\" }\nsample = 0\nkeep_slower_than = \"2s\"",
    );
    let traces = traces.expect("spans are sent");
    let shown = format!("{traces:?}");
    assert!(!shown.contains("edge"), "{shown}");
    let secret = traces.headers.iter().find(|(name, _)| name == "x-team");
    let Some((_, Secret::Value(value))) = secret else {
        panic!("{secret:?}");
    };
    assert_eq!(value, "edge");
    let file = traces
        .headers
        .iter()
        .find(|(name, _)| name == "authorization");
    assert!(matches!(file, Some((_, Secret::File(file))) if file.ends_with("key")));
    assert_eq!(
        traces.resource,
        [("deployment.environment.name".into(), "test".into())]
    );
    assert_eq!(traces.sample, 0.0);
    assert_eq!(traces.keep_slower_than, Some(Duration::from_secs(2)));
}

#[test]
fn mistakes_in_traces() {
    insta::assert_snapshot!(rendered_with(&[
        "[traces]\nsample = 0.1",
        "[traces]\nendpoint = \"127.0.0.1:4318\"",
        "[traces]\nendpoint = \"http://user:word@otlp.test\"",
        "[traces]\nendpoint = \"http://127.0.0.1:4317\"",
        "[traces]\nendpoint = \"http://127.0.0.1:4318\"\nsample = 1.5\nkeep_slower_than = 2",
        "[traces]\nendpoint = \"http://127.0.0.1:4318\"\nsample = \"10%\"\nkeep_error = true",
        "[traces]\nendpoint = \"http://127.0.0.1:4318\"\nheaders = { \"x key\" = \"a\", host = { path = \"a\" }, accept = {}, te = \"a\" }",
        "[traces]\nendpoint = \"http://127.0.0.1:4318\"\nservice_name = \"\"\nresource = { a = 1 }",
    ]));
}
