//! `vrrp-user stats`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use vrrp_common::reason::Reason;

use crate::control::api::{Answer, Request, Stats};
use crate::control::{Instance, client};
use crate::io::bpf;
use crate::metrics;

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
            Ok(Answer::Status(_) | Answer::Error(_)) => {
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
        (count > 0 || *reason == Reason::Accepted)
            .then(|| [reason.name().to_owned(), count.to_string(), reason.text().to_owned()])
    });
    super::columns(out, ["REASON", "PACKETS", "MEANING"], rows)
}
