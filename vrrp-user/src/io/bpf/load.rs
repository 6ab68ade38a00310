//! Loading: the object, its programs, and what the running kernel takes of them.

use std::collections::BTreeMap;
use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aya::programs::{Program, ProgramError, SchedClassifier, TcAttachType, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_obj::programs::XdpAttachType;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use vrrp_common::maps::{
    COPYING_EGRESS_PROGRAM, COPYING_INGRESS_PROGRAM, EGRESS_PROGRAM, HMAC_XDP_PROGRAM,
    INGRESS_PROGRAM, XDP_PROGRAM,
};

use super::error::{Error, chain, errno, not_loaded, not_permitted, refused};
use super::pins::{Direction, PROGRAM, find_bpffs};
use super::without::{Feature, Without};
use crate::api::problem::{Limitation, LimitationKind};
use crate::core::Sizes;
use crate::types::instance::Instance;

/// The compiled kernel side.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("VRRP_EBPF_OBJECT"));

/// What tells the programs of this build from those of another one. Not reckoned at run time: a start is to be quick.
pub const OBJECT_DIGEST: u64 = match u64::from_str_radix(env!("VRRP_EBPF_DIGEST"), 16) {
    Ok(digest) => digest,
    Err(_) => panic!("the build script writes a number"),
};

/// The kernel side's own array of how much may be reported of each router.
pub(super) const BUDGETS: &str = "BUDGETS";

/// The tc programs, each in the order in which they are tried: what a verifier permits that is asked by a daemon without
/// CAP_PERFMON differs.
pub(super) const INGRESS: [&str; 2] = [INGRESS_PROGRAM, COPYING_INGRESS_PROGRAM];
pub(super) const EGRESS: [&str; 2] = [EGRESS_PROGRAM, COPYING_EGRESS_PROGRAM];

/// What does not work without the egress program.
pub(super) const NOT_COUNTED: &str = "packets sent from virtual addresses are not counted";

/// Bytes of the ring buffer: all routers that there is room for may be news at one instant, when their master
/// resigns for one. A power of two, as the kernel wants it.
pub(super) fn ring_bytes(routers: u32) -> u32 {
    /// An advertisement with two IPv4 addresses, and the record's header of eight bytes.
    const RECORD: u32 = 96;
    /// For the longest advertisements, and no less than a page of any machine.
    const LEAST: u32 = 64 << 10;
    routers.saturating_mul(RECORD).clamp(LEAST, 16 << 20).next_power_of_two()
}

/// A loader that is being made ([`begin`]).
static EARLY: Mutex<Option<JoinHandle<EbpfLoader<'static>>>> = Mutex::new(None);

/// Begins in a thread what the next load takes time for and needs nothing else: aya reads all that the kernel tells of its own
/// types (BTF), which is of no use here, for about as long as it takes to read the configuration of hundreds of routers.
/// Not where a daemon of the instance has pinned its programs: whoever adopts those loads nothing, and may have to do with
/// the memory that one had who was killed for want of it.
pub fn begin(bpffs: Option<&Path>, instance: &Instance) {
    let pins = find_bpffs(bpffs).map(|bpffs| instance.pins(&bpffs));
    if pins.is_ok_and(|pins| Programs::are_pinned(&pins)) {
        return;
    }
    let early = thread::Builder::new().spawn(EbpfLoader::new);
    *EARLY.lock().unwrap_or_else(PoisonError::into_inner) = early.ok();
}

/// A loader of the object, in which there is nothing that would have to be adapted to the running kernel.
pub(super) fn loader<'a>() -> EbpfLoader<'a> {
    let early = EARLY.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut loader = early.and_then(|early| early.join().ok()).unwrap_or_default();
    loader.btf(None);
    loader
}

/// Entries of the map of peers: two for each router, and what the kernel keeps ready on each CPU
/// (`LOCAL_FREE_TARGET` in kernel/bpf/bpf_lru_list.c), so that a silent peer is not forgotten too soon.
pub(super) fn peers(routers: u32) -> u32 {
    const PER_ROUTER: u32 = 2;
    const PER_CPU: u32 = 128;
    let cpus = aya::util::nr_cpus().ok().and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1);
    routers.saturating_mul(PER_ROUTER).saturating_add(cpus.saturating_mul(PER_CPU))
}

/// Entries of `ALLOWED`. A reload lets peers in before it shuts others out: for a while there are those of both
/// configurations.
pub(super) fn allowed_entries(sizes: Sizes) -> u32 {
    sizes.allowed.saturating_mul(2)
}

/// Keys of signed advertisements, and sources of such: room for four of each router. Only who has a key fills it.
pub(super) fn hmac_entries(sizes: Sizes) -> u32 {
    sizes.routers.saturating_mul(4)
}

