//! The sockets by which the daemon is in a network namespace: its own, and others.

use std::collections::BTreeMap;
use std::io;
use std::task::Poll;

use super::Driver;
use crate::config::model::Config;
use crate::core::netlink::Event;
use crate::core::{Input, NamespaceId, Presence, TxQueue};
use crate::engine::time::Nanos;
use crate::io::bpf::Senders;
use crate::io::netlink::{self, Entrance};
use crate::io::netns::{self, Watch};
use crate::io::raw::RawSocket;
use crate::io::timer;
use crate::io::tx::{Memberships, Tx};
use crate::io::unicast_filter::UnicastFilter;
use crate::types::netns::Netns;

/// What the daemon has open in one network namespace, besides what the thread of netlink has.
pub(super) struct Network {
    pub(super) tx: Tx,
    pub(super) memberships: Memberships,
    pub(super) unicast_filter: UnicastFilter,
    /// There as soon as an interface is captured by it.
    pub(super) raw: Option<RawSocket>,
}

impl Network {
    /// In that of this process.
    /// Errors: those of socket(2).
    fn open() -> io::Result<Self> {
        Self::with(Tx::open()?)
    }

    fn open_other() -> io::Result<Self> {
        Self::with(Tx::open_other()?)
    }

    fn with(tx: Tx) -> io::Result<Self> {
        let (memberships, unicast_filter) = (Memberships::open()?, UnicastFilter::default());
        Ok(Self { tx, memberships, unicast_filter, raw: None })
    }
}

fn no_network() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the network namespace is gone")
}

/// Another network namespace that is needed.
struct OtherNetwork {
    netns: Netns,
    /// Its sockets, as long as it is there, and its number ([`netns::number_of`]).
    open: Option<(Network, u64)>,
    /// It was not said yet whether it is there.
    unsaid: bool,
}

/// Those that the daemon is in.
pub(super) struct Networks {
    here: Network,
    others: BTreeMap<NamespaceId, OtherNetwork>,
    senders: Option<Senders>,
    watch: Watch,
}

impl Networks {
    /// That of this process.
    /// Errors: those of socket(2).
    pub(super) fn open() -> io::Result<Self> {
        let (others, watch) = (BTreeMap::new(), Watch::default());
        Ok(Self { here: Network::open()?, others, senders: None, watch })
    }

    /// The sockets in a network namespace, if it is there.
    pub(super) fn get(&self, namespace: NamespaceId) -> Option<&Network> {
        match namespace {
            NamespaceId::OWN => Some(&self.here),
            _ => Some(&self.others.get(&namespace)?.open.as_ref()?.0),
        }
    }

    /// The same.
    pub(super) fn get_mut(&mut self, namespace: NamespaceId) -> Option<&mut Network> {
        match namespace {
            NamespaceId::OWN => Some(&mut self.here),
            _ => Some(&mut self.others.get_mut(&namespace)?.open.as_mut()?.0),
        }
    }

    /// All that are there.
    pub(super) fn all(&self) -> impl Iterator<Item = (NamespaceId, &Network)> {
        let others = self.others.iter();
        let open = others.filter_map(|(id, it)| Some((*id, &it.open.as_ref()?.0)));
        [(NamespaceId::OWN, &self.here)].into_iter().chain(open)
    }

    /// By what each of them is known that has a packet socket to receive by.
    pub(super) fn with_raw(&self) -> Vec<NamespaceId> {
        self.all().filter(|(_, network)| network.raw.is_some()).map(|(id, _)| id).collect()
    }

    /// Does something with the sockets in a network namespace, in that: others that are opened are there, too.
    /// Errors: it is not there, or cannot be entered.
    pub(super) fn with<T>(
        &mut self,
        namespace: NamespaceId,
        work: impl FnOnce(&mut Network) -> T,
    ) -> io::Result<T> {
        if namespace == NamespaceId::OWN {
            return Ok(work(&mut self.here));
        }
        let network = self.get_mut(namespace).ok_or_else(no_network)?;
        let there = netns::of_socket(network.tx.packet())?;
        netns::within(there, || work(network))
    }

