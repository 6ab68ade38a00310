//! Memory: little of it, and none that is swapped out.

use std::fs;
use std::io;
use std::ops::Range;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{process, thread};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::mm::MlockAllFlags;

use crate::capability;

/// Makes the allocator take large blocks from the system one by one, and give them back when they are freed.
/// By default it keeps more and more of them: what a takeover of thousands of routers needs for a second
/// would stay for ever.
pub fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls take numbers only (mallopt(3)); nothing depends on their success.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 10);
        // By which the heap of each thread grows, and which is not given back.
        libc::mallopt(libc::M_TOP_PAD, 16 << 10);
    }
}

/// Bytes of memory that this process may still take, by its own limits (setrlimit(2)), those of its control groups,
/// and what the machine has; `None` if nothing says so.
pub fn room() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    // SIZE RESIDENT SHARED TEXT LIB DATA DT, in pages (proc_pid_statm(5)).
    let pages: Vec<u64> = statm.split(' ').filter_map(|field| field.trim().parse().ok()).collect();
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096);
    let own = [(Resource::RLIMIT_AS, 0), (Resource::RLIMIT_DATA, 5)].into_iter();
    let own = own.filter_map(|(limit, field)| {
        let (soft, _) = getrlimit(limit).ok()?;
        let used = pages.get(field)?.saturating_mul(page);
        (soft != libc::RLIM_INFINITY).then(|| soft.saturating_sub(used))
    });
    own.chain(cgroups().iter().filter_map(|group| group.room())).chain(machine()).min()
}

/// A control group that counts memory.
struct Cgroup {
    directory: PathBuf,
    /// Names of the files with the limit, with what is used, and of the field of `memory.stat` that can be taken back.
    names: [&'static str; 3],
}

impl Cgroup {
    fn room(&self) -> Option<u64> {
        let [limit, used, cache] = self.names;
        let number = |name| {
            let text = fs::read_to_string(self.directory.join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let stat = fs::read_to_string(self.directory.join("memory.stat")).unwrap_or_default();
        let cache = stat.lines().find_map(|line| line.strip_prefix(cache)?.trim().parse().ok());
        // `max` is no number.
        let limit = number(limit)?;
        Some(limit.saturating_sub(number(used)?.saturating_sub(cache.unwrap_or(0))))
    }
}

/// The control groups that this process is in, and those above them (cgroups(7)).
fn cgroups() -> Vec<Cgroup> {
    const V2: [&str; 3] = ["memory.max", "memory.current", "inactive_file "];
    const V1: [&str; 3] =
        ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut groups = Vec::new();
    for line in text.lines() {
        // NUMBER:CONTROLLERS:/PATH
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, names) = match controllers {
            "" => ("/sys/fs/cgroup", V2),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", V1)
            }
            _ => continue,
        };
        for above in Path::new(path.trim_start_matches('/')).ancestors() {
            groups.push(Cgroup { directory: Path::new(mount).join(above), names });
        }
    }
    groups
}

/// What the machine has for new processes without swapping.
fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Makes this process end rather than take more than so much memory from now on, and be the first to end when there is
/// none left: for one that works for another that must live.
pub fn expendable(bytes: Option<u64>) {
    // To be more willing is always permitted.
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "1000") {
        log::debug!("oom_score_adj: {error}");
    }
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let Some(bytes) = bytes else { return };
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let data = statm.split(' ').nth(5).and_then(|pages| pages.trim().parse::<u64>().ok());
    let limit = bytes.saturating_add(data.unwrap_or(0).saturating_mul(4096));
    let (_, hard) = getrlimit(Resource::RLIMIT_DATA).unwrap_or((limit, limit));
    let _ = setrlimit(Resource::RLIMIT_DATA, limit.min(hard), hard);
}

/// Runs something that needs much memory for a short time. The allocator gives each thread a heap of its own:
/// what stays does not lie among what goes, and [`give_back`] gives whole pages back. Where no thread can be started, it
/// is run without.
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let place = Mutex::new(Some(work));
    let run = || {
        let work = place.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.map(|work| work())
    };
    let apart = thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, run).ok()?;
        thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    });
    match apart.or_else(run) {
        Some(result) => result,
        // One of the two has taken it, and has given its result.
        None => process::abort(),
    }
}

/// Gives memory back that was freed, and locks what is left. Reading a long configuration leaves much of it, and what the
/// allocator keeps counts as ours. The program's code goes, too, and comes back from the page cache as it is used: most of
/// what ran up to now reads configurations and loads BPF objects, and would be locked for ever.
/// Errors: those of locking, for want of CAP_IPC_LOCK or RLIMIT_MEMLOCK; the rest is done.
pub fn give_back() -> io::Result<()> {
    // Nothing else frees pages that are locked one by one.
    unlock();
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number only and is thread-safe (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
    // Whatever runs from here on stays.
    let lockable = is_lockable();
    for range in code() {
        // SAFETY: the range is a private mapping of a file that is never written to, so that every page of it is the
        // file's and is read from there again when it is next used (madvise(2)).
        unsafe {
            libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED);
        }
    }
    lockable?;
    // As they come into use: what is never touched, such as most of each thread's stack, costs nothing.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    Ok(rustix::mm::mlockall(flags)?)
}

/// Where the program's code and constants are.
fn code() -> Vec<Range<usize>> {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return Vec::new() };
    let Ok(program) = fs::read_link("/proc/self/exe") else { return Vec::new() };
    let number = |text| usize::from_str_radix(text, 16).ok();
    let ranges = maps.lines().filter_map(|line| {
        // ADDRESS PERMISSIONS OFFSET DEVICE INODE PATH (proc_pid_maps(5)).
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let mapping = number(start)?..number(end)?;
        let (permissions, offset, path) = (fields.next()?, fields.next()?, fields.nth(2)?);
        let is_code = permissions == "r-xp";
        // What begins with the headers holds constants. What else is only read now was relocated before.
        let is_constant = permissions == "r--p" && number(offset) == Some(0);
        ((is_code || is_constant) && Path::new(path) == program).then_some(mapping)
    });
    ranges.collect()
}

/// Unlocks the pages of this process until [`give_back`], for something that needs much memory for a short time: where a
/// thread frees what was at the end of its heap, the allocator gives it back at once, which the kernel refuses for locked
/// pages, and nobody tries it again.
pub fn unlock() {
    if let Err(error) = rustix::mm::munlockall() {
        log::debug!("memory stays locked: {error}");
    }
}

/// Whether memory may be locked. Where it may not, all memory beyond the limit would be refused from then on.
fn is_lockable() -> io::Result<()> {
    let limited =
        getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(limit, _)| limit != libc::RLIM_INFINITY);
    if limited && !capability::can_lock_memory() {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_this_test() {
        let room = room().unwrap();
        assert!(room > 1 << 20, "{room}");
        let group = Cgroup {
            directory: tempfile::tempdir().unwrap().keep(),
            names: ["limit", "used", "cache "],
        };
        let write = |name: &str, text: &str| fs::write(group.directory.join(name), text).unwrap();
        write("limit", "max\n");
        write("used", "1000\n");
        assert_eq!(group.room(), None);
        write("limit", "4000\n");
        assert_eq!(group.room(), Some(3000));
        write("memory.stat", "anon 5\ncache 300\n");
        assert_eq!(group.room(), Some(3300));
        fs::remove_dir_all(&group.directory).unwrap();
    }
}
