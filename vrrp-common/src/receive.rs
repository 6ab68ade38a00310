//! What becomes of a packet of protocol 112: whether it is accepted, whether it is what the daemon has acknowledged, and
//! whether the daemon is told of it.
//!
//! Generic over [`Datapath`], as [`crate::parse`] is over [`Load`]: the same code runs in XDP and tc programs, and on a
//! host ([`crate::host`]) in simulations and tests with threads in the place of CPUs. What is done differently there, and
//! all that touches memory, belongs behind the trait; what is decided belongs here.
//!
//! Several CPUs and the daemon write the same words at once ([`SharedWords`]). Nothing here concludes from one word what
//! another one holds, and what is checked is a copy that nobody else writes.

use bytemuck::Pod;

use crate::event::{NO_SLOT, RxEvent};
use crate::hmac::{self, Signatures};
use crate::lease;
use crate::maps::{
    Budget, Held, Lease, PEER_ADVERTS, PEER_LAST_SEEN, PEER_OUTRANKS, PEER_PRIORITY, PEER_RESIGNS,
    PeerCounters, PeerKey, RouterEntry, RouterKey, SLOT_ACK, SLOT_ADVERTS, SLOT_FILTER,
    SLOT_LAST_SEEN, SLOT_MASTER_SEEN, SLOT_PRIORITY_ZERO, SLOT_REFUSED, Slot, TtlRange,
    hmac as hmac_flags, state, transport,
};
use crate::parse::{self, Address, Advert, Load, Packet};
use crate::reason::{Reason, ReasonSet};
use crate::report::{
    Class, LIMIT, LOWER_LIMIT, Limit, MASTER_LIMIT, MasterSeen, REFUSAL_LIMIT, REFUSAL_WINDOW_NS,
    ReportFilter, SOURCE_LIMIT, Unreported, mix, source_tag,
};
use crate::shared::SharedWords;
use crate::{MAX_VRRP_LEN, VRRP_HEADER_LEN};

/// What the daemon has configured.
pub trait Routers {
    /// A copy that nobody else writes.
    type Entry: AsRef<RouterEntry>;

    /// What an advertisement with this key must look like; `None` for a router that is none of ours.
    fn router(&self, key: &RouterKey) -> Option<Self::Entry>;

    /// The TTLs that are accepted from a peer of a router with [`transport::PEERS`]; `None` for a stranger.
    fn allowed(&self, peer: &PeerKey) -> Option<TtlRange>;
}

/// A packet, the CPU that has received it, and what it shares with others.
pub trait Datapath: Load + Routers {
    /// A value of type `T` in a map.
    type Value<T: Pod>: SharedWords;

    /// The time, nanoseconds of `CLOCK_MONOTONIC`.
    fn now(&self) -> u64;

    /// Interface on which the packet arrived.
    fn ifindex(&self) -> u32;

    /// The key of digests and [`source_tag`]s: drawn anew each time that the daemon starts, and known to nobody else.
    fn key(&self) -> u64;

    /// The slot of a router.
    fn slot(&self, index: u32) -> Option<Self::Value<Slot>>;

    /// How much may be reported of a router ([`Limit`]), by [`Budget::index`].
    fn budget(&self, index: u32) -> Option<Self::Value<u64>>;

    /// What is known of a source.
    fn peer(&self, key: &PeerKey) -> Option<Self::Value<PeerCounters>>;

    /// Makes a source known, unless it is by now; another one may be forgotten for it, and it may fail.
    fn add_peer(&self, key: &PeerKey, counters: &PeerCounters);

    /// What is known of an address on the interface that we hold as master.
    fn held<A: Address>(&self, address: A) -> Option<Self::Value<Held>>;

    /// The time with that in which the machine was suspended, nanoseconds of `CLOCK_BOOTTIME`.
    fn boot_now(&self) -> u64;

    /// The lease of a router.
    fn lease(&self, index: u32) -> Option<Self::Value<Lease>>;

