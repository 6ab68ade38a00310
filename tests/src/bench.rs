//! What the benchmark takes as arguments: the same for `cargo xtask bench`, which must know them before
//! anything is built, and for the program that measures.

use clap::ValueEnum;

/// Routers at most: 16 links full of VRIDs.
pub const MAX_ROUTERS: u16 = 4080;

/// Interfaces at most.
const MAX_LINKS: i64 = 16;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Hearing a master that never changes: CPU and context switches
    Backup,
    /// The master of all routers goes silent at one instant
    Takeover,
    /// Advertising for all routers: CPU, and how even the intervals are
    Master,
    /// One router, its master silent again and again: how late is the takeover?
    Lateness,
    /// Half of the routers take over at one instant: how late are the adverts of the other half?
    Bulk,
    /// As many advertisements as the other side can send
    Flood,
    /// The same for each way to capture
    Capture,
    /// From exec to the first advertisement of the last router, and the stop
    Start,
    /// Memory of the process and of its BPF maps
    Memory,
    /// The configuration of many masters is read again, as it was and with changes: how late are their adverts?
    Reload,
    /// Masters are killed and started again: how long is nothing heard of them, and does a backup take over?
    Restart,
    /// Another program takes the place of a running master's: how long is nothing heard, and does a backup take over?
    Upgrade,
    /// Two busy loops per core beside it
    Busy,
    /// The same of routers with virtual MAC addresses: start, CPU, takeover, memory, devices
    VirtualMac,
    /// TCP connections through two hosts that route for virtual MAC addresses: for how long do they stand still?
    Failover,
    /// What the BPF programs cost other traffic, nanoseconds per packet
    Xdp,
    /// The parser and the election engine alone, by criterion; only when named, and only through
    /// `cargo xtask bench`
    Pure,
}

impl Scenario {
    /// Its name on the command line and in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Takeover => "takeover",
            Self::Master => "master",
            Self::Lateness => "lateness",
            Self::Bulk => "bulk",
            Self::Flood => "flood",
            Self::Capture => "capture",
            Self::Start => "start",
            Self::Memory => "memory",
            Self::Reload => "reload",
            Self::Restart => "restart",
            Self::Upgrade => "upgrade",
            Self::Busy => "busy",
            Self::VirtualMac => "virtual-mac",
            Self::Failover => "failover",
            Self::Xdp => "xdp",
            Self::Pure => "pure",
        }
    }
}

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args, Clone, Debug)]
pub struct BenchArgs {
    /// What to measure; everything except `pure` when nothing is named
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<Scenario>,
    /// Few routers and short times: to try the benchmark, not to measure
    #[arg(long)]
    pub quick: bool,
    /// Leave keepalived and FRR out
    #[arg(long)]
    pub no_peer: bool,
    /// Numbers of virtual routers instead of the scenario's own, such as `255,1020`
    ///
    /// Numbers and intervals are crossed: each number is measured at each interval. Where only one of
    /// the two is given, the other is the scenario's own. `lateness` (one router) and `flood` (20) keep
    /// their numbers.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_ROUTERS)))]
    pub routers: Vec<u16>,
    /// Advertisement intervals in milliseconds instead of the scenario's own, such as `100,1000`
    ///
    /// Whole seconds are VRRP version 2, all else version 3.
    #[arg(long, value_name = "MS", value_delimiter = ',', value_parser = interval)]
    pub interval: Vec<u64>,
    /// Interfaces over which routers are spread; as few as possible without
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=MAX_LINKS))]
    pub links: Option<u8>,
    /// Seconds for which a steady state is measured [default: 10, with --quick 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: Option<u64>,
    /// Measure everything so many times; the median counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub repeat: u64,
}

/// An interval that the protocol can say.
fn interval(text: &str) -> Result<u64, String> {
    let interval: u64 = text.parse().map_err(|_| "not a number of milliseconds".to_owned())?;
    let seconds = interval.is_multiple_of(1000) && (1..=255).contains(&(interval / 1000));
    let centiseconds = interval.is_multiple_of(10) && (1..=4095).contains(&(interval / 10));
    if seconds || centiseconds {
        Ok(interval)
    } else {
        Err("10 to 40950 in steps of 10, or whole seconds up to 255000".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_that_the_protocol_can_say() {
        for good in ["10", "100", "1000", "40950", "255000"] {
            assert!(interval(good).is_ok(), "{good}");
        }
        for bad in ["", "0", "15", "41010", "256000", "1s"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scenarios_have_one_name() {
        for scenario in Scenario::value_variants() {
            let value = scenario.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), scenario.name());
        }
    }
}
