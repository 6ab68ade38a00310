//! That advertisements are heard, whatever somebody does to the programs, maps and clocks that this takes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use vrrp_tests::{Error, Host, Instance, Lab, Pair, Result, VrrpUser, pause};

/// More than any change takes here.
const LONG: Duration = Duration::from_secs(20);
const ROUTER: &str = "VI_1";

/// Ten advertisements a second: a master is given up after a third of a second.
fn conf(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").v3("0.1").to_string()
}

/// Containers may have clocks of their own, but the kernel stamps arrivals with the host's: a backup would take over
/// again and again, or only after a day.
#[test]
fn a_time_namespace_changes_nothing() -> Result<()> {
    for offset in ["86400", "-30"] {
        let lab = Lab::new()?;
        let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
        let mut master = VrrpUser::start(&a, &conf(150))?;
        master.wait_state(&a, ROUTER, "MASTER", LONG)?;
        let unshare = ["unshare", "--time", "--monotonic", offset];
        let mut backup = VrrpUser::start_under(&b, &unshare, "vrrp.conf", &conf(100), &[])?;
        backup.wait_state(&b, ROUTER, "BACKUP", LONG)?;
        pause(Duration::from_secs(1))?;
        let stats = backup.router_stats(&b, ROUTER)?;
        assert_eq!((&stats["became_master"], &stats["state"]), (&0.into(), &"BACKUP".into()));
        let silent = stats["last_seen_s"].as_f64().unwrap();
        assert!((0.0..60.0).contains(&silent), "last heard {silent} s ago");
        master.kill()?;
        backup.wait_state(&b, ROUTER, "MASTER", LONG)?;
        backup.stop()?;
    }
    Ok(())
}

/// How often programs of a host were taken away.
fn lost(daemon: &VrrpUser, host: &Host) -> Result<u64> {
    Ok(daemon.status(host)?["counters"]["capture_lost"].as_u64().unwrap())
}

/// Nobody tells that a link was detached, or has another program in it. Who does not hear for that reason must not
/// become a second master, and hears again.
#[test]
fn a_program_that_somebody_takes_away_is_attached_again() -> Result<()> {
    let lab = Lab::new()?;
    let Pair { a, b, mut on_a, mut on_b } = Pair::start(&lab, ROUTER, conf)?;
    let ours = b.xdp_program()?;
    for (times, take) in [(1, Host::detach_xdp as fn(&Host) -> Result<()>), (2, Host::replace_xdp)]
    {
        take(&b)?;
        lab.wait_until(LONG, "attached again", || {
            Ok((b.xdp_program()? == ours && lost(&on_b, &b)? == times).then_some(()))
        })?;
        // Long enough to become master, had the silence until then been believed.
        pause(Duration::from_secs(1))?;
        let stats = on_b.router_stats(&b, ROUTER)?;
        assert_eq!((&stats["became_master"], &stats["state"]), (&0.into(), &"BACKUP".into()));
    }
    assert!(on_b.log().contains("our program was detached by somebody else; it is attached again"));
    assert!(on_b.log().contains("was replaced by another one (id "));

    // A master is not woken by silence. It looks by itself, and when somebody asks for its status.
    let ours = a.xdp_program()?;
    a.detach_xdp()?;
    lab.wait_until(LONG, "attached again", || Ok((a.xdp_program()? == ours).then_some(())))?;
    assert_eq!(lost(&on_a, &a)?, 1);
    assert_eq!(on_a.state(&a, ROUTER)?, "MASTER");
    on_a.kill()?;
    on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
    on_b.stop()?;
    Ok(())
}

/// The same where XDP is not available, and then with the next way to hear.
#[test]
fn there_is_another_way_when_the_place_is_taken() -> Result<()> {
    let lab = Lab::new()?;
    let Pair { b, mut on_a, mut on_b, .. } = Pair::start(&lab, ROUTER, conf)?;
    lab.wait_until(LONG, "somebody else's program is there", || {
        b.detach_xdp()?;
        Ok(b.attach_foreign_xdp().ok())
    })?;
    let by_tc = |times| {
        lab.wait_until(LONG, "captures by tc", || {
            let tc = on_b.status(&b)?["interfaces"][0]["capture"] == "tc";
            Ok((tc && !b.ingress_links("eth0")?.is_empty() && lost(&on_b, &b)? >= times)
                .then_some(()))
        })
    };
    by_tc(1)?;
    let lost_before = lost(&on_b, &b)?;
    b.detach_ingress()?;
    by_tc(lost_before + 1)?;
    assert_eq!(on_b.router_stats(&b, ROUTER)?["became_master"], 0);
    on_a.kill()?;
    on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
    on_b.stop()?;
    Ok(())
}

