//! The bpffs, and the pins there: of the maps that others read, which somebody may delete, and for which there may be no
//! place; and of links, by which the programs stay when the process is killed. The daemon itself needs none of them.

use std::error::Error as StdError;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::{Map, MapData, MapInfo};
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use vrrp_common::maps::{
    ALLOWED, CONTROL, COUNTERS, EVENTS, HELD4, HELD6, HMAC_KEYS, HMAC_MARKS, HMAC_XDP, INFO,
    LEASES, PEERS, REASONS, ROUTERS, SAMPLE_COUNTS, SAMPLES, SENDERS, SLOTS, VIPS4, VIPS6,
    VIRTUAL_MAC_SET, VIRTUAL_MACS,
};

use super::error::{Error, OWN_BPFFS, SYSTEM_BPFFS, errno};
use crate::types::instance::PINS;

/// The maps that are pinned; the rest is nobody else's business.
pub(super) const PINNED: [&str; 13] = [
    ROUTERS, SLOTS, LEASES, INFO, VIPS4, VIPS6, REASONS, SAMPLES, SAMPLE_COUNTS, PEERS, COUNTERS,
    EVENTS, CONTROL,
];

/// Those that are pinned for a daemon that adopts them.
pub(super) const KEPT: [&str; 9] = [
    HELD4, HELD6, ALLOWED, SENDERS, VIRTUAL_MACS, VIRTUAL_MAC_SET, HMAC_KEYS, HMAC_MARKS, HMAC_XDP,
];

/// A directory on a bpffs for the pins of all instances: `dir`, or the system's bpffs, or one of our
/// own that is mounted now.
/// Errors: [`Error::NotBpffs`] for `dir`, [`Error::MountBpffs`] otherwise.
pub fn bpffs(dir: Option<&Path>) -> Result<PathBuf, Error> {
    match find_bpffs(dir) {
        Err(Error::NoBpffs) => {}
        found => return found,
    }
    fs::create_dir_all(OWN_BPFFS).map_err(Error::MountBpffs)?;
    mount_bpffs(Path::new(OWN_BPFFS)).map_err(Error::MountBpffs)?;
    Ok(OWN_BPFFS.into())
}

/// As [`bpffs`], but mounts nothing: for readers.
/// Errors: [`Error::NotBpffs`] for `dir`, [`Error::NoBpffs`] otherwise.
pub fn find_bpffs(dir: Option<&Path>) -> Result<PathBuf, Error> {
    // Where the daemon has a user of its own, only our directory of the system's bpffs is put where it can reach it.
    let is_bpffs = |dir: &Path| on_bpffs(dir) || on_bpffs(&dir.join(PINS));
    if let Some(dir) = dir {
        return if is_bpffs(dir) { Ok(dir.to_owned()) } else { Err(Error::NotBpffs(dir.into())) };
    }
    let found = [SYSTEM_BPFFS, OWN_BPFFS].map(Path::new).into_iter().find(|dir| is_bpffs(dir));
    found.map(Path::to_owned).ok_or(Error::NoBpffs)
}

fn mount_bpffs(dir: &Path) -> io::Result<()> {
    Ok(mount(Some("bpf"), dir, Some("bpf"), MsFlags::empty(), Some("mode=0700"))?)
}

fn on_bpffs(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC)
}

/// The maps that others read.
pub struct SharedMaps(Vec<SharedMap>);

struct SharedMap {
    name: &'static str,
    id: u32,
    map: MapData,
}

impl SharedMaps {
    /// Those of what was loaded, before any of them is taken out.
    /// Errors: [`Error::Missing`], [`Error::Map`].
    pub fn of(ebpf: &Ebpf) -> Result<Self, Error> {
        let maps = PINNED.into_iter().map(|name| {
            let map = again(name, ebpf.map(name).and_then(data).ok_or(Error::Missing(name))?)?;
            let id = map.info().map_err(Error::map(name))?.id();
            Ok(SharedMap { name, id, map })
        });
        maps.collect::<Result<_, Error>>().map(Self)
    }

    /// Those that are pinned in a directory.
    /// Errors: [`Error::Map`].
    pub fn pinned(dir: &Path) -> Result<Self, Error> {
        let maps = PINNED.into_iter().map(|name| {
            let map = MapData::from_pin(dir.join(name)).map_err(Error::map(name))?;
            let id = map.info().map_err(Error::map(name))?.id();
            Ok(SharedMap { name, id, map })
        });
        maps.collect::<Result<_, Error>>().map(Self)
    }

