//! How advertisements are received on an interface: which ways there are, in which order they are tried, and what each
//! lacks. Pure: whoever asks knows the interface, and attaches.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use vrrp_common::maps::capture;

/// A way to receive advertisements, the best first.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum CaptureMode {
    /// XDP in the driver.
    Native,
    /// A tc program at the ingress of the network stack, behind XDP.
    Tc,
    /// XDP in the network stack, on any device.
    Generic,
    /// A packet socket, which the daemon reads.
    Raw,
}

impl CaptureMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Native, Self::Tc, Self::Generic, Self::Raw];

    /// Word in the output.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The number in the maps.
    pub const fn number(self) -> u8 {
        match self {
            Self::Native => capture::NATIVE,
            Self::Tc => capture::TC,
            Self::Generic => capture::GENERIC,
            Self::Raw => capture::RAW,
        }
    }

    /// The one with that number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.number() == number)
    }

    /// Name for people, as in "NAME is refused".
    pub const fn title(self) -> &'static str {
        match self {
            Self::Native => "native XDP",
            Self::Tc => "tc",
            Self::Generic => "generic XDP",
            Self::Raw => "a packet socket",
        }
    }

    /// What it lacks as names, which never change.
    pub const fn lack_names(self) -> &'static [&'static str] {
        match self {
            Self::Native => &[],
            Self::Tc => &["drops-late", "refusal-cost"],
            Self::Generic => &["packet-cost"],
            Self::Raw => &["wakes-daemon", "drops-nothing", "no-traffic-counts", "no-claims-seen"],
        }
    }

    /// What it lacks, as the end of "it works, but ...".
    pub const fn lacks(self) -> Option<&'static str> {
        match self {
            Self::Native => None,
            Self::Tc => Some(
                "refused advertisements are dropped only behind the driver and packet sockets, and cost more than with \
                 native XDP",
            ),
            Self::Generic => Some("every packet costs more than with native XDP"),
            Self::Raw => Some(
                "every advertisement wakes the daemon, nothing is dropped, and neither traffic to the addresses nor who \
                 else claims them is seen",
            ),
        }
    }
}

/// The title of a mode by its name in the output; a name that is unknown, as of a newer daemon, as it is.
pub fn title(name: &str) -> &str {
    name.parse().map_or(name, |mode: CaptureMode| mode.title())
}

/// Some of the modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeSet(u8);

impl ModeSet {
    /// This one, too.
    pub fn insert(&mut self, mode: CaptureMode) {
        self.0 |= Self::bit(mode);
    }

    /// Whether it is one of them.
    pub const fn contains(self, mode: CaptureMode) -> bool {
        self.0 & Self::bit(mode) != 0
    }

    const fn bit(mode: CaptureMode) -> u8 {
        1 << mode as u8
    }
}

/// What decides on an interface before anything is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// It is made of ports (bond of whatever mode, team).
    pub aggregate: bool,
    /// VLAN devices stand above it.
    pub vlans_above: bool,
    /// The kernel attaches tc programs by links, which go with the process (tcx).
    pub tcx: bool,
    /// A router there has a virtual MAC address.
    pub virtual_mac: bool,
    /// A router there has signed advertisements: the modes whose programs check them.
    pub signed: Option<ModeSet>,
    /// A router there has an authentication header.
    pub ah: bool,
    /// Somebody else keeps stopping the ring buffer through which programs report.
    pub ring_taken: bool,
    /// Modes whose programs somebody else keeps taking away. A packet socket has none.
    pub programs_taken: ModeSet,
}

/// As configured: the best mode that may be used on an interface, `None` for the best that suits it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Of interfaces that are not named.
    pub default: Option<CaptureMode>,
    /// By name of the interface.
    pub interfaces: BTreeMap<String, Option<CaptureMode>>,
}

impl Settings {
    /// Whether every interface is captured by a packet socket.
    pub fn only_raw(&self) -> bool {
        let raw = Some(CaptureMode::Raw);
        self.default == raw && self.interfaces.values().all(|best| *best == raw)
    }

    /// The best mode that may be used on an interface.
    pub fn best(&self, interface: &str) -> Option<CaptureMode> {
        self.interfaces.get(interface).copied().unwrap_or(self.default)
    }
}

/// Word in configurations for the best mode that suits.
pub const AUTO: &str = "auto";

/// The word in configurations.
pub fn setting_name(best: Option<CaptureMode>) -> &'static str {
    best.map_or(AUTO, CaptureMode::name)
}

