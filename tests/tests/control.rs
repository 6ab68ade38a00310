//! What the control socket tells of a real daemon, and that nobody who talks to it, or does not listen, can hold
//! the daemon up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use vrrp_tests::{Host, Instance, Keepalived, Lab, Process, Result, Tcpdump, VrrpUser, pause};

/// More than anything takes here: the longest master-down interval is under 4 seconds, and a client has 10 to
/// read.
const LONG: Duration = Duration::from_secs(30);
const ROUTER: &str = "VI_1";

/// Two routers; the second lives on an interface that is not there.
fn conf(priority: u8) -> String {
    let mut other = Instance::new(52, priority, "10.0.1.100/24").name("VI_2");
    other.interface = "eth9".into();
    Instance::new(51, priority, "10.0.0.100/24").to_string() + &other.to_string()
}

fn socket(host: &Host) -> PathBuf {
    Path::new("/run/vrrp-user").join(VrrpUser::instance(host)).join("control.sock")
}

fn connect(host: &Host) -> UnixStream {
    let stream = UnixStream::connect(socket(host)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// What a command of ours prints for the daemon on a host.
fn show(host: &Host, args: &[&str]) -> Result<String> {
    let instance = VrrpUser::instance(host);
    let (options, binary) = (["--instance", &instance], VrrpUser::binary()?);
    host.namespace().run(&binary.display().to_string(), &[args, &options[..]].concat())
}

fn follow(host: &Host, name: &str, args: &[&str]) -> Result<Process> {
    let instance = VrrpUser::instance(host);
    let (options, binary) = (["events", "--instance", &instance], VrrpUser::binary()?);
    host.spawn(name, &binary.display().to_string(), &[&options[..], args].concat())
}

fn counter(daemon: &VrrpUser, host: &Host, name: &str) -> Result<u64> {
    Ok(daemon.status(host)?["counters"][name].as_u64().expect("a counter"))
}

/// The longest time between two advertisements since a moment.
fn longest_gap(tcpdump: &Tcpdump, since: Instant) -> Duration {
    let adverts = tcpdump.adverts(since);
    let times = adverts.iter().filter(|advert| advert.source == "10.0.0.1").map(|advert| advert.at);
    let times: Vec<_> = [since].into_iter().chain(times).chain([Instant::now()]).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().expect("two moments")
}

fn words(detail: &Value) -> Vec<String> {
    let history = detail["history"].as_array().expect("a history").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    history
        .map(|e| format!("{} {} {}", text(&e["from"]), text(&e["to"]), text(&e["reason"])))
        .collect()
}

/// The master that it follows is killed: status, history and two followers of the events agree on what happened.
#[test]
fn a_take_over_is_told_to_everybody() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut theirs =
        Keepalived::start(&other, &Instance::new(51, 150, "10.0.0.100/24").to_string())?;
    theirs.wait_state(&other, ROUTER, "MASTER", LONG)?;
    let mut daemon = VrrpUser::start(&host, &conf(100))?;
    lab.wait_until(LONG, "it hears the master", || {
        let router = daemon.router(&host, ROUTER);
        Ok(router.ok().filter(|router| router["master"]["address"] == "10.0.0.2"))
    })?;
    // Advertisements alone do not bring the other into the neighbour table.
    host.namespace().run("ping", &["-c", "1", "-W", "2", other.address()])?;
    let full = show(&host, &["status", ROUTER])?;
    assert!(full.contains("master      10.0.0.2 (02:00:00:00:00:02), priority 150"), "{full}");
    let text = follow(&host, "events", &["--since", "1h"])?;
    let json = follow(&host, "events as JSON", &["--json", "eth0/51"])?;
    // With the history that was asked for they begin at once.
    lab.wait_until(LONG, "the history", || Ok(text.log().contains("VI_2").then_some(())))?;
    pause(Duration::from_millis(300))?;
    assert_eq!(json.log().text(), "");

    let killed = Instant::now();
    theirs.kill()?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let detail: Value = serde_json::from_str(&show(&host, &["status", ROUTER, "--json"])?).unwrap();
    let told = words(&detail);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], "INIT BACKUP started: listens for a master");
    let took_over = "BACKUP MASTER took over: no advertisement from 10.0.0.2 for 3.";
    assert!(told[1].starts_with(took_over), "{told:?}");
    assert_eq!((&detail["schema"], &detail["on"]["up"]), (&1.into(), &true.into()), "{detail}");
    assert_eq!(detail["cause_name"], "master-down");
    assert!(detail["since_s"].as_f64().unwrap() <= killed.elapsed().as_secs_f64(), "{detail}");

    let events = lab.wait_until(LONG, "both are told", || {
        let lines = json.log().lines();
        Ok((text.log().contains("BACKUP -> MASTER") && !lines.is_empty()).then_some(lines))
    })?;
    assert_eq!(events.len(), 1, "{events:?}");
    let event: Value = serde_json::from_str(&events[0].1).expect("JSON");
    assert_eq!(event, detail["history"][1]);
    assert_eq!((&event["event"], &event["to"]), (&"transition".into(), &"MASTER".into()));
    let text = text.log().text();
    println!("{text}");
    for line in [
        "VI_1 (eth0/51)  INIT -> BACKUP  started",
        "VI_2 (eth9/52)  INIT -> FAULT  failed: the interface does not exist",
        "VI_1 (eth0/51)  notice  new master 10.0.0.2 with priority 150",
        "VI_1 (eth0/51)  BACKUP -> MASTER  took over: no advertisement from 10.0.0.2 for 3.",
    ] {
        assert_eq!(text.matches(line).count(), 1, "{line}");
    }

    // It gives way again, and says to whom.
    let theirs = Keepalived::start(&other, &Instance::new(51, 150, "10.0.0.100/24").to_string())?;
    daemon.wait_state(&host, ROUTER, "BACKUP", LONG)?;
    theirs.wait_state(&other, ROUTER, "MASTER", LONG)?;
    let detail: Value = serde_json::from_str(&show(&host, &["status", ROUTER, "--json"])?).unwrap();
    let reason = "gave way: 10.0.0.2 advertises and ranks above us with priority 150";
    assert_eq!(words(&detail).last().unwrap(), &format!("MASTER BACKUP {reason}"));
    // The end of the daemon is the last event, and the end of the stream.
    let status = daemon.stop()?;
    assert!(status.success(), "{status}");
    lab.wait_until(LONG, "the end is told", || {
        Ok(json.log().contains("stopped: the daemon ends").then_some(()))
    })
}

