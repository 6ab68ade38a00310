//! Scripts and fifos: what they are told, by keepalived and by us, and what becomes of those that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vrrp_tests::story::Kind;
use vrrp_tests::{Host, Instance, Lab, Result, VrrpUser, pause};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.100/24";
const ROUTER: &str = "VI_1";

/// The files of scripts on a host: each writes a line to `calls` when it is called.
struct Scripts {
    dir: PathBuf,
}

impl Scripts {
    fn new(host: &Host) -> Result<Self> {
        let scripts = Self { dir: host.dir("scripts")? };
        scripts.write(
            "record",
            "printf '%s\\n' \"$(for word; do printf '[%s]' \"$word\"; done)\" >> $DIR/calls\n\
             [ \"$1\" != fault ] || env | cut -d = -f 1 | sort > $DIR/environment",
        );
        // keepalived ends it before it can have read the last line.
        scripts.write("reader", "trap '' TERM; exec cat \"$2\" >> $DIR/lines");
        Ok(scripts)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A shell script in which `$DIR` is the directory.
    fn write(&self, name: &str, body: &str) {
        let body = body.replace("$DIR", &self.dir.display().to_string());
        let path = self.dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The lines of a file, none if it is not there.
    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_lines(&self, lab: &Lab, name: &str, count: usize) -> Result<Vec<String>> {
        lab.wait_until(LONG, &format!("{count} lines in {name}"), || {
            let lines = self.lines(name);
            Ok((lines.len() >= count).then_some(lines))
        })
    }
}

fn instance(priority: u8) -> Instance {
    Instance::new(51, priority, VIP).v3("0.2")
}

/// Everything that can be told, in keepalived's grammar.
fn talkative(scripts: &Scripts) -> String {
    let record = scripts.path("record");
    let mut instance = instance(100);
    for (keyword, words) in [
        ("notify_master", "master 'two \\\"words\\\"'"),
        ("notify_backup", "backup"),
        ("notify_fault", "fault"),
        ("notify_stop", "stop"),
        ("notify_master_rx_lower_pri", "lower"),
        ("notify", "any"),
    ] {
        instance = instance.with(&format!("{keyword} \"{record} {words}\""));
    }
    let dir = scripts.dir.display();
    let group =
        format!("vrrp_sync_group G1 {{\ngroup {{\nVI_1\n}}\nnotify \"{record} group\"\n}}\n");
    format!(
        "global_defs {{\nscript_user root\nvrrp_notify_fifo {dir}/fifo\n\
         vrrp_notify_fifo_script \"{} argument\"\n}}\n{group}{instance}",
        scripts.path("reader"),
    )
}

/// What is told from start to stop: backup, master, fault, backup, stop.
fn story(kind: Kind) -> Result<[Vec<String>; 3]> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let scripts = Scripts::new(&host)?;
    let mut daemon = kind.start(&host, &talkative(&scripts))?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    scripts.wait_lines(&lab, "calls", 6)?;
    host.ip(&["link", "set", "eth0", "down"])?;
    scripts.wait_lines(&lab, "calls", 9)?;
    let mut higher = VrrpUser::start(&other, &instance(200).to_string())?;
    higher.wait_state(&other, ROUTER, "MASTER", LONG)?;
    host.ip(&["link", "set", "eth0", "up"])?;
    scripts.wait_lines(&lab, "calls", 12)?;
    pause(Duration::from_millis(500))?;
    daemon.stop()?;
    let calls = scripts.wait_lines(&lab, "calls", 15)?;
    let lines = scripts.wait_lines(&lab, "lines", 10)?;
    assert!(!Path::new(&scripts.path("fifo")).exists(), "who made it removes it");
    // Ours leaves out what would change the programs of a script.
    let mut environment = scripts.lines("environment");
    environment.retain(|name| !["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"].contains(&name.as_str()));
    Ok([calls, lines, environment])
}

#[test]
fn the_same_is_told_as_by_keepalived() -> Result<()> {
    let [mut theirs, mut their_lines, their_environment] = story(Kind::Keepalived)?;
    let [mut ours, our_lines, our_environment] = story(Kind::VrrpUser)?;
    assert_eq!(our_environment, their_environment);
    assert!(our_environment.iter().any(|name| name == "PATH"));
    println!("{theirs:#?}\n{their_lines:#?}\n{ours:#?}\n{our_lines:#?}");
    // At the start it tells of a group before its members, later behind them.
    assert!(their_lines[0].starts_with("GROUP") && our_lines[1] == their_lines[0]);
    their_lines.swap(0, 1);
    assert_eq!(our_lines, their_lines);
    // It starts the scripts of a change at once, all of them, and they come in any order.
    assert_eq!(theirs.len(), ours.len());
    for (theirs, ours) in theirs.chunks_mut(3).zip(ours.chunks_mut(3)) {
        let own = ours.iter().find(|call| !call.starts_with("[group]")).unwrap();
        assert!(!own.starts_with("[any]"), "first the script of the state: {ours:?}");
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
    }
    Ok(())
}

/// A TOML configuration with one router that is master at once.
fn owner(head: &str, notify: &str) -> String {
    format!(
        "{head}\n[[router]]\nname = \"{ROUTER}\"\ninterface = \"eth0\"\nvrid = 51\npriority = 255\n\
         addresses = [\"{VIP}\"]\nnotify = {{ {notify} }}\n"
    )
}

fn start(host: &Host, conf: &str) -> Result<VrrpUser> {
    VrrpUser::start_with(host, "vrrp.toml", conf)
}

fn counter(daemon: &VrrpUser, host: &Host, name: &str) -> Result<u64> {
    Ok(daemon.status(host)?["counters"][name].as_u64().unwrap_or_default())
}

/// What a script finds: the address, and nothing of the daemon but its environment.
#[test]
fn a_script_runs_alone_and_after_the_addresses() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let scripts = Scripts::new(&host)?;
    // bash, because a plain sh may have descriptors of its own.
    scripts.write(
        "about",
        "exec bash -c '\n\
         exec 2>&1\n\
         { ip -4 -o address show dev eth0 | grep -c 10.0.0.100\n\
         id -u; id -g; id -G\n\
         grep -E \"^(SigBlk|SigIgn)\" /proc/self/status | cut -f 2 | sort -u\n\
         [ $(cut -d \" \" -f 5 /proc/$$/stat) = $$ ] && echo own group\n\
         readlink /proc/$$/fd/0\n\
         readlink /proc/$$/fd/* | grep -cE \"anon_inode|socket:|bpf\"\n\
         cut -d \" \" -f 41 /proc/$$/stat\n\
         umask; env | cut -d = -f 1 | grep -E \"^(PATH|NOTIFY_SOCKET|LD_LIBRARY_PATH)$\"\n\
         echo end; } > $DIR/about.out.$1; mv $DIR/about.out.$1 $DIR/about.$1' about \"$@\"",
    );
    // Where others than root may write, so that nobody can.
    fs::set_permissions(&scripts.dir, fs::Permissions::from_mode(0o777)).unwrap();
    let about = scripts.path("about");
    let notify = format!(
        "master = {{ command = \"{about} root\", user = \"root\" }}, \
         any = {{ command = \"{about} nobody\", user = \"nobody\", group = \"daemon\" }}"
    );
    let mut daemon = start(&host, &owner("[scripts]\numask = \"027\"", &notify))?;
    let told = |name: &str, expected: [&str; 3]| {
        let lines = lab.wait_until(LONG, name, || {
            let lines = scripts.lines(name);
            Ok((!lines.is_empty()).then_some(lines))
        })?;
        println!("{name}: {lines:#?}");
        let [uid, gid, groups] = expected;
        // Address, account, no signal blocked or ignored, standard input, nothing open that is ours, SCHED_OTHER,
        // mask, environment.
        assert_eq!(lines[..4], ["1", uid, gid, groups], "{lines:?}");
        assert_eq!(lines[4..7], ["0000000000000000", "own group", "/dev/null"], "{lines:?}");
        assert_eq!(lines[7..], ["0", "0", "0027", "PATH", "end"], "{lines:?}");
        Ok(())
    };
    told("about.root", ["0", "0", "0"])?;
    told("about.nobody", ["65534", "1", "1"])?;
    let text = daemon.log().text();
    assert!(
        text.contains("it would run as root, and") && text.contains("is writable by everybody")
    );
    daemon.stop()?;
    // The same, if nothing unsafe may run.
    fs::remove_file(scripts.path("about.root")).unwrap();
    fs::remove_file(scripts.path("about.nobody")).unwrap();
    let mut daemon = start(&host, &owner("[scripts]\numask = \"027\"\nsecurity = true", &notify))?;
    told("about.nobody", ["65534", "1", "1"])?;
    assert!(!Path::new(&scripts.path("about.root")).exists());
    assert!(daemon.log().text().contains("is disabled: it would run as root, and "));
    daemon.stop().map(drop)
}

