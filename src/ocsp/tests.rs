//! A CA of a test's own, with a responder that says whatever a test wants.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use rasn::types::{Any, BitString, GeneralizedTime, Integer, ObjectIdentifier, Oid};
use rasn_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspResponse, OcspResponseStatus, ResponderId,
    ResponseBytes, ResponseData, RevokedInfo, SingleResponse,
};
use rasn_pkix::AlgorithmIdentifier;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SigningKey,
};

use super::subject::{Subject, hashed};
use crate::certificate::{Certificate, Content, Files};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A CA, with its key.
pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(super) der: Vec<u8>,
    pub(super) pem: String,
}

/// Who signs responses: the CA itself, or somebody with a certificate.
pub(super) struct Signer {
    pub(super) key: KeyPair,
    pub(super) der: Vec<u8>,
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap();
        Self {
            der: own.der().to_vec(),
            pem: own.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate that names this responder, as it is read from its file, its CA behind it.
    pub(super) fn leaf(&self, responder: Option<&str>) -> Arc<Certificate> {
        self.leaf_with(responder, |_| {}, &self.pem)
    }

    pub(super) fn leaf_with(
        &self,
        responder: Option<&str>,
        change: impl FnOnce(&mut CertificateParams),
        behind: &str,
    ) -> Arc<Certificate> {
        load(&self.pem_with(responder, change, behind))
    }

    /// Its file.
    pub(super) fn pem_with(
        &self,
        responder: Option<&str>,
        change: impl FnOnce(&mut CertificateParams),
        behind: &str,
    ) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.test".into()]).unwrap();
        params.custom_extensions.extend(responder.map(names));
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        leaf.pem() + behind + &key.serialize_pem()
    }

    /// Itself.
    pub(super) fn signer(&self) -> Signer {
        Signer {
            key: KeyPair::from_pem(&self.issuer.key().serialize_pem()).unwrap(),
            der: self.der.clone(),
        }
    }

    /// Somebody whom it has named.
    pub(super) fn delegate(&self, change: impl FnOnce(&mut CertificateParams)) -> Signer {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "a responder");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        change(&mut params);
        let own = params.signed_by(&key, &self.issuer).unwrap();
        Signer {
            der: own.der().to_vec(),
            key,
        }
    }
}

/// Reads a certificate's file.
pub(super) fn load(pem: &str) -> Arc<Certificate> {
    let files = Files {
        chain: "a.test.pem".into(),
        key: "a.test.pem".into(),
        passwords: Vec::new(),
    };
    let content = Content::of(Some(pem.as_bytes()), None);
    Arc::new(Certificate::read(&files, &content).unwrap())
}

