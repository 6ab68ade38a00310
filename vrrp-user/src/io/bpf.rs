//! The kernel side: loading, attaching, and the shared maps by name.
//!
//! [`Datapath`] is the daemon's; [`super::reader::Reader`] serves whoever wants to look, with or without
//! a daemon.

mod leases;
mod own;
mod pins;
pub(super) mod vips;
mod without;

use std::collections::{BTreeMap, HashMap as StdHashMap};
use std::error::Error as StdError;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use aya::maps::{Array, IterableMap, Map, MapData, MapError, RingBuf};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcHandle,
};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{
    Link, LinkOrder, Program, ProgramError, ProgramInfo, SchedClassifier, TcAttachType, Xdp,
    XdpMode, loaded_programs, tc,
};
use aya::{Ebpf, EbpfError, EbpfLoader};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use nix::mount::{MsFlags, mount};
use nix::net::if_::if_nameindex;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use vrrp_common::counters;
use vrrp_common::maps::{
    ABI_VERSION, ALLOWED, BUDGETS_PER_ROUTER, CONTROL, COPYING_EGRESS_PROGRAM,
    COPYING_INGRESS_PROGRAM, COUNTERS, Control, DAEMON_COUNTERS, EGRESS_PROGRAM, EVENTS, HELD4,
    HELD6, Held, INFO, INFO_ADVERTS_SENT, INGRESS_PROGRAM, LEASES, PEERS, PeerKey, REASONS,
    ROUTERS, RouterEntry, RouterInfo, RouterKey, SAMPLE_COUNTS, SAMPLES, SLOT_ACK, SLOT_ADVERTS,
    SLOT_FILTER, SLOT_LAST_SEEN, SLOT_MASTER_SEEN, SLOT_REFUSED, SLOTS, SOURCE_KEY, Slot, TtlRange,
    VIPS4, VIPS6, XDP_PROGRAM,
};
use vrrp_common::reason::Reason;
use vrrp_common::report::{MasterSeen, ReportFilter};

pub use self::leases::Leases;
pub use self::own::OwnMaps;
use self::own::{Entries, Peers};
use self::pins::Direction;
pub use self::pins::{Pins, SharedMaps};
use self::vips::Vips;
pub use self::without::{Feature, UnknownFeature, VARIABLE, Without};
use super::mmap_array::MmapArray;
use super::ring::EventRing;
use crate::capability;
use crate::capture::{CaptureMode, Failure, WITHOUT_PINS};
use crate::core::{Hooks, InterfaceAddr, InterfaceId, Sizes};
use crate::io::netlink::{self, Hook, HookPoint, HookState, Inspector, once};
use crate::types::instance::PINS;
use crate::wire::family::to_field;

/// The compiled kernel side.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("VRRP_EBPF_OBJECT"));

/// The maps that are pinned; the rest is nobody else's business.
const PINNED: [&str; 13] = [
    ROUTERS, SLOTS, LEASES, INFO, VIPS4, VIPS6, REASONS, SAMPLES, SAMPLE_COUNTS, PEERS, COUNTERS,
    EVENTS, CONTROL,
];

/// The kernel side's own array of how much may be reported of each router.
const BUDGETS: &str = "BUDGETS";

/// Where a bpffs usually is.
const SYSTEM_BPFFS: &str = "/sys/fs/bpf";
/// Where we mount one if it is not.
const OWN_BPFFS: &str = "/run/vrrp-user/bpf";

/// Priority of our filter where there is no tcx: the first, as another one may end the chain. Of several BPF filters of that
/// priority the newest runs first (`cls_bpf_change`, net/sched/cls_bpf.c); where one of another kind has it, the kernel
/// refuses ours, and tc is not to be had.
const FILTER_PRIORITY: u16 = 1;

/// The tc programs, each in the order in which they are tried: what a verifier permits that is asked by a daemon without
/// CAP_PERFMON differs.
const INGRESS: [&str; 2] = [INGRESS_PROGRAM, COPYING_INGRESS_PROGRAM];
const EGRESS: [&str; 2] = [EGRESS_PROGRAM, COPYING_EGRESS_PROGRAM];

/// What does not work without the egress program.
const NOT_COUNTED: &str = "packets sent from virtual addresses are not counted";

