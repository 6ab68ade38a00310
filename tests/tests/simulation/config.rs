//! How the hosts are configured: the files that their daemons read.

use std::fmt::Write as _;
use std::net::IpAddr;

use vrrp_user::config::{self, model::Config};
use vrrp_user::engine::time::Nanos;

use super::rng::Rng;

/// A file that the first router of a host tracks: FAULT while it says so.
pub const VITAL: &str = "vital";
/// A file that all routers track, with a weight.
pub const WEIGHED: &str = "weighed";
/// The sync group.
pub const GROUP: &str = "both";
/// What the hosts of a network have at most.
const ROUTERS: [&str; 3] = ["one", "two", "six"];

/// One virtual router of one host.
#[derive(Clone, Debug)]
pub struct RouterConf {
    pub name: &'static str,
    pub vrid: u8,
    pub ipv6: bool,
    pub version: u8,
    /// Centiseconds.
    pub interval: u64,
    pub priority: u8,
    pub preempt: bool,
    /// Seconds.
    preempt_delay: u64,
    pub addresses: Vec<(IpAddr, u8)>,
    restore: bool,
    lower_prio_advert: bool,
    higher_prio_advert: Option<bool>,
    garp: (u64, u64),
    pub vital: bool,
    weighed: bool,
}

/// What is the same on all hosts of a network.
#[derive(Clone, Debug)]
pub struct Common {
    routers: usize,
    pub grouped: bool,
    version: u8,
    intervals: Vec<u64>,
    owner: bool,
}

impl Common {
    pub fn new(rng: &mut Rng) -> Self {
        let grouped = rng.chance(50);
        let version = if rng.chance(30) { 2 } else { 3 };
        let intervals = match (version, rng.chance(60) || grouped) {
            (2, _) => vec![100],
            (_, true) => vec![rng.pick(&[10, 50, 100, 200])],
            (_, false) => vec![10, 50, 100, 200],
        };
        Self { routers: 2 + rng.index(2), grouped, version, intervals, owner: rng.chance(20) }
    }

    /// The longest interval.
    pub fn longest(&self) -> Nanos {
        Nanos::from_millis(10 * self.intervals.iter().max().unwrap())
    }

    /// The shortest interval.
    pub fn shortest(&self) -> Nanos {
        Nanos::from_millis(10 * self.intervals.iter().min().unwrap())
    }

    /// A time that no master-down interval exceeds: three intervals, and the skew is less than one more, or than a second
    /// in version 2.
    pub fn longest_wait(&self) -> Nanos {
        self.longest().times(3) + self.longest().max(Nanos::from_secs(1))
    }

    fn router(&self, rng: &mut Rng, place: usize, host: usize) -> RouterConf {
        let ipv6 = place == 2;
        let other = if rng.chance(25) { 10 } else { 0 };
        let addresses: &[String] = match place {
            0 => &["10.0.0.101/24".to_owned()],
            1 => &[format!("10.0.0.{}/24", 102 + other), "10.9.0.102/32".to_owned()],
            _ => &["fe80::103/64".to_owned(), format!("2001:db8::{}/64", 103 + other)],
        };
        let addresses = addresses.iter().map(|text| {
            let (address, prefix) = text.split_once('/').unwrap();
            (address.parse().unwrap(), prefix.parse().unwrap())
        });
        // Only the first host may own addresses, and groups of owners are another matter.
        let owns = self.owner && host == 0 && !self.grouped && rng.chance(30);
        RouterConf {
            name: ROUTERS[place],
            vrid: u8::try_from(place + 1).unwrap(),
            ipv6,
            version: if ipv6 { 3 } else { self.version },
            interval: rng.pick(&self.intervals),
            priority: if owns { 255 } else { rng.pick(&[1, 100, 100, 101, 150, 254]) },
            preempt: owns || rng.chance(70),
            preempt_delay: if owns { 0 } else { rng.pick(&[0, 0, 0, 3]) },
            addresses: addresses.collect(),
            restore: rng.chance(30),
            lower_prio_advert: rng.chance(80),
            higher_prio_advert: rng.pick(&[None, None, None, Some(true), Some(false)]),
            garp: (rng.pick(&[0, 5]), rng.pick(&[0, 7])),
            vital: place == 0,
            weighed: !owns && (!self.grouped || ipv6),
        }
    }
}

/// What one host is to do.
#[derive(Clone, Debug)]
pub struct HostConf {
    pub routers: Vec<RouterConf>,
    grouped: bool,
    /// Seconds.
    pub startup_delay: u64,
}

