//! `stats --reset`: where the counters are to begin.
//!
//! The maps are not written to. The kernel side adds to its per-CPU counters without a lock and the daemon to
//! its own without looking twice, so that zeroing would lose what is counted at that instant, and a collector
//! of metrics would see counters that run backwards. Instead, the readings at that moment are kept in a file in
//! the instance's runtime directory and subtracted by every `stats`. They hold for the maps of one daemon: the
//! next one starts from zero anyway.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::api::{InterfaceStats, RouterStats, Stats, VipStats};
use crate::engine::time::Nanos;
use crate::io::timer;
use crate::types::instance::Instance;

/// The file in the runtime directory of an instance.
const FILE: &str = "stats-baseline.json";

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write {path}: {source}{hint}")]
    Write { path: PathBuf, source: io::Error, hint: &'static str },
    #[error("cannot read {path}: {source}; to begin anew: vrrp-user stats --reset")]
    Read { path: PathBuf, source: io::Error },
}

/// The readings from which is counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// When they were taken, nanoseconds of `CLOCK_MONOTONIC`.
    taken_ns: u64,
    /// All counters since the daemon's start.
    stats: Stats,
}

impl Baseline {
    /// These readings, taken now, from which no other baseline was subtracted.
    pub fn new(stats: Stats) -> Self {
        Self { taken_ns: timer::now().0, stats }
    }

    /// The file of an instance.
    pub fn path(instance: &Instance) -> PathBuf {
        instance.runtime_dir().join(FILE)
    }

    /// The one that is stored, if there is one.
    /// Errors: [`Error::Read`].
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| failed(e.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Puts it in the place of the one that is stored, all of it or nothing.
    /// Errors: [`Error::Write`].
    pub fn store(&self, path: &Path) -> Result<(), Error> {
        let new = path.with_extension(format!("{}.new", std::process::id()));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            fs::rename(&new, path)
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&new);
            let hint = if source.kind() == io::ErrorKind::PermissionDenied {
                "; run as root, or with sudo"
            } else if source.kind() == io::ErrorKind::NotFound {
                "; the daemon has its runtime directory elsewhere"
            } else {
                ""
            };
            Error::Write { path: path.to_owned(), source, hint }
        })
    }

    /// Takes these readings off `stats`, if both count from the same start on.
    pub fn subtract(&self, stats: &mut Stats) {
        let base = &self.stats;
        if base.started_ns != stats.started_ns {
            return;
        }
        stats.since_s = (timer::now() - Nanos(self.taken_ns)).as_secs_f64();
        stats.reset = true;
        // The order of all lists is that of the maps or of names, and almost never changes.
        for (place, router) in stats.routers.iter_mut().enumerate() {
            if let Some(base) = find(&base.routers, place, |base| base.name == router.name) {
                subtract_router(router, base);
            }
        }
        for (place, vip) in stats.vips.iter_mut().enumerate() {
            let same = |b: &VipStats| b.address == vip.address && b.interface == vip.interface;
            if let Some(base) = find(&base.vips, place, same) {
                subtract_vip(vip, base);
            }
        }
        for (place, interface) in stats.interfaces.iter_mut().enumerate() {
            let same = |base: &InterfaceStats| base.name == interface.name;
            if let Some(base) = find(&base.interfaces, place, same) {
                less(&mut interface.adverts_received, base.adverts_received);
                less(&mut interface.adverts_sent, base.adverts_sent);
                less(&mut interface.refused, base.refused);
            }
        }
        for (name, count) in &mut stats.reasons {
            less(count, base.reasons.get(name).copied().unwrap_or(0));
        }
        for (name, count) in &mut stats.counters {
            less(count, base.counters.get(name).copied().unwrap_or(0));
        }
        less(&mut stats.losses.ring_full, base.losses.ring_full);
        less(&mut stats.losses.reports_limited, base.losses.reports_limited);
        less(&mut stats.losses.news_limited, base.losses.news_limited);
        less(&mut stats.losses.netlink_overrun, base.losses.netlink_overrun);
    }
}

