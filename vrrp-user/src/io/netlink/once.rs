//! Questions to the kernel by a socket of their own, each of which is waited for: for what is asked seldom.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use rtnetlink::packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

/// How long the kernel may take to answer. The answer is there when the question has been sent.
const PATIENCE: TimeVal = TimeVal::new(1, 0);

/// Asks, and waits for the answer, for [`read`]. It may wait for the routing lock of the kernel.
/// Errors: those of socket(2), sendmsg(2) and recvmsg(2). That the kernel refuses is an answer.
pub(in crate::io) fn ask(question: RouteNetlinkMessage) -> io::Result<Vec<u8>> {
    let socket = open(NETLINK_ROUTE)?;
    // Asked for a qdisc, the kernel tells everybody of it, and who asks only if he wants to hear it as well
    // (`qdisc_get_notify`, net/sched/sch_api.c).
    socket.send(&bytes(question, NLM_F_REQUEST | NLM_F_ECHO, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    Ok(answer)
}

/// A socket to a part of the kernel, on which nobody waits for longer than a second.
/// Errors: those of socket(2) and bind(2).
pub(super) fn open(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &PATIENCE)?;
    Ok(socket)
}

/// Asks for a list, and returns what can be read of it. Errors: those of [`ask`], and why the kernel refuses.
pub(super) fn list(question: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket = open(NETLINK_ROUTE)?;
    socket.send(&bytes(question, NLM_F_REQUEST | NLM_F_DUMP, 0), 0)?;
    let mut all = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        for message in messages::<RouteNetlinkMessage>(&answer) {
            let payload = message.ok().map(|message| message.payload);
            if let Some(NetlinkPayload::Done(_)) = payload {
                return Ok(all);
            }
            if let Some(NetlinkPayload::Error(error)) = payload {
                return Err(error.to_io());
            }
            if let Some(NetlinkPayload::InnerMessage(message)) = payload {
                all.push(message);
            }
        }
    }
}

/// Has something done. Errors: those of [`ask`], and why the kernel refuses.
pub(super) fn request(what: RouteNetlinkMessage) -> io::Result<()> {
    request_with(what, 0)
}

/// The same with further flags. Errors: the same.
pub(super) fn request_with(what: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let socket = open(NETLINK_ROUTE)?;
    socket.send(&bytes(what, NLM_F_REQUEST | NLM_F_ACK | flags, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer);
    if let NetlinkPayload::Error(error) = answer.map_err(io::Error::other)?.payload
        && error.code.is_some()
    {
        return Err(error.to_io());
    }
    Ok(())
}

/// What an answer says; `None` for a refusal, and for what cannot be read.
pub(in crate::io) fn read(answer: &[u8]) -> Option<RouteNetlinkMessage> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer).ok()?;
    if let NetlinkPayload::InnerMessage(body) = message.payload { Some(body) } else { None }
}

/// The messages in a datagram, as far as they can be read.
pub(super) fn messages<T: NetlinkDeserializable>(
    datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<T>, DecodeError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = (!rest.is_empty()).then(|| NetlinkMessage::deserialize(rest))?;
        // NLMSG_ALIGN: the next one begins at a multiple of four.
        let next = rest.first_chunk().and_then(|length| {
            let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
            rest.get(length.checked_next_multiple_of(4)?.max(4)..)
        });
        rest = next.unwrap_or_default();
        Some(message)
    })
}

/// A message of its own, with its header.
pub(in crate::io) fn bytes<T: NetlinkSerializable>(body: T, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.sequence_number = sequence;
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(body));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
