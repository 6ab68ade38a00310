//! Being on time on a busy machine: real-time scheduling for the engine's thread.

use std::io;

use crate::config::model::Scheduling;

/// Schedules the calling thread. Threads that it starts later are ordinary ones.
/// Errors: CAP_SYS_NICE is missing and RLIMIT_RTPRIO too low, or the control group has no real-time budget.
pub fn schedule_thread(scheduling: Scheduling) -> io::Result<()> {
    schedule(0, scheduling)
}

fn schedule(thread: libc::pid_t, scheduling: Scheduling) -> io::Result<()> {
    let (policy, priority) = match scheduling {
        Scheduling::Fifo(priority) => (libc::SCHED_FIFO, i32::from(priority)),
        Scheduling::Other => (libc::SCHED_OTHER, 0),
    };
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the structure lives until the call returns and is only read.
    let result = unsafe {
        libc::sched_setscheduler(thread, policy | libc::SCHED_RESET_ON_FORK, &parameters)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts the calling thread behind all others of the machine that have something to do, as far as that goes.
pub fn behind_everything() {
    // Without a number it is the calling thread's (setpriority(2)). To be nicer is always permitted.
    let _ = rustix::process::setpriority_process(None, 19);
}

/// As [`schedule_thread`], for another thread of this process, by its number (gettid(2)).
/// Errors: those of [`schedule_thread`], or the thread has ended.
pub fn schedule_other_thread(thread: libc::pid_t, scheduling: Scheduling) -> io::Result<()> {
    schedule(thread, scheduling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_is_always_permitted() {
        let thread = std::thread::spawn(|| {
            schedule_thread(Scheduling::Other).unwrap();
            // SAFETY: 0 is the calling thread; the call takes a number only.
            unsafe { libc::sched_getscheduler(0) }
        });
        let policy = thread.join().unwrap();
        assert_eq!(policy & !libc::SCHED_RESET_ON_FORK, libc::SCHED_OTHER);
    }
}
