//! What must not end the daemon, or blind it: too little memory, no threads, files without an end. And how a mistake of
//! ours ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use vrrp_tests::{Host, Instance, Lab, Process, Result, Tcpdump, VrrpUser, skip};
use vrrp_user::io::bpf::Without;
use vrrp_user::{config, driver};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(30);
const ROUTER: &str = "VI_1";

fn router() -> Instance {
    Instance::new(51, 100, "10.0.0.100/24").name(ROUTER)
}

/// That it is refused, and what is said.
fn refusal(daemon: &VrrpUser, host: &Host, args: &[&str]) -> Result<String> {
    let (report, code) = daemon.reload(host, args)?;
    assert_eq!((code, &report["applied"]), (Some(1), &Value::Bool(false)), "{report}");
    Ok(report["errors"].to_string())
}

/// A process that may not have more memory is ended, or ends itself, at the moment at which it wants more.
#[test]
fn a_configuration_that_needs_too_much_memory_is_refused_by_a_master_that_lives_on() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let conf = router().to_string();
    // What the allocator takes counts, not what it touches.
    let limit = ["prlimit", "--data=120000000"];
    let mut daemon = VrrpUser::start_under(&host, &limit, "vrrp.conf", &conf, &[])?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    // Within the bounds of what a configuration may be.
    let mut large = String::new();
    for n in 0..40_000 {
        let (vrid, interface) = (1 + n % 250, n / 250);
        let _ = writeln!(
            large,
            "vrrp_instance R{n} {{\ninterface e{interface}\nvirtual_router_id {vrid}\nvirtual_ipaddress {{"
        );
        for address in 1..10 {
            let _ = writeln!(large, "10.{}.{}.{address}", n / 256, n % 256);
        }
        large += "}\n}\n";
    }
    daemon.rewrite(&large)?;
    for args in [&["--check"][..], &[]] {
        let said = refusal(&daemon, &host, args)?;
        assert!(said.contains("more memory than there is"), "{said}");
    }
    // It acts on what it can.
    daemon.rewrite(&conf)?;
    assert_eq!(daemon.reload(&host, &[])?.1, Some(0));
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    assert!(daemon.stop()?.success());
    Ok(())
}

/// Each of these would never end, or wait for somebody who never comes.
#[test]
fn files_without_an_end_are_refused_at_once() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let conf = router().to_string();
    let mut daemon = VrrpUser::start(&host, &conf)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let path = host.dir("vrrp-user")?.join("vrrp.conf");
    fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    let said = refusal(&daemon, &host, &[])?;
    assert!(said.contains("it is a pipe: only regular files are read"), "{said}");
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    let said = refusal(&daemon, &host, &["--check"])?;
    assert!(said.contains("it is a device: only regular files are read"), "{said}");
    fs::remove_file(&path).unwrap();
    daemon.rewrite(&format!("include /proc/kmsg\n{conf}"))?;
    let (report, code) = daemon.reload(&host, &["--check"])?;
    let said = report.to_string();
    assert!(said.contains("made by the kernel"), "{code:?}: {said}");
    // None of them stands in the way of the next one.
    daemon.rewrite(&conf)?;
    assert_eq!(daemon.reload(&host, &[])?.1, Some(0));
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    assert!(daemon.stop()?.success());
    Ok(())
}

/// A reload needs a thread and a process, and there are none.
#[test]
fn a_reload_without_threads_is_survived() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let conf = router().to_string();
    let mut daemon = VrrpUser::start(&host, &conf)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let Some(group) = Pids::limit(daemon.process()) else {
        skip("the daemon cannot be put into a control group of processes");
        return Ok(());
    };
    let more = conf.replace("{\n", "{\nnotify /bin/true\n");
    for _ in 0..2 {
        daemon.rewrite(&more)?;
        daemon.process().signal(Signal::SIGHUP)?;
        lab.wait_until(LONG, "the refusal", || {
            Ok(daemon.log().contains("cannot start a thread").then_some(()))
        })?;
        assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    }
    group.allow("max");
    assert_eq!(daemon.reload(&host, &[])?.1, Some(0));
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    assert!(daemon.stop()?.success());
    Ok(())
}

