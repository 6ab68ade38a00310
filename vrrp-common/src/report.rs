//! Which accepted advertisements the daemon is told of, and how often; and how often of refused ones, for its log.
//!
//! What cannot change anything must not use up the room of what can: each class of advertisement has a budget of its
//! own, so that no flood of one class hides another one.

use crate::VRRP_HEADER_LEN;
use crate::maps::state;

/// What the daemon needs to be told of one router: a word in its slot ([`crate::maps::Slot::filter`]), which the daemon
/// writes at each change, so that the kernel side never sees half of one. Zero is a router that listens to nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportFilter {
    /// [`state`] of the router.
    pub state: u8,
    /// Its effective priority.
    pub priority: u8,
    /// As backup: it pre-empts now, or listens to a better master, so that a lower priority than its own changes
    /// nothing (RFC 9568 section 6.4.2).
    pub ignores_lower: bool,
    /// As backup: the master that it listens to.
    pub master: Option<Master>,
}

/// The master that a backup listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Master {
    /// [`source_tag`] of its address.
    pub tag: u32,
    /// Its priority.
    pub priority: u8,
}

/// When the master that a backup listens to was last heard, and what it said then if that was not reported: a word in
/// the slot ([`crate::maps::Slot::master_seen`]).
///
/// One word, because both are only right together, and of two words a processor other than x86 may see the second store
/// before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MasterSeen {
    /// Arrival, nanoseconds of `CLOCK_MONOTONIC`. With `unreported` in steps of 65,536, cut down.
    pub at_ns: u64,
    /// What it said, if the daemon was told neither this nor by an acknowledgement that it is as before.
    pub unreported: Option<Unreported>,
}

/// What a backup needs to know of an advertisement of its master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreported {
    /// Its priority.
    pub priority: u8,
    /// Version 3: the interval in centiseconds (RFC 9568 section 5.2.7). Version 2: in its lower byte the interval in
    /// seconds (RFC 3768 section 5.3.7).
    pub interval: u16,
}

/// There is something unreported; the time has 63 bits without.
const UNREPORTED: u64 = 1 << 63;
/// Below the time: the interval, the priority.
const TIME_BITS_CUT: u32 = 16;
const TIME_SHIFT: u32 = 20;
const PRIORITY_SHIFT: u32 = 12;
const INTERVAL: u16 = 0x0fff;

impl Unreported {
    /// What a message says that begins with these bytes.
    #[inline(always)]
    pub fn of(header: [u8; VRRP_HEADER_LEN]) -> Self {
        let [_, _, priority, _, high, low, ..] = header;
        Self { priority, interval: u16::from_be_bytes([high, low]) & INTERVAL }
    }
}

impl MasterSeen {
    /// Reported or as before.
    #[inline(always)]
    pub fn at(at_ns: u64) -> Self {
        Self { at_ns, unreported: None }
    }

    /// The word in the slot. Never 0, after the first nanosecond.
    #[inline(always)]
    pub fn pack(self) -> u64 {
        match self.unreported {
            None => self.at_ns & !UNREPORTED,
            // 43 bits of time: enough for 18 years.
            Some(Unreported { priority, interval }) => {
                UNREPORTED
                    | (self.at_ns >> TIME_BITS_CUT) << TIME_SHIFT
                    | u64::from(priority) << PRIORITY_SHIFT
                    | u64::from(interval & INTERVAL)
            }
        }
    }

    /// What [`Self::pack`] packed; `None` for 0: nothing was heard.
    pub fn unpack(word: u64) -> Option<Self> {
        if word == 0 {
            return None;
        }
        if word & UNREPORTED == 0 {
            return Some(Self::at(word));
        }
        let [low, high, priority, ..] = (word << (16 - PRIORITY_SHIFT)).to_le_bytes();
        let interval = u16::from_le_bytes([low, high]) >> (16 - PRIORITY_SHIFT);
        let at_ns = (word & !UNREPORTED) >> TIME_SHIFT << TIME_BITS_CUT;
        Some(Self { at_ns, unreported: Some(Unreported { priority, interval }) })
    }
}

