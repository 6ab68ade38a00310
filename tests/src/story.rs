//! The story that this project exists for, on a network in a box: two hosts share an address, a web
//! server runs on each; the master goes, the backup answers; the master comes back; the backup goes,
//! and nobody notices. Played by the tests, and shown by `cargo xtask run`.

use std::time::{Duration, Instant};

use crate::{
    Advert, Error, Host, Instance, Keepalived, Lab, Log, Prober, Result, Tcpdump, VrrpUser,
    WebServer, fetch, pause,
};

/// The address that the hosts share.
pub const ADDRESS: &str = "10.0.0.100";
/// Name of the virtual router.
pub const ROUTER: &str = "VI_1";
/// Priorities of the preferred master and of the backup.
pub const PRIORITIES: [u8; 2] = [100, 50];
/// What tcpdump shows of every advertisement of the preferred master.
pub const ADVERT: &str = "VRRPv2, Advertisement, vrid 51, prio 100, authtype simple, intvl 1s";

/// More than any step takes: the master-down interval is under 4 seconds.
const STEP: Duration = Duration::from_secs(20);
/// How long "nothing changes" is watched: longer than the master-down interval.
const WATCH: Duration = Duration::from_secs(5);

/// Which daemon a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// keepalived.
    Keepalived,
    /// Our own.
    VrrpUser,
}

impl Kind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keepalived => "keepalived",
            Self::VrrpUser => "vrrp-user",
        }
    }

    /// Starts it on a host; both read the same file.
    pub fn start(self, host: &Host, conf: &str) -> Result<Daemon> {
        self.start_with(host, conf, &[])
    }

    /// The same with options, which are for our own.
    pub fn start_with(self, host: &Host, conf: &str, options: &[&str]) -> Result<Daemon> {
        self.start_under(host, &[], conf, options)
    }

    /// The same, and our own by a command ([`VrrpUser::start_under`]).
    pub fn start_under(
        self,
        host: &Host,
        command: &[&str],
        conf: &str,
        options: &[&str],
    ) -> Result<Daemon> {
        match self {
            Self::Keepalived => Keepalived::start(host, conf).map(Daemon::Keepalived),
            Self::VrrpUser => VrrpUser::start_under(host, command, "vrrp.conf", conf, options)
                .map(Daemon::VrrpUser),
        }
    }
}

/// A running daemon of either kind.
#[derive(Debug)]
pub enum Daemon {
    /// keepalived.
    Keepalived(Keepalived),
    /// Our own.
    VrrpUser(VrrpUser),
}

impl Daemon {
    /// What it printed.
    pub fn log(&self) -> &Log {
        match self {
            Self::Keepalived(daemon) => daemon.log(),
            Self::VrrpUser(daemon) => daemon.log(),
        }
    }

    /// The state of a router; empty as long as the daemon does not tell.
    pub fn state(&self, host: &Host, router: &str) -> String {
        match self {
            Self::Keepalived(daemon) => daemon.states(router).pop().unwrap_or_default(),
            Self::VrrpUser(daemon) => daemon.state(host, router).unwrap_or_default(),
        }
    }

    /// Waits for a router to be in a state.
    pub fn wait_state(
        &mut self,
        host: &Host,
        router: &str,
        state: &str,
        timeout: Duration,
    ) -> Result<()> {
        match self {
            Self::Keepalived(daemon) => daemon.wait_state(host, router, state, timeout),
            Self::VrrpUser(daemon) => daemon.wait_state(host, router, state, timeout),
        }
    }

    /// Gives it another configuration and SIGHUP; returns when it has loaded it.
    pub fn reload(&mut self, host: &Host, conf: &str) -> Result<()> {
        match self {
            Self::Keepalived(daemon) => daemon.reload(host, conf),
            Self::VrrpUser(daemon) => daemon.hang_up(host, conf),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Self::Keepalived(daemon) => daemon.kill(),
            Self::VrrpUser(daemon) => daemon.kill(),
        }
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> Result<()> {
        match self {
            Self::Keepalived(daemon) => daemon.stop(),
            Self::VrrpUser(daemon) => daemon.stop().map(drop),
        }
    }
}

/// How a host goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// Without a word: the power fails, everything on the host is gone at once.
    PowerFails,
    /// The daemon is stopped with SIGTERM; the host and its web server stay.
    DaemonStops,
}