/// What a word in configurations means.
/// Errors: [`UnknownMode`].
pub fn setting(word: &str) -> Result<Option<CaptureMode>, UnknownMode> {
    if word == AUTO {
        return Ok(None);
    }
    word.parse().map(Some).map_err(|_| UnknownMode)
}

/// What [`setting`] reads, for the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BestMode(pub Option<CaptureMode>);

impl FromStr for BestMode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Self, UnknownMode> {
        setting(word).map(Self)
    }
}

/// A word that names no mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write auto, native, tc, generic or raw")]
pub struct UnknownMode;

/// In which order modes are tried on an interface, and why not a better one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The modes.
    pub modes: Vec<CaptureMode>,
    /// Why the first one is not the best there is.
    pub why: Option<PlanReason>,
}

/// Why a plan does not begin with the best mode there is.
#[cfg_attr(test, derive(strum::EnumIter))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum PlanReason {
    /// What the configuration says.
    Configured,
    /// A bond hands a native program to the devices below, and those are what it finds its packets on (`bond_xdp_set`,
    /// drivers/net/bonding/bond_main.c): no router has their numbers. In the stack, what comes in by any device of a bond
    /// is the bond's in all its modes (`bond_handle_frame`).
    Ports,
    /// XDP has no mark for a tag that the device has taken off the frame, be it the hardware or, on veth, the other end.
    Vlans,
    /// The stack drops what is for another Ethernet address than the interface's own, unless a tc program says otherwise
    /// (`bpf_skb_change_type`): what XDP changes in the frame does not matter to it.
    VirtualMac,
    /// Signatures are checked by the programs of no better mode.
    Signed,
    /// Only the daemon checks authentication headers.
    Ah,
    /// No program can report what it has heard.
    RingTaken,
    /// No program is there for long.
    ProgramsTaken,
}

impl PlanReason {
    /// A name, which never changes.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Ports => "native XDP would run on its ports, if at all",
            Self::Vlans => {
                "there are VLAN devices above, and XDP does not see a tag that the device has taken off"
            }
            Self::VirtualMac => {
                "routers have virtual MAC addresses there, and XDP cannot take frames to one for ours"
            }
            Self::Signed => {
                "routers have signed advertisements there, which no program of a better mode checks"
            }
            Self::Ah => {
                "routers have authentication headers there (auth_type AH), which only the daemon checks"
            }
            Self::RingTaken => {
                "somebody else keeps moving the position to which the ring buffer was read"
            }
            Self::ProgramsTaken => "somebody else keeps detaching or replacing our programs",
        }
    }
}

/// What a daemon without BPF does and lacks, as the end of "no BPF: ...; ".
pub const WITHOUT_BPF: &str = "every interface is captured by a packet socket: every advertisement wakes the daemon, nothing \
     is dropped, and neither traffic to the addresses nor who else claims them is seen; `stats` and metrics are the \
     daemon's own, and no packets are kept for `monitor`, `top` and `doctor`";

/// What cannot be done with the maps of a daemon that are pinned nowhere, as the end of "no pins: ...; ".
pub const WITHOUT_PINS: &str = "only the daemon can read its maps: `stats` and metrics are its own readings, and `monitor`, \
     `top` and `doctor` see nothing of what it refuses";

impl Plan {
    /// The mode that the configuration names, if that is another one than this.
    pub fn lacks_configured(&self, mode: CaptureMode) -> Option<CaptureMode> {
        let best =
            self.modes.first().copied().filter(|_| self.why == Some(PlanReason::Configured))?;
        (best != mode).then_some(best)
    }
}

/// Why nothing can be received on such an interface, in whatever mode.
pub fn routed(interface: &str) -> String {
    format!(
        "an ipvlan device in mode l3 or l3s passes on neither multicast nor ARP (`ip link set {interface} type ipvlan mode \
         l2`)"
    )
}

/// What is to be tried on an interface. What the configuration names comes first, whatever it cannot see, and what is
/// better is not tried.
pub fn plan(best: Option<CaptureMode>, facts: Facts) -> Plan {
    if facts.ah {
        return Plan { modes: vec![CaptureMode::Raw], why: Some(PlanReason::Ah) };
    }
    if let Some(checks) = facts.signed {
        let Plan { modes, why } = plan(best, Facts { signed: None, ..facts });
        let can = |mode: &CaptureMode| *mode == CaptureMode::Raw || checks.contains(*mode);
        let (mut able, others): (Vec<_>, Vec<_>) = modes.into_iter().partition(can);
        if able.is_empty() {
            able.push(CaptureMode::Raw);
        }
        let why = if others.is_empty() { why } else { Some(PlanReason::Signed) };
        return Plan { modes: able, why };
    }
    if facts.ring_taken && best != Some(CaptureMode::Raw) {
        return Plan { modes: vec![CaptureMode::Raw], why: Some(PlanReason::RingTaken) };
    }
    let Plan { modes, why } = wanted(best, facts);
    let (taken, left): (Vec<_>, _) =
        modes.into_iter().partition(|mode| facts.programs_taken.contains(*mode));
    Plan { modes: left, why: if taken.is_empty() { why } else { Some(PlanReason::ProgramsTaken) } }
}

