//! The maps as others see them: with or without a daemon, and without changing anything.
//!
//! What the kernel side keeps per CPU becomes one here.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap};
use vrrp_common::counters::{self, Counter};
use vrrp_common::maps::{
    ABI_VERSION, CONTROL, COUNTERS, Control, INFO, LEASES, Lease, PEERS, PeerCounters, PeerKey,
    REASONS, RouterInfo, SAMPLE_COUNTS, SAMPLES, SLOTS, Slot, VIPS4, VIPS6, VipCounters, VipKey4,
    VipKey6,
};
use vrrp_common::reason::Reason;
use vrrp_common::sample::{self, Sample, SampleCounts};

use super::bpf::vips::counted;
use super::bpf::{Error, Maps, OwnMaps, PodValue, SharedMaps, errno};
use super::mmap_array::MmapArray;
use crate::core::InterfaceAddr;
use crate::refused::Sampled;

/// The maps of a daemon, for reading only.
pub struct Reader {
    maps: Source,
    control: Control,
}

/// Which maps.
enum Source {
    Datapath(Box<Shared>),
    Own(Own),
}

/// Those of the kernel side.
struct Shared {
    reasons: PerCpuArray<MapData, u64>,
    samples: PerCpuArray<MapData, PodValue<Sample>>,
    sample_counts: PerCpuArray<MapData, PodValue<SampleCounts>>,
    slots: Array<MapData, PodValue<Slot>>,
    leases: Array<MapData, PodValue<Lease>>,
    info: Array<MapData, PodValue<RouterInfo>>,
    vips: PerCpuHashMap<MapData, PodValue<VipKey4>, PodValue<VipCounters>>,
    vips6: PerCpuHashMap<MapData, PodValue<VipKey6>, PodValue<VipCounters>>,
    peers: HashMap<MapData, PodValue<PeerKey>, PodValue<PeerCounters>>,
    counters: Array<MapData, u64>,
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
    ///
    /// # Errors
    ///
    /// Those of [`Reader::open`], [`Error::Memory`].
    pub fn reader(&self) -> Result<Reader, Error> {
        match self {
            Self::Pinned(pins) => Reader::open(pins),
            Self::Unpinned(maps) => Reader::of_shared(maps),
            Self::Own(maps) => Reader::of(maps),
        }
    }
}

impl Reader {
    /// Opens the maps in the directory `pins`.
    ///
    /// # Errors
    ///
    /// [`Error::NoPins`] when there are none, [`Error::Abi`] when they cannot be understood.
    pub fn open(pins: &Path) -> Result<Self, Error> {
        let pinned = |name| {
            MapData::from_pin(pins.join(name)).map_err(|error| match errno(&error) {
                Some(libc::ENOENT) => Error::NoPins(pins.to_owned()),
                _ => Error::map(name)(error),
            })
        };
        // Nothing else is looked at before it is known to be what we take it for.
        let control: Array<MapData, PodValue<Control>> = open(pinned, CONTROL)?;
        let PodValue(control) = control.get(&0, 0).map_err(Error::map(CONTROL))?;
        // Each word is written once, and in whichever order they become visible.
        if control.abi_version == 0 || control.started_ns == 0 {
            return Err(Error::NoPins(pins.to_owned()));
        }
        if control.abi_version != ABI_VERSION {
            return Err(Error::Abi { found: control.abi_version });
        }
        Self::of_kernel(pinned, control)
    }