/// A link that is pinned stays without its owner. Where the next way to hear has no link, nothing takes its place.
#[test]
fn nothing_stays_of_another_way() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let conf = |capture: &str| {
        format!(
            "capture = \"{capture}\"\n[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvrid = 51\n\
             addresses = [\"10.0.0.100/24\"]\n"
        )
    };
    let under = ["env", "VRRP_USER_WITHOUT=tcx"];
    let mut daemon = VrrpUser::start_under(&host, &under, "vrrp.toml", &conf("native"), &[])?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    for (capture, is_xdp) in
        [("native", true), ("tc", false), ("generic", true), ("raw", false), ("native", true)]
    {
        daemon.hang_up(&host, &conf(capture))?;
        lab.wait_until(LONG, &format!("captures by {capture}"), || {
            let captures = daemon.status(&host)?["interfaces"][0]["capture"] == capture;
            Ok((captures && host.xdp_program()?.is_some() == is_xdp).then_some(()))
        })?;
    }
    // Nor does it if the next daemon finds it.
    daemon.kill()?;
    let mut daemon = VrrpUser::start_under(&host, &under, "vrrp.toml", &conf("tc"), &[])?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert_eq!(host.xdp_program()?, None);
    daemon.stop()?;
    Ok(())
}

/// What leaves is counted again, and whoever keeps that from it has his way.
#[test]
fn what_leaves_is_counted_again() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = VrrpUser::start(&host, &conf(150))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    host.wait_egress("eth0")?;
    let [before] = host.egress_links("eth0")?[..] else { panic!("one program") };
    let again = |before: u32| {
        lab.wait_until(LONG, "attached again", || {
            daemon.status(&host)?;
            Ok(host.egress_links("eth0")?.first().copied().filter(|link| *link != before))
        })
    };
    host.detach_egress()?;
    again(before)?;
    assert!(
        daemon.log().contains(
            "what leaves was detached or replaced by somebody else; it is attached again"
        )
    );
    lab.wait_until(LONG, "it is left at that", || {
        host.detach_egress()?;
        daemon.status(&host)?;
        Ok(daemon.log().contains("are not counted any more").then_some(()))
    })?;
    let status = daemon.status(&host)?;
    assert_eq!(status["counters"]["capture_lost"], 0);
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    daemon.stop()?;
    Ok(())
}

/// Somebody else's programs stand where ours could.
#[test]
fn a_packet_socket_hears_where_all_else_is_taken() -> Result<()> {
    let lab = Lab::new()?;
    let Pair { a, b, mut on_a, mut on_b } = Pair::start(&lab, ROUTER, conf)?;
    let mut full = Vec::new();
    for (host, daemon) in [(&a, &on_a), (&b, &on_b)] {
        full.extend(host.fill_ingress()?);
        // Taken at once: our own attempt may come first, as it does when this is lost.
        lab.wait_until(LONG, "somebody else's program is there", || {
            host.detach_xdp()?;
            Ok(host.attach_foreign_xdp().ok())
        })?;
        lab.wait_until(LONG, "a packet socket captures", || {
            Ok((daemon.status(host)?["interfaces"][0]["capture"] == "raw").then_some(()))
        })?;
        assert!(
            daemon.log().contains("from now on it captures by a packet socket (XDP is taken by")
        );
    }
    // Several times the master-down interval.
    pause(Duration::from_secs(1))?;
    for (host, daemon, was_master, state) in [(&a, &on_a, 1, "MASTER"), (&b, &on_b, 0, "BACKUP")] {
        let stats = daemon.router_stats(host, ROUTER)?;
        assert_eq!((&stats["became_master"], &stats["state"]), (&was_master.into(), &state.into()));
    }
    on_a.kill()?;
    on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
    on_b.stop()?;
    Ok(())
}

