//! The maps that are keyed by a virtual address, those of IPv4 and of IPv6 behind one face.

use std::io;
use std::net::IpAddr;

use aya::maps::{HashMap, MapData, PerCpuHashMap, PerCpuValues};
use vrrp_common::maps::{HELD4, HELD6, Held, VIPS4, VIPS6, VipCounters, VipKey4, VipKey6};

use super::error::{Error, errno};
use super::maps::{MapSource, PodValue, cpus, or_absent, or_full, take};
use crate::core::{InterfaceAddr, InterfaceId, Sizes};

impl From<VipKey4> for InterfaceAddr {
    fn from(VipKey4 { ifindex, address }: VipKey4) -> Self {
        Self::own(ifindex, address)
    }
}

impl From<VipKey6> for InterfaceAddr {
    fn from(VipKey6 { ifindex, address }: VipKey6) -> Self {
        Self::own(ifindex, address)
    }
}

/// `VIPS4`, `HELD4` or `VIPS6`, `HELD6`.
struct Family<K: bytemuck::Pod> {
    counters: PerCpuHashMap<MapData, PodValue<K>, PodValue<VipCounters>>,
    held: HashMap<MapData, PodValue<K>, PodValue<Held>>,
    names: [&'static str; 2],
    entries: u32,
}

/// The maps of both families; none without BPF, and then nothing is done.
#[derive(Default)]
pub struct Vips(Option<Families>);

struct Families {
    v4: Family<VipKey4>,
    v6: Family<VipKey6>,
}

/// Runs the same on the maps of the family that an address is of, with its key.
macro_rules! of_family {
    ($self:ident, $vip:expr, |$maps:ident, $key:ident| $body:expr) => {{
        let Some(families) = &mut $self.0 else { return Ok(()) };
        let InterfaceAddr { iface: InterfaceId { ifindex, .. }, address } = *$vip;
        match address {
            IpAddr::V4(address) => {
                let ($maps, $key) =
                    (&mut families.v4, VipKey4 { ifindex, address: address.octets() });
                $body
            }
            IpAddr::V6(address) => {
                let ($maps, $key) =
                    (&mut families.v6, VipKey6 { ifindex, address: address.octets() });
                $body
            }
        }
    }};
}

impl Vips {
    pub(super) fn take(maps: &mut MapSource, sizes: Sizes) -> Result<Self, Error> {
        let v4 = Family::take(maps, [VIPS4, HELD4], sizes.vips)?;
        let v6 = Family::take(maps, [VIPS6, HELD6], sizes.vips6)?;
        Ok(Self(Some(Families { v4, v6 })))
    }

    /// Starts to count what arrives for an address of the router at `slot` and leaves from it. Adding it again keeps the
    /// counters. `virtual_mac` is whether that holds it with a virtual MAC address.
    /// Errors: [`Error::Full`] when the map was made for fewer addresses.
    pub fn add(&mut self, vip: &InterfaceAddr, slot: u32, virtual_mac: bool) -> Result<(), Error> {
        of_family!(self, vip, |maps, key| maps.add(key, slot, virtual_mac.into()))
    }

    /// Stops counting for an address and forgets its counters; nothing happens where there is none. Errors: [`Error::Map`].
    pub fn remove(&mut self, vip: &InterfaceAddr) -> Result<(), Error> {
        of_family!(self, vip, |maps, key| or_absent(
            maps.names[0],
            maps.counters.remove(&PodValue(key))
        ))
    }

    /// As [`Self::release`], for all addresses but those. Errors: [`Error::Map`].
    pub(super) fn release_others(
        &mut self,
        retained: impl Fn(&InterfaceAddr) -> bool,
    ) -> Result<(), Error> {
        let Some(families) = &mut self.0 else { return Ok(()) };
        families.v4.release_those(|key| !retained(&(*key).into()))?;
        families.v6.release_those(|key| !retained(&(*key).into()))
    }

    /// Stops counting for all addresses but these.
    pub(super) fn retain(
        &mut self,
        retained: impl Fn(&InterfaceAddr) -> bool,
    ) -> Result<(), Error> {
        let Some(families) = &mut self.0 else { return Ok(()) };
        families.v4.retain(&retained)?;
        families.v6.retain(&retained)
    }

    /// Adds what was counted of an address in another map; nothing happens where there is none.
    /// Errors: [`Error::Map`].
    pub fn add_counters(
        &mut self,
        vip: &InterfaceAddr,
        counted: &VipCounters,
    ) -> Result<(), Error> {
        of_family!(self, vip, |maps, key| maps.add_counters(key, counted))
    }