    /// Hands the daemon a report with the `payload_len` bytes behind it that were summed last. False where there is no
    /// room.
    fn report(&mut self, event: &RxEvent) -> bool;

    /// The same with the first `payload_len` bytes of `payload`, no more than it has.
    fn report_with(&mut self, event: &RxEvent, payload: [u8; 8]) -> bool;

    /// Keeps the header of a message that is refused, until [`Self::take_refused`].
    fn keep_refused(&mut self, header: [u8; VRRP_HEADER_LEN]);

    /// What was kept of this packet, or else the bytes where its message would begin, if `anywhere`; zeros where there are
    /// none.
    fn take_refused(&mut self, offset: usize, anywhere: bool) -> [u8; VRRP_HEADER_LEN];

    /// The key of the last refusal on this CPU that needed not be told, and since when.
    fn last_reported(&self) -> ([u64; 3], u64);

    /// Remembers that for the next one.
    fn set_last_reported(&mut self, refusal: [u64; 3], at: u64);

    /// When the daemon was last told of a refusal, if that is still known.
    fn reported_at(&self, refusal: &[u64; 3]) -> Option<u64>;

    /// Remembers that for all CPUs.
    fn set_reported(&self, refusal: &[u64; 3], at: u64);

    /// How much may be told of refusals of all kinds ([`REFUSAL_LIMIT`]).
    fn refusal_budget(&self) -> Option<Self::Value<u64>>;
}

/// What becomes of a packet of protocol 112, as the index of a [`Reason`]; all that is to be done about it is done, but
/// for [`report_refusal`]. One of a router with signed advertisements is left to [`receive_signed`].
#[inline(always)]
pub fn receive<A: Address>(path: &mut impl Datapath, packet: &Packet<A>) -> u32 {
    receive_checked(path, packet, |entry| entry.hmac == 0, check)
}

/// The same of routers with signed advertisements, and of no others, in three steps, each of which has a stack to itself in the kernel
/// side. This is the first one: what comes before the signature.
#[inline(always)]
pub fn begin_signed<A: Address>(
    path: &mut (impl Datapath + Signatures),
    packet: &Packet<A>,
) -> u32 {
    let mut advert = match parse::advert(path, packet) {
        Ok(advert) => advert,
        Err(reason) => return reason.index(),
    };
    // As in `receive_checked`.
    advert.offset = forget(path, advert.offset);
    advert.len = forget(path, advert.len);
    let Some(entry) = path.router(&advert.key(path.ifindex())) else {
        return Reason::UnknownVrid.index();
    };
    let entry = entry.as_ref();
    if !is_signed(entry) {
        return Reason::HmacUnchecked.index();
    }
    let peer = &PeerKey { slot: entry.slot, source: advert.source.to_field() };
    let reason = check_way(path, &advert, entry, peer);
    path.keep_refused(advert.header);
    if let Some(work) = path.work() {
        work.set_advert(&advert, entry.version);
    }
    charge(path, entry, reason);
    reason.index()
}

/// The second step: the signature.
#[inline(always)]
pub fn check_signature(path: &mut (impl Datapath + Signatures), entry: &RouterEntry) -> u32 {
    let reason = hmac::check(path, entry);
    charge(path, entry, reason);
    reason.index()
}

/// The third step, with all the rest.
#[inline(always)]
pub fn finish_signed<A: Address>(
    path: &mut (impl Datapath + Signatures),
    packet: &Packet<A>,
) -> u32 {
    path.keep_refused([0; VRRP_HEADER_LEN]);
    receive_checked(path, packet, is_signed, check_signed_contents)
}

/// The checks that come behind a signature, which is remembered then.
#[inline(always)]
fn check_signed_contents<A: Address>(
    path: &mut (impl Signatures + Routers),
    advert: &Advert<A>,
    entry: &RouterEntry,
    peer: &PeerKey,
) -> Reason {
    let reason = parse::check_contents(path, advert, entry);
    if reason == Reason::Accepted { hmac::remember(path, peer) } else { reason }
}