/// What can go wrong between the daemon and the kernel side.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory given is on some other file system.
    #[error("{} is not on a bpffs; mount one there: mount -t bpf bpf {}", .0.display(), .0.display())]
    NotBpffs(PathBuf),
    /// No bpffs is mounted.
    #[error("no bpffs at {SYSTEM_BPFFS} or {OWN_BPFFS}; name another one with --bpffs")]
    NoBpffs,
    /// No bpffs is mounted and we could not mount one.
    #[error(
        "no bpffs at {SYSTEM_BPFFS}, and mounting one at {OWN_BPFFS} failed; do it by hand: \
         mount -t bpf bpf {SYSTEM_BPFFS}"
    )]
    MountBpffs(#[source] io::Error),
    /// It was mounted when the daemon started.
    #[error(
        "the bpffs at {dir} is not mounted any more, and mounting it again failed ({source}); do it by hand: mount -t bpf \
         bpf {dir}",
        dir = .dir.display()
    )]
    BpffsUnmounted {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory for the pins.
    #[error("{}", .path.display())]
    Pins {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not root, or a container without the capabilities.
    #[error(
        "not permitted to {0}: run as root, or with the capabilities CAP_BPF, CAP_NET_ADMIN and \
         CAP_NET_RAW"
    )]
    NotPermitted(&'static str),
    /// The process has the capabilities, and something else is in the way.
    #[error(
        "the kernel does not permit to {0} although the process has the capabilities for it: a seccomp filter (of a \
         container), a security module or lockdown may be in the way, before Linux 5.11 also a low RLIMIT_MEMLOCK"
    )]
    Forbidden(&'static str),
    /// There is no bpf(2).
    #[error(
        "there is no bpf(2) here: a seccomp filter (of a container) hides it, or the kernel is built without"
    )]
    NoSystemCall,
    /// The configuration wants none.
    #[error("`capture` was \"raw\" for all interfaces when the daemon started")]
    NotWanted,
    /// Memory in the place of a map.
    #[error("no memory for what stands in the place of the map {name}")]
    Memory {
        /// Which map.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No more file descriptors.
    #[error("no more open files are permitted: raise LimitNOFILE= in the unit, or ulimit -n")]
    Descriptors,
    /// The object or one of its maps.
    #[error("cannot load the BPF object")]
    Load(#[source] Box<EbpfError>),
    /// The object lacks something; it is not the one that this program was built with.
    #[error("the BPF object has no {0}")]
    Missing(&'static str),
    /// The kernel refuses the program.
    #[error("the kernel refuses the program {program} ({error}){}", reasons(.log))]
    Verifier {
        /// Its name.
        program: &'static str,
        /// The end of the verifier's log, empty where the kernel did not come to verify anything.
        log: String,
        /// What the system call returned.
        error: io::Error,
    },
    /// The kernel was not asked, as it is to be taken for one that refuses.
    #[error("taken as missing ({VARIABLE}={})", .0.name())]
    Masked(Feature),
    /// A program operation other than attaching.
    #[error("BPF program")]
    Program(#[source] Box<ProgramError>),
    /// A map operation.
    #[error("map {name}")]
    Map {
        /// Which map.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<MapError>,
    },
    /// More routers or addresses than the maps were made for.
    #[error("map {name} has room for {entries} entries only")]
    Full {
        /// Which map.
        name: &'static str,
        /// Its size.
        entries: u32,
    },
    /// The ring buffer could not be watched.
    #[error("cannot watch the ring buffer")]
    Watch(#[source] io::Error),
    /// There is nothing to read.
    #[error("no maps of a daemon in {}", .0.display())]
    NoPins(PathBuf),
    /// Another version of the daemon made the maps.
    #[error(
        "the maps were made by another version of the daemon (layout {found}, ours is \
         {ABI_VERSION}); use the `vrrp-user` that belongs to it"
    )]
    Abi {
        /// Its layout.
        found: u32,
    },
}

impl Error {
    pub(super) fn map(name: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| {
            if matches!(errno(&source), Some(libc::EPERM | libc::EACCES)) {
                Self::NotPermitted("read the maps")
            } else {
                Self::Map { name, source: Box::new(source) }
            }
        }
    }

    fn pins(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Pins { path: path.to_owned(), source }
    }

    /// What it says is not to be had here, so that the daemon works without; `None` where something else is wrong.
    fn lack(&self) -> Option<Lack> {
        match self {
            Self::NotPermitted(_) => capability::missing_here()
                .iter()
                .all(|missing| *missing == capability::CAP_BPF)
                .then_some(Lack::Bpf),
            Self::NoBpffs | Self::MountBpffs(_) | Self::Masked(Feature::Bpffs) => Some(Lack::Pins),
            Self::Pins { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            )
            .then_some(Lack::Pins),
            Self::Forbidden(_)
            | Self::NoSystemCall
            | Self::NotWanted
            | Self::Masked(_)
            | Self::Load(_)
            | Self::Verifier { .. }
            | Self::Program(_) => Some(Lack::Bpf),
            Self::NotBpffs(_)
            | Self::BpffsUnmounted { .. }
            | Self::Memory { .. }
            | Self::Descriptors
            | Self::Missing(_)
            | Self::Map { .. }
            | Self::Full { .. }
            | Self::Watch(_)
            | Self::NoPins(_)
            | Self::Abi { .. } => None,
        }
    }

    /// Whether it says that this host has no BPF for the daemon, and nothing else is wrong. What the daemon cannot do
    /// without either, and a directory that was named, are not among that.
    pub fn is_no_bpf(&self) -> bool {
        self.lack() == Some(Lack::Bpf)
    }

    /// Whether it says that there is no place for pins, without which the daemon works. A directory that was named is to
    /// be one.
    pub fn is_no_pins(&self) -> bool {
        self.lack() == Some(Lack::Pins)
    }
}

/// What a host may be without.
#[derive(PartialEq, Eq)]
enum Lack {
    /// Maps and programs.
    Bpf,
    /// A place to pin maps.
    Pins,
}

/// What a verifier says, as the end of a sentence.
fn reasons(log: &str) -> String {
    if log.is_empty() {
        " and does not say why: it may know no such kind of program".to_owned()
    } else {
        format!("; its verifier ends with:\n{log}")
    }
}

/// That a system call was not permitted, and why.
fn not_permitted(what: &'static str) -> Error {
    if capability::missing_here().is_empty() {
        Error::Forbidden(what)
    } else {
        Error::NotPermitted(what)
    }
}

/// The number of the system error at the bottom of an error, if there is one.
pub(super) fn errno(error: &(dyn StdError + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error();
        }
        next = error.source();
    }
    None
}

/// That a program is refused, without what the verifier said.
fn brief(error: &Error) -> String {
    if let Error::Verifier { program, error, .. } = error {
        format!("the kernel refuses the program {program} ({error})")
    } else {
        chain(error)
    }
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// The value of a map as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct PodValue<T>(pub T);

// SAFETY: `bytemuck::Pod` asks for more than `aya::Pod` does, and the wrapper is transparent.
unsafe impl<T: bytemuck::Pod> aya::Pod for PodValue<T> {}

/// A directory on a bpffs for the pins of all instances: `dir`, or the system's bpffs, or one of our
/// own that is mounted now.
///
/// # Errors
///
/// [`Error::NotBpffs`] for `dir`, [`Error::MountBpffs`] otherwise.
pub fn bpffs(dir: Option<&Path>) -> Result<PathBuf, Error> {
    match find_bpffs(dir) {
        Err(Error::NoBpffs) => {}
        found => return found,
    }
    fs::create_dir_all(OWN_BPFFS).map_err(Error::MountBpffs)?;
    mount(Some("bpf"), OWN_BPFFS, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
        .map_err(|errno| Error::MountBpffs(errno.into()))?;
    Ok(OWN_BPFFS.into())
}

/// As [`bpffs`], but mounts nothing: for readers.
///
/// # Errors
///
/// [`Error::NotBpffs`] for `dir`, [`Error::NoBpffs`] otherwise.
pub fn find_bpffs(dir: Option<&Path>) -> Result<PathBuf, Error> {
    // Where the daemon has a user of its own, only our directory of the system's bpffs is put where it can reach it.
    let is_bpffs = |dir: &Path| on_bpffs(dir) || on_bpffs(&dir.join(PINS));
    if let Some(dir) = dir {
        return if is_bpffs(dir) { Ok(dir.to_owned()) } else { Err(Error::NotBpffs(dir.into())) };
    }
    let found = [SYSTEM_BPFFS, OWN_BPFFS].map(Path::new).into_iter().find(|dir| is_bpffs(dir));
    found.map(Path::to_owned).ok_or(Error::NoBpffs)
}

fn on_bpffs(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC)
}

/// Bytes of the ring buffer: all routers that there is room for may be news at one instant, when their master
/// resigns for one. A power of two, as the kernel wants it.
fn ring_bytes(routers: u32) -> u32 {
    /// An advertisement with two IPv4 addresses, and the record's header of eight bytes.
    const RECORD: u32 = 96;
    /// For the longest advertisements, and no less than a page of any machine.
    const LEAST: u32 = 64 << 10;
    routers.saturating_mul(RECORD).clamp(LEAST, 16 << 20).next_power_of_two()
}

/// Entries of the map of peers: two for each router, and what the kernel keeps ready on each CPU
/// (`LOCAL_FREE_TARGET` in kernel/bpf/bpf_lru_list.c), so that a silent peer is not forgotten too soon.
fn peers(routers: u32) -> u32 {
    const PER_ROUTER: u32 = 2;
    const PER_CPU: u32 = 128;
    let cpus = cpus().ok().and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1);
    routers.saturating_mul(PER_ROUTER).saturating_add(cpus.saturating_mul(PER_CPU))
}

/// The programs on one interface.
struct Attached {
    /// None where it was taken away and could not be put back.
    ingress: Option<Ingress>,
    /// [`Hook::serial`].
    serial: u64,
    /// None where the kernel could not attach it: then what leaves is not counted.
    egress: Option<SchedClassifierLinkId>,
}

/// What captures.
enum Ingress {
    Xdp(XdpLinkId),
    Tc(SchedClassifierLinkId),
    /// The daemon itself.
    Raw,
}

/// Where the maps of a daemon are read.
#[derive(Clone)]
pub enum Maps {
    /// In the kernel, pinned in this directory.
    Pinned(PathBuf),
    /// In the kernel, where nobody but the daemon can open them.
    Unpinned(Arc<SharedMaps>),
    /// In the daemon itself.
    Own(Arc<OwnMaps>),
}

impl From<PathBuf> for Maps {
    fn from(pins: PathBuf) -> Self {
        Self::Pinned(pins)
    }
}

/// The loaded kernel side, or where there is no BPF what stands in its place: then the daemon does itself what is done
/// at all. Dropping it detaches the programs from all interfaces; the pins of the maps stay, for [`super::reader::Reader`].
pub struct Datapath {
    /// None without BPF, and so are the next two.
    ebpf: Option<Ebpf>,
    pins: Option<Pins>,
    vips: Option<Vips>,
    /// Why there is no BPF.
    without: Option<String>,
    maps: Maps,
    routers: Entries<RouterKey, RouterEntry>,
    peers: Peers,
    allowed: Entries<PeerKey, TtlRange>,
    slots: MmapArray<Slot>,
    /// None without BPF: then there is nobody who could fence a router.
    leases: Option<Leases>,
    senders: Option<MmapArray<u64>>,
    info: MmapArray<RouterInfo>,
    control: MmapArray<Control>,
    counters: MmapArray<u64>,
    events: Option<RingBuf<MapData>>,
    source_key: u64,
    sizes: Sizes,
    links: BTreeMap<u32, Attached>,
    /// The kernel's numbers of the XDP program and of the tc programs.
    xdp_id: u32,
    ingress_id: u32,
    egress_id: u32,
    /// Whether the egress program is loaded and, as far as we know, can be attached.
    counts_egress: bool,
    /// Whether links can be pinned, as far as we know.
    keeps: bool,
    /// Whether the kernel attaches tc programs by links.
    tcx: bool,
    /// Number of our filter among those of its priority, where it does not: the same for all daemons of an instance, and
    /// as a rule for no other.
    filter_handle: u32,
    /// What the kernel has against the tc ingress program.
    tc_refused: Option<String>,
    /// Why the kernel refuses the XDP program, if it does.
    xdp_refused: Option<String>,
    /// Why its maps are pinned nowhere, if there are any and they are not.
    no_pins: Option<String>,
    /// What else it lacks, in words.
    lacks: Vec<String>,
    masked: Without,
}

impl Datapath {
    /// Loads the kernel side of an instance, with its pins in a directory, as [`Self::load_without`] does, or without pins
    /// where there is no place for them. Where there is no BPF, does without it, and says why.
    ///
    /// # Errors
    ///
    /// What has nothing to do with BPF, or with a BPF that there is.
    pub fn open(
        instance: &str,
        pins: Result<PathBuf, Error>,
        sizes: Sizes,
        without: Without,
    ) -> Result<Self, Error> {
        let loaded = match pins {
            Ok(pins) => match Self::load_and_tidy(instance, &pins, sizes, without) {
                Err(error) if error.is_no_pins() => {
                    Self::load_and_pin(instance, Err(&error), sizes, without)
                }
                loaded => loaded,
            },
            Err(error) if error.is_no_pins() => {
                Self::load_and_pin(instance, Err(&error), sizes, without)
            }
            Err(error) => Err(error),
        };
        match loaded {
            Err(error) if error.is_no_bpf() => {
                // It may have had BPF.
                tidy_filters(instance);
                Self::without_bpf(&error, sizes)
            }
            loaded => loaded,
        }
    }

    /// Does without BPF.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`].
    pub fn without_bpf(why: &Error, sizes: Sizes) -> Result<Self, Error> {
        let sizes = sizes.at_least_one();
        let why = format!("no BPF: {}", chain(why));
        let own = Arc::new(OwnMaps::new(sizes)?);
        Ok(Self {
            ebpf: None,
            pins: None,
            vips: None,
            routers: Entries::Own(StdHashMap::new()),
            peers: Peers::Own(Arc::clone(&own)),
            allowed: Entries::Own(StdHashMap::new()),
            slots: own.slots()?,
            leases: None,
            senders: None,
            info: own.info()?,
            control: own.control()?,
            counters: own.counters()?,
            events: None,
            source_key: RandomState::new().hash_one(()),
            maps: Maps::Own(own),
            sizes,
            links: BTreeMap::new(),
            xdp_id: 0,
            ingress_id: 0,
            egress_id: 0,
            counts_egress: false,
            keeps: false,
            tcx: false,
            filter_handle: 0,
            xdp_refused: None,
            tc_refused: None,
            without: Some(why),
            no_pins: None,
            lacks: Vec::new(),
            masked: Without::default(),
        })
    }

    /// Loads the kernel side and pins its maps in the directory `pins`, which is made if need be, and whose name is that
    /// of the instance.
    ///
    /// Pins that a dead daemon left there are removed: the caller has made sure, by a lock, that no
    /// other daemon of this instance lives.
    ///
    /// # Errors
    ///
    /// Each says what to do about it.
    pub fn load(pins: &Path, sizes: Sizes) -> Result<Self, Error> {
        Self::load_without(pins, sizes, Without::default())
    }

    /// As [`Self::load`], on a kernel that is taken for one that lacks something.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn load_without(pins: &Path, sizes: Sizes, without: Without) -> Result<Self, Error> {
        let instance = pins.file_name().unwrap_or_default().to_string_lossy();
        Self::load_and_tidy(&instance, pins, sizes, without)
    }

    fn load_and_tidy(
        instance: &str,
        pins: &Path,
        sizes: Sizes,
        without: Without,
    ) -> Result<Self, Error> {
        let datapath = Self::load_and_pin(instance, Ok(pins), sizes, without);
        if datapath.is_err() {
            // Some maps may have been pinned already. Nobody else is about to use the directory; what else is in it stays.
            let _ = remove_stale_pins(pins);
        }
        datapath
    }

    /// Loads the kernel side, and pins its maps in a directory unless there is a reason not to.
    fn load_and_pin(
        instance: &str,
        pins: Result<&Path, &Error>,
        sizes: Sizes,
        without: Without,
    ) -> Result<Self, Error> {
        let sizes = sizes.at_least_one();
        if let Ok(pins) = pins {
            fs::create_dir_all(pins).map_err(Error::pins(pins))?;
            remove_pins(pins)?;
        }

        let mut loader = EbpfLoader::new();
        // There is nothing in the object that would have to be adapted to the running kernel.
        loader.btf(None);
        // A number that nobody else knows: the standard library makes one for each of its hash maps.
        let source_key = RandomState::new().hash_one(());
        loader.override_global(SOURCE_KEY, &source_key, true);
        for name in [ROUTERS, SLOTS, LEASES, INFO] {
            loader.map_max_entries(name, sizes.routers);
        }
        loader.map_max_entries(BUDGETS, sizes.routers.saturating_mul(BUDGETS_PER_ROUTER));
        loader.map_max_entries(VIPS4, sizes.vips);
        loader.map_max_entries(VIPS6, sizes.vips6);
        loader.map_max_entries(PEERS, peers(sizes.routers));
        loader.map_max_entries(ALLOWED, allowed_entries(sizes));
        loader.map_max_entries(HELD4, sizes.vips);
        loader.map_max_entries(HELD6, sizes.vips6);
        loader.map_max_entries(EVENTS, ring_bytes(sizes.routers));
        let mut ebpf = load_object(&mut loader, without)?;
        let refused = load_programs(&mut ebpf, without)?;
        let tcx = has_tcx(without)?;
        let copies = taken(&ebpf, INGRESS) != INGRESS_PROGRAM;
        let lacks = lacks(&refused, copies, tcx);
        let no_pins = pins.err().map(|error| format!("no pins: {}", chain(error)));
        let shared = SharedMaps::of(&ebpf)?;
        let (pins, maps) = match pins {
            Ok(pins) => (Some(Pins::make(pins, shared)?), Maps::Pinned(pins.to_owned())),
            Err(_) => (None, Maps::Unpinned(Arc::new(shared))),
        };
        for (level, lack) in &lacks {
            log::log!(*level, "{lack}");
        }
        if let Some(why) = &no_pins {
            log::warn!("{why}; {WITHOUT_PINS}");
        }
        if !tcx {
            tidy_filters(instance);
        }
        let xdp_id = program_id(&ebpf, XDP_PROGRAM);
        let ingress_id = program_id(&ebpf, taken(&ebpf, INGRESS));
        let egress_id = program_id(&ebpf, taken(&ebpf, EGRESS));

        Ok(Self {
            routers: Entries::Shared(take(&mut ebpf, ROUTERS)?),
            vips: Some(Vips::take(&mut ebpf, sizes)?),
            peers: Peers::Shared(take(&mut ebpf, PEERS)?),
            allowed: Entries::Shared(take(&mut ebpf, ALLOWED)?),
            slots: mmap_array(&mut ebpf, SLOTS)?,
            leases: Some(Leases::take(&mut ebpf)?),
            senders: Some(leases::senders(&mut ebpf)?),
            info: mmap_array(&mut ebpf, INFO)?,
            control: mmap_array(&mut ebpf, CONTROL)?,
            counters: mmap_array(&mut ebpf, COUNTERS)?,
            events: Some(take(&mut ebpf, EVENTS)?),
            ebpf: Some(ebpf),
            source_key,
            pins,
            maps,
            without: None,
            sizes,
            links: BTreeMap::new(),
            xdp_id,
            ingress_id,
            egress_id,
            counts_egress: refused.egress.is_none(),
            keeps: true,
            tcx,
            filter_handle: filter_handle(instance),
            xdp_refused: refused.xdp.map(|error| brief(&error)),
            tc_refused: refused.ingress.map(|error| brief(&error)),
            no_pins,
            lacks: lacks.into_iter().map(|(_, lack)| lack).collect(),
            masked: without,
        })
    }

    /// How many entries the maps have.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Makes an index ready for another router: nothing of an earlier one is left.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] past the end.
    pub fn clear(&mut self, index: u32) -> Result<(), Error> {
        if let Some(leases) = &self.leases {
            leases.clear(index);
        }
        if self.slots.set(index, &Slot::default()) {
            self.write_info(index, &RouterInfo::default())
        } else {
            Err(Error::Full { name: SLOTS, entries: self.slots.len() })
        }
    }

    /// Forgets who was heard for routers that are gone. Walks the whole map.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn forget_peers(&mut self, removed: impl Fn(u32) -> bool) -> Result<(), Error> {
        self.peers.forget(removed)
    }

    /// The maps as others see them.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Why there is no BPF, if there is none.
    pub fn without(&self) -> Option<&str> {
        self.without.as_deref()
    }

    /// Why the maps are pinned nowhere, if so.
    pub fn no_pins(&self) -> Option<&str> {
        self.no_pins.as_deref()
    }

    /// What the BPF that there is lacks here, each as a sentence.
    pub fn lacks(&self) -> &[String] {
        &self.lacks
    }

    /// The XDP program, for `BPF_PROG_TEST_RUN`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`].
    pub fn program(&mut self) -> Result<&mut Xdp, Error> {
        loaded(&mut self.ebpf).and_then(xdp)
    }

    /// The tc ingress program, for `BPF_PROG_TEST_RUN`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`].
    pub fn ingress_program(&mut self) -> Result<&mut SchedClassifier, Error> {
        loaded(&mut self.ebpf).and_then(ingress)
    }

    /// Whether the kernel attaches tc programs by links, which go with the process.
    pub fn has_tcx(&self) -> bool {
        self.tcx
    }

    /// The egress program, for `BPF_PROG_TEST_RUN`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`].
    pub fn egress_program(&mut self) -> Result<&mut SchedClassifier, Error> {
        loaded(&mut self.ebpf).and_then(egress)
    }

    /// Attaches to an interface in one mode, and the egress program beside it, without which everything but counting works.
    /// What was attached before goes when that is there. The programs leave with the daemon.
    ///
    /// # Errors
    ///
    /// Why not. What was attached before stays.
    pub fn attach(
        &mut self,
        ifindex: u32,
        ifname: &str,
        mode: CaptureMode,
        serial: u64,
    ) -> Result<(), Failure> {
        let attached = self.attach_ingress(ifindex, ifname, mode)?;
        let ingress = match self.keep_ingress(ifindex, attached) {
            Ok(ingress) => ingress,
            // Without a pin, then.
            Err(()) => self.attach_ingress(ifindex, ifname, mode)?,
        };
        let ingress = Some(ingress);
        let mut egress = None;
        if let Some(before) = self.links.remove(&ifindex) {
            egress = before.egress;
            if let Err(error) = self.detach_ingress(before.ingress) {
                log::error!("{ifname}: {}", chain(&error));
            }
        }
        let egress = self.reattach_egress(ifindex, ifname, egress);
        self.links.insert(ifindex, Attached { ingress, serial, egress });
        Ok(())
    }

    /// Attaches in one mode, or says why not.
    fn attach_ingress(
        &mut self,
        ifindex: u32,
        ifname: &str,
        mode: CaptureMode,
    ) -> Result<Ingress, Failure> {
        if let Some(why) = self.without.as_ref().filter(|_| mode != CaptureMode::Raw) {
            return Err(Failure::Refused(why.clone()));
        }
        let xdp_mode = match mode {
            CaptureMode::Native => XdpMode::Driver,
            CaptureMode::Generic => XdpMode::Skb,
            CaptureMode::Tc => {
                return self.attach_tc(ifname).map(Ingress::Tc);
            }
            CaptureMode::Raw => return Ok(Ingress::Raw),
        };
        if let Some(why) = &self.xdp_refused {
            return Err(Failure::Refused(format!("XDP is refused: {why}")));
        }
        let masked = if mode == CaptureMode::Native { Feature::Native } else { Feature::Generic };
        if self.masked.lacks(masked) {
            let why = Error::Masked(masked);
            return Err(Failure::Refused(format!("{} is refused: {why}", mode.title())));
        }
        let program = loaded(&mut self.ebpf).and_then(xdp);
        let program = program.map_err(|error| Failure::Refused(chain(&error)))?;
        program.attach_to_if_index(ifindex, xdp_mode).map(Ingress::Xdp).map_err(|error| {
            match errno(&error) {
                // In the same mode, in the other one (net/core/dev.c, dev_xdp_attach).
                Some(libc::EBUSY | libc::EEXIST) => Failure::Displaced(occupant(ifindex)),
                Some(_) | None => not_attached(mode, &error),
            }
        })
    }

    /// Pins the link of what captures, so that it goes on if this process is killed. Where that fails it is detached, and
    /// nothing is pinned from then on.
    fn keep_ingress(&mut self, ifindex: u32, ingress: Ingress) -> Result<Ingress, ()> {
        let Some(pins) = self.pins.as_ref().filter(|_| self.keeps) else { return Ok(ingress) };
        let kept = match ingress {
            Ingress::Xdp(link) => loaded(&mut self.ebpf).and_then(xdp).and_then(|program| {
                let link = pins.keep(
                    ifindex,
                    Direction::In,
                    program.take_link(link).map_err(program_error)?,
                )?;
                program.attach_to_link(link).map(Ingress::Xdp).map_err(program_error)
            }),
            Ingress::Tc(link) if self.tcx => loaded(&mut self.ebpf)
                .and_then(self::ingress)
                .and_then(|program| keep_tc(pins, program, ifindex, Direction::In, link))
                .map(Ingress::Tc),
            Ingress::Tc(link) => Ok(Ingress::Tc(link)),
            Ingress::Raw => {
                pins.remove_link(ifindex, Direction::In);
                Ok(Ingress::Raw)
            }
        };
        kept.map_err(|error| self.keeps_no_more(&error))
    }

    fn keep_egress(
        &mut self,
        ifindex: u32,
        link: SchedClassifierLinkId,
    ) -> Result<SchedClassifierLinkId, ()> {
        let Some(pins) = self.pins.as_ref().filter(|_| self.keeps && self.tcx) else {
            return Ok(link);
        };
        let kept = loaded(&mut self.ebpf)
            .and_then(egress)
            .and_then(|program| keep_tc(pins, program, ifindex, Direction::Out, link));
        kept.map_err(|error| self.keeps_no_more(&error))
    }

    fn keeps_no_more(&mut self, error: &Error) {
        self.keeps = false;
        let lack = format!(
            "links cannot be pinned, and programs leave with a daemon that is killed: {}",
            chain(error)
        );
        log::warn!("{lack}");
        self.lacks.push(lack);
    }

    /// Removes the pins of the links of an interface.
    fn remove_link(&self, ifindex: u32, ways: &[Direction]) {
        for way in ways {
            self.pins.iter().for_each(|pins| pins.remove_link(ifindex, *way));
        }
    }

    fn attach_tc(&mut self, ifname: &str) -> Result<SchedClassifierLinkId, Failure> {
        if let Some(why) = &self.tc_refused {
            return Err(Failure::Refused(format!("tc is refused: {why}")));
        }
        let failed = |error: Error| not_attached(CaptureMode::Tc, &error);
        let options = self.tc_options(ifname).map_err(failed)?;
        let program = loaded(&mut self.ebpf).and_then(ingress).map_err(failed)?;
        let attached = program.attach_with_options(ifname, TcAttachType::Ingress, options);
        attached.map_err(|error| not_attached(CaptureMode::Tc, &error))
    }

    /// How tc programs are attached: ahead of others, as one that ends the chain must not hide what it passes. Without tcx
    /// they take a qdisc, which is added if need be.
    fn tc_options(&self, ifname: &str) -> Result<TcAttachOptions, Error> {
        if self.tcx {
            return Ok(TcAttachOptions::TcxOrder(LinkOrder::first()));
        }
        if self.masked.lacks(Feature::Clsact) {
            return Err(Error::Masked(Feature::Clsact));
        }
        match tc::qdisc_add_clsact(ifname) {
            Err(tc::TcError::AlreadyAttached) | Ok(()) => {}
            Err(error) if errno(&error) == Some(libc::EEXIST) => {}
            Err(error) => return Err(program_error(error.into())),
        }
        let (priority, handle) = (FILTER_PRIORITY, TcHandle::from(self.filter_handle));
        Ok(TcAttachOptions::Netlink(NlOptions { priority, handle, classid: None }))
    }

    /// Where our programs should be on an interface, as far as they were attached and the kernel can be asked for them.
    pub fn hooks(&self, ifindex: u32) -> Hooks {
        let ingress = self.links.get(&ifindex).and_then(|attached| self.hook_of(ifindex, attached));
        Hooks { ingress, egress: self.egress_hook(ifindex), displaced: None }
    }

    /// What must be on an interface for what leaves to be counted, as far as it was attached.
    fn egress_hook(&self, ifindex: u32) -> Option<Hook> {
        let attached = self.links.get(&ifindex).filter(|attached| attached.egress.is_some())?;
        let at = if self.tcx { HookPoint::TcxEgress } else { self.filter(true) };
        Some(Hook {
            iface: InterfaceId::own(ifindex),
            at,
            program: self.egress_id,
            serial: attached.serial,
        })
    }

    fn filter(&self, egress: bool) -> HookPoint {
        HookPoint::Filter { egress, priority: FILTER_PRIORITY, handle: self.filter_handle }
    }

    /// Puts the egress program back where somebody else has replaced or detached it, or leaves it at that.
    pub fn mend_egress(&mut self, ifindex: u32, ifname: &str, attach: bool) {
        let Some(link) = self.links.get_mut(&ifindex).and_then(|at| at.egress.take()) else {
            return;
        };
        let link = if attach {
            self.reattach_egress(ifindex, ifname, Some(link))
        } else {
            self.remove_link(ifindex, &[Direction::Out]);
            // There is another program in it, or none.
            let _ = loaded(&mut self.ebpf).and_then(egress).map(|program| program.detach(link));
            None
        };
        if let Some(attached) = self.links.get_mut(&ifindex) {
            attached.egress = link;
        }
    }

    fn hook_of(&self, ifindex: u32, attached: &Attached) -> Option<Hook> {
        let (at, program) = match attached.ingress.as_ref()? {
            Ingress::Xdp(_) => (HookPoint::Xdp, self.xdp_id),
            Ingress::Tc(_) if self.tcx => (HookPoint::Tcx, self.ingress_id),
            Ingress::Tc(_) => (self.filter(false), self.ingress_id),
            Ingress::Raw => return None,
        };
        Some(Hook { iface: InterfaceId::own(ifindex), at, program, serial: attached.serial })
    }

    /// Puts a program back where somebody else has replaced or detached it: a link of ours with another program in it takes
    /// ours again without a gap.
    ///
    /// # Errors
    ///
    /// It is to be attached anew; a link that was detached is closed.
    pub fn restore(&mut self, ifindex: u32, ifname: &str, serial: u64) -> Result<(), Failure> {
        let ingress = self.links.get_mut(&ifindex).and_then(|attached| attached.ingress.take());
        let again = self.restore_ingress(ingress);
        if again.is_err() {
            self.remove_link(ifindex, &[Direction::In]);
        }
        let again = again.map_err(|error| Failure::Refused(format!("{ifname}: {}", chain(&error))));
        if let Some(attached) = self.links.get_mut(&ifindex) {
            (attached.ingress, attached.serial) = (Some(again?), serial);
        }
        Ok(())
    }

    fn restore_ingress(&mut self, ingress: Option<Ingress>) -> Result<Ingress, Error> {
        match ingress.ok_or(Error::Missing("program on that interface"))? {
            Ingress::Xdp(link) => {
                let program = xdp(loaded(&mut self.ebpf)?)?;
                let link = program.take_link(link).and_then(|link| program.attach_to_link(link));
                link.map(Ingress::Xdp).map_err(program_error)
            }
            Ingress::Tc(link) => {
                let program = self::ingress(loaded(&mut self.ebpf)?)?;
                let link = program.take_link(link).and_then(|link| program.attach_to_link(link));
                link.map(Ingress::Tc).map_err(program_error)
            }
            Ingress::Raw => Ok(Ingress::Raw),
        }
    }

    /// The egress program where the ingress one was attached anew: by the link that it has, because the kernel attaches
    /// a program but once, and a closed link leaves only with every copy of its descriptor, which a script that is being
    /// started may have.
    fn reattach_egress(
        &mut self,
        ifindex: u32,
        ifname: &str,
        link: Option<SchedClassifierLinkId>,
    ) -> Option<SchedClassifierLinkId> {
        let kept = link.and_then(|link| {
            let program = loaded(&mut self.ebpf).and_then(egress).ok()?;
            let link = program.take_link(link).ok()?;
            program.attach_to_link(link).ok()
        });
        kept.or_else(|| {
            let link = self.attach_egress(ifname)?;
            // Without a pin, then.
            self.keep_egress(ifindex, link).ok().or_else(|| self.attach_egress(ifname))
        })
    }

    /// Attaches the egress program.
    fn attach_egress(&mut self, ifname: &str) -> Option<SchedClassifierLinkId> {
        if !self.counts_egress {
            return None;
        }
        let attached = match self.tc_options(ifname) {
            // There, a filter for what leaves would be one for what arrives (`ingress_tcf_block`, net/sched/sch_ingress.c).
            Ok(_) if !self.tcx && !netlink::has_clsact(ifname) => {
                log::warn!("{ifname}: {NOT_COUNTED}: it has the qdisc ingress, and not clsact");
                return None;
            }
            Ok(options) => loaded(&mut self.ebpf).and_then(egress).and_then(|program| {
                let attached = program.attach_with_options(ifname, TcAttachType::Egress, options);
                attached.map_err(program_error)
            }),
            Err(error) => Err(error),
        };
        match attached {
            Ok(link) => Some(link),
            Err(error) => {
                log::warn!("{ifname}: {NOT_COUNTED}: {}", chain(&error));
                None
            }
        }
    }

    /// Detaches the egress program from all interfaces for good, as the XDP program needs the file descriptors more, and
    /// says `why`.
    pub fn release_egress(&mut self, why: &str) {
        let there = self.links.iter_mut();
        let links = there.filter_map(|(ifindex, on)| Some((*ifindex, on.egress.take()?)));
        let links: Vec<_> = links.collect();
        self.counts_egress = false;
        let lack = format!("{NOT_COUNTED} any more: {why}");
        log::warn!("{lack}");
        self.lacks.push(lack);
        for (ifindex, link) in links {
            self.remove_link(ifindex, &[Direction::Out]);
            let detached = loaded(&mut self.ebpf)
                .and_then(egress)
                .and_then(|program| program.detach(link).map_err(program_error));
            if let Err(error) = detached {
                log::error!("{}", chain(&error));
            }
        }
    }

    /// Detaches the programs from an interface; nothing happens where they are not attached.
    ///
    /// # Errors
    ///
    /// [`Error::Program`].
    pub fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        let Some(attached) = self.links.remove(&ifindex) else { return Ok(()) };
        self.remove_link(ifindex, &[Direction::In, Direction::Out]);
        let ingress = self.detach_ingress(attached.ingress);
        // Whether or not the first one could be detached.
        let egress = match attached.egress {
            Some(link) => egress(loaded(&mut self.ebpf)?)?.detach(link).map_err(program_error),
            None => Ok(()),
        };
        ingress.and(egress)
    }

    fn detach_ingress(&mut self, attached: Option<Ingress>) -> Result<(), Error> {
        match attached {
            Some(Ingress::Xdp(link)) => {
                xdp(loaded(&mut self.ebpf)?)?.detach(link).map_err(program_error)
            }
            Some(Ingress::Tc(link)) => {
                ingress(loaded(&mut self.ebpf)?)?.detach(link).map_err(program_error)
            }
            Some(Ingress::Raw) | None => Ok(()),
        }
    }

    /// Adds a router, or replaces what it accepts.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when the maps were made for fewer routers.
    pub fn set_router(&mut self, key: &RouterKey, entry: &RouterEntry) -> Result<(), Error> {
        let entries = self.sizes.routers;
        if entry.slot >= self.slots.len() {
            return Err(Error::Full { name: ROUTERS, entries });
        }
        self.routers.insert(ROUTERS, *key, *entry, entries)
    }

    /// Removes a router; nothing happens where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn remove_router(&mut self, key: &RouterKey) -> Result<(), Error> {
        self.routers.remove(ROUTERS, key)
    }

    /// Lets the router at `index` hear a unicast peer, if it listens to its peers only ([`transport::PEERS`]).
    ///
    /// [`transport::PEERS`]: vrrp_common::maps::transport::PEERS
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when the map was made for fewer peers.
    pub fn allow(&mut self, index: u32, peer: IpAddr, range: TtlRange) -> Result<(), Error> {
        let key = PeerKey { slot: index, source: to_field(peer) };
        self.allowed.insert(ALLOWED, key, range, allowed_entries(self.sizes))
    }

    /// Ends what [`Self::allow`] began; nothing happens where it did not.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn disallow(&mut self, index: u32, peer: IpAddr) -> Result<(), Error> {
        let key = PeerKey { slot: index, source: to_field(peer) };
        self.allowed.remove(ALLOWED, &key)
    }

    /// The router that a key stands for, and what it accepts.
    pub fn router(&self, key: &RouterKey) -> Option<RouterEntry> {
        self.routers.get(key)
    }

    /// The TTLs that a unicast peer of a router may use, if it is one.
    pub fn allowed(&self, key: &PeerKey) -> Option<TtlRange> {
        self.allowed.get(key)
    }

    /// Counts what the daemon itself found out about a packet, as the kernel side does in `REASONS`.
    pub fn count_reason(&mut self, reason: Reason) {
        let index = counters::of_reason(reason);
        let before = self.counters.load(index, 0).unwrap_or_default();
        // Past the end of a map of that size there is none.
        let _ = self.counters.store(index, 0, before.wrapping_add(1));
    }

    /// Notes an advertisement that the daemon itself found right, or refused, in the slot of its router.
    pub fn note_in_slot(&mut self, index: u32, at: u64, accepted: bool) {
        let field = if accepted { SLOT_ADVERTS } else { SLOT_REFUSED };
        let before = self.slots.load(index, field).unwrap_or_default();
        let _ = self.slots.store(index, field, before.wrapping_add(1));
        if accepted {
            let _ = self.slots.store(index, SLOT_LAST_SEEN, at);
        }
    }

    /// Notes who sent an advertisement that the daemon itself found right.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn note_peer(&mut self, key: PeerKey, at: u64, priority: u8) -> Result<(), Error> {
        self.peers.note(key, at, priority)
    }

    /// The leases of the routers, where there are any.
    pub fn leases(&self) -> Option<&Leases> {
        self.leases.as_ref()
    }

    /// Where to say which sockets advertisements are sent by, once.
    pub fn take_senders(&mut self) -> Option<MmapArray<u64>> {
        self.senders.take()
    }

    /// Starts to count what arrives for an address of the router at `index` and leaves from it. Adding it again keeps the
    /// counters.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when the map was made for fewer addresses.
    pub fn add_vip(&mut self, vip: &InterfaceAddr, index: u32) -> Result<(), Error> {
        self.vips.as_mut().map_or(Ok(()), |vips| vips.add(vip, index))
    }

    /// Stops counting for an address and forgets its counters; nothing happens where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn remove_vip(&mut self, vip: &InterfaceAddr) -> Result<(), Error> {
        self.vips.as_mut().map_or(Ok(()), |vips| vips.remove(vip))
    }

    /// Starts to watch for ARP or neighbour discovery by which another host claims an address that we now hold, or
    /// renews what is known of it.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when the map was made for fewer addresses.
    pub fn hold(&mut self, vip: &InterfaceAddr, held: &Held) -> Result<(), Error> {
        self.vips.as_mut().map_or(Ok(()), |vips| vips.hold(vip, held))
    }

    /// Ends what [`Self::hold`] began; nothing happens where it did not.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn release(&mut self, vip: &InterfaceAddr) -> Result<(), Error> {
        self.vips.as_mut().map_or(Ok(()), |vips| vips.release(vip))
    }

    /// As [`Self::release`], for all addresses on an interface that is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn release_interface(&mut self, ifindex: u32) -> Result<(), Error> {
        self.vips.as_mut().map_or(Ok(()), |vips| vips.release_interface(ifindex))
    }

    /// What the kernel side knows about the router at `index`; zeros past the end.
    pub fn slot(&self, index: u32) -> Slot {
        self.slots.get(index).unwrap_or_default()
    }

    /// The last advertisement of the master of the router at `index`; `None` for never.
    pub fn master_seen(&self, index: u32) -> Option<MasterSeen> {
        self.slots.load(index, SLOT_MASTER_SEEN).and_then(MasterSeen::unpack)
    }

    /// Tells the kernel side which advertisement for the router at `index` need not be reported again, by its
    /// [`RxEvent::digest`]; 0 for none.
    ///
    /// [`RxEvent::digest`]: vrrp_common::event::RxEvent::digest
    ///
    /// # Errors
    ///
    /// [`Error::Full`] past the end.
    pub fn set_ack(&mut self, index: u32, digest: u64) -> Result<(), Error> {
        self.store_in_slot(index, SLOT_ACK, digest)
    }

    /// Tells the kernel side which advertisements can change anything for the router at `index`. What arrives after the
    /// return is judged by this filter.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] past the end.
    pub fn set_filter(&mut self, index: u32, filter: ReportFilter) -> Result<(), Error> {
        self.store_in_slot(index, SLOT_FILTER, filter.pack())?;
        // Without it, the store may still be under way when the caller looks at the clock.
        fence(Ordering::SeqCst);
        Ok(())
    }

    fn store_in_slot(&mut self, index: u32, offset: usize, word: u64) -> Result<(), Error> {
        if self.slots.store(index, offset, word) {
            Ok(())
        } else {
            Err(Error::Full { name: SLOTS, entries: self.slots.len() })
        }
    }

    /// What sources are told apart by in a [`ReportFilter`] ([`vrrp_common::report::source_tag`]).
    pub fn source_key(&self) -> u64 {
        self.source_key
    }

    /// The key of [`vrrp_common::receive::digest`].
    pub fn digest_key(&self) -> u64 {
        self.source_key
    }

    /// Publishes what the daemon knows about the router at `index`.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] past the end.
    pub fn write_info(&mut self, index: u32, info: &RouterInfo) -> Result<(), Error> {
        if self.info.set(index, info) {
            Ok(())
        } else {
            Err(Error::Full { name: INFO, entries: self.info.len() })
        }
    }

    /// Changes what the daemon publishes about the router at `index`. There is no other copy of it.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] past the end.
    pub fn update_info(
        &mut self,
        index: u32,
        change: impl FnOnce(&mut RouterInfo),
    ) -> Result<(), Error> {
        let mut info = self.info.get(index).unwrap_or_default();
        change(&mut info);
        self.write_info(index, &info)
    }

    /// Advertisements of a router that were sent; `None` past the end.
    pub fn adverts_sent(&self, index: u32) -> Option<u64> {
        self.info.load(index, INFO_ADVERTS_SENT)
    }

    /// Counts an advertisement that the router at `index` sends: of all that is published what changes
    /// most often.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] past the end.
    pub fn count_advert(&mut self, index: u32) -> Result<(), Error> {
        let sent = self.adverts_sent(index).unwrap_or_default();
        if self.info.store(index, INFO_ADVERTS_SENT, sent.wrapping_add(1)) {
            Ok(())
        } else {
            Err(Error::Full { name: INFO, entries: self.info.len() })
        }
    }

    /// Counts something that the daemon refused or failed at; there is no other copy of the counter.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] past the end.
    pub fn count(&mut self, index: u32) -> Result<(), Error> {
        let before = self.counter(index);
        if self.counters.store(index, 0, before.wrapping_add(1)) {
            Ok(())
        } else {
            Err(Error::Full { name: COUNTERS, entries: DAEMON_COUNTERS })
        }
    }

    /// What [`Self::count`] has counted; 0 past the end.
    pub fn counter(&self, index: u32) -> u64 {
        self.counters.load(index, 0).unwrap_or_default()
    }

    /// Publishes who made the maps. Until then readers do not interpret them.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn write_control(&mut self, control: &Control) -> Result<(), Error> {
        if self.control.set(0, control) { Ok(()) } else { Err(Error::Missing(CONTROL)) }
    }

    /// The ring buffer, once. Within a tokio runtime, which must have I/O enabled.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] the second time, [`Error::Watch`].
    pub fn take_events(&mut self) -> Result<EventRing, Error> {
        if self.without.is_some() {
            return Ok(EventRing::silent());
        }
        let ring = self.events.take().ok_or(Error::Missing(EVENTS))?;
        EventRing::new(ring).map_err(Error::Watch)
    }

    /// Detaches everything and removes the pins, and their directory if it is then empty.
    ///
    /// # Errors
    ///
    /// [`Error::Pins`].
    pub fn unpin(&self) -> Result<(), Error> {
        let Some(dir) = self.pins.as_ref().map(Pins::dir) else { return Ok(()) };
        remove_pins(dir)?;
        match fs::remove_dir(dir) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
                ) =>
            {
                Err(Error::pins(dir)(error))
            }
            _ => Ok(()),
        }
    }

    /// The pins of the maps, as far as there are any.
    pub fn pins(&mut self) -> Option<&mut Pins> {
        self.pins.as_mut()
    }
}

