//! One configuration file, played in keepalived and in `vrrp-user`: the same advertisements, gratuitous ARP,
//! addresses, routes, rules, states, script calls and fifo lines in the same order.
//!
//! A scene is a file in `tests/dropin/` and what happens to the host meanwhile. Lines that begin with `@before` or
//! `@after` are there only until or since a reload. Both daemons play it at the same time, each in a lab of its own, and
//! their traces are compared as text.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use vrrp_tests::story::{Daemon, Kind};
use vrrp_tests::{Error, Host, Lab, Log, Process, Result, pause};

/// More than any change takes: the longest master-down interval is under 4 seconds.
const LONG: Duration = Duration::from_secs(20);
/// After the states are as expected: until scripts have run and lines have been read.
const SETTLE: Duration = Duration::from_millis(1500);

/// Of the routers that are written with `@PRIORITY@`.
const OWN_PRIORITY: u8 = 149;

/// What happens to the host under test.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The daemon starts.
    Start,
    /// A keepalived with the same configuration but this priority starts on the neighbour.
    Rival(u8),
    /// It stops.
    ConflictEnded,
    /// The other end of `trk0`, an interface that nobody advertises on, goes down.
    CarrierLost,
    /// It comes back.
    CarrierBack,
    /// A file in the scene's directory gets this text.
    Write(&'static str, &'static str),
    /// A file in the scene's directory is removed.
    Remove(&'static str),
    /// The daemon gets the file as it is after the reload, and SIGHUP. What comes then is compared apart from what
    /// was before.
    Reload,
    /// Nothing, for longer than a script needs to fail twice.
    Wait,
    /// SIGTERM.
    Stop,
}

