//! Scripts and fifos: what runs when something happens, and what runs to find out whether something works.
//!
//! What is to be run, and when, is decided in [`crate::scripts`]. All of it lives on one thread that is not the engine's,
//! and exists only if the configuration has any of it. The engine's thread sends an [`Event`] and goes on.

pub(crate) mod board;
mod fifo;
pub(crate) mod handover;
mod process;
mod runner;
mod spawn;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

pub use board::Board;

use crate::config::model::Scheduling;
use crate::io::{sched, threads};
pub use crate::scripts::plan::Plan;
pub use crate::scripts::{Event, Found, NotificationKind, Notified, Subject};
use board::Counter;

/// Events that may wait for the thread. It never waits itself, unless the machine cannot execute a program at all.
const WAITING: usize = 1 << 18;

enum Order {
    Notify(Event),
    Reconfigure(Box<Plan>),
    Begin,
    Startup(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
    Replace(Replacement, oneshot::Sender<io::Error>),
}

/// Puts another program in the place of this one, and hands it what runs. Returns only if that failed, or is not wanted any
/// more.
pub type Replacement = Box<dyn FnOnce(handover::Scripts) -> Option<io::Error> + Send>;

/// The thread.
pub struct Scripts {
    orders: mpsc::UnboundedSender<Order>,
    waiting: Arc<AtomicUsize>,
    board: Arc<Board>,
    thread: Option<JoinHandle<()>>,
}

impl Scripts {
    /// Starts the thread. What checks find out goes to `found`.
    /// Errors: the thread cannot be started.
    pub fn start(
        plan: Plan,
        board: Arc<Board>,
        found: mpsc::UnboundedSender<Found>,
    ) -> io::Result<Self> {
        let (orders, received) = mpsc::unbounded_channel();
        let waiting = Arc::<AtomicUsize>::default();
        let (count, shown) = (Arc::clone(&waiting), Arc::clone(&board));
        let thread = threads::with_runtime("scripts", move |runtime| {
            // Whatever the one who starts it is scheduled as.
            if let Err(error) = sched::schedule_thread(Scheduling::Other) {
                log::debug!("scripts: ordinary scheduling: {error}");
            }
            runtime.block_on(runner::run(plan, received, count, shown, found));
            // What was left running prints to nobody.
            runtime.shutdown_background();
        })?;
        Ok(Self { orders, waiting, board, thread: Some(thread) })
    }

    /// Tells what happened. Never waits.
    pub fn notify(&self, event: Event) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.board.count(Counter::NotificationsLost);
            return;
        }
        // It ends only when it is told to.
        let _ = self.orders.send(Order::Notify(event));
    }

    /// From now on as another configuration wants it. What runs goes on; what is known of checks that stay is kept.
    pub fn reconfigure(&self, plan: Plan) {
        let _ = self.orders.send(Order::Reconfigure(Box::new(plan)));
    }

    /// Lets everything begin without the startup script.
    pub fn begin_without_startup(&self) {
        let _ = self.orders.send(Order::Begin);
    }

    /// Runs the startup script, and waits for its end.
    pub async fn startup(&self) {
        let (done, end) = oneshot::channel();
        let _ = self.orders.send(Order::Startup(done));
        let _ = end.await;
    }

    /// Lets another program take the place of this one, on this thread: programs that were started here are told when it
    /// ends (`PR_SET_PDEATHSIG`), and all but the one that executes end. What comes is why that failed.
    pub fn replace(&self, replacement: Replacement) -> oneshot::Receiver<io::Error> {
        let (failed, failure) = oneshot::channel();
        let _ = self.orders.send(Order::Replace(replacement, failed));
        failure
    }

    /// Runs what was told until now, in bounded time; ends what still runs then; runs the shutdown script. Afterwards
    /// the thread is no more.
    pub async fn stop(mut self) {
        let (done, end) = oneshot::channel();
        let _ = self.orders.send(Order::Stop(done));
        let _ = end.await;
        if let Some(thread) = self.thread.take() {
            // It has nothing more to do.
            let _ = thread.join();
        }
    }
}
