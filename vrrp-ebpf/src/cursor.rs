//! The only access to packet memory, and to what else the kernel says about a packet.

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::{
    bpf_csum_diff, bpf_skb_load_bytes, bpf_skb_pull_data, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
};
use aya_ebpf::programs::XdpContext;
use vrrp_common::parse::{self, Address, DIGEST_BLOCK, Load, Packet, UNTAGGED, VLAN_ID};
use vrrp_common::report::mix;
use vrrp_common::sample::SAMPLE_PAYLOAD_LEN;
use vrrp_common::{MAX_ADDRESSES, MAX_VRRP_LEN, VRRP_AUTH_LEN, VRRP_HEADER_LEN};

use crate::maps::{CSUM_MAX, HMAC_XDP, PAYLOAD_ROOM, Record, SCRATCH};

// As many pieces as `sum` and `sum_rest` sum.
const _: () = assert!(MAX_VRRP_LEN <= 8 * CSUM_MAX && PAYLOAD_ROOM == 8 * CSUM_MAX);

/// linux/if_packet.h.
pub const PACKET_HOST: u32 = 0;
const PACKET_OTHERHOST: u32 = 3;

/// Bytes of a message, up to the end of the first block of its addresses, behind the end of which there are zeros.
const PADDED: usize = VRRP_HEADER_LEN + DIGEST_BLOCK;

/// What a program runs on: the kinds of program differ in how they reach their frame, and in nothing else.
pub trait Context: Copy {
    /// Whether [`Self::load`] is faster than [`Self::copy`].
    const IN_PLACE: bool;

    /// The bytes at `offset`, which is a constant once everything is inlined; `None` past the end.
    fn load<const N: usize>(self, offset: usize) -> Option<[u8; N]>;

    /// Bytes of the frame.
    fn frame_len(self) -> u32;

    /// Copies `len` bytes of the frame, wherever they lie. False past the end.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writes of `len` bytes.
    unsafe fn copy(self, offset: usize, to: *mut u8, len: usize) -> bool;

    /// Packets that were received in this frame.
    fn packets(self) -> u32;

    /// Interface that the program runs on.
    fn ifindex(self) -> u32;

    /// Whether the kernel says that the frame is for another host; `None` where it has not looked yet.
    fn for_other_host(self) -> Option<bool>;

    /// The VLAN ID of a tag that stands beside the frame, 0 for none (IEEE 802.1Q).
    fn vlan_beside(self) -> u16;

    /// VLAN IDs, outermost first, of a frame with these ones in it.
    #[inline(always)]
    fn vlans(self, [outer, inner]: [u16; 2]) -> [u16; 2] {
        match self.vlan_beside() {
            0 => [outer, inner],
            beside => [beside, outer],
        }
    }
}

/// The frame of an XDP program.
#[derive(Clone, Copy)]
pub struct XdpBuff(pub *mut xdp_md);

/// The frame of a tc program.
#[derive(Clone, Copy)]
pub struct SkBuff(pub *mut __sk_buff);

impl Context for XdpBuff {
    const IN_PLACE: bool = true;

    #[inline(always)]
    fn load<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        in_place(self, offset)
    }

    #[inline(always)]
    fn frame_len(self) -> u32 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }

    #[inline(always)]
    unsafe fn copy(self, offset: usize, to: *mut u8, len: usize) -> bool {
        // SAFETY: the caller vouches for `to`; the helper writes `len` bytes there, or fails.
        unsafe { bpf_xdp_load_bytes(self.0, offset as u32, to.cast(), len as u32) == 0 }
    }

    #[inline(always)]
    fn packets(self) -> u32 {
        1
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { (*self.0).ingress_ifindex }
    }

    #[inline(always)]
    fn for_other_host(self) -> Option<bool> {
        None
    }

    /// What the device has stripped is lost to XDP.
    #[inline(always)]
    fn vlan_beside(self) -> u16 {
        0
    }
}