/// Entries of `ALLOWED`. A reload lets peers in before it shuts others out: for a while there are those of both
/// configurations.
fn allowed_entries(sizes: Sizes) -> u32 {
    sizes.allowed.saturating_mul(2)
}

/// [`Datapath::filter_handle`], which is the same in all versions.
fn filter_handle(instance: &str) -> u32 {
    // FNV-1a.
    let hash = instance
        .bytes()
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // 0 would be any.
    hash | 1
}

/// Removes the filters that a daemon of an instance left when it was killed, on all interfaces, be they still configured
/// or not: without tcx, they stay.
pub fn remove_stale_filters(instance: &str) -> Vec<Result<StaleFilter, String>> {
    let removed = stale_filters(instance).into_iter().map(|filter| {
        let StaleFilter { interface, egress, handle } = &filter;
        let way = if *egress { TcAttachType::Egress } else { TcAttachType::Ingress };
        let handle = TcHandle::from(*handle);
        let left = SchedClassifierLink::attached(interface, way, FILTER_PRIORITY, handle, None);
        match left.map_err(ProgramError::from).and_then(|left| left.detach()) {
            Ok(()) => Ok(filter),
            Err(error) => Err(format!(
                "{interface}: a tc program of a daemon that was killed stays: {}",
                chain(&error)
            )),
        }
    });
    removed.collect()
}

