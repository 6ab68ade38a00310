//! Carrying out what the core wants.

use std::sync::{Arc, PoisonError};
use std::thread;
use std::{fs, io};

use vrrp_common::maps::hmac;

use super::networks::Network;
use super::start::be_on_time;
use super::{Driver, Reading, reload};
use crate::api::error::ErrorKind;
use crate::capture::{CaptureMode, Failure};
use crate::config::model::{InitFile, TrackFile, TrackProcess};
use crate::config::socket::SocketAccess;
use crate::control::access::Access;
use crate::core::{
    AttachMethod, Counter, Effect, Errno, Input, InterfaceId, LeaseChange, NamespaceId, TestFrame,
};
use crate::engine::time::Nanos;
use crate::engine::types::{ObjectId, RouterId};
use crate::io::raw::RawSocket;
use crate::io::scripts::Scripts;
use crate::io::tracked::{files, processes};
use crate::io::unicast_filter::UnicastFilter;
use crate::io::{bpf, descriptors, handover, memory, sched, timer};
use crate::metrics::http;
use crate::types::{self, build};

impl Driver {
    /// Carries out everything that is to be done, in its order, and hands in the answers; `now` is what they are judged by.
    pub(super) fn perform_all(&mut self, now: Nanos) {
        while let Some(effect) = self.core.poll_effect() {
            self.perform(now, effect);
        }
    }

    /// Changes the lease of a router, where there is anybody who goes by it.
    fn lease(&self, router: RouterId, change: LeaseChange) {
        let Some(leases) = self.datapath.leases() else { return };
        change.apply(&leases.words(router.0), timer::in_boot_time);
    }

    pub(super) fn count(&mut self, counter: Counter) {
        if let Err(error) = self.datapath.count(counter as u32) {
            log::error!("{}", bpf::chain(&error));
        }
    }

