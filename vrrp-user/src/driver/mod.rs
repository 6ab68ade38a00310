//! What touches the world for a [`Core`]: one loop that turns what happens into inputs and effects into calls. It decides
//! nothing.
//!
//! One task owns everything. It drains the ring buffer before it looks at the clock, so that after a pause of the machine
//! or of the process the advertisements that arrived meanwhile are heard before any timer is believed. Requests to netlink
//! run beside it and report back; nothing here waits for an answer.

mod adoption;
mod answer;
pub mod cleanup;
mod networks;
mod panics;
mod perform;
mod pins;
mod raw;
pub mod reload;
mod service;
pub mod signals;
mod stale;
mod start;
mod stop;
pub(crate) mod upgrade;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::watch::Sender as Latest;
use tokio::sync::{mpsc, oneshot};
use vrrp_common::reason::Reason;

use self::networks::{Networks, Woken};
use self::service::Service;
use self::signals::SignalKind;
pub use self::start::{Error, Options, run};
use self::upgrade::Examined;
use crate::api::Reloaded;
use crate::control::access::Access;
use crate::control::server::Question;
use crate::core::prepared::{Prepared, Refusal};
use crate::core::{Core, HookReport, Input, Progress};
use crate::engine::time::Nanos;
use crate::io::bpf::{self, Datapath};
use crate::io::lockfile::LockedDir;
use crate::io::netlink::{HookState, Netlink, Report};
use crate::io::reader::Reader;
use crate::io::ring::EventRing;
use crate::io::scripts::{Board, Found, Plan, Scripts};
use crate::io::timer::{self, ClockSteps, Timer};
use crate::io::tracked::{self, Watch};
use crate::metrics::http;
use crate::types::instance::Instance;

/// A core, and what it needs of the world.
struct Driver {
    core: Core,
    instance: Instance,
    config_path: PathBuf,
    /// How the configuration is read again.
    settings: reload::Settings,
    datapath: Datapath,
    netlink: Netlink,
    networks: Networks,
    /// What packet sockets have received that was refused.
    refusals: raw::Refusals,
    service: Service,
    scripts: Option<Scripts>,
    /// How scripts are, for metrics and for those who ask.
    board: Arc<Board>,
    /// Where scripts say what they find out.
    found: mpsc::UnboundedSender<Found>,
    /// What watches files, and what watches processes.
    watches: [Option<Watch>; 2],
    /// Where they report.
    tracked: mpsc::Sender<tracked::Report>,
    /// Why something tracked is not watched.
    not_watched: Option<std::io::Error>,
    /// The number of the last entry of the history, for those who follow it.
    latest: Latest<u64>,
    /// Who waits for the end of a reload.
    clients: BTreeMap<u64, oneshot::Sender<Reloaded>>,
    last_client: u64,
    /// Where readings of the configuration end.
    readings: mpsc::UnboundedSender<Reading>,
    /// The last one that was begun, and the scripts of it.
    reading: u64,
    plan: Plan,
    /// Where metrics are served.
    server: Option<http::Server>,
    /// How it asks for problems.
    problems: http::AskProblems,
    /// Who may use the control socket.
    access: Arc<Mutex<Access>>,
    /// The lock on the directory of the pins, if that had to be made again.
    pin_lock: Option<LockedDir>,
    /// Whether another program is being looked at, and where it is said what came of that.
    examining: bool,
    examined: mpsc::UnboundedSender<Examined>,
    /// Until when everything was heard before the core went on, by `CLOCK_BOOTTIME`: what is sent says no more than that.
    listened_until: Nanos,
    /// The maps of the program that was in this process before, where this one has others, until the routers have begun.
    before: Option<Box<Reader>>,
}

/// What came of reading the configuration.
struct Reading {
    number: u64,
    read: Result<(Prepared, Plan), Refusal>,
    /// Of the programs that check signatures, if there had to be some for it.
    signatures: Option<bpf::Signatures>,
}

/// The sources that the loop waits on.
struct Sources {
    ring: EventRing,
    timer: Timer,
    clock: ClockSteps,
    questions: mpsc::Receiver<Question>,
    signals: mpsc::Receiver<SignalKind>,
    /// What tracked scripts find out.
    finds: mpsc::UnboundedReceiver<Found>,
    /// What is found out about tracked files and processes.
    tracked: mpsc::Receiver<tracked::Report>,
    /// Configurations that were read again.
    readings: mpsc::UnboundedReceiver<Reading>,
    /// Programs that may take the place of this one.
    examined: mpsc::UnboundedReceiver<Examined>,
}