/// The same if nobody else takes anything away.
fn wanted(best: Option<CaptureMode>, facts: Facts) -> Plan {
    let auto = auto(facts);
    let Some(best) = best else { return auto };
    if best == CaptureMode::Native && facts.aggregate {
        return auto;
    }
    let lesser = auto.modes.into_iter().filter(|mode| *mode > best);
    Plan { modes: [best].into_iter().chain(lesser).collect(), why: Some(PlanReason::Configured) }
}

fn auto(facts: Facts) -> Plan {
    use CaptureMode::{Generic, Native, Raw, Tc};
    let Facts { aggregate, vlans_above, tcx, virtual_mac, .. } = facts;
    // Without tcx, a tc program outlives a daemon that is killed.
    let in_stack = if tcx { [Tc, Generic, Raw] } else { [Generic, Tc, Raw] };
    if vlans_above {
        // A frame of a VLAN is never taken for one of the device itself.
        return Plan { modes: vec![Tc, Raw], why: Some(PlanReason::Vlans) };
    }
    if virtual_mac {
        let others: &[CaptureMode] =
            if aggregate { &[Generic, Raw] } else { &[Native, Generic, Raw] };
        return Plan { modes: [&[Tc], others].concat(), why: Some(PlanReason::VirtualMac) };
    }
    if aggregate {
        return Plan { modes: in_stack.to_vec(), why: Some(PlanReason::Ports) };
    }
    Plan { modes: [&[Native], in_stack.as_slice()].concat(), why: None }
}

/// How an interface captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The mode.
    pub mode: CaptureMode,
    /// Why not a better one.
    pub why: Option<String>,
    /// The same as names ([`PlanReason::name`], [`Failure::name`], [`UNAVAILABLE`]), in the same order.
    pub causes: Vec<&'static str>,
}

/// Name of the reason that the mode in the configuration is not available.
pub const UNAVAILABLE: &str = "configured-unavailable";

impl Choice {
    /// That of a plan whose better modes failed so.
    pub fn new(plan: &Plan, mode: CaptureMode, failures: &[Failure]) -> Self {
        let configured =
            plan.lacks_configured(mode).map(|best| format!("{} is configured", best.title()));
        let cause =
            if configured.is_some() { Some(UNAVAILABLE) } else { plan.why.map(PlanReason::name) };
        let first = configured.as_deref().or(plan.why.map(PlanReason::text));
        let why: Vec<&str> = first.into_iter().chain(failures.iter().map(Failure::why)).collect();
        Self {
            mode,
            why: (!why.is_empty()).then(|| why.join("; ")),
            causes: cause.into_iter().chain(failures.iter().map(Failure::name)).collect(),
        }
    }
}

/// Why an interface cannot be captured in one mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another program is in the place of ours. It may go.
    Displaced(String),
    /// There are too few file descriptors, for whatever mode.
    Descriptors(String),
    /// Something else.
    Refused(String),
}

impl Failure {
    /// A name, which never changes.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Displaced(_) => "displaced",
            Self::Descriptors(_) => "descriptors",
            Self::Refused(_) => "refused",
        }
    }

    /// In words.
    pub fn why(&self) -> &str {
        let (Self::Displaced(why) | Self::Descriptors(why) | Self::Refused(why)) = self;
        why
    }
}

/// The way along a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    plan: Plan,
    /// How the interface captures until something better is had.
    before: Option<CaptureMode>,
    /// So many of the modes are not available.
    failed: usize,
    failures: Vec<Failure>,
    displaced: bool,
}

impl Walk {
    /// From its beginning, on an interface that captures like that.
    pub fn new(plan: Plan, before: Option<CaptureMode>) -> Self {
        Self { plan, before, failed: 0, failures: Vec::new(), displaced: false }
    }

    /// What is to be tried next; `None` at the end, be it that the interface captures in no worse mode already.
    pub fn next(&self) -> Option<CaptureMode> {
        self.plan.modes.get(self.failed).copied().filter(|mode| self.before != Some(*mode))
    }

