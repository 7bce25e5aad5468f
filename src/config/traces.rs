//! `[traces]`: where spans go, and which requests have them.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use toml::de::DeValue;

use super::reader::{At, Table};
use super::settings::WAIT_OR_NONE;
use super::wrong::{self, Wrong};
use super::{defaults, fields, keys};

/// `[traces]`: spans for a collector of OpenTelemetry.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Where spans are sent: OTLP over HTTP, the whole URL.
    pub endpoint: Uri,
    /// Fields of the requests to the collector: whom it takes spans from.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Roots to trust for the collector, instead of the system's.
    pub ca: Option<PathBuf>,
    /// `service.name`
    pub service_name: String,
    /// Further attributes of whoever sends the spans.
    pub resource: Vec<(String, String)>,
    /// The share of the traces begun here that is recorded.
    pub sample: f64,
    /// Whether anybody is believed of which trace a request belongs to, and whether that is recorded.
    pub trust_parent: bool,
    /// Whether requests that failed are kept, whatever was decided at their beginning.
    pub keep_errors: bool,
    /// Requests that took longer are kept as well.
    pub keep_slower_than: Option<Duration>,
}

/// A field's value, or the file that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// The value; it is marked as not to be shown.
    Value(HeaderValue),
    /// The first line of a file.
    File(PathBuf),
}

/// None where spans are sent nowhere.
pub(super) fn read(file: &Table<'_>) -> Option<Traces> {
    let table = file.table("traces", &keys::TRACES)?;
    let endpoint = table.read("endpoint", |value| {
        endpoint(wrong::text("endpoint", value)?)
    });
    let slower = table.duration(
        "keep_slower_than",
        WAIT_OR_NONE,
        defaults::TRACES_KEEP_SLOWER_THAN,
    );
    let name = table.text("service_name");
    // Read whether or not there is an endpoint: what is wrong is told all the same.
    let traces = Traces {
        endpoint: endpoint
            .as_ref()
            .map_or_else(Uri::default, |at| at.value.clone()),
        headers: headers(&table),
        ca: (table.text("ca")).map(|at| table.reader.source.resolve(at.value)),
        service_name: name.map_or_else(
            || defaults::TRACES_SERVICE_NAME.to_owned(),
            |at| at.value.to_owned(),
        ),
        resource: resource(&table),
        sample: (table.read("sample", share)).map_or(defaults::TRACES_SAMPLE, |at| at.value),
        trust_parent: table.boolean("trust_parent", defaults::TRACES_TRUST_PARENT),
        keep_errors: table.boolean("keep_errors", defaults::TRACES_KEEP_ERRORS),
        keep_slower_than: (!slower.is_zero()).then_some(slower),
    };
    match endpoint {
        Some(at) => {
            warn_of_grpc(&table, &at);
            Some(traces)
        }
        None => {
            if table.value("endpoint").is_none() && table.reader.is_whole() {
                let message = "[traces] has no `endpoint`, and nothing is traced";
                let found = (table.reader).warning("traces-off", &table.span, message);
                let help = "write `endpoint = \"http://127.0.0.1:4318\"`, or remove [traces]";
                table.reader.report(found.help(help));
            }
            None
        }
    }
}

/// The URL of a collector. Without a path it is the base that collectors are documented by (OTEL_EXPORTER_OTLP_ENDPOINT); with one it
/// is taken as it is (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT).
fn endpoint(text: &str) -> Result<Uri, Wrong> {
    let wrong = || {
        let message = format!("`endpoint` cannot be {text:?}");
        Wrong::new("bad-endpoint", message)
    };
    let form = "write the URL of a collector, as in \"http://127.0.0.1:4318\"";
    let uri: Uri = text.parse().map_err(|_| wrong().help(form))?;
    let sound = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty());
    if !sound {
        return Err(wrong().help(form));
    }
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        let help = "leave the credentials out, and write what the collector asks for in `headers`";
        return Err(wrong().help(help));
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Ok(uri);
    }
    let whole = format!("{}{TRACES_PATH}", text.trim_end_matches('/'));
    whole.parse().map_err(|_| wrong().help(form))
}

/// Nothing but gRPC listens on that port, and a collector says no more than that the connection is closed.
fn warn_of_grpc(table: &Table<'_>, endpoint: &At<Uri>) {
    if endpoint.value.port_u16() == Some(GRPC_PORT) {
        let message = "port 4317 is OTLP over gRPC, and spans are sent over HTTP";
        let found = (table.reader).warning("traces-grpc-port", &endpoint.span, message);
        let help = "write port 4318, unless your collector takes HTTP there";
        table.reader.report(found.help(help));
    }
}

fn headers(table: &Table<'_>) -> Vec<(HeaderName, Secret)> {
    let mut headers = Vec::new();
    fields::each(table, "headers", fields::name, |name, value| {
        headers.push((name, secret(table, value)?));
        Ok(())
    });
    headers
}

/// A string, or `{ file = "…" }`.
fn secret(table: &Table<'_>, value: &DeValue<'_>) -> Result<Secret, Wrong> {
    let Some(inner) = value.as_table() else {
        let mut value = wrong::field_value("headers", value)?;
        value.set_sensitive(true);
        return Ok(Secret::Value(value));
    };
    let mut file = None;
    for (key, value) in inner {
        if key.get_ref() != "file" {
            let message = format!("`{}` is no key of a field's value", key.get_ref());
            let wrong = Wrong::new("unknown-key", message);
            return Err(wrong.help("write { file = \"../secrets/collector.key\" }"));
        }
        file = Some(wrong::text("file", value.get_ref())?);
    }
    let file = file.ok_or_else(|| {
        Wrong::new("missing-key", "the field's value has no `file`")
            .help("write { file = \"../secrets/collector.key\" }, or the value as a string")
    })?;
    Ok(Secret::File(table.reader.source.resolve(file)))
}

fn resource(table: &Table<'_>) -> Vec<(String, String)> {
    let Some(entries) = table.entries("resource") else {
        return Vec::new();
    };
    let mut resource = Vec::new();
    for (key, value) in entries.value {
        match wrong::text(key.get_ref(), value.get_ref()) {
            Ok(text) => resource.push((key.get_ref().to_string(), text.to_owned())),
            Err(wrong) => table.reader.wrong(&value.span(), wrong),
        }
    }
    resource
}

fn share(value: &DeValue<'_>) -> Result<f64, Wrong> {
    let wrong = || {
        let message = "`sample` must be a share, from 0.0 to 1.0";
        Wrong::new("bad-share", message).help("write it as in 0.01: one of a hundred")
    };
    let text = match value {
        DeValue::Float(number) => number.as_str(),
        DeValue::Integer(number) => number.as_str(),
        _ => return Err(wrong()),
    };
    let share: f64 = text.parse().map_err(|_| wrong())?;
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false => Err(wrong()),
    }
}

/// Where a collector takes traces (OTLP 1.x, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";

const GRPC_PORT: u16 = 4317;
