//! The kernel side: loading, attaching, and the shared maps by name.
//!
//! [`Datapath`] is the daemon's; [`super::reader::Reader`] serves whoever wants to look, with or without
//! a daemon.

mod adoption;
mod attach;
mod error;
mod filters;
mod hmac;
mod interface_numbers;
mod leases;
mod load;
mod maps;
mod migrate;
mod others;
mod own;
mod pins;
mod senders;
mod signatures;
mod slots;
mod vips;
mod virtual_macs;
mod without;

use std::collections::{BTreeMap, HashMap as StdHashMap};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aya::maps::{MapData, RingBuf};
use aya::programs::{SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use vrrp_common::maps::{
    ALLOWED, BUDGETS_PER_ROUTER, CONTROL, CONTROL_REALTIME_OFFSET, COUNTERS, Control, EVENTS,
    HELD4, HELD6, HMAC_KEYS, HMAC_MARKS, HmacKey, HmacKeyId, INFO, INGRESS_PROGRAM, LEASES, PEERS,
    PeerKey, ROUTERS, RouterEntry, RouterInfo, RouterKey, SENDERS, SLOTS, SOURCE_KEY, Slot,
    TtlRange, VIPS4, VIPS6, VIRTUAL_MAC_SET, VIRTUAL_MACS,
};

pub use self::adoption::{other_owner, pin_facts};
use self::attach::Attached;
use self::error::brief;
pub(super) use self::error::errno;
pub use self::error::{Error, chain};
pub use self::filters::{StaleFilter, remove_stale_filters, stale_filters};
use self::filters::{filter_handle, tidy_filters};
pub use self::interface_numbers::{InterfaceNumbers, NumberedInterface};
pub use self::leases::Leases;
use self::load::{
    BUDGETS, INGRESS, Programs, Refused, allowed_entries, classifier, hmac_entries, lacks,
    load_object, load_programs, loaded, loader, peers, pin_programs, ring_bytes, sender_entries,
    taken, virtual_mac_entries, xdp,
};
pub use self::load::{OBJECT_DIGEST, Trial, begin, has_tcx, try_load};
pub(super) use self::maps::cpus;
use self::maps::{MapSource, mmap_array, take};
pub use self::migrate::{Before, unpin_maps};
pub use self::others::{has_tc_program, program_name, xdp_program};
pub use self::own::OwnMaps;
use self::own::{Entries, Peers};
use self::pins::{Direction, KEPT, PINNED, pin_kept, remove_pins};
pub use self::pins::{Pins, SharedMaps, bpffs, find_bpffs, remove_stale_pins};
pub use self::senders::Senders;
pub use self::signatures::{SignatureLoader, Signatures};
use self::slots::stored;
use self::vips::Vips;
use self::virtual_macs::VirtualMacs;
pub use self::virtual_macs::pinned_virtual_macs;
pub use self::without::{Feature, UnknownFeature, VARIABLE, Without};
use super::mmap_array::MmapArray;
use super::ring::EventRing;
use crate::api::problem::Limitation;
use crate::capture::{ModeSet, WITHOUT_PINS};
use crate::core::Sizes;

/// A loader for maps of these sizes, and programs with that [`SOURCE_KEY`].
fn sized_loader(sizes: Sizes, source_key: &u64) -> EbpfLoader<'_> {
    let mut loader = loader();
    loader.override_global(SOURCE_KEY, source_key, true);
    for name in [ROUTERS, SLOTS, LEASES, INFO] {
        loader.map_max_entries(name, sizes.routers);
    }
    loader.map_max_entries(BUDGETS, sizes.routers.saturating_mul(BUDGETS_PER_ROUTER));
    loader.map_max_entries(VIPS4, sizes.vips);
    loader.map_max_entries(VIPS6, sizes.vips6);
    loader.map_max_entries(PEERS, peers(sizes.routers));
    loader.map_max_entries(ALLOWED, allowed_entries(sizes));
    loader.map_max_entries(VIRTUAL_MACS, virtual_mac_entries(sizes));
    loader.map_max_entries(HMAC_KEYS, hmac_entries(sizes));
    loader.map_max_entries(HMAC_MARKS, hmac_entries(sizes));
    loader.map_max_entries(SENDERS, sender_entries(sizes));
    loader.map_max_entries(HELD4, sizes.vips);
    loader.map_max_entries(HELD6, sizes.vips6);
    loader.map_max_entries(EVENTS, ring_bytes(sizes.routers));
    loader
}