impl Driver {
    /// Until the core has nothing more to do.
    /// Errors: what the daemon cannot go on without is gone.
    async fn serve(&mut self, sources: &mut Sources) -> Result<(), Error> {
        let mut more = false;
        loop {
            more |= self.advance();
            if self.core.is_stopped() {
                return Ok(());
            }
            if let Err(error) = sources.timer.arm(self.core.poll_timeout()) {
                log::error!("cannot arm the timer: {error}");
            }
            // Until the routers begin, what is received and asked for waits.
            let begun = !self.core.is_starting();
            tokio::select! {
                biased;
                Some(signal) = sources.signals.recv(), if begun => self.signalled(signal),
                () = panics::noticed() => return Err(Error::Panicked),
                // Nothing announces what a full budget left over.
                () = std::future::ready(()), if more => {}
                result = sources.ring.readable(), if begun => {
                    if let Err(error) = result {
                        log::error!("ring buffer: {error}");
                    }
                }
                woken = self.networks.woken() => match woken {
                    Woken::Readable(Ok(())) => {}
                    Woken::Readable(Err(error)) => log::error!("packet socket: {error}"),
                    Woken::Changed(namespaces) => {
                        for namespace in namespaces {
                            self.look_at_namespace(timer::now(), namespace);
                        }
                    }
                },
                result = sources.timer.fired() => {
                    if let Err(error) = result {
                        log::error!("timer: {error}");
                    }
                }
                () = sources.clock.set() => {
                    self.clock_set();
                }
                report = self.netlink.next() => self.reported(report)?,
                Some(report) = sources.tracked.recv() => self.tracked(report),
                Some(examined) = sources.examined.recv(), if begun => {
                    self.replace(examined, &mut sources.signals).await;
                }
                Some(question) = sources.questions.recv(), if begun => self.answer(question),
                Some(found) = sources.finds.recv(), if begun => {
                    self.handle(timer::now(), Input::ScriptFound(found));
                }
                Some(reading) = sources.readings.recv() => self.read(reading),
            }
            // Timers are judged by the clock until which everything was heard, however long that takes: after a pause
            // of the process there is much to hear, and most of them mean nothing any more.
            self.listened_until = timer::boot_now();
            let now = timer::now();
            more = false;
            if begun {
                more = self.drain_ring(&mut sources.ring, now);
                more |= self.drain_raw(now);
            }
            self.handle(now, Input::Timeout);
        }
    }

    /// Hands something in, and carries out what follows from it.
    fn handle(&mut self, now: Nanos, input: Input<'_>) {
        self.core.handle(now, input);
        self.perform_all(now);
    }

    /// Hears everything that arrived until `now`: no timer may be judged by a later clock. Returns whether more may be
    /// waiting.
    fn drain_ring(&mut self, ring: &mut EventRing, now: Nanos) -> bool {
        if ring.mend() {
            self.handle(now, Input::RingMended);
        }
        ring.drain(now, |report| match report {
            Ok((event, payload)) => {
                let interface = self.datapath.places.iface(event.ifindex);
                self.handle(now, Input::Received { interface, event, payload });
            }
            Err(length) => self.handle(now, Input::Damaged { length }),
        })
    }

    /// Lets the core go on, and sends what it wants sent. Whether it is to go on without waiting.
    fn advance(&mut self) -> bool {
        loop {
            let datapath = &self.datapath;
            self.core.warm(|id| datapath.adverts_sent(id.0).unwrap_or_default());
            let now = timer::now();
            let progress = self.core.advance(now);
            self.perform_all(now);
            self.flush(now);
            self.notify_followers();
            match progress {
                Progress::Frames => {}
                Progress::More => return true,
                // Sending may have failed, and the engine wants something because of it.
                Progress::Done => {
                    // What was to be taken away with an interface has been.
                    self.datapath.places.forget_removed();
                    return self.core.wants_more();
                }
            }
        }
    }

    /// Sends what waits to be sent.
    fn flush(&mut self, now: Nanos) {
        let frames = self.core.frames();
        if frames.is_empty() {
            return;
        }
        let mut refused = Vec::new();
        self.networks.flush(frames, |place, error| refused.push((place, (&error).into())));
        // Not by the time of sending: who has claimed an address since we heard everything is not answered by it, also if
        // this process stood still before it sent.
        let stamp = self.listened_until;
        let fenced = match self.datapath.leases() {
            Some(leases) => self.core.refresh_leases(stamp, &mut refused, |id| leases.words(id.0)),
            None => Vec::new(),
        };
        let frames = self.core.frames();
        for id in frames.adverts() {
            if let Err(error) = self.datapath.count_advert(id.0) {
                log::error!("{}: {}", self.core.label(id), bpf::chain(&error));
            }
            if let Some(sequence) = self.core.signed_with(id) {
                let _ = self.datapath.note_hmac_sequence(id.0, sequence);
            }
        }
        self.core.sent(now, &refused);
        self.perform_all(now);
        for router in fenced {
            self.handle(now, Input::Fenced { router });
        }
    }

