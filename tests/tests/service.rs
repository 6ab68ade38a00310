//! The daemon under a service manager: what it tells, what it is told, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vrrp_tests::{Host, Instance, Keepalived, Lab, Process, Result, VrrpUser, pause};

/// More than any change takes here: the longest master-down interval is under 4 seconds.
const LONG: Duration = Duration::from_secs(20);
const VIP: &str = "10.0.0.100";
/// A user that may do nothing.
const NOBODY: u32 = 65534;
/// What the unit file grants.
const CAPABILITIES: &str = "-all,+net_admin,+net_raw,+bpf";

fn conf(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").to_string()
}

/// Bytes that a daemon with a user of its own may lock, before it has raised the limit, and then.
const LOCKED_AT_FIRST: &str = "1048576";
const LOCKED_AT_MOST: &str = "2097152";

/// A daemon's command line in the making.
struct Start<'a> {
    host: &'a Host,
    args: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// Run as nobody, with these ambient capabilities.
    capabilities: Option<&'static str>,
}

impl<'a> Start<'a> {
    fn new(host: &'a Host, conf: &str, more: &[&str]) -> Result<Self> {
        let path = host.dir("service")?.join("vrrp.conf");
        fs::write(&path, conf).unwrap();
        let (path, bpffs) = (path.display().to_string(), host.lab().bpffs().display().to_string());
        let instance = VrrpUser::instance(host);
        let args = ["run", "--config", &path, "--instance", &instance, "--bpffs", &bpffs];
        let args = args.iter().chain(more).map(|arg| (*arg).to_owned()).collect();
        Ok(Self { host, args, environment: Vec::new(), capabilities: None })
    }

    fn environment(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    fn nobody(mut self, capabilities: &'static str) -> Self {
        self.capabilities = Some(capabilities);
        self
    }

    fn spawn(self) -> Result<Process> {
        let binary = VrrpUser::binary()?;
        let mut command = match self.capabilities {
            None => self.host.namespace().command(&binary.display().to_string()),
            Some(capabilities) => {
                let copy = executable(self.host)?;
                // As the service manager does it (RuntimeDirectory=).
                let runtime = runtime(self.host);
                fs::create_dir_all(&runtime).unwrap();
                chown(&runtime, Some(NOBODY), Some(NOBODY)).unwrap();
                let mut command = self.host.namespace().command("prlimit");
                let id = NOBODY.to_string();
                command.args([&format!("--memlock={LOCKED_AT_FIRST}:{LOCKED_AT_MOST}"), "setpriv"]);
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs"]);
                for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
                    command.arg(format!("{set}={capabilities}"));
                }
                command.arg(copy);
                command
            }
        };
        command.env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
        command.args(&self.args).envs(self.environment);
        Process::spawn("vrrp-user", &mut command)
    }
}

/// A copy of the program that every user can execute, wherever it was built.
fn executable(host: &Host) -> Result<PathBuf> {
    let copy = host.dir("service")?.join("vrrp-user");
    if !copy.exists() {
        fs::copy(VrrpUser::binary()?, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    }
    Ok(copy)
}

fn runtime(host: &Host) -> PathBuf {
    Path::new("/run/vrrp-user").join(VrrpUser::instance(host))
}

/// Its exit code, and what it said.
fn end(mut process: Process) -> Result<(Option<i32>, String)> {
    let status = process.wait(LONG)?;
    // The reader threads may still be at it.
    pause(Duration::from_millis(200))?;
    let text = process.log().text();
    println!("{status}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    Ok((status.code(), text))
}

/// The service manager.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn listen(host: &Host) -> Result<Self> {
        let path = host.dir("service")?.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Ok(Self { socket, path: path.display().to_string() })
    }

    fn message(&self) -> Option<String> {
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text).ok()?;
        Some(String::from_utf8(text[..length].to_vec()).unwrap())
    }

    /// Waits for a message with this text in it, and returns all until then.
    fn wait(&self, host: &Host, text: &str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        host.lab().wait_until(LONG, &format!("{text} to the service manager"), || {
            while let Some(message) = self.message() {
                println!("{message:?}");
                all.push(message);
                if all.last().is_some_and(|last| last.contains(text)) {
                    return Ok(Some(std::mem::take(&mut all)));
                }
            }
            Ok(None)
        })
    }
}

