//! Names, keys and values of the shared maps, pinned under `BPFFS/vrrp-user/INSTANCE/`.
//!
//! Integers are in host order, addresses in network order.

use bytemuck::{Pod, Zeroable};

/// Changes whenever a key, a value or the meaning of a field here changes. The daemon writes it into
/// `CONTROL`; a reader that finds another number reads what both versions have, if [`READABLE_SINCE`] of the newer one
/// permits it, and nothing else of the other maps if not.
pub const ABI_VERSION: u32 = 23;
/// The oldest version of which the maps mean the same as far as they go: since then fields were only added at the ends of
/// values, numbers at the ends of their lists (reasons, counters, states), and maps. It becomes [`ABI_VERSION`] with any other
/// change.
pub const READABLE_SINCE: u32 = 16;
/// A digest of all layouts and numbers of that version; a test says what to do when they differ.
#[cfg(test)]
pub(crate) const ABI_DIGEST: u64 = 0x0b27_0a41_1809_a7ef;

/// Hash, [`RouterKey`] -> [`RouterEntry`]: which routers live here and what they accept.
pub const ROUTERS: &str = "ROUTERS";
/// `BPF_F_MMAPABLE` array of [`Slot`], written by the kernel side.
pub const SLOTS: &str = "SLOTS";
/// `BPF_F_MMAPABLE` array of [`Lease`], index as in `SLOTS`.
pub const LEASES: &str = "LEASES";
/// `BPF_F_MMAPABLE` array of [`RouterInfo`], written by the daemon, index as in `SLOTS`.
pub const INFO: &str = "INFO";
/// Per-CPU hash, [`VipKey4`] -> [`VipCounters`].
pub const VIPS4: &str = "VIPS4";
/// Per-CPU hash, [`VipKey6`] -> [`VipCounters`].
pub const VIPS6: &str = "VIPS6";
/// Hash, [`VipKey4`] -> [`Held`]: the virtual addresses that this host holds as master at the moment. Apart from
/// `VIPS4`, so that a change of mastership touches no counters.
pub const HELD4: &str = "HELD4";
/// Hash, [`VipKey6`] -> [`Held`]: the same for IPv6.
pub const HELD6: &str = "HELD6";
/// Per-CPU array of `u64`, index = [`crate::reason::Reason`], counted by the kernel side.
pub const REASONS: &str = "REASONS";
/// Per-CPU array of [`crate::sample::Sample`], index = [`crate::sample::index`], written by the kernel side.
pub const SAMPLES: &str = "SAMPLES";
/// Per-CPU array of [`crate::sample::SampleCounts`], index = [`crate::reason::Reason`], written by the kernel side.
pub const SAMPLE_COUNTS: &str = "SAMPLE_COUNTS";
/// Ring buffer of [`crate::event::RxEvent`].
pub const EVENTS: &str = "EVENTS";
/// LRU hash, [`PeerKey`] -> [`PeerCounters`]: who is heard, written by the kernel side.
pub const PEERS: &str = "PEERS";
/// Hash, [`PeerKey`] -> [`TtlRange`]: from whom a router with [`transport::PEERS`] accepts advertisements, written by
/// the daemon.
pub const ALLOWED: &str = "ALLOWED";
/// `BPF_F_MMAPABLE` array of [`DAEMON_COUNTERS`] `u64`: what the daemon refused or failed at, written by it; index =
/// [`crate::counters::Counter`], or [`crate::counters::of_reason`].
pub const COUNTERS: &str = "COUNTERS";
/// `BPF_F_MMAPABLE` array with one [`Control`], written by the daemon.
pub const CONTROL: &str = "CONTROL";

