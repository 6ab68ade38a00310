//! Maps as aya has them: taking them by name, and what its errors mean.

use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::{Array, IterableMap, Map, MapData, MapError};

use super::error::{Error, errno};
use super::load::Programs;
use crate::io::mmap_array::MmapArray;

/// The value of a map as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(in crate::io) struct PodValue<T>(pub T);

// SAFETY: `bytemuck::Pod` asks for more than `aya::Pod` does, and the wrapper is transparent.
unsafe impl<T: bytemuck::Pod> aya::Pod for PodValue<T> {}

/// Where maps come from.
pub(super) enum MapSource {
    /// An object that was loaded.
    Object(Box<Ebpf>),
    /// A directory in which a daemon has pinned them that was killed; and its programs.
    Pins(PathBuf, Programs),
}

impl MapSource {
    /// One of them. That of an object is there once.
    /// Errors: [`Error::Missing`], [`Error::Map`].
    pub(super) fn take_map(&mut self, name: &'static str) -> Result<Map, Error> {
        match self {
            Self::Object(ebpf) => ebpf.take_map(name).ok_or(Error::Missing(name)),
            Self::Pins(dir, _) => {
                let map = MapData::from_pin(dir.join(name)).and_then(Map::from_map_data);
                map.map_err(Error::map(name))
            }
        }
    }

    /// The programs that go by them.
    pub(super) fn into_programs(self) -> Programs {
        match self {
            Self::Object(ebpf) => Programs::Loaded(ebpf),
            Self::Pins(_, programs) => programs,
        }
    }
}

pub(super) fn take<T>(maps: &mut MapSource, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    maps.take_map(name)?.try_into().map_err(Error::map(name))
}

pub(super) fn mmap_array<T: bytemuck::Pod>(
    maps: &mut MapSource,
    name: &'static str,
) -> Result<MmapArray<T>, Error> {
    let array: Array<MapData, PodValue<T>> = take(maps, name)?;
    MmapArray::map(array.map().fd(), array.len()).map_err(|error| Error::map(name)(error.into()))
}

pub(super) fn or_full(name: &'static str, error: MapError, full: Error) -> Error {
    // E2BIG: kernel/bpf/hashtab.c, alloc_htab_elem.
    if errno(&error) == Some(libc::E2BIG) { full } else { Error::map(name)(error) }
}

pub(super) fn or_absent(name: &'static str, result: Result<(), MapError>) -> Result<(), Error> {
    match result {
        Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(()),
        result => result.map_err(Error::map(name)),
    }
}

/// CPUs that a per-CPU value has room for.
pub(in crate::io) fn cpus() -> Result<usize, Error> {
    aya::util::nr_cpus().map_err(|(path, source)| Error::Pins { path: path.into(), source })
}
