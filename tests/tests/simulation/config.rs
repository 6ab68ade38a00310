//! How the hosts are configured: the files that their daemons read.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use vrrp_user::config::{self, model::Config};
use vrrp_user::engine::time::Nanos;

use super::datapath::Meant;
use super::rng::Rng;

/// A file that the first router of a host tracks: FAULT while it says so.
pub const VITAL: &str = "vital";
/// A file that all routers track, with a weight.
pub const WEIGHED: &str = "weighed";
/// A script that some routers track, with a weight.
pub const SCRIPT: &str = "check";
/// The sync group.
pub const GROUP: &str = "both";
/// The interfaces of each host.
pub const NICS: [&str; 2] = ["eth0", "eth1"];
/// By which bits the last bytes of the two addresses differ that a host may have.
const OTHER: u8 = 32;
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
    /// Which of [`NICS`] it lives on.
    pub nic: usize,
    /// Each with its prefix length, and which of [`NICS`] it belongs on.
    pub addresses: Vec<(IpAddr, u8, usize)>,
    /// Where its routes lead to, by an interface.
    pub routes: Vec<(&'static str, usize)>,
    /// Its rules, by where packets come from and their preference.
    pub rules: Vec<(IpAddr, u32)>,
    /// Whom it sends to; nobody, and it is a multicast group.
    peers: Vec<IpAddr>,
    check_source: bool,
    restore: bool,
    /// Whether packets to its addresses are let in.
    accept: bool,
    lower_prio_advert: bool,
    higher_prio_advert: Option<bool>,
    garp: (u64, u64),
    /// When it is fenced.
    pub fence: &'static str,
    pub vital: bool,
    weighed: bool,
    checked: bool,
    /// Whether it tracks the other interface.
    beside: bool,
}

/// What is the same on all hosts of a network.
#[derive(Clone, Debug)]
pub struct Common {
    routers: usize,
    pub grouped: bool,
    version: u8,
    intervals: Vec<u64>,
    owner: bool,
    /// On which of [`NICS`] they are.
    nics: [usize; 3],
    /// Whether the first one goes by unicast.
    unicast: bool,
    hosts: usize,
}

impl Common {
    pub fn new(rng: &mut Rng, hosts: usize) -> Self {
        let grouped = rng.chance(50);
        let version = if rng.chance(30) { 2 } else { 3 };
        let intervals = match (version, rng.chance(60) || grouped) {
            (2, _) => vec![100],
            (_, true) => vec![rng.pick(&[10, 50, 100, 200])],
            (_, false) => vec![10, 50, 100, 200],
        };
        Self {
            routers: 2 + rng.index(2),
            grouped,
            version,
            intervals,
            owner: rng.chance(20),
            nics: [0, rng.index(2), rng.index(2)],
            unicast: rng.chance(25),
            hosts,
        }
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
        let nic = self.nics[place];
        let addresses: &[(String, usize)] = match place {
            0 => &[("10.0.0.101/24".to_owned(), nic)],
            // The second one may be on the other interface.
            1 => &[
                (format!("10.{nic}.0.{}/24", 102 + other), nic),
                ("10.9.0.102/32".to_owned(), rng.index(2)),
            ],
            _ => {
                &[("fe80::103/64".to_owned(), nic), (format!("2001:db8::{}/64", 103 + other), nic)]
            }
        };
        let addresses = addresses.iter().map(|(text, nic)| {
            let (address, prefix) = text.split_once('/').unwrap();
            (address.parse().unwrap(), prefix.parse().unwrap(), *nic)
        });
        let addresses: Vec<(IpAddr, u8, usize)> = addresses.collect();
        // One of their own, and one that the first two share.
        let own = ["10.77.0.0/24", "10.77.1.0/24", "2001:db8:77::/64"][place];
        let mut routes = Vec::new();
        if rng.chance(30) {
            routes.push((own, nic));
        }
        if !ipv6 && rng.chance(20) {
            routes.push(("10.78.0.0/24", 0));
        }
        let mut on = addresses.iter().map(|(.., on)| on).chain(routes.iter().map(|(_, on)| on));
        let stays = on.all(|on| *on == nic);
        let preference = 1000 + u32::try_from(place).unwrap();
        let rules = if rng.chance(20) { vec![(addresses[0].0, preference)] } else { Vec::new() };
        // Each by both of the addresses that it may have.
        let peers = (0..self.hosts).filter(|other| *other != host && place == 0 && self.unicast);
        let peers = peers.flat_map(|other| own_addresses(other, nic));
        // Only the first host may own addresses, and groups of owners are another matter.
        let owns = self.owner && host == 0 && !self.grouped && rng.chance(30);
        let (check_source, restore) = (rng.chance(50), rng.chance(30));
        RouterConf {
            name: ROUTERS[place],
            vrid: u8::try_from(place + 1).unwrap(),
            ipv6,
            version: if ipv6 { 3 } else { self.version },
            interval: rng.pick(&self.intervals),
            priority: if owns { 255 } else { rng.pick(&[1, 100, 100, 101, 150, 254]) },
            preempt: owns || rng.chance(70),
            preempt_delay: if owns { 0 } else { rng.pick(&[0, 0, 0, 3]) },
            nic,
            addresses,
            routes,
            rules,
            peers: peers.collect(),
            check_source,
            restore,
            // As independent of everything else as anything that is drawn for itself.
            accept: check_source || restore,
            lower_prio_advert: rng.chance(80),
            higher_prio_advert: rng.pick(&[None, None, None, Some(true), Some(false)]),
            garp: (rng.pick(&[0, 5]), rng.pick(&[0, 7])),
            fence: rng.pick(&["claim", "claim", "claim", "claim", "lease", "off"]),
            vital: place == 0,
            weighed: !owns && (!self.grouped || ipv6),
            checked: !owns && (!self.grouped || ipv6) && rng.chance(30),
            // By no weight where something of its own is.
            beside: stays && !owns && (!self.grouped || ipv6) && rng.chance(20),
        }
    }
}

