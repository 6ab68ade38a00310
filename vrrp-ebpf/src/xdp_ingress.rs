//! XDP ingress: what a frame is, what is told about it, and to whom.

use core::ptr;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_ringbuf_output};
use vrrp_common::MAX_VRRP_LEN;
use vrrp_common::event::{EVENT_HEADER_LEN, RxEvent};
use vrrp_common::maps::{
    NEWS_BURST, NEWS_WINDOW_NS, PeerCounters, PeerKey, RouterEntry, Slot, transport,
};
use vrrp_common::parse::{self, Advert, IPPROTO_ICMPV6, V4, V6};
use vrrp_common::reason::{Reason, Verdict};

use crate::claims;
use crate::cursor::{Context, Frame, from_one};
use crate::maps::{
    ALLOWED, EVENTS, Family, NEWS, PAYLOAD_ROOM, PEERS, ROUTERS, Record, SCRATCH, SLOTS, increment,
    increment32,
};
use crate::sample;

/// The reason for the verdict on a packet of protocol 112, or on ARP or neighbour discovery for an address of ours; `None` for
/// any other frame, which passes.
#[inline(always)]
pub fn classify<C: Context>(ctx: C) -> Option<Reason> {
    let frame = Frame::new(ctx);
    if let Some(packet) = parse::ipv4(&frame) {
        let vlan = ctx.vlans(packet.vlan);
        if packet.is_vrrp() {
            return Some(vrrp::<C, V4>(ctx, packet.offset, vlan));
        }
        count_vip(ctx, vlan, packet.destination);
        return None;
    }
    if let Some(packet) = parse::ipv6(&frame) {
        let vlan = ctx.vlans(packet.vlan);
        if packet.is_vrrp() {
            return Some(vrrp::<C, V6>(ctx, packet.offset, vlan));
        }
        count_vip(ctx, vlan, packet.destination);
        if packet.protocol != IPPROTO_ICMPV6 || vlan != [0, 0] {
            return None;
        }
        return claims::by_ndisc(ctx, packet.offset);
    }
    claims::by_arp(ctx)
}

/// The verdict on a packet of protocol 112 whose IP header is at `offset`, behind tags with these two VLAN IDs.
#[inline(always)]
fn vrrp<C: Context, A: Family>(ctx: C, offset: usize, vlan: [u16; 2]) -> Reason {
    let vlan = bytemuck::cast(vlan);
    let reason = receive::<C, A>(ctx, offset, vlan);
    if reason != Reason::Accepted {
        keep::<C, A>(ctx, offset, vlan, reason);
    }
    reason
}

/// Keeps a sample of the packet that [`receive`] refused.
#[inline(never)]
fn keep<C: Context, A: Family>(ctx: C, offset: usize, vlan: u32, reason: Reason) {
    let frame = &Frame::new(ctx);
    if let Some(packet) = &A::tagged(frame, offset, bytemuck::cast(vlan)) {
        // SAFETY: the helper takes no argument.
        sample::keep(frame, ctx.ifindex(), packet, reason, unsafe { bpf_ktime_get_ns() });
    }
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
            (*counters).rx_packets += 1;
            (*counters).rx_bytes += u64::from(ctx.frame_len());
        }
    }
}

