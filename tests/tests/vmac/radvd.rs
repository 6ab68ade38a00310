//! Router advertisements for a virtual router, from radvd, as docs/configuration.md has it.

use std::fs;

use super::{
    Host, Kind, MACS, Process, ROUTERS, Result, STEP, Stage, Wire, conf as routers, mac, set,
};
use vrrp_tests::{Lab, VrrpUser, skip};

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");
/// The virtual link-local address.
const SOURCE: &str = "fe80::100";

/// The example of the document, more often than every ten minutes.
fn conf() -> String {
    let example = DOCUMENT.split("```").find(|part| part.contains("AdvRASrcAddress")).unwrap();
    let example = example.trim_start_matches(|c| c != '\n');
    let often = "AdvSendAdvert on;\n MinRtrAdvInterval 3;\n MaxRtrAdvInterval 4;\n";
    assert!(example.contains("interface eth0") && example.contains(SOURCE), "{example}");
    example.replace("AdvSendAdvert on;\n", often)
}

fn start(host: &Host, conf: &str) -> Result<Process> {
    let dir = host.dir("radvd")?;
    fs::write(dir.join("conf"), conf).unwrap();
    let [conf, pid] = ["conf", "pid"].map(|name| dir.join(name).display().to_string());
    // As a host that routes.
    set(host, &["net.ipv6.conf.all.forwarding=1"])?;
    host.spawn("radvd", "radvd", &["-n", "-m", "stderr", "-d", "3", "-C", &conf, "-p", &pid])
}

/// The master's leave from the virtual MAC and the virtual link-local address, and name no other MAC address; a backup sends
/// none. Who goes by them has the same router before and after a takeover.
#[test]
fn router_advertisements_are_the_masters() -> Result<()> {
    let Ok(_) = std::process::Command::new("radvd").arg("--version").output() else {
        skip("there is no radvd");
        return Ok(());
    };
    let mut stage = Stage::new([Kind::VrrpUser; 2], "use_vmac")?;
    let wires = [Wire::tap(&stage.lab, &stage.hosts[0])?, Wire::tap(&stage.lab, &stage.hosts[1])?];
    let _running = [start(&stage.hosts[0], &conf())?, start(&stage.hosts[1], &conf())?];
    let words = ["router advertisement"];
    for master in [0, 1] {
        stage.lab.wait_until(STEP, "router advertisements of the master", || {
            Ok(wires[master].has(&words).then_some(()))
        })?;
        // The client has one router, at the virtual MAC address.
        stage.lab.wait_until(STEP, "the client has a router", || {
            let routes = stage.client.ip(&["-6", "route", "show", "default"])?;
            let routers = routes.matches(" via ").count();
            Ok((routers == 1 && routes.contains(SOURCE)).then_some(()))
        })?;
        let mut ping = stage.client.spawn("ping", "ping", &["-c", "1", "fe80::100%eth0"])?;
        assert!(ping.wait(STEP)?.success());
        let known = stage.client.ip(&["neighbour", "show", SOURCE, "dev", "eth0"])?;
        assert!(known.contains(MACS[1]) && known.contains("router"), "{known}");
        if master == 0 {
            assert!(!wires[1].has(&words), "{:#?}", wires[1].frames());
            stage.daemons[0].stop()?;
            for router in ROUTERS {
                stage.daemons[1].wait_state(&stage.hosts[1], router, "MASTER", STEP)?;
            }
        }
    }
    for (wire, host) in wires.iter().zip(&stage.hosts) {
        wire.check();
        for frame in wire.frames().iter().filter(|frame| frame.contains(words[0])) {
            let from = [format!(" {} > ", MACS[1]), format!("{SOURCE} > ")];
            assert!(from.iter().all(|words| frame.contains(words)), "{frame}");
            assert!(!frame.contains("source link-address option"), "{frame}");
            assert!(!frame.contains(&mac(host)), "{frame}");
        }
    }
    Ok(())
}

/// Why the document turns AdvSourceLLAddress off: the Ethernet source is the virtual MAC address, what the option says is not.
#[test]
fn radvd_says_where_the_device_is() -> Result<()> {
    let Ok(_) = std::process::Command::new("radvd").arg("--version").output() else {
        skip("there is no radvd");
        return Ok(());
    };
    let lab = Lab::new()?;
    let a = lab.host("a", "10.0.0.1/24")?;
    a.ip(&["address", "add", "2001:db8::1/64", "dev", "eth0", "nodad"])?;
    let wire = Wire::tap(&lab, &a)?;
    let mut daemon = VrrpUser::start(&a, &routers(255, "use_vmac"))?;
    daemon.wait_state(&a, ROUTERS[1], "MASTER", STEP)?;
    let _running = start(&a, &conf().replace("AdvSourceLLAddress off;", "AdvSourceLLAddress on;"))?;
    let states = format!("(1): {}", mac(&a));
    let from = format!(" {} > ", MACS[1]);
    let words = [&*from, "router advertisement", "source link-address option", &states];
    lab.wait_until(STEP, "a router advertisement", || Ok(wire.has(&words).then_some(())))
}
