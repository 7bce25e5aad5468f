//! One order, from its beginning to a chain and its key.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Error,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use zeroize::Zeroizing;

use super::challenges::{Answering, Challenges};
use super::client::RetryAfter;
use super::fault::{Blame, Fault, quote};
use super::office::Office;
use super::{hook, store};
use crate::config::{AcmeChallenge, AcmeKey};

/// What an order is for.
pub(super) struct Errand {
    /// The CA, with its files.
    pub(super) office: Arc<Office>,
    /// Where challenges are answered.
    pub(super) challenges: Arc<Challenges>,
    /// The name, `*.parent` for a wildcard.
    pub(super) name: String,
    /// The certificate in service, which the new one replaces.
    pub(super) replaces: Option<CertificateDer<'static>>,
}

/// What a challenge leaves behind until the order has ended.
enum Standing {
    /// Answered by this server.
    Answering { _answer: Answering },
    /// A TXT record: name and value.
    Record(String, String),
}

impl Errand {
    /// Runs the errand: chain and key, as PEM. What the ledger has of an order of before is gone on with.
    pub(super) async fn run(&self) -> Result<Zeroizing<String>, Fault> {
        let mut tries = 0;
        // What stands, stands until the end: the CA may look while a step is tried again.
        let mut standing = Vec::new();
        let outcome = loop {
            let retry_after = RetryAfter::default();
            match self.with_account(&mut standing, &retry_after).await {
                // The client has tried three times itself. Every step that was made stays made.
                Err(fault) if fault.blame == Blame::Nonce && tries < NONCE_TRIES => tries += 1,
                outcome => break outcome,
            }
        };
        for left in standing {
            if let Standing::Record(name, value) = left
                && let Err(fault) =
                    hook::call(&self.office.acme.dns_hook, "cleanup", &name, &value).await
            {
                tracing::warn!(name, why = fault.text, "a TXT record is left behind");
            }
        }
        outcome.map_err(|fault| fault.losing_account(&self.office.store))
    }

    async fn with_account(
        &self,
        standing: &mut Vec<Standing>,
        retry_after: &RetryAfter,
    ) -> Result<Zeroizing<String>, Fault> {
        let account = self.office.account(retry_after).await?;
        let mut order = self.open(&account, retry_after).await?;
        self.through(&mut order, standing, retry_after).await
    }

    /// The order that was begun before, or a new one.
    async fn open(&self, account: &Account, retry_after: &RetryAfter) -> Result<Order, Fault> {
        if let Some(url) = self.office.look(|ledger| ledger.order(&self.name)) {
            return account.order(url).await.map_err(|error| {
                let fault = retry_after.fault(&error);
                match (fault.blame, &error) {
                    // It is another's, or none: RFC 8555 has no problem of its own for that.
                    (Blame::Refused, Error::Api(_)) => Fault {
                        blame: Blame::OrderLost,
                        ..fault
                    },
                    _ => fault,
                }
            });
        }
        let fault = |error: Error| retry_after.fault(&error);
        self.profile_is_offered(account)?;
        let identifiers = [Identifier::Dns(self.name.clone())];
        let wanted = || {
            let order = NewOrder::new(&identifiers);
            match &self.office.acme.profile {
                Some(profile) => order.profile(profile),
                None => order,
            }
        };
        // Renewals that say what they replace are exempt from limits where the CA knows RFC 9773. One that will not hear of
        // it is asked without.
        let replaced = (self.replaces.as_ref())
            .and_then(|old| CertificateIdentifier::try_from(old).ok())
            .map(CertificateIdentifier::into_owned);
        let begun = match replaced {
            Some(old) => match account.new_order(&wanted().replaces(old)).await {
                // It made the order, and says nothing of what is replaced: without its URL the order is of no use.
                Err(Error::Other(error)) if error.to_string().starts_with(NOT_REPLACED) => {
                    account.new_order(&wanted()).await
                }
                Err(Error::Unsupported(_)) => account.new_order(&wanted()).await,
                Err(Error::Api(problem)) if refuses_replacing(problem.r#type.as_deref()) => {
                    account.new_order(&wanted()).await
                }
                begun => begun,
            },
            None => account.new_order(&wanted()).await,
        };
        let order = begun.map_err(fault)?;
        // What an order of before has left; this one has a key of its own.
        let _ = std::fs::remove_file(self.office.store.order_key(&self.name));
        let noted = self
            .office
            .note(|ledger| ledger.ordered(&self.name, order.url()));
        noted.map(|()| order)
    }