    /// Another descriptor of one of them.
    /// Errors: [`Error::Missing`], [`Error::Map`].
    pub fn open(&self, name: &'static str) -> Result<MapData, Error> {
        let found = self.0.iter().find(|shared| shared.name == name);
        again(name, &found.ok_or(Error::Missing(name))?.map)
    }
}

fn again(name: &'static str, map: &MapData) -> Result<MapData, Error> {
    let descriptor = map.fd().as_fd().try_clone_to_owned();
    let descriptor = descriptor.map_err(|error| Error::map(name)(error.into()))?;
    MapData::from_fd(descriptor).map_err(Error::map(name))
}

/// Pins the maps that only a daemon needs that adopts this one. It can do without.
pub(super) fn pin_kept(ebpf: &Ebpf, dir: &Path) {
    for name in KEPT {
        let pinned = ebpf.map(name).and_then(data).map(|map| map.pin(dir.join(name)));
        if let Some(Err(error)) = pinned {
            log::debug!("map {name} is not pinned: {error}");
        }
    }
}

/// What all kinds of maps have, of those that are shared.
fn data(map: &Map) -> Option<&MapData> {
    if let Map::Array(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::PerCpuArray(data)
    | Map::PerCpuHashMap(data)
    | Map::ProgramArray(data)
    | Map::RingBuf(data) = map
    {
        Some(data)
    } else {
        None
    }
}

/// The pinned maps of a daemon.
pub struct Pins {
    dir: PathBuf,
    maps: SharedMaps,
    /// The directory when everything was there.
    intact: Option<Directory>,
}

/// How the names of pins of links begin.
pub(super) const LINK: &str = "link-";

/// How the names of pins of programs begin.
pub(super) const PROGRAM: &str = "program-";

/// The place of a link on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

/// Removes the pins of links and of programs in a directory: those that no process holds leave their interfaces. How many links.
fn remove_links(dir: &Path) -> io::Result<usize> {
    let mut removed = 0;
    let Ok(entries) = fs::read_dir(dir) else { return Ok(removed) };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    // `in` before `out`: what is taken in for a virtual MAC address is also answered with it.
    paths.sort_unstable();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(LINK) || name.starts_with(PROGRAM) {
            fs::remove_file(&path)?;
            removed += usize::from(name.starts_with(LINK));
        }
    }
    Ok(removed)
}

/// Removes what a daemon pinned that was killed: how many links of programs, and how many maps.
/// Errors: [`Error::Pins`] where that is not permitted.
pub fn remove_stale_pins(pins: &Path) -> Result<(usize, usize), Error> {
    let removed = remove_pins(pins)?;
    let _ = fs::remove_dir(pins);
    Ok(removed)
}

pub(super) fn remove_pins(pins: &Path) -> Result<(usize, usize), Error> {
    let links = remove_links(pins).map_err(Error::pins(pins))?;
    let mut maps = 0;
    for name in KEPT {
        let _ = fs::remove_file(pins.join(name));
    }
    for path in PINNED.map(|name| pins.join(name)) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::pins(&path)(error));
            }
            result => maps += usize::from(result.is_ok()),
        }
    }
    Ok((links, maps))
}

/// What changes when something in a directory is deleted (`simple_unlink`, fs/libfs.c), or the directory is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Directory {
    identity: (u64, u64),
    changed: (i64, i64),
}

fn pin(shared: &SharedMap, path: &Path) -> Result<(), Error> {
    shared.map.pin(path).map_err(not_pinned(path))
}

fn not_pinned<E: StdError + 'static>(path: &Path) -> impl FnOnce(E) -> Error {
    move |error| Error::pins(path)(io::Error::from_raw_os_error(errno(&error).unwrap_or(libc::EIO)))
}

/// Who ends in order leaves no program behind.
impl Drop for Pins {
    fn drop(&mut self) {
        let _ = remove_links(&self.dir);
    }
}

impl Directory {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self { identity: (meta.dev(), meta.ino()), changed: (meta.ctime(), meta.ctime_nsec()) })
    }
}