/// Hash of the sockets that the daemon sends advertisements by, as the kernel numbers them (`SO_COOKIE`, socket(7)), to 1. The
/// number of a socket is no other's, also when it is closed. For no reader.
pub const SENDERS: &str = "SENDERS";
/// Hash, [`VirtualMacKey`] -> `u32`, written by the daemon: the index in `SLOTS` and `INFO` of the router that has a virtual MAC
/// address on an interface, whatever its state.
pub const VIRTUAL_MACS: &str = "VIRTUAL_MACS";
/// `BPF_F_MMAPABLE` array of [`crate::virtual_mac::SET_WORDS`] `u64`, written by the daemon: a set of all of those on any interface,
/// each a bit ([`crate::virtual_mac::place`]) that others may have as well. For no reader.
pub const VIRTUAL_MAC_SET: &str = "VIRTUAL_MAC_SET";

/// Hash, [`HmacKeyId`] -> [`HmacKey`], written by the daemon. For no reader.
pub const HMAC_KEYS: &str = "HMAC_KEYS";
/// Hash, [`PeerKey`] -> `u64`, written by whoever checks: the sequence ([`crate::hmac::Sequence`]) of the last signed
/// advertisement that was accepted of a source.
pub const HMAC_MARKS: &str = "HMAC_MARKS";
/// Array of one program, written by the daemon: the XDP program that checks signatures. For no reader.
pub const HMAC_XDP: &str = "HMAC_XDP";

/// Time between two reports of a foreign claim to one held address, nanoseconds.
pub const CLAIM_WINDOW_NS: u64 = 500_000_000;

/// The read-only variable of the object that holds the key of [`crate::report::source_tag`], a `u64`.
pub const SOURCE_KEY: &str = "SOURCE_KEY";

/// The XDP program's name in the object and in `bpftool prog`.
pub const XDP_PROGRAM: &str = "vrrp_xdp";
/// The one that checks signatures, in the place of that one for routers that have them.
pub const HMAC_XDP_PROGRAM: &str = "vrrp_hmac_xdp";
/// The tc ingress program's name in the object and in `bpftool prog`.
pub const INGRESS_PROGRAM: &str = "vrrp_ingress";
/// The one that reads no packet in place.
pub const COPYING_INGRESS_PROGRAM: &str = "vrrp_copy_in";
/// The tc egress program's name in the object and in `bpftool prog`.
pub const EGRESS_PROGRAM: &str = "vrrp_egress";
/// The one that reads no packet in place.
pub const COPYING_EGRESS_PROGRAM: &str = "vrrp_copy_out";

/// Entries for each router in the kernel side's own array of what may be reported.
pub const BUDGETS_PER_ROUTER: u32 = 4;
/// Entries of a hash map that is sized by the configuration when it is not.
pub const DEFAULT_ENTRIES: u32 = 256;
/// Entries of `COUNTERS`, of which the daemon may leave some unused.
pub const DAEMON_COUNTERS: u32 = 96;
/// Size of the ring buffer in bytes: some 8,000 advertisements with few addresses, 250 of the longest.
pub const RING_BYTES: u32 = 1 << 20;

/// Where in a value a field is, in bytes.
macro_rules! offsets {
    ($of:ident: $($name:ident = $field:ident),+) => {
        $(
            #[doc = concat!("Bytes of `", stringify!($field), "` in [`", stringify!($of), "`].")]
            pub const $name: usize = core::mem::offset_of!($of, $field);
        )+
    };
}

/// Key of `ROUTERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct RouterKey {
    /// Interface on which the advertisements arrive.
    pub ifindex: u32,
    /// VLAN IDs in the frame, outermost first, 0 where there is none.
    pub vlan: [u16; 2],
    /// [`crate::FAMILY_V4`] or [`crate::FAMILY_V6`].
    pub family: u8,
    /// Virtual router identifier, 1-255.
    pub vrid: u8,
    /// Always zero.
    pub reserved: [u8; 2],
}

