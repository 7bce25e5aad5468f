//! Every metric: its name, what it says, and by which labels. docs/metrics.md has the same list, and a test compares them.
//!
//! Names are Prometheus' (base units, `_total` of what only grows) over OpenTelemetry's and HTTP.sys' nouns. The value of a
//! label comes from the configuration or from a short list of our own, never from a client.

use super::histogram::{SECONDS, SIZES};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many were at most so large.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What tells its series apart.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// How many bounds a histogram of durations has.
pub const DURATION_BOUNDS: usize = SECONDS.len();

macro_rules! metrics {
    ($($item:ident $kind:expr, $name:literal [$($label:literal)*] $help:literal;)*) => {
        $(#[doc = $help] pub static $item: Metric = Metric {
            name: $name, kind: $kind, labels: &[$($label),*], help: $help,
        };)*

        /// All of them, in the order in which they are written.
        pub static ALL: &[&Metric] = &[$(&$item),*];
    };
}

use Kind::{Counter, Gauge, Histogram};

metrics! {
    REQUEST_DURATION Histogram(&SECONDS), "portunus_http_server_request_duration_seconds"
        ["binding" "pool" "protocol" "status"]
        "From a request's first step to the end of its response, by the class of its status; its count is that of responses.";
    REQUEST_SIZE Histogram(&SIZES), "portunus_http_server_request_body_size_bytes" ["binding" "pool"]
        "Bytes of a request's content that were read.";
    RESPONSE_SIZE Histogram(&SIZES), "portunus_http_server_response_body_size_bytes" ["binding" "pool"]
        "Bytes of a response's content that were sent.";
    HTTP3_OFFERED Gauge, "portunus_binding_http3_offered" ["binding"]
        "Whether responses over TCP offer HTTP/3 (Alt-Svc); of the bindings that speak it.";
    REFUSALS Counter, "portunus_refusals_total" ["reason" "blame"]
        "Connections, handshakes, requests and responses that failed: the lines of the error log.";

    POOL_STATE Gauge, "portunus_pool_state" ["pool" "state"]
        "1 for the state that the pool is in.";
    POOL_RUNNING Gauge, "portunus_pool_requests_running" ["pool"]
        "Requests that hold one of the pool's slots.";
    POOL_CONCURRENCY Gauge, "portunus_pool_concurrency" ["pool"]
        "The pool's slots.";
    POOL_REFUSALS Counter, "portunus_pool_refusals_total" ["pool" "reason" "blame"]
        "Requests that failed after their pool was known. Its queue rejects for QueueFull, Timer_ReqQueue, AppShutdown, Disabled and AppOffline.";
    QUEUE_REQUESTS Gauge, "portunus_queue_requests" ["pool"]
        "Requests that wait in the pool's queue.";
    QUEUE_LENGTH Gauge, "portunus_queue_length_limit" ["pool"]
        "Requests that may wait in the pool's queue.";
    QUEUE_AGE Gauge, "portunus_queue_oldest_age_seconds" ["pool"]
        "How long the request at the head of the queue has waited; 0 while nobody waits.";
    QUEUE_ARRIVED Counter, "portunus_queue_arrived_total" ["pool"]
        "Requests that came to the pool. Begins anew when a reload gives the pool another handler.";
    QUEUE_QUEUED Counter, "portunus_queue_queued_total" ["pool"]
        "Of those that came, requests that had to wait.";
    QUEUE_ABANDONED Counter, "portunus_queue_abandoned_total" ["pool"]
        "Of those that had to wait, requests whose client went away.";
    QUEUE_WAIT Histogram(&SECONDS), "portunus_queue_wait_duration_seconds" ["pool"]
        "How long requests waited that had to wait and got a slot.";

    WORKERS Gauge, "portunus_pool_workers" ["pool" "state"]
        "Workers of a pool that owns its application, by the phase of their life.";
    WORKER_STARTS Counter, "portunus_pool_worker_starts_total" ["pool"]
        "Workers that were started.";
    WORKER_RECYCLES Counter, "portunus_pool_worker_recycles_total" ["pool"]
        "How often workers were started to follow those that served.";
    WORKER_FAILURES Counter, "portunus_pool_worker_failures_total" ["pool" "kind"]
        "Workers that failed: not launched, not ready in time, ended untold, unresponsive, or killed since they did not end.";

    UPSTREAM_HEALTHY Gauge, "portunus_upstream_healthy" ["pool" "upstream"]
        "Whether the upstream gets requests of its own accord: it is up, or warming.";
    UPSTREAM_STATE Gauge, "portunus_upstream_state" ["pool" "upstream" "state"]
        "1 for the state that the upstream is in.";
    UPSTREAM_RUNNING Gauge, "portunus_upstream_requests_running" ["pool" "upstream"]
        "Requests that the upstream works on, where that is counted.";
    UPSTREAM_RESPONSES Counter, "portunus_upstream_responses_total" ["pool" "upstream"]
        "Responses that the upstream gave.";
    UPSTREAM_ERRORS Counter, "portunus_upstream_errors_total" ["pool" "upstream"]
        "Of those, responses of status 5xx.";
    UPSTREAM_FAILURES Counter, "portunus_upstream_failures_total" ["pool" "upstream"]
        "Exchanges with the upstream that ended without a response.";
    UPSTREAM_RESPONSE Histogram(&SECONDS), "portunus_upstream_response_seconds" ["pool" "upstream"]
        "From a request's first byte to the upstream to the whole head of its response; its count is that of responses.";

    HANDSHAKES Counter, "portunus_tls_handshakes_total" ["binding" "transport" "version" "cipher" "resumed"]
        "TLS handshakes that were done, over TCP and over QUIC.";
    HANDSHAKE_DURATION Histogram(&SECONDS), "portunus_tls_handshake_duration_seconds" ["transport" "resumed"]
        "From the acceptance of a connection to the end of a handshake that was done.";
    HANDSHAKE_FAILURES Counter, "portunus_tls_handshake_failures_total" ["transport" "reason"]
        "Handshakes that failed.";
    TLS_CLOSES Counter, "portunus_tls_closes_total" ["close_notify"]
        "Connections with TLS over TCP that their clients ended, by whether they said so first (close_notify).";
    CERTIFICATE_EXPIRY Gauge, "portunus_certificate_expiry_timestamp_seconds" ["certificate" "file"]
        "When a certificate that is used ends to be valid.";
    CERTIFICATE_USABLE Gauge, "portunus_certificate_usable" ["certificate" "file"]
        "Whether a certificate that is used could be read, with its key.";
    STAPLED Gauge, "portunus_ocsp_stapled" ["file" "required"]
        "Whether the certificate is shown with a good OCSP response; of those that name a responder.";
    STAPLE_EXPIRY Gauge, "portunus_ocsp_staple_expiry_timestamp_seconds" ["file"]
        "When the OCSP response that is stapled ends to be valid.";
    STAPLE_FAILURES Gauge, "portunus_ocsp_fetch_failures" ["file"]
        "How often the responder was asked in vain since its last response.";
    OCSP_FETCHES Counter, "portunus_ocsp_fetches_total" ["result"]
        "How often OCSP responders were asked: answered, or failed.";

    CONNECTIONS_OPEN Gauge, "portunus_connections_open" []
        "Connections of clients that are open.";
    CONNECTIONS_LIMIT Gauge, "portunus_connections_limit" []
        "Connections that may be open: limits.max_connections, or what the open files allow.";
    CONNECTIONS_ACCEPTED Counter, "portunus_connections_accepted_total" ["transport"]
        "Connections that were given a place; tcp: cleartext. Those that were not are refusals for ConnLimit.";

    LINES_DROPPED Counter, "portunus_log_lines_dropped_total" []
        "Lines of the access log and the error log that could not be written.";
    FAILED_REQUESTS Counter, "portunus_failed_requests_total" ["result"]
        "Requests that fired a rule of failed_requests: written to a file, dropped as too many came at once, failed to be written.";
    SPANS_EXPORTED Counter, "portunus_trace_spans_exported_total" []
        "Spans that a collector took.";
    SPANS_DROPPED Counter, "portunus_trace_spans_dropped_total" ["reason"]
        "Spans that no collector got: queue_full, refused, unreachable, stopped; handshakes: more of them failed than have spans.";
    RELOADS Counter, "portunus_config_reloads_total" ["result"]
        "Reloads of the configuration that were taken, and that were refused.";
    RELOAD_SUCCESSFUL Gauge, "portunus_config_last_reload_successful" []
        "Whether the last reload was taken; 1 before the first.";
    RELOAD_TIME Gauge, "portunus_config_last_reload_success_timestamp_seconds" []
        "When the configuration that runs was taken.";
    READY Gauge, "portunus_ready" []
        "Whether /readyz says yes.";
    DATA_THREADS Gauge, "portunus_data_threads" []
        "Data threads that run.";
    BUILD_INFO Gauge, "portunus_build_info" ["version"]
        "1, with the version that runs.";
    PROCESS_CPU Counter, "process_cpu_seconds_total" []
        "Processor time that the process has used, user and system.";
    PROCESS_FILES Gauge, "process_open_fds" []
        "Open file descriptors.";
    PROCESS_FILES_MAX Gauge, "process_max_fds" []
        "File descriptors that may be open.";
    PROCESS_RESIDENT Gauge, "process_resident_memory_bytes" []
        "Memory that is in use.";
    PROCESS_VIRTUAL Gauge, "process_virtual_memory_bytes" []
        "Addresses that are in use.";
    PROCESS_START Gauge, "process_start_time_seconds" []
        "When the process started.";
}
