//! An address of a virtual router, or one that is always there.

use std::fmt;
use std::net::IpAddr;

use super::text::scope_name;

/// An address to put on an interface while master.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Interface, when it is not the router's own.
    pub dev: Option<String>,
    /// Label (`ip address ... label`), at most 15 bytes.
    pub label: Option<String>,
    /// Scope, as the number in `rtm_scope` (rtnetlink(7)): 0 global, 253 link, 254 host.
    pub scope: u8,
    /// Broadcast address.
    pub broadcast: Option<IpAddr>,
    /// The other end of a point-to-point address; the prefix length is that of the peer then.
    pub peer: Option<IpAddr>,
    /// Flags, as in `IFA_FLAGS`.
    pub flags: AddressFlags,
    /// For how many seconds the address is preferred as a source, IPv6 only; `None` for ever. 0 means that it is
    /// deprecated from the beginning: nothing is sent from it unless that is asked for.
    pub preferred_lft: Option<u32>,
    /// `no_track`: the removal of the address from outside does not matter.
    pub no_track: bool,
    /// `track_group`: which routers follow it, where it is there whoever is master.
    pub track_group: Option<String>,
    /// `use_vmac`: on another interface than the router's own, it has the router's virtual MAC address there.
    pub virtual_mac: bool,
}

impl Address {
    /// An address without options. IPv6 ones are used without duplicate address detection, because the election
    /// says whose they are, and single ones are deprecated, so that the host goes on sending from its own.
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let v6 = address.is_ipv6();
        Self {
            address,
            prefix,
            dev: None,
            label: None,
            scope: 0,
            broadcast: None,
            peer: None,
            flags: if v6 { AddressFlags::NODAD } else { AddressFlags::default() },
            preferred_lft: (v6 && prefix == 128).then_some(0),
            no_track: false,
            track_group: None,
            virtual_mac: false,
        }
    }
}

/// The first address of the subnet in which an address is.
pub fn network(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V4((a.to_bits() & mask).into())
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V6((a.to_bits() & mask).into())
        }
    }
}

/// Flags of an address (`IFA_F_*`, linux/if_addr.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressFlags(pub u32);

impl AddressFlags {
    /// No duplicate address detection.
    pub const NODAD: Self = Self(0x02);
    /// The home address of a mobile node (RFC 6275).
    pub const HOME: Self = Self(0x10);
    /// Temporary addresses are made from it (RFC 8981).
    pub const MNGTMPADDR: Self = Self(0x100);
    /// No route to the address's network comes with it.
    pub const NOPREFIXROUTE: Self = Self(0x200);
    /// The interface joins the multicast group that the address is.
    pub const AUTOJOIN: Self = Self(0x400);
    /// Those that are written as a word, and which.
    pub const NAMED: [(&'static str, Self); 4] = [
        ("home", Self::HOME),
        ("mngtmpaddr", Self::MNGTMPADDR),
        ("noprefixroute", Self::NOPREFIXROUTE),
        ("autojoin", Self::AUTOJOIN),
    ];

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Sets or clears `flags`.
    pub fn set(&mut self, flags: Self, on: bool) {
        if on {
            self.0 |= flags.0;
        } else {
            self.0 &= !flags.0;
        }
    }
}

impl fmt::Display for Address {
    /// As a line of `virtual_ipaddress`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            None => write!(f, "{}/{}", self.address, self.prefix)?,
            Some(peer) => write!(f, "{} peer {peer}/{}", self.address, self.prefix)?,
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        if let Some(label) = &self.label {
            write!(f, " label {label}")?;
        }
        if let Some(broadcast) = self.broadcast {
            write!(f, " brd {broadcast}")?;
        }
        if self.scope != 0 {
            write!(f, " scope {}", scope_name(self.scope))?;
        }
        let plain = Self::new(self.address, self.prefix);
        if self.preferred_lft != plain.preferred_lft {
            match self.preferred_lft {
                None => f.write_str(" preferred_lft forever")?,
                Some(seconds) => write!(f, " preferred_lft {seconds}")?,
            }
        }
        for (name, flag) in AddressFlags::NAMED {
            if self.flags.contains(flag) {
                write!(f, " {name}")?;
            }
        }
        if plain.flags.contains(AddressFlags::NODAD) && !self.flags.contains(AddressFlags::NODAD) {
            f.write_str(" -nodad")?;
        }
        if self.no_track {
            f.write_str(" no_track")?;
        }
        if let Some(group) = &self.track_group {
            write!(f, " track_group {group}")?;
        }
        if self.virtual_mac {
            f.write_str(" use_vmac")?;
        }
        Ok(())
    }
}
