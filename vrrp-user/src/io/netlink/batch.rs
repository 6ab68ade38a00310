//! Many requests in one system call.
//!
//! The kernel carries out what one `sendmsg(2)` holds before that returns, and has queued all answers by
//! then: thousands of addresses take tens of milliseconds. rtnetlink sends one request per datagram, and
//! keeps a task with a channel for each.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use rtnetlink::packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::promoted::Promoted;
use super::{
    ANSWER, Answer, Ask, Error, Object, RECEIVE_BUFFER, Request, RequestError, message, once, route,
};

/// Requests in one datagram. Their answers must fit the receive buffer, and whoever else waits for the
/// kernel's routing lock should get it now and then.
pub const BATCH: usize = 128;
/// The attribute of an address that tells who has put it there (linux/if_addr.h).
const IFA_PROTO: u16 = 11;
/// Bytes of the longest answer by far: with `NETLINK_CAP_ACK` it holds two headers and an error number.
const ANSWER_LEN: usize = 4096;

/// A socket for requests that are answered one by one.
pub struct Batch {
    socket: Socket,
    sequence: u32,
    out: Vec<u8>,
    answer: Vec<u8>,
}

impl AsFd for Batch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Batch {
    /// Opens it.
    /// Errors: those of socket(2), bind(2) and setsockopt(2).
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        let patience = TimeVal::new(1, 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
        // Without CAP_NET_ADMIN the default has to do; a lost answer is noticed.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        Ok(Self { socket, sequence: 0, out: Vec::new(), answer: Vec::with_capacity(ANSWER_LEN) })
    }

    /// Carries out requests in their order, none of them about [`Object::Refused`], and all about the network namespace of the
    /// socket, and waits for the answers, bounded.
    pub fn carry_out(&mut self, asks: &[Ask], promoted: &mut Promoted) -> Vec<Answer> {
        asks.chunks(BATCH).flat_map(|asks| self.datagram(asks, promoted)).collect()
    }

    /// Whether the kernel keeps the mark of an address (`IFA_PROTO`, since Linux 5.18). One that does finds fault with
    /// an empty one before it looks for an interface that is not there; one that does not passes it over.
    pub fn keeps_marks(&mut self) -> bool {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 32;
        message.attributes = vec![
            AddressAttribute::Local(Ipv4Addr::UNSPECIFIED.into()),
            AddressAttribute::Other(DefaultNla::new(IFA_PROTO, Vec::new())),
        ];
        self.sequence = self.sequence.wrapping_add(1);
        self.out = once::bytes(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_REQUEST | NLM_F_ACK,
            self.sequence,
        );
        let mut results = [None];
        if self.send().is_ok() {
            self.receive(self.sequence, &mut results);
        }
        let errno = results.into_iter().flatten().next().and_then(Result::err);
        errno.and_then(|error| error.errno()) != Some(libc::ENODEV)
    }

    fn datagram(&mut self, asks: &[Ask], promoted: &mut Promoted) -> Vec<Answer> {
        let first = self.sequence.wrapping_add(1);
        self.out.clear();
        let mut results: Vec<Option<Result<(), Error>>> = Vec::with_capacity(asks.len());
        for ask in asks {
            self.sequence = self.sequence.wrapping_add(1);
            if promoted.begin(ask, &self.socket) {
                results.push(Some(Ok(())));
            } else if append(&mut self.out, ask, self.sequence) {
                results.push(None);
            } else {
                let why = "no request about links, addresses, routes and rules".to_owned();
                results.push(Some(Err(Error::Protocol(why))));
            }
        }
        let sent = if self.out.is_empty() { Ok(()) } else { self.send() };
        match sent {
            Ok(()) => self.receive(first, &mut results),
            Err(error) => {
                let refused = || Err(Error::Send(io::Error::from(error.kind())));
                for result in results.iter_mut().filter(|result| result.is_none()) {
                    *result = Some(refused());
                }
            }
        }
        let answers = asks.iter().zip(results).map(|(ask, result)| {
            let result = result.unwrap_or(Err(Error::NoAnswer)).map_err(RequestError::from);
            promoted.end(ask, &result);
            Answer { request: ask.request, subject: ask.subject, result, ours: false }
        });
        answers.collect()
    }

    fn send(&self) -> io::Result<()> {
        loop {
            match self.socket.send(&self.out, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(|_| ()),
            }
        }
    }

    /// Collects the answers to the requests numbered from `first`. What is missing in the end was lost.
    fn receive(&mut self, first: u32, results: &mut [Option<Result<(), Error>>]) {
        let began = Instant::now();
        let mut missing = results.iter().filter(|result| result.is_none()).count();
        while missing > 0 && began.elapsed() < ANSWER {
            self.answer.clear();
            match self.socket.recv(&mut self.answer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The receive timeout, or ENOBUFS: an answer found no room.
                Err(error) => return log::debug!("netlink answers: {error}"),
            }
            for (sequence, result) in answers(&self.answer) {
                // Another number belongs to a request that was given up before.
                let place = results.get_mut(sequence.wrapping_sub(first) as usize);
                if let Some(place @ None) = place {
                    *place = Some(result);
                    missing -= 1;
                }
            }
        }
    }
}

