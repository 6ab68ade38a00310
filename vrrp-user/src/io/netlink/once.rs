//! One question to the kernel that has one answer, by a socket of its own: for what is asked seldom.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use rtnetlink::packet_core::{
    NLM_F_ECHO, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

/// How long the kernel may take to answer. The answer is there when the question has been sent.
const PATIENCE: TimeVal = TimeVal::new(1, 0);

/// Asks, and waits for the answer, for [`read`]. It may wait for the routing lock of the kernel.
/// Errors: those of socket(2), sendmsg(2) and recvmsg(2). That the kernel refuses is an answer.
pub(in crate::io) fn ask(question: RouteNetlinkMessage) -> io::Result<Vec<u8>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &PATIENCE)?;
    // Asked for a qdisc, the kernel tells everybody of it, and who asks only if he wants to hear it as well
    // (`qdisc_get_notify`, net/sched/sch_api.c).
    socket.send(&bytes(question, NLM_F_REQUEST | NLM_F_ECHO, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    Ok(answer)
}

/// What an answer says; `None` for a refusal, and for what cannot be read.
pub(in crate::io) fn read(answer: &[u8]) -> Option<RouteNetlinkMessage> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer).ok()?;
    if let NetlinkPayload::InnerMessage(body) = message.payload { Some(body) } else { None }
}

/// A message of its own, with its header.
pub(in crate::io) fn bytes(body: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.sequence_number = sequence;
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(body));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
