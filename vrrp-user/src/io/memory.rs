//! Memory: little of it, and none that is swapped out.

use std::fs;
use std::io;
use std::panic;
use std::path::Path;
use std::thread;

/// Makes the allocator take large blocks from the system one by one, and give them back when they are freed.
/// By default it keeps more and more of them: what a takeover of thousands of routers needs for a second
/// would stay for ever.
pub fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls take numbers only (mallopt(3)); nothing depends on their success.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 10);
    }
}

/// Runs something that needs much memory for a short time. The allocator gives each thread a heap of its own:
/// what stays does not lie among what goes, and [`trim`] gives whole pages back.
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => panic::resume_unwind(panic),
    })
}

/// Gives memory that was freed back to the system. Reading a long configuration leaves much of it, and
/// what the allocator keeps counts as ours. Before [`lock`]: locked pages stay.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number only and is thread-safe (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the program's own code and constants, which come back from the page cache as they are used: most of
/// what ran up to now reads configurations and loads BPF objects, and [`lock`] would keep it in memory for ever.
pub fn release_code() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    let Ok(program) = fs::read_link("/proc/self/exe") else { return };
    let number = |text| usize::from_str_radix(text, 16).ok();
    for line in maps.lines() {
        // ADDRESS PERMISSIONS OFFSET DEVICE INODE PATH (proc_pid_maps(5)).
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(permissions), Some(offset), Some(path)) =
            (fields.next(), fields.next(), fields.next(), fields.nth(2))
        else {
            continue;
        };
        // What begins with the headers holds constants. What else is only read now was relocated before.
        let is_code = permissions == "r-xp";
        let is_constant = permissions == "r--p" && number(offset) == Some(0);
        if !is_code && !is_constant {
            continue;
        }
        let bounds = range.split_once('-').and_then(|(a, b)| Some((number(a)?, number(b)?)));
        if let Some((begin, end)) = bounds.filter(|_| Path::new(path) == program) {
            // SAFETY: the range is a private mapping of a file that is never written to, so that every page of
            // it is the file's and is read from there again when it is next used (madvise(2)).
            unsafe {
                libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_DONTNEED);
            }
        }
    }
}

/// [`trim`] and [`release_code`] when memory is locked already: after something that needed much of it for a short
/// time. Nothing else frees pages that are locked one by one.
pub fn give_back() {
    // SAFETY: the call takes nothing (munlockall(2)).
    let unlocked = unsafe { libc::munlockall() } == 0;
    trim();
    release_code();
    if unlocked && let Err(error) = lock() {
        log::debug!("memory is not locked: {error}");
    }
}

/// Locks the pages of this process as they come into use (`MCL_ONFAULT`, mlockall(2)): what is never
/// touched, such as most of each thread's stack, costs nothing.
///
/// # Errors
/// CAP_IPC_LOCK is missing and RLIMIT_MEMLOCK too low.
pub fn lock() -> io::Result<()> {
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: the call takes numbers only.
    if unsafe { libc::mlockall(flags) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