    fn profile_is_offered(&self, account: &Account) -> Result<(), Fault> {
        let Some(profile) = &self.office.acme.profile else {
            return Ok(());
        };
        let offered: Vec<_> = account.profiles().map(|meta| meta.name).collect();
        if offered.contains(&profile.as_str()) {
            return Ok(());
        }
        Err(Fault::ours(match offered[..] {
            [] => {
                format!("the CA offers no profiles; remove `profile = \"{profile}\"` from [acme]")
            }
            _ => format!(
                "the CA offers no profile {profile:?}, set as `profile` in [acme]; it offers {}",
                offered.join(", ")
            ),
        }))
    }

    /// From wherever the order stands to its certificate.
    async fn through(
        &self,
        order: &mut Order,
        standing: &mut Vec<Standing>,
        retry_after: &RetryAfter,
    ) -> Result<Zeroizing<String>, Fault> {
        let fault = |error: Error| retry_after.fault(&error);
        if order.state().status == OrderStatus::Pending {
            self.show_that_it_is_ours(order, standing, retry_after)
                .await?;
            match order.poll_ready(&VALIDATION).await {
                Ok(OrderStatus::Ready) => {}
                Ok(_) => return Err(self.refused(order, None, retry_after).await),
                Err(error) => {
                    // A nonce that was refused, or a CA that is away, says nothing of the order.
                    let told = retry_after.fault(&error);
                    return Err(match (told.blame, &error) {
                        (Blame::Refused, Error::Api(_)) => {
                            self.refused(order, Some(error), retry_after).await
                        }
                        _ => told,
                    });
                }
            }
        }
        let key = self.key().await?;
        if order.state().status == OrderStatus::Ready {
            let csr = request(&self.name, &key).map_err(|error| Fault::ours(error.to_string()))?;
            order.finalize_csr(&csr).await.map_err(fault)?;
        }
        if order.state().status == OrderStatus::Invalid {
            return Err(self.refused(order, None, retry_after).await);
        }
        let chain = order.poll_certificate(&ISSUANCE).await.map_err(fault)?;
        let mut pem = Zeroizing::new(chain);
        pem.push_str(&Zeroizing::new(key.serialize_pem()));
        Ok(pem)
    }