/// Value of `ROUTERS`: what an advertisement must look like to be accepted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RouterEntry {
    /// Index in `SLOTS` and `INFO`.
    pub slot: u32,
    /// VRRP version, 2 or 3.
    pub version: u8,
    /// [`transport`] by which advertisements must arrive.
    pub transport: u8,
    /// Version 2: authentication type, 0 none or 1 simple password (RFC 2338 section 5.3.6).
    pub auth_type: u8,
    /// Version 2: advertisement interval in seconds that the sender must use.
    pub interval: u8,
    /// Version 2, type 1: the password, padded with zeros.
    pub auth_data: [u8; 8],
    /// Our own address, the source that we send from. All zero when the interface has none.
    pub local: [u8; 16],
    /// Destination that advertisements must have: the multicast group or, with unicast, our own address.
    pub destination: [u8; 16],
    /// Ethernet address of the interface; all zero where frames to others may be for it as well, so that it does not
    /// tell.
    pub mac: [u8; 6],
    /// Over IPv6: whether the first address in the list must be link-local (RFC 9568 erratum 8300), 0 or 1.
    pub link_local_first: u8,
    /// Flags of [`hmac`]; zero for a router without signed advertisements.
    pub hmac: u8,
    /// Seconds by which the clocks of two hosts may lie apart.
    pub hmac_window: u16,
    /// Always zero.
    pub reserved: [u8; 6],
}

impl AsRef<Self> for RouterEntry {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Flags of [`RouterEntry::hmac`].
pub mod hmac {
    /// It has keys, by which signatures are checked.
    pub const KEYS: u8 = 1;
    /// What is not signed is accepted, too.
    pub const UNSIGNED: u8 = 2;
    /// An advertisement is new if it comes after the last one, whatever the clock says.
    pub const MONOTONIC: u8 = 4;
    /// It has an authentication header ([`crate::ah`]), and no keys: nothing of protocol 112 is for it, and what has the header is
    /// checked by the daemon.
    pub const AH: u8 = 8;
}

/// Key of `HMAC_KEYS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct HmacKeyId {
    /// Index of the router in `SLOTS`.
    pub slot: u32,
    /// Number of the key, 1-255.
    pub key_id: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}

impl HmacKeyId {
    /// The key of that number of the router at `slot`.
    #[inline(always)]
    pub fn new(slot: u32, key_id: u8) -> Self {
        // By words: the compiler would make a call of memset for three bytes.
        bytemuck::cast([slot, u32::from_ne_bytes([key_id, 0, 0, 0])])
    }
}

/// Value of `HMAC_KEYS`: the states of SHA-256 behind the two blocks that are made of a key (RFC 2104 section 4). As secret as the
/// key.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct HmacKey {
    /// Of the inner hash.
    pub inner: [u32; 8],
    /// Of the outer one.
    pub outer: [u32; 8],
}

impl core::fmt::Debug for HmacKey {
    /// Nothing of it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HmacKey(********)")
    }
}

/// Values of [`RouterEntry::transport`].
pub mod transport {
    /// By multicast, with TTL 255.
    pub const MULTICAST: u8 = 0;
    /// By unicast, with any TTL.
    pub const UNICAST: u8 = 1;
    /// By unicast, and the source must be in [`super::ALLOWED`], with a TTL in its range.
    pub const PEERS: u8 = 2;
}

/// What the kernel side knows about one router, and what the daemon wants to be told: one cache line. All but
/// [`Slot::ack`] and [`Slot::filter`] is written by the kernel side.
///
/// The daemon acknowledges what it takes for steady by its content. More of the same from then on moves
/// [`Slot::master_seen`] and wakes nobody; anything else is reported, as [`crate::report`] permits.
///
/// Every word means something by itself. Nobody may conclude from one what another one holds: a processor other than
/// x86 lets the other side see stores in any order, and what would order them (an atomic addition that returns what was
/// there before, since Linux 5.12) is dear.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Slot {
    /// Arrival of the last accepted advertisement, nanoseconds of `CLOCK_MONOTONIC`; 0 for never.
    pub last_seen_ns: u64,
    /// [`crate::report::MasterSeen`] of the master in [`Slot::filter`], priority 0 apart; 0 for never.
    pub master_seen: u64,
    /// Arrival of the last frame from the virtual MAC address of the router while that was master here, advertisements
    /// apart, nanoseconds of `CLOCK_MONOTONIC`; 0 for never.
    pub own_mac_ns: u64,
    /// Accepted advertisements.
    pub adverts: u64,
    /// Advertisements for this router that failed a receive check.
    pub refused: u64,
    /// Accepted advertisements with priority 0.
    pub priority_zero: u64,
    /// The daemon: [`crate::event::RxEvent::digest`] of the advertisement that it took for a steady master's; 0 while
    /// it wants to hear everything. Eight bytes, as the next, so that no write of one side touches the other's.
    pub ack: u64,
    /// The daemon: [`crate::report::ReportFilter`].
    pub filter: u64,
}

