//! Whether something that the kernel keeps for us is there, and whether it should be.
//!
//! At most one request about it is under way, and what is wanted may change meanwhile; the last word wins.

pub use super::netlink::Request;

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is now as requested.
    Done,
    /// It was as requested before: an address that is to be added is there already, and by whom is not known.
    WasSo,
    /// The kernel refused, or the answer was lost.
    Failed,
}

impl Outcome {
    /// Whether what a request was about is there now.
    pub fn is_there(self, request: Request) -> bool {
        match (request, self) {
            (Request::Add, Self::Done | Self::WasSo) | (Request::Remove, Self::Failed) => true,
            (Request::Add, Self::Failed) | (Request::Remove, Self::Done | Self::WasSo) => false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Absent,
    Adding,
    Present,
    Removing,
}

/// One such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    wanted: bool,
    state: State,
    /// Whether we put it there. What others put there is never removed.
    ours: bool,
    /// The kernel reported it since it is being added, so that its end would be news. Until then what it reports is
    /// the end of the one before: notifications and answers come on different sockets.
    seen: bool,
    /// While adding: the kernel reported it and then its end.
    lost: bool,
    /// Absent as far as is known, but it may be there, by us.
    doubtful: bool,
}

impl Presence {
    /// It should be there, or not. `Some` when the kernel must be asked now.
    pub fn want(&mut self, wanted: bool) -> Option<Request> {
        self.wanted = wanted;
        self.next_request()
    }

    /// Whether the answer to such a request is waited for.
    pub fn awaits(self, request: Request) -> bool {
        match request {
            Request::Add => self.state == State::Adding,
            Request::Remove => self.state == State::Removing,
        }
    }

    /// A request was answered. `Some` when what is wanted changed meanwhile; after a failure nothing is asked
    /// until [`Self::next_request`].
    pub fn completed(&mut self, request: Request, outcome: Outcome) -> Option<Request> {
        // Added after all where the kernel has reported it, although the answer was lost. Otherwise it may have been
        // carried out, or may not: the other one is not spared then.
        let failed = outcome == Outcome::Failed;
        let in_spite = failed && request == Request::Add && self.seen;
        let now_present = in_spite || !failed && outcome.is_there(request);
        // What was reported may have been about the one before.
        let lost = std::mem::take(&mut self.lost);
        self.state = if now_present && !lost { State::Present } else { State::Absent };
        self.doubtful =
            lost || !now_present && failed && (request == Request::Remove || self.doubtful);
        match (request, outcome) {
            (Request::Add, Outcome::Done) => self.ours = true,
            (Request::Remove, Outcome::Done | Outcome::WasSo) => self.ours = false,
            (Request::Add, Outcome::Failed) if in_spite => self.ours = true,
            // In doubt whether it was still there, ours was added again.
            (Request::Add, Outcome::WasSo) | (_, Outcome::Failed) => {}
        }
        match outcome {
            Outcome::Done | Outcome::WasSo => self.next_request(),
            Outcome::Failed => None,
        }
    }

    /// What must be asked of the kernel, if nothing is under way; it is under way then.
    pub fn next_request(&mut self) -> Option<Request> {
        match (self.wanted, self.state) {
            (true, State::Absent) => {
                self.state = State::Adding;
                self.seen = false;
                self.lost = false;
                Some(Request::Add)
            }
            (false, State::Present) if !self.ours => {
                self.state = State::Absent;
                None
            }
            (false, State::Present) => {
                self.state = State::Removing;
                Some(Request::Remove)
            }
            (false, State::Absent) if self.doubtful => {
                self.state = State::Removing;
                self.ours = true;
                Some(Request::Remove)
            }
            (true, State::Adding | State::Present | State::Removing)
            | (false, State::Adding | State::Absent | State::Removing) => None,
        }
    }

    /// The kernel says that it is there.
    pub fn appeared(&mut self) {
        self.seen = true;
        self.lost = false;
    }

    /// The kernel says that it is gone. Whether that is news: it was there, is wanted, and nobody here asked for
    /// its end.
    pub fn vanished(&mut self) -> bool {
        match self.state {
            State::Present if self.seen => {
                self.state = State::Absent;
                self.ours = false;
            }
            // It may overtake the answer.
            State::Adding if self.seen => self.lost = true,
            State::Absent if self.seen => {
                self.doubtful = false;
                return false;
            }
            State::Present | State::Adding | State::Absent | State::Removing => return false,
        }
        self.wanted
    }

    /// Nobody has said that it is gone, but it may be. Whether it should be there.
    pub fn doubt(&mut self) -> bool {
        match self.state {
            State::Present => {
                self.state = State::Absent;
                self.doubtful = self.ours;
            }
            // It may be carried out already.
            State::Adding => self.lost = true,
            State::Absent | State::Removing => {}
        }
        self.wanted
    }

