//! Threads, which may not be had: the limit of processes or memory may be reached.

use std::io;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::{self, Runtime};

/// Starts a thread with a runtime of its own.
/// Errors: no thread can be started, or no runtime.
pub fn with_runtime(
    name: &str,
    work: impl FnOnce(Runtime) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    begin(Builder::new().name(name.to_owned()), work)
}

fn begin(
    thread: Builder,
    work: impl FnOnce(Runtime) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        if let Ok(runtime) = receiver.recv() {
            work(runtime);
        }
    };
    match thread.spawn(run) {
        Ok(thread) => {
            // It waits for this.
            let _ = sender.send(runtime);
            Ok(thread)
        }
        Err(error) => {
            // To drop one within another panics.
            runtime.shutdown_background();
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_cannot_be_had_is_an_error_also_within_a_runtime() {
        let outer = runtime::Builder::new_current_thread().build().unwrap();
        outer.block_on(async {
            // More than there are addresses for.
            let thread = Builder::new().stack_size(1 << 50);
            assert!(begin(thread, |_| unreachable!()).is_err());
            let thread = with_runtime("test", |runtime| runtime.block_on(async {})).unwrap();
            thread.join().unwrap();
        });
    }
}
