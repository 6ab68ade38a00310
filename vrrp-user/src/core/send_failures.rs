//! When a router that can send to nobody is to be in FAULT, and when it is to try again.
//!
//! Pure: it is told the time, and what the kernel said. Only what is this host's own fault counts: a peer that does not
//! answer, or a route that is missing, is no reason to give up the addresses.

use std::fmt;
use std::io;
use std::net::IpAddr;

use crate::core::interface_id::InterfaceId;
use crate::engine::time::Nanos;
use crate::engine::types::SendError;

/// How long at least nothing has left: with short intervals, some advertisements in a row are less than a burst of
/// other traffic takes.
const AT_LEAST: Nanos = Nanos::from_secs(1);
/// When it is tried again for the first time. The wait doubles with each attempt.
const FIRST_RETRY: Nanos = Nanos::from_secs(5);
/// The longest wait.
const LAST_RETRY: Nanos = Nanos::from_secs(60);

/// Why the kernel did not send something (errno(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

/// A frame or packet that is sent to see whether it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestFrame {
    /// Interface.
    pub iface: InterfaceId,
    /// To whom it is routed: then it is an IP packet with its header. `None` for an Ethernet frame.
    pub to: Option<IpAddr>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What the kernel's refusal says about this host; `None` if it says nothing about it.
pub fn own_fault(error: Errno) -> Option<SendError> {
    match error.0 {
        libc::ENETDOWN => Some(SendError::NetworkDown),
        libc::ENOBUFS => Some(SendError::NoBuffers),
        libc::EPERM => Some(SendError::NotPermitted),
        libc::EMSGSIZE => Some(SendError::TooLong),
        _ => None,
    }
}

/// Advertisements of one router, in a row, that this host could send to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendFailures {
    /// Why the last one failed.
    error: SendError,
    /// When the first one failed.
    since: Nanos,
    in_a_row: u8,
    /// Whether the last one failed that was begun.
    failed: bool,
    /// While it is in FAULT because of them: when it tries again.
    retry_at: Option<Nanos>,
    /// How often it waited for that since something left.
    retries: u32,
}

impl SendFailures {
    /// Nothing has failed yet; the first failure is to follow.
    pub fn new(error: SendError) -> Self {
        Self { error, since: Nanos::ZERO, in_a_row: 0, failed: false, retry_at: None, retries: 0 }
    }

    /// Another advertisement is about to be sent. Whether the last one has left, so that everything is forgotten.
    pub fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.failed, false)
    }

    /// An advertisement could be sent to nobody. Whether the router must not go on: as many failed in a row as let
    /// others take over, or the first one after [`Self::retried`] went well.
    pub fn failed(&mut self, now: Nanos, error: SendError, down_adverts: u8) -> bool {
        self.error = error;
        self.failed = true;
        if self.in_a_row == 0 {
            self.since = now;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let enough = self.in_a_row >= down_adverts && now >= self.since + AT_LEAST;
        // That it can send again was not true.
        let relapsed = self.retries > 0;
        if (enough || relapsed) && self.retry_at.is_none() {
            self.wait(now);
            return true;
        }
        false
    }

    /// Another host has taken over. Whether the router must not go on because of that: as many failed in a row as let
    /// others take over, however short the time was.
    pub fn succeeded(&mut self, now: Nanos, down_adverts: u8) -> bool {
        let proven = self.in_a_row >= down_adverts && self.retry_at.is_none();
        if proven {
            self.wait(now);
        }
        proven
    }

    /// Why the router is in FAULT, if it is because of this.
    pub fn fault(&self) -> Option<SendError> {
        self.retry_at.map(|_| self.error)
    }

    /// Whether it is in FAULT and to try again now.
    pub fn is_due(&self, now: Nanos) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// It is being tried: not once more before it is known what comes of it.
    pub fn trying(&mut self) {
        self.retry_at = Some(Nanos::MAX);
    }

    /// Whether it is being tried.
    pub fn is_trying(&self) -> bool {
        self.retry_at == Some(Nanos::MAX)
    }

    /// It was tried again, and failed like that or not. Whether anything has changed. If it goes well, the wait still
    /// grows if the next advertisement fails after all.
    pub fn retried(&mut self, now: Nanos, result: Result<(), SendError>) -> bool {
        match result {
            Ok(()) => {
                self.retry_at = None;
                self.in_a_row = 0;
                self.failed = true;
                true
            }
            Err(error) => {
                self.wait(now);
                std::mem::replace(&mut self.error, error) != error
            }
        }
    }

    fn wait(&mut self, now: Nanos) {
        let wait = FIRST_RETRY.times(1 << self.retries.min(8));
        self.retry_at = Some(now + wait.min(LAST_RETRY));
        self.retries = self.retries.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = Nanos::from_millis(1);

    fn at(ms: u64) -> Nanos {
        MS.times(ms)
    }

    /// Sends one every `interval` ms from `from` on, all of which fail, until that is too much. When that is.
    fn fail(failures: &mut SendFailures, from: u64, interval: u64) -> u64 {
        for n in 0..1_000 {
            let now = from + n * interval;
            assert!(!failures.begin() || n == 0);
            if failures.failed(at(now), SendError::NoBuffers, 3) {
                return now;
            }
        }
        panic!("never");
    }

    #[test]
    fn three_in_a_row_and_a_second() {
        let new = || SendFailures::new(SendError::NoBuffers);
        assert_eq!(fail(&mut new(), 0, 1_000), 2_000);
        assert_eq!(fail(&mut new(), 0, 10), 1_000);
        let mut one_left = new();
        for n in 0..2 {
            one_left.begin();
            assert!(!one_left.failed(at(n * 1_000), SendError::NoBuffers, 3));
        }
        assert!(!one_left.begin());
        // That one has left.
        assert!(one_left.begin());
    }

    #[test]
    fn the_wait_grows_until_something_has_left() {
        let mut failures = SendFailures::new(SendError::NoBuffers);
        let mut now = fail(&mut failures, 0, 1_000);
        assert_eq!(failures.fault(), Some(SendError::NoBuffers));
        let mut waits = Vec::new();
        for _ in 0..6 {
            let due = (0..100).find(|s| failures.is_due(at(now + s * 1_000))).unwrap();
            waits.push(due);
            now += due * 1_000;
            assert!(!failures.retried(at(now), Err(SendError::NoBuffers)));
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        assert!(failures.retried(at(now), Err(SendError::NotPermitted)));
        assert_eq!(failures.fault(), Some(SendError::NotPermitted));
        assert!(failures.retried(at(now), Ok(())));
        assert_eq!(failures.fault(), None);
        // What was tried went well, but the advertisements fail as before.
        assert!(!failures.begin());
        let again = fail(&mut failures, now, 1_000);
        assert_eq!(again, now);
        assert!(!failures.is_due(at(again + 59_000)) && failures.is_due(at(again + 60_000)));
        // One of them leaves.
        assert!(failures.retried(at(again), Ok(())));
        assert!(!failures.begin());
        assert!(failures.begin());
    }

    #[test]
    fn others_are_no_reason() {
        for peer in [libc::EAGAIN, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::ECONNREFUSED] {
            assert_eq!(own_fault(Errno(peer)), None);
        }
        assert_eq!(own_fault(Errno(libc::EPERM)), Some(SendError::NotPermitted));
        assert_eq!(own_fault(Errno::from(&io::Error::other("?"))), None);
    }
}