/// AuthorityInfoAccess with an OCSP responder (RFC 5280 section 4.2.2.1).
pub(super) fn names(responder: &str) -> CustomExtension {
    let tlv = |tag: u8, parts: &[&[u8]]| {
        let content = parts.concat();
        [&[tag, u8::try_from(content.len()).unwrap()], &*content].concat()
    };
    let ocsp = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
    let description = tlv(0x30, &[&ocsp, &tlv(0x86, &[responder.as_bytes()])]);
    let content = tlv(0x30, &[&description]);
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

/// What a responder says; the rest of a response follows from it.
pub(super) struct Says {
    pub(super) status: CertStatus,
    pub(super) this_update: SystemTime,
    pub(super) next_update: Option<SystemTime>,
    pub(super) produced_at: SystemTime,
    pub(super) serial: Option<u64>,
    pub(super) sha256: bool,
    /// Whether the signer's certificate is sent along.
    pub(super) brings: bool,
    pub(super) by_key: bool,
    /// Changes a byte after it was signed.
    pub(super) tampered: bool,
}

impl Says {
    /// All is well, since an hour ago and for an hour.
    pub(super) fn good() -> Self {
        let now = SystemTime::now();
        Self {
            status: CertStatus::Good,
            this_update: now - HOUR,
            next_update: Some(now + HOUR),
            produced_at: now - HOUR,
            serial: None,
            sha256: false,
            brings: true,
            by_key: false,
            tampered: false,
        }
    }

    pub(super) fn revoked() -> Self {
        let info = RevokedInfo {
            revocation_time: generalized(SystemTime::now() - HOUR),
            revocation_reason: Some(rasn_pkix::CrlReason::KeyCompromise),
        };
        Self {
            status: CertStatus::Revoked(info),
            ..Self::good()
        }
    }

    /// As bytes, about this certificate.
    pub(super) fn signed_by(&self, signer: &Signer, subject: &Subject) -> Vec<u8> {
        let own: rasn_pkix::Certificate = rasn::der::decode(&signer.der).unwrap();
        let key = &own
            .tbs_certificate
            .subject_public_key_info
            .subject_public_key;
        let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
        let responder_id = match self.by_key {
            true => ResponderId::ByKey(hashed(sha1, key.as_raw_slice())),
            false => ResponderId::ByName(own.tbs_certificate.subject.clone()),
        };
        let data = ResponseData {
            version: Integer::ZERO,
            responder_id,
            produced_at: generalized(self.produced_at),
            responses: vec![SingleResponse {
                cert_id: self.id(subject),
                cert_status: self.status.clone(),
                this_update: generalized(self.this_update),
                next_update: self.next_update.map(generalized),
                single_extensions: None,
            }],
            response_extensions: None,
        };
        let mut signature = (signer.key)
            .sign(&rasn::der::encode(&data).unwrap())
            .unwrap();
        if self.tampered {
            signature[20] ^= 1;
        }
        let basic = BasicOcspResponse {
            tbs_response_data: data,
            signature_algorithm: AlgorithmIdentifier {
                algorithm: ObjectIdentifier::from(ECDSA_WITH_SHA256),
                parameters: None,
            },
            signature: BitString::from_vec(signature),
            certs: self.brings.then(|| vec![own]),
        };
        whole(
            OcspResponseStatus::Successful,
            Some(rasn::der::encode(&basic).unwrap()),
        )
    }

    fn id(&self, subject: &Subject) -> CertId {
        let mut id = subject.ids()[usize::from(self.sha256)].clone();
        if let Some(serial) = self.serial {
            id.serial_number = serial.into();
        }
        // As some responders leave it out.
        if self.by_key {
            id.hash_algorithm.parameters = None::<Any>;
        }
        id
    }
}

/// A response around these bytes.
pub(super) fn whole(status: OcspResponseStatus, basic: Option<Vec<u8>>) -> Vec<u8> {
    let bytes = basic.map(|basic| ResponseBytes {
        r#type: ObjectIdentifier::from(Oid::const_new(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 1])),
        response: basic.into(),
    });
    rasn::der::encode(&OcspResponse { status, bytes }).unwrap()
}

fn generalized(time: SystemTime) -> GeneralizedTime {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.parse().unwrap()
}

const ECDSA_WITH_SHA256: &Oid = Oid::const_new(&[1, 2, 840, 10045, 4, 3, 2]);

/// A responder on a port of this machine. Each connection is given to a function that may do with it what it wants.
pub(super) struct Responder {
    pub(super) url: String,
    asked: Arc<AtomicUsize>,
}

impl Responder {
    pub(super) fn start(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/ocsp", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(number, stream));
            }
        });
        Self { url, asked }
    }

    /// How many connections there have been.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Reads a request: its head, and its content.
pub(super) fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = (head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")))
    .map_or(0, |length| length.parse().unwrap());
    let mut content = vec![0; length];
    stream.read_exact(&mut content).unwrap();
    (head, content)
}

/// Answers a request as a responder does.
pub(super) fn answer(mut stream: TcpStream, response: &[u8]) {
    request(&mut stream);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/ocsp-response\r\ncontent-length: {}\r\n\r\n",
        response.len()
    );
    // A client that does not want it any more has gone.
    let _ = stream.write_all(&[head.as_bytes(), response].concat());
}
