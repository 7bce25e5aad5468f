//! What the tests of several handlers need.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::PathAndQuery;

use crate::model::{
    Activity, ClientAddr, Connection, Facts, HostName, LocalAddr, Protocol, Provenance, Reached,
    RoutePath,
};

/// The facts of a cleartext request of `192.0.2.7` to a host.
pub(super) fn facts(host: &str) -> Facts {
    let client = SocketAddr::from(([192, 0, 2, 7], 40000));
    let local = SocketAddr::from(([192, 0, 2, 1], 80));
    Facts {
        connection: Arc::new(Connection {
            client: ClientAddr::new(client),
            local: LocalAddr::new(local),
            tls: None,
            activity: Activity::default(),
        }),
        protocol: Protocol::Http1,
        host: HostName::parse(host).unwrap(),
        host_port: None,
        path: RoutePath::parse(&PathAndQuery::from_static("/")).unwrap(),
        rules: None,
        provenance: Provenance::default(),
        journal: None,
        reached: Reached::default(),
    }
}