/// An event, and the states of routers that it leads to.
type Step = (Event, &'static [(&'static str, &'static str)]);

/// Plays the scene in both daemons; their traces must be equal.
fn play(scene: &str, steps: &[Step]) -> Result<()> {
    play_but(scene, steps, &|_| false)
}

/// As [`play`], but lines of a kind in which the daemons differ on purpose do not count.
fn play_but(scene: &str, steps: &[Step], differs: &dyn Fn(&str) -> bool) -> Result<()> {
    let traces: Vec<Result<Vec<String>>> = thread::scope(|scope| {
        let play = |kind| scope.spawn(move || perform(scene, kind, steps));
        let players = [Kind::Keepalived, Kind::VrrpUser].map(play);
        players.map(|player| player.join().expect("a player panicked")).into_iter().collect()
    });
    let mut traces = traces.into_iter();
    let mut next = || -> Result<Vec<String>> {
        let mut trace = traces.next().expect("two")?;
        trace.retain(|line| !differs(line));
        trace.dedup();
        Ok(trace)
    };
    let (theirs, ours) = (next()?, next()?);
    if std::env::var_os("DROPIN_SHOW").is_some() {
        println!("{}", theirs.join("\n"));
    }
    assert!(theirs == ours, "{scene}:\n{}", difference(&theirs, &ours));
    Ok(())
}

/// Both traces line by line, `-` only in keepalived's, `+` only in ours.
fn difference(theirs: &[String], ours: &[String]) -> String {
    // The longest common subsequence, from the end: these are some hundred lines.
    let mut common = vec![vec![0usize; ours.len() + 1]; theirs.len() + 1];
    for (i, their) in theirs.iter().enumerate().rev() {
        for (j, our) in ours.iter().enumerate().rev() {
            common[i][j] = if their == our {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < theirs.len() || j < ours.len() {
        let (mark, line) = if i < theirs.len() && j < ours.len() && theirs[i] == ours[j] {
            i += 1;
            j += 1;
            (' ', &ours[j - 1])
        } else if j == ours.len() || i < theirs.len() && common[i + 1][j] >= common[i][j + 1] {
            i += 1;
            ('-', &theirs[i - 1])
        } else {
            j += 1;
            ('+', &ours[j - 1])
        };
        text += &format!("{mark} {line}\n");
    }
    text
}

/// The host under test and everything that looks at it.
struct Stage {
    host: Host,
    neighbour: Host,
    dir: PathBuf,
    daemon: Option<Daemon>,
    rival: Option<Daemon>,
    wire: Process,
    fifo: Process,
    conf: String,
    reloaded: bool,
    /// How many announcements, script calls and fifo lines were told already.
    told: [usize; 3],
}

fn perform(scene: &str, kind: Kind, steps: &[Step]) -> Result<Vec<String>> {
    let lab = Lab::new()?;
    let mut stage = Stage::new(&lab)?;
    stage.conf = read(scene)?;
    let mut trace = Vec::new();
    for (event, states) in steps {
        if let Event::Reload = event {
            trace.extend(stage.seen());
        }
        trace.push(format!("== {event:?}"));
        stage.happen(kind, *event)?;
        for (router, state) in *states {
            let daemon = stage.daemon.as_mut().expect("started");
            daemon.wait_state(&stage.host, router, state, LONG)?;
            trace.push(format!("state {router} {state}"));
        }
        pause(SETTLE)?;
        trace.extend(stage.configuration()?);
    }
    trace.extend(stage.seen());
    // Not in parts: they come all the time, and one that is under way at the moment of a part's end is in either.
    trace.extend(adverts(stage.wire.log()));
    match scene {
        "pauses" => trace.extend(pauses(stage.wire.log())),
        "extra_if" => trace.extend(repetitions(stage.wire.log())),
        _ => {}
    }
    Ok(trace)
}

fn read(scene: &str) -> Result<String> {
    fs::read_to_string(Path::new("tests/dropin").join(scene).with_extension("conf"))
        .map_err(Error::io(format!("read the scene {scene}")))
}

impl Stage {
    fn new(lab: &Lab) -> Result<Self> {
        let host = lab.host("a", "10.0.0.1/24")?;
        let neighbour = lab.host("b", "10.0.0.2/24")?;
        let dir = furnish(&host)?;
        let path = dir.join("fifo").display().to_string();
        host.namespace().run("mkfifo", &[&path])?;
        // Both ends, so that it does not end when a writer does.
        let fifo = host.spawn("fifo", "sh", &["-c", "exec cat <> \"$1\"", "sh", &path])?;
        let [.., last] = host.mac();
        let filter = format!(
            "ether src 02:00:00:00:00:{last:02x} and (proto 112 or ip6 proto 112 or arp[6:2] = 1 or \
             icmp6[0] = 136)"
        );
        let args = ["-l", "-n", "-p", "-vv", "-i", "eth0", "--immediate-mode", &filter];
        let wire = neighbour.spawn("tcpdump", "tcpdump", &args)?;
        lab.wait_until(LONG, "tcpdump listens", || {
            Ok(wire.log().contains("listening on").then_some(()))
        })?;
        let (conf, reloaded, told) = (String::new(), false, [0; 3]);
        Ok(Self {
            host,
            neighbour,
            dir,
            daemon: None,
            rival: None,
            wire,
            fifo,
            conf,
            reloaded,
            told,
        })
    }

    /// The file of the scene as it is now.
    fn conf(&self, dir: &Path, priority: u8) -> String {
        let (now, other) =
            if self.reloaded { ("@after ", "@before ") } else { ("@before ", "@after ") };
        let conf = lines_for(now, other, &self.conf);
        let conf = conf.replace("@DIR@", &dir.display().to_string());
        conf.replace("@PRIORITY@", &priority.to_string())
    }

    fn happen(&mut self, kind: Kind, event: Event) -> Result<()> {
        let write = |name: &str, text: &str| {
            // Renamed into place: nobody reads half of it.
            let new = self.dir.join("new");
            fs::write(&new, text).map_err(Error::io("write a file"))?;
            fs::rename(&new, self.dir.join(name)).map_err(Error::io("rename a file"))
        };
        match event {
            Event::Start => {
                let conf = lines_for("@HOST ", "@RIVAL ", &self.conf(&self.dir, OWN_PRIORITY));
                self.daemon = Some(kind.start(&self.host, &conf)?);
            }
            Event::Rival(priority) => {
                let dir = furnish(&self.neighbour)?;
                let conf = lines_for("@RIVAL ", "@HOST ", &self.conf(&dir, priority));
                self.rival = Some(Kind::Keepalived.start(&self.neighbour, &conf)?);
            }
            Event::ConflictEnded => {
                if let Some(mut rival) = self.rival.take() {
                    rival.stop()?;
                }
            }
            Event::CarrierLost => drop(self.host.ip(&["link", "set", "trk1", "down"])?),
            Event::CarrierBack => drop(self.host.ip(&["link", "set", "trk1", "up"])?),
            Event::Write(name, text) => write(name, text)?,
            Event::Remove(name) => {
                fs::remove_file(self.dir.join(name)).map_err(Error::io("remove a file"))?;
            }
            Event::Reload => {
                self.reloaded = true;
                let conf = lines_for("@HOST ", "@RIVAL ", &self.conf(&self.dir, OWN_PRIORITY));
                let daemon = self.daemon.as_mut().expect("started");
                daemon.reload(&self.host, &conf)?;
            }
            Event::Wait => pause(2 * SETTLE)?,
            Event::Stop => {
                if let Some(mut daemon) = self.daemon.take() {
                    daemon.stop()?;
                }
            }
        }
        Ok(())
    }

    /// Gratuitous ARP, script calls and fifo lines since it was last asked.
    fn seen(&mut self) -> Vec<String> {
        let calls = fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        let calls = calls.lines().map(str::to_owned).collect();
        let fifo = self.fifo.log().lines().into_iter().map(|(_, line)| line).collect();
        let announced = announcements(self.wire.log()).into_iter().map(|(_, what)| what);
        let all: [Vec<String>; 3] = [announced.collect(), calls, fifo];
        let before = std::mem::replace(&mut self.told, [0, 1, 2].map(|kind| all[kind].len()));
        let [announced, calls, fifo] = [0, 1, 2].map(|kind| &all[kind][before[kind]..]);
        let mut seen = vec!["== seen".to_owned()];
        seen.extend(BTreeSet::from_iter(announced).into_iter().cloned());
        seen.extend(per_name("call", calls));
        seen.extend(per_name("fifo", fifo));
        seen
    }

    /// Addresses, routes and rules, sorted; without what the kernel makes by itself.
    fn configuration(&self) -> Result<Vec<String>> {
        let mut lines = BTreeSet::new();
        for line in self.host.ip(&["-o", "address", "show"])?.lines() {
            // "2: eth0    inet 10.0.0.1/24 scope global eth0\       valid_lft forever ..."
            let line = line.replace('\\', " ");
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let words = without(&words, &["proto"]);
            if !words.contains(&"kernel_ll") && !words.iter().any(|word| word.starts_with("fe80:"))
            {
                lines.insert(format!("address {}", words.join(" ")));
            }
        }
        for family in ["-4", "-6"] {
            for line in self.host.ip(&[family, "route", "show", "table", "all"])?.lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                if !line.contains("proto kernel") && !line.starts_with("multicast") {
                    lines.insert(format!("route {family} {}", words.join(" ")));
                }
            }
            for line in self.host.ip(&[family, "rule", "show"])?.lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                lines.insert(format!("rule {family} {}", words.join(" ")));
            }
        }
        Ok(lines.into_iter().collect())
    }
}

/// The scene with the lines that begin with one mark, and without those that begin with the other one.
fn lines_for(mark: &str, other: &str, conf: &str) -> String {
    let lines = conf.lines().map(str::trim_start).filter(|line| !line.starts_with(other));
    let lines = lines.map(|line| line.strip_prefix(mark).unwrap_or(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Gives a host an interface `trk0` with its other end `trk1`, and a directory with scripts.
fn furnish(host: &Host) -> Result<PathBuf> {
    let dir = host.dir("scene")?;
    if dir.join("calls").exists() {
        return Ok(dir);
    }
    host.ip(&["link", "add", "trk0", "type", "veth", "peer", "name", "trk1"])?;
    for device in ["trk0", "trk1"] {
        host.ip(&["link", "set", device, "up"])?;
    }
    host.ip(&["address", "add", "10.1.0.1/24", "dev", "trk0"])?;
    let script = "#!/bin/sh\nd=$(dirname \"$0\")\necho \"$@\" >> \"$d/calls\"\n";
    for (name, text) in [("note.sh", script), ("check.sh", "#!/bin/sh\ntest -e \"$1\"\n")] {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Error::io("write a script"))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).map_err(Error::io("make it executable"))?;
    }
    // Whoever the scripts run as.
    fs::write(dir.join("calls"), "").map_err(Error::io("write the list of calls"))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(dir.join("calls"), mode).map_err(Error::io("open it to all"))?;
    Ok(dir)
}

/// Words without some of them and the word behind each.
fn without<'a>(words: &[&'a str], keys: &[&str]) -> Vec<&'a str> {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if keys.contains(word) {
            words.next();
        } else {
            kept.push(*word);
        }
    }
    kept
}

