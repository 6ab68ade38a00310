//! The kernel side in ordinary memory: what the programs decide ([`crate::receive`], [`crate::claims`]) runs on a host, for
//! simulations of whole daemons, and for tests in which threads take the place of CPUs.
//!
//! [`Host`] is what the programs of one host and its daemon share, with the methods that the daemon has for the real maps;
//! each [`Cpu`] receives one frame after the other. Words are read and written in no order that others could rely on, as
//! on the real thing.
//!
//! What programs do besides is not here: no traffic is counted, no samples are kept, and all frames are in the memory of
//! the host.
//!
//! ```
//! use vrrp_common::host::Host;
//!
//! let host = Host::new(1, 0x5eed);
//! // set_router, set_filter; then, for each frame that arrives, on one of its CPUs:
//! let reason = host.cpu().receive(1_000_000_000, 2, &[0; 60]);
//! assert_eq!((reason, host.next_report()), (None, None));
//! ```

extern crate std;

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::boxed::Box;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::vec::Vec;

use bytemuck::Pod;

use crate::VRRP_HEADER_LEN;
use crate::ah;
use crate::claims;
use crate::event::RxEvent;
use crate::maps::{
    BUDGETS_PER_ROUTER, Held, Lease, PeerCounters, PeerKey, RING_BYTES, RouterEntry, RouterKey,
    SLOT_ACK, SLOT_FILTER, SLOT_MASTER_SEEN, Slot, TtlRange, VirtualMacKey,
};
use crate::parse::{self, Address, Load, Packet, V6};
use crate::reason::{Reason, ReasonSet};
use crate::receive::{self, Datapath, Routers};
use crate::report::{self, MasterSeen, ReportFilter};
use crate::shared::SharedWords;
use crate::virtual_mac;

/// Reports that wait for the daemon, until [`Host::set_room`] says otherwise: as many short ones as the ring buffer of a
/// small host has room for.
const ROOM: usize = RING_BYTES as usize / 128;

/// A report, and what is behind it: the message that was accepted, the header of one that was refused, or the Ethernet
/// address of a claim.
pub type Report = (RxEvent, Vec<u8>);

/// Interface, family and address.
type HeldKey = (u32, u8, [u8; 16]);

/// A value of 64-bit words in memory that threads share.
#[derive(Clone, Debug)]
pub struct Words(Arc<[AtomicU64]>);

impl Words {
    fn of<T: Pod>(value: &T) -> Self {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let words = bytemuck::bytes_of(value).as_chunks().0.iter();
        Self(words.map(|word| AtomicU64::new(u64::from_ne_bytes(*word))).collect())
    }

    /// All words, each as it is when its turn comes.
    pub fn get<T: Pod>(&self) -> T {
        let words: Vec<u64> = self.0.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words))
    }

    /// Others, which are as these are now: what is asked of them changes nothing.
    pub fn copy(&self) -> Self {
        Self(self.0.iter().map(|word| word.load(Ordering::Relaxed).into()).collect())
    }

    fn set<T: Pod>(&self, value: &T) {
        let words = bytemuck::bytes_of(value).as_chunks().0.iter();
        for (word, shared) in words.zip(self.0.iter()) {
            shared.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
    }
}

impl SharedWords for Words {
    fn load<const AT: usize>(&self) -> u64 {
        self.0[AT / 8].load(Ordering::Relaxed)
    }

    fn store<const AT: usize>(&self, word: u64) {
        self.0[AT / 8].store(word, Ordering::Relaxed);
    }

    fn increment<const AT: usize>(&self) {
        self.0[AT / 8].fetch_add(1, Ordering::Relaxed);
    }
}

/// The maps of one host.
#[derive(Debug)]
pub struct Host {
    key: u64,
    routers: RwLock<HashMap<RouterKey, RouterEntry>>,
    virtual_macs: RwLock<HashMap<VirtualMacKey, u32>>,
    allowed: RwLock<HashMap<PeerKey, TtlRange>>,
    held: RwLock<HashMap<HeldKey, Words>>,
    peers: RwLock<HashMap<PeerKey, Words>>,
    slots: Box<[Words]>,
    leases: Box<[Words]>,
    budgets: Box<[Words]>,
    reported: Mutex<HashMap<[u64; 3], u64>>,
    refusals: Words,
    reports: Mutex<VecDeque<Report>>,
    room: AtomicUsize,
    reasons: [AtomicU64; Reason::COUNT],
}