    fn perform(&mut self, now: Nanos, effect: Effect) {
        match effect {
            Effect::Namespaces(needed) => self.need_namespaces(now, needed),
            Effect::Netlink(ask) => self.netlink.ask(ask),
            Effect::Look(look) => self.netlink.look(look),
            Effect::Attach { interface, name, number, way, spare } => {
                let result = self.attach(interface, &name, number, way, spare);
                let at = self.datapath.places.number(interface);
                let result = result.map(|()| self.datapath.hooks(at));
                // That took its time, and nobody listened before.
                self.core.handle(timer::now(), Input::Attached { interface, number, result });
            }
            Effect::ReleaseEgress { why } => self.datapath.release_egress(&why),
            Effect::Detach { interface } => {
                let Some(at) = self.datapath.places.find(interface) else { return };
                if let Err(error) = self.detach(interface.namespace, at) {
                    log::debug!("interface {interface}: {}", bpf::chain(&error));
                }
            }
            Effect::ForgetInterface { interface } => {
                let Some(at) = self.datapath.places.find(interface) else { return };
                let done = self.datapath.vips.release_interface(at);
                log_error(done, || format!("interface {interface} is gone"));
                self.datapath.places.removed(interface);
            }
            Effect::MendEgress { interface, name, attach } => {
                let at = self.datapath.places.number(interface);
                // One that is put back takes no more descriptors.
                let takes_one = attach && self.datapath.hooks(at).egress.is_none();
                let result = match descriptors::shortage(1).filter(|_| takes_one) {
                    Some(shortage) => Err(shortage),
                    None => {
                        let Self { datapath, networks, .. } = self;
                        let (_, name) = types::netns::split(&name);
                        let mended = networks.within(interface.namespace, || {
                            datapath.mend_egress(at, name, attach);
                        });
                        log_io(mended, || format!("interface {interface}"));
                        Ok(self.datapath.hooks(at).egress)
                    }
                };
                // That took its time, too.
                self.core.handle(timer::now(), Input::EgressMended { interface, result });
            }
            Effect::SetRouter { router, key, entry } => {
                let namespace = key.iface.namespace;
                let key = key.key(self.datapath.places.number(key.iface));
                let done = self.datapath.set_router(&key, &entry);
                self.log_failure(router, done);
                if entry.hmac & hmac::AH != 0
                    && let Err(error) =
                        self.networks.with(namespace, |it| it.memberships.hold_ah()).flatten()
                {
                    log::warn!("{}: IP protocol 51: {error}", self.core.label(router));
                }
            }
            Effect::RemoveRouter { router, key } => {
                let Some(at) = self.datapath.places.find(key.iface) else { return };
                let done = self.datapath.remove_router(&key.key(at));
                self.log_failure(router, done);
            }
            Effect::ClearRouter(router) => {
                let done = self.datapath.clear(router.0);
                self.log_failure(router, done);
            }
            Effect::ForgetPeers(gone) => {
                let gone = |slot| gone.binary_search(&RouterId(slot)).is_ok();
                let done = self.datapath.forget_peers(gone);
                log_error(done, || "peers of routers that are gone".to_owned());
            }
            Effect::CountAddress { router, at, virtual_mac } => {
                let there = self.datapath.places.address(at);
                let done = self.datapath.vips.add(&there, router.0, virtual_mac);
                log_error(done, || {
                    format!("{}: counters of {}", self.core.label(router), at.address)
                });
            }
            Effect::UncountAddress { router, at } => {
                let Some(there) = self.datapath.places.find_address(at) else { return };
                let done = self.datapath.vips.remove(&there);
                log_error(done, || {
                    format!("{}: counters of {}", self.core.label(router), at.address)
                });
            }
            Effect::HoldAddress { at, held } => {
                let there = self.datapath.places.address(at);
                let done = self.datapath.vips.hold(&there, &held);
                log_error(done, || format!("{}: not watched", self.core.describe(at)));
            }
            Effect::ReleaseAddress { at } => {
                let Some(there) = self.datapath.places.find_address(at) else { return };
                let done = self.datapath.vips.release(&there);
                log_error(done, || format!("{}: still watched", self.core.describe(at)));
            }
            Effect::Allow { router, peer, range } => {
                let done = self.datapath.allow(router.0, peer, range);
                log_error(done, || format!("{}: {peer} is not heard", self.core.label(router)));
            }
            Effect::Disallow { router, peer } => {
                let done = self.datapath.disallow(router.0, peer);
                log_error(done, || format!("{}: {peer} is still heard", self.core.label(router)));
            }
            Effect::SetHmacKey { router, id, key } => {
                let done = self.datapath.set_hmac_key(router.0, id, key);
                log_error(done, || format!("{}: key {id} is not used", self.core.label(router)));
            }
            Effect::RemoveHmacKey { router, id } => {
                let done = self.datapath.remove_hmac_key(router.0, id);
                log_error(done, || format!("{}: key {id} is still used", self.core.label(router)));
            }
            Effect::Acknowledge { router, digest } => {
                let done = self.datapath.set_ack(router.0, digest);
                self.log_failure(router, done);
            }
            Effect::SetFilter { router, filter } => {
                let done = self.datapath.set_filter(router.0, filter);
                self.log_failure(router, done);
                // What arrives from now on is judged by it.
                self.core.handle(timer::now(), Input::FilterSet { router });
            }
            Effect::Lease { router, change } => self.lease(router, change),
            Effect::QueryLastSeen(routers) => {
                self.refresh_last_seen(routers);
                // They are reset by each look.
                let raw = self.networks.all().filter_map(|(_, network)| network.raw.as_ref());
                let lost = raw.map(|socket| u64::from(socket.dropped())).sum();
                self.core.handle(now, Input::LastSeenEnd { lost });
            }
            Effect::Publish { router, change } => {
                let Self { datapath, .. } = self;
                let mut places = std::mem::take(&mut datapath.places);
                let done = datapath.update_info(router.0, |info| {
                    change.apply(info, |iface| places.number(iface));
                });
                datapath.places = places;
                self.log_failure(router, done);
            }
            Effect::Count(counter) => self.count(counter),
            Effect::Join { router, interface, group } => {
                let joined = self.networks.with(interface.namespace, |network| {
                    network.memberships.join(interface.ifindex, group)
                });
                if let Err(error) = joined.flatten() {
                    let place = self.core.label(router);
                    log::warn!(
                        "{place}: cannot join the group {group}: {error}; multicast may not arrive"
                    );
                }
            }
            Effect::Leave { interface, group } => {
                if let Some(network) = self.networks.get_mut(interface.namespace) {
                    let wanted = |joined| group.is_some_and(|group| joined != group);
                    network.memberships.leave(interface.ifindex, wanted);
                }
            }
            Effect::SetVirtualMac { router, interface, mac } => {
                let at = self.datapath.places.number(interface);
                let done = self.datapath.set_virtual_mac(at, mac, router.0);
                self.log_failure(router, done);
            }
            Effect::RemoveVirtualMac { router, interface, mac } => {
                let Some(at) = self.datapath.places.find(interface) else { return };
                let done = self.datapath.remove_virtual_mac(at, mac, router.0);
                self.log_failure(router, done);
            }
            Effect::AddUnicastMac { interface, mac, filter } => {
                if let Err(error) =
                    self.unicast_filter(interface, |it, ifindex| it.add(ifindex, mac, filter))
                {
                    log::error!(
                        "interface {interface}: frames to a virtual MAC address may not arrive: {error}"
                    );
                }
            }
            Effect::RemoveUnicastMac { interface, mac, filter } => {
                if let Err(error) =
                    self.unicast_filter(interface, |it, ifindex| it.remove(ifindex, mac, filter))
                {
                    log::debug!("interface {interface}: a virtual MAC address stays: {error}");
                }
            }
            Effect::ReadForwarding { interface, name } => {
                // A value that the kernel keeps in memory, readable without a lock that anybody holds for long.
                let (_, name) = types::netns::split(&name);
                let path = format!("/proc/sys/net/ipv6/conf/{name}/forwarding");
                let value = self.networks.within(interface.namespace, || fs::read_to_string(path));
                let value = value.and_then(|value| value);
                let on = value.is_ok_and(|value| !matches!(value.trim(), "0" | ""));
                self.core.handle(now, Input::Forwards { interface, on });
            }
            Effect::SendTest { router, frames } => {
                let sent = frames.iter().try_for_each(|TestFrame { iface, to, bytes }| {
                    let network = self.networks.get(iface.namespace);
                    let network = network.ok_or(io::Error::from_raw_os_error(libc::ENODEV))?;
                    match to {
                        Some(to) => network.tx.send_ip(iface.ifindex, *to, bytes),
                        None => network.tx.send_frame(iface.ifindex, bytes),
                    }
                });
                let error = sent.err().as_ref().map(Errno::from);
                self.core.handle(now, Input::TestSent { router, error });
            }
            Effect::Notify(event) => {
                if let Some(scripts) = &self.scripts {
                    scripts.notify(event);
                }
            }
            Effect::TakeScripts => self.take_scripts(),
            Effect::Watch { number, files, processes } => {
                self.watch(number, files, processes);
            }
            Effect::Started => {
                self.end_migration();
                for (name, order) in handover::take_orders() {
                    match self.core.order(now, now, &name, order) {
                        Some(Ok(done)) => log::info!("as ordered before: {done}"),
                        Some(Err(why)) => log::warn!("not as ordered before: {why}"),
                        None => {}
                    }
                }
                self.started();
            }
            Effect::NotifyManager(message) => {
                if !self.service.notify(message) {
                    self.core.handle(now, Input::NotDelivered(message));
                }
            }
            Effect::ReadConfiguration { number, running } => {
                self.read_configuration(number, running);
            }
            Effect::ReloadEnded { client, report } => {
                if !report.check {
                    self.board.set_reload(now, report.applied);
                }
                if let Some(client) = client.and_then(|client| self.clients.remove(&client)) {
                    // Who asked may have lost patience.
                    let _ = client.send(*report);
                }
            }
            Effect::Discard => throw_away(self.core.take_discarded()),
            Effect::ServeMetrics(listen) => {
                let before = self.server.take();
                let sources = http::Sources {
                    maps: self.datapath.maps().clone(),
                    board: Arc::clone(&self.board),
                    problems: Arc::clone(&self.problems),
                };
                match http::start(listen, sources, before) {
                    Ok(server) => self.server = server,
                    Err(error) => {
                        log::error!("cannot start the metrics thread: {error}");
                        self.core.handle(now, Input::NotServed);
                    }
                }
            }
            Effect::GrantAccess(control) => self.grant_access(control),
            Effect::Schedule(scheduling) => {
                let scheduling = be_on_time(scheduling);
                self.netlink.reschedule(scheduling.below());
            }
            Effect::GiveMemoryBack => {
                self.end_adoption();
                // All groups are joined by now.
                handover::release();
                give_memory_back();
            }
            Effect::MendPins => self.mend_pins(now),
            Effect::Stopped => {}
        }
    }

