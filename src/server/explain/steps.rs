//! The steps of an explanation.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::uri::PathAndQuery;

use super::around;
use super::words::{handler, name, out_of_play};
use super::{Asking, Explanation, Handshakes, Lost, Refused, Step};
use crate::binding::{Endpoint, Table, Verdict};
use crate::config::{AlpnProtocol, Binding, Config};
use crate::http::{BoundTo, method_is_taken};
use crate::model::{
    BindingKey, ClientTerms, HostName, LocalAddr, Reason, Refusal, RoutePath, Scheme,
    certificate_name_covers, split_authority,
};
use crate::site::{RouteVerdict, Site, https_redirect_target};
use crate::tls::{Policy, TlsTable};

/// Follows a request through a configuration. An error is a URL that no client could send.
pub fn explain(
    config: &Config,
    handshakes: &Handshakes<'_>,
    arguments: &Asking,
) -> Result<Explanation, String> {
    let mut way = Way {
        config,
        steps: Vec::new(),
        table: Table::build(&config.bindings),
        bound: BoundTo::all(&config.bindings),
        pool: None,
    };
    let asked = Asked::read(arguments)?;
    let refusal = way.follow(handshakes, &asked).err();
    Ok(Explanation {
        url: arguments.url.to_string(),
        method: arguments.method.to_string(),
        steps: way.steps,
        now: None,
        served: refusal.is_none(),
        waits: None,
        pool: way.pool.map(|pool| config.pools[pool].name.clone()),
        refused: refusal.as_ref().map(Refused::of),
        instead: None,
    })
}

/// What a client asks for.
struct Asked<'a> {
    arguments: &'a Asking,
    scheme: Scheme,
    host: HostName,
    port: u16,
    target: PathAndQuery,
}

impl<'a> Asked<'a> {
    fn read(arguments: &'a Asking) -> Result<Self, String> {
        let scheme = match arguments.url.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err("the URL must begin with http:// or https://".into()),
        };
        let authority = arguments.url.authority().ok_or("the URL names no host")?;
        let (host, port) = split_authority(authority.as_str())
            .map_err(|error| format!("the URL's host: {error}"))?;
        let target = arguments
            .url
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self {
            arguments,
            scheme,
            host,
            port: port.unwrap_or(scheme.default_port()),
            target,
        })
    }

    /// The address that is connected to: as told, the host itself if it is one, or else any that is bound.
    fn local(&self, config: &Config) -> LocalAddr {
        let bound = || {
            let mut on_port = config.bindings.iter().filter(|b| b.port == self.port);
            match on_port.clone().any(|b| b.ip.is_none()) {
                true => None,
                false => on_port.find_map(|b| b.ip),
            }
        };
        let ip = self
            .arguments
            .ip
            .or_else(|| self.host.ip())
            .or_else(bound)
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        LocalAddr::new(SocketAddr::new(ip, self.port))
    }
}

/// What a connection's handshake settles.
struct Agreed {
    /// The binding that it is made for.
    made_for: Option<Arc<BindingKey>>,
    /// The names that its certificate covers.
    covers: Arc<[Box<str>]>,
    /// What it asks of the client's certificate.
    terms: Option<ClientTerms>,
}

struct Way<'a> {
    config: &'a Config,
    steps: Vec<Step>,
    table: Table,
    bound: Vec<BoundTo>,
    /// The pool that the request comes to.
    pool: Option<usize>,
}

