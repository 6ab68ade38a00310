//! BPF programs that do nothing: somebody else's on an interface, and what ours are measured against.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{Error, Host, Result, VrrpUser};

/// Commands of bpf(2), `enum bpf_cmd` in linux/bpf.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;
const BPF_LINK_GET_NEXT_ID: libc::c_long = 31;
const BPF_LINK_DETACH: libc::c_long = 34;

/// More than the daemon takes for it after its start (`PATIENCE` in core/egress.rs), on a busy machine.
const EGRESS_COMES: Duration = Duration::from_secs(20);

/// A program that does nothing to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyProgram {
    /// XDP that passes everything.
    Xdp,
    /// The same, after a look at the clock by which leases go.
    Clock,
    /// A traffic classifier that accepts everything.
    Classifier,
}

impl EmptyProgram {
    /// `enum bpf_prog_type` in linux/bpf.h.
    fn program_type(self) -> u32 {
        match self {
            Self::Xdp | Self::Clock => 6,
            Self::Classifier => 3,
        }
    }

    /// `enum bpf_attach_type` in linux/bpf.h: a link takes only programs with the same one (`bpf_xdp_link_update`).
    fn attach_type(self) -> u32 {
        match self {
            Self::Xdp | Self::Clock => 37,
            Self::Classifier => 0,
        }
    }

    /// `r0 = VERDICT; exit` as `struct bpf_insn` (host order is little endian on every supported machine), with `XDP_PASS` and
    /// `TC_ACT_OK`; before that `call bpf_ktime_get_boot_ns` (125 in `enum bpf_func_id`).
    fn instructions(self) -> &'static [u64] {
        match self {
            Self::Xdp => &[2 << 32 | 0xb7, 0x95],
            Self::Clock => &[125 << 32 | 0x85, 2 << 32 | 0xb7, 0x95],
            Self::Classifier => &[0xb7, 0x95],
        }
    }
}

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The beginning of `union bpf_attr` for `BPF_OBJ_PIN` and `BPF_OBJ_GET`.
#[repr(C)]
struct Pin {
    pathname: u64,
    fd: u32,
    flags: u32,
}

/// The same for `BPF_LINK_GET_NEXT_ID`, `BPF_LINK_GET_FD_BY_ID` and `BPF_LINK_DETACH`: an ID or a descriptor.
#[repr(C)]
#[derive(Default)]
struct One {
    number: u32,
    next_id: u32,
    flags: u32,
}

/// The same for `BPF_LINK_CREATE`.
#[repr(C)]
#[derive(Default)]
struct Create {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u64,
    expected_revision: u64,
}

/// The same for `BPF_LINK_UPDATE`.
#[repr(C)]
#[derive(Default)]
struct Update {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// The same for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct GetInfo {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// The same for `BPF_PROG_QUERY`.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// `BPF_TCX_INGRESS`, `enum bpf_attach_type` in linux/bpf.h.
const INGRESS: u32 = 46;
/// `BPF_TCX_EGRESS`.
const EGRESS: u32 = 47;
/// Programs in a chain at most (`BPF_MPROG_MAX`, linux/bpf_mprog.h).
const CHAIN: usize = 64;

/// The beginning of `struct bpf_link_info`.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
}

/// Loads an empty program of this name, at most 15 characters.
fn load_empty_program(program: EmptyProgram, name: &str) -> Result<OwnedFd> {
    let (license, instructions) = (c"GPL", program.instructions());
    let mut load = Load {
        prog_type: program.program_type(),
        insn_cnt: u32::try_from(instructions.len()).unwrap_or_default(),
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type: program.attach_type(),
        ..Load::default()
    };
    // The last byte stays zero.
    for (to, from) in load.name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let fd = bpf(BPF_PROG_LOAD, &mut load).map_err(Error::io(format!("load {program:?}")))?;
    Ok(owned(fd))
}