    /// Does something in a network namespace, for what has no socket of its own there.
    /// Errors: it is not there, or cannot be entered.
    pub(super) fn within<T>(
        &self,
        namespace: NamespaceId,
        work: impl FnOnce() -> T,
    ) -> io::Result<T> {
        if namespace == NamespaceId::OWN {
            return Ok(work());
        }
        let network = self.get(namespace).ok_or_else(no_network)?;
        netns::beside(network.tx.packet(), work)
    }

    /// Tells the kernel side by which sockets is sent, also of those that are opened later.
    pub(super) fn introduce(&mut self, senders: Option<Senders>) {
        self.senders = senders;
        self.here.tx.introduce(self.senders.clone());
        for other in self.others.values_mut() {
            if let Some((network, _)) = &mut other.open {
                network.tx.introduce(self.senders.clone());
            }
        }
    }

    /// Needs these, and no others any more: which of those that were there are closed.
    pub(super) fn need(&mut self, needed: BTreeMap<NamespaceId, Netns>) -> Vec<NamespaceId> {
        let unneeded = self.others.extract_if(.., |id, _| !needed.contains_key(id));
        let closed = unneeded.filter(|(_, it)| it.open.is_some()).map(|(id, _)| id).collect();
        for (id, netns) in needed {
            let new = || OtherNetwork { netns, open: None, unsaid: true };
            self.others.entry(id).or_insert_with(new);
        }
        let names = self.others.values().map(|other| &other.netns);
        self.watch.set(names);
        closed
    }

    /// Goes to those of a configuration, before anything else is there: what is to be said of each, and the files by which those
    /// can be entered that are there.
    pub(super) fn begin(
        &mut self,
        config: &Config,
    ) -> (Vec<(NamespaceId, Presence)>, Vec<Entrance>) {
        let needed = config.namespaces().into_iter();
        self.need(needed.map(|netns| (NamespaceId::of(Some(&netns)), netns)).collect());
        let (mut presences, mut entrances) = (Vec::new(), Vec::new());
        for id in self.needed() {
            if let Some((presence, entrance)) = self.look(id) {
                presences.push((id, presence));
                entrances.extend(entrance);
            }
        }
        (presences, entrances)
    }

    /// Looks at one that is needed: what is new about it, and the file by which it can be entered, if it has just been.
    pub(super) fn look(&mut self, id: NamespaceId) -> Option<(Presence, Option<Entrance>)> {
        let own = netns::number();
        let other = self.others.get_mut(&id)?;
        let unsaid = std::mem::take(&mut other.unsaid);
        let found = netns::open(&other.netns);
        if let (Ok(file), Some((_, number))) = (&found, &other.open)
            && netns::number_of(file) == *number
        {
            return unsaid.then_some((Presence::Present, None));
        }
        if other.open.take().is_some() {
            // Another one may have its name by now, which is looked at when this one has been forgotten.
            other.unsaid = true;
            self.watch.again(&other.netns);
            return Some((Presence::Absent, None));
        }
        let file = match found {
            Ok(file) => file,
            Err(netns::Error::Missing(_)) => return unsaid.then_some((Presence::Absent, None)),
            // `ip netns add` makes a file first.
            Err(netns::Error::Other(_)) if self.watch.may_become(&other.netns) => {
                other.unsaid = unsaid;
                return None;
            }
            Err(error) => return Some((Presence::Refused(error.to_string()), None)),
        };
        let number = netns::number_of(&file);
        let is_it = |it: &&OtherNetwork| it.open.as_ref().is_some_and(|(_, open)| *open == number);
        let twin = self.others.values().find(is_it).map(|it| it.netns.clone());
        let other = self.others.get_mut(&id)?;
        let refused = |why: String| Some((Presence::Refused(why), None));
        let netns = &other.netns;
        if number == own {
            return refused(format!(
                "{netns} is the network namespace of the daemon: name its interfaces without it"
            ));
        }
        if let Some(twin) = twin {
            return refused(format!("{netns} is the same as {twin}: use one name for it"));
        }
        match netns::enter_with(netns, &file, Network::open_other) {
            Ok(mut network) => {
                self.watch.settled(netns);
                network.tx.introduce(self.senders.clone());
                let entrance = (netns.clone(), file);
                other.open = Some((network, number));
                Some((Presence::Present, Some(entrance)))
            }
            Err(error) => refused(error.to_string()),
        }
    }