impl SkBuff {
    /// Whether the kernel says that the frame is for an Ethernet address of this interface.
    #[inline(always)]
    pub fn is_for_host(self) -> bool {
        // SAFETY: the context pointer is the one that the kernel called us with.
        (unsafe { (*self.0).pkt_type }) == PACKET_HOST
    }
}

impl Context for SkBuff {
    const IN_PLACE: bool = false;

    #[inline(always)]
    fn load<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        copied(self, offset)
    }

    #[inline(always)]
    fn frame_len(self) -> u32 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { (*self.0).len }
    }

    #[inline(always)]
    unsafe fn copy(self, offset: usize, to: *mut u8, len: usize) -> bool {
        // SAFETY: the caller vouches for `to`; the helper writes `len` bytes there, or fails.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset as u32, to.cast(), len as u32) == 0 }
    }

    /// The kernel may have put several into one (GRO); on the way out, the device is to make several of one (GSO).
    #[inline(always)]
    fn packets(self) -> u32 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { (*self.0).gso_segs }.max(1)
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe { (*self.0).ifindex }
    }

    #[inline(always)]
    fn for_other_host(self) -> Option<bool> {
        // SAFETY: the context pointer is the one that the kernel called us with.
        Some(unsafe { (*self.0).pkt_type } == PACKET_OTHERHOST)
    }

    /// On the way in, that of the outermost tag, whether the device or the kernel has stripped it
    /// (`skb_vlan_untag`); on the way out, that which the device is to put into the frame. Before Linux 6.2 the number
    /// of a tag stays where the VLAN device has taken it off (`__vlan_hwaccel_clear_tag`), and only the mark goes.
    #[inline(always)]
    fn vlan_beside(self) -> u16 {
        // SAFETY: the context pointer is the one that the kernel called us with.
        let (present, tci) = unsafe { ((*self.0).vlan_present, (*self.0).vlan_tci) };
        // The mark is 0 or 1. A branch would give the verifier more to do.
        (tci * present) as u16 & VLAN_ID
    }
}

/// A frame whose beginning can be read in place.
pub trait Linear: Context {
    /// Addresses of the first byte of the frame and of the end of its linear part.
    ///
    /// Read anew in each call, and so that the compiler cannot join two of them: before Linux 6.17 the verifier of a
    /// daemon without CAP_PERFMON follows a branch whose outcome it knows in both directions, as a processor may
    /// mistake it, and forgets there what the compared registers hold. Of an address that was just read it knows no
    /// outcome.
    fn linear(self) -> (usize, usize);

    /// Goes over to the program that checks signatures, and comes back where there is none, as for tc.
    fn go_to_checker(self);
}

impl Linear for XdpBuff {
    #[inline(always)]
    fn linear(self) -> (usize, usize) {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe {
            let data = ptr::read_volatile(&raw const (*self.0).data);
            (data as usize, ptr::read_volatile(&raw const (*self.0).data_end) as usize)
        }
    }

    #[inline(always)]
    fn go_to_checker(self) {
        // SAFETY: nothing that has a destructor is alive where this is called.
        unsafe { HMAC_XDP.tail_call(&XdpContext::new(self.0), 0) };
    }
}

impl Linear for SkBuff {
    #[inline(always)]
    fn linear(self) -> (usize, usize) {
        // SAFETY: the context pointer is the one that the kernel called us with.
        unsafe {
            let data = ptr::read_volatile(&raw const (*self.0).data);
            (data as usize, ptr::read_volatile(&raw const (*self.0).data_end) as usize)
        }
    }

    #[inline(always)]
    fn go_to_checker(self) {}
}

/// Bytes up to the end of an IPv6 header behind an Ethernet header: what is read in the fast way.
const HEADERS: usize = 54;

