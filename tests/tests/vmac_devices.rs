//! Virtual MAC addresses on whatever kind of device, and by what each kernel has for tc programs: a backup learns where the
//! addresses are, sends to them itself, and takes over.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::devices::{bonds, cards, ipvlan, vlan};
use vrrp_tests::{Host, Instance, Lab, Result, VrrpUser};

/// More than any change takes here, also where a processor is emulated.
const LONG: Duration = Duration::from_secs(300);
const MACS: [&str; 2] = ["00:00:5e:00:01:33", "00:00:5e:00:02:33"];
const ROUTERS: [&str; 2] = ["VI_4", "VI_6"];

/// The same VRID over both families.
fn conf(priority: u8, device: &str, vips: [&str; 2], extra: &str) -> String {
    let router = |family: usize| {
        let address = if family == 0 { format!("{}/24", vips[0]) } else { "fe80::100/64".into() };
        let mut router = Instance::new(51, priority, &address).name(ROUTERS[family]).with(extra);
        router.interface = device.into();
        if family == 1 {
            router.addresses.push(format!("{}/64", vips[1]));
            router = router.v3("1");
        }
        router
    };
    format!("{}\n{}", router(0), router(1))
}

/// Both hosts on a network of their own, with addresses there.
struct Stage {
    lab: Lab,
    a: Host,
    b: Host,
    device: String,
    /// The first three bytes of the network.
    network: &'static str,
    /// Its devices keep out what is for other hosts.
    filters: bool,
}

