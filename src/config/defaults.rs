//! Every default, with its reason. `docs/configuration.md` says the same to users, and a test keeps the two alike.

use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One data thread for each core that this process may use: more would only take turns.
pub(super) const THREADS: usize = 0;
/// No change of user: dropping privileges needs a user that only the machine's owner can name.
pub(super) const USER: &str = "";
/// The user's own group.
pub(super) const GROUP: &str = "";
/// A file that its owner and group may use, and nobody over the network.
pub(super) const ADMIN: &str = "unix:../run/portunus.sock";
/// Beside the folder that the file stands in, as the certificates.
pub(super) const STATE_DIR: &str = "../state";
/// A stop that takes longer is killed by most supervisors (systemd waits 90 s, Kubernetes 30 s).
pub(super) const DRAIN_TIMEOUT: Duration = seconds(30);
/// The name without a version: a version tells attackers more than it tells anybody else.
pub(super) const SERVER_HEADER: &str = "portunus";
/// A field that costs chance and bytes, and that only those want who look requests up by it.
pub(super) const REQUEST_ID: super::RequestIds = super::RequestIds::Off;
/// Whoever traces has an upstream that does; without, a client's field is passed on as any other.
pub(super) const TRACEPARENT: bool = false;

/// What whoever looks at traces finds them by.
pub(super) const TRACES_SERVICE_NAME: &str = "portunus";
/// OpenTelemetry's own (parentbased_always_on): whoever tries it sees what he did.
pub(super) const TRACES_SAMPLE: f64 = 1.0;
/// A stranger must not decide what is recorded.
pub(super) const TRACES_TRUST_PARENT: bool = false;
/// Failures are what traces are looked at for.
pub(super) const TRACES_KEEP_ERRORS: bool = true;
/// None: what is slow is another matter for each site.
pub(super) const TRACES_KEEP_SLOWER_THAN: Duration = Duration::ZERO;

/// As many as file descriptors allow; what is lower is a choice of the machine's owner.
pub(super) const MAX_CONNECTIONS: u64 = 0;
/// No limit: many clients may stand behind one address (carrier NAT, an office, a balancer in front).
pub(super) const MAX_CONNECTIONS_PER_IP: u64 = 0;
/// HTTP.sys waits 120 s, which lets slow heads hold connections. A browser sends its head at once; 15 s leaves room for a
/// lost packet or two on a bad line.
pub(super) const HEADER_WAIT: Duration = seconds(15);
/// HTTP.sys' own (IdleConnection). Longer than the 60 s of common balancers, so that they close first and no request of
/// theirs meets a closing connection.
pub(super) const IDLE_CONNECTION: Duration = seconds(120);
/// HTTP.sys waits 120 s for each piece; 30 s is longer than any line that still works stays silent.
pub(super) const ENTITY_BODY: Duration = seconds(30);
/// IIS' minBytesPerSecond.
pub(super) const MIN_SEND_RATE: u64 = 240;
/// Twice HTTP.sys' MaxRequestBytes, as cookies and tokens have grown; nginx takes the same (4 × 8 KiB).
pub(super) const MAX_REQUEST_BYTES: u64 = 32 << 10;
/// Apache's LimitRequestFields and hyper's own; a browser sends about twenty.
pub(super) const MAX_HEADER_FIELDS: u64 = 100;
/// HTTP.sys' MaxFieldLength, which bounds its request line too.
pub(super) const MAX_URI_BYTES: u64 = 16 << 10;
/// IIS' maxAllowedContentLength, 30,000,000.
pub(super) const MAX_BODY_BYTES: u64 = 30_000_000;
/// A handshake is two or three exchanges; 10 s are a second for each on the worst of lines, and more.
pub(super) const TLS_HANDSHAKE: Duration = seconds(10);

/// Start, reload, stop, and what somebody should look at.
pub(super) const LOG_LEVEL: &str = "info";

