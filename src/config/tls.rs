//! What an https binding does in its handshakes: keys that `[tls]` sets for all of them, and a binding for itself.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use rustls::{CipherSuite, NamedGroup};

use super::clients;
use super::raw::Raw;
use super::reader::{At, Reader, Table};
use super::settings::DAY;
use super::suites::{self, GROUPS, SUITES};
use super::wrong::Wrong;
use super::{
    AlpnProtocol, Binding, CertificateSource, ClientCertificates, Source, TlsVersion, TrustSource,
    defaults, wrong,
};

/// The keys that `[tls]` and `[[binding]]` have alike, as one of the two writes them.
#[derive(Default)]
pub(super) struct TlsKeys<'t> {
    pub(super) min_version: Option<At<TlsVersion>>,
    pub(super) cipher_suites: Option<At<Vec<CipherSuite>>>,
    pub(super) groups: Option<At<Vec<NamedGroup>>>,
    pub(super) certificates: Option<At<&'t str>>,
    pub(super) ticket_rotation: Option<At<Duration>>,
    pub(super) ticket_keys: Option<At<Vec<&'t str>>>,
    pub(super) alt_svc_max_age: Option<At<Duration>>,
    /// Inner none: nothing is asked.
    pub(super) client_certificates: Option<At<Option<ClientCertificates>>>,
    pub(super) ocsp_stapling: Option<At<bool>>,
}

impl<'t> TlsKeys<'t> {
    /// Reads them from whichever table it is.
    pub(super) fn read(table: &Table<'t>) -> Self {
        let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
        Self {
            min_version: table.one_of("min_version", &versions),
            cipher_suites: suites::read(table, "cipher_suites", "cipher suite", SUITES),
            groups: suites::read(table, "groups", "group", GROUPS),
            certificates: table.text("certificates"),
            ticket_rotation: table.read("ticket_rotation", |value| {
                let rotation = wrong::duration("ticket_rotation", value, &TICKET_ROTATION)?;
                // Tickets count their life in seconds.
                match rotation.as_secs() {
                    0 if !rotation.is_zero() => Err(Wrong::new(
                        "out-of-range",
                        "`ticket_rotation` must be a second at least, or 0s for no tickets",
                    )),
                    seconds => Ok(Duration::from_secs(seconds)),
                }
            }),
            ticket_keys: ticket_keys(table),
            alt_svc_max_age: table.read("alt_svc_max_age", |value| {
                wrong::duration("alt_svc_max_age", value, &(Duration::ZERO..=DAY * 365))
            }),
            client_certificates: clients::read(table),
            ocsp_stapling: table.read("ocsp_stapling", |value| {
                wrong::boolean("ocsp_stapling", value)
            }),
        }
    }

    /// Those that are written, and where: an http binding has none.
    pub(super) fn written(&self) -> impl Iterator<Item = (&'static str, &Range<usize>)> {
        let spans = [
            (
                "certificates",
                self.certificates.as_ref().map(|at| &at.span),
            ),
            ("min_version", self.min_version.as_ref().map(|at| &at.span)),
            (
                "cipher_suites",
                self.cipher_suites.as_ref().map(|at| &at.span),
            ),
            ("groups", self.groups.as_ref().map(|at| &at.span)),
            (
                "ticket_rotation",
                self.ticket_rotation.as_ref().map(|at| &at.span),
            ),
            ("ticket_keys", self.ticket_keys.as_ref().map(|at| &at.span)),
            (
                "alt_svc_max_age",
                self.alt_svc_max_age.as_ref().map(|at| &at.span),
            ),
            (
                "client_certificates",
                self.client_certificates.as_ref().map(|at| &at.span),
            ),
            (
                "ocsp_stapling",
                self.ocsp_stapling.as_ref().map(|at| &at.span),
            ),
        ];
        spans
            .into_iter()
            .filter_map(|(key, span)| Some((key, span?)))
    }

    /// What a binding does: what it says itself, else what `[tls]` says, else the default.
    pub(super) fn settle(
        &self,
        all: &Self,
        certificate: CertificateSource,
        acme: bool,
        source: &Source,
    ) -> super::BindingTls {
        let ticket_keys = first(&self.ticket_keys, &all.ticket_keys).unwrap_or_default();
        super::BindingTls {
            min_version: first(&self.min_version, &all.min_version)
                .unwrap_or(defaults::MIN_VERSION),
            cipher_suites: first(&self.cipher_suites, &all.cipher_suites)
                .unwrap_or_else(|| suites::defaults(SUITES)),
            groups: first(&self.groups, &all.groups).unwrap_or_else(|| suites::defaults(GROUPS)),
            certificate,
            acme,
            ticket_rotation: first(&self.ticket_rotation, &all.ticket_rotation)
                .unwrap_or(defaults::TICKET_ROTATION),
            ticket_keys: ticket_keys
                .into_iter()
                .map(|file| source.resolve(file))
                .collect(),
            alt_svc_max_age: first(&self.alt_svc_max_age, &all.alt_svc_max_age)
                .unwrap_or(defaults::ALT_SVC_MAX_AGE),
            client_certificates: first(&self.client_certificates, &all.client_certificates)
                .flatten(),
            ocsp_stapling: first(&self.ocsp_stapling, &all.ocsp_stapling)
                .unwrap_or(defaults::OCSP_STAPLING),
        }
    }
}

