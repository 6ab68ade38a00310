//! Samples of what was not accepted. Nothing of it reaches the daemon; whoever wants to know reads the map.

use core::mem::offset_of;

use vrrp_common::parse::{Address, Extent, Packet};
use vrrp_common::sample::{SAMPLE_PAYLOAD_LEN, SAMPLE_WINDOW_NS, Sample, index};

use crate::cursor::{Context, Frame, unknown};
use crate::maps::{SAMPLE_COUNTS, SAMPLES};

// For the words in which `keep` writes.
const _: () = assert!(offset_of!(Sample, payload).is_multiple_of(align_of::<u64>()));

/// Keeps a sample of a packet with its message, or of one that has none, unless there have been too many of late.
#[inline(always)]
pub fn keep<C: Context, A: Address>(
    frame: &Frame<C>,
    ifindex: u32,
    packet: &Packet<A>,
    message: Extent,
    reason: u32,
    now: u64,
) {
    let Some(counts) = SAMPLE_COUNTS.get_ptr_mut(reason) else { return };
    // SAFETY: this CPU's value, returned by the map look-up; XDP runs to its end on one CPU and does not nest.
    let counts = unsafe { &mut *counts };
    // A place of the map, and not one behind a pointer: where a program adds a number that varies to a pointer into a
    // map, the verifier of a daemon without CAP_PERFMON follows every way through it anew, as none resembles another
    // (`explore_alu_limits`, kernel/bpf/verifier.c).
    let Some(sample) = SAMPLES.get_ptr_mut(index(reason, counts.written)) else { return };
    // SAFETY: as above.
    let sample = unsafe { &mut *sample };
    // Its place is the oldest one's: that one's age is the span of all that are kept.
    if now - sample.ktime_ns < SAMPLE_WINDOW_NS {
        counts.missed += 1;
        return;
    }
    // The least and the most of them come out by branches, all combinations of which the verifier would follow.
    let offset = unknown(message.offset as u32, ifindex) as usize;
    let wire_len = unknown(message.wire_len as u32, ifindex);
    let present = unknown(message.present as u32, ifindex) as usize;

    sample.ktime_ns = now;
    sample.ifindex = ifindex;
    sample.vlan = packet.vlan;
    sample.source = packet.source.to_field();
    sample.destination = packet.destination.to_field();
    sample.family = A::FAMILY;
    sample.ttl = message.ttl;
    sample.wire_len = wire_len as u16;
    let words: *mut u64 = (&raw mut sample.payload).cast();
    for n in 0..SAMPLE_PAYLOAD_LEN / 8 {
        // Volatile, because the compiler would make a call of memset: see `V4::to_field`.
        // SAFETY: the field is made of that many words, and stands at a multiple of eight bytes in its sample.
        unsafe { words.add(n).write_volatile(0) };
    }
    let copied = frame.copy(offset, &mut sample.payload, present);
    sample.payload_len = if copied { present as u16 } else { 0 };
    sample.vrid = sample.payload[1];
    sample.digest = sample.digest();
    counts.written += 1;
}
