//! The end: what the core wants until it wants nothing more, and what is to be closed then.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Driver, Error, Sources};
use crate::control::server::Question;
use crate::core::netlink::{Answer, Ask, Subject};
use crate::core::{Input, InterfaceAddr, ManagerMessage};
use crate::io::bpf;
use crate::io::netlink::{AcceptFilter, Batch, Promoted, Report};
use crate::io::timer;

/// How long what is left is waited for, when the core does not say when it is over.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long stopping waits at most for those who follow the history.
const LAST_ANSWERS: Duration = Duration::from_millis(250);

impl Driver {
    /// Hands over, unless that was done, and closes what is open.
    /// Errors: the pins cannot be removed.
    pub(super) async fn stop(&mut self, sources: &mut Sources) -> Result<(), Error> {
        if !self.core.is_stopped() {
            self.handle(timer::now(), Input::Stop);
            match self.serve(sources).await {
                Ok(()) => {}
                Err(Error::Panicked) => return Err(Error::Panicked),
                Err(_) => self.remove_what_is_there().await,
            }
        }
        if self.followed() {
            self.last_answers(&mut sources.questions).await;
        }
        if let Some(scripts) = self.scripts.take() {
            scripts.stop().await;
        }
        self.datapath.unpin()?;
        log::info!("stopped");
        Ok(())
    }

    /// Closes what takes the kernel its time, at once: it waits for RCU with each packet socket (`packet_release`,
    /// net/packet/af_packet.c) and with each program that is attached.
    pub(super) fn close(self) {
        let Self { datapath, networks, .. } = self;
        // Where no thread can be had, this closes them here.
        let closing = thread::Builder::new().spawn(move || drop(networks));
        drop(datapath);
        if let Ok(closing) = closing {
            let _ = closing.join();
        }
    }

    /// Tells those who follow the history how it ends: answers until nobody asks, and not for long.
    async fn last_answers(&mut self, questions: &mut mpsc::Receiver<Question>) {
        let deadline = tokio::time::Instant::now() + LAST_ANSWERS;
        loop {
            let quiet = tokio::time::Instant::now() + LAST_ANSWERS / 5;
            let question = tokio::time::timeout_at(quiet.min(deadline), questions.recv()).await;
            match question {
                Ok(Some(question)) => self.answer(question),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// As [`Self::stop`], after a mistake: going on where a step fails.
    pub(super) async fn abandon(&mut self) {
        let each = |driver: &mut Self, step: &dyn Fn(&mut Self)| {
            let _ = catch_unwind(AssertUnwindSafe(|| step(driver)));
        };
        each(self, &|driver| {
            driver.service.notify(ManagerMessage::Stopping);
        });
        let masters = self.core.masters();
        for id in &masters {
            each(self, &|driver| driver.core.abandon_router(*id));
            if self.core.frames().is_full() {
                each(self, &|driver| driver.flush(timer::now()));
            }
        }
        each(self, &|driver| driver.flush(timer::now()));
        for id in &masters {
            each(self, &|driver| driver.core.abandon_objects(*id));
        }
        each(self, &|driver| driver.perform_all(timer::now()));
        self.remove_what_is_there().await;
        each(self, &|driver| driver.core.abandon_rest(&masters));
        each(self, &|driver| driver.perform_all(timer::now()));
        if let Some(scripts) = self.scripts.take() {
            scripts.stop().await;
        }
        if let Err(error) = self.datapath.unpin() {
            log::error!("{}", bpf::chain(&error));
        }
        log::info!("stopped because of a mistake of this program");
    }

    /// Removes all addresses that were added: by the thread of netlink, behind everything that it was asked before;
    /// without it, if it is gone.
    async fn remove_what_is_there(&mut self) {
        let asks = self.core.removals();
        let mut left: HashSet<_> = asks.iter().map(|(place, _)| *place).collect();
        // What was asked before is answered first.
        let mut before = self.core.unanswered();
        for (_, ask) in &asks {
            self.netlink.ask(ask.clone());
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
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
                    | Report::Entered(..)
                    | Report::Events(_)
                    | Report::Hooks(_)
                    | Report::Refused(_),
                ) => {}
                Ok(Report::Closed) | Err(_) => break,
            }
        }
        if !left.is_empty() {
            self.remove_without_thread(asks, &left);
        }
        for namespace in self.core.refuses() {
            let remove = || AcceptFilter::new(self.instance.name(), false).remove();
            match self.networks.within(namespace, remove) {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => log::error!("packets to addresses may still be refused: {error}"),
                Err(error) => log::error!("packets to addresses may still be refused: {error}"),
            }
        }
    }

    /// Removes addresses that the thread of netlink has left.
    fn remove_without_thread(
        &self,
        asks: Vec<(InterfaceAddr, Ask)>,
        left: &HashSet<InterfaceAddr>,
    ) {
        let asks: Vec<Ask> = asks
            .into_iter()
            .filter(|(place, _)| left.contains(place))
            .map(|(_, ask)| ask)
            .collect();
        let namespace = |ask: &Ask| ask.object.namespace();
        for asks in asks.chunk_by(|one, next| namespace(one) == namespace(next)) {
            let Some(namespace) = asks.first().map(namespace) else { continue };
            let batch = self.networks.within(namespace, Batch::open).and_then(|batch| batch);
            match batch {
                Ok(mut batch) => {
                    let answers = batch.carry_out(asks, &mut Promoted::default());
                    for answer in &answers {
                        self.removed(answer);
                    }
                }
                Err(error) => log::error!("cannot remove the addresses: {error}"),
            }
        }
    }

    /// Where an address was to be removed, according to an answer.
    fn removed(&self, answer: &Answer) -> Option<InterfaceAddr> {
        let Subject::Address(at) = &answer.subject else { return None };
        let place = at.at;
        if let Err(error) = &answer.result
            && !error.is_absent()
        {
            log::error!("cannot remove {}: {error}", self.core.describe(place));
        }
        Some(place)
    }
}