offsets! {
    Slot:
    SLOT_MASTER_SEEN = master_seen, SLOT_LAST_SEEN = last_seen_ns, SLOT_OWN_MAC = own_mac_ns,
    SLOT_ADVERTS = adverts,
    SLOT_REFUSED = refused, SLOT_PRIORITY_ZERO = priority_zero, SLOT_ACK = ack,
    SLOT_FILTER = filter
}

/// For how long this host may answer for the addresses of a router, and whether its kernel side has stopped that: one
/// cache line. [`crate::lease`] has the rules. Times are nanoseconds of `CLOCK_BOOTTIME`; zeros are a router that has never
/// been master.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Lease {
    /// The daemon: when it took over last.
    pub term: u64,
    /// The daemon: before it sent the last advertisement that left for anybody.
    pub renewed: u64,
    /// The daemon: [`crate::lease::Terms`].
    pub terms: u64,
    /// The kernel side: when anybody else claimed an address last.
    pub claimed: u64,
    /// The kernel side: when anybody outranked the router last.
    pub outranked: u64,
    /// The kernel side: the term in which it has fenced the router.
    pub fenced: u64,
    /// The kernel side, and an operator: the term whose fence is lifted.
    pub lifted: u64,
    /// Packets that were stopped.
    pub dropped: u64,
}

offsets! {
    Lease:
    LEASE_TERM = term, LEASE_REFRESHED = renewed, LEASE_TERMS = terms, LEASE_CLAIMED = claimed,
    LEASE_OUTRANKED = outranked, LEASE_FENCED = fenced, LEASE_LIFTED = lifted,
    LEASE_DROPPED = dropped
}

/// What the daemon says about one router, so that `stats` can show it with the daemon gone.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RouterInfo {
    /// Name in the configuration, UTF-8, cut at a character boundary, padded with zeros. An empty
    /// name is an unused index.
    pub name: [u8; 64],
    /// Interface name as the daemon sees it, padded with zeros (IFNAMSIZ, linux/if.h): a reader may be in
    /// another network namespace, where the index means another interface.
    pub interface: [u8; 16],
    /// Advertisements sent, priority 0 included.
    pub adverts_sent: u64,
    /// Advertisements with priority 0 sent.
    pub priority_zero_sent: u64,
    /// Advertisements that could not be sent.
    pub send_errors: u64,
    /// Transitions to master.
    pub became_master: u64,
    /// Transitions, to whichever state.
    pub transitions: u64,
    /// Last transition, nanoseconds of `CLOCK_MONOTONIC`.
    pub since_ns: u64,
    /// Accepted advertisements whose address list differs from ours.
    pub address_list_mismatch: u64,
    /// As backup: the master that it listens to; an IPv4 address stands in the first four bytes. All zero for none.
    pub master: [u8; 16],
    /// Interface.
    pub ifindex: u32,
    /// [`state`].
    pub state: u8,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Effective priority.
    pub priority: u8,
    /// VRRP version.
    pub version: u8,
    /// [`crate::FAMILY_V4`] or [`crate::FAMILY_V6`].
    pub family: u8,
    /// [`capture`].
    pub capture: u8,
    /// Advertisement interval in force, centiseconds: as backup with version 3 the master's.
    pub interval_cs: u16,
    /// Configured advertisement interval, centiseconds.
    pub configured_interval_cs: u16,
    /// Virtual addresses that others have put where this router's belong.
    pub foreign_addresses: u16,
    /// Addresses that it holds as master and that another host claims at present.
    pub address_conflicts: u16,
    /// Configured priority; zero of a daemon that has no such field.
    pub configured_priority: u8,
    /// Always zero.
    pub reserved: [u8; 5],
    /// The last sequence ([`crate::hmac::Sequence`]) that an advertisement was signed with; 0 for none.
    pub hmac_sequence: u64,
    /// The network namespace of the interface, if that is another one than the daemon's: its name in the configuration, cut
    /// and padded as [`RouterInfo::name`] is.
    pub netns: [u8; 64],
}