#[test]
fn the_service_manager_is_told() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let manager = Manager::listen(&host)?;
    let start = Start::new(&host, &conf(100), &[])?.environment("NOTIFY_SOCKET", &manager.path);
    let mut process = start.spawn()?;
    let first = manager.wait(&host, "READY=1")?;
    // All routers were looked at by then, and not before.
    assert_eq!(first, ["READY=1\nSTATUS=1 virtual router: 1 BACKUP\n"]);
    assert!(!host.has_address(VIP)?);
    let second = manager.wait(&host, "1 MASTER")?;
    // Without WATCHDOG_USEC there is no watchdog.
    assert_eq!(second, ["STATUS=1 virtual router: 1 MASTER\n"]);
    process.signal(Signal::SIGHUP)?;
    let reloading = manager.wait(&host, "READY=1")?;
    assert_eq!(reloading.len(), 2, "{reloading:?}");
    assert!(reloading[0].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading:?}");
    assert_eq!(reloading[1], "READY=1\nSTATUS=1 virtual router: 1 MASTER\n");
    // Nothing changes, nothing is told.
    pause(Duration::from_secs(2))?;
    assert_eq!(manager.message(), None);
    process.terminate(LONG)?;
    assert_eq!(manager.wait(&host, "STOPPING=1")?, ["STOPPING=1\n"]);
    Ok(())
}

#[test]
fn the_watchdog_hears_from_the_loop() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    // In FAULT nothing else wakes it.
    host.unplug()?;
    let manager = Manager::listen(&host)?;
    let start = Start::new(&host, &conf(100), &[])?.environment("NOTIFY_SOCKET", &manager.path);
    let mut process = start.environment("WATCHDOG_USEC", "400000").spawn()?;
    // It may have been told before that, too.
    assert!(manager.wait(&host, "READY=1")?.concat().contains("1 FAULT"));
    let begin = Instant::now();
    for _ in 0..5 {
        assert_eq!(manager.wait(&host, "WATCHDOG=1")?, ["WATCHDOG=1\n"]);
    }
    // Every 200 ms.
    assert!(begin.elapsed() > Duration::from_millis(700), "{:?}", begin.elapsed());
    // A process that does not run says nothing.
    process.signal(Signal::SIGSTOP)?;
    pause(Duration::from_millis(300))?;
    while manager.message().is_some() {}
    pause(Duration::from_secs(1))?;
    assert_eq!(manager.message(), None);
    process.signal(Signal::SIGCONT)?;
    manager.wait(&host, "WATCHDOG=1")?;
    process.terminate(LONG)?;
    Ok(())
}

#[test]
fn a_pid_file_is_kept() -> Result<()> {
    let lab = Lab::new()?;
    let (host, other) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let file = lab.dir().join("daemon.pid");
    let option = ["--pid-file", &file.display().to_string()];
    // Of one that was killed.
    fs::write(&file, "4194303\n").unwrap();
    let mut process = Start::new(&host, &conf(100), &option)?.spawn()?;
    let expected = format!("{}\n", process.pid());
    lab.wait_until(LONG, "a PID file", || {
        Ok((fs::read_to_string(&file).unwrap() == expected).then_some(()))
    })?;
    // Another daemon with the same file, by keepalived's option.
    let second = Start::new(&other, &conf(100), &["-p", option[1]])?.spawn()?;
    let (code, text) = end(second)?;
    assert_eq!(code, Some(75), "{text}");
    assert!(text.contains(&format!("(pid {})", process.pid())), "{text}");
    assert!(!runtime(&other).exists());
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(process.terminate(LONG)?.code(), Some(0));
    assert!(!file.exists());
    Ok(())
}

