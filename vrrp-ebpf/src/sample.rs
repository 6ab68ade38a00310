//! Samples of what was not accepted. Nothing of it reaches the daemon; whoever wants to know reads the map.

use core::mem::offset_of;
use core::sync::atomic::{Ordering, compiler_fence};

use vrrp_common::parse::{Address, Packet};
use vrrp_common::reason::Reason;
use vrrp_common::sample::{SAMPLE_PAYLOAD_LEN, SAMPLE_WINDOW_NS, SAMPLES_KEPT, Sample};

use crate::cursor::{Context, Frame, below};
use crate::maps::SAMPLES;

// For the words in which `keep` writes.
const _: () = assert!(offset_of!(Sample, payload).is_multiple_of(align_of::<u64>()));

/// Keeps a sample of a packet, unless there have been too many of late.
#[inline(always)]
pub fn keep<C: Context, A: Address>(
    frame: &Frame<'_, C>,
    ifindex: u32,
    packet: &Packet<A>,
    reason: Reason,
    now: u64,
) {
    let Some(samples) = SAMPLES.get_ptr_mut(reason.index()) else { return };
    // SAFETY: this CPU's value, returned by the map look-up; XDP runs to its end on one CPU and does not nest.
    let samples = unsafe { &mut *samples };
    let place = below::<SAMPLES_KEPT>(samples.written as usize);
    let Some(sample) = samples.samples.get_mut(place) else { return };
    // Its place is the oldest one's: that one's age is the span of all that are kept.
    if now - sample.ktime_ns < SAMPLE_WINDOW_NS {
        samples.missed += 1;
        return;
    }
    let Some(message) = A::extent(frame, packet) else { return };

    samples.begun += 1;
    compiler_fence(Ordering::SeqCst);
    sample.ktime_ns = now;
    sample.ifindex = ifindex;
    sample.vlan = packet.vlan;
    sample.source = packet.source.to_field();
    sample.destination = packet.destination.to_field();
    sample.family = A::FAMILY;
    sample.ttl = message.ttl;
    sample.wire_len = message.wire_len as u16;
    let words: *mut u64 = (&raw mut sample.payload).cast();
    for n in 0..SAMPLE_PAYLOAD_LEN / 8 {
        // Volatile, because the compiler would make a call of memset: see `V4::to_field`.
        // SAFETY: the field is made of that many words, and stands at a multiple of eight octets in its sample.
        unsafe { words.add(n).write_volatile(0) };
    }
    let copied = frame.copy(message.offset, &mut sample.payload, message.present);
    sample.payload_len = if copied { message.present as u16 } else { 0 };
    sample.vrid = sample.payload[1];
    compiler_fence(Ordering::SeqCst);
    samples.written += 1;
}
