//! What the life of a server is asked to do: by signals, by whoever watches its files, by an administrator.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::watch::Found;

/// What is asked.
#[derive(Debug)]
pub(super) enum Asked {
    /// Read the configuration again, and say what came of it to whoever waits for that.
    Reload(Option<Reply>),
    /// Look at the certificate files again: some of them have changed.
    Certificates,
    /// Show what was found in the certificate files.
    Show(Box<Found>),
    /// Hand the sockets over.
    Upgrade,
    /// Let requests finish, then stop.
    Stop,
    /// Stop.
    StopNow,
}

/// Where somebody waits for what came of it.
pub(super) type Reply = oneshot::Sender<Result<(), String>>;

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
            _ = self.quit.recv() => Asked::StopNow,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload(None),
            _ = self.user2.recv() => Asked::Upgrade,
            Some(asked) = self.inbox.recv() => asked,
        }
    }

    /// Somebody who asks again to stop does not want to wait.
    pub(super) async fn stop_again(&mut self) {
        loop {
            match self.next().await {
                Asked::Stop | Asked::StopNow => return,
                Asked::Certificates | Asked::Show(_) => {}
                Asked::Reload(_) | Asked::Upgrade => {
                    tracing::warn!("the server is stopping; what it is asked is ignored");
                }
            }
        }
    }
}

/// Each is done in its turn, and most of them take milliseconds.
const ASKED_MAX: usize = 16;