/// Takes a descriptor that the kernel has just made.
fn owned(fd: libc::c_long) -> OwnedFd {
    let fd = i32::try_from(fd).unwrap_or(-1);
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn number(fd: &OwnedFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or_default()
}

/// Loads an empty program of this name, at most 15 characters, and pins it at a path in a bpffs.
pub fn pin_empty_program(program: EmptyProgram, name: &str, path: &Path) -> Result<()> {
    let program_fd = load_empty_program(program, name)?;
    let name = CString::new(path.display().to_string())
        .map_err(|_| Error::Unexpected("a path with a NUL".into()))?;
    let mut pin = Pin { pathname: name.as_ptr() as u64, fd: number(&program_fd), flags: 0 };
    bpf(BPF_OBJ_PIN, &mut pin).map_err(Error::io(format!("pin {path:?}"))).map(drop)
}

/// The link by which a program is attached.
fn link_of(program: u64) -> Result<OwnedFd> {
    let mut next = One::default();
    // The kernel writes the next ID behind the one that it is given, and fails after the last one.
    while bpf(BPF_LINK_GET_NEXT_ID, &mut next).is_ok() {
        next.number = next.next_id;
        let mut by_id = One { number: next.number, ..One::default() };
        // It may have gone meanwhile.
        let Ok(fd) = bpf(BPF_LINK_GET_FD_BY_ID, &mut by_id) else { continue };
        let (fd, mut info) = (owned(fd), LinkInfo::default());
        let info_len = u32::try_from(size_of::<LinkInfo>()).unwrap_or_default();
        let mut get = GetInfo { fd: number(&fd), info_len, info: &raw mut info as u64 };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &mut get).map_err(Error::io("ask for a link"))?;
        if u64::from(info.prog_id) == program {
            return Ok(fd);
        }
    }
    Err(Error::Unexpected(format!("no link of the program {program}")))
}

fn link_by_id(id: u32) -> Result<OwnedFd> {
    let mut by_id = One { number: id, ..One::default() };
    bpf(BPF_LINK_GET_FD_BY_ID, &mut by_id).map(owned).map_err(Error::io("open a link"))
}

/// The position to which a ring buffer was read, the first word of its memory (`consumer_pos`, kernel/bpf/ringbuf.c).
pub struct Ring(NonNull<AtomicU64>);

// SAFETY: the mapping belongs to this value alone, and is accessed through atomics only.
unsafe impl Send for Ring {}

impl Ring {
    const LENGTH: usize = size_of::<u64>();

