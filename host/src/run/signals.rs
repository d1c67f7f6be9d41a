//! The signals that the gateway heeds, and what each asks for.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalAction {
    /// To end, once what is under way has ended.
    Stop(Stop),
    /// To load the configuration again, and to open the access log anew.
    Reload,
    /// To open the access log anew.
    Reopen,
}

/// A signal that asks for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// From service managers.
    Terminate,
    /// From a terminal.
    Interrupt,
    /// The graceful end of nginx and of images that are made for it (`STOPSIGNAL SIGQUIT`).
    Quit,
}

impl Stop {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Quit => "SIGQUIT",
        }
    }
}

/// Receives the signals. Each that is named here no longer ends the process by itself.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Begins to receive them.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            hangup: listen(SignalKind::hangup())?,
            user1: listen(SignalKind::user_defined1())?,
            user2: listen(SignalKind::user_defined2())?,
        })
    }

    /// Returns what the next one asks for. SIGUSR2, with which nginx changes its binary, asks for nothing here: it is
    /// logged. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> SignalAction {
        loop {
            return tokio::select! {
                _ = self.terminate.recv() => SignalAction::Stop(Stop::Terminate),
                _ = self.interrupt.recv() => SignalAction::Stop(Stop::Interrupt),
                _ = self.quit.recv() => SignalAction::Stop(Stop::Quit),
                _ = self.hangup.recv() => SignalAction::Reload,
                _ = self.user1.recv() => SignalAction::Reopen,
                _ = self.user2.recv() => {
                    tracing::warn!(event = "signal", "SIGUSR2 is ignored: it asks for nothing that this gateway does");
                    continue;
                }
            };
        }
    }

    /// Returns the next one that asks for the end, and drops the others that come before it.
    pub(crate) async fn stop(&mut self) -> Stop {
        loop {
            if let SignalAction::Stop(stop) = self.next().await {
                return stop;
            }
        }
    }
}