    fn log_failure(&self, router: RouterId, done: Result<(), bpf::Error>) {
        log_error(done, || self.core.label(router));
    }

    fn attach(
        &mut self,
        interface: InterfaceId,
        name: &str,
        number: u64,
        way: AttachMethod,
        spare: bool,
    ) -> Result<(), Failure> {
        if spare && let Some(shortage) = descriptors::shortage(1) {
            return Err(Failure::Descriptors(shortage));
        }
        let (_, name) = types::netns::split(name);
        let place = self.datapath.places.place(interface);
        let Self { datapath, networks, .. } = self;
        let refused = |error: io::Error| Failure::Refused(error.to_string());
        if way == AttachMethod::Mode(CaptureMode::Raw) {
            let opened = networks.with(interface.namespace, |network| {
                if network.raw.is_none() {
                    network.raw = Some(RawSocket::open(timer::now())?);
                }
                Ok(())
            });
            let refused = |error| Failure::Refused(format!("cannot use a packet socket: {error}"));
            opened.flatten().map_err(refused)?;
        }
        let attached = networks.within(interface.namespace, || match way {
            AttachMethod::Restore => datapath.restore(place.number, name, number),
            AttachMethod::Mode(mode) => datapath.attach(place, name, mode, number),
        });
        attached.map_err(refused)?
    }