    /// One cannot be used after all, or is gone.
    pub(super) fn close(&mut self, id: NamespaceId) {
        if let Some(other) = self.others.get_mut(&id) {
            other.open = None;
        }
    }

    /// Those that are needed.
    pub(super) fn needed(&self) -> Vec<NamespaceId> {
        self.others.keys().copied().collect()
    }

    /// Sends what is queued. What the kernel refuses is reported by its place in the queue.
    pub(super) fn flush(&self, queue: &TxQueue, mut refused: impl FnMut(usize, io::Error)) {
        let mut place = 0;
        while let Some(next) = queue.get(place) {
            place = match self.get(next.iface.namespace) {
                Some(network) => network.tx.flush(queue, place, &mut refused),
                None => {
                    refused(place, io::Error::from_raw_os_error(libc::ENODEV));
                    place + 1
                }
            };
        }
    }

    /// Waits until a packet socket has something to read, or there are network namespaces to be looked at. Cancel safe.
    pub(super) async fn woken(&mut self) -> Woken {
        let Self { here, others, watch, .. } = self;
        let others = others.values().filter_map(|it| Some(&it.open.as_ref()?.0));
        let raw = [&*here].into_iter().chain(others);
        let raw: Vec<&RawSocket> = raw.filter_map(|network| network.raw.as_ref()).collect();
        let readable = std::future::poll_fn(|cx| {
            let mut ready = raw.iter().map(|raw| raw.poll_readable(cx));
            ready.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        tokio::select! {
            result = readable => Woken::Readable(result),
            names = watch.changed() => {
                Woken::Changed(names.iter().map(|netns| NamespaceId::of(Some(netns))).collect())
            }
        }
    }
}

/// What [`Networks::woken`] has waited for.
pub(super) enum Woken {
    /// There is something to read, or why nobody can wait for it.
    Readable(io::Result<()>),
    /// These are to be looked at.
    Changed(Vec<NamespaceId>),
}

impl Driver {
    /// Is in the network namespaces that are needed, as far as they are there, and in no others.
    pub(super) fn need_namespaces(&mut self, now: Nanos, needed: BTreeMap<NamespaceId, Netns>) {
        for closed in self.networks.need(needed) {
            self.netlink.leave(closed);
        }
        for id in self.networks.needed() {
            self.look_at_namespace(now, id);
        }
    }

    /// Looks whether a network namespace has come or gone.
    pub(super) fn look_at_namespace(&mut self, now: Nanos, namespace: NamespaceId) {
        let Some((presence, entrance)) = self.networks.look(namespace) else { return };
        match (presence, entrance) {
            // It is there as soon as it is known what is in it.
            (_, Some((netns, file))) => self.netlink.enter(&netns, file),
            (presence, None) => {
                let is_here = presence == Presence::Present;
                self.handle(now, Input::Namespace { namespace, presence });
                if !is_here {
                    self.netlink.leave(namespace);
                }
            }
        }
    }

    /// The thread of netlink is in a network namespace, or cannot be.
    pub(super) fn entered(
        &mut self,
        namespace: NamespaceId,
        entered: Result<Vec<Event>, netlink::Error>,
    ) {
        let now = timer::now();
        // It may be gone, or not needed any more, by now.
        if self.networks.get(namespace).is_none() {
            return;
        }
        match entered {
            Ok(events) => {
                let presence = Presence::Present;
                self.handle(now, Input::Namespace { namespace, presence });
                self.handle(now, Input::Changed(events));
            }
            Err(error) => {
                let presence = Presence::Refused(error.to_string());
                self.handle(now, Input::Namespace { namespace, presence });
                self.networks.close(namespace);
            }
        }
    }
}
