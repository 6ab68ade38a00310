//! What an interface is known by.

use std::fmt;
use std::net::IpAddr;

/// A network namespace, by the number that the daemon has for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(pub u32);

impl NamespaceId {
    /// The one that the daemon runs in.
    pub const OWN: Self = Self(0);
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

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddr {
    /// Interface.
    pub iface: InterfaceId,
    /// Address.
    pub address: IpAddr,
}

impl InterfaceAddr {
    /// This address on an interface of the network namespace that the daemon runs in.
    pub fn own(ifindex: u32, address: impl Into<IpAddr>) -> Self {
        Self::new(InterfaceId::own(ifindex), address)
    }

    /// This address there.
    pub fn new(iface: InterfaceId, address: impl Into<IpAddr>) -> Self {
        Self { iface, address: address.into() }
    }
}
