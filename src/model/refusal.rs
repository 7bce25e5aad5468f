//! Why a request, a handshake or a connection was refused: the reasons, and the status that each is answered with.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

/// A refusal: what it counts as, and a sentence for a person.
#[derive(Debug)]
pub struct Refusal {
    /// What it counts as.
    pub reason: Reason,
    /// A sentence that tells a person what happened.
    pub detail: Cow<'static, str>,
    /// The methods that would have been taken, where the reason is [`Reason::Verb`] and the answer 405.
    pub allow: Option<Box<str>>,
    /// The status, where it is not the reason's own.
    status: Option<StatusCode>,
}

/// Who is to blame for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client broke a rule or went away.
    Client,
    /// The upstream did not do its part.
    Upstream,
    /// Portunus itself failed.
    Ourselves,
    /// Refused on purpose, to protect what is being served.
    Shed,
}

impl Blame {
    /// As metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Ourselves => "ourselves",
            Self::Shed => "shed",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $status:literal, $blame:ident;)*) => {
        /// What a refusal counts as. HTTP.sys' own names (its HTTPERR log) where it has one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[doc = $doc])* $name,)* }

        impl Reason {
            /// Every reason, in the order of this file.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The name, as logs and metrics write it.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// The status of the response; 0 where there is no response to give it in.
            fn code(self) -> u16 {
                match self { $(Reason::$name => $status,)* }
            }

            /// Who is to blame.
            pub fn blame(self) -> Blame {
                match self { $(Reason::$name => Blame::$blame,)* }
            }
        }
    };
}

reasons! {
    /// The pool was taken offline because its application kept failing.
    AppOffline = "AppOffline", 503, Upstream;
    /// The pool was stopped.
    AppShutdown = "AppShutdown", 503, Shed;
    /// The request could not be parsed.
    BadRequest = "BadRequest", 400, Client;
    /// The client closed the connection or reset the stream before a handler had the request.
    ClientReset = "Client_Reset", 0, Client;
    /// A worker closed its request queue with the request in hand.
    ConnectionAbandonedByReqQueue = "Connection_Abandoned_By_ReqQueue", 502, Upstream;
    /// The connection broke before the response was sent.
    ConnectionDropped = "Connection_Dropped", 0, Client;
    /// A limit on connections was reached.
    ConnLimit = "ConnLimit", 503, Shed;
    /// An administrator switched the pool off.
    Disabled = "Disabled", 503, Shed;
    /// The request's body is larger than allowed.
    EntityTooLarge = "EntityTooLarge", 413, Client;
    /// The request has a field longer, or more fields, than allowed.
    FieldLength = "FieldLength", 431, Client;
    /// A field of the request's head is malformed.
    Header = "Header", 400, Client;
    /// The host is missing, malformed, or none that is served here.
    Hostname = "Hostname", 400, Client;
    /// A fault of Portunus.
    Internal = "Internal", 500, Ourselves;
    /// A line end is malformed, or a CR or LF stands where none may.
    InvalidCrLf = "Invalid_CR/LF", 400, Client;
    /// A body is expected and its length is not said.
    LengthRequired = "LengthRequired", 411, Client;
    /// Not implemented: an unknown transfer coding, say.
    NotImplemented = "N/I", 501, Client;
    /// A number (a length, a chunk size) is malformed.
    Number = "Number", 400, Client;
    /// The pool's queue is full.
    QueueFull = "QueueFull", 503, Shed;
    /// The request's head is larger than allowed.
    RequestLength = "RequestLength", 431, Client;
    /// The connection was idle for too long.
    TimerConnectionIdle = "Timer_ConnectionIdle", 0, Client;
    /// The request's body did not arrive in time.
    TimerEntityBody = "Timer_EntityBody", 408, Client;
    /// The request's head did not arrive in time.
    TimerHeaderWait = "Timer_HeaderWait", 408, Client;
    /// The client takes the response too slowly.
    TimerMinBytesPerSecond = "Timer_MinBytesPerSecond", 0, Client;
    /// The request waited in its pool's queue for too long.
    TimerReqQueue = "Timer_ReqQueue", 503, Shed;
    /// The request target is malformed.
    Url = "URL", 400, Client;
    /// The request target is longer than allowed.
    UrlLength = "URL_Length", 414, Client;
    /// The method is malformed, or not taken here.
    Verb = "Verb", 400, Client;
    /// The version of HTTP is not spoken here.
    VersionNotSupported = "Version_N/S", 505, Client;
    /// No route of the site takes the path.
    NoRoute = "NoRoute", 404, Client;
    /// A filter refused the request.
    Filtered = "Filtered", 403, Shed;
    /// The host belongs to another binding than the connection was made for.
    MisdirectedRequest = "MisdirectedRequest", 421, Client;
    /// There is no certificate for the name that the client asked for.
    TlsNoCertificate = "Tls_NoCertificate", 0, Client;
    /// The client's ALPN offers nothing that the binding speaks.
    TlsNoCommonProtocol = "Tls_NoCommonProtocol", 0, Client;
    /// The client offers no TLS version that the binding accepts.
    TlsNoCommonVersion = "Tls_NoCommonVersion", 0, Client;
    /// The client offers no cipher suite, group or signature scheme that the binding accepts.
    TlsNoCommonCipher = "Tls_NoCommonCipher", 0, Client;
    /// The client's certificate was missing or refused.
    TlsClientCertificate = "Tls_ClientCertificate", 0, Client;
    /// What arrived on a TLS port is not TLS.
    TlsNotTls = "Tls_NotTls", 400, Client;
    /// The handshake took too long.
    TlsTimeout = "Tls_Timeout", 0, Client;
    /// The client ended the handshake with an alert.
    TlsPeerAlert = "Tls_PeerAlert", 0, Client;
    /// The handshake failed otherwise.
    TlsOther = "Tls_Other", 0, Client;
    /// The client spends the server's work by HTTP/2 means: floods of resets, settings, pings, empty frames.
    H2Abuse = "H2_Abuse", 0, Client;
    /// The client broke the rules of HTTP/2.
    H2Protocol = "H2_Protocol", 0, Client;
    /// The client broke the rules of HTTP/3, or spends the server's work by its means.
    H3Protocol = "H3_Protocol", 0, Client;
    /// The QUIC handshake failed before or outside TLS.
    QuicHandshake = "Quic_Handshake", 0, Client;
    /// The upstream cannot be connected to.
    UpstreamConnect = "Upstream_Connect", 502, Upstream;
    /// The upstream did not answer in time.
    UpstreamTimeout = "Upstream_Timeout", 504, Upstream;
    /// The upstream closed the connection in the middle of its work.
    UpstreamReset = "Upstream_Reset", 502, Upstream;
    /// What the upstream answered is not HTTP.
    UpstreamProtocol = "Upstream_Protocol", 502, Upstream;
}

impl Reason {
    /// The status that a refusal for this reason is answered with; none where there is nobody to answer.
    pub fn status(self) -> Option<StatusCode> {
        StatusCode::from_u16(self.code()).ok()
    }
}

impl Refusal {
    /// A refusal with the reason's own status.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            allow: None,
            status: None,
        }
    }

    /// A route takes the path, but not the method: 405, with the methods it does take.
    pub fn method_not_allowed(
        allow: impl Into<Box<str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            allow: Some(allow.into()),
            ..Self::new(Reason::Verb, detail)
        }
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
    }

    /// The same refusal, answered with another status than its reason's own.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// The status of the response; none where there is nobody to answer.
    pub fn status(&self) -> Option<StatusCode> {
        self.status.or_else(|| self.reason.status())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl std::error::Error for Refusal {}
