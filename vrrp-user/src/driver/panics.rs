//! A mistake of ours that is found out as it happens ends the daemon in order: it hands over, and its addresses go. What it
//! believes is not to be trusted any more, unlike what a process believed that was killed.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::future::Future;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::thread;

use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::Error;

/// A thread has panicked.
static NOTICED: Notify = Notify::const_new();
/// Threads whose panics are the end of what they do, and of nothing else: they share nothing with the others.
const APART: [&str; 1] = ["reload"];

/// Tells the loop of every panic, and the log in lines of its own.
pub(super) fn notice() {
    panic::set_hook(Box::new(noticed_one));
}

fn noticed_one(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    log::error!("a mistake of this program, on thread {name}: {info}");
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        log::error!("{trace}");
    }
    if !APART.contains(&name) {
        NOTICED.notify_one();
    }
}

/// When a thread has panicked.
pub(super) async fn noticed() {
    NOTICED.notified().await;
}

/// Runs something on this thread to its end.
/// Errors: [`Error::Panicked`].
pub(super) fn caught<T>(
    runtime: &Runtime,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))).unwrap_or(Err(Error::Panicked))
}
