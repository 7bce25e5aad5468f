//! Of what a worker died, in a sentence for a person.

use std::fmt;
use std::time::Duration;

use nix::sys::signal::Signal;

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Of what.
    pub cause: Cause,
    /// What we had asked of it, where we had.
    pub by_us: Option<ByUs>,
    /// How long it lived.
    pub age: Duration,
    /// Processes that it left behind, which were killed with it.
    pub left: u32,
    /// What it said last, on stdout or stderr.
    pub last_line: Option<String>,
}

/// Of what a worker died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It ended by itself, with this status.
    Exited(i32),
    /// A signal ended it.
    Signalled {
        /// The signal's number.
        signal: i32,
        /// Whether it left a core.
        core: bool,
    },
    /// It was killed because memory ran out.
    OutOfMemory(MemoryLimit),
    /// It was killed because it used more processor time than it may: so many percent of a core.
    OutOfCpu(u32),
    /// Nobody can tell: its keeper died before it.
    Unknown,
}

/// Whose memory ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Its own limit of so many bytes, which the kernel keeps for its group.
    Group(u64),
    /// Its own limit of so many bytes, which is watched from here.
    Watched(u64),
    /// That of the machine, or of a group that it stands in.
    Machine,
}

/// What we asked of a worker before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByUs {
    /// To end (SIGTERM).
    Terminated,
    /// It was killed (SIGKILL), with all that it had started.
    Killed,
}

impl Death {
    /// Whether it ended as we asked it to.
    pub fn is_asked_for(&self) -> bool {
        self.by_us.is_some() && !matches!(self.cause, Cause::OutOfMemory(_) | Cause::OutOfCpu(_))
    }
}

/// `was killed by SIGSEGV (core dumped) after 3m; it said last: "…"`: what follows the worker's name.
impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.by_us, &self.cause) {
            (Some(ByUs::Terminated), Cause::Signalled { signal, .. })
                if *signal == Signal::SIGTERM as i32 =>
            {
                write!(f, "ended when asked to (SIGTERM)")?;
            }
            (Some(ByUs::Terminated), Cause::Exited(0)) => write!(f, "ended when asked to")?,
            (Some(ByUs::Terminated), Cause::Exited(status)) => {
                write!(f, "ended with status {status} when asked to")?;
            }
            (Some(ByUs::Terminated), cause) => write!(f, "{cause} when asked to end")?,
            (Some(ByUs::Killed), Cause::Signalled { signal, .. })
                if *signal == Signal::SIGKILL as i32 =>
            {
                write!(f, "was killed by Portunus (SIGKILL)")?;
            }
            (_, cause) => write!(f, "{cause}")?,
        }
        // Of a start that failed, milliseconds matter.
        let age = match self.age.as_secs() {
            0..10 => Duration::from_millis(
                u64::from(self.age.subsec_millis()) + self.age.as_secs() * 1000,
            ),
            seconds => Duration::from_secs(seconds),
        };
        write!(f, " after {}", humantime::format_duration(age))?;
        match self.left {
            0 => {}
            1 => write!(f, ", and left a process behind, which was killed")?,
            left => write!(f, ", and left {left} processes behind, which were killed")?,
        }
        match &self.last_line {
            // Of an end that we wanted it says nothing.
            Some(line) if !self.is_asked_for() => write!(f, "; it said last: {line:?}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(0) => write!(f, "ended by itself (status 0)"),
            Self::Exited(status) => write!(f, "ended by itself with status {status}"),
            Self::Signalled { signal, core } => {
                match Signal::try_from(signal) {
                    Ok(name) => write!(f, "was killed by {name}")?,
                    Err(_) => write!(f, "was killed by signal {signal}")?,
                }
                if core {
                    write!(f, " (core dumped)")?;
                }
                Ok(())
            }
            Self::OutOfMemory(MemoryLimit::Group(bytes) | MemoryLimit::Watched(bytes)) => {
                write!(f, "was killed at its memory limit of {}", Bytes(bytes))
            }
            Self::OutOfMemory(MemoryLimit::Machine) => {
                write!(
                    f,
                    "was killed by SIGKILL, most likely by the kernel, as the machine's memory ran out,"
                )
            }
            Self::OutOfCpu(percent) => {
                write!(f, "was killed, as it used more than {percent}% of a core")
            }
            Self::Unknown => write!(
                f,
                "ended, and nobody can tell how: the process that kept it was killed"
            ),
        }
    }
}

/// A size for a person, in the largest unit that leaves no rest, or else rounded.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        for (shift, unit) in units {
            if self.0 >= 1 << shift {
                let whole = self.0 >> shift;
                return match self.0.trailing_zeros() >= shift {
                    true => write!(f, "{whole} {unit}"),
                    false => write!(f, "{:.1} {unit}", self.0 as f64 / f64::from(1 << shift)),
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

#[cfg(test)]
mod tests;
