//! What is kept of packets that were not accepted: enough to see who sends them and what is in them.
//!
//! The map `SAMPLES` has one [`Samples`] per [`crate::reason::Reason`] and CPU. Nobody needs to read it: new
//! samples take the place of old ones.

use bytemuck::{Pod, Zeroable};

/// Samples that are kept per reason and CPU.
pub const SAMPLES_KEPT: usize = 8;
/// Span in which at most [`SAMPLES_KEPT`] packets of one reason are sampled on one CPU, nanoseconds.
pub const SAMPLE_WINDOW_NS: u64 = 100_000_000;
/// Octets of a VRRP message that a sample has room for: its header and 14 addresses.
pub const SAMPLE_PAYLOAD_LEN: usize = 64;

/// One packet of IP protocol 112 that was not accepted, or not reported.
///
/// Integers are in host order, addresses in network order. An IPv4 address stands in the first four
/// octets of its field, the rest is zero.
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
    /// Length of the VRRP message by the IP header, in octets.
    pub wire_len: u16,
    /// Octets of `payload` that are the packet's.
    pub payload_len: u16,
    /// The beginning of the VRRP message, padded with zeros.
    pub payload: [u8; SAMPLE_PAYLOAD_LEN],
}

/// The latest samples of one reason, by one CPU.
///
/// The kernel copies a value from its first octet to its last while another CPU may be writing it. So the
/// writer raises `begun`, writes the sample, and raises `written`; a reader that finds them apart knows which
/// samples it may have caught half written.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Samples {
    /// Samples written, ever: number `n`, from 0, is or was in place `n` modulo [`SAMPLES_KEPT`].
    pub written: u64,
    /// Packets that were not sampled because there had been [`SAMPLES_KEPT`] in [`SAMPLE_WINDOW_NS`].
    pub missed: u64,
    /// The samples.
    pub samples: [Sample; SAMPLES_KEPT],
    /// Samples begun, ever.
    pub begun: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self::zeroed()
    }
}

impl Default for Samples {
    fn default() -> Self {
        Self::zeroed()
    }
}

impl Samples {
    /// The samples that are whole, newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Sample> {
        let kept = SAMPLES_KEPT as u64;
        let oldest = self.begun.saturating_sub(kept);
        let numbers = (oldest..self.written).rev().take(SAMPLES_KEPT);
        #[allow(clippy::cast_possible_truncation, reason = "it is less than SAMPLES_KEPT")]
        numbers.map(move |n| &self.samples[(n % kept) as usize])
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    /// What a CPU leaves that has written samples with these times.
    fn after(times: core::ops::Range<u64>) -> Samples {
        let mut samples = Samples::default();
        for (n, time) in times.enumerate() {
            samples.samples[n % SAMPLES_KEPT].ktime_ns = time;
            samples.written += 1;
        }
        samples.begun = samples.written;
        samples
    }

    fn times(samples: &Samples) -> Vec<u64> {
        samples.recent().map(|sample| sample.ktime_ns).collect()
    }

    #[test]
    fn newest_first_and_no_more_than_there_are() {
        assert_eq!(times(&after(0..0)), [0; 0]);
        assert_eq!(times(&after(10..13)), [12, 11, 10]);
        assert_eq!(times(&after(10..18)), [17, 16, 15, 14, 13, 12, 11, 10]);
        assert_eq!(times(&after(10..21)), [20, 19, 18, 17, 16, 15, 14, 13]);
    }

    #[test]
    fn what_is_being_written_is_left_out() {
        let mut samples = after(10..21);
        samples.begun += 1;
        samples.samples[11 % SAMPLES_KEPT].ktime_ns = 999;
        assert_eq!(times(&samples), [20, 19, 18, 17, 16, 15, 14]);
        // The first of all.
        let samples = Samples { begun: 1, ..Samples::default() };
        assert_eq!(times(&samples), [0; 0]);
        // A reader that was held up while everything was overwritten.
        let mut samples = after(10..21);
        samples.begun += 100;
        assert_eq!(times(&samples), [0; 0]);
    }

    #[test]
    fn a_value_fits_a_per_cpu_map() {
        // `PCPU_MIN_UNIT_SIZE` in include/linux/percpu.h.
        assert!(size_of::<Samples>() <= 32 * 1024);
        assert_eq!((size_of::<Sample>(), size_of::<Samples>()), (120, 984));
    }
}
