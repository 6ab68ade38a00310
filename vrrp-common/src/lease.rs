//! Leases: for how long this host may answer for the addresses of a router, and when its own kernel side stops it.
//!
//! An advertisement is a lease. Whoever holds an address may answer for it until as many intervals after its last
//! advertisement as no backup of lower rank takes over in. A daemon that is killed, stopped or starved leaves its addresses
//! behind, and does not know it: so it is the kernel side that stops to answer, which needs no daemon.
//!
//! The rules, all of them in [`is_fenced`]:
//!
//! - A takeover begins a term ([`Lease::term`]), and only that lifts a fence. Each advertisement that left for anybody
//!   renews the lease, by the time until which the daemon had heard everything when it decided to send it.
//! - A claim is an accepted advertisement that outranks us, or ARP or neighbour discovery in which somebody else says that
//!   it has an address of ours. Only one that is newer than the last renewal counts, and than the takeover.
//! - What outranks us fences at once. Anything else does when the lease is over.
//! - Addresses that a daemon finds when it starts have a lease that is over: whoever has claimed them since it was renewed
//!   last has them. To whoever is not
//!   master every accepted advertisement is a claim.
//! - Who gives up has no lease from then on, but the time until it would have been over to say so: our own advertisements
//!   are stopped only then.
//! - An advertisement of the router that leaves this host and is not our daemon's lifts the fence, and so may an operator:
//!   until the next takeover of our daemon the addresses are none of its business.
//!
//! Times are nanoseconds of `CLOCK_BOOTTIME`, which goes on while the machine is suspended: a lease is over then, however
//! little the daemon has seen of that.
//!
//! Each word is written by one side, and names the term that it is about where it must be right together with another one:
//! so they may be seen in any order.

use crate::maps::{
    LEASE_CLAIMED, LEASE_DROPPED, LEASE_FENCED, LEASE_LIFTED, LEASE_OUTRANKED, LEASE_REFRESHED,
    LEASE_TERM, LEASE_TERMS, Lease,
};
use crate::shared::SharedWords;

/// What has to have happened for a fence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FenceMode {
    /// The lease is over, and somebody else claims an address; or somebody outranks us.
    #[default]
    Claim,
    /// The lease is over.
    Lease,
}

/// What a router's lease is like: a word of its own ([`Lease::terms`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// When it is fenced.
    pub mode: FenceMode,
    /// How long it may answer after an advertisement, nanoseconds.
    pub length_ns: u64,
    /// It has given up: nothing of the lease is left, but to say so.
    pub ended: bool,
}

const MODE_BITS: u32 = 8;
const BY_LEASE: u64 = 1;
const ENDED: u64 = 2;

impl Terms {
    /// Intervals after which no other router has taken over, at most: what the backups count is theirs to know, and three
    /// are usual (RFC 9568 section 6.1).
    pub const MOST_INTERVALS: u8 = 3;

    /// Of a router that advertises so often, and whose backups take over after so many intervals as far as it knows.
    pub const fn new(mode: FenceMode, interval_ns: u64, down_adverts: u8) -> Self {
        let most = Self::MOST_INTERVALS;
        let intervals = if down_adverts < most { down_adverts } else { most };
        Self { mode, length_ns: interval_ns.saturating_mul(intervals as u64), ended: false }
    }

    /// The word.
    pub const fn pack(self) -> u64 {
        let mode = match self.mode {
            FenceMode::Claim => 0,
            FenceMode::Lease => BY_LEASE,
        };
        self.length_ns << MODE_BITS | mode | if self.ended { ENDED } else { 0 }
    }

    /// What [`Self::pack`] packed.
    pub const fn unpack(word: u64) -> Self {
        let mode = if word & BY_LEASE != 0 { FenceMode::Lease } else { FenceMode::Claim };
        Self { mode, length_ns: word >> MODE_BITS, ended: word & ENDED != 0 }
    }
}