/// A script that ignores SIGTERM, and has children that do, is gone when its time is over, and then the last state is
/// told.
#[test]
fn a_stubborn_script_is_ended_with_its_children() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let scripts = Scripts::new(&host)?;
    scripts.write(
        "stubborn",
        "trap '' TERM\necho $$ >> $DIR/pids\n(trap '' TERM; sh -c 'echo $$ >> $DIR/pids; sleep 1000 & echo $! >> $DIR/pids; wait') &\n\
         echo says something\nwhile :; do sleep 1; done",
    );
    let notify = format!(
        "master = \"{}\", fault = \"{} fault\", backup = \"{1} backup\"",
        scripts.path("stubborn"),
        scripts.path("record"),
    );
    let mut daemon = start(&host, &owner("[notify]\ntimeout = \"1s\"", &notify))?;
    let pids = scripts.wait_lines(&lab, "pids", 3)?;
    let before = scripts.lines("calls");
    let alive = || pids.iter().filter(|pid| Path::new("/proc").join(pid).exists()).count();
    assert!(alive() > 0);
    // Meanwhile it changes twice: what lies between is left out.
    host.ip(&["link", "set", "eth0", "down"])?;
    daemon.wait_state(&host, ROUTER, "FAULT", LONG)?;
    lab.wait_until(LONG, "all are gone", || Ok((alive() == 0).then_some(())))?;
    let calls = lab.wait_until(LONG, "the fault is told", || {
        // Before the interface was up, it may have been told as well.
        let calls = scripts.lines("calls");
        Ok((calls.len() > before.len()).then_some(calls))
    })?;
    assert_eq!(calls.last().unwrap(), "[fault]");
    assert_eq!(counter(&daemon, &host, "scripts_timed_out")?, 1);
    let text = daemon.log().text();
    println!("{text}");
    assert!(
        text.contains("stubborn: says something") && text.contains("stubborn: stopped after 1 s")
    );
    daemon.stop().map(drop)
}

