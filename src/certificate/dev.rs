//! Development certificates: a CA of one's own, and certificates of it in the certificate folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::set::Certificates;
use crate::config::{Binding, CertificateSource, Config};
use crate::model::{HostName, HostPattern};

/// Why a development certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A file could not be written or read.
    #[error("{} cannot be {what}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The certificate could not be made.
    #[error("the certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// No client accepts a certificate for every host.
    #[error("{host:?} is no host: a certificate is for names, such as localhost or *.dev.test")]
    Everything {
        /// As it was given.
        host: String,
    },
    /// One of the hosts is none.
    #[error("{host:?} is no host name: {source}")]
    Host {
        /// As it was given.
        host: String,
        /// What is wrong with it.
        source: crate::model::HostError,
    },
}

/// A name that a certificate can be made for.
enum Name {
    Exact(HostName),
    /// `*.parent`
    Wildcard(HostName),
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The CA's certificate, to be trusted by browsers and tools.
    pub ca: PathBuf,
    /// Whether the CA is new.
    pub new_ca: bool,
    /// The certificates.
    pub files: Vec<PathBuf>,
}

/// Makes one certificate for all `hosts`, under the name of each, signed by the folder's development CA.
pub fn make(folder: &Path, hosts: &[String]) -> Result<Made, DevError> {
    let names = hosts
        .iter()
        .map(|host| Name::parse(host))
        .collect::<Result<Vec<_>, _>>()?;
    fs::create_dir_all(folder).map_err(|source| DevError::File {
        file: folder.into(),
        what: "created",
        source,
    })?;
    let (issuer, new_ca) = authority(folder)?;

    let key = KeyPair::generate()?;
    let mut params =
        CertificateParams::new(names.iter().map(Name::in_certificate).collect::<Vec<_>>())?;
    params.distinguished_name.push(
        DnType::CommonName,
        format!("{} (Portunus development)", hosts.join(", ")),
    );
    (params.not_before, params.not_after) = validity(LEAF_DAYS);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let chain = params.signed_by(&key, &issuer)?.pem();

    let mut files = Vec::new();
    for name in &names {
        let file = folder.join(format!("{}.pem", name.in_folder()));
        write(
            &file.with_extension("key"),
            key.serialize_pem().as_bytes(),
            SECRET,
        )?;
        write(&file, chain.as_bytes(), PUBLIC)?;
        files.push(file);
    }
    Ok(Made {
        ca: folder.join(CA_FILE),
        new_ca,
        files,
    })
}

/// Development certificates that there are to be in one folder.
#[derive(Debug)]
pub struct Missing<'a> {
    folder: &'a Path,
    hosts: Vec<String>,
}

impl Missing<'_> {
    /// Whom they are for, and the file of each.
    pub fn files(&self) -> impl Iterator<Item = (&str, PathBuf)> {
        let file = |host: &String| self.folder.join(format!("{host}.pem"));
        self.hosts
            .iter()
            .map(move |host| (host.as_str(), file(host)))
    }

    /// Whether a binding shows what is in their folder.
    pub fn is_for(&self, binding: &Binding) -> bool {
        let tls = binding.tls.as_ref();
        tls.is_some_and(|tls| tls.certificate == CertificateSource::Folder(self.folder.into()))
    }
}

/// Makes the certificates that are [`missing`].
pub fn make_missing(config: &Config, certificates: &Certificates) -> Result<Vec<Made>, DevError> {
    (missing(config, certificates).iter())
        .map(|missing| make(missing.folder, &missing.hosts))
        .collect()
}

