//! `vrrp-user stats`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use vrrp_common::reason::Reason;

use crate::control::api::{Answer, LastFrom, Request, Stats};
use crate::control::{Instance, client};
use crate::io::bpf;
use crate::metrics;

use super::status::span;

/// `stats` has nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither maps nor a daemon.
    #[error("{}; and the control socket does not help: {socket}", bpf::chain(pins))]
    Nothing {
        /// What is wrong with the pinned maps.
        pins: Box<bpf::Error>,
        /// Why the daemon could not be asked.
        socket: Box<client::Error>,
    },
    /// Output failed.
    #[error("cannot write")]
    Output(#[from] io::Error),
    /// It is not JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

/// Prints the counters, from the pinned maps when they can be seen, else as the daemon reads them.
///
/// # Errors
/// [`Error`].
pub fn stats(
    instance: &Instance,
    bpffs: Option<&Path>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let pinned =
        bpf::find_bpffs(bpffs).and_then(|bpffs: PathBuf| metrics::collect(&instance.pins(&bpffs)));
    let stats = match pinned {
        Ok(stats) => stats,
        Err(pins) => match client::ask(instance, Request::Stats {}) {
            Ok(Answer::Stats(stats)) => {
                log::warn!("{}; these are the daemon's own readings", bpf::chain(&pins));
                stats
            }
            Ok(
                Answer::Status(_)
                | Answer::Routers(_)
                | Answer::Router(_)
                | Answer::Event(_)
                | Answer::Lost { .. }
                | Answer::Error(_),
            ) => {
                let socket = client::Error::Refused(instance.clone(), "wrong answer".to_owned());
                return Err(Error::Nothing { pins: Box::new(pins), socket: Box::new(socket) });
            }
            Err(socket) => {
                return Err(Error::Nothing { pins: Box::new(pins), socket: Box::new(socket) });
            }
        },
    };
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&stats)?)?;
        return Ok(());
    }
    Ok(table(&stats, out)?)
}

fn table(stats: &Stats, out: &mut impl Write) -> io::Result<()> {
    let rows = stats.routers.iter().map(|r| {
        [
            r.name.clone(),
            r.interface.clone(),
            r.vrid.to_string(),
            r.state.clone(),
            r.adverts_received.to_string(),
            r.adverts_sent.to_string(),
            r.refused.to_string(),
            format!("{}/{}", r.priority_zero_received, r.priority_zero_sent),
            r.became_master.to_string(),
            r.send_errors.to_string(),
        ]
    });
    let head = [
        "ROUTER",
        "INTERFACE",
        "VRID",
        "STATE",
        "RECEIVED",
        "SENT",
        "REFUSED",
        "PRIO0 RX/TX",
        "BECAME MASTER",
        "SEND ERRORS",
    ];
    super::columns(out, head, rows)?;
    if !stats.vips.is_empty() {
        writeln!(out)?;
        let rows = stats.vips.iter().map(|v| {
            [
                v.address.clone(),
                v.interface.clone(),
                v.rx_packets.to_string(),
                v.rx_bytes.to_string(),
                v.tx_packets.to_string(),
                v.tx_bytes.to_string(),
            ]
        });
        let head = ["ADDRESS", "INTERFACE", "RX PACKETS", "RX BYTES", "TX PACKETS", "TX BYTES"];
        super::columns(out, head, rows)?;
    }
    writeln!(out)?;
    let rows = Reason::ALL.iter().filter_map(|reason| {
        let count = stats.reasons.get(reason.name()).copied().unwrap_or(0);
        let last = stats.last_from.get(reason.name()).map(from).unwrap_or_default();
        (count > 0 || *reason == Reason::Accepted)
            .then(|| [reason.name().to_owned(), count.to_string(), reason.text().to_owned(), last])
    });
    super::columns(out, ["REASON", "PACKETS", "MEANING", "LAST FROM"], rows)
}

/// As `10.0.0.2 on eth0, VRID 51, 4.2s ago`.
fn from(last: &LastFrom) -> String {
    let mut text = format!("{} on {}", last.address, last.interface);
    for id in &last.vlan {
        text.push_str(&format!(" VLAN {id}"));
    }
    if let Some(vrid) = last.vrid {
        text.push_str(&format!(", VRID {vrid}"));
    }
    format!("{text}, {} ago", span(last.ago_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::{SCHEMA, VipStats};

    #[test]
    fn traffic_and_senders_are_shown() {
        let last = LastFrom {
            address: "10.0.0.2".to_owned(),
            interface: "eth0".to_owned(),
            vlan: vec![],
            vrid: Some(51),
            ago_s: 4.21,
            not_sampled: 0,
        };
        let short = LastFrom { vlan: vec![7, 9], vrid: None, ago_s: 90.0, ..last.clone() };
        let stats = Stats {
            schema: SCHEMA,
            routers: vec![],
            vips: vec![VipStats {
                interface: "eth0".to_owned(),
                address: "10.0.0.100".to_owned(),
                rx_packets: 6,
                rx_bytes: 412,
                tx_packets: 5,
                tx_bytes: 573,
            }],
            reasons: [("accepted", 3), ("ttl", 2), ("vrrp_length", 1), ("version", 0)]
                .map(|(name, count)| (name.to_owned(), count))
                .into(),
            last_from: [("ttl".to_owned(), last), ("vrrp_length".to_owned(), short)].into(),
        };
        let mut out = Vec::new();
        table(&stats, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "ADDRESS     INTERFACE  RX PACKETS  RX BYTES  TX PACKETS  TX BYTES",
                "10.0.0.100  eth0       6           412       5           573",
                "",
                "REASON       PACKETS  MEANING                                          LAST FROM",
                "accepted     3        valid advertisement for a router of ours",
                "ttl          2        TTL is not 255 (sent from another network?)      10.0.0.2 on eth0, \
                 VRID 51, 4.2s ago",
                "vrrp_length  1        VRRP message incomplete or of impossible length  10.0.0.2 on eth0 \
                 VLAN 7 VLAN 9, 1m30s ago",
            ]
        );
    }

    #[test]
    fn what_an_older_daemon_says_is_understood() {
        let json = r#"{"schema":1,"routers":[],"vips":[{"interface":"eth0","address":"10.0.0.100",
            "rx_packets":1,"rx_bytes":2}],"reasons":{}}"#;
        let stats: Stats = serde_json::from_str(json).unwrap();
        assert_eq!((stats.vips[0].tx_packets, stats.last_from.len()), (0, 0));
    }
}
