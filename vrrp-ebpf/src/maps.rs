//! The shared maps (`vrrp_common::maps` says what they mean) and the ways in which programs write them.
//!
//! Entries are sized by the loader; the numbers here are what an object loaded by other tools gets.

use core::ptr;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{
    Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, ProgramArray, RingBuf,
};
use aya_ebpf::macros::btf_map;
use vrrp_common::MAX_VRRP_LEN;
use vrrp_common::event::RxEvent;
use vrrp_common::hmac::Work;
use vrrp_common::maps::{
    BUDGETS_PER_ROUTER, Control, DAEMON_COUNTERS, DEFAULT_ENTRIES, Held, HmacKey, HmacKeyId, Lease,
    PeerCounters, PeerKey, RING_BYTES, RouterEntry, RouterInfo, RouterKey, Slot, TtlRange,
    VipCounters, VipKey4, VipKey6, VirtualMacKey,
};
use vrrp_common::parse::{Address, V4, V6};
use vrrp_common::reason::Reason;
use vrrp_common::sample::{SAMPLES_KEPT, Sample, SampleCounts};
use vrrp_common::virtual_mac::SET_WORDS;

const ENTRIES: usize = DEFAULT_ENTRIES as usize;
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

#[btf_map]
pub static ROUTERS: HashMap<RouterKey, RouterEntry, ENTRIES> = HashMap::new();
#[btf_map]
pub static SLOTS: Array<Slot, ENTRIES, MMAPABLE> = Array::new();
#[btf_map]
pub static LEASES: Array<Lease, ENTRIES, MMAPABLE> = Array::new();
/// Only the daemon writes it: entries are made when they are needed.
#[btf_map]
pub static SENDERS: HashMap<u64, u32, ENTRIES, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map]
pub static VIRTUAL_MAC_SET: Array<u64, { SET_WORDS }, MMAPABLE> = Array::new();
/// Few have any, and only the daemon writes it: entries are made when they are needed.
#[btf_map]
pub static VIRTUAL_MACS: HashMap<VirtualMacKey, u32, ENTRIES, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
#[btf_map]
pub static INFO: Array<RouterInfo, ENTRIES, MMAPABLE> = Array::new();
#[btf_map]
pub static VIPS4: PerCpuHashMap<VipKey4, VipCounters, ENTRIES> = PerCpuHashMap::new();
#[btf_map]
pub static HELD4: HashMap<VipKey4, Held, ENTRIES> = HashMap::new();
#[btf_map]
pub static VIPS6: PerCpuHashMap<VipKey6, VipCounters, ENTRIES> = PerCpuHashMap::new();
#[btf_map]
pub static HELD6: HashMap<VipKey6, Held, ENTRIES> = HashMap::new();
#[btf_map]
pub static REASONS: PerCpuArray<u64, { Reason::COUNT }> = PerCpuArray::new();
#[btf_map]
pub static SAMPLES: PerCpuArray<Sample, { Reason::COUNT * SAMPLES_KEPT }> = PerCpuArray::new();
#[btf_map]
pub static SAMPLE_COUNTS: PerCpuArray<SampleCounts, { Reason::COUNT }> = PerCpuArray::new();
#[btf_map]
pub static PEERS: LruHashMap<PeerKey, PeerCounters, ENTRIES> = LruHashMap::new();
/// Few have any, and only the daemon writes it: entries are made when they are needed.
#[btf_map]
pub static ALLOWED: HashMap<PeerKey, TtlRange, ENTRIES, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// Few have any: entries are made when they are needed.
#[btf_map]
pub static HMAC_KEYS: HashMap<HmacKeyId, HmacKey, ENTRIES, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// Likewise.
#[btf_map]
pub static HMAC_MARKS: HashMap<PeerKey, u64, ENTRIES, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// The program that checks signatures, if there is one.
#[btf_map]
pub static HMAC_XDP: ProgramArray<1> = ProgramArray::new();
#[btf_map]
pub static COUNTERS: Array<u64, { DAEMON_COUNTERS as usize }, MMAPABLE> = Array::new();
/// Records of varying length, so without a value type: libbpf refuses one.
#[btf_map]
pub static EVENTS: RingBuf<(), { RING_BYTES as usize }> = RingBuf::new();
#[btf_map]
pub static CONTROL: Array<Control, 1, MMAPABLE> = Array::new();
/// Where a VRRP message is copied to be summed, and where the report on it is put together.
#[btf_map]
pub static SCRATCH: PerCpuArray<Record, 1> = PerCpuArray::new();