/// How many sockets: three in the network namespace of the daemon, and in that of each router.
pub(super) fn sender_entries(sizes: Sizes) -> u32 {
    sizes.routers.saturating_add(1).saturating_mul(3)
}

/// How many virtual MAC addresses there may be: each router may have its own on its interface, and on that of each address.
pub(super) fn virtual_mac_entries(sizes: Sizes) -> u32 {
    // And one for each interface that has any.
    sizes.routers.saturating_add(sizes.vips).saturating_add(sizes.vips6).saturating_mul(2)
}

/// The programs.
pub(super) enum Programs {
    /// Of an object that was loaded, as far as the kernel took them.
    Loaded(Box<Ebpf>),
    /// Those that are pinned, by this daemon or one that was killed, of the same object: one of each.
    Pinned(Box<(Xdp, [SchedClassifier; 2])>),
}

impl Programs {
    /// The kernel's numbers of the XDP program and of the tc programs for what arrives and what leaves; 0, which is none, for
    /// one that was refused.
    pub(super) fn ids(&self) -> [u32; 3] {
        let id = |info: Result<aya::programs::ProgramInfo, ProgramError>| {
            info.map_or(0, |info| info.id())
        };
        match self {
            Self::Loaded(ebpf) => [XDP_PROGRAM, taken(ebpf, INGRESS), taken(ebpf, EGRESS)]
                .map(|name| ebpf.program(name).map_or(0, |program| id(program.info()))),
            Self::Pinned(programs) => {
                let (xdp, [ingress, egress]) = &**programs;
                [id(xdp.info()), id(ingress.info()), id(egress.info())]
            }
        }
    }

    /// Whether there are pins of some, whoever may use them.
    fn are_pinned(dir: &Path) -> bool {
        program_pin(dir, XDP_PROGRAM).exists()
    }

    /// Those that were pinned, if one of each was; and whether its tc programs copy headers.
    pub(super) fn pinned(dir: &Path) -> Option<(Self, bool)> {
        let path = |name: &str| program_pin(dir, name);
        let classifier = |names: [&str; 2]| {
            names.iter().find_map(|name| SchedClassifier::from_pin(path(name)).ok())
        };
        let xdp = Xdp::from_pin(path(XDP_PROGRAM), XdpAttachType::Interface).ok()?;
        let copies = path(COPYING_INGRESS_PROGRAM).exists();
        let programs = (xdp, [classifier(INGRESS)?, classifier(EGRESS)?]);
        Some((Self::Pinned(Box::new(programs)), copies))
    }
}

/// Where a program is pinned.
pub(super) fn program_pin(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{PROGRAM}{name}"))
}

/// Pins the programs that the kernel took, for a daemon that adopts them. It can do without.
pub(super) fn pin_programs(ebpf: &mut Ebpf, dir: &Path) {
    for (name, program) in ebpf.programs_mut() {
        let path = program_pin(dir, name);
        let _ = fs::remove_file(&path);
        if program.fd().is_ok()
            && let Err(error) = program.pin(&path)
        {
            log::debug!("program {name}: {}", chain(&error));
        }
    }
}

pub(super) fn loaded(programs: &mut Option<Programs>) -> Result<&mut Programs, Error> {
    programs.as_mut().ok_or(Error::NotWanted)
}

pub(super) fn xdp(programs: &mut Programs) -> Result<&mut Xdp, Error> {
    match programs {
        Programs::Loaded(ebpf) => object_xdp(ebpf),
        Programs::Pinned(programs) => Ok(&mut programs.0),
    }
}

fn object_xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    let program = ebpf.program_mut(XDP_PROGRAM).ok_or(Error::Missing(XDP_PROGRAM))?;
    Ok(program.try_into()?)
}

/// The one of two tc programs that the kernel took.
pub(super) fn classifier(
    programs: &mut Programs,
    way: Direction,
) -> Result<&mut SchedClassifier, Error> {
    match (programs, way) {
        (Programs::Loaded(ebpf), Direction::In) => named_classifier(ebpf, taken(ebpf, INGRESS)),
        (Programs::Loaded(ebpf), Direction::Out) => named_classifier(ebpf, taken(ebpf, EGRESS)),
        (Programs::Pinned(programs), Direction::In) => Ok(&mut programs.1[0]),
        (Programs::Pinned(programs), Direction::Out) => Ok(&mut programs.1[1]),
    }
}