fn tidy_filters(instance: &str) {
    for left in remove_stale_filters(instance) {
        match left {
            Ok(StaleFilter { interface, .. }) => {
                log::info!("{interface}: removed a tc program of a daemon that was killed");
            }
            Err(why) => log::warn!("{why}"),
        }
    }
}

/// A filter of an instance on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleFilter {
    /// Where.
    pub interface: String,
    /// Of what leaves.
    pub egress: bool,
    /// Its number among those of the same priority.
    pub handle: u32,
}

impl StaleFilter {
    /// The word of tc(8) for its direction.
    pub const fn direction(&self) -> &'static str {
        if self.egress { "egress" } else { "ingress" }
    }

    /// The command that removes it.
    pub fn removal(&self) -> String {
        let Self { interface, egress: _, handle } = self;
        let direction = self.direction();
        format!(
            "tc filter del dev {interface} {direction} protocol all pref {FILTER_PRIORITY} handle {handle:#x} bpf"
        )
    }
}

/// The filters of an instance on all interfaces.
pub fn stale_filters(instance: &str) -> Vec<StaleFilter> {
    let handle = filter_handle(instance);
    let interfaces = if_nameindex();
    let places = interfaces.iter().flatten().flat_map(|interface| {
        let name = interface.name().to_string_lossy().into_owned();
        [false, true].map(|egress| (interface.index(), name.clone(), egress))
    });
    let places: Vec<_> = places.collect();
    let hooks: Vec<_> = places
        .iter()
        .map(|&(ifindex, _, egress)| {
            let at = HookPoint::Filter { egress, priority: FILTER_PRIORITY, handle };
            // Whichever program it is.
            Hook { iface: InterfaceId::own(ifindex), at, program: 0, serial: 0 }
        })
        .collect();
    let Ok(mut inspector) = Inspector::open() else { return Vec::new() };
    let there = inspector.inspect(&hooks).into_iter().zip(places);
    let there = there.filter(|((_, state), _)| matches!(state, HookState::Lost(Some(_))));
    there.map(|(_, (_, interface, egress))| StaleFilter { interface, egress, handle }).collect()
}