/// Whether the advertisements of a router are to be signed, and not by an authentication header.
#[inline(always)]
fn is_signed(entry: &RouterEntry) -> bool {
    entry.hmac & hmac_flags::KEYS != 0
}

/// Counts a refusal for the router that it was meant for.
#[inline(always)]
fn charge(path: &impl Datapath, entry: &RouterEntry, reason: Reason) {
    if reason != Reason::Accepted
        && reason.is_for_router()
        && let Some(slot) = path.slot(entry.slot)
    {
        slot.increment::<SLOT_REFUSED>();
    }
}

#[inline(always)]
fn receive_checked<A: Address, D: Datapath>(
    path: &mut D,
    packet: &Packet<A>,
    is_ours: impl FnOnce(&RouterEntry) -> bool,
    check: impl FnOnce(&mut D, &Advert<A>, &RouterEntry, &PeerKey) -> Reason,
) -> u32 {
    let now = path.now();
    let mut advert = match parse::advert(path, packet) {
        Ok(advert) => advert,
        Err(reason) => return reason.index(),
    };
    // With a tag and options or without: the same from here on.
    advert.offset = forget(path, advert.offset);
    advert.len = forget(path, advert.len);
    let Some(entry) = path.router(&advert.key(path.ifindex())) else {
        return Reason::UnknownVrid.index();
    };
    let entry = entry.as_ref();
    let Some(slot) = path.slot(entry.slot) else { return Reason::UnknownVrid.index() };
    if !is_ours(entry) {
        return Reason::HmacUnchecked.index();
    }
    // In one place on the stack for all look-ups: the verifier of Linux 6.1 does not let every copy be written.
    let peer = &PeerKey { slot: entry.slot, source: advert.source.to_field() };
    let reason = check(path, &advert, entry, peer);
    if reason == Reason::Accepted {
        // All that the checks tell of it differs by the way through them.
        advert.len = forget(path, advert.len);
        count_peer(path, peer, advert.priority(), now);
        return accept(path, entry, &slot, &advert, peer, now);
    }
    if ReasonSet::LOGGED.contains(reason.index()) {
        path.keep_refused(advert.header);
    }
    if reason.is_for_router() {
        slot.increment::<SLOT_REFUSED>();
    }
    reason.index()
}

/// The receive checks on an advertisement for a router of ours, whose sender is `peer`: [`Reason::Accepted`], or the first
/// one that fails.
#[inline(always)]
pub fn check<A: Address>(
    frame: &mut (impl Load + Routers),
    advert: &Advert<A>,
    entry: &RouterEntry,
    peer: &PeerKey,
) -> Reason {
    let reason = parse::check(frame, advert, entry);
    if reason == Reason::Accepted && entry.transport == transport::PEERS {
        return parse::check_peer(advert, frame.allowed(peer).as_ref());
    }
    reason
}

/// The same of a router that may have keys, by which a signature is checked before anything counts that a message says.
#[inline(always)]
pub fn check_signed<A: Address>(
    frame: &mut (impl Signatures + Routers),
    advert: &Advert<A>,
    entry: &RouterEntry,
    peer: &PeerKey,
) -> Reason {
    if entry.hmac == 0 {
        return check(frame, advert, entry, peer);
    }
    let mut reason = check_way(frame, advert, entry, peer);
    if reason == Reason::Accepted {
        if let Some(work) = frame.work() {
            work.set_advert(advert, entry.version);
        }
        reason = hmac::check(frame, entry);
    }
    if reason == Reason::Accepted {
        reason = check_signed_contents(frame, advert, entry, peer);
    }
    reason
}

