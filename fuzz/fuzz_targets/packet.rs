//! Any frame: the walk through its headers that XDP does, the receive checks, and the dissection that `monitor` shows.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use vrrp_common::maps::RouterEntry;
use vrrp_common::parse::{self, Address, Packet};
use vrrp_user::engine::types::Version;
use vrrp_user::wire::{dissect, vrrp};

/// The receive checks with a router as the frame wants to have it.
fn checked<A: Address>(mut frame: &[u8], packet: &Packet<A>, entry: &RouterEntry) {
    if let Ok(advert) = parse::advert(&mut frame, packet) {
        let _ = parse::check(&mut frame, &advert, entry);
    }
}

fuzz_target!(|data: &[u8]| {
    const ENTRY: usize = size_of::<RouterEntry>();
    let Some((entry, frame)) = data.split_at_checked(ENTRY) else { return };
    let entry: RouterEntry = bytemuck::pod_read_unaligned(entry);
    if let Some(packet) = parse::ipv4(&frame) {
        checked(frame, &packet, &entry);
    }
    if let Some(packet) = parse::ipv6(&frame) {
        checked(frame, &packet, &entry);
        let _ = parse::ndisc_claim(&frame, &packet);
    }
    let _ = parse::arp_sender(&frame);
    for (source, version) in [
        (IpAddr::from([10, 0, 0, 1]), Version::V2),
        (IpAddr::from([10, 0, 0, 1]), Version::V3),
        (IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]), Version::V3),
    ] {
        let _ = vrrp::parse_advert(source, version, frame);
    }
    if let Some((header, rest)) = frame.split_at_checked(14)
        && let [.., high, low] = header
    {
        let _ = dissect::Packet::parse(u16::from_be_bytes([*high, *low]), None, rest);
    }
});
