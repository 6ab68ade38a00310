//! The host as a whole: kernel, BPF, rights, other daemons.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use vrrp_common::IPPROTO_VRRP;
use vrrp_common::ah::IPPROTO_AH;

use super::{Check, Finding, Kernel, some};
use crate::api::Status;
use crate::capability::{CAP_BPF, effective, missing};
use crate::capture::{WITHOUT_BPF, WITHOUT_PINS};
use crate::io::bpf::{self, Trial};
use crate::wire::family::Family;

pub fn examine(bpffs: Option<&Path>, status: Option<&Status>, on: &Kernel) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let loaded = on.trial.as_ref();
    let mut findings = vec![
        kernel(read("/proc/sys/kernel/osrelease").as_deref().map(str::trim)),
        capabilities(read("/proc/self/status").as_deref()),
    ];
    let lacks = status.map(|status| &*status.lacks).unwrap_or_default();
    findings.extend(programs(loaded, status.and_then(|s| s.no_bpf.as_deref()), lacks));
    findings.extend([
        tcx(on.tcx.clone()),
        jit(loaded.ok().map(|trial| trial.compiled)),
        filesystem(
            bpf::find_bpffs(bpffs).map_err(|error| error.to_string()).as_deref(),
            on.no_bpffs,
            status.and_then(|s| s.no_pins.as_deref()),
        ),
        others(
            read("/proc/net/raw").as_deref().map(vrrp_sockets),
            owners,
            status.map(|status| status.pid),
        ),
        nonlocal_bind(
            Family::V4,
            read("/proc/sys/net/ipv4/ip_nonlocal_bind").as_deref().map(str::trim),
        ),
    ]);
    findings
}

/// For who reads this: what the kernel can do is tried out, as versions tell little.
fn kernel(release: Result<&str, &String>) -> Finding {
    let check = Check::Kernel;
    let release = match release {
        Ok(release) => release,
        Err(error) => return Finding::skipped(check, error.as_str()),
    };
    Finding::fine(check, format!("Linux {release}"))
}

/// Capability numbers (linux/capability.h).
mod capability {
    pub const IPC_LOCK: u32 = 14;
    pub const SYS_NICE: u32 = 23;
}

fn capabilities(status: Result<&str, &String>) -> Finding {
    let check = Check::Capabilities;
    let status = match status {
        Ok(status) => status,
        Err(error) => return Finding::skipped(check, error.as_str()),
    };
    let Some(effective) = effective(status) else {
        return Finding::skipped(check, "/proc/self/status has no CapEff");
    };
    let has = |number: u32| effective & 1 << number != 0;
    let missing = missing(effective);
    if missing == [CAP_BPF] {
        let text = format!(
            "this process lacks {CAP_BPF}: a daemon started like this captures by packet sockets only"
        );
        return Finding::warning(check, text).hint("run as root, or grant it to the service");
    }
    if !missing.is_empty() {
        let text = format!(
            "this process lacks {}: a daemon started like this cannot run",
            missing.join(", ")
        );
        return Finding::broken(check, text).hint("run as root, or grant them to the service");
    }
    let nice = [
        (capability::SYS_NICE, "CAP_SYS_NICE (no real-time scheduling)"),
        (capability::IPC_LOCK, "CAP_IPC_LOCK (memory is not locked)"),
    ];
    let lacking: Vec<&str> =
        nice.into_iter().filter(|(number, _)| !has(*number)).map(|(_, name)| name).collect();
    if lacking.is_empty() {
        Finding::fine(check, "all that the daemon uses")
    } else {
        let text = format!("without {}: under load advertisements may be late", lacking.join(", "));
        Finding::warning(check, text)
    }
}

