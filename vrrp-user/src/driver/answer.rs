//! Questions of the control thread, answered from a look at the core.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Driver;
use crate::api::events::WallClock;
use crate::control::server::Question;
use crate::core::{Counter, Input, InterfaceId, Outside, PART_ROUTERS};
use crate::engine::types::RouterId;
use crate::io::{bpf, netns, timer};
use crate::metrics::http::AskProblems;
use crate::refused::{self, Refused};
use crate::types;

impl Driver {
    /// Answers. Nobody may wait for the answer any more, and that is as good.
    pub(super) fn answer(&mut self, question: Question) {
        let asked = timer::now();
        match question {
            Question::Status(answer) => {
                self.core.prepare_status(asked);
                self.perform_all(asked);
                self.refresh_part(0);
                let refused = self.refused();
                let status = self.core.status(Outside {
                    // After that, so that nothing was heard in the future.
                    wall: WallClock::at(timer::now()),
                    refused: &refused,
                    instance: self.instance.name(),
                    pid: std::process::id(),
                    no_bpf: self.datapath.without(),
                    no_pins: self.datapath.no_pins(),
                    answers_arp,
                    lacks: self.datapath.lacks(),
                    counters: self.counters(),
                });
                drop(answer.send(status));
            }
            Question::Routers { begin, answer } => {
                self.refresh_part(begin);
                let refused = self.refused();
                drop(answer.send(self.core.part(timer::now(), begin, &refused, answers_arp)));
            }
            Question::Router { name, answer } => {
                let id = self.core.find(&name);
                id.into_iter().for_each(|id| self.refresh_last_seen([id]));
                let refused = self.refused();
                let detail = id.and_then(|id| {
                    self.core.detail(WallClock::at(timer::now()), id, &refused, answers_arp)
                });
                drop(answer.send(detail.map(Box::new)));
            }
            Question::Order { name, order, until, answer } => {
                if !answer.is_closed() {
                    drop(answer.send(self.core.order(asked, until, &name, order)));
                    self.perform_all(asked);
                }
            }
            Question::Problems { begin, answer } => {
                if begin == 0 {
                    self.core.prepare_status(asked);
                    self.perform_all(asked);
                }
                self.refresh_part(begin);
                let (now, refused) = (timer::now(), self.refused());
                drop(answer.send(self.core.problem_counts(now, begin, &refused, answers_arp)));
            }
            Question::Find { name, answer } => drop(answer.send(self.core.find(&name))),
            Question::Reload { check, answer } => {
                self.last_client += 1;
                let client = self.last_client;
                self.clients.insert(client, answer);
                self.handle(asked, Input::Reload { check, client: Some(client) });
            }
            Question::Upgrade { binary, check, asker } => self.examine(&binary, check, asker),
            Question::Events { from, router, answer } => {
                drop(answer.send(self.core.events(from, router)));
            }
        }
        log::trace!("answered in {} us", (timer::now() - asked).0 / 1_000);
    }

    /// Lets the core know when the masters of those routers were last heard that a part of an answer is about.
    fn refresh_part(&mut self, begin: usize) {
        self.refresh_last_seen(self.core.ids().skip(begin).take(PART_ROUTERS));
    }

    /// Lets the core know when the masters of some routers were last heard.
    pub(super) fn refresh_last_seen(&mut self, routers: impl IntoIterator<Item = RouterId>) {
        let now = timer::now();
        for router in routers {
            if let Some(seen) = self.datapath.master_seen(router.0) {
                self.core.handle(now, Input::LastSeen { router, seen });
            }
        }
    }

    /// What was refused of late, as far as it matters.
    fn refused(&self) -> Vec<(InterfaceId, Refused)> {
        if !self.core.receives_refusals() {
            return Vec::new();
        }
        let mut refused = match self.datapath.maps().reader().and_then(|reader| reader.samples()) {
            Ok(sampled) => refused::latest(&sampled),
            Err(error) => {
                log::debug!("refused advertisements: {}", bpf::chain(&error));
                Vec::new()
            }
        };
        refused.extend(self.refusals.latest());
        let places = &self.datapath.places;
        refused.into_iter().map(|refused| (places.iface(refused.router().0), refused)).collect()
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let all = Counter::ALL.iter();
        all.map(|(c, name)| ((*name).to_owned(), self.datapath.counter(*c as u32))).collect()
    }
}

/// Asks by the channel of the control thread, if there is room.
pub(super) fn problems_by(ask: mpsc::Sender<Question>) -> AskProblems {
    Arc::new(move |begin| {
        let (answer, answered) = oneshot::channel();
        ask.try_send(Question::Problems { begin, answer }).ok()?;
        Some(answered)
    })
}

/// Whether an interface answers ARP for addresses that are on others (`arp_ignore`, ip-sysctl.rst): values that the kernel keeps
/// in memory.
fn answers_arp(interface: &str) -> bool {
    let (_, name) = types::netns::split(interface);
    let is_zero = |name: &str| {
        let value = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore"));
        value.is_ok_and(|value| value.trim() == "0")
    };
    netns::beside_interface(interface, || is_zero("all") && is_zero(name)).unwrap_or_default()
}
