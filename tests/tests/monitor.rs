//! `monitor` and `top` as people use them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

mod top;

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::pty::Winsize;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use top::Top;
use vrrp_tests::{
    Frame, Host, Instance, Keepalived, Lab, Process, RawSocket, Result, VrrpUser, sample,
    wait_until,
};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.100";
const ROUTER: &str = "VI_1";
/// Who sends what is refused.
/// `nobody`, who is in no group.
const NOBODY: u32 = 65534;
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);

/// A command of ours on a host, about the daemon there.
fn monitor(host: &Host, more: &[&str]) -> Result<Process> {
    let process = Process::spawn("monitor", VrrpUser::command(host, "monitor")?.args(more))?;
    // The socket is there before it says this.
    let has_begun = || (process.log().contains("daemon `")).then_some(());
    wait_until(LONG, "monitor listens", || Ok(has_begun()))?;
    Ok(process)
}

/// Waits for a line with all of these words.
fn line(process: &Process, words: &[&str]) -> Result<String> {
    wait_until(LONG, &format!("a line with {words:?}"), || {
        let lines = process.log().lines();
        let found = lines.into_iter().find(|(_, l)| words.iter().all(|word| l.contains(word)));
        Ok(found.map(|(_, line)| line))
    })
    .inspect_err(|_| eprintln!("monitor said:\n{}", process.log().text()))
}

#[test]
fn adverts_of_both_daemons_and_refused_ones_are_shown_and_written() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let file = lab.dir().join("adverts.pcap").display().to_string();
    let conf = Instance::new(51, 200, "10.0.0.100/24").password("secret");
    let mut daemon = VrrpUser::start(&host, &conf.to_string())?;
    daemon.wait_state(&host, ROUTER, "BACKUP", LONG)?;
    let mut text = monitor(&host, &["-i", "eth0", "--write", &file])?;
    let mut json = monitor(&host, &["--vrid", "51", "--json"])?;
    let theirs = Instance::new(52, 100, "10.0.0.102/24").v3("0.5");
    let _keepalived = Keepalived::start(&other, &theirs.to_string())?;

    let own = line(&text, &["10.0.0.1 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 200"])?;
    let fields = "authtype simple, intvl 1s, length 20, addrs: 10.0.0.100";
    assert!(own.contains(" eth0 ") && own.ends_with(fields), "{own}");
    line(&text, &["eth0 ARP, Gratuitous request 10.0.0.100 is-at 02:00:00:00:00:01, vrid 51"])?;
    line(
        &text,
        &["10.0.0.2 > 224.0.0.18: VRRPv3, Advertisement, vrid 52, prio 100, intvl 50cs, length 12"],
    )?;

    // What XDP drops, with the reason; a malformed one that passes, as it is for nobody here.
    let socket = RawSocket::open(&other)?;
    let advert = Frame::v2(SENDER, 51, 254, &[VIP.parse().unwrap()]);
    socket.send(&Frame { ttl: 3, ..advert.clone() }.bytes())?;
    let refused = line(&text, &["10.0.0.200", "ttl 3", "[refused, ttl: TTL is not 255"])?;
    assert!(refused.contains("vrid 51, prio 254"), "{refused}");
    socket.send(&Frame { vrid: 77, count: Some(9), ..advert.clone() }.bytes())?;
    let bad = line(&text, &["10.0.0.200", "vrid 77", "[bad, vrrp_length: "])?;
    assert!(bad.contains("8 more addrs not in it"), "{bad}");
    // The kernel has taken the tag off before it shows the packet, and tells of it beside it.
    let mut tagged = Frame { vrid: 78, ..advert.clone() }.bytes();
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    socket.send(&tagged)?;
    line(&text, &["10.0.0.200", "vlan 7", "vrid 78"])?;
    // A burst, of which the kernel side keeps no more than eight per CPU.
    for _ in 0..200 {
        socket.send(&Frame { ttl: 7, ..advert.clone() }.bytes())?;
    }
    line(&text, &[" more refused on all interfaces", "no sample was kept [ttl: "])?;

    text.signal(Signal::SIGINT)?;
    assert!(text.wait(LONG)?.success());
    let said = text.log().text();
    let burst = said.matches(", ttl 7,").count();
    assert!((8..=200).contains(&burst), "{said}");
    let more: usize = said
        .lines()
        .filter(|line| line.contains(" more refused on all"))
        .map(|line| line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(burst + more, 200, "every one is shown or counted:\n{said}");
    assert!(said.contains(&format!("{} of them refused by XDP", burst + 1)), "{said}");
    assert!(said.contains("0 packets dropped by kernel"), "{said}");
    let shown = sample::shown(include_str!("../../docs/observing.md"), "vrrp-user monitor -i eth0");
    let shown: Vec<_> = shown.into_iter().filter(|line| line != "^C").collect();
    assert!(shown.len() > 6, "{shown:?}");
    let printed = said.replace(&VrrpUser::instance(&host), "default");
    assert_eq!(sample::missing(&shown, &printed), None, "{printed}");

    // As others read it.
    let read = host.namespace().run("tcpdump", &["-n", "-v", "-r", &file])?;
    println!("{read}");
    for expected in [
        "10.0.0.1 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 200",
        "VRRPv3, Advertisement, vrid 52, prio 100",
        "ttl 3, id 0",
        "who-has 10.0.0.100",
    ] {
        assert!(read.contains(expected), "{expected}");
    }
    let shown =
        said.lines().filter(|l| l.contains(" eth0 ") && !l.contains(" more refused")).count();
    assert_eq!(read.matches("proto VRRP").count() + read.matches("ARP, Ethernet").count(), shown);

    json.signal(Signal::SIGTERM)?;
    assert!(json.wait(LONG)?.success());
    let lines: Vec<Value> = json
        .log()
        .lines()
        .iter()
        .filter(|(_, line)| line.starts_with('{'))
        .map(|(_, line)| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().all(|line| line["vrid"] == 51 || line["type"] != "vrrp"), "{lines:?}");
    let refused = lines.iter().find(|line| line["ttl"] == 3).unwrap();
    assert_eq!(
        [&refused["refused"], &refused["source"], &refused["direction"], &refused["interface"]],
        ["ttl", "10.0.0.200", "in", "eth0"],
        "{refused}"
    );
    assert!(lines.iter().any(|line| line["direction"] == "out" && line["refused"].is_null()));
    assert!(lines.iter().any(|line| line["type"] == "arp" && line["vrids"][0] == 51));
    assert!(lines.iter().any(|line| line["type"] == "not-sampled" && line["refused"] == "ttl"));
    Ok(())
}

