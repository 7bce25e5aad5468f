//! What configurations mean: the examples of this repository, and single keys.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::super::*;
use super::{BINDING, POOL, SITE, config, handler, whole};

fn example(name: &str) -> Config {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name);
    let loaded = load(&file);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.render(false));
    loaded.config.unwrap()
}

#[test]
fn every_example_is_without_findings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "acme.toml",
            "bindings.toml",
            "many-sites.toml",
            "php.toml",
            "production.toml",
            "proxy.toml",
            "workers.toml"
        ]
    );
    for name in names {
        example(&name);
    }
}

#[test]
fn the_first_example_serves_8080_and_8443() {
    let config = example("bindings.toml");
    let sockets: Vec<_> = config
        .bindings
        .iter()
        .map(|binding| format!("{}:{} {}", binding.scheme, binding.port, binding.hostname))
        .collect();
    assert_eq!(
        sockets,
        [
            "http:8080 *",
            "https:8443 localhost",
            "https:8443 127.0.0.1"
        ]
    );
    assert_eq!(
        config.certificate_folder,
        Path::new(env!("CARGO_MANIFEST_DIR")).join("config/../certs")
    );
}

#[test]
fn ordered_certificates_lie_in_a_folder_of_their_ca() {
    let config = example("acme.toml");
    let acme = config.acme.as_ref().unwrap();
    assert_eq!(
        acme.directory,
        "https://acme-v02.api.letsencrypt.org/directory"
    );
    assert_eq!(acme.contact, ["mailto:admin@example.com"]);
    assert_eq!(acme.challenge, AcmeChallenge::Http01);
    let state = config.server.state_dir.join("acme");
    assert_eq!(
        acme.folder,
        state.join("acme-v02.api.letsencrypt.org_directory")
    );
    let tls = config.bindings[1].tls.as_ref().unwrap();
    assert!(tls.acme);
    assert_eq!(
        tls.certificate,
        CertificateSource::Folder(acme.certificates())
    );
    let staging = acme.to_staging().unwrap();
    assert!(staging.directory.contains("staging"));
    assert_ne!(staging.folder, acme.folder);
    assert!(staging.to_staging().is_some());
}

#[test]
fn the_challenge_is_what_fits_unless_it_is_written() {
    use AcmeChallenge::{Dns01, Http01, TlsAlpn01};
    let challenge = |acme: &str, port: u16| {
        let file = format!(
            "[acme]\nterms_agreed = true\n{acme}\n{}certificate = \"acme\"\n\
             [[binding]]\nprotocol = \"http\"\nport = {port}\nhostname = \"*\"\nsite = \"www\"\n{SITE}{POOL}",
            BINDING.trim_start()
        );
        super::config(&file).acme.unwrap().challenge
    };
    assert_eq!(challenge("", 80), Http01);
    assert_eq!(challenge("", 8080), TlsAlpn01);
    assert_eq!(challenge("dns_hook = [\"hook\"]", 80), Dns01);
    assert_eq!(
        challenge("dns_hook = [\"hook\"]\nchallenge = \"http-01\"", 80),
        Http01
    );
    assert_eq!(challenge("challenge = \"http-01\"", 8080), Http01);
}

#[test]
fn names_become_indices() {
    let config = example("many-sites.toml");
    let binding = &config.bindings[0];
    assert_eq!(config.sites[binding.site].name, "shop");
    let tls = binding.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, CertificateSource::Named(0));
    let route = &config.sites[binding.site].routes[1];
    assert_eq!(config.pools[route.pool].name, "checkout");
    assert_eq!(config.pools[route.pool].on_overflow, Overflow::Reset);
}

