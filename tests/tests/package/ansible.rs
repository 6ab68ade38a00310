//! docs/examples/ansible: its playbook, on each of a pair of hosts from that host itself.

use std::path::Path;
use std::process::Command;

use vrrp_tests::{Lab, Result, run, skip};

use super::machine::{HAS_ADDRESS, Machine};
use super::{NEEDED, lacks};

/// What differs from the inventory of the example: the package, and the addresses of the lab.
const VARIABLES: &str = r#"{"ansible_python_interpreter": "/usr/bin/python3", "vrrp_user_package": "/packages/vrrp-user.deb",
    "vrrp_user_routers": [{"name": "web", "interface": "eth0", "vrid": 51, "addresses": ["10.0.0.100/24"]}]}"#;

/// The playbook for one of its hosts, which is where this is said.
fn playbook(name: &str, more: &str) -> String {
    format!(
        "cd /packages/ansible && HOME=/root LC_ALL=C.UTF-8 ansible-playbook --inventory hosts.yml --connection local --limit {name} \
         --extra-vars '{VARIABLES}' {more} site.yml"
    )
}

#[test]
fn the_role_sets_up_a_pair_and_changes_it() -> Result<()> {
    if lacks(&NEEDED) || lacks(&["systemd", "systemctl", "ansible-playbook"]) {
        skip("it takes dpkg, systemd and ansible-core");
        return Ok(());
    }
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let (mut a, mut b) = (Machine::boot(&a)?, Machine::boot(&b)?);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/ansible");
    for machine in [&mut a, &mut b] {
        run(Command::new("cp").arg("-r").arg(&example).arg(&machine.dir))?;
        machine.run("dpkg --purge vrrp-user >/dev/null 2>&1 || true")?;
    }
    // The priorities are those of the example.
    a.run(&playbook("lb1", ""))?;
    b.run(&playbook("lb2", ""))?;
    a.wait(HAS_ADDRESS)?;
    b.wait("vrrp-user status | grep -q 'BACKUP.*10.0.0.1 (150)'")?;
    for machine in [&mut a, &mut b] {
        machine.run("systemctl is-enabled vrrp-user && systemctl is-active vrrp-user")?;
        let mode = machine.run("stat --format '%a %U %G' /etc/vrrp-user/vrrp.toml")?;
        assert_eq!(mode, "640 root vrrp-user\n");
    }
    let said = a.run(&playbook("lb1", ""))?;
    assert!(said.contains("changed=0 "), "nothing is to be done twice: {said}");

    let started = "systemctl show --property ExecMainPID vrrp-user";
    let before = a.run(started)?;
    let said = a.run(&playbook("lb1", "--extra-vars vrrp_user_priority=50"))?;
    assert!(said.contains("Reload vrrp-user"), "{said}");
    b.wait(HAS_ADDRESS)?;
    a.wait("vrrp-user status | grep -q 'BACKUP.*10.0.0.2 (100)'")?;
    assert_eq!(a.run(started)?, before);

    let (said, code) = a.ask(&playbook("lb1", "--extra-vars vrrp_user_priority=500"))?;
    assert!(code != 0 && said.contains("failed to validate"), "{said}");
    a.run("grep -qx 'priority = 50' /etc/vrrp-user/vrrp.toml && systemctl is-active vrrp-user")?;
    Ok(())
}
