//! The kernel side: program entries, which turn a [`Reason`] into a verdict and count it.
//!
//! On the host this is an empty program, so that `cargo build --workspace` works; `cargo xtask build`
//! makes the object. Clippy sees everything on any target.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![allow(
    clippy::cast_possible_truncation,
    reason = "helpers take u32, and everything that is counted here is shorter than a frame"
)]

#[cfg(any(target_arch = "bpf", clippy))]
mod claims;
#[cfg(any(target_arch = "bpf", clippy))]
mod cursor;
#[cfg(any(target_arch = "bpf", clippy))]
mod datapath;
#[cfg(any(target_arch = "bpf", clippy))]
mod fence;
#[cfg(any(target_arch = "bpf", clippy))]
mod hmac;
#[cfg(any(target_arch = "bpf", clippy))]
mod maps;
#[cfg(any(target_arch = "bpf", clippy))]
mod sample;
#[cfg(any(target_arch = "bpf", clippy))]
mod tc_egress;
#[cfg(any(target_arch = "bpf", clippy))]
mod virtual_mac;
#[cfg(any(target_arch = "bpf", clippy))]
mod xdp_ingress;

#[cfg(any(target_arch = "bpf", clippy))]
mod entry {
    use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
    use aya_ebpf::macros::{classifier, xdp};
    use aya_ebpf::programs::{TcContext, XdpContext};
    use vrrp_common::reason::ReasonSet;
    use vrrp_common::virtual_mac::words;

    use crate::cursor::{Copied, Headers, InPlace, SkBuff, XdpBuff};
    use crate::{datapath, hmac, maps, tc_egress, virtual_mac, xdp_ingress};

    /// `TCX_NEXT` (linux/bpf.h), and `TC_ACT_UNSPEC` (linux/pkt_cls.h): the packet goes on to the next program.
    const TCX_NEXT: i32 = -1;
    /// `TCX_DROP` (linux/bpf.h), and `TC_ACT_SHOT` (linux/pkt_cls.h): the packet ends here.
    const TCX_DROP: i32 = 2;

    /// Every received frame. `frags`, so that it attaches natively on interfaces with jumbo frames.
    #[xdp(frags)]
    #[allow(clippy::needless_pass_by_value, reason = "so that the attribute understands it")]
    pub fn vrrp_xdp(ctx: XdpContext) -> u32 {
        xdp_verdict(xdp_ingress::classify::<InPlace<_>>(XdpBuff(ctx.ctx)))
    }

    /// Advertisements for routers that sign theirs: that one calls it.
    #[xdp(frags)]
    #[allow(clippy::needless_pass_by_value, reason = "so that the attribute understands it")]
    pub fn vrrp_hmac_xdp(ctx: XdpContext) -> u32 {
        xdp_verdict(hmac::classify(XdpBuff(ctx.ctx)))
    }

    /// Counts a reason, for an XDP program.
    #[inline(always)]
    fn xdp_verdict(reason: Option<u32>) -> u32 {
        let Some(reason) = reason else { return XDP_PASS };
        maps::count(reason);
        if ReasonSet::DROPPED.contains(reason) { XDP_DROP } else { XDP_PASS }
    }

    /// Every received frame, where XDP is not available or does not see all of it: behind XDP, and behind packet sockets.
    #[classifier]
    #[allow(clippy::needless_pass_by_value, reason = "so that the attribute understands it")]
    pub fn vrrp_ingress(ctx: TcContext) -> i32 {
        let frame = SkBuff(ctx.skb.skb);
        frame.pull_headers();
        ingress::<InPlace<_>>(frame, datapath::any_virtual_mac)
    }

    /// The same, for a verifier that permits no access to packets in place.
    #[classifier]
    #[allow(clippy::needless_pass_by_value, reason = "so that the attribute understands it")]
    pub fn vrrp_copy_in(ctx: TcContext) -> i32 {
        ingress::<Copied>(SkBuff(ctx.skb.skb), datapath::any_virtual_mac_apart)
    }

    #[inline(always)]
    fn ingress<H: Headers<Frame = SkBuff>>(
        frame: SkBuff,
        any_virtual_mac: impl FnOnce() -> bool,
    ) -> i32 {
        let verdict = verdict(xdp_ingress::classify::<H>(frame));
        // Looked at here, where that costs least: nearly all frames are for this host alone. Who has the virtual MAC address of
        // a master besides shows that in frames for all, or for others. As a rule there is none on this host.
        if verdict == TCX_NEXT
            && !frame.is_for_host()
            && any_virtual_mac()
            && let Some(addresses) = H::again::<12>(frame, 0)
        {
            let [to, from] = words(addresses);
            virtual_mac::count(frame, to, from);
        }
        verdict
    }

    /// Every frame on its way out.
    #[classifier]
    #[allow(clippy::needless_pass_by_value, reason = "so that the attribute understands it")]
    pub fn vrrp_egress(ctx: TcContext) -> i32 {
        verdict(tc_egress::classify::<InPlace<_>>(SkBuff(ctx.skb.skb)))
    }

    /// The same, for a verifier that permits no access to packets in place.
    #[classifier]
    #[allow(clippy::needless_pass_by_value, reason = "so that the attribute understands it")]
    pub fn vrrp_copy_out(ctx: TcContext) -> i32 {
        verdict(tc_egress::classify::<Copied>(SkBuff(ctx.skb.skb)))
    }

    /// Counts a reason, for a tc program.
    #[inline(always)]
    fn verdict(reason: Option<u32>) -> i32 {
        let Some(reason) = reason else { return TCX_NEXT };
        maps::count(reason);
        if ReasonSet::DROPPED.contains(reason) { TCX_DROP } else { TCX_NEXT }
    }

    /// The kernel's `bpf_csum_diff` and friends are not reserved to GPL programs, but the string must
    /// name a licence that the kernel knows.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
