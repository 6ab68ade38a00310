//! What the decisions of `vrrp_common` ask of the kernel: maps, clock and ring buffer.

use core::marker::PhantomData;
use core::mem::offset_of;
use core::ptr;

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_ktime_get_ns, bpf_ringbuf_output};
use bytemuck::Pod;
use vrrp_common::event::{EVENT_HEADER_LEN, NO_SLOT, RxEvent};
use vrrp_common::maps::{
    Held, Lease, PeerCounters, PeerKey, RouterEntry, RouterKey, Slot, TtlRange, VipKey4, VipKey6,
    VirtualMacKey,
};
use vrrp_common::parse::{Address, V4};
use vrrp_common::receive::{Datapath, Routers};
use vrrp_common::shared::SharedWords;
use vrrp_common::{FAMILY_V4, VRRP_HEADER_LEN, virtual_mac};

use crate::cursor::{Context, Frame, from_one};
use crate::maps::{
    ALLOWED, BUDGETS, EVENTS, HELD4, HELD6, LEASES, PAYLOAD_ROOM, PEERS, REFUSAL_BUDGET, REFUSALS,
    ROUTERS, Record, SLOTS, VIRTUAL_MAC_SET, VIRTUAL_MACS, increment, source_key,
};

/// A value in a map, which other CPUs and the daemon write as well: so there is never a reference to it.
///
/// One of a hash map may become that of another key at any time. It stays a value of this map all the same.
pub struct MapValue<T>(*mut u64, PhantomData<*mut T>);

impl<T> MapValue<T> {
    /// # Safety
    ///
    /// `value` must be what a look-up in a map has returned in this run of the program.
    #[inline(always)]
    unsafe fn new(value: *mut T) -> Self {
        Self(value.cast(), PhantomData)
    }

    #[inline(always)]
    fn word<const AT: usize>(&self) -> *mut u64 {
        const {
            assert!(AT.is_multiple_of(size_of::<u64>()));
            assert!(AT + size_of::<u64>() <= size_of::<T>());
        }
        self.0.wrapping_add(AT / size_of::<u64>())
    }
}

impl<T> SharedWords for MapValue<T> {
    #[inline(always)]
    fn load<const AT: usize>(&self) -> u64 {
        // SAFETY: a word of a map value, which the kernel aligns to eight bytes. It is read once, as a whole.
        unsafe { self.word::<AT>().read_volatile() }
    }

    #[inline(always)]
    fn store<const AT: usize>(&self, word: u64) {
        // SAFETY: a word of a map value, which the kernel aligns to eight bytes. It is written once, as a whole.
        unsafe { self.word::<AT>().write_volatile(word) }
    }

    #[inline(always)]
    fn increment<const AT: usize>(&self) {
        // SAFETY: a word of a map value, which the kernel aligns to eight bytes.
        unsafe { increment(self.word::<AT>()) }
    }
}