    /// Those of this process, which nobody else can open.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn of_shared(maps: &SharedMaps) -> Result<Self, Error> {
        let shared = |name| maps.open(name);
        let control: Array<MapData, PodValue<Control>> = open(shared, CONTROL)?;
        let PodValue(control) = control.get(&0, 0).map_err(Error::map(CONTROL))?;
        Self::of_kernel(shared, control)
    }

    fn of_kernel(
        find: impl Fn(&'static str) -> Result<MapData, Error> + Copy,
        control: Control,
    ) -> Result<Self, Error> {
        let reader = Shared {
            reasons: open(find, REASONS)?,
            samples: open(find, SAMPLES)?,
            sample_counts: open(find, SAMPLE_COUNTS)?,
            slots: open(find, SLOTS)?,
            leases: open(find, LEASES)?,
            info: open(find, INFO)?,
            vips: open(find, VIPS4)?,
            vips6: open(find, VIPS6)?,
            peers: open(find, PEERS)?,
            counters: open(find, COUNTERS)?,
        };
        let per_reason = |entries: u32| usize::try_from(entries) == Ok(Reason::COUNT);
        if !per_reason(reader.reasons.len())
            || !per_reason(reader.sample_counts.len())
            || reader.slots.len() != reader.info.len()
        {
            return Err(Error::Abi { found: control.abi_version });
        }
        Ok(Self { maps: Source::Datapath(Box::new(reader)), control })
    }

    /// Those of this process itself, where there is no BPF: no traffic is counted in them and no packet kept.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`].
    pub fn of(maps: &Arc<OwnMaps>) -> Result<Self, Error> {
        let control = maps.control()?.get(0).unwrap_or_default();
        let (slots, info, counters) = (maps.slots()?, maps.info()?, maps.counters()?);
        let own = Own { slots, info, counters, maps: Arc::clone(maps) };
        Ok(Self { maps: Source::Own(own), control })
    }

    /// Who made the maps.
    pub fn control(&self) -> Control {
        self.control
    }

    /// How often each verdict was given, over all CPUs.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn reasons(&self) -> Result<Vec<(Reason, u64)>, Error> {
        let count = |reason: &Reason| {
            let there = match &self.maps {
                Source::Datapath(maps) => {
                    let counts = maps.reasons.get(&reason.index(), 0);
                    counts.map_err(Error::map(REASONS))?.iter().sum()
                }
                Source::Own(_) => 0,
            };
            Ok((*reason, there + self.counter(counters::of_reason(*reason))?))
        };
        Reason::ALL.iter().map(count).collect()
    }

    /// What is kept of the packets that got each verdict, over all CPUs.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn samples(&self) -> Result<Vec<(Reason, Sampled)>, Error> {
        Reason::ALL.iter().map(|reason| Ok((*reason, self.sampled(*reason)?))).collect()
    }

    fn sampled(&self, reason: Reason) -> Result<Sampled, Error> {
        let Source::Datapath(maps) = &self.maps else { return Ok(Sampled::default()) };
        let counts =
            maps.sample_counts.get(&reason.index(), 0).map_err(Error::map(SAMPLE_COUNTS))?;
        let missed = counts.iter().map(|PodValue(counts)| counts.missed).sum();
        let places = counts.iter().map(|PodValue(counts)| counts.slots()).max().unwrap_or_default();
        let mut recent = Vec::new();
        for place in 0..places {
            let index = sample::index(reason.index(), place.into());
            let cpus = maps.samples.get(&index, 0).map_err(Error::map(SAMPLES))?;
            recent.extend(cpus.iter().map(|PodValue(sample)| *sample).filter(Sample::is_whole));
        }
        recent.sort_by_key(|sample| Reverse(sample.ktime_ns));
        Ok(Sampled { recent, missed })
    }

    /// The routers, ordered by index.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn routers(&self) -> Result<Vec<(u32, RouterInfo, Slot)>, Error> {
        let entries = match &self.maps {
            Source::Datapath(maps) => maps.info.len(),
            Source::Own(maps) => maps.info.len(),
        };
        let mut routers = Vec::new();
        for index in 0..entries {
            let (info, slot) = match &self.maps {
                Source::Datapath(maps) => {
                    let PodValue(info) = maps.info.get(&index, 0).map_err(Error::map(INFO))?;
                    if info.name().is_empty() {
                        continue;
                    }
                    let PodValue(slot) = maps.slots.get(&index, 0).map_err(Error::map(SLOTS))?;
                    (info, slot)
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
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn lease(&self, index: u32) -> Result<Lease, Error> {
        let Source::Datapath(maps) = &self.maps else { return Ok(Lease::default()) };
        maps.leases.get(&index, 0).map(|PodValue(lease)| lease).map_err(Error::map(LEASES))
    }

    /// The traffic to and from virtual addresses, over all CPUs, ordered by interface and address.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn vips(&self) -> Result<Vec<(InterfaceAddr, VipCounters)>, Error> {
        let Source::Datapath(maps) = &self.maps else { return Ok(Vec::new()) };
        let mut vips = counted(VIPS4, &maps.vips)?;
        vips.extend(counted(VIPS6, &maps.vips6)?);
        vips.sort_unstable_by_key(|(vip, _)| *vip);
        Ok(vips)
    }

    /// Who was heard, ordered by router and address.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn peers(&self) -> Result<Vec<(PeerKey, PeerCounters)>, Error> {
        let maps = match &self.maps {
            Source::Datapath(maps) => maps,
            Source::Own(maps) => return Ok(maps.maps.peers()),
        };
        let mut peers = Vec::new();
        for key in maps.peers.keys() {
            let key = key.map_err(Error::map(PEERS))?;
            match maps.peers.get(&key, 0) {
                Ok(PodValue(counters)) => peers.push((key.0, counters)),
                // It made room for another one meanwhile.
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(Error::map(PEERS)(error)),
            }
        }
        // A key that goes while the map is walked sends the walk back to the beginning.
        peers.sort_unstable_by_key(|(key, _)| *key);
        peers.dedup_by_key(|(key, _)| *key);
        Ok(peers)
    }

    /// What the daemon refused or failed at, with the names of this version.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn counters(&self) -> Result<Vec<(&'static str, u64)>, Error> {
        let counter =
            |(counter, name): &(Counter, &'static str)| Ok((*name, self.counter(*counter as u32)?));
        Counter::ALL.iter().map(counter).collect()
    }

    fn counter(&self, index: u32) -> Result<u64, Error> {
        match &self.maps {
            Source::Datapath(maps) => maps.counters.get(&index, 0).map_err(Error::map(COUNTERS)),
            Source::Own(maps) => Ok(maps.counters.load(index, 0).unwrap_or_default()),
        }
    }
}

/// A map that is found by its name, if it has the type and the sizes of `T`.
fn open<T>(
    find: impl Fn(&'static str) -> Result<MapData, Error>,
    name: &'static str,
) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    Map::from_map_data(find(name)?).and_then(T::try_from).map_err(Error::map(name))
}
