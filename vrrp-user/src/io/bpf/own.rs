//! The maps of a daemon that has no BPF: in its own memory. It does alone what is asked of them, and answers itself whoever
//! wants to read them.

use std::collections::{BTreeMap, HashMap as StdHashMap};
use std::fs::File;
use std::hash::Hash;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{HashMap, MapData};
use nix::sys::memfd::{MFdFlags, memfd_create};
use vrrp_common::maps::{
    CONTROL, COUNTERS, Control, DAEMON_COUNTERS, INFO, PEERS, PeerCounters, PeerKey, RouterInfo,
    SLOTS, Slot,
};

use super::error::Error;
use super::maps::{PodValue, or_absent, or_full};
use crate::core::Sizes;
use crate::io::mmap_array::MmapArray;

/// Sources that are remembered of one router: nobody fills the memory by sending from many addresses.
const SOURCES: usize = 16;

/// What others read.
pub struct OwnMaps {
    control: Array,
    slots: Array,
    info: Array,
    counters: Array,
    peers: Mutex<BTreeMap<PeerKey, PeerCounters>>,
}

/// Memory for a [`MmapArray`], which can be mapped more than once (memfd_create(2)).
struct Array {
    name: &'static str,
    memory: File,
    entries: u32,
}

impl Array {
    fn new<T: bytemuck::Pod>(name: &'static str, entries: u32) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Memory { name, source };
        let memory = memfd_create(name, MFdFlags::MFD_CLOEXEC);
        let memory = File::from(memory.map_err(|errno| failed(errno.into()))?);
        memory.set_len(u64::from(entries) * size_of::<T>() as u64).map_err(failed)?;
        Ok(Self { name, memory, entries })
    }

    fn mmap_array<T: bytemuck::Pod>(&self) -> Result<MmapArray<T>, Error> {
        MmapArray::map(&self.memory, self.entries)
            .map_err(|source| Error::Memory { name: self.name, source })
    }
}

impl OwnMaps {
    pub(super) fn new(sizes: Sizes) -> Result<Self, Error> {
        Ok(Self {
            control: Array::new::<Control>(CONTROL, 1)?,
            slots: Array::new::<Slot>(SLOTS, sizes.routers)?,
            info: Array::new::<RouterInfo>(INFO, sizes.routers)?,
            counters: Array::new::<u64>(COUNTERS, DAEMON_COUNTERS)?,
            peers: Mutex::default(),
        })
    }

    pub(in crate::io) fn control(&self) -> Result<MmapArray<Control>, Error> {
        self.control.mmap_array()
    }

    pub(in crate::io) fn slots(&self) -> Result<MmapArray<Slot>, Error> {
        self.slots.mmap_array()
    }

    pub(in crate::io) fn info(&self) -> Result<MmapArray<RouterInfo>, Error> {
        self.info.mmap_array()
    }

    pub(in crate::io) fn counters(&self) -> Result<MmapArray<u64>, Error> {
        self.counters.mmap_array()
    }

    /// Who was heard, ordered by router and address.
    pub(in crate::io) fn peers(&self) -> Vec<(PeerKey, PeerCounters)> {
        self.locked().iter().map(|(key, counters)| (*key, *counters)).collect()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<PeerKey, PeerCounters>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a source; of one that is new, the one of its router that was silent longest makes room.
    fn peer(&self, key: PeerKey, change: impl FnOnce(&mut PeerCounters)) {
        let mut peers = self.locked();
        if !peers.contains_key(&key) {
            let [first, last] = [[0; 16], [u8::MAX; 16]].map(|source| PeerKey { source, ..key });
            let of_router = || peers.range(first..=last);
            if of_router().count() >= SOURCES
                && let Some((&silent, _)) = of_router().min_by_key(|(_, peer)| peer.last_seen_ns)
            {
                peers.remove(&silent);
            }
        }
        change(peers.entry(key).or_default());
    }
}

/// `PEERS`, or what stands for it.
pub(super) enum Peers {
    Shared(HashMap<MapData, PodValue<PeerKey>, PodValue<PeerCounters>>),
    Own(std::sync::Arc<OwnMaps>),
}

impl Peers {
    pub(super) fn note(&mut self, key: PeerKey, at: u64, priority: u8) -> Result<(), Error> {
        let heard = |peer: &mut PeerCounters| {
            peer.adverts += 1;
            peer.last_seen_ns = at;
            peer.priority = u64::from(priority);
        };
        match self {
            Self::Shared(peers) => {
                let PodValue(mut peer) =
                    peers.get(&PodValue(key), 0).unwrap_or(PodValue(PeerCounters {
                        outranks_full_ns: at,
                        resigns_full_ns: at,
                        ..PeerCounters::default()
                    }));
                heard(&mut peer);
                peers.insert(PodValue(key), PodValue(peer), 0).map_err(Error::map(PEERS))
            }
            Self::Own(maps) => {
                maps.peer(key, heard);
                Ok(())
            }
        }
    }