/// The checks that come before a signature.
#[inline(always)]
fn check_way<A: Address>(
    frame: &(impl Load + Routers),
    advert: &Advert<A>,
    entry: &RouterEntry,
    peer: &PeerKey,
) -> Reason {
    let reason = parse::check_way(frame, advert, entry);
    if reason == Reason::Accepted && entry.transport == transport::PEERS {
        return parse::check_peer(advert, frame.allowed(peer).as_ref());
    }
    reason
}

/// An advertisement outranks our own, as master.
const OUTRANKS: u32 = 1;
/// It says to whoever is not master that somebody else is.
const CLAIMS: u32 = 2;

/// Notes an accepted advertisement in its router's slot, and reports it if that is wanted and there is room.
#[inline(always)]
fn accept<A: Address, D: Datapath>(
    path: &mut D,
    entry: &RouterEntry,
    slot: &D::Value<Slot>,
    advert: &Advert<A>,
    peer: &PeerKey,
    now: u64,
) -> u32 {
    let key = path.key();
    let digest = digest(path, advert, entry.version, key);
    slot.increment::<SLOT_ADVERTS>();
    slot.store::<SLOT_LAST_SEEN>(now);
    if slot.load::<SLOT_ACK>() == digest {
        slot.store::<SLOT_MASTER_SEEN>(MasterSeen::at(now).pack());
        return Reason::Accepted.index();
    }
    if advert.priority() == 0 {
        slot.increment::<SLOT_PRIORITY_ZERO>();
    }
    let filter = ReportFilter::unpack(slot.load::<SLOT_FILTER>());
    let is_greater = is_greater(peer.source, entry.local);
    let class = filter.class(source_tag(key, peer.source), advert.priority(), is_greater);
    let (budget, limit, otherwise) = match class {
        Class::Idle => (Budget::Lower, LOWER_LIMIT, Reason::NotListening),
        Class::Ignored => (Budget::Lower, LOWER_LIMIT, Reason::LowerIgnored),
        Class::Master => (Budget::Master, MASTER_LIMIT, Reason::MasterLimited),
        Class::Outranks => (Budget::Outranks, LIMIT, Reason::OutranksLimited),
        Class::Resigns => (Budget::Resigns, LIMIT, Reason::ResignsLimited),
        Class::Lower => (Budget::Lower, LOWER_LIMIT, Reason::LowerLimited),
    };
    let is_news = match class {
        Class::Idle | Class::Ignored => false,
        Class::Master | Class::Outranks | Class::Resigns | Class::Lower => true,
    };
    // What one source has no room for must not take the room of others.
    let admitted = is_news
        && has_room(path, peer, class, now)
        && path.budget(budget.index(entry.slot)).is_some_and(|budget| take(&budget, limit, now));
    // The same from here on for all classes, so that the verifier need not follow it for each.
    let admitted = path.forget(admitted.into()) != 0;
    let otherwise = path.forget(otherwise.index());
    let is_master = path.forget((class == Class::Master).into()) != 0;
    // To whoever is not master, any is a claim: of addresses that are on their way out, or were found. Behind the match: before it,
    // the verifier would follow each class once more for it.
    let rival = match filter.state {
        state::MASTER if class == Class::Outranks => OUTRANKS,
        state::MASTER => 0,
        _ if advert.priority() == 0 => 0,
        _ => CLAIMS,
    };
    let rival = path.forget(rival);
    if rival != 0
        && let Some(lease) = path.lease(entry.slot)
    {
        let now = path.boot_now();
        if rival == OUTRANKS {
            lease::outrank(&lease, now);
        } else {
            lease::claim(&lease, now);
        }
    }
    let reason =
        if admitted { report(path, entry, advert, now, digest).index() } else { otherwise };
    if is_master {
        let unreported =
            (reason != Reason::Accepted.index()).then(|| Unreported::of(advert.header));
        slot.store::<SLOT_MASTER_SEEN>(MasterSeen { at_ns: now, unreported }.pack());
    }
    reason
}

