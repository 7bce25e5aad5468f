//! A fastcgi handler's keys, and those of a worker that speaks it.

use std::path::Path;

use super::super::*;
use super::{handler, rendered_handlers};

fn fastcgi(keys: &str) -> FastCgi {
    match handler(&format!("{{ type = \"fastcgi\", {keys} }}")) {
        Handler::FastCgi(fastcgi) => fastcgi,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_is_a_socket_or_a_host_and_a_port() {
    for (written, read) in [
        ("unix:/run/php.sock", "unix:/run/php.sock"),
        ("unix:php.sock", "unix:/etc/portunus/php.sock"),
        ("127.0.0.1:9000", "fastcgi://127.0.0.1:9000"),
        ("[::1]:9000", "fastcgi://[::1]:9000"),
        ("php:9000", "fastcgi://php:9000"),
        ("fastcgi://php:9000", "fastcgi://php:9000"),
    ] {
        let address = fastcgi(&format!("address = \"{written}\"")).address;
        assert_eq!(address.to_string(), read);
    }
}

#[test]
fn scripts_have_a_folder_of_their_own() {
    let plain = fastcgi("address = \"php:9000\"").terms;
    assert_eq!(plain.scripts, None);
    let keys = "address = \"php:9000\", root = \"../www\", script = \"app/front.php\", params = { APP_ENV = \"\" }";
    let terms = fastcgi(keys).terms;
    let scripts = terms.scripts.expect("scripts");
    assert_eq!(scripts.root, Path::new("/etc/portunus/../www"));
    assert_eq!(scripts.script.as_deref(), Some("app/front.php"));
    assert_eq!(terms.params, [("APP_ENV".to_owned(), String::new())]);
}

#[test]
fn scripts_of_a_worker_are_beneath_its_folder() {
    let read = handler(
        "{ type = \"process\", command = [\"php-cgi\"], protocol = \"fastcgi\", cwd = \"/srv\", fastcgi = { root = \"public\" }, \
         body_timeout = \"7s\" }",
    );
    let Handler::Process(process) = read else {
        panic!("{read:?}")
    };
    let scripts = process.fastcgi.scripts.expect("scripts");
    assert_eq!(scripts.root, Path::new("/srv/public"));
    assert_eq!(process.fastcgi.body_timeout, process.body_timeout);
}

#[test]
fn mistakes_in_fastcgi() {
    let with = |keys: &str| format!("{{ type = \"fastcgi\", address = \"php:9000\", {keys} }}");
    let texts = [
        "{ type = \"fastcgi\" }".to_owned(),
        "{ type = \"fastcgi\", address = \"php\" }".to_owned(),
        "{ type = \"fastcgi\", address = \"/run/php.sock\" }".to_owned(),
        "{ type = \"fastcgi\", address = \"http://php:9000\" }".to_owned(),
        "{ type = \"proxy\", upstreams = [\"fastcgi://php:9000\"] }".to_owned(),
        with("index = \"index.php\", script = \"app.php\", split = \".php\""),
        with("root = \"www\", index = \"../index.php\", script = \"/app.php\", split = \"php\""),
        with("root = \"www\", script = \"a//b.php\", split = \"./\", fix_pathinfo = true"),
        with(
            "params = { app_env = \"x\", APP_ENV = 1, SCRIPT_FILENAME = \"/etc/passwd\", HTTP_PROXY = \"\" }",
        ),
        with("params = \"APP_ENV=x\", buffer_body = \"1GiB\", idle_connections = -1"),
    ];
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    insta::assert_snapshot!(rendered_handlers(&texts));
}
