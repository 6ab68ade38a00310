//! Kernels, containers and rights that lack something: what takes its place, and what is said of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::io;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use vrrp_tests::{Host, Instance, Keepalived, Lab, Result, VrrpUser};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(60);
const ROUTER: &str = "VI_1";

fn router(priority: u8) -> String {
    Instance::new(51, priority, "10.0.0.100/24").v3("0.3").to_string()
}

/// What is missing, and what comes of it.
struct Lack {
    /// Words in `VRRP_USER_WITHOUT`.
    features: &'static str,
    /// How it captures then.
    capture: &'static str,
    /// The field of `status` that tells of it, and what it says among other things.
    field: &'static str,
    says: &'static str,
    /// What `doctor` has to say before the daemon runs: the check, and some of the words.
    check: &'static str,
    finds: &'static str,
}

/// Beside a master, whose backup hears it; and on a host that has no daemon yet.
fn is_made_up_for(lacks: &[Lack]) -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let on_b = Keepalived::start(&b, &router(150))?;
    on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
    for Lack { features, capture, field, says, check, finds } in lacks {
        let under = ["env", &format!("VRRP_USER_WITHOUT={features}")];
        let conf = a.dir("doctor")?.join("vrrp.conf");
        std::fs::write(&conf, router(100)).unwrap();
        let named = ["--config", &conf.display().to_string()];
        let (report, _) = VrrpUser::doctor_under(&a, &under, &named)?;
        let found = finding(&report, check);
        assert_eq!(found["severity"], "warning", "{features}: {report:#}");
        assert!(found.to_string().contains(finds), "{features}: {found:#}");

        let mut daemon = VrrpUser::start_under(&a, &under, "vrrp.conf", &router(100), &[])?;
        daemon.wait_state(&a, ROUTER, "BACKUP", LONG)?;
        lab.wait_until(LONG, "three advertisements", || {
            let heard = daemon.router_stats(&a, ROUTER)?["adverts_received"].as_u64();
            Ok((heard >= Some(3)).then_some(()))
        })?;
        let status = daemon.status(&a)?;
        let eth0 = &status["interfaces"][0];
        assert_eq!(eth0["capture"], *capture, "{features}: {status:#}");
        let told = if *field == "capture_why" { &eth0[field] } else { &status[field] };
        assert!(told.to_string().contains(says), "{features}: {status:#}");
        let log = daemon.log().text();
        assert!(
            log.contains("WARN  VRRP_USER_WITHOUT=") && log.contains(": for tests only"),
            "{log}"
        );
        assert!(log.contains(says), "{features}: {log}");
        // Asked by somebody to whom nothing is missing: of what the daemon lacks, and of how it captures.
        let (report, _) = VrrpUser::doctor(&a, &[])?;
        assert!(report.to_string().contains(says), "{features}: {report:#}");
        daemon.stop()?;
        assert_eq!(a.xdp_program()?, None);
    }
    Ok(())
}

fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings.find(|found| found["check"] == check).unwrap_or_else(|| panic!("{report:#}"))
}

#[test]
fn without_bpf_it_is_a_packet_socket() -> Result<()> {
    let lack = |features, says| Lack {
        features,
        capture: "raw",
        field: "no_bpf",
        says,
        check: "bpf",
        finds: says,
    };
    is_made_up_for(&[
        lack("bpf", "taken as missing (VRRP_USER_WITHOUT=bpf)"),
        lack("ring-buffer", "taken as missing (VRRP_USER_WITHOUT=ring-buffer)"),
        lack("locked-memory", "RLIMIT_MEMLOCK"),
        lack("xdp,ingress", "taken as missing (VRRP_USER_WITHOUT=ingress)"),
        Lack {
            features: "xdp,tcx,clsact",
            capture: "raw",
            field: "capture_why",
            says: "tc is refused: taken as missing (VRRP_USER_WITHOUT=clsact)",
            check: "tcx",
            finds: "clsact takes its place",
        },
    ])
}

