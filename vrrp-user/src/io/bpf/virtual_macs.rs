//! Which virtual MAC addresses there are on which interfaces, for the kernel side.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use aya::maps::{Map, MapData};
use vrrp_common::event::NO_SLOT;
use vrrp_common::maps::{VIRTUAL_MACS, VirtualMacKey};
use vrrp_common::virtual_mac;

use super::error::Error;
use super::maps::PodValue;
use super::own::Entries;
use crate::io::mmap_array::MmapArray;

/// The routers that have them (`VIRTUAL_MACS`), and the set that is asked first (`VIRTUAL_MAC_SET`).
pub(super) struct VirtualMacs {
    table: Entries<VirtualMacKey, u32>,
    /// None without BPF.
    set: Option<MmapArray<u64>>,
    /// What this daemon has said, and so not what one that was killed has left.
    known: BTreeMap<VirtualMacKey, u32>,
    /// How many of them have a bit in common, by its place.
    bits: BTreeMap<(u32, u64), usize>,
    /// How many there are on an interface.
    on: BTreeMap<u64, usize>,
    entries: u32,
}

/// What is there as long as an interface has any.
fn any(ifindex: u64) -> VirtualMacKey {
    VirtualMacKey { mac: virtual_mac::ANY.to_ne_bytes(), ifindex }
}

/// There is one less of a kind. Whether there is none any more.
fn is_last<K: Ord>(counts: &mut BTreeMap<K, usize>, of: K) -> bool {
    let others = counts.remove(&of).unwrap_or(0).saturating_sub(1);
    if others > 0 {
        counts.insert(of, others);
    }
    others == 0
}

fn place(key: &VirtualMacKey) -> (u32, u64) {
    virtual_mac::place(u64::from_ne_bytes(key.mac))
}

/// Those that are pinned in a directory, with the numbers of their interfaces.
pub fn pinned_virtual_macs(pins: &Path) -> BTreeSet<(u32, [u8; 6])> {
    let map = MapData::from_pin(pins.join(VIRTUAL_MACS)).ok().map(Map::HashMap);
    let map = map.and_then(|map| {
        aya::maps::HashMap::<_, PodValue<VirtualMacKey>, PodValue<u32>>::try_from(map).ok()
    });
    let keys = map.iter().flat_map(aya::maps::HashMap::keys).flatten();
    let keys = keys.map(|PodValue(key)| key).filter(|key| *key != any(key.ifindex));
    keys.filter_map(|key| Some((key.ifindex.try_into().ok()?, key.address()))).collect()
}

impl VirtualMacs {
    /// In maps, which may have what a daemon that was killed has put there: that stays until [`Self::end_adoption`].
    pub(super) fn new(
        table: Entries<VirtualMacKey, u32>,
        set: MmapArray<u64>,
        entries: u32,
    ) -> Self {
        Self { table, set: Some(set), entries, ..Self::without_bpf() }
    }

    /// For a daemon without BPF, where nobody asks.
    pub(super) fn without_bpf() -> Self {
        let table = Entries::Own(HashMap::new());
        let (known, bits, on) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { table, set: None, known, bits, on, entries: 0 }
    }

    /// A router has one on an interface.
    pub(super) fn insert(&mut self, key: VirtualMacKey, slot: u32) -> Result<(), Error> {
        if self.set.is_none() {
            return Ok(());
        }
        if !self.put(key, slot)? {
            return Ok(());
        }
        let on = self.on.entry(key.ifindex).or_default();
        *on += 1;
        if *on == 1 { self.put(any(key.ifindex), NO_SLOT).map(drop) } else { Ok(()) }
    }

    /// Whether it was not there before.
    fn put(&mut self, key: VirtualMacKey, slot: u32) -> Result<bool, Error> {
        self.table.insert(VIRTUAL_MACS, key, slot, self.entries)?;
        let is_new = self.known.insert(key, slot).is_none();
        if is_new {
            let place = place(&key);
            *self.bits.entry(place).or_default() += 1;
            self.change(place, |word, bit| word | bit);
        }
        Ok(is_new)
    }

