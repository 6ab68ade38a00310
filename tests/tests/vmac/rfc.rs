//! What RFC 9568 asks of routers with virtual MAC addresses, rule by rule, over both families. Beside these labs:
//!
//! | section | rule | test |
//! |---|---|---|
//! | 6.4.2 | a backup answers no ARP and no neighbour solicitation | `a_backup_says_nothing_whoever_asks_it` |
//! | 6.4.2 | and sends no router advertisements for the router | `router_advertisements_are_the_masters` (radvd) |
//! | 6.4.2 | and discards frames to the virtual MAC address | that, `only_the_master_takes_frames_in` |
//! | 6.4.2 | and accepts no packets to the addresses | `a_backup_says_nothing_whoever_asks_it` |
//! | 6.4.2 | and sends nothing when it is stopped | `a_backup_says_nothing_whoever_asks_it` |
//! | 6.4.2 | priority 0: the skew time is waited for | `a_backup_waits_as_long_as_it_is_to` |
//! | 6.4.2 | no preemption, or a priority not below its own: the interval is learned, the timer set again | the same |
//! | 6.4.2 | preemption, and a lower priority: discarded | the same |
//! | 6.4.2 | the timer fires: advertisement, then gratuitous ARP; the groups of the addresses, then neighbour advertisements | the same, `a_client_that_learns_nothing_new_goes_on`, and `the_group_of_an_address_is_reported_before_the_address_is_announced` in `ipv6.rs` |
//! | 6.4.3, 8.1.2, 8.2.2 | a master answers with the virtual MAC address, and never with its interface's own | `a_master_shows_no_other_from_the_start_on` |
//! | 6.4.3 | it is in the solicited-node groups of the addresses | `a_master_shows_no_other_from_the_start_on` |
//! | 6.4.3 | it takes in frames to the virtual MAC address | `only_the_master_takes_frames_in`, `a_client_that_learns_nothing_new_goes_on` (routed) |
//! | 6.1, 6.4.3 | packets to the addresses: owners and accept mode only; ARP and neighbour discovery always | `without_accept_mode_it_is_found_all_the_same`, `accept.rs` |
//! | 7.2, 7.3 | advertisements, also with priority 0, have the virtual MAC address as Ethernet source | `a_client_that_learns_nothing_new_goes_on` |
//! | 8.1.1, 8.2.1 | redirects would not come from the virtual MAC address: none leave | `redirects_are_suppressed` |
//! | 8.1.2, 8.2.2 | nothing says where an address is before it is there with its virtual MAC address | `a_master_shows_no_other_from_the_start_on` |
//! | 8.2.2 | neighbour solicitations from the addresses state it | `a_master_shows_no_other_from_the_start_on` |
//! | 8.2.4 | neighbour advertisements that nobody asked for are believed | `a_master_shows_no_other_from_the_start_on` |

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use super::{
    Duration, Frame, Host, Instance, Kind, Lab, MACS, RawSocket, Result, STEP, Stage, VIPS,
    VrrpUser, Wire, all_are, conf, mac, set,
};
use vrrp_tests::{Frame6, pause};

/// Of the advertisements by hand: half of what the backup itself is configured with.
const INTERVAL: u16 = 50;
/// What the backup goes by when it has learned that: three intervals and a skew of (256 - 100) / 256 of one.
const DOWN: f64 = 0.5 * (3.0 + SKEW);
const SKEW: f64 = 156.0 / 256.0;
/// How late it may be, on a machine that is busy.
const LATE: f64 = 0.6;
/// What a master that gives way sends last may cross what it gives way to.
const CROSSING: f64 = 0.02;
/// Sends nothing.
const SILENT: u8 = 255;

/// Neither to those who ask all, nor to those who ask it alone, nor to those who think that it has the addresses.
#[test]
fn a_backup_says_nothing_whoever_asks_it() -> Result<()> {
    let mut stage = Stage::new([Kind::VrrpUser; 2], "use_vmac")?;
    set(&stage.hosts[1], &["net.ipv4.ip_forward=0"])?;
    let wire = Wire::tap(&stage.lab, &stage.hosts[1])?;
    let asked = Wire::tap(&stage.lab, &stage.client)?;
    stage.learn(Kind::VrrpUser)?;
    let own = mac(&stage.hosts[1]);
    let think = |vip: &str, mac: &str, state: &str| {
        let fixed = ["neighbour", "replace", vip, "lladdr", mac, "dev", "eth0", "nud", state];
        stage.client.ip(&fixed).map(drop)
    };
    let to_it = format!(" > {own}");
    for (vip, asks) in VIPS.into_iter().zip(["Request who-has", "who has"]) {
        // The kernel asks the one that it thinks has the address.
        think(vip, &own, "probe")?;
        stage.lab.wait_until(STEP, &format!("the backup is asked for {vip}"), || {
            Ok(asked.has(&[&to_it, &format!("{asks} {vip}")]).then_some(()))
        })?;
    }
    stage.flood()?;
    for (vip, virtual_mac) in VIPS.into_iter().zip(MACS) {
        think(vip, &own, "permanent")?;
        assert!(stage.answered(vip)?.is_none(), "{vip} at the backup");
        // The master alone answers.
        think(vip, virtual_mac, "permanent")?;
        let mut ping = stage.client.spawn("ping", "ping", &["-c", "2", "-i", "0.2", vip])?;
        assert!(ping.wait(STEP)?.success() && !ping.log().contains("DUP!"));
        assert!(
            asked.has(&[&to_it, &format!("> {vip}: "), "echo request"]),
            "{:#?}",
            asked.frames()
        );
    }
    stage.daemons[1].stop()?;
    wire.is_silent();
    assert!(!wire.has(&["Advertisement"]), "{:#?}", wire.frames());
    Ok(())
}