/// The one that `same` accepts, most likely the one at `place`.
fn find<T>(list: &[T], place: usize, same: impl Fn(&T) -> bool) -> Option<&T> {
    list.get(place).filter(|item| same(item)).or_else(|| list.iter().find(|item| same(item)))
}

fn subtract_router(router: &mut RouterStats, base: &RouterStats) {
    less(&mut router.adverts_received, base.adverts_received);
    less(&mut router.adverts_sent, base.adverts_sent);
    less(&mut router.refused, base.refused);
    less(&mut router.priority_zero_received, base.priority_zero_received);
    less(&mut router.priority_zero_sent, base.priority_zero_sent);
    less(&mut router.address_list_mismatch, base.address_list_mismatch);
    less(&mut router.send_errors, base.send_errors);
    less(&mut router.fenced_packets, base.fenced_packets);
    less(&mut router.became_master, base.became_master);
    less(&mut router.state_changes, base.state_changes);
    for peer in &mut router.peers {
        if let Some(base) = base.peers.iter().find(|base| base.address == peer.address) {
            less(&mut peer.adverts_received, base.adverts_received);
        }
    }
}

/// All four together: an address whose interface went and came back counts from zero again.
fn subtract_vip(vip: &mut VipStats, base: &VipStats) {
    let again = vip.rx_packets < base.rx_packets || vip.tx_packets < base.tx_packets;
    if !again {
        less(&mut vip.rx_packets, base.rx_packets);
        less(&mut vip.rx_bytes, base.rx_bytes);
        less(&mut vip.tx_packets, base.tx_packets);
        less(&mut vip.tx_bytes, base.tx_bytes);
    }
}

/// What is less than it was began again from zero.
fn less(count: &mut u64, base: u64) {
    if *count >= base {
        *count -= base;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PeerStats;

    fn stats(count: u64) -> Stats {
        let peer = PeerStats {
            address: "10.0.0.2".into(),
            adverts_received: count,
            priority: 100,
            last_seen_s: 0.5,
        };
        let router = RouterStats {
            name: "a".into(),
            adverts_received: count,
            state_changes: count,
            peers: vec![peer],
            ..RouterStats::default()
        };
        let vip = VipStats { rx_packets: count, tx_bytes: count, ..VipStats::default() };
        Stats {
            pid: 7,
            started_ns: 9,
            routers: vec![router],
            vips: vec![vip],
            reasons: [("ttl".to_owned(), count)].into(),
            counters: [("send_failed".to_owned(), count)].into(),
            ..Stats::default()
        }
    }

    #[test]
    fn readings_are_subtracted_from_later_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(Baseline::load(&path).unwrap(), None);
        Baseline::new(stats(1000)).store(&path).unwrap();
        Baseline::new(stats(10)).store(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        let baseline = Baseline::load(&path).unwrap().unwrap();

        let mut later = stats(25);
        baseline.subtract(&mut later);
        let router = &later.routers[0];
        assert_eq!((router.adverts_received, router.state_changes), (15, 15));
        assert_eq!((router.peers[0].adverts_received, later.vips[0].rx_packets), (15, 15));
        assert_eq!((later.reasons["ttl"], later.counters["send_failed"]), (15, 15));
        assert!(later.reset && later.since_s < 60.0);
    }

    #[test]
    fn another_daemons_readings_do_not_count() {
        let baseline = Baseline::new(stats(10));
        let other = Stats { started_ns: 10, ..stats(25) };
        let mut later = other.clone();
        baseline.subtract(&mut later);
        assert_eq!(later, other);
        // One that has adopted the counters of the other goes on with both.
        let mut adopted = Stats { pid: 8, ..stats(25) };
        baseline.subtract(&mut adopted);
        assert!(adopted.reset);
    }

    #[test]
    fn what_began_again_is_not_subtracted_from() {
        let mut later = stats(4);
        Baseline::new(stats(10)).subtract(&mut later);
        assert_eq!((later.routers[0].adverts_received, later.vips[0].rx_packets), (4, 4));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, "{").unwrap();
        let error = Baseline::load(&path).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("--reset"), "{error}");
        let error = Baseline::new(stats(1)).store(&dir.path().join("no/x")).unwrap_err();
        assert!(error.to_string().contains("no/x"), "{error}");
    }
}