#[test]
fn without_a_program_it_is_another_one() -> Result<()> {
    let lack = |features, capture, says, check, finds| Lack {
        features,
        capture,
        field: "lacks",
        says,
        check,
        finds,
    };
    is_made_up_for(&[
        lack("xdp", "tc", "XDP is not available", "capture eth0", "XDP is refused"),
        lack("xdp,tcx", "tc", "clsact takes its place", "capture eth0", "XDP is refused"),
        lack("xdp,tcx,in-place", "tc", "copy the headers", "bpf", "copy the headers"),
        lack("ingress", "native", "tc is not available", "bpf vrrp_ingress", "taken as missing"),
        lack("egress", "native", "are not counted: taken", "bpf", "is not counted"),
    ])
}

#[test]
fn without_a_place_it_is_another_one() -> Result<()> {
    is_made_up_for(&[
        Lack {
            features: "bpffs",
            capture: "native",
            field: "no_pins",
            says: "no pins: taken as missing",
            check: "bpffs",
            finds: "only the daemon can read its maps",
        },
        Lack {
            features: "native,egress",
            capture: "tc",
            field: "capture_why",
            says: "native XDP is refused: taken as missing (VRRP_USER_WITHOUT=native)",
            check: "bpf vrrp_egress",
            finds: "taken as missing",
        },
        Lack {
            features: "native,tcx",
            capture: "generic",
            field: "capture_why",
            says: "native XDP is refused",
            check: "tcx",
            finds: "clsact takes its place",
        },
    ])
}

/// Where no bpffs can be had, nothing is lacking but what others read: the daemon tells it.
#[test]
fn what_is_pinned_nowhere_the_daemon_tells() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let under = ["env", "VRRP_USER_WITHOUT=bpffs"];
    let options = ["--metrics", "127.0.0.1:9560"];
    let mut daemon = VrrpUser::start_under(&a, &under, "vrrp.conf", &router(100), &options)?;
    daemon.wait_state(&a, ROUTER, "MASTER", LONG)?;
    assert!(!lab.bpffs().join("vrrp-user").join(VrrpUser::instance(&a)).exists());
    lab.wait_until(LONG, "the address", || Ok(a.has_address("10.0.0.100")?.then_some(())))?;
    b.namespace().run("ping", &["-c", "1", "-w", "10", "10.0.0.100"])?;
    let stats = daemon.stats(&a)?;
    let vip = &stats["vips"][0];
    assert_eq!(vip["address"], "10.0.0.100");
    assert!(vip["rx_packets"].as_u64() > Some(0), "{stats:#}");
    let metrics = a.namespace().run("curl", &["-sS", "--fail", "http://127.0.0.1:9560/metrics"])?;
    assert!(metrics.contains("vrrp_vip_received_packets_total{"), "{metrics}");

    let mut monitor = a.namespace().command(&VrrpUser::binary()?.display().to_string());
    monitor.args(["monitor", "--count", "1", "--instance", &VrrpUser::instance(&a), "--bpffs"]);
    let output = monitor.arg(lab.bpffs()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("runs with no pins: taken"), "{said}");
    daemon.stop()?;
    assert!(!a.has_address("10.0.0.100")?);
    Ok(())
}

