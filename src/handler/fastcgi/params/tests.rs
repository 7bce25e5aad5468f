use std::collections::BTreeMap;

use http::header::HeaderValue;

use super::super::tests::{facts, pairs};
use super::*;
use crate::config::OURS;
use crate::handler::proxy::strip_for_upstream;

fn told(
    mut request: Request<()>,
    script: Option<(&Scripts, &Script)>,
    length: Option<u64>,
) -> BTreeMap<String, String> {
    let facts = facts(request.uri());
    strip_for_upstream(request.headers_mut());
    let mut out = fixed(
        &[("APP_ENV".into(), "test".into())],
        script.map(|(scripts, _)| scripts),
    );
    write(&mut out, &request, &facts, script, length);
    let mut told = BTreeMap::new();
    for (name, value) in pairs(&out) {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let (name, value) = (text(name), text(value));
        assert_eq!(
            told.insert(name.clone(), value),
            None,
            "{name} is told twice"
        );
    }
    told
}

fn request(target: &str, fields: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = Request::builder().uri(target).body(()).expect("a request");
    for (name, value) in fields {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_static(value));
    }
    request
}

#[test]
fn a_script_is_told_what_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let scripts = Scripts::new(&crate::config::Scripts {
        root: folder.path().into(),
        index: "index.php".into(),
        script: None,
        split: ".php".into(),
    });
    let scripts = scripts.expect("the folder");
    let root = scripts.root().display().to_string();
    let script = Script {
        name: "/a.php".into(),
        path_info: "/b c".into(),
    };
    let fields = [
        ("content-type", "text/x"),
        ("host", "shop.test:8443"),
        ("x-one", "1"),
    ];
    let told = told(
        request("/a.php/b%20c?q=%20", &fields),
        Some((&scripts, &script)),
        Some(7),
    );
    let expected = [
        ("APP_ENV", "test"),
        ("CONTENT_LENGTH", "7"),
        ("CONTENT_TYPE", "text/x"),
        ("DOCUMENT_ROOT", &root),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("HTTP_HOST", "shop.test:8443"),
        ("HTTP_X_ONE", "1"),
        ("PATH_INFO", "/b c"),
        ("PATH_TRANSLATED", &format!("{root}/b c")),
        ("QUERY_STRING", "q=%20"),
        ("REDIRECT_STATUS", "200"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("REMOTE_PORT", "4711"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_SCHEME", "http"),
        ("REQUEST_URI", "/a.php/b%20c?q=%20"),
        ("SCRIPT_FILENAME", &format!("{root}/a.php")),
        ("SCRIPT_NAME", "/a.php"),
        ("SERVER_ADDR", "127.0.0.1"),
        ("SERVER_NAME", "shop.test"),
        ("SERVER_PORT", "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_SOFTWARE", "portunus"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(told, BTreeMap::from(expected));
    for name in told.keys() {
        let is_ours = OURS.contains(&name.as_str()) || name.starts_with("HTTP_");
        assert!(
            is_ours || name == "APP_ENV",
            "`params` could say {name} too"
        );
    }
}

#[test]
fn an_application_without_scripts_has_all_paths() {
    let told = told(request("/a%20b", &[]), None, None);
    assert_eq!(told["SCRIPT_NAME"], "");
    assert_eq!(told["PATH_INFO"], "/a b");
    assert_eq!(told["CONTENT_LENGTH"], "");
    assert!(!told.contains_key("SCRIPT_FILENAME"));
}

#[test]
fn no_field_of_a_client_is_taken_for_something_else() {
    let fields = [
        ("proxy", "evil.test:3128"),
        ("x_user", "admin"),
        ("x.user", "admin"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("client-cert", ":AAAA:"),
        ("content-length", "99"),
        ("transfer-encoding", "chunked"),
        ("connection", "x-secret"),
        ("x-secret", "kept between two"),
        ("expect", "100-continue"),
        ("https", "off"),
        ("script-filename", "/etc/passwd"),
        ("php-value", "auto_prepend_file=/etc/passwd"),
    ];
    let told = told(request("/", &fields), None, None);
    let fields: Vec<_> = told
        .keys()
        .filter(|name| name.starts_with("HTTP_"))
        .collect();
    assert_eq!(
        fields,
        [
            "HTTP_HOST",
            "HTTP_HTTPS",
            "HTTP_PHP_VALUE",
            "HTTP_SCRIPT_FILENAME"
        ]
    );
    assert!(!told.contains_key("HTTPS") && !told.contains_key("SCRIPT_FILENAME"));
}

#[test]
fn fields_of_one_name_are_one_parameter() {
    let fields = [
        ("cookie", "a=1"),
        ("accept", "x"),
        ("cookie", "b=2"),
        ("accept", "y"),
    ];
    let told = told(request("/", &fields), None, None);
    assert_eq!(told["HTTP_COOKIE"], "a=1; b=2");
    assert_eq!(told["HTTP_ACCEPT"], "x, y");
}
