//! Whether our programs are still where they were attached.
//!
//! Whoever detaches a link or puts another program into it (`bpf_link_detach`, `bpf_link_update`) causes no
//! notification: the kernel must be asked. It answers under its routing lock, so this is nothing for the engine's thread.

use std::io;
use std::time::Instant;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage, LinkXdp};
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::{ANSWER, once};
use crate::core::netlink::{Hook, HookPoint, HookState};

/// Interfaces that are asked about with one datagram: all answers must fit the usual receive buffer.
const TOGETHER: usize = 32;
/// More bytes than what the kernel says of one interface has without its statistics.
const ANSWER_LEN: usize = 32 << 10;

/// What to ask by netlink for a place on an interface; `None` where bpf(2) is to be asked.
fn question(at: HookPoint, ifindex: u32) -> Option<RouteNetlinkMessage> {
    /// `TC_H_CLSACT` with `TC_H_MIN_INGRESS` or `TC_H_MIN_EGRESS` (linux/pkt_sched.h).
    const INGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff2 };
    const EGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff3 };
    match at {
        HookPoint::Xdp => {
            let mut link = LinkMessage::default();
            link.header.index = ifindex;
            link.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
            Some(RouteNetlinkMessage::GetLink(link))
        }
        HookPoint::Filter { egress, priority, handle } => {
            let mut filter = TcMessage::default();
            filter.header.index = ifindex.cast_signed();
            filter.header.parent = if egress { EGRESS } else { INGRESS };
            filter.header.handle = handle.into();
            let protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
            filter.header.info = u32::from(priority) << 16 | u32::from(protocol);
            Some(RouteNetlinkMessage::GetTrafficFilter(filter))
        }
        HookPoint::Tcx | HookPoint::TcxEgress => None,
    }
}

/// A socket to ask on.
pub struct Inspector {
    socket: Socket,
    sequence: u32,
    answer: Vec<u8>,
}

impl Inspector {
    /// Opens it.
    /// Errors: those of socket(2), bind(2) and setsockopt(2).
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))?;
        Ok(Self { socket, sequence: 0, answer: Vec::new() })
    }

    /// How all of them are. Waits for the answers, bounded.
    pub fn inspect(&mut self, hooks: &[Hook]) -> Vec<(Hook, HookState)> {
        let began = Instant::now();
        let mut states = Vec::with_capacity(hooks.len());
        for hooks in hooks.chunks(TOGETHER) {
            if began.elapsed() >= ANSWER {
                states.extend(hooks.iter().map(|hook| (*hook, HookState::Unknown)));
                continue;
            }
            let found = self.ask(hooks);
            states.extend(hooks.iter().zip(found).map(|(hook, found)| {
                let state = match hook.at {
                    HookPoint::Tcx => chained(hook, BPF_TCX_INGRESS),
                    HookPoint::TcxEgress => chained(hook, BPF_TCX_EGRESS),
                    HookPoint::Xdp | HookPoint::Filter { .. } => found,
                };
                (*hook, state)
            }));
        }
        states
    }

    /// Asks for those of which netlink tells, in their order.
    fn ask(&mut self, hooks: &[Hook]) -> Vec<HookState> {
        let first = self.sequence.wrapping_add(1);
        let mut questions = Vec::new();
        let mut missing = 0;
        for hook in hooks {
            self.sequence = self.sequence.wrapping_add(1);
            if let Some(question) = question(hook.at, hook.iface.ifindex) {
                questions.extend(once::bytes(question, NLM_F_REQUEST, self.sequence));
                missing += 1;
            }
        }
        let mut found = vec![HookState::Unknown; hooks.len()];
        if missing == 0 {
            return found;
        }
        if let Err(error) = self.socket.send(&questions, 0) {
            log::debug!("cannot ask for the programs on interfaces: {error}");
            return found;
        }
        self.answer.reserve(ANSWER_LEN);
        while missing > 0 {
            self.answer.clear();
            match self.socket.recv(&mut self.answer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The receive timeout, or ENOBUFS: an answer found no room.
                Err(error) => {
                    log::debug!("the programs on interfaces: {error}");
                    break;
                }
            }
            let Ok(answer) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.answer)
            else {
                continue;
            };
            // Another number belongs to a question that was given up before.
            let place = answer.header.sequence_number.wrapping_sub(first) as usize;
            if let Some(hook) = hooks.get(place) {
                missing -= 1;
                found[place] = state(hook, &answer);
            }
        }
        found
    }
}

fn state(hook: &Hook, answer: &NetlinkMessage<RouteNetlinkMessage>) -> HookState {
    if let NetlinkPayload::Error(error) = &answer.payload {
        return match error.to_io().raw_os_error() {
            Some(libc::ENODEV) => HookState::LinkRemoved,
            // No such filter; nothing that filters could be in.
            Some(libc::ENOENT | libc::EINVAL) if matches!(hook.at, HookPoint::Filter { .. }) => {
                HookState::Lost(None)
            }
            Some(_) | None => HookState::Unknown,
        };
    }
    let NetlinkPayload::InnerMessage(message) = &answer.payload else { return HookState::Unknown };
    let programs: Vec<u32> = if let RouteNetlinkMessage::NewLink(link) = message {
        xdp_programs(link).collect()
    } else if let RouteNetlinkMessage::NewTrafficFilter(filter) = message {
        filter_programs(filter).collect()
    } else {
        return HookState::Unknown;
    };
    if programs.contains(&hook.program) {
        HookState::Intact
    } else {
        HookState::Lost(programs.first().copied())
    }
}

