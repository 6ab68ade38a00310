//! The counters of the pinned maps, readable with and without a daemon.

use std::net::Ipv4Addr;
use std::path::Path;

use vrrp_common::maps::{RouterInfo, state};

use crate::control::api::{RouterStats, SCHEMA, Stats, VipStats};
use crate::io::bpf::Error;
use crate::io::reader::Reader;

/// Reads everything once.
///
/// # Errors
/// No maps are pinned there, or they are of another ABI.
pub fn collect(pins: &Path) -> Result<Stats, Error> {
    let reader = Reader::open(pins)?;
    let known = reader.routers()?;
    let routers = known.iter().map(|(_, info, slot)| RouterStats {
        name: info.name().to_owned(),
        interface: info.interface().to_owned(),
        vrid: info.vrid,
        state: state_name(info).to_owned(),
        adverts_received: slot.adverts,
        adverts_sent: info.adverts_sent,
        refused: slot.refused,
        priority_zero_received: slot.priority_zero.into(),
        priority_zero_sent: info.priority_zero_sent,
        address_list_mismatch: info.address_list_mismatch,
        send_errors: info.send_errors,
        became_master: info.became_master,
    });
    let mut counted = reader.vips()?;
    counted.sort_by_key(|(key, _)| *key);
    let vips = counted.iter().map(|(key, counters)| VipStats {
        interface: interface_name(key.ifindex, known.iter().map(|(_, info, _)| info)),
        address: Ipv4Addr::from(key.address).to_string(),
        rx_packets: counters.rx_packets,
        rx_bytes: counters.rx_bytes,
        tx_packets: counters.tx_packets,
        tx_bytes: counters.tx_bytes,
    });
    let mut reasons: std::collections::BTreeMap<String, u64> =
        reader.reasons()?.iter().map(|(reason, n)| (reason.name().to_owned(), *n)).collect();
    // This one is not the kernel side's: only the daemon knows the whole list.
    let mismatches = known.iter().map(|(_, info, _)| info.address_list_mismatch).sum();
    reasons.insert(vrrp_common::reason::Reason::AddressList.name().to_owned(), mismatches);
    Ok(Stats { schema: SCHEMA, routers: routers.collect(), vips: vips.collect(), reasons })
}

fn state_name(info: &RouterInfo) -> &'static str {
    match info.state {
        state::INIT => "INIT",
        state::BACKUP => "BACKUP",
        state::MASTER => "MASTER",
        state::FAULT => "FAULT",
        _ => "?",
    }
}

/// The name that the daemon used, which holds in whatever network namespace this runs; else the name here,
/// else the index.
fn interface_name<'a>(ifindex: u32, mut routers: impl Iterator<Item = &'a RouterInfo>) -> String {
    if let Some(info) = routers.find(|info| info.ifindex == ifindex) {
        return info.interface().to_owned();
    }
    match nix::net::if_::if_indextoname(ifindex) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("#{ifindex}"),
    }
}