#[test]
fn each_end_has_its_exit_code() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let code = |start: Start<'_>| Ok(end(start.spawn()?)?.0);
    assert_eq!(code(Start::new(&host, "vrrp_instance x {", &[])?)?, Some(78));
    let mut no_bpffs = Start::new(&host, &conf(100), &[])?;
    *no_bpffs.args.last_mut().unwrap() = "/proc".to_owned();
    assert_eq!(code(no_bpffs)?, Some(78));
    assert_eq!(code(Start::new(&host, &conf(100), &["--no-such-option"])?)?, Some(2));
    assert_eq!(code(Start::new(&host, &conf(100), &["-C"])?)?, Some(2));
    let mut running = Start::new(&host, &conf(100), &[])?.spawn()?;
    lab.wait_until(LONG, "the control socket", || {
        Ok(runtime(&host).join("control.sock").exists().then_some(()))
    })?;
    assert_eq!(code(Start::new(&host, &conf(100), &[])?)?, Some(75));
    assert_eq!(running.terminate(LONG)?.code(), Some(0));
    assert!(!runtime(&host).exists());
    Ok(())
}

/// The journal has times of its own, and wants to know what is an error.
#[test]
fn the_journal_gets_priorities() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let path = host.dir("service")?.join("journal");
    let file = fs::File::create(&path).unwrap();
    let meta = file.metadata().unwrap();
    let bad = format!("{}vrrp_instance x {{\n", conf(100));
    let args = Start::new(&host, &bad, &["-d"])?.args;
    let run = |stream: &str| {
        let mut command =
            host.namespace().command(&VrrpUser::binary().unwrap().display().to_string());
        command.args(&args).env("JOURNAL_STREAM", stream).stderr(file.try_clone().unwrap());
        assert_eq!(command.status().unwrap().code(), Some(78));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, "").unwrap();
        println!("{text}");
        text
    };
    let text = run(&format!("{}:{}", meta.dev(), meta.ino()));
    assert!(text.lines().all(|line| line.starts_with("<3>") || line.starts_with("<4>")), "{text}");
    assert!(text.contains("<4>--dump-conf") && text.contains("<3>vrrp-user: "), "{text}");
    // The stream of another process.
    let text = run(&format!("{}:{}", meta.dev(), meta.ino() + 1));
    assert!(!text.contains("<4>") && text.contains("WARN"), "{text}");
    Ok(())
}

#[test]
fn the_level_of_the_log_can_be_chosen() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    for (option, seen) in [(&["--log-level", "error"][..], false), (&[][..], true)] {
        let mut process = Start::new(&host, &conf(255), option)?.spawn()?;
        lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
        process.terminate(LONG)?;
        pause(Duration::from_millis(200))?;
        let text = process.log().text();
        assert_eq!(text.contains("INIT -> MASTER"), seen, "{text}");
        assert_eq!(text.is_empty(), !seen, "{text}");
    }
    Ok(())
}

/// Operators need no root.
#[test]
fn the_control_socket_belongs_to_a_group() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let binary = executable(&host)?.display().to_string();
    let ask = |group: &str, args: &[&str]| {
        let mut command = host.namespace().command("setpriv");
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--groups", group, "--inh-caps=-all"]);
        command.arg(&binary).args(args).args(["--instance", &VrrpUser::instance(&host)]);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.success(), text.concat())
    };
    let start = |more: &[&str]| -> Result<Process> {
        let process = Start::new(&host, &conf(255), more)?.spawn()?;
        lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
        Ok(process)
    };
    // 4 is adm on every Debian, and 10 is uucp.
    let mut process = start(&["--socket-group", "adm"])?;
    let (may, text) = ask("4", &["status"]);
    assert!(may && text.contains("MASTER"), "{text}");
    let (may, text) = ask("10", &["status"]);
    assert!(!may && text.contains("socket_group"), "{text}");
    process.terminate(LONG)?;
    // Everybody may look.
    let mut process = start(&["--socket-mode", "0666"])?;
    let (may, text) = ask("10", &["status"]);
    assert!(may && text.contains("MASTER"), "{text}");
    // But not change anything.
    let (may, text) = ask("10", &["step-down", "VI_1"]);
    assert!(!may && text.contains("not permitted") && text.contains("group"), "{text}");
    let (may, text) = ask("10", &["status", "--json"]);
    assert!(may && text.contains("\"control_not_permitted\": 1"), "{text}");
    assert!(text.contains("MASTER"), "{text}");
    process.terminate(LONG)?;
    // The members of its group may.
    let mut process = start(&["--socket-group", "adm"])?;
    let (may, text) = ask("4", &["step-down", "VI_1"]);
    assert!(may, "{text}");
    lab.wait_until(LONG, "the address is gone", || Ok((!host.has_address(VIP)?).then_some(())))?;
    process.terminate(LONG)?;
    Ok(())
}

