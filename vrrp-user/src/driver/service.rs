//! What the service manager is told (sd_notify(3)): that we are ready, what the routers do, and that the engine's
//! loop turns.
//!
//! Without a service manager that listens nothing is done. With one, a thread writes to it, so that the engine
//! never waits for it. Only the watchdog wakes an idle daemon, twice in its interval, and only where it is asked
//! for.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sd_notify::NotifyState;

use crate::core::StateCounts;
use crate::engine::time::Nanos;

/// What waits at most for the service manager; it is told again later what does not fit.
const WAITING: usize = 8;
/// A status is told at most once in this time.
const STATUS_PERIOD: Nanos = Nanos::from_secs(1);

/// Something to tell.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    Ready(String),
    Reloading,
    Stopping,
    Status(String),
    Watchdog,
}

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
    sender: Option<SyncSender<Message>>,
    /// Half of the watchdog's interval, and when it is over.
    watchdog: Option<(Nanos, Nanos)>,
    /// What was told last, and when.
    notified: Option<(StateCounts, Nanos)>,
    /// Whether something may have changed since.
    stale: bool,
}

impl Service {
    /// Finds out from the environment whom to tell.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(now: Nanos) -> io::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none_or(|socket| socket.is_empty()) {
            return Ok(Self::default());
        }
        let (sender, receiver) = sync_channel(WAITING);
        thread::Builder::new().name("notify".to_owned()).spawn(move || notify(&receiver))?;
        let interval = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero());
        let half = interval.and_then(|interval| u64::try_from(interval.as_nanos() / 2).ok());
        Ok(Self::new(sender, half.map(Nanos), now))
    }

    fn new(sender: SyncSender<Message>, half: Option<Nanos>, now: Nanos) -> Self {
        let watchdog = half.map(|half| (half, now + half));
        Self { sender: Some(sender), watchdog, notified: None, stale: false }
    }

    /// Whether it could be handed over.
    fn send(&self, message: Message) -> bool {
        self.sender.as_ref().is_none_or(|sender| sender.try_send(message).is_ok())
    }

    /// All routers were looked at: those who wait for us can go on. Also after [`Service::reloading`].
    pub fn ready(&mut self, now: Nanos, counts: StateCounts) {
        self.notified = Some((counts, now));
        self.stale = !self.send(Message::Ready(sentence(counts)));
    }

    /// A new configuration is being taken up.
    pub fn reloading(&self) {
        self.send(Message::Reloading);
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.send(Message::Stopping);
    }

    /// A router changed its state.
    pub fn changed(&mut self) {
        self.stale = true;
    }

    /// When [`Service::beat`] must be called next, whatever happens.
    pub fn next(&self) -> Option<Nanos> {
        self.watchdog.map(|(_, at)| at)
    }

    /// In each round of the engine's loop. A status that is too early waits for a later round.
    pub fn beat(&mut self, now: Nanos, counts: impl FnOnce() -> StateCounts) {
        if self.sender.is_none() {
            return;
        }
        if let Some((half, at)) = self.watchdog
            && at <= now
        {
            self.send(Message::Watchdog);
            self.watchdog = Some((half, now + half));
        }
        if self.stale && self.notified.is_none_or(|(_, at)| at + STATUS_PERIOD <= now) {
            let counts = counts();
            let changed = self.notified.is_none_or(|(notified, _)| notified != counts);
            if !changed || self.send(Message::Status(sentence(counts))) {
                self.notified = Some((counts, now));
                self.stale = false;
            }
        }
    }
}

/// Passes everything on, for ever.
fn notify(messages: &Receiver<Message>) {
    let mut failed = false;
    for message in messages {
        let notified = match &message {
            Message::Ready(status) => {
                sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
            }
            Message::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
                Err(error) => Err(error),
            },
            Message::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
            Message::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
            Message::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
        };
        match notified {
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

    const SECOND: Nanos = Nanos::from_secs(1);

    fn counts(master: usize, backup: usize) -> StateCounts {
        StateCounts { master, backup, ..StateCounts::default() }
    }

    #[test]
    fn nobody_listens_and_nothing_is_done() {
        let mut service = Service::default();
        service.changed();
        service.beat(SECOND, || panic!("nobody wants to know"));
        assert_eq!(service.next(), None);
    }

    #[test]
    fn a_status_comes_at_most_once_a_second_and_wakes_nobody() {
        let (sender, receiver) = sync_channel(WAITING);
        let mut service = Service::new(sender, None, SECOND);
        service.ready(SECOND, counts(0, 2));
        assert_eq!(
            receiver.try_recv(),
            Ok(Message::Ready("2 virtual routers: 2 BACKUP".to_owned()))
        );
        service.changed();
        service.beat(SECOND + Nanos(1), || panic!("too early"));
        assert_eq!(service.next(), None);
        service.beat(SECOND + SECOND, || counts(1, 1));
        assert_eq!(
            receiver.try_recv(),
            Ok(Message::Status("2 virtual routers: 1 MASTER, 1 BACKUP".to_owned()))
        );
        // Nothing changed, or it changed back.
        service.beat(Nanos::from_secs(5), || panic!("nothing changed"));
        service.changed();
        service.beat(Nanos::from_secs(6), || counts(1, 1));
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn the_watchdog_is_told_at_half_its_interval() {
        let (sender, receiver) = sync_channel(WAITING);
        let mut service = Service::new(sender, Some(SECOND), SECOND);
        assert_eq!(service.next(), Some(Nanos::from_secs(2)));
        service.beat(Nanos(1_999_999_999), StateCounts::default);
        assert!(receiver.try_recv().is_err());
        service.beat(Nanos::from_secs(7), StateCounts::default);
        assert_eq!(receiver.try_recv(), Ok(Message::Watchdog));
        assert_eq!(service.next(), Some(Nanos::from_secs(8)));
    }

    #[test]
    fn a_service_manager_that_hangs_holds_up_nobody() {
        let (sender, _receiver) = sync_channel(1);
        let mut service = Service::new(sender, None, SECOND);
        service.ready(SECOND, counts(0, 1));
        service.changed();
        service.beat(Nanos::from_secs(3), || counts(1, 0));
        // Still to be told.
        assert!(service.stale);
    }
}
