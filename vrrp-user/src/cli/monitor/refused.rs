//! What XDP dropped: read from the samples in the pinned maps, as no socket sees it.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use vrrp_common::reason::{Reason, Verdict};
use vrrp_common::sample::Sample;

use crate::core::InterfaceAddr;
use crate::io::bpf::{self, Error};
use crate::io::reader::Reader;
use crate::metrics;
use crate::refused::Sampled;
use crate::types::instance::Instance;

/// Watches the maps of an instance, through restarts of its daemon.
pub struct Refused {
    instance: Instance,
    bpffs: Option<PathBuf>,
    maps: Option<Maps>,
}

/// The maps of one daemon.
struct Maps {
    reader: Reader,
    /// Whether the daemon does.
    runs: bool,
    /// Names of the interfaces where the daemon is.
    interfaces: BTreeMap<u32, String>,
    tallies: BTreeMap<Reason, Tally>,
}

/// What is known of the packets of one reason.
#[derive(Default)]
struct Tally {
    /// The samples at the last look.
    known: Vec<Sample>,
    /// Packets at the last look and, to tell what is new, at the first.
    counted: u64,
    /// Packets that were shown, or said not to be sampled, or there before the first look.
    shown: u64,
}

/// What [`Refused::refresh`] found.
#[derive(Debug)]
pub enum Refreshed {
    /// The maps of the same daemon as before, or none as before.
    Same,
    /// The maps of a daemon with this process ID.
    Daemon(u32),
    /// None.
    Unreadable(Error),
    /// Those of a daemon that no longer runs, whose programs may be there.
    Dead,
}

impl Refused {
    /// Of an instance, whose pins are on this bpffs or where they usually are.
    pub fn new(instance: Instance, bpffs: Option<PathBuf>) -> Self {
        Self { instance, bpffs, maps: None }
    }

    /// Looks for the maps, which each daemon makes anew.
    pub fn refresh(&mut self) -> Refreshed {
        let pins = bpf::find_bpffs(self.bpffs.as_deref());
        match pins.and_then(|bpffs| Reader::open(&self.instance.pins(&bpffs))) {
            Ok(reader) => {
                let runs = UnixStream::connect(self.instance.socket()).is_ok();
                let control = reader.control();
                if let Some(maps) = &mut self.maps
                    && maps.reader.control() == control
                {
                    let ended = maps.runs && !runs;
                    maps.runs = runs;
                    return if ended { Refreshed::Dead } else { Refreshed::Same };
                }
                match Maps::new(reader, runs) {
                    Ok(maps) => {
                        self.maps = Some(maps);
                        if runs { Refreshed::Daemon(control.pid) } else { Refreshed::Dead }
                    }
                    Err(error) => Refreshed::Unreadable(error),
                }
            }
            Err(error) => {
                self.maps = None;
                Refreshed::Unreadable(error)
            }
        }
    }

    /// Whether there is something to be read.
    pub fn is_available(&self) -> bool {
        self.maps.is_some()
    }

    /// Whether the daemon is in another network namespace: none of its interfaces is here.
    pub fn is_in_another_namespace(&self) -> bool {
        let interfaces = self.maps.iter().flat_map(|maps| &maps.interfaces);
        let mut known = interfaces.filter(|(ifindex, _)| **ifindex != 0).peekable();
        let is_here = |(ifindex, name): (&u32, &String)| {
            nix::net::if_::if_nametoindex(name.as_str()) == Ok(*ifindex)
        };
        known.peek().is_some() && !known.any(is_here)
    }

    /// What is not shown because another version of the daemon made the maps.
    pub fn unread(&self) -> Vec<String> {
        self.maps.as_ref().map(|maps| maps.reader.unread()).unwrap_or_default()
    }

    /// The name of an interface where the daemon is.
    pub fn interface(&self, ifindex: u32) -> Option<&str> {
        Some(self.maps.as_ref()?.interfaces.get(&ifindex)?)
    }