/// What the drop-in of the documentation grants besides.
#[test]
fn scripts_of_another_user_take_more_capabilities() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let dir = host.dir("scripts")?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let (script, out) = (dir.join("script"), dir.join("out"));
    fs::write(&script, format!("#!/bin/sh\nid -un >{0}.new && mv {0}.new {0}\n", out.display()))
        .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut instance = Instance::new(51, 255, "10.0.0.100/24");
    instance.extra.push(format!("notify_master \"{}\" daemon", script.display()));
    let conf = instance.to_string();
    let mut process = Start::new(&host, &conf, &[])?.nobody(CAPABILITIES).spawn()?;
    lab.wait_until(LONG, "a word on capabilities", || {
        Ok(process.log().contains("CAP_SETUID").then_some(()))
    })?;
    process.terminate(LONG)?;
    let more = "-all,+net_admin,+net_raw,+bpf,+setuid,+setgid,+kill";
    let mut process = Start::new(&host, &conf, &[])?.nobody(more).spawn()?;
    let user = lab.wait_until(LONG, "the script", || Ok(fs::read_to_string(&out).ok()))?;
    assert_eq!(user, "daemon\n");
    process.terminate(LONG)?;
    fs::remove_dir_all(runtime(&host)).unwrap();
    Ok(())
}

/// With what the unit file grants, and nothing else.
#[test]
fn as_a_user_with_three_capabilities() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let before = host.addresses()?;
    let mut process = Start::new(&host, &conf(255), &[])?.nobody(CAPABILITIES).spawn()?;
    lab.wait_until(LONG, "the address", || Ok(host.has_address(VIP)?.then_some(())))?;
    assert!(host.xdp_program()?.is_some());
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    assert!(status.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}")), "{status}");
    // Before Linux 5.11 that is how large maps may be.
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
    let locked: Vec<_> = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(locked[..2], [LOCKED_AT_MOST; 2], "{limits}");
    let text = process.log().text();
    assert!(!text.contains("ERROR"), "{text}");
    assert_eq!(process.terminate(LONG)?.code(), Some(0), "{}", process.log().text());
    assert_eq!(host.addresses()?, before);
    assert_eq!(host.xdp_program()?, None);
    // The directory is the service manager's to remove.
    assert_eq!(fs::read_dir(runtime(&host)).unwrap().count(), 0);
    let pins = lab.bpffs().join("vrrp-user").join(VrrpUser::instance(&host));
    assert!(!pins.exists());
    // Without any one of them it says which; CAP_BPF is the one that it can do without.
    for (capabilities, missing) in [
        ("-all,+net_raw,+bpf", "CAP_NET_ADMIN"),
        ("-all,+net_raw", "CAP_NET_ADMIN"),
        ("-all,+net_admin,+bpf", "CAP_NET_RAW"),
        ("-all,+net_admin", "CAP_NET_RAW"),
    ] {
        let start = Start::new(&host, &conf(255), &[])?.nobody(capabilities);
        let (code, text) = end(start.spawn()?)?;
        assert_eq!(code, Some(77), "{text}");
        assert!(text.contains(missing), "{text}");
    }
    fs::remove_dir_all(runtime(&host)).unwrap();
    Ok(())
}

