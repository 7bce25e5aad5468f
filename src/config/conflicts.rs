//! What no table alone can know: bindings that contradict each other, and sites whose settings cannot have their effect.
//!
//! Everything is found by looking up, so that ten thousand bindings cost ten thousand look-ups.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::raw::{Raw, RawBinding};
use super::reader::Reader;
use super::{Binding, Diagnostic, Hsts, Site};
use crate::model::{HostName, HostPattern, Scheme};

/// A binding as it was written, and as it was understood.
type Pair<'a, 't> = (&'a RawBinding<'t>, &'a Binding);

pub(super) fn check(raw: &Raw<'_>, bindings: &[Binding], sites: &[Site], reader: &Reader<'_>) {
    if !raw.any_binding {
        let message = "the file has no [[binding]], and nothing would be served";
        let found = Diagnostic::error("no-binding", message);
        reader.report(found.help("add a [[binding]] with `port`, `hostname` and `site`"));
    }
    // A binding with a value that cannot be read was reported; what stands in its place must not be compared.
    let pairs = raw.bindings.iter().zip(bindings);
    let sound: Vec<_> = pairs.filter(|(raw, _)| raw.sound).collect();
    alike(&sound, reader);
    mixed_sockets(&sound, reader);
    mixed_balancers(&sound, reader);
    no_routes(raw, bindings, sites, reader);
    // Whether a setting has its effect is known only once every binding is.
    if !reader.has_errors() {
        let effects = Effects::new(bindings);
        for (index, (raw, site)) in raw.sites.iter().zip(sites).enumerate() {
            let Some(bindings) = effects.by_site.get(&index) else {
                continue;
            };
            if let (true, Some(written)) = (site.https_redirect, raw.table.value("https_redirect"))
            {
                effects.redirect(site, &written.span(), bindings, reader);
            }
            if let Some(hsts) = &raw.hsts {
                hsts_risks(site, hsts.value, &hsts.span, bindings, reader);
            }
        }
    }
}

/// What is underlined for a binding: its host, by which it differs from its neighbours.
fn span<'a>(raw: &'a RawBinding<'_>) -> &'a Range<usize> {
    raw.hostname
        .as_ref()
        .map_or(&raw.table.span, |hostname| &hostname.span)
}

fn show_ip(ip: Option<IpAddr>) -> String {
    ip.map_or("*".to_owned(), |ip| ip.to_string())
}

/// Two bindings alike in protocol, ip, port and hostname: only one of them could ever be found.
fn alike(pairs: &[Pair<'_, '_>], reader: &Reader<'_>) {
    let mut first: HashMap<(Scheme, Option<IpAddr>, u16, &HostPattern), &RawBinding<'_>> =
        HashMap::with_capacity(pairs.len());
    for (raw, binding) in pairs {
        let key = (binding.scheme, binding.ip, binding.port, &binding.hostname);
        let other = *first.entry(key).or_insert(raw);
        if std::ptr::eq(other, *raw) {
            continue;
        }
        let message = format!(
            "two bindings take {}, ip {}, port {}, hostname \"{}\"",
            binding.scheme,
            show_ip(binding.ip),
            binding.port,
            binding.hostname,
        );
        let found = reader.error("duplicate-binding", span(raw), message);
        let found = found.related(reader.place(span(other)), "the first of them");
        reader.report(found.help("remove one of the two, or change one of the four"));
    }
}

/// The header of the PROXY protocol comes before everything that tells the bindings of one socket apart.
fn mixed_balancers(pairs: &[Pair<'_, '_>], reader: &Reader<'_>) {
    let mut sockets: HashMap<(u16, Option<IpAddr>), &Pair<'_, '_>> = HashMap::new();
    for pair in pairs {
        let (raw, binding) = pair;
        // The system chooses a port for each scheme, and what else is on it is not known here.
        if binding.port == 0 {
            continue;
        }
        let (first, settled) = *sockets.entry((binding.port, binding.ip)).or_insert(pair);
        if settled.proxy_protocol == binding.proxy_protocol {
            continue;
        }
        let place = |raw: &RawBinding<'_>| {
            let written = raw.proxy_protocol.as_ref();
            written.map_or_else(|| span(raw).clone(), |at| at.span.clone())
        };
        let message = format!(
            "two bindings on ip {}, port {} take the PROXY protocol from different balancers",
            show_ip(binding.ip),
            binding.port,
        );
        let found = reader.error("mixed-proxy-protocol", &place(raw), message);
        let found = found.related(reader.place(&place(first)), "the first of them");
        reader.report(
            found.help("write the same `proxy_protocol` in both: it comes before a host is named"),
        );
    }
}

/// http and https on one ip and port: the first byte of a connection would have to settle it, and a socket on `*` meets
/// those of single addresses too. One report for each socket and protocol, not for each binding on it.
fn mixed_sockets(pairs: &[Pair<'_, '_>], reader: &Reader<'_>) {
    let mut sockets: HashMap<(u16, Option<IpAddr>, Scheme), &RawBinding<'_>> = HashMap::new();
    let mut any: HashMap<(u16, Scheme), &RawBinding<'_>> = HashMap::new();
    for (raw, binding) in pairs {
        let (ip, port) = (binding.ip, binding.port);
        // The system chooses a port for each scheme.
        if port == 0 {
            continue;
        }
        if sockets.contains_key(&(port, ip, binding.scheme)) {
            continue;
        }
        sockets.insert((port, ip, binding.scheme), raw);
        any.entry((port, binding.scheme)).or_insert(raw);
        let other = match binding.scheme {
            Scheme::Http => Scheme::Https,
            Scheme::Https => Scheme::Http,
        };
        let clash = match ip {
            None => any.get(&(port, other)),
            Some(_) => sockets
                .get(&(port, ip, other))
                .or_else(|| sockets.get(&(port, None, other))),
        };
        if let Some(clash) = clash {
            let at = raw.port.as_ref().map_or(&raw.table.span, |port| &port.span);
            let its = clash
                .port
                .as_ref()
                .map_or(&clash.table.span, |port| &port.span);
            let message = format!("http and https both want ip {}, port {port}", show_ip(ip));
            let found = reader.error("mixed-socket", at, message);
            let found = found.related(reader.place(its), format!("{other} here"));
            reader.report(
                found.help("give one of them another port; 80 is usual for http, 443 for https"),
            );
        }
    }
}