/// The advertisements that the host under test sent, as the neighbour saw them: per VRID in order, each once however
/// often it was repeated.
fn adverts(log: &Log) -> Vec<String> {
    let mut adverts = BTreeMap::<String, Vec<String>>::new();
    for (_, packet) in dissected(log) {
        if let Some((ip, vrrp)) = packet.split_once(": VRRPv") {
            // keepalived numbers its IP packets per socket, we per source; flow labels are at random. We alone set DF
            // to the group; to a peer it is clear in both.
            let to = ip.rsplit("> ").next().and_then(|to| to.parse::<Ipv4Addr>().ok());
            let to_group = to.is_some_and(|to| to.is_multicast());
            let varies = |part: &&str| {
                part.starts_with("id ")
                    || part.starts_with("flowlabel ")
                    || part.starts_with("flags ") && to_group
            };
            let ip: Vec<&str> = ip.split(", ").filter(|part| !varies(part)).collect();
            let vrid = vrrp.split("vrid ").nth(1).and_then(|rest| rest.split(',').next());
            let family = ip.first().and_then(|ip| ip.split(' ').next());
            let router = format!("{} {}", family.unwrap_or("?"), vrid.unwrap_or("?"));
            let sent = adverts.entry(router).or_default();
            let advert = format!("{}: VRRPv{vrrp}", ip.join(", "));
            if sent.last() != Some(&advert) {
                sent.push(advert);
            }
        }
    }
    adverts.into_values().flatten().map(|advert| format!("advert {advert}")).collect()
}

