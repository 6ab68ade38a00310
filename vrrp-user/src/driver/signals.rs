//! The signals that the daemon handles.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use tokio::signal::unix::{self, signal};
use tokio::sync::mpsc;

/// A signal that is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalKind {
    Terminate,
    Interrupt,
    Hangup,
    User1,
    User2,
}

/// The signals that a daemon handles.
fn handled() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2]
        .into_iter()
        .collect()
}

/// Lets them wait until [`unblock`]: first of all in a program that may be a daemon, or they would end it while it starts.
pub fn block() {
    set(SigmaskHow::SIG_BLOCK);
}

/// From now on they are handled, or end this program, as those do that have come already.
pub fn unblock() {
    set(SigmaskHow::SIG_UNBLOCK);
}

fn set(how: SigmaskHow) {
    if let Err(error) = sigprocmask(how, Some(&handled()), None) {
        log::error!("cannot set which signals wait: {error}");
    }
}

/// Listens to signals in a task of its own: each listener costs something whenever it is asked, and the loop
/// would ask all of them for every advertisement.
pub(super) fn signals() -> io::Result<mpsc::Receiver<SignalKind>> {
    let mut terminate = signal(unix::SignalKind::terminate())?;
    let mut interrupt = signal(unix::SignalKind::interrupt())?;
    let mut hangup = signal(unix::SignalKind::hangup())?;
    let mut user1 = signal(unix::SignalKind::user_defined1())?;
    let mut user2 = signal(unix::SignalKind::user_defined2())?;
    let (send, receive) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let kind = tokio::select! {
                _ = terminate.recv() => SignalKind::Terminate,
                _ = interrupt.recv() => SignalKind::Interrupt,
                _ = hangup.recv() => SignalKind::Hangup,
                _ = user1.recv() => SignalKind::User1,
                _ = user2.recv() => SignalKind::User2,
            };
            if send.send(kind).await.is_err() {
                return;
            }
        }
    });
    Ok(receive)
}