/// A number for what an advertisement says and who says it, for [`Slot::ack`]; never 0. It covers the source, the length of
/// the message and the message up to the end of its addresses (version 2: of its authentication data), without the
/// checksum: over IPv6 that covers what may stand behind (a signature that is another one each time), and says nothing
/// that the rest does not.
///
/// Two advertisements that are not the same have the same digest with a probability of some 2^-32 at most, over all keys,
/// whoever made them.
#[inline(always)]
pub fn digest<A: Address>(frame: &mut impl Load, advert: &Advert<A>, version: u8, key: u64) -> u64 {
    let [low, high] = words(advert.source.to_field());
    let [a, b, c, d, e, f, _, _] = advert.header;
    let header = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
    let hash = mix(mix(mix(mix(key, low), high), advert.len as u64), header);
    let list = advert.stated_len(version) - VRRP_HEADER_LEN;
    frame.digest::<A>(hash, advert.offset, list, advert.len) | 1
}

/// Whether a source may have another report of this class, which is counted then.
///
/// Looks its entry up anew. What [`count_peer`] found would be there or not, as the verifier knows on each way, and before
/// Linux 6.17 that of a daemon without CAP_PERFMON also follows the way on which there is nothing to where it is used.
#[inline(always)]
fn has_room(path: &impl Datapath, key: &PeerKey, class: Class, now: u64) -> bool {
    match class {
        Class::Outranks | Class::Resigns => {}
        Class::Master | Class::Lower | Class::Ignored | Class::Idle => return true,
    }
    let Some(peer) = path.peer(key) else { return true };
    // Both words are read and written whichever is meant, because the verifier wants every offset to be a constant. What
    // another CPU writes meanwhile may be lost.
    let (outranks, resigns) = (peer.load::<PEER_OUTRANKS>(), peer.load::<PEER_RESIGNS>());
    let after = match class {
        Class::Outranks => SOURCE_LIMIT.admit(outranks, now).map(|next| (next, resigns)),
        Class::Resigns => SOURCE_LIMIT.admit(resigns, now).map(|next| (outranks, next)),
        Class::Master | Class::Lower | Class::Ignored | Class::Idle => return true,
    };
    let Some((outranks, resigns)) = after else { return false };
    peer.store::<PEER_OUTRANKS>(outranks);
    peer.store::<PEER_RESIGNS>(resigns);
    true
}

/// Takes room for one more, if there is any. Two CPUs may each miss what the other takes: the limit holds per CPU at worst.
#[inline(always)]
fn take(budget: &impl SharedWords, limit: Limit, now: u64) -> bool {
    let Some(next) = limit.admit(budget.load::<0>(), now) else { return false };
    budget.store::<0>(next);
    true
}

/// Counts an accepted advertisement for whoever sent it: in the quiet path, too, because it costs 29 of 245 ns there
/// (`BPF_PROG_TEST_RUN`), and less would have to be put together by every reader.
#[inline(always)]
fn count_peer(path: &impl Datapath, key: &PeerKey, priority: u8, now: u64) {
    let priority = u64::from(priority);
    let peer = path.peer(key).or_else(|| {
        // Not all zero, which the compiler would make a call of memset: see `V4::to_field`.
        let none_yet = PeerCounters {
            adverts: 0,
            last_seen_ns: now,
            priority,
            outranks_full_ns: now,
            resigns_full_ns: now,
        };
        path.add_peer(key, &none_yet);
        path.peer(key)
    });
    // None only when there was no entry to spare at that instant. The slot has counted it.
    let Some(peer) = peer else { return };
    // The counter is exact; of two CPUs that count for the same peer at once, one says what was last.
    peer.increment::<PEER_ADVERTS>();
    peer.store::<PEER_LAST_SEEN>(now);
    peer.store::<PEER_PRIORITY>(priority);
}

