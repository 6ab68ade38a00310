//! Signed advertisements (`vrrp_common::hmac`), in an XDP program of its own: a host that has none loads none of this. The stack
//! of a tc program has no room for the call of another one.
//!
//! Functions that the verifier goes through once each, whoever calls them and however often: they are global, take numbers
//! only besides what the program runs on, and find their memory anew.

use aya_ebpf::bindings::{BPF_ANY, xdp_md};
use vrrp_common::hmac::{self, MAX_BLOCKS, Sequence, Signatures, Work};
use vrrp_common::maps::{HmacKeyId, PeerKey};
use vrrp_common::parse::{self, V4, V6};
use vrrp_common::reason::Reason;
use vrrp_common::receive::{self, Datapath};
use vrrp_common::sha256::{self, BLOCK_LEN};

use crate::cursor::{Context, Frame, Headers, InPlace, XdpBuff, from_one, unknown};
use crate::maps::{CONTROL, Family, HMAC_KEYS, HMAC_MARKS, SCRATCH};
use crate::xdp_ingress::{self, AT_ONCE, NO_VRRP, chain};

/// As `xdp_ingress::classify`, of an advertisement for a router with signatures.
#[inline(always)]
pub fn classify(ctx: XdpBuff) -> Option<u32> {
    let frame = InPlace::of(ctx)?;
    let ethertype = parse::ethertype(&frame)?;
    if let Some(packet) = parse::network::<V4>(&frame, ethertype) {
        return Some(vrrp::<V4>(ctx, packet.offset, ctx.vlans(packet.vlan), AT_ONCE));
    }
    let packet = parse::network::<V6>(&frame, ethertype)?;
    let vlan = ctx.vlans(packet.vlan);
    let chain = chain(ctx, packet.offset, packet.protocol);
    let chain = if packet.is_vrrp() { AT_ONCE } else { chain };
    let chain = unknown(chain, ctx.ifindex());
    (chain != NO_VRRP).then(|| vrrp::<V6>(ctx, packet.offset, vlan, chain))
}

#[inline(always)]
fn vrrp<A: Family>(ctx: XdpBuff, offset: usize, vlan: [u16; 2], chain: u32) -> u32 {
    let receive = |ctx: XdpBuff, offset, vlan, extensions| {
        let noise = ctx.ifindex();
        let mut reason = unknown(begin::<A>(ctx, offset, vlan, extensions), noise);
        if reason == Reason::Accepted.index() {
            reason = unknown(vrrp_check_xdp(ctx.0), noise);
        }
        if reason == Reason::Accepted.index() {
            reason = finish::<A>(ctx, offset, vlan, extensions);
        }
        reason
    };
    xdp_ingress::evaluate::<_, A>(ctx, offset, vlan, chain, receive, |_| {})
}

/// Not inlined, for the reason of `xdp_ingress::receive`.
#[inline(never)]
fn begin<A: Family>(ctx: XdpBuff, offset: usize, vlan: u32, extensions: u16) -> u32 {
    xdp_ingress::received::<_, A>(ctx, offset, vlan, extensions, receive::begin_signed)
}

/// Likewise.
#[inline(never)]
fn finish<A: Family>(ctx: XdpBuff, offset: usize, vlan: u32, extensions: u16) -> u32 {
    xdp_ingress::received::<_, A>(ctx, offset, vlan, extensions, receive::finish_signed)
}

impl Signatures for Frame<XdpBuff> {
    #[inline(always)]
    fn work(&mut self) -> Option<&mut Work> {
        let record = self.record()?;
        // SAFETY: this CPU's only record. Nobody has another reference to the field: `compress` and `hash_blocks` are called
        // without one.
        Some(unsafe { &mut (*record).work })
    }

    #[inline(always)]
    fn take_key(&mut self, id: &HmacKeyId) -> bool {
        let Some(key) = HMAC_KEYS.get_ptr(id) else { return false };
        let Some(work) = self.work() else { return false };
        // SAFETY: what the look-up returned. Each word is read once; whoever changes a key puts another one in its place.
        unsafe {
            let (inner, outer) = (&raw const (*key).inner, &raw const (*key).outer);
            copy(inner.cast(), (&raw mut work.block.state).cast());
            copy(outer.cast(), (&raw mut work.outer).cast());
        }
        true
    }

    #[inline(always)]
    fn mark(&self, peer: &PeerKey) -> Option<Sequence> {
        let mark = HMAC_MARKS.get_ptr(peer)?;
        // SAFETY: what the look-up returned; it is read once.
        Some(Sequence(unsafe { mark.read_volatile() }))
    }