/// What is to leave or to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// To or from an address of the router, ARP and neighbour discovery included.
    Address,
    /// An advertisement of our daemon.
    Advert,
}

/// From when on claims count.
#[inline(always)]
fn since(lease: &impl SharedWords, term: u64) -> u64 {
    // The daemon writes both: a processor other than x86 may show the one before the other.
    let renewed = lease.load::<LEASE_REFRESHED>();
    if renewed > term { renewed } else { term }
}

/// Whether [`is_fenced`] is worth a look at the clock: there is a claim, or it goes by the lease alone.
#[inline(always)]
pub fn is_suspect(lease: &impl SharedWords) -> bool {
    let term = lease.load::<LEASE_TERM>();
    term != 0
        && (lease.load::<LEASE_CLAIMED>() > since(lease, term)
            || lease.load::<LEASE_FENCED>() == term
            || lease.load::<LEASE_TERMS>() & BY_LEASE != 0)
}

/// Whether something must not leave or arrive; from then on nothing does until the next takeover.
#[inline(always)]
pub fn is_fenced(lease: &impl SharedWords, now: u64, traffic: Traffic) -> bool {
    let Some(term) = fenced_term(lease, now, traffic) else { return false };
    if lease.load::<LEASE_FENCED>() != term {
        lease.store::<LEASE_FENCED>(term);
    }
    true
}

/// [`is_fenced`] of a packet to or from an address which may yet turn out to be none of the router's: nothing comes of it. What
/// is to be read of the packet for that need not be where this says no.
#[inline(always)]
pub fn would_be_fenced(lease: &impl SharedWords, now: u64) -> bool {
    fenced_term(lease, now, Traffic::Address).is_some()
}

/// The term that is over.
#[inline(always)]
fn fenced_term(lease: &impl SharedWords, now: u64, traffic: Traffic) -> Option<u64> {
    let term = lease.load::<LEASE_TERM>();
    if term == 0 || lease.load::<LEASE_LIFTED>() == term {
        return None;
    }
    let (since, terms) = (since(lease, term), lease.load::<LEASE_TERMS>());
    let is_over = now > since + (terms >> MODE_BITS);
    if matches!(traffic, Traffic::Advert) && !is_over {
        return None;
    }
    if lease.load::<LEASE_FENCED>() == term {
        return Some(term);
    }
    let is_claimed = lease.load::<LEASE_CLAIMED>() > since || terms & BY_LEASE != 0;
    let is_outranked = lease.load::<LEASE_OUTRANKED>() > since;
    ((is_over || terms & ENDED != 0) && is_claimed || is_outranked).then_some(term)
}

/// Counts what was stopped.
#[inline(always)]
pub fn count(lease: &impl SharedWords) {
    lease.increment::<LEASE_DROPPED>();
}

/// Somebody else says that it has an address of the router.
#[inline(always)]
pub fn claim(lease: &impl SharedWords, now: u64) {
    lease.store::<LEASE_CLAIMED>(now);
}

/// Somebody, perhaps this host itself, says that it has an address of the router, and that with the virtual MAC address that
/// all its hosts have: what this host says may come back to it. It says nothing any more when the lease is over.
#[inline(always)]
pub fn claim_alike(lease: &impl SharedWords, now: u64) {
    let terms = lease.load::<LEASE_TERMS>();
    let since = since(lease, lease.load::<LEASE_TERM>());
    if now > since + (terms >> MODE_BITS) || terms & ENDED != 0 {
        claim(lease, now);
    }
}

/// Somebody outranks the router, which is master.
#[inline(always)]
pub fn outrank(lease: &impl SharedWords, now: u64) {
    lease.store::<LEASE_OUTRANKED>(now);
    claim(lease, now);
}

/// Another program of this host is master for the router, or an operator knows better.
#[inline(always)]
pub fn lift(lease: &impl SharedWords) {
    lease.store::<LEASE_LIFTED>(lease.load::<LEASE_TERM>());
}

