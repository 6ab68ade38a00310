//! The sockets that the daemon sends advertisements by, of which the kernel side knows by their numbers: what another program
//! sends for a router is not fenced.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::{HashMap, MapData};
use vrrp_common::maps::SENDERS;

use super::Datapath;
use super::error::{Error, chain};
use super::maps::{MapSource, or_absent, take};

/// Where that is said.
#[derive(Clone)]
pub struct Senders(Arc<Mutex<HashMap<MapData, u64, u32>>>);

impl Senders {
    /// Forgets those of a daemon before this one, which are closed.
    /// Errors: [`Error::Map`].
    pub(super) fn take(maps: &mut MapSource) -> Result<Self, Error> {
        let mut map: HashMap<MapData, u64, u32> = take(maps, SENDERS)?;
        let before: Result<Vec<u64>, _> = map.keys().collect();
        for cookie in before.map_err(Error::map(SENDERS))? {
            or_absent(SENDERS, map.remove(&cookie))?;
        }
        Ok(Self(Arc::new(Mutex::new(map))))
    }

    fn map(&self) -> MutexGuard<'_, HashMap<MapData, u64, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One was opened, of that number (`SO_COOKIE`, socket(7)).
    pub fn add(&self, cookie: u64) {
        if let Err(error) = self.map().insert(cookie, 1, 0) {
            log::error!("the kernel side takes a socket for another program's: {}", chain(&error));
        }
    }

    /// It is closed.
    pub fn remove(&self, cookie: u64) {
        // Its number is never another one's.
        let _ = self.map().remove(&cookie);
    }
}

impl Datapath {
    /// Where to say which sockets advertisements are sent by.
    pub fn senders(&self) -> Option<Senders> {
        self.senders.clone()
    }
}
