//! Tracked interfaces, files and processes, sync groups, and orders of operators, on the wire and beside keepalived.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use vrrp_tests::{Host, Instance, Keepalived, Lab, Pair, Result, Tcpdump, VrrpUser};

/// More than any change takes here.
const LONG: Duration = Duration::from_secs(20);

/// A router that advertises ten times a second, so that what happens to it is seen soon.
fn instance(vrid: u8, priority: u8) -> Instance {
    Instance::new(vrid, priority, &format!("10.0.0.{vrid}/24"))
        .v3("0.1")
        .name(&format!("VI_{vrid}"))
}

/// `vrrp-user COMMAND ARGS` for the daemon on a host.
fn order(host: &Host, command: &str, args: &[&str]) -> Result<Output> {
    let binary = VrrpUser::binary()?.display().to_string();
    let mut run = host.namespace().command(&binary);
    run.args([command, "--instance", &VrrpUser::instance(host)]).args(args);
    Ok(run.output().unwrap())
}

/// The same, and it must succeed; what it said.
fn ordered(host: &Host, command: &str, args: &[&str]) -> Result<String> {
    let output = order(host, command, args)?;
    assert!(output.status.success(), "{command} {args:?}: {output:?}");
    Ok(String::from_utf8(output.stdout).unwrap())
}

/// An interface that no router lives on; it has a carrier, but is not up.
fn add_interface(host: &Host, name: &str) -> Result<()> {
    let peer = format!("{name}-peer");
    host.ip(&["link", "add", name, "type", "veth", "peer", "name", &peer])?;
    host.ip(&["link", "set", &peer, "up"]).map(drop)
}

/// Waits until the last advertisement has this priority.
fn wait_priority(lab: &Lab, tcpdump: &Tcpdump, since: Instant, priority: u8) -> Result<()> {
    lab.wait_until(LONG, &format!("advertisements with priority {priority}"), || {
        let last = tcpdump.adverts(since).pop();
        Ok(last.filter(|advert| advert.priority == priority).map(drop))
    })
}

/// The priorities on the wire, one after the other, of a daemon that runs with this configuration while its
/// surroundings change.
fn priorities(start: impl Fn(&Host, &str) -> Result<Box<dyn std::any::Any>>) -> Result<Vec<u8>> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    add_interface(&host, "eth1")?;
    add_interface(&host, "eth2")?;
    host.ip(&["link", "set", "eth1", "up"])?;
    let file = host.dir("tracked")?.join("file");
    let write = |text: &str| fs::write(&file, text).unwrap();
    let conf = format!(
        "track_file f {{\n file {}\n weight 2\n init_file 0\n}}\n{}",
        file.display(),
        instance(51, 100)
            .with("track_interface {\neth1 weight 10\neth2 weight -5\n}")
            .with("track_file {\nf\n}")
    );
    let tcpdump = Tcpdump::start(&other)?;
    let begin = Instant::now();
    let daemon = start(&host, &conf)?;
    let next = |priority| wait_priority(&lab, &tcpdump, begin, priority);
    next(105)?;
    host.ip(&["link", "set", "eth2", "up"])?;
    next(110)?;
    host.ip(&["link", "set", "eth1", "down"])?;
    next(100)?;
    write("-15\n");
    next(70)?;
    write("300\n");
    next(254)?;
    // FAULT: it resigns.
    write("-127\n");
    next(0)?;
    let other_file = Path::new(&file).with_extension("new");
    fs::write(&other_file, "0x7").unwrap();
    fs::rename(other_file, &file).unwrap();
    next(114)?;
    fs::remove_file(&file).unwrap();
    next(100)?;
    drop(daemon);
    let mut seen: Vec<u8> =
        tcpdump.adverts(begin).into_iter().map(|advert| advert.priority).collect();
    seen.dedup();
    Ok(seen)
}