/// Appends one request to a datagram (`struct nlmsghdr`, linux/netlink.h), if it is one for this kind of socket.
fn append(out: &mut Vec<u8>, ask: &Ask, sequence: u32) -> bool {
    let mut header = NetlinkHeader::default();
    header.sequence_number = sequence;
    let mut add = NLM_F_CREATE | NLM_F_EXCL;
    let body = match (&ask.object, ask.request) {
        (Object::Address(address), Request::Add) => {
            RouteNetlinkMessage::NewAddress(message(address))
        }
        (Object::Address(address), Request::Remove) => {
            RouteNetlinkMessage::DelAddress(message(address))
        }
        (Object::Route(request), Request::Add) => {
            add = route::insert_flags(request.route.insert);
            RouteNetlinkMessage::NewRoute(route::route_message(request, Request::Add))
        }
        (Object::Route(request), Request::Remove) => {
            RouteNetlinkMessage::DelRoute(route::route_message(request, Request::Remove))
        }
        (Object::Rule(rule), Request::Add) => {
            RouteNetlinkMessage::NewRule(route::rule_message(rule))
        }
        (Object::Rule(rule), Request::Remove) => {
            RouteNetlinkMessage::DelRule(route::rule_message(rule))
        }
        (Object::PromoteSecondaries { iface, .. }, request) => {
            add = 0;
            let mut link = LinkMessage::default();
            link.header.index = iface.ifindex;
            let setting = route::promote_secondaries(request == Request::Add);
            link.attributes.push(LinkAttribute::Other(setting));
            RouteNetlinkMessage::SetLink(link)
        }
        (Object::Refused(..), Request::Add | Request::Remove) => return false,
    };
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    if ask.request == Request::Add {
        header.flags |= add;
    }
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(body));
    message.finalize();
    let start = out.len();
    // NLMSG_ALIGN: the next one begins at a multiple of four.
    out.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut out[start..]);
    true
}

/// The answers in a datagram, by sequence number.
#[allow(clippy::wildcard_enum_match_arm)]
fn answers(datagram: &[u8]) -> Vec<(u32, Result<(), Error>)> {
    let mut found = Vec::new();
    for message in once::messages::<RouteNetlinkMessage>(datagram) {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                log::debug!("netlink answer in {} bytes: {error}", datagram.len());
                break;
            }
        };
        let sequence = message.header.sequence_number;
        if let NetlinkPayload::Error(error) = message.payload {
            let refused = error.code.is_some();
            found.push((
                sequence,
                if refused { Err(Error::Refused(error.to_io())) } else { Ok(()) },
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{InterfaceAddr, InterfaceId};
    use crate::io::netlink::{AddressRequest, AssignedAddress};

    fn ask(request: Request, ifindex: u32) -> Ask {
        let address = "192.0.2.7".parse().unwrap();
        let at = InterfaceAddr { iface: InterfaceId::own(ifindex), address };
        let at = AssignedAddress { at, prefix: 32, marked: true, tentative: false };
        Ask::address(request, AddressRequest::plain(at))
    }

    #[test]
    fn requests_stand_at_multiples_of_four_and_say_how_long_they_are() {
        let mut out = Vec::new();
        let mut labelled = ask(Request::Add, 7);
        if let Object::Address(address) = &mut labelled.object {
            address.options.label = Some("x:1".to_owned());
        }
        append(&mut out, &labelled, 5);
        let second = out.len();
        append(&mut out, &ask(Request::Remove, 7), 6);
        assert_eq!(second % 4, 0);
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&out[second..]).unwrap();
        assert_eq!(message.header.sequence_number, 6);
        assert!(matches!(
            message.payload,
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(_))
        ));
    }

    #[test]
    fn nonsense_is_no_answer() {
        assert!(answers(&[]).is_empty());
        assert!(answers(&[0xff; 40]).is_empty());
        assert!(answers(&[0; 3]).is_empty());
    }

    /// On the kernels that this runs on; without the right to ask it is assumed.
    #[test]
    fn the_kernel_keeps_marks() {
        assert!(Batch::open().unwrap().keeps_marks());
    }

    /// Harmless without any right: there is no such interface.
    #[test]
    fn every_request_gets_its_own_answer() {
        let mut batch = Batch::open().unwrap();
        let asks: Vec<Ask> = (0..300).map(|n| ask(Request::Remove, 0x7000_0000 + n)).collect();
        let answers = batch.carry_out(&asks, &mut Promoted::default());
        assert_eq!(answers.len(), 300);
        for (ask, answer) in asks.iter().zip(&answers) {
            assert_eq!((answer.request, answer.subject), (ask.request, ask.subject));
            let errno = answer.result.as_ref().unwrap_err().errno();
            assert!(matches!(errno, Some(libc::ENODEV | libc::EPERM | libc::EADDRNOTAVAIL)));
        }
    }
}