/// A site without routes answers nothing, unless all it does is to send clients to https.
fn no_routes(raw: &Raw<'_>, bindings: &[Binding], sites: &[Site], reader: &Reader<'_>) {
    let https = bindings.iter().filter(|b| b.scheme == Scheme::Https);
    let on_https: HashSet<usize> = https.map(|binding| binding.site).collect();
    for (index, (raw, site)) in raw.sites.iter().zip(sites).enumerate() {
        let only_redirects = site.https_redirect && !on_https.contains(&index);
        if site.routes.is_empty() && !only_redirects && raw.table.value("route").is_none() {
            let message = "the site has no [[site.route]], and could never answer";
            let found = reader.error("no-route", &raw.table.span, message);
            reader.report(found.help("add a [[site.route]] with `pool` behind it"));
        }
    }
}

/// The bindings by their sites, and the hosts that https serves.
struct Effects<'a> {
    by_site: HashMap<usize, Vec<&'a Binding>>,
    https: HashSet<&'a HostPattern>,
}

impl<'a> Effects<'a> {
    fn new(bindings: &'a [Binding]) -> Self {
        let mut by_site: HashMap<usize, Vec<&Binding>> = HashMap::new();
        for binding in bindings {
            by_site.entry(binding.site).or_default().push(binding);
        }
        let https = bindings.iter().filter(|b| b.scheme == Scheme::Https);
        Self {
            by_site,
            https: https.map(|binding| &binding.hostname).collect(),
        }
    }

    fn redirect(
        &self,
        site: &Site,
        place: &Range<usize>,
        bindings: &[&Binding],
        reader: &Reader<'_>,
    ) {
        let name = &site.name;
        let mut http = bindings
            .iter()
            .filter(|b| b.scheme == Scheme::Http)
            .peekable();
        if http.peek().is_none() {
            let message = format!(
                "`https_redirect` of the site \"{name}\" has no effect: no http binding leads to it"
            );
            let found = reader.warning("redirect-without-http", place, message);
            reader.report(found.help("add a [[binding]] with `protocol = \"http\"` for it"));
        }
        for binding in http {
            if !self.served(&binding.hostname) {
                let message = format!(
                    "the site \"{name}\" sends \"{}\" to https, where no binding takes it",
                    binding.hostname
                );
                let found = reader.warning("redirect-without-https", place, message);
                let found = found.related(binding.place, "the http binding");
                reader.report(
                    found.help("add a [[binding]] with `protocol = \"https\"` for this host"),
                );
            }
        }
    }

    /// Whether https serves at least some of the hosts of this pattern.
    fn served(&self, pattern: &HostPattern) -> bool {
        let any =
            self.https.contains(&HostPattern::Any) || self.https.contains(&HostPattern::Strong);
        any || match pattern {
            HostPattern::Any | HostPattern::Strong => !self.https.is_empty(),
            HostPattern::Wildcard(_) => {
                self.https.contains(pattern)
                    || self.https.iter().any(|https| match https {
                        HostPattern::Exact(name) => pattern.matches(name),
                        _ => false,
                    })
            }
            HostPattern::Exact(name) => {
                let parent = name
                    .parent()
                    .and_then(|parent| HostName::parse(parent).ok());
                let wildcard = parent.map(HostPattern::Wildcard);
                self.https.contains(pattern)
                    || wildcard.is_some_and(|wildcard| self.https.contains(&wildcard))
            }
        }
    }
}

/// What a browser that has once seen the field cannot be talked out of.
fn hsts_risks(
    site: &Site,
    hsts: Hsts,
    place: &Range<usize>,
    bindings: &[&Binding],
    reader: &Reader<'_>,
) {
    let warn = |code, message: String, help: &'static str| {
        reader.report(reader.warning(code, place, message).help(help));
    };
    if hsts.max_age.is_zero() {
        if hsts.preload || hsts.include_subdomains {
            let message = "`hsts` is not sent, as its `max_age` is 0s".to_owned();
            warn("hsts-off", message, "set `max_age`, as in \"365d\"");
        }
        return;
    }
    if !bindings
        .iter()
        .any(|binding| binding.scheme == Scheme::Https)
    {
        let message = format!(
            "`hsts` is sent on https only, and no https binding leads to the site \"{}\"",
            site.name
        );
        warn(
            "hsts-without-https",
            message,
            "add a [[binding]] with `protocol = \"https\"` for it",
        );
    }
    if hsts.preload && !hsts.include_subdomains {
        let message =
            "`preload` without `include_subdomains` is refused by the preload list".to_owned();
        warn(
            "hsts-preload",
            message,
            "set `include_subdomains = true` once every subdomain speaks https, or leave `preload` out",
        );
    }
    if hsts.preload && hsts.max_age < YEAR {
        let message =
            "`preload` with a `max_age` of less than a year is refused by the preload list"
                .to_owned();
        warn(
            "hsts-preload",
            message,
            "set `max_age = \"365d\"`, or leave `preload` out",
        );
    }
}

/// What hstspreload.org asks for.
const YEAR: Duration = Duration::from_secs(365 * 86_400);
