//! What an https binding does in its handshakes: keys that `[tls]` sets for all of them, and a binding for itself.

use std::ops::Range;
use std::time::Duration;

use super::reader::{At, Table};
use super::settings::DAY;
use super::{CertificateSource, TlsVersion, defaults, wrong};

/// The keys that `[tls]` and `[[binding]]` have alike, as one of the two writes them.
#[derive(Default)]
pub(super) struct TlsKeys<'t> {
    pub(super) min_version: Option<At<TlsVersion>>,
    pub(super) certificates: Option<At<&'t str>>,
    pub(super) alt_svc_max_age: Option<At<Duration>>,
    pub(super) ocsp_stapling: Option<At<bool>>,
}

impl<'t> TlsKeys<'t> {
    /// Reads them from whichever table it is.
    pub(super) fn read(table: &Table<'t>) -> Self {
        let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
        Self {
            min_version: table.one_of("min_version", &versions),
            certificates: table.text("certificates"),
            alt_svc_max_age: table.read("alt_svc_max_age", |value| {
                wrong::duration("alt_svc_max_age", value, &(Duration::ZERO..=DAY * 365))
            }),
            ocsp_stapling: table.read("ocsp_stapling", |value| {
                wrong::boolean("ocsp_stapling", value)
            }),
        }
    }

    /// Those that are written, and where: an http binding has none.
    pub(super) fn written(&self) -> impl Iterator<Item = (&'static str, &Range<usize>)> {
        let spans = [
            (
                "certificates",
                self.certificates.as_ref().map(|at| &at.span),
            ),
            ("min_version", self.min_version.as_ref().map(|at| &at.span)),
            (
                "alt_svc_max_age",
                self.alt_svc_max_age.as_ref().map(|at| &at.span),
            ),
            (
                "ocsp_stapling",
                self.ocsp_stapling.as_ref().map(|at| &at.span),
            ),
        ];
        spans
            .into_iter()
            .filter_map(|(key, span)| Some((key, span?)))
    }

    /// What a binding does: what it says itself, else what `[tls]` says, else the default.
    pub(super) fn settle(
        &self,
        all: &Self,
        certificate: CertificateSource,
        acme: bool,
    ) -> super::BindingTls {
        super::BindingTls {
            min_version: first(&self.min_version, &all.min_version)
                .unwrap_or(defaults::MIN_VERSION),
            certificate,
            acme,
            alt_svc_max_age: first(&self.alt_svc_max_age, &all.alt_svc_max_age)
                .unwrap_or(defaults::ALT_SVC_MAX_AGE),
            ocsp_stapling: first(&self.ocsp_stapling, &all.ocsp_stapling)
                .unwrap_or(defaults::OCSP_STAPLING),
        }
    }
}

/// What is said nearer.
fn first<T: Clone>(own: &Option<At<T>>, all: &Option<At<T>>) -> Option<T> {
    own.as_ref().or(all.as_ref()).map(|at| at.value.clone())
}
