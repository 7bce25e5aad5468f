//! `log.audit`: where it is written who changed what on the running server.

use super::LogTarget;

/// Where the audit log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audit {
    /// Nowhere.
    Off,
    /// The server's own log tells of it.
    OwnLog,
    /// To a log of its own, and the server's own log tells of it as well.
    To(LogTarget),
}

impl Audit {
    /// The log of its own.
    pub fn target(&self) -> &LogTarget {
        match self {
            Self::To(target) => target,
            Self::Off | Self::OwnLog => &LogTarget::Off,
        }
    }

    /// Whether the server's own log tells of it.
    pub fn tells(&self) -> bool {
        *self != Self::Off
    }
}