#[test]
fn status_shows_what_is_asked_for() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = VrrpUser::start(&host, &conf(255))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    lab.wait_until(LONG, "the address", || {
        let router = daemon.router(&host, ROUTER)?;
        Ok((router["addresses"][0]["installed"] == true).then_some(()))
    })?;

    let names = |args: &[&str]| -> Result<Vec<String>> {
        let args = [&["status", "--json"], args].concat();
        let status: Value = serde_json::from_str(&show(&host, &args)?).expect("JSON");
        let routers = status["routers"].as_array().unwrap().iter();
        Ok(routers.map(|router| router["name"].as_str().unwrap().to_owned()).collect())
    };
    assert_eq!(names(&[])?, ["VI_1", "VI_2"]);
    assert_eq!(names(&["--state", "master"])?, ["VI_1"]);
    assert_eq!(names(&["--state", "master,FAULT"])?, ["VI_1", "VI_2"]);
    assert_eq!(names(&["--interface", "eth9"])?, ["VI_2"]);
    assert_eq!(names(&["--interface", "eth9", "--state", "backup"])?, [""; 0]);

    let table = show(&host, &["status"])?;
    println!("{table}");
    assert!(!table.contains('\x1b'), "no colours in a pipe");
    assert!(table.contains("2 virtual routers: 1 FAULT, 1 MASTER"), "{table}");
    assert!(table.contains("VI_2: interface eth9 (line "), "{table}");
    let (by_name, by_place) =
        (show(&host, &["status", ROUTER])?, show(&host, &["status", "eth0/51"])?);
    println!("{by_name}");
    for text in [by_name, by_place] {
        assert!(text.starts_with("VI_1  MASTER for "), "{text}");
        assert!(text.contains("10.0.0.100/24  dev eth0  on the interface"), "{text}");
        assert!(text.contains("255, as configured: owner of the addresses"), "{text}");
    }
    let error = show(&host, &["status", "VI_9"]).expect_err("there is none").to_string();
    assert!(error.contains("there is no virtual router `VI_9`; near are VI_1, VI_2;"), "{error}");
    assert_eq!(names(&["VI_*"])?, ["VI_1", "VI_2"]);
    assert!(show(&host, &["status", "10.0.0.100"])?.starts_with("VI_1  MASTER for "));
    let (binary, instance) = (VrrpUser::binary()?.display().to_string(), VrrpUser::instance(&host));
    let code = |instance: &str, args: &[&str]| {
        let mut command = host.namespace().command(&binary);
        command.args(["status", "--instance", instance]).args(args).output().unwrap().status.code()
    };
    for (args, expected) in [
        (&["VI_1"][..], 0),
        (&["VI_1", "--check"], 0),
        (&["VI_2", "--check"], 2),
        (&["--check"], 2),
        (&["VI_9"], 4),
        (&["10.0.0.99"], 4),
        (&["--interface", "eth1"], 4),
    ] {
        assert_eq!(code(&instance, args), Some(expected), "{args:?}");
    }
    assert_eq!(code("nobody-runs-this", &[]), Some(3));
    Ok(())
}