    /// Adds what was counted of a peer in another map. Errors: [`Error::Map`].
    pub(super) fn add(&mut self, key: PeerKey, counted: PeerCounters) -> Result<(), Error> {
        let Self::Shared(peers) = self else { return Ok(()) };
        let mut counted = counted;
        if let Ok(PodValue(newer)) = peers.get(&PodValue(key), 0) {
            counted = PeerCounters { adverts: newer.adverts + counted.adverts, ..newer };
        }
        peers.insert(PodValue(key), PodValue(counted), 0).map_err(Error::map(PEERS))
    }

    pub(super) fn forget(&mut self, removed: impl Fn(u32) -> bool) -> Result<(), Error> {
        match self {
            Self::Shared(peers) => {
                let keys: Result<Vec<_>, _> = peers.keys().collect();
                let keys = keys.map_err(Error::map(PEERS))?;
                for key in keys.iter().filter(|PodValue(key)| removed(key.slot)) {
                    or_absent(PEERS, peers.remove(key))?;
                }
            }
            Self::Own(maps) => maps.locked().retain(|key, _| !removed(key.slot)),
        }
        Ok(())
    }
}

/// A hash map that the kernel side looks things up in, or what stands for it.
pub(super) enum Entries<K, V> {
    Shared(HashMap<MapData, PodValue<K>, PodValue<V>>),
    Own(StdHashMap<K, V>),
}

impl<K: bytemuck::Pod + Eq + Hash, V: bytemuck::Pod> Entries<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<V> {
        match self {
            Self::Shared(map) => map.get(&PodValue(*key), 0).ok().map(|PodValue(value)| value),
            Self::Own(map) => map.get(key).copied(),
        }
    }

    /// With room for `entries`, where the kernel does not count them.
    pub(super) fn insert(
        &mut self,
        name: &'static str,
        key: K,
        value: V,
        entries: u32,
    ) -> Result<(), Error> {
        let full = Error::Full { name, entries };
        match self {
            Self::Shared(map) => map
                .insert(PodValue(key), PodValue(value), 0)
                .map_err(|error| or_full(name, error, full)),
            Self::Own(map) if map.len() as u64 >= u64::from(entries) && !map.contains_key(&key) => {
                Err(full)
            }
            Self::Own(map) => {
                map.insert(key, value);
                Ok(())
            }
        }
    }

    pub(super) fn retain(
        &mut self,
        name: &'static str,
        retained: impl Fn(&K, &V) -> bool,
    ) -> Result<(), Error> {
        match self {
            Self::Shared(map) => {
                let entries: Result<Vec<_>, _> = map.iter().collect();
                for (key, PodValue(value)) in entries.map_err(Error::map(name))? {
                    if !retained(&key.0, &value) {
                        or_absent(name, map.remove(&key))?;
                    }
                }
            }
            Self::Own(map) => map.retain(|key, value| retained(key, value)),
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &'static str, key: &K) -> Result<(), Error> {
        match self {
            Self::Shared(map) => or_absent(name, map.remove(&PodValue(*key))),
            Self::Own(map) => {
                map.remove(key);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { routers: 2, vips: 1, vips6: 1, allowed: 1 };

    #[test]
    fn what_one_writes_the_other_reads() {
        let maps = OwnMaps::new(SIZES).unwrap();
        let (slots, others) = (maps.slots().unwrap(), maps.slots().unwrap());
        let slot = Slot { adverts: 7, ..Slot::default() };
        assert!(slots.set(1, &slot) && !slots.set(2, &slot));
        assert_eq!(others.get(1), Some(slot));
    }

    #[test]
    fn who_sends_from_many_addresses_displaces_his_own_router_only() {
        let maps = OwnMaps::new(SIZES).unwrap();
        let key = |slot, number: u16| {
            let mut source = [0; 16];
            source[..2].copy_from_slice(&number.to_be_bytes());
            PeerKey { slot, source }
        };
        maps.peer(key(0, 1), |peer| peer.last_seen_ns = 5);
        maps.peer(key(2, 1), |peer| peer.last_seen_ns = 5);
        for number in 0..1000 {
            maps.peer(key(1, number), |peer| {
                peer.adverts += 1;
                peer.last_seen_ns = 100 + u64::from(number);
            });
        }
        let peers = maps.peers();
        assert_eq!(peers.len(), SOURCES + 2);
        assert!(peers[1..=SOURCES].iter().all(|(key, peer)| key.slot == 1 && peer.adverts == 1));
        assert!(peers[1..=SOURCES].iter().any(|(found, _)| *found == key(1, 999)));
    }

    #[test]
    fn a_table_has_the_room_that_a_map_would_have() {
        let mut entries: Entries<u32, u32> = Entries::Own(StdHashMap::new());
        entries.insert("X", 1, 10, 1).unwrap();
        entries.insert("X", 1, 11, 1).unwrap();
        assert!(matches!(
            entries.insert("X", 2, 10, 1),
            Err(Error::Full { name: "X", entries: 1 })
        ));
        assert_eq!((entries.get(&1), entries.get(&2)), (Some(11), None));
        entries.remove("X", &2).unwrap();
        entries.remove("X", &1).unwrap();
        assert_eq!(entries.get(&1), None);
    }
}
