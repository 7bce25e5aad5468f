//! The chain that is shown: put in order, and completed with issuers that lie beside it.
//!
//! Clients are sent nothing that they would have to sort or to fetch. The leaf stays what it is; no root is added, since
//! clients take none from a server.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::details::Details;
use super::pair::Certificate;
use super::trust::{Trust, Verdict, certificates_of, is_signed_by, leads_to};

/// What came of a chain, and what clients make of it.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Whether the file has the certificates in another order than they are shown.
    pub reordered: bool,
    /// Issuers that were missing, and where they lay.
    pub added: Vec<Added>,
    /// What clients make of what is shown.
    pub verdict: Verdict,
}

/// An issuer that a chain was completed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Whose it is.
    pub subject: String,
    /// The file that it lies in.
    pub file: PathBuf,
}

/// A chain that nobody has looked at.
impl Default for Chain {
    fn default() -> Self {
        Self {
            reordered: false,
            added: Vec::new(),
            verdict: Verdict::Unjudged,
        }
    }
}

/// The CAs' certificates that lie in a folder; read when the first chain needs them.
pub(super) struct Issuers {
    folder: PathBuf,
    read: OnceLock<Read>,
}

struct Read {
    intermediates: Vec<(CertificateDer<'static>, Details, PathBuf)>,
    roots: RootCertStore,
}

impl Issuers {
    /// Those of a folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self {
            folder: folder.into(),
            read: OnceLock::new(),
        }
    }

    fn read(&self) -> &Read {
        self.read.get_or_init(|| read(&self.folder))
    }

    /// The roots that lie there.
    fn roots(&self) -> &RootCertStore {
        &self.read().roots
    }
}

/// What cannot be read is none: a folder may hold anything, and what is amiss with the certificates that are shown is said
/// elsewhere.
fn read(folder: &Path) -> Read {
    let mut found = Read {
        intermediates: Vec::new(),
        roots: RootCertStore::empty(),
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| is_of_certificates(file))
        .collect();
    files.sort_unstable();
    for file in files {
        for der in certificates_of(&file).unwrap_or_default() {
            let Ok(details) = Details::of(&der) else {
                continue;
            };
            if !details.is_ca || found.intermediates.len() >= ISSUERS_MAX {
                continue;
            }
            if details.is_self_issued() {
                found.roots.add_parsable_certificates([der]);
            } else if !found.intermediates.iter().any(|(known, ..)| *known == der) {
                found.intermediates.push((der, details, file.clone()));
            }
        }
    }
    found
}

fn is_of_certificates(file: &Path) -> bool {
    let kind = file.extension().and_then(OsStr::to_str);
    kind.is_some_and(|kind| KINDS.contains(&kind))
}

/// The chain of a certificate as it is shown; none until somebody has looked at it.
#[derive(Debug, Default)]
pub(super) struct Arranged(ArcSwapOption<(Chain, Arc<CertifiedKey>)>);

impl Certificate {
    /// The chain and its key as they are shown, whatever is stapled to them.
    pub fn arranged(&self) -> Arc<CertifiedKey> {
        match &*self.chain.0.load() {
            Some(arranged) => Arc::clone(&arranged.1),
            None => Arc::clone(&self.key),
        }
    }

    /// What came of the chain.
    pub fn chain(&self) -> Chain {
        let arranged = self.chain.0.load();
        arranged
            .as_ref()
            .map_or_else(Chain::default, |arranged| arranged.0.clone())
    }

    /// Puts the chain in order, and completes it. One that was completed stays so, though the issuer be taken away from beside it:
    /// what is shown never becomes worse.
    pub(super) fn arrange(&self, issuers: &Issuers, trust: &Trust) {
        let old = self.arranged();
        let before = self.chain.0.load().as_ref().map(|before| before.0.clone());
        let verdict = judge(&old.cert, issuers, trust);
        let (chain, done) = match before {
            Some(before) if verdict.is_good() => (old.cert.clone(), Chain { verdict, ..before }),
            before => {
                let new = arrange(&self.key.cert, issuers, trust);
                match before.filter(|before| !before.added.is_empty()) {
                    Some(before) if !new.1.verdict.is_good() => {
                        (old.cert.clone(), Chain { verdict, ..before })
                    }
                    _ => new,
                }
            }
        };
        let is_new = chain != old.cert;
        let key = CertifiedKey {
            cert: chain,
            key: Arc::clone(&self.key.key),
            ocsp: None,
        };
        self.chain.0.store(Some(Arc::new((done, Arc::new(key)))));
        if is_new {
            self.restaple();
        }
    }
}

