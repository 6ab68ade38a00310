//! What is kept of packets that were not accepted: enough to see who sends them and what is in them.
//!
//! The map `SAMPLES` has [`SAMPLES_KEPT`] places per [`crate::reason::Reason`] and CPU, and `SAMPLE_COUNTS` says how many
//! were ever written. Nobody needs to read it: new samples take the place of old ones.
//!
//! The kernel copies a sample for a reader while another CPU may be writing it, and neither side can say in which order
//! the other one sees its words: only x86 keeps them in order. So each sample carries a digest, and a reader takes none
//! that has another one.

use bytemuck::{Pod, Zeroable};

use crate::report::mix;

/// Samples that are kept per reason and CPU.
pub const SAMPLES_KEPT: usize = 8;
/// Span in which at most [`SAMPLES_KEPT`] packets of one reason are sampled on one CPU, nanoseconds.
pub const SAMPLE_WINDOW_NS: u64 = 100_000_000;
/// Bytes of a VRRP message that a sample has room for: its header and 14 addresses.
pub const SAMPLE_PAYLOAD_LEN: usize = 64;

/// One packet of IP protocol 112 that was not accepted, or not reported.
///
/// Integers are in host order, addresses in network order. An IPv4 address stands in the first four
/// bytes of its field, the rest is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Sample {
    /// Arrival, nanoseconds of `CLOCK_MONOTONIC` (`bpf_ktime_get_ns`).
    pub ktime_ns: u64,
    /// Interface on which the packet arrived.
    pub ifindex: u32,
    /// VLAN IDs in the frame, outermost first, 0 where there is none.
    pub vlan: [u16; 2],
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// [`crate::FAMILY_V4`] or [`crate::FAMILY_V6`].
    pub family: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Virtual router identifier; 0 as well where the message is too short to have one.
    pub vrid: u8,
    /// Always zero.
    pub reserved: u8,
    /// Length of the VRRP message by the IP header, in bytes.
    pub wire_len: u16,
    /// Bytes of `payload` that are the packet's.
    pub payload_len: u16,
    /// The beginning of the VRRP message, padded with zeros.
    pub payload: [u8; SAMPLE_PAYLOAD_LEN],
    /// [`Sample::digest`] of all that is above.
    pub digest: u64,
}

/// How many samples there were of one reason, by one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SampleCounts {
    /// Samples written, ever.
    pub written: u64,
    /// Packets that were not sampled because there had been [`SAMPLES_KEPT`] in [`SAMPLE_WINDOW_NS`].
    pub missed: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self::zeroed()
    }
}

impl SampleCounts {
    /// Places that may have a sample: from 0 to this.
    #[allow(clippy::cast_possible_truncation, reason = "it is no more than SAMPLES_KEPT")]
    pub fn slots(&self) -> u32 {
        self.written.min(SAMPLES_KEPT as u64) as u32
    }
}

/// Index in `SAMPLES` of sample number `number`, from 0, of a reason.
#[inline(always)]
pub fn index(reason: u32, number: u64) -> u32 {
    const { assert!(SAMPLES_KEPT.is_power_of_two() && SAMPLES_KEPT <= 0x100) };
    #[allow(clippy::cast_possible_truncation, reason = "only the lowest bits count")]
    let (place, kept) = (number as u32, SAMPLES_KEPT as u32);
    reason.wrapping_mul(kept).wrapping_add(place & (kept - 1))
}

/// Words of a [`Sample`], the digest among them.
const WORDS: usize = size_of::<Sample>() / size_of::<u64>();

impl Sample {
    /// A number that depends on every byte but its own. Not that of zeros: a place that was never written is none.
    #[inline(always)]
    pub fn digest(&self) -> u64 {
        let words: &[u64; WORDS] = bytemuck::cast_ref(self);
        // The golden ratio: zeros mix nothing.
        let mut digest = 0x9e37_79b9_7f4a_7c15;
        for word in &words[..WORDS - 1] {
            digest = mix(digest, *word);
        }
        digest
    }

    /// Whether this is what was written, and not partly what was there before.
    pub fn is_whole(&self) -> bool {
        self.digest == self.digest()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_sample_takes_the_place_of_the_oldest() {
        let of = |numbers: core::ops::Range<u64>| numbers.map(|n| index(3, n));
        assert!(of(0..8).eq(24..32));
        assert!(of(8..16).eq(24..32));
        let places = |written| SampleCounts { written, missed: 0 }.slots();
        assert_eq!([0, 1, 8, 9, u64::MAX].map(places), [0, 1, 8, 8, 8]);
    }

    proptest! {
        /// A reader may see some words of what was there and some of what is being written, in any order.
        #[test]
        fn a_mixture_is_not_whole(
            old: Option<[u64; WORDS]>,
            new: [u64; WORDS],
            seen in 0u32..1 << WORDS,
        ) {
            let whole = |words: [u64; WORDS]| {
                let mut sample: Sample = bytemuck::cast(words);
                sample.digest = sample.digest();
                bytemuck::cast::<Sample, [u64; WORDS]>(sample)
            };
            let old = old.map_or([0; WORDS], whole);
            let new = whole(new);
            let mixture: [u64; WORDS] =
                core::array::from_fn(|n| if seen >> n & 1 == 1 { new[n] } else { old[n] });
            let sample: Sample = bytemuck::cast(mixture);
            let expected = mixture == new || (mixture == old && old != [0; WORDS]);
            prop_assert_eq!(sample.is_whole(), expected);
        }
    }

    #[test]
    fn a_value_fits_a_per_cpu_map() {
        // `PCPU_MIN_UNIT_SIZE` in include/linux/percpu.h.
        assert!(size_of::<Sample>() <= 32 * 1024);
        assert_eq!(size_of::<Sample>(), 128);
    }
}
