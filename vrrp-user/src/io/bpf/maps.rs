//! Maps as aya has them: taking them by name, and what its errors mean.

use aya::Ebpf;
use aya::maps::{Array, IterableMap, Map, MapData, MapError};

use super::error::{Error, errno};
use crate::io::mmap_array::MmapArray;

/// The value of a map as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(in crate::io) struct PodValue<T>(pub T);

// SAFETY: `bytemuck::Pod` asks for more than `aya::Pod` does, and the wrapper is transparent.
unsafe impl<T: bytemuck::Pod> aya::Pod for PodValue<T> {}

pub(super) fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(Error::Missing(name))?;
    map.try_into().map_err(Error::map(name))
}

pub(super) fn mmap_array<T: bytemuck::Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<MmapArray<T>, Error> {
    let array: Array<MapData, PodValue<T>> = take(ebpf, name)?;
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