#[test]
fn without_a_daemon_the_rest_is_shown() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut text = monitor(&host, &["--count", "3"])?;
    line(&text, &["no daemon `", "nothing that XDP refuses is shown"])?;
    let theirs = Instance::new(52, 100, "10.0.0.102/24").v3("0.1");
    let _keepalived = Keepalived::start(&other, &theirs.to_string())?;
    assert!(text.wait(LONG)?.success(), "after three packets");
    let shown = text.log().lines().iter().filter(|(_, line)| line.contains(" eth0 ")).count();
    assert_eq!(shown, 3, "{}", text.log().text());
    assert!(text.log().contains("3 packets shown, 0 of them refused by XDP"));

    // Who reads no more is no failure.
    let ours = VrrpUser::binary()?.display().to_string();
    let pipe = format!("set -o pipefail; {ours} monitor --instance nobody 2>&1 | head -n 2");
    host.namespace().run("bash", &["-c", &pipe])?;
    let absent = host.namespace().run(&ours, &["monitor", "-i", "eth9"]).unwrap_err().to_string();
    assert!(absent.contains("no interface `eth9`"), "{absent}");
    // A daemon that comes later is noticed.
    let mut text = monitor(&host, &[])?;
    let mut daemon = VrrpUser::start(&host, &Instance::new(51, 100, "10.0.0.100/24").to_string())?;
    line(&text, &["runs (pid ", "what XDP refuses is shown"])?;
    daemon.kill()?;
    line(&text, &["daemon `", "no longer runs: what its programs still stop is shown"])?;
    text.terminate(LONG)?;
    Ok(())
}