/// The story with what the unit file grants, beside keepalived: taken over, handed over, taken back.
#[test]
fn the_story_with_three_capabilities() -> Result<()> {
    with_three_capabilities(&|instance| instance.password("s3cret"))
}

/// The same with an authentication header.
#[test]
fn the_story_with_an_authentication_header() -> Result<()> {
    let block = "authentication {\nauth_type AH\nauth_pass s3cret\n}";
    with_three_capabilities(&|instance| instance.with(block))
}

fn with_three_capabilities(authenticated: &dyn Fn(Instance) -> Instance) -> Result<()> {
    let lab = Lab::new()?;
    let (ours, theirs) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let client = lab.host("client", "10.0.0.9/24")?;
    let conf = |priority| authenticated(Instance::new(51, priority, "10.0.0.100/24"));
    let ours_has_it = |expected: bool| {
        lab.wait_until(LONG, "the address", || {
            Ok((ours.has_address(VIP)? == expected).then_some(()))
        })
    };
    let start = || Start::new(&ours, &conf(100).to_string(), &[])?.nobody(CAPABILITIES).spawn();

    let mut keepalived = Keepalived::start(&theirs, &conf(200).to_string())?;
    keepalived.wait_state(&theirs, "VI_1", "MASTER", LONG)?;
    let mut process = start()?;
    lab.wait_until(LONG, "a backup", || Ok(process.log().text().contains("BACKUP").then_some(())))?;
    // Longer than the master-down interval.
    pause(Duration::from_secs(5))?;
    assert!(!ours.has_address(VIP)?, "{}", process.log().text());
    keepalived.kill()?;
    ours_has_it(true)?;
    let reached = ["-c", "1", "-w", "10", VIP];
    client.namespace().run("ping", &reached)?;

    let mut keepalived = Keepalived::start(&theirs, &conf(200).to_string())?;
    keepalived.wait_state(&theirs, "VI_1", "MASTER", LONG)?;
    ours_has_it(false)?;
    keepalived.stop()?;
    ours_has_it(true)?;
    client.namespace().run("ping", &reached)?;
    assert!(!process.log().text().contains("ERROR"), "{}", process.log().text());
    assert_eq!(process.terminate(LONG)?.code(), Some(0), "{}", process.log().text());
    assert!(!ours.has_address(VIP)?);
    fs::remove_dir_all(runtime(&ours)).unwrap();
    Ok(())
}

/// The programs of a daemon with these rights have no names: for `doctor`, which has others, that is no reason to think that
/// they are gone.
#[test]
fn programs_without_names_are_not_missed() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    for (options, severity) in [(&[][..], "fine"), (&["--capture", "tc"], "warning")] {
        let start = Start::new(&host, &conf(255), options)?.nobody(CAPABILITIES);
        let mut process = start.spawn()?;
        lab.wait_until(LONG, "a master", || {
            Ok(process.log().text().contains("MASTER").then_some(()))
        })?;
        let (report, _) = VrrpUser::doctor(&host, &[])?;
        let mut findings = report["findings"].as_array().unwrap().iter();
        let capture = findings.find(|found| found["check"] == "capture eth0").unwrap();
        assert_eq!(capture["severity"], severity, "{capture:#}");
        assert_eq!(process.terminate(LONG)?.code(), Some(0), "{}", process.log().text());
    }
    fs::remove_dir_all(runtime(&host)).unwrap();
    Ok(())
}

