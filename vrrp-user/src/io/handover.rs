//! What a daemon hands over to the program that takes its place in the same process (`execveat(2)`): open files, and what
//! it knows of its children. Everything else that counts is pinned, as for one that was killed.
//!
//! It is JSON in a sealed memfd, whose descriptor and process stand in the environment. Fields are only ever added.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::api::Order;

/// `PID:DESCRIPTOR`. Of another process it means nothing: children may inherit it.
pub const VARIABLE: &str = "VRRP_USER_HANDOVER";
/// Most that is read of it, in bytes: what thousands of waiting scripts need.
const LONGEST: u64 = 64 << 20;
/// A memfd that nobody can change any more.
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// What is handed over.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Handover {
    /// Version of the program that was there before.
    pub version: String,
    /// All descriptors that are inherited.
    pub descriptors: Vec<RawFd>,
    /// Locked files and directories among them.
    pub locks: Vec<(PathBuf, RawFd)>,
    /// What operators have ordered, by names of routers.
    pub orders: Vec<(String, Order)>,
    /// What is running, and what waits to be run: theirs, as is what follows.
    pub scripts: serde_json::Value,
    /// Descriptors that belong to that.
    pub of_scripts: Vec<RawFd>,
}

/// What was handed over to this process, as far as nobody has taken it.
static RECEIVED: Mutex<Option<Received>> = Mutex::new(None);

struct Received {
    version: String,
    locks: Vec<(PathBuf, OwnedFd)>,
    orders: Vec<(String, Order)>,
    scripts: Option<(serde_json::Value, BTreeMap<RawFd, OwnedFd>)>,
    /// The rest: memberships of groups, which last until the new sockets have joined.
    _kept: Vec<OwnedFd>,
}

impl Handover {
    /// Writes it, and returns what goes into the environment. The descriptor is inherited by what is executed, as are all
    /// that are named, and closed if that fails.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn write(&self) -> io::Result<(String, OwnedFd)> {
        let memfd = memfd_create("vrrp-user-handover", MFdFlags::MFD_ALLOW_SEALING)?;
        let mut file = File::from(memfd);
        serde_json::to_writer(io::BufWriter::new(&mut file), self)?;
        file.flush()?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
        Ok((format!("{}:{}", process::id(), file.as_raw_fd()), file.into()))
    }

    /// Lets what is executed inherit the descriptors, or no more.
    pub fn inherit(&self, inherited: bool) {
        let flags = if inherited { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
        for number in &self.descriptors {
            // SAFETY: flags of a number; one that is closed is refused.
            unsafe { libc::fcntl(*number, libc::F_SETFD, flags.bits()) };
        }
    }
}

/// Takes what the program handed over that was in this process before, if there was one. To be called first of all.
///
/// # Errors
/// Why it cannot be used. Then nothing is, and everything starts as after a kill.
pub fn receive() -> io::Result<()> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(()) };
    let numbers = text
        .split_once(':')
        .and_then(|(pid, number)| Some((pid.parse::<u32>().ok()?, number.parse::<RawFd>().ok()?)));
    let Some((_, number)) = numbers.filter(|(pid, _)| *pid == process::id()) else {
        return Ok(());
    };
    // By its name, so that a number that is not open is an error.
    let mut file = OpenOptions::new().read(true).open(format!("/proc/self/fd/{number}"))?;
    if !SealFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GET_SEALS)?).contains(SEALS) {
        return Err(io::Error::other("it could be changed by others"));
    }
    let mut text = String::new();
    (&mut file).take(LONGEST).read_to_string(&mut text)?;
    let handover: Handover = serde_json::from_str(&text)?;
    let owned = |number: RawFd| {
        // SAFETY: the program before left it open for this one, and whoever has this process wrote the list: nobody else
        // here knows the number.
        let file = unsafe { OwnedFd::from_raw_fd(number) };
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map(|_| file)
    };
    drop(owned(number));
    let Handover { version, descriptors, locks, orders, scripts, of_scripts } = handover;
    let mut left: BTreeSet<RawFd> = descriptors.into_iter().collect();
    let mut taken = Vec::new();
    for (path, number) in locks {
        if left.remove(&number) {
            taken.push((path, owned(number)?));
        }
    }
    let of_scripts = of_scripts.into_iter().filter(|number| left.remove(number));
    let of_scripts = of_scripts.collect::<Vec<_>>().into_iter();
    let of_scripts = of_scripts.filter_map(|number| Some((number, owned(number).ok()?))).collect();
    let scripts = (!scripts.is_null()).then_some((scripts, of_scripts));
    let kept = left.into_iter().filter_map(|number| owned(number).ok()).collect();
    let received = Received { version, locks: taken, orders, scripts, _kept: kept };
    *RECEIVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(received);
    Ok(())
}

fn with<T>(take: impl FnOnce(&mut Received) -> Option<T>) -> Option<T> {
    take(RECEIVED.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?)
}

/// The version of the program that was in this process before.
pub fn version() -> Option<String> {
    with(|received| Some(received.version.clone()))
}

/// A file that the program before has locked, which is still the one at this path.
pub fn take_lock(path: &Path) -> Option<File> {
    with(|received| {
        let found = received.locks.iter().position(|(locked, _)| locked == path)?;
        let file = File::from(received.locks.swap_remove(found).1);
        let (ours, there) = (file.metadata().ok()?, std::fs::metadata(path).ok()?);
        ((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(file)
    })
}

/// What operators have ordered, once.
pub fn take_orders() -> Vec<(String, Order)> {
    with(|received| Some(std::mem::take(&mut received.orders))).unwrap_or_default()
}

/// Whether anything runs or waits.
pub fn has_scripts() -> bool {
    with(|received| received.scripts.as_ref().map(|_| ())).is_some()
}

/// What runs and waits, with the descriptors that it names, once.
pub fn take_scripts() -> Option<(serde_json::Value, BTreeMap<RawFd, OwnedFd>)> {
    with(|received| received.scripts.take())
}

/// Closes what was only kept until there was something in its place.
pub fn release() {
    drop(RECEIVED.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Its number, for [`Handover::descriptors`].
pub fn number(file: &impl AsFd) -> RawFd {
    file.as_fd().as_raw_fd()
}
