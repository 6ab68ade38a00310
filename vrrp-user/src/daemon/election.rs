//! What `status` says is wrong with an election, and how to mend it.

use std::net::IpAddr;

use super::Daemon;
use super::addresses::Place;
use crate::engine::time::Nanos;
use crate::engine::types::{RouterId, RouterView, State};

/// For how long at least it is a problem that another owner was heard.
const OWNER_HEARD_RECENTLY: Nanos = Nanos::from_secs(10);

impl Daemon {
    /// Another router claims to own the addresses as well.
    pub(super) fn second_owner(
        &self,
        id: RouterId,
        view: &RouterView,
        now: Nanos,
    ) -> Option<String> {
        let (other, heard) = view.other_owner?;
        if now > heard + OWNER_HEARD_RECENTLY.max(view.master_down_interval) {
            return None;
        }
        let mend =
            "two routers must not both own the addresses: give one of them a priority below 255";
        match view.state {
            State::Init | State::Fault => None,
            State::Master => {
                Some(format!("{other} also claims to own the addresses (priority 255); {mend}"))
            }
            State::Backup => {
                let own = self.places(id).into_iter().map(|(place, _)| place);
                let own: Vec<Place> = own.filter(|place| self.interfaces.owns(*place)).collect();
                Some(format!(
                    "gave way to {other}, which also claims to own the addresses (priority 255); {mend}{}",
                    self.still_answered(&own, other)
                ))
            }
        }
    }

    /// The addresses of a backup that were on the interface before: taking those away because of a packet would let
    /// anybody cut the host off.
    fn still_answered(&self, own: &[Place], other: IpAddr) -> String {
        let Some(first) = own.first() else { return String::new() };
        let named: Vec<String> = own.iter().map(|place| self.describe(*place)).collect();
        let Place { address, ifindex } = first;
        let dev = self.interfaces.get(*ifindex).map_or("?", |interface| &interface.name);
        format!(
            ". Until then this host still answers for {}, as {other} does: what others have added is not removed (`ip \
             address del {address}/PREFIX dev {dev}` if it belongs to {other})",
            named.join(", ")
        )
    }
}
