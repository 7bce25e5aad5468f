//! Whom a request is for, over the wire: bindings, sites, routes.

use crate::support::{Server, Site, Tool, raw};

fn respond(name: &str) -> String {
    format!("[[pool]]\nname = \"{name}\"\n[pool.handler]\ntype = \"respond\"\nbody = \"{name}\"\n")
}

fn binding(hostname: &str, site: &str) -> String {
    format!(
        "[[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"{hostname}\"\nsite = \"{site}\"\n"
    )
}

fn site(name: &str) -> String {
    format!(
        "[[site]]\nname = \"{name}\"\n[[site.route]]\npath = \"/\"\npool = \"{name}\"\n{}",
        respond(name)
    )
}

fn body(server: &Server, host: &str, path: &str) -> String {
    let response = raw::exchange(
        server.http,
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
    );
    match raw::status(&response) {
        200 => response
            .rsplit("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .to_owned(),
        status => status.to_string(),
    }
}

#[test]
fn a_host_finds_its_binding_in_the_order_of_http_sys() {
    let hosts = [
        ("*", "any"),
        ("*.shop.test", "wild"),
        ("www.shop.test", "exact"),
    ];
    let text: String = hosts
        .iter()
        .map(|(host, name)| binding(host, name) + &site(name))
        .collect();
    let server = Server::start(&text);
    assert_eq!(body(&server, "www.shop.test", "/"), "exact");
    assert_eq!(body(&server, "WWW.Shop.Test.:8080", "/"), "exact");
    assert_eq!(body(&server, "a.shop.test", "/"), "wild");
    assert_eq!(
        body(&server, "a.b.shop.test", "/"),
        "any",
        "a wildcard is one label"
    );
    assert_eq!(body(&server, "shop.test", "/"), "any");
    let server = Server::start(&(text + &binding("+", "strong") + &site("strong")));
    assert_eq!(body(&server, "www.shop.test", "/"), "strong");
}

#[test]
fn a_host_without_a_binding_is_400_and_told() {
    let server = Server::start(&(binding("www.shop.test", "shop") + &site("shop")));
    assert_eq!(body(&server, "evil.test", "/"), "400");
    let line = server.wait_error("Hostname");
    assert_eq!(
        (&line["host"], &line["status"]),
        (&"evil.test".into(), &400.into())
    );
}

fn routed() -> Server {
    let routes = [
        ("/", "root"),
        ("/api", "api"),
        ("/api/v2", "v2"),
        ("/admin", "admin"),
    ];
    let pools: String = routes.iter().map(|(_, name)| respond(name)).collect();
    let routes: String = routes
        .iter()
        .map(|(path, name)| format!("[[site.route]]\npath = \"{path}\"\npool = \"{name}\"\n"))
        .collect();
    Server::start(&format!(
        "{}[[site]]\nname = \"s\"\n{routes}{pools}",
        binding("*", "s")
    ))
}

#[test]
fn the_longest_prefix_on_whole_segments_wins_whatever_the_path_is_dressed_as() {
    let server = routed();
    for (path, expected) in [
        ("/", "root"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/apix", "root"),
        ("/api/v2", "v2"),
        ("/api/v2/x?/admin", "v2"),
        ("/api/v20", "api"),
        ("/%61pi", "api"),
        ("/api/%76%32", "v2"),
        ("/x/../admin", "admin"),
        ("/x/%2e%2e/admin", "admin"),
        ("/x/.%2E/admin", "admin"),
        ("//admin", "admin"),
        ("/./admin/.", "admin"),
        ("/%2561dmin", "root"),
        ("/admin%2f..", "400"),
        ("/x%5c..%5cadmin", "400"),
        ("/x\\..\\admin", "400"),
        ("/admin%00", "400"),
        ("/%c1%9c", "400"),
        ("/..", "400"),
        ("/a/../../admin", "400"),
        ("/%", "400"),
    ] {
        assert_eq!(body(&server, "a", path), expected, "{path}");
    }
}

#[test]
fn a_path_without_a_route_is_404_and_a_method_without_one_405() {
    let text = format!(
        "{}[[site]]\nname = \"s\"\n[[site.route]]\npath = \"/form\"\nmethods = [\"POST\", \"GET\"]\npool = \"s\"\n{}",
        binding("*", "s"),
        respond("s")
    );
    let server = Server::start(&text);
    assert_eq!(body(&server, "a", "/other"), "404");
    assert_eq!(server.wait_error("NoRoute")["site"], "s");
    let response = raw::exchange(
        server.http,
        "PUT /form HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(raw::status(&response), 405);
    assert!(
        response
            .to_ascii_lowercase()
            .contains("\r\nallow: get, head, post\r\n"),
        "{response}"
    );
    server.wait_error("Verb");
    // Neither closes the connection.
    let two = "GET /other HTTP/1.1\r\nHost: a\r\n\r\nGET /form HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(raw::exchange(server.http, two).ends_with("\r\n\r\ns"));
}

#[test]
fn https_is_redirected_to_and_remembered_only_over_https() {
    let text = Site::default().text().replace(
        "[[site]]\nname = \"main\"",
        "[[site]]\nname = \"main\"\nhttps_redirect = true\nhsts = { max_age = \"365d\", include_subdomains = true }",
    );
    let server = Server::start(&text);
    let response = raw::exchange(
        server.http,
        "POST /a%20b?c=d HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(raw::status(&response), 308);
    let location = format!("location: https://localhost:{}/a%20b?c=d\r\n", server.https);
    assert!(response.contains(&location), "{response}");
    assert!(
        !response
            .to_ascii_lowercase()
            .contains("strict-transport-security"),
        "{response}"
    );
    let secure = Tool::curl(&server)
        .args(["-i"])
        .arg(format!("https://localhost:{}/", server.https))
        .stdout();
    assert!(
        secure.contains("strict-transport-security: max-age=31536000; includeSubDomains"),
        "{secure}"
    );
}

#[test]
fn what_the_server_says_of_itself_can_be_chosen() {
    let ask = |head: &str| {
        let server = Site {
            head: head.into(),
            ..Site::default()
        }
        .start();
        raw::exchange(server.http, "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    assert!(ask("").contains("server: portunus\r\n"));
    assert!(ask("").ends_with("400 Bad Request\n"));
    assert!(
        !ask("[server]\nserver_header = \"\"")
            .to_ascii_lowercase()
            .contains("\r\nserver:")
    );
    assert!(ask("[server]\nserver_header = \"edge\"").contains("server: edge\r\n"));
    assert!(ask("[server]\nverbosity = \"full\"").contains("400 Bad Request: URL: "));
}