#[test]
fn protocols_keep_their_order_and_follow_the_scheme() {
    use AlpnProtocol::{H2, H3, Http1};
    let protocols = |lines: &str| {
        config(&format!("{BINDING}{lines}\n{SITE}{POOL}")).bindings[0]
            .protocols
            .clone()
    };
    assert_eq!(protocols(""), [H3, H2, Http1]);
    assert_eq!(protocols("protocol = \"http\""), [Http1]);
    assert_eq!(protocols("protocols = [\"http/1.1\", \"h2\"]"), [Http1, H2]);
    assert_eq!(protocols("protocols = [\"h2\"]"), [H2]);
    assert_eq!(
        protocols("min_version = \"1.2\"\nprotocols = [\"h2\", \"h3\"]"),
        [H2, H3]
    );
}

#[test]
fn a_port_is_the_schemes_own_unless_it_is_named() {
    let port = |line: &str| config(&format!("{BINDING}{line}\n{SITE}{POOL}")).bindings[0].port;
    assert_eq!(port(""), 443);
    assert_eq!(port("protocol = \"http\""), 80);
    assert_eq!(port("port = 65535"), 65_535);
}

#[test]
fn a_binding_overrides_tls() {
    let text = format!(
        "[tls]\nmin_version = \"1.3\"\ncertificates = \"/all\"\nocsp_stapling = false\ngroups = [\"x25519\"]\nticket_rotation = \"1h\"\n\
         ticket_keys = [\"a.key\", \"/b.key\"]\n{BINDING}min_version = \"1.2\"\ncertificates = \"own\"\nalt_svc_max_age = \"1m\"\n\
         cipher_suites = [\"TLS_AES_128_GCM_SHA256\", \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]\ngroups = [\"secp256r1\"]\n\
         ticket_rotation = \"0s\"\nticket_keys = []\nocsp_stapling = true\n\
         [[binding]]\nhostname = \"other.test\"\nsite = \"www\"\n{SITE}{POOL}"
    );
    let bindings = config(&text).bindings;
    let default = || {
        let mut bindings = config(&whole("")).bindings;
        bindings[0].tls.take().expect("an https binding")
    };
    let own = BindingTls {
        client_certificates: None,
        min_version: TlsVersion::V1_2,
        acme: false,
        certificate: CertificateSource::Folder("/etc/portunus/own".into()),
        cipher_suites: vec![
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ],
        groups: vec![NamedGroup::secp256r1],
        ticket_rotation: Duration::ZERO,
        ticket_keys: Vec::new(),
        alt_svc_max_age: Duration::from_secs(60),
        ocsp_stapling: true,
    };
    let all = BindingTls {
        client_certificates: None,
        min_version: TlsVersion::V1_3,
        acme: false,
        certificate: CertificateSource::Folder("/all".into()),
        groups: vec![NamedGroup::X25519],
        ticket_rotation: Duration::from_secs(3600),
        ticket_keys: vec!["/etc/portunus/a.key".into(), "/b.key".into()],
        ocsp_stapling: false,
        ..default()
    };
    assert_eq!(
        (bindings[0].tls.as_ref(), bindings[1].tls.as_ref()),
        (Some(&own), Some(&all))
    );
}

#[test]
fn an_address_has_one_form() {
    let ip = |text: &str| config(&format!("{BINDING}ip = \"{text}\"\n{SITE}{POOL}")).bindings[0].ip;
    let v4: IpAddr = [192, 0, 2, 1].into();
    assert_eq!(ip("*"), None);
    assert_eq!(ip("192.0.2.1"), Some(v4));
    assert_eq!(ip("::ffff:192.0.2.1"), Some(v4));
    assert_eq!(ip("[2001:db8::1]"), Some("2001:db8::1".parse().unwrap()));
}

#[test]
fn nought_switches_a_limit_off() {
    let limits = config(&whole(
        "[limits]\nmax_connections = 7\nmax_connections_per_ip = 0\nmin_send_rate = 0\nmax_body_bytes = 0",
    ))
    .limits;
    assert_eq!(limits.max_connections, Some(7));
    assert_eq!(limits.max_connections_per_ip, None);
    assert_eq!((limits.min_send_rate, limits.max_body_bytes), (None, None));
}

