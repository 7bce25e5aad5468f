use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::Place;

fn binding(scheme: Scheme, ip: &str, port: u16, hostname: &str) -> Binding {
    Binding {
        scheme,
        ip: (ip != "*").then(|| ip.parse().expect("an address")),
        port,
        hostname: HostPattern::parse(hostname).expect("a pattern"),
        protocols: Vec::new(),
        tls: None,
        trusted_proxies: None,
        proxy_protocol: Vec::new(),
        site: 0,
        place: Place::default(),
    }
}

fn http(ip: &str, hostname: &str) -> Binding {
    binding(Scheme::Http, ip, 80, hostname)
}

fn local(ip: &str, port: u16) -> LocalAddr {
    LocalAddr::new(SocketAddr::new(ip.parse().expect("an address"), port))
}

fn host(text: &str) -> HostName {
    HostName::parse(text).expect("a host")
}

fn find(bindings: &[Binding], ip: &str, name: &str) -> Option<usize> {
    Table::build(bindings)
        .endpoint(local(ip, 80))?
        .find(&host(name))
}

const IP: &str = "192.0.2.1";
const OTHER_IP: &str = "192.0.2.2";

#[test]
fn the_order_is_strong_exact_wildcard_any_and_an_address_before_every_address() {
    let mut bindings = vec![
        http(IP, "+"),
        http("*", "+"),
        http(IP, "www.shop.test"),
        http("*", "www.shop.test"),
        http(IP, "*.shop.test"),
        http("*", "*.shop.test"),
        http(IP, "*"),
        http("*", "*"),
    ];
    // Whatever wins is taken away, so that the next must win; the file's order does not matter.
    bindings.reverse();
    while let Some(expected) = bindings.len().checked_sub(1) {
        assert_eq!(find(&bindings, IP, "www.shop.test"), Some(expected));
        bindings.pop();
    }
}

#[test]
fn an_exact_name_on_every_address_comes_before_a_wildcard_on_that_address() {
    let bindings = [http(IP, "*.shop.test"), http("*", "www.shop.test")];
    assert_eq!(find(&bindings, IP, "www.shop.test"), Some(1));
    assert_eq!(find(&bindings, IP, "img.shop.test"), Some(0));
    assert_eq!(find(&bindings, OTHER_IP, "img.shop.test"), None);
}

#[test]
fn a_host_that_nobody_takes_finds_nothing() {
    let bindings = [http("*", "www.shop.test"), http("*", "*.shop.test")];
    for name in ["shop.test", "a.b.shop.test", "evil.test", "test", IP, "::1"] {
        assert_eq!(find(&bindings, IP, name), None, "{name}");
    }
}

#[test]
fn a_socket_that_nobody_is_bound_to_has_no_endpoint() {
    let table = Table::build(&[http(IP, "*")]);
    assert!(table.endpoint(local(IP, 80)).is_some());
    assert!(table.endpoint(local(OTHER_IP, 80)).is_none());
    assert!(table.endpoint(local("::1", 80)).is_none());
    assert!(table.endpoint(local(IP, 81)).is_none());
    assert!(Table::build(&[]).endpoint(local(IP, 80)).is_none());
}

#[test]
fn an_ipv4_client_of_a_dual_stack_socket_finds_the_ipv4_binding() {
    for written in ["192.0.2.1", "::ffff:192.0.2.1"] {
        let table = Table::build(&[http(written, "*")]);
        for came in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert!(table.endpoint(local(came, 80)).is_some());
        }
    }
}

#[test]
fn an_address_with_another_scheme_than_every_address_is_a_socket_of_its_own() {
    let bindings = [
        binding(Scheme::Https, "*", 80, "shop.test"),
        binding(Scheme::Http, IP, 80, "other.test"),
    ];
    let table = Table::build(&bindings);
    let this = table.endpoint(local(IP, 80)).expect("bound");
    assert_eq!(this.scheme(), Scheme::Http);
    assert_eq!(this.find(&host("shop.test")), None);
    assert_eq!(this.indices().collect::<Vec<_>>(), [1]);
    let every = table.endpoint(local(OTHER_IP, 80)).expect("bound");
    assert_eq!(every.scheme(), Scheme::Https);
    assert_eq!(every.find(&host("shop.test")), Some(0));
}

#[test]
fn of_bindings_that_contradict_each_other_the_first_stands() {
    let bindings = [
        http("*", "shop.test"),
        http("*", "shop.test"),
        binding(Scheme::Https, "*", 80, "+"),
    ];
    assert_eq!(find(&bindings, IP, "shop.test"), Some(0));
    let table = Table::build(&bindings);
    let endpoint = table.endpoint(local(IP, 80)).expect("bound");
    assert_eq!(endpoint.scheme(), Scheme::Http);
    assert_eq!(endpoint.indices().collect::<Vec<_>>(), [0, 1]);
    let repeated = endpoint.explain(&host("shop.test"))[1].clone();
    assert_eq!((repeated.binding, repeated.verdict), (1, Verdict::Repeated));
}

#[test]
fn explains_every_binding_in_play_in_the_order_of_search() {
    let bindings = [
        http("*", "*"),
        http("*", "*.shop.test"),
        http(IP, "www.shop.test"),
        http("*", "www.shop.test"),
        http(OTHER_IP, "+"),
        http("*", "blog.test"),
        http("*", "*.blog.test"),
        binding(Scheme::Http, "*", 81, "+"),
    ];
    let table = Table::build(&bindings);
    let endpoint = table.endpoint(local(IP, 80)).expect("bound");
    let told: Vec<_> = endpoint
        .explain(&host("www.shop.test"))
        .iter()
        .map(|candidate| format!("{} {candidate}", candidate.binding))
        .collect();
    assert_eq!(
        told,
        [
            "2 its hostname is this very host",
            "3 www.shop.test takes the host too, but a binding on this very address comes before one on every address",
            "5 it takes the host blog.test only",
            "1 *.shop.test takes the host too, but comes later in the order +, exact, wildcard, *",
            "6 *.blog.test takes exactly one label before blog.test",
            "0 * takes the host too, but comes later in the order +, exact, wildcard, *",
        ]
    );
}

