//! Cipher suites and groups: what there is, by the names of IANA's registries, and what may be meant by other names.

use rustls::{CipherSuite, NamedGroup};

use super::keys::nearest;
use super::reader::{At, Table};
use super::wrong::{Wrong, either};
use super::{BindingTls, TlsVersion};

/// Something that a list names, and the versions of TLS that have it.
#[derive(Debug)]
pub(super) struct Known<T: 'static> {
    pub(super) name: &'static str,
    pub(super) value: T,
    pub(super) versions: &'static [TlsVersion],
    /// Whether it is in the list where none is written.
    pub(super) by_default: bool,
}

const fn known<T>(name: &'static str, value: T, versions: &'static [TlsVersion]) -> Known<T> {
    Known {
        name,
        value,
        versions,
        by_default: true,
    }
}

const fn only_asked_for<T>(
    name: &'static str,
    value: T,
    versions: &'static [TlsVersion],
) -> Known<T> {
    Known {
        name,
        value,
        versions,
        by_default: false,
    }
}

const V1_2: &[TlsVersion] = &[TlsVersion::V1_2];
const V1_3: &[TlsVersion] = &[TlsVersion::V1_3];
const BOTH: &[TlsVersion] = &[TlsVersion::V1_2, TlsVersion::V1_3];

/// All of them have forward secrecy and authenticated encryption; rustls has no others. AES-128 first, as Mozilla's
/// recommendation has it and browsers ask for it: SHA-384 made a handshake a fifth dearer on a machine whose processor has
/// instructions for SHA-256 alone, and nobody breaks AES-128.
pub(super) static SUITES: &[Known<CipherSuite>] = &[
    known(
        "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        V1_3,
    ),
    known(
        "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        V1_3,
    ),
    known(
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        V1_3,
    ),
    known(
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        V1_2,
    ),
    known(
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        V1_2,
    ),
    known(
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        V1_2,
    ),
    known(
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        V1_2,
    ),
    known(
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        V1_2,
    ),
    known(
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        V1_2,
    ),
];

/// Those with ML-KEM are for TLS 1.3 alone. ML-KEM without a classic group beside it is nobody's default yet.
pub(super) static GROUPS: &[Known<NamedGroup>] = &[
    known("X25519MLKEM768", NamedGroup::X25519MLKEM768, V1_3),
    known("x25519", NamedGroup::X25519, BOTH),
    known("secp256r1", NamedGroup::secp256r1, BOTH),
    known("secp384r1", NamedGroup::secp384r1, BOTH),
    only_asked_for("SecP256r1MLKEM768", NamedGroup::secp256r1MLKEM768, V1_3),
    only_asked_for("MLKEM768", NamedGroup::MLKEM768, V1_3),
    only_asked_for("MLKEM1024", NamedGroup::MLKEM1024, V1_3),
];

/// OpenSSL's names, which nginx, Apache and HAProxy are configured with.
const FROM_OPENSSL: &[(&str, &str)] = &[
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    ("prime256v1", "secp256r1"),
    ("P-256", "secp256r1"),
    ("P-384", "secp384r1"),
];

/// What a list holds where none is written.
pub(super) fn defaults<T: Copy>(known: &[Known<T>]) -> Vec<T> {
    let by_default = known.iter().filter(|known| known.by_default);
    by_default.map(|known| known.value).collect()
}

/// Whether a version of TLS has any of them.
pub(super) fn any_for<T: PartialEq>(known: &[Known<T>], list: &[T], version: TlsVersion) -> bool {
    known
        .iter()
        .any(|known| known.versions.contains(&version) && list.contains(&known.value))
}

fn name_of<T: PartialEq>(known: &'static [Known<T>], value: &T) -> &'static str {
    (known.iter())
        .find(|known| known.value == *value)
        .map_or("", |known| known.name)
}

/// The versions of TLS that a binding speaks over TCP, the later first: those for which it has a suite.
pub fn spoken_versions(tls: &BindingTls) -> impl Iterator<Item = TlsVersion> {
    [TlsVersion::V1_3, TlsVersion::V1_2]
        .into_iter()
        .filter(|version| *version >= tls.min_version)
        .filter(|version| any_for(SUITES, &tls.cipher_suites, *version))
}

/// A cipher suite's name in IANA's registry; empty for one that is not spoken here.
pub fn suite_name(suite: CipherSuite) -> &'static str {
    name_of(SUITES, &suite)
}

/// A group's name in IANA's registry; empty for one that is not spoken here.
pub fn group_name(group: NamedGroup) -> &'static str {
    name_of(GROUPS, &group)
}

/// Reads a list of names. What is no name, or there twice, is reported; a list with a name that is none is no list, so that
/// nobody draws conclusions from the rest of it.
pub(super) fn read<T: Copy + PartialEq>(
    table: &Table<'_>,
    key: &'static str,
    what: &str,
    known: &'static [Known<T>],
) -> Option<At<Vec<T>>> {
    let written = table.strings(key)?;
    let reader = table.reader;
    let is_empty = |value: &toml::de::DeValue<'_>| value.as_array().is_some_and(|a| a.is_empty());
    if table
        .value(key)
        .is_some_and(|value| is_empty(value.get_ref()))
    {
        let wrong = Wrong::new(
            "empty-value",
            format!("`{key}` must name one {what} at least"),
        );
        reader.wrong(&written.span, wrong.help("leave it out for the default"));
        return None;
    }
    let mut values: Vec<At<T>> = Vec::new();
    let mut whole = true;
    for name in written.value {
        let Some(found) = known.iter().find(|known| known.name == name.value) else {
            reader.wrong(&name.span, unknown(name.value, what, known));
            whole = false;
            continue;
        };
        if let Some(first) = values.iter().find(|first| first.value == found.value) {
            let message = format!("\"{}\" is named twice", name.value);
            let duplicate = reader.error("duplicate-value", &name.span, message);
            let duplicate = duplicate.help("remove one of the two");
            reader.report(duplicate.related(reader.place(&first.span), "named here first"));
            continue;
        }
        values.push(At {
            value: found.value,
            span: name.span,
        });
    }
    whole.then(|| At {
        value: values.into_iter().map(|at| at.value).collect(),
        span: written.span,
    })
}

fn unknown<T>(name: &str, what: &str, known: &'static [Known<T>]) -> Wrong {
    let names = || known.iter().map(|known| known.name);
    let same = |other: &&str| other.eq_ignore_ascii_case(name);
    let from_openssl = FROM_OPENSSL
        .iter()
        .find(|(openssl, _)| openssl.eq_ignore_ascii_case(name))
        .map(|(_, iana)| *iana)
        .filter(|iana| names().any(|name| name == *iana));
    let meant = (names().find(same))
        .or(from_openssl)
        .or_else(|| nearest(name, names()));
    let wrong = Wrong::new(
        "unknown-value",
        format!("{name:?} is no {what} that is spoken here"),
    );
    let all = either(names());
    wrong.help(match meant {
        Some(meant) => format!("write \"{meant}\"; there are {all}"),
        None => format!("write {all}"),
    })
}