/// VRID 51 with preemption and 52 without, over both families.
const TIMED: [(&str, u8); 4] = [("P4", 51), ("P6", 51), ("N4", 52), ("N6", 52)];

fn timed() -> String {
    let instance = |(name, vrid): (&str, u8)| {
        let net = if name.ends_with('4') { "10.0.0." } else { "fe80::" };
        let address = format!("{net}{vrid}");
        let router = Instance::new(vrid, 100, &address).name(name).v3("1").with("use_vmac");
        if vrid == 52 { router.with("nopreempt") } else { router }.to_string()
    };
    TIMED.map(instance).concat()
}

/// The same advertisements as another master sends them, with its virtual MAC address.
fn advertisements(priority: u8) -> Vec<Vec<u8>> {
    let frame = |(name, vrid): (&str, u8)| {
        if name.ends_with('4') {
            let (source, vip) = (Ipv4Addr::new(10, 0, 0, 200), Ipv4Addr::new(10, 0, 0, vrid));
            let frame = Frame::v3(source, vrid, priority, INTERVAL, &[vip]);
            return Frame { source_mac: [0, 0, 0x5e, 0, 1, vrid], ..frame }.bytes();
        }
        // As it is written.
        let last = if vrid == 51 { 0x51 } else { 0x52 };
        Frame6 {
            source_mac: [0, 0, 0x5e, 0, 2, vrid],
            source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x200),
            vrid,
            priority,
            interval: INTERVAL,
            addresses: vec![Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)],
        }
        .bytes()
    };
    TIMED.into_iter().map(frame).collect()
}

/// What tcpdump shows of an advertisement.
fn shown(name: &str, vrid: u8, priority: &str) -> [String; 4] {
    let family = if name.ends_with('4') { "01" } else { "02" };
    [
        format!(" 00:00:5e:00:{family}:{vrid:02x} > "),
        "VRRPv3, Advertisement".into(),
        format!("vrid {vrid}, "),
        format!("prio {priority},"),
    ]
}

/// For how long each router was silent after the last advertisement with a priority that was sent to it until then.
fn waited(routers: &[(&str, u8)], [ours, theirs]: [&Wire; 2], priority: &str) -> Vec<f64> {
    let silent = |(name, vrid): &(&str, u8)| {
        let vrid = *vrid;
        let (sent, taken) = (shown(name, vrid, priority), shown(name, vrid, "100"));
        let sent = theirs.when(&sent.each_ref().map(String::as_str)).last().unwrap();
        let taken = taken.each_ref().map(String::as_str);
        let first = ours.when(&taken).find(|at| *at > sent + CROSSING).unwrap();
        first - sent
    };
    routers.iter().map(silent).collect()
}

