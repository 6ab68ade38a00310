//! The maps as others see them: with or without a daemon, and without changing anything.
//!
//! What the kernel side keeps per CPU becomes one here.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;

use aya::maps::MapData;
use bytemuck::Pod;
use vrrp_common::counters::Counter;
use vrrp_common::maps::{
    ABI_VERSION, CONTROL, COUNTERS, Control, DAEMON_COUNTERS, INFO, LEASES, Lease, PEERS,
    PeerCounters, PeerKey, REASONS, RouterInfo, SAMPLE_COUNTS, SAMPLES, SLOTS, Slot, VIPS4, VIPS6,
    VipCounters, VipKey4, VipKey6,
};
use vrrp_common::reason::Reason;
use vrrp_common::sample::{Sample, SampleCounts};

use super::bpf::{Error, Maps, OwnMaps, SharedMaps, errno};
use super::foreign_map::ForeignMap;
use super::mmap_array::MmapArray;
use crate::core::InterfaceAddr;
use crate::refused::Sampled;

/// The maps of a daemon, for reading only.
pub struct Reader {
    maps: Source,
    control: Control,
    unread: Vec<String>,
}

/// Which maps.
enum Source {
    Datapath(Box<Shared>),
    Own(Own),
}

/// Those of the kernel side.
struct Shared {
    reasons: ForeignMap<u32, u64>,
    samples: ForeignMap<u32, Sample>,
    sample_counts: ForeignMap<u32, SampleCounts>,
    slots: ForeignMap<u32, Slot>,
    leases: ForeignMap<u32, Lease>,
    info: ForeignMap<u32, RouterInfo>,
    vips: ForeignMap<VipKey4, VipCounters>,
    vips6: ForeignMap<VipKey6, VipCounters>,
    peers: ForeignMap<PeerKey, PeerCounters>,
    counters: ForeignMap<u32, u64>,
}

/// Those that this process keeps itself.
struct Own {
    slots: MmapArray<Slot>,
    info: MmapArray<RouterInfo>,
    counters: MmapArray<u64>,
    maps: Arc<OwnMaps>,
}

impl Maps {
    /// Opens them.
    /// Errors: those of [`Reader::open`], [`Error::Memory`].
    pub fn reader(&self) -> Result<Reader, Error> {
        match self {
            Self::Pinned(pins) => Reader::open(pins),
            Self::Unpinned(maps) => Reader::of_shared(maps),
            Self::Own(maps) => Reader::of(maps),
        }
    }
}

fn read_control(map: MapData) -> Result<Control, Error> {
    Ok(ForeignMap::<u32, Control>::open(CONTROL, map)?.get(&0)?.unwrap_or_default())
}

/// Who made the maps that are pinned in a directory; zeros where that cannot be told.
pub fn pinned_control(pins: &Path) -> Control {
    let map = MapData::from_pin(pins.join(CONTROL)).ok();
    map.and_then(|map| read_control(map).ok()).unwrap_or_default()
}

impl Reader {
    /// Opens the maps in the directory `pins`.
    /// Errors: [`Error::NoPins`] when there are none, [`Error::Abi`] when they cannot be understood; what of them is not is
    /// said by [`Self::unread`].
    pub fn open(pins: &Path) -> Result<Self, Error> {
        let pinned = |name| {
            MapData::from_pin(pins.join(name)).map_err(|error| match errno(&error) {
                Some(libc::ENOENT) => Error::NoPins(pins.to_owned()),
                _ => Error::map(name)(error),
            })
        };
        // Nothing else is looked at before it is known to be what we take it for.
        let control = read_control(pinned(CONTROL)?)?;
        // Each word is written once, and in whichever order they become visible.
        if control.abi_version == 0 || control.started_ns == 0 {
            return Err(Error::NoPins(pins.to_owned()));
        }
        Self::of_kernel(pinned, control)
    }

    /// Those of this process, which nobody else can open.
    /// Errors: [`Error::Map`].
    pub fn of_shared(maps: &SharedMaps) -> Result<Self, Error> {
        let control = read_control(maps.open(CONTROL)?)?;
        Self::of_kernel(|name| maps.open(name), control)
    }

