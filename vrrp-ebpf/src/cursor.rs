//! The only access to packet memory, and to what else the kernel says about a packet.

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::helpers::{
    bpf_csum_diff, bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
};
use aya_ebpf::programs::{TcContext, XdpContext};
use vrrp_common::MAX_VRRP_LEN;
use vrrp_common::parse::Load;
use vrrp_common::sample::SAMPLE_PAYLOAD_LEN;

use crate::maps::Record;

/// The most that `bpf_csum_diff` sums in one call before Linux 6.13 (`MAX_BPF_STACK`).
const CSUM_MAX: usize = 512;

/// What a program runs on: the kinds of program differ in how they reach their frame, and in nothing else.
pub trait Context {
    /// Addresses of the first octet of the frame and of the end of its linear part.
    fn linear(&self) -> (usize, usize);

    /// Octets of the frame.
    fn frame_len(&self) -> u32;

    /// Copies `len` octets of the frame, wherever they lie. False past the end.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writes of `len` octets.
    unsafe fn copy(&self, offset: usize, to: *mut u8, len: usize) -> bool;
}

impl Context for XdpContext {
    #[inline(always)]
    fn linear(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as u32 }
    }

    #[inline(always)]
    unsafe fn copy(&self, offset: usize, to: *mut u8, len: usize) -> bool {
        // SAFETY: the caller vouches for `to`; the helper writes `len` octets there, or fails.
        unsafe { bpf_xdp_load_bytes(self.ctx, offset as u32, to.cast(), len as u32) == 0 }
    }
}

impl Context for TcContext {
    #[inline(always)]
    fn linear(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    unsafe fn copy(&self, offset: usize, to: *mut u8, len: usize) -> bool {
        // SAFETY: the caller vouches for `to`; the helper writes `len` octets there, or fails.
        unsafe {
            bpf_skb_load_bytes(self.skb.skb.cast(), offset as u32, to.cast(), len as u32) == 0
        }
    }
}

/// The frame that a program runs on.
pub struct Frame<'a, C> {
    ctx: &'a C,
    /// Where [`Load::sum`] puts its copy; `None` until a message is in sight.
    record: Option<&'a mut Record>,
}

impl<'a, C> Frame<'a, C> {
    /// The frame, for the header walk.
    #[inline(always)]
    pub fn new(ctx: &'a C) -> Self {
        Self { ctx, record: None }
    }

    /// The frame, for the receive checks. [`Load::sum`] leaves the message in `record.payload`.
    #[inline(always)]
    pub fn with_record(ctx: &'a C, record: &'a mut Record) -> Self {
        Self { ctx, record: Some(record) }
    }
}

impl<C: Context> Frame<'_, C> {
    /// Copies the `len` octets at `offset` to the beginning of `to`. False past the end of either, and for
    /// nothing at all.
    #[inline(always)]
    pub fn copy(&self, offset: usize, to: &mut [u8; SAMPLE_PAYLOAD_LEN], len: usize) -> bool {
        if !(1..=SAMPLE_PAYLOAD_LEN).contains(&len) {
            return false;
        }
        // SAFETY: `to` has SAMPLE_PAYLOAD_LEN octets, and `len` is no more.
        unsafe { self.ctx.copy(offset, to.as_mut_ptr(), bounded(len)) }
    }
}

/// What is known of a packet on its way out besides its frame (`struct __sk_buff`, linux/bpf.h).
impl Frame<'_, TcContext> {
    /// Interface that the packet leaves by.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { (*self.ctx.skb.skb).ifindex }
    }

    /// The tag that the device is to put into the frame, 0 for none (IEEE 802.1Q).
    #[inline(always)]
    pub fn vlan_tci(&self) -> u32 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { (*self.ctx.skb.skb).vlan_tci }
    }

    /// Packets that the device is to make of this one: 0 when it is one already.
    #[inline(always)]
    pub fn gso_segs(&self) -> u32 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { (*self.ctx.skb.skb).gso_segs }
    }
}

impl<C: Context> Load for Frame<'_, C> {
    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.ctx.frame_len() as usize
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let (data, data_end) = self.ctx.linear();
        let start = data + offset;
        if start + N > data_end {
            return None;
        }
        // SAFETY: `start..start + N` was just found to lie within the linear part of the frame.
        // Octets have no alignment.
        Some(unsafe { ptr::read(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut octets = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: `octets` is N octets long.
        let copied = unsafe { self.ctx.copy(offset, octets.as_mut_ptr().cast(), N) };
        // SAFETY: all of `octets` was written.
        copied.then(|| unsafe { octets.assume_init() })
    }

    #[inline(always)]
    fn sum(&mut self, offset: usize, len: usize) -> Option<u32> {
        if !(4..=MAX_VRRP_LEN).contains(&len) {
            return None;
        }
        let payload = self.record.as_mut()?.payload.as_mut_ptr();
        // SAFETY: the payload has MAX_VRRP_LEN octets, and `len` is no more.
        if !unsafe { self.ctx.copy(offset, payload, len) } {
            return None;
        }
        let payload = payload.cast_const();
        // Spelled out, because the verifier wants to see the bounds of every single call.
        if len < CSUM_MAX {
            return csum(payload, 0, len, 0);
        }
        let sum = csum(payload, 0, CSUM_MAX, 0)?;
        if len < 2 * CSUM_MAX {
            return csum(payload, CSUM_MAX, len - CSUM_MAX, sum);
        }
        let sum = csum(payload, CSUM_MAX, CSUM_MAX, sum)?;
        csum(payload, 2 * CSUM_MAX, len - 2 * CSUM_MAX, sum)
    }
}

/// A length from 1 to [`SAMPLE_PAYLOAD_LEN`], unchanged, in an instruction whose result has these bounds. A
/// comparison is not enough for the verifier of a daemon without CAP_PERFMON before Linux 6.17: it also follows
/// the way on which the processor mistakes the outcome.
#[inline(always)]
fn bounded(len: usize) -> usize {
    const MASK: usize = SAMPLE_PAYLOAD_LEN - 1;
    const { assert!(SAMPLE_PAYLOAD_LEN.is_power_of_two()) };
    let mut less_one = len.wrapping_sub(1);
    #[cfg(target_arch = "bpf")]
    // SAFETY: the instruction touches this register only.
    unsafe {
        core::arch::asm!("{n} &= {mask}", n = inout(reg) less_one, mask = const MASK, options(pure, nomem, nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        less_one &= MASK;
    }
    less_one + 1
}

/// Adds `len` octets at `payload + at` to a ones' complement sum. All of them must lie within a
/// record's payload; the verifier makes sure.
#[inline(always)]
fn csum(payload: *const u8, at: usize, len: usize, sum: u32) -> Option<u32> {
    // SAFETY: the caller has bounded `at + len` by the length of the payload.
    let result = unsafe {
        let start = payload.add(at).cast_mut().cast();
        bpf_csum_diff(ptr::null_mut(), 0, start, len as u32, sum)
    };
    u32::try_from(result).ok()
}