/// Which of two programs the kernel took, else the first one.
pub(super) fn taken(ebpf: &Ebpf, [first, second]: [&'static str; 2]) -> &'static str {
    let is_loaded = ebpf.program(second).is_some_and(|program| program.fd().is_ok());
    if is_loaded { second } else { first }
}

fn named_classifier<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, Error> {
    let program = ebpf.program_mut(name).ok_or(Error::Missing(name))?;
    Ok(program.try_into()?)
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
    /// Why it refuses the program that checks signatures, if it does: then the daemon checks them.
    pub signatures: Vec<String>,
    /// Whether it refuses the tc programs that read packets in place, and takes those that copy their headers.
    pub copies: bool,
    /// What a daemon that is started here says that it lacks.
    pub lacks: Vec<String>,
    /// In how many steps its verifier went through each program, as far as it says so (Linux 5.16 and later).
    pub steps: Vec<(&'static str, u32)>,
}

/// Loads the kernel side as [`Datapath::load_without`] does, without pins, and forgets it at once.
/// Errors: As [`Datapath::load`].
pub fn try_load(without: Without) -> Result<Trial, Error> {
    let mut loader = loader();
    let mut ebpf = load_object(&mut loader, without)?;
    let refused = load_programs(&mut ebpf, without)?;
    let copies = taken(&ebpf, INGRESS) != INGRESS_PROGRAM;
    let lacks = lacks(&refused, copies, has_tcx(without)?);
    let lacks = lacks.into_iter().map(|(_, lack)| lack.text).collect();
    let text = |error: Option<Error>| error.map(|error| chain(&error));
    let mut compiled = false;
    let mut steps = Vec::new();
    let signatures = try_signatures(&mut ebpf, without, &refused)?;
    let programs = [XDP_PROGRAM, taken(&ebpf, INGRESS), taken(&ebpf, EGRESS)];
    for name in programs.into_iter().chain([HMAC_XDP_PROGRAM]) {
        // That which was refused has none.
        let Some(Ok(info)) = ebpf.program(name).map(Program::info) else { continue };
        compiled |= info.size_jitted() > 0;
        steps.extend(info.verified_instruction_count().map(|count| (name, count)));
    }
    let (xdp, ingress, egress) = (text(refused.xdp), text(refused.ingress), text(refused.egress));
    Ok(Trial { compiled, xdp, ingress, egress, signatures, copies, lacks, steps })
}

/// What it has against the program that checks signatures.
fn try_signatures(
    ebpf: &mut Ebpf,
    without: Without,
    others: &Refused,
) -> Result<Vec<String>, Error> {
    if without.lacks(Feature::Signatures) {
        return Ok(vec![Error::Masked(Feature::Signatures).to_string()]);
    }
    if others.xdp.is_some() {
        return Ok(vec!["XDP is not available".to_owned()]);
    }
    Ok(load_signatures(ebpf)?.iter().map(|error| chain(error)).collect())
}

/// What the kernel has against programs; `None` for those that it takes.
#[derive(Default)]
pub(super) struct Refused {
    pub xdp: Option<Error>,
    pub ingress: Option<Error>,
    pub egress: Option<Error>,
}

/// Makes the maps.
pub(super) fn load_object(loader: &mut EbpfLoader<'_>, without: Without) -> Result<Ebpf, Error> {
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
pub(super) fn lacks(refused: &Refused, copies: bool, tcx: bool) -> Vec<(log::Level, Limitation)> {
    use log::Level::{Info, Warn};
    let Refused { xdp, ingress, egress } = refused;
    let mut lacks = Vec::new();
    let refused = [
        (xdp, LimitationKind::NoXdp, "XDP is not available, and advertisements are received by tc"),
        (ingress, LimitationKind::NoIngress, "tc is not available for what XDP cannot receive"),
        (egress, LimitationKind::NoEgress, NOT_COUNTED),
    ];
    for (error, kind, means) in refused {
        if let Some(error) = error {
            let text = format!("{means}: {}", chain(error));
            lacks.push((Warn, Limitation { kind, text }));
        }
    }
    if copies {
        let text = "the tc programs copy the headers, as the kernel permits nobody with these rights to read them in place";
        let text = text.to_owned();
        lacks.push((Info, Limitation { kind: LimitationKind::CopiesHeaders, text }));
    }
    if !tcx {
        let text = "the kernel has no tcx (Linux 6.6 or later): clsact takes its place, and its filters outlive a daemon \
                    that is killed";
        let text = text.to_owned();
        lacks.push((Info, Limitation { kind: LimitationKind::NoTcx, text }));
    }
    lacks
}

/// Loads all programs. One of those that receive is enough, and nobody goes without a router for want of a counter.
/// Before Linux 5.18 XDP lacks the helpers for packets in fragments, and it is tc that receives.
pub(super) fn load_programs(ebpf: &mut Ebpf, without: Without) -> Result<Refused, Error> {
    let mut programs: BTreeMap<&str, &mut Program> = ebpf.programs_mut().collect();
    let mut take = |name| programs.remove(name).ok_or(Error::Missing(name));
    let xdp = take(XDP_PROGRAM)?.try_into()?;
    let ingress = [take(INGRESS[0])?.try_into()?, take(INGRESS[1])?.try_into()?];
    let egress = [take(EGRESS[0])?.try_into()?, take(EGRESS[1])?.try_into()?];
    // The verifier is most of what a start takes, and works for several at once.
    let (xdp, ingress, egress) = thread::scope(|scope| {
        let work = || load_xdp(xdp, without);
        let xdp = thread::Builder::new().spawn_scoped(scope, work).map_err(Error::Thread)?;
        let ingress = load_classifier(INGRESS, ingress, without, Feature::Ingress);
        let egress = load_classifier(EGRESS, egress, without, Feature::Egress);
        let xdp = xdp.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok::<_, Error>((xdp?, ingress?, egress?))
    })?;
    match (xdp, ingress) {
        // Against the last resort.
        (Some(_), Some(error)) => Err(error),
        (xdp, ingress) => Ok(Refused { xdp, ingress, egress }),
    }
}

fn load_xdp(program: &mut Xdp, without: Without) -> Result<Option<Error>, Error> {
    if without.lacks(Feature::Xdp) {
        return Ok(Some(Error::Masked(Feature::Xdp)));
    }
    unless_refused(unhurried(|| program.load()).map_err(refused(XDP_PROGRAM)))
}

/// Loads a program again where it was not the verifier who said no: it gives up when the thread has a signal to attend to
/// (`do_check`, kernel/bpf/verifier.c), and for want of memory. Each of these would pass for a kernel that lacks something.
fn unhurried(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    /// As many as libbpf makes (`PROG_LOAD_ATTEMPTS`).
    const ATTEMPTS: u32 = 5;
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 1..ATTEMPTS {
        match load() {
            Err(error) if matches!(errno(&error), Some(libc::EAGAIN | libc::ENOMEM)) => {
                log::debug!("loading a program again: {}", chain(&error));
                thread::sleep(PAUSE);
            }
            loaded => return loaded,
        }
    }
    load()
}

/// Loads the first of two programs that the kernel takes.
fn load_classifier(
    names: [&'static str; 2],
    [in_place, copying]: [&mut SchedClassifier; 2],
    without: Without,
    itself: Feature,
) -> Result<Option<Error>, Error> {
    if without.lacks(itself) {
        return Ok(Some(Error::Masked(itself)));
    }
    if !without.lacks(Feature::InPlace) {
        match unless_refused(unhurried(|| in_place.load()).map_err(refused(names[0])))? {
            None => return Ok(None),
            Some(error) => log::debug!("{}", chain(&error)),
        }
    }
    unless_refused(unhurried(|| copying.load()).map_err(refused(names[1])))
}

/// Loads the program that checks signatures. What the kernel has against it, if anything.
pub(super) fn load_signatures(ebpf: &mut Ebpf) -> Result<Option<Error>, Error> {
    let program = ebpf.program_mut(HMAC_XDP_PROGRAM).ok_or(Error::Missing(HMAC_XDP_PROGRAM))?;
    let program: &mut Xdp = program.try_into()?;
    unless_refused(unhurried(|| program.load()).map_err(refused(HMAC_XDP_PROGRAM)))
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
/// Errors: [`Error::Program`] when it does not even say that it cannot.
pub fn has_tcx(without: Without) -> Result<bool, Error> {
    if without.lacks(Feature::Tcx) {
        return Ok(false);
    }
    match SchedClassifier::query_tcx("lo", TcAttachType::Egress) {
        Ok(_) => Ok(true),
        Err(error) if errno(&error) == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn what_is_no_refusal_is_tried_again() {
        for (errno, most) in [(libc::EAGAIN, 5), (libc::ENOMEM, 5), (libc::EACCES, 1)] {
            for failures in 0..7 {
                let tried = Cell::new(0);
                let loaded = unhurried(|| {
                    tried.set(tried.get() + 1);
                    let io_error = io::Error::from_raw_os_error(errno);
                    let error = SyscallError { call: "bpf_prog_load", io_error };
                    if tried.get() > failures { Ok(()) } else { Err(error.into()) }
                });
                assert_eq!(loaded.is_ok(), failures < most, "{errno}, {failures}");
                assert_eq!(tried.get(), most.min(failures + 1), "{errno}, {failures}");
            }
        }
    }
}