/// Reports an accepted advertisement, whose message was summed last, to the daemon.
#[inline(always)]
fn report<A: Address>(
    path: &mut impl Datapath,
    entry: &RouterEntry,
    advert: &Advert<A>,
    now: u64,
    digest: u64,
) -> Reason {
    if advert.len > MAX_VRRP_LEN {
        return Reason::VrrpLength;
    }
    let event = event(advert, path.ifindex(), entry.slot, now, digest);
    if path.report(&event) { Reason::Accepted } else { Reason::RingFull }
}

/// What the daemon is told of an accepted advertisement for the router of a slot.
#[inline(always)]
pub fn event<A: Address>(
    advert: &Advert<A>,
    ifindex: u32,
    slot: u32,
    now: u64,
    digest: u64,
) -> RxEvent {
    #[allow(clippy::cast_possible_truncation, reason = "part of an IP packet")]
    let len = advert.len as u16;
    RxEvent {
        ktime_ns: now,
        ifindex,
        reason: Reason::Accepted.index(),
        slot,
        vlan: advert.vlan,
        source: advert.source.to_field(),
        destination: advert.destination.to_field(),
        family: A::FAMILY,
        ttl: advert.ttl,
        wire_len: len,
        payload_len: len,
        reserved: 0,
        digest,
    }
}

/// Tells the daemon of a packet that [`receive`] has refused, unless it was told of one like it within the last minute:
/// for reasons in [`ReasonSet::LOGGED`], by index.
#[inline(always)]
pub fn report_refusal<A: Address>(
    path: &mut impl Datapath,
    packet: &Packet<A>,
    reason: u32,
    now: u64,
) {
    // Without a whole header nobody knows for which router it was. The later parts of a packet have none.
    let (ttl, message) = A::message(packet);
    let message = forget(path, message);
    let header = path.take_refused(message, reason != Reason::Fragment.index());
    let [low, high] = words(packet.source.to_field());
    let kind = reason | u32::from(header[1]) << 8 | u32::from(A::FAMILY) << 16;
    let key = [low, high, u64::from(path.ifindex()) << 32 | u64::from(kind)];
    let (last, at) = path.last_reported();
    if (last[0], last[1], last[2]) == (key[0], key[1], key[2])
        && now.saturating_sub(at) < REFUSAL_WINDOW_NS
    {
        return;
    }
    if let Some(at) = path.reported_at(&key)
        && now.saturating_sub(at) < REFUSAL_WINDOW_NS
    {
        path.set_last_reported(key, at);
        return;
    }
    if !path.refusal_budget().is_some_and(|budget| take(&budget, REFUSAL_LIMIT, now)) {
        return;
    }
    path.set_reported(&key, now);
    let event = RxEvent {
        ktime_ns: now,
        ifindex: path.ifindex(),
        reason,
        slot: NO_SLOT,
        vlan: packet.vlan,
        source: packet.source.to_field(),
        destination: packet.destination.to_field(),
        family: A::FAMILY,
        ttl,
        wire_len: 0,
        #[allow(clippy::cast_possible_truncation, reason = "8")]
        payload_len: VRRP_HEADER_LEN as u16,
        reserved: 0,
        digest: 0,
    };
    // What finds no room is counted by its reason all the same.
    let _ = path.report_with(&event, header);
}

/// A length or an offset unchanged ([`Load::forget`]).
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "shorter than a frame")]
fn forget(frame: &impl Load, number: usize) -> usize {
    frame.forget(number as u32) as usize
}

/// Whether an address is greater than another one, in network order.
#[inline(always)]
fn is_greater(address: [u8; 16], than: [u8; 16]) -> bool {
    let ([a, b], [c, d]) = (words(address), words(than));
    let (a, b, c, d) = (a.to_be(), b.to_be(), c.to_be(), d.to_be());
    a > c || (a == c && b > d)
}

/// An address as numbers, which compare without a call of memcmp.
#[inline(always)]
fn words(address: [u8; 16]) -> [u64; 2] {
    bytemuck::cast(address)
}

#[cfg(test)]
mod tests;