/// While a script runs, only the last of the changes is remembered; one that is still running at the end gives way.
#[test]
fn the_latest_state_wins_and_the_last_word_is_said() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let scripts = Scripts::new(&host)?;
    let record = scripts.path("record");
    scripts.write("slow", &format!("{record} \"$@\"; sleep 3"));
    scripts.write("hang", &format!("{record} \"$@\"; exec sleep 1000"));
    let conf = owner("", &format!("any = \"{}\"", scripts.path("slow")));
    let mut daemon = start(&host, &conf)?;
    scripts.wait_lines(&lab, "calls", 1)?;
    for _ in 0..3 {
        host.ip(&["link", "set", "eth0", "down"])?;
        daemon.wait_state(&host, ROUTER, "FAULT", LONG)?;
        host.ip(&["link", "set", "eth0", "up"])?;
        daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    }
    let calls = scripts.wait_lines(&lab, "calls", 2)?;
    let master = "[INSTANCE][VI_1][MASTER][255]";
    assert_eq!(calls, [master, master], "all that lies between is left out");
    assert!(counter(&daemon, &host, "notifications_skipped")? >= 5);
    daemon.stop()?;
    let calls = scripts.wait_lines(&lab, "calls", 3)?;
    assert_eq!(calls[2..], ["[INSTANCE][VI_1][STOP][255]"]);

    fs::remove_file(scripts.path("calls")).unwrap();
    let conf = owner("", &format!("any = \"{}\"", scripts.path("hang")));
    let mut daemon = start(&host, &conf)?;
    scripts.wait_lines(&lab, "calls", 1)?;
    daemon.stop()?;
    assert_eq!(scripts.lines("calls"), [master, "[INSTANCE][VI_1][STOP][255]"]);
    assert!(daemon.log().contains("stopped with the daemon"), "{}", daemon.log().text());
    Ok(())
}

