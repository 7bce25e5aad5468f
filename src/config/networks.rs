//! Networks of peers that are believed: `proxy_protocol.from` and `trusted_proxies`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::keys;
use super::reader::{At, Table};
use super::wrong::Wrong;

/// A binding's `proxy_protocol`.
pub(super) fn proxy_protocol(table: &Table<'_>) -> Option<At<Vec<IpNet>>> {
    let inner = table.table("proxy_protocol", &keys::PROXY_PROTOCOL)?;
    inner.require("from", "[\"10.0.0.0/8\"]");
    let value = read(&inner, "from");
    Some(At {
        value,
        span: inner.span,
    })
}

/// A list of networks and addresses.
pub(super) fn read(table: &Table<'_>, key: &str) -> Vec<IpNet> {
    let Some(written) = table.strings(key) else {
        return Vec::new();
    };
    let reader = table.reader;
    let mut networks = Vec::with_capacity(written.value.len());
    for text in &written.value {
        match parse(text.value) {
            Ok(network) => {
                if network.prefix_len() == 0 {
                    let message = format!("{:?} is everybody", text.value);
                    let found = reader.warning("trusts-everybody", &text.span, message);
                    reader.report(found.help(
                        "name the balancers alone: whoever is believed can say that he is anybody else",
                    ));
                }
                networks.push(network);
            }
            Err(wrong) => reader.wrong(&text.span, wrong),
        }
    }
    networks
}

/// `10.0.0.0/8`, or one address.
fn parse(text: &str) -> Result<IpNet, Wrong> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(network) = network else {
        let wrong = Wrong::new("bad-network", format!("{text:?} is no network"));
        return Err(wrong.help("write one as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address"));
    };
    if network.addr() != network.network() {
        let message = format!("{text:?} is an address within a network, and a length");
        let wrong = Wrong::new("bad-network", message);
        return Err(wrong.help(format!(
            "write \"{}\" for the network, or \"{}\" for the address",
            network.trunc(),
            network.addr()
        )));
    }
    Ok(network)
}