    /// It was refused, or was reported to be gone, but may be there all the same: an answer may be lost on the way, and a report may
    /// be about the one before.
    pub fn doubt_absence(&mut self) {
        self.doubtful |= self.state == State::Absent;
    }

    /// What it was put on is not the same any more. `Some` when the kernel must be asked to remove it; whether it is wanted
    /// anew is seen then.
    pub fn displaced(&mut self) -> Option<Request> {
        let there = match self.state {
            State::Present => self.ours,
            State::Absent => self.doubtful,
            State::Adding | State::Removing => false,
        };
        there.then(|| {
            self.state = State::Removing;
            Request::Remove
        })
    }

    /// One that somebody else may have left; `Some` when the kernel must be asked to remove it.
    pub fn suspect(&mut self) -> Option<Request> {
        match (self.wanted, self.state) {
            (false, State::Absent) => {
                self.state = State::Removing;
                Some(Request::Remove)
            }
            _ => None,
        }
    }

    /// Whether it is there because of us.
    pub fn is_there(&self) -> bool {
        self.state == State::Present
    }

    /// Whether it should be there.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether no request is under way, and it is not there unless it should be.
    pub fn is_settled(&self) -> bool {
        match self.state {
            State::Absent => self.wanted || !self.doubtful,
            State::Present => self.wanted || !self.ours,
            State::Adding | State::Removing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_put_there_is_not_removed() {
        let mut foreign = Presence::default();
        assert_eq!(foreign.want(true), Some(Request::Add));
        assert_eq!(foreign.completed(Request::Add, Outcome::WasSo), None);
        assert!(foreign.is_there());
        assert_eq!(foreign.want(false), None);
        assert!(foreign.is_settled() && !foreign.is_there());
    }

    #[test]
    fn what_was_added_without_an_answer_is_there() {
        let mut unanswered = Presence::default();
        unanswered.want(true);
        unanswered.appeared();
        assert_eq!(unanswered.want(false), None);
        assert_eq!(unanswered.completed(Request::Add, Outcome::Failed), None);
        assert!(unanswered.is_there() && !unanswered.is_settled());
        assert_eq!(unanswered.next_request(), Some(Request::Remove));
        // Nothing was reported: it is not there.
        let mut refused = Presence::default();
        refused.want(true);
        refused.completed(Request::Add, Outcome::Failed);
        assert!(!refused.is_there());
    }

    #[test]
    fn what_may_be_there_is_removed_when_nobody_wants_it() {
        let mut doubted = Presence::default();
        doubted.want(true);
        doubted.appeared();
        doubted.completed(Request::Add, Outcome::Done);
        doubted.doubt();
        assert!(!doubted.is_there());
        assert_eq!(doubted.want(false), Some(Request::Remove));
        assert!(!doubted.is_settled());
        assert_eq!(doubted.completed(Request::Remove, Outcome::WasSo), None);
        assert!(doubted.is_settled());

        let mut unanswered = Presence::default();
        unanswered.want(true);
        unanswered.completed(Request::Add, Outcome::Failed);
        unanswered.doubt_absence();
        assert_eq!(unanswered.want(false), Some(Request::Remove));

        // The kernel has said that it is gone.
        doubted.want(true);
        doubted.appeared();
        doubted.completed(Request::Add, Outcome::Done);
        doubted.doubt();
        assert!(!doubted.vanished());
        assert_eq!(doubted.want(false), None);
    }

    #[test]
    fn what_is_in_doubt_while_it_is_added_is_asked_for_again() {
        let mut adding = Presence::default();
        adding.want(true);
        adding.doubt();
        assert_eq!(adding.completed(Request::Add, Outcome::Done), Some(Request::Add));
        adding.appeared();
        assert_eq!(adding.completed(Request::Add, Outcome::WasSo), None);
        assert!(adding.vanished());
    }

    #[test]
    fn what_is_ours_stays_ours_in_doubt() {
        let mut ours = Presence::default();
        ours.want(true);
        ours.completed(Request::Add, Outcome::Done);
        assert!(ours.doubt());
        assert_eq!(ours.next_request(), Some(Request::Add));
        ours.completed(Request::Add, Outcome::WasSo);
        assert_eq!(ours.want(false), Some(Request::Remove));
        ours.completed(Request::Remove, Outcome::Done);
        // Somebody else's now.
        ours.want(true);
        ours.completed(Request::Add, Outcome::WasSo);
        assert_eq!(ours.want(false), None);
    }
}