    fn of(map: &OwnedFd) -> io::Result<Self> {
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, map.as_raw_fd());
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory.
        let at =
            unsafe { libc::mmap(ptr::null_mut(), Self::LENGTH, access, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(at.cast()).map(Self).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Moves it to where the kernel finds no room in the ring any more.
    pub fn stop(&mut self) {
        self.position().store(1 << 40, Ordering::Release);
    }

    /// Moves it into the record that was read last.
    pub fn skew(&mut self) {
        self.position().fetch_sub(8, Ordering::AcqRel);
    }

    fn position(&self) -> &AtomicU64 {
        // SAFETY: the mapping lives as long as this value, and others read and write the word as a whole, too.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping that `of` made; no reference into it outlives this value.
        unsafe {
            libc::munmap(self.0.as_ptr().cast(), Self::LENGTH);
        }
    }
}

impl Host {
    /// Attaches an XDP program called `foreign` that passes everything to `eth0`, as other software does.
    pub fn attach_foreign_xdp(&self) -> Result<()> {
        // iproute2 attaches by name in a bpffs; the pin is of no use afterwards.
        let path = self.lab().bpffs().join(format!("foreign-{}", self.name()));
        pin_empty_program(EmptyProgram::Xdp, "foreign", &path)?;
        self.ip(&["link", "set", "dev", "eth0", "xdp", "pinned", &path.display().to_string()])?;
        fs::remove_file(&path).map_err(Error::io(format!("remove {path:?}")))
    }

    /// Attaches such a program by a link, for as long as the descriptor lives. Nobody is told when it goes.
    pub fn link_foreign_xdp(&self) -> Result<OwnedFd> {
        let link = || {
            let target_ifindex =
                nix::net::if_::if_nametoindex("eth0").map_err(Error::errno("eth0"))?;
            let program = load_empty_program(EmptyProgram::Xdp, "foreign")?;
            let attach_type = EmptyProgram::Xdp.attach_type();
            let prog_fd = number(&program);
            let mut create = Create { prog_fd, target_ifindex, attach_type, ..Create::default() };
            bpf(BPF_LINK_CREATE, &mut create).map(owned).map_err(Error::io("attach to XDP"))
        };
        self.namespace().enter(link)?
    }

    /// Detaches the XDP program from `eth0`, whose link is somebody else's.
    pub fn detach_xdp(&self) -> Result<()> {
        let link = self.xdp_link()?;
        let mut detach = One { number: number(&link), ..One::default() };
        bpf(BPF_LINK_DETACH, &mut detach).map_err(Error::io("detach a link")).map(drop)
    }

    /// Puts a program called `foreign` that passes everything in place of the XDP program on `eth0`, by its link.
    pub fn replace_xdp(&self) -> Result<()> {
        let (link, program) = (self.xdp_link()?, load_empty_program(EmptyProgram::Xdp, "foreign")?);
        let mut update =
            Update { link_fd: number(&link), new_prog_fd: number(&program), ..Update::default() };
        bpf(BPF_LINK_UPDATE, &mut update).map_err(Error::io("update a link")).map(drop)
    }

    /// Fills the chain of programs at the ingress of `eth0`, so that nobody else's fits in, for as long as the descriptors
    /// live.
    pub fn fill_ingress(&self) -> Result<Vec<OwnedFd>> {
        let fill = || {
            let target_ifindex =
                nix::net::if_::if_nametoindex("eth0").map_err(Error::errno("eth0"))?;
            let mut links = Vec::new();
            loop {
                // A program is in the chain once.
                let program = load_empty_program(EmptyProgram::Classifier, "foreign")?;
                let prog_fd = number(&program);
                let mut create =
                    Create { prog_fd, target_ifindex, attach_type: INGRESS, ..Create::default() };
                match bpf(BPF_LINK_CREATE, &mut create) {
                    Ok(fd) => links.push(owned(fd)),
                    Err(error) if error.raw_os_error() == Some(libc::ERANGE) => return Ok(links),
                    Err(error) => return Err(Error::io("attach to tc")(error)),
                }
            }
        };
        self.namespace().enter(fill)?
    }

    /// The IDs of the links of the programs at the ingress of an interface.
    pub fn ingress_links(&self, interface: &str) -> Result<Vec<u32>> {
        self.tcx_links(interface, INGRESS)
    }

    /// The same at its egress.
    pub fn egress_links(&self, interface: &str) -> Result<Vec<u32>> {
        self.tcx_links(interface, EGRESS)
    }

    /// Waits for our program for what leaves an interface: where it receives by XDP, that one comes after the first
    /// advertisements, and counts and stops nothing before.
    pub fn wait_egress(&self, interface: &str) -> Result<()> {
        self.lab().wait_until(EGRESS_COMES, "the program for what leaves", || {
            Ok((!self.egress_links(interface)?.is_empty()).then_some(()))
        })
    }

    fn tcx_links(&self, interface: &str, attach_type: u32) -> Result<Vec<u32>> {
        Ok(self.tcx(interface, attach_type)?.into_iter().map(|(_, link)| link).collect())
    }

    /// The IDs of the programs of a chain, and of their links.
    fn tcx(&self, interface: &str, attach_type: u32) -> Result<Vec<(u32, u32)>> {
        let (mut programs, mut links) = ([0_u32; CHAIN], [0_u32; CHAIN]);
        let ask = || {
            let target_ifindex =
                nix::net::if_::if_nametoindex(interface).map_err(Error::errno(interface))?;
            let mut query = Query {
                target_ifindex,
                attach_type,
                prog_ids: programs.as_mut_ptr() as u64,
                count: u32::try_from(CHAIN).unwrap_or_default(),
                link_ids: links.as_mut_ptr() as u64,
                ..Query::default()
            };
            bpf(BPF_PROG_QUERY, &mut query).map_err(Error::io("ask for tc programs"))?;
            Ok(query.count as usize)
        };
        let count = self.namespace().enter(ask)??;
        Ok(programs.into_iter().zip(links).take(count).collect())
    }

    /// Detaches all programs from the ingress of `eth0`, whose links are somebody else's.
    pub fn detach_ingress(&self) -> Result<()> {
        Self::detach_links(self.ingress_links("eth0")?)
    }

    /// The same at its egress.
    pub fn detach_egress(&self) -> Result<()> {
        Self::detach_links(self.egress_links("eth0")?)
    }

    /// Puts programs called `foreign` in place of all at the ingress and egress of `eth0`, by their links.
    pub fn replace_tcx(&self) -> Result<()> {
        for id in [self.ingress_links("eth0")?, self.egress_links("eth0")?].concat() {
            let program = load_empty_program(EmptyProgram::Classifier, "foreign")?;
            let (link, new_prog_fd) = (link_by_id(id)?, number(&program));
            let mut update = Update { link_fd: number(&link), new_prog_fd, ..Update::default() };
            bpf(BPF_LINK_UPDATE, &mut update).map_err(Error::io("update a link"))?;
        }
        Ok(())
    }

    /// The same where they are filters on clsact, which keep their numbers.
    pub fn replace_filters(&self) -> Result<()> {
        let path = self.lab().bpffs().join(format!("foreign-{}", self.name()));
        pin_empty_program(EmptyProgram::Classifier, "foreign", &path)?;
        let pinned = path.display().to_string();
        for way in ["ingress", "egress"] {
            for handle in self.filters(way)? {
                let at = ["filter", "replace", "dev", "eth0", way, "protocol", "all", "pref", "1"];
                let with = ["handle", &handle, "bpf", "direct-action", "pinned", &pinned];
                self.namespace().run("tc", &[&at[..], &with[..]].concat())?;
            }
        }
        fs::remove_file(&path).map_err(Error::io(format!("remove {path:?}")))
    }

    /// Removes all filters from clsact on `eth0`.
    pub fn remove_filters(&self) -> Result<()> {
        for way in ["ingress", "egress"] {
            self.namespace().run("tc", &["filter", "delete", "dev", "eth0", way])?;
        }
        Ok(())
    }

    /// Removes clsact itself, and with it all filters.
    pub fn remove_clsact(&self) -> Result<()> {
        self.namespace().run("tc", &["qdisc", "delete", "dev", "eth0", "clsact"]).map(drop)
    }

    /// The numbers of the BPF filters on `ingress` or `egress` of `eth0`, as tc(8) writes them.
    fn filters(&self, way: &str) -> Result<Vec<String>> {
        let text = self.namespace().run("tc", &["filter", "show", "dev", "eth0", way])?;
        let words: Vec<_> = text.split_whitespace().collect();
        let after = words.windows(2).filter(|two| two[0] == "handle").map(|two| two[1].to_owned());
        Ok(after.collect())
    }

    /// The names of all programs of tc on `eth0`: what arrives, and what leaves.
    pub fn tc_programs(&self) -> Result<[Vec<String>; 2]> {
        let text = self.namespace().run("bpftool", &["--json", "net", "show", "dev", "eth0"])?;
        let all: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("bpftool: {error}: {text}")))?;
        let filters = all[0]["tc"].as_array().cloned().unwrap_or_default();
        let names = |way: &str, attach_type| -> Result<Vec<String>> {
            // Those of clsact; older bpftools know no others.
            let here = |it: &&serde_json::Value| {
                it["kind"].as_str().is_some_and(|kind| kind == format!("clsact/{way}"))
            };
            let here = filters.iter().filter(here);
            let mut names: Vec<_> =
                here.filter_map(|it| Some(it["name"].as_str()?.to_owned())).collect();
            for (program, _) in self.tcx("eth0", attach_type)? {
                let args = ["--json", "prog", "show", "id", &program.to_string()];
                let text = self.namespace().run("bpftool", &args)?;
                let program: serde_json::Value = serde_json::from_str(&text)
                    .map_err(|error| Error::Unexpected(format!("bpftool: {error}: {text}")))?;
                names.push(program["name"].as_str().unwrap_or_default().to_owned());
            }
            Ok(names)
        };
        Ok([names("ingress", INGRESS)?, names("egress", EGRESS)?])
    }

