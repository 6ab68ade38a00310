//! The line to the service manager (sd_notify(3)). Without one that listens nothing is done. With one, a thread writes to
//! it, so that the loop never waits for it.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sd_notify::NotifyState;

use crate::core::{Listener, ManagerMessage, StateCounts};
use crate::engine::time::Nanos;

/// What waits at most for the service manager.
const WAITING: usize = 8;

/// How many are in which state, in words.
fn sentence(counts: StateCounts) -> String {
    let all = counts.master + counts.backup + counts.fault + counts.init;
    let routers = if all == 1 { "virtual router" } else { "virtual routers" };
    let states = [
        (counts.master, "MASTER"),
        (counts.backup, "BACKUP"),
        (counts.fault, "FAULT"),
        (counts.init, "INIT"),
    ];
    let states: Vec<String> = states
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    let states = if all == 0 { "idle".to_owned() } else { states.join(", ") };
    format!("{all} {routers}: {states}")
}

/// The line to the service manager.
#[derive(Debug, Default)]
pub struct Service {
    /// `None` when there is nobody to tell.
    sender: Option<SyncSender<ManagerMessage>>,
}

impl Service {
    /// Finds out from the environment whom to tell.
    /// Errors: the thread cannot be started.
    pub fn start() -> io::Result<(Self, Option<Listener>)> {
        if std::env::var_os("NOTIFY_SOCKET").is_none_or(|socket| socket.is_empty()) {
            return Ok((Self::default(), None));
        }
        let (sender, receiver) = sync_channel(WAITING);
        thread::Builder::new().name("notify".to_owned()).spawn(move || notify(&receiver))?;
        let watchdog = sd_notify::watchdog_enabled();
        let watchdog = watchdog.and_then(|all| u64::try_from(all.as_nanos()).ok()).map(Nanos);
        Ok((Self { sender: Some(sender) }, Some(Listener { watchdog })))
    }

    /// Hands something over. Whether there was room for it.
    pub fn notify(&self, message: ManagerMessage) -> bool {
        self.sender.as_ref().is_none_or(|sender| sender.try_send(message).is_ok())
    }
}

/// Says that another program is about to take the place of this one, on a thread that may wait.
pub(super) fn reloading() {
    let said = NotifyState::monotonic_usec_now()
        .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now]));
    if let Err(error) = said {
        log::debug!("cannot tell the service manager: {error}");
    }
}

/// Says that none has.
pub(super) fn ready() {
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        log::debug!("cannot tell the service manager: {error}");
    }
}

/// Passes everything on, for ever.
fn notify(messages: &Receiver<ManagerMessage>) {
    let mut failed = false;
    for message in messages {
        let result = match &message {
            ManagerMessage::Ready(counts) => {
                sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&sentence(*counts))])
            }
            ManagerMessage::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
                Err(error) => Err(error),
            },
            ManagerMessage::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
            ManagerMessage::Status(counts) => {
                sd_notify::notify(&[NotifyState::Status(&sentence(*counts))])
            }
            ManagerMessage::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
        };
        match result {
            Ok(()) => failed = false,
            // Once, or a service manager that is gone would fill the log.
            Err(error) if !failed => {
                log::warn!("cannot tell the service manager ({message:?}): {error}");
                failed = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_counted_in_words() {
        let counts = StateCounts { master: 1, backup: 1, ..StateCounts::default() };
        assert_eq!(sentence(counts), "2 virtual routers: 1 MASTER, 1 BACKUP");
        assert_eq!(sentence(StateCounts::default()), "0 virtual routers: idle");
    }

    #[test]
    fn a_service_manager_that_hangs_holds_up_nobody() {
        let (sender, _receiver) = sync_channel(1);
        let service = Service { sender: Some(sender) };
        assert!(
            service.notify(ManagerMessage::Watchdog) && !service.notify(ManagerMessage::Reloading)
        );
        assert!(Service::default().notify(ManagerMessage::Reloading));
    }
}