/// The chain as it is to be shown.
fn arrange(
    file: &[CertificateDer<'static>],
    issuers: &Issuers,
    trust: &Trust,
) -> (Vec<CertificateDer<'static>>, Chain) {
    let (mut chain, reordered) = in_order(file);
    let mut added = Vec::new();
    let mut verdict = judge(&chain, issuers, trust);
    while needs_more(&verdict) && added.len() < ADDED_MAX {
        let Some((der, details, file)) = issuer_of(&chain, issuers) else {
            break;
        };
        // Behind those that lead to it; what belongs to no path stays at the end.
        let at = path(&chain).len();
        chain.insert(at, der.clone());
        added.push(Added {
            subject: details.subject.clone(),
            file: file.clone(),
        });
        verdict = judge(&chain, issuers, trust);
    }
    let done = Chain {
        reordered,
        added,
        verdict,
    };
    (chain, done)
}

fn judge(chain: &[CertificateDer<'_>], issuers: &Issuers, trust: &Trust) -> Verdict {
    match trust.judge(chain) {
        verdict if verdict.is_good() => verdict,
        _ if leads_to(issuers.roots(), chain) => Verdict::Private,
        verdict => verdict,
    }
}

/// With nothing to judge by, what lies there is taken to be needed.
fn needs_more(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Incomplete { .. } | Verdict::Unknown { .. } | Verdict::Unjudged
    )
}

/// The issuer of the end of a chain's path, if it lies in the folder and is not in the chain yet.
fn issuer_of<'a>(
    chain: &[CertificateDer<'static>],
    issuers: &'a Issuers,
) -> Option<&'a (CertificateDer<'static>, Details, PathBuf)> {
    let path: Vec<_> = path(chain)
        .into_iter()
        .map(|at| chain[at].clone())
        .collect();
    let last = Details::of(path.last()?).ok()?;
    issuers
        .read()
        .intermediates
        .iter()
        .find(|(der, details, _)| {
            last.may_come_from(details) && !chain.contains(der) && is_signed_by(&path, der)
        })
}

/// The certificates, each followed by its issuer, and whether they have been moved. What leads nowhere comes last.
fn in_order(file: &[CertificateDer<'static>]) -> (Vec<CertificateDer<'static>>, bool) {
    let path = path(file);
    let is_ordered = path.iter().enumerate().all(|(place, at)| place == *at);
    if is_ordered {
        return (file.to_vec(), false);
    }
    let rest = (0..file.len()).filter(|at| !path.contains(at));
    let order = path.iter().copied().chain(rest);
    (order.map(|at| file[at].clone()).collect(), true)
}

/// The places of those that lead from the leaf, each to its issuer, as far as that goes.
fn path(chain: &[CertificateDer<'_>]) -> Vec<usize> {
    let details: Vec<_> = chain.iter().map(|der| Details::of(der).ok()).collect();
    let mut path = vec![0];
    while let Some(last) = path.last().and_then(|at| details[*at].as_ref()) {
        let next = details.iter().enumerate().position(|(at, details)| {
            let issues = details
                .as_ref()
                .is_some_and(|next| last.may_come_from(next));
            issues && !path.contains(&at)
        });
        match next {
            Some(next) if !last.is_self_issued() => path.push(next),
            _ => break,
        }
    }
    path
}

/// How files of certificates are named. `.ca-bundle` is what resellers call the intermediates that they send.
const KINDS: [&str; 4] = ["pem", "crt", "cer", "ca-bundle"];

/// A folder of every public CA's intermediates has fewer.
const ISSUERS_MAX: usize = 4096;

/// No chain in use is longer, and webpki follows no longer one.
const ADDED_MAX: usize = 5;
