//! The same keepalived.conf for keepalived and for this daemon, in both roles: what else it may say of a virtual MAC address
//! means the same on the wire.

use super::{
    Daemon, Host, Kind, Lab, MACS, ROUTERS, Result, STEP, VIPS, WebServer, Wire, apart, fetch, set,
};
use vrrp_tests::Instance;

/// An address over each family on the routers' own interface, and on another one.
const ADDRESSES: [[&str; 2]; 2] = [VIPS, ["10.1.0.100", "2001:db8:1::100"]];
const WIRES: [&str; 2] = ["eth0", "eth1"];

/// What the file says, and what that means.
struct Says {
    /// Of the router of each family.
    lines: [&'static str; 2],
    /// The virtual MAC address of each.
    macs: [&'static str; 2],
    /// Whether advertisements leave with it.
    in_adverts: bool,
    /// Whether the addresses on the other interface have it.
    beside: bool,
}

impl Says {
    fn conf(&self, priority: u8) -> String {
        let address = |family: usize, wire: usize| {
            let length = [24, 64][family];
            let dev = ["", " dev eth1"][wire];
            format!("{}/{length}{dev}", ADDRESSES[wire][family])
        };
        let router = |family: usize| {
            let router = Instance::new(51, priority, "").name(ROUTERS[family]).v3("0.5");
            let first = [None, Some("fe80::100/64".to_owned())][family].clone();
            let others = [0, 1].map(|wire| address(family, wire));
            let addresses = first.into_iter().chain(others).collect();
            Instance { addresses, ..router.with(self.lines[family]) }.to_string()
        };
        [0, 1].map(router).concat()
    }

    /// All that a host sends for its addresses as master.
    fn check(&self, wires: &[Wire; 2], kind: Kind, priority: u8) {
        for (family, mac) in self.macs.into_iter().enumerate() {
            let (own, of_router) = (format!(" {} > ", wires[0].own), format!(" {mac} > "));
            let kind_of_frame = ["ethertype IPv4 ", "ethertype IPv6 "][family];
            let priority = format!("prio {priority},");
            let advert = [kind_of_frame, "VRRPv3, Advertisement", &priority];
            let with = |source: &str| wires[0].has(&[&[source], &advert[..]].concat());
            assert_eq!(
                [with(&of_router), with(&own)],
                [self.in_adverts, !self.in_adverts],
                "{kind:?}: {:#?}",
                wires[0].frames()
            );
            for (wire, addresses) in wires.iter().zip(ADDRESSES) {
                let is_beside = wire.own != wires[0].own;
                let (own, address) = (format!(" {} > ", wire.own), addresses[family]);
                let says = [
                    [format!("Request who-has {address} "), format!("tell {address},")],
                    ["neighbor advertisement".into(), format!("tgt is {address},")],
                ];
                let says = says[family].each_ref().map(String::as_str);
                let with = |source: &str| wire.has(&[&[source], &says[..]].concat());
                let has = !is_beside || self.beside;
                assert!(
                    with(if has { &of_router } else { &own }),
                    "{kind:?} {address}: {:#?}",
                    wire.frames()
                );
                // keepalived's base interface is asked and answers, too.
                if kind == Kind::VrrpUser {
                    assert!(
                        !with(if has { &own } else { &of_router }),
                        "{address}: {:#?}",
                        wire.frames()
                    );
                }
            }
        }
    }
}

fn mac_of(host: &Host, dev: &str) -> Result<String> {
    let said = host.ip(&["-o", "link", "show", dev])?;
    let mac = said.split_once("link/ether ").and_then(|(_, rest)| rest.split(' ').next());
    Ok(mac.unwrap().to_owned())
}

/// Both wires of a host.
fn tap(lab: &Lab, host: &Host) -> Result<[Wire; 2]> {
    let command = || lab.network().command("tcpdump");
    let beside = Wire::on(lab, command(), &format!("two-{}", host.name()), host)?;
    let beside = Wire { own: mac_of(host, WIRES[1])?, ..beside };
    Ok([Wire::tap(lab, host)?, beside])
}

/// The second host is started when the first one is master, and takes over when that stops. A client never learns anew where the
/// addresses are.
fn takeover(kinds: [Kind; 2], says: &Says) -> Result<()> {
    let lab = Lab::new()?;
    if !lab.host("probe", "10.0.0.9/24")?.has_devices(&["macvlan"])? {
        return Ok(());
    }
    let network = lab.network();
    network.ip(&["link", "add", "br1", "type", "bridge", "mcast_snooping", "0"])?;
    network.ip(&["link", "set", "br1", "up"])?;
    let (hosts, client) =
        ([apart::host(&lab, "a", 1)?, apart::host(&lab, "b", 2)?], apart::host(&lab, "c", 3)?);
    for (host, last) in hosts.iter().chain([&client]).zip(1..) {
        let address = format!("2001:db8:1::{last}/64");
        host.ip(&["address", "add", &address, "dev", "eth1", "nodad"])?;
        // Or each interface answers for what another one has.
        set(host, &["net.ipv4.conf.all.arp_ignore=1"])?;
    }
    let _web = [WebServer::start(&hosts[0])?, WebServer::start(&hosts[1])?];
    let wires = [tap(&lab, &hosts[0])?, tap(&lab, &hosts[1])?];
    let wait = |daemon: &mut Daemon, host: usize, state: &str| {
        ROUTERS.iter().try_for_each(|name| daemon.wait_state(&hosts[host], name, state, STEP))
    };
    let mut first = kinds[0].start(&hosts[0], &says.conf(150))?;
    wait(&mut first, 0, "MASTER")?;
    let mut second = kinds[1].start(&hosts[1], &says.conf(100))?;
    wait(&mut second, 1, "BACKUP")?;
    for (wire, dev) in WIRES.into_iter().enumerate().filter(|(wire, _)| *wire == 0 || says.beside) {
        for (address, mac) in ADDRESSES[wire].into_iter().zip(says.macs) {
            let known = ["neighbour", "replace", address, "lladdr", mac, "dev", dev, "nud"];
            client.ip(&[&known[..], &["permanent"]].concat())?;
        }
    }
    let served_by = |host: usize| {
        ADDRESSES.concat().iter().try_for_each(|address| {
            let name = hosts[host].name();
            lab.wait_until(STEP, &format!("{address} is on {name}"), || {
                let answer = fetch(client.namespace(), address).unwrap_or_default();
                Ok((answer == name).then_some(()))
            })
        })
    };
    served_by(0)?;
    // It has heard the first one all the time, and was never master.
    assert!(!wires[1][0].has(&["Advertisement"]), "{:#?}", wires[1][0].frames());
    says.check(&wires[0], kinds[0], 150);
    first.stop()?;
    wait(&mut second, 1, "MASTER")?;
    served_by(1)?;
    says.check(&wires[1], kinds[1], 100);
    Ok(())
}

fn both(says: &Says) -> Result<()> {
    takeover([Kind::Keepalived, Kind::VrrpUser], says)?;
    takeover([Kind::VrrpUser, Kind::Keepalived], says)
}

#[test]
fn one_of_its_own_beside_keepalived() -> Result<()> {
    both(&Says {
        lines: ["use_vmac own4 02:00:00:00:09", "use_vmac own6 02:00:00:00:06:77"],
        macs: ["02:00:00:00:09:33", "02:00:00:00:06:77"],
        in_adverts: true,
        beside: false,
    })
}

#[test]
fn on_other_interfaces_beside_keepalived() -> Result<()> {
    let lines = ["use_vmac\n    use_vmac_addr"; 2];
    both(&Says { lines, macs: MACS, in_adverts: true, beside: true })
}

#[test]
fn advertisements_without_it_beside_keepalived() -> Result<()> {
    let lines = ["use_vmac\n    vmac_xmit_base"; 2];
    both(&Says { lines, macs: MACS, in_adverts: false, beside: false })
}