impl SkBuff {
    /// Makes the headers of a received frame linear: most drivers have put them there, and nothing obliges them to.
    #[inline(always)]
    pub fn pull_headers(self) {
        let (data, data_end) = self.linear();
        if data + HEADERS > data_end {
            // In a shorter frame this fails, and then all of it is linear.
            // SAFETY: the context pointer is the one that the kernel called us with. Addresses of the frame are read
            // anew in each access.
            unsafe { bpf_skb_pull_data(self.0, HEADERS as u32) };
        }
    }
}

/// The bytes of a frame at `offset`, if they lie within its linear part.
#[inline(always)]
fn in_place<const N: usize>(frame: impl Linear, offset: usize) -> Option<[u8; N]> {
    let (data, data_end) = frame.linear();
    let start = data + offset;
    if start + N > data_end {
        return None;
    }
    // SAFETY: `start..start + N` was just found to lie within the linear part of the frame.
    Some(unsafe { bytes(start) })
}

/// The bytes of a frame at `offset`, wherever they lie; `None` past the end.
#[inline(always)]
fn copied<const N: usize>(frame: impl Context, offset: usize) -> Option<[u8; N]> {
    let mut bytes = Aligned(MaybeUninit::<[u8; N]>::uninit());
    // SAFETY: `bytes` is N bytes long.
    let copied = unsafe { frame.copy(offset, bytes.0.as_mut_ptr().cast(), N) };
    // SAFETY: all of `bytes` was written.
    copied.then(|| unsafe { bytes.0.assume_init() })
}

/// Bytes by the words that they are made of.
///
/// # Safety
///
/// `start..start + N` must be valid for reads.
#[inline(always)]
unsafe fn bytes<const N: usize>(start: usize) -> [u8; N] {
    let mut bytes = Aligned(MaybeUninit::<[u8; N]>::uninit());
    let to: *mut u8 = bytes.0.as_mut_ptr().cast();
    // Not a loop, which would be unrolled too late for the words to stay in registers.
    macro_rules! words {
        ($($at:literal)*) => {
            const { assert!(N < 48) };
            $(if N >= $at + 8 {
                // SAFETY: the caller vouches for `start..start + N`, and `bytes` has as many bytes from a multiple
                // of eight on.
                unsafe { to.add($at).cast::<u64>().write(word(start + $at)) };
            })*
        };
    }
    words!(0 8 16 24 32);
    let mut at = N / 8 * 8;
    if N & 4 != 0 {
        // SAFETY: as above.
        unsafe { to.add(at).cast::<u32>().write(word(start + at)) };
        at += 4;
    }
    if N & 2 != 0 {
        // SAFETY: as above.
        unsafe { to.add(at).cast::<u16>().write(word(start + at)) };
        at += 2;
    }
    if N & 1 != 0 {
        // SAFETY: as above.
        unsafe { to.add(at).write(word(start + at)) };
    }
    // SAFETY: all of `bytes` was written.
    unsafe { bytes.0.assume_init() }
}

/// A way to read the headers of a frame, for the walk through them.
pub trait Headers: Load + Sized {
    /// The frame.
    type Frame: Context;

    /// The headers of a frame. No program fails to get them; the verifier does not know that.
    fn of(frame: Self::Frame) -> Option<Self>;

    /// Bytes of a frame whose headers have been walked through: nothing is kept for it from before, so that the verifier need
    /// not tell apart by which way that was.
    fn again<const N: usize>(frame: Self::Frame, offset: usize) -> Option<[u8; N]>;

    /// Goes over to the program that checks signatures, and comes back where there is none.
    fn go_to_checker(frame: Self::Frame);
}

/// In place, which costs next to nothing.
pub struct InPlace<C>(C);

impl<C: Linear> Headers for InPlace<C> {
    type Frame = C;

    #[inline(always)]
    fn of(frame: C) -> Option<Self> {
        Some(Self(frame))
    }

    #[inline(always)]
    fn again<const N: usize>(frame: C, offset: usize) -> Option<[u8; N]> {
        in_place(frame, offset)
    }

    #[inline(always)]
    fn go_to_checker(frame: C) {
        frame.go_to_checker();
    }
}

