//! As many addresses as an advertisement can count, where the MTU has room for them.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::{Host, Lab, Result, VrrpUser};

/// More than any change takes here.
const LONG: Duration = Duration::from_secs(30);
const ROUTER: &str = "MANY";

/// A version 3 router with 255 IPv6 addresses.
fn many(priority: u8) -> String {
    let addresses: Vec<_> = (0x100..0x1ff).map(|n| format!("\"fe80::{n:x}\"")).collect();
    format!(
        "[[router]]\nname = \"{ROUTER}\"\ninterface = \"eth0\"\nvrid = 51\npriority = {priority}\n\
         addresses = [{}]\n",
        addresses.join(", ")
    )
}

/// How many of the addresses are there.
fn held(host: &Host) -> Result<usize> {
    let held = host.addresses6()?.iter().filter(|address| address.starts_with("fe80::1")).count();
    Ok(held)
}

#[test]
fn two_elect_one_master_of_255_ipv6_addresses() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    for host in [&a, &b] {
        lab.network().ip(&["link", "set", &format!("to-{}", host.name()), "mtu", "9000"])?;
        host.ip(&["link", "set", "eth0", "mtu", "9000"])?;
    }
    let mut master = VrrpUser::start_with(&a, "many.toml", &many(200))?;
    master.wait_state(&a, ROUTER, "MASTER", LONG)?;
    // In the kernel by XDP, and by the daemon's own socket.
    for way in ["native", "raw"] {
        let options = ["--capture", way];
        let mut backup = VrrpUser::start_with_options(&b, "many.toml", &many(100), &options)?;
        lab.wait_until(LONG, "five advertisements of the master", || {
            let heard = backup.router_stats(&b, ROUTER)?["adverts_received"].as_u64();
            Ok((heard.unwrap_or(0) >= 5).then_some(()))
        })?;
        assert_eq!(backup.state(&b, ROUTER)?, "BACKUP", "{way}");
        let stats = backup.stats(&b)?;
        assert_eq!(stats["reasons"]["vrrp_length"], 0, "{way}");
        assert_eq!(stats["reasons"]["address_list"], 0, "{way}");
        assert_eq!((held(&a)?, held(&b)?), (255, 0), "{way}");
        if way == "raw" {
            master.stop()?;
            backup.wait_state(&b, ROUTER, "MASTER", LONG)?;
            lab.wait_until(LONG, "all addresses on the other host", || {
                Ok(((held(&a)?, held(&b)?) == (0, 255)).then_some(()))
            })?;
        }
        backup.stop()?;
    }
    Ok(())
}
