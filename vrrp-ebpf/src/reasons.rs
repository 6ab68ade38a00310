//! Sets of reasons, by index: the programs ask of a reason that they know as a number only (`cursor::unknown`).

use vrrp_common::reason::{Reason, Verdict};

/// What does not go on into the stack.
pub const DROPPED: Reasons = {
    let (mut set, mut index) = (Reasons(0), 0);
    while index < Reason::COUNT {
        if matches!(Reason::ALL[index].verdict(), Verdict::Drop) {
            set.0 |= 1 << index;
        }
        index += 1;
    }
    set
};

/// What the daemon is told of now and then, for its log.
pub const REFUSALS: Reasons = {
    let (mut set, mut index) = (Reasons(0), 0);
    while index < Reason::COUNT {
        if Reason::ALL[index].is_logged() {
            set.0 |= 1 << index;
        }
        index += 1;
    }
    set
};

/// A set of reasons.
#[derive(Clone, Copy)]
pub struct Reasons(u64);

const _: () = assert!(Reason::COUNT <= u64::BITS as usize);

impl Reasons {
    /// Whether the reason of this index is in it.
    #[inline(always)]
    pub fn contains(self, index: u32) -> bool {
        self.0 >> (index & 63) & 1 != 0
    }
}
