//! What can be ordered of the selected router, once somebody has said yes to a question.

use crate::api::Request;
use crate::types::state::State;

/// What the keys order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    StepDown,
    Resume,
}

/// An order to one router, and with it to its sync group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub order: Order,
    /// Its name.
    pub router: String,
    /// `INTERFACE/VRID`.
    pub place: String,
    pub state: State,
    /// Its sync group, and how many routers that has.
    pub group: Option<(String, usize)>,
}

impl Action {
    /// As the command of that name.
    pub fn name(&self) -> &'static str {
        match self.order {
            Order::StepDown => "step-down",
            Order::Resume => "resume",
        }
    }

    /// What is asked first, and what follows from it.
    pub fn question(&self) -> Vec<String> {
        let Self { router, place, state, .. } = self;
        let what = match (self.order, self.state) {
            (Order::StepDown, State::Master) => {
                "It gives up its addresses, and stays out of the election until it is resumed."
            }
            (Order::StepDown, State::Backup | State::Fault | State::Init) => {
                "It stays out of the election until it is resumed."
            }
            (Order::Resume, _) => "It takes part in the election again.",
        };
        let mut lines = vec![format!("{} {router} ({place}, {})?", self.name(), state.name())];
        lines.push(what.to_owned());
        if let Some((group, members)) = &self.group {
            lines.push(format!("So do all {members} routers of its sync group {group}."));
        }
        lines
    }

    /// What the daemon is asked.
    pub fn request(&self) -> Request {
        let name = self.router.clone();
        match self.order {
            Order::StepDown => Request::StepDown { name },
            Order::Resume => Request::Resume { name },
        }
    }
}
