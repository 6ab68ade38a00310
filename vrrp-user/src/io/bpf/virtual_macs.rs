//! Which virtual MAC addresses the kernel side looks up routers for.

use std::collections::{BTreeMap, HashSet};

use vrrp_common::maps::{RouterEntry, RouterKey};
use vrrp_common::virtual_mac;

use crate::io::mmap_array::MmapArray;

/// The set of virtual MAC addresses that any router has (`VIRTUAL_MACS`), and who has them.
#[derive(Default)]
pub(super) struct VirtualMacs {
    /// None without BPF.
    set: Option<MmapArray<u64>>,
    /// Routers by the code of the address.
    routers: BTreeMap<u32, HashSet<RouterKey>>,
}

impl VirtualMacs {
    /// In a map, which may have what a daemon that was killed has put there: that stays until [`Self::write`].
    pub(super) fn new(set: MmapArray<u64>) -> Self {
        Self { set: Some(set), routers: BTreeMap::new() }
    }

    /// A router is there, and has one or none.
    pub(super) fn insert(&mut self, key: &RouterKey, entry: &RouterEntry) {
        if entry.virtual_mac == 0 {
            return self.remove(key);
        }
        let code = virtual_mac::code(key.family, key.vrid);
        self.routers.entry(code).or_default().insert(*key);
        self.change(code, |word, bit| word | bit);
    }

    /// A router is gone.
    pub(super) fn remove(&mut self, key: &RouterKey) {
        let code = virtual_mac::code(key.family, key.vrid);
        let Some(routers) = self.routers.get_mut(&code) else { return };
        routers.remove(key);
        if routers.is_empty() {
            self.routers.remove(&code);
            self.change(code, |word, bit| word & !bit);
        }
    }

    /// All routers are known: nothing else stays in the set.
    pub(super) fn write(&self) {
        let mut words = [0; virtual_mac::SET_WORDS];
        for code in self.routers.keys() {
            let (word, bit) = virtual_mac::place(*code);
            words.iter_mut().skip(word as usize).take(1).for_each(|word| *word |= bit);
        }
        for (index, word) in (0..).zip(words) {
            self.store(index, word);
        }
    }

    fn change(&self, code: u32, change: impl FnOnce(u64, u64) -> u64) {
        let (index, bit) = virtual_mac::place(code);
        let before = self.set.as_ref().and_then(|set| set.load(index, 0)).unwrap_or_default();
        self.store(index, change(before, bit));
    }

    fn store(&self, index: u32, word: u64) {
        // There is a word for each that a code may stand in.
        let _ = self.set.as_ref().is_some_and(|set| set.store(index, 0, word));
    }
}

#[cfg(test)]
mod tests {
    use vrrp_common::FAMILY_V4;

    use super::super::own::OwnMaps;
    use super::*;
    use crate::core::Sizes;

    #[test]
    fn a_bit_is_there_as_long_as_any_router_has_the_address() {
        // Any array of such words.
        let maps = OwnMaps::new(Sizes { routers: 1, vips: 1, vips6: 1, allowed: 1 }).unwrap();
        let (set, seen) = (maps.counters().unwrap(), maps.counters().unwrap());
        // What a daemon has left that was killed.
        let left = set.store(7, 0, 1);
        let mut macs = VirtualMacs::new(set);
        let key =
            |ifindex| RouterKey { ifindex, family: FAMILY_V4, vrid: 130, ..RouterKey::default() };
        let with = RouterEntry { virtual_mac: 1, ..RouterEntry::default() };
        let words = || [2, 7].map(|word| seen.load(word, 0).unwrap());
        macs.insert(&key(1), &RouterEntry::default());
        assert_eq!((left, words()), (true, [0, 1]));
        macs.insert(&key(1), &with);
        macs.insert(&key(2), &with);
        macs.write();
        assert_eq!(words(), [4, 0]);
        macs.remove(&key(1));
        assert_eq!(words(), [4, 0]);
        macs.insert(&key(2), &RouterEntry::default());
        assert_eq!(words(), [0, 0]);
        macs.remove(&key(3));
    }
}