/// The same configuration, and the same happens to it.
#[test]
fn priorities_are_those_of_keepalived() -> Result<()> {
    let ours = priorities(|host, conf| Ok(Box::new(VrrpUser::start(host, conf)?)))?;
    assert_eq!(ours, [105, 110, 100, 70, 254, 0, 114, 100]);
    let theirs = priorities(|host, conf| Ok(Box::new(Keepalived::start(host, conf)?)))?;
    assert_eq!(ours, theirs);
    Ok(())
}

/// As in keepalived: a file that is taken along to this daemon must not be an outage. Unlike there, it is said.
#[test]
fn a_script_that_cannot_run_counts_for_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let script = host.dir("tracked")?.join("check.sh");
    let conf = format!(
        "vrrp_script chk {{\n script {}\n interval 1\n}}\n{}",
        script.display(),
        instance(51, 100).with("notify /nonexistent/told\ntrack_script {\nchk\n}")
    );
    let mut daemon = VrrpUser::start(&host, &conf)?;
    daemon.wait_state(&host, "VI_51", "MASTER", LONG)?;
    let problems =
        || -> Result<String> { Ok(daemon.router(&host, "VI_51")?["problems"].to_string()) };
    let problem = problems()?;
    assert!(problem.contains("script chk is disabled: it does not exist; until "), "{problem}");
    assert!(problem.contains("as in keepalived: no FAULT while it fails"), "{problem}");
    let status = daemon.status(&host)?;
    assert_eq!(status["scripts"][0]["health"], "disabled");
    // What no router tracks is a problem of the daemon.
    let told = status["problems"].to_string();
    assert!(told.contains("notify /nonexistent/told is disabled: it does not exist ("), "{told}");
    let track = &daemon.detail(&host, "VI_51")?["tracks"][0];
    assert_eq!((&track["effect"], &track["effect_name"]), (&"0".into(), &"none".into()));
    fs::write(&script, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    daemon.reload(&host, &[])?;
    daemon.wait_state(&host, "VI_51", "FAULT", LONG)?;
    let problem = daemon.router(&host, "VI_51")?["problems"].to_string();
    assert!(!problem.contains("disabled"), "{problem}");
    // One that is gone while it is tracked: nothing changes.
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    daemon.wait_state(&host, "VI_51", "MASTER", LONG)?;
    fs::remove_file(&script).unwrap();
    lab.wait_until(LONG, "the warning", || {
        let said = daemon.log().contains("what it found before counts until it runs again");
        Ok(said.then_some(()))
    })?;
    assert_eq!(daemon.status(&host)?["scripts"][0]["health"], "up");
    assert_eq!(daemon.router(&host, "VI_51")?["state"], "MASTER");
    Ok(())
}