/// Beside the folder that the file stands in, as the certificates: what requests hold is nothing for a folder that is served.
pub(super) const FAILED_REQUESTS_FOLDER: &str = "../failed-requests";
/// IIS keeps 50; a hundred small files show a morning's failures, and are looked through in a moment.
pub(super) const FAILED_REQUESTS_MAX_FILES: u64 = 100;
/// IIS' own maxLogFileSizeKB is 512; steps and two heads of the size that `[limits]` allows fit in half of it.
pub(super) const FAILED_REQUESTS_MAX_FILE_BYTES: u64 = 256 << 10;

/// TLS 1.0 and 1.1 are forbidden by RFC 8996.
pub(super) const MIN_VERSION: super::TlsVersion = super::TlsVersion::V1_2;
/// rustls' own. A key that is stolen opens what was said under it, with TLS 1.2 at least; one that lives for a morning opens a
/// morning, and most of those who come back do so within it.
pub(super) const TICKET_ROTATION: Duration = seconds(12 * 3600);
/// Short: a client that has noted it and then cannot reach the UDP port waits before it tries TCP again.
pub(super) const ALT_SVC_MAX_AGE: Duration = seconds(3600);
/// It asks nobody but the CA that a certificate itself names, never waits and never fails; without it clients ask that CA, and
/// tell it whom they visit.
pub(super) const OCSP_STAPLING: bool = true;
/// Beside the folder that the file stands in, out of reach of a `files` handler.
pub(super) const CERTIFICATES: &str = "../certs";

/// A client's own CA, one above it, and one to spare; nginx' ssl_verify_depth is 1, which surprises whoever has two.
pub(super) const CLIENT_DEPTH: u64 = 3;
/// As OpenSSL, and with it nginx and HAProxy: a list that is meant to be there and is not must not let anybody in.
pub(super) const CRL_MISSING: super::Doubt = super::Doubt::Refuse;
/// As OpenSSL: what has been revoked since the list was made is not known.
pub(super) const CRL_EXPIRED: super::Doubt = super::Doubt::Refuse;
/// Nobody but the machine's owner can agree to a CA's terms.
pub(super) const ACME_TERMS_AGREED: bool = false;
/// Secondary name servers mostly follow within seconds; a hook that knows better waits itself.
pub(super) const ACME_DNS_WAIT: Duration = seconds(30);

/// A route without a path takes the whole site.
pub(super) const ROUTE_PATH: &str = "/";

/// Off: a browser remembers it for this long and cannot be told otherwise meanwhile, so that it must be asked for.
pub(super) const HSTS_MAX_AGE: Duration = seconds(0);

/// HTTP.sys' and IIS' queueLength.
pub(super) const QUEUE_LENGTH: u64 = 1000;
/// More than most applications can work on at once, few enough that their memory is bounded.
pub(super) const CONCURRENCY: u64 = 256;
/// HTTP.sys lets a request wait for 120 s; nobody sits in front of a browser for longer than 30 s.
pub(super) const QUEUE_TIMEOUT: Duration = seconds(30);

/// The status of success.
pub(super) const RESPOND_STATUS: u16 = 200;
/// The one field that content without any other description needs.
pub(super) const RESPOND_HEADERS: &[(&str, &str)] = &[("content-type", "text/plain")];
/// What a server says that has just been set up.
pub(super) const RESPOND_BODY: &str = "Hello, World!";
/// At once; a delay is for trying out queues.
pub(super) const RESPOND_DELAY: Duration = seconds(0);

/// What every web server looks for.
pub(super) const FILES_INDEX: &[&str] = &["index.html"];
/// A list of files tells more than its owner may want.
pub(super) const FILES_LISTING: bool = false;
/// None: ETag and Last-Modified let a browser ask, and nobody knows better for how long a file stays as it is.
pub(super) const FILES_CACHE_CONTROL: &str = "";
/// Serving a sibling that is there already costs less than the file itself.
pub(super) const FILES_PRECOMPRESSED: bool = true;

/// IIS' and nginx' permanent redirect.
pub(super) const REDIRECT_STATUS: u16 = 301;

