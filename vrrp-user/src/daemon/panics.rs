//! A mistake of ours that is found out as it happens ends the daemon in order: it hands over, and its addresses go. What it
//! believes is not to be trusted any more, unlike what a process believed that was killed.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::HashSet;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::thread;

use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::addresses::Request;
use super::{Daemon, Error, STOP_PATIENCE};
use crate::engine::types::{Priority, RouterId, State};
use crate::io::netlink::{Answer, Ask, Batch, Report, Subject};

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
///
/// # Errors
/// [`Error::Panicked`].
pub(super) fn caught<T>(
    runtime: &Runtime,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))).unwrap_or(Err(Error::Panicked))
}

impl Daemon {
    /// As [`Self::stop`], after a mistake: without the engine, and going on where a further step fails.
    pub(super) async fn abandon(&mut self) {
        let each = |daemon: &mut Self, step: &dyn Fn(&mut Self)| {
            let _ = catch_unwind(AssertUnwindSafe(|| step(daemon)));
        };
        each(self, &|daemon| daemon.service.stopping());
        let every = 0..u32::try_from(self.routers.len()).unwrap_or(u32::MAX);
        let masters: Vec<RouterId> = every
            .map(RouterId)
            .filter(|id| self.engine.state(*id) == Some(State::Master))
            .collect();
        for id in &masters {
            each(self, &|daemon| daemon.send_advert(*id, Priority::RESIGN));
            if self.queue.is_full() {
                each(self, &Self::flush);
            }
        }
        each(self, &Self::flush);
        for id in &masters {
            each(self, &|daemon| daemon.remove_extras(*id));
        }
        self.remove_what_is_there().await;
        each(self, &Self::remove_fixed);
        for id in &masters {
            each(self, &|daemon| daemon.tell_transition(*id, State::Init));
        }
        self.notifier.stop().await;
        if let Err(error) = self.kernel.unpin() {
            log::error!("{}", crate::io::bpf::chain(&error));
        }
        log::info!("stopped because of a mistake of this program");
    }

    /// Removes all addresses that were added: by the thread of netlink, behind everything that it was asked before;
    /// without it, if it is gone.
    pub(super) async fn remove_what_is_there(&mut self) {
        let mut asks = Vec::new();
        for (place, router) in self.addresses.held() {
            let address = self.parting.get(&place).cloned();
            let address = address.or_else(|| self.router(router).request(place, &self.interfaces));
            asks.extend(address.map(|address| (place, Ask::address(Request::Remove, address))));
        }
        for request in self.kept.values().flatten() {
            let place = super::addresses::Place::of(&request.at);
            asks.push((place, Ask::address(Request::Remove, request.clone())));
        }
        let mut left: HashSet<_> = asks.iter().map(|(place, _)| *place).collect();
        // What was asked before is answered first.
        let mut before = self.asked;
        for (_, ask) in &asks {
            self.netlink.ask(ask.clone());
        }
        let deadline = tokio::time::Instant::now() + STOP_PATIENCE;
        while !left.is_empty() {
            match tokio::time::timeout_at(deadline, self.netlink.next()).await {
                Ok(Report::Answers(answers)) => {
                    for answer in answers {
                        if before > 0 {
                            before -= 1;
                        } else if let Some(place) = self.removed(&answer) {
                            left.remove(&place);
                        }
                    }
                }
                Ok(
                    Report::Everything(..)
                    | Report::Unknown(_)
                    | Report::Events(_)
                    | Report::Hooks(_),
                ) => {}
                Ok(Report::Closed) | Err(_) => break,
            }
        }
        if left.is_empty() {
            return;
        }
        let asks: Vec<Ask> = asks
            .into_iter()
            .filter(|(place, _)| left.contains(place))
            .map(|(_, ask)| ask)
            .collect();
        match Batch::open() {
            Ok(mut batch) => batch.carry_out(&asks).iter().for_each(|answer| {
                self.removed(answer);
            }),
            Err(error) => log::error!("cannot remove the addresses: {error}"),
        }
    }

    /// Where an address was to be removed, according to an answer.
    fn removed(&self, answer: &Answer) -> Option<super::addresses::Place> {
        let Subject::Address(at) = &answer.subject else { return None };
        let place = super::addresses::Place { ifindex: at.ifindex, address: at.address };
        if let Err(error) = &answer.result
            && !error.is_absent()
        {
            log::error!("cannot remove {}: {error}", self.describe(place));
        }
        Some(place)
    }
}
