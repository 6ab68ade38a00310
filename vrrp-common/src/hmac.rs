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
pub const MAX_BLOCKS: usize = (PSEUDO_LEN + MAX_VRRP_LEN + 9).div_ceil(BLOCK_LEN);

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

/// What the check of one signature works on, in memory of the caller's: the stack of the kernel side has no room for it.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Work {
    /// The block that is hashed.
    pub block: Block,
    /// Of the key: [`HmacKey::outer`].
    pub outer: [u32; 8],
    /// What is signed before the message ([`pseudo`]), as it stands in memory.
    pub pseudo: [u32; PSEUDO_LEN / 4],
    /// Where in the frame the message is.
    pub offset: u32,
    /// Bytes of it.
    pub len: u32,
    /// Where in the frame its trailer is; 0 if it has none.
    pub trailer: u32,
    /// The [`Sequence`] in that, once it was read.
    pub sequence: u64,
}

impl Work {
    /// Takes the advertisement that is to be checked, of this version.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "shorter than a frame")]
    pub fn set_advert<A: Address>(&mut self, advert: &Advert<A>, version: u8) {
        let header = Header(advert.header);
        let [a, b, c, d]: [u32; 4] = bytemuck::cast(advert.source.to_field());
        let begin = u32::from_ne_bytes([ip_version(A::FAMILY), header.version(), header.vrid(), 0]);
        self.pseudo = [begin, a, b, c, d];
        (self.offset, self.len) = (advert.offset as u32, advert.len as u32);
        self.trailer = trailer(advert, version).unwrap_or(0) as u32;
    }

    /// Who has sent it to the router of a slot.
    #[inline(always)]
    pub fn peer(&self, slot: u32) -> PeerKey {
        let [_, a, b, c, d] = self.pseudo;
        PeerKey { slot, source: bytemuck::cast([a, b, c, d]) }
    }

    /// Takes a key.
    pub fn set_key(&mut self, key: &HmacKey) {
        (self.block.state, self.outer) = (key.inner, key.outer);
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::zeroed()
    }
}

/// What a signature is checked by, besides the frame.
pub trait Signatures: Load {
    /// What the check works on, which nobody else has. `None` never happens, which the verifier does not know.
    fn work(&mut self) -> Option<&mut Work>;

    /// Takes a key of a router ([`Work::set_key`]). False where there is none.
    fn take_key(&mut self, id: &HmacKeyId) -> bool;

    /// The last sequence that was accepted of a source.
    fn mark(&self, peer: &PeerKey) -> Option<Sequence>;

    /// Remembers that. False where there is no room for it.
    fn set_mark(&mut self, peer: &PeerKey, sequence: Sequence) -> bool;

    /// The clock of this host.
    fn clock(&self) -> Sequence;

    /// Puts `len` bytes at `offset` of the frame, 1 to [`BLOCK_LEN`] and a multiple of four, into the block, `AT` bytes behind its
    /// beginning. False where there are not so many.
    fn copy_words<const AT: usize>(&mut self, offset: usize, len: usize) -> bool;

    /// Nothing in the block.
    #[inline(always)]
    fn clear(&mut self) {
        if let Some(work) = self.work() {
            work.block.words = [0; 16];
        }
    }

    /// Takes the block into its state.
    #[inline(always)]
    fn compress(&mut self) {
        if let Some(work) = self.work() {
            compress(&mut work.block);
        }
    }

    /// [`hash_block`] of so many blocks. False where one fails.
    #[inline(always)]
    fn hash_blocks(&mut self, blocks: usize, offset: usize, end: usize) -> bool {
        (0..blocks).all(|number| hash_block(self, number, offset, end))
    }
}

/// The checks of a router that has keys, on the advertisement in the work, whose length and way are right: [`Reason::Accepted`], or
/// the first one that fails. What costs little comes first.
#[inline(always)]
pub fn check(path: &mut impl Signatures, entry: &RouterEntry) -> Reason {
    let Some(work) = path.work() else { return Reason::HmacMissing };
    let (at, peer) = (work.trailer as usize, &work.peer(entry.slot));
    if at == 0 {
        let unsigned = entry.hmac & hmac::UNSIGNED != 0;
        return if unsigned { Reason::Accepted } else { Reason::HmacMissing };
    }
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
    if !path.take_key(&id) {
        return Reason::HmacUnknownKey;
    }
    // Before the signature, which costs more: that of a replayed one is right.
    let counts = |mark: &Sequence| !by_clock || mark.is_within(entry.hmac_window, clock);
    if path.mark(peer).filter(counts).is_some_and(|mark| !sequence.is_after(mark)) {
        return Reason::HmacReplay;
    }
    if let Some(work) = path.work() {
        work.sequence = sequence.0;
    }
    if is_authentic(path) { Reason::Accepted } else { Reason::HmacBad }
}