#[test]
fn a_route_has_its_own_body_limit() {
    let limit = |line: &str| {
        config(&format!("{BINDING}{SITE}{line}\n{POOL}")).sites[0].routes[0].max_body_bytes
    };
    assert_eq!(limit(""), None);
    assert_eq!(limit("max_body_bytes = 0"), Some(None));
    assert_eq!(limit("max_body_bytes = \"1GiB\""), Some(Some(1 << 30)));
}

#[test]
fn a_route_is_in_the_form_that_requests_are_matched_in() {
    let route =
        |line: &str| config(&format!("{BINDING}{SITE}{line}\n{POOL}")).sites[0].routes[0].clone();
    assert_eq!(route("").path, "/");
    assert_eq!(route("path = \"/api/\"").path, "/api");
    assert_eq!(route("path = \"/100%/a b/ä\"").path, "/100%/a b/ä");
    assert_eq!(
        route("methods = [\"GET\", \"PURGE\"]").methods,
        [Method::GET, Method::from_bytes(b"PURGE").unwrap()]
    );
}

#[test]
fn one_path_may_have_a_route_for_each_method_and_one_for_the_rest() {
    let more = "methods = [\"GET\"]\n[[site.route]]\nmethods = [\"POST\"]\npool = \"app\"\n[[site.route]]\npool = \"app\"";
    assert_eq!(
        config(&format!("{BINDING}{SITE}{more}\n{POOL}")).sites[0]
            .routes
            .len(),
        3
    );
}

#[test]
fn a_site_that_only_redirects_needs_no_route() {
    let sites = "[[binding]]\nprotocol = \"http\"\nhostname = \"*\"\nsite = \"secure\"\n[[site]]\nname = \"secure\"\nhttps_redirect = true\n";
    assert!(
        config(&format!("{sites}{BINDING}{SITE}{POOL}")).sites[0]
            .routes
            .is_empty()
    );
}

#[test]
fn hsts_of_no_age_is_not_sent() {
    let hsts = |line: &str| {
        config(&format!(
            "{BINDING}{}{POOL}",
            SITE.replace("[[site.route]]", &format!("{line}\n[[site.route]]"))
        ))
        .sites[0]
            .hsts
    };
    assert_eq!(hsts(""), None);
    assert_eq!(hsts("hsts = { max_age = \"0s\" }"), None);
    let year = Hsts {
        max_age: Duration::from_secs(365 * 86_400),
        include_subdomains: true,
        preload: true,
    };
    assert_eq!(
        hsts("hsts = { max_age = \"365d\", include_subdomains = true, preload = true }"),
        Some(year)
    );
}

#[test]
fn logs_go_to_streams_and_files() {
    let log = config(&whole("[log]\naccess = \"logs/access.log\"\nerrors = \"off\"\nlevel = \"info,portunus::tls=debug\"")).log;
    assert_eq!(
        log.access,
        LogTarget::File("/etc/portunus/logs/access.log".into())
    );
    assert_eq!(log.errors, LogTarget::Off);
    assert_eq!(log.level, "info,portunus::tls=debug");
    let log = config(&whole("[log]\naccess = \"stdout\"\nerrors = \"stderr\"")).log;
    assert_eq!(
        (log.access, log.errors),
        (LogTarget::Stdout, LogTarget::Stderr)
    );
}

#[test]
fn a_respond_handler_may_send_a_field_several_times() {
    let read = handler(
        "{ type = \"respond\", status = 404, headers = { Link = [\"a\", \"b\"], x-empty = \"\" }, delay = \"20ms\" }",
    );
    let mut headers = HeaderMap::new();
    headers.append("link", HeaderValue::from_static("a"));
    headers.append("link", HeaderValue::from_static("b"));
    headers.append("x-empty", HeaderValue::from_static(""));
    let respond = Respond {
        status: StatusCode::NOT_FOUND,
        headers,
        body: String::new(),
        delay: Duration::from_millis(20),
    };
    assert_eq!(read, Handler::Respond(respond));
}

