//! What an explanation calls the things of a configuration.

use crate::config::{AlpnProtocol, Binding, Handler, Pool};
use crate::model::{LocalAddr, Scheme};

/// A binding, as it is called.
pub(super) fn name(binding: &Binding) -> String {
    binding.key().to_string()
}

/// What a binding offers by ALPN.
pub(super) fn protocols(binding: &Binding) -> String {
    let names = binding.protocols.iter().map(|protocol| match protocol {
        AlpnProtocol::H3 => "h3",
        AlpnProtocol::H2 => "h2",
        AlpnProtocol::Http1 => "http/1.1",
    });
    names.collect::<Vec<_>>().join(", ")
}

/// A duration, as the configuration writes it.
pub(super) fn duration(duration: std::time::Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Why a binding is not in play on a socket; none where it is.
pub(super) fn out_of_play(binding: &Binding, scheme: Scheme, local: LocalAddr) -> Option<String> {
    if binding.port != local.port() {
        return Some(format!("it is on port {}", binding.port));
    }
    match binding.ip {
        Some(ip) if ip != local.ip() => Some(format!("it is on the address {ip}")),
        _ if binding.scheme != scheme => Some(format!("it is for {}", binding.scheme)),
        _ => None,
    }
}

/// What a pool's handler does.
pub(super) fn handler(pool: &Pool) -> String {
    match &pool.handler {
        Handler::Respond(respond) => format!("respond: {}", respond.status),
        Handler::Files(files) => format!("files: {}", files.root.display()),
        Handler::Redirect(redirect) => {
            format!("redirect: {} to {}", redirect.status.as_u16(), redirect.to)
        }
        Handler::Proxy(proxy) => format!(
            "proxy: {}",
            proxy
                .upstreams
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
        Handler::FastCgi(fastcgi) => format!("fastcgi: {}", fastcgi.address),
        Handler::Process(process) => format!("process: {}", process.command.join(" ")),
        Handler::Library => "library".to_owned(),
    }
}