/// A control group in which no thread can be made any more.
struct Pids(PathBuf);

impl Pids {
    fn limit(process: &Process) -> Option<Self> {
        let pid = process.pid().to_string();
        let above = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
        let group = above.iter().find_map(|above| {
            let group = Self(above.join(format!("vrrp-user-test-{pid}")));
            fs::create_dir(&group.0).ok()?;
            // Of version 1, or of a version 2 in which the controller is enabled.
            group.0.join("pids.max").exists().then_some(group)
        })?;
        fs::write(group.0.join("cgroup.procs"), &pid).ok()?;
        group.allow("1");
        Some(group)
    }

    fn allow(&self, count: &str) {
        fs::write(self.0.join("pids.max"), count).unwrap();
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        // Who is in it must go first: to the group above.
        let above = self.0.parent().map(|above| above.join("cgroup.procs")).unwrap_or_default();
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write(&above, pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// With which environment variables this program is a daemon: its configuration, instance and BPF filesystem.
const AS_DAEMON: [&str; 3] = ["VRRP_TEST_CONFIG", "VRRP_TEST_INSTANCE", "VRRP_TEST_BPFFS"];

/// Where whoever logs something like it panics.
const MISTAKES: [&str; 2] = ["SIGUSR1 ignored", "control client: "];

/// The mistake: a log that panics.
struct Mistaken;

impl log::Log for Mistaken {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        eprintln!("{} {line}", record.level());
        assert!(!MISTAKES.iter().any(|mistake| line.starts_with(mistake)), "on purpose");
    }

    fn flush(&self) {}
}

/// No test: the daemon that the next one starts. It runs in no process but its own.
#[test]
fn daemon_with_a_mistake() {
    let Some(conf) = env::var_os(AS_DAEMON[0]).map(PathBuf::from) else { return };
    log::set_logger(&Mistaken).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    let of = |name| env::var(name).unwrap();
    let end = driver::run(driver::Options {
        config: config::load(&conf, &config::Options::default()).unwrap().config,
        config_path: conf,
        instance: of(AS_DAEMON[1]).parse().unwrap(),
        bpffs: Some(of(AS_DAEMON[2]).into()),
        pid_file: None,
        again: driver::reload::Settings::default(),
        without: Without::default(),
    });
    assert!(matches!(end, Err(driver::Error::Panicked)), "{end:?}");
    eprintln!("ended as it should");
}

/// A panic on the engine's thread, and one on another: priority 0 is sent, addresses, files and maps go.
#[test]
fn after_a_panic_a_master_hands_over_and_leaves_nothing() -> Result<()> {
    for mistake in MISTAKES {
        let lab = Lab::new()?;
        let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
        let adverts = Tcpdump::start(&other)?;
        let conf = host.dir("vrrp-user")?.join("vrrp.conf");
        fs::write(&conf, router().to_string()).unwrap();
        let (instance, pins) = (VrrpUser::instance(&host), lab.bpffs());
        let values = [conf.display().to_string(), instance.clone(), pins.display().to_string()];
        let set: Vec<String> =
            AS_DAEMON.iter().zip(values).map(|(name, value)| format!("{name}={value}")).collect();
        let own = env::current_exe().unwrap().display().to_string();
        let run = [own.as_str(), "--exact", "--nocapture", "daemon_with_a_mistake"];
        let args: Vec<&str> = set.iter().map(String::as_str).chain(run).collect();
        let mut daemon = host.spawn("a daemon with a mistake", "env", &args)?;
        let is_master =
            || Ok(host.addresses()?.contains(&"10.0.0.100/24".to_owned()).then_some(()));
        lab.wait_until(LONG, "it is master", is_master)?;
        let begun = Instant::now();
        let socket = Path::new("/run/vrrp-user").join(&instance).join("control.sock");
        let mut signalled = false;
        let status = lab.wait_until(LONG, "it ends", || {
            if mistake == MISTAKES[0] {
                if !std::mem::replace(&mut signalled, true) {
                    daemon.signal(Signal::SIGUSR1)?;
                }
            } else if let Ok(mut client) = UnixStream::connect(&socket) {
                // It does not wait for the answer.
                let _ = client.write_all(b"{\"command\":\"status\"}\n");
            }
            daemon.ended()
        })?;
        let log = daemon.log().text();
        assert!(status.success(), "{log}");
        assert!(log.contains("a mistake of this program, on thread"), "{log}");
        assert!(log.contains("ended as it should"), "{log}");
        assert!(is_master()?.is_none(), "{mistake}: {:?}", host.addresses()?);
        lab.wait_until(LONG, "priority 0", || {
            let last = adverts.adverts(begun).last().map(|advert| advert.priority);
            Ok((last == Some(0)).then_some(()))
        })?;
        assert!(!socket.exists(), "{mistake}");
        assert!(!pins.join("vrrp-user").join(&instance).exists(), "{mistake}");
    }
    Ok(())
}

/// The directory with lock and socket is deleted under a running daemon. Another one of the same instance neither starts
/// nor takes the maps of the first one away.
#[test]
fn a_second_daemon_takes_nothing_from_the_first() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = VrrpUser::start(&host, &router().to_string())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let runtime = Path::new("/run/vrrp-user").join(VrrpUser::instance(&host));
    fs::remove_dir_all(&runtime).unwrap();
    // The first one makes its socket again, and its lock beside it.
    lab.wait_until(LONG, "it answers again", || Ok(daemon.status(&host).ok()))?;
    assert_eq!(daemon.status(&host)?["counters"]["control_socket_deleted"], 1);
    let pid = fs::read_to_string(runtime.join("lock")).unwrap();
    assert_eq!(pid.trim(), daemon.process().pid().to_string());
    fs::remove_file(runtime.join("lock")).unwrap();
    let mut second = VrrpUser::start(&host, &router().to_string())?;
    assert_eq!(second.process().wait(LONG)?.code(), Some(75), "{}", second.log().text());
    assert!(second.log().contains("already running"), "{}", second.log().text());
    let pins = lab.bpffs().join("vrrp-user").join(VrrpUser::instance(&host));
    assert!(pins.join("SLOTS").exists());
    assert!(host.addresses()?.contains(&"10.0.0.100/24".to_owned()));
    assert!(daemon.stop()?.success());
    assert!(!pins.exists());
    assert!(!runtime.exists());
    Ok(())
}

/// Those who connect and say nothing keep neither `status` nor a scraper out.
#[test]
fn idle_clients_give_way() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let listen = ["--metrics", "127.0.0.1:9650"];
    let mut daemon =
        VrrpUser::start_with_options(&host, "vrrp.conf", &router().to_string(), &listen)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let socket = Path::new("/run/vrrp-user").join(VrrpUser::instance(&host)).join("control.sock");
    let silent: Vec<_> = (0..64).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let displaced = daemon.status(&host)?["counters"]["control_displaced_client"].as_u64();
    assert!(displaced > Some(0), "{displaced:?}");
    drop(silent);
    let idle = "import socket, time\n\
                idle = [socket.create_connection(('127.0.0.1', 9650)) for _ in range(1000)]\n\
                print('connected', flush=True)\n\
                time.sleep(60)";
    let idle = host.spawn("1,000 idle connections", "python3", &["-c", idle])?;
    lab.wait_until(LONG, "they are connected", || {
        Ok(idle.log().contains("connected").then_some(()))
    })?;
    let scrape = ["--silent", "--show-error", "--fail", "http://127.0.0.1:9650/metrics"];
    let metrics = host.namespace().run("curl", &scrape)?;
    let displaced = "vrrp_metrics_requests_total{result=\"displaced\"} ";
    let displaced = metrics.lines().find_map(|line| line.strip_prefix(displaced));
    assert!(displaced.is_some_and(|count| count != "0"), "{metrics}");
    assert!(daemon.stop()?.success());
    Ok(())
}