/// An upstream is near: a connection that takes longer will not come.
pub(super) const CONNECT_TIMEOUT: Duration = seconds(5);
/// nginx' proxy_read_timeout.
pub(super) const RESPONSE_TIMEOUT: Duration = seconds(60);
/// nginx' proxy_read_timeout, which is the gap between two reads too.
pub(super) const BODY_TIMEOUT: Duration = seconds(60);
/// A binding that asks for certificates does so for those behind it. The chain is seldom looked at, and long.
pub(super) const CLIENT_CERTIFICATE_FIELDS: super::ClientFields = super::ClientFields::Leaf;

/// What most applications read, and what the standard has.
pub(super) const FORWARDED: super::ForwardedFields = super::ForwardedFields {
    forwarded: true,
    x_forwarded: true,
    x_forwarded_port: false,
    x_real_ip: false,
};
/// An upstream that does not expect it answers 400.
pub(super) const UPSTREAM_PROXY_PROTOCOL: Option<super::ProxyProtocol> = None;
/// nginx' underscores_in_headers: a CGI program reads `X_User` as `X-User`.
pub(super) const ODD_FIELD_NAMES: bool = false;

/// An equal share.
pub(super) const UPSTREAM_WEIGHT: u64 = 1;
/// Every upstream works.
pub(super) const UPSTREAM_BACKUP: bool = false;
/// Caches and connections of an application that has just come back are cold; HAProxy's users mostly write 10 to 30 s.
pub(super) const SLOW_START: Duration = seconds(10);
/// Envoy's 50 % is for clusters of hundreds. Of two to four upstreams, one that works is better than those that do not.
pub(super) const PANIC_BELOW: u8 = 25;
/// HAProxy's `fall`. nginx' max_fails of 1 takes one lost packet for an outage, Envoy's 5 lets more requests fail.
pub(super) const EJECT_AFTER: u64 = 3;
/// Envoy's failure_percentage_threshold: an application with one bad page is still up.
pub(super) const EJECT_ERRORS: u8 = 85;
/// nginx' fail_timeout.
pub(super) const EJECT_TIME: Duration = seconds(10);
/// Envoy's max_ejection_time.
pub(super) const EJECT_TIME_MAX: Duration = seconds(300);

/// A name that says whose it is.
pub(super) const STICKY_COOKIE: &str = "portunus";
/// For as long as the browser runs: an application's session mostly ends then too.
pub(super) const STICKY_MAX_AGE: Duration = seconds(0);
/// The whole host.
pub(super) const STICKY_PATH: &str = "/";
/// What browsers take for a cookie that does not say.
pub(super) const STICKY_SAME_SITE: super::SameSite = super::SameSite::Lax;

/// What every web server answers.
pub(super) const HEALTH_PATH: &str = "/";
/// nginx' health_check.
pub(super) const HEALTH_INTERVAL: Duration = seconds(5);
/// So that many servers' checks do not come at once.
pub(super) const HEALTH_JITTER: u8 = 10;
/// HAProxy's `inter`, which bounds its checks too.
pub(super) const HEALTH_TIMEOUT: Duration = seconds(2);
/// HAProxy's and nginx': 2xx and 3xx.
pub(super) const HEALTH_STATUSES: std::ops::RangeInclusive<u16> = 200..=399;
/// HAProxy's `rise`.
pub(super) const HEALTHY_AFTER: u64 = 2;
/// HAProxy's `fall`.
pub(super) const UNHEALTHY_AFTER: u64 = 3;

