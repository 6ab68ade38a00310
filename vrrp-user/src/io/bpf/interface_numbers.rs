//! The numbers that interfaces have in the maps. The kernel side knows an interface by its index alone, and each network
//! namespace has indexes of its own: `lo` is 1 everywhere. Where an index is free in the maps, it is the number there. The
//! next interface with that index gets another number, and none of our programs could find it by that: what it receives is
//! heard by a packet socket, and the daemon looks up its number.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::{InterfaceAddr, InterfaceId};

/// What is set in a number that is no index: the kernel's are positive numbers of 32 bits (`dev_new_index`, net/core/dev.c).
const OTHER: u32 = 1 << 31;

/// The numbers of interfaces.
#[derive(Debug, Default)]
pub struct InterfaceNumbers {
    numbers: BTreeMap<InterfaceId, u32>,
    ifaces: BTreeMap<u32, InterfaceId>,
    /// Interfaces that are gone, whose numbers may still be needed for a moment.
    removed: BTreeSet<InterfaceId>,
}

/// An interface, and the number that it has in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedInterface {
    /// Which.
    pub iface: InterfaceId,
    /// Its number.
    pub number: u32,
}

impl NumberedInterface {
    /// Whether our programs on the interface find that number.
    pub fn is_index(self) -> bool {
        is_index(self.number)
    }
}

/// Whether a number is the index of its interface.
pub(super) const fn is_index(number: u32) -> bool {
    number & OTHER == 0
}

impl InterfaceNumbers {
    /// The number of an interface, which it has from now on.
    pub fn number(&mut self, iface: InterfaceId) -> u32 {
        self.removed.remove(&iface);
        if let Some(number) = self.numbers.get(&iface) {
            return *number;
        }
        let others = (OTHER..).find(|number| !self.ifaces.contains_key(number));
        let index = Some(iface.ifindex).filter(|index| !self.ifaces.contains_key(index));
        let number = index.or(others).unwrap_or(u32::MAX);
        self.take(NumberedInterface { iface, number });
        number
    }

    /// The number of an interface, without giving it one: its index where it has none, unless that is another one's.
    pub fn find(&self, iface: InterfaceId) -> Option<u32> {
        let index = || Some(iface.ifindex).filter(|index| !self.ifaces.contains_key(index));
        self.numbers.get(&iface).copied().or_else(index)
    }

    /// An address as the maps have it, as [`Self::find`] says.
    pub fn find_address(&self, at: InterfaceAddr) -> Option<InterfaceAddr> {
        Some(InterfaceAddr::own(self.find(at.iface)?, at.address))
    }

    /// The same with the interface.
    pub fn place(&mut self, iface: InterfaceId) -> NumberedInterface {
        NumberedInterface { iface, number: self.number(iface) }
    }

    /// An address on an interface as the maps have it.
    pub fn address(&mut self, at: InterfaceAddr) -> InterfaceAddr {
        InterfaceAddr::own(self.number(at.iface), at.address)
    }

    /// Gives an interface the number that it had in the maps of a daemon before this one, if it can have that: then it is the
    /// same, as far as its index tells.
    pub fn take_again(&mut self, place: NumberedInterface) -> bool {
        let NumberedInterface { iface, number } = place;
        if is_index(number) && number != iface.ifindex {
            return false;
        }
        let known = (self.numbers.get(&iface), self.ifaces.get(&number));
        if known == (None, None) {
            self.take(place);
            return true;
        }
        known == (Some(&number), Some(&iface))
    }

    fn take(&mut self, NumberedInterface { iface, number }: NumberedInterface) {
        self.numbers.insert(iface, number);
        self.ifaces.insert(number, iface);
    }

    /// The interface of a number; one that has none is in the network namespace of the daemon.
    pub fn iface(&self, number: u32) -> InterfaceId {
        self.ifaces.get(&number).copied().unwrap_or(InterfaceId::own(number))
    }

    /// An interface is gone: its number can be another one's, as soon as what is in the maps by it has been taken away.
    pub fn removed(&mut self, iface: InterfaceId) {
        if self.numbers.contains_key(&iface) {
            self.removed.insert(iface);
        }
    }

    /// Nothing is in the maps any more of those that are gone.
    pub fn forget_removed(&mut self) {
        for iface in std::mem::take(&mut self.removed) {
            if let Some(number) = self.numbers.remove(&iface) {
                self.ifaces.remove(&number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::NamespaceId;

    #[test]
    fn the_first_of_an_index_has_it_as_its_number() {
        let mut places = InterfaceNumbers::default();
        let red = InterfaceId { namespace: NamespaceId(7), ifindex: 2 };
        let (own, other) =
            (InterfaceId::own(2), InterfaceId { namespace: NamespaceId(8), ifindex: 3 });
        let [first, second, third] = [own, red, other].map(|iface| places.place(iface));
        assert!(first.is_index() && !second.is_index() && third.is_index());
        for (place, iface) in [(first, own), (second, red), (third, other)] {
            assert_eq!((places.iface(place.number), places.place(iface)), (iface, place));
        }
        assert_eq!(places.iface(9), InterfaceId::own(9));
        let at = InterfaceAddr::new(red, [10, 0, 0, 1]);
        assert_eq!(places.address(at), InterfaceAddr::own(second.number, [10, 0, 0, 1]));
        assert_eq!(
            (places.find(red), places.find_address(at)),
            (Some(second.number), Some(InterfaceAddr::own(second.number, [10, 0, 0, 1])))
        );
        // The index of another one is not asked about.
        let stranger = InterfaceId { namespace: NamespaceId(9), ifindex: 2 };
        assert_eq!((places.find(stranger), places.find(InterfaceId::own(9))), (None, Some(9)));
        // Until nothing is there any more, and not if it came back.
        places.removed(own);
        assert_eq!(places.iface(2), own);
        places.removed(other);
        assert_eq!(places.number(other), 3);
        places.forget_removed();
        assert_eq!((places.iface(3), places.find(own)), (other, Some(2)));
        assert_eq!((places.number(stranger), places.number(red)), (2, second.number));
        // Nothing is kept of one that never had a number.
        places.removed(InterfaceId::own(9));
        assert!(places.removed.is_empty());
    }
}