/// What a client wanted that has given up is not done when the daemon comes round.
#[test]
fn an_order_is_not_carried_out_when_its_client_has_gone() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = VrrpUser::start(&host, &router().to_string())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let socket = Path::new("/run/vrrp-user").join(VrrpUser::instance(&host)).join("control.sock");
    daemon.process().signal(Signal::SIGSTOP)?;
    let mut client = UnixStream::connect(&socket).unwrap();
    client.write_all(b"{\"command\":\"step-down\",\"name\":\"VI_1\"}\n").unwrap();
    drop(client);
    daemon.process().signal(Signal::SIGCONT)?;
    lab.wait_until(LONG, "it is counted", || {
        let late = daemon.status(&host)?["counters"]["control_too_late"].as_u64();
        Ok((late == Some(1)).then_some(()))
    })?;
    assert_eq!(daemon.state(&host, ROUTER)?, "MASTER");
    assert!(daemon.stop()?.success());
    Ok(())
}

/// The soft limit does not count, and where the hard one is too low, that is said and the daemon answers all the same.
#[test]
fn a_lack_of_descriptors_is_said_and_leaves_some_for_clients() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let conf = router().to_string();
    let soft = ["prlimit", "--nofile=50:4096"];
    let mut daemon = VrrpUser::start_under(&host, &soft, "vrrp.conf", &conf, &[])?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert!(daemon.stop()?.success());
    let hard = ["prlimit", "--nofile=110:110"];
    let mut daemon = VrrpUser::start_under(&host, &hard, "vrrp.conf", &conf, &[])?;
    daemon.wait_state(&host, ROUTER, "FAULT", LONG)?;
    assert!(daemon.log().contains("only 110 open files are permitted"), "{}", daemon.log().text());
    assert!(daemon.stop()?.success());
    // Not even enough to begin with.
    for none in ["--nofile=8:8", "--nofile=40:40"] {
        let mut daemon = VrrpUser::start_under(&host, &["prlimit", none], "vrrp.conf", &conf, &[])?;
        let (code, log) = (daemon.process().wait(LONG)?.code(), daemon.log().text());
        assert_eq!(code, Some(71), "{log}");
        assert!(log.contains("raise LimitNOFILE="), "{log}");
    }
    Ok(())
}