/// The number of the program of a filter.
fn filter_programs(filter: &TcMessage) -> impl Iterator<Item = u32> {
    let options = filter.attributes.iter().filter_map(|attribute| {
        if let TcAttribute::Options(options) = attribute { Some(options) } else { None }
    });
    options.flatten().filter_map(|option| {
        if let TcOption::Bpf(TcFilterBpfOption::ProgId(id)) = option { Some(*id) } else { None }
    })
}

/// Chains in `enum bpf_attach_type` (linux/bpf.h).
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// How a program is in such a chain of an interface. By a system call of ours, because aya's asks more than
/// the numbers, and for that needs CAP_SYS_ADMIN.
fn chained(hook: &Hook, attach_type: u32) -> HookState {
    /// `enum bpf_cmd` in linux/bpf.h.
    const BPF_PROG_QUERY: libc::c_long = 16;
    /// No chain is longer (`BPF_MPROG_MAX`, linux/bpf_mprog.h).
    const LONGEST: u32 = 64;

    /// `query` in `union bpf_attr`.
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

    let mut programs = [0_u32; LONGEST as usize];
    let mut query = Query {
        target_ifindex: hook.iface.ifindex,
        attach_type,
        prog_ids: programs.as_mut_ptr() as u64,
        count: LONGEST,
        ..Query::default()
    };
    // SAFETY: `query` is a live `repr(C)` copy of the part of `union bpf_attr` that this command takes, of the given size,
    // and the kernel writes `count` numbers at most to where it points, which outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>()) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENODEV) => HookState::LinkRemoved,
            // Nobody has ever attached anything there.
            Some(libc::ENOENT) => HookState::Lost(None),
            Some(_) | None => HookState::Unknown,
        };
    }
    let there = programs.get(..query.count as usize).unwrap_or(&programs);
    if there.contains(&hook.program) { HookState::Intact } else { HookState::Lost(None) }
}

/// The numbers of all XDP programs on an interface; one may be named twice.
pub(in crate::io) fn xdp_programs(link: &LinkMessage) -> impl Iterator<Item = u32> {
    let xdp = link.attributes.iter().filter_map(|attribute| {
        if let LinkAttribute::Xdp(xdp) = attribute { Some(xdp) } else { None }
    });
    // With programs of several modes the first of these is missing (rtnl_xdp_fill, net/core/rtnetlink.c).
    xdp.flatten().filter_map(|attribute| {
        if let LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) = attribute
        {
            Some(*id)
        } else {
            None
        }
    })
}

/// Whether an interface has an XDP program in the network stack, and not in its driver.
pub(in crate::io) fn is_xdp_generic(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| {
        let LinkAttribute::Xdp(xdp) = attribute else { return false };
        xdp.iter().any(|attribute| matches!(attribute, LinkXdp::SkbProgId(_)))
    })
}

/// Whether the qdisc in front of an interface's queues has filters for both directions, and not only for what arrives.
/// False where the kernel does not tell.
pub(in crate::io) fn has_clsact(ifname: &str) -> bool {
    /// `TC_H_CLSACT` (linux/pkt_sched.h), where `ingress` stands, too.
    const PARENT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };
    let mut question = TcMessage::default();
    let Some(ifindex) = if_nametoindex(ifname).ok().and_then(|index| i32::try_from(index).ok())
    else {
        return false;
    };
    question.header.index = ifindex;
    question.header.parent = PARENT;
    let answer = once::ask(RouteNetlinkMessage::GetQueueDiscipline(question));
    let Some(RouteNetlinkMessage::NewQueueDiscipline(found)) =
        answer.ok().and_then(|answer| once::read(&answer))
    else {
        return false;
    };
    found.attributes.iter().any(|one| matches!(one, TcAttribute::Kind(kind) if kind == "clsact"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::InterfaceId;

    /// The loopback interface has no XDP program, unless somebody tests that.
    #[test]
    fn the_kernel_tells_what_is_there() {
        let mut inspector = Inspector::open().unwrap();
        let hook = |ifindex| Hook {
            iface: InterfaceId::own(ifindex),
            at: HookPoint::Xdp,
            program: u32::MAX,
            serial: 0,
        };
        // More than go into one datagram.
        let mut hooks = vec![hook(1); 3 * TOGETHER];
        hooks.push(hook(0x7fff_0000));
        let states = inspector.inspect(&hooks);
        assert_eq!(states.len(), hooks.len());
        let (last, loopback) = states.split_last().unwrap();
        assert_eq!(*last, (hook(0x7fff_0000), HookState::LinkRemoved));
        assert!(loopback.iter().all(|(_, state)| matches!(state, HookState::Lost(_))));
        // Of both kinds, by their places.
        let filter =
            Hook { at: HookPoint::Filter { egress: false, priority: 112, handle: 1 }, ..hook(1) };
        let states = inspector.inspect(&[hook(0x7fff_0000), filter]);
        assert_eq!(
            states,
            [(hook(0x7fff_0000), HookState::LinkRemoved), (filter, HookState::Lost(None))]
        );
    }

    #[test]
    fn a_program_of_any_mode_counts() {
        let answer = |xdp| {
            let mut link = LinkMessage::default();
            link.attributes.push(LinkAttribute::Xdp(xdp));
            NetlinkMessage::from(RouteNetlinkMessage::NewLink(link))
        };
        let hook = Hook { iface: InterfaceId::own(2), at: HookPoint::Xdp, program: 7, serial: 1 };
        assert_eq!(state(&hook, &answer(vec![LinkXdp::ProgId(7)])), HookState::Intact);
        let both = vec![LinkXdp::HwProgId(9), LinkXdp::SkbProgId(7)];
        assert_eq!(state(&hook, &answer(both)), HookState::Intact);
        assert_eq!(state(&hook, &answer(vec![LinkXdp::ProgId(8)])), HookState::Lost(Some(8)));
        assert_eq!(state(&hook, &answer(Vec::new())), HookState::Lost(None));
    }
}
