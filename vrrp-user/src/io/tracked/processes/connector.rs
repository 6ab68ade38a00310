//! The kernel's process connector (linux/connector.h, linux/cn_proc.h): netlink messages about processes that
//! start, become another program, change their name, and end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rtnetlink::sys::{Socket, SocketAddr};
use socket2::{SockFilter, SockRef};

/// `NETLINK_CONNECTOR` (linux/netlink.h).
const PROTOCOL: isize = 11;
/// `CN_IDX_PROC` and `CN_VAL_PROC` (linux/connector.h); the former is the multicast group, too.
const PROC: u32 = 1;
/// `PROC_CN_MCAST_LISTEN` (linux/cn_proc.h).
const LISTEN: u32 = 1;
/// Bytes of `struct nlmsghdr` (linux/netlink.h).
const NETLINK_HEADER: usize = 16;
/// Bytes of `struct cn_msg` (linux/connector.h).
const CONNECTOR_HEADER: usize = 20;
/// Where `struct proc_event` begins in a message; its `what` is there.
const WHAT: usize = NETLINK_HEADER + CONNECTOR_HEADER;
/// Where its `event_data` begins.
const DATA: usize = WHAT + 16;
/// How long the kernel may take to say that it will.
const PATIENCE_MS: u16 = 1000;
/// Bytes that wait in the socket while the thread is busy: a few thousand events.
const BUFFER: usize = 1 << 20;

const NONE: u32 = 0;
const FORK: u32 = 1;
const EXEC: u32 = 2;
const COMM: u32 = 0x200;
const EXIT: u32 = 0x8000_0000;

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It started another one.
    Fork {
        /// Which.
        parent: u32,
        /// The new one.
        child: u32,
    },
    /// It is another program, or has another name.
    Changed(u32),
    /// It has ended.
    Exit(u32),
}

/// The socket.
pub struct Connector(Socket);

impl Connector {
    /// Asks the kernel to tell about processes.
    /// Errors: it does not, here.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(PROTOCOL)?;
        SockRef::from(&socket).attach_filter(&filter())?;
        socket.set_rx_buf_sz(i32::try_from(BUFFER).unwrap_or(i32::MAX))?;
        socket.bind(&SocketAddr::new(0, PROC))?;
        socket.send_to(&request(LISTEN), &SocketAddr::new(0, 0), 0)?;
        let connector = Self(socket);
        let mut waiting =
            [nix::poll::PollFd::new(connector.0.as_fd(), nix::poll::PollFlags::POLLIN)];
        // It answers the request; in another namespace nobody does.
        if nix::poll::poll(&mut waiting, PATIENCE_MS)? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the process connector is silent"));
        }
        connector.0.set_non_blocking(true)?;
        Ok(connector)
    }

    /// What has happened.
    /// Errors: `ENOBUFS` when something was lost.
    pub fn read(&mut self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        // Others must have a turn, too.
        for _ in 0..1024 {
            match self.0.recv_from_full() {
                Ok((message, _)) => events.extend(parse(&message)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }
}

impl AsFd for Connector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A message to the connector.
fn request(operation: u32) -> Vec<u8> {
    const NLMSG_DONE: u16 = 3;
    let payload = operation.to_ne_bytes();
    let length = NETLINK_HEADER + CONNECTOR_HEADER + payload.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
    message.extend(NLMSG_DONE.to_ne_bytes());
    message.extend(0_u16.to_ne_bytes()); // flags
    message.extend(0_u32.to_ne_bytes()); // sequence
    message.extend(std::process::id().to_ne_bytes());
    message.extend(PROC.to_ne_bytes());
    message.extend(PROC.to_ne_bytes());
    message.extend([0; 8]); // sequence, acknowledgement
    message.extend(u16::try_from(payload.len()).unwrap_or_default().to_ne_bytes());
    message.extend(0_u16.to_ne_bytes()); // flags
    message.extend(payload);
    message
}

/// Keeps, as a socket filter (linux/filter.h), what is about processes and about these events. Loads are in
/// network order, the message in that of the host.
fn filter() -> Vec<SockFilter> {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const EQUAL_X: u16 = 0x1d; // BPF_JMP | BPF_JEQ | BPF_X
    const TO_X: u16 = 0x07; // BPF_MISC | BPF_TAX
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let host = |number: u32| u32::from_be_bytes(number.to_ne_bytes());
    let at = |byte: usize| u32::try_from(byte).unwrap_or_default();
    let step = |code, t, f, k| SockFilter::new(code, t, f, k);
    vec![
        step(LOAD, 0, 0, at(WHAT)),
        step(EQUAL, 13, 0, host(EXEC)),
        step(EQUAL, 12, 0, host(COMM)),
        // What it answers to our request.
        step(EQUAL, 11, 0, host(NONE)),
        step(EQUAL, 5, 0, host(EXIT)),
        step(EQUAL, 0, 8, host(FORK)),
        // A child whose number is that of its process: otherwise it is another thread.
        step(LOAD, 0, 0, at(DATA + 8)),
        step(TO_X, 0, 0, 0),
        step(LOAD, 0, 0, at(DATA + 12)),
        step(EQUAL_X, 5, 4, 0),
        // The same of who has ended.
        step(LOAD, 0, 0, at(DATA)),
        step(TO_X, 0, 0, 0),
        step(LOAD, 0, 0, at(DATA + 4)),
        step(EQUAL_X, 1, 0, 0),
        step(RETURN, 0, 0, 0),
        step(RETURN, 0, 0, u32::MAX),
    ]
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// What one message says, if it is about a process.
fn parse(message: &[u8]) -> Option<Event> {
    let pid = |index: usize| number(message, DATA + 4 * index);
    match number(message, WHAT)? {
        FORK if pid(2)? == pid(3)? => Some(Event::Fork { parent: pid(1)?, child: pid(3)? }),
        EXEC => Some(Event::Changed(pid(1)?)),
        COMM if pid(0)? == pid(1)? => Some(Event::Changed(pid(0)?)),
        EXIT if pid(0)? == pid(1)? => Some(Event::Exit(pid(0)?)),
        _ => None,
    }
}
