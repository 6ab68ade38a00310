//! Which programs are on an interface, whosever they are.

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};

use super::load::INGRESS;
use crate::io::netlink;

/// Who is in the way of an XDP program, as far as the kernel tells.
pub(super) fn occupant(ifindex: u32) -> String {
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
    netlink::xdp_programs(&netlink::link_message(ifindex)?).next()
}

/// Whether the XDP program on an interface runs in the network stack, and not in its driver; `None` where that cannot be
/// told.
pub(super) fn is_xdp_generic(ifindex: u32) -> Option<bool> {
    netlink::link_message(ifindex).as_ref().map(netlink::is_xdp_generic)
}
