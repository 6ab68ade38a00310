//! The counters of the pinned maps, readable with and without a daemon.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use vrrp_common::FAMILY_V4;
use vrrp_common::maps::{RouterInfo, state};
use vrrp_common::reason::Reason;

use crate::control::api::{LastFrom, RouterStats, SCHEMA, Stats, VipStats};
use crate::engine::time::Nanos;
use crate::io::bpf::Error;
use crate::io::reader::{Reader, Sampled};
use crate::io::timer;

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
    let mut reasons: BTreeMap<String, u64> =
        reader.reasons()?.iter().map(|(reason, n)| (reason.name().to_owned(), *n)).collect();
    // This one is not the kernel side's: only the daemon knows the whole list.
    let mismatches = known.iter().map(|(_, info, _)| info.address_list_mismatch).sum();
    reasons.insert(Reason::AddressList.name().to_owned(), mismatches);
    let sampled = reader.samples()?;
    // After that, so that nothing seems to come from the future.
    let now = timer::now();
    let last_from = sampled.iter().filter_map(|(reason, sampled)| {
        let name = |ifindex| interface_name(ifindex, known.iter().map(|(_, info, _)| info));
        Some((reason.name().to_owned(), last_from(sampled, now, name)?))
    });
    Ok(Stats {
        schema: SCHEMA,
        last_from: last_from.collect(),
        routers: routers.collect(),
        vips: vips.collect(),
        reasons,
    })
}

/// What is to be said of the latest sample.
fn last_from(
    sampled: &Sampled,
    now: Nanos,
    interface: impl FnOnce(u32) -> String,
) -> Option<LastFrom> {
    let sample = sampled.recent.first()?;
    let [a, b, c, d, ..] = sample.source;
    let address: IpAddr = if sample.family == FAMILY_V4 {
        Ipv4Addr::from([a, b, c, d]).into()
    } else {
        Ipv6Addr::from(sample.source).into()
    };
    Some(LastFrom {
        address: address.to_string(),
        interface: interface(sample.ifindex),
        vlan: sample.vlan.into_iter().filter(|id| *id != 0).collect(),
        vrid: (sample.payload_len >= 2).then_some(sample.vrid),
        ago_s: (now - Nanos(sample.ktime_ns)).as_secs_f64(),
        not_sampled: sampled.missed,
    })
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

#[cfg(test)]
mod tests {
    use vrrp_common::sample::Sample;

    use super::*;

    #[test]
    fn the_newest_sample_is_shown() {
        let sample = |time, last| {
            let mut sample =
                Sample { ktime_ns: time, ifindex: 4, family: FAMILY_V4, ..Sample::default() };
            sample.source[..4].copy_from_slice(&[10, 0, 0, last]);
            sample
        };
        let mut newest = sample(5_000_000_000, 200);
        (newest.payload_len, newest.vrid, newest.vlan) = (12, 51, [7, 0]);
        let mut sampled = Sampled { recent: vec![newest, sample(4_000_000_000, 201)], missed: 9 };
        let name = |ifindex| format!("eth{ifindex}");
        let expected = LastFrom {
            address: "10.0.0.200".to_owned(),
            interface: "eth4".to_owned(),
            vlan: vec![7],
            vrid: Some(51),
            ago_s: 2.5,
            not_sampled: 9,
        };
        let now = Nanos(7_500_000_000);
        assert_eq!(last_from(&sampled, now, name), Some(expected));
        // Too short to have a VRID.
        sampled.recent.remove(0);
        assert_eq!(last_from(&sampled, now, name).unwrap().vrid, None);
        assert_eq!(last_from(&Sampled::default(), now, name), None);
    }
}