    fn detach_links(links: Vec<u32>) -> Result<()> {
        for id in links {
            let link = link_by_id(id)?;
            let mut detach = One { number: number(&link), ..One::default() };
            bpf(BPF_LINK_DETACH, &mut detach).map_err(Error::io("detach a link"))?;
        }
        Ok(())
    }

    /// Stops the ring buffer of a daemon of ours.
    pub fn stop_ring(&self) -> Result<()> {
        self.ring()?.stop();
        Ok(())
    }

    /// The ring buffer of a daemon of ours, as whoever may open its pin has it.
    pub fn ring(&self) -> Result<Ring> {
        let instance = VrrpUser::instance(self);
        let path = self.lab().bpffs().join("vrrp-user").join(instance).join("EVENTS");
        let name = CString::new(path.display().to_string())
            .map_err(|_| Error::Unexpected("a path with a NUL".into()))?;
        let mut get = Pin { pathname: name.as_ptr() as u64, fd: 0, flags: 0 };
        let map = bpf(BPF_OBJ_GET, &mut get).map(owned).map_err(Error::io(format!("{path:?}")))?;
        Ring::of(&map).map_err(Error::io("map a ring buffer"))
    }

    fn xdp_link(&self) -> Result<OwnedFd> {
        let program = self.xdp_program()?;
        link_of(program.ok_or_else(|| Error::Unexpected("no XDP program on eth0".into()))?)
    }

    /// The name of the XDP program on `eth0`; empty where there is none.
    pub fn xdp_name(&self) -> Result<String> {
        let text = self.ip(&["-json", "-details", "link", "show", "dev", "eth0"])?;
        let links: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("ip: {error}: {text}")))?;
        Ok(links[0]["xdp"]["prog"]["name"].as_str().unwrap_or_default().to_owned())
    }

    /// The ID of the XDP program on `eth0`, if there is one.
    pub fn xdp_program(&self) -> Result<Option<u64>> {
        let text = self.ip(&["-json", "link", "show", "dev", "eth0"])?;
        let links: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("ip: {error}: {text}")))?;
        Ok(links[0]["xdp"]["prog"]["id"].as_u64())
    }
}

/// bpf(2).
fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a live `repr(C)` beginning of `union bpf_attr` of the given size, the kernel takes
    // what is missing for zero, it may be written to, and its pointers are to data that the callers keep
    // during the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