#[test]
fn ten_thousand_bindings_load_in_under_a_second_and_are_all_found() {
    let mut bindings: Vec<_> = (0..5_000)
        .flat_map(|n| {
            [
                http("*", &format!("www.site{n}.test")),
                http("*", &format!("*.site{n}.test")),
            ]
        })
        .collect();
    bindings.push(http("*", "*"));
    let begun = Instant::now();
    let table = Table::build(&bindings);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(table.len(), 10_001);
    let endpoint = table.endpoint(local(IP, 80)).expect("bound");
    assert_eq!(endpoint.indices().count(), 10_001);
    for n in 0..5_000 {
        assert_eq!(
            endpoint.find(&host(&format!("www.site{n}.test"))),
            Some(2 * n)
        );
        assert_eq!(
            endpoint.find(&host(&format!("img.site{n}.test"))),
            Some(2 * n + 1)
        );
    }
    assert_eq!(endpoint.find(&host("site1.test")), Some(10_000));
}

/// The rule as the documentation words it, one step after the other, over the whole list.
fn reference(bindings: &[Binding], local: LocalAddr, host: &HostName) -> Option<usize> {
    let on_ip = |b: &Binding| b.ip == Some(local.ip());
    let on_every = |b: &Binding| b.ip.is_none();
    let on_port: Vec<_> = bindings
        .iter()
        .enumerate()
        .filter(|(_, b)| b.port == local.port())
        .collect();
    let socket = on_port
        .iter()
        .find(|(_, b)| on_ip(b))
        .or_else(|| on_port.iter().find(|(_, b)| on_every(b)))?;
    let scheme = socket.1.scheme;
    let steps: [&dyn Fn(&HostPattern) -> bool; 4] = [
        &|p| *p == HostPattern::Strong,
        &|p| *p == HostPattern::Exact(host.clone()),
        &|p| match p {
            HostPattern::Wildcard(parent) => {
                host.ip().is_none() && {
                    let labels: Vec<_> = host.as_str().split('.').collect();
                    labels[1..].join(".") == parent.as_str()
                }
            }
            _ => false,
        },
        &|p| *p == HostPattern::Any,
    ];
    for step in steps {
        for place in [&on_ip as &dyn Fn(&Binding) -> bool, &on_every] {
            for (index, b) in &on_port {
                if b.scheme == scheme && place(b) && step(&b.hostname) {
                    return Some(*index);
                }
            }
        }
    }
    None
}

const IPS: &[&str] = &["*", "192.0.2.1", "::1"];
const HOSTS: &[&str] = &[
    "a.test",
    "b.test",
    "x.a.test",
    "y.a.test",
    "x.b.test",
    "y.x.a.test",
    "test",
    "192.0.2.1",
    "::1",
];

fn some_bindings() -> impl Strategy<Value = Vec<Binding>> {
    let pattern = prop_oneof![
        Just("+"),
        Just("*"),
        prop::sample::select(vec!["*.a.test", "*.b.test", "*.test", "*.x.a.test"]),
        prop::sample::select(HOSTS.to_vec()),
    ];
    let one = (prop::sample::select(IPS), 80_u16..82, pattern);
    let https = prop::collection::hash_set((prop::sample::select(IPS), 80_u16..82), 0..4);
    (prop::collection::vec(one, 0..24), https).prop_map(|(list, https)| {
        let mut seen = std::collections::HashSet::new();
        list.into_iter()
            .filter(|one| seen.insert(*one))
            .map(|(ip, port, pattern)| {
                let scheme = if https.contains(&(ip, port)) {
                    Scheme::Https
                } else {
                    Scheme::Http
                };
                binding(scheme, ip, port, pattern)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn finds_what_the_rule_read_word_by_word_finds(bindings in some_bindings()) {
        let table = Table::build(&bindings);
        for ip in ["192.0.2.1", "192.0.2.2", "::1"] {
            for port in 80..82 {
                let local = local(ip, port);
                let endpoint = table.endpoint(local);
                for name in HOSTS.iter().copied().map(host) {
                    let found = endpoint.and_then(|endpoint| endpoint.find(&name));
                    prop_assert_eq!(found, reference(&bindings, local, &name));
                    let explained = endpoint.map(|endpoint| endpoint.explain(&name)).unwrap_or_default();
                    let winners: Vec<_> = explained.iter().filter(|c| c.verdict == Verdict::Won).map(|c| c.binding).collect();
                    prop_assert_eq!(winners, found.into_iter().collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn every_binding_is_in_play_somewhere_and_explained_there(bindings in some_bindings()) {
        let table = Table::build(&bindings);
        for (index, binding) in bindings.iter().enumerate() {
            let ip = binding.ip.map_or("192.0.2.9".to_owned(), |ip| ip.to_string());
            let endpoint = table.endpoint(local(&ip, binding.port)).expect("bound");
            prop_assert_eq!(endpoint.scheme(), binding.scheme);
            prop_assert!(endpoint.indices().any(|one| one == index));
            let mut explained: Vec<_> = endpoint.explain(&host("a.test")).iter().map(|c| c.binding).collect();
            let mut in_play: Vec<_> = endpoint.indices().collect();
            explained.sort_unstable();
            in_play.sort_unstable();
            prop_assert_eq!(explained, in_play);
        }
    }
}