impl<C: Linear> Load for InPlace<C> {
    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.0.frame_len() as usize
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        in_place(self.0, offset)
    }

    #[inline(always)]
    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        copied(self.0, offset)
    }

    /// There is no message among the headers.
    #[inline(always)]
    fn sum(&mut self, _: usize, _: usize) -> Option<u32> {
        None
    }
}

/// Copied to this CPU's record, for verifiers that permit nothing else: that of Linux 5.10 lets a daemon without
/// CAP_PERFMON not even compare where a frame ends. It costs each packet some 15 ns more.
pub struct Copied {
    frame: SkBuff,
    start: usize,
    len: usize,
}

impl Copied {
    /// Up to the end of an IPv6 header behind two tags, in the next power of two.
    const ROOM: usize = 64;
}

impl Headers for Copied {
    type Frame = SkBuff;

    #[inline(always)]
    fn of(frame: SkBuff) -> Option<Self> {
        let record = SCRATCH.get_ptr_mut(0)?;
        // SAFETY: this CPU's only record; the program runs to its end on one CPU and does not nest.
        let start = unsafe { &raw mut (*record).payload }.cast::<u8>();
        let len = from_one::<{ Self::ROOM }>((frame.frame_len() as usize).min(Self::ROOM));
        // SAFETY: the payload has room for ROOM bytes, and `len` is no more.
        unsafe { frame.copy(0, start, len) }.then_some(Self { frame, start: start as usize, len })
    }

    #[inline(always)]
    fn again<const N: usize>(frame: SkBuff, offset: usize) -> Option<[u8; N]> {
        const { assert!(N <= Self::ROOM) };
        // Not on the stack, of which the functions of this program need the rest.
        let record = SCRATCH.get_ptr_mut(0)?;
        // SAFETY: this CPU's only record, whose payload has room for ROOM bytes, and so for N.
        unsafe {
            let start = (&raw mut (*record).payload).cast::<u8>();
            frame.copy(offset, start, N).then(|| bytes(start as usize))
        }
    }

    #[inline(always)]
    fn go_to_checker(_: SkBuff) {}
}

impl Load for Copied {
    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.frame.frame_len() as usize
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: that many bytes were copied.
        (offset + N <= self.len).then(|| unsafe { bytes(self.start + offset) })
    }

    #[inline(always)]
    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        copied(self.frame, offset)
    }

    /// There is no message among the headers.
    #[inline(always)]
    fn sum(&mut self, _: usize, _: usize) -> Option<u32> {
        None
    }
}

/// The frame that a program runs on.
pub struct Frame<C> {
    ctx: C,
    /// This CPU's record, once it was looked up.
    record: Option<*mut Record>,
}

impl<C: Context> Frame<C> {
    /// The frame.
    #[inline(always)]
    pub fn new(ctx: C) -> Self {
        Self { ctx, record: None }
    }

    /// Looks up this CPU's record once for all that need it: where [`Load::sum`] puts its copy, and a report is put
    /// together. False never happens, which the verifier does not know.
    #[inline(always)]
    pub fn take_record(&mut self) -> bool {
        self.record = SCRATCH.get_ptr_mut(0);
        self.record.is_some()
    }

    /// This CPU's only record. The program runs to its end on one CPU and does not nest, so nobody else has it.
    #[inline(always)]
    pub fn record(&self) -> Option<*mut Record> {
        self.record.or_else(|| SCRATCH.get_ptr_mut(0))
    }

    /// What the program runs on.
    #[inline(always)]
    pub fn context(&self) -> C {
        self.ctx
    }

    /// Copies the `len` bytes at `offset` to the beginning of `to`. False past the end of either, and for
    /// nothing at all.
    #[inline(always)]
    pub fn copy(&self, offset: usize, to: &mut [u8; SAMPLE_PAYLOAD_LEN], len: usize) -> bool {
        if !(1..=SAMPLE_PAYLOAD_LEN).contains(&len) {
            return false;
        }
        // SAFETY: `to` has SAMPLE_PAYLOAD_LEN bytes, and `len` is no more.
        unsafe { self.ctx.copy(offset, to.as_mut_ptr(), from_one::<SAMPLE_PAYLOAD_LEN>(len)) }
    }

