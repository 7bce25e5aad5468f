//! `portunus cert`

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::{BAD_CONFIGURATION, fail};
use crate::acme;
use crate::certificate::dev;
use crate::config::{self, CertificateSource};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a development CA, if there is none, and a certificate of it for these hosts
    ///
    /// The files go into the certificate folder of the configuration (`tls.certificates`), one under the name of each host.
    /// Browsers accept them once they trust the CA.
    Dev {
        /// A host name, an address, or *.name
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
        /// The certificate folder [default: as the configuration says, else ./certs]
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Have the running server order a certificate anew, due or not, and wait for it
    ///
    /// For names of bindings with `certificate = "acme"`. The server orders by itself what is due; this is for a leaked key, or
    /// to try at once what failed before. The budgets of docs/acme.md and a CA's Retry-After hold all the same.
    Renew {
        /// The binding's hostname, as www.example.com or *.example.com
        name: String,
        /// Rehearse with the CA's staging directory; what it issues is thrown away
        #[arg(long)]
        staging: bool,
    },
}

pub(super) fn main(config: &Path, command: &Command) -> ExitCode {
    match command {
        Command::Dev { hosts, folder } => {
            let folder = folder.clone().unwrap_or_else(|| folder_of(config));
            dev(&folder, hosts)
        }
        Command::Renew { name, staging } => renew(config, name, *staging),
    }
}

fn renew(file: &Path, name: &str, staging: bool) -> ExitCode {
    let loaded = config::load(file);
    let Some(config) = &loaded.config else {
        eprint!("{}", loaded.render(io::stderr().is_terminal()));
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let name = name.to_ascii_lowercase();
    let names = acme::names(config);
    let Some(acme) = config.acme.as_ref().filter(|_| names.contains(&name)) else {
        return fail(&match &names[..] {
            [] => format!(
                "no binding of {} has `certificate = \"acme\"`",
                file.display()
            ),
            _ => format!(
                "no binding with `certificate = \"acme\"` is for {name}; there are {}",
                names.join(", ")
            ),
        });
    };
    match acme::renew(acme, &name, staging) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => fail(&text),
    }
}

fn dev(folder: &Path, hosts: &[String]) -> ExitCode {
    match dev::make(folder, hosts) {
        Ok(made) => {
            for file in &made.files {
                println!("{}", file.display());
            }
            let ca = made.ca.display();
            let new = if made.new_ca { "a new" } else { "the" };
            eprintln!(
                "Signed by {new} development CA, {ca}. To trust it:\n  \
                 curl         curl --cacert {ca} https://{host}:8443/\n  \
                 Debian       cp {ca} /usr/local/share/ca-certificates/portunus-development.crt && update-ca-certificates\n  \
                 Chromium     certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n portunus-development -i {ca}\n  \
                 Firefox      Settings, Certificates, Authorities, Import\n\
                 Whoever has its key can pretend to be any site to those who trust it: keep the folder to yourself.",
                host = hosts[0],
            );
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string()),
    }
}

/// The folder that the configuration's first https binding takes its certificates from.
fn folder_of(file: &Path) -> PathBuf {
    let loaded = config::load(file);
    let Some(config) = loaded.config else {
        return "certs".into();
    };
    let of_binding =
        config
            .bindings
            .iter()
            .find_map(|binding| match &binding.tls.as_ref()?.certificate {
                CertificateSource::Folder(folder) => Some(folder.clone()),
                CertificateSource::Named(_) => None,
            });
    of_binding.unwrap_or(config.certificate_folder)
}