/// What tcpdump says of each packet, in one line, and when it came, since midnight.
fn dissected(log: &Log) -> Vec<(Duration, String)> {
    let lines = log.lines();
    let mut lines = lines.iter().map(|(_, line)| line.as_str()).peekable();
    let mut packets = Vec::new();
    while let Some(line) = lines.next() {
        let (time, packet) = line.split_once(' ').unwrap_or_default();
        let parts = time.split(':').map(|part| part.parse::<f64>());
        let seconds = parts.map(Result::unwrap_or_default).fold(0.0, |sum, part| sum * 60.0 + part);
        let mut packet = packet.to_owned();
        // Details follow on lines that begin with white space.
        while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            packet = packet + " " + more.trim();
        }
        packets.push((Duration::from_secs_f64(seconds), packet));
    }
    packets
}

/// The gratuitous ARP and the unsolicited neighbour advertisements.
fn announcements(log: &Log) -> Vec<(Duration, String)> {
    let mut packets = dissected(log);
    packets
        .retain(|(_, packet)| packet.contains("neighbor advertisement") || is_gratuitous(packet));
    packets.into_iter().map(|(at, packet)| (at, format!("announced {packet}"))).collect()
}

/// How often each address was announced, and whether never two within half a pause: of IPv4 one second, of IPv6 half of one.
fn pauses(log: &Log) -> Vec<String> {
    let announced = announcements(log);
    let mut times = BTreeMap::<&str, usize>::new();
    for (_, what) in &announced {
        *times.entry(what).or_default() += 1;
    }
    let mut lines: Vec<_> = times.iter().map(|(what, n)| format!("{n} times {what}")).collect();
    for (family, pause) in [("ARP", 1_000), ("IP6", 500)] {
        let of_family = announced.iter().filter(|(_, what)| what.contains(family));
        let at: Vec<_> = of_family.map(|(at, _)| *at).collect();
        let kept =
            at.windows(2).all(|two| two[1].abs_diff(two[0]) > Duration::from_millis(pause / 2));
        lines.push(format!("pauses of {family} kept: {kept}"));
    }
    lines
}

/// Which addresses were announced three times or more often.
fn repetitions(log: &Log) -> Vec<String> {
    let mut times = BTreeMap::<String, usize>::new();
    for (_, what) in announcements(log) {
        *times.entry(what).or_default() += 1;
    }
    times
        .into_iter()
        .map(|(what, times)| format!("{what} again and again: {}", times > 2))
        .collect()
}

/// "ARP, Ethernet (len 6), IPv4 (len 4), Request who-has X (ff:ff:ff:ff:ff:ff) tell X, length 28".
fn is_gratuitous(packet: &str) -> bool {
    let asked = packet.split("who-has ").nth(1).and_then(|rest| rest.split(' ').next());
    let tells = packet.split("tell ").nth(1).and_then(|rest| rest.split(',').next());
    asked.is_some() && asked == tells
}

