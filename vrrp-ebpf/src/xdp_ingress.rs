//! XDP ingress: what a frame is, what is told about it, and to whom.

use core::ptr;

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_ringbuf_output};
use vrrp_common::event::{EVENT_HEADER_LEN, NO_SLOT, RxEvent};
use vrrp_common::maps::{PeerCounters, PeerKey, RouterEntry, Slot, transport};
use vrrp_common::parse::{self, Advert, IPPROTO_ICMPV6, Packet, UNTAGGED, V4, V6};
use vrrp_common::reason::Reason;
use vrrp_common::report::{
    Class, LIMIT, LOWER_LIMIT, Limit, MASTER_LIMIT, MasterSeen, REFUSAL_LIMIT, REFUSAL_WINDOW_NS,
    ReportFilter, SOURCE_LIMIT, Unreported, mix, source_tag,
};
use vrrp_common::{MAX_VRRP_LEN, VRRP_HEADER_LEN};

use crate::claims;
use crate::cursor::{Context, DIGESTED, Frame, Headers, from_one, unknown};
use crate::maps::{
    ALLOWED, BUDGETS, Budget, EVENTS, Family, PAYLOAD_ROOM, PEERS, REFUSAL_BUDGET, REFUSALS,
    ROUTERS, Record, SCRATCH, SLOTS, increment, source_key,
};
use crate::{reasons, sample};

/// The reason, as index, for the verdict on a packet of protocol 112, or on ARP or neighbour discovery for an address of ours; `None` for
/// any other frame, which passes.
#[inline(always)]
pub fn classify<H: Headers>(ctx: H::Frame) -> Option<u32> {
    let frame = H::of(ctx)?;
    let ethertype = parse::ethertype(&frame)?;
    if let Some(packet) = parse::network::<V4>(&frame, ethertype) {
        let vlan = ctx.vlans(packet.vlan);
        if packet.is_vrrp() {
            return Some(vrrp::<_, V4>(ctx, packet.offset, vlan, AT_ONCE));
        }
        count_vip(ctx, vlan, packet.destination);
        return None;
    }
    if let Some(packet) = parse::network::<V6>(&frame, ethertype) {
        let vlan = ctx.vlans(packet.vlan);
        // No comparison must be one whose outcome the verifier knows by another one or by a constant: before Linux 6.17 that
        // of a daemon without CAP_PERFMON follows the impossible way as well, and all that comes behind once more.
        let protocol = unknown(packet.protocol.into(), ctx.ifindex()) as u8;
        let chain = if packet.is_vrrp() {
            AT_ONCE
        } else if parse::is_extension(protocol) {
            unknown(chain(ctx, packet.offset, packet.protocol), ctx.ifindex())
        } else {
            NO_VRRP
        };
        if chain != NO_VRRP {
            return Some(vrrp::<_, V6>(ctx, packet.offset, vlan, unknown(chain, ctx.ifindex())));
        }
        count_vip(ctx, vlan, packet.destination);
        if packet.protocol != IPPROTO_ICMPV6 || vlan != [0, 0] {
            return None;
        }
        return claims::by_ndisc(ctx, packet.offset).map(Reason::index);
    }
    let claim = if H::HAS_STACK { claims::by_arp(ctx, &frame) } else { claims::by_arp_aside(ctx) };
    claim.map(Reason::index)
}

/// A [`parse::Chain`] in one number: octets, and the reason above them. Of a packet without extension headers:
const AT_ONCE: u32 = Reason::Accepted.index() << 16;
/// And of one that has nothing to do with VRRP.
const NO_VRRP: u32 = u32::MAX;

/// What the extension headers of an IPv6 packet lead to.
///
/// Not inlined, for the reason of [`receive`].
#[inline(never)]
fn chain<C: Context>(ctx: C, offset: usize, next_header: u8) -> u32 {
    match parse::chain(&Frame::new(ctx), offset, next_header) {
        Some(found) => found.reason.index() << 16 | u32::from(found.extensions),
        None => NO_VRRP,
    }
}

