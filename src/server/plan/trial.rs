//! Trying out what a reload could fail on, without doing it.

use std::sync::Arc;

use super::Plan;
use crate::certificate::Certificates;
use crate::config::Config;
use crate::report::Report;
use crate::server::ports::Opened;
use crate::server::{Server, ServerError};
use crate::tls::TlsTable;

/// What a reload would do, or why it would be refused. Nothing is changed; of what was found in files already, nothing is
/// looked at again.
pub(in crate::server) fn foresee(
    server: &Server,
    config: &Config,
    certificates: &Certificates,
) -> Result<Plan, ServerError> {
    let plan = Plan::of(server, config, certificates);
    let errors = server.ports.try_out(&plan.sockets, &server.inherited);
    if !errors.is_empty() {
        return Err(ServerError::Bind(errors));
    }
    let settled = server.ports.settle(config, &Opened::default());
    let keys: Vec<_> = (settled.bindings.iter())
        .map(|binding| Arc::new(binding.key()))
        .collect();
    TlsTable::build(&settled, &keys, certificates, Some(&server.tls_table))?;
    Report::try_out(&config.log)?;
    Ok(plan)
}