#[test]
fn a_group_moves_together_and_waits_for_what_is_not_there() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let vrids = [51, 52, 53];
    let names = vrids.map(|vrid| format!("VI_{vrid}"));
    let mut conf: String = vrids[..2].iter().map(|vrid| instance(*vrid, 100).to_string()).collect();
    conf += &instance(53, 100).with("track_interface {\nlate0\n}").to_string();
    conf += "vrrp_sync_group G {\ngroup {\nVI_51\nVI_52\nVI_53\n}\n}\n";
    let mut daemon = VrrpUser::start(&host, &conf)?;
    let all = |state: &str, daemon: &mut VrrpUser| -> Result<()> {
        names.iter().try_for_each(|name| daemon.wait_state(&host, name, state, LONG))?;
        let held = vrids.map(|vrid| host.has_address(&format!("10.0.0.{vrid}")).unwrap());
        if state == "FAULT" {
            assert_eq!(held, [false; 3]);
        }
        Ok(())
    };
    all("FAULT", &mut daemon)?;
    let problems =
        |name: &str, daemon: &VrrpUser| daemon.router(&host, name).unwrap()["problems"].clone();
    assert_eq!(problems("VI_53", &daemon)[0], "interface late0 is down");
    assert_eq!(problems("VI_51", &daemon)[0], "VI_53 of the same sync group is in FAULT");
    add_interface(&host, "late0")?;
    host.ip(&["link", "set", "late0", "up"])?;
    all("MASTER", &mut daemon)?;
    assert_eq!(daemon.router(&host, "VI_51")?["group"], "G");
    host.ip(&["link", "delete", "late0"])?;
    all("FAULT", &mut daemon)?;
    add_interface(&host, "late0")?;
    host.ip(&["link", "set", "late0", "up"])?;
    all("MASTER", &mut daemon)?;
    // One that steps down takes the group with it, and the group can be named.
    let said = ordered(&host, "step-down", &["eth0/52"])?;
    assert_eq!(said, "VI_51, VI_52, VI_53 stepped down, until `vrrp-user resume`\n");
    all("FAULT", &mut daemon)?;
    let said = ordered(&host, "resume", &["G"])?;
    assert!(said.starts_with("sync group G (VI_51, VI_52, VI_53) takes part"), "{said}");
    all("MASTER", &mut daemon)?;
    for (line, times) in
        [("sync group G: BACKUP -> MASTER", 3), ("sync group G: MASTER -> FAULT", 2)]
    {
        let log = daemon.log().text();
        assert_eq!(log.matches(line).count(), times, "{line}:\n{log}");
    }
    // What failed is an error, what was ordered is none.
    let log = daemon.log().text();
    let lost = log.lines().filter(|line| line.contains("MASTER -> FAULT"));
    let (ordered, failed): (Vec<_>, Vec<_>) = lost.partition(|line| line.contains("INFO"));
    assert_eq!((ordered.len(), failed.len()), (4, 4), "{log}");
    assert!(failed.iter().all(|line| line.contains("ERROR")), "{log}");
    assert!(
        ordered.iter().any(|line| line.contains("VI_51") && line.contains("stepped down")),
        "{log}"
    );
    Ok(())
}

/// Here nobody announces processes: the connector is for the initial network namespace only.
#[test]
fn processes_are_counted() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let program = host.dir("process")?.join(format!("t{}", std::process::id()));
    fs::copy("/bin/sleep", &program).unwrap();
    let name = program.file_name().unwrap().to_str().unwrap().to_owned();
    let conf = format!(
        "vrrp_track_process p {{\n process {name}\n quorum 2\n weight -30\n}}\n{}",
        instance(51, 100).with("track_process {\np\n}")
    );
    let mut daemon = VrrpUser::start(&host, &conf)?;
    let priority = |wanted: u8, daemon: &mut VrrpUser| {
        daemon.wait_state(&host, "VI_51", "MASTER", LONG)?;
        lab.wait_until(LONG, &format!("priority {wanted}"), || {
            Ok((daemon.router(&host, "VI_51")?["priority"] == wanted).then_some(()))
        })
    };
    priority(70, &mut daemon)?;
    assert_eq!(daemon.router(&host, "VI_51")?["priority_why"], "100 - 30: process p is down");
    let spawn = || host.spawn("tracked", &program.display().to_string(), &["300"]);
    let (_first, mut second) = (spawn()?, spawn()?);
    priority(100, &mut daemon)?;
    second.kill_tree()?;
    second.wait(LONG)?;
    priority(70, &mut daemon)
}