/// The verdict on a packet of protocol 112 whose IP header is at `offset`, behind tags with these two VLAN IDs, and with
/// what `chain` says before the message.
#[inline(always)]
fn vrrp<C: Context, A: Family>(ctx: C, offset: usize, vlan: [u16; 2], chain: u32) -> u32 {
    let vlan = bytemuck::cast(vlan);
    let (mut reason, extensions) = (chain >> 16, chain as u16);
    if reason == Reason::Accepted.index() {
        reason = unknown(receive::<C, A>(ctx, offset, vlan, extensions), ctx.ifindex());
    }
    if reason != Reason::Accepted.index() {
        note::<C, A>(ctx, offset, vlan, extensions, reason);
    }
    reason
}

/// The packet whose IP header is at `offset`, behind tags with these VLAN IDs, and with that many octets of extension
/// headers. Its frame has shown already that it is one.
#[inline(always)]
fn packet<C: Context, A: Family>(
    ctx: C,
    offset: usize,
    vlan: u32,
    extensions: u16,
) -> Option<Packet<A>> {
    let (frame, vlan) = (&Frame::new(ctx), bytemuck::cast(vlan));
    // Nearly all have no tag: this is the fast way in.
    let packet = if C::IN_PLACE && offset == UNTAGGED {
        A::packet(frame, UNTAGGED, vlan)?
    } else {
        A::tagged(frame, offset, vlan)?
    };
    // The same from here on for both.
    let offset = unknown(packet.offset as u32, ctx.ifindex()) as usize;
    Some(Packet { offset, extensions, ..packet })
}

/// Keeps a sample of the packet that [`receive`] did not accept, and tells the daemon of it if that is refused.
///
/// Not inlined, for the reason of [`receive`].
#[inline(never)]
fn note<C: Context, A: Family>(ctx: C, offset: usize, vlan: u32, extensions: u16, reason: u32) {
    let Some(packet) = &packet::<C, A>(ctx, offset, vlan, extensions) else { return };
    // SAFETY: the helper takes no argument.
    let now = unsafe { bpf_ktime_get_ns() };
    sample::keep(&Frame::new(ctx), ctx.ifindex(), packet, reason, now);
    if reasons::REFUSALS.contains(reason) {
        refused(ctx, packet, reason, now);
    }
}

/// Tells the daemon of a refused packet, unless it was told of one like it within the last minute.
#[inline(always)]
fn refused<C: Context, A: Family>(ctx: C, packet: &Packet<A>, reason: u32, now: u64) {
    let Some(record) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's only record; the program runs to its end on one CPU, does not nest, and is done with the packet.
    let record = unsafe { &mut *record };
    let header: *mut u64 = record.payload.as_mut_ptr().cast();
    // SAFETY: within the payload, which stands at a multiple of eight octets in its record.
    unsafe { header.write_volatile(record.refused) };
    let is_known = record.refused != 0;
    record.refused = 0;
    if !is_known && reason != Reason::Fragment.index() {
        // Without a whole header nobody knows for which router it was, and there are zeros. The later parts of a packet
        // have none.
        let message = unknown(A::message(packet).1 as u32, ctx.ifindex()) as usize;
        // SAFETY: as above.
        let _ = unsafe { ctx.copy(message, header.cast(), VRRP_HEADER_LEN) };
    }
    let vrid = u32::from(record.payload[1]);
    let [low, high] = words(packet.source.to_field());
    let kind = reason | vrid << 8 | u32::from(A::FAMILY) << 16;
    let key = [low, high, u64::from(ctx.ifindex()) << 32 | u64::from(kind)];
    let (last, at) = record.told;
    if (last[0], last[1], last[2]) == (key[0], key[1], key[2]) && now - at < REFUSAL_WINDOW_NS {
        return;
    }
    // SAFETY: the value is only read, and only here.
    if let Some(&at) = unsafe { REFUSALS.get(key) }
        && now - at < REFUSAL_WINDOW_NS
    {
        record.told = (key, at);
        return;
    }
    let Some(full_at) = REFUSAL_BUDGET.get_ptr_mut(0) else { return };
    // SAFETY: a map value, aligned as its type says.
    if !unsafe { take(full_at, REFUSAL_LIMIT, now) } {
        return;
    }
    let _ = REFUSALS.insert(key, now, u64::from(BPF_ANY));
    record.event = RxEvent {
        ktime_ns: now,
        ifindex: ctx.ifindex(),
        reason,
        slot: NO_SLOT,
        vlan: packet.vlan,
        source: packet.source.to_field(),
        destination: packet.destination.to_field(),
        family: A::FAMILY,
        ttl: A::message(packet).0,
        wire_len: 0,
        payload_len: VRRP_HEADER_LEN as u16,
        reserved: 0,
        digest: 0,
    };
    // What finds no room is counted by its reason all the same.
    // SAFETY: the record holds the header and far more than VRRP_HEADER_LEN octets behind it.
    let _ = unsafe {
        bpf_ringbuf_output(
            ptr::from_ref(&EVENTS).cast_mut().cast(),
            ptr::from_mut(record).cast(),
            (EVENT_HEADER_LEN + VRRP_HEADER_LEN) as u64,
            0,
        )
    };
}

