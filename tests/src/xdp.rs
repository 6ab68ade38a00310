//! Somebody else's XDP program.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::{Error, Host, Result};

/// Commands of bpf(2), `enum bpf_cmd` in linux/bpf.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
/// `BPF_PROG_TYPE_XDP` in linux/bpf.h.
const PROG_TYPE_XDP: u32 = 6;
/// `r0 = XDP_PASS; exit` as `struct bpf_insn` (host order is little endian on every supported machine).
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

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

impl Host {
    /// Attaches an XDP program called `foreign` that passes everything to `eth0`, as other software does.
    pub fn attach_foreign_xdp(&self) -> Result<()> {
        let license = c"GPL";
        let mut load = Load {
            prog_type: PROG_TYPE_XDP,
            insn_cnt: 2,
            insns: PASS.as_ptr() as u64,
            license: license.as_ptr() as u64,
            ..Load::default()
        };
        load.name[..7].copy_from_slice(b"foreign");
        let fd = bpf(BPF_PROG_LOAD, &load).map_err(Error::io("load an XDP program"))?;
        let fd = i32::try_from(fd).unwrap_or(-1);
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        let program = unsafe { OwnedFd::from_raw_fd(fd) };

        // iproute2 attaches by name in a bpffs; the pin is of no use afterwards.
        let path = self.lab().bpffs().join(format!("foreign-{}", self.name()));
        let name = CString::new(path.display().to_string())
            .map_err(|_| Error::Unexpected("a path with a NUL".into()))?;
        let fd = u32::try_from(program.as_raw_fd()).unwrap_or_default();
        let pin = Pin { pathname: name.as_ptr() as u64, fd, flags: 0 };
        bpf(BPF_OBJ_PIN, &pin).map_err(Error::io(format!("pin {path:?}")))?;
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