impl Stage {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
        Ok(Self { lab, a, b, device: "eth0".into(), network: "10.0.0", filters: false })
    }

    /// The same on other devices, which are on `eth0` or beside it.
    fn on(self, device: &str) -> Self {
        Self { device: device.into(), ..self }
    }

    fn vips(&self) -> [String; 2] {
        [format!("{}.100", self.network), "2001:db8::100".into()]
    }

    fn conf(&self, priority: u8, extra: &str) -> String {
        let [v4, v6] = self.vips();
        conf(priority, &self.device, [&v4, &v6], extra)
    }

    /// The own addresses of a host.
    fn own(&self, host: &Host) -> [String; 2] {
        let last = if host.name() == "a" { 1 } else { 2 };
        [format!("{}.{last}", self.network), format!("2001:db8::{last}")]
    }

    fn start(&self, host: &Host, priority: u8, extra: &str, state: &str) -> Result<VrrpUser> {
        let mut daemon = VrrpUser::start(host, &self.conf(priority, extra))?;
        self.are(&mut daemon, host, state)?;
        Ok(daemon)
    }

    fn are(&self, daemon: &mut VrrpUser, host: &Host, state: &str) -> Result<()> {
        ROUTERS.iter().try_for_each(|router| daemon.wait_state(host, router, state, LONG))
    }

    /// Both have IPv6 addresses, and a switch sends everything to all.
    fn set_up(&self) -> Result<()> {
        for host in [&self.a, &self.b] {
            let [_, v6] = self.own(host);
            let add = ["address", "add", &format!("{v6}/64"), "dev", &self.device, "nodad"];
            host.ip(&add)?;
        }
        let network = self.lab.network();
        for line in network.ip(&["-o", "link", "show", "master", "br0"])?.lines() {
            // `7: to-a@if2: <...`
            let name = line.split([':', '@']).nth(1).unwrap_or_default().trim();
            network.ip(&["link", "set", name, "type", "bridge_slave", "learning", "off"])?;
        }
        network.ip(&["link", "set", "br0", "type", "bridge", "fdb_flush"]).map(drop)
    }

    fn answers(&self, from: &Host, address: &str) -> Result<bool> {
        let mut ping = from.spawn("ping", "ping", &["-c", "1", "-W", "1", address])?;
        Ok(ping.wait(LONG)?.success())
    }

    /// The addresses answer, and whoever asks for them learns their virtual MAC addresses.
    fn are_found(&self, from: &Host) -> Result<()> {
        for (vip, mac) in self.vips().iter().zip(MACS) {
            self.lab.wait_until(LONG, &format!("{vip} is at {mac}"), || {
                let answers = self.answers(from, vip)?;
                let known = from.ip(&["neighbour", "show", "to", vip, "dev", &self.device])?;
                Ok((answers && known.contains(mac)).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Whether a host answers what the other one sends to its own addresses by the virtual MAC addresses.
    fn takes_in(&self, host: &Host, from: &Host) -> Result<[bool; 2]> {
        let mut taken = [false; 2];
        for ((own, mac), taken) in self.own(host).iter().zip(MACS).zip(&mut taken) {
            let place = [own, "lladdr", mac, "dev", &self.device, "nud", "permanent"];
            from.ip(&[&["neighbour", "replace"], &place[..]].concat())?;
            for _ in 0..3 {
                *taken = *taken || self.answers(from, own)?;
            }
            from.ip(&["neighbour", "del", own, "dev", &self.device])?;
        }
        Ok(taken)
    }

    /// A takeover; the cable is cut, or whatever `change` does, while `a` is master.
    fn is_carried(&self, change: impl FnOnce() -> Result<()>) -> Result<()> {
        self.set_up()?;
        let mut on_a = self.start(&self.a, 150, "use_vmac", "MASTER")?;
        let mut on_b = self.start(&self.b, 100, "use_vmac", "BACKUP")?;
        self.are_found(&self.b)?;
        change()?;
        self.are_found(&self.b)?;
        assert_eq!(self.takes_in(&self.a, &self.b)?, [true; 2]);
        assert_eq!(self.takes_in(&self.b, &self.a)?, [false; 2]);
        let hears_all = !self.filters;
        for (daemon, host, expected) in
            [(&on_a, &self.a, [true, false]), (&on_b, &self.b, [false, hears_all])]
        {
            let counts = |reason| daemon.reason(host, reason).map(|count| count > 0);
            let counted = [counts("virtual_mac_accepted")?, counts("virtual_mac_backup")?];
            assert_eq!(counted, expected, "{}", host.name());
            let status = daemon.status(host)?;
            let mut interfaces = status["interfaces"].as_array().unwrap().iter();
            let own = interfaces.find(|interface| interface["name"] == *self.device).unwrap();
            assert_eq!(own["capture"], "tc", "{status}");
            assert_eq!(daemon.router(host, ROUTERS[0])?["problems"].to_string(), "[]");
        }
        on_a.stop()?;
        self.are(&mut on_b, &self.b, "MASTER")?;
        self.are_found(&self.a)?;
        assert_eq!(self.takes_in(&self.b, &self.a)?, [true; 2]);
        on_b.stop()?;
        Ok(())
    }

    /// There are bonds in the place of `eth0`, or `None` where there can be none.
    fn bonded(self, mode: &str) -> Result<Option<Self>> {
        if !self.a.has_devices(&["bond"])? {
            return Ok(None);
        }
        bonds(&self.a, &self.b, mode)?;
        for host in [&self.a, &self.b] {
            // It would answer for what the bond has.
            host.ip(&["link", "set", "eth0", "down"])?;
        }
        Ok(Some(self.on("bond0")))
    }

    /// A router cannot have one there, and says so.
    fn is_refused(&self, why: &str) -> Result<()> {
        let daemon = self.start(&self.a, 100, "use_vmac", "FAULT")?;
        let router = daemon.router(&self.a, ROUTERS[0])?;
        let problems = router["problems"].to_string();
        assert!(problems.contains(why), "{problems}");
        assert_eq!(router["cause_name"], "no-virtual-mac");
        Ok(())
    }

    /// Puts a macvlan device `mac0` with the address of `eth0` on one.
    fn macvlan(self, mode: &str) -> Result<Self> {
        self.a.ip(&["address", "flush", "dev", "eth0"])?;
        let kind = ["type", "macvlan", "mode", mode];
        self.a.ip(&[&["link", "add", "link", "eth0", "name", "mac0"], &kind[..]].concat())?;
        self.a.ip(&["address", "add", "10.0.0.1/24", "dev", "mac0"])?;
        self.a.ip(&["link", "set", "mac0", "up"])?;
        Ok(self.on("mac0"))
    }
}

#[test]
fn a_virtual_mac_on_veth() -> Result<()> {
    Stage::new()?.is_carried(|| Ok(()))
}

#[test]
fn a_virtual_mac_on_a_vlan() -> Result<()> {
    let stage = Stage::new()?;
    if !stage.a.has_devices(&["vlan"])? {
        return Ok(());
    }
    for (host, number) in [(&stage.a, 1), (&stage.b, 2)] {
        vlan(host, "eth0", 7, number, "802.1Q")?;
    }
    Stage { network: "10.7.0", ..stage.on("eth0.7") }.is_carried(|| Ok(()))
}

/// A host loses a cable of its bond while it is master.
fn on_a_bond(mode: &str) -> Result<()> {
    let Some(stage) = Stage::new()?.bonded(mode)? else { return Ok(()) };
    stage.is_carried(|| stage.a.ip(&["link", "set", "port0", "down"]).map(drop))
}

#[test]
fn a_virtual_mac_on_a_bond_active_backup() -> Result<()> {
    on_a_bond("active-backup")
}

#[test]
fn a_virtual_mac_on_a_bond_802_3ad() -> Result<()> {
    on_a_bond("802.3ad")
}

#[test]
fn a_virtual_mac_on_a_macvlan_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    if !stage.a.has_devices(&["macvlan"])? {
        return Ok(());
    }
    stage.macvlan("bridge")?.is_refused("which gets no frames to another MAC address")
}

/// A backup would take in what is for the master.
#[test]
fn a_virtual_mac_on_a_macvlan_in_mode_passthru_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    if !stage.a.has_devices(&["macvlan"])? {
        return Ok(());
    }
    stage.macvlan("passthru")?.is_refused("takes in frames to every MAC address")
}

#[test]
fn a_virtual_mac_on_an_ipvlan_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    if !stage.a.has_devices(&["ipvlan"])? {
        return Ok(());
    }
    ipvlan(&stage.a, "eth0", "l2", "10.0.0.1/24")?;
    stage.on("ipv0").is_refused("which gets no frames to another MAC address")
}

/// A card takes in what it is told to: for the master, and nothing for the backup.
fn on_a_card(driver: &str) -> Result<()> {
    let stage = Stage::new()?;
    if !cards(&stage.a, &stage.b, driver)? {
        return Ok(());
    }
    Stage { filters: true, ..stage }.is_carried(|| Ok(()))
}

#[test]
fn a_virtual_mac_on_a_card_virtio_net() -> Result<()> {
    on_a_card("virtio_net")
}

/// Its driver makes it promiscuous instead.
#[test]
fn a_virtual_mac_on_a_card_vmxnet3() -> Result<()> {
    on_a_card("vmxnet3")
}

/// Without accept mode, who asks for the addresses is answered, and nothing else is let in.
#[test]
fn a_virtual_mac_without_accept_mode() -> Result<()> {
    let stage = Stage::new()?;
    stage.set_up()?;
    let mut daemon = stage.start(&stage.a, 100, "use_vmac\n    no_accept", "MASTER")?;
    let counts = || daemon.reason(&stage.a, "not_accepted");
    for ((vip, own), mac) in stage.vips().iter().zip(stage.own(&stage.a)).zip(MACS) {
        let before = counts()?;
        stage.lab.wait_until(LONG, &format!("{vip} is at {mac}"), || {
            let answers = stage.answers(&stage.b, vip)?;
            let known = stage.b.ip(&["neighbour", "show", "to", vip, "dev", "eth0"])?;
            Ok((!answers && known.contains(mac)).then_some(()))
        })?;
        assert!(!stage.answers(&stage.b, vip)?, "{vip}");
        assert!(stage.answers(&stage.b, &own)?, "{own}");
        assert!(counts()? > before, "{vip}");
    }
    assert_eq!(daemon.router(&stage.a, ROUTERS[0])?["problems"].to_string(), "[]");
    daemon.hang_up(&stage.a, &stage.conf(100, "use_vmac"))?;
    stage.are_found(&stage.b)?;
    daemon.stop()?;
    Ok(())
}
