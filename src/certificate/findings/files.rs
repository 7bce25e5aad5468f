//! The files themselves: what is wrong with them, and who may read them.

use std::path::Path;

use super::Finding;
use crate::certificate::access::Reader;
use crate::certificate::error::CertificateError;

/// Whether the server can read a certificate again when it is no longer root, and nobody else its key.
///
/// That the group may read a key is no fault: it is how a server that is not root shares one (Debian's `ssl-cert`), and
/// PostgreSQL takes it as well.
pub(super) fn of(
    binding: usize,
    chain: &Path,
    key: &Path,
    reader: Option<&Reader>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let all = if chain == key {
        vec![key]
    } else {
        vec![chain, key]
    };
    for file in all {
        if let Some(reader) = reader
            && let Some(obstacle) = reader.obstacle(file)
        {
            let Reader { name, .. } = reader;
            let message = format!(
                "{} cannot be read by {name}, whom the server becomes (`server.user`): {} is in the way",
                file.display(),
                obstacle.display()
            );
            let help = format!(
                "what is read at start, as root, is served, but no reload reads it again; \
                 let a group of {name} read it: chgrp it, and chmod 0640 (folders 0750)"
            );
            findings.push(
                Finding::warning(binding, "certificate-unreadable-later", message).with_help(help),
            );
        }
    }
    if Reader::anybody().obstacle(key).is_none() && key.exists() {
        let key = key.display();
        let message = format!("the private key in {key} may be read by every user of this machine");
        findings.push(
            Finding::warning(binding, "certificate-key-exposed", message).with_help(format!(
                "chmod 0640 {key}; where others have used the machine, replace the key"
            )),
        );
    }
    findings
}

/// The file of the chain that an error is about.
pub(in crate::certificate) fn of_error(error: &CertificateError) -> &Path {
    match error {
        CertificateError::Missing(file)
        | CertificateError::NoCertificate(file)
        | CertificateError::NoKey(file)
        | CertificateError::Unreadable { file, .. }
        | CertificateError::PasswordMissing { file, .. }
        | CertificateError::PasswordWrong { file, .. }
        | CertificateError::Encryption { file, .. }
        | CertificateError::Broken { file, .. }
        | CertificateError::WeakKey { file, .. } => file,
        CertificateError::KeyMissing { chain, .. }
        | CertificateError::LeafNotFirst { chain, .. }
        | CertificateError::KeyMismatch { chain, .. } => chain,
    }
}
