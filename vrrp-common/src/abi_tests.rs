//! That nobody changes the layout of what is pinned, or the meaning of a number in it, and forgets the version.

extern crate std;

use core::any::type_name_of_val;
use core::fmt::Write;
use core::mem::offset_of;
use std::string::String;
use std::vec::Vec;

use bytemuck::Zeroable;

use crate::counters::{self, Counter};
use crate::event::{Claim, NO_SLOT, RxEvent};
use crate::lease::Terms;
use crate::maps::*;
use crate::reason::Reason;
use crate::report::{MasterSeen, ReportFilter};
use crate::sample::{self, SAMPLES_KEPT, Sample, SampleCounts};
use crate::{FAMILY_V4, FAMILY_V6};

/// Where the types of the maps stand.
const SOURCES: [&str; 3] =
    [include_str!("maps.rs"), include_str!("event.rs"), include_str!("sample.rs")];
/// Where the kernel side says of which kind they are.
const KERNEL_SIDE: &str = include_str!("../../vrrp-ebpf/src/maps.rs");

/// Sizes, and offsets, names and types of all fields.
macro_rules! layout {
    ($out:ident, $( $type:ident { $($field:ident),+ } )+) => { $(
        let value = $type::zeroed();
        // Every field must be named: this does not compile otherwise.
        let $type { $($field: _),+ } = value;
        let _ = writeln!($out, "struct {} {} {}", stringify!($type), size_of::<$type>(), align_of::<$type>());
        $(
            let (at, of) = (offset_of!($type, $field), type_name_of_val(&value.$field));
            let _ = writeln!($out, "    {at} {}: {of}", stringify!($field));
        )+
    )+ };
}

/// Numbers with their names.
macro_rules! numbers {
    ($out:ident, $($name:path),+) => { $( let _ = writeln!($out, "{} {}", stringify!($name), $name); )+ };
}

fn structs(out: &mut String) {
    layout!(out,
        RouterKey { ifindex, vlan, family, vrid, reserved }
        RouterEntry {
            slot, version, transport, auth_type, interval, auth_data, local, destination, mac, link_local_first,
            hmac, hmac_window, reserved
        }
        HmacKeyId { slot, key_id, reserved }
        HmacKey { inner, outer }
        Slot { last_seen_ns, master_seen, own_mac_ns, adverts, refused, priority_zero, ack, filter }
        Lease { term, renewed, terms, claimed, outranked, fenced, lifted, dropped }
        RouterInfo {
            name, interface, adverts_sent, priority_zero_sent, send_errors, became_master, transitions, since_ns,
            address_list_mismatch, master, ifindex, state, vrid, priority, version, family, capture, interval_cs,
            configured_interval_cs, foreign_addresses, address_conflicts, configured_priority, reserved,
            hmac_sequence, netns
        }
        VipKey4 { ifindex, address }
        VipKey6 { ifindex, address }
        Held { reported_ns, mac, slot, reserved, virtual_mac }
        VirtualMacKey { mac, ifindex }
        VipCounters { rx_packets, rx_bytes, tx_packets, tx_bytes, slot, virtual_mac }
        PeerKey { slot, source }
        PeerCounters { adverts, last_seen_ns, priority, outranks_full_ns, resigns_full_ns }
        TtlRange { min, max, reserved }
        Control {
            abi_version, pid, started_ns, readable_since, reserved, adopted_ns, namespace, object, source_key,
            realtime_offset
        }
        RxEvent {
            ktime_ns, ifindex, reason, slot, vlan, source, destination, family, ttl, wire_len, payload_len, reserved,
            digest
        }
        Claim { mac, may_be_ours, reserved }
        Sample {
            ktime_ns, ifindex, vlan, source, destination, family, ttl, vrid, reserved, wire_len, payload_len, payload,
            digest
        }
        SampleCounts { written, missed }
    );
}

