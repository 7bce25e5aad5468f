//! From raw to checked: names become indices, defaults fill the gaps, and what one table alone cannot know is found.

use std::collections::HashMap;
use std::path::PathBuf;

use http::Method;

use super::acme;
use super::conflicts;
use super::keys::nearest;
use super::raw::{Raw, RawBinding, RawFiles, RawPool, RawRoute, RawSite};
use super::reader::{At, Reader, Table};
use super::routes;
use super::tls::TlsKeys;
use super::{
    AlpnProtocol, Binding, CertificateFiles, CertificateSource, Config, Handler, NamedCertificate,
    Pool, Route, Server, Site, defaults, is_pkcs12,
};
use crate::model::{HostPattern, Scheme};

/// Checks the whole file. What comes back is fit for use only if nothing was reported as an error.
pub(super) fn check(raw: Raw<'_>, reader: &Reader<'_>) -> Config {
    let mut certificates = Names::new(
        reader,
        "certificate",
        raw.certificates.iter().map(|c| (&c.table, &c.name)),
    );
    let mut pools = Names::new(
        reader,
        "pool",
        raw.pools.iter().map(|p| (&p.table, &p.name)),
    );
    let mut sites = Names::new(
        reader,
        "site",
        raw.sites.iter().map(|s| (&s.table, &s.name)),
    );
    let bindings: Vec<_> = raw
        .bindings
        .iter()
        .map(|b| binding(b, &raw, &mut sites, &mut certificates))
        .collect();
    let named = (raw.failed_requests.sites.iter())
        .map(|site| site.as_ref().map(|site| sites.mentioned(site)))
        .collect();
    let acme = acme::check(&raw, reader);
    let checked_sites: Vec<_> = raw
        .sites
        .iter()
        .map(|s| site(s, &raw.pools, reader, &mut pools))
        .collect();
    if reader.is_whole() {
        conflicts::check(&raw, &bindings, &checked_sites, reader);
        super::tls::policies(&raw, &bindings, reader);
        for names in [certificates, pools, sites] {
            names.report_unused();
        }
    }
    let certificate = |raw: &super::raw::RawCertificate<'_>| NamedCertificate {
        name: text(&raw.name),
        files: certificate_files(&raw.files, reader),
        alternative: (raw.alternative.as_ref()).map(|files| certificate_files(files, reader)),
        place: raw.table.place(),
    };
    Config {
        file: reader.source.file().to_path_buf(),
        certificates: raw.certificates.iter().map(certificate).collect(),
        acme,
        bindings,
        sites: checked_sites,
        pools: (raw.pools.into_iter())
            .map(|it| pool(it, &raw.server))
            .collect(),
        certificate_folder: certificate_folder(&raw.tls, reader),
        trust: raw.trust,
        server: raw.server,
        limits: raw.limits,
        log: raw.log,
        traces: raw.traces,
        failed_requests: raw.failed_requests.settle(named),
    }
}

fn pool(raw: RawPool<'_>, server: &Server) -> Pool {
    Pool {
        name: text(&raw.name),
        queue_length: raw.queue_length,
        concurrency: raw.concurrency,
        queue_timeout: raw.queue_timeout,
        on_overflow: raw.on_overflow,
        handler: settled(raw.handler, server),
        place: raw.table.place(),
    }
}

/// What a handler takes from `[server]`.
fn settled(mut handler: Handler, server: &Server) -> Handler {
    if let Handler::Proxy(proxy) = &mut handler
        && let Some(sticky) = &mut proxy.balance.sticky
        && sticky.key_file.is_none()
    {
        sticky.key_file = Some(server.state_dir.join("sticky.key"));
    }
    if let Handler::Process(process) = &mut handler {
        process.socket_folder = server.state_dir.join("workers");
        process.fastcgi.certificate = process.telling.certificate;
    }
    handler
}

fn text(at: &Option<At<&str>>) -> String {
    at.as_ref().map_or("", |at| at.value).to_owned()
}

/// The names of one kind of table, and which of them are used.
struct Names<'t> {
    reader: &'t Reader<'t>,
    kind: &'static str,
    index: HashMap<&'t str, usize>,
    /// Where each name is written.
    written: Vec<Option<At<&'t str>>>,
    used: Vec<bool>,
    /// Whether a name that is not known, or not there, was to be resolved: it may mean any of these.
    unresolved: bool,
    /// How many names were not known.
    unknown: usize,
}

/// Looking for the nearest name costs a look at every name; after this many mistakes it is one mistake made many times.
const SUGGESTIONS: usize = 50;

