//! What is tracked outside the network: files and processes. Each kind has a thread of its own, which says what
//! has changed; where nothing of a kind is tracked there is none.
//!
//! The threads end when their [`Watch`] is dropped. Nothing here knows what a change means for a router.

pub mod files;
pub mod processes;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use tokio::sync::mpsc;

use crate::engine::types::{Health, ObjectId};

/// Reports that wait for the engine's thread. Whoever has more to say waits for it.
const WAITING: usize = 256;

/// What a thread says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// An object is now like this.
    Health(ObjectId, Health),
    /// What is known of an object cannot be used; what was known before goes on to count.
    Bad(ObjectId, String),
    /// All objects of one thread were looked at for the first time; the number that it was given.
    Complete(u64),
}

/// Where the threads report.
pub fn channel() -> (mpsc::Sender<Report>, mpsc::Receiver<Report>) {
    mpsc::channel(WAITING)
}

/// A thread that watches. Dropping it ends the thread.
#[derive(Debug)]
pub struct Watch {
    _stop: UnixStream,
}

impl Watch {
    /// Starts a thread with `work`, which has to end when the descriptor that it is given hangs up.
    /// Errors: no descriptor or no thread is left.
    fn start(name: &str, work: impl FnOnce(OwnedFd) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        thread::Builder::new().name(name.to_owned()).spawn(move || work(stopped.into()))?;
        Ok(Self { _stop: stop })
    }
}