/// The maps that are pinned under their names.
fn pinned() -> impl Iterator<Item = &'static str> {
    let constants = SOURCES[0].lines().filter_map(|line| line.strip_prefix("pub const "));
    constants.filter_map(|line| {
        let (name, text) = line.split_once(": &str = ")?;
        (text.trim_matches(['"', ';']) == name && name != SOURCE_KEY).then_some(name)
    })
}

/// The kind of a map with its types, as the kernel side declares it.
fn kind(name: &str) -> String {
    let begin = std::format!("pub static {name}: ");
    let (_, declared) = KERNEL_SIDE.split_once(&*begin).expect(name);
    let (kind, _) = declared.split_once(" =").expect(name);
    kind.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All that a reader of the maps relies on.
fn layouts() -> String {
    let mut out = String::new();
    structs(&mut out);
    for name in pinned() {
        let _ = writeln!(out, "map {name} {}", kind(name));
    }
    for reason in Reason::ALL {
        let _ = writeln!(out, "reason {} {}", reason.index(), reason.name());
    }
    for (counter, name) in Counter::ALL {
        let _ = writeln!(out, "counter {} {name}", *counter as u32);
    }
    numbers!(out, transport::MULTICAST, transport::UNICAST, transport::PEERS);
    numbers!(out, hmac::KEYS, hmac::UNSIGNED, hmac::MONOTONIC, hmac::AH);
    numbers!(out, state::INIT, state::BACKUP, state::MASTER, state::FAULT);
    numbers!(out, capture::NONE, capture::NATIVE, capture::GENERIC, capture::TC, capture::RAW);
    numbers!(out, FAMILY_V4, FAMILY_V6, NO_SLOT, DAEMON_COUNTERS, SAMPLES_KEPT);
    let _ = writeln!(out, "of_reason {}", counters::of_reason(Reason::Ttl));
    for budget in [Budget::Master, Budget::Outranks, Budget::Resigns, Budget::Lower] {
        let _ = writeln!(out, "budget {budget:?} {}", budget.index(3));
    }
    let _ = writeln!(out, "sample {}", sample::index(3, 9));
    let _ =
        writeln!(out, "sample digest {:x}", Sample { ktime_ns: 2, ..Sample::default() }.digest());
    // What is packed into words.
    for word in [0x0102_0304_0506_0708, 0xf1f2_f3f4_f5f6_f7f8] {
        let _ = writeln!(out, "{:?} {:?}", ReportFilter::unpack(word), MasterSeen::unpack(word));
        let _ = writeln!(out, "{:?}", Terms::unpack(word));
    }
    out
}

#[test]
fn the_version_is_that_of_the_layout() {
    let layouts = layouts();
    // FNV-1a.
    let digest = layouts.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    assert!(
        digest == ABI_DIGEST,
        "what is pinned is laid out in another way than ABI_VERSION {ABI_VERSION} says, or means something else. A reader \
         of one version must not take the maps of the other for its own: raise ABI_VERSION, unless that was done since \
         the last release, READABLE_SINCE as well unless something was only added at an end, and write `ABI_DIGEST: u64 = {digest:#018x}` beside it. This is the layout now:\n{layouts}"
    );
}

#[test]
fn every_type_in_a_map_is_looked_at() {
    let layouts = layouts();
    for source in SOURCES {
        for line in source.lines().filter_map(|line| line.strip_prefix("pub struct ")) {
            let name = line.trim_end_matches(" {");
            assert!(layouts.contains(&*std::format!("struct {name} ")), "{name} is missing here");
        }
        // Constants in modules are numbers of fields.
        for line in source.lines().filter_map(|line| line.strip_prefix("    pub const ")) {
            if line.starts_with("fn ") {
                continue;
            }
            let (name, _) = line.split_once(':').expect("a constant");
            assert!(layouts.contains(&*std::format!("::{name} ")), "{name} is missing here");
        }
    }
    assert!(pinned().any(|name| name == ROUTERS) && pinned().any(|name| name == CONTROL));
}