/// A configuration as a daemon of root had it: an include, a script and a folder that nobody else can look at.
fn of_root_alone(dir: &Path) -> PathBuf {
    let path = |name: &str| dir.join(name);
    fs::create_dir_all(path("scripts")).unwrap();
    let script = format!(
        "vrrp_script chk {{\n script {}\n weight -20\n}}\ninclude more.conf\ninclude parts/*.conf\n",
        path("scripts/chk").display()
    );
    let instance = Instance::new(51, 100, "10.0.0.100/24");
    let notify = format!("notify {}\ntrack_script {{\nchk\n}}", path("told").display());
    let text = script + &instance.with(&notify).to_string();
    fs::create_dir_all(path("parts")).unwrap();
    for (name, mode, text) in [
        ("k.conf", 0o600, &*text),
        ("more.conf", 0o600, "# more\nglobal_defs {\n}\n"),
        ("parts/a.conf", 0o644, "# a\nglobal_defs {\n}\n"),
        ("scripts/chk", 0o755, "#!/bin/sh\n"),
        ("told", 0o700, "#!/bin/sh\n"),
    ] {
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    for name in ["scripts", "parts"] {
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    path("k.conf")
}

/// What root reads and executes, the user of the unit may not: it is said, with commands that mend it.
#[test]
fn a_configuration_is_checked_as_the_user_of_the_unit() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let dir = host.dir("units")?;
    let config = of_root_alone(&dir);
    fs::write(dir.join("vrrp-user@.service"), "[Service]\nUser=root\n").unwrap();
    fs::create_dir_all(dir.join("vrrp-user@.service.d")).unwrap();
    fs::write(dir.join("vrrp-user@.service.d/user.conf"), "[Service]\nUser=nobody\n").unwrap();
    let binary = VrrpUser::binary()?.display().to_string();
    let units = format!("SYSTEMD_UNIT_PATH={}", dir.display());
    let (config, instance) = (config.display().to_string(), VrrpUser::instance(&host));
    let check = |more: &[&str]| {
        let mut command = host.namespace().command("env");
        command.args([&units, &binary, "check", "--json", "--instance", &instance, &config]);
        let output = command.args(more).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (report, output.status.success())
    };
    let doctor = || -> Result<serde_json::Value> {
        let (report, _) = VrrpUser::doctor_under(&host, &["env", &units], &["--config", &config])?;
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|found| found["check"] == "configuration");
        Ok(found.unwrap().clone())
    };
    let (report, usable) = check(&["--as-user", "root"]);
    assert!(usable, "{report:#}");
    assert_eq!(doctor()?["severity"], "broken");
    // Whoever does what is said gets there: the file, the includes, the folder of the script, the script of notify.
    let mut commands = Vec::new();
    let all = loop {
        let (report, usable) = check(&[]);
        assert_eq!(report["checked_as"]["user"], "nobody", "{report:#}");
        let diagnostics = report["diagnostics"].as_array().unwrap().clone();
        let text = |found: &serde_json::Value| format!("{}\n{}", found["message"], found["hint"]);
        let Some(found) = diagnostics.first() else { break usable };
        let said = text(found).replace("\\n", "\n").replace('"', "");
        assert_eq!(usable, said.contains("is disabled"), "{said}");
        let (_, command) = said.split_once("as root: ").unwrap_or_else(|| panic!("{report:#}"));
        let command = command.lines().next().unwrap().split(';').next().unwrap().to_owned();
        println!("{said}");
        assert!(!commands.contains(&command), "{command} does not help: {report:#}");
        host.namespace().run("sh", &["-c", &command])?;
        commands.push(command);
    };
    assert!(all);
    assert_eq!(commands.len(), 5, "{commands:?}");
    let found = doctor()?;
    assert_eq!(found["severity"], "fine");
    assert!(found["text"].as_str().unwrap().contains("checked as user nobody"), "{found}");
    // Whoever is not root can check as itself only, and says whom that is not about.
    let mut command = host.namespace().command("setpriv");
    let executable = executable(&host)?.display().to_string();
    command.args(["--reuid", "1", "--regid", "1", "--clear-groups", "env", &units, &executable]);
    let output = command.args(["check", "-i", &instance, "-"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("runs as user nobody: root can check as that"), "{said}");
    Ok(())
}
