//! Configuration in keepalived's grammar, the same text for both daemons.

use std::fmt;

/// One `vrrp_instance` on `eth0`.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// `state`.
    pub state: String,
    /// `interface`.
    pub interface: String,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// `priority`.
    pub priority: u8,
    /// `version`.
    pub version: u8,
    /// `advert_int`, in seconds.
    pub interval: String,
    /// `auth_pass`.
    pub password: Option<String>,
    /// `virtual_ipaddress`, a line each.
    pub addresses: Vec<String>,
    /// `unicast_src_ip` and `unicast_peer`; multicast without.
    pub unicast: Option<(String, Vec<String>)>,
    /// More lines.
    pub extra: Vec<String>,
}

impl Instance {
    /// `VI_1` for version 2, every second, without authentication.
    pub fn new(vrid: u8, priority: u8, address: &str) -> Self {
        Self {
            name: "VI_1".into(),
            state: "BACKUP".into(),
            interface: "eth0".into(),
            vrid,
            priority,
            version: 2,
            interval: "1".into(),
            password: None,
            addresses: vec![address.into()],
            unicast: None,
            extra: Vec::new(),
        }
    }

    /// With another name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// With simple password authentication.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Version 3 with this interval in seconds.
    #[must_use]
    pub fn v3(mut self, interval: &str) -> Self {
        self.version = 3;
        self.interval = interval.into();
        self
    }

    /// From this address to those peers.
    #[must_use]
    pub fn unicast(mut self, source: &str, peers: &[&str]) -> Self {
        self.unicast = Some((source.into(), peers.iter().map(|&peer| peer.into()).collect()));
        self
    }

    /// With one more line.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.extra.push(line.into());
        self
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "vrrp_instance {} {{", self.name)?;
        writeln!(f, "    state {}", self.state)?;
        writeln!(f, "    interface {}", self.interface)?;
        writeln!(f, "    virtual_router_id {}", self.vrid)?;
        writeln!(f, "    priority {}", self.priority)?;
        writeln!(f, "    advert_int {}", self.interval)?;
        writeln!(f, "    version {}", self.version)?;
        if let Some(password) = &self.password {
            writeln!(f, "    authentication {{")?;
            writeln!(f, "        auth_type PASS\n        auth_pass {password}\n    }}")?;
        }
        if let Some((source, peers)) = &self.unicast {
            writeln!(f, "    unicast_src_ip {source}")?;
            block(f, "unicast_peer", peers)?;
        }
        for line in &self.extra {
            writeln!(f, "    {line}")?;
        }
        block(f, "virtual_ipaddress", &self.addresses)?;
        writeln!(f, "}}")
    }
}

fn block(f: &mut fmt::Formatter<'_>, keyword: &str, lines: &[String]) -> fmt::Result {
    writeln!(f, "    {keyword} {{")?;
    for line in lines {
        writeln!(f, "        {line}")?;
    }
    writeln!(f, "    }}")
}