/// The daemon has found addresses that it may never have: their lease is over, and claims count from its last renewal on.
pub fn found(lease: &impl SharedWords, terms: Terms) {
    let since = since(lease, lease.load::<LEASE_TERM>());
    begin(lease, since, Terms { length_ns: 0, ..terms });
}

/// The daemon takes over, by a decision made at `at`.
pub fn begin(lease: &impl SharedWords, at: u64, terms: Terms) {
    lease.store::<LEASE_TERMS>(terms.pack());
    lease.store::<LEASE_REFRESHED>(at);
    // Never 0, which would be none.
    lease.store::<LEASE_TERM>(if at == 0 { 1 } else { at });
}

/// An advertisement that was sent after `at` has left for anybody. The last one of who gives up renews nothing.
#[inline(always)]
pub fn refresh(lease: &impl SharedWords, at: u64) {
    if lease.load::<LEASE_TERMS>() & ENDED == 0 {
        lease.store::<LEASE_REFRESHED>(at);
    }
}

/// The daemon gives up: whoever claims an address has it, although it may still be here for a moment.
pub fn end(lease: &impl SharedWords) {
    lease.store::<LEASE_TERMS>(lease.load::<LEASE_TERMS>() | ENDED);
}

/// The daemon goes on as master by other terms.
pub fn set_terms(lease: &impl SharedWords, terms: Terms) {
    lease.store::<LEASE_TERMS>(terms.pack());
}

/// The router has no lease any more, or another one gets its place.
pub fn clear(lease: &impl SharedWords) {
    // First, as without it nothing else counts.
    lease.store::<LEASE_TERM>(0);
    lease.store::<LEASE_REFRESHED>(0);
    lease.store::<LEASE_TERMS>(0);
    lease.store::<LEASE_CLAIMED>(0);
    lease.store::<LEASE_OUTRANKED>(0);
    lease.store::<LEASE_FENCED>(0);
    lease.store::<LEASE_LIFTED>(0);
    lease.store::<LEASE_DROPPED>(0);
}

/// Whether [`lift`] was the last thing that happened to a router that has been master.
pub fn is_lifted(lease: &impl SharedWords) -> bool {
    let term = lease.load::<LEASE_TERM>();
    term != 0 && lease.load::<LEASE_LIFTED>() == term
}

/// Whether the kernel side has fenced the router since it took over, or does as soon as there is something to be stopped,
/// however new a renewal is; and when somebody claimed an address last.
pub fn fenced(lease: &impl SharedWords) -> Option<u64> {
    let term = lease.load::<LEASE_TERM>();
    if term == 0 || lease.load::<LEASE_LIFTED>() == term {
        return None;
    }
    let is_fenced = lease.load::<LEASE_FENCED>() == term
        || lease.load::<LEASE_OUTRANKED>() > since(lease, term);
    is_fenced.then(|| lease.load::<LEASE_CLAIMED>())
}

/// How long it is at the moment, nanoseconds.
pub fn length_ns(lease: &impl SharedWords) -> u64 {
    Terms::unpack(lease.load::<LEASE_TERMS>()).length_ns
}

impl Lease {
    /// Whether somebody else has the addresses of the router, or may have them by the rules of its lease, when its daemon is
    /// dead: whoever comes after that one does not answer for them. At `now` by `CLOCK_BOOTTIME`.
    pub fn is_anothers(&self, now: u64) -> bool {
        let since = self.since();
        let Terms { mode, length_ns, .. } = Terms::unpack(self.terms);
        let is_over = mode == FenceMode::Lease && now > since + length_ns;
        let is_lost = self.claimed > since || self.fenced == self.term || is_over;
        self.term != 0 && !self.is_lifted() && is_lost
    }

    /// From when on claims count: the last renewal, or the takeover.
    pub fn since(&self) -> u64 {
        self.renewed.max(self.term)
    }