/// What the daemon makes of what the kernel takes, and below it the words of the kernel on each program that it refuses.
fn programs(
    loaded: Result<&Trial, &String>,
    without: Option<&str>,
    lacks: &[String],
) -> Vec<Finding> {
    let check = Check::Bpf;
    if let Some(why) = without {
        let text = format!("the daemon runs, but with {why}; {WITHOUT_BPF}");
        return vec![Finding::warning(check, text)];
    }
    let trial = match loaded {
        Ok(trial) => trial,
        Err(error) => {
            let text = format!(
                "the kernel side does not load: {error}. `run` works without; {WITHOUT_BPF}"
            );
            return vec![Finding::warning(check, text)];
        }
    };
    let refused = [
        (&trial.xdp, "vrrp_xdp", "tc works, but XDP is not available"),
        (
            &trial.ingress,
            "vrrp_ingress",
            "XDP works, but where it is not available there is no tc, either",
        ),
        (&trial.egress, "vrrp_egress", "what is sent from the addresses is not counted"),
    ];
    let refused =
        refused.map(|(error, name, means)| error.as_ref().map(|error| (error, name, means)));
    let refused: Vec<_> = refused.into_iter().flatten().collect();
    let mut text = if refused.is_empty() {
        "maps, ring buffer and programs load (none was attached)".to_owned()
    } else {
        refused.iter().map(|(_, _, means)| *means).collect::<Vec<_>>().join("; ")
    };
    if trial.copies {
        text += "; the tc programs copy the headers, as this kernel permits nobody with these rights to read them in place";
    }
    for why in &trial.signatures {
        text += &format!("; signatures (auth_hmac) are checked by the daemon: {why}");
    }
    let steps: Vec<_> = trial.steps.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if !steps.is_empty() {
        text += &format!("; verifier steps: {}", steps.join(", "));
    }
    let all =
        if refused.is_empty() { Finding::fine(check, text) } else { Finding::warning(check, text) };
    let each = refused
        .into_iter()
        .map(|(error, name, _)| Finding::warning(check, error.as_str()).of(name));
    // It may have other rights than who asks.
    let daemon = lacks
        .iter()
        .filter(|lack| !trial.lacks.contains(lack))
        .map(|lack| Finding::warning(check, lack.as_str()).of("daemon"));
    [all].into_iter().chain(each).chain(daemon).collect()
}

fn tcx(there: Result<bool, String>) -> Finding {
    match there {
        Ok(true) => Finding::fine(Check::Tcx, "there"),
        Ok(false) => Finding::warning(
            Check::Tcx,
            "not there: clsact takes its place, and its filters outlive a daemon that is killed",
        )
        .hint("Linux 6.6 or later"),
        Err(error) => Finding::skipped(Check::Tcx, error),
    }
}

fn jit(compiled: Option<bool>) -> Finding {
    match compiled {
        Some(false) => {
            Finding::warning(Check::Jit, "BPF programs are interpreted: every packet costs more")
                .hint("sysctl net.core.bpf_jit_enable=1")
        }
        Some(true) => Finding::fine(Check::Jit, "BPF programs are compiled"),
        None => Finding::skipped(Check::Jit, "no program could be loaded"),
    }
}

fn filesystem(found: Result<&Path, &String>, masked: bool, without: Option<&str>) -> Finding {
    if let Some(why) = without {
        let text = format!("the daemon runs, but with {why}; {WITHOUT_PINS}");
        return Finding::warning(Check::Bpffs, text)
            .hint("`run` mounts one if it may; by hand, before it: mount -t bpf bpf /sys/fs/bpf");
    }
    match found {
        _ if masked => {
            Finding::warning(Check::Bpffs, format!("none; `run` works without, but {WITHOUT_PINS}"))
        }
        Ok(dir) => Finding::fine(Check::Bpffs, dir.display().to_string()),
        Err(error) => {
            Finding::warning(Check::Bpffs, format!("{error}. Without one, {WITHOUT_PINS}"))
                .hint("`run` mounts one if it may; by hand: mount -t bpf bpf /sys/fs/bpf")
        }
    }
}

/// Inodes of the sockets that receive protocol 112, or 51 as keepalived with `auth_type AH` (`/proc/net/raw`: the port of the local address is the
/// protocol, net/ipv4/raw.c).
fn vrrp_sockets(table: &str) -> Vec<u64> {
    let ours = [IPPROTO_VRRP, IPPROTO_AH].map(|protocol| format!(":{protocol:04X}"));
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(1).filter(|local| ours.iter().any(|ours| local.ends_with(ours)))?;
            fields.get(9)?.parse().ok()
        })
        .collect()
}

/// The processes that have these sockets: number and name, as far as `/proc` may be read.
fn owners(inodes: &[u64]) -> BTreeMap<u32, String> {
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let mut found = BTreeMap::new();
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let has = files.flatten().any(|file| {
            let target = fs::read_link(file.path()).unwrap_or_default();
            links.iter().any(|link| target.as_os_str() == link.as_str())
        });
        if has {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.insert(pid, name.trim().to_owned());
        }
    }
    found
}

