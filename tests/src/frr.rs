//! FRR's vrrpd as the other side.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{Error, Host, Log, Process, Result, skip};

/// FRR wants its daemons here and not in the path.
const SBIN: &str = "/usr/lib/frr";

/// A running zebra and vrrpd with one virtual router; killed without a word on drop.
#[derive(Debug)]
pub struct Frr {
    zebra: Process,
    vrrpd: Process,
    dir: String,
    families: Vec<&'static str>,
}

impl Frr {
    /// Whether it is installed. Where it is not, the test counts as skipped, and has to return.
    pub fn is_installed() -> bool {
        let there = Path::new(SBIN).join("vrrpd").exists();
        if !there {
            skip("there is no vrrpd of FRR");
        }
        there
    }

    /// How one of its daemons is started, with this configuration file and a directory for what they say to each other,
    /// which must be open to FRR's user.
    pub fn command(dir: &str, name: &str, conf: &str) -> Vec<String> {
        let (api, pid) = (Self::api(dir), format!("{dir}/{name}.pid"));
        let program = format!("{SBIN}/{name}");
        let args = ["-f", conf, "-i", &pid, "-z", &api, "--vty_socket", dir, "-P", "0"];
        std::iter::once(&*program).chain(args).map(str::to_owned).collect()
    }

    fn api(dir: &str) -> String {
        format!("{dir}/zserv.api")
    }

    /// Whether zebra is there for the others.
    pub fn zebra_listens(dir: &str) -> bool {
        Path::new(&Self::api(dir)).exists()
    }

    /// The version that one of its daemons tells.
    pub fn version() -> Option<String> {
        let output = Command::new(format!("{SBIN}/vrrpd")).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().next()?.split(' ').next_back().map(str::to_owned)
    }

    /// Starts both with one version 3 router on `eth0`, which is two if it has addresses of both families. The interval is
    /// in centiseconds.
    pub fn start(
        host: &Host,
        vrid: u8,
        priority: u8,
        vips: &[IpAddr],
        interval: u16,
    ) -> Result<Self> {
        let (mut families, mut lines) = (Vec::new(), String::new());
        for vip in vips {
            let (family, keyword, prefix) =
                if vip.is_ipv6() { ("v6", "ipv6", 64) } else { ("v4", "ip", 24) };
            let device = format!("vrrp{}-{vrid}", &family[1..]);
            if !families.contains(&family) {
                families.push(family);
                // It has no virtual MAC of its own: it looks for a macvlan with the right one.
                let add = ["link", "add", &device, "link", "eth0"];
                host.ip(&[&add[..], &["type", "macvlan", "mode", "bridge"]].concat())?;
                let mac = Self::mac(*vip, vrid);
                host.ip(&["link", "set", "dev", &device, "address", &mac])?;
            }
            let address = format!("{vip}/{prefix}");
            let nodad: &[&str] = if vip.is_ipv6() { &["nodad"] } else { &[] };
            host.ip(&[&["address", "add", &address, "dev", &device], nodad].concat())?;
            host.ip(&["link", "set", "dev", &device, "up"])?;
            lines += &format!(" vrrp {vrid} {keyword} {vip}\n");
        }

        let dir = host.dir("frr")?;
        // Both drop root for this user and then make their sockets.
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(&dir, open).map_err(Error::io("open FRR's directory"))?;
        let dir = dir.display().to_string();
        let milliseconds = u32::from(interval) * 10;
        let conf = format!(
            "interface eth0\n vrrp {vrid} version 3\n vrrp {vrid} priority {priority}\n \
             vrrp {vrid} advertisement-interval {milliseconds}\n{lines}"
        );
        let file = format!("{dir}/vrrpd.conf");
        fs::write(&file, conf).map_err(Error::io("write vrrpd.conf"))?;
        let empty = format!("{dir}/zebra.conf");
        fs::write(&empty, "").map_err(Error::io("write zebra.conf"))?;
        let start = |name: &str, conf: &str| {
            let command = Self::command(&dir, name, conf);
            let command: Vec<_> = command.iter().map(String::as_str).collect();
            let log = ["--log", "stdout", "--log-level", "debug"];
            host.spawn(name, command[0], &[&command[1..], &log[..]].concat())
        };
        let zebra = start("zebra", &empty)?;
        host.lab().wait_until(Duration::from_secs(10), "zebra listens", || {
            Ok(Self::zebra_listens(&dir).then_some(()))
        })?;
        let vrrpd = start("vrrpd", &file)?;
        Ok(Self { zebra, vrrpd, dir, families })
    }

    /// The address at which it has a virtual one.
    pub fn mac(vip: IpAddr, vrid: u8) -> String {
        format!("00:00:5e:00:{:02x}:{vrid:02x}", if vip.is_ipv6() { 2 } else { 1 })
    }

    /// What vrrpd printed.
    pub fn log(&self) -> &Log {
        self.vrrpd.log()
    }

    /// The state of the router, `Master`, `Backup` or `Initialize`; that of both, where they differ.
    pub fn state(&self, host: &Host, vrid: u8) -> Result<String> {
        let show = format!("show vrrp {vrid} json");
        let text = host.namespace().run("vtysh", &["--vty_socket", &self.dir, "-c", &show])?;
        let answer: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("vtysh: {error}: {text}")))?;
        let router = answer.get(0).unwrap_or(&answer);
        let state = |family: &&str| router[family]["status"].as_str().unwrap_or_default();
        let mut states: Vec<_> = self.families.iter().map(state).collect();
        states.dedup();
        Ok(states.join(" "))
    }

    /// Waits for the router to be in a state.
    pub fn wait_state(&self, host: &Host, vrid: u8, state: &str, timeout: Duration) -> Result<()> {
        let what = format!("vrrpd on {} has {vrid} in {state}", host.name());
        host.lab().wait_until(timeout, &what, || {
            Ok(self.state(host, vrid).is_ok_and(|now| now == state).then_some(()))
        })
    }

    /// SIGKILL for both.
    pub fn kill(&mut self) -> Result<()> {
        self.vrrpd.kill_tree()?;
        self.zebra.kill_tree()
    }
}
