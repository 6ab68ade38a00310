//! Going on where a daemon of this instance was killed: what is found of it, and whether it is used.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use vrrp_common::maps::Control;

use super::Driver;
use crate::config::model::Config;
use crate::core::adoption::{PinFacts, Predecessor};
use crate::core::{Needs, Sizes};
use crate::engine::types::RouterId;
use crate::io::bpf::{self, Datapath, Error};
use crate::io::reader::pinned_control;
use crate::io::timer;

/// What is found of a daemon that was killed.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Pins that are not used.
    Unusable,
    /// Pins that are, of which the maps have these sizes.
    Pins(Control, Sizes),
}

/// Looks for pins that a daemon has left which was killed: no other one lives, the caller has the locks.
pub(super) fn find(pins: &Result<PathBuf, Error>, needs: Needs) -> Found {
    let found = |dir: &Path| bpf::pin_facts(dir, pinned_control(dir), Sizes::with_room(needs));
    let Some(facts) = pins.as_ref().ok().and_then(|dir| found(dir)) else { return Found::Nothing };
    let PinFacts { control, sizes, .. } = facts;
    match facts.check(timer::now(), needs) {
        Ok(()) => Found::Pins(control, sizes),
        Err(why) => {
            log::warn!("what a killed daemon of this instance has pinned is not adopted: {why}");
            Found::Unusable
        }
    }
}

/// Reads what a daemon has left which was killed, and forgets its routers that are not in the configuration.
pub(super) fn read(datapath: &mut Datapath, control: &Control, config: &Config) -> Predecessor {
    let predecessor = datapath.predecessor(control);
    let matches = predecessor.matches(&config.routers);
    let retained: BTreeSet<RouterId> = matches.iter().flatten().map(|it| it.number).collect();
    let all = retained.len() == predecessor.routers.len();
    if let Err(error) = datapath.retain((!all).then_some(&retained)) {
        log::error!("routers of a killed daemon: {}", bpf::chain(&error));
    }
    log::info!(
        "adopting what the killed daemon {} has pinned: {} of {} virtual routers are configured here",
        control.pid,
        retained.len(),
        predecessor.routers.len()
    );
    predecessor
}

impl Driver {
    /// The routers have begun a while ago: what is left of a daemon that was killed and not adopted goes.
    pub(super) fn end_adoption(&mut self) {
        if !self.datapath.adopts() {
            return;
        }
        self.datapath.end_adoption();
        let (routers, addresses, peers) = self.core.keys();
        if let Err(error) = self.datapath.retain_keys(&routers, &addresses, &peers) {
            log::error!("keys of a killed daemon: {}", bpf::chain(&error));
        }
    }
}