impl Host {
    /// A host with slots for so many routers. `key` is what [`Datapath::key`] asks for.
    pub fn new(routers: u32, key: u64) -> Self {
        let words = |count: u32| (0..count).map(|_| Words::of(&0_u64)).collect();
        Self {
            key,
            routers: RwLock::default(),
            virtual_macs: RwLock::default(),
            allowed: RwLock::default(),
            held: RwLock::default(),
            peers: RwLock::default(),
            slots: (0..routers).map(|_| Words::of(&Slot::default())).collect(),
            leases: (0..routers).map(|_| Words::of(&Lease::default())).collect(),
            budgets: words(routers.saturating_mul(BUDGETS_PER_ROUTER)),
            reported: Mutex::default(),
            refusals: Words::of(&0_u64),
            reports: Mutex::default(),
            room: AtomicUsize::new(ROOM),
            reasons: [const { AtomicU64::new(0) }; Reason::COUNT],
        }
    }

    /// A CPU that receives frames on this host. Several may at once, each on a thread of its own.
    pub fn cpu(&self) -> Cpu<'_> {
        Cpu { host: self, refused: [0; VRRP_HEADER_LEN], last_reported: ([0; 3], 0) }
    }

    /// Configures a router, or replaces its entry.
    pub fn set_router(&self, key: RouterKey, entry: RouterEntry) {
        write(&self.routers).insert(key, entry);
    }

    /// Takes a router away; nothing happens where there is none.
    pub fn remove_router(&self, key: &RouterKey) {
        write(&self.routers).remove(key);
    }

    /// A router has a virtual MAC address on an interface.
    pub fn set_virtual_mac(&self, ifindex: u32, mac: [u8; 6], slot: u32) {
        let key = VirtualMacKey::new(ifindex, mac);
        write(&self.virtual_macs).insert(key, slot);
    }

    /// It has it no more.
    pub fn remove_virtual_mac(&self, ifindex: u32, mac: [u8; 6], slot: u32) {
        let key = VirtualMacKey::new(ifindex, mac);
        write(&self.virtual_macs).retain(|other, of| *other != key || *of != slot);
    }

    /// Takes all routers away but these.
    pub fn retain_routers(&self, retained: impl Fn(&RouterKey, &RouterEntry) -> bool) {
        write(&self.routers).retain(|key, entry| retained(key, entry));
    }

    /// Lets a router with [`crate::maps::transport::PEERS`] hear a peer.
    pub fn allow(&self, peer: PeerKey, range: TtlRange) {
        write(&self.allowed).insert(peer, range);
    }

    /// Ends that.
    pub fn disallow(&self, peer: &PeerKey) {
        write(&self.allowed).remove(peer);
    }

    /// Watches for claims of others to an address that is held as master now.
    pub fn hold<A: Address>(&self, ifindex: u32, address: A, held: Held) {
        let key = (ifindex, A::FAMILY, address.to_field());
        write(&self.held).insert(key, Words::of(&held));
    }

    /// Ends that.
    pub fn release<A: Address>(&self, ifindex: u32, address: A) {
        write(&self.held).remove(&(ifindex, A::FAMILY, address.to_field()));
    }

    /// What is known of a router; zeros past the end.
    pub fn slot(&self, index: u32) -> Slot {
        self.words(index).map(Words::get).unwrap_or_default()
    }

    /// Makes a slot ready for another router.
    pub fn clear(&self, index: u32) {
        if let Some(slot) = self.words(index) {
            slot.set(&Slot::default());
        }
    }

    /// The lease of a router, for the functions of [`crate::lease`]; `None` past the end.
    pub fn lease(&self, index: u32) -> Option<&Words> {
        self.leases.get(usize::try_from(index).ok()?)
    }

    /// Acknowledges the advertisement with this [`RxEvent::digest`]; 0 for none.
    pub fn set_ack(&self, index: u32, digest: u64) {
        if let Some(slot) = self.words(index) {
            slot.store::<SLOT_ACK>(digest);
        }
    }

    /// Says which advertisements can change anything. What arrives after the return is judged by this filter.
    pub fn set_filter(&self, index: u32, filter: ReportFilter) {
        if let Some(slot) = self.words(index) {
            slot.store::<SLOT_FILTER>(filter.pack());
            core::sync::atomic::fence(Ordering::SeqCst);
        }
    }

    /// The last advertisement of the master in the filter; `None` for never.
    pub fn master_seen(&self, index: u32) -> Option<MasterSeen> {
        MasterSeen::unpack(self.words(index)?.load::<SLOT_MASTER_SEEN>())
    }

    /// What stands for an address, as [`Address::to_field`] has it, in a [`ReportFilter`].
    pub fn source_tag(&self, source: [u8; 16]) -> u32 {
        report::source_tag(self.key, source)
    }

    /// What is known of a source.
    pub fn peer(&self, key: &PeerKey) -> Option<PeerCounters> {
        read(&self.peers).get(key).map(Words::get)
    }

    /// How many packets were counted for a reason.
    pub fn count(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize].load(Ordering::Relaxed)
    }

    /// How many reports may wait for the daemon; more are lost, and counted ([`Reason::RingFull`]).
    pub fn set_room(&self, reports: usize) {
        self.room.store(reports, Ordering::Relaxed);
    }

    /// The oldest report that the daemon has not taken yet.
    pub fn next_report(&self) -> Option<Report> {
        lock(&self.reports).pop_front()
    }

    fn words(&self, index: u32) -> Option<&Words> {
        self.slots.get(usize::try_from(index).ok()?)
    }

    fn submit(&self, event: &RxEvent, payload: &[u8]) -> bool {
        let mut reports = lock(&self.reports);
        let has_room = reports.len() < self.room.load(Ordering::Relaxed);
        if has_room {
            reports.push_back((*event, payload.to_vec()));
        }
        has_room
    }
}