/// Bytes of [`RouterInfo::hmac_sequence`] in its record.
pub const INFO_HMAC_SEQUENCE: usize = core::mem::offset_of!(RouterInfo, hmac_sequence);

/// Bytes of [`RouterInfo::adverts_sent`] in its record.
pub const INFO_ADVERTS_SENT: usize = core::mem::offset_of!(RouterInfo, adverts_sent);

/// Values of [`RouterInfo::state`].
pub mod state {
    /// Not started yet, or stopped.
    pub const INIT: u8 = 0;
    /// Listening to the master.
    pub const BACKUP: u8 = 1;
    /// Advertising and holding the addresses.
    pub const MASTER: u8 = 2;
    /// Something that the router depends on is down.
    pub const FAULT: u8 = 3;
}

/// Values of [`RouterInfo::capture`]: where the XDP program runs on the router's interface.
pub mod capture {
    /// Nowhere: nothing is received.
    pub const NONE: u8 = 0;
    /// In the driver.
    pub const NATIVE: u8 = 1;
    /// In the network stack.
    pub const GENERIC: u8 = 2;
    /// Nowhere: the tc ingress program does the same.
    pub const TC: u8 = 3;
    /// Nowhere: the daemon reads a packet socket.
    pub const RAW: u8 = 4;
}

impl Default for RouterInfo {
    fn default() -> Self {
        Self::zeroed()
    }
}

impl RouterInfo {
    /// The configured name, as far as it fits.
    pub fn name(&self) -> &str {
        text(&self.name)
    }

    /// Sets the name, cut to what fits.
    pub fn set_name(&mut self, name: &str) {
        set_text(&mut self.name, name);
    }

    /// The interface name.
    pub fn interface(&self) -> &str {
        text(&self.interface)
    }

    /// The network namespace; empty for that of the daemon.
    pub fn netns(&self) -> &str {
        text(&self.netns)
    }

    /// Sets the network namespace, cut to what fits.
    pub fn set_netns(&mut self, name: &str) {
        set_text(&mut self.netns, name);
    }

    /// Sets the interface name, cut to what fits.
    pub fn set_interface(&mut self, name: &str) {
        set_text(&mut self.interface, name);
    }
}

/// UTF-8 up to the first zero; whatever stands there, what is returned is text.
fn text(field: &[u8]) -> &str {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    match core::str::from_utf8(&field[..end]) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&field[..error.valid_up_to()]).unwrap_or_default(),
    }
}

fn set_text(field: &mut [u8], text: &str) {
    field.fill(0);
    let mut end = text.len().min(field.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    field[..end].copy_from_slice(&text.as_bytes()[..end]);
}

/// Key of `VIPS4` and `HELD4`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct VipKey4 {
    /// Interface by which the traffic arrives or leaves; tenants may use the same address on several.
    pub ifindex: u32,
    /// The address.
    pub address: [u8; 4],
}

/// Key of `VIPS6` and `HELD6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct VipKey6 {
    /// Interface by which the traffic arrives or leaves.
    pub ifindex: u32,
    /// The address.
    pub address: [u8; 16],
}

/// Value of `HELD4` and `HELD6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Held {
    /// The kernel side: when a foreign claim to the address was last reported, nanoseconds of `CLOCK_MONOTONIC`.
    pub reported_ns: u64,
    /// Our Ethernet address on that interface in the first six bytes, then zeros.
    pub mac: [u8; 8],
    /// Index in `SLOTS` and `INFO` of the router that the address belongs to.
    pub slot: u32,
    /// Zero.
    pub reserved: u32,
    /// The virtual MAC address that it is held with, in the first six bytes, then zeros; all zero for none.
    pub virtual_mac: [u8; 8],
}