/// A packet of protocol 112, as [`vrrp`] has it.
///
/// A function that is not inlined, as all that few frames need: it has a part of the 512 octets of stack to itself, which
/// would not do for all together. So what it is called with are numbers, and it reads the IP header anew.
#[inline(never)]
fn receive<C: Context, A: Family>(ctx: C, offset: usize, vlan: u32) -> Reason {
    let packet = &match A::tagged(&Frame::new(ctx), offset, bytemuck::cast(vlan)) {
        Some(packet) => packet,
        None => return Reason::Truncated,
    };
    let ifindex = ctx.ifindex();
    // SAFETY: the helper takes no argument.
    let now = unsafe { bpf_ktime_get_ns() };
    // An array has all its entries, so this look-up cannot fail; the verifier does not know that.
    let Some(record) = SCRATCH.get_ptr_mut(0) else { return Reason::UnknownVrid };
    // SAFETY: this CPU's only record; XDP runs to its end on one CPU and does not nest.
    let record = unsafe { &mut *record };
    let mut frame = Frame::with_record(ctx, record);
    let advert = match parse::advert(&mut frame, packet) {
        Ok(advert) => advert,
        Err(reason) => return reason,
    };
    // SAFETY: the entry is only read, and only in this run; the daemon replaces entries as a whole.
    let Some(entry) = (unsafe { ROUTERS.get(advert.key(ifindex)) }) else {
        return Reason::UnknownVrid;
    };
    let Some(slot) = SLOTS.get_ptr_mut(entry.slot) else { return Reason::UnknownVrid };
    let mut reason = parse::check(&mut frame, &advert, entry);
    if reason == Reason::Accepted && entry.transport == transport::PEERS {
        let key = PeerKey { slot: entry.slot, source: advert.source.to_field() };
        // SAFETY: as above.
        reason = parse::check_peer(&advert, unsafe { ALLOWED.get(key) });
    }
    if reason == Reason::Accepted {
        count_peer(entry.slot, &advert, now);
        return match accept(slot, &advert, now) {
            Some(_) if limited(entry.slot, now) => Reason::NewsLimited,
            Some(news) => report(record, ifindex, entry, &advert, now, news),
            None => Reason::Accepted,
        };
    }
    // What passes was not for this router after all.
    if reason.verdict() == Verdict::Drop {
        // SAFETY: the slot is a map value, aligned as its type says.
        unsafe { increment(&raw mut (*slot).refused) };
    }
    reason
}

/// Notes an accepted advertisement in its router's slot. The number of the news that it is, or `None` when
/// the daemon has said that it need not hear of it.
#[inline(always)]
fn accept<A: Family>(slot: *mut Slot, advert: &Advert<A>, now: u64) -> Option<u16> {
    let source = advert.source.to_field();
    let len = advert.len as u16;
    // SAFETY: the slot is a map value, aligned as its type says. Two CPUs that accept for the same
    // router at once may mix their descriptions of the last one, and both then report; the counters stay
    // exact.
    unsafe {
        increment(&raw mut (*slot).adverts);
        let known = (*slot).last_len == len
            && u64::from_ne_bytes((*slot).last_header) == u64::from_ne_bytes(advert.header)
            && words((*slot).last_source) == words(source);
        let news = (*slot).news;
        if known && news != 0 && ptr::read_volatile(&raw const (*slot).quiet) == u64::from(news) {
            ptr::write_volatile(&raw mut (*slot).last_seen_ns, now);
            return None;
        }
        if advert.priority() == 0 {
            increment32(&raw mut (*slot).priority_zero);
        }
        // 0 is for "none".
        let news = if news == u16::MAX { 1 } else { news + 1 };
        ptr::write_volatile(&raw mut (*slot).news, news);
        (*slot).last_source = source;
        (*slot).last_header = advert.header;
        (*slot).last_len = len;
        ptr::write_volatile(&raw mut (*slot).last_seen_ns, now);
        Some(news)
    }
}

/// Counts an accepted advertisement for whoever sent it: in the quiet path, too, because it costs 29 of 245 ns there
/// (`BPF_PROG_TEST_RUN`), and less would have to be put together by every reader.
#[inline(always)]
fn count_peer<A: Family>(slot: u32, advert: &Advert<A>, now: u64) {
    let key = PeerKey { slot, source: advert.source.to_field() };
    let priority = u64::from(advert.priority());
    let peer = PEERS.get_ptr_mut(key).or_else(|| {
        // Not all zero, which the compiler would make a call of memset: see `V4::to_field`.
        let none_yet = PeerCounters { adverts: 0, last_seen_ns: now, priority };
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

/// Whether a router has been news too often of late. Nothing is lost by that: what was not reported is not
/// acknowledged either, so that the next advertisement is news again.
#[inline(always)]
fn limited(slot: u32, now: u64) -> bool {
    let Some(news) = NEWS.get_ptr_mut(slot) else { return true };
    // SAFETY: a map value, aligned as its type says. Two CPUs may each miss the other's count: the limit
    // holds per CPU at worst.
    unsafe {
        if now - (*news).since_ns > NEWS_WINDOW_NS {
            (*news).since_ns = now;
            (*news).count = 0;
        }
        (*news).count += 1;
        (*news).count > NEWS_BURST
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
    news: u16,
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
        news,
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
