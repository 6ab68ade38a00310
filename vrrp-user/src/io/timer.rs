//! The daemon's clock and its one timer.
//!
//! A timerfd, because the runtime's own sleep is a millisecond coarse and an advertisement or a
//! takeover must not be.
//!
//! The clock is the one by which the kernel side stamps arrivals (`bpf_ktime_get_ns`). In a time namespace
//! (time_namespaces(7)) `CLOCK_MONOTONIC` is ahead of it, or behind it, by a constant that is taken off here.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::engine::time::Nanos;

/// What the time namespace of this process adds to the clocks (time_namespaces(7)); nothing where there are none.
const TIMENS_OFFSETS: &str = "/proc/self/timens_offsets";

/// By how many nanoseconds the clocks are ahead of the kernel's own in this process: 0 outside of time namespaces. They
/// never change while a process lives.
struct Offsets {
    monotonic: i64,
    boottime: i64,
}

/// Read with the first look at a clock, so that none of them is read when the first master has gone silent.
fn offsets() -> &'static Offsets {
    static OFFSETS: OnceLock<Offsets> = OnceLock::new();
    OFFSETS.get_or_init(|| {
        let text = fs::read_to_string(TIMENS_OFFSETS).unwrap_or_default();
        Offsets {
            monotonic: read_offset(&text, "monotonic"),
            boottime: read_offset(&text, "boottime"),
        }
    })
}

/// By how many nanoseconds `CLOCK_MONOTONIC` is ahead of the kernel's own clock in this process.
pub fn namespace_offset() -> i64 {
    offsets().monotonic
}

/// Reads lines such as `monotonic 86400 0`: clock, seconds, and nanoseconds that are never negative.
fn read_offset(offsets: &str, clock: &str) -> i64 {
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let is_ours = words.next() == Some(clock);
        let seconds: i64 = words.next().filter(|_| is_ours)?.parse().ok()?;
        let nanos: i64 = words.next()?.parse().ok()?;
        seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
    };
    offsets.lines().find_map(read).unwrap_or(0)
}

/// The clock of `bpf_ktime_get_ns` now, so that it compares with arrival times: `CLOCK_MONOTONIC` of the host,
/// whatever time namespace this process is in.
pub fn now() -> Nanos {
    match nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC) {
        Ok(time) => Nanos(
            (u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000
                + u64::try_from(time.tv_nsec()).unwrap_or(0))
            .saturating_add_signed(namespace_offset().saturating_neg()),
        ),
        // Linux has had this clock since 2.6; there is no meaningful way to go on without.
        Err(errno) => unreachable!("CLOCK_MONOTONIC: {errno}"),
    }
}

/// How long the host has been up, with the time that it was suspended: what `/proc/uptime` says (proc(5)).
pub fn since_boot() -> Nanos {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok();
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    time.map_or(Nanos::ZERO, |time| {
        Nanos(part(time.tv_sec()) * 1_000_000_000 + part(time.tv_nsec()))
    })
}

/// The clock of `bpf_ktime_get_boot_ns` now: `CLOCK_BOOTTIME` of the host, whatever time namespace this process is in.
pub fn boot_now() -> Nanos {
    Nanos(since_boot().0.saturating_add_signed(offsets().boottime.saturating_neg()))
}

/// A time of [`now`] on the clock of [`boot_now`].
pub fn in_boot_time(at: Nanos) -> Nanos {
    // In this order: whoever is stopped between the two gets an earlier time.
    let boot = boot_now();
    Nanos(boot.0.saturating_sub((now() - at).0))
}

/// One absolute timer on the clock of [`now`].
pub struct Timer {
    fd: AsyncFd<Fd>,
    armed: Option<Nanos>,
}

