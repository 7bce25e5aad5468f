//! What a failed handshake counts as.

use std::io;
use std::time::Instant;

use rustls::{Error, PeerIncompatible};

use super::clients::{NONE_SHOWN, Objection};
use super::hello::{ClientHello, Reading};
use super::ja4::{ja4, ja4_over_quic};
use crate::model::{ClientAddr, LocalAddr, Protocol, Reason, Refusal};
use crate::report::{Refused, Report};
use crate::traces::{FailedHandshake, Tracer};

/// By whom handshakes that fail are traced, and when this one began.
#[derive(Clone, Copy)]
pub struct Traced<'a> {
    /// By whom.
    pub tracer: &'a Tracer,
    /// When its connection was accepted.
    pub began: Instant,
}

impl<'a> Traced<'a> {
    /// A handshake that began then.
    pub fn by(tracer: Option<&'a Tracer>, began: Instant) -> Option<Self> {
        tracer.map(|tracer| Self { tracer, began })
    }
}

/// Tells the error log, and whoever traces, of a failed handshake, with all that its ClientHello says, as far as that has come,
/// and whose certificate it was that was refused.
pub(super) fn tell(
    report: &Report,
    hello: Reading,
    refusal: &Refusal,
    objection: Option<&Objection>,
    traced: Option<Traced<'_>>,
    (client, local, protocol): (ClientAddr, LocalAddr, Protocol),
) {
    let hello = match hello {
        Reading::Hello(hello) => Some(hello),
        _ => None,
    };
    let hello = hello.as_ref();
    let alpn = hello.map(ClientHello::offered_alpn);
    let versions = hello.map(ClientHello::offered_versions);
    let ja4 = hello.map(|hello| match protocol {
        Protocol::Quic => ja4_over_quic(hello),
        _ => ja4(hello),
    });
    let sni = hello.and_then(|hello| hello.server_name.as_deref());
    // What is made with ourselves is no failure of anybody's.
    let traced = traced.filter(|_| !report.is_own(client, local, protocol));
    let span = traced.and_then(|Traced { tracer, began }| {
        tracer.handshake_failed(&FailedHandshake {
            began,
            client,
            local,
            protocol,
            refusal,
            sni,
        })
    });
    report.refused(&Refused {
        trace_id: span.as_ref().map(|(trace, _)| trace.as_str()),
        span_id: span.as_ref().map(|(_, span)| span.as_str()),
        sni,
        alpn: alpn.as_deref().filter(|alpn| !alpn.is_empty()),
        tls_version: versions.as_deref(),
        ja4: ja4.as_deref(),
        client_subject: objection.and_then(|objection| objection.subject.as_deref()),
        client_fingerprint: objection.and_then(|objection| objection.fingerprint.as_deref()),
        detail: Some(&refusal.detail),
        ..Refused::new(refusal.reason, client, local, protocol)
    });
}

/// Classifies what rustls, or the socket under it, said.
pub(super) fn classify(error: &io::Error) -> Refusal {
    let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    else {
        let detail = match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => {
                "the client closed the connection in the middle of the handshake".to_owned()
            }
            _ => format!("the connection failed in the middle of the handshake: {error}"),
        };
        return Refusal::new(Reason::TlsOther, detail);
    };
    classify_tls(tls)
}

/// Classifies what rustls said.
pub(super) fn classify_tls(tls: &Error) -> Refusal {
    let reason = match tls {
        Error::AlertReceived(_) => Reason::TlsPeerAlert,
        Error::NoApplicationProtocol => Reason::TlsNoCommonProtocol,
        Error::PeerIncompatible(incompatible) => incompatible_reason(incompatible),
        Error::NoCertificatesPresented | Error::InvalidCertificate(_) => {
            Reason::TlsClientCertificate
        }
        _ => Reason::TlsOther,
    };
    let detail = match tls {
        Error::AlertReceived(alert) => format!(
            "the client ended the handshake with the alert {alert:?}{}",
            alert_hint(*alert)
        ),
        Error::NoApplicationProtocol => {
            "the client offers no protocol (ALPN) that the binding speaks".to_owned()
        }
        Error::PeerIncompatible(what) if reason == Reason::TlsNoCommonVersion => {
            format!("the client offers no version of TLS that the binding takes ({what:?})")
        }
        Error::PeerIncompatible(what) if reason == Reason::TlsNoCommonCipher => {
            format!("the client offers no cipher suite, group or signature that we have ({what:?})")
        }
        Error::NoCertificatesPresented => NONE_SHOWN.to_owned(),
        other => other.to_string(),
    };
    Refusal::new(reason, detail)
}

fn incompatible_reason(incompatible: &PeerIncompatible) -> Reason {
    match incompatible {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => Reason::TlsNoCommonVersion,
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => Reason::TlsNoCommonCipher,
        _ => Reason::TlsOther,
    }
}

/// What an operator may do about the alerts that certificates bring on.
fn alert_hint(alert: rustls::AlertDescription) -> &'static str {
    use rustls::AlertDescription as A;
    match alert {
        A::UnknownCA => {
            ": it does not know who issued the certificate, or an intermediate is missing from the chain"
        }
        A::CertificateExpired => ": it holds the certificate for expired",
        A::BadCertificate | A::CertificateUnknown => ": it does not accept the certificate",
        _ => "",
    }
}