/// Counts a packet to a virtual address.
#[inline(always)]
fn count_vip<C: Context, A: Family>(ctx: C, vlan: [u16; 2], destination: A) {
    // A tagged frame belongs to the VLAN device above, whose own program counts it.
    if vlan != [0, 0] {
        return;
    }
    if let Some(counters) = destination.counters(ctx.ifindex()) {
        // SAFETY: this CPU's value, returned by the map look-up; the program runs to its end on one CPU.
        unsafe {
            (*counters).rx_packets += u64::from(ctx.packets());
            (*counters).rx_bytes += u64::from(ctx.frame_len());
        }
    }
}

/// A packet of protocol 112, as [`vrrp`] has it.
///
/// A function that is not inlined, as all that few frames need: it has a part of the 512 octets of stack to itself, which
/// would not do for all together. So what it is called with are numbers, and it reads the IP header anew.
#[inline(never)]
fn receive<C: Context, A: Family>(ctx: C, offset: usize, vlan: u32, extensions: u16) -> u32 {
    let Some(packet) = &packet::<C, A>(ctx, offset, vlan, extensions) else {
        return Reason::Truncated.index();
    };
    let ifindex = ctx.ifindex();
    // SAFETY: the helper takes no argument.
    let now = unsafe { bpf_ktime_get_ns() };
    // An array has all its entries, so this look-up cannot fail; the verifier does not know that.
    let Some(record) = SCRATCH.get_ptr_mut(0) else { return Reason::UnknownVrid.index() };
    // SAFETY: this CPU's only record; XDP runs to its end on one CPU and does not nest.
    let record = unsafe { &mut *record };
    let mut frame = Frame::with_record(ctx, record);
    let mut advert = match parse::advert(&mut frame, packet) {
        Ok(advert) => advert,
        Err(reason) => return reason.index(),
    };
    // With a tag and options or without: the same from here on.
    advert.offset = unknown(advert.offset as u32, ifindex) as usize;
    advert.len = unknown(advert.len as u32, ifindex) as usize;
    // SAFETY: the entry is only read, and only in this run; the daemon replaces entries as a whole.
    let Some(entry) = (unsafe { ROUTERS.get(advert.key(ifindex)) }) else {
        return Reason::UnknownVrid.index();
    };
    let Some(slot) = SLOTS.get_ptr_mut(entry.slot) else { return Reason::UnknownVrid.index() };
    let mut reason = parse::check(&mut frame, &advert, entry);
    // In one place on the stack for all look-ups: the verifier of Linux 6.1 does not let every copy be written.
    let key = &PeerKey { slot: entry.slot, source: advert.source.to_field() };
    if reason == Reason::Accepted && entry.transport == transport::PEERS {
        // SAFETY: as above.
        reason = parse::check_peer(&advert, unsafe { ALLOWED.get(key) });
    }
    if reason == Reason::Accepted {
        // All that the checks tell of it differs by the way through them.
        advert.len = unknown(advert.len as u32, ifindex) as usize;
        count_peer(key, &advert, now);
        return accept(record, ifindex, entry, slot, &advert, key, now);
    }
    if reasons::REFUSALS.contains(reason.index()) {
        record.refused = u64::from_ne_bytes(advert.header);
    }
    if reason.is_for_router() {
        // SAFETY: the slot is a map value, aligned as its type says.
        unsafe { increment(&raw mut (*slot).refused) };
    }
    reason.index()
}