impl<'t> Names<'t> {
    /// Collects names; two that are alike are reported with both places.
    fn new<'a>(
        reader: &'t Reader<'t>,
        kind: &'static str,
        tables: impl Iterator<Item = (&'a Table<'t>, &'a Option<At<&'t str>>)>,
    ) -> Self
    where
        't: 'a,
    {
        let mut index = HashMap::new();
        let mut written: Vec<Option<At<&str>>> = Vec::new();
        for (number, (_, name)) in tables.enumerate() {
            if let Some(name) = name {
                let first = *index.entry(name.value).or_insert(number);
                if let (true, Some(Some(first))) = (first != number, written.get(first)) {
                    let message = format!("two [[{kind}]] have the name \"{}\"", name.value);
                    let found = reader.error("duplicate-name", &name.span, message);
                    let found = found.related(reader.place(&first.span), "the first of them");
                    reader.report(found.help("rename one of the two"));
                }
            }
            written.push(name.clone());
        }
        Self {
            reader,
            kind,
            index,
            used: vec![false; written.len()],
            unresolved: false,
            unknown: 0,
            written,
        }
    }

    /// The index of a name. An unknown name is reported, unless a table of this kind is there whose own name could not be
    /// read: it may be the one that is meant.
    fn resolve(&mut self, name: &Option<At<&str>>) -> usize {
        let Some(name) = name else {
            self.unresolved = true;
            return 0;
        };
        if let Some(index) = self.index.get(name.value) {
            self.used[*index] = true;
            return *index;
        }
        self.report_unknown(name);
        0
    }

    /// The same of a name that is mentioned and does not make what it names of any use.
    fn mentioned(&mut self, name: &At<&str>) -> usize {
        if let Some(index) = self.index.get(name.value) {
            return *index;
        }
        self.report_unknown(name);
        0
    }

    fn report_unknown(&mut self, name: &At<&str>) {
        self.unresolved = true;
        if self.reader.is_whole() && self.written.iter().all(Option::is_some) {
            let kind = self.kind;
            let message = format!("there is no {kind} \"{}\"", name.value);
            let found = self.reader.error("unknown-name", &name.span, message);
            self.unknown += 1;
            let near = (self.unknown <= SUGGESTIONS)
                .then(|| nearest(name.value, self.index.keys().copied()))
                .flatten();
            let help = match near {
                Some(near) => format!("write \"{near}\""),
                None => format!("add a [[{kind}]] with `name = \"{}\"`", name.value),
            };
            self.reader.report(found.help(help));
        }
    }

    fn report_unused(self) {
        if self.unresolved {
            return;
        }
        for (number, (name, used)) in self.written.iter().zip(self.used).enumerate() {
            // The second of two tables alike in name is reported as such already.
            if let (Some(name), false) = (name, used)
                && self.index.get(name.value) == Some(&number)
            {
                let message = format!("nothing uses the {} \"{}\"", self.kind, name.value);
                let code = match self.kind {
                    "certificate" => "unused-certificate",
                    "pool" => "unused-pool",
                    _ => "unused-site",
                };
                self.reader
                    .report(self.reader.warning(code, &name.span, message));
            }
        }
    }
}

fn binding(
    raw: &RawBinding<'_>,
    file: &Raw<'_>,
    sites: &mut Names<'_>,
    certificates: &mut Names<'_>,
) -> Binding {
    let default_protocols = match raw.scheme {
        Scheme::Http => vec![AlpnProtocol::Http1],
        Scheme::Https => vec![AlpnProtocol::H3, AlpnProtocol::H2, AlpnProtocol::Http1],
    };
    if raw.scheme == Scheme::Http {
        refuse_tls_keys(raw);
    }
    let named = certificates_of(raw, file, certificates);
    let port = raw
        .port
        .as_ref()
        .and_then(|port| u16::try_from(port.value).ok());
    Binding {
        scheme: raw.scheme,
        ip: raw.ip.as_ref().and_then(|ip| ip.value),
        port: port.unwrap_or(raw.scheme.default_port()),
        hostname: raw
            .hostname
            .as_ref()
            .map_or(HostPattern::Any, |host| host.value.clone()),
        protocols: match &raw.protocols {
            Some(protocols) => protocols.value.iter().map(|at| at.value).collect(),
            None => default_protocols,
        },
        tls: (raw.scheme == Scheme::Https).then(|| {
            (raw.tls).settle(
                &file.tls,
                named,
                acme::uses_acme(raw),
                raw.table.reader.source,
            )
        }),
        proxy_protocol: (raw.proxy_protocol.as_ref()).map_or_else(Vec::new, |at| at.value.clone()),
        trusted_proxies: (raw.trusted_proxies.as_ref().map(|at| &at.value))
            .or(file.server.trusted_proxies.as_ref())
            .filter(|trusted| !trusted.from.is_empty())
            .cloned(),
        site: sites.resolve(&raw.site),
        place: raw.table.place(),
    }
}

fn certificates_of(
    raw: &RawBinding<'_>,
    file: &Raw<'_>,
    names: &mut Names<'_>,
) -> CertificateSource {
    let reader = raw.table.reader;
    if let (Some(named), Some(folder)) = (&raw.certificate, &raw.tls.certificates) {
        let message = "`certificate` and `certificates` are both set, and a binding has one source";
        let found = reader.error("conflicting-keys", &folder.span, message);
        let found = found.related(reader.place(&named.span), "the other of them");
        reader.report(found.help("remove one of the two"));
    }
    match (&raw.certificate, &raw.tls.certificates) {
        (None, None) => CertificateSource::Folder(certificate_folder(&file.tls, reader)),
        (None, Some(folder)) => CertificateSource::Folder(reader.source.resolve(folder.value)),
        (Some(_), _) if acme::uses_acme(raw) => CertificateSource::Folder(acme::certificates(file)),
        (named, _) => CertificateSource::Named(names.resolve(named)),
    }
}

