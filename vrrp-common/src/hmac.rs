//! Signed advertisements (draft-cassen-vrrp-auth-hmac-00, keepalived 2.4.1 and later): the trailer behind a message, and its checks.
//!
//! Generic over [`Signatures`], as [`crate::receive`] is over its `Datapath`: the same code runs in the kernel side, in the
//! daemon and on a host. Here nothing is signed: the daemon does that with a library.

use bytemuck::{Pod, Zeroable};

use crate::maps::{HmacKey, HmacKeyId, PeerKey, RouterEntry, hmac};
use crate::message::Header;
pub use crate::message::TRAILER_LEN;
use crate::parse::{Address, Advert, Load, trailer};
use crate::reason::Reason;
use crate::sha256::{BLOCK_LEN, Block, INITIAL, compress};
use crate::{FAMILY_V4, MAX_VRRP_LEN, VRRP_HEADER_LEN};

/// Bytes of it that are signed.
pub const HEAD_LEN: usize = 12;
/// Bytes of a signature: HMAC-SHA256, cut (RFC 2104 section 5).
pub const TAG_LEN: usize = TRAILER_LEN - HEAD_LEN;
/// Bytes that are signed before the message: family, version, VRID, and the source address in sixteen bytes.
pub const PSEUDO_LEN: usize = 20;
/// `ext_type` of a trailer: HMAC-SHA256, cut to 128 bits.
pub const HMAC_SHA256_128: u8 = 1;
/// Versions of IP.
const IPV4: u8 = 4;
const IPV6: u8 = 6;
/// The longest message that can have a trailer, bytes.
pub const MAX_SIGNED_LEN: usize = MAX_VRRP_LEN - TRAILER_LEN;
/// Blocks of the longest one, with the padding.
const MAX_BLOCKS: usize = (PSEUDO_LEN + MAX_VRRP_LEN + 9).div_ceil(BLOCK_LEN);

/// How a trailer begins.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Head {
    /// [`HMAC_SHA256_128`].
    pub ext_type: u8,
    /// Which key, 1-255.
    pub key_id: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// [`Sequence`], in network order.
    pub sequence: [u8; 8],
}

/// When an advertisement was signed, in units of 2^-32 s since 1970 (UTC): seconds, a fraction of 16 bits, and a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// That of a time, nanoseconds since 1970.
    #[inline(always)]
    pub const fn at(realtime_ns: u64) -> Self {
        let (seconds, nanos) = (realtime_ns / 1_000_000_000, realtime_ns % 1_000_000_000);
        Self(seconds << 32 | ((nanos << 16) / 1_000_000_000) << 16)
    }

    /// Seconds since 1970.
    #[inline(always)]
    pub const fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether it comes after another one (RFC 1982 section 3.2, with 64 bits).
    #[inline(always)]
    pub const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// Seconds by which it is ahead of another one; less than zero if it is behind.
    #[inline(always)]
    pub const fn ahead_of(self, other: Self) -> i32 {
        self.seconds().wrapping_sub(other.seconds()).cast_signed()
    }

    /// Whether it lies no more than `window` seconds from another one.
    #[inline(always)]
    pub const fn is_within(self, window: u16, other: Self) -> bool {
        self.ahead_of(other).unsigned_abs() <= window as u32
    }

    /// That of the next advertisement: the clock's, or else one more than the last one. By the clock (`window`, seconds), one that was
    /// further ahead of it than others accept is left behind.
    #[must_use]
    pub fn next(self, clock: Self, window: Option<u16>) -> Self {
        let is_far = window.is_some_and(|window| self.ahead_of(clock) > i32::from(window));
        if clock.is_after(self) || is_far || self == Self::default() {
            return clock;
        }
        Self(self.0.wrapping_add(1))
    }
}

/// The `family` that is signed.
#[inline(always)]
const fn ip_version(family: u8) -> u8 {
    if family == FAMILY_V4 { IPV4 } else { IPV6 }
}

