//! A certificate authority of a test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use time::OffsetDateTime;

/// A CA, or an intermediate of one.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub pem: String,
}

/// A certificate and its key, as PEM.
pub struct Issued {
    /// The leaf alone.
    pub chain: String,
    /// PKCS#8.
    pub key: String,
}

impl Authority {
    /// A root.
    pub fn new(name: &str) -> Self {
        let (params, key) = Self::params(name);
        let own = params.self_signed(&key).expect("a root");
        Self {
            pem: own.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// An intermediate below this one.
    pub fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| {})
    }

    /// The same, changed before it is signed.
    pub fn intermediate_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let (mut params, key) = Self::params(name);
        change(&mut params);
        let own = params.signed_by(&key, &self.issuer).expect("a CA");
        Self {
            pem: own.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn params(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().expect("a key"))
    }

    /// A certificate for these hosts; its common name is the first of them.
    pub fn issue(&self, hosts: &[&str]) -> Issued {
        self.issue_with(hosts, |_| {})
    }

    /// The same, changed before it is signed.
    pub fn issue_with(
        &self,
        hosts: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("host names");
        params
            .distinguished_name
            .push(DnType::CommonName, *hosts.first().unwrap_or(&"nobody"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        Issued {
            chain: leaf.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A list of what it has revoked, by serial number, good until then.
    pub fn revokes(&self, serials: &[u64], next_update: OffsetDateTime) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: OffsetDateTime::now_utc() - Duration::from_secs(60),
            next_update,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a list");
        list.pem().expect("PEM")
    }

    /// Writes the CA's certificate, for clients to trust.
    pub fn write(&self, file: &Path) {
        fs::write(file, &self.pem).expect("the CA's file");
    }
}

/// Writes a file that only its owner may read.
pub fn secret(file: &Path, content: &str) {
    fs::write(file, content).expect("a file");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("its mode");
}

impl Issued {
    /// Writes `NAME.pem` and `NAME.key` into a folder. Where the chain is.
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        fs::create_dir_all(folder).expect("the folder");
        let chain = folder.join(format!("{name}.pem"));
        fs::write(&chain, &self.chain).expect("the chain");
        secret(&folder.join(format!("{name}.key")), &self.key);
        chain
    }
}
