//! Whether something that the kernel keeps for us is there, and whether it should be.
//!
//! At most one request about it is under way, and what is wanted may change meanwhile; the last word wins.

pub use crate::io::netlink::Request;

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is now as requested, be it because it was so before.
    Done,
    /// The kernel refused, or the answer was lost.
    Failed,
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
    /// The kernel reported it since it is being added, so that its end would be news. Until then what it reports is
    /// the end of the one before: notifications and answers come on different sockets.
    seen: bool,
    /// While adding: the kernel reported it and then its end.
    lost: bool,
}

impl Presence {
    /// It should be there, or not. `Some` when the kernel must be asked now.
    pub fn want(&mut self, wanted: bool) -> Option<Request> {
        self.wanted = wanted;
        self.next_request()
    }

    /// A request was answered. `Some` when what is wanted changed meanwhile; after a failure nothing is asked
    /// until [`Self::next_request`].
    pub fn completed(&mut self, request: Request, outcome: Outcome) -> Option<Request> {
        let now_present = match (request, outcome) {
            (Request::Add, Outcome::Done) | (Request::Remove, Outcome::Failed) => true,
            (Request::Add, Outcome::Failed) | (Request::Remove, Outcome::Done) => false,
        };
        let lost = std::mem::take(&mut self.lost);
        self.state = if now_present && !lost { State::Present } else { State::Absent };
        match outcome {
            Outcome::Done => self.next_request(),
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
            (false, State::Present) => {
                self.state = State::Removing;
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
            State::Present if self.seen => self.state = State::Absent,
            // It may overtake the answer.
            State::Adding if self.seen => self.lost = true,
            State::Present | State::Adding | State::Absent | State::Removing => return false,
        }
        self.wanted
    }

    /// Nobody has said that it is gone, but it may be. Whether it should be there.
    pub fn doubt(&mut self) -> bool {
        if self.state == State::Present {
            self.state = State::Absent;
        }
        self.wanted
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
            State::Absent => true,
            State::Present => self.wanted,
            State::Adding | State::Removing => false,
        }
    }
}
