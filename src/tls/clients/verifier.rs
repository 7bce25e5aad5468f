//! rustls' verifier of clients' certificates, with what people expect of one besides: a bound for the length of chains, CAs that
//! expire, and a sentence for everything that is refused.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::objection::{Objection, remember};
use crate::certificate::ClientCas;
use crate::config::{ClientCertificates, ClientMode, Doubt};

/// The CAs of a binding, and what it asks of certificates.
#[derive(Debug)]
pub(super) struct Verifier {
    settings: ClientCertificates,
    cas: Arc<ClientCas>,
    provider: Arc<CryptoProvider>,
    /// What clients are told of the CAs, to choose a certificate by.
    hints: Vec<DistinguishedName>,
    revision: u64,
    /// Made anew when a CA begins or ceases to be valid, which webpki does not look at.
    ready: ArcSwapOption<Ready>,
}

/// A verifier of the CAs that are valid for now.
#[derive(Debug)]
struct Ready {
    from: SystemTime,
    until: SystemTime,
    /// None where no CA is valid.
    inner: Option<Arc<dyn ClientCertVerifier>>,
}

impl Verifier {
    pub(super) fn new(settings: &ClientCertificates, cas: Arc<ClientCas>) -> Self {
        let mut revision = [0; 8];
        revision.copy_from_slice(&cas.digest[..8]);
        let mut roots = RootCertStore::empty();
        // Each has been added to a store before, when it was read.
        let _ = roots.add_parsable_certificates(cas.cas.iter().map(|ca| ca.der.clone()));
        let hints = roots.subjects();
        let bytes: usize = hints.iter().map(|hint| hint.as_ref().len() + 2).sum();
        let verifier = Self {
            settings: settings.clone(),
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            hints: if bytes > HINT_BYTES_MAX {
                Vec::new()
            } else {
                hints
            },
            revision: u64::from_be_bytes(revision),
            ready: ArcSwapOption::empty(),
            cas,
        };
        // Here rather than in a first handshake: long lists take their time. What fails here fails there too, and is told.
        let _ = verifier.ready(SystemTime::now());
        verifier
    }

    /// What it was read from.
    pub(super) fn cas(&self) -> &ClientCas {
        &self.cas
    }

    /// Differs from that of other CAs and lists.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether a chain is good: the client's certificate, and those that came with it.
    pub(super) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), Objection> {
        let (end_entity, rest) = chain.split_first().ok_or_else(Objection::none_shown)?;
        self.verify(end_entity, rest, now)
            .map_err(|error| self.objection(&error, end_entity, rest, now))
    }

    /// The first so many of what came with it are looked at: a chain is sent in its order (RFC 8446 section 4.4.2).
    fn looked_at<'a>(&self, rest: &'a [CertificateDer<'a>]) -> &'a [CertificateDer<'a>] {
        &rest[..rest.len().min(self.settings.depth)]
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), Error> {
        match &self.ready(now)?.inner {
            Some(inner) => inner
                .verify_client_cert(end_entity, self.looked_at(rest), unix(now))
                .map(|_| ()),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn objection(
        &self,
        error: &Error,
        end_entity: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Objection {
        let looked_at = self.looked_at(rest);
        let left_out = rest.len() - looked_at.len();
        Objection::to_certificate(error, end_entity, looked_at, left_out, &self.cas, now)
    }

    fn ready(&self, now: SystemTime) -> Result<Arc<Ready>, Error> {
        if let Some(ready) = &*self.ready.load()
            && (ready.from..ready.until).contains(&now)
        {
            return Ok(Arc::clone(ready));
        }
        let ready = Arc::new(self.make_ready(now)?);
        self.ready.store(Some(Arc::clone(&ready)));
        Ok(ready)
    }

    fn make_ready(&self, now: SystemTime) -> Result<Ready, Error> {
        let (mut from, mut until) = (UNIX_EPOCH, now + FOREVER);
        let mut roots = RootCertStore::empty();
        for ca in &self.cas.cas {
            for turn in [ca.not_before, ca.not_after + Duration::from_secs(1)] {
                if turn <= now {
                    from = from.max(turn);
                } else {
                    until = until.min(turn);
                }
            }
            if ca.is_valid(now) {
                roots.add(ca.der.clone())?;
            }
        }
        let inner = (!roots.is_empty()).then(|| self.build(roots)).transpose()?;
        Ok(Ready { from, until, inner })
    }

    fn build(&self, roots: RootCertStore) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let provider = Arc::clone(&self.provider);
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls(self.cas.lists.iter().map(|list| list.der.clone()));
        if self.settings.crl_missing == Doubt::Accept {
            builder = builder.allow_unknown_revocation_status();
        }
        if self.settings.crl_expired == Doubt::Refuse {
            builder = builder.enforce_revocation_expiration();
        }
        builder
            .build()
            .map_err(|error| Error::General(error.to_string()))
    }

    /// A signature of the handshake itself, by which the client shows that the certificate's key is its own.
    fn proven(
        &self,
        certificate: &CertificateDer<'_>,
        outcome: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        outcome.inspect_err(|error| remember(Objection::to_proof(error, certificate)))
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.settings.mode == ClientMode::Require
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
        match self.verify(end_entity, intermediates, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(error) => {
                remember(self.objection(&error, end_entity, intermediates, now));
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        let outcome = verify_tls12_signature(message, certificate, signature, known);
        self.proven(certificate, outcome)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        let outcome = verify_tls13_signature(message, certificate, signature, known);
        self.proven(certificate, outcome)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The names of the CAs go to every client in every full handshake; beyond this they are left out, and a client chooses freely
/// (RFC 8446 section 4.2.4). TLS itself has room for 64 KiB.
const HINT_BYTES_MAX: usize = 16 << 10;

/// A hundred years.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);