/// The time by `CLOCK_BOOTTIME`, nanoseconds.
#[inline(always)]
pub fn boot_now() -> u64 {
    // SAFETY: the helper takes no argument.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The lease of a router; `None` past the end.
#[inline(always)]
pub fn lease(index: u32) -> Option<MapValue<Lease>> {
    // SAFETY: what the look-up returned.
    LEASES.get_ptr_mut(index).map(|lease| unsafe { MapValue::new(lease) })
}

/// Whether any router on any interface may have that virtual MAC address, as far as the daemon has said.
#[inline(always)]
pub fn may_be_virtual_mac(word: u64) -> bool {
    let (index, bit) = virtual_mac::place(word);
    let Some(set) = VIRTUAL_MAC_SET.get_ptr(index) else { return false };
    // SAFETY: what the look-up returned: eight bytes, which the kernel aligns. They are read once, as a whole.
    (unsafe { set.read_volatile() }) & bit != 0
}

/// Whether any router on any interface has one: what asks for nothing else costs no more than that.
#[inline(always)]
pub fn any_virtual_mac() -> bool {
    may_be_virtual_mac(virtual_mac::ANY)
}

/// The same with its key on a stack of its own, for the program that has no room: with the call it takes 6 ns more.
#[inline(never)]
pub fn any_virtual_mac_apart() -> bool {
    any_virtual_mac()
}

#[inline(always)]
fn virtual_mac_entry(ifindex: u32, word: u64) -> Option<*const u32> {
    let key: [u64; 2] = [word, ifindex.into()];
    VIRTUAL_MACS.get_ptr(bytemuck::cast_ref::<_, VirtualMacKey>(&key))
}

/// Whether any router has one on an interface.
#[inline(never)]
pub fn has_virtual_mac(ifindex: u32) -> bool {
    virtual_mac_entry(ifindex, virtual_mac::ANY).is_some()
}

/// The number in `SLOTS` of the router that has this virtual MAC address on an interface; [`NO_SLOT`] for none.
///
/// Not inlined: the key is put together on a stack on which nothing else has been.
#[inline(never)]
pub fn virtual_mac_slot(ifindex: u32, word: u64) -> u32 {
    let Some(slot) = virtual_mac_entry(ifindex, word) else { return NO_SLOT };
    // SAFETY: what the look-up returned: four bytes, which the kernel aligns to eight. They are read once.
    unsafe { slot.read_volatile() }
}

impl<C: Context> Routers for Frame<C> {
    /// In this CPU's record, as the stack has no room for it.
    type Entry = &'static RouterEntry;

    #[inline(always)]
    fn router(&self, key: &RouterKey) -> Option<&'static RouterEntry> {
        const { assert!(offset_of!(Record, entry).is_multiple_of(size_of::<u64>())) };
        const { assert!(size_of::<RouterEntry>().is_multiple_of(size_of::<u64>())) };
        let from = ROUTERS.get_ptr(key)?.cast::<u64>();
        let record = self.record()?;
        // SAFETY: this CPU's only record, of which only the address of a field is taken.
        let copy = unsafe { &raw mut (*record).entry };
        let to = copy.cast::<u64>();
        for n in 0..size_of::<RouterEntry>() / size_of::<u64>() {
            // SAFETY: word by word within both, which stand at multiples of eight bytes. Each word of the value is read once:
            // whatever becomes of it meanwhile, what is checked is what is used.
            unsafe { to.add(n).write(from.add(n).read_volatile()) };
        }
        // SAFETY: all of its words were written. Nobody else has this record, and nobody writes the field while this run of
        // the program has the reference, as there is one look-up in each.
        Some(unsafe { &*copy })
    }

    #[inline(always)]
    fn allowed(&self, peer: &PeerKey) -> Option<TtlRange> {
        let range = ALLOWED.get_ptr(peer)?.cast::<u32>();
        // SAFETY: what the look-up returned: four bytes, which the kernel aligns to eight. They are read once.
        Some(bytemuck::cast(unsafe { range.read_volatile() }))
    }
}

impl<C: Context> Datapath for Frame<C> {
    type Value<T: Pod> = MapValue<T>;

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper takes no argument.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn boot_now(&self) -> u64 {
        boot_now()
    }

    #[inline(always)]
    fn lease(&self, index: u32) -> Option<MapValue<Lease>> {
        lease(index)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.context().ifindex()
    }

