//! What a proxy tells its upstreams of clients.

use super::reader::Table;
use super::wrong::{Wrong, either};
use super::{ClientFields, defaults, keys};

/// What upstreams are told of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Of a client's certificate.
    pub certificate: ClientFields,
    /// Of where a client is, and what it asked for, by fields.
    pub forwarded: ForwardedFields,
    /// Of where a client is, by what a connection begins with; none: it begins with a request.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether fields with `_` or `.` in their names are passed on.
    pub odd_names: bool,
}

/// The fields that tell of where a client is, and what it asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardedFields {
    /// `Forwarded` (RFC 7239)
    pub forwarded: bool,
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`
    pub x_forwarded: bool,
    /// `X-Forwarded-Port`
    pub x_forwarded_port: bool,
    /// `X-Real-IP`
    pub x_real_ip: bool,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// As the defaults have it.
impl Default for Telling {
    fn default() -> Self {
        Self {
            certificate: defaults::CLIENT_CERTIFICATE_FIELDS,
            forwarded: defaults::FORWARDED,
            proxy_protocol: defaults::UPSTREAM_PROXY_PROTOCOL,
            odd_names: defaults::ODD_FIELD_NAMES,
        }
    }
}

/// A proxy's keys of it.
pub(super) fn read(table: &Table<'_>) -> Telling {
    let protocol = table.one_of("proxy_protocol", &PROTOCOLS);
    Telling {
        proxy_protocol: protocol.map_or(defaults::UPSTREAM_PROXY_PROTOCOL, |at| at.value),
        ..fields(table)
    }
}

/// The keys of it that a handler has whose connections begin with a request.
pub(super) fn fields(table: &Table<'_>) -> Telling {
    let default = Telling::default();
    let certificate = table.one_of("client_certificate_fields", &CLIENT_FIELDS);
    Telling {
        certificate: certificate.map_or(default.certificate, |at| at.value),
        forwarded: forwarded(table).unwrap_or(default.forwarded),
        proxy_protocol: None,
        odd_names: table.boolean("odd_field_names", default.odd_names),
    }
}

fn forwarded(table: &Table<'_>) -> Option<ForwardedFields> {
    let written = table.strings("forwarded")?;
    let mut fields = ForwardedFields::default();
    for word in written.value {
        let field = match word.value {
            "forwarded" => &mut fields.forwarded,
            "x-forwarded" => &mut fields.x_forwarded,
            "x-forwarded-port" => &mut fields.x_forwarded_port,
            "x-real-ip" => &mut fields.x_real_ip,
            other => {
                let message = format!("`forwarded` cannot hold {other:?}");
                let near = keys::nearest(&other.to_ascii_lowercase(), FORWARDED);
                let help = match near {
                    Some(near) => format!("write \"{near}\""),
                    None => format!("write {}", either(FORWARDED)),
                };
                let wrong = Wrong::new("unknown-value", message).help(help);
                table.reader.wrong(&word.span, wrong);
                continue;
            }
        };
        *field = true;
    }
    Some(fields)
}

const FORWARDED: [&str; 4] = ["x-forwarded", "forwarded", "x-forwarded-port", "x-real-ip"];

const CLIENT_FIELDS: [(&str, ClientFields); 3] = [
    ("none", ClientFields::None),
    ("leaf", ClientFields::Leaf),
    ("chain", ClientFields::Chain),
];

const PROTOCOLS: [(&str, Option<ProxyProtocol>); 3] = [
    ("off", None),
    ("v1", Some(ProxyProtocol::V1)),
    ("v2", Some(ProxyProtocol::V2)),
];
