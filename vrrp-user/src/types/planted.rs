//! Mistakes that a test has the daemon make, to see whether it finds them (`tests/tests/simulation`). Which one is chosen at
//! run time, by each thread for itself. Without the feature `planted-faults` there is nothing of this in the program, and
//! with optimisation (no debug assertions) nor is there with it.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray)]
pub enum Fault {
    /// Backups wait for three intervals only.
    SkewLeftOut,
    /// Of two masters of one priority the one with the greater address gives way.
    TieDecidedWrongly,
    /// A router takes over before the startup delay is over.
    StartsAtOnce,
    /// What the kernel side has of one master counts for another router, too.
    StrangersLastSeen,
    /// What is removed is taken for removed, whatever the answer.
    FailedRemovalBelieved,
    /// The answer to one request is taken for that to another one.
    AnswerToAnother,
    /// Timers are believed without asking when masters were last heard.
    LastSeenNotRefreshed,
    /// A router that a reload changes is in no sync group any more.
    ReloadForgetsGroup,
    /// Who gives way keeps its addresses.
    AddressesKept,
    /// Who gives way keeps its routes and rules.
    RoutesKept,
    /// The kernel side goes on to keep quiet about a master that its backup outranks by now.
    AckKept,
    /// The kernel is not told to which addresses it lets nothing in.
    AcceptIgnored,
    /// What is listed after a loss of notifications is not compared with what was believed.
    NotResynced,
    /// A router goes on as master although its lease is over.
    AdoptedTooLate,
    /// A claim that came after its last advertisement keeps no router from being adopted.
    AdoptedInSpite,
    /// Who goes on after a kill or an upgrade is not told what the daemon before had acknowledged.
    AdoptedAckKept,
    /// A daemon that was killed within a minute after it had adopted another one is adopted.
    AdoptedAgain,
    /// What a router was is forgotten by an upgrade.
    UpgradeForgets,
    /// An advertisement that leaves does not renew the lease.
    LeaseNotRefreshed,
    /// One that does not leave renews it.
    RefreshedByFailedSend,
    /// The clock is read after an advertisement was sent (by the simulated driver).
    StampedAfterSend,
    /// A renewal lifts a fence.
    FenceLiftedByRenewal,
    /// A claim from before the takeover counts.
    OldClaimBelieved,
    /// Who gives way keeps the lease.
    LeaseNotEnded,
    /// Addresses that were found at the start are answered for whoever claims them.
    FoundNotFenced,
    /// What somebody else takes away again and again is put back for ever.
    TamperingEndured,
    /// Who may have been told nothing for a while counts that as silence.
    LossCountsAsSilence,
}

impl Fault {
    /// All of them.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;
}

#[cfg(all(feature = "planted-faults", debug_assertions))]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Has this thread make a mistake from now on, or none.
#[cfg(all(feature = "planted-faults", debug_assertions))]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this mistake is to be made.
#[cfg(all(feature = "planted-faults", debug_assertions))]
pub fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether this mistake is to be made: never.
#[cfg(not(all(feature = "planted-faults", debug_assertions)))]
pub const fn planted(_: Fault) -> bool {
    false
}