    /// That is not available.
    pub fn failed(&mut self, failure: Failure) {
        self.failed += 1;
        if let (Failure::Descriptors(_), None) = (&failure, self.before) {
            self.failed = self.plan.modes.len();
        }
        self.displaced |= matches!(failure, Failure::Displaced(_));
        if !self.failures.iter().any(|known| known.why() == failure.why()) {
            self.failures.push(failure);
        }
    }

    /// How the interface captures if what was to be tried next is had, or at the end.
    /// Errors: why it does not at all.
    pub fn choice(&self) -> Result<Choice, String> {
        let mode = self.plan.modes.get(self.failed);
        mode.map(|mode| Choice::new(&self.plan, *mode, &self.failures))
            .ok_or_else(|| self.failures.iter().map(Failure::why).collect::<Vec<_>>().join("; "))
    }

    /// Nothing captures there any more: whatever the plan has is worth a try.
    pub fn lost(&mut self) {
        self.before = None;
    }

    /// Whether another program was in the place of ours.
    pub fn is_displaced(&self) -> bool {
        self.displaced
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => write!(f, "{} ({why})", self.mode.title()),
            None => f.write_str(self.mode.title()),
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::CaptureMode::{Generic, Native, Raw, Tc};
    use super::*;

    #[test]
    fn what_is_tried_on_what() {
        let modes = |aggregate, vlans_above, tcx| {
            plan(None, Facts { aggregate, vlans_above, tcx, ..Facts::default() }).modes
        };
        assert_eq!(modes(false, false, true), [Native, Tc, Generic, Raw]);
        assert_eq!(modes(false, false, false), [Native, Generic, Tc, Raw]);
        assert_eq!(modes(true, false, true), [Tc, Generic, Raw]);
        let with_virtual = |aggregate| {
            plan(None, Facts { aggregate, virtual_mac: true, ..Facts::default() }).modes
        };
        assert_eq!(with_virtual(false), [Tc, Native, Generic, Raw]);
        assert_eq!(with_virtual(true), [Tc, Generic, Raw]);
        assert_eq!(modes(true, false, false), [Generic, Tc, Raw]);
        // XDP, of whatever kind, would take frames of the VLANs for the device's own.
        for (aggregate, tcx) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(modes(aggregate, true, tcx), [Tc, Raw]);
        }
    }

    #[test]
    fn what_is_configured_is_tried_first_and_nothing_better() {
        let facts = Facts { tcx: true, ..Facts::default() };
        assert_eq!(plan(Some(Native), facts).modes, [Native, Tc, Generic, Raw]);
        assert_eq!(plan(Some(Tc), facts).modes, [Tc, Generic, Raw]);
        assert_eq!(plan(Some(Generic), facts).modes, [Generic, Raw]);
        // Whoever writes it knows that no frame of those VLANs is stripped.
        let below = Facts { vlans_above: true, ..facts };
        assert_eq!(plan(Some(Native), below).modes, [Native, Tc, Raw]);
        assert_eq!(plan(Some(Raw), below).modes, [Raw]);
        // A program that cannot report hears nothing.
        let taken = Facts { ring_taken: true, ..facts };
        for best in [None, Some(Native), Some(Tc), Some(Generic), Some(Raw)] {
            assert_eq!(plan(best, taken).modes, [Raw]);
        }
        // Nor does one that is not there for long.
        let mut programs_taken = ModeSet::default();
        programs_taken.insert(Native);
        let taken = |best, programs_taken| plan(best, Facts { programs_taken, ..facts });
        assert_eq!(taken(None, programs_taken).modes, [Tc, Generic, Raw]);
        assert_eq!(taken(Some(Native), programs_taken).why, Some(PlanReason::ProgramsTaken));
        assert_eq!(taken(Some(Tc), programs_taken), plan(Some(Tc), facts), "as configured");
        programs_taken.insert(Generic);
        assert_eq!(taken(None, programs_taken).modes, [Tc, Raw]);
        programs_taken.insert(Tc);
        for best in [None, Some(Native), Some(Tc), Some(Generic), Some(Raw)] {
            assert_eq!(taken(best, programs_taken).modes, [Raw]);
        }
        // That would be no capture at all.
        let bond = Facts { aggregate: true, ..facts };
        assert_eq!(plan(Some(Native), bond), plan(None, bond));
        for mode in CaptureMode::ALL {
            assert_eq!(setting(mode.name()), Ok(Some(mode)));
            assert_eq!(setting(setting_name(Some(mode))), Ok(Some(mode)));
        }
        assert_eq!((setting(AUTO), setting("XDP")), (Ok(None), Err(UnknownMode)));
        let interfaces = [("eth0".to_owned(), None)].into();
        let settings = Settings { default: Some(Tc), interfaces };
        assert_eq!((settings.best("eth0"), settings.best("eth1")), (None, Some(Tc)));
    }