/// A timerfd that the runtime can register: nix's own type lends its descriptor but does not name it.
struct Fd(TimerFd);

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// A timer that is not armed. Needs the I/O driver of a runtime.
    /// Errors: `timerfd_create(2)` or the runtime's registration failed.
    pub fn new() -> io::Result<Self> {
        let fd = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        // SAFETY: `Fd` owns its descriptor, always names the same one, and is never swapped out of the
        // `AsyncFd`.
        let fd = unsafe { AsyncFd::register_with_interest(Fd(fd), Interest::READABLE)? };
        Ok(Self { fd, armed: None })
    }

    /// Fires at `at`, at once when that is past; `None` disarms. No system call when nothing changes.
    /// Errors: `timerfd_settime(2)` failed.
    pub fn arm(&mut self, at: Option<Nanos>) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        match at {
            // An all-zero value would disarm instead of firing at once.
            Some(at) => self.fd.get_ref().0.set(
                Expiration::OneShot(timespec(in_namespace(at, namespace_offset()))),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            )?,
            None => self.fd.get_ref().0.unset()?,
        }
        self.armed = at;
        Ok(())
    }

    /// Waits until the timer fires; for ever when it is not armed. Cancel safe.
    /// Errors: the runtime shuts down.
    pub async fn fired(&mut self) -> io::Result<()> {
        loop {
            let mut guard = self.fd.readable().await?;
            guard.clear_ready();
            match self.fd.get_ref().0.wait() {
                Ok(()) => {
                    self.armed = None;
                    return Ok(());
                }
                // Re-armed since it became readable.
                Err(nix::errno::Errno::EAGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// By how many nanoseconds `CLOCK_REALTIME` is ahead of [`now`]: a constant until somebody sets the clock.
pub fn realtime_offset() -> u64 {
    let realtime = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let realtime = realtime.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
    realtime.wrapping_sub(now().0)
}

/// Says when somebody sets the clock: a timer on it that never fires is cancelled then (`TFD_TIMER_CANCEL_ON_SET`,
/// timerfd_create(2)).
pub struct ClockSteps {
    fd: Option<AsyncFd<Fd>>,
}

impl Default for ClockSteps {
    fn default() -> Self {
        Self::new()
    }
}

impl ClockSteps {
    /// Needs the I/O driver of a runtime. Where there is no such timer, nothing is ever said.
    pub fn new() -> Self {
        let fd = Self::armed();
        if let Err(error) = &fd {
            log::warn!("nobody says when the clock is set: {error}");
        }
        Self { fd: fd.ok() }
    }

    fn armed() -> io::Result<AsyncFd<Fd>> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let fd = Fd(TimerFd::new(ClockId::CLOCK_REALTIME, flags)?);
        Self::arm(&fd)?;
        // SAFETY: as in `Timer::new`.
        Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? })
    }

    fn arm(fd: &Fd) -> nix::Result<()> {
        let never = Expiration::OneShot(TimeSpec::new(i64::from(u32::MAX), 0));
        let flags =
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        fd.0.set(never, flags)
    }

    /// Waits until the clock is set. Cancel safe.
    pub async fn set(&mut self) {
        let Some(fd) = &self.fd else { return std::future::pending().await };
        loop {
            let Ok(mut guard) = fd.readable().await else { return std::future::pending().await };
            guard.clear_ready();
            match fd.get_ref().0.wait() {
                Err(nix::errno::Errno::EAGAIN) => {}
                // ECANCELED, as a rule.
                Ok(()) | Err(_) => {
                    let _ = Self::arm(fd.get_ref());
                    return;
                }
            }
        }
    }
}

/// A reading of [`now`] as this process's `CLOCK_MONOTONIC` has it, and not zero.
fn in_namespace(at: Nanos, offset: i64) -> Nanos {
    Nanos(at.0.saturating_add_signed(offset).max(1))
}

fn timespec(at: Nanos) -> TimeSpec {
    let secs = i64::try_from(at.0 / 1_000_000_000).unwrap_or(i64::MAX);
    let nanos = i64::try_from(at.0 % 1_000_000_000).unwrap_or(0);
    TimeSpec::new(secs, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_time_namespace_adds_is_read() {
        let table = "monotonic           0         0\nboottime            7         0\n";
        assert_eq!(read_offset(table, "monotonic"), 0);
        assert_eq!(
            read_offset("monotonic 86400 5\nboottime 0 0\n", "monotonic"),
            86_400_000_000_005
        );
        // 0.25 s back.
        assert_eq!(
            read_offset("boottime 3 0\nmonotonic -1 750000000\n", "monotonic"),
            -250_000_000
        );
        for nonsense in ["", "monotonic", "monotonic x 0", "monotonic 9223372036854775807 0"] {
            assert_eq!(read_offset(nonsense, "monotonic"), 0, "{nonsense}");
        }
    }

    #[test]
    fn deadlines_are_on_the_clock_of_the_namespace() {
        assert_eq!(in_namespace(Nanos(100), 50), Nanos(150));
        assert_eq!(in_namespace(Nanos(100), -50), Nanos(50));
        assert_eq!(in_namespace(Nanos(100), -500), Nanos(1));
        assert_eq!(in_namespace(Nanos::ZERO, 0), Nanos(1));
    }

    #[tokio::test]
    async fn fires_when_due_and_not_before() {
        let mut timer = Timer::new().unwrap();
        let start = now();
        timer.arm(Some(start + Nanos::from_millis(30))).unwrap();
        timer.fired().await.unwrap();
        assert!(now() >= start + Nanos::from_millis(30));
    }

    #[tokio::test]
    async fn a_deadline_in_the_past_fires_at_once_and_none_disarms() {
        let mut timer = Timer::new().unwrap();
        timer.arm(Some(Nanos::ZERO)).unwrap();
        timer.fired().await.unwrap();
        timer.arm(Some(now() + Nanos::from_millis(20))).unwrap();
        timer.arm(None).unwrap();
        let quiet = tokio::time::timeout(std::time::Duration::from_millis(60), timer.fired());
        assert!(quiet.await.is_err());
    }
}
