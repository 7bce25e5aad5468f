//! What the life of a server is asked to do: by signals, by whoever watches its files, by an administrator.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::plan::Plan;
use super::watch::Found;
use crate::config::Diagnostic;

/// What is asked.
#[derive(Debug)]
pub(super) enum Asked {
    /// Read the configuration again, and say what came of it.
    Reload(For),
    /// Say what a reload would do.
    Plan(Reply),
    /// Look at the certificate files again: some of them have changed.
    Certificates,
    /// Show what was found in the certificate files.
    Show(Box<Found>),
    /// Hand the sockets over.
    Upgrade,
    /// Let requests finish, then stop.
    Stop(By),
    /// Stop.
    StopNow(By),
}

/// For whom a reload is.
#[derive(Debug)]
pub(super) enum For {
    /// Whoever sent this signal, and is told nothing.
    Signal(&'static str),
    /// Somebody who waits for what comes of it.
    Whom(Reply),
}

/// Who asks for a stop.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// Whoever sent this signal.
    Signal(&'static str),
    /// An administrator, which is written down where he asks.
    Administrator,
}

/// Where somebody waits for what came of it.
pub(super) type Reply = oneshot::Sender<Result<Reloaded, String>>;

/// What a reload did, or would do.
#[derive(Debug)]
pub(super) struct Reloaded {
    pub(super) plan: Plan,
    /// What was found beside, which is no reason not to do it.
    pub(super) findings: Vec<Diagnostic>,
    /// The same for a person.
    pub(super) findings_text: String,
}

/// Asks, from any thread; a clone asks the same server.
#[derive(Clone, Debug)]
pub(super) struct Control(mpsc::Sender<Asked>);

/// Where it is heard.
pub(super) struct Asks {
    hangup: Signal,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    user2: Signal,
    inbox: mpsc::Receiver<Asked>,
}

impl Control {
    /// Asks, and says whether it is heard: with so many asked before that none fits in, it is not.
    pub(super) fn ask(&self, asked: Asked) -> bool {
        let heard = self.0.try_send(asked);
        if let Err(error) = &heard {
            tracing::warn!(%error, "the server is too busy to be asked anything");
        }
        heard.is_ok()
    }
}

impl Asks {
    /// Signals that come from here on are heard.
    pub(super) fn new() -> std::io::Result<(Self, Control)> {
        let (control, inbox) = mpsc::channel(ASKED_MAX);
        let asks = Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            user2: signal(SignalKind::user_defined2())?,
            inbox,
        };
        Ok((asks, Control(control)))
    }

    /// What is asked next; the end before all else.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.quit.recv() => Asked::StopNow(By::Signal("SIGQUIT")),
            _ = self.terminate.recv() => Asked::Stop(By::Signal("SIGTERM")),
            _ = self.interrupt.recv() => Asked::Stop(By::Signal("SIGINT")),
            _ = self.hangup.recv() => Asked::Reload(For::Signal("SIGHUP")),
            _ = self.user2.recv() => Asked::Upgrade,
            Some(asked) = self.inbox.recv() => asked,
        }
    }

    /// Somebody who asks again to stop does not want to wait.
    pub(super) async fn stop_again(&mut self) -> By {
        loop {
            match self.next().await {
                Asked::Stop(by) | Asked::StopNow(by) => return by,
                Asked::Certificates | Asked::Show(_) | Asked::Plan(_) => {}
                Asked::Reload(_) | Asked::Upgrade => {
                    tracing::warn!("the server is stopping; what it is asked is ignored");
                }
            }
        }
    }
}

/// Each is done in its turn, and most of them take milliseconds.
const ASKED_MAX: usize = 16;
