//! A map for reading only, also one that another version of the daemon made: the sizes are the map's own, and of a value
//! that is longer or shorter than ours, what both have is taken.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::{MapData, MapType};
use bytemuck::Pod;

use super::bpf::{Error, cpus};

/// `BPF_MAP_LOOKUP_ELEM` and `BPF_MAP_GET_NEXT_KEY` (linux/bpf.h).
const LOOKUP: libc::c_long = 1;
const NEXT_KEY: libc::c_long = 4;

/// A map of `K` to `V`, as far as it has them.
pub struct ForeignMap<K, V> {
    name: &'static str,
    /// None where there is no such map.
    map: Option<Opened>,
    _types: PhantomData<(K, V)>,
}

struct Opened {
    map: MapData,
    value_size: usize,
    entries: u32,
    /// Values of each key: that of each CPU, or one.
    values: usize,
}

/// What both commands take (`union bpf_attr`, linux/bpf.h).
#[repr(C)]
struct Attributes {
    map: u32,
    reserved: u32,
    key: u64,
    /// Or the next key.
    value: u64,
    flags: u64,
}

impl<K: Pod, V: Pod> ForeignMap<K, V> {
    /// None: then it is empty.
    pub fn absent(name: &'static str) -> Self {
        Self { name, map: None, _types: PhantomData }
    }

    /// Errors: [`Error::Map`]; [`Error::Keys`] where the keys are not of this size.
    pub fn open(name: &'static str, map: MapData) -> Result<Self, Error> {
        let info = map.info().map_err(Error::map(name))?;
        if usize::try_from(info.key_size()) != Ok(size_of::<K>()) {
            return Err(Error::Keys(name));
        }
        let per_cpu = matches!(
            info.map_type(),
            Ok(MapType::PerCpuArray | MapType::PerCpuHash | MapType::LruPerCpuHash)
        );
        let opened = Opened {
            value_size: usize::try_from(info.value_size()).unwrap_or_default(),
            entries: info.max_entries(),
            values: if per_cpu { cpus()? } else { 1 },
            map,
        };
        Ok(Self { name, map: Some(opened), _types: PhantomData })
    }

    /// How many entries there is room for.
    pub fn len(&self) -> u32 {
        self.map.as_ref().map_or(0, |opened| opened.entries)
    }

    /// What of it is not as it is here, in words.
    pub fn difference(&self) -> Option<String> {
        let (name, ours) = (self.name, size_of::<V>());
        let Some(opened) = &self.map else { return Some(format!("there is no {name}")) };
        match opened.value_size {
            theirs if theirs > ours => Some(format!(
                "{name} has {} bytes more in each entry, which are not shown",
                theirs - ours
            )),
            theirs if theirs < ours => Some(format!(
                "{name} has {} bytes less in each entry: what stands there is shown as zero",
                ours - theirs
            )),
            _ => None,
        }
    }

    /// The value of a key; `None` where there is none.
    /// Errors: [`Error::Map`].
    pub fn get(&self, key: &K) -> Result<Option<V>, Error> {
        Ok(self.of_each_cpu(key)?.first().copied())
    }

    /// The values of a key: of a map per CPU all of them, of another one only one, or none.
    /// Errors: [`Error::Map`].
    pub fn of_each_cpu(&self, key: &K) -> Result<Vec<V>, Error> {
        let Some(opened) = &self.map else { return Ok(Vec::new()) };
        // Each begins at a whole word where there are several (kernel/bpf/syscall.c, bpf_map_value_size).
        let stride = if opened.values == 1 {
            opened.value_size
        } else {
            opened.value_size.next_multiple_of(size_of::<u64>())
        };
        let mut bytes = vec![0; stride * opened.values];
        if !opened.call(self.name, LOOKUP, bytemuck::bytes_of(key), &mut bytes)? || stride == 0 {
            return Ok(Vec::new());
        }
        Ok(bytes.chunks_exact(stride).map(|bytes| prefix(&bytes[..opened.value_size])).collect())
    }

    /// The keys that there are. One that goes meanwhile sends the walk back to the beginning: some may come twice.
    /// Errors: [`Error::Map`].
    pub fn keys(&self) -> Result<Vec<K>, Error> {
        let Some(opened) = &self.map else { return Ok(Vec::new()) };
        let (mut keys, mut next) = (Vec::new(), K::zeroed());
        // However much is changed meanwhile.
        for _ in 0..u64::from(opened.entries) * 4 {
            let before = keys.last().map_or(&[][..], bytemuck::bytes_of);
            if !opened.call(self.name, NEXT_KEY, before, bytemuck::bytes_of_mut(&mut next))? {
                break;
            }
            keys.push(next);
        }
        Ok(keys)
    }
}

impl Opened {
    /// Whether there is such an entry, or a further key. An empty key stands for none.
    fn call(
        &self,
        name: &'static str,
        command: libc::c_long,
        key: &[u8],
        out: &mut [u8],
    ) -> Result<bool, Error> {
        let address = |bytes: *const u8| bytes as u64;
        let attributes = Attributes {
            map: self.map.fd().as_fd().as_raw_fd().unsigned_abs(),
            reserved: 0,
            key: if key.is_empty() { 0 } else { address(key.as_ptr()) },
            value: address(out.as_mut_ptr()),
            flags: 0,
        };
        // SAFETY: the key is of the size that the map has, or absent, and `out` has room for all values of an entry, or for
        // a key; both live until the call returns. The map and its sizes do not change.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, command, &raw const attributes, size_of::<Attributes>())
        };
        if result == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ENOENT) {
            return Ok(false);
        }
        Err(Error::map(name)(error.into()))
    }
}

/// What both versions of a value have; zeros for what only this one has.
fn prefix<V: Pod>(bytes: &[u8]) -> V {
    let mut value = V::zeroed();
    let ours = bytemuck::bytes_of_mut(&mut value);
    let both = ours.len().min(bytes.len());
    ours[..both].copy_from_slice(&bytes[..both]);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_other_sizes_the_common_part_is_taken() {
        let bytes: Vec<u8> = (1..=24).collect();
        assert_eq!(prefix::<[u8; 4]>(&bytes), [1, 2, 3, 4]);
        assert_eq!(prefix::<[u8; 4]>(&bytes[..2]), [1, 2, 0, 0]);
        assert_eq!(prefix::<u64>(&[]), 0);
        let none = ForeignMap::<u32, u64>::absent("X");
        assert_eq!((none.len(), none.get(&1).unwrap(), none.keys().unwrap()), (0, None, vec![]));
        assert_eq!(none.difference().unwrap(), "there is no X");
    }
}
