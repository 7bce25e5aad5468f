//! The promises of the configuration.

mod balance;
mod clients;
mod documented;
mod examples;
mod failed_requests;
mod fastcgi;
mod policies;
mod process;
mod properties;
mod routes;
mod telling;
mod traces;

use std::path::Path;

use super::*;

const SITE: &str = "
[[site]]
name = \"www\"
[[site.route]]
pool = \"app\"
";

const POOL: &str = "
[[pool]]
name = \"app\"
handler = { type = \"respond\", body = \"hello\" }
";

const BINDING: &str = "
[[binding]]
hostname = \"www.test\"
site = \"www\"
";

/// `text`, made a whole configuration by a binding, a site and a pool.
fn whole(text: &str) -> String {
    format!("{}\n{BINDING}{SITE}{POOL}", text.trim())
}

fn read(text: &str) -> Loaded {
    parse(text, Path::new("/etc/portunus/bindings.toml"))
}

fn config(text: &str) -> Config {
    let loaded = read(text);
    let rendered = loaded.render(false);
    loaded.config.unwrap_or_else(|| panic!("{rendered}"))
}

/// A handler as it was read.
fn handler(text: &str) -> Handler {
    let pool = format!("[[pool]]\nname = \"app\"\nhandler = {text}\n");
    config(&format!("{BINDING}{SITE}{pool}"))
        .pools
        .remove(0)
        .handler
}

/// Each text alone, rendered one after the other.
fn rendered<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let mut all = String::new();
    for text in texts {
        let loaded = read(text.as_ref());
        assert!(
            !loaded.diagnostics.is_empty(),
            "nothing found in {}",
            text.as_ref()
        );
        assert_eq!(loaded.config.is_none(), loaded.has_errors());
        all.push_str(&loaded.render(false));
        all.push('\n');
    }
    all
}

/// Whole configurations, each with one more piece before the rest.
fn rendered_with(pieces: &[&str]) -> String {
    rendered(pieces.iter().map(|piece| whole(piece)))
}

fn rendered_handlers(handlers: &[&str]) -> String {
    rendered(handlers.iter().map(|handler| {
        let pool = format!("[[pool]]\nname = \"app\"\nhandler = {handler}\n");
        format!("{pool}{BINDING}{SITE}")
    }))
}

/// Whole configurations, each with one more line in its binding.
fn rendered_bindings(lines: &[&str]) -> String {
    rendered(lines.iter().map(|line| {
        let binding = BINDING.trim();
        let hostname = if line.starts_with("hostname") {
            "hostname = \"www.test\"\n"
        } else {
            ""
        };
        format!("{}\n{line}\n{SITE}{POOL}", binding.replace(hostname, ""))
    }))
}

fn rendered_sites(lines: &[&str]) -> String {
    rendered(lines.iter().map(|line| {
        let site = SITE
            .trim()
            .replace("[[site.route]]", &format!("{line}\n[[site.route]]"));
        format!("{BINDING}\n{site}\n{POOL}")
    }))
}

fn rendered_routes(lines: &[&str]) -> String {
    rendered(
        lines
            .iter()
            .map(|line| format!("{BINDING}\n{}\n{line}\n{POOL}", SITE.trim())),
    )
}

