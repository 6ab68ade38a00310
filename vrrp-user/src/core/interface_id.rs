//! What an interface is known by.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use vrrp_common::maps::RouterKey;

use crate::types::id::Vrid;
use crate::types::netns::{self, Netns};

/// A network namespace, by a number that is made of its name ([`Netns::number`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(pub u32);

impl NamespaceId {
    /// The one that the daemon runs in.
    pub const OWN: Self = Self(0);

    /// The one of that name; without, the one that the daemon runs in.
    pub fn of(netns: Option<&Netns>) -> Self {
        netns.map_or(Self::OWN, |netns| Self(netns.number().get()))
    }

    /// The one that an interface is in.
    pub fn of_interface(name: &str) -> Self {
        Self::of(netns::of_interface(name).as_ref())
    }
}

/// An interface. The kernel numbers those of each network namespace on their own, so that a number alone means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId {
    /// Where it is.
    pub namespace: NamespaceId,
    /// The number that the kernel has for it there.
    pub ifindex: u32,
}

impl InterfaceId {
    /// One in the network namespace that the daemon runs in.
    pub const fn own(ifindex: u32) -> Self {
        Self { namespace: NamespaceId::OWN, ifindex }
    }

    /// One in the same network namespace as this.
    pub const fn beside(self, ifindex: u32) -> Self {
        Self { namespace: self.namespace, ifindex }
    }
}

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace {
            NamespaceId::OWN => write!(f, "{}", self.ifindex),
            NamespaceId(namespace) => write!(f, "{}@{namespace}", self.ifindex),
        }
    }
}

/// By what a virtual router is known on the wire: interface, family and VRID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterPlace {
    /// Where its advertisements arrive.
    pub iface: InterfaceId,
    /// [`vrrp_common::FAMILY_V4`] or [`vrrp_common::FAMILY_V6`].
    pub family: u8,
    /// Its VRID.
    pub vrid: Vrid,
}

impl RouterPlace {
    /// The same in the maps, which have that number for the interface.
    pub fn key(self, ifindex: u32) -> RouterKey {
        let Self { iface: _, family, vrid } = self;
        RouterKey { ifindex, family, vrid: vrid.get(), ..RouterKey::default() }
    }
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddr {
    /// Interface.
    pub iface: InterfaceId,
    /// Address.
    pub address: IpAddr,
}

/// By interface, and then by address. A takeover of thousands looks up each address a dozen times: comparing numbers takes
/// half of what comparing fields takes.
impl Ord for InterfaceAddr {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for InterfaceAddr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl InterfaceAddr {
    #[inline]
    fn key(&self) -> (u64, bool, u128) {
        let InterfaceId { namespace, ifindex } = self.iface;
        let bits = match self.address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        (u64::from(namespace.0) << 32 | u64::from(ifindex), self.address.is_ipv6(), bits)
    }

    /// This address on an interface of the network namespace that the daemon runs in.
    pub fn own(ifindex: u32, address: impl Into<IpAddr>) -> Self {
        Self::new(InterfaceId::own(ifindex), address)
    }

    /// This address there.
    pub fn new(iface: InterfaceId, address: impl Into<IpAddr>) -> Self {
        Self { iface, address: address.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_are_ordered_by_interface_first(
            one: (u32, u32, IpAddr), two: (u32, u32, IpAddr), same in any::<[bool; 2]>(),
        ) {
            let of = |(namespace, ifindex, address)| {
                let iface = InterfaceId { namespace: NamespaceId(namespace), ifindex };
                (iface, address)
            };
            let (one, mut two) = (of(one), of(two));
            two.0 = if same[0] { one.0 } else { two.0 };
            two.1 = if same[1] { one.1 } else { two.1 };
            let at = |(iface, address)| InterfaceAddr { iface, address };
            prop_assert_eq!(at(one).cmp(&at(two)), one.cmp(&two));
        }
    }
}