/// Notes an accepted advertisement in its router's slot, and reports it if that is wanted and there is room.
#[inline(always)]
fn accept<A: Family>(
    record: &mut Record,
    ifindex: u32,
    entry: &RouterEntry,
    slot: *mut Slot,
    advert: &Advert<A>,
    peer: &PeerKey,
    now: u64,
) -> u32 {
    let source = advert.source.to_field();
    let key = source_key();
    let digest = digest(record, advert.len, key, source);
    // SAFETY: the slot is a map value, aligned as its type says, and every word is written as a whole.
    let filter = unsafe {
        increment(&raw mut (*slot).adverts);
        ptr::write_volatile(&raw mut (*slot).last_seen_ns, now);
        if ptr::read_volatile(&raw const (*slot).ack) == digest {
            ptr::write_volatile(&raw mut (*slot).master_seen, MasterSeen::at(now).pack());
            return Reason::Accepted.index();
        }
        if advert.priority() == 0 {
            increment(&raw mut (*slot).priority_zero);
        }
        ptr::read_volatile(&raw const (*slot).filter)
    };
    let is_greater = is_greater(source, entry.local);
    let class =
        ReportFilter::unpack(filter).class(source_tag(key, source), advert.priority(), is_greater);
    let (budget, limit, limited) = match class {
        Class::Idle => return Reason::NotListening.index(),
        Class::Ignored => return Reason::LowerIgnored.index(),
        Class::Master => (Budget::Master, MASTER_LIMIT, Reason::NewsLimited),
        Class::Outranks => (Budget::Outranks, LIMIT, Reason::OutranksLimited),
        Class::Resigns => (Budget::Resigns, LIMIT, Reason::ResignsLimited),
        Class::Lower => (Budget::Lower, LOWER_LIMIT, Reason::LowerLimited),
    };
    // What one source has no room for must not take the room of others.
    let admitted = has_room(peer, class, now)
        && BUDGETS.get_ptr_mut(budget.index(entry.slot)).is_some_and(|full_at| {
            // SAFETY: a map value, aligned as its type says.
            unsafe { take(full_at, limit, now) }
        });
    // The same from here on for all classes, so that the verifier need not follow it for each.
    let admitted = unknown(u32::from(admitted), ifindex) != 0;
    let limited = unknown(limited.index(), ifindex);
    let is_master = unknown(u32::from(class == Class::Master), ifindex) != 0;
    let reason = if admitted {
        report(record, ifindex, entry, advert, now, digest).index()
    } else {
        limited
    };
    if is_master {
        let unreported =
            (reason != Reason::Accepted.index()).then(|| Unreported::of(advert.header));
        let seen = MasterSeen { at_ns: now, unreported };
        // SAFETY: as above.
        unsafe { ptr::write_volatile(&raw mut (*slot).master_seen, seen.pack()) };
    }
    reason
}

/// Whether a source may have another report of this class, which is counted then.
///
/// Looks its entry up anew. A pointer that [`count_peer`] returned would be null or not, as the verifier knows on each
/// way, and before Linux 6.17 that of a daemon without CAP_PERFMON also follows the null one to where it is used.
#[inline(always)]
fn has_room(key: &PeerKey, class: Class, now: u64) -> bool {
    match class {
        Class::Outranks | Class::Resigns => {}
        Class::Master | Class::Lower | Class::Ignored | Class::Idle => return true,
    }
    let Some(peer) = PEERS.get_ptr_mut(key) else { return true };
    // Both words are read and written whichever is meant, because the verifier wants every offset to be a constant.
    // SAFETY: a map value, aligned as its type says. What another CPU writes meanwhile may be lost.
    unsafe {
        let (outranks, resigns) =
            (&raw mut (*peer).outranks_full_ns, &raw mut (*peer).resigns_full_ns);
        let before = (ptr::read_volatile(outranks), ptr::read_volatile(resigns));
        let after = match class {
            Class::Outranks => SOURCE_LIMIT.admit(before.0, now).map(|next| (next, before.1)),
            Class::Resigns => SOURCE_LIMIT.admit(before.1, now).map(|next| (before.0, next)),
            Class::Master | Class::Lower | Class::Ignored | Class::Idle => return true,
        };
        let Some(after) = after else { return false };
        ptr::write_volatile(outranks, after.0);
        ptr::write_volatile(resigns, after.1);
    }
    true
}

