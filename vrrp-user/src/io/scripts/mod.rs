//! Scripts and fifos: what runs when something happens, and what runs to find out whether something works.
//!
//! All of it lives on one thread that is not the engine's, and exists only if the configuration has any of it. The engine's
//! thread sends an [`Event`] and goes on.

pub(crate) mod board;
mod check;
mod fifo;
pub mod plan;
mod process;
mod queue;
pub mod resolve;
mod runner;
mod spawn;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

pub use board::Board;
pub use plan::Plan;

use crate::config::model::Scheduling;
use crate::engine::types::Health;
use crate::io::{sched, threads};
use crate::wire::ethernet::Mac;
use board::Counter;

/// Events that may wait for the thread. It never waits itself, unless the machine can not execute a program at all.
const WAITING: usize = 1 << 18;

/// Who is spoken of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A router, by its name.
    Instance(Arc<str>),
    /// A sync group, by its name.
    Group(Arc<str>),
}

impl Subject {
    /// What it is called in arguments and fifos.
    fn kind(&self) -> &'static str {
        match self {
            Self::Instance(_) => "INSTANCE",
            Self::Group(_) => "GROUP",
        }
    }

    fn name(&self) -> &Arc<str> {
        match self {
            Self::Instance(name) | Self::Group(name) => name,
        }
    }
}

/// A state that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    /// It holds the addresses.
    Master,
    /// It listens.
    Backup,
    /// It can not take part.
    Fault,
    /// The daemon ends.
    Stop,
    /// It left the configuration.
    Deleted,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It entered a state.
    State {
        /// Which.
        state: Notified,
        /// Its priority; 0 for a group.
        priority: u8,
    },
    /// As [`Self::State`], but only for the fifos: it was in that state before.
    StillIn {
        /// Which.
        state: Notified,
        /// Its priority; 0 for a group.
        priority: u8,
    },
    /// It left the configuration.
    Deleted {
        /// Whether it was in FAULT.
        fault: bool,
        /// Its priority.
        priority: u8,
    },
    /// As master, it heard of a lower priority.
    LowerPriority {
        /// Its own.
        priority: u8,
    },
    /// Its priority changed.
    Priority {
        /// Whether it is master.
        master: bool,
        /// What it is now.
        priority: u8,
    },
    /// Another host claims an address that it holds as master, or does not any more.
    SplitBrain {
        /// Whether it begins.
        begin: bool,
        /// The address.
        address: IpAddr,
        /// The other host.
        mac: Mac,
    },
}

/// Something that happened to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To whom.
    pub subject: Subject,
    /// What.
    pub what: What,
}

/// A check has found out something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Name of the script.
    pub script: Arc<str>,
    /// How the thing is that it checks.
    pub health: Health,
    /// How the run ended that showed it, if that was not as it should be, or why it is disabled.
    pub end: Option<Arc<str>>,
}

enum Order {
    Tell(Event),
    Reconfigure(Box<Plan>),
    Begin,
    Startup(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// The thread.
pub struct Scripts {
    orders: mpsc::UnboundedSender<Order>,
    waiting: Arc<AtomicUsize>,
    board: Arc<Board>,
    thread: Option<JoinHandle<()>>,
}

impl Scripts {
    /// Starts the thread. What checks find out goes to `found`.
    ///
    /// # Errors
    /// The thread can not be started.
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
    pub fn tell(&self, event: Event) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.board.count(Counter::NotificationsLost);
            return;
        }
        // It ends only when it is told to.
        let _ = self.orders.send(Order::Tell(event));
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