/// What an accepted advertisement is to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Of the master that the backup listens to, and not what was acknowledged.
    Master,
    /// Priority 0, of anybody.
    Resigns,
    /// A priority that a backup obeys, or to which a master yields.
    Outranks,
    /// A lower priority, of which a master tells, or that counts for a backup because it does not pre-empt now.
    Lower,
    /// A lower priority that a backup discards.
    Ignored,
    /// The router listens to nobody.
    Idle,
}

const MASTER: u64 = 1 << 56;
const IGNORES_LOWER: u64 = 1 << 57;

impl ReportFilter {
    /// The word in the slot.
    pub fn pack(self) -> u64 {
        let Self { state, priority, ignores_lower, master } = self;
        let (tag, theirs, flag) = match master {
            Some(Master { tag, priority }) => (tag, priority, MASTER),
            None => (0, 0, 0),
        };
        u64::from(tag)
            | u64::from(state) << 32
            | u64::from(priority) << 40
            | u64::from(theirs) << 48
            | flag
            | if ignores_lower { IGNORES_LOWER } else { 0 }
    }

    /// What [`Self::pack`] packed.
    #[inline(always)]
    pub fn unpack(word: u64) -> Self {
        let [t0, t1, t2, t3, state, priority, theirs, _] = word.to_le_bytes();
        let tag = u32::from_le_bytes([t0, t1, t2, t3]);
        Self {
            state,
            priority,
            ignores_lower: word & IGNORES_LOWER != 0,
            master: (word & MASTER != 0).then_some(Master { tag, priority: theirs }),
        }
    }

    /// What an advertisement of this priority is to the router. `tag` is the [`source_tag`] of its sender, and
    /// `is_greater` tells whether the sender's address is greater than the router's own.
    #[inline(always)]
    pub fn class(&self, tag: u32, priority: u8, is_greater: bool) -> Class {
        match self.state {
            state::BACKUP if priority == 0 => Class::Resigns,
            state::BACKUP => match self.master {
                Some(master) if master.tag == tag => Class::Master,
                Some(master) if priority > master.priority => Class::Outranks,
                _ if priority >= self.priority => Class::Outranks,
                _ if self.ignores_lower => Class::Ignored,
                _ => Class::Lower,
            },
            state::MASTER if priority == 0 => Class::Resigns,
            state::MASTER if priority > self.priority => Class::Outranks,
            state::MASTER if priority == self.priority && is_greater => Class::Outranks,
            state::MASTER => Class::Lower,
            _ => Class::Idle,
        }
    }
}

/// How often something may be: `burst` times at once, and then once in `period_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Nanoseconds until there is room for one more.
    pub period_ns: u64,
    /// Room when nothing was for long.
    pub burst: u64,
}

/// [`Class::Master`]: as often as the shortest interval there is (RFC 9568 section 6.1: a centisecond). What is left out
/// is not lost: it is in the slot ([`MasterSeen::unreported`]).
pub const MASTER_LIMIT: Limit = Limit { period_ns: 10_000_000, burst: 10 };
/// [`Class::Outranks`] and [`Class::Resigns`], each, of all sources of one router together.
pub const LIMIT: Limit = Limit { period_ns: 5_000_000, burst: 20 };
/// The same of one source of one router: as often as the shortest interval there is.
pub const SOURCE_LIMIT: Limit = Limit { period_ns: 10_000_000, burst: 10 };
/// [`Class::Lower`], of all sources of one router together.
pub const LOWER_LIMIT: Limit = Limit { period_ns: 25_000_000, burst: 4 };

/// Refused packets of all kinds and senders together: for a log that stays readable whoever floods us.
pub const REFUSAL_LIMIT: Limit = Limit { period_ns: 1_000_000_000, burst: 20 };
/// Time between two reports of packets that were refused for the same reason, from the same sender and for the same
/// VRID, nanoseconds.
pub const REFUSAL_WINDOW_NS: u64 = 60_000_000_000;