/// Who receives frames on a [`Host`].
#[derive(Debug)]
pub struct Cpu<'a> {
    host: &'a Host,
    refused: [u8; VRRP_HEADER_LEN],
    last_reported: ([u64; 3], u64),
}

impl Cpu<'_> {
    /// Receives an Ethernet frame on an interface at a time, nanoseconds of the host's `CLOCK_MONOTONIC`. The reason for its
    /// verdict ([`Reason::verdict`]); `None` for a frame that passes because it is no concern of VRRP.
    pub fn receive(&mut self, now: u64, ifindex: u32, frame: &[u8]) -> Option<Reason> {
        let host = self.host;
        let mut path = Path { cpu: self, now, ifindex, frame, summed: &[] };
        let reason = path.classify()?;
        host.reasons[reason as usize].fetch_add(1, Ordering::Relaxed);
        Some(reason)
    }

    /// What a frame to another Ethernet address than that of its interface is, if that is a virtual one.
    pub fn arriving(&mut self, now: u64, ifindex: u32, frame: &[u8; 14]) -> Option<Reason> {
        let [a, b, c, d, e, f, ..] = *frame;
        let path = Path { cpu: self, now, ifindex, frame, summed: &[] };
        let mac = [a, b, c, d, e, f];
        match path.virtual_mac_slot(mac) {
            Some(slot) => Some(virtual_mac::arriving(&path, slot)),
            None => virtual_mac::router_of(mac).map(|_| Reason::VirtualMacUnknown),
        }
    }

    /// What is wrong with a frame from a virtual MAC address that is no advertisement.
    pub fn sent_from(&mut self, now: u64, ifindex: u32, frame: &[u8]) -> Option<Reason> {
        let source = *frame.get(6..)?.first_chunk()?;
        let path = Path { cpu: self, now, ifindex, frame, summed: &[] };
        let slot = path.virtual_mac_slot(source)?;
        if !virtual_mac::is_ours(&path, slot) {
            return None;
        }
        let is_echo =
            virtual_mac::is_arp_echo(&path, slot) || virtual_mac::is_ndisc_echo(&path, slot);
        Some(if is_echo { Reason::VirtualMacEcho } else { Reason::VirtualMacSource })
    }
}

/// A frame on its way through a CPU.
struct Path<'a, 'b> {
    cpu: &'a mut Cpu<'b>,
    now: u64,
    ifindex: u32,
    frame: &'a [u8],
    summed: &'a [u8],
}

impl Path<'_, '_> {
    fn classify(&mut self) -> Option<Reason> {
        if let Some(packet) = parse::ipv4(&self.frame) {
            if ah::is_vrrp(&self.frame, &packet) {
                let reason = Reason::from_index(ah::receive(self, &packet))?;
                return Some(self.refuse(&packet, reason));
            }
            return packet.is_vrrp().then(|| self.vrrp(&packet));
        }
        if let Some(packet) = parse::ipv6(&self.frame) {
            if packet.is_vrrp() {
                return Some(self.vrrp(&packet));
            }
            let Some(chain) = parse::chain(&self.frame, packet.offset, packet.protocol) else {
                return claims::by_ndisc(self, &packet);
            };
            let packet = Packet::<V6> { extensions: chain.extensions, ..packet };
            let accepted = chain.reason == Reason::Accepted;
            return Some(if accepted {
                self.vrrp(&packet)
            } else {
                self.refuse(&packet, chain.reason)
            });
        }
        let sender = parse::arp_sender(&self.frame)?;
        let held = claims::contested(self, sender.address, sender.mac)?;
        let claim = Reason::ArpConflict;
        claims::claim(self, &held, sender.address, sender.mac, claim).then_some(claim)
    }

