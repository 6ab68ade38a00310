//! Interfaces and addresses: what the kernel says of them (the monitor), and moving addresses.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, TryStreamExt};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeader, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};

/// Receive buffer of the netlink sockets in octets: notifications of some thousand address changes, and the
/// answers to as many requests.
const RECEIVE_BUFFER: usize = 8 << 20;
/// How long the kernel may take to answer. It answers in microseconds; only a lost answer (overrun)
/// takes longer.
const ANSWER: Duration = Duration::from_secs(5);

/// Netlink failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be opened.
    #[error("cannot open a route netlink socket: {0}")]
    Open(io::Error),
    /// The kernel refused a request.
    #[error("{0}")]
    Refused(io::Error),
    /// No answer: it was lost in an overrun of the socket.
    #[error("no answer from the kernel within {} s", ANSWER.as_secs())]
    NoAnswer,
    /// The library could not send the request or read the answer.
    #[error("netlink: {0}")]
    Protocol(String),
}

impl Error {
    /// The kernel's error number, when that is what it is.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(error) => error.raw_os_error(),
            Self::Open(_) | Self::NoAnswer | Self::Protocol(_) => None,
        }
    }
}

impl From<rtnetlink::Error> for Error {
    fn from(error: rtnetlink::Error) -> Self {
        if let rtnetlink::Error::NetlinkError(message) = error {
            Self::Refused(message.to_io())
        } else {
            Self::Protocol(error.to_string())
        }
    }
}

/// What the kernel says about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Administratively up, and operationally able to carry packets (`IFF_UP` and `IFF_RUNNING`).
    pub up: bool,
    /// Ethernet address; `None` for interfaces of another kind.
    pub mac: Option<[u8; 6]>,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Interface.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interface appeared or changed.
    Link(Link),
    /// An interface is gone.
    LinkGone(u32),
    /// An address appeared or changed.
    Address(InterfaceAddress),
    /// An address is gone.
    AddressGone(InterfaceAddress),
    /// Notifications were lost: read everything again.
    Overrun,
    /// The netlink socket is closed; nothing more will come.
    Closed,
}

/// An address to add or to remove, as `ip address` would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRequest {
    /// Where.
    pub at: InterfaceAddress,
    /// Label, IPv4 only.
    pub label: Option<String>,
    /// Scope, as in `rtm_scope`.
    pub scope: u8,
    /// Broadcast address.
    pub broadcast: Option<IpAddr>,
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Two netlink sockets: one for requests and their answers, one for notifications. On a single one the
/// library takes the notification that a request causes for a part of its answer (both carry the
/// request's sequence number), and nobody would see it among the others, in its place.
pub struct Netlink {
    handle: Handle,
    notifications: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
}

impl Netlink {
    /// Opens the sockets, subscribes to link and IPv4 address changes, and spawns their drivers on the
    /// current runtime.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open() -> Result<Self, Error> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
        let (mut requests, handle, _) = new_connection().map_err(Error::Open)?;
        let (mut monitor, _, notifications) =
            new_multicast_connection(&groups).map_err(Error::Open)?;
        // Needs CAP_NET_ADMIN, which the daemon has anyway. Failing is no reason to stop: an overrun is
        // detected and answered by reading everything again.
        for socket in [requests.socket_mut(), monitor.socket_mut()] {
            let _ = setsockopt(socket.socket_mut(), sockopt::RcvBufForce, &RECEIVE_BUFFER);
        }
        tokio::spawn(requests);
        tokio::spawn(monitor);
        Ok(Self { handle, notifications })
    }

    /// The next change. Cancel safe.
    pub async fn next(&mut self) -> Event {
        loop {
            let Some((message, _)) = self.notifications.next().await else { return Event::Closed };
            if let Some(event) = event(message) {
                return event;
            }
        }
    }

    /// The next change that is here already.
    pub fn try_next(&mut self) -> Option<Event> {
        while let Ok((message, _)) = self.notifications.try_recv() {
            if let Some(event) = event(message) {
                return Some(event);
            }
        }
        None
    }

    /// All interfaces.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let links = self.handle.link().get().execute();
        Ok(bounded(links.try_collect::<Vec<_>>()).await?.iter().filter_map(link).collect())
    }

    /// All IPv4 addresses in the kernel's order: an interface's primary ones come first.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub async fn addresses(&self) -> Result<Vec<InterfaceAddress>, Error> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet;
        let all: Vec<AddressMessage> = bounded(request.execute().try_collect()).await?;
        Ok(all.iter().filter_map(address).collect())
    }

    /// Adds an address. The request is queued when the future is first polled.
    pub fn add(&self, address: &AddressRequest) -> impl Future<Output = Result<(), Error>> + use<> {
        let at = address.at;
        let mut request = self.handle.address().add(at.ifindex, at.address, at.prefix);
        *request.message_mut() = message(address);
        async move { bounded(request.execute()).await }
    }

    /// Removes an address. The request is queued when the future is first polled.
    pub fn remove(&self, at: InterfaceAddress) -> impl Future<Output = Result<(), Error>> + use<> {
        let address = AddressRequest { at, label: None, scope: 0, broadcast: None };
        let request = self.handle.address().del(message(&address));
        async move { bounded(request.execute()).await }
    }
}