/// Takes room for one more, if there is any.
///
/// # Safety
///
/// `full_at` must be valid and aligned.
#[inline(always)]
unsafe fn take(full_at: *mut u64, limit: Limit, now: u64) -> bool {
    // SAFETY: the caller vouches for the pointer. Two CPUs may each miss what the other takes: the limit holds per CPU
    // at worst.
    unsafe {
        let Some(next) = limit.admit(ptr::read_volatile(full_at), now) else { return false };
        ptr::write_volatile(full_at, next);
    }
    true
}

/// A number for what the message in `record` says and who says it; never 0. What lies behind [`DIGESTED`] shows in the
/// checksum alone.
#[inline(always)]
fn digest(record: &Record, len: usize, key: u64, source: [u8; 16]) -> u64 {
    let [low, high] = words(source);
    let mut hash = mix(mix(mix(key, low), high), len as u64);
    let message: *const u64 = record.payload.as_ptr().cast();
    for n in 0..DIGESTED / 8 {
        // SAFETY: within the payload, which stands at a multiple of eight octets in its record. There are zeros behind
        // a message that ends before: see `Frame::sum`.
        hash = mix(hash, unsafe { message.add(n).read() });
    }
    hash | 1
}

/// Whether an address is greater than another one, in network order.
#[inline(always)]
fn is_greater(address: [u8; 16], than: [u8; 16]) -> bool {
    let ([a, b], [c, d]) = (words(address), words(than));
    let (a, b, c, d) = (a.to_be(), b.to_be(), c.to_be(), d.to_be());
    a > c || (a == c && b > d)
}

/// Counts an accepted advertisement for whoever sent it: in the quiet path, too, because it costs 29 of 245 ns there
/// (`BPF_PROG_TEST_RUN`), and less would have to be put together by every reader.
#[inline(always)]
fn count_peer<A: Family>(key: &PeerKey, advert: &Advert<A>, now: u64) {
    let priority = u64::from(advert.priority());
    let peer = PEERS.get_ptr_mut(key).or_else(|| {
        // Not all zero, which the compiler would make a call of memset: see `V4::to_field`.
        let none_yet = PeerCounters {
            adverts: 0,
            last_seen_ns: now,
            priority,
            outranks_full_ns: now,
            resigns_full_ns: now,
        };
        // Another CPU may have been faster; then this fails, and the entry is there all the same.
        let _ = PEERS.insert(key, none_yet, u64::from(BPF_NOEXIST));
        PEERS.get_ptr_mut(key)
    });
    // None only when the kernel had no entry to spare at that instant. The slot has counted it.
    let Some(peer) = peer else { return };
    // SAFETY: a map value, aligned as its type says. The counter is exact; of two CPUs that count for the same
    // peer at once, one says what was last.
    unsafe {
        increment(&raw mut (*peer).adverts);
        ptr::write_volatile(&raw mut (*peer).last_seen_ns, now);
        ptr::write_volatile(&raw mut (*peer).priority, priority);
    }
}

/// An address as numbers, which compare without a call of memcmp.
#[inline(always)]
fn words(address: [u8; 16]) -> [u64; 2] {
    bytemuck::cast(address)
}

/// Reports an accepted advertisement, whose message the checks left in `record`, to the daemon.
#[inline(always)]
fn report<A: Family>(
    record: &mut Record,
    ifindex: u32,
    entry: &RouterEntry,
    advert: &Advert<A>,
    now: u64,
    digest: u64,
) -> Reason {
    let len = advert.len;
    if len > MAX_VRRP_LEN {
        return Reason::VrrpLength;
    }
    record.event = RxEvent {
        ktime_ns: now,
        ifindex,
        reason: Reason::Accepted.index(),
        slot: entry.slot,
        vlan: advert.vlan,
        source: advert.source.to_field(),
        destination: advert.destination.to_field(),
        family: A::FAMILY,
        ttl: advert.ttl,
        wire_len: len as u16,
        payload_len: len as u16,
        reserved: 0,
        digest,
    };
    // SAFETY: the record holds the header and MAX_VRRP_LEN octets behind it, and `len` is no more.
    let result = unsafe {
        bpf_ringbuf_output(
            ptr::from_ref(&EVENTS).cast_mut().cast(),
            ptr::from_mut(record).cast(),
            (EVENT_HEADER_LEN + from_one::<PAYLOAD_ROOM>(len)) as u64,
            0,
        )
    };
    if result == 0 { Reason::Accepted } else { Reason::RingFull }
}
