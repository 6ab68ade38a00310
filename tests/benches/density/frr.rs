//! FRR with many virtual routers, each of which wants a macvlan device that somebody else makes.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use vrrp_tests::{Error, Frr, Process, Result, wait_until};
use vrrp_user::engine::types::AdvertInterval;

use crate::stage::{Load, Place, link_name};

/// Descriptors: two sockets for each router.
const FILES: &str = "--nofile=16384:16384";

/// Makes the device of each router with its addresses.
pub fn make_devices(place: &Place, load: Load) -> Result<()> {
    let mut commands = String::new();
    for router in 0..load.routers {
        let (device, link, vip) = (device(router), link_name(load.link(router)), load.vip(router));
        let mac = Frr::mac(vip.into(), load.vrid(router));
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            commands,
            "link add {device} link {link} address {mac} type macvlan mode bridge\n\
             link set {device} addrgenmode none\naddress add {vip}/32 dev {device}\nlink set {device} up"
        );
    }
    place.ip_batch(&commands)
}

fn device(router: usize) -> String {
    format!("m{router}")
}

/// Starts zebra, and waits until it listens.
pub fn start_zebra(place: &Place) -> Result<Process> {
    // Both drop root for a user of their own, and then make their sockets.
    fs::set_permissions(&place.dir, fs::Permissions::from_mode(0o777))
        .map_err(Error::io("open FRR's directory"))?;
    let zebra = start(place, "zebra", String::new())?;
    wait_until(Duration::from_secs(20), "zebra listens", || {
        Ok(Frr::zebra_listens(&place.dir.display().to_string()).then_some(()))
    })?;
    Ok(zebra)
}

/// Starts vrrpd.
pub fn start_vrrpd(place: &Place, load: Load, priority: u8) -> Result<Process> {
    let version = match load.interval() {
        AdvertInterval::Secs(_) => 2,
        AdvertInterval::Centisecs(_) => 3,
    };
    let mut text = String::new();
    for router in 0..load.routers {
        let (vrid, vip) = (load.vrid(router), load.vip(router));
        let (link, interval) = (link_name(load.link(router)), load.interval_ms);
        let _ = writeln!(
            text,
            "interface {link}\n vrrp {vrid} version {version}\n vrrp {vrid} priority {priority}\n \
             vrrp {vrid} advertisement-interval {interval}\n vrrp {vrid} ip {vip}\n!"
        );
    }
    start(place, "vrrpd", text)
}

fn start(place: &Place, name: &str, configuration: String) -> Result<Process> {
    let conf = place.path(&format!("{name}.conf"));
    fs::write(&conf, configuration).map_err(Error::io("write FRR's configuration"))?;
    let mut command = place.host.command("prlimit");
    command.arg(FILES).args(Frr::command(&place.dir.display().to_string(), name, &conf));
    Process::spawn(name, &mut command)
}
