//! The only access to packet memory.

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::helpers::{bpf_csum_diff, bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::programs::XdpContext;
use vrrp_common::MAX_VRRP_LEN;
use vrrp_common::parse::Load;

use crate::maps::Record;

/// The most that `bpf_csum_diff` sums in one call before Linux 6.13 (`MAX_BPF_STACK`).
const CSUM_MAX: usize = 512;

/// The frame that an XDP program runs on.
pub struct Frame<'a> {
    ctx: &'a XdpContext,
    /// Where [`Load::sum`] puts its copy; `None` until a message is in sight.
    record: Option<&'a mut Record>,
}

impl<'a> Frame<'a> {
    /// The frame, for the header walk.
    #[inline(always)]
    pub fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx, record: None }
    }

    /// The frame, for the receive checks. [`Load::sum`] leaves the message in `record.payload`.
    #[inline(always)]
    pub fn with_record(ctx: &'a XdpContext, record: &'a mut Record) -> Self {
        Self { ctx, record: Some(record) }
    }
}

impl Load for Frame<'_> {
    #[inline(always)]
    fn frame_len(&self) -> usize {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { bpf_xdp_get_buff_len(self.ctx.ctx) as usize }
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let start = self.ctx.data() + offset;
        if start + N > self.ctx.data_end() {
            return None;
        }
        // SAFETY: `start..start + N` was just found to lie within the linear part of the frame.
        // Octets have no alignment.
        Some(unsafe { ptr::read(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut octets = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper writes N octets to `octets`, which is N octets long, or fails.
        let result = unsafe {
            bpf_xdp_load_bytes(self.ctx.ctx, offset as u32, octets.as_mut_ptr().cast(), N as u32)
        };
        // SAFETY: the helper succeeded, so it wrote all of `octets`.
        (result == 0).then(|| unsafe { octets.assume_init() })
    }

    #[inline(always)]
    fn sum(&mut self, offset: usize, len: usize) -> Option<u32> {
        if !(4..=MAX_VRRP_LEN).contains(&len) {
            return None;
        }
        let payload = self.record.as_mut()?.payload.as_mut_ptr();
        // SAFETY: the payload has MAX_VRRP_LEN octets, and `len` is no more.
        let result =
            unsafe { bpf_xdp_load_bytes(self.ctx.ctx, offset as u32, payload.cast(), len as u32) };
        if result != 0 {
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