    fn of_kernel(
        find: impl Fn(&'static str) -> Result<MapData, Error> + Copy,
        control: Control,
    ) -> Result<Self, Error> {
        let unknown = || Error::Abi { found: control.abi_version };
        if !control.is_readable() {
            return Err(unknown());
        }
        let is_ours = control.abi_version == ABI_VERSION;
        let mut unread = Vec::new();
        let reader = Shared {
            reasons: open(find, REASONS, is_ours, &mut unread)?,
            samples: open(find, SAMPLES, is_ours, &mut unread)?,
            sample_counts: open(find, SAMPLE_COUNTS, is_ours, &mut unread)?,
            slots: open(find, SLOTS, is_ours, &mut unread)?,
            leases: open(find, LEASES, is_ours, &mut unread)?,
            info: open(find, INFO, is_ours, &mut unread)?,
            vips: open(find, VIPS4, is_ours, &mut unread)?,
            vips6: open(find, VIPS6, is_ours, &mut unread)?,
            peers: open(find, PEERS, is_ours, &mut unread)?,
            counters: open(find, COUNTERS, is_ours, &mut unread)?,
        };
        let reasons = usize::try_from(reader.reasons.len()).unwrap_or_default();
        if reasons > Reason::COUNT {
            let more = reasons - Reason::COUNT;
            unread
                .push(format!("{more} reasons have no name here, and their packets are not shown"));
        }
        let is_odd = reader.reasons.len() != reader.sample_counts.len()
            || reader.slots.len() != reader.info.len();
        // Of one that says it is of this version, nothing of that may be.
        if is_odd || (is_ours && (!unread.is_empty() || reasons != Reason::COUNT)) {
            return Err(unknown());
        }
        Ok(Self { maps: Source::Datapath(Box::new(reader)), control, unread })
    }

    /// What another version of the daemon made that this one cannot read, in words; nothing of the same version.
    pub fn unread(&self) -> Vec<String> {
        if self.control.abi_version == ABI_VERSION {
            return Vec::new();
        }
        let version = format!(
            "the maps were made by another version of the daemon (layout {}, ours is {ABI_VERSION})",
            self.control.abi_version
        );
        std::iter::once(version).chain(self.unread.iter().cloned()).collect()
    }

    /// Those of this process itself, where there is no BPF: no traffic is counted in them and no packet kept.
    /// Errors: [`Error::Memory`].
    pub fn of(maps: &Arc<OwnMaps>) -> Result<Self, Error> {
        let control = maps.control()?.get(0).unwrap_or_default();
        let (slots, info, counters) = (maps.slots()?, maps.info()?, maps.counters()?);
        let own = Own { slots, info, counters, maps: Arc::clone(maps) };
        Ok(Self { maps: Source::Own(own), control, unread: Vec::new() })
    }

    /// Who made the maps.
    pub fn control(&self) -> Control {
        self.control
    }

    /// How often each verdict was given, over all CPUs.
    /// Errors: [`Error::Map`].
    pub fn reasons(&self) -> Result<Vec<(Reason, u64)>, Error> {
        let count = |reason: &Reason| {
            let there = match &self.maps {
                Source::Datapath(maps) => maps.reasons.of_each_cpu(&reason.index())?.iter().sum(),
                Source::Own(_) => 0,
            };
            Ok((*reason, there + self.found_by_daemon(*reason)?))
        };
        Reason::ALL.iter().map(count).collect()
    }

    /// What is kept of the packets that got each verdict, over all CPUs.
    /// Errors: [`Error::Map`].
    pub fn samples(&self) -> Result<Vec<(Reason, Sampled)>, Error> {
        Reason::ALL.iter().map(|reason| Ok((*reason, self.sampled(*reason)?))).collect()
    }

    fn sampled(&self, reason: Reason) -> Result<Sampled, Error> {
        let Source::Datapath(maps) = &self.maps else { return Ok(Sampled::default()) };
        let counts = maps.sample_counts.of_each_cpu(&reason.index())?;
        let missed = counts.iter().map(|counts| counts.missed).sum();
        let kept = maps.samples.len().checked_div(maps.reasons.len()).unwrap_or_default();
        let places = counts.iter().map(SampleCounts::slots).max().unwrap_or_default().min(kept);
        let mut recent = Vec::new();
        for place in 0..places {
            let cpus = maps.samples.of_each_cpu(&(reason.index() * kept + place))?;
            recent.extend(cpus.into_iter().filter(Sample::is_whole));
        }
        recent.sort_by_key(|sample| Reverse(sample.ktime_ns));
        Ok(Sampled { recent, missed })
    }

    /// The routers, ordered by index.
    /// Errors: [`Error::Map`].
    pub fn routers(&self) -> Result<Vec<(u32, RouterInfo, Slot)>, Error> {
        let entries = match &self.maps {
            Source::Datapath(maps) => maps.info.len(),
            Source::Own(maps) => maps.info.len(),
        };
        let mut routers = Vec::new();
        for index in 0..entries {
            let (info, slot) = match &self.maps {
                Source::Datapath(maps) => {
                    let info = maps.info.get(&index)?.unwrap_or_default();
                    if info.name().is_empty() {
                        continue;
                    }
                    (info, maps.slots.get(&index)?.unwrap_or_default())
                }
                Source::Own(maps) => {
                    let values = (maps.info.get(index), maps.slots.get(index));
                    let (Some(info), Some(slot)) = values else { continue };
                    (info, slot)
                }
            };
            if !info.name().is_empty() {
                routers.push((index, info, slot));
            }
        }
        Ok(routers)
    }

    /// The lease of a router; zeros where there is none.
    /// Errors: [`Error::Map`].
    pub fn lease(&self, index: u32) -> Result<Lease, Error> {
        let Source::Datapath(maps) = &self.maps else { return Ok(Lease::default()) };
        Ok(maps.leases.get(&index)?.unwrap_or_default())
    }

    /// The traffic to and from virtual addresses, over all CPUs, ordered by interface and address.
    /// Errors: [`Error::Map`].
    pub fn vips(&self) -> Result<Vec<(InterfaceAddr, VipCounters)>, Error> {
        let Source::Datapath(maps) = &self.maps else { return Ok(Vec::new()) };
        let mut vips = counted(&maps.vips)?;
        vips.extend(counted(&maps.vips6)?);
        vips.sort_unstable_by_key(|(vip, _)| *vip);
        // As with peers.
        vips.dedup_by_key(|(vip, _)| *vip);
        Ok(vips)
    }

    /// Who was heard, ordered by router and address.
    /// Errors: [`Error::Map`].
    pub fn peers(&self) -> Result<Vec<(PeerKey, PeerCounters)>, Error> {
        let maps = match &self.maps {
            Source::Datapath(maps) => maps,
            Source::Own(maps) => return Ok(maps.maps.peers()),
        };
        let mut peers = Vec::new();
        for key in maps.peers.keys()? {
            // One that is gone made room for another one meanwhile.
            peers.extend(maps.peers.get(&key)?.map(|counters| (key, counters)));
        }
        // A key that goes while the map is walked sends the walk back to the beginning.
        peers.sort_unstable_by_key(|(key, _)| *key);
        peers.dedup_by_key(|(key, _)| *key);
        Ok(peers)
    }

    /// What the daemon refused or failed at, with the names of this version.
    /// Errors: [`Error::Map`].
    pub fn counters(&self) -> Result<Vec<(&'static str, u64)>, Error> {
        let counter =
            |(counter, name): &(Counter, &'static str)| Ok((*name, self.counter(*counter as u32)?));
        Counter::ALL.iter().map(counter).collect()
    }

    fn counter(&self, index: u32) -> Result<u64, Error> {
        match &self.maps {
            Source::Datapath(maps) => Ok(maps.counters.get(&index)?.unwrap_or_default()),
            Source::Own(maps) => Ok(maps.counters.load(index, 0).unwrap_or_default()),
        }
    }

    /// How often the daemon itself gave a verdict ([`vrrp_common::counters::of_reason`]).
    fn found_by_daemon(&self, reason: Reason) -> Result<u64, Error> {
        let entries = match &self.maps {
            Source::Datapath(maps) => maps.counters.len(),
            Source::Own(_) => DAEMON_COUNTERS,
        };
        entries.checked_sub(1 + reason.index()).map_or(Ok(0), |index| self.counter(index))
    }
}

/// A map that is found by its name. Of another version one may be missing, or have other keys, which is noted.
fn open<K: Pod, V: Pod>(
    find: impl Fn(&'static str) -> Result<MapData, Error>,
    name: &'static str,
    is_ours: bool,
    unread: &mut Vec<String>,
) -> Result<ForeignMap<K, V>, Error> {
    let map = match find(name).and_then(|map| ForeignMap::open(name, map)) {
        Err(Error::NoPins(_)) if !is_ours => ForeignMap::absent(name),
        Err(error @ Error::Keys(_)) if !is_ours => {
            unread.push(error.to_string());
            return Ok(ForeignMap::absent(name));
        }
        opened => opened?,
    };
    unread.extend(map.difference());
    Ok(map)
}

/// The counters of one family, over all CPUs.
fn counted<K>(map: &ForeignMap<K, VipCounters>) -> Result<Vec<(InterfaceAddr, VipCounters)>, Error>
where
    K: Pod + Into<InterfaceAddr>,
{
    let mut vips = Vec::new();
    for key in map.keys()? {
        let mut sum = VipCounters::default();
        for counters in map.of_each_cpu(&key)? {
            sum.rx_packets += counters.rx_packets;
            sum.rx_bytes += counters.rx_bytes;
            sum.tx_packets += counters.tx_packets;
            sum.tx_bytes += counters.tx_bytes;
            (sum.slot, sum.virtual_mac) = (counters.slot, counters.virtual_mac);
        }
        vips.push((key.into(), sum));
    }
    Ok(vips)
}