    /// The payload of the record.
    #[inline(always)]
    fn payload(&self) -> Option<*mut u8> {
        // SAFETY: this CPU's only record, of which only the address of a field is taken.
        self.record().map(|record| unsafe { &raw mut (*record).payload }.cast())
    }
}

impl<C: Context> Load for Frame<C> {
    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.ctx.frame_len() as usize
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.ctx.load(offset)
    }

    #[inline(always)]
    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        copied(self.ctx, offset)
    }

    #[inline(always)]
    fn sum(&mut self, offset: usize, len: usize) -> Option<u32> {
        if !(4..=MAX_VRRP_LEN).contains(&len) {
            return None;
        }
        let payload = self.payload()?;
        let words: *mut u64 = payload.cast();
        for n in 0..PADDED / 8 {
            // So that nothing of an earlier message is behind a short one. Volatile, because the compiler would make a
            // call of memset.
            // SAFETY: within the payload, which stands at a multiple of eight bytes in its record.
            unsafe { words.add(n).write_volatile(0) };
        }
        let len = from_one::<PAYLOAD_ROOM>(len);
        // SAFETY: the payload has PAYLOAD_ROOM bytes, and `len` is no more.
        if !unsafe { self.ctx.copy(offset, payload, len) } {
            return None;
        }
        let payload = payload.cast_const();
        // Nearly all are shorter than this.
        let sum = csum::<0>(payload, len.min(CSUM_MAX), 0)?;
        if len <= CSUM_MAX {
            return Some(sum);
        }
        let sum = csum::<CSUM_MAX>(payload, (len - CSUM_MAX).min(CSUM_MAX), sum)?;
        if len <= 2 * CSUM_MAX {
            return Some(sum);
        }
        let sum = csum::<{ 2 * CSUM_MAX }>(payload, (len - 2 * CSUM_MAX).min(CSUM_MAX), sum)?;
        if len <= 3 * CSUM_MAX {
            return Some(sum);
        }
        // More than the usual MTU has room for.
        u32::try_from(sum_rest(payload, len, sum)).ok()
    }

    #[inline(always)]
    fn digest<A: Address>(&mut self, hash: u64, offset: usize, list: usize, len: usize) -> u64 {
        let Some(payload) = self.payload() else { return hash };
        // The same from here on whether it is short or long.
        let noise = self.ctx.ifindex();
        let (list, len) = (unknown(list as u32, noise), unknown(len as u32, noise));
        // Nearly all: nothing is behind the addresses but the zeros of `sum`.
        if list as usize <= DIGEST_BLOCK && len == VRRP_HEADER_LEN as u32 + list {
            // SAFETY: within the payload, which stands at a multiple of eight bytes in its record.
            unsafe { digest_block(at::<VRRP_HEADER_LEN>(payload).cast(), hash) }
        } else {
            digest_long::<C, A>(self.ctx, offset as u32, list, hash)
        }
    }

    #[inline(always)]
    fn load_summed<const N: usize, const AT: usize>(&self, _: usize) -> Option<[u8; N]> {
        const { assert!(AT + N <= PADDED) };
        let payload = self.payload()?;
        // SAFETY: within the payload, whose first PADDED bytes are those that were summed last, or zeros.
        Some(unsafe { payload.add(AT).cast::<[u8; N]>().read() })
    }

    #[inline(always)]
    fn forget(&self, number: u32) -> u32 {
        unknown(number, self.ctx.ifindex())
    }

    #[inline(always)]
    fn is_for_other_host(&self, mac: [u8; 6]) -> bool {
        match self.ctx.for_other_host() {
            Some(answer) => answer,
            None => parse::is_for_other_host(self, mac),
        }
    }
}