impl Pins {
    /// Pins maps in a directory where none of them is, or where they are already (`adopted`).
    /// Errors: [`Error::Pins`].
    pub fn make(dir: &Path, maps: SharedMaps, adopted: bool) -> Result<Self, Error> {
        if !adopted {
            maps.0.iter().try_for_each(|shared| pin(shared, &dir.join(shared.name)))?;
        }
        Ok(Self { dir: dir.to_owned(), maps, intact: None })
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Pins the link of a program, so that it outlives this process if that is killed. One that has the place goes.
    /// Errors: [`Error::Pins`], and then the program is detached.
    pub(super) fn keep<L>(&self, ifindex: u32, way: Direction, link: L) -> Result<L, Error>
    where
        L: TryFrom<FdLink, Error = LinkError>,
        FdLink: TryFrom<L, Error = LinkError>,
    {
        let path = self.link(ifindex, way);
        let _ = fs::remove_file(&path);
        let failed = |error: LinkError| Error::pins(&path)(io::Error::other(error));
        let link = FdLink::try_from(link).map_err(failed)?;
        let link = link.pin(&path).map_err(not_pinned(&path))?;
        FdLink::from(link).try_into().map_err(failed)
    }

    /// Another descriptor of one of the maps.
    /// Errors: [`Error::Missing`], [`Error::Map`].
    pub(super) fn open(&self, name: &'static str) -> Result<MapData, Error> {
        self.maps.open(name)
    }

    /// The link that is pinned at a place, if there is one.
    pub(super) fn found_link(&self, ifindex: u32, way: Direction) -> Option<FdLink> {
        PinnedLink::from_pin(self.link(ifindex, way)).ok().map(FdLink::from)
    }

    /// Removes the pins of links but for those at these places.
    pub(super) fn retain_links(&self, retained: impl Fn(u32, Direction) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some((way, ifindex)) =
                name.strip_prefix(LINK).and_then(|name| name.split_once('-'))
            else {
                continue;
            };
            let way = if way == "in" { Direction::In } else { Direction::Out };
            if !ifindex.parse().is_ok_and(|ifindex| retained(ifindex, way)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Removes the pin of a link, if there is one.
    pub(super) fn remove_link(&self, ifindex: u32, way: Direction) {
        let _ = fs::remove_file(self.link(ifindex, way));
    }

    fn link(&self, ifindex: u32, way: Direction) -> PathBuf {
        let way = match way {
            Direction::In => "in",
            Direction::Out => "out",
        };
        self.dir.join(format!("{LINK}{way}-{ifindex}"))
    }

    /// Whether nothing has happened since all of them were there: one system call.
    pub fn untouched(&self) -> bool {
        self.intact.is_some() && self.intact == Directory::of(&self.dir).ok()
    }

    /// Makes those again that are missing, or something else than they were; also the directory, and the mount of the
    /// bpffs if that is permitted. How many it were.
    /// Errors: [`Error::BpffsUnmounted`], [`Error::Pins`], [`Error::Map`].
    pub fn mend(&mut self) -> Result<usize, Error> {
        self.intact = None;
        self.mount_again()?;
        fs::create_dir_all(&self.dir).map_err(Error::pins(&self.dir))?;
        let before = Directory::of(&self.dir).map_err(Error::pins(&self.dir))?;
        let mut mended = 0;
        for shared in &self.maps.0 {
            let path = self.dir.join(shared.name);
            match MapInfo::from_pin(&path) {
                Ok(found) if found.id() == shared.id => continue,
                Err(error) if errno(&error) == Some(libc::ENOENT) => {}
                Ok(_) | Err(_) => fs::remove_file(&path).map_err(Error::pins(&path))?,
            }
            pin(shared, &path)?;
            mended += 1;
        }
        // What is deleted within a tick of what was made shows no other time.
        self.intact = (mended == 0).then_some(before);
        Ok(mended)
    }

    /// Mounts a bpffs where there was one, if there is none any more.
    fn mount_again(&self) -> Result<(), Error> {
        // Below it is a directory of ours, and in that the one of the instance.
        let mut above = self.dir.ancestors().skip(1);
        let (Some(ours), Some(bpffs)) = (above.next(), above.next()) else { return Ok(()) };
        if on_bpffs(ours) || on_bpffs(bpffs) {
            return Ok(());
        }
        mount_bpffs(bpffs).map_err(|source| Error::BpffsUnmounted { dir: bpffs.to_owned(), source })
    }
}