/// What `top` shows without frames, and with one space wherever there are several, or a line ends.
fn words(top: &Top) -> String {
    let text = top.text().replace(|c: char| ('\u{2500}'..='\u{257f}').contains(&c), " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// By a daemon that lets everybody ask, and root order; and for a router that it no longer has.
#[test]
fn top_says_why_an_order_is_refused() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let router = |name: &str, vrid: u8| {
        let address = format!("addresses = [\"10.0.0.{}/24\"]\n", 100 + u32::from(vrid));
        format!("[[router]]\nname = \"{name}\"\ninterface = \"eth0\"\nvrid = {vrid}\n{address}")
    };
    let head = "[control]\nsocket_mode = \"0666\"\n".to_owned() + &router("first", 1);
    let mut daemon =
        VrrpUser::start_with(&host, "vrrp.toml", &(head.clone() + &router("second", 2)))?;
    daemon.wait_state(&host, "second", "MASTER", LONG)?;

    let mut top = Top::start_as(&host, Some(NOBODY), false)?;
    top.wait_for("2 MASTER")?;
    {
        let parser = top.screen.lock().unwrap();
        let (screen, plain) = (parser.screen(), vt100::Color::Default);
        let cells =
            (0..24).flat_map(|row| (0..80).filter_map(move |column| screen.cell(row, column)));
        assert!(cells.clone().all(|cell| (cell.fgcolor(), cell.bgcolor()) == (plain, plain)));
        // The whole row that is selected, and not what was written before the first colour.
        assert!(
            (0..30).all(|column| screen.cell(4, column).unwrap().inverse()),
            "{}",
            screen.contents()
        );
    }
    top.press("Sy");
    top.wait_for("was refused:")?;
    assert!(words(&top).contains("not permitted: it takes root"), "{}", top.text());
    top.press(" q");
    top.ends_in_order()?;
    assert_eq!(daemon.router(&host, "first")?["state"], "MASTER");

    let mut top = Top::start(&host)?;
    top.wait_for("2 MASTER")?;
    top.press("/sec\rS");
    top.wait_for("step-down second (eth0/2, MASTER)?")?;
    daemon.rewrite(&head)?;
    assert_eq!(daemon.reload(&host, &[])?.1, Some(0));
    top.press("y");
    top.wait_for("was refused:")?;
    assert!(words(&top).contains("no virtual router or sync group `second`"), "{}", top.text());
    top.press(" q");
    top.ends_in_order()?;
    assert!(daemon.stop()?.success());
    Ok(())
}

#[test]
fn top_shows_a_master_obeys_keys_and_leaves_the_terminal_as_it_was() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let conf = format!(
        "{}{}",
        Instance::new(51, 255, "10.0.0.100/24"),
        Instance::new(7, 100, "10.0.0.107/24").name("second")
    );
    let mut daemon = VrrpUser::start(&host, &conf)?;
    daemon.wait_state(&host, "second", "MASTER", LONG)?;
    let mut top = Top::start(&host)?;
    top.wait_for("2 MASTER")?;
    top.wait_for("this host")?;
    assert!(top.screen.lock().unwrap().screen().alternate_screen());
    println!("{}", top.text());

    // A refused packet, with who sent it.
    let advert = Frame::v2(SENDER, 51, 254, &[VIP.parse().unwrap()]);
    RawSocket::open(&other)?.send(&Frame { ttl: 3, ..advert }.bytes())?;
    top.wait_for("10.0.0.200 eth0 vrid 51")?;

    let first = |top: &Top| top.text().lines().nth(4).unwrap_or_default().to_owned();
    let first_is = |top: &Top, name: &str| {
        wait_until(LONG, &format!("{name} is first"), || {
            Ok(first(top).starts_with(name).then_some(()))
        })
    };
    first_is(&top, "VI_1")?;
    top.press("v");
    first_is(&top, "second")?;
    top.press("R");
    first_is(&top, "VI_1")?;
    top.press("/sec\r");
    first_is(&top, "second")?;
    assert!(!top.text().contains("VI_1 "), "{}", top.text());
    top.press("?");
    top.wait_for("the other way round")?;
    top.press("x");
    top.press("\x1b");
    top.wait_for("VI_1 ")?;
    top.press("\t");
    top.wait_for("nothing has changed so far")?;

    // A daemon that dies, and comes back.
    daemon.kill()?;
    top.wait_for("DAEMON GONE")?;
    assert!(top.text().contains("VI_1 "), "{}", top.text());
    let mut daemon = VrrpUser::start(&host, &conf)?;
    top.wait_for("the daemon runs, pid")?;
    top.press("q");
    top.ends_in_order()?;

    // An order, once somebody has said yes; by the mouse another row is selected (button 0, column 5, line 6).
    let mut top = Top::start(&host)?;
    top.wait_for("2 MASTER")?;
    top.press("\x1b[<0;5;6M\x1b[<0;5;6mS");
    top.wait_for("step-down second (eth0/7, MASTER)?")?;
    top.press("n");
    top.wait_for("q quit")?;
    top.press("Sy");
    top.wait_for("second stepped down")?;
    daemon.wait_state(&host, "second", "FAULT", LONG)?;
    top.wait_for("1 FAULT")?;
    // What is wrong is first now.
    top.press("gUy");
    daemon.wait_state(&host, "second", "MASTER", LONG)?;
    top.press("q");
    top.ends_in_order()?;

    // A signal.
    let mut top = Top::start(&host)?;
    top.wait_for("2 routers")?;
    let pid = Pid::from_raw(i32::try_from(top.child.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    top.ends_in_order()?;
    // A terminal that is gone (`TIOCVHANGUP`, linux/tty.h).
    let mut top = Top::start(&host)?;
    top.wait_for("2 routers")?;
    // SAFETY: the descriptor is open; the request takes no argument.
    assert_eq!(unsafe { libc::ioctl(top.terminal.as_raw_fd(), 0x5437) }, 0);
    let status =
        wait_until(LONG, "top ends with its terminal", || Ok(top.child.try_wait().unwrap()))?;
    assert!(status.success(), "{status}");
    // Another size.
    let mut top = Top::start(&host)?;
    top.wait_for("2 routers")?;
    let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    top.screen.lock().unwrap().screen_mut().set_size(50, 200);
    // SAFETY: the descriptor is open, and the structure lives until the call returns.
    assert_eq!(unsafe { libc::ioctl(top.keys.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }, 0);
    top.wait_for("REASON")?;
    // A daemon that stops takes its maps with it.
    daemon.stop()?;
    top.wait_for("NO DAEMON, NO MAPS")?;
    top.press("\x03");
    top.ends_in_order()?;

    let piped = host.namespace().run(&VrrpUser::binary()?.display().to_string(), &["top"]);
    let error = piped.unwrap_err().to_string();
    assert!(error.contains("needs a terminal"), "{error}");
    Ok(())
}