/// Lines sorted by what they are about, the first two words, each of those in its order: that of different
/// routers depends on the weather.
fn per_name(kind: &str, lines: &[String]) -> Vec<String> {
    let mut about = BTreeMap::<Vec<&str>, Vec<String>>::new();
    for line in lines {
        let name = line.split_whitespace().take(2).collect();
        about.entry(name).or_default().push(format!("{kind} {line}"));
    }
    about.into_values().flatten().collect()
}

/// A rival comes and goes.
const RIVALRY: &[Step] = &[
    (Event::Start, &[("VI_1", "MASTER")]),
    (Event::Rival(200), &[("VI_1", "BACKUP")]),
    (Event::ConflictEnded, &[("VI_1", "MASTER")]),
    (Event::Stop, &[]),
];

#[test]
fn addresses() -> Result<()> {
    play("addresses", RIVALRY)
}

#[test]
fn version_3() -> Result<()> {
    play("version3", RIVALRY)
}

#[test]
fn unicast() -> Result<()> {
    play("unicast", RIVALRY)
}

#[test]
fn unicast_ttl() -> Result<()> {
    let steps: &[Step] = &[
        (
            Event::Start,
            &[("VI_1", "MASTER"), ("VI_2", "MASTER"), ("VI_3", "MASTER"), ("VI_4", "MASTER")],
        ),
        (
            Event::Rival(200),
            &[("VI_1", "BACKUP"), ("VI_2", "MASTER"), ("VI_3", "MASTER"), ("VI_4", "BACKUP")],
        ),
        (Event::ConflictEnded, &[("VI_1", "MASTER"), ("VI_4", "MASTER")]),
        (Event::Stop, &[]),
    ];
    play("unicast_ttl", steps)
}

#[test]
fn multicast_groups() -> Result<()> {
    let steps: &[Step] = &[
        (Event::Start, &[("VI_1", "MASTER"), ("VI_2", "MASTER"), ("VI_6", "MASTER")]),
        (Event::Rival(200), &[("VI_1", "BACKUP"), ("VI_2", "BACKUP"), ("VI_6", "BACKUP")]),
        (Event::ConflictEnded, &[("VI_1", "MASTER"), ("VI_2", "MASTER"), ("VI_6", "MASTER")]),
        (Event::Stop, &[]),
    ];
    play("groups", steps)
}

#[test]
fn no_preemption() -> Result<()> {
    let steps: &[Step] = &[
        (Event::Rival(100), &[]),
        (Event::Start, &[("VI_1", "BACKUP")]),
        (Event::ConflictEnded, &[("VI_1", "MASTER")]),
        (Event::Rival(200), &[]),
        (Event::Stop, &[]),
    ];
    play("nopreempt", steps)
}

#[test]
fn tracking() -> Result<()> {
    let steps: &[Step] = &[
        (Event::Write("alive", ""), &[]),
        (Event::Write("load", "0\n"), &[]),
        (Event::Start, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::CarrierLost, &[("VI_1", "MASTER"), ("VI_2", "FAULT")]),
        (Event::CarrierBack, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::Write("load", "-7\n"), &[]),
        (Event::Remove("alive"), &[]),
        (Event::Wait, &[]),
        (Event::Write("load", "5"), &[]),
        (Event::Write("load", "-254"), &[("VI_1", "FAULT")]),
        (Event::Write("load", "0"), &[("VI_1", "MASTER")]),
        (Event::Write("alive", ""), &[]),
        (Event::Stop, &[]),
    ];
    play("tracking", steps)
}

#[test]
fn weights_that_count_or_not() -> Result<()> {
    let steps: &[Step] = &[
        (
            Event::Start,
            &[
                ("VI_1", "FAULT"),
                ("VI_2", "MASTER"),
                ("VI_3", "MASTER"),
                ("VI_4", "MASTER"),
                ("VI_5", "MASTER"),
                ("VI_6", "MASTER"),
                ("VI_7", "MASTER"),
                ("VI_8", "MASTER"),
            ],
        ),
        (Event::CarrierLost, &[("VI_2", "FAULT"), ("VI_3", "MASTER"), ("VI_6", "MASTER")]),
        (Event::Stop, &[]),
    ];
    // What weighs at the start is told before the state there, and after it here.
    play_but("weights", steps, &|line| line.contains(" BACKUP_PRIORITY "))
}

