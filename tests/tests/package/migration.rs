//! docs/migrating-from-keepalived.md, word for word: its commands on a pair of hosts, each with an `/etc`, a `/run` and a systemd of
//! its own.

use vrrp_tests::{Lab, Result, skip};

use super::machine::{HAS_ADDRESS, Machine};
use super::{NEEDED, lacks};

const GUIDE: &str = include_str!("../../../docs/migrating-from-keepalived.md");

/// The commands of a step of the guide, without what is said beside them.
fn step(number: u32) -> Vec<String> {
    let (_, section) = GUIDE.split_once("## Switching a running pair").unwrap();
    let (_, rest) = section.split_once(&format!("\n{number}. ")).unwrap();
    let lines = rest.lines().skip(1).take_while(|line| line.is_empty() || line.starts_with(' '));
    let commands = lines.filter_map(|line| line.strip_prefix("       "));
    let commands = commands.map(|line| line.split("  #").next().unwrap().trim().to_owned());
    commands.collect()
}

/// keepalived as an administrator may have it: scripts and files that nobody but root gets at.
fn keepalived(priority: u32) -> String {
    format!(
        r#"mkdir -p /etc/keepalived/private
cat >/etc/keepalived/keepalived.conf <<C
global_defs {{
    enable_script_security
    script_user root
}}
include local.conf
vrrp_instance VI_1 {{
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int 1
    virtual_ipaddress {{
        10.0.0.100/24
    }}
    track_script {{
        health
        hidden
    }}
}}
C
cat >/etc/keepalived/local.conf <<C
vrrp_script health {{
    script /etc/keepalived/check.sh
    interval 1
    weight -80
}}
vrrp_script hidden {{
    script /etc/keepalived/private/check.sh
    interval 1
    weight -80
}}
C
printf '#!/bin/sh\n[ ! -e /run/unhealthy ]\n' >/etc/keepalived/check.sh
printf '#!/bin/sh\n[ ! -e /run/hidden ]\n' >/etc/keepalived/private/check.sh
chown -R root:root /etc/keepalived
chmod 600 /etc/keepalived/keepalived.conf /etc/keepalived/local.conf
chmod 700 /etc/keepalived/check.sh /etc/keepalived/private /etc/keepalived/private/check.sh
mkdir -p /etc/systemd/system/vrrp-user.service.d
printf '[Service]\nStandardError=append:/tmp/log\n' >/etc/systemd/system/vrrp-user.service.d/log.conf
dpkg --purge vrrp-user >/dev/null 2>&1 || true
systemctl daemon-reload
systemctl enable --now keepalived"#
    )
}

/// As of the unit: CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF.
const CAPABILITIES: u64 = 1 << 12 | 1 << 13 | 1 << 39;

/// The guide's first step: what `check` prints is done until it prints nothing more. What it said.
fn prepare(machine: &mut Machine<'_>) -> Result<String> {
    machine.run("dpkg --force-depends --install /packages/vrrp-user.deb")?;
    machine.run("! systemctl is-active vrrp-user && systemctl is-active keepalived")?;
    let [access, check, user, doctor] = &step(1)[..] else { panic!("{:?}", step(1)) };
    machine.run(access)?;
    let mut all = String::new();
    for _ in 0..8 {
        let (said, code) = machine.ask(check)?;
        let mut commands: Vec<_> =
            said.lines().filter_map(|line| Some(line.split_once("as root: ")?.1)).collect();
        if said.contains("cannot run anything as user root") {
            commands.push(user);
        }
        for command in &commands {
            machine.run(command)?;
        }
        all += &said;
        if commands.is_empty() {
            assert_eq!(code, 0, "{said}");
            assert!(!said.contains("disabled") && !said.contains("cannot be read"), "{said}");
            let (said, _) = machine.ask(doctor)?;
            assert!(said.contains(" 0 broken") || !said.contains("BROKEN"), "{said}");
            return Ok(all);
        }
    }
    panic!("`check` never ends: {all}");
}

/// The daemon is the unit's user, with the unit's capabilities.
fn has_few_rights(machine: &mut Machine<'_>) -> Result<()> {
    let said = machine.run(
        "cat /proc/$(systemctl show --property MainPID --value vrrp-user)/status; echo is $(id -u vrrp-user)",
    )?;
    let of = |field: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().next().unwrap()
    };
    assert_eq!(of("Uid:"), of("is "), "{said}");
    for set in ["CapEff:", "CapBnd:"] {
        assert_eq!(u64::from_str_radix(of(set), 16).unwrap(), CAPABILITIES, "{said}");
    }
    Ok(())
}

/// What makes the two checks fail.
const FAILURES: [&str; 2] = ["/run/unhealthy", "/run/hidden"];

/// While a check fails on the first host, the second one has the address.
fn check_works(file: &str, first: &mut Machine<'_>, second: &mut Machine<'_>) -> Result<()> {
    first.run(&format!("touch {file}"))?;
    second.wait(HAS_ADDRESS)?;
    first.wait(&format!("! {HAS_ADDRESS}"))?;
    first.run(&format!("rm {file}"))?;
    first.wait(HAS_ADDRESS)?;
    second.wait(&format!("! {HAS_ADDRESS}"))
}

#[test]
fn a_pair_is_migrated_as_the_guide_says() -> Result<()> {
    if lacks(&NEEDED) || lacks(&["systemd", "systemctl", "keepalived"]) {
        skip("it takes dpkg, systemd and keepalived");
        return Ok(());
    }
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let (mut a, mut b) = (Machine::boot(&a)?, Machine::boot(&b)?);
    a.run(&keepalived(150))?;
    b.run(&keepalived(100))?;
    a.wait(HAS_ADDRESS)?;
    for machine in [&mut a, &mut b] {
        let said = prepare(machine)?;
        for named in
            ["/etc/keepalived/local.conf", "/etc/keepalived/check.sh", "/etc/keepalived/private"]
        {
            assert!(said.contains(named), "`check` does not name {named}: {said}");
        }
    }
    check_works(FAILURES[0], &mut a, &mut b)?;

    let [stop, configure, start, status, stats] = &step(2)[..] else { panic!("{:?}", step(2)) };
    for command in [stop, configure, start] {
        b.run(command)?;
    }
    b.wait(&format!(
        "{status} | grep -q 'BACKUP.*10.0.0.1 (150)' && {stats} | grep -q 'BACKUP  *[1-9]'"
    ))?;
    let (said, code) = b.ask(status)?;
    assert!(code == 0 && !said.contains("PROBLEM"), "{said}");
    let said = b.run(&format!("{stats} --json"))?;
    assert!(said.contains(r#""refused": 0"#), "{said}");
    a.run(HAS_ADDRESS)?;
    has_few_rights(&mut b)?;
    check_works(FAILURES[1], &mut a, &mut b)?;

    let [stop, start] = &step(3)[..] else { panic!("{:?}", step(3)) };
    a.run(stop)?;
    b.wait(HAS_ADDRESS)?;
    a.run(configure)?;
    a.run(start)?;
    a.wait(HAS_ADDRESS)?;
    b.wait(&format!("! {HAS_ADDRESS}"))?;
    has_few_rights(&mut a)?;
    for file in FAILURES {
        check_works(file, &mut a, &mut b)?;
    }

    let [stop, cleanup, start] = &step(4)[..] else { panic!("{:?}", step(4)) };
    b.run(stop)?;
    let said = b.run(cleanup)?;
    assert!(said.contains("nothing was left"), "{said}");
    b.run(start)?;
    b.wait("systemctl is-active keepalived")?;
    check_works(FAILURES[0], &mut a, &mut b)
}