    #[inline(always)]
    fn set_mark(&mut self, peer: &PeerKey, sequence: Sequence) -> bool {
        match HMAC_MARKS.get_ptr_mut(peer) {
            Some(mark) => {
                // SAFETY: what the look-up returned; eight bytes, which the kernel aligns.
                unsafe { mark.write_volatile(sequence.0) };
                true
            }
            None => HMAC_MARKS.insert(peer, sequence.0, u64::from(BPF_ANY)).is_ok(),
        }
    }

    #[inline(always)]
    fn clock(&self) -> Sequence {
        let Some(control) = CONTROL.get_ptr(0) else { return Sequence::default() };
        // SAFETY: an entry of the array; the word is read once.
        let offset = unsafe { (&raw const (*control).realtime_offset).read_volatile() };
        Sequence::at(self.now().wrapping_add(offset))
    }

    #[inline(always)]
    fn copy_words<const AT: usize>(&mut self, offset: usize, len: usize) -> bool {
        const { assert!(AT + BLOCK_LEN <= size_of::<Work>()) };
        let ctx = self.context();
        let Some(work) = self.work() else { return false };
        let to = (&raw mut *work).cast::<u8>().wrapping_add(AT);
        // SAFETY: `len` is no more than a block, which begins the work, has room for behind `AT`.
        unsafe { ctx.copy(offset, to, from_one::<BLOCK_LEN>(len)) }
    }

    #[inline(always)]
    fn clear(&mut self) {
        let Some(work) = self.work() else { return };
        let words: *mut u64 = (&raw mut work.block.words).cast();
        for n in 0..BLOCK_LEN / 8 {
            // Volatile, because the compiler would make a call of memset.
            // SAFETY: within the block, which begins the work and so stands at a multiple of eight bytes.
            unsafe { words.add(n).write_volatile(0) };
        }
    }

    #[inline(always)]
    fn compress(&mut self) {
        vrrp_compress();
    }

    /// Not a loop: a verifier that follows branches whose outcome it knows would follow its end each time.
    #[inline(always)]
    fn hash_blocks(&mut self, blocks: usize, offset: usize, end: usize) -> bool {
        let ctx = self.context();
        let noise = ctx.ifindex();
        let (blocks, offset, end) = (blocks as u32, offset as u32, end as u32);
        macro_rules! blocks {
            ($($number:literal)*) => {
                $(
                    const { assert!($number < MAX_BLOCKS) };
                    if unknown(blocks, noise) <= $number {
                        return true;
                    }
                    if vrrp_hash_xdp(ctx.0, $number, offset, end) == 0 {
                        return false;
                    }
                )*
            };
        }
        blocks!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
        blocks!(32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
        blocks!(60 61 62 63 64);
        true
    }
}

/// # Safety
///
/// 32 bytes must be valid for reads at `from`, and for writes at `to`, and both stand at a multiple of eight.
#[inline(always)]
unsafe fn copy(from: *const u64, to: *mut u64) {
    for n in 0..4 {
        // SAFETY: the caller vouches for them.
        unsafe { to.add(n).write(from.add(n).read_volatile()) };
    }
}

/// Takes the block in this CPU's record into its state.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vrrp_compress() -> u32 {
    let Some(record) = SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's only record. Whoever calls this has no reference to the field.
    sha256::compress(unsafe { &mut (*record).work.block });
    1
}

/// [`receive::check_signature`] of what is in this CPU's record.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vrrp_check_xdp(ctx: *mut xdp_md) -> u32 {
    let mut frame = Frame::new(XdpBuff(ctx));
    // At once: whether it is there would be asked later as well, and the verifier of Linux 6.1 goes both ways then.
    if !frame.take_record() {
        return Reason::HmacUnchecked.index();
    }
    let Some(record) = frame.record() else { return Reason::HmacUnchecked.index() };
    // SAFETY: this CPU's only record. Nobody writes the field before the next look-up of a router.
    let entry = unsafe { &(*record).entry };
    receive::check_signature(&mut frame, entry)
}

/// [`hmac::hash_block`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vrrp_hash_xdp(ctx: *mut xdp_md, number: u32, offset: u32, end: u32) -> u32 {
    let mut frame = Frame::new(XdpBuff(ctx));
    if !frame.take_record() {
        return 0;
    }
    hmac::hash_block(&mut frame, number as usize, offset as usize, end as usize).into()
}