/// Remembers that the advertisement in the work was accepted of a source: behind all checks, as somebody might change what the
/// signature does not cover and send it before it arrives.
#[inline(always)]
pub fn remember(path: &mut impl Signatures, peer: &PeerKey) -> Reason {
    let Some(work) = path.work() else { return Reason::HmacReplay };
    let (trailer, sequence) = (work.trailer, Sequence(work.sequence));
    // What cannot be remembered could be replayed.
    if trailer == 0 || path.set_mark(peer, sequence) {
        Reason::Accepted
    } else {
        Reason::HmacReplay
    }
}

/// Whether the trailer has the signature of the message before it, by the key that was taken.
#[inline(always)]
fn is_authentic(path: &mut impl Signatures) -> bool {
    let Some(work) = path.work() else { return false };
    let (offset, len) = (work.offset as usize, work.len as usize);
    // Where what is hashed ends, and with the mark and the length behind it (FIPS 180-4 section 5.1.1).
    let end = PSEUDO_LEN + len;
    let blocks = (end + 9).div_ceil(BLOCK_LEN);
    if blocks > MAX_BLOCKS || !path.hash_blocks(blocks, offset, end) {
        return false;
    }
    let Some(work) = path.work() else { return false };
    let inner = work.block.state;
    path.clear();
    let Some(work) = path.work() else { return false };
    outer(work, inner);
    path.compress();
    let Some(work) = path.work() else { return false };
    let at = work.trailer as usize + HEAD_LEN;
    let Some(tag) = path.load_at::<TAG_LEN>(at) else { return false };
    let [a, b, c, d]: [u32; 4] = bytemuck::cast(tag);
    let Some(work) = path.work() else { return false };
    let [w, x, y, z, ..] = work.block.state;
    // All of it, wherever they differ.
    (a ^ w.to_be()) | (b ^ x.to_be()) | (c ^ y.to_be()) | (d ^ z.to_be()) == 0
}

/// Takes the block of this number into the state, of what is hashed of the message at `offset` in the frame, which ends at `end`
/// behind its beginning: that is [`PSEUDO_LEN`] bytes before the message. False where the frame ends before it.
#[inline(always)]
pub fn hash_block(
    path: &mut (impl Signatures + ?Sized),
    number: usize,
    offset: usize,
    end: usize,
) -> bool {
    let start = number * BLOCK_LEN;
    // Where zeros stand for the signature.
    let present = end - TAG_LEN;
    path.clear();
    if number == 0 {
        let len = (present - PSEUDO_LEN).min(BLOCK_LEN - PSEUDO_LEN);
        if !path.copy_words::<PSEUDO_LEN>(offset, len) {
            return false;
        }
        let Some(work) = path.work() else { return false };
        let words = &mut work.block.words;
        let [a, b, c, d, e] = work.pseudo;
        (words[0], words[1], words[2], words[3], words[4]) = (a, b, c, d, e);
        // The checksum of the message.
        words[6] &= u32::from_ne_bytes([0xff, 0xff, 0, 0]);
    } else if start < present {
        let len = (present - start).min(BLOCK_LEN);
        if !path.copy_words::<0>(offset + (start - PSEUDO_LEN), len) {
            return false;
        }
    }
    let Some(work) = path.work() else { return false };
    pad(&mut work.block, start, end);
    path.compress();
    true
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

/// From the hash of the inner blocks to the outer one, in a block of zeros.
#[inline(always)]
fn outer(work: &mut Work, [a, b, c, d, e, f, g, h]: [u32; 8]) {
    let block = &mut work.block;
    let words = &mut block.words;
    (words[0], words[1], words[2], words[3]) = (a.to_be(), b.to_be(), c.to_be(), d.to_be());
    (words[4], words[5], words[6], words[7]) = (e.to_be(), f.to_be(), g.to_be(), h.to_be());
    words[8] = 0x8000_0000_u32.to_be();
    words[15] = OUTER_BITS.to_be();
    block.state = work.outer;
}

const _: () = assert!(PSEUDO_LEN + VRRP_HEADER_LEN < BLOCK_LEN);

#[cfg(test)]
mod tests;