/// What is tracked is told of when it changes, before what it does to the router; not when it flaps without end.
#[test]
fn changes_of_what_is_tracked_are_events() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let dir = host.dir("tracked")?;
    let (flag, file) = (dir.join("broken"), dir.join("file"));
    let conf = format!(
        "vrrp_script chk {{\n script \"/bin/sh -c 'test ! -e {}'\"\n interval 1\n weight -50\n}}\n\
         track_file f {{\n file {}\n weight 1\n init_file 0\n}}\n{}{}{}",
        flag.display(),
        file.display(),
        instance(51, 150).with("track_script {\nchk\n}").with("track_file {\nf\n}"),
        instance(52, 150).with("track_script {\nchk\n}"),
        instance(53, 150),
    );
    let mut daemon = VrrpUser::start(&host, &conf)?;
    for router in ["VI_51", "VI_52", "VI_53"] {
        daemon.wait_state(&host, router, "MASTER", LONG)?;
    }
    let binary = VrrpUser::binary()?.display().to_string();
    let name = VrrpUser::instance(&host);
    let follow = |args: &[&str]| {
        let all = [&["events", "--json", "--since", "1h", "--instance", &name], args].concat();
        host.spawn("events", &binary, &all)
    };
    let (all, one, other) = (follow(&[])?, follow(&["VI_51"])?, follow(&["VI_53"])?);
    let priority = |wanted: u8, daemon: &VrrpUser| {
        lab.wait_until(LONG, &format!("priority {wanted}"), || {
            Ok((daemon.router(&host, "VI_52")?["priority"] == wanted).then_some(()))
        })
    };
    priority(150, &daemon)?;
    fs::write(&flag, "").unwrap();
    priority(100, &daemon)?;
    fs::remove_file(&flag).unwrap();
    priority(150, &daemon)?;
    let events = |process: &vrrp_tests::Process| -> Vec<serde_json::Value> {
        process.log().text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let of = |process: &vrrp_tests::Process, object: &str| -> Vec<serde_json::Value> {
        events(process).into_iter().filter(|event| event["object"] == object).collect()
    };
    lab.wait_until(LONG, "both changes", || Ok((of(&one, "script chk").len() == 2).then_some(())))?;
    let [down, up] = &of(&one, "script chk")[..] else { panic!("{:?}", events(&one)) };
    let told = |event: &serde_json::Value| {
        ["event", "from", "to", "cause", "reason"]
            .map(|field| event[field].as_str().unwrap_or_default().to_owned())
            .join("|")
    };
    let tracked = "tracked by VI_51 and 1 more";
    let said = format!("tracked|up|down|tracked-down|is down (exit status 1); {tracked}");
    assert_eq!(told(down), said);
    assert_eq!(told(up), format!("tracked|down|up|tracked-up|is up; {tracked}"));
    assert!(down["router"].is_null() && down["schema"] == 1, "{down}");
    // What comes of it comes after it.
    let number = |event: &serde_json::Value| event["number"].as_u64().unwrap();
    let changed = events(&one).into_iter().find(|event| event["cause"] == "priority-changed");
    assert!(number(&changed.unwrap()) > number(down));

    // Faster than anybody could read: the last of it is counted only.
    for value in 1..=100 {
        let new = file.with_extension("new");
        fs::write(&new, value.to_string()).unwrap();
        fs::rename(new, &file).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let left_out = || daemon.status(&host).unwrap()["counters"]["events_suppressed"].as_u64();
    lab.wait_until(LONG, "some are left out", || Ok(left_out().filter(|count| *count > 0)))?;
    lab.wait_until(LONG, "16 are told", || Ok((of(&all, "file f").len() == 16).then_some(())))?;
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(of(&all, "file f").len(), 16);
    assert_eq!((of(&other, "file f").len(), of(&other, "script chk").len()), (0, 0));
    Ok(())
}

#[test]
fn operators_move_routers() -> Result<()> {
    let lab = Lab::new()?;
    let conf = |priority| instance(51, priority).to_string();
    let Pair { a, b, on_a: mut first, on_b: mut second } = Pair::start(&lab, "VI_51", conf)?;
    let tcpdump = Tcpdump::start(&b)?;
    let begin = Instant::now();
    ordered(&a, "step-down", &["VI_51"])?;
    second.wait_state(&b, "VI_51", "MASTER", LONG)?;
    first.wait_state(&a, "VI_51", "FAULT", LONG)?;
    let router = first.router(&a, "VI_51")?;
    assert_eq!(router["cause_name"], "stepped-down");
    assert_eq!(router["problems"][0], "stepped down, until `vrrp-user resume`");
    assert_eq!(router["problem_causes"].to_string(), r#"["stepped-down"]"#);
    let resigned =
        |advert: &vrrp_tests::Advert| advert.priority == 0 && advert.source == "10.0.0.1";
    assert!(tcpdump.adverts(begin).iter().any(resigned));
    let again = ordered(&a, "step-down", &["VI_51"])?;
    assert_eq!(again, "VI_51 had stepped down already\n");
    // Not even another configuration brings it back.
    fs::write(a.dir("vrrp-user")?.join("vrrp.conf"), instance(51, 151).to_string()).unwrap();
    ordered(&a, "reload", &[])?;
    let router = first.router(&a, "VI_51")?;
    assert_eq!((&router["configured_priority"], &router["state"]), (&151.into(), &"FAULT".into()));
    ordered(&a, "resume", &["eth0/51"])?;
    first.wait_state(&a, "VI_51", "MASTER", LONG)?;

    ordered(&b, "set-priority", &["VI_51", "200"])?;
    second.wait_state(&b, "VI_51", "MASTER", LONG)?;
    let router = second.router(&b, "VI_51")?;
    assert_eq!((&router["priority"], &router["configured_priority"]), (&200.into(), &100.into()));
    assert_eq!(router["priority_why"], "200 by set-priority");
    ordered(&b, "set-priority", &["VI_51", "--reset"])?;
    first.wait_state(&a, "VI_51", "MASTER", LONG)?;
    second.wait_state(&b, "VI_51", "BACKUP", LONG)?;

    for (args, code, said) in [
        (&["step-down", "VI_9"][..], 1, "there is no virtual router or sync group `VI_9`"),
        (&["resume", "eth0/9"], 1, "there is no virtual router or sync group `eth0/9`"),
        (&["set-priority", "VI_51", "255"], 2, "255 is not in 1..=254"),
        (&["set-priority", "VI_51"], 2, "required"),
    ] {
        let output = order(&a, args[0], &args[1..])?;
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && text.contains(said), "{args:?}: {text}");
    }
    Ok(())
}

/// `track_src_ip`: a router needs the address that it is to send from, also one that the daemon itself puts there.
#[test]
fn the_source_is_there() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let router = |vrid: u8, line: &str| {
        let address = format!("10.0.0.1{vrid}/24");
        let router = Instance::new(vrid, 100, &address).name(&format!("VI_{vrid}")).v3("0.2");
        router.with(line).with("track_src_ip")
    };
    let conf = format!(
        "{}{}{}static_ipaddress {{\n 10.0.0.9/24 dev eth0\n}}\n",
        router(51, "mcast_src_ip 10.0.0.8"),
        router(52, "unicast_src_ip 10.0.0.8\n    unicast_peer {\n    10.0.0.2\n    }"),
        router(53, "mcast_src_ip 10.0.0.9"),
    );
    let mut daemon = VrrpUser::start(&host, &conf)?;
    daemon.wait_state(&host, "VI_53", "MASTER", LONG)?;
    let cause = |daemon: &VrrpUser| -> Result<String> {
        Ok(daemon.detail(&host, "VI_51")?["problems"].to_string())
    };
    for router in ["VI_51", "VI_52"] {
        daemon.wait_state(&host, router, "FAULT", LONG)?;
    }
    assert!(cause(&daemon)?.contains("does not have the source address 10.0.0.8"));
    for _ in 0..2 {
        host.ip(&["address", "add", "10.0.0.8/24", "dev", "eth0"])?;
        for router in ["VI_51", "VI_52"] {
            daemon.wait_state(&host, router, "MASTER", LONG)?;
        }
        assert_eq!(daemon.detail(&host, "VI_51")?["source"], "10.0.0.8");
        host.ip(&["address", "del", "10.0.0.8/24", "dev", "eth0"])?;
        for router in ["VI_51", "VI_52"] {
            daemon.wait_state(&host, router, "FAULT", LONG)?;
        }
        assert_eq!(daemon.state(&host, "VI_53")?, "MASTER");
    }
    Ok(())
}