/// Whom clients are taken to trust: a key of `[tls]` alone, since chains are completed in folders that bindings share.
/// A bare word is refused: it is a misspelt word far more often than a file.
pub(super) fn trust(table: &Table<'_>) -> Option<TrustSource> {
    let trust = table.read("trust", |value| {
        let text = wrong::text("trust", value)?;
        match text {
            "system" => Ok(TrustSource::System),
            file if file.contains(['/', '.']) => {
                Ok(TrustSource::File(table.reader.source.resolve(file)))
            }
            _ => {
                let wrong = Wrong::new("unknown-value", format!("`trust` cannot be {text:?}"));
                Err(wrong.help(
                    "write \"system\", or a PEM file with its folder, as in \"../certs/ca.crt\"",
                ))
            }
        }
    });
    trust.map(|at| at.value)
}

/// What is said nearer.
fn first<T: Clone>(own: &Option<At<T>>, all: &Option<At<T>>) -> Option<T> {
    own.as_ref().or(all.as_ref()).map(|at| at.value.clone())
}

/// Files of ticket keys, each once.
fn ticket_keys<'t>(table: &Table<'t>) -> Option<At<Vec<&'t str>>> {
    let written = table.strings("ticket_keys")?;
    let reader = table.reader;
    if written.value.len() > TICKET_KEYS_MAX {
        let message = format!("`ticket_keys` names more than {TICKET_KEYS_MAX} files");
        let wrong = Wrong::new("out-of-range", message);
        reader.wrong(
            &written.span,
            wrong.help("a key that is older than `ticket_rotation` opens no ticket any more: remove its file"),
        );
    }
    let mut seen = HashSet::new();
    for file in &written.value {
        if !seen.insert(file.value) {
            let wrong = Wrong::new(
                "duplicate-value",
                format!("\"{}\" is named twice", file.value),
            );
            reader.wrong(&file.span, wrong.help("remove one of the two"));
        }
    }
    Some(At {
        value: written.value.into_iter().map(|at| at.value).collect(),
        span: written.span,
    })
}

/// Versions, cipher suites and groups that leave nothing to agree on. What `[tls]` says is told of once, whichever bindings
/// take it over.
pub(super) fn policies(raw: &Raw<'_>, bindings: &[Binding], reader: &Reader<'_>) {
    let mut told = HashSet::new();
    for (raw_binding, binding) in raw.bindings.iter().zip(bindings) {
        let Some(tls) = &binding.tls else { continue };
        let own = &raw_binding.tls;
        let suites = own
            .cipher_suites
            .as_ref()
            .or(raw.tls.cipher_suites.as_ref());
        let groups = own.groups.as_ref().or(raw.tls.groups.as_ref());
        for (span, found) in [
            (suites.map(|at| &at.span), suites_fault(binding, tls)),
            (groups.map(|at| &at.span), groups_fault(tls)),
        ] {
            if let (Some(span), Some((message, help))) = (span, found)
                && told.insert(span.start)
            {
                let found = reader.error("tls-nothing-in-common", span, message);
                reader.report(found.help(help));
            }
        }
    }
}

type Fault = Option<(&'static str, &'static str)>;

fn suites_fault(binding: &Binding, tls: &super::BindingTls) -> Fault {
    let speaks = |version| suites::any_for(SUITES, &tls.cipher_suites, version);
    let over_quic = binding.protocols.contains(&AlpnProtocol::H3);
    match (speaks(TlsVersion::V1_2), speaks(TlsVersion::V1_3)) {
        (_, false) if over_quic => Some((
            "`cipher_suites` has none of TLS 1.3, which \"h3\" is spoken over",
            "add \"TLS_AES_128_GCM_SHA256\", which every client of QUIC has, or leave \"h3\" out of `protocols`",
        )),
        (_, false) if tls.min_version == TlsVersion::V1_3 => Some((
            "`cipher_suites` has none of TLS 1.3, and `min_version` is \"1.3\"",
            "add \"TLS_AES_128_GCM_SHA256\", or set `min_version = \"1.2\"`",
        )),
        (false, _) if tls.min_version == TlsVersion::V1_2 => Some((
            "`cipher_suites` has none of TLS 1.2, and `min_version` is \"1.2\"",
            "set `min_version = \"1.3\"`, or add \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\" and \
             \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"",
        )),
        _ => None,
    }
}

fn groups_fault(tls: &super::BindingTls) -> Fault {
    let classic = suites::any_for(GROUPS, &tls.groups, TlsVersion::V1_2);
    (tls.min_version == TlsVersion::V1_2 && !classic).then_some((
        "`groups` has none of TLS 1.2, and `min_version` is \"1.2\"",
        "set `min_version = \"1.3\"`, or add \"x25519\"",
    ))
}

/// As the configuration writes it.
impl std::fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        })
    }
}

/// RFC 8446 section 4.6.1 lets no ticket live for longer than seven days.
const TICKET_ROTATION: std::ops::RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(7 * 86_400);

/// Each is tried by its name, so that many cost nothing; but nobody needs more than the last, this and the next.
const TICKET_KEYS_MAX: usize = 8;