    /// The samples since the last look, in no particular order.
    pub fn samples(&mut self) -> Result<Vec<(Reason, Sample)>, Error> {
        let Some(maps) = &mut self.maps else { return Ok(Vec::new()) };
        let mut fresh = Vec::new();
        // Before the samples, so that none is counted whose sample is still to be written.
        let counts = maps.reader.reasons()?;
        for (reason, sampled) in maps.reader.samples()? {
            if reason.verdict() == Verdict::Drop {
                let new = maps.tallies.entry(reason).or_default().take(&sampled);
                fresh.extend(new.into_iter().map(|sample| (reason, sample)));
            }
        }
        for (reason, count) in counts {
            if let Some(tally) = maps.tallies.get_mut(&reason) {
                tally.counted = count;
            }
        }
        Ok(fresh)
    }

    /// How many were refused since the last call of which no sample was seen, by reason.
    pub fn not_sampled(&mut self) -> Vec<(Reason, u64)> {
        let tallies = self.maps.iter_mut().flat_map(|maps| &mut maps.tallies);
        tallies.filter_map(|(reason, tally)| Some((*reason, tally.not_sampled()?))).collect()
    }

    /// The virtual addresses of the daemon.
    pub fn virtual_addresses(&self) -> Result<Vec<InterfaceAddr>, Error> {
        let Some(maps) = &self.maps else { return Ok(Vec::new()) };
        Ok(maps.reader.vips()?.into_iter().map(|(key, _)| key).collect())
    }
}

impl Maps {
    /// What is there already is not shown.
    fn new(reader: Reader, runs: bool) -> Result<Self, Error> {
        let routers = reader.routers()?;
        let interfaces = routers
            .iter()
            .map(|(_, info, _)| (info.ifindex, metrics::interface(info).into_owned()))
            .collect();
        let mut tallies: BTreeMap<Reason, Tally> = BTreeMap::new();
        for (reason, count) in reader.reasons()? {
            if reason.verdict() == Verdict::Drop {
                tallies.insert(reason, Tally { counted: count, shown: count, ..Tally::default() });
            }
        }
        for (reason, sampled) in reader.samples()? {
            if let Some(tally) = tallies.get_mut(&reason) {
                tally.known = sampled.recent;
            }
        }
        Ok(Self { reader, runs, interfaces, tallies })
    }
}

impl Tally {
    /// The samples that were not there at the last look.
    fn take(&mut self, sampled: &Sampled) -> Vec<Sample> {
        let recent = &sampled.recent;
        let new = recent.iter().filter(|sample| !self.known.contains(sample));
        let new: Vec<Sample> = new.copied().collect();
        self.shown += new.len() as u64;
        self.known.clone_from(recent);
        new
    }

    /// Packets of which nothing was told, which then counts as told.
    fn not_sampled(&mut self) -> Option<u64> {
        let packets = self.counted.checked_sub(self.shown).filter(|packets| *packets > 0)?;
        self.shown = self.counted;
        Some(packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(times: &[u64]) -> Sampled {
        let sample = |time: &u64| Sample { ktime_ns: *time, ..Sample::default() };
        Sampled { recent: times.iter().map(sample).collect(), ..Sampled::default() }
    }

    #[test]
    fn a_sample_is_new_once_and_the_rest_is_counted() {
        let mut tally = Tally { counted: 5, shown: 5, known: at(&[3]).recent };
        let times = |new: Vec<Sample>| new.iter().map(|s| s.ktime_ns).collect::<Vec<_>>();
        assert_eq!(times(tally.take(&at(&[4, 3]))), [4]);
        // The counter was read before the packet came.
        assert_eq!(tally.not_sampled(), None);
        tally.counted = 6;
        assert_eq!(tally.not_sampled(), None);
        // Eight of a hundred, and the old ones overwritten.
        assert_eq!(tally.take(&at(&[15, 14, 13, 12, 11, 10, 9, 8])).len(), 8);
        tally.counted = 106;
        assert_eq!(tally.not_sampled(), Some(92));
        assert_eq!(tally.not_sampled(), None);
        assert_eq!(times(tally.take(&at(&[15, 14]))), [0; 0]);
    }
}