fn certificate_files(raw: &RawFiles<'_>, reader: &Reader<'_>) -> CertificateFiles {
    let resolve = |path: &At<&str>| reader.source.resolve(path.value);
    let chain = raw.chain.as_ref().map_or_else(PathBuf::new, resolve);
    if let (true, Some(key)) = (is_pkcs12(&chain), &raw.key) {
        let message = "`key` is set, and a chain in PKCS#12 has its key with it";
        reader.report(
            reader
                .error("conflicting-keys", &key.span, message)
                .help("remove it"),
        );
    }
    CertificateFiles {
        key: raw.key.as_ref().map_or_else(|| chain.clone(), resolve),
        password: raw.password.as_ref().map(resolve),
        chain,
    }
}

fn certificate_folder(tls: &TlsKeys<'_>, reader: &Reader<'_>) -> PathBuf {
    let folder = tls.certificates.as_ref();
    reader
        .source
        .resolve(folder.map_or(defaults::CERTIFICATES, |at| at.value))
}

/// An http binding has no TLS, and a key of it there is a misunderstanding that must not pass in silence. It may not leave
/// HTTP/1.1 out either: without TLS nothing tells a client beforehand.
fn refuse_tls_keys(raw: &RawBinding<'_>) {
    let reader = raw.table.reader;
    let named = raw.certificate.iter().map(|at| ("certificate", &at.span));
    for (key, span) in named.chain(raw.tls.written()) {
        let message = format!("`{key}` is for https, and this binding is http");
        let found = reader.error("http-with-tls", span, message);
        reader.report(found.help("remove it, or write `protocol = \"https\"`"));
    }
    let http3 = raw
        .protocols
        .iter()
        .flat_map(|protocols| &protocols.value)
        .find(|at| at.value == AlpnProtocol::H3);
    if let Some(http3) = http3 {
        let message = "`h3` is always encrypted, and this binding is http";
        let found = reader.error("http-with-h3", &http3.span, message);
        reader.report(found.help("remove \"h3\", or write `protocol = \"https\"`"));
    }
    if let Some(protocols) = &raw.protocols
        && !protocols.value.is_empty()
        && !protocols
            .value
            .iter()
            .any(|at| at.value == AlpnProtocol::Http1)
    {
        let message = "an http binding speaks HTTP/1.1, and may add HTTP/2";
        let found = reader.error("http-without-http1", &protocols.span, message);
        reader.report(found.help("write [\"http/1.1\", \"h2\"]"));
    }
}

fn site(
    raw: &RawSite<'_>,
    all: &[RawPool<'_>],
    reader: &Reader<'_>,
    pools: &mut Names<'_>,
) -> Site {
    check_routes(&raw.routes, reader);
    let hsts = raw.hsts.as_ref().map(|hsts| hsts.value);
    let mut route = |route: &RawRoute<'_>| {
        let pool = pools.resolve(&route.pool);
        if !pools.unresolved
            && let Some(named) = all.get(pool)
        {
            routes::check(route, named);
        }
        Route {
            path: route.path.value.clone(),
            methods: route.methods.clone(),
            pool,
            max_body_bytes: route.max_body_bytes,
            keys: route.keys.clone(),
            place: route.place,
        }
    };
    Site {
        name: text(&raw.name),
        https_redirect: raw.https_redirect,
        hsts: hsts.filter(|hsts| !hsts.max_age.is_zero()),
        keys: raw.keys.clone(),
        routes: raw.routes.iter().map(&mut route).collect(),
        place: raw.table.place(),
    }
}

/// Two routes of a site that take the same method of the same path: which of them would answer is nothing that a file
/// should leave to its order. A route for all methods beside one for some is fine: the narrower one wins.
fn check_routes(routes: &[RawRoute<'_>], reader: &Reader<'_>) {
    let mut taken: HashMap<(&str, Option<&Method>), &RawRoute<'_>> = HashMap::new();
    for route in routes {
        let path = route.path.value.as_str();
        let all = route.methods.is_empty().then_some(None);
        let mut reported = false;
        for method in route.methods.iter().map(Some).chain(all) {
            let first = *taken.entry((path, method)).or_insert(route);
            if !std::ptr::eq(first, route) && !reported {
                reported = true;
                let what = method.map_or("every method", Method::as_str);
                let message = format!("two routes of this site take {what} of {path:?}");
                let found = reader.error("duplicate-route", &route.path.span, message);
                let place = reader.place(&first.path.span);
                let found = found.related(place, "the first of them");
                reader
                    .report(found.help("remove one of the two, or give them different `methods`"));
            }
        }
    }
}