    fn signalled(&mut self, signal: SignalKind) {
        let now = timer::now();
        match signal {
            SignalKind::Terminate => {
                log::info!("SIGTERM: stopping");
                self.handle(now, Input::Stop);
            }
            SignalKind::Interrupt => {
                log::info!("SIGINT: stopping");
                self.handle(now, Input::Stop);
            }
            SignalKind::Hangup => {
                log::info!("SIGHUP: reading the configuration again");
                self.handle(now, Input::Reload { check: false, client: None });
            }
            SignalKind::User1 => log::warn!("SIGUSR1 ignored: see `vrrp-user status`"),
            SignalKind::User2 => log::warn!("SIGUSR2 ignored: see `vrrp-user stats`"),
        }
    }

    /// Hands in what the netlink thread says.
    /// Errors: it has ended, or knows nothing to begin with.
    fn reported(&mut self, report: Report) -> Result<(), Error> {
        let input = match report {
            Report::Everything(links, addresses) => Input::Listed { links, addresses },
            Report::Unknown(error) if self.core.is_starting() => return Err(error.into()),
            Report::Unknown(error) => {
                log::error!("cannot read links and addresses: {error}");
                return Ok(());
            }
            Report::Entered(namespace, entered) => {
                self.entered(namespace, entered);
                return Ok(());
            }
            Report::Events(events) => Input::Changed(events),
            Report::Answers(answers) => Input::Answered(answers),
            Report::Hooks(seen) => {
                let reports = seen.into_iter().map(|(hook, state)| {
                    let occupant = match state {
                        HookState::Lost(other) => other.map(bpf::program_name),
                        HookState::Intact | HookState::LinkRemoved | HookState::Unknown => None,
                    };
                    HookReport { hook, state, occupant }
                });
                Input::HooksSeen(reports.collect())
            }
            Report::Refused(packets) => {
                self.datapath.set_reason(Reason::NotAccepted, packets);
                return Ok(());
            }
            Report::Closed => {
                log::error!("netlink sockets closed: stopping");
                return Err(Error::NetlinkClosed);
            }
        };
        self.handle(timer::now(), input);
        // What came of answers is announced at once.
        self.flush(timer::now());
        Ok(())
    }

    /// Hands in what the threads say that watch files and processes.
    fn tracked(&mut self, report: tracked::Report) {
        let input = match report {
            tracked::Report::Health(object, health) => Input::Health { object, health },
            tracked::Report::Bad(object, why) => Input::BadTrackFile { object, why },
            tracked::Report::Complete(watch) => Input::TrackedOnce { watch },
        };
        self.handle(timer::now(), input);
    }

    /// Somebody may have set the clock.
    fn clock_set(&mut self) {
        let realtime_offset = timer::realtime_offset();
        if let Err(error) = self.datapath.set_realtime_offset(realtime_offset) {
            log::error!("{}", bpf::chain(&error));
        }
        self.handle(timer::now(), Input::ClockSet { realtime_offset });
    }

    /// Hands in a configuration that was read. Its scripts stay here until they are asked for.
    fn read(&mut self, reading: Reading) {
        let Reading { number, read, signatures } = reading;
        if let Some(signatures) = signatures {
            self.datapath.set_signatures(Some(signatures));
            let modes = self.datapath.signature_modes();
            self.handle(timer::now(), Input::SignatureModes(modes));
        }
        let read = read.map(|(prepared, plan)| {
            if number == self.reading {
                self.plan = plan;
            }
            prepared
        });
        self.handle(timer::now(), Input::ConfigurationRead { number, read: Box::new(read) });
    }

    /// Wakes those who follow the history. They ask for what is new when they get to it: nothing is kept for
    /// them, and a slow one costs nothing.
    fn notify_followers(&self) {
        if self.followed() && *self.latest.borrow() != self.core.last_event() {
            self.latest.send_replace(self.core.last_event());
        }
    }

    /// Whether anybody follows the history. One receiver is the one that the control thread clones.
    fn followed(&self) -> bool {
        self.latest.receiver_count() > 1
    }
}