    /// Answers the challenge of every authorization that is still open, and tells the CA.
    async fn show_that_it_is_ours(
        &self,
        order: &mut Order,
        standing: &mut Vec<Standing>,
        retry_after: &RetryAfter,
    ) -> Result<(), Fault> {
        let wanted = match self.office.acme.challenge {
            AcmeChallenge::Http01 => ChallengeType::Http01,
            AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
            AcmeChallenge::Dns01 => ChallengeType::Dns01,
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| retry_after.fault(&error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let Some(mut challenge) = authorization.challenge(wanted.clone()) else {
                let wanted = self.office.acme.challenge;
                return Err(Fault::ours(format!(
                    "the CA does not offer {wanted} for {}; set another `challenge` in [acme]",
                    self.name
                )));
            };
            let answer = challenge.key_authorization();
            standing.push(match self.office.acme.challenge {
                AcmeChallenge::Http01 => Standing::Answering {
                    _answer: (self.challenges).answer_http(
                        &self.name,
                        &challenge.token,
                        answer.as_str(),
                    ),
                },
                AcmeChallenge::TlsAlpn01 => {
                    let config = proof(&self.name, answer.digest().as_ref())
                        .map_err(|error| Fault::ours(error.to_string()))?;
                    Standing::Answering {
                        _answer: self.challenges.answer_tls(&self.name, Arc::new(config)),
                    }
                }
                AcmeChallenge::Dns01 => {
                    let parent = self.name.strip_prefix("*.").unwrap_or(&self.name);
                    let value = answer.dns_value();
                    let hooked =
                        hook::call(&self.office.acme.dns_hook, "present", parent, &value).await;
                    // Whatever it came to, something may be there to be removed.
                    standing.push(Standing::Record(parent.to_owned(), value.clone()));
                    hooked?;
                    tokio::time::sleep(self.office.acme.dns_wait).await;
                    continue_with(&mut challenge, retry_after).await?;
                    continue;
                }
            });
            continue_with(&mut challenge, retry_after).await?;
        }
        Ok(())
    }

    /// Why an order was refused: what its authorizations say is nearer than what the order says.
    async fn refused(
        &self,
        order: &mut Order,
        error: Option<Error>,
        retry_after: &RetryAfter,
    ) -> Fault {
        let mut said = Vec::new();
        let of_order = match &error {
            Some(Error::Api(problem)) => Some(quote(problem)),
            _ => order.state().error.as_ref().map(quote),
        };
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            // Where it cannot be asked again, what is known is said.
            let _ = authorization.refresh().await;
            for challenge in &authorization.challenges {
                if let Some(problem) = &challenge.error {
                    said.push(format!(
                        "{} for {}: {}",
                        kind(&challenge.r#type),
                        self.name,
                        quote(problem)
                    ));
                }
            }
        }
        if said.is_empty() {
            said.extend(of_order);
        }
        if said.is_empty() {
            said.push("the CA refused the order, and did not say why".to_owned());
        }
        Fault {
            blame: Blame::Refused,
            text: said.join("; "),
            retry_after: error.and_then(|error| retry_after.fault(&error).retry_after),
        }
    }

    /// The key of this order: made once, and kept until the order ends, since the certificate belongs to it.
    async fn key(&self) -> Result<KeyPair, Fault> {
        let file = self.office.store.order_key(&self.name);
        if let Ok(Some(pem)) = store::read(&file)
            && let Ok(key) = KeyPair::from_pem(&Zeroizing::new(pem))
        {
            return Ok(key);
        }
        let kind = self.office.acme.key_type;
        // RSA takes its time, and others have orders too.
        let made = tokio::task::spawn_blocking(move || make_key(kind)).await;
        let key = made
            .map_err(|error| Fault::ours(error.to_string()))?
            .map_err(|error| Fault::ours(format!("no key can be made: {error}")))?;
        let pem = Zeroizing::new(key.serialize_pem());
        store::write(&file, pem.as_bytes())
            .map_err(|error| Fault::file(&file, "written", &error))?;
        Ok(key)
    }
}

/// Tells the CA that a challenge can be looked at; one that it looks at already, after a restart, is left alone.
async fn continue_with(
    challenge: &mut instant_acme::ChallengeHandle<'_>,
    retry_after: &RetryAfter,
) -> Result<(), Fault> {
    if challenge.status != ChallengeStatus::Pending {
        return Ok(());
    }
    challenge
        .set_ready()
        .await
        .map_err(|error| retry_after.fault(&error))
}

fn make_key(kind: AcmeKey) -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(match kind {
        AcmeKey::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        AcmeKey::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        AcmeKey::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
    })
}

/// The request for a certificate (RFC 8555 section 7.4): the name alone.
fn request(name: &str, key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// What a handshake of tls-alpn-01 shows: a certificate that nobody trusts, with the proof in it (RFC 8737 section 3).
fn proof(name: &str, digest: &[u8]) -> Result<ServerConfig, Box<dyn std::error::Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Not through `with_single_cert`, which reads the certificate, and refuses the extension that is the proof.
    let shown = CertifiedKey::new(vec![certificate.der().clone()], any_supported_type(&key)?);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![super::TLS_ALPN.to_vec()];
    // The connection closes after the handshake: there is nothing to resume.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// CAs refuse `replaces` for a certificate that was replaced already, or that is not theirs.
fn refuses_replacing(kind: Option<&str>) -> bool {
    matches!(
        kind.and_then(|kind| kind.rsplit(':').next()),
        Some("alreadyReplaced" | "malformed" | "conflict")
    )
}

fn kind(kind: &ChallengeType) -> String {
    match kind {
        ChallengeType::Http01 => AcmeChallenge::Http01.to_string(),
        ChallengeType::TlsAlpn01 => AcmeChallenge::TlsAlpn01.to_string(),
        ChallengeType::Dns01 => AcmeChallenge::Dns01.to_string(),
        _ => "another challenge".to_owned(),
    }
}

/// A CA that refuses every second nonce is gone through with this.
const NONCE_TRIES: u32 = 5;

/// How instant-acme says that a CA does not repeat what an order replaces (RFC 9773 section 5).
const NOT_REPLACED: &str = "replaces field mismatch";

/// A CA looks within seconds; some look from several places, and some in turn.
const VALIDATION: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// Signing takes a moment; Certificate Transparency logs are waited for.
const ISSUANCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(100))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));