/// As in a container: no bpffs, and no right to mount one.
#[test]
fn where_no_bpffs_can_be_mounted_it_captures_all_the_same() -> Result<()> {
    let lab = Lab::new()?;
    let a = lab.host("a", "10.0.0.1/24")?;
    let instance = VrrpUser::instance(&a);
    let conf = a.dir("vrrp-user")?.join("vrrp.conf");
    std::fs::write(&conf, router(100)).unwrap();
    let line = format!(
        "for dir in /sys/fs/bpf /run/vrrp-user/bpf; do while umount $dir 2>/dev/null; do :; done; done\n\
         exec setpriv --bounding-set=-all,+net_admin,+net_raw,+bpf {} run --config {} --instance {instance}",
        VrrpUser::binary()?.display(),
        conf.display()
    );
    let mut daemon = a.spawn("vrrp-user", "unshare", &["--mount", "sh", "-c", &line])?;
    let ask = |what: &[&str]| -> Result<Value> {
        let args = [what, &["--instance", &instance, "--json"]].concat();
        let text = a.namespace().run(&VrrpUser::binary()?.display().to_string(), &args)?;
        Ok(serde_json::from_str(&text).unwrap())
    };
    lab.wait_until(LONG, "a master", || {
        let status = ask(&["status"]).unwrap_or_default();
        Ok((status["routers"][0]["state"] == "MASTER").then_some(()))
    })?;
    let status = ask(&["status"])?;
    assert_eq!(status["interfaces"][0]["capture"], "native", "{status:#}");
    let why = status["no_pins"].as_str().unwrap();
    assert!(why.contains("mounting one at /run/vrrp-user/bpf failed"), "{why}");
    assert_eq!(ask(&["stats", "--bpffs", &lab.bpffs().display().to_string()])?["running"], true);
    let ended = daemon.terminate(LONG)?;
    assert_eq!(ended.code(), Some(0), "{}", daemon.log().text());
    Ok(())
}

/// What is named and unknown ends the start, and says what there is.
#[test]
fn nothing_unknown_can_be_missing() -> Result<()> {
    let lab = Lab::new()?;
    let a = lab.host("a", "10.0.0.1/24")?;
    let under = ["env", "VRRP_USER_WITHOUT=tcx,wings"];
    let mut daemon = VrrpUser::start_under(&a, &under, "vrrp.conf", &router(100), &[])?;
    let end = daemon.process().wait(LONG)?;
    assert_eq!(end.code(), Some(2));
    let log = daemon.log().text();
    assert!(log.contains("`wings`") && log.contains("ring-buffer"), "{log}");
    Ok(())
}

/// Lets bpf(2) fail with this number for this thread and all that it starts, as the filters of containers do.
fn refuse_bpf(number: i32) -> io::Result<()> {
    let op = |code: u32, jt, jf, k| {
        let code = u16::try_from(code).unwrap();
        libc::sock_filter { code, jt, jf, k }
    };
    let number = number.cast_unsigned();
    let bpf = u32::try_from(libc::SYS_bpf).unwrap();
    let mut program = [
        // The number of the system call, the first word of `struct seccomp_data` (linux/seccomp.h).
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, bpf),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | number),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program that the filter points to, both of which are alive.
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Something that runs on a thread that may not call bpf(2).
fn where_bpf_is_refused<T: Send>(number: i32, what: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let run = || {
            refuse_bpf(number).expect("a seccomp filter");
            what()
        };
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// As in a container, with every capability: it starts all the same, and says why it is so.
#[test]
fn a_seccomp_filter_is_no_reason_not_to_start() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    for (number, why) in
        [(libc::EPERM, "a seccomp filter (of a container)"), (libc::ENOSYS, "there is no bpf(2)")]
    {
        let mut on_b = Keepalived::start(&b, &router(150))?;
        on_b.wait_state(&b, ROUTER, "MASTER", LONG)?;
        let start = || VrrpUser::start(&a, &router(100));
        let mut daemon = where_bpf_is_refused(number, start)?;
        daemon.wait_state(&a, ROUTER, "BACKUP", LONG)?;
        let status = daemon.status(&a)?;
        assert_eq!(status["interfaces"][0]["capture"], "raw");
        assert!(status["no_bpf"].as_str().unwrap().contains(why), "{status:#}");
        assert!(daemon.log().contains(why), "{}", daemon.log().text());
        on_b.stop()?;
        daemon.wait_state(&a, ROUTER, "MASTER", LONG)?;
        daemon.stop()?;
        doctor_says_so(&a, number, why)?;
    }
    Ok(())
}

fn doctor_says_so(host: &Host, number: i32, why: &str) -> Result<()> {
    let (report, _) = where_bpf_is_refused(number, || VrrpUser::doctor(host, &[]))?;
    let found = finding(&report, "bpf");
    assert_eq!(found["severity"], "warning", "{report:#}");
    assert!(found["text"].as_str().unwrap().contains(why), "{found:#}");
    Ok(())
}