/// Removes what a daemon pinned that was killed: how many links of programs, and how many maps.
///
/// # Errors
///
/// [`Error::Pins`] where that is not permitted.
pub fn remove_stale_pins(pins: &Path) -> Result<(usize, usize), Error> {
    let removed = remove_pins(pins)?;
    let _ = fs::remove_dir(pins);
    Ok(removed)
}

fn remove_pins(pins: &Path) -> Result<(usize, usize), Error> {
    let links = pins::remove_links(pins).map_err(Error::pins(pins))?;
    let mut maps = 0;
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

fn program_error(error: ProgramError) -> Error {
    Error::Program(Box::new(error))
}

fn loaded(ebpf: &mut Option<Ebpf>) -> Result<&mut Ebpf, Error> {
    ebpf.as_mut().ok_or(Error::NotWanted)
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    let program = ebpf.program_mut(XDP_PROGRAM).ok_or(Error::Missing(XDP_PROGRAM))?;
    program.try_into().map_err(program_error)
}

fn egress(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, Error> {
    classifier(ebpf, taken(ebpf, EGRESS))
}

fn ingress(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, Error> {
    classifier(ebpf, taken(ebpf, INGRESS))
}

/// Pins a link of a tc program, as [`Pins::keep`] does.
fn keep_tc(
    pins: &Pins,
    program: &mut SchedClassifier,
    ifindex: u32,
    way: Direction,
    link: SchedClassifierLinkId,
) -> Result<SchedClassifierLinkId, Error> {
    let link = program.take_link(link).map_err(program_error)?;
    let link = pins.keep(ifindex, way, link)?;
    program.attach_to_link(link).map_err(program_error)
}

/// Which of two programs the kernel took, else the first one.
fn taken(ebpf: &Ebpf, [first, second]: [&'static str; 2]) -> &'static str {
    let is_loaded = ebpf.program(second).is_some_and(|program| program.fd().is_ok());
    if is_loaded { second } else { first }
}

fn classifier<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, Error> {
    let program = ebpf.program_mut(name).ok_or(Error::Missing(name))?;
    program.try_into().map_err(program_error)
}

/// Why the kernel does not load a program.
fn refused(program: &'static str) -> impl FnOnce(ProgramError) -> Error {
    move |error| {
        let ProgramError::LoadError { io_error, verifier_log } = error else {
            return Error::Program(Box::new(error));
        };
        refusal(program, io_error, &verifier_log.to_string())
    }
}

fn refusal(program: &'static str, error: io::Error, log: &str) -> Error {
    /// Lines of the verifier's log that tell what it does not like.
    const LINES: usize = 12;
    // With a log it is the verifier who means that it would be permitted to somebody else.
    if error.raw_os_error() == Some(libc::EPERM) && log.trim().is_empty() {
        return not_permitted("load BPF programs");
    }
    if let Some(libc::EMFILE | libc::ENFILE) = error.raw_os_error() {
        return Error::Descriptors;
    }
    log::debug!("the verifier on the program {program}:\n{log}");
    let lines: Vec<&str> = log.lines().filter(|line| !is_statistics(line)).collect();
    let log = lines[lines.len().saturating_sub(LINES)..].join("\n");
    Error::Verifier { program, log, error }
}

/// Whether a line of the verifier's log is about its own work (`print_verification_stats`, kernel/bpf/verifier.c).
fn is_statistics(line: &str) -> bool {
    ["verification time", "stack depth", "processed ", "insns processed"]
        .iter()
        .any(|start| line.starts_with(start))
        || line.trim().is_empty()
}

fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(Error::Missing(name))?;
    map.try_into().map_err(Error::map(name))
}

fn mmap_array<T: bytemuck::Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<MmapArray<T>, Error> {
    let array: Array<MapData, PodValue<T>> = take(ebpf, name)?;
    MmapArray::map(array.map().fd(), array.len()).map_err(|error| Error::map(name)(error.into()))
}

fn or_full(name: &'static str, error: MapError, full: Error) -> Error {
    // E2BIG: kernel/bpf/hashtab.c, alloc_htab_elem.
    if errno(&error) == Some(libc::E2BIG) { full } else { Error::map(name)(error) }
}

fn or_absent(name: &'static str, result: Result<(), MapError>) -> Result<(), Error> {
    match result {
        Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(()),
        result => result.map_err(Error::map(name)),
    }
}

/// CPUs that a per-CPU value has room for.
fn cpus() -> Result<usize, Error> {
    aya::util::nr_cpus().map_err(|(path, source)| Error::Pins { path: path.into(), source })
}

/// Why an interface does not take a program in some mode.
fn not_attached(mode: CaptureMode, error: &(dyn StdError + 'static)) -> Failure {
    match errno(error) {
        Some(libc::EMFILE | libc::ENFILE) => Failure::Descriptors(Error::Descriptors.to_string()),
        Some(_) | None => {
            Failure::Refused(format!("{} is refused: {}", mode.title(), chain(error)))
        }
    }
}

/// Who is in the way of an XDP program, as far as the kernel tells.
fn occupant(ifindex: u32) -> String {
    match xdp_program_id(ifindex) {
        // Then a device above has one, and below it none is permitted any more.
        None => "XDP is taken by a program on a device above".to_owned(),
        Some(id) => format!("XDP is taken by another program ({})", program_name(id)),
    }
}

/// A program's number, and its name where we may ask for it.
pub fn program_name(id: u32) -> String {
    match name_of(id) {
        Some(name) => format!("id {id}, {name}"),
        None => format!("id {id}"),
    }
}

fn name_of(id: u32) -> Option<String> {
    let program = loaded_programs().flatten().find(|program| program.id() == id)?;
    named(&program).map(str::to_owned)
}

/// The name of a program, if it has one. Those of a daemon with the rights of the unit have none: aya finds out whether a
/// kernel knows names by a tracepoint program, which takes CAP_PERFMON.
fn named(program: &ProgramInfo) -> Option<&str> {
    program.name_as_str().filter(|name| !name.is_empty())
}

/// Number of the XDP program on an interface, whosever it is, and its name where it has one and we may ask for it.
pub fn xdp_program(ifindex: u32) -> Option<(u32, Option<String>)> {
    let id = xdp_program_id(ifindex)?;
    Some((id, name_of(id)))
}

/// What a kernel does with the programs.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Whether it compiles them (JIT): the setting `net.core.bpf_jit_enable` cannot be seen in every network namespace.
    pub compiled: bool,
    /// Why it refuses the XDP program, if it does: then tc is the only way to receive.
    pub xdp: Option<String>,
    /// Why it refuses the tc ingress program, if it does: then interfaces without XDP of their own lack it.
    pub ingress: Option<String>,
    /// Why it refuses the egress program, if it does: then the daemon works, and does not count what is sent.
    pub egress: Option<String>,
    /// Whether it refuses the tc programs that read packets in place, and takes those that copy their headers.
    pub copies: bool,
    /// What a daemon that is started here says that it lacks.
    pub lacks: Vec<String>,
    /// In how many steps its verifier went through each program, as far as it says so (Linux 5.16 and later).
    pub steps: Vec<(&'static str, u32)>,
}

/// Loads the kernel side as [`Datapath::load_without`] does, without pins, and forgets it at once.
///
/// # Errors
///
/// As [`Datapath::load`].
pub fn try_load(without: Without) -> Result<Trial, Error> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    let mut ebpf = load_object(&mut loader, without)?;
    let refused = load_programs(&mut ebpf, without)?;
    let copies = taken(&ebpf, INGRESS) != INGRESS_PROGRAM;
    let lacks = lacks(&refused, copies, has_tcx(without)?);
    let lacks = lacks.into_iter().map(|(_, lack)| lack).collect();
    let text = |error: Option<Error>| error.map(|error| chain(&error));
    let mut compiled = false;
    let mut steps = Vec::new();
    for name in [XDP_PROGRAM, taken(&ebpf, INGRESS), taken(&ebpf, EGRESS)] {
        // That which was refused has none.
        let Some(Ok(info)) = ebpf.program(name).map(Program::info) else { continue };
        compiled |= info.size_jitted() > 0;
        steps.extend(info.verified_instruction_count().map(|count| (name, count)));
    }
    let (xdp, ingress, egress) = (text(refused.xdp), text(refused.ingress), text(refused.egress));
    Ok(Trial { compiled, xdp, ingress, egress, copies, lacks, steps })
}

/// The number of a program; 0, which is none, for one that was refused.
fn program_id(ebpf: &Ebpf, name: &str) -> u32 {
    ebpf.program(name).and_then(|program| program.info().ok()).map_or(0, |info| info.id())
}

/// What the kernel has against programs; `None` for those that it takes.
struct Refused {
    xdp: Option<Error>,
    ingress: Option<Error>,
    egress: Option<Error>,
}

/// Makes the maps.
fn load_object(loader: &mut EbpfLoader<'_>, without: Without) -> Result<Ebpf, Error> {
    for all in [Feature::Bpf, Feature::RingBuffer] {
        if without.lacks(all) {
            return Err(Error::Masked(all));
        }
    }
    if without.lacks(Feature::LockedMemory) {
        // As for EPERM.
        return Err(not_permitted("make BPF maps"));
    }
    permit_maps();
    loader.load(OBJECT).map_err(not_loaded)
}

/// What a kernel lacks that has taken one of the programs that receive, in words, and how much that matters.
fn lacks(refused: &Refused, copies: bool, tcx: bool) -> Vec<(log::Level, String)> {
    use log::Level::{Info, Warn};
    let Refused { xdp, ingress, egress } = refused;
    let mut lacks = Vec::new();
    let refused = [
        (xdp, "XDP is not to be had, and advertisements are received by tc"),
        (ingress, "tc is not to be had for what XDP cannot receive"),
        (egress, NOT_COUNTED),
    ];
    for (error, means) in refused {
        if let Some(error) = error {
            lacks.push((Warn, format!("{means}: {}", chain(error))));
        }
    }
    if copies {
        let text = "the tc programs copy the headers, as the kernel permits nobody with these rights to read them in place";
        lacks.push((Info, text.to_owned()));
    }
    if !tcx {
        let text = "the kernel has no tcx (Linux 6.6 or later): clsact takes its place, and its filters outlive a daemon \
                    that is killed";
        lacks.push((Info, text.to_owned()));
    }
    lacks
}

/// Loads all programs. One of those that receive is enough, and nobody goes without a router for want of a counter.
/// Before Linux 5.18 XDP lacks the helpers for packets in fragments, and it is tc that receives.
fn load_programs(ebpf: &mut Ebpf, without: Without) -> Result<Refused, Error> {
    let xdp = if without.lacks(Feature::Xdp) {
        Some(Error::Masked(Feature::Xdp))
    } else {
        unless_refused(xdp(ebpf)?.load().map_err(refused(XDP_PROGRAM)))?
    };
    let ingress = load_classifier(ebpf, INGRESS, without, Feature::Ingress)?;
    let egress = load_classifier(ebpf, EGRESS, without, Feature::Egress)?;
    match (xdp, ingress) {
        // Against the last resort.
        (Some(_), Some(error)) => Err(error),
        (xdp, ingress) => Ok(Refused { xdp, ingress, egress }),
    }
}

/// Loads the first of two programs that the kernel takes.
fn load_classifier(
    ebpf: &mut Ebpf,
    [in_place, copying]: [&'static str; 2],
    without: Without,
    itself: Feature,
) -> Result<Option<Error>, Error> {
    if without.lacks(itself) {
        return Ok(Some(Error::Masked(itself)));
    }
    if !without.lacks(Feature::InPlace) {
        match unless_refused(classifier(ebpf, in_place)?.load().map_err(refused(in_place)))? {
            None => return Ok(None),
            Some(error) => log::debug!("{}", chain(&error)),
        }
    }
    unless_refused(classifier(ebpf, copying)?.load().map_err(refused(copying)))
}

/// What the kernel has against a program, unless it is something else that is wrong.
fn unless_refused(loaded: Result<(), Error>) -> Result<Option<Error>, Error> {
    match loaded {
        Ok(()) => Ok(None),
        Err(error @ Error::Verifier { .. }) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// Lets this process make maps of any size: before Linux 5.11 they count as locked memory. Who may not raise the limit for
/// good has as much as he may have; the unit has it raised.
fn permit_maps() {
    let (limit, unlimited) = (Resource::RLIMIT_MEMLOCK, libc::RLIM_INFINITY);
    if setrlimit(limit, unlimited, unlimited).is_err()
        && let Ok((_, hard)) = getrlimit(limit)
    {
        let _ = setrlimit(limit, hard, hard);
    }
}

/// Whether the kernel has tcx: whether it can list the programs of that kind on the loopback interface.
///
/// # Errors
///
/// [`Error::Program`] when it does not even say that it cannot.
pub fn has_tcx(without: Without) -> Result<bool, Error> {
    if without.lacks(Feature::Tcx) {
        return Ok(false);
    }
    match SchedClassifier::query_tcx("lo", TcAttachType::Egress) {
        Ok(_) => Ok(true),
        Err(error) if errno(&error) == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(Error::Program(Box::new(error))),
    }
}

fn not_loaded(error: EbpfError) -> Error {
    match errno(&error) {
        Some(libc::EPERM) => not_permitted("make BPF maps"),
        Some(libc::ENOSYS) => Error::NoSystemCall,
        Some(libc::EMFILE | libc::ENFILE) => Error::Descriptors,
        Some(_) | None => Error::Load(Box::new(error)),
    }
}

/// Whether one of our tc programs is on an interface, by whichever daemon; `None` where that cannot be told: without tcx,
/// where there are programs without a name, and to those who may not ask for a program by its number.
pub fn has_tc_program(ifname: &str) -> Option<bool> {
    let (_, programs) = SchedClassifier::query_tcx(ifname, TcAttachType::Ingress).ok()?;
    let names: Vec<_> = programs.iter().map(named).collect();
    let is_ours = names.iter().flatten().any(|name| INGRESS.contains(name));
    (is_ours || !names.contains(&None)).then_some(is_ours)
}

/// Asks rtnetlink which XDP program an interface runs.
fn xdp_program_id(ifindex: u32) -> Option<u32> {
    netlink::xdp_programs(&link(ifindex)?).next()
}

/// What rtnetlink says of an interface.
fn link(ifindex: u32) -> Option<LinkMessage> {
    let mut link = LinkMessage::default();
    link.header.index = ifindex;
    let answer = once::ask(RouteNetlinkMessage::GetLink(link)).ok()?;
    let Some(RouteNetlinkMessage::NewLink(link)) = once::read(&answer) else { return None };
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_that_there_is_no_bpf() {
        let pins = |number| {
            let source = io::Error::from_raw_os_error(number);
            Error::Pins { path: "/x".into(), source }.is_no_pins()
        };
        assert!(pins(libc::EACCES) && pins(libc::EROFS) && !pins(libc::EIO));
        assert!(Error::NoBpffs.is_no_pins() && !Error::NoBpffs.is_no_bpf());
        assert!(Error::Forbidden("x").is_no_bpf() && !Error::Forbidden("x").is_no_pins());
        // Whoever names a directory means it; files that are short are no reason to do without.
        for error in [Error::NotBpffs("/x".into()), Error::Descriptors] {
            assert!(!error.is_no_bpf() && !error.is_no_pins());
        }
    }

    #[test]
    fn a_refused_program_is_refused_for_what_the_kernel_says() {
        let refuse = |number, log: &str| {
            let error = io::Error::from_raw_os_error(number);
            chain(&refusal("vrrp_xdp", error, log))
        };
        let text = refuse(
            libc::EACCES,
            "0: (85) call 188\nR4 min value is negative\nprocessed 9 insns (limit 1000000)\n",
        );
        assert!(text.ends_with("\nR4 min value is negative"), "{text}");
        assert!(!text.contains("Linux"), "{text}");
        let text = refuse(libc::EINVAL, "");
        assert!(text.contains("Invalid argument") && text.contains("does not say why"), "{text}");
        // A verifier that wants another right than those that the daemon asks for.
        let text = refuse(libc::EPERM, "function calls are for root\n");
        assert!(text.ends_with("function calls are for root"), "{text}");
    }
}