    /// Detaches the programs from an interface.
    fn detach(&mut self, namespace: NamespaceId, number: u32) -> Result<(), bpf::Error> {
        let Self { datapath, networks, .. } = self;
        // Filters are found by the name of their interface.
        match networks.within(namespace, || ()) {
            Ok(()) => networks.within(namespace, || datapath.detach(number)).unwrap_or(Ok(())),
            // With the network namespace they have gone.
            Err(_) => datapath.detach(number),
        }
    }

    /// Does something with the Ethernet addresses to which an interface takes in frames.
    fn unicast_filter(
        &mut self,
        interface: InterfaceId,
        work: impl FnOnce(&mut UnicastFilter, u32) -> io::Result<()>,
    ) -> io::Result<()> {
        let work = |network: &mut Network| work(&mut network.unicast_filter, interface.ifindex);
        self.networks.with(interface.namespace, work).flatten()
    }

    fn take_scripts(&mut self) {
        let mut plan = std::mem::take(&mut self.plan);
        self.board.set_disabled(std::mem::take(&mut plan.disabled));
        match &self.scripts {
            Some(scripts) => scripts.reconfigure(plan),
            None if plan.is_empty() => {}
            None => match Scripts::start(plan, Arc::clone(&self.board), self.found.clone()) {
                Ok(scripts) => {
                    // The startup script belongs to the start of the daemon; this lets the rest begin.
                    scripts.begin_without_startup();
                    self.scripts = Some(scripts);
                }
                Err(error) => log::error!("cannot start the thread of the scripts: {error}"),
            },
        }
    }