    /// Whether [`lift`] was the last thing that happened to a router that has been master.
    pub fn is_lifted(&self) -> bool {
        self.term != 0 && self.lifted == self.term
    }

    /// Whether the kernel side has fenced the router, and nobody has lifted that.
    pub fn is_fenced(&self) -> bool {
        self.term != 0 && self.fenced == self.term && !self.is_lifted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    const SECOND: u64 = 1_000_000_000;
    /// A takeover, and advertisements once a second.
    const START: u64 = 100 * SECOND;
    const CLAIM: Terms = Terms::new(FenceMode::Claim, SECOND, 3);
    const LEASE: Terms = Terms::new(FenceMode::Lease, SECOND, 3);

    /// A lease in the memory of one thread.
    struct Words([Cell<u64>; 8]);

    impl SharedWords for Words {
        fn load<const AT: usize>(&self) -> u64 {
            self.0[AT / 8].get()
        }

        fn store<const AT: usize>(&self, word: u64) {
            self.0[AT / 8].set(word);
        }

        fn increment<const AT: usize>(&self) {
            self.0[AT / 8].update(|count| count + 1);
        }
    }

    fn none() -> Words {
        Words([const { Cell::new(0) }; 8])
    }

    fn master(terms: Terms) -> Words {
        let lease = none();
        begin(&lease, START, terms);
        lease
    }

    /// As the programs ask: the clock only where there is something to be seen.
    fn answers(lease: &Words, now: u64) -> bool {
        if !is_suspect(lease) {
            return true;
        }
        let would_be = would_be_fenced(lease, now);
        let is = is_fenced(lease, now, Traffic::Address);
        assert_eq!(would_be, is);
        !is
    }

    fn advertises(lease: &Words, now: u64) -> bool {
        !is_fenced(lease, now, Traffic::Advert)
    }

    #[test]
    fn a_lease_is_as_long_as_nobody_takes_over() {
        let length = |down_adverts| Terms::new(FenceMode::Claim, SECOND, down_adverts).length_ns;
        assert_eq!([1, 3, 7].map(length), [SECOND, 3 * SECOND, 3 * SECOND]);
        let longest = Terms::new(FenceMode::Lease, 255 * SECOND, 255);
        for terms in [CLAIM, LEASE, longest, Terms { ended: true, ..LEASE }] {
            assert_eq!(Terms::unpack(terms.pack()), terms);
        }
    }

    #[test]
    fn whoever_never_was_master_is_not_fenced() {
        let lease = none();
        outrank(&lease, START);
        assert!(!is_suspect(&lease) && advertises(&lease, START + SECOND));
    }

    #[test]
    fn without_a_claim_nobody_looks_at_the_clock() {
        let lease = master(CLAIM);
        assert!(!is_suspect(&lease) && answers(&lease, START + 1_000_000 * SECOND));
    }

    #[test]
    fn what_may_be_our_own_is_a_claim_when_the_lease_is_over() {
        let lease = master(CLAIM);
        claim_alike(&lease, START + 3 * SECOND);
        assert!(answers(&lease, START + 4 * SECOND), "it was our own");
        claim_alike(&lease, START + 3 * SECOND + 1);
        assert!(!answers(&lease, START + 4 * SECOND));
        let lease = master(CLAIM);
        end(&lease);
        claim_alike(&lease, START + 1);
        assert!(!answers(&lease, START + 1));
    }

    #[test]
    fn a_claim_counts_when_the_lease_is_over() {
        let lease = master(CLAIM);
        claim(&lease, START + SECOND);
        assert!(is_suspect(&lease) && answers(&lease, START + 3 * SECOND));
        assert!(advertises(&lease, START + 3 * SECOND));
        assert!(!answers(&lease, START + 3 * SECOND + 1));
        assert!(!advertises(&lease, START + 3 * SECOND + 1));
    }

    #[test]
    fn a_claim_before_the_last_renewal_is_forgotten() {
        let lease = master(CLAIM);
        claim(&lease, START + SECOND);
        refresh(&lease, START + SECOND);
        assert!(!is_suspect(&lease) && answers(&lease, START + 1_000_000 * SECOND));
        // The next one is not.
        claim(&lease, START + SECOND + 1);
        assert!(!answers(&lease, START + 5 * SECOND));
    }

    #[test]
    fn a_claim_before_the_takeover_is_the_former_masters() {
        let lease = none();
        claim(&lease, START - 1);
        begin(&lease, START, CLAIM);
        assert!(!is_suspect(&lease));
        // Also where the term is seen before what was stored ahead of it.
        let lease = none();
        outrank(&lease, START - 1);
        lease.store::<LEASE_TERM>(START);
        assert!(!is_suspect(&lease) && advertises(&lease, START + 9 * SECOND));
    }

    #[test]
    fn what_outranks_us_fences_at_once() {
        let lease = master(CLAIM);
        outrank(&lease, START + 1);
        assert!(!answers(&lease, START + 2));
        // Who gives way may say so.
        assert!(advertises(&lease, START + 2) && !advertises(&lease, START + 4 * SECOND));
    }

    /// Of one that nothing has shown yet, either.
    #[test]
    fn who_is_outranked_is_fenced_without_traffic() {
        let lease = master(CLAIM);
        outrank(&lease, START + 1);
        assert_eq!(fenced(&lease), Some(START + 1));
        lift(&lease);
        assert_eq!(fenced(&lease), None);
        let lease = master(CLAIM);
        claim(&lease, START + 1);
        assert_eq!(fenced(&lease), None);
    }

    #[test]
    fn a_renewal_never_lifts_a_fence() {
        for claims in [|lease: &Words, at| claim(lease, at), |lease: &Words, at| outrank(lease, at)]
        {
            let lease = master(CLAIM);
            claims(&lease, START + SECOND);
            assert!(!answers(&lease, START + 4 * SECOND));
            refresh(&lease, START + 5 * SECOND);
            assert!(!answers(&lease, START + 5 * SECOND));
            assert!(!advertises(&lease, START + 9 * SECOND));
        }
    }

    #[test]
    fn only_a_takeover_lifts_a_fence() {
        let lease = master(CLAIM);
        claim(&lease, START + SECOND);
        assert!(!answers(&lease, START + 4 * SECOND));
        begin(&lease, START + 6 * SECOND, CLAIM);
        assert!(!is_suspect(&lease) && advertises(&lease, START + 60 * SECOND));
    }

    /// The daemon stood still between the decision and the send, and somebody else took over.
    #[test]
    fn a_takeover_that_comes_too_late_lifts_nothing() {
        let lease = none();
        claim(&lease, START + 10 * SECOND);
        begin(&lease, START, CLAIM);
        assert!(!advertises(&lease, START + 60 * SECOND));
    }

    /// It stood still between the send and the store: the stamp is older than the claim.
    #[test]
    fn a_renewal_is_stamped_before_the_send() {
        let lease = master(CLAIM);
        claim(&lease, START + 10 * SECOND);
        refresh(&lease, START + SECOND);
        assert!(!answers(&lease, START + 60 * SECOND));
    }

    #[test]
    fn giving_up_ends_the_lease() {
        let lease = master(CLAIM);
        refresh(&lease, START + SECOND);
        end(&lease);
        // Nobody else has come yet, and the last words are to be heard.
        assert!(answers(&lease, START + SECOND + 1) && advertises(&lease, START + SECOND + 1));
        claim(&lease, START + SECOND + 1);
        assert!(!answers(&lease, START + SECOND + 2) && advertises(&lease, START + SECOND + 2));
        // Who gives way to another one may advertise once more (`higher_prio_advert`).
        refresh(&lease, START + SECOND + 2);
        assert!(!answers(&lease, START + SECOND + 3));
        // Somebody else is master by now.
        assert!(!advertises(&lease, START + 5 * SECOND));
        // By the lease alone nothing is answered at once, and the last words leave all the same.
        let lease = master(LEASE);
        end(&lease);
        assert!(!answers(&lease, START + 1) && advertises(&lease, START + 1));
    }

    #[test]
    fn a_jump_of_time_ends_a_lease() {
        let lease = master(CLAIM);
        refresh(&lease, START + SECOND);
        // Suspended for an hour; the first thing that is heard is the new master.
        let now = START + 3600 * SECOND;
        claim(&lease, now);
        assert!(!answers(&lease, now) && !advertises(&lease, now));
    }

    #[test]
    fn what_was_found_is_whose_claims_it() {
        let lease = none();
        found(&lease, CLAIM);
        // A router without a peer.
        assert!(!is_suspect(&lease) && answers(&lease, START));
        claim(&lease, START);
        assert!(!answers(&lease, START));
        begin(&lease, START + SECOND, CLAIM);
        assert!(answers(&lease, START + SECOND));
        // Last week's claim means nothing, nor does one before the last renewal.
        refresh(&lease, START + 2 * SECOND);
        found(&lease, CLAIM);
        assert!(!is_suspect(&lease) && answers(&lease, START + 9 * SECOND));
        claim(&lease, START + 3 * SECOND);
        assert!(!answers(&lease, START + 3 * SECOND));
        let lease = master(CLAIM);
        outrank(&lease, START + SECOND);
        assert!(!answers(&lease, START + SECOND));
        found(&lease, CLAIM);
        assert!(!answers(&lease, START + SECOND));
        let lease = none();
        found(&lease, LEASE);
        assert!(!answers(&lease, START));
    }

    #[test]
    fn a_dead_daemons_addresses_are_whose_claimed_them() {
        let is_anothers = |lease: &Words, now| {
            let words = lease.0.each_ref().map(Cell::get);
            bytemuck::cast::<_, Lease>(words).is_anothers(now)
        };
        let lease = master(CLAIM);
        assert!(!is_anothers(&lease, START + 1_000_000 * SECOND));
        claim(&lease, START + SECOND);
        // Although the lease holds: that daemon does not renew it any more.
        assert!(is_anothers(&lease, START + SECOND));
        assert!(!is_fenced(&lease, START + SECOND, Traffic::Address));
        refresh(&lease, START + 2 * SECOND);
        assert!(!is_anothers(&lease, START + 2 * SECOND));
        claim(&lease, START + 3 * SECOND);
        lift(&lease);
        assert!(!is_anothers(&lease, START + 3 * SECOND));
        let lease = master(LEASE);
        assert!(!is_anothers(&lease, START + SECOND) && is_anothers(&lease, START + 4 * SECOND));
        assert!(!is_anothers(&none(), START));
    }

    #[test]
    fn by_the_lease_alone() {
        let lease = master(LEASE);
        assert!(answers(&lease, START + 3 * SECOND));
        refresh(&lease, START + 3 * SECOND);
        assert!(answers(&lease, START + 6 * SECOND));
        assert!(!answers(&lease, START + 6 * SECOND + 1));
        refresh(&lease, START + 7 * SECOND);
        assert!(!answers(&lease, START + 7 * SECOND));
    }

    #[test]
    fn whoever_is_master_here_now_lifts_it_until_we_take_over() {
        let lease = master(LEASE);
        claim(&lease, START + SECOND);
        assert!(!answers(&lease, START + 4 * SECOND));
        lift(&lease);
        assert!(answers(&lease, START + 5 * SECOND) && advertises(&lease, START + 5 * SECOND));
        outrank(&lease, START + 6 * SECOND);
        assert!(answers(&lease, START + 7 * SECOND));
        begin(&lease, START + 8 * SECOND, LEASE);
        assert!(!answers(&lease, START + 12 * SECOND));
    }
}