/// The bytes of an Ethernet address in a word.
const MAC: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// An Ethernet address of the frame, as `HELD_MAC` has it; two bytes behind it must be there.
#[inline(always)]
pub fn mac_at<C: Context>(ctx: C, offset: usize) -> Option<u64> {
    let bytes: [u8; 8] = ctx.load(offset)?;
    Some(u64::from_ne_bytes(bytes) & MAC)
}

/// The packet whose IP header is at `offset`, behind tags with these VLAN IDs, and with that many bytes of extension
/// headers. Its frame has shown already that it is one.
#[inline(always)]
pub fn packet<C: Context, A: Address>(
    ctx: C,
    offset: usize,
    vlan: u32,
    extensions: u16,
) -> Option<Packet<A>> {
    let (frame, vlan) = (&Frame::new(ctx), bytemuck::cast(vlan));
    // Nearly all have no tag: this is the fast way in.
    let packet = if C::IN_PLACE && offset == UNTAGGED {
        A::packet(frame, UNTAGGED, vlan)?
    } else {
        A::tagged(frame, offset, vlan)?
    };
    // The same from here on for both.
    let offset = unknown(packet.offset as u32, ctx.ifindex()) as usize;
    Some(Packet { offset, extensions, ..packet })
}

/// Bytes that are written and read by words.
#[repr(align(8))]
struct Aligned<T>(T);

/// A word of memory at any address.
///
/// # Safety
///
/// The bytes must be valid for reads.
#[inline(always)]
unsafe fn word<T: Word>(at: usize) -> T {
    // SAFETY: the caller vouches for the address.
    unsafe { T::read(at) }
}

/// The sizes in which packet memory is read. By the instruction itself, as the compiler would read byte by byte and
/// put them together: for all that it knows the address must be aligned. The kernel asks for that only on machines that
/// cannot do without (`check_pkt_ptr_alignment`, kernel/bpf/verifier.c), and the 14 bytes of an Ethernet header leave
/// nothing aligned.
trait Word: Sized {
    /// # Safety
    ///
    /// As [`word`].
    unsafe fn read(at: usize) -> Self;
}

macro_rules! word {
    ($($type:ident)*) => {
        $(impl Word for $type {
            #[inline(always)]
            unsafe fn read(at: usize) -> Self {
                #[cfg(target_arch = "bpf")]
                {
                    let word: u64;
                    // SAFETY: the caller vouches for the address; the instruction reads from there only.
                    unsafe {
                        core::arch::asm!(
                            concat!("{word} = *(", stringify!($type), " *)({at} + 0)"),
                            word = out(reg) word,
                            at = in(reg) at,
                            options(pure, readonly, nostack),
                        );
                    }
                    word as Self
                }
                #[cfg(not(target_arch = "bpf"))]
                // SAFETY: the caller vouches for the address.
                unsafe {
                    ptr::read_unaligned(at as *const Self)
                }
            }
        })*
    };
}

word!(u8 u16 u32 u64);