impl Limit {
    /// Whether there is room for one more at `now`, by what the last call that had room returned (0 before the first):
    /// the moment at which there is all the room again (the generic cell rate algorithm, ITU-T I.371).
    #[inline(always)]
    pub fn admit(self, full_at_ns: u64, now: u64) -> Option<u64> {
        let begin = if full_at_ns > now { full_at_ns } else { now };
        let room = self.period_ns * self.burst;
        (begin - now + self.period_ns <= room).then_some(begin + self.period_ns)
    }
}

/// A short form of a source address, for words that have no room for one. Two addresses have the same with a
/// probability of 2^-32; `key` is not known to others, so that nobody can look for such a pair.
#[inline(always)]
pub fn source_tag(key: u64, source: [u8; 16]) -> u32 {
    let [low, high]: [u64; 2] = bytemuck::cast(source);
    let [.., a, b, c, d] = mix(mix(key, low), high).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Takes eight more bytes into a hash: both halves of the word that the hash has hidden are multiplied, as in the NH of
/// UMAC (RFC 4418 section 5.2).
///
/// Who does not know the hash so far cannot tell what another word makes of it, and two words make the same with a
/// probability of some 2^-32. A product with a constant would not do: the uppermost bit of a word comes out in the same
/// place whatever the hash, and another bit of the next word undoes it. A hash whose upper half is zero mixes nothing; the
/// first one must have some.
#[inline(always)]
pub fn mix(hash: u64, word: u64) -> u64 {
    let word = hash ^ word;
    word.wrapping_mul((word >> 32) + 1)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;

    use super::*;

    const TAG: u32 = 7;
    const KEY: u64 = 0x1234_5678_9abc_def1;

    fn backup(priority: u8, ignores_lower: bool, master: Option<u8>) -> ReportFilter {
        let master = master.map(|priority| Master { tag: TAG, priority });
        ReportFilter { state: state::BACKUP, priority, ignores_lower, master }
    }

    #[test]
    fn a_backup_hears_who_could_be_its_master() {
        let class = |filter: ReportFilter, tag, priority| filter.class(tag, priority, true);
        // It listens to nobody yet.
        let alone = backup(100, false, None);
        assert_eq!(class(alone, 1, 100), Class::Outranks);
        assert_eq!(class(alone, 1, 99), Class::Lower);
        assert_eq!(class(alone, 1, 0), Class::Resigns);
        // It has a better master.
        let follows = backup(100, true, Some(200));
        assert_eq!(class(follows, TAG, 200), Class::Master);
        assert_eq!(class(follows, TAG, 1), Class::Master);
        assert_eq!(class(follows, TAG, 0), Class::Resigns);
        assert_eq!(class(follows, 1, 201), Class::Outranks);
        assert_eq!(class(follows, 1, 100), Class::Outranks);
        assert_eq!(class(follows, 1, 99), Class::Ignored);
        // It does not pre-empt.
        let patient = backup(100, false, Some(50));
        assert_eq!(class(patient, TAG, 50), Class::Master);
        assert_eq!(class(patient, 1, 51), Class::Outranks);
        assert_eq!(class(patient, 1, 50), Class::Lower);
    }

    #[test]
    fn a_master_hears_everybody() {
        let master = ReportFilter { state: state::MASTER, priority: 100, ..backup(0, false, None) };
        assert_eq!(master.class(1, 101, false), Class::Outranks);
        assert_eq!(master.class(1, 100, true), Class::Outranks);
        assert_eq!(master.class(1, 100, false), Class::Lower);
        assert_eq!(master.class(1, 1, true), Class::Lower);
        assert_eq!(master.class(1, 0, true), Class::Resigns);
    }

    #[test]
    fn who_takes_no_part_hears_nobody() {
        for state in [state::INIT, state::FAULT] {
            let filter = ReportFilter { state, ..backup(100, false, None) };
            for priority in [0, 1, 255] {
                assert_eq!(filter.class(1, priority, true), Class::Idle);
            }
        }
        assert_eq!(ReportFilter::unpack(0), ReportFilter::default());
    }

    #[test]
    fn a_limit_is_kept_and_never_shuts_anything_out() {
        let limit = Limit { period_ns: 10, burst: 3 };
        let (mut full_at, mut admitted) = (0, 0);
        for now in 1_000..2_000 {
            if let Some(next) = limit.admit(full_at, now) {
                full_at = next;
                admitted += 1;
            }
        }
        // The burst, and then one each ten nanoseconds.
        assert_eq!(admitted, 3 + 99);
        // As often as it may be, nothing is left out.
        let mut full_at = 0;
        for now in (1_000..2_000).step_by(10) {
            full_at = limit.admit(full_at, now).expect("room");
        }
        // What another CPU has written meanwhile does no harm.
        assert!(limit.admit(u64::MAX / 2, 1_000).is_none());
    }

    #[test]
    fn tags_differ_by_every_byte() {
        let tag = |source| source_tag(KEY, source);
        let zero = tag([0; 16]);
        for byte in 0..16 {
            let mut source = [0; 16];
            source[byte] = 0x80;
            assert_ne!(tag(source), zero, "byte {byte}");
        }
        assert_ne!(source_tag(KEY, [7; 16]), source_tag(KEY + 1, [7; 16]));
    }

    proptest! {
        #[test]
        fn a_filter_is_a_word(
            state in 0u8..4, priority: u8, ignores_lower: bool, master: Option<(u32, u8)>,
        ) {
            let master = master.map(|(tag, priority)| Master { tag, priority });
            let filter = ReportFilter { state, priority, ignores_lower, master };
            prop_assert_eq!(ReportFilter::unpack(filter.pack()), filter);
        }

        #[test]
        fn a_master_is_a_word(at_ns in 1u64..1 << 59, says: Option<(u8, u16)>) {
            let of = |(priority, interval): (u8, u16)| {
                let [high, low] = interval.to_be_bytes();
                Unreported::of([0x31, 51, priority, 1, high, low, 0, 0])
            };
            let seen = MasterSeen { at_ns, unreported: says.map(of) };
            let read = MasterSeen::unpack(seen.pack());
            let whole = MasterSeen { at_ns: at_ns >> 16 << 16, ..seen };
            prop_assert_eq!(read, Some(if says.is_some() { whole } else { seen }));
            if let (Some((priority, interval)), Some(read)) = (says, read) {
                let unreported = Unreported { priority, interval: interval & 0xfff };
                prop_assert_eq!(read.unreported, Some(unreported));
            }
            prop_assert_ne!(seen.pack(), 0);
        }

        /// No bits of one word undo those of the one before, whatever the key. They did, always, with these: the uppermost one,
        /// and the two that a product by a constant made of it.
        #[test]
        fn no_word_undoes_another(a: u64, b: u64, key: u64, bit in 0u32..64) {
            let other = mix(mix(key, a ^ 1 << 63), b ^ (1 << 63 | 1 << 34));
            prop_assert_ne!(mix(mix(key, a), b), other);
            let far = mix(key, a) ^ mix(key, a ^ 1 << bit);
            let again = mix(!key, a) ^ mix(!key, a ^ 1 << bit);
            prop_assert_ne!(far, again);
        }

        /// Words that differ in their lower halves are always told apart.
        #[test]
        fn another_lower_half_makes_another_hash(word: u64, key: u64, half: u32) {
            let other = word >> 32 << 32 | u64::from(half);
            prop_assert_eq!(mix(key, other) == mix(key, word), other == word);
        }

        #[test]
        fn an_order_counts(a: u64, b: u64, key: u64) {
            prop_assume!(a != b);
            prop_assert_ne!(mix(mix(key, a), b), mix(mix(key, b), a));
        }
    }
}