    #[inline(always)]
    fn key(&self) -> u64 {
        source_key()
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<MapValue<Slot>> {
        // SAFETY: what the look-up returned.
        SLOTS.get_ptr_mut(index).map(|slot| unsafe { MapValue::new(slot) })
    }

    #[inline(always)]
    fn budget(&self, index: u32) -> Option<MapValue<u64>> {
        // SAFETY: what the look-up returned.
        BUDGETS.get_ptr_mut(index).map(|budget| unsafe { MapValue::new(budget) })
    }

    #[inline(always)]
    fn peer(&self, key: &PeerKey) -> Option<MapValue<PeerCounters>> {
        // SAFETY: what the look-up returned.
        PEERS.get_ptr_mut(key).map(|peer| unsafe { MapValue::new(peer) })
    }

    #[inline(always)]
    fn add_peer(&self, key: &PeerKey, counters: &PeerCounters) {
        let Some(record) = self.record() else { return };
        // Put together in this CPU's record: the stacks of all functions that call each other have 512 bytes together.
        // SAFETY: nobody else has the record, and nobody writes the field while the helper reads it.
        let counters = unsafe {
            (*record).peer = *counters;
            &(*record).peer
        };
        // Another CPU may have been faster; then this fails, and the entry is there all the same.
        let _ = PEERS.insert(key, counters, u64::from(BPF_NOEXIST));
    }

    #[inline(always)]
    fn held<A: Address>(&self, address: A) -> Option<MapValue<Held>> {
        let (ifindex, field) = (self.ifindex(), address.to_field());
        let held = if A::FAMILY == FAMILY_V4 {
            HELD4.get_ptr_mut(VipKey4 { ifindex, address: V4::from_field(field) })
        } else {
            HELD6.get_ptr_mut(VipKey6 { ifindex, address: field })
        };
        // SAFETY: what the look-up returned.
        held.map(|held| unsafe { MapValue::new(held) })
    }

    #[inline(always)]
    fn report(&mut self, event: &RxEvent) -> bool {
        let Some(record) = self.record() else { return false };
        // SAFETY: this CPU's only record, whose payload has PAYLOAD_ROOM bytes.
        unsafe {
            (*record).event = *event;
            submit(record, from_one::<PAYLOAD_ROOM>(event.payload_len.into()))
        }
    }

    #[inline(always)]
    fn report_with(&mut self, event: &RxEvent, payload: [u8; 8]) -> bool {
        let Some(record) = self.record() else { return false };
        // SAFETY: this CPU's only record, whose payload has more than eight bytes and stands at a multiple of eight.
        unsafe {
            (*record).event = *event;
            let word: *mut u64 = (&raw mut (*record).payload).cast();
            word.write_volatile(u64::from_ne_bytes(payload));
            submit(record, from_one::<8>(event.payload_len.into()))
        }
    }

    #[inline(always)]
    fn keep_refused(&mut self, header: [u8; VRRP_HEADER_LEN]) {
        if let Some(record) = self.record() {
            // SAFETY: this CPU's only record.
            unsafe { (*record).refused = u64::from_ne_bytes(header) };
        }
    }

    #[inline(always)]
    fn take_refused(&mut self, offset: usize, anywhere: bool) -> [u8; VRRP_HEADER_LEN] {
        let Some(record) = self.record() else { return [0; VRRP_HEADER_LEN] };
        // SAFETY: this CPU's only record; the field has as many bytes.
        unsafe {
            let header = &raw mut (*record).refused;
            if header.read() == 0 && anywhere {
                // Where there is nothing, zeros stay.
                let _ = self.context().copy(offset, header.cast(), VRRP_HEADER_LEN);
            }
            let bytes = header.read().to_ne_bytes();
            header.write(0);
            bytes
        }
    }

    #[inline(always)]
    fn last_reported(&self) -> ([u64; 3], u64) {
        // SAFETY: this CPU's only record.
        self.record().map_or(([0; 3], 0), |record| unsafe { (*record).reported })
    }

    #[inline(always)]
    fn set_last_reported(&mut self, refusal: [u64; 3], at: u64) {
        if let Some(record) = self.record() {
            // SAFETY: this CPU's only record.
            unsafe { (*record).reported = (refusal, at) };
        }
    }

    #[inline(always)]
    fn reported_at(&self, refusal: &[u64; 3]) -> Option<u64> {
        let at = REFUSALS.get_ptr(refusal)?;
        // SAFETY: what the look-up returned; it is read once.
        Some(unsafe { at.read_volatile() })
    }

    #[inline(always)]
    fn set_reported(&self, refusal: &[u64; 3], at: u64) {
        let _ = REFUSALS.insert(refusal, at, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn refusal_budget(&self) -> Option<MapValue<u64>> {
        // SAFETY: what the look-up returned.
        REFUSAL_BUDGET.get_ptr_mut(0).map(|budget| unsafe { MapValue::new(budget) })
    }
}

/// Hands the daemon a record with so many bytes of payload. False where there is no room.
///
/// # Safety
///
/// `record` must be this CPU's, and `len` no more than its payload has.
#[inline(always)]
unsafe fn submit(record: *mut Record, len: usize) -> bool {
    // SAFETY: the record holds the header and `len` bytes behind it, as the caller says.
    let result = unsafe {
        bpf_ringbuf_output(
            ptr::from_ref(&EVENTS).cast_mut().cast(),
            record.cast(),
            (EVENT_HEADER_LEN + len) as u64,
            0,
        )
    };
    result == 0
}