/// A host that takes part in the election.
#[derive(Debug)]
pub struct Machine {
    host: Host,
    kind: Kind,
    conf: String,
    /// Of `vrrp-user run`.
    options: Vec<String>,
    /// What starts that.
    command: Vec<String>,
    running: Option<(Daemon, WebServer)>,
}

impl Machine {
    /// Puts a host into the lab that is not switched on yet.
    pub fn new(lab: &Lab, name: &str, address: &str, kind: Kind, conf: &str) -> Result<Self> {
        Ok(Self {
            host: lab.host(name, address)?,
            kind,
            conf: conf.into(),
            options: Vec::new(),
            command: Vec::new(),
            running: None,
        })
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Has our own daemon started by a command ([`VrrpUser::start_under`]).
    pub fn started_by(&mut self, command: &[&str]) {
        self.command = command.iter().map(|&word| word.to_owned()).collect();
    }

    /// Which daemon it runs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// State of its router; `off` when it does not run.
    pub fn state(&self) -> String {
        match &self.running {
            Some((daemon, _)) => daemon.state(&self.host, ROUTER),
            None => "off".into(),
        }
    }

    /// What `vrrp-user stats` counts for its router; nothing of keepalived.
    pub fn stats(&self) -> Option<serde_json::Value> {
        match &self.running.as_ref()?.0 {
            Daemon::Keepalived(_) => None,
            Daemon::VrrpUser(daemon) => daemon.router_stats(&self.host, ROUTER).ok(),
        }
    }

    /// Its daemon, while it runs.
    pub fn daemon(&mut self) -> Option<&mut Daemon> {
        self.running.as_mut().map(|(daemon, _)| daemon)
    }

    fn start_daemon(&self) -> Result<Daemon> {
        let [command, options] = [&self.command, &self.options]
            .map(|words| words.iter().map(String::as_str).collect::<Vec<_>>());
        self.kind.start_under(&self.host, &command, &self.conf, &options)
    }

    /// Starts web server and daemon.
    pub fn start(&mut self) -> Result<()> {
        let web = WebServer::start(&self.host)?;
        self.running = Some((self.start_daemon()?, web));
        Ok(())
    }

    /// Goes off.
    pub fn off(&mut self, how: Off) -> Result<()> {
        match how {
            Off::PowerFails => {
                self.host.power_off()?;
                self.running = None;
            }
            Off::DaemonStops => {
                if let Some((daemon, _)) = &mut self.running {
                    daemon.stop()?;
                }
            }
        }
        Ok(())
    }

    /// Comes back.
    pub fn back(&mut self, how: Off) -> Result<()> {
        match how {
            Off::PowerFails => {
                self.host.power_on()?;
                self.start()
            }
            Off::DaemonStops => {
                if self.running.is_some() {
                    let fresh = self.start_daemon()?;
                    if let Some((daemon, _)) = &mut self.running {
                        *daemon = fresh;
                    }
                }
                Ok(())
            }
        }
    }

    fn wait_state(&mut self, state: &str) -> Result<()> {
        match &mut self.running {
            Some((daemon, _)) => daemon.wait_state(&self.host, ROUTER, state, STEP),
            None => Err(Error::Unexpected(format!("{} is off", self.host.name()))),
        }
    }
}

/// What one step of the story showed.
#[derive(Clone, Debug)]
pub struct Step {
    /// What happened.
    pub title: String,
    /// Which host the client then got its page from.
    pub answered: String,
    /// For how long no host answered.
    pub away: Duration,
    /// The advertisements that the backup's tcpdump saw meanwhile.
    pub adverts: Vec<Advert>,
}

/// Everybody on the stage.
#[derive(Debug)]
pub struct Story {
    /// The preferred master.
    pub a: Machine,
    /// The backup.
    pub b: Machine,
    /// Asks for the page.
    pub client: Host,
    /// Asks all the time.
    pub prober: Prober,
    tcpdump: Tcpdump,
}

impl Story {
    /// Builds the stage; both hosts are still off.
    pub fn new(lab: &Lab, a: Kind, b: Kind) -> Result<Self> {
        Self::with_options(lab, a, b, &[])
    }