#[test]
fn all_problems_are_reported_at_once() {
    insta::assert_snapshot!(rendered([r#"
[server]
thread = 4
drain_timeout = 30

[limits]
header_wait = "0s"
max_uri_bytes = "16K"

[[binding]]
port = 70000
hostname = "www.shop.test"
site = "shpo"

[[site]]
name = "shop"
[[site.route]]
path = "api"
pool = "shop"

[[pool]]
name = "shop"
handler = { type = "file", root = "www" }
"#]));
}

#[test]
fn a_mistake_in_the_syntax_hides_no_other_and_makes_up_none() {
    insta::assert_snapshot!(rendered([r#"
[server]
threads =
drain_timeout = 30

[[binding]
port = 443
site = "shop"

[[site]]
name = "shop
"#]));
}

#[test]
fn mistakes_in_the_syntax() {
    insta::assert_snapshot!(rendered_with(&[
        "[server]\nuser = portunus",
        "[server]\nuser = \"a\"\nuser = \"b\"",
        "[server]\n[server]",
        "[server\nuser = \"a\"",
        "[server]\nuser",
        "[server]\nuser: portunus",
        "[tls]\ncertificates = \"C:\\certs\"",
        "[limits]\nmax_header_fields = 100 fields",
    ]));
}

#[test]
fn unknown_keys_suggest_the_nearest() {
    insta::assert_snapshot!(rendered_with(&[
        "[limts]\nheader_wait = \"15s\"",
        "[limits]\nheader_wiat = \"15s\"",
        "[server]\nheader_wait = \"15s\"",
        "[server]\ncolour = \"blue\"",
        "[server]\nDrain_Timeout = \"15s\"",
    ]));
}

#[test]
fn an_admin_socket_that_others_could_reach_is_refused() {
    insta::assert_snapshot!(rendered_with(&[
        "[server]\nadmin = \"0.0.0.0:9180\"",
        "[server]\nadmin = \"localhost\"",
        "[server]\nadmin = \"unix:\"",
    ]));
}

#[test]
fn balancers_are_networks_and_alike_for_one_socket() {
    let binding = |from: &str| {
        format!("[[binding]]\nprotocol = \"http\"\nhostname = \"a.test\"\nsite = \"www\"\n{from}")
    };
    let of = |from: &str| binding(&format!("proxy_protocol = {{ from = {from} }}"));
    insta::assert_snapshot!(rendered_with(&[
        &of("[\"10.0.0.1/8\", \"balancer\", \"0.0.0.0/0\"]"),
        &binding("proxy_protocol = {}"),
        &(of("[\"10.0.0.0/8\"]") + "\n" + &binding("").replace("a.test", "b.test")),
    ]));
}

#[test]
fn values_of_the_wrong_kind_say_what_would_be_right() {
    insta::assert_snapshot!(rendered_with(&[
        "[server]\nthreads = \"4\"",
        "[server]\nuser = 1000",
        "[server]\ndrain_timeout = 30",
        "[server]\ndrain_timeout = true",
        "[server]\ndrain_timeout = \"30 seconds\"",
        "[server]\ndrain_timeout = \"soon\"",
        "[server]\nverbosity = \"ful\"",
        "[server]\nserver_header = \"portünus\"",
        "[[server]]\nthreads = 1",
        "[limits]\nmax_body_bytes = \"30mb\"",
        "[limits]\nmax_body_bytes = \"much\"",
        "[limits]\nmax_body_bytes = 1.5",
        "[limits]\nmax_connections = -1",
        "[limits]\nidle_connection = \"0s\"",
        "[limits]\nmax_request_bytes = 100",
        "[limits]\nmax_request_bytes = \"8KiB\"\nmax_uri_bytes = \"16KiB\"",
        "[log]\nlevel = \"inof\"",
        "[log]\nlevel = \"loud\"",
        "[log]\nlevel = \"info,portunus=loud\"",
        "[log]\naccess = \"stdot\"",
        "[log]\naccess = \"stderr\"",
        "[tls]\nmin_version = 1.2",
        "[tls]\nmin_version = \"1.1\"",
    ]));
}

#[test]
fn mistakes_in_a_binding() {
    insta::assert_snapshot!(rendered_bindings(&[
        "port = 70000",
        "port = \"443\"",
        "protocol = \"tls\"",
        "ip = \"localhost\"",
        "ip = \"0.0.0.0\"",
        "ip = \"224.0.0.1\"",
        "hostname = \"\"",
        "hostname = \"www.test:443\"",
        "hostname = \"https://www.test/\"",
        "hostname = \"www.test/shop\"",
        "hostname = \"bücher.test\"",
        "hostname = \"www.*.test\"",
        "protocols = []",
        "protocols = [\"h2\", \"h2\"]",
        "protocols = [\"http/2\"]",
        "protocols = [\"http/3\"]",
        "certificate = \"shop\"",
        "protocol = \"http\"\nmin_version = \"1.3\"\ncertificates = \"certs\"",
        "protocol = \"http\"\nprotocols = [\"h2\"]",
        "protocol = \"http\"\nprotocols = [\"h3\", \"http/1.1\"]",
    ]));
}

#[test]
fn what_must_be_named_is_missed() {
    insta::assert_snapshot!(rendered([
        "",
        "[binding]\nport = 443",
        "[[binding]]\n[[site]]\n[[site.route]]\n[[pool]]\n[[certificate]]",
        "[[binding]]\nhostname = \"*\"\nsite = \"www\"\n[[site]]\nname = \"www\"",
    ]));
}

#[test]
fn names_that_lead_nowhere_and_names_given_twice() {
    let certificate = "\n[[certificate]]\nname = \"shop\"\nchain = \"a.pem\"\nkey = \"a.key\"\n";
    insta::assert_snapshot!(rendered([
        format!(
            "{BINDING}{}{POOL}",
            SITE.replace("\"app\"", "\"application-server\"")
        ),
        format!("{}{SITE}{POOL}", BINDING.replace("\"www\"", "\"ww\"")),
        format!("{BINDING}certificate = \"shpo\"\n{certificate}{SITE}{POOL}"),
        format!("{BINDING}{SITE}{POOL}{POOL}"),
        format!("{BINDING}{SITE}{SITE}{POOL}"),
        format!("{BINDING}{SITE}{POOL}{certificate}"),
        format!(
            "{BINDING}{SITE}{POOL}{}",
            POOL.replace("\"app\"", "\"other\"")
        ),
    ]));
}

#[test]
fn conflicts_between_bindings_name_both_places() {
    let http = "[[binding]]\nprotocol = \"http\"\nport = 443\nhostname = \"*\"\nsite = \"www\"\n";
    let far = "\n# a comment".repeat(100);
    insta::assert_snapshot!(rendered([
        whole(&BINDING.replace("www.test", "WWW.test")),
        whole(&format!("{BINDING}{far}")),
        whole(http),
        whole(&format!("{http}ip = \"192.0.2.1\"")),
        whole(&format!(
            "{BINDING}ip = \"192.0.2.1\"\n{http}ip = \"192.0.2.2\""
        )),
    ]));
}

#[test]
fn mistakes_in_a_site() {
    insta::assert_snapshot!(rendered_sites(&[
        "https_redirect = \"true\"",
        "https_redirect = true",
        "hsts = { max_age = 31536000 }",
        "hsts = { maxage = \"365d\" }",
        "hsts = { preload = true }",
        "hsts = { max_age = \"30d\", preload = true }",
    ]));
    let http = BINDING.replace("[[binding]]", "[[binding]]\nprotocol = \"http\"");
    let redirect = SITE.replace(
        "\"www\"",
        "\"www\"\nhttps_redirect = true\nhsts = { max_age = \"1d\" }",
    );
    insta::assert_snapshot!(rendered([format!("{http}{redirect}{POOL}")]));
}

#[test]
fn mistakes_in_a_route() {
    insta::assert_snapshot!(rendered_routes(&[
        "path = \"api\"",
        "path = \"/a/../b\"",
        "path = \"/a//b\"",
        "path = \"/a%20b\"",
        "path = \"/a?b=c\"",
        "path = \"/api/*\"",
        "path = \"\\\\api\"",
        "methods = [\"get\", \"POST\", \"POST\", \"BAD METHOD\"]",
        "max_body_bytes = \"1 GiB\"",
        "[[site.route]]\npath = \"//\"\npool = \"app\"",
        "methods = [\"GET\", \"POST\"]\n[[site.route]]\nmethods = [\"POST\"]\npool = \"app\"",
    ]));
}

#[test]
fn mistakes_in_a_pool() {
    let pool = |line: &str| format!("{BINDING}{SITE}{}{line}\n", POOL);
    insta::assert_snapshot!(rendered([
        pool("concurrency = 0"),
        pool("queue_length = 10000000"),
        pool("queue_timeout = \"0s\""),
        pool("on_overflow = \"502\""),
        pool("on_overflow = 503"),
    ]));
}

#[test]
fn mistakes_in_a_handler() {
    insta::assert_snapshot!(rendered_handlers(&[
        "{ }",
        "\"files\"",
        "{ type = \"static\" }",
        "{ type = \"file\" }",
        "{ type = \"files\" }",
        "{ type = \"files\", root = \"www\", upstreams = [] }",
        "{ type = \"files\", root = \"www\", index = [\"a/b.html\", \".index\"] }",
        "{ type = \"respond\", status = 100 }",
        "{ type = \"respond\", status = 204, body = \"content\" }",
        "{ type = \"respond\", headers = { Content-Length = \"5\", \"a b\" = \"c\", x = 1, y = \"\\u0001\" } }",
        "{ type = \"respond\", headers = { Content-Type = \"text/html\", content-type = \"text/plain\" } }",
        "{ type = \"redirect\" }",
        "{ type = \"redirect\", to = \"https://new.test{url}\", status = 300 }",
        "{ type = \"redirect\", to = \"https://new.test{uri\" }",
        "{ type = \"redirect\", to = \"https://new.test/{path}\" }",
        "{ type = \"redirect\", to = \"/{uri}\" }",
        "{ type = \"redirect\", to = \"{uri}\" }",
        "{ type = \"redirect\", to = \"new.test\" }",
        "{ type = \"proxy\" }",
        "{ type = \"proxy\", upstreams = [] }",
        "{ type = \"proxy\", upstreams = [\"127.0.0.1:5000\", \"/run/app.sock\", \"ftp://a.test\", \"unix:\"] }",
        "{ type = \"proxy\", upstreams = [\"http://a.test/app\", \"http://a.test:0\", \"http://a.test:99999\"] }",
        "{ type = \"proxy\", upstreams = [\"http://a.test\", \"http://a.test:80/\"] }",
        "{ type = \"library\", body = \"hello\" }",
    ]));
}

#[test]
fn a_file_that_cannot_be_read_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("bindings.toml"));
    assert_eq!(missing.diagnostics[0].code, "file-missing");
    assert!(missing.render(false).contains("bindings.toml"));
    assert_eq!(load(folder.path()).diagnostics[0].code, "file-is-folder");
    let file = folder.path().join("latin1.toml");
    std::fs::write(&file, b"# one\n# Stra\xdfe\n").unwrap();
    let loaded = load(&file);
    assert_eq!(loaded.diagnostics[0].code, "not-utf8");
    assert!(loaded.diagnostics[0].message.ends_with("line 2"));
    assert_eq!(
        load(Path::new("/dev/zero")).diagnostics[0].code,
        "file-too-long"
    );
}

#[test]
fn findings_are_json_with_their_places() {
    let twice = format!("{BINDING}{BINDING}{SITE}{POOL}");
    let json = serde_json::to_value(&read(&twice).diagnostics).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "severity": "error",
            "code": "duplicate-binding",
            "file": "/etc/portunus/bindings.toml",
            "line": 7,
            "column": 12,
            "message": "two bindings take https, ip *, port 443, hostname \"www.test\"",
            "help": "remove one of the two, or change one of the four",
            "related": [{ "line": 3, "column": 12, "message": "the first of them" }],
        }])
    );
}

#[test]
fn others_add_findings_at_a_place() {
    let mut loaded = read(&whole(""));
    let place = loaded.config.as_ref().unwrap().bindings[0].place;
    loaded.add([
        Diagnostic::warning("certificate-expiring", "the certificate ends tomorrow").at(place),
    ]);
    assert!(loaded.config.is_some());
    loaded.add([
        Diagnostic::error("certificate-missing", "there is no certificate")
            .at(Place {
                line: place.line + 1,
                column: 12,
            })
            .help("run `portunus cert dev www.test`"),
    ]);
    assert!(loaded.config.is_none());
    insta::assert_snapshot!(loaded.render(false));
}

#[test]
fn columns_count_characters() {
    let loaded = read(&whole("[server]\nuser = \"äöü\"\ngroup = [\"ä\"]"));
    let found = &loaded.diagnostics[0];
    assert_eq!((found.line, found.column), (3, 9));
    let loaded = read(&whole("server = { user = \"äöü\", group = 1 }"));
    let found = &loaded.diagnostics[0];
    assert_eq!((found.line, found.column), (1, 34));
}

#[test]
fn colour_is_there_only_when_asked_for() {
    let loaded = read("nonsense = 1");
    assert!(!loaded.render(false).contains('\u{1b}'));
    assert!(loaded.render(true).contains('\u{1b}'));
}

#[test]
fn a_configuration_is_equal_to_itself_with_its_lines_moved() {
    let moved = format!("# a comment\n\n{}", whole(""));
    assert_eq!(config(&whole("")), config(&moved));
    assert_ne!(config(&whole("")), config(&whole("[server]\nthreads = 2")));
}

#[test]
fn mistakes_in_client_certificates() {
    let of_binding = |value: &str| {
        whole("").replace(
            "site = \"www\"\n\n",
            &format!("site = \"www\"\nclient_certificates = {value}\n\n"),
        )
    };
    let texts = [
        of_binding("{ ca = \"/ca.pem\" }"),
        of_binding("{ mode = \"require\" }"),
        of_binding("{ mode = \"must\", ca = \"/ca.pem\" }"),
        of_binding("{ mode = \"require\", ca = \"/ca.pem\", depth = 9 }"),
        of_binding("{ mode = \"require\", ca = \"/ca.pem\", verify = true }"),
        of_binding("{ mode = \"require\", ca = \"/ca.pem\", crl = 1 }"),
        of_binding("{ mode = \"require\", ca = \"/ca.pem\", crl_missing = \"ignore\" }"),
        of_binding("\"require\""),
        of_binding("{ mode = \"require\", ca = \"/ca.pem\" }\nprotocol = \"http\""),
    ];
    insta::assert_snapshot!(rendered(texts));
}

#[test]
fn mistakes_in_ordering_certificates() {
    let agreed = "[acme]\nterms_agreed = true\n";
    let binding = |hostname: &str| {
        format!("[[binding]]\nhostname = \"{hostname}\"\nsite = \"www\"\ncertificate = \"acme\"\n")
    };
    let files = [
        binding("www.test"),
        format!("[acme]\n{}", binding("www.test")),
        format!("{agreed}{BINDING}"),
        format!("{agreed}{}", binding("*.shop.test")),
        format!("{agreed}{}", binding("*")),
        format!("{agreed}{}", binding("192.0.2.1")),
        format!("{agreed}{}", binding("localhost")),
        format!("{agreed}challenge = \"http-01\"\n{}", binding("www.test")),
        format!("{agreed}challenge = \"dns-01\"\n{}", binding("*.shop.test")),
        format!(
            "{agreed}directory = \"http://ca.test\"\ncontact = [\"a.test\"]\nkey_type = \"rsa4096\"\neab = {{ key_id = \"a\" }}\n{}",
            binding("www.test")
        ),
        format!("[[certificate]]\nname = \"acme\"\nchain = \"a.pem\"\nkey = \"a.key\"\n{BINDING}"),
    ];
    let files = files.iter().map(|file| format!("{file}{SITE}{POOL}"));
    insta::assert_snapshot!(rendered(files));
}