/// Bytes of [`Held::reported_ns`] in its value.
pub const HELD_REPORTED: usize = core::mem::offset_of!(Held, reported_ns);
/// Bytes of [`Held::mac`] in its value.
pub const HELD_MAC: usize = core::mem::offset_of!(Held, mac);
/// Bytes in its value of the word that [`Held::slot`] and a zero make.
pub const HELD_SLOT: usize = core::mem::offset_of!(Held, slot);
/// Bytes of [`Held::virtual_mac`] in its value.
pub const HELD_VIRTUAL_MAC: usize = core::mem::offset_of!(Held, virtual_mac);

/// Key of `VIRTUAL_MACS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct VirtualMacKey {
    /// The address in the first six bytes, then zeros.
    pub mac: [u8; 8],
    /// Interface. In words, because before Linux 6.17 the verifier of a daemon without CAP_PERFMON takes no two writes to one
    /// word on the stack.
    pub ifindex: u64,
}

impl VirtualMacKey {
    /// The key of an address on an interface.
    pub fn new(ifindex: u32, [a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self { mac: [a, b, c, d, e, f, 0, 0], ifindex: ifindex.into() }
    }

    /// The address.
    pub fn address(&self) -> [u8; 6] {
        let [a, b, c, d, e, f, _, _] = self.mac;
        [a, b, c, d, e, f]
    }
}

/// Value of `VIPS4` and `VIPS6`, one per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct VipCounters {
    /// Packets to the address.
    pub rx_packets: u64,
    /// Bytes to the address: whole frames without FCS.
    pub rx_bytes: u64,
    /// Packets from the address. One that the device is to cut into segments (GSO) counts as so many
    /// (`gso_segs` of `struct __sk_buff`, linux/bpf.h).
    pub tx_packets: u64,
    /// Bytes from the address: whole frames without FCS. Of a packet that is still to be cut into segments,
    /// the headers count once (`len` of `struct __sk_buff`), not once per segment.
    pub tx_bytes: u64,
    /// The daemon: index in `LEASES` of the router that it belongs to.
    pub slot: u32,
    /// The daemon: whether it is held with a virtual MAC address while that is master, 0 or 1.
    pub virtual_mac: u32,
}

/// Key of `PEERS` and `ALLOWED`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct PeerKey {
    /// Index of the router in `SLOTS` and `INFO`.
    pub slot: u32,
    /// Source of the advertisements; an IPv4 address stands in the first four bytes, the rest is zero.
    pub source: [u8; 16],
}

/// Value of `PEERS`: accepted advertisements of one router from one source. When the map is full, the source
/// that was silent longest makes room; the router's own counters in [`Slot`] keep what it sent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PeerCounters {
    /// Accepted advertisements.
    pub adverts: u64,
    /// Arrival of the last one, nanoseconds of `CLOCK_MONOTONIC`.
    pub last_seen_ns: u64,
    /// Priority in the last one.
    pub priority: u64,
    /// The kernel side: how much room [`crate::report::SOURCE_LIMIT`] leaves this source for what outranks the router.
    pub outranks_full_ns: u64,
    /// The same for priority 0.
    pub resigns_full_ns: u64,
}

/// Bytes of [`PeerCounters::adverts`] in its value.
pub const PEER_ADVERTS: usize = core::mem::offset_of!(PeerCounters, adverts);
/// Bytes of [`PeerCounters::last_seen_ns`] in its value.
pub const PEER_LAST_SEEN: usize = core::mem::offset_of!(PeerCounters, last_seen_ns);
/// Bytes of [`PeerCounters::priority`] in its value.
pub const PEER_PRIORITY: usize = core::mem::offset_of!(PeerCounters, priority);
/// Bytes of [`PeerCounters::outranks_full_ns`] in its value.
pub const PEER_OUTRANKS: usize = core::mem::offset_of!(PeerCounters, outranks_full_ns);
/// Bytes of [`PeerCounters::resigns_full_ns`] in its value.
pub const PEER_RESIGNS: usize = core::mem::offset_of!(PeerCounters, resigns_full_ns);