/// 255 routers change at once: never more scripts than there are places for, and each router's last state is told.
#[test]
fn many_routers_do_not_start_many_processes() -> Result<()> {
    const ROUTERS: usize = 255;
    const PLACES: usize = 8;
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let scripts = Scripts::new(&host)?;
    fs::create_dir(scripts.path("running")).unwrap();
    scripts.write(
        "count",
        "mkdir $DIR/running/$$; ls $DIR/running | wc -l >> $DIR/together; echo \"$2 $3\" >> $DIR/calls; \
         rmdir $DIR/running/$$",
    );
    let conf = format!(
        "[scripts]\nconcurrency = {PLACES}\nuser = \"root\"\n[notify]\nfifo = \"{}\"\n\
         [[router]]\nname = \"r{{vrid}}\"\ninterface = \"eth0\"\nvrid = \"1-255\"\npriority = 255\n\
         addresses = [\"10.0.1.{{vrid}}/32\"]\nnotify = {{ any = \"{}\" }}\n",
        scripts.path("fifo"),
        scripts.path("count"),
    );
    let mut daemon = start(&host, &conf)?;
    let all = |state: &str| {
        lab.wait_until(LONG * 3, &format!("every router is told {state}"), || {
            let mut last = std::collections::BTreeMap::new();
            for line in scripts.lines("calls") {
                if let Some((name, state)) = line.split_once(' ') {
                    last.insert(name.to_owned(), state.to_owned());
                }
            }
            let there = last.values().filter(|told| *told == state).count();
            Ok((there == ROUTERS).then_some(()))
        })
    };
    all("MASTER")?;
    host.ip(&["link", "set", "eth0", "down"])?;
    all("FAULT")?;
    let together: Vec<usize> =
        scripts.lines("together").iter().filter_map(|line| line.trim().parse().ok()).collect();
    let most = together.iter().max().copied().unwrap_or_default();
    println!("at most {most} of {} at the same time", together.len());
    assert!(most > 1 && most <= PLACES, "{most}");
    daemon.stop().map(drop)
}