/// Somebody removes our program, and there is no descriptor for another one.
#[test]
fn who_cannot_hear_is_in_fault_unless_it_is_master() -> Result<()> {
    let lab = Lab::new()?;
    let Pair { a, b, mut on_a, mut on_b } = Pair::start(&lab, ROUTER, conf)?;
    let permit = |host: &Host, daemon: &mut VrrpUser, files: u32| {
        let (pid, limit) = (daemon.process().pid().to_string(), format!("--nofile={files}:4096"));
        host.namespace().run("prlimit", &["--pid", &pid, &limit])
    };
    for (host, daemon) in [(&b, &mut on_b), (&a, &mut on_a)] {
        permit(host, daemon, 8)?;
        host.detach_xdp()?;
        lab.wait_until(LONG, "nothing can be received", || {
            let said = "by somebody else, and no advertisement can be received";
            Ok(daemon.log().contains(said).then_some(()))
        })?;
        // Enough for clients, and too few for programs.
        permit(host, daemon, 150)?;
    }
    let said = |daemon: &VrrpUser, host: &Host, what: &str| {
        Ok::<_, Error>(daemon.router(host, ROUTER)?["problems"].to_string().contains(what))
    };
    assert!(said(&on_b, &b, "must not be master beside them")?);
    assert_eq!(on_b.state(&b, ROUTER)?, "FAULT");
    assert!(said(&on_a, &a, "it stays master, and does not notice")?);
    assert_eq!(on_a.state(&a, ROUTER)?, "MASTER");
    assert!(a.has_address("10.0.0.100")?);
    // Not even when something else happens to the interface.
    for mtu in ["1400", "1500"] {
        b.ip(&["link", "set", "eth0", "mtu", mtu])?;
    }
    assert_eq!(on_b.state(&b, ROUTER)?, "FAULT");

    permit(&b, &mut on_b, 4096)?;
    permit(&a, &mut on_a, 4096)?;
    on_b.wait_state(&b, ROUTER, "BACKUP", LONG)?;
    lab.wait_until(LONG, "the master hears again", || {
        Ok((!said(&on_a, &a, "does not notice")?).then_some(()))
    })?;
    assert_eq!(on_a.router_stats(&a, ROUTER)?["became_master"], 1);
    assert_eq!(on_b.router_stats(&b, ROUTER)?["became_master"], 0);
    on_a.stop()?;
    on_b.stop()?;
    Ok(())
}

/// Others find the maps by the pins; the daemon does not.
#[test]
fn deleted_pins_are_made_again() -> Result<()> {
    let lab = Lab::new()?;
    let Pair { a, b, mut on_a, mut on_b } = Pair::start(&lab, ROUTER, conf)?;
    let bpffs = lab.bpffs();
    let pins = |host: &Host| bpffs.join("vrrp-user").join(VrrpUser::instance(host));
    let made_again = |daemon: &VrrpUser, host: &Host, times: u64| {
        let all = ["SLOTS", "CONTROL", "EVENTS"].map(|name| pins(host).join(name));
        lab.wait_until(LONG, "the pins are there", || {
            Ok(all.iter().all(|pin| pin.exists()).then_some(()))
        })?;
        let status = daemon.status(host)?;
        assert_eq!(status["counters"]["pins_lost"], times, "{status}");
        assert_eq!(status["problems"], serde_json::Value::Null);
        assert!(daemon.log().contains("had been removed; they are there again"));
        // Once to BACKUP, and the master once more.
        let stats = daemon.router_stats(host, ROUTER)?;
        let changes = if stats["state"] == "MASTER" { 2 } else { 1 };
        assert_eq!(stats["state_changes"], changes, "{stats}");
        Ok::<_, Error>(stats["state"].clone())
    };
    fs::remove_file(pins(&a).join("SLOTS")).map_err(Error::io("remove a pin"))?;
    // Or it puts the first ones back while the last ones are still there.
    on_b.while_frozen(|| fs::remove_dir_all(pins(&b)))?.map_err(Error::io("remove pins"))?;
    assert_eq!(made_again(&on_a, &a, 1)?, "MASTER");
    assert_eq!(made_again(&on_b, &b, 1)?, "BACKUP");
    on_b.stop()?;
    umount2(&bpffs, MntFlags::MNT_DETACH).map_err(Error::errno("unmount the bpffs"))?;
    assert_eq!(made_again(&on_a, &a, 2)?, "MASTER");
    on_a.stop()?;
    assert!(!pins(&a).exists() && !pins(&b).exists());
    Ok(())
}
