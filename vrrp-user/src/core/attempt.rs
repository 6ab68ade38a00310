//! Programs that are being attached to an interface, one way after the other.
//!
//! Pure: it is told what came of each way, and says what is next.

use crate::capture::{CaptureMode, Choice, Failure, Plan, Walk};

/// A way to get programs attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMethod {
    /// As they were, by the links that they have: without a gap where somebody has put another one in the place of ours.
    Restore,
    /// In this mode. What was attached before goes when they are there.
    Mode(CaptureMode),
}

/// What is being tried on an interface. Its answer is waited for before anything else is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// By what the answer is known.
    pub number: u64,
    /// What was done to the programs that were there.
    pub lost: Option<String>,
    /// They were detached meanwhile: the answer means nothing any more.
    pub void: bool,
    /// Something was wanted meanwhile: it is to be seen what.
    pub again: bool,
    /// Whether they are to be put back as they were.
    restores: bool,
    /// Whether the programs that count what leaves had been given up when the last way was tried.
    released: bool,
    walk: Walk,
}

impl Attempt {
    /// To attach them by a plan, on an interface that captures like that.
    pub fn new(number: u64, plan: Plan, before: Option<CaptureMode>, released: bool) -> Self {
        let walk = Walk::new(plan, before);
        Self { number, lost: None, void: false, again: false, restores: false, released, walk }
    }

    /// To put them back after somebody has done that to them: as they were if it `restores`, else by the plan.
    pub fn after_loss(
        number: u64,
        plan: Plan,
        deed: String,
        restores: bool,
        released: bool,
    ) -> Self {
        Self { lost: Some(deed), restores, ..Self::new(number, plan, None, released) }
    }

    /// What is to be tried next; `None` at the end.
    pub fn way(&self) -> Option<AttachMethod> {
        if self.restores {
            return Some(AttachMethod::Restore);
        }
        self.walk.next().map(AttachMethod::Mode)
    }

    /// Whether that is to put them back as they were.
    pub fn restores(&self) -> bool {
        self.restores
    }

    /// It did not go that way. `released` is whether the programs that count what leaves have been given up by now, which
    /// is worth another try where descriptors were short before.
    pub fn failed(&mut self, failure: Failure, released: bool) {
        let before = std::mem::replace(&mut self.released, released);
        let are_more = released && !before && matches!(failure, Failure::Descriptors(_));
        let restored = std::mem::take(&mut self.restores);
        if !restored && !are_more {
            self.walk.failed(failure);
        }
    }

    /// Somebody has taken away what there was meanwhile.
    pub fn lose(&mut self, deed: String) {
        self.lost = Some(deed);
        self.walk.lost();
    }

    /// How the interface captures if the way that is being tried is had, or at the end.
    /// Errors: why it does not at all.
    pub fn choice(&self) -> Result<Choice, String> {
        self.walk.choice()
    }

    /// Whether another program was in the place of ours.
    pub fn is_displaced(&self) -> bool {
        self.walk.is_displaced()
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.walk.plan()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Facts, plan};

    fn short() -> Failure {
        Failure::Descriptors("short".to_owned())
    }

    #[test]
    fn who_hears_has_the_descriptors_of_who_counts() {
        let plan = plan(None, Facts::default());
        let mut attempt = Attempt::new(1, plan.clone(), None, false);
        attempt.failed(short(), true);
        assert_eq!(attempt.way(), Some(AttachMethod::Mode(CaptureMode::Native)), "once more");
        // There are no more of them.
        attempt.failed(short(), true);
        assert_eq!((attempt.way(), attempt.choice()), (None, Err("short".to_owned())));
        let mut attempt = Attempt::new(1, plan, None, false);
        attempt.failed(short(), false);
        assert_eq!(attempt.way(), None, "nobody counts");
    }

    #[test]
    fn what_cannot_be_put_back_is_attached_by_the_plan() {
        let plan = plan(None, Facts::default());
        let mut attempt = Attempt::after_loss(1, plan, "was detached".to_owned(), true, true);
        assert_eq!(attempt.way(), Some(AttachMethod::Restore));
        attempt.failed(short(), true);
        assert_eq!(attempt.way(), Some(AttachMethod::Mode(CaptureMode::Native)));
        attempt.failed(Failure::Displaced("taken".to_owned()), true);
        assert!(attempt.is_displaced());
        assert_eq!(attempt.way(), Some(AttachMethod::Mode(CaptureMode::Generic)));
        assert_eq!(attempt.choice().unwrap().to_string(), "generic XDP (taken)");
    }

    #[test]
    fn what_is_lost_meanwhile_is_no_reason_to_stop() {
        let plan = plan(None, Facts::default());
        let mut attempt = Attempt::new(1, plan, Some(CaptureMode::Native), false);
        assert_eq!(attempt.way(), None);
        attempt.lose("was detached".to_owned());
        assert_eq!(attempt.way(), Some(AttachMethod::Mode(CaptureMode::Native)));
    }
}