    #[test]
    fn what_is_configured_and_not_to_be_had_is_said() {
        let plan = plan(Some(Native), Facts { tcx: true, ..Facts::default() });
        assert_eq!(plan.lacks_configured(Native), None);
        assert_eq!(plan.lacks_configured(Raw), Some(Native));
        assert_eq!(Choice::new(&plan, Native, &[]).to_string(), "native XDP (configured)");
        let failures = [Failure::Refused("no BPF: for a reason".to_owned())];
        assert_eq!(
            Choice::new(&plan, Raw, &failures).to_string(),
            "a packet socket (native XDP is configured; no BPF: for a reason)"
        );
        let causes = Choice::new(&plan, Raw, &failures).causes;
        assert_eq!(causes, [UNAVAILABLE, "refused"]);
        let auto = super::plan(None, Facts { aggregate: true, ..Facts::default() });
        let displaced = [Failure::Displaced("taken".to_owned())];
        assert_eq!(Choice::new(&auto, Generic, &displaced).causes, ["ports", "displaced"]);
        assert_eq!(auto.lacks_configured(Raw), None);
    }

    #[test]
    fn what_a_mode_lacks_has_names_where_it_has_words() {
        let mut known = std::collections::BTreeSet::new();
        for mode in CaptureMode::ALL {
            assert_eq!(mode.lacks().is_none(), mode.lack_names().is_empty(), "{mode}");
            assert!(mode.lack_names().iter().all(|name| known.insert(*name)), "{mode}");
        }
        for reason in PlanReason::iter() {
            assert!(known.insert(reason.name()), "{reason:?}");
        }
    }

    #[test]
    fn the_next_mode_is_tried_where_one_is_not_to_be_had() {
        let plan = plan(None, Facts { tcx: true, ..Facts::default() });
        let mut walk = Walk::new(plan.clone(), None);
        let mut tried = Vec::new();
        while let Some(mode) = walk.next() {
            tried.push(mode);
            assert_eq!(walk.choice().map(|choice| choice.mode), Ok(mode));
            walk.failed(match mode {
                Native | Generic => Failure::Displaced("taken".to_owned()),
                Tc | Raw => Failure::Refused(mode.name().to_owned()),
            });
        }
        assert_eq!(tried, plan.modes);
        assert!(walk.is_displaced());
        assert_eq!(walk.choice(), Err("taken; tc; raw".to_owned()));

        // What is no better than what there is is not tried, unless that is gone.
        let mut walk = Walk::new(plan.clone(), Some(Tc));
        walk.failed(Failure::Refused("no".to_owned()));
        assert_eq!((walk.next(), walk.choice().unwrap().mode), (None, Tc));
        walk.lost();
        assert_eq!(walk.next(), Some(Tc));
        assert_eq!(Walk::new(plan.clone(), Some(Native)).next(), None);

        // What is short is so for all modes, and no reason to give up what there is.
        let short = || Failure::Descriptors("short".to_owned());
        let mut walk = Walk::new(plan.clone(), None);
        walk.failed(short());
        assert_eq!((walk.next(), walk.choice()), (None, Err("short".to_owned())));
        let mut walk = Walk::new(plan, Some(Tc));
        walk.failed(short());
        assert_eq!(walk.choice().unwrap().mode, Tc);
    }

    #[test]
    fn where_there_is_nothing_but_raw() {
        let with = |default, interface| Settings {
            default,
            interfaces: [("eth0".to_owned(), interface)].into(),
        };
        assert!(with(Some(Raw), Some(Raw)).only_raw());
        assert!(!with(Some(Raw), None).only_raw() && !with(None, Some(Raw)).only_raw());
        assert!(!Settings::default().only_raw());
    }

    #[test]
    fn who_has_less_than_the_best_says_why() {
        let plain = plan(None, Facts { tcx: true, ..Facts::default() });
        let native = Choice::new(&plain, Native, &[]);
        assert!(native.causes.is_empty());
        assert_eq!((native.to_string().as_str(), native.why), ("native XDP", None));
        let taken =
            [Failure::Displaced("XDP is taken by another program (id 7, firewall)".to_owned())];
        assert_eq!(
            Choice::new(&plain, Tc, &taken).to_string(),
            "tc (XDP is taken by another program (id 7, firewall))"
        );
        for (aggregate, vlans_above) in [(true, false), (false, true), (true, true)] {
            let plan = plan(None, Facts { aggregate, vlans_above, tcx: true, ..Facts::default() });
            assert!(Choice::new(&plan, plan.modes[0], &[]).why.is_some());
        }
    }
}