/// The certificates that a first start makes: where bindings of `localhost` or a loopback address have none. Names of the world
/// are never made up.
pub fn missing<'a>(config: &'a Config, certificates: &Certificates) -> Vec<Missing<'a>> {
    let mut missing: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
    for binding in &config.bindings {
        let (HostPattern::Exact(host), Some(tls)) = (&binding.hostname, &binding.tls) else {
            continue;
        };
        let CertificateSource::Folder(path) = &tls.certificate else {
            continue;
        };
        let none = certificates
            .folder(path)
            .is_some_and(|f| f.find(host).is_none() && f.fault(host).is_none());
        if is_local(host) && none {
            // Whoever tries one of these names tries the others too.
            let hosts = missing
                .entry(path)
                .or_insert_with(|| ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec());
            if !hosts.iter().any(|known| known == host.as_str()) {
                hosts.push(host.to_string());
            }
        }
    }
    missing
        .into_iter()
        .map(|(folder, hosts)| Missing { folder, hosts })
        .collect()
}

/// Whether a name can only be this machine's own.
pub(super) fn is_local(host: &HostName) -> bool {
    match host.as_str().parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host.as_str() == "localhost" || host.as_str().ends_with(".localhost"),
    }
}

/// The folder's development CA; a new one if there is none.
fn authority(folder: &Path) -> Result<(Issuer<'static, KeyPair>, bool), DevError> {
    let (certificate, key) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
    if certificate.exists() && key.exists() {
        let read = |file: &Path| {
            fs::read_to_string(file).map_err(|source| DevError::File {
                file: file.into(),
                what: "read",
                source,
            })
        };
        let pair = KeyPair::from_pem(&read(&key)?)?;
        return Ok((Issuer::from_ca_cert_pem(&read(&certificate)?, pair)?, false));
    }
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Portunus development CA");
    (params.not_before, params.not_after) = validity(CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let own = params.self_signed(&pair)?;
    write(&key, pair.serialize_pem().as_bytes(), SECRET)?;
    write(&certificate, own.pem().as_bytes(), PUBLIC)?;
    Ok((Issuer::new(params, pair), true))
}

fn validity(days: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    // An hour back, for clients whose clock is behind.
    (now - Duration::hours(1), now + Duration::days(days))
}

impl Name {
    fn parse(text: &str) -> Result<Self, DevError> {
        let host = || text.to_owned();
        match HostPattern::parse(text) {
            Ok(HostPattern::Exact(name)) => Ok(Self::Exact(name)),
            Ok(HostPattern::Wildcard(parent)) => Ok(Self::Wildcard(parent)),
            Ok(HostPattern::Any | HostPattern::Strong) => {
                Err(DevError::Everything { host: host() })
            }
            Err(source) => Err(DevError::Host {
                host: host(),
                source,
            }),
        }
    }

    fn in_folder(&self) -> String {
        match self {
            Self::Exact(host) => host.to_string(),
            Self::Wildcard(parent) => format!("_.{parent}"),
        }
    }

    /// As clients compare it: lower-case, without brackets and trailing dot, whatever was typed.
    fn in_certificate(&self) -> String {
        match self {
            Self::Exact(host) => host.to_string(),
            Self::Wildcard(parent) => format!("*.{parent}"),
        }
    }
}

/// Writes a file beside its place and moves it there, so that nobody ever reads half of it.
fn write(file: &Path, content: &[u8], mode: u32) -> Result<(), DevError> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // What an interrupted run has left may be another's to read, or a link to somewhere else.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(DevError::File {
                file: beside,
                what: "removed",
                source: error,
            });
        }
        _ => {}
    }
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut open| open.write_all(content))
        .and_then(|()| fs::rename(&beside, file));
    written.map_err(|source| DevError::File {
        file: file.into(),
        what: "written",
        source,
    })
}

/// The CA's files. They do not end in `.pem`: a certificate folder takes those for hosts' certificates.
const CA_FILE: &str = "development-ca.crt";
const CA_KEY_FILE: &str = "development-ca.key";

const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Apple's systems refuse leaves that are valid for longer than 825 days, Chromium public ones beyond 398.
const LEAF_DAYS: i64 = 397;
const CA_DAYS: i64 = 3650;