    /// Starts to watch for ARP or neighbour discovery by which another host claims an address that we now hold, or
    /// renews what is known of it. Errors: [`Error::Full`] when the map was made for fewer addresses.
    pub fn hold(&mut self, vip: &InterfaceAddr, held: &Held) -> Result<(), Error> {
        of_family!(self, vip, |maps, key| {
            let full = Error::Full { name: maps.names[1], entries: maps.entries };
            let added = maps.held.insert(PodValue(key), PodValue(*held), 0);
            added.map_err(|error| or_full(maps.names[1], error, full))
        })
    }

    /// Ends what [`Self::hold`] began; nothing happens where it did not. Errors: [`Error::Map`].
    pub fn release(&mut self, vip: &InterfaceAddr) -> Result<(), Error> {
        of_family!(self, vip, |maps, key| maps.release(key))
    }

    /// As [`Self::release`], for all addresses on an interface that is gone. Errors: [`Error::Map`].
    pub fn release_interface(&mut self, ifindex: u32) -> Result<(), Error> {
        let Some(families) = &mut self.0 else { return Ok(()) };
        families.v4.release_those(|key| key.ifindex == ifindex)?;
        families.v6.release_those(|key| key.ifindex == ifindex)
    }
}

impl<K: bytemuck::Pod + Into<InterfaceAddr>> Family<K> {
    fn retain(&mut self, retained: impl Fn(&InterfaceAddr) -> bool) -> Result<(), Error> {
        let keys: Result<Vec<_>, _> = self.counters.keys().collect();
        for key in keys.map_err(Error::map(self.names[0]))? {
            if !retained(&key.0.into()) {
                or_absent(self.names[0], self.counters.remove(&key))?;
            }
        }
        Ok(())
    }

    fn take(maps: &mut MapSource, names: [&'static str; 2], entries: u32) -> Result<Self, Error> {
        let [counters, held] = names;
        Ok(Self { counters: take(maps, counters)?, held: take(maps, held)?, names, entries })
    }

    fn add(&mut self, key: K, slot: u32, virtual_mac: u32) -> Result<(), Error> {
        /// `BPF_NOEXIST`: do not touch an entry that exists (linux/bpf.h).
        const BPF_NOEXIST: u64 = 1;
        let [name, _] = self.names;
        let zero =
            vec![PodValue(VipCounters { slot, virtual_mac, ..VipCounters::default() }); cpus()?];
        match self.counters.insert(PodValue(key), per_cpu(name, zero)?, BPF_NOEXIST) {
            Err(error) if errno(&error) == Some(libc::EEXIST) => self.give(key, slot, virtual_mac),
            result => result
                .map_err(|error| or_full(name, error, Error::Full { name, entries: self.entries })),
        }
    }

    /// Another router may have the address now. What is counted at that moment may be lost.
    fn give(&mut self, key: K, slot: u32, virtual_mac: u32) -> Result<(), Error> {
        let [name, _] = self.names;
        let values = self.counters.get(&PodValue(key), 0).map_err(Error::map(name))?;
        let is_so =
            |counters: &VipCounters| (counters.slot, counters.virtual_mac) == (slot, virtual_mac);
        if values.iter().all(|PodValue(counters)| is_so(counters)) {
            return Ok(());
        }
        let values = values
            .iter()
            .map(|PodValue(counters)| PodValue(VipCounters { slot, virtual_mac, ..*counters }));
        let values = per_cpu(name, values.collect())?;
        self.counters.insert(PodValue(key), values, 0).map_err(Error::map(name))
    }

    /// Adds what was counted in another map, of an address that is in this one.
    fn add_counters(&mut self, key: K, counted: &VipCounters) -> Result<(), Error> {
        let [name, _] = self.names;
        let Ok(values) = self.counters.get(&PodValue(key), 0) else { return Ok(()) };
        let mut values: Vec<_> = values.iter().copied().collect();
        if let Some(PodValue(first)) = values.first_mut() {
            first.rx_packets += counted.rx_packets;
            first.rx_bytes += counted.rx_bytes;
            first.tx_packets += counted.tx_packets;
            first.tx_bytes += counted.tx_bytes;
        }
        let values = per_cpu(name, values)?;
        self.counters.insert(PodValue(key), values, 0).map_err(Error::map(name))
    }

    fn release(&mut self, key: K) -> Result<(), Error> {
        or_absent(self.names[1], self.held.remove(&PodValue(key)))
    }

    fn release_those(&mut self, which: impl Fn(&K) -> bool) -> Result<(), Error> {
        let keys: Result<Vec<_>, _> = self.held.keys().collect();
        for PodValue(key) in keys.map_err(Error::map(self.names[1]))? {
            if which(&key) {
                self.release(key)?;
            }
        }
        Ok(())
    }
}

fn per_cpu(
    name: &'static str,
    values: Vec<PodValue<VipCounters>>,
) -> Result<PerCpuValues<PodValue<VipCounters>>, Error> {
    values
        .try_into()
        .map_err(|source: io::Error| Error::Map { name, source: Box::new(source.into()) })
}
