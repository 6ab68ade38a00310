//! The shared maps as others see them: with or without a daemon, and without changing anything.
//!
//! What the kernel side keeps per CPU becomes one here.

use std::cmp::Reverse;
use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap};
use vrrp_common::maps::{
    ABI_VERSION, CONTROL, COUNTERS, Control, INFO, PEERS, PeerCounters, PeerKey, REASONS,
    RouterInfo, SAMPLE_COUNTS, SAMPLES, SLOTS, Slot, VIPS4, VIPS6, VipCounters, VipKey4, VipKey6,
};
use vrrp_common::reason::Reason;
use vrrp_common::sample::{self, Sample, SampleCounts};

use super::bpf::vips::counted;
use super::bpf::{Error, Plain, Vip, errno, judged_here};
use crate::daemon::Counter;

/// What is kept of the packets that got one verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// The latest packets of every CPU, newest first.
    pub recent: Vec<Sample>,
    /// Packets of which none was kept, as there were too many at a time.
    pub missed: u64,
}

/// The maps that a daemon has pinned, for reading only.
pub struct Reader {
    reasons: PerCpuArray<MapData, u64>,
    samples: PerCpuArray<MapData, Plain<Sample>>,
    sample_counts: PerCpuArray<MapData, Plain<SampleCounts>>,
    slots: Array<MapData, Plain<Slot>>,
    info: Array<MapData, Plain<RouterInfo>>,
    vips: PerCpuHashMap<MapData, Plain<VipKey4>, Plain<VipCounters>>,
    vips6: PerCpuHashMap<MapData, Plain<VipKey6>, Plain<VipCounters>>,
    peers: HashMap<MapData, Plain<PeerKey>, Plain<PeerCounters>>,
    counters: Array<MapData, u64>,
    control: Control,
}

impl Reader {
    /// Opens the maps in the directory `pins`.
    ///
    /// # Errors
    ///
    /// [`Error::NoPins`] when there are none, [`Error::Abi`] when they cannot be understood.
    pub fn open(pins: &Path) -> Result<Self, Error> {
        // Nothing else is looked at before it is known to be what we take it for.
        let control: Array<MapData, Plain<Control>> = open(pins, CONTROL)?;
        let Plain(control) = control.get(&0, 0).map_err(Error::map(CONTROL))?;
        // Each word is written once, and in whichever order they become visible.
        if control.abi_version == 0 || control.started_ns == 0 {
            return Err(Error::NoPins(pins.to_owned()));
        }
        if control.abi_version != ABI_VERSION {
            return Err(Error::Abi { found: control.abi_version });
        }
        let reader = Self {
            reasons: open(pins, REASONS)?,
            samples: open(pins, SAMPLES)?,
            sample_counts: open(pins, SAMPLE_COUNTS)?,
            slots: open(pins, SLOTS)?,
            info: open(pins, INFO)?,
            vips: open(pins, VIPS4)?,
            vips6: open(pins, VIPS6)?,
            peers: open(pins, PEERS)?,
            counters: open(pins, COUNTERS)?,
            control,
        };
        let per_reason = |entries: u32| usize::try_from(entries) == Ok(Reason::COUNT);
        if !per_reason(reader.reasons.len())
            || !per_reason(reader.sample_counts.len())
            || reader.slots.len() != reader.info.len()
        {
            return Err(Error::Abi { found: control.abi_version });
        }
        Ok(reader)
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
        Reason::ALL
            .iter()
            .map(|reason| {
                let counts = self.reasons.get(&reason.index(), 0).map_err(Error::map(REASONS))?;
                let here = self.counters.get(&judged_here(*reason), 0);
                let here = here.map_err(Error::map(COUNTERS))?;
                Ok((*reason, counts.iter().sum::<u64>() + here))
            })
            .collect()
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
        let counts =
            self.sample_counts.get(&reason.index(), 0).map_err(Error::map(SAMPLE_COUNTS))?;
        let missed = counts.iter().map(|Plain(counts)| counts.missed).sum();
        let places = counts.iter().map(|Plain(counts)| counts.places()).max().unwrap_or_default();
        let mut recent = Vec::new();
        for place in 0..places {
            let index = sample::index(reason.index(), place.into());
            let cpus = self.samples.get(&index, 0).map_err(Error::map(SAMPLES))?;
            recent.extend(cpus.iter().map(|Plain(sample)| *sample).filter(Sample::is_whole));
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
        let mut routers = Vec::new();
        for index in 0..self.info.len() {
            let Plain(info) = self.info.get(&index, 0).map_err(Error::map(INFO))?;
            if info.name().is_empty() {
                continue;
            }
            let Plain(slot) = self.slots.get(&index, 0).map_err(Error::map(SLOTS))?;
            routers.push((index, info, slot));
        }
        Ok(routers)
    }

    /// The traffic to and from virtual addresses, over all CPUs, ordered by interface and address.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn vips(&self) -> Result<Vec<(Vip, VipCounters)>, Error> {
        let mut vips = counted(VIPS4, &self.vips)?;
        vips.extend(counted(VIPS6, &self.vips6)?);
        vips.sort_unstable_by_key(|(vip, _)| *vip);
        Ok(vips)
    }

    /// Who was heard, ordered by router and address.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn peers(&self) -> Result<Vec<(PeerKey, PeerCounters)>, Error> {
        let mut peers = Vec::new();
        for key in self.peers.keys() {
            let key = key.map_err(Error::map(PEERS))?;
            match self.peers.get(&key, 0) {
                Ok(Plain(counters)) => peers.push((key.0, counters)),
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
        let counter = |(counter, name): &(Counter, &'static str)| {
            let count = self.counters.get(&(*counter as u32), 0).map_err(Error::map(COUNTERS))?;
            Ok((*name, count))
        };
        Counter::ALL.iter().map(counter).collect()
    }
}

/// A pinned map, if it has the type and the sizes of `T`.
fn open<T>(pins: &Path, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    let data = MapData::from_pin(pins.join(name)).map_err(|error| match errno(&error) {
        Some(libc::ENOENT) => Error::NoPins(pins.to_owned()),
        _ => Error::map(name)(error),
    })?;
    Map::from_map_data(data).and_then(T::try_from).map_err(Error::map(name))
}
