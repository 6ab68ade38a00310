//! A `BPF_F_MMAPABLE` array map in our own memory: reads and writes without a system call.

use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::Pod;

/// Shared memory in whole words, as long as this value lives.
struct Mapping {
    words: NonNull<AtomicU64>,
    /// In bytes.
    length: usize,
}

// SAFETY: the mapping belongs to this value alone and is accessed through atomics only.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(fd: impl AsFd, offset: usize, length: usize, protection: i32) -> io::Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory.
        let address = unsafe {
            libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, offset)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(address.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { words, length })
    }

    /// So many words from a place on; `None` if there are not so many.
    fn words(&self, first: usize, count: usize) -> Option<&[AtomicU64]> {
        if first.checked_add(count)? > self.length / size_of::<u64>() {
            return None;
        }
        // SAFETY: these words are within the mapping, which lives as long as `self`. Whoever else writes to it does so
        // behind atomics' back, which is what atomics are for.
        Some(unsafe { std::slice::from_raw_parts(self.words.as_ptr().add(first), count) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, with its length; no reference into it outlives `self`.
        unsafe {
            libc::munmap(self.words.as_ptr().cast(), self.length);
        }
    }
}

/// An array map of `T`, shared with the kernel side and with other processes.
///
/// Every 64-bit word is read and written as a whole; a value of several words may be seen half
/// written.
pub struct MmapArray<T> {
    mapping: Mapping,
    entries: u32,
    _value: PhantomData<T>,
}

impl<T: Pod> MmapArray<T> {
    const WORDS: usize = {
        assert!(align_of::<T>() >= align_of::<u64>(), "T must be made of whole words");
        size_of::<T>() / size_of::<u64>()
    };

    /// Maps an array of `entries` values that was created with `BPF_F_MMAPABLE`.
    /// Errors: those of mmap(2).
    pub fn map(fd: impl AsFd, entries: u32) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let mapping = Mapping::new(fd, 0, Self::bytes(entries)?.get(), protection)?;
        Ok(Self { mapping, entries, _value: PhantomData })
    }

    /// Bytes of `entries` values; the kernel rounds the mapping up to whole pages.
    fn bytes(entries: u32) -> io::Result<NonZeroUsize> {
        usize::try_from(entries)
            .ok()
            .and_then(|entries| entries.checked_mul(size_of::<T>()))
            .and_then(NonZeroUsize::new)
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Number of values.
    pub fn len(&self) -> u32 {
        self.entries
    }

    fn entry(&self, index: u32) -> Option<&[AtomicU64]> {
        if index >= self.entries {
            return None;
        }
        self.mapping.words(usize::try_from(index).ok()? * Self::WORDS, Self::WORDS)
    }

    /// The value at `index`; `None` past the end.
    pub fn get(&self, index: u32) -> Option<T> {
        let entry = self.entry(index)?;
        let mut value = T::zeroed();
        let words: &mut [u64] = bytemuck::cast_slice_mut(std::slice::from_mut(&mut value));
        for (word, shared) in words.iter_mut().zip(entry) {
            *word = shared.load(Ordering::Relaxed);
        }
        Some(value)
    }

    /// One word of the value at `index`, `offset` bytes into it; `None` past an end.
    pub fn load(&self, index: u32, offset: usize) -> Option<u64> {
        Some(self.entry(index)?.get(offset / size_of::<u64>())?.load(Ordering::Acquire))
    }

    /// Writes one word of the value at `index`, `offset` bytes into it; `false` past an end.
    #[must_use]
    pub fn store(&self, index: u32, offset: usize, word: u64) -> bool {
        let entry = self.entry(index).and_then(|entry| entry.get(offset / size_of::<u64>()));
        entry.map(|shared| shared.store(word, Ordering::Release)).is_some()
    }

    /// Writes the value at `index`; `false` past the end.
    #[must_use]
    pub fn set(&self, index: u32, value: &T) -> bool {
        let Some(entry) = self.entry(index) else { return false };
        let words: &[u64] = bytemuck::cast_slice(std::slice::from_ref(value));
        for (word, shared) in words.iter().zip(entry) {
            shared.store(*word, Ordering::Relaxed);
        }
        true
    }
}

/// Words that somebody else keeps, in a mapping that may only be read.
pub struct MmapWords(Mapping);

impl MmapWords {
    /// Maps `length` bytes from `offset` on, both multiples of the page size.
    /// Errors: those of mmap(2).
    pub fn map(fd: impl AsFd, offset: usize, length: usize) -> io::Result<Self> {
        Ok(Self(Mapping::new(fd, offset, length, libc::PROT_READ)?))
    }

    /// The word `offset` bytes into it; `None` past the end.
    pub fn load(&self, offset: usize) -> Option<u64> {
        let [word] = self.0.words(offset / size_of::<u64>(), 1)? else { return None };
        Some(word.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use vrrp_common::maps::{SLOT_ACK, Slot};

    use super::*;

    #[test]
    fn values_go_where_the_kernel_looks_for_them() {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(&[0; 4096]).expect("write");
        let table: MmapArray<Slot> = MmapArray::map(&file, 3).expect("map");
        let slot = Slot { adverts: 7, priority_zero: 20, ..Slot::default() };
        assert!(table.set(2, &slot));
        assert_eq!(table.get(2), Some(slot));
        assert_eq!(table.get(1), Some(Slot::default()));
        assert_eq!(table.get(3), None);
        assert!(!table.set(3, &slot));
        assert!(table.store(1, SLOT_ACK, 5) && !table.store(3, SLOT_ACK, 5));
        assert_eq!(table.get(1), Some(Slot { ack: 5, ..Slot::default() }));
        assert_eq!((table.load(1, SLOT_ACK), table.load(3, SLOT_ACK)), (Some(5), None));
        let mut bytes = [0; 64];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 128).expect("read");
        assert_eq!(bytes, bytemuck::cast::<Slot, [u8; 64]>(slot));

        let words = MmapWords::map(&file, 0, 4096).expect("map");
        let ack = 64 + SLOT_ACK;
        assert_eq!((words.load(ack), words.load(4088), words.load(4096)), (Some(5), Some(0), None));
    }
}
