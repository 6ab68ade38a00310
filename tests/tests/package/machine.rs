//! A host with an `/etc`, a `/run` and a systemd of its own, on which commands are given as by an administrator.

use std::fs;
use std::path::PathBuf;

use vrrp_tests::{Host, Process, Result};

use super::{LONG, boot, package};

/// Of the address that the tests are about.
pub const HAS_ADDRESS: &str = "ip -o address show dev eth0 | grep -q ' 10.0.0.100/'";

/// A copy of the system with a systemd of its own.
pub struct Machine<'a> {
    host: &'a Host,
    /// Its `/packages`.
    pub dir: PathBuf,
    process: Process,
    /// Of the last command.
    number: u32,
}

impl<'a> Machine<'a> {
    pub fn boot(host: &'a Host) -> Result<Self> {
        let dir = host.dir("packages")?;
        package(&dir, "vrrp-user", "1.0", Some("{}"))?;
        let process = boot(host, &dir, include_str!("agent.sh"), "400")?;
        Ok(Self { host, dir, process, number: 0 })
    }

    /// What commands say, and their code.
    pub fn ask(&mut self, commands: &str) -> Result<(String, i32)> {
        self.number += 1;
        let path = |ending| self.dir.join(format!("{}.{ending}", self.number));
        fs::write(path("new"), commands).unwrap();
        fs::rename(path("new"), path("sh")).unwrap();
        let code = self.host.lab().wait_until(LONG, commands, || {
            assert!(self.process.ended()?.is_none(), "systemd: {}", self.process.log().text());
            Ok(fs::read_to_string(path("code")).ok())
        })?;
        let said = fs::read_to_string(path("out")).unwrap();
        println!("{} # {commands}\n{said}", self.host.name());
        Ok((said, code.trim().parse().unwrap()))
    }

    /// What commands say, which succeed.
    pub fn run(&mut self, commands: &str) -> Result<String> {
        let (said, code) = self.ask(commands)?;
        assert_eq!(code, 0, "{}: {commands}\n{said}", self.host.name());
        Ok(said)
    }

    /// Waits for a command that succeeds.
    pub fn wait(&mut self, command: &str) -> Result<()> {
        let within = format!(
            "for _ in $(seq 150); do if {command}; then exit 0; fi; sleep 0.1; done; exit 1"
        );
        let (said, code) = self.ask(&within)?;
        let (log, _) = if code == 0 {
            Default::default()
        } else {
            self.ask("cat /tmp/log; ip address; ps x")?
        };
        assert_eq!(code, 0, "{}: {command}\n{said}\n{log}", self.host.name());
        Ok(())
    }
}