impl HostConf {
    pub fn new(rng: &mut Rng, common: &Common, host: usize) -> Self {
        let routers = (0..common.routers).map(|place| common.router(rng, place, host));
        let mut conf = Self {
            routers: routers.collect(),
            grouped: common.grouped,
            startup_delay: rng.pick(&[0, 0, 0, 2]),
        };
        conf.align();
        conf
    }

    /// The members of a group compete as a whole.
    fn align(&mut self) {
        if self.grouped
            && let [first, second, ..] = &mut self.routers[..]
            && !second.ipv6
        {
            second.priority = first.priority;
            second.preempt = first.preempt;
            second.preempt_delay = first.preempt_delay;
        }
    }

    /// Another configuration: some routers have other settings, and one may go or come.
    pub fn changed(&self, rng: &mut Rng, common: &Common, host: usize) -> Self {
        let mut conf = self.clone();
        for router in &mut conf.routers {
            if rng.chance(50) {
                *router = common.router(rng, usize::from(router.vrid) - 1, host);
            }
        }
        let all = conf.routers.len() == common.routers;
        if rng.chance(30) && !common.grouped {
            if all {
                let place = rng.index(conf.routers.len());
                conf.routers.remove(place);
            } else {
                let there =
                    |place: &usize| conf.routers.iter().all(|r| usize::from(r.vrid) != place + 1);
                let missing = (0..common.routers).find(there).unwrap();
                conf.routers.insert(missing, common.router(rng, missing, host));
            }
        }
        conf.align();
        conf
    }

    /// Whether a router is in the sync group.
    pub fn is_grouped(&self, router: &RouterConf) -> bool {
        self.grouped && !router.ipv6
    }

    /// The router of that name.
    pub fn router(&self, name: &str) -> Option<&RouterConf> {
        self.routers.iter().find(|router| router.name == name)
    }

    /// The longest delay of pre-emption.
    pub fn preempt_delay(&self) -> Nanos {
        Nanos::from_secs(self.routers.iter().map(|router| router.preempt_delay).max().unwrap_or(0))
    }

    pub fn parse(&self) -> Config {
        let text = self.toml();
        config::load_toml(&text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"))
    }

    fn toml(&self) -> String {
        let mut text = String::new();
        if self.startup_delay > 0 {
            writeln!(text, "startup_delay = \"{}s\"", self.startup_delay).unwrap();
        }
        for file in [VITAL, WEIGHED] {
            writeln!(text, "[[file]]\nname = \"{file}\"\npath = \"/run/{file}\"").unwrap();
        }
        if self.grouped {
            writeln!(
                text,
                "[[group]]\nname = \"{GROUP}\"\ntracking_weight = true\n\
                 track = [{{ file = \"{WEIGHED}\", weight = -60 }}]"
            )
            .unwrap();
        }
        for router in &self.routers {
            self.write(&mut text, router);
        }
        text
    }

    fn write(&self, text: &mut String, router: &RouterConf) {
        let RouterConf { name, vrid, version, interval, priority, preempt, .. } = router;
        let addresses: Vec<String> = router
            .addresses
            .iter()
            .map(|(address, prefix)| format!("\"{address}/{prefix}\""))
            .collect();
        let (vital, weighed) = (router.vital, router.weighed);
        let tracks = [
            vital.then(|| format!("{{ file = \"{VITAL}\", weight = 0 }}")),
            weighed.then(|| format!("{{ file = \"{WEIGHED}\", weight = -60 }}")),
        ];
        let tracks: Vec<String> = tracks.into_iter().flatten().collect();
        let (delay, refresh) = router.garp;
        writeln!(
            text,
            "[[router]]\nname = \"{name}\"\ninterface = \"eth0\"\nvrid = {vrid}\nversion = {version}\n\
             interval = \"{}ms\"\npriority = {priority}\npreempt = {preempt}\naddresses = [{}]\n\
             lower_prio_advert = {}\ntrack = [{}]\n\
             garp = {{ delay = \"{delay}s\", refresh = \"{refresh}s\" }}",
            interval * 10,
            addresses.join(", "),
            router.lower_prio_advert,
            tracks.join(", "),
        )
        .unwrap();
        if *preempt && router.preempt_delay > 0 {
            writeln!(text, "preempt_delay = \"{}s\"", router.preempt_delay).unwrap();
        }
        if let Some(higher) = router.higher_prio_advert {
            writeln!(text, "higher_prio_advert = {higher}").unwrap();
        }
        if router.restore {
            writeln!(text, "on_address_lost = \"restore\"").unwrap();
        }
        if self.is_grouped(router) {
            writeln!(text, "group = \"{GROUP}\"").unwrap();
        }
    }
}
