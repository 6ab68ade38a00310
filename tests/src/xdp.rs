//! BPF programs that do nothing: somebody else's on an interface, and what ours are measured against.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use crate::{Error, Host, Result};

/// Commands of bpf(2), `enum bpf_cmd` in linux/bpf.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;

/// A program of two instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyProgram {
    /// XDP that passes everything.
    Xdp,
    /// A traffic classifier that accepts everything.
    Classifier,
}

impl EmptyProgram {
    /// `enum bpf_prog_type` in linux/bpf.h.
    fn program_type(self) -> u32 {
        match self {
            Self::Xdp => 6,
            Self::Classifier => 3,
        }
    }

    /// `r0 = VERDICT; exit` as `struct bpf_insn` (host order is little endian on every supported machine).
    fn instructions(self) -> [u64; 2] {
        // `XDP_PASS` and `TC_ACT_OK`.
        let verdict: u64 = match self {
            Self::Xdp => 2,
            Self::Classifier => 0,
        };
        [verdict << 32 | 0xb7, 0x95]
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
}

/// The beginning of `union bpf_attr` for `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
    pathname: u64,
    fd: u32,
    flags: u32,
}

/// Loads an empty program of this name, at most 15 characters, and pins it at a path in a bpffs.
pub fn pin_empty_program(program: EmptyProgram, name: &str, path: &Path) -> Result<()> {
    let (license, instructions) = (c"GPL", program.instructions());
    let mut load = Load {
        prog_type: program.program_type(),
        insn_cnt: 2,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..Load::default()
    };
    // The last octet stays zero.
    for (to, from) in load.name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let fd = bpf(BPF_PROG_LOAD, &load).map_err(Error::io(format!("load {program:?}")))?;
    let fd = i32::try_from(fd).unwrap_or(-1);
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };

    let name = CString::new(path.display().to_string())
        .map_err(|_| Error::Unexpected("a path with a NUL".into()))?;
    let fd = u32::try_from(program.as_raw_fd()).unwrap_or_default();
    let pin = Pin { pathname: name.as_ptr() as u64, fd, flags: 0 };
    bpf(BPF_OBJ_PIN, &pin).map_err(Error::io(format!("pin {path:?}"))).map(drop)
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

    /// The ID of the XDP program on `eth0`, if there is one.
    pub fn xdp_program(&self) -> Result<Option<u64>> {
        let text = self.ip(&["-json", "link", "show", "dev", "eth0"])?;
        let links: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("ip: {error}: {text}")))?;
        Ok(links[0]["xdp"]["prog"]["id"].as_u64())
    }
}

/// bpf(2).
fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a live `repr(C)` beginning of `union bpf_attr` of the given size, the kernel takes
    // what is missing for zero, and its pointers are to data that the callers keep during the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attr, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