/// What is signed before the message.
pub fn pseudo(family: u8, header: Header, source: [u8; 16]) -> [u8; PSEUDO_LEN] {
    let ip = ip_version(family);
    let mut pseudo = [0; PSEUDO_LEN];
    pseudo[..4].copy_from_slice(&[ip, header.version(), header.vrid(), 0]);
    pseudo[4..].copy_from_slice(&source);
    pseudo
}

/// The states of a key of at most [`BLOCK_LEN`] bytes: what is behind that is left out.
pub fn prepare(key: &[u8]) -> HmacKey {
    let half = |pad: u8| {
        let mut bytes = [pad; BLOCK_LEN];
        for (byte, key) in bytes.iter_mut().zip(key) {
            *byte ^= key;
        }
        let mut block = Block { words: bytemuck::cast(bytes), ..Block::new(INITIAL) };
        compress(&mut block);
        block.state
    };
    HmacKey { inner: half(0x36), outer: half(0x5c) }
}

/// What a signature is checked by, besides the frame.
pub trait Signatures: Load {
    /// A key of a router.
    fn hmac_key(&self, id: &HmacKeyId) -> Option<HmacKey>;

    /// The last sequence that was accepted of a source.
    fn mark(&self, peer: &PeerKey) -> Option<Sequence>;

    /// Remembers that. False where there is no room for it.
    fn set_mark(&mut self, peer: &PeerKey, sequence: Sequence) -> bool;

    /// The clock of this host.
    fn clock(&self) -> Sequence;

    /// Puts `len` bytes at `offset` of the frame, 1 to [`BLOCK_LEN`] and a multiple of four, into a block, `AT` bytes behind its
    /// beginning. Those must have been summed.
    #[inline(always)]
    fn copy_words<const AT: usize>(&mut self, block: &mut Block, offset: usize, len: usize) {
        let places = block.words.iter_mut().skip(AT / 4).take(len / 4);
        for (place, at) in places.zip((offset..).step_by(4)) {
            *place = u32::from_ne_bytes(self.load_at(at).unwrap_or([0; 4]));
        }
    }
}

/// The checks of a router that has keys, on an advertisement that has passed all others: [`Reason::Accepted`], or the first one that
/// fails. What costs little comes first.
#[inline(always)]
pub fn check<A: Address>(
    path: &mut impl Signatures,
    block: &mut Block,
    advert: &Advert<A>,
    entry: &RouterEntry,
    peer: &PeerKey,
) -> Reason {
    let Some(at) = trailer(advert, entry.version) else {
        let unsigned = entry.hmac & hmac::UNSIGNED != 0;
        return if unsigned { Reason::Accepted } else { Reason::HmacMissing };
    };
    let Some(head) = path.load_at::<HEAD_LEN>(at) else { return Reason::Truncated };
    let Head { ext_type, key_id, reserved: [r0, r1], sequence } = bytemuck::cast(head);
    if ext_type != HMAC_SHA256_128 || r0 | r1 != 0 {
        return Reason::HmacMalformed;
    }
    let (sequence, clock) = (Sequence(u64::from_be_bytes(sequence)), path.clock());
    let by_clock = entry.hmac & hmac::MONOTONIC == 0;
    if by_clock && !sequence.is_within(entry.hmac_window, clock) {
        return Reason::HmacStale;
    }
    let id = HmacKeyId::new(entry.slot, key_id);
    let Some(key) = path.hmac_key(&id) else { return Reason::HmacUnknownKey };
    // Before the signature, which costs more: that of a replayed one is right.
    let counts = |mark: &Sequence| !by_clock || mark.is_within(entry.hmac_window, clock);
    if path.mark(peer).filter(counts).is_some_and(|mark| !sequence.is_after(mark)) {
        return Reason::HmacReplay;
    }
    if !is_authentic(path, block, advert, &key, at) {
        return Reason::HmacBad;
    }
    // What cannot be remembered could be replayed.
    if path.set_mark(peer, sequence) { Reason::Accepted } else { Reason::HmacReplay }
}