/// What a backup waits for: its own interval is a second, the other master's half of that.
#[test]
fn a_backup_waits_as_long_as_it_is_to() -> Result<()> {
    let lab = Lab::new()?;
    let (b, sender) = (lab.host("b", "10.0.0.2/24")?, lab.host("s", "10.0.0.200/24")?);
    set(&b, &["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])?;
    let (ours, theirs) = (Wire::tap(&lab, &b)?, Wire::tap(&lab, &sender)?);
    let socket = RawSocket::open(&sender)?;
    let priority = AtomicU8::new(150);
    let send = |priority: u8| advertisements(priority).iter().try_for_each(|f| socket.send(f));
    let ended = || priority.load(Ordering::Relaxed) == 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended() {
                let now = priority.load(Ordering::Relaxed);
                if now != SILENT {
                    send(now).unwrap();
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
        let _end = End(&priority);
        judge_waits(&b, [&ours, &theirs], &priority, &send)
    })
}

/// Ends who sends by hand, also when what is judged is not right.
struct End<'a>(&'a AtomicU8);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

fn judge_waits(
    b: &Host,
    wires: [&Wire; 2],
    priority: &AtomicU8,
    send: &dyn Fn(u8) -> Result<()>,
) -> Result<()> {
    let mut daemon = VrrpUser::start(b, &timed())?;
    let mut all = |state: &str, routers: &[(&str, u8)]| {
        routers.iter().try_for_each(|(name, _)| daemon.wait_state(b, name, state, STEP))
    };
    let now = |value| {
        priority.store(value, Ordering::Relaxed);
        // One that was about to be sent has been sent.
        pause(Duration::from_millis(300))
    };
    let ours = wires[0];
    let within = |routers: &[_], priority: &str, down: f64| {
        let waited = waited(routers, wires, priority);
        println!("{waited:.3?} instead of {down:.3} s");
        assert!(waited.iter().all(|at| (down..down + LATE).contains(at)), "{waited:?}, {down}");
    };
    // Priority 0 leaves the skew of the interval that was learned.
    all("BACKUP", &TIMED)?;
    pause(Duration::from_secs(3))?;
    assert!(!ours.has(&["Advertisement"]));
    now(SILENT)?;
    send(0)?;
    all("MASTER", &TIMED)?;
    within(&TIMED, "0", 0.5 * SKEW);
    announces_in_order(ours);

    // Silence is three intervals and the skew, from the last one on.
    now(150)?;
    all("BACKUP", &TIMED)?;
    now(SILENT)?;
    all("MASTER", &TIMED)?;
    within(&TIMED, "150", DOWN);

    // A lower priority is nothing to the ones that preempt, and all that the others want to hear.
    now(150)?;
    all("BACKUP", &TIMED)?;
    now(50)?;
    all("MASTER", &TIMED[..2])?;
    within(&TIMED[..2], "150", DOWN);
    pause(Duration::from_secs(1))?;
    all("BACKUP", &TIMED[2..])?;
    now(SILENT)?;
    all("MASTER", &TIMED[2..])?;
    within(&TIMED[2..], "50", DOWN);
    Ok(())
}

/// First that it is master, then where the addresses are.
fn announces_in_order(ours: &Wire) {
    for (name, vrid) in TIMED {
        let advert = shown(name, vrid, "100");
        let first = ours.when(&advert.each_ref().map(String::as_str)).next().unwrap();
        let source = &*advert[0];
        let says = if name.ends_with('4') {
            [source, "Request who-has 10.0.0.", "tell 10.0.0."]
        } else {
            [source, "neighbor advertisement", "Flags [router, override]"]
        };
        let announced = ours.when(&says).next();
        assert!(announced.is_some_and(|at| at >= first), "{name}: {:#?}", ours.frames());
    }
}

/// Packets to the addresses are for owners and accept mode. Who looks for them finds them all the same, and who is looked for
/// by them is found.
#[test]
fn without_accept_mode_it_is_found_all_the_same() -> Result<()> {
    let lab = Lab::new()?;
    let (a, c) = (lab.host("a", "10.0.0.1/24")?, lab.host("c", "10.0.0.3/24")?);
    for (host, address) in [(&a, "2001:db8::1/64"), (&c, "2001:db8::3/64")] {
        host.ip(&["address", "add", address, "dev", "eth0", "nodad"])?;
    }
    let wire = Wire::tap(&lab, &a)?;
    let conf = |priority, accept: &str| conf(priority, &format!("use_vmac\n    {accept}"));
    let mut daemon = VrrpUser::start(&a, &conf(100, "no_accept"))?;
    let answers = |vip: &str, wanted: bool| -> Result<()> {
        lab.wait_until(STEP, &format!("{vip} answers: {wanted}"), || {
            let mut ping = c.spawn("ping", "ping", &["-c", "1", "-W", "0.5", vip])?;
            Ok((ping.wait(STEP)?.success() == wanted).then_some(()))
        })
    };
    for (priority, accept) in [(100, "no_accept"), (100, "accept"), (255, "no_accept")] {
        daemon.hang_up(&a, &conf(priority, accept))?;
        all_are(&mut daemon, &a, "MASTER")?;
        c.ip(&["neighbour", "flush", "dev", "eth0"])?;
        for (vip, mac) in VIPS.into_iter().zip(MACS) {
            answers(vip, priority == 255 || accept == "accept")?;
            let known = c.ip(&["neighbour", "show", vip, "dev", "eth0"])?;
            assert!(known.contains(mac), "{known}");
        }
    }
    daemon.hang_up(&a, &conf(100, "no_accept"))?;
    for (vip, other) in [(VIPS[0], "10.0.0.3"), (VIPS[1], "2001:db8::3")] {
        answers(vip, false)?;
        a.ip(&["neighbour", "flush", "dev", "eth0"])?;
        let mut ping = a.spawn("ping", "ping", &["-c", "1", "-W", "0.5", "-I", vip, other])?;
        assert!(!ping.wait(STEP)?.success(), "an answer to {vip} is let in");
        let known = a.ip(&["neighbour", "show", other, "dev", "eth0"])?;
        assert!(known.contains(&mac(&c)), "{known}");
    }
    wire.check();
    assert_ne!(daemon.reason(&a, "not_accepted")?, 0);
    Ok(())
}
