//! The leases of routers (`vrrp_common::lease`), as the daemon writes them: by stores in shared memory. And who its own
//! advertisements come from.

use std::path::Path;

use aya::maps::{Array, IterableMap, Map, MapData};
use vrrp_common::lease;
use vrrp_common::maps::{LEASES, Lease};
use vrrp_common::shared::SharedWords;

use super::Datapath;
use super::error::{Error, errno};
use super::maps::{MapSource, PodValue, mmap_array};
use crate::io::mmap_array::MmapArray;

/// The leases of all routers.
pub struct Leases {
    table: MmapArray<Lease>,
}

/// One of them.
struct Words<'a>(&'a MmapArray<Lease>, u32);

impl SharedWords for Words<'_> {
    fn load<const AT: usize>(&self) -> u64 {
        self.0.load(self.1, AT).unwrap_or_default()
    }

    fn store<const AT: usize>(&self, word: u64) {
        // Past the end there is none: no router has such a number.
        let _ = self.0.store(self.1, AT, word);
    }

    fn increment<const AT: usize>(&self) {
        self.store::<AT>(self.load::<AT>().wrapping_add(1));
    }
}

impl Leases {
    pub(super) fn take(maps: &mut MapSource) -> Result<Self, Error> {
        Ok(Self { table: mmap_array(maps, LEASES)? })
    }

    /// Those that a daemon has pinned in this directory, to be written as well.
    /// Errors: [`Error::NoPins`], [`Error::Map`].
    pub fn open(pins: &Path) -> Result<Self, Error> {
        let map = MapData::from_pin(pins.join(LEASES)).map_err(|error| match errno(&error) {
            Some(libc::ENOENT) => Error::NoPins(pins.to_owned()),
            Some(_) | None => Error::map(LEASES)(error),
        })?;
        let map = Map::from_map_data(map).and_then(Array::try_from);
        let map: Array<MapData, PodValue<Lease>> = map.map_err(Error::map(LEASES))?;
        let table = MmapArray::map(map.map().fd(), map.len());
        Ok(Self { table: table.map_err(|error| Error::map(LEASES)(error.into()))? })
    }

    /// What is known of a router; zeros past the end.
    pub fn get(&self, index: u32) -> Lease {
        self.table.get(index).unwrap_or_default()
    }

    /// As it was in another map.
    pub fn restore(&self, index: u32, lease: &Lease) {
        let _ = self.table.set(index, lease);
    }

    /// One word of it ([`vrrp_common::maps::LEASE_CLAIMED`] and the like).
    pub(super) fn note(&self, index: u32, at: usize, word: u64) {
        let _ = self.table.store(index, at, word);
    }

    /// Another router gets the number.
    pub fn clear(&self, index: u32) {
        lease::clear(&self.words(index));
    }

    /// One of them, for the functions of [`vrrp_common::lease`].
    pub fn words(&self, index: u32) -> impl SharedWords + '_ {
        Words(&self.table, index)
    }
}

impl Datapath {
    /// The leases of the routers, where there are any.
    pub fn leases(&self) -> Option<&Leases> {
        self.leases.as_ref()
    }
}
