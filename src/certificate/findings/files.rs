//! The files themselves: what is wrong with them, and who may read them.

use std::path::Path;

use super::Finding;
use crate::certificate::access::Reader;
use crate::certificate::error::CertificateError;
use crate::certificate::files::Files;

/// Whether the server can read a certificate again when it is no longer root, and nobody else its key.
///
/// That the group may read a key is no fault: it is how a server that is not root shares one (Debian's `ssl-cert`), and
/// PostgreSQL takes it as well.
///
/// `reader`: whom the server becomes, if it becomes another.
pub(super) fn of(
    binding: usize,
    files: &Files,
    reader: Option<&Reader>,
    anybody: &Reader,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut all: Vec<_> = files.all().filter(|file| file.exists()).collect();
    all.dedup();
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
    let is_exposed = |file: &Path| anybody.may_read(file);
    let key = match files.key.exists() {
        true => &files.key,
        false => &files.chain,
    };
    if is_exposed(key) {
        let key = key.display();
        let message = format!("the private key in {key} may be read by every user of this machine");
        findings.push(
            Finding::warning(binding, "certificate-key-exposed", message).with_help(format!(
                "chmod 0640 {key}; where others have used the machine, replace the key"
            )),
        );
    }
    if let Some(password) = files.passwords.iter().find(|file| file.exists())
        && is_exposed(password)
    {
        let password = password.display();
        let message =
            format!("the password in {password} may be read by every user of this machine");
        let help =
            format!("chmod 0640 {password}; where others have used the machine, replace the key");
        findings.push(
            Finding::warning(binding, "certificate-password-exposed", message).with_help(help),
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
        | CertificateError::Broken { file, .. }
        | CertificateError::PasswordMissing { file, .. }
        | CertificateError::PasswordWrong { file, .. }
        | CertificateError::Encryption { file, .. }
        | CertificateError::WeakKey { file, .. } => file,
        CertificateError::KeyMissing { chain, .. }
        | CertificateError::LeafNotFirst { chain, .. }
        | CertificateError::KeyMismatch { chain, .. } => chain,
    }
}