    fn watch(
        &mut self,
        number: u64,
        files: Vec<(ObjectId, TrackFile, Option<InitFile>)>,
        processes: Vec<(ObjectId, TrackProcess)>,
    ) {
        // First the end of the old ones, so that they say nothing behind the new ones.
        self.watches = [None, None];
        let reports = || self.tracked.clone();
        let files = (!files.is_empty()).then(|| {
            let files = files.into_iter().map(|(object, file, init)| files::Tracked {
                object,
                path: file.path,
                init,
            });
            files::watch(number, files.collect(), reports())
        });
        let processes =
            (!processes.is_empty()).then(|| processes::watch(number, processes, reports()));
        for (watch, started) in self.watches.iter_mut().zip([files, processes]) {
            match started.transpose() {
                Ok(started) => *watch = started,
                Err(error) => {
                    log::error!("cannot watch what is tracked: {error}");
                    self.not_watched = Some(error);
                }
            }
        }
    }

    fn started(&self) {
        if handover::version().is_some() && build::pretence().is_some_and(|it| it.crashes) {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        }
        if let Err(error) = memory::give_back() {
            log::info!(
                "memory is not locked: {error} (CAP_IPC_LOCK or RLIMIT_MEMLOCK would permit it)"
            );
        }
        let count = self.core.ids().count();
        log::info!(
            "instance {}: {count} virtual router{} from {}",
            self.instance,
            if count == 1 { "" } else { "s" },
            self.config_path.display()
        );
    }

    fn read_configuration(&mut self, number: u64, running: usize) {
        self.reading = number;
        memory::unlock();
        let (path, mut settings) = (self.config_path.clone(), self.settings.clone());
        settings.options.running = Some(running);
        let (sender, loader) = (self.readings.clone(), self.datapath.signature_loader());
        let work = move || {
            sched::behind_everything();
            let read = reload::read(&path, &settings);
            let is_signed = read.as_ref().is_ok_and(|(prepared, _)| prepared.config.is_signed());
            let signatures = loader.filter(|_| is_signed).map(|loader| loader.load());
            // Nobody waits any more when the daemon stops.
            let _ = sender.send(Reading { number, read, signatures });
        };
        if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(work) {
            let error = ErrorKind::ReaderFailed.because(format!("cannot start a thread: {error}"));
            let read = Err(error.into());
            let _ = self.readings.send(Reading { number, read, signatures: None });
        }
    }

    /// Gives the control socket its new mode and group: on another thread, as groups may be looked up far away.
    fn grant_access(&self, control: SocketAccess) {
        let (socket, access) = (self.instance.socket(), Arc::clone(&self.access));
        let work = move || {
            let granted = Access::grant(&socket, &control);
            let mut access = access.lock().unwrap_or_else(PoisonError::into_inner);
            match granted {
                Ok(granted) => *access = granted,
                Err(error) => {
                    log::error!("control socket: {error}");
                    access.set_settings(control);
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(work) {
            log::error!("control socket: cannot start a thread: {error}");
        }
    }
}

fn give_memory_back() {
    match memory::give_back() {
        Ok(()) => log::debug!("gave memory back"),
        Err(error) => log::debug!("gave memory back, and it is not locked: {error}"),
    }
}

/// Frees memory on another thread, which may be long after all was locked again where the machine is busy.
fn throw_away(what: impl Send + 'static) {
    let work = move || {
        sched::behind_everything();
        memory::unlock();
        drop(what);
        give_memory_back();
    };
    if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(work) {
        log::debug!("cannot start a thread: {error}");
    }
}

/// The same.
fn log_io(done: io::Result<()>, what: impl FnOnce() -> String) {
    if let Err(error) = done {
        log::error!("{}: {error}", what());
    }
}

/// Logs what went wrong, and with what.
fn log_error(done: Result<(), bpf::Error>, what: impl FnOnce() -> String) {
    if let Err(error) = done {
        log::error!("{}: {}", what(), bpf::chain(&error));
    }
}