#[test]
fn group() -> Result<()> {
    let steps: &[Step] = &[
        (Event::Start, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::CarrierLost, &[("VI_1", "FAULT"), ("VI_2", "FAULT")]),
        (Event::CarrierBack, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::Rival(200), &[("VI_1", "BACKUP"), ("VI_2", "BACKUP")]),
        (Event::ConflictEnded, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::Stop, &[]),
    ];
    // One that gives way because of its group says so, and whoever follows need not wait for its silence. Which of
    // the two that is depends on whose rival is first.
    play_but("group", steps, &|line| line.contains(", prio 0,"))
}

#[test]
fn notifications() -> Result<()> {
    let steps: &[Step] = &[
        (Event::Start, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::CarrierLost, &[("VI_1", "MASTER"), ("VI_2", "FAULT")]),
        (Event::CarrierBack, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::Rival(200), &[("VI_1", "BACKUP")]),
        (Event::ConflictEnded, &[("VI_1", "MASTER")]),
        (Event::Stop, &[]),
    ];
    play("notify", steps)
}

#[test]
fn ipv6() -> Result<()> {
    let steps: &[Step] = &[
        (Event::Start, &[("VI_1", "MASTER"), ("VI_6", "MASTER")]),
        (Event::Rival(200), &[("VI_1", "BACKUP"), ("VI_6", "BACKUP")]),
        (Event::ConflictEnded, &[("VI_1", "MASTER"), ("VI_6", "MASTER")]),
        (Event::Stop, &[]),
    ];
    play("ipv6", steps)
}

#[test]
fn routes() -> Result<()> {
    play("routes", RIVALRY)
}

#[test]
fn pauses_between_announcements() -> Result<()> {
    // The first address is announced twice, the other one once, and so once more after 4 s: over after 8 s.
    let steps: &[Step] = &[
        (Event::Start, &[("VI_1", "MASTER")]),
        (Event::Wait, &[]),
        (Event::Wait, &[("VI_1", "MASTER")]),
        (Event::Wait, &[]),
        (Event::Stop, &[]),
    ];
    play("pauses", steps)
}

#[test]
fn interfaces_that_share_pauses() -> Result<()> {
    play("garp_group", &[(Event::Start, &[("VI_1", "MASTER")]), (Event::Stop, &[])])
}

#[test]
fn startup_delay() -> Result<()> {
    let steps: &[Step] = &[
        (Event::Start, &[("VI_1", "BACKUP")]),
        // After 4.5 s it would be master.
        (Event::Wait, &[("VI_1", "BACKUP")]),
        (Event::Wait, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::Stop, &[]),
    ];
    // keepalived does not say that the owner is BACKUP as long.
    play_but("startup_delay", steps, &|line| line.contains("INSTANCE VI_2 BACKUP"))
}

#[test]
fn links_that_flap() -> Result<()> {
    let steps: &[Step] = &[
        (Event::Start, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::CarrierLost, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::CarrierBack, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::CarrierLost, &[("VI_1", "FAULT"), ("VI_2", "MASTER")]),
        (Event::CarrierBack, &[("VI_1", "MASTER"), ("VI_2", "MASTER")]),
        (Event::Stop, &[]),
    ];
    play("updown", steps)
}

#[test]
fn announcements_on_other_interfaces() -> Result<()> {
    // The router advertises on `trk0`; for nine seconds, with a period of two.
    let steps: &[Step] = &[
        (Event::Start, &[("VI_1", "MASTER")]),
        (Event::Wait, &[]),
        (Event::Wait, &[("VI_1", "MASTER")]),
        (Event::Stop, &[]),
    ];
    play("extra_if", steps)
}

/// States of these routers.
macro_rules! all {
    ($state:literal: $($router:literal)*) => {
        &[$(($router, $state)),*]
    };
}

#[test]
fn reload() -> Result<()> {
    let steps: &[Step] = &[
        (
            Event::Start,
            all!("MASTER": "VI_1" "VI_2" "VI_3" "VI_4" "VI_5" "VI_6" "VI_7" "VI_9" "VI_10" "VI_11" "VI_12" "VI_13"
                 "VI_14"),
        ),
        (Event::Reload, all!("MASTER": "VI_1" "VI_2" "VI_8" "VI_14")),
        (Event::Stop, &[]),
    ];
    // Of a router with a new address keepalived announces all.
    let stays = ["10.0.0.120 ", "10.0.0.122 ", "10.0.0.132 "];
    let others = |line: &str| notifies_priority(line) || is_announced(line, &stays);
    play_but("reload", steps, &others)
}