/// A number below `LIMIT`, a power of two, unchanged, in an instruction whose result has this bound. A comparison is
/// not enough: before Linux 6.17 the verifier of a daemon without CAP_PERFMON also follows the way on which the
/// processor mistakes the outcome, and older and newer ones forget a bound when they run out of registers.
#[inline(always)]
pub fn below<const LIMIT: usize>(number: usize) -> usize {
    const { assert!(LIMIT.is_power_of_two()) };
    let mut number = number;
    #[cfg(target_arch = "bpf")]
    // SAFETY: the instruction touches this register only.
    unsafe {
        core::arch::asm!("{n} &= {mask}", n = inout(reg) number, mask = const LIMIT - 1, options(pure, nomem, nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        number &= LIMIT - 1;
    }
    number
}

/// A number from 1 to `LIMIT`, a power of two, unchanged: see [`below`].
#[inline(always)]
pub fn from_one<const LIMIT: usize>(number: usize) -> usize {
    below::<LIMIT>(number.wrapping_sub(1)) + 1
}

/// A number unchanged, of which the verifier knows nothing any more but that it has 32 bits: what comes behind is
/// followed once, and not for each value that it may have. `noise` is any number of which it knows no more.
#[inline(always)]
pub fn unknown(number: u32, noise: u32) -> u32 {
    let mut number = u64::from(number);
    // Not a sum and a difference, whose bounds would tell the number.
    #[cfg(target_arch = "bpf")]
    // SAFETY: the instructions touch this register only.
    unsafe {
        core::arch::asm!("{n} ^= {noise}", "{n} ^= {noise}", n = inout(reg) number, noise = in(reg) u64::from(noise), options(nomem, nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        number = number ^ u64::from(noise) ^ u64::from(noise);
    }
    number as u32
}

/// Adds what lies behind the first `3 * CSUM_MAX` bytes of a message of `len` bytes to a ones' complement sum. No `u32`
/// where that fails.
///
/// Not inlined, as few messages are that long, and without a branch, as the verifier would follow each.
#[inline(never)]
fn sum_rest(payload: *const u8, len: usize, sum: u32) -> u64 {
    let (mut sum, mut all) = (u64::from(sum), 0);
    // Not a loop: every offset must be a constant.
    macro_rules! pieces {
        ($($number:literal)*) => {
            $(
                // What is left of the message, at least nothing and at most a piece.
                let left = (len as u64).wrapping_sub($number * CSUM_MAX as u64);
                let left = left & !sign(left);
                let over = left.wrapping_sub(CSUM_MAX as u64);
                let piece = (over & sign(over)).wrapping_add(CSUM_MAX as u64);
                let start = at::<{ $number * CSUM_MAX }>(payload);
                // SAFETY: the piece is within the record, which has room behind the payload for what the mask permits.
                sum = unsafe {
                    bpf_csum_diff(
                        ptr::null_mut(),
                        0,
                        start.cast(),
                        below::<{ 2 * CSUM_MAX }>(piece as usize) as u32,
                        sum as u32,
                    )
                } as u64;
                all |= sum;
            )*
        };
    }
    pieces!(3 4 5 6 7);
    // A number that is negative says that one failed.
    sum | all >> 32 << 32
}

/// All ones for a negative number, or else zero. By the instruction, as the compiler would make a branch.
#[inline(always)]
fn sign(number: u64) -> u64 {
    let mut sign = number;
    #[cfg(target_arch = "bpf")]
    // SAFETY: the instruction touches this register only.
    unsafe {
        core::arch::asm!("{n} s>>= 63", n = inout(reg) sign, options(pure, nomem, nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        sign = (sign.cast_signed() >> 63).cast_unsigned();
    }
    sign
}

/// Takes a block of [`DIGEST_BLOCK`] bytes into a hash.
///
/// # Safety
///
/// They must be valid for reads, and stand at a multiple of eight.
#[inline(always)]
unsafe fn digest_block(block: *const u64, mut hash: u64) -> u64 {
    for n in 0..DIGEST_BLOCK / 8 {
        // SAFETY: the caller vouches for them.
        hash = mix(hash, unsafe { block.add(n).read() });
    }
    hash
}

/// The same, as a function of its own for those who have many.
///
/// # Safety
///
/// As of [`digest_block`].
#[inline(never)]
unsafe fn digest_block_aside(block: *const u64, hash: u64) -> u64 {
    // SAFETY: as the caller says.
    unsafe { digest_block(block, hash) }
}

/// Takes the `list` bytes behind the header of a long message into a hash, or those of one with something behind them. It
/// is at `offset` in the frame, and at the beginning of the payload.
///
/// Not inlined, as few messages are that long.
#[inline(never)]
fn digest_long<C: Context, A: Address>(ctx: C, offset: u32, list: u32, mut hash: u64) -> u64 {
    /// Whole blocks of the greatest number of addresses, and of authentication data.
    const fn most(address_len: usize) -> usize {
        (MAX_ADDRESSES * address_len + VRRP_AUTH_LEN) / DIGEST_BLOCK
    }
    const { assert!(VRRP_HEADER_LEN + most(size_of::<A>()) * DIGEST_BLOCK <= PAYLOAD_ROOM) };
    let Some(record) = SCRATCH.get_ptr_mut(0) else { return hash };
    // SAFETY: this CPU's only record, of which only the address of a field is taken.
    let payload: *mut u8 = unsafe { &raw mut (*record).payload }.cast();
    'whole: {
        // Not a loop: every offset must be a constant, and its end the verifier would miss (`unknown`).
        macro_rules! whole {
            ($($number:literal)*) => {
                $({
                    const END: u32 = ($number + 1) * DIGEST_BLOCK as u32;
                    if $number >= most(size_of::<A>()) || unknown(list, offset) < END {
                        break 'whole;
                    }
                    let block = at::<{ VRRP_HEADER_LEN + $number * DIGEST_BLOCK }>(payload);
                    // SAFETY: within the payload, which stands at a multiple of eight bytes in its record.
                    hash = unsafe { digest_block_aside(block.cast(), hash) };
                })*
            };
        }
        whole!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
        whole!(32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
        whole!(60 61 62);
    }
    let left = list % DIGEST_BLOCK as u32;
    if left == 0 {
        return hash;
    }
    // Once more, as the stack has no room to keep what was found before: 512 bytes for all that call each other.
    let Some(record) = SCRATCH.get_ptr_mut(0) else { return hash };
    // SAFETY: this CPU's only record, of which only the address of a field is taken.
    let end: *mut u64 = unsafe { &raw mut (*record).slack }.cast();
    for n in 0..DIGEST_BLOCK / 8 {
        // Volatile, because the compiler would make a call of memset.
        // SAFETY: within the slack, which stands at a multiple of eight bytes in its record.
        unsafe { end.add(n).write_volatile(0) };
    }
    let from = offset as usize + VRRP_HEADER_LEN + (list - left) as usize;
    // SAFETY: the slack has room for a block, and what is left is less. It was there when it was summed.
    unsafe {
        let _ = ctx.copy(from, end.cast(), from_one::<DIGEST_BLOCK>(left as usize));
        digest_block(end, hash)
    }
}

/// `payload + AT`, which the caller has bounded by the record.
#[inline(always)]
fn at<const AT: usize>(payload: *const u8) -> *mut u8 {
    let mut start = payload.cast_mut();
    // Not in Rust: the compiler would make one call of several, with an offset that varies, and the verifier accepts
    // none of a daemon without CAP_PERFMON.
    #[cfg(target_arch = "bpf")]
    // SAFETY: the instruction touches this register only.
    unsafe {
        core::arch::asm!("{p} += {at}", p = inout(reg) start, at = const AT, options(pure, nomem, nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        start = start.wrapping_add(AT);
    }
    start
}

/// Adds `len` bytes, at most [`CSUM_MAX`], at `payload + AT` to a ones' complement sum. All of them must lie within a
/// record's payload; the verifier makes sure.
#[inline(always)]
fn csum<const AT: usize>(payload: *const u8, len: usize, sum: u32) -> Option<u32> {
    let start = at::<AT>(payload);
    // SAFETY: the caller has bounded `AT + len` by the length of the payload.
    let result = unsafe {
        bpf_csum_diff(ptr::null_mut(), 0, start.cast(), from_one::<CSUM_MAX>(len) as u32, sum)
    };
    u32::try_from(result).ok()
}

/// There is none, in the place of the index of a reason.
pub const NO_REASON: u32 = u32::MAX;

/// A reason of which the verifier knows nothing any more.
#[inline(always)]
pub fn reason(reason: u32, ctx: impl Context) -> Option<u32> {
    let reason = unknown(reason, ctx.ifindex());
    (reason != NO_REASON).then_some(reason)
}