fn others(
    sockets: Result<Vec<u64>, &String>,
    owners: impl FnOnce(&[u64]) -> BTreeMap<u32, String>,
    own: Option<u32>,
) -> Finding {
    let check = Check::OtherDaemons;
    let inodes = match sockets {
        Ok(inodes) => inodes,
        Err(error) => return Finding::skipped(check, error.as_str()),
    };
    let mut processes = if inodes.is_empty() { BTreeMap::new() } else { owners(&inodes) };
    let all = processes.len();
    processes.retain(|pid, _| Some(*pid) != own);
    if !processes.is_empty() {
        let named: Vec<String> =
            processes.iter().map(|(pid, name)| format!("{name} (pid {pid})")).collect();
        return Finding::warning(check, format!("{} also speaks VRRP on this host", some(&named)))
            .hint("no VRID on an interface may belong to two of them; otherwise stop one");
    }
    if all == 0 && !inodes.is_empty() {
        let text = "somebody receives IP protocol 112 or 51 here, in a process that cannot be seen from here";
        return Finding::warning(check, text).hint("run as root, outside of containers");
    }
    Finding::fine(check, "nobody else receives IP protocol 112 or 51 here")
}

/// Whether a service can listen on an address that is not here (`ip_nonlocal_bind`, of IPv6 since Linux 4.3).
pub fn nonlocal_bind(family: Family, value: Result<&str, &String>) -> Finding {
    let (check, any, setting) = match family {
        Family::V4 => (Check::IpNonlocalBind, "0.0.0.0", "net.ipv4.ip_nonlocal_bind"),
        Family::V6 => (Check::IpNonlocalBind6, "::", "net.ipv6.ip_nonlocal_bind"),
    };
    match value {
        Ok("0") => Finding::fine(
            check,
            format!(
                "0: while backup, a service cannot listen on the shared address itself, but on {any}; {setting}=1 \
                 permits it"
            ),
        ),
        Ok(value) => Finding::fine(
            check,
            format!("{value}: services may listen on the shared address while backup"),
        ),
        Err(error) => Finding::skipped(check, error.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn a_kernel_is_named_and_tried() {
        assert_eq!(kernel(Ok("5.10.0-30")).severity, Severity::Fine);
        assert_eq!(kernel(Err(&"gone".to_owned())).severity, Severity::Skipped);
        let steps = vec![("vrrp_xdp", 7), ("vrrp_egress", 3)];
        let (xdp, ingress, egress) = (None, None, None);
        let (signatures, lacks) = (Vec::new(), Vec::new());
        let (compiled, copies) = (true, false);
        let trial = Trial { compiled, xdp, ingress, egress, signatures, copies, lacks, steps };
        let [fine] = programs(Ok(&trial), None, &[]).try_into().unwrap();
        assert_eq!(fine.severity, Severity::Fine);
        assert!(fine.text.ends_with("vrrp_xdp 7, vrrp_egress 3"), "{}", fine.text);
        // As `run`, which works without.
        let refused = |word: &str| Some(word.to_owned());
        let lacking = Trial { ingress: refused("no reason"), ..trial.clone() };
        assert_eq!(programs(Ok(&lacking), None, &[])[0].severity, Severity::Warning);
        // Each with what the kernel says of it.
        let (xdp, egress) = (refused("too old"), refused("too long"));
        let signatures = vec!["too new".to_owned()];
        let lacking = Trial { xdp, egress, signatures, copies: true, ..trial };
        let found = programs(Ok(&lacking), None, &[]);
        assert!(found.iter().all(|one| one.severity == Severity::Warning), "{found:?}");
        let all = &found[0].text;
        for words in ["tc works", "not counted", "copy the headers", "by the daemon: too new"] {
            assert!(all.contains(words), "{all}");
        }
        let each: Vec<_> = found[1..].iter().map(|one| (one.title(), &*one.text)).collect();
        let expected = [("bpf vrrp_xdp", "too old"), ("bpf vrrp_egress", "too long")];
        assert_eq!(each, expected.map(|(title, text)| (title.to_owned(), text)));
        let [without] =
            programs(Ok(&lacking), Some("no BPF: not permitted"), &[]).try_into().unwrap();
        assert_eq!(without.severity, Severity::Warning);
        assert!(without.text.contains("not permitted"), "{}", without.text);
        // What the daemon lacks, and who asks does not.
        let known = Trial { lacks: vec!["wings".to_owned()], ..lacking };
        let said = programs(Ok(&known), None, &["wings".to_owned(), "tail".to_owned()]);
        let said: Vec<_> = said.iter().filter(|one| one.title() == "bpf daemon").collect();
        assert!(matches!(said[..], [one] if one.text == "tail"), "{said:?}");
    }

    #[test]
    fn rights() {
        let checked = |hex: &str| capabilities(Ok(&format!("Name:\tx\nCapEff:\t{hex}\n")));
        assert_eq!(checked("000001ffffffffff").severity, Severity::Fine);
        let none = checked("0000000000000000");
        assert_eq!(none.severity, Severity::Broken);
        assert!(none.text.contains("CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW"), "{}", none.text);
        // BPF, NET_ADMIN and NET_RAW only.
        assert_eq!(checked("0000008000003000").severity, Severity::Warning);
        assert_eq!(checked("0000000000003000").severity, Severity::Warning);
        // SYS_ADMIN stands for BPF.
        assert_eq!(checked("0000000000a07000").severity, Severity::Fine);
        assert_eq!(capabilities(Ok("nothing")).severity, Severity::Skipped);
    }

    #[test]
    fn bpf_support() {
        // As `run`, which works without BPF, too.
        assert_eq!(programs(Err(&"EPERM".to_owned()), None, &[])[0].severity, Severity::Warning);
        assert_eq!(tcx(Ok(false)).severity, Severity::Warning);
        assert_eq!(tcx(Ok(true)).severity, Severity::Fine);
        assert_eq!(tcx(Err("no".to_owned())).severity, Severity::Skipped);
        assert_eq!(jit(Some(false)).severity, Severity::Warning);
        assert_eq!(jit(Some(true)).severity, Severity::Fine);
        assert_eq!(jit(None).severity, Severity::Skipped);
        assert_eq!(filesystem(Ok(Path::new("/x")), false, None).severity, Severity::Fine);
        assert_eq!(filesystem(Err(&"none".to_owned()), false, None).severity, Severity::Warning);
        let unpinned = filesystem(Ok(Path::new("/x")), false, Some("no pins: no bpffs"));
        assert_eq!(unpinned.severity, Severity::Warning);
        assert!(unpinned.text.contains("no pins: no bpffs; only the daemon"), "{unpinned:?}");
        assert_eq!(nonlocal_bind(Family::V4, Ok("0")).severity, Severity::Fine);
        assert_eq!(nonlocal_bind(Family::V6, Err(&"no".to_owned())).severity, Severity::Skipped);
    }

    /// Of Linux 6.18: keepalived's two sockets and the one of a router with an authentication header, and one for ICMP.
    const RAW: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
    1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0000000000000000 0
  112: 00000000:0070 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0000000000000000 0
  112: 00000000:0070 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4243 2 0000000000000000 0
   51: 00000000:0033 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4244 2 0000000000000000 0
";

    #[test]
    fn other_daemons_are_named() {
        assert_eq!(vrrp_sockets(RAW), [4242, 4243, 4244]);
        let owned = |list: &[(u32, &str)]| {
            let map: BTreeMap<u32, String> =
                list.iter().map(|(pid, name)| (*pid, (*name).to_owned())).collect();
            move |_: &[u64]| map
        };
        let found = others(Ok(vec![1, 2]), owned(&[(7, "keepalived"), (9, "vrrp-user")]), Some(9));
        assert_eq!(found.severity, Severity::Warning);
        assert!(found.text.starts_with("keepalived (pid 7) also"), "{}", found.text);
        let own = others(Ok(vec![1]), owned(&[(9, "vrrp-user")]), Some(9));
        assert_eq!(own.severity, Severity::Fine);
        assert_eq!(others(Ok(vec![]), owned(&[]), None).severity, Severity::Fine);
        assert_eq!(others(Ok(vec![1]), owned(&[]), None).severity, Severity::Warning);
        assert_eq!(others(Err(&"no".to_owned()), owned(&[]), None).severity, Severity::Skipped);
    }
}
