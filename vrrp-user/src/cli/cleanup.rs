//! `vrrp-user cleanup` and `vrrp-user fence`: what concerns a host whose daemon is gone.

use std::io::{self, Write};
use std::path::Path;

use vrrp_common::lease;
use vrrp_common::maps::state;

use crate::driver;
use crate::driver::cleanup::{Cleaned, cleanup};
use crate::io::bpf::{self, Leases};
use crate::io::reader::Reader;
use crate::metrics;
use crate::printable;
use crate::types::instance::Instance;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A daemon runs, or the host does not permit it.
    #[error(transparent)]
    Driver(#[from] driver::Error),
    /// The maps cannot be read or written.
    #[error(transparent)]
    Maps(#[from] bpf::Error),
    #[error("instance `{instance}` has no router {name}")]
    NoRouter { instance: Instance, name: String },
    #[error("cannot write")]
    Output(#[from] io::Error),
}

/// Takes away what a daemon left that was killed, and says what. Whether nothing of it stays.
pub fn clean(
    instance: &Instance,
    bpffs: Option<&Path>,
    out: &mut impl Write,
) -> Result<bool, Error> {
    let Cleaned { removed, stays } = cleanup(instance, bpffs)?;
    for line in &removed {
        writeln!(out, "removed {line}")?;
    }
    for line in &stays {
        writeln!(out, "stays: {line}")?;
    }
    if removed.is_empty() && stays.is_empty() {
        writeln!(out, "nothing was left of instance {instance}")?;
    }
    Ok(stays.is_empty())
}

/// Says which routers are fenced, or lifts the fence of one of them or of all.
pub fn fence(
    instance: &Instance,
    bpffs: Option<&Path>,
    name: Option<&str>,
    clear: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let pins = instance.pins(&bpf::find_bpffs(bpffs)?);
    let reader = Reader::open(&pins)?;
    let routers = reader.routers()?;
    let leases = clear.then(|| Leases::open(&pins)).transpose()?;
    let asked = routers.iter().filter(|(_, info, _)| {
        let place = format!("{}/{}", metrics::interface(info), info.vrid);
        name.is_none_or(|name| name == info.name() || name == place)
    });
    let asked: Vec<_> = asked.collect();
    if let (Some(name), true) = (name, asked.is_empty()) {
        return Err(Error::NoRouter { instance: instance.clone(), name: name.to_owned() });
    }
    let mut fenced = 0;
    for (index, info, _) in asked {
        let lease = reader.lease(*index)?;
        if info.state != state::MASTER || !lease.is_fenced() {
            continue;
        }
        fenced += 1;
        let how = if let Some(leases) = &leases {
            lease::lift(&leases.words(*index));
            "is fenced no more, until its daemon takes over again"
        } else {
            "is fenced: this host does not answer for its addresses"
        };
        let interface = metrics::interface(info);
        let (name, interface) = (printable::text(info.name()), printable::text(&interface));
        writeln!(
            out,
            "{name} (vrid {} on {interface}) {how}; {} packets were stopped",
            info.vrid, lease.dropped
        )?;
    }
    if fenced == 0 {
        writeln!(out, "no router is fenced")?;
    }
    Ok(())
}