/// How much may be reported of each router at the moment ([`vrrp_common::report::Limit::admit`]); [`vrrp_common::maps::Budget::index`].
#[btf_map]
pub static BUDGETS: Array<u64, { ENTRIES * BUDGETS_PER_ROUTER as usize }> = Array::new();

/// Which refused packets the daemon was told of, and when, nanoseconds of `CLOCK_MONOTONIC`. The key is made of sender (two
/// words), interface, family, VRID and reason: of words, because before Linux 6.17 the verifier of a daemon without
/// CAP_PERFMON takes no two writes to one word on the stack.
#[btf_map]
pub static REFUSALS: LruHashMap<[u64; 3], u64, 1024> = LruHashMap::new();
/// How much may be told of all of them at the moment ([`vrrp_common::report::REFUSAL_LIMIT`]).
#[btf_map]
pub static REFUSAL_BUDGET: Array<u64, 1> = Array::new();

/// The maps of an address family.
pub trait Family: Address {
    /// The counters of a virtual address.
    fn counters(self, ifindex: u32) -> Option<*mut VipCounters>;
}

impl Family for V4 {
    #[inline(always)]
    fn counters(self, ifindex: u32) -> Option<*mut VipCounters> {
        VIPS4.get_ptr_mut(VipKey4 { ifindex, address: self })
    }
}

impl Family for V6 {
    #[inline(always)]
    fn counters(self, ifindex: u32) -> Option<*mut VipCounters> {
        VIPS6.get_ptr_mut(VipKey6 { ifindex, address: self })
    }
}

/// [`vrrp_common::maps::SOURCE_KEY`]; the loader writes it.
#[unsafe(no_mangle)]
static SOURCE_KEY: u64 = 0;

/// The key of digests and source tags.
#[inline(always)]
pub fn source_key() -> u64 {
    // SAFETY: a valid reference. Volatile, because the compiler would take the loader's value for that above.
    unsafe { ptr::read_volatile(&raw const SOURCE_KEY) }
}

/// The most that `bpf_csum_diff` sums in one call before Linux 6.13 (`MAX_BPF_STACK`).
pub const CSUM_MAX: usize = 512;

/// Bytes of [`Record::payload`]: a power of two, so that a mask bounds what is copied there (`cursor::below`).
pub const PAYLOAD_ROOM: usize = MAX_VRRP_LEN.next_power_of_two();

/// A ring-buffer record of the greatest length.
#[repr(C)]
pub struct Record {
    /// The fixed part.
    pub event: RxEvent,
    /// The VRRP message, at most `MAX_VRRP_LEN` bytes.
    pub payload: [u8; PAYLOAD_ROOM],
    /// The verifier believes that a sum may reach so far (`cursor::sum_rest`). Used only for the end of a long message
    /// (`cursor::digest_long`).
    pub slack: [u8; CSUM_MAX],
    /// How the message of a packet begins that is being refused, in memory order, if the checks have come that far; else 0.
    pub refused: u64,
    /// The key in `REFUSALS` of the last packet that needed not be told of, and since when: nearly always, the next one is
    /// its like.
    pub reported: ([u64; 3], u64),
    /// A copy of what was found in `ROUTERS` for the packet.
    pub entry: RouterEntry,
    /// What a source begins with that is not in `PEERS` yet.
    pub peer: PeerCounters,
    /// What the check of a signature works on. A copy into a block may reach so far, as the verifier believes.
    pub work: Work,
}

/// Adds one to a counter that several CPUs may write.
///
/// # Safety
///
/// `counter` must be valid for writes and aligned to eight bytes.
#[inline(always)]
pub unsafe fn increment(counter: *mut u64) {
    // The target has no `AtomicU64::fetch_add`; this is what it would compile to.
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller vouches for the pointer; the instruction touches these eight bytes only.
    unsafe {
        core::arch::asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) counter, one = in(reg) 1u64);
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = counter;
}

/// Counts a verdict by the index of its reason.
#[inline(always)]
pub fn count(reason: u32) {
    if let Some(counter) = REASONS.get_ptr_mut(reason) {
        // SAFETY: a per-CPU value that the map look-up returned; XDP runs to its end on one CPU.
        unsafe { *counter += 1 };
    }
}
