//! Every https binding's policy, and which of them a ClientHello is for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::clients::Clients;
use super::policy::{Handshakes, Policy};
use crate::binding::{Endpoint, Table};
use crate::certificate::{Certificate, Certificates, Offered};
use crate::config::{BindingTls, Config};
use crate::model::{BindingKey, HostName, LocalAddr, Reason, Refusal};

/// The TLS side of a running configuration.
pub struct TlsTable {
    table: Table,
    /// By the index of the binding; none for http.
    policies: Vec<Option<Arc<Policy>>>,
}

/// What a ClientHello is answered with.
pub struct Chosen<'a> {
    /// The policy.
    pub policy: &'a Arc<Policy>,
    /// The certificate to show.
    pub certificate: &'a Arc<Certificate>,
    /// The binding, where the client is for one.
    pub binding: Option<&'a Arc<BindingKey>>,
}

impl TlsTable {
    /// Builds the policies of a configuration. What `old` has of the same bindings is kept: their ticket keys, above all.
    pub fn build(
        config: &Config,
        keys: &[Arc<BindingKey>],
        certificates: &Certificates,
        old: Option<&TlsTable>,
    ) -> Result<Self, rustls::Error> {
        let mut before: HashMap<&BindingKey, &Arc<Policy>> = HashMap::new();
        for policy in old.iter().flat_map(|old| old.policies.iter().flatten()) {
            before.insert(&policy.key, policy);
        }
        let now = SystemTime::now();
        let mut policies = Vec::with_capacity(config.bindings.len());
        for (binding, key) in config.bindings.iter().zip(keys) {
            let old = before.get(&**key).map(|policy| &***policy);
            // A binding whose certificates, or whose clients' CAs, cannot be used is not served at all.
            let source = binding.tls.as_ref().and_then(|tls| {
                let clients = clients_of(tls, certificates, old)?;
                let source = certificates.source(binding)?;
                let source = source.beside(old.map(Policy::source), &binding.hostname, now);
                Some((tls, source, clients))
            });
            policies.push(match source {
                None => None,
                Some((tls, source, clients)) => Some(Arc::new(Policy::new(
                    Arc::clone(key),
                    tls,
                    &binding.protocols,
                    source,
                    clients,
                    certificates.ticket_keys(tls),
                    old,
                )?)),
            });
        }
        Ok(Self {
            table: Table::build(&config.bindings),
            policies,
        })
    }

    /// From now on this is the table that handshakes are made with: connections that stand are judged by its CAs and lists of
    /// revoked certificates too.
    pub fn take_effect(&self) {
        for policy in self.policies.iter().flatten() {
            if let Some(clients) = policy.clients() {
                clients.take_effect();
            }
        }
    }

    /// How many handshakes were done for each https binding.
    pub fn handshakes(&self) -> impl Iterator<Item = (&Arc<BindingKey>, Handshakes)> {
        let policies = self.policies.iter().flatten();
        policies.map(|policy| (&policy.key, policy.handshakes()))
    }

    /// A table of which nobody is served.
    #[cfg(test)]
    pub(super) fn of_nobody(table: Table) -> Self {
        Self {
            table,
            policies: Vec::new(),
        }
    }

    /// Finds whom a ClientHello is for, and the certificate that its client can check. `offered` is none where there is no
    /// client, and then the preferred one is chosen.
    pub fn choose(
        &self,
        local: LocalAddr,
        sni: Option<&str>,
        offered: Option<&Offered<'_>>,
    ) -> Result<Chosen<'_>, Refusal> {
        let Some(endpoint) = self.table.endpoint(local) else {
            return Err(Refusal::new(
                Reason::TlsNoCertificate,
                "no binding is left on this address and port",
            ));
        };
        match sni {
            Some(sni) => {
                let host = HostName::parse(sni).map_err(|error| {
                    Refusal::new(
                        Reason::TlsNoCertificate,
                        format!("the SNI {sni:?} is no host name: {error}"),
                    )
                })?;
                self.for_host(endpoint, &host, true, offered)
                    .ok_or_else(|| {
                        let what = if endpoint.find(&host).is_some() {
                            "certificate"
                        } else {
                            "binding"
                        };
                        Refusal::new(
                            Reason::TlsNoCertificate,
                            format!("there is no {what} for {host}"),
                        )
                    })
            }
            None => self.without_name(endpoint, local, offered).ok_or_else(|| {
                Refusal::new(
                    Reason::TlsNoCertificate,
                    "the client sent no SNI, and there is no certificate for that (_default.pem)",
                )
            }),
        }
    }

    fn for_host<'a>(
        &'a self,
        endpoint: Endpoint<'_>,
        host: &HostName,
        named: bool,
        offered: Option<&Offered<'_>>,
    ) -> Option<Chosen<'a>> {
        let policy = self.policies[endpoint.find(host)?].as_ref()?;
        let certificate = policy.certificate(host, named, offered)?;
        Some(Chosen {
            policy,
            certificate,
            binding: Some(&policy.key),
        })
    }

    /// A client that sends no SNI is for the address that it arrived at; failing that, it gets the default certificate of the
    /// first binding that has one, and each of its requests is checked against that certificate.
    fn without_name<'a>(
        &'a self,
        endpoint: Endpoint<'_>,
        local: LocalAddr,
        offered: Option<&Offered<'_>>,
    ) -> Option<Chosen<'a>> {
        let address = HostName::parse(&local.ip().to_string()).ok()?;
        self.for_host(endpoint, &address, false, offered)
            .or_else(|| {
                endpoint
                    .indices()
                    .filter_map(|index| self.policies[index].as_ref())
                    .find_map(|policy| {
                        let certificate = policy.certificate(&address, false, offered)?;
                        Some(Chosen {
                            policy,
                            certificate,
                            binding: None,
                        })
                    })
            })
    }
}

/// What a binding asks of the certificates of its clients; outer none where it asks for what cannot be used.
fn clients_of(
    tls: &BindingTls,
    certificates: &Certificates,
    old: Option<&Policy>,
) -> Option<Option<Clients>> {
    let Some(settings) = &tls.client_certificates else {
        return Some(None);
    };
    let cas = certificates.clients(settings)?;
    let old = old.and_then(Policy::clients);
    Some(Some(Clients::new(settings, cas, old)))
}