impl Way<'_> {
    fn follow(&mut self, handshakes: &Handshakes<'_>, asked: &Asked<'_>) -> Result<(), Refusal> {
        let local = asked.local(self.config);
        self.socket(asked, local)?;
        let tls = match asked.scheme {
            Scheme::Https => Some(self.handshake(handshakes, asked, local)?),
            Scheme::Http => None,
        };
        let binding = self.binding(asked, local, tls)?;
        self.site(binding);
        method_is_taken(&asked.arguments.method)?;
        if asked.target.as_str().len() > self.config.limits.max_uri_bytes {
            let detail = "the request target is longer than limits.max_uri_bytes";
            return Err(Refusal::new(Reason::UrlLength, detail));
        }
        let path = RoutePath::parse(&asked.target)
            .map_err(|error| Refusal::new(Reason::Url, error.to_string()))?;
        if self.redirects(asked, binding) {
            return Ok(());
        }
        let (route, pool) = self.route(asked, &path, binding)?;
        self.pool(pool);
        let site = &self.config.sites[self.config.bindings[binding].site];
        let written = asked.target.path();
        let around = around::steps(site, &site.routes[route], written, path.as_str());
        self.steps.extend(around);
        Ok(())
    }

    fn socket(&mut self, asked: &Asked<'_>, local: LocalAddr) -> Result<(), Refusal> {
        let lost = |why: &dyn Fn(&Binding) -> Option<String>| {
            self.config
                .bindings
                .iter()
                .filter_map(|b| Some(lost(name(b), why(b)?, b.place.line)))
                .collect::<Vec<_>>()
        };
        let spoken = self.table.endpoint(local).map(|endpoint| endpoint.scheme());
        let others = lost(&|b| out_of_play(b, asked.scheme, local));
        let (chosen, why, refusal) = match spoken {
            Some(scheme) if scheme == asked.scheme => {
                let protocols = if scheme == Scheme::Https {
                    "TLS"
                } else {
                    "cleartext HTTP"
                };
                (
                    Some(format!("tcp {local}")),
                    format!("bindings listen there, for {protocols}"),
                    None,
                )
            }
            Some(scheme) => {
                let detail = format!("the socket {local} speaks {scheme}, not {}", asked.scheme);
                let reason = if scheme == Scheme::Https {
                    Reason::TlsNotTls
                } else {
                    Reason::BadRequest
                };
                (None, detail.clone(), Some(Refusal::new(reason, detail)))
            }
            None => {
                let detail = format!(
                    "no binding listens on {local}: the connection is refused by the system"
                );
                (
                    None,
                    detail.clone(),
                    Some(Refusal::new(Reason::ConnectionDropped, detail)),
                )
            }
        };
        self.steps.push(Step {
            step: "socket".into(),
            chosen,
            why,
            line: None,
            lost: others,
        });
        if refusal.is_none() {
            self.udp_socket(asked.scheme, local);
        }
        refusal.map_or(Ok(()), Err)
    }

    /// The UDP socket of the same number, where any binding on it speaks HTTP/3.
    fn udp_socket(&mut self, scheme: Scheme, local: LocalAddr) {
        let in_play = |b: &&Binding| out_of_play(b, scheme, local).is_none();
        let speaks = |b: &&Binding| b.protocols.contains(&AlpnProtocol::H3);
        let (over_quic, not): (Vec<_>, Vec<_>) = self
            .config
            .bindings
            .iter()
            .filter(in_play)
            .partition(speaks);
        let Some(first) = over_quic.first() else {
            return;
        };
        let more = match over_quic.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let why = "h3 is not among its protocols";
        self.steps.push(Step {
            step: "socket".into(),
            chosen: Some(format!("udp {local}")),
            why: format!(
                "h3 is among the protocols of {}{more}, for QUIC",
                name(first)
            ),
            line: Some(first.place.line),
            lost: (not.iter())
                .map(|b| lost(name(b), why.to_owned(), b.place.line))
                .collect(),
        });
    }

    /// What the handshake settles: the binding that the connection is made for, and the names that its certificate covers.
    fn handshake(
        &mut self,
        handshakes: &Handshakes<'_>,
        asked: &Asked<'_>,
        local: LocalAddr,
    ) -> Result<Agreed, Refusal> {
        let built;
        let table = match handshakes {
            Handshakes::Running(table) => table,
            Handshakes::With(certificates) => {
                let keys: Vec<_> = (self.bound.iter())
                    .map(|bound| Arc::clone(&bound.key))
                    .collect();
                built = TlsTable::build(self.config, &keys, certificates, None)
                    .map_err(|error| Refusal::new(Reason::Internal, error.to_string()))?;
                &built
            }
        };
        let own = asked.host.ip().is_none().then(|| asked.host.as_str());
        let sni = asked
            .arguments
            .sni
            .as_deref()
            .or(own)
            .filter(|sni| !sni.is_empty());
        let said = sni.map_or_else(
            || "the client sends no SNI".to_owned(),
            |sni| format!("the client sends the SNI {sni}"),
        );
        let chosen = table.choose(local, sni, None).inspect_err(|refusal| {
            self.steps.push(step(
                "certificate",
                None,
                format!("{said}, and {}", refusal.detail),
                None,
            ));
        })?;
        let (key, certificate) = (chosen.binding.cloned(), chosen.certificate);
        let binding = key
            .as_ref()
            .and_then(|key| self.bound.iter().position(|bound| bound.key == *key));
        let why = match &key {
            Some(key) => format!(
                "{said}, which is for the binding {key}; it covers {}",
                certificate.covers.join(", ")
            ),
            None => format!(
                "{said}, and this is the default certificate; it covers {}",
                certificate.covers.join(", ")
            ),
        };
        let line = binding.map(|index| self.config.bindings[index].place.line);
        self.steps.push(step(
            "certificate",
            Some(certificate.file.display().to_string()),
            why,
            line,
        ));
        if let Some(binding) = binding.map(|index| &self.config.bindings[index]) {
            self.steps.extend(super::policy::steps_of(binding));
        }
        let terms = self.client(chosen.policy, line);
        Ok(Agreed {
            made_for: key,
            covers: Arc::clone(&certificate.covers),
            terms,
        })
    }

    /// What the handshake asks of the client's certificate.
    fn client(&mut self, policy: &Policy, line: Option<usize>) -> Option<ClientTerms> {
        let terms = policy.clients()?.terms().clone();
        let why = "the handshake asks for it".into();
        let asked = Some(terms.to_string());
        self.steps
            .push(step("client certificate", asked, why, line));
        Some(terms)
    }

    fn binding(
        &mut self,
        asked: &Asked<'_>,
        local: LocalAddr,
        tls: Option<Agreed>,
    ) -> Result<usize, Refusal> {
        let config = self.config;
        let candidates = self
            .table
            .endpoint(local)
            .map(|endpoint: Endpoint<'_>| endpoint.explain(&asked.host))
            .unwrap_or_default();
        let won = candidates
            .iter()
            .find(|candidate| candidate.verdict == Verdict::Won);
        let others = candidates
            .iter()
            .filter(|candidate| candidate.verdict != Verdict::Won)
            .map(|candidate| {
                let binding = &config.bindings[candidate.binding];
                lost(name(binding), candidate.to_string(), binding.place.line)
            })
            .collect();
        let Some(won) = won else {
            let detail = format!(
                "no binding of this address and port takes the host {}",
                asked.host
            );
            self.steps.push(Step {
                step: "binding".into(),
                chosen: None,
                why: detail.clone(),
                line: None,
                lost: others,
            });
            return Err(Refusal::new(Reason::Hostname, detail));
        };
        let binding = &config.bindings[won.binding];
        self.steps.push(Step {
            step: "binding".into(),
            chosen: Some(name(binding)),
            why: won.to_string(),
            line: Some(binding.place.line),
            lost: others,
        });
        let bound = &self.bound[won.binding];
        if let Some(agreed) = &tls
            && agreed.terms != bound.client_terms
        {
            let detail = "the connection was made for another binding, whose handshake asks for other client certificates";
            return Err(Refusal::new(Reason::MisdirectedRequest, detail));
        }
        if let Some(agreed) = &tls
            && agreed.made_for.as_ref() != Some(&bound.key)
            && !(agreed.covers.iter()).any(|name| certificate_name_covers(name, &asked.host))
        {
            return Err(Refusal::new(
                Reason::MisdirectedRequest,
                format!(
                    "the connection was made for another binding, and its certificate does not cover {}",
                    asked.host
                ),
            ));
        }
        Ok(won.binding)
    }

    fn site(&mut self, binding: usize) {
        let config = self.config;
        let site = &config.sites[config.bindings[binding].site];
        let line = Some(site.place.line);
        self.steps.push(step(
            "site",
            Some(site.name.clone()),
            "the binding names it".into(),
            line,
        ));
    }

    /// Whether the site answers by a redirect to https.
    fn redirects(&mut self, asked: &Asked<'_>, binding: usize) -> bool {
        let config = self.config;
        let site = &config.sites[config.bindings[binding].site];
        let redirects = site.https_redirect && asked.scheme == Scheme::Http;
        if redirects {
            let target = https_redirect_target(
                &asked.host,
                &asked.arguments.url,
                self.bound[binding].https_port,
            );
            let to = String::from_utf8_lossy(target.as_bytes()).into_owned();
            self.steps.push(step(
                "redirect",
                Some(format!("308 to {to}")),
                "the site has https_redirect".into(),
                Some(site.place.line),
            ));
        }
        redirects
    }

    fn route(
        &mut self,
        asked: &Asked<'_>,
        path: &RoutePath,
        binding: usize,
    ) -> Result<(usize, usize), Refusal> {
        let config = self.config;
        let settings = &config.sites[config.bindings[binding].site];
        let site = Site::build(settings);
        let method = &asked.arguments.method;
        let place = |index: usize| settings.routes[index].place.line;
        let candidates = site.explain_route(path, method);
        let lost: Vec<_> = candidates
            .iter()
            .filter(|candidate| candidate.verdict != RouteVerdict::Won)
            .map(|candidate| {
                lost(
                    candidate.route.path.to_string(),
                    candidate.verdict.to_string(),
                    place(candidate.route.index),
                )
            })
            .collect();
        let won = candidates
            .iter()
            .find(|candidate| candidate.verdict == RouteVerdict::Won);
        self.steps.push(Step {
            step: "route".into(),
            chosen: won.map(|won| won.route.path.to_string()),
            why: match won {
                Some(won) => won.verdict.to_string(),
                None => format!("no route takes {method} {}", path.as_str()),
            },
            line: won.map(|won| place(won.route.index)),
            lost,
        });
        let route = site.route(path, method)?;
        Ok((route.index, route.pool))
    }

    fn pool(&mut self, index: usize) {
        self.pool = Some(index);
        let pool = &self.config.pools[index];
        let line = Some(pool.place.line);
        let capacity = format!(
            "the route names it; {} requests run at once, {} wait for up to {}",
            pool.concurrency,
            pool.queue_length,
            humantime::format_duration(pool.queue_timeout)
        );
        self.steps
            .push(step("pool", Some(pool.name.clone()), capacity, line));
        self.steps.push(step(
            "handler",
            Some(handler(pool)),
            "the pool has it".into(),
            line,
        ));
    }
}

pub(super) fn step(
    step: &'static str,
    chosen: Option<String>,
    why: String,
    line: Option<usize>,
) -> Step {
    Step {
        step: step.into(),
        chosen,
        why,
        line,
        lost: Vec::new(),
    }
}

fn lost(candidate: String, why: String, line: usize) -> Lost {
    Lost {
        candidate,
        why,
        line,
    }
}