    /// It has it no more. What another one has meanwhile stays.
    pub(super) fn remove(&mut self, key: &VirtualMacKey, slot: u32) -> Result<(), Error> {
        if self.known.get(key) != Some(&slot) {
            return Ok(());
        }
        if is_last(&mut self.on, key.ifindex) {
            self.take(&any(key.ifindex))?;
        }
        self.take(key)
    }

    fn take(&mut self, key: &VirtualMacKey) -> Result<(), Error> {
        self.known.remove(key);
        let place = place(key);
        if is_last(&mut self.bits, place) {
            self.change(place, |word, bit| word & !bit);
        }
        self.table.remove(VIRTUAL_MACS, key)
    }

    /// All routers are known: nothing else stays.
    pub(super) fn end_adoption(&mut self) -> Result<(), Error> {
        let mut words = [0; virtual_mac::SET_WORDS];
        for (word, bit) in self.bits.keys() {
            words.iter_mut().skip(*word as usize).take(1).for_each(|word| *word |= bit);
        }
        for (index, word) in (0..).zip(words) {
            self.store(index, word);
        }
        let known = &self.known;
        self.table.retain(VIRTUAL_MACS, |key, _| known.contains_key(key))
    }

    fn change(&self, (index, bit): (u32, u64), change: impl FnOnce(u64, u64) -> u64) {
        let before = self.set.as_ref().and_then(|set| set.load(index, 0)).unwrap_or_default();
        self.store(index, change(before, bit));
    }

    fn store(&self, index: u32, word: u64) {
        // There is a word for each place.
        let _ = self.set.as_ref().is_some_and(|set| set.store(index, 0, word));
    }
}

#[cfg(test)]
mod tests {
    use super::super::own::OwnMaps;
    use super::*;
    use crate::core::Sizes;

    #[test]
    fn a_bit_is_there_as_long_as_any_router_needs_it() {
        // Any array of such words.
        let maps = OwnMaps::new(Sizes { routers: 1, vips: 1, vips6: 1, allowed: 1 }).unwrap();
        let (set, seen) = (maps.counters().unwrap(), maps.counters().unwrap());
        // What a daemon has left that was killed.
        let left = set.store(7, 0, 1);
        let key = |ifindex, last| VirtualMacKey::new(ifindex, [0, 0, 0, 0, 1, last]);
        let mut table = HashMap::new();
        table.insert(key(9, 9), 9);
        let mut macs = VirtualMacs::new(Entries::Own(table), set, 6);
        let words = || [4, 7].map(|word| seen.load(word, 0).unwrap());
        assert_eq!((left, words()), (true, [0, 1]));
        macs.insert(key(1, 2), 5).unwrap();
        macs.insert(key(2, 2), 6).unwrap();
        assert_eq!(words(), [4, 1]);
        assert_eq!(macs.table.get(&key(9, 9)), Some(9));
        macs.end_adoption().unwrap();
        assert_eq!((words(), macs.table.get(&key(9, 9))), ([4, 0], None));
        // Another router has it by now.
        macs.remove(&key(1, 2), 7).unwrap();
        assert_eq!(macs.table.get(&key(1, 2)), Some(5));
        macs.remove(&key(1, 2), 5).unwrap();
        assert_eq!((words(), macs.table.get(&key(1, 2))), ([4, 0], None));
        let none_on = |macs: &VirtualMacs| [1, 2].map(|ifindex| macs.table.get(&any(ifindex)));
        let is_any = || seen.load(0, 0).unwrap() & 1;
        assert_eq!((none_on(&macs), is_any()), ([None, Some(NO_SLOT)], 1));
        macs.remove(&key(2, 2), 6).unwrap();
        assert_eq!(words(), [0, 0]);
        assert_eq!((none_on(&macs), is_any()), ([None; 2], 0));
    }
}