/// What one host is to do.
#[derive(Clone, Debug)]
pub struct HostConf {
    pub routers: Vec<RouterConf>,
    grouped: bool,
    /// Seconds.
    startup_delay: u64,
    parsed: OnceCell<Config>,
}

impl RouterConf {
    /// Whether packets to its addresses are let in.
    fn accepts(&self) -> bool {
        self.accept || self.priority == 255
    }

    /// Whether an advertisement is for it, by whatever interface it comes.
    pub fn is_for(&self, meant: Meant) -> bool {
        (self.vrid, self.ipv6) == (meant.vrid, meant.source.is_ipv6())
    }
}

impl HostConf {
    pub fn new(rng: &mut Rng, common: &Common, host: usize) -> Self {
        let routers = (0..common.routers).map(|place| common.router(rng, place, host));
        let mut conf = Self {
            routers: routers.collect(),
            grouped: common.grouped,
            startup_delay: rng.pick(&[0, 0, 0, 2]),
            parsed: OnceCell::new(),
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
        let mut conf = Self { parsed: OnceCell::new(), ..self.clone() };
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

    /// Whether all routers are with accept mode, so that the driver removes what refuses packets before there is a core.
    pub fn refuses_none(&self) -> bool {
        self.routers.iter().all(RouterConf::accepts)
    }

    /// The addresses to which nothing is to be let in: of routers without accept mode, and of no other ones.
    pub fn refused(&self) -> BTreeSet<IpAddr> {
        let of = |refuses: bool| {
            let routers = self.routers.iter().filter(move |router| router.accepts() != refuses);
            routers.flat_map(|router| router.addresses.iter().map(|(address, ..)| *address))
        };
        let accepted: BTreeSet<IpAddr> = of(false).collect();
        of(true).filter(|address| !accepted.contains(address)).collect()
    }

    /// The router of that name.
    pub fn router(&self, name: &str) -> Option<&RouterConf> {
        self.routers.iter().find(|router| router.name == name)
    }

    /// For how long a router may answer after an advertisement; `None` where it is not fenced.
    pub fn lease(&self, router: &RouterConf) -> Option<Nanos> {
        let fenced = router.fence != "off" && router.priority != 255;
        fenced.then(|| Nanos::from_millis(30 * router.interval))
    }

    /// The longest delay of pre-emption.
    pub fn preempt_delay(&self) -> Nanos {
        Nanos::from_secs(self.routers.iter().map(|router| router.preempt_delay).max().unwrap_or(0))
    }

    pub fn startup_delay(&self) -> Nanos {
        Nanos::from_secs(self.startup_delay)
    }

    /// What the daemon makes of it. Reading it takes longer than all that happens in a second.
    pub fn parsed(&self) -> Config {
        let parsed = self.parsed.get_or_init(|| {
            let text = self.toml();
            config::load_toml(&text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"))
        });
        parsed.clone()
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
        writeln!(text, "[[script]]\nname = \"{SCRIPT}\"\ncommand = \"/bin/true\"").unwrap();
        for router in &self.routers {
            self.write(&mut text, router);
        }
        text
    }

    fn write(&self, text: &mut String, router: &RouterConf) {
        let RouterConf { name, vrid, version, interval, priority, preempt, .. } = router;
        let addresses = router.addresses.iter().map(|(address, prefix, nic)| {
            format!("{{ address = \"{address}/{prefix}\", dev = \"{}\" }}", NICS[*nic])
        });
        let addresses: Vec<String> = addresses.collect();
        let beside = NICS[1 - router.nic];
        let tracks = [
            (router.vital, format!("{{ file = \"{VITAL}\", weight = 0 }}")),
            (router.weighed, format!("{{ file = \"{WEIGHED}\", weight = -60 }}")),
            (router.checked, format!("{{ script = \"{SCRIPT}\", weight = -25 }}")),
            (router.beside, format!("{{ interface = \"{beside}\", weight = -15 }}")),
        ];
        let tracks: Vec<String> =
            tracks.into_iter().filter_map(|(tracks, text)| tracks.then_some(text)).collect();
        let routes: Vec<String> =
            router.routes.iter().map(|(to, nic)| format!("\"{to} dev {}\"", NICS[*nic])).collect();
        let rules: Vec<String> = router
            .rules
            .iter()
            .map(|(from, preference)| {
                format!("{{ from = \"{from}\", table = 100, preference = {preference} }}")
            })
            .collect();
        let (delay, refresh) = router.garp;
        writeln!(
            text,
            "[[router]]\nname = \"{name}\"\ninterface = \"{}\"\nvrid = {vrid}\nversion = {version}\n\
             interval = \"{}ms\"\npriority = {priority}\npreempt = {preempt}\naddresses = [{}]\n\
             lower_prio_advert = {}\ntrack = [{}]\nroutes = [{}]\nrules = [{}]\n\
             garp = {{ delay = \"{delay}s\", refresh = \"{refresh}s\" }}\nfence = \"{}\"\naccept = {}",
            NICS[router.nic],
            interval * 10,
            addresses.join(", "),
            router.lower_prio_advert,
            tracks.join(", "),
            routes.join(", "),
            rules.join(", "),
            router.fence,
            router.accept,
        )
        .unwrap();
        if *preempt && router.preempt_delay > 0 {
            writeln!(text, "preempt_delay = \"{}s\"", router.preempt_delay).unwrap();
        }
        if let Some(higher) = router.higher_prio_advert {
            writeln!(text, "higher_prio_advert = {higher}").unwrap();
        }
        if !router.peers.is_empty() {
            let peers: Vec<String> =
                router.peers.iter().map(|peer| format!("\"{peer}\"")).collect();
            let (peers, check) = (peers.join(", "), router.check_source);
            writeln!(text, "unicast = {{ peers = [{peers}], check_source = {check} }}").unwrap();
        }
        if router.restore {
            writeln!(text, "on_address_lost = \"restore\"").unwrap();
        }
        if self.is_grouped(router) {
            writeln!(text, "group = \"{GROUP}\"").unwrap();
        }
    }
}

/// The addresses of its own that a host may have on one of [`NICS`]: one at a time.
pub fn own_addresses(host: usize, nic: usize) -> [IpAddr; 2] {
    let (host, nic) = (u8::try_from(host).unwrap() + 1, u8::try_from(nic).unwrap());
    [IpAddr::from([10, nic, 0, host]), IpAddr::from([10, nic, 0, host ^ OTHER])]
}