/// Has a loader use the maps that are pinned in a directory.
fn use_pinned(loader: &mut EbpfLoader<'_>, pins: &Path) {
    for name in PINNED.into_iter().chain(KEPT) {
        loader.map_pin_path(name, pins.join(name));
    }
}

/// Loads the object with maps of these sizes, or those that are pinned in the directory if a daemon is adopted; and its programs.
/// Returns also what the kernel has against those, and their [`SOURCE_KEY`].
fn load_anew(
    pins: Option<&Path>,
    sizes: Sizes,
    without: Without,
    adopts: bool,
) -> Result<(Ebpf, Refused, u64), Error> {
    // A number that nobody else knows: the standard library makes one for each of its hash maps.
    let source_key = RandomState::new().hash_one(());
    let mut loader = sized_loader(sizes, &source_key);
    if let Some(pins) = pins {
        fs::create_dir_all(pins).map_err(Error::pins(pins))?;
        if adopts {
            use_pinned(&mut loader, pins);
        } else {
            remove_pins(pins)?;
        }
    }
    let mut ebpf = load_object(&mut loader, without)?;
    let refused = load_programs(&mut ebpf, without)?;
    if let Some(pins) = pins {
        if !adopts {
            pin_kept(&ebpf, pins);
        }
        pin_programs(&mut ebpf, pins);
    }
    Ok((ebpf, refused, source_key))
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
    /// None without BPF, and so is the next one.
    programs: Option<Programs>,
    pins: Option<Pins>,
    /// Counters of virtual addresses, and who else claims them.
    pub vips: Vips,
    /// What numbers interfaces have in the maps.
    pub places: InterfaceNumbers,
    /// Why there is no BPF.
    without: Option<String>,
    maps: Maps,
    routers: Entries<RouterKey, RouterEntry>,
    peers: Peers,
    allowed: Entries<PeerKey, TtlRange>,
    hmac_keys: Entries<HmacKeyId, HmacKey>,
    hmac_marks: Entries<PeerKey, u64>,
    slots: MmapArray<Slot>,
    /// None without BPF: then there is nobody who could fence a router.
    leases: Option<Leases>,
    senders: Option<Senders>,
    virtual_macs: VirtualMacs,
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
    /// The modes whose programs check signatures, once that was tried.
    signature_modes: Option<ModeSet>,
    /// What else it lacks, in words.
    lacks: Vec<Limitation>,
    masked: Without,
    /// Whether links that a daemon has left which was killed are to be used.
    adopts: bool,
    /// Its filters, where there is no tcx.
    stale_filters: Vec<StaleFilter>,
}