/// Budgets of one router, one for each class of which anything is reported ([`crate::report::Class`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Of its master.
    Master,
    /// What outranks it or its master.
    Outranks,
    /// Priority 0.
    Resigns,
    /// What ranks below it.
    Lower,
}

impl Budget {
    /// Index for the router at that index in `SLOTS`, in the kernel side's own array of what may be reported.
    #[inline(always)]
    pub const fn index(self, slot: u32) -> u32 {
        slot.wrapping_mul(BUDGETS_PER_ROUTER).wrapping_add(self as u32)
    }
}

/// Value of `ALLOWED`: the TTL or hop limit that advertisements of a unicast peer may arrive with, both ends included.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct TtlRange {
    /// Least.
    pub min: u8,
    /// Greatest.
    pub max: u8,
    /// Always zero.
    pub reserved: [u8; 2],
}

/// The single value of `CONTROL`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Control {
    /// [`ABI_VERSION`] of the daemon that wrote the maps.
    pub abi_version: u32,
    /// Process of that daemon.
    pub pid: u32,
    /// Since when counters have been counting, nanoseconds of `CLOCK_MONOTONIC`: the start of that daemon, or of the first
    /// of those that were killed and adopted by the next.
    pub started_ns: u64,
    /// [`READABLE_SINCE`] of that daemon; zero of one that has no such field.
    pub readable_since: u32,
    /// Always zero.
    pub reserved: u32,
    /// When that daemon has adopted the maps of another one; 0 for never.
    pub adopted_ns: u64,
    /// The network namespace that numbers its interfaces: the inode of `/proc/self/ns/net` (namespaces(7)).
    pub namespace: u64,
    /// What tells its programs from those of another build.
    pub object: u64,
    /// [`SOURCE_KEY`] of its programs.
    pub source_key: u64,
    /// By how many nanoseconds `CLOCK_REALTIME` is ahead of `CLOCK_MONOTONIC`, written anew whenever somebody sets the clock.
    pub realtime_offset: u64,
}

offsets! {
    Control:
    CONTROL_REALTIME_OFFSET = realtime_offset
}

impl Control {
    /// Of a daemon of this version.
    pub fn new(pid: u32, started_ns: u64) -> Self {
        Self {
            abi_version: ABI_VERSION,
            pid,
            started_ns,
            readable_since: READABLE_SINCE,
            ..Self::default()
        }
    }

    /// Whether a reader of this version understands the maps as far as it knows them.
    pub fn is_readable(&self) -> bool {
        match self.abi_version {
            // Zeros are a map that nobody has written.
            0 => false,
            older if older < ABI_VERSION => older >= READABLE_SINCE,
            ABI_VERSION => true,
            _newer => (1..=ABI_VERSION).contains(&self.readable_since),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;

    #[test]
    fn a_slot_is_a_cache_line() {
        assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (64, 64));
    }

    #[test]
    fn a_reader_knows_what_it_understands() {
        let of = |abi_version, readable_since| {
            Control { abi_version, readable_since, ..Control::new(1, 2) }.is_readable()
        };
        assert!(Control::new(1, 2).is_readable());
        // Of newer ones only what says that it may be read.
        assert!(of(ABI_VERSION + 1, ABI_VERSION) && of(ABI_VERSION + 1, READABLE_SINCE));
        assert!(!of(ABI_VERSION + 1, ABI_VERSION + 1) && !of(ABI_VERSION + 1, 0));
        assert!(of(READABLE_SINCE, 0) && !of(READABLE_SINCE - 1, 0) && !of(0, 0));
    }

    #[test]
    fn names_are_cut_between_characters() {
        let mut info = RouterInfo::default();
        info.set_name("VI_1");
        assert_eq!(info.name(), "VI_1");
        let long: String = "é".repeat(40);
        info.set_name(&long);
        assert_eq!(info.name(), "é".repeat(32));
        info.set_name(&std::format!("x{long}"));
        assert_eq!(info.name().len(), 63);
    }
}
