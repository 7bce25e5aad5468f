//! What is shown for a name whose certificate is still being ordered: no client trusts it, and each says why.

use std::path::Path;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use super::pair::Certificate;

/// A certificate for one name, signed by itself; none where none can be made of such a name.
pub(super) fn make(name: &str) -> Option<Certificate> {
    let key = KeyPair::generate().ok()?;
    let mut params = CertificateParams::new([name.to_owned()]).ok()?;
    // Whoever looks at it in a browser shall see what it is.
    params.distinguished_name.push(
        DnType::CommonName,
        "Portunus placeholder: the certificate is being ordered",
    );
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::hours(1), now + Duration::days(7));
    let chain = vec![params.self_signed(&key).ok()?.der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let nowhere = Path::new(NOWHERE);
    Certificate::build(nowhere, nowhere, chain, &key).ok()
}

/// It lies in no file.
const NOWHERE: &str = "(placeholder)";
