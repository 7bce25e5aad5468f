//! Whose spans they are: the message around a batch.

use super::protobuf::Message;
use super::queue::Batch;
use super::span::attribute;
use crate::config;

/// What stands before the spans of every request to the collector.
#[derive(Debug)]
pub(super) struct Resource {
    /// `ResourceSpans.resource`, as a field.
    resource: Vec<u8>,
    /// `ScopeSpans.scope`, as a field.
    scope: Vec<u8>,
}

impl Resource {
    /// `instance`: what tells this process from others of the same name.
    pub(super) fn new(settings: &config::Traces, instance: u128) -> Self {
        let mut resource = Message::default();
        resource.message(1, |resource| {
            attribute(resource, 1, "service.name", &*settings.service_name);
            attribute(resource, 1, "service.version", VERSION);
            attribute(resource, 1, "service.instance.id", &*uuid(instance));
            if let Ok(host) = nix::unistd::gethostname()
                && let Some(host) = host.to_str()
            {
                attribute(resource, 1, "host.name", host);
            }
            let pid = i64::from(std::process::id());
            attribute(resource, 1, "process.pid", pid);
            for (key, value) in &settings.resource {
                attribute(resource, 1, key, &**value);
            }
        });
        let mut scope = Message::default();
        scope.message(1, |scope| {
            scope.bytes(1, b"portunus");
            scope.bytes(2, VERSION.as_bytes());
        });
        Self {
            resource: resource.into_bytes(),
            scope: scope.into_bytes(),
        }
    }

    /// An `ExportTraceServiceRequest`.
    pub(super) fn around(&self, batch: &Batch) -> Vec<u8> {
        let mut request = Message::default();
        request.message(1, |resource_spans| {
            resource_spans.written(&self.resource);
            resource_spans.message(2, |scope_spans| {
                scope_spans.written(&self.scope);
                scope_spans.written(&batch.fields);
                scope_spans.bytes(3, SCHEMA.as_bytes());
            });
            resource_spans.bytes(3, SCHEMA.as_bytes());
        });
        request.into_bytes()
    }
}

/// A UUID of chance (RFC 9562, version 4), as the conventions want an instance to be named.
fn uuid(chance: u128) -> String {
    let number = chance & !(0xf << 76) | (4 << 76);
    let number = number & !(0b11 << 62) | (0b10 << 62);
    let text = format!("{number:032x}");
    [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ]
    .join("-")
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The conventions that names of attributes follow: the release that made those of HTTP stable has all that are used.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.26.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_named_as_the_standard_has_it() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