#[test]
fn a_redirect_keeps_its_placeholders() {
    for to in [
        "https://new.test{uri}",
        "https://{host}:8443{path}?{query}",
        "/new",
        "http://[::1]:80{path}",
        "/old{path}",
    ] {
        let Handler::Redirect(redirect) =
            handler(&format!("{{ type = \"redirect\", to = \"{to}\" }}"))
        else {
            panic!("no redirect");
        };
        assert_eq!((redirect.to.as_str(), redirect.status.as_u16()), (to, 301));
    }
}

#[test]
fn upstreams_are_hosts_and_sockets() {
    let text = "{ type = \"proxy\", upstreams = [\"http://app.test\", \"https://app.test\", \"h2c://app.test\", \
                \"http://[::1]:5000/\", \"unix:/run/app.sock\", \"unix:app.sock\"] }";
    let Handler::Proxy(proxy) = handler(text) else {
        panic!("no proxy");
    };
    let net = |scheme, host: &str, port| Upstream::Net {
        scheme,
        host: host.to_owned(),
        port,
    };
    let unix = |path: &str| Upstream::Unix(PathBuf::from(path));
    let expected = [
        net(UpstreamScheme::Http, "app.test", 80),
        net(UpstreamScheme::Https, "app.test", 443),
        net(UpstreamScheme::H2c, "app.test", 80),
        net(UpstreamScheme::Http, "::1", 5000),
        unix("/run/app.sock"),
        unix("/etc/portunus/app.sock"),
    ];
    assert_eq!(proxy.upstreams, expected);
    let text = "{ type = \"proxy\", upstreams = [\"srv+https://_App._tcp.app.test/\"] }";
    let Handler::Proxy(proxy) = handler(text) else {
        panic!("no proxy");
    };
    assert!(proxy.upstreams[0].is_https());
    let written = proxy.upstreams[0].to_string();
    assert_eq!(written, "srv+https://_app._tcp.app.test");
}

#[test]
fn what_no_certificate_can_be_for_is_no_https_upstream() {
    for host in [
        "app-.test",
        "-app.test",
        "a..test",
        "*.app.test",
        "app.test.",
    ] {
        let text = format!("{{ type = \"proxy\", upstreams = [\"https://{host}\"] }}");
        let pool = format!("[[pool]]\nname = \"app\"\nhandler = {text}\n");
        // Either it is refused, or a handshake can be made with it.
        if let Some(config) = super::read(&format!("{BINDING}{SITE}{pool}")).config
            && let Handler::Proxy(proxy) = &config.pools[0].handler
            && let Upstream::Net { host, .. } = &proxy.upstreams[0]
        {
            assert!(rustls::pki_types::ServerName::try_from(host.as_str()).is_ok());
        }
    }
}

#[test]
fn tls_to_upstreams_is_verified_unless_it_is_spelled_out() {
    let tls = |keys: &str| {
        let text = format!("{{ type = \"proxy\", upstreams = [\"https://a.test\"], {keys} }}");
        match handler(&text) {
            Handler::Proxy(proxy) => proxy.tls,
            _ => panic!("no proxy"),
        }
    };
    assert!(tls("").verify);
    assert!(tls("tls = { server_name = \"b.test\" }").verify);
    assert!(!tls("tls = { verify = false }").verify);
    let all =
        "tls = { ca = \"ca.pem\", client_certificate = { chain = \"c.pem\", key = \"k.pem\" } }";
    let pair = ClientCertificate {
        chain: "/etc/portunus/c.pem".into(),
        key: "/etc/portunus/k.pem".into(),
    };
    assert_eq!(tls(all).client_certificate, Some(pair));
    assert_eq!(tls(all).ca, Some("/etc/portunus/ca.pem".into()));
}

#[test]
fn handlers_of_a_library_are_brought_by_its_program() {
    assert_eq!(handler("{ type = \"library\" }"), Handler::Library);
}