impl Datapath {
    /// Loads the kernel side of an instance, with its pins in a directory, as [`Self::load_without`] does, or without pins
    /// where there is no place for them. Where there is no BPF, does without it, and says why. `adopts` is of the daemon
    /// whose maps that are pinned there go on to be used, which have these `sizes` and were looked at ([`pin_facts`]), and its links;
    /// and also its programs, if they are the same.
    /// Errors: what has nothing to do with BPF, or with a BPF that there is.
    pub fn open(
        instance: &str,
        pins: Result<PathBuf, Error>,
        sizes: Sizes,
        without: Without,
        adopts: Option<Control>,
    ) -> Result<Self, Error> {
        let loaded = match pins {
            Ok(pins) => match Self::load_and_tidy(instance, &pins, sizes, without, adopts) {
                Err(error) if error.is_no_pins() => {
                    Self::load_and_pin(instance, Err(&error), sizes, without, None)
                }
                loaded => loaded,
            },
            Err(error) if error.is_no_pins() => {
                Self::load_and_pin(instance, Err(&error), sizes, without, None)
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
    /// Errors: [`Error::Memory`].
    pub fn without_bpf(why: &Error, sizes: Sizes) -> Result<Self, Error> {
        let sizes = sizes.at_least_one();
        let why = format!("no BPF: {}", chain(why));
        let own = Arc::new(OwnMaps::new(sizes)?);
        Ok(Self {
            programs: None,
            pins: None,
            vips: Vips::default(),
            places: InterfaceNumbers::default(),
            routers: Entries::Own(StdHashMap::new()),
            peers: Peers::Own(Arc::clone(&own)),
            allowed: Entries::Own(StdHashMap::new()),
            hmac_keys: Entries::Own(StdHashMap::new()),
            hmac_marks: Entries::Own(StdHashMap::new()),
            slots: own.slots()?,
            leases: None,
            senders: None,
            virtual_macs: VirtualMacs::without_bpf(),
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
            signature_modes: Some(ModeSet::default()),
            lacks: Vec::new(),
            masked: Without::default(),
            adopts: false,
            stale_filters: Vec::new(),
        })
    }

    /// Loads the kernel side and pins its maps in the directory `pins`, which is made if need be, and whose name is that
    /// of the instance.
    ///
    /// Pins that a dead daemon left there are removed: the caller has made sure, by a lock, that no
    /// other daemon of this instance lives.
    /// Errors: Each says what to do about it.
    pub fn load(pins: &Path, sizes: Sizes) -> Result<Self, Error> {
        Self::load_without(pins, sizes, Without::default())
    }

    /// As [`Self::load`], on a kernel that is taken for one that lacks something.
    /// Errors: the same.
    pub fn load_without(pins: &Path, sizes: Sizes, without: Without) -> Result<Self, Error> {
        let instance = pins.file_name().unwrap_or_default().to_string_lossy();
        Self::load_and_tidy(&instance, pins, sizes, without, None)
    }

    fn load_and_tidy(
        instance: &str,
        pins: &Path,
        sizes: Sizes,
        without: Without,
        adopts: Option<Control>,
    ) -> Result<Self, Error> {
        let datapath = Self::load_and_pin(instance, Ok(pins), sizes, without, adopts);
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
        adopts: Option<Control>,
    ) -> Result<Self, Error> {
        let sizes = sizes.at_least_one();
        // Programs of the same object need not be verified again, which takes longer than all else.
        let is_same = |control: &Control| control.object == OBJECT_DIGEST;
        let adopted = match (&adopts, pins) {
            (Some(control), Ok(pins)) if is_same(control) && without == Without::default() => {
                Programs::pinned(pins).map(|found| (found, pins, control.source_key))
            }
            (Some(_) | None, Ok(_) | Err(_)) => None,
        };
        let (mut source, shared, refused, copies, source_key);
        if let Some((found, pins, key)) = adopted {
            (refused, copies, source_key) = (Refused::default(), found.1, key);
            shared = SharedMaps::pinned(pins)?;
            source = MapSource::Pins(pins.to_owned(), found.0);
        } else {
            let ebpf;
            (ebpf, refused, source_key) = load_anew(pins.ok(), sizes, without, adopts.is_some())?;
            copies = taken(&ebpf, INGRESS) != INGRESS_PROGRAM;
            shared = SharedMaps::of(&ebpf)?;
            source = MapSource::Object(Box::new(ebpf));
        }
        // Who may not load anything is told so first.
        let tcx = has_tcx(without)?;
        let lacks = lacks(&refused, copies, tcx);
        let no_pins = pins.err().map(|error| format!("no pins: {}", chain(error)));
        let (pins, maps) = match pins {
            Ok(pins) => {
                (Some(Pins::make(pins, shared, adopts.is_some())?), Maps::Pinned(pins.to_owned()))
            }
            Err(_) => (None, Maps::Unpinned(Arc::new(shared))),
        };
        for (level, lack) in &lacks {
            log::log!(*level, "{}", lack.text);
        }
        if let Some(why) = &no_pins {
            log::warn!("{why}; {WITHOUT_PINS}");
        }
        let mut left = Vec::new();
        if !tcx && adopts.is_some() {
            left = stale_filters(instance);
        } else if !tcx {
            tidy_filters(instance);
        }
        let mut datapath = Self {
            routers: Entries::Shared(take(&mut source, ROUTERS)?),
            vips: Vips::take(&mut source, sizes)?,
            places: InterfaceNumbers::default(),
            peers: Peers::Shared(take(&mut source, PEERS)?),
            allowed: Entries::Shared(take(&mut source, ALLOWED)?),
            hmac_keys: Entries::Shared(take(&mut source, HMAC_KEYS)?),
            hmac_marks: Entries::Shared(take(&mut source, HMAC_MARKS)?),
            slots: mmap_array(&mut source, SLOTS)?,
            leases: Some(Leases::take(&mut source)?),
            senders: Some(Senders::take(&mut source)?),
            virtual_macs: VirtualMacs::new(
                Entries::Shared(take(&mut source, VIRTUAL_MACS)?),
                mmap_array(&mut source, VIRTUAL_MAC_SET)?,
                virtual_mac_entries(sizes),
            ),
            info: mmap_array(&mut source, INFO)?,
            control: mmap_array(&mut source, CONTROL)?,
            counters: mmap_array(&mut source, COUNTERS)?,
            events: Some(take(&mut source, EVENTS)?),
            source_key,
            pins,
            maps,
            without: None,
            sizes,
            links: BTreeMap::new(),
            xdp_id: 0,
            ingress_id: 0,
            egress_id: 0,
            counts_egress: refused.egress.is_none(),
            keeps: true,
            tcx,
            filter_handle: filter_handle(instance),
            xdp_refused: refused.xdp.map(|error| brief(&error)),
            tc_refused: refused.ingress.map(|error| brief(&error)),
            no_pins,
            signature_modes: None,
            lacks: lacks.into_iter().map(|(_, lack)| lack).collect(),
            masked: without,
            adopts: adopts.is_some(),
            stale_filters: left,
            programs: None,
        };
        let mut programs = source.into_programs();
        // What aya keeps of an object is as much memory as hundreds of routers need.
        if let Some((pinned, _)) = datapath.pins.as_ref().and_then(|it| Programs::pinned(it.dir()))
        {
            programs = pinned;
        }
        [datapath.xdp_id, datapath.ingress_id, datapath.egress_id] = programs.ids();
        datapath.programs = Some(programs);
        Ok(datapath)
    }

    /// Whether links that a daemon has left which was killed are to be used.
    pub fn adopts(&self) -> bool {
        self.adopts
    }

    /// How many entries the maps have.
    pub fn sizes(&self) -> Sizes {
        self.sizes
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
    pub fn lacks(&self) -> &[Limitation] {
        &self.lacks
    }

    /// The XDP program, for `BPF_PROG_TEST_RUN`.
    /// Errors: [`Error::Missing`].
    pub fn program(&mut self) -> Result<&mut Xdp, Error> {
        loaded(&mut self.programs).and_then(xdp)
    }

    /// The tc ingress program, for `BPF_PROG_TEST_RUN`.
    /// Errors: [`Error::Missing`].
    pub fn ingress_program(&mut self) -> Result<&mut SchedClassifier, Error> {
        classifier(loaded(&mut self.programs)?, Direction::In)
    }

    /// Whether the kernel attaches tc programs by links, which go with the process.
    pub fn has_tcx(&self) -> bool {
        self.tcx
    }

    /// The egress program, for `BPF_PROG_TEST_RUN`.
    /// Errors: [`Error::Missing`].
    pub fn egress_program(&mut self) -> Result<&mut SchedClassifier, Error> {
        classifier(loaded(&mut self.programs)?, Direction::Out)
    }

    /// What sources are told apart by in a [`ReportFilter`] ([`vrrp_common::report::source_tag`]), and the key of
    /// [`vrrp_common::receive::digest`].
    pub fn source_key(&self) -> u64 {
        self.source_key
    }

    /// Publishes who made the maps. Until then readers do not interpret them.
    /// Errors: None at present.
    pub fn write_control(&mut self, control: &Control) -> Result<(), Error> {
        if self.control.set(0, control) { Ok(()) } else { Err(Error::Missing(CONTROL)) }
    }

    /// Tells the kernel side by how many nanoseconds the clock is ahead of its own.
    /// Errors: [`Error::Missing`].
    pub fn set_realtime_offset(&mut self, offset: u64) -> Result<(), Error> {
        stored(self.control.store(0, CONTROL_REALTIME_OFFSET, offset), CONTROL, 1)
    }

    /// The ring buffer, once. Within a tokio runtime, which must have I/O enabled.
    /// Errors: [`Error::Missing`] the second time, [`Error::Watch`].
    pub fn take_events(&mut self) -> Result<EventRing, Error> {
        if self.without.is_some() {
            return Ok(EventRing::silent());
        }
        let ring = self.events.take().ok_or(Error::Missing(EVENTS))?;
        EventRing::new(ring).map_err(Error::Watch)
    }

    /// Detaches everything and removes the pins, and their directory if it is then empty.
    /// Errors: [`Error::Pins`].
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
