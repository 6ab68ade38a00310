//! What is on the wire, as people look at it.

use std::time::{Duration, Instant};

use crate::{Host, Log, Process, Result};

/// A running tcpdump of IP protocol 112 on a host's `eth0`.
#[derive(Debug)]
pub struct Tcpdump {
    process: Process,
}

/// One advertisement as tcpdump showed it.
#[derive(Clone, Debug)]
pub struct Advert {
    /// When its line was read.
    pub at: Instant,
    /// The line.
    pub line: String,
    /// Sender.
    pub source: String,
    /// Destination.
    pub destination: String,
    /// VRID.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
}

impl Tcpdump {
    /// Starts it on the advertisements, and waits until it listens.
    pub fn start(host: &Host) -> Result<Self> {
        Self::start_with(host, "proto 112")
    }

    /// Starts it with another filter.
    pub fn start_with(host: &Host, filter: &str) -> Result<Self> {
        let args = ["-l", "-n", "-p", "-i", "eth0", "--immediate-mode", filter];
        let process = host.spawn("tcpdump", "tcpdump", &args)?;
        host.lab().wait_until(Duration::from_secs(10), "tcpdump listens", || {
            Ok(process.log().contains("listening on").then_some(()))
        })?;
        Ok(Self { process })
    }

    /// All its lines.
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// The advertisements read since a moment.
    pub fn adverts(&self, since: Instant) -> Vec<Advert> {
        let lines = self.log().lines();
        lines.iter().filter(|(at, _)| *at >= since).filter_map(|(at, l)| parse(*at, l)).collect()
    }
}

/// Reads a line like `12:00:00.000000 IP 10.0.0.1 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio
/// 100, authtype simple, intvl 1s, length 20`; that of unicast names the addresses twice.
fn parse(at: Instant, line: &str) -> Option<Advert> {
    let (addresses, message) = line.split_once(": VRRPv")?;
    let after = |word: &str| {
        let rest = message.split_once(word)?.1;
        rest.split(',').next()?.trim().parse().ok()
    };
    let addresses = addresses.split_once(" IP ")?.1;
    let addresses = addresses.rsplit(": ").next()?.trim_start_matches("vrrp ");
    let (source, destination) = addresses.split_once(" > ")?;
    Some(Advert {
        at,
        line: line.into(),
        source: source.into(),
        destination: destination.into(),
        vrid: after("vrid ")?,
        priority: after("prio ")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advert_lines() {
        let line = "11:22:33.123456 IP 10.0.0.1 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, \
                    prio 100, authtype simple, intvl 1s, length 20";
        let advert = parse(Instant::now(), line).unwrap();
        assert_eq!((advert.vrid, advert.priority), (51, 100));
        assert_eq!((&*advert.source, &*advert.destination), ("10.0.0.1", "224.0.0.18"));
        let line = "11:22:33.123456 IP 10.0.0.2 > 10.0.0.1: vrrp 10.0.0.2 > 10.0.0.1: VRRPv3, \
                    Advertisement, vrid 7, prio 0, intvl 100cs, length 12";
        let advert = parse(Instant::now(), line).unwrap();
        assert_eq!((advert.vrid, advert.priority), (7, 0));
        assert_eq!((&*advert.source, &*advert.destination), ("10.0.0.2", "10.0.0.1"));
        assert!(parse(Instant::now(), "listening on eth0, link-type EN10MB").is_none());
    }
}