/// Whether the trailer at `at` in the frame has the signature of the message before it.
#[inline(always)]
fn is_authentic<A: Address>(
    path: &mut impl Signatures,
    block: &mut Block,
    advert: &Advert<A>,
    key: &HmacKey,
    at: usize,
) -> bool {
    let Some(tag) = path.load_at::<TAG_LEN>(at + HEAD_LEN) else { return false };
    let header = Header(advert.header);
    // Where the message ends, and where what is not zero of it.
    let end = PSEUDO_LEN + advert.len;
    let present = end - TAG_LEN;
    block.state = key.inner;
    for number in 0..MAX_BLOCKS {
        let start = number * BLOCK_LEN;
        if start >= end + 9 {
            break;
        }
        clear(block);
        if number == 0 {
            let len = (present - PSEUDO_LEN).min(BLOCK_LEN - PSEUDO_LEN);
            path.copy_words::<PSEUDO_LEN>(block, advert.offset, len);
            let ip = ip_version(A::FAMILY);
            block.words[0] = u32::from_ne_bytes([ip, header.version(), header.vrid(), 0]);
            let [a, b, c, d]: [u32; 4] = bytemuck::cast(advert.source.to_field());
            (block.words[1], block.words[2], block.words[3], block.words[4]) = (a, b, c, d);
            // The checksum of the message.
            block.words[6] &= u32::from_ne_bytes([0xff, 0xff, 0, 0]);
        } else if start < present {
            let len = (present - start).min(BLOCK_LEN);
            path.copy_words::<0>(block, advert.offset + (start - PSEUDO_LEN), len);
        }
        pad(block, start, end);
        compress(block);
    }
    outer(block, key);
    let [a, b, c, d]: [u32; 4] = bytemuck::cast(tag);
    let [w, x, y, z, ..] = block.state;
    // All of it, wherever they differ.
    (a ^ w.to_be()) | (b ^ x.to_be()) | (c ^ y.to_be()) | (d ^ z.to_be()) == 0
}

/// Nothing in the block.
#[inline(always)]
fn clear(block: &mut Block) {
    macro_rules! words {
        ($($n:literal)*) => { $(block.words[$n] = 0;)* };
    }
    words!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// The padding of a message that ends at `end`, a multiple of four, as far as it is in the block that begins at `start` (FIPS 180-4 section
/// 5.1.1). A block of the key stands before both.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "shorter than a frame")]
fn pad(block: &mut Block, start: usize, end: usize) {
    macro_rules! words {
        ($($n:literal)*) => {
            // All ones where they are the same, without a branch.
            $(
                let differs = ((start + 4 * $n) ^ end) as u64;
                let same = (differs.wrapping_sub(1).cast_signed() >> 63) as u32;
                block.words[$n] |= same & 0x8000_0000_u32.to_be();
            )*
        };
    }
    words!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    if start + BLOCK_LEN >= end + 9 {
        block.words[15] = (((BLOCK_LEN + end) * 8) as u32).to_be();
    }
}

/// Bits of what the outer hash is of: a block of the key, and the inner hash.
const OUTER_BITS: u32 = (64 + 32) * 8;

/// From the hash of the inner block to the HMAC.
#[inline(always)]
fn outer(block: &mut Block, key: &HmacKey) {
    let [a, b, c, d, e, f, g, h] = block.state;
    clear(block);
    let words = &mut block.words;
    (words[0], words[1], words[2], words[3]) = (a.to_be(), b.to_be(), c.to_be(), d.to_be());
    (words[4], words[5], words[6], words[7]) = (e.to_be(), f.to_be(), g.to_be(), h.to_be());
    words[8] = 0x8000_0000_u32.to_be();
    words[15] = OUTER_BITS.to_be();
    block.state = key.outer;
    compress(block);
}

const _: () = assert!(PSEUDO_LEN + VRRP_HEADER_LEN < BLOCK_LEN);

#[cfg(test)]
mod tests;