/// Nobody reads the fifo for a while: nothing waits for it, the last state of each router comes through, and the rest
/// is counted.
#[test]
fn a_fifo_that_is_not_read_blocks_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let scripts = Scripts::new(&host)?;
    let fifo = scripts.path("fifo");
    host.namespace().run("mkfifo", &[&fifo])?;
    let name = "n".repeat(200);
    let conf = format!(
        "[notify]\nfifo = \"{fifo}\"\n[[router]]\nname = \"{name}{{vrid}}\"\ninterface = \"eth0\"\n\
         vrid = \"1-200\"\npriority = 255\naddresses = [\"10.0.1.{{vrid}}/32\"]\n"
    );
    let mut daemon = start(&host, &conf)?;
    let last = format!("{name}200");
    // Each change is 40 KiB, and the pipe takes 64.
    for _ in 0..3 {
        daemon.wait_state(&host, &last, "MASTER", LONG)?;
        host.ip(&["link", "set", "eth0", "down"])?;
        daemon.wait_state(&host, &last, "FAULT", LONG)?;
        host.ip(&["link", "set", "eth0", "up"])?;
    }
    daemon.wait_state(&host, &last, "MASTER", LONG)?;
    lab.wait_until(LONG, "lines are lost", || {
        Ok((counter(&daemon, &host, "fifo_lines_lost")? > 0).then_some(()))
    })?;
    let out = scripts.path("lines");
    let mut reader = host.spawn("reader", "sh", &["-c", &format!("exec cat {fifo} > {out}")])?;
    daemon.stop()?;
    reader.wait(LONG)?;
    let mut last = std::collections::BTreeMap::new();
    for line in scripts.lines("lines") {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("INSTANCE"));
        last.insert(words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    }
    assert_eq!(last.len(), 200);
    assert!(last.values().all(|state| state == "STOP"), "{last:?}");
    assert!(Path::new(&fifo).exists(), "it was there before");
    Ok(())
}

/// The startup script comes before anything else, the shutdown script after everything.
#[test]
fn the_first_and_the_last_script() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let scripts = Scripts::new(&host)?;
    let record = scripts.path("record");
    scripts.write("slow", &format!("sleep 1; {record} \"$@\""));
    scripts.write("hang", &format!("{record} \"$@\"; exec sleep 1000"));
    let (slow, hang) = (scripts.path("slow"), scripts.path("hang"));
    let head = format!(
        "[scripts]\nstartup = \"{slow} up\"\nshutdown = \"{hang} down\"\nshutdown_timeout = \"1s\""
    );
    let notify = format!("master = \"{record} master\", stop = \"{record} stop\"");
    let mut daemon = start(&host, &owner(&head, &notify))?;
    scripts.wait_lines(&lab, "calls", 2)?;
    daemon.stop()?;
    assert_eq!(scripts.lines("calls"), ["[up]", "[master]", "[stop]", "[down]"]);
    assert!(daemon.log().contains("shutdown script: "), "{}", daemon.log().text());
    Ok(())
}

/// As master, every advertisement of lower priority is told.
#[test]
fn a_lower_priority_is_told() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let scripts = Scripts::new(&host)?;
    let record = scripts.path("record");
    let fifo = scripts.path("fifo");
    let conf = format!(
        "global_defs {{\nscript_user root\nnotify_fifo {fifo}\nnotify_fifo_script \"{} argument\"\n}}\n{}",
        scripts.path("reader"),
        instance(200).with(&format!("notify_master_rx_lower_pri \"{record} lower\"")),
    );
    let mut daemon = VrrpUser::start(&host, &conf)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert_eq!(scripts.lines("calls"), [""; 0]);
    // The other one hears nothing, but is heard.
    for rule in [
        "add table bridge deaf",
        "add chain bridge deaf forward { type filter hook forward priority 0; }",
        "add rule bridge deaf forward oifname to-b ether type ip ip protocol 112 drop",
    ] {
        lab.network().run("nft", &rule.split(' ').collect::<Vec<_>>())?;
    }
    let mut lower = VrrpUser::start(&other, &instance(90).to_string())?;
    lower.wait_state(&other, ROUTER, "MASTER", LONG)?;
    let calls = scripts.wait_lines(&lab, "calls", 2)?;
    assert!(calls.iter().all(|call| call == "[lower]"), "{calls:?}");
    let lines = scripts.wait_lines(&lab, "lines", 4)?;
    assert_eq!(lines[..2], ["INSTANCE \"VI_1\" BACKUP 200", "INSTANCE \"VI_1\" MASTER 200"]);
    for line in &lines[2..] {
        assert_eq!(line, "INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 200");
    }
    daemon.stop().map(drop)
}