/// Two more upstreams: what fails at three fails everywhere.
pub(super) const RETRY_ATTEMPTS: u64 = 3;
/// Envoy's and linkerd's retry budget.
pub(super) const RETRY_BUDGET: u8 = 20;
/// A process that is restarted listens again by then, and nobody minds such a second.
pub(super) const RETRY_WAIT: Duration = seconds(1);
/// Envoy's and gRPC's advice: those beyond the 95th percentile.
pub(super) const HEDGE_MAX_SHARE: u8 = 5;
/// More would only be answered when their clients have gone.
pub(super) const UPSTREAM_QUEUE_LENGTH: u64 = 100;
/// As the pool's.
pub(super) const UPSTREAM_QUEUE_TIMEOUT: Duration = seconds(30);
/// None: content that is read first comes to the upstream later.
pub(super) const BUFFER_BODY: u64 = 0;
/// nginx' `keepalive` is mostly set to 16 or 32 a process; a thread with more at rest had a burst that is over.
pub(super) const IDLE_CONNECTIONS: u64 = 64;
/// Shorter than the least that is common among upstreams that close idle connections at a minute (nginx 75 s; gunicorn's 2 s
/// and Node's 5 s are shorter still: those are noticed when the connection is taken).
pub(super) const IDLE_TIMEOUT: Duration = seconds(30);
/// nginx' keepalive_time. What stands between (a balancer, a firewall) gets to choose anew now and then.
pub(super) const MAX_CONNECTION_AGE: Duration = seconds(3600);
/// No limit: a connection does not wear out here, and nginx' 1000 is for memory that only nginx gathers.
pub(super) const MAX_CONNECTION_REQUESTS: u64 = 0;
/// Whoever answers in the upstream's place would see everything.
pub(super) const VERIFY: bool = true;

/// None, as nginx (fastcgi_keep_conn): a process of PHP that has a connection waits for its next request, and serves nobody else.
pub(super) const FASTCGI_IDLE_CONNECTIONS: u64 = 0;
/// Clients that send no length send little: forms and uploads of browsers have one.
pub(super) const FASTCGI_BUFFER_BODY: u64 = 1024 * 1024;
/// The folder of the file, as every relative path.
pub(super) const WORKER_CWD: &str = ".";
/// As the server: an identity of its own must be made by the machine's owner.
pub(super) const WORKER_USER: &str = "";
/// The user's own.
pub(super) const WORKER_GROUP: &str = "";
/// IIS' maxProcesses.
pub(super) const WORKERS: u64 = 1;
/// IIS' startMode.
pub(super) const WORKER_START_MODE: super::StartMode = super::StartMode::OnDemand;
/// A file in a private folder: nobody else on the machine can reach it, and there is no port to run out of.
pub(super) const WORKER_LISTEN: super::WorkerListen = super::WorkerListen::Unix;
/// What most applications speak.
pub(super) const WORKER_PROTOCOL: super::WorkerProtocol = super::WorkerProtocol::Http;
/// IIS' startupTimeLimit.
pub(super) const STARTUP_TIMEOUT: Duration = seconds(90);
/// IIS' pingInterval.
pub(super) const PING_INTERVAL: Duration = seconds(30);
/// IIS' pingResponseTime.
pub(super) const PING_TIMEOUT: Duration = seconds(90);
/// IIS' rapidFailProtectionMaxCrashes.
pub(super) const RAPID_FAILURES: u64 = 5;
/// IIS' rapidFailProtectionInterval.
pub(super) const RAPID_FAIL_WITHIN: Duration = seconds(300);
/// As IIS: what fails five times in five minutes does not heal by itself.
pub(super) const RAPID_FAIL_PROBATION: Duration = seconds(0);
/// IIS' periodicRestart time: not a whole number of days, so that it comes at another hour each time.
pub(super) const RECYCLE_TIME: Duration = seconds(29 * 3600);
/// IIS' shutdownTimeLimit.
pub(super) const SHUTDOWN_TIMEOUT: Duration = seconds(90);
/// IIS' idleTimeout.
pub(super) const WORKER_IDLE_TIMEOUT: Duration = seconds(20 * 60);
/// IIS' idleTimeoutAction.
pub(super) const IDLE_ACTION: super::IdleAction = super::IdleAction::Stop;
/// That of ASP.NET, which deployment tools put there.
pub(super) const OFFLINE_FILE: &str = "app_offline.htm";
/// What the kernel does by itself where a group has a limit.
pub(super) const ON_MEMORY: super::AtLimit = super::AtLimit::Kill;
/// A busy worker is not a broken one.
pub(super) const ON_CPU: super::AtLimit = super::AtLimit::Throttle;
/// PHP, whose scripts nearly every FastCGI worker runs.
pub(super) const FASTCGI_INDEX: &str = "index.php";
/// As the index.
pub(super) const FASTCGI_SPLIT: &str = ".php";