/// What bash makes of a line whose last word is to be completed, with the completions of the package.
const COMPLETE: &str = r#"
eval "$(vrrp-user completions bash)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
function=$(complete -p vrrp-user | sed 's/.* -F \([^ ]*\).*/\1/')
"$function" vrrp-user "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
echo ${COMPREPLY[*]}
"#;

#[test]
fn bash_completes_what_there_is_at_that_moment() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let group = "vrrp_sync_group edge {\n  group { VI_1 }\n}\n";
    let mut daemon = VrrpUser::start(&host, &(conf(255) + group))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let (binary, instance) = (VrrpUser::binary()?, VrrpUser::instance(&host));
    let path = std::env::var("PATH").unwrap_or_default();
    let completed = |line: &str| {
        let mut command = host.namespace().command("bash");
        command.env("PATH", format!("{}:{path}", binary.parent().unwrap().display()));
        command.env("VRRP_USER_INSTANCE", &instance);
        command.args(["--norc", "-c", COMPLETE, "bash"]).args(line.split(' '));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(completed("vrrp-user status VI"), "VI_1 VI_2");
    assert_eq!(completed("vrrp-user step-down e"), "edge eth0/51 eth9/52");
    assert_eq!(completed("vrrp-user status --interface e"), "eth0 eth9");
    assert_eq!(completed("vrrp-user status --state f"), "fault");
    let named = completed("vrrp-user status --instance ");
    assert!(named.split(' ').any(|name| name == instance), "{named}");
    // Of the instance that the line names, which does not run.
    assert_eq!(completed("vrrp-user status --instance nobody-runs-this VI"), "");
    Ok(())
}