    /// The same with options for `vrrp-user run`, wherever it runs.
    pub fn with_options(lab: &Lab, a: Kind, b: Kind, options: &[&str]) -> Result<Self> {
        let conf = |priority, state: &str| {
            let address = format!("{ADDRESS}/24");
            let mut instance = Instance::new(51, priority, &address).name(ROUTER).password("1111");
            instance.state = state.into();
            instance.to_string()
        };
        let a = Machine::new(lab, "a", "10.0.0.1/24", a, &conf(PRIORITIES[0], "MASTER"))?;
        let b = Machine::new(lab, "b", "10.0.0.2/24", b, &conf(PRIORITIES[1], "BACKUP"))?;
        let [a, b] = [a, b].map(|mut machine: Machine| {
            machine.options = options.iter().map(|&option| option.to_owned()).collect();
            machine
        });
        let client = lab.host("client", "10.0.0.50/24")?;
        let prober = Prober::start(&client, ADDRESS)?;
        let tcpdump = Tcpdump::start(b.host())?;
        Ok(Self { a, b, client, prober, tcpdump })
    }

    /// What happens in its steps.
    pub fn titles(off: Off) -> [String; 4] {
        let gone = match off {
            Off::PowerFails => "loses its power",
            Off::DaemonStops => "has its daemon stopped",
        };
        [
            "Both hosts start".into(),
            format!("Host a {gone}"),
            "Host a is back".into(),
            format!("Host b {gone}"),
        ]
    }

    /// Plays it, telling each step when it is over; an error when it does not go as it should.
    pub fn play(&mut self, off: Off, mut tell: impl FnMut(&Step)) -> Result<()> {
        let (a, b) = (self.a.host.address().to_owned(), self.b.host.address().to_owned());
        let [start_both, a_off, a_back, b_off] = Self::titles(off);

        let start = Instant::now();
        // Whoever listens first is master first where the skew is less than the time between the two.
        self.a.start()?;
        self.b.start()?;
        self.b.wait_state("BACKUP")?;
        self.a.wait_state("MASTER")?;
        tell(&self.step(start, &start_both, "a", &a)?);

        let start = Instant::now();
        self.a.off(off)?;
        self.b.wait_state("MASTER")?;
        tell(&self.step(start, &a_off, "b", &b)?);

        let start = Instant::now();
        self.a.back(off)?;
        self.a.wait_state("MASTER")?;
        self.b.wait_state("BACKUP")?;
        tell(&self.step(start, &a_back, "a", &a)?);

        let start = Instant::now();
        self.b.off(off)?;
        pause(WATCH)?;
        self.a.wait_state("MASTER")?;
        let step = self.step(start, &b_off, "a", &a)?;
        let hosts = self.prober.hosts(start);
        if hosts != ["a"] {
            return Err(self.wrong(&format!("host b went off, and {hosts:?} answered")));
        }
        tell(&step);
        Ok(())
    }

    /// Waits until the client gets its page from `host` and tcpdump has seen it advertise.
    fn step(&self, start: Instant, title: &str, host: &str, address: &str) -> Result<Step> {
        let lab = self.client.lab();
        let what = format!("{title}: {host} answers");
        lab.wait_until(STEP, &what, || {
            Ok((self.prober.now().as_deref() == Some(host)).then_some(()))
        })?;
        let answered = fetch(self.client.namespace(), ADDRESS)
            .map_err(|error| self.wrong(&format!("{title}: {error}")))?;
        if answered != host {
            return Err(self.wrong(&format!("{title}: {answered} answers instead of {host}")));
        }
        if self.b.running.is_some() {
            let what = format!("{title}: tcpdump on b shows the advertisements of {host}");
            lab.wait_until(STEP, &what, || {
                let adverts = self.tcpdump.adverts(start);
                Ok(adverts.last().is_some_and(|advert| advert.source == address).then_some(()))
            })?;
        }
        let adverts = self.tcpdump.adverts(start);
        if host == "a" && self.b.running.is_some() {
            let right = |advert: &&Advert| advert.source == address && advert.line.contains(ADVERT);
            if !adverts.iter().any(|advert| right(&advert)) {
                let lines = self.tcpdump.log().text();
                return Err(self.wrong(&format!("{title}: no \"{ADVERT}\" in\n{lines}")));
            }
        }
        Ok(Step { title: title.into(), answered, away: self.prober.away(start), adverts })
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Unexpected(format!("{what}\n{}", self.client.lab().logs()))
    }
}