/// More interfaces than there are open files for twice as many programs: all of them are heard, and what goes without is
/// the counting of what is sent.
#[test]
fn counting_gives_way_to_hearing_where_files_are_short() -> Result<()> {
    const INTERFACES: u8 = 60;
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut batch = String::new();
    let mut conf = String::new();
    for n in 0..INTERFACES {
        let _ = writeln!(batch, "link add d{n} type veth peer name e{n}");
        let _ = writeln!(batch, "addr add 10.1.{n}.1/24 dev d{n}");
        let _ = writeln!(batch, "link set d{n} up\nlink set e{n} up");
        let mut router = Instance::new(51, 100, &format!("10.1.{n}.100/24")).name(&format!("R{n}"));
        router.interface = format!("d{n}");
        let _ = write!(conf, "{router}");
    }
    let path = host.dir("ip")?.join("batch");
    fs::write(&path, batch).unwrap();
    host.namespace().run("ip", &["-batch", &path.display().to_string()])?;
    let limit = ["prlimit", "--nofile=260:260"];
    let mut daemon = VrrpUser::start_under(&host, &limit, "vrrp.conf", &conf, &[])?;
    for n in [0, INTERFACES - 1] {
        daemon.wait_state(&host, &format!("R{n}"), "MASTER", LONG)?;
    }
    let status = daemon.status(&host)?;
    assert_eq!(status["counters"]["attach_failed"], 0, "{}", daemon.log().text());
    let log = daemon.log().text();
    assert_eq!(log.matches("are not counted any more: only 260 open files").count(), 1, "{log}");
    assert!(daemon.stop()?.success());
    Ok(())
}