async fn bounded<T>(answer: impl Future<Output = Result<T, rtnetlink::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::NoAnswer),
    }
}

fn message(request: &AddressRequest) -> AddressMessage {
    let InterfaceAddress { ifindex, address, prefix } = request.at;
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        prefix_len: prefix,
        scope: AddressScope::from(request.scope),
        index: ifindex,
        ..AddressHeader::default()
    };
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    if let Some(label) = &request.label {
        message.attributes.push(AddressAttribute::Label(label.clone()));
    }
    if let Some(IpAddr::V4(broadcast)) = request.broadcast {
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    message
}

#[allow(clippy::wildcard_enum_match_arm)]
fn event(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<Event> {
    match message.payload {
        NetlinkPayload::InnerMessage(inner) => match inner {
            RouteNetlinkMessage::NewLink(message) => link(&message).map(Event::Link),
            RouteNetlinkMessage::DelLink(message) if is_device(&message) => {
                Some(Event::LinkGone(message.header.index))
            }
            RouteNetlinkMessage::NewAddress(message) => address(&message).map(Event::Address),
            RouteNetlinkMessage::DelAddress(message) => address(&message).map(Event::AddressGone),
            _ => None,
        },
        NetlinkPayload::Overrun(_) => Some(Event::Overrun),
        _ => None,
    }
}

/// Bridges send link messages of their own family about their ports: leaving a bridge looks like the
/// end of the device there.
fn is_device(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

fn link(message: &LinkMessage) -> Option<Link> {
    if !is_device(message) {
        return None;
    }
    let mut name = None;
    let mut mac = None;
    for attribute in &message.attributes {
        if let LinkAttribute::IfName(value) = attribute {
            name = Some(value.clone());
        } else if let LinkAttribute::Address(value) = attribute {
            mac = <[u8; 6]>::try_from(value.as_slice()).ok();
        }
    }
    let up = message.header.flags.contains(LinkFlags::Up | LinkFlags::Running);
    Some(Link { ifindex: message.header.index, name: name?, up, mac })
}

fn address(message: &AddressMessage) -> Option<InterfaceAddress> {
    // On a point-to-point interface IFA_ADDRESS is the peer; ours is IFA_LOCAL (rtnetlink(7)).
    let mut found = None;
    for attribute in &message.attributes {
        if let AddressAttribute::Local(local) = attribute {
            found = Some(*local);
        } else if let AddressAttribute::Address(address) = attribute {
            found = found.or(Some(*address));
        }
    }
    Some(InterfaceAddress {
        ifindex: message.header.index,
        address: found?,
        prefix: message.header.prefix_len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::link::LinkHeader;

    fn link_message(family: AddressFamily, flags: LinkFlags) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header =
            LinkHeader { interface_family: family, index: 7, flags, ..LinkHeader::default() };
        message.attributes = vec![
            LinkAttribute::IfName("eth7".to_owned()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 7]),
        ];
        message
    }

    #[test]
    fn up_needs_carrier() {
        let up = link_message(AddressFamily::Unspec, LinkFlags::Up | LinkFlags::Running);
        assert_eq!(
            link(&up),
            Some(Link {
                ifindex: 7,
                name: "eth7".to_owned(),
                up: true,
                mac: Some([2, 0, 0, 0, 0, 7])
            })
        );
        assert!(!link(&link_message(AddressFamily::Unspec, LinkFlags::Up)).unwrap().up);
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_a_device_that_is_gone() {
        let port = link_message(AddressFamily::Bridge, LinkFlags::Up);
        let gone = NetlinkMessage::from(RouteNetlinkMessage::DelLink(port));
        assert_eq!(event(gone), None);
        let device = link_message(AddressFamily::Unspec, LinkFlags::Up);
        let gone = NetlinkMessage::from(RouteNetlinkMessage::DelLink(device));
        assert_eq!(event(gone), Some(Event::LinkGone(7)));
    }

    #[test]
    fn our_side_of_a_point_to_point_address() {
        let mut message = AddressMessage::default();
        message.header.index = 3;
        message.header.prefix_len = 32;
        message.attributes = vec![
            AddressAttribute::Address("10.0.0.2".parse().unwrap()),
            AddressAttribute::Local("10.0.0.1".parse().unwrap()),
        ];
        let read = address(&message).unwrap();
        assert_eq!(read.to_string(), "10.0.0.1/32");
    }
}