/// Clients that ask nonsense, too much, or without reading the answers.
#[test]
fn bad_clients_are_counted_and_delay_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let mut daemon = VrrpUser::start(&host, &conf(255))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let tcpdump = Tcpdump::start(&other)?;
    let begin = Instant::now();

    let mut bad = connect(&host);
    bad.write_all(b"{\"command\":\"reboot\"}\n{\"command\":\"status\",\"x\":1}\n").unwrap();
    bad.write_all(&[b'x'; 5000]).unwrap();
    let mut text = String::new();
    let _ = bad.read_to_string(&mut text);
    assert_eq!(text.matches("bad request").count(), 2, "{text}");
    assert!(text.contains("unknown variant `reboot`"), "{text}");
    assert_eq!(counter(&daemon, &host, "control_bad_request")?, 3);

    let mut slow = connect(&host);
    for _ in 0..1000 {
        if slow.write_all(b"{\"command\":\"status\"}\n").is_err() {
            break;
        }
    }
    let silent: Vec<_> = (0..20).map(|_| connect(&host)).collect();
    // Meanwhile others are answered, and told what happens.
    let mut reader = connect(&host);
    reader.write_all(b"{\"command\":\"events\",\"since_ms\":60000}\n").unwrap();
    let mut line = String::new();
    BufReader::new(&reader).read_line(&mut line).unwrap();
    assert!(line.starts_with(r#"{"event":{"schema":1,"number":1,"#), "{line}");
    lab.wait_until(LONG, "the slow one is cut off", || {
        Ok((counter(&daemon, &host, "control_slow_client")? == 1).then_some(()))
    })?;
    lab.wait_until(LONG, "so are the silent ones", || {
        Ok((counter(&daemon, &host, "control_silent_client")? >= 20).then_some(()))
    })?;
    drop(silent);
    let gap = longest_gap(&tcpdump, begin);
    println!("longest time between two advertisements: {gap:?}");
    assert!(gap < Duration::from_millis(1500), "{gap:?}");
    Ok(())
}

/// A pipe to which not one byte can be written: the end to read from, and the full one.
fn full_pipe() -> (File, File) {
    let (read, write) = nix::unistd::pipe().unwrap();
    let (read, write) = (File::from(read), File::from(write));
    let set = |flags| fcntl(&write, FcntlArg::F_SETFL(flags)).unwrap();
    set(OFlag::O_NONBLOCK);
    for size in [4096, 1] {
        while (&write).write(&vec![b'.'; size]).is_ok() {}
    }
    set(OFlag::empty());
    (read, write)
}

/// A daemon whose log goes elsewhere; killed on drop.
struct Mute(Child);

impl Mute {
    /// Starts it on a host, and waits until it is master.
    fn start(host: &Host, stderr: File) -> Result<Self> {
        let path = host.dir("vrrp-user")?.join("vrrp.conf");
        std::fs::write(&path, conf(255)).unwrap();
        let (path, bpffs) = (path.display().to_string(), host.lab().bpffs().display().to_string());
        let instance = VrrpUser::instance(host);
        let mut command = host.namespace().command(&VrrpUser::binary()?.display().to_string());
        command.args(["run", "--config", &path, "--instance", &instance, "--bpffs", &bpffs]);
        let daemon = Self(command.stderr(stderr).spawn().unwrap());
        host.lab().wait_until(LONG, "it is master", || {
            let status = show(host, &["status", ROUTER]);
            Ok(status.ok().filter(|text| text.contains("MASTER for")))
        })?;
        Ok(daemon)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        // One that has ended is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nobody reads its log: it starts, becomes master, advertises on time and stops all the same, and what it had
/// to say comes out when somebody reads.
#[test]
fn a_blocked_log_blocks_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let tcpdump = Tcpdump::start(&other)?;
    let (mut read, write) = full_pipe();
    let mut daemon = Mute::start(&host, write)?;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        // Each of these is a line.
        daemon.signal(Signal::SIGUSR1);
        pause(Duration::from_millis(20))?;
    }
    let gap = longest_gap(&tcpdump, begin);
    println!("longest time between two advertisements: {gap:?}");
    assert!(gap < Duration::from_millis(1500), "{gap:?}");

    // While it stops, somebody reads at last.
    daemon.signal(Signal::SIGTERM);
    let mut log = String::new();
    read.read_to_string(&mut log).unwrap();
    assert!(daemon.0.wait().unwrap().success());
    let log = log.trim_start_matches('.');
    for line in ["INIT -> MASTER", "SIGUSR1 ignored", "SIGTERM: stopping", "stopped"] {
        assert!(log.contains(line), "{line} in {log}");
    }
    assert!(log.matches("SIGUSR1").count() > 100, "{}", log.matches("SIGUSR1").count());
    Ok(())
}

/// A blocked log does not keep it from ending either.
#[test]
fn a_log_that_stays_blocked_does_not_keep_it_alive() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let (_read, write) = full_pipe();
    let mut daemon = Mute::start(&host, write)?;
    daemon.signal(Signal::SIGTERM);
    let begin = Instant::now();
    lab.wait_until(LONG, "it ends", || Ok(daemon.0.try_wait().unwrap()))?;
    println!("ended after {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    Ok(())
}
