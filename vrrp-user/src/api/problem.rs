//! What can be wrong: an identifier for programs, which never changes, beside the sentence for people, whose wording may.

use std::collections::BTreeMap;

use strum::IntoStaticStr;

use crate::engine::types::FaultCause;

/// What kind of thing is wrong.
#[cfg_attr(test, derive(strum::VariantNames))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ProblemKind {
    /// What keeps a router in FAULT or from starting.
    Fault(FaultCause),
    /// The link went down when a program was attached, and is waited for.
    LinkSettles,
    /// A tracked or other script is disabled.
    ScriptDisabled,
    /// Somebody else has put a virtual address on an interface.
    ForeignAddress,
    /// The fence that is configured is not available.
    NoFence,
    /// Another interface answers ARP for an address in spite of the fence.
    FenceBypassed,
    /// Packets are let in although the router is without accept mode.
    NoAcceptFilter,
    /// Unsigned advertisements are accepted, although the router has keys.
    HmacNotEnforced,
    /// A master lacks one of its addresses.
    AddressMissing,
    /// A master lacks one of its routes or rules.
    ObjectMissing,
    /// Another program keeps removing what belongs to it.
    RemovedByOthers,
    /// Another router claims to own the addresses, too.
    SecondOwner,
    /// The master's interval is many times ours.
    IntervalLong,
    /// The master's interval is longer than what is believed.
    IntervalBounded,
    /// It is, and is believed since it was heard again.
    IntervalOverBound,
    /// Another host has an address of a master: a split brain.
    AddressConflict,
    /// Advertisements for the router are refused.
    AdvertsRefused,
    /// The maps are pinned no more.
    NoPins,
}

impl ProblemKind {
    /// As in JSON; of what keeps a router in FAULT the same as in its transitions.
    pub fn name(self) -> &'static str {
        if let Self::Fault(cause) = self { cause.name() } else { self.into() }
    }

    /// With what is wrong in words.
    pub fn because(self, text: String) -> Problem {
        Problem { kind: self, text }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub kind: ProblemKind,
    /// What, and what to do about it.
    pub text: String,
}

impl Problem {
    /// The sentences, and the identifiers of the same order.
    pub fn unzip(problems: impl IntoIterator<Item = Self>) -> (Vec<String>, Vec<String>) {
        problems.into_iter().map(|it| (it.text, it.kind.name().to_owned())).unzip()
    }
}

/// What the BPF that there is lacks on a kernel, or with the rights of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum LimitationKind {
    /// XDP is refused.
    NoXdp,
    /// tc is refused for what XDP cannot receive.
    NoIngress,
    /// What is sent from the addresses is not counted.
    NoEgress,
    /// The tc programs copy the headers.
    CopiesHeaders,
    /// The kernel has no tcx.
    NoTcx,
    /// Links cannot be pinned.
    NoLinkPins,
    /// Signatures are checked by the daemon.
    NoSignatures,
}

impl LimitationKind {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Something that is lacking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limitation {
    /// What kind of thing.
    pub kind: LimitationKind,
    /// What, and what that means.
    pub text: String,
}

/// How many problems there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProblemCounts {
    /// By identifier.
    pub counts: BTreeMap<&'static str, u64>,
    /// Routers that were looked at.
    pub routers: usize,
    /// Whether there are others.
    pub more: bool,
}

impl ProblemCounts {
    /// One more.
    pub fn add(&mut self, problem: &Problem) {
        *self.counts.entry(problem.kind.name()).or_default() += 1;
    }
}