/// A tracked script: once for all that track it, with rise and fall, and in words.
#[test]
fn a_tracked_script_decides() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let scripts = Scripts::new(&host)?;
    scripts.write("check", "echo run >> $DIR/runs; [ ! -e $DIR/bad ]");
    scripts.write("late", "echo run >> $DIR/late; exec sleep 1000");
    let mut conf = format!(
        "[scripts]\nuser = \"root\"\n[notify]\npriority_changes = true\n\
         fifo = {{ path = \"{}\", script = \"{} argument\" }}\n\
         [[script]]\nname = \"chk\"\ncommand = \"{}\"\ninterval = \"200ms\"\nfall = 3\nrise = 2\n\
         [[script]]\nname = \"late\"\ncommand = \"{}\"\ninterval = \"200ms\"\ntimeout = \"700ms\"\n",
        scripts.path("fifo"),
        scripts.path("reader"),
        scripts.path("check"),
        scripts.path("late"),
    );
    for vrid in 1..=50 {
        let weight = if vrid == 1 { "" } else { ", weight = -20" };
        let late = if vrid == 2 { ", { script = \"late\", weight = -1 }" } else { "" };
        conf += &format!(
            "[[router]]\nname = \"r{vrid}\"\ninterface = \"eth0\"\nvrid = {vrid}\nversion = 3\ninterval = \"100ms\"\n\
             addresses = [\"10.0.1.{vrid}/32\"]\ntrack = [{{ script = \"chk\"{weight} }}{late}]\n"
        );
    }
    let begin = std::time::Instant::now();
    let mut daemon = start(&host, &conf)?;
    daemon.wait_state(&host, "r1", "MASTER", LONG)?;
    daemon.wait_state(&host, "r50", "MASTER", LONG)?;
    fs::write(scripts.path("bad"), "").unwrap();
    daemon.wait_state(&host, "r1", "FAULT", LONG)?;
    lab.wait_until(LONG, "the others only lose weight", || {
        Ok((daemon.router(&host, "r50")?["priority"] == 80).then_some(()))
    })?;
    assert_eq!(daemon.router(&host, "r50")?["state"], "MASTER");
    let status = daemon.status(&host)?;
    let [chk, late] = status["scripts"].as_array().unwrap().as_slice() else { panic!("{status}") };
    println!("{chk}\n{late}");
    assert_eq!((&chk["name"], &chk["health"]), (&"chk".into(), &"down".into()), "{chk}");
    assert_eq!(chk["last_end"], "exit status 1");
    assert!(chk["failures"].as_u64().unwrap() >= 3);
    assert_eq!(
        (&late["health"], &late["last_end"]),
        (&"down".into(), &"stopped after 0.7 s".into())
    );
    assert!(late["overruns"].as_u64().unwrap() > 0, "{late}");
    fs::remove_file(scripts.path("bad")).unwrap();
    daemon.wait_state(&host, "r1", "MASTER", LONG)?;
    lab.wait_until(LONG, "the weight is back", || {
        Ok((daemon.router(&host, "r50")?["priority"] == 100).then_some(()))
    })?;
    let most = begin.elapsed().as_millis() / 200 + 2;
    let runs = scripts.lines("runs").len();
    assert!(runs as u128 <= most, "{runs} runs are more than one every 200 ms: {most}");
    daemon.stop()?;
    let lines = scripts.lines("lines");
    for line in [
        "INSTANCE \"r50\" MASTER_PRIORITY 80", "INSTANCE \"r50\" MASTER_PRIORITY 100",
        "INSTANCE \"r1\" FAULT 100",
    ] {
        assert_eq!(lines.iter().filter(|told| *told == line).count(), 1, "{line}");
    }
    Ok(())
}