    fn vrrp<A: Address>(&mut self, packet: &Packet<A>) -> Reason {
        let index = receive::receive(self, packet);
        match Reason::from_index(index) {
            Some(reason) => self.refuse(packet, reason),
            // There is no other number.
            None => Reason::Truncated,
        }
    }

    /// Tells of a packet if its reason is a refusal.
    fn refuse<A: Address>(&mut self, packet: &Packet<A>, reason: Reason) -> Reason {
        if ReasonSet::LOGGED.contains(reason.index()) {
            receive::report_refusal(self, packet, reason.index(), self.now);
        }
        reason
    }
}

impl Load for Path<'_, '_> {
    fn frame_len(&self) -> usize {
        self.frame.len()
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.frame.load(offset)
    }

    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.frame.load(offset)
    }

    fn sum(&mut self, offset: usize, len: usize) -> Option<u32> {
        let mut frame = self.frame;
        let sum = frame.sum(offset, len)?;
        self.summed = frame.get(offset..)?.get(..len)?;
        Some(sum)
    }
}

impl Path<'_, '_> {
    /// The number of the router that has this virtual MAC address.
    fn virtual_mac_slot(&self, mac: [u8; 6]) -> Option<u32> {
        let key = VirtualMacKey::new(self.ifindex, mac);
        read(&self.cpu.host.virtual_macs).get(&key).copied()
    }
}

impl Routers for Path<'_, '_> {
    type Entry = RouterEntry;

    fn router(&self, key: &RouterKey) -> Option<RouterEntry> {
        read(&self.cpu.host.routers).get(key).copied()
    }

    fn allowed(&self, peer: &PeerKey) -> Option<TtlRange> {
        read(&self.cpu.host.allowed).get(peer).copied()
    }
}

impl Datapath for Path<'_, '_> {
    type Value<T: Pod> = Words;

    fn now(&self) -> u64 {
        self.now
    }

    /// A host that is never suspended.
    fn boot_now(&self) -> u64 {
        self.now
    }

    fn lease(&self, index: u32) -> Option<Words> {
        self.cpu.host.lease(index).cloned()
    }

    fn ifindex(&self) -> u32 {
        self.ifindex
    }

    fn key(&self) -> u64 {
        self.cpu.host.key
    }

    fn slot(&self, index: u32) -> Option<Words> {
        self.cpu.host.words(index).cloned()
    }

    fn budget(&self, index: u32) -> Option<Words> {
        self.cpu.host.budgets.get(usize::try_from(index).ok()?).cloned()
    }

    fn peer(&self, key: &PeerKey) -> Option<Words> {
        read(&self.cpu.host.peers).get(key).cloned()
    }

    fn add_peer(&self, key: &PeerKey, counters: &PeerCounters) {
        write(&self.cpu.host.peers).entry(*key).or_insert_with(|| Words::of(counters));
    }

    fn held<A: Address>(&self, address: A) -> Option<Words> {
        let key = (self.ifindex, A::FAMILY, address.to_field());
        read(&self.cpu.host.held).get(&key).cloned()
    }

    fn report(&mut self, event: &RxEvent) -> bool {
        let len = self.summed.len().min(event.payload_len.into());
        self.cpu.host.submit(event, &self.summed[..len])
    }

    fn report_with(&mut self, event: &RxEvent, payload: [u8; 8]) -> bool {
        let len = payload.len().min(event.payload_len.into());
        self.cpu.host.submit(event, &payload[..len])
    }

    fn keep_refused(&mut self, header: [u8; VRRP_HEADER_LEN]) {
        self.cpu.refused = header;
    }

    fn take_refused(&mut self, offset: usize, anywhere: bool) -> [u8; VRRP_HEADER_LEN] {
        match core::mem::take(&mut self.cpu.refused) {
            kept if kept != [0; VRRP_HEADER_LEN] => kept,
            _ if anywhere => self.frame.load(offset).unwrap_or_default(),
            none => none,
        }
    }

    fn last_reported(&self) -> ([u64; 3], u64) {
        self.cpu.last_reported
    }

    fn set_last_reported(&mut self, refusal: [u64; 3], at: u64) {
        self.cpu.last_reported = (refusal, at);
    }

    fn reported_at(&self, refusal: &[u64; 3]) -> Option<u64> {
        lock(&self.cpu.host.reported).get(refusal).copied()
    }

    fn set_reported(&self, refusal: &[u64; 3], at: u64) {
        lock(&self.cpu.host.reported).insert(*refusal, at);
    }

    fn refusal_budget(&self) -> Option<Words> {
        Some(self.cpu.host.refusals.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