#[test]
fn reload_backup() -> Result<()> {
    let steps: &[Step] = &[
        (
            Event::Start,
            all!("MASTER": "VI_1" "VI_2" "VI_3" "VI_4" "VI_5" "VI_6" "VI_7" "VI_8" "VI_9" "VI_10" "VI_11" "VI_12"),
        ),
        (Event::CarrierLost, all!("FAULT": "VI_6" "VI_7" "VI_8" "VI_11")),
        (
            Event::Rival(200),
            all!("BACKUP": "VI_1" "VI_2" "VI_3" "VI_4" "VI_5" "VI_9" "VI_10" "VI_12"),
        ),
        (Event::Reload, &[("VI_8", "BACKUP"), ("VI_9", "FAULT"), ("VI_13", "MASTER")]),
        (Event::ConflictEnded, all!("MASTER": "VI_1" "VI_2" "VI_3" "VI_8" "VI_10" "VI_12")),
        (Event::Stop, &[]),
    ];
    play_but("reload_backup", steps, &notifies_priority)
}

#[test]
fn reload_group() -> Result<()> {
    let all =
        all!("MASTER": "VI_1" "VI_2" "VI_3" "VI_4" "VI_5" "VI_6" "VI_7" "VI_8" "VI_9" "VI_10");
    let steps: &[Step] = &[(Event::Start, all), (Event::Reload, &[]), (Event::Stop, &[])];
    // keepalived leaves the masters out where it tells all states after a reload.
    let masters = |line: &str| line.starts_with("fifo INSTANCE") && line.contains(" MASTER ");
    play_but("reload_group", steps, &masters)
}

#[test]
fn reload_routes() -> Result<()> {
    let all = all!("MASTER": "VI_1");
    play("reload_routes", &[(Event::Start, all), (Event::Reload, &[]), (Event::Stop, &[])])
}

#[test]
fn reload_version_3() -> Result<()> {
    let steps: &[Step] = &[
        (Event::Start, all!("MASTER": "VI_1" "VI_2" "VI_3" "VI_4" "VI_5" "VI_7")),
        (Event::Reload, all!("MASTER": "VI_6")),
        (Event::Stop, &[]),
    ];
    let stays = ["2001:db8::3,", "fe80::100,"];
    play_but("reload_version3", steps, &|line| is_announced(line, &stays))
}

#[test]
fn reload_tracking() -> Result<()> {
    let steps: &[Step] = &[
        (Event::Start, all!("MASTER": "VI_1" "VI_2" "VI_3" "VI_4")),
        (Event::Write("load", "-7\n"), &[]),
        (Event::Reload, &[]),
        (Event::Wait, &[]),
        (Event::Write("alive", ""), &[]),
        (Event::Wait, &[]),
        (Event::Stop, &[]),
    ];
    play_but("reload_tracking", steps, &notifies_priority)
}

#[test]
fn reload_globals() -> Result<()> {
    let all = all!("MASTER": "VI_1" "VI_2" "VI_3" "VI_4");
    let steps: &[Step] =
        &[(Event::Start, all), (Event::Reload, all), (Event::CarrierLost, all), (Event::Stop, &[])];
    play_but("reload_globals", steps, &notifies_priority)
}

#[test]
fn reload_identity() -> Result<()> {
    let all = all!("MASTER": "VI_1" "VI_2" "VI_3" "VI_4" "VI_5" "VI_6" "VI_7" "VI_8");
    let steps: &[Step] = &[
        (Event::Start, all),
        (Event::Reload, &[]),
        // Longer than a new one takes to be master.
        (Event::Wait, &[]),
        (Event::Wait, all!("MASTER": "VI_1" "VI_2" "VI_3" "VI_4" "VI_5" "VI_6" "VI_8")),
        (Event::Stop, &[]),
    ];
    play_but("reload_identity", steps, &|line| is_announced(line, &["10.0.0.58 "]))
}

/// What a reload itself makes of priorities is told by us only, or as that of a backup by keepalived.
fn notifies_priority(line: &str) -> bool {
    line.starts_with("fifo") && line.contains("_PRIORITY ")
}

fn is_announced(line: &str, addresses: &[&str]) -> bool {
    let is = |address| {
        line.contains(&format!("who-has {address}")) || line.contains(&format!("tgt is {address}"))
    };
    line.starts_with("announced") && addresses.iter().any(is)
}
