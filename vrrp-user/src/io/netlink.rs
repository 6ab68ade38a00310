//! Interfaces and addresses: what the kernel says of them, and moving addresses.
//!
//! All of it happens on a thread of its own. The kernel answers in microseconds, but it takes a lock that
//! others hold for long at times, and thousands of addresses add up: neither may hold up an advertisement.

mod accept_filter;
mod accept_rules;
mod batch;
mod encap;
pub mod fdb;
mod hooks;
mod kept;
pub(super) mod once;
mod promoted;
mod record;
mod route;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, TryStreamExt};
use netlink_packet_route::address::{
    self, AddressAttribute, AddressHeader, AddressHeaderFlags, AddressMessage, AddressProtocol,
    AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage, MacVlanMode,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};
use socket2::SockRef;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

pub use self::accept_filter::AcceptFilter;
use self::batch::BATCH;
pub use self::batch::Batch;
pub use self::hooks::Inspector;
pub(super) use self::hooks::{has_clsact, is_xdp_generic, xdp_programs};
pub use self::promoted::{Promoted, restore_settings};
use self::record::Record;
pub use self::route::MarkedObject;
use super::sched;
use crate::config::model::{AddressFlags, Scheduling};
pub use crate::core::netlink::{
    AddressRequest, Answer, Ask, AssignedAddress, Event, Hook, HookPoint, HookState, Link, Look,
    Object, Request, RequestError, RouteKey, RouteRequest, RouteSeen, RuleKey, Subject,
    UnicastFilter,
};
use crate::core::{InterfaceAddr, InterfaceId};

/// Receive buffer of the netlink sockets in bytes: notifications of some thousand address changes, and the
/// answers to as many requests.
const RECEIVE_BUFFER: usize = 8 << 20;
/// What the addresses that this program adds are marked with (`IFA_PROTO`, linux/if_addr.h, since Linux 5.18): who
/// finds one knows that no administrator has put it there. The IP protocol number of VRRP.
const MARK: u8 = vrrp_common::IPPROTO_VRRP;
/// How long the kernel may take to answer. It answers in microseconds; only a lost answer (overrun)
/// takes longer.
const ANSWER: Duration = Duration::from_secs(5);
/// Until everything is read again when that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Netlink failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be opened.
    #[error("cannot open a route netlink socket: {0}")]
    Open(io::Error),
    /// The requests could not be sent.
    #[error("cannot ask the kernel: {0}")]
    Send(io::Error),
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
            Self::Open(_) | Self::Send(_) | Self::NoAnswer | Self::Protocol(_) => None,
        }
    }
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        Self::new(error.errno(), error.to_string())
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

/// What the thread has to say.
#[derive(Debug)]
pub enum Report {
    /// All interfaces and all IPv4 and IPv6 addresses, the latter in the kernel's order: an interface's primary
    /// ones come first. Comes at the beginning and after an overrun.
    Everything(Vec<Link>, Vec<AssignedAddress>),
    /// They could not be read, and will be read again.
    Unknown(Error),
    /// Changes, in order.
    Events(Vec<Event>),
    /// Answers, in the order of the requests.
    Answers(Vec<Answer>),
    /// How our programs are on interfaces, as [`Look`] asked.
    Hooks(Vec<(Hook, HookState)>),
    /// How many packets were refused until now that were for addresses of routers without accept mode.
    Refused(u64),
    /// The thread has ended; nothing more will come.
    Closed,
}

/// The MTU of an interface, bytes, by a question of its own; `None` if there is no such interface, or the kernel does
/// not say.
pub fn mtu(name: &str) -> Option<u32> {
    let mut question = LinkMessage::default();
    question.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link(&asked(question)?).filter(|link| link.mtu < u32::MAX).map(|link| link.mtu)
}

/// The thread's other end.
pub struct Netlink {
    asks: mpsc::UnboundedSender<Ask>,
    looks: mpsc::UnboundedSender<Look>,
    reports: mpsc::UnboundedReceiver<Report>,
    thread: libc::pid_t,
}

impl Netlink {
    /// Opens the sockets, subscribes to link and address changes, and starts the thread, which
    /// [`Report::Everything`] is the first word of. It ends when this is dropped. `runtime_dir` holds the record of what
    /// bears no mark, and of `promote_secondaries`; `filter` is what refuses packets.
    /// Errors: [`Error::Open`].
    pub async fn open(
        scheduling: Scheduling,
        runtime_dir: &Path,
        filter: AcceptFilter,
    ) -> Result<Self, Error> {
        let (record, promoted) = (Record::path(runtime_dir), Promoted::open(runtime_dir));
        let (asks, asked) = mpsc::unbounded_channel();
        let (looks, to_look) = mpsc::unbounded_channel();
        let (report, reports) = mpsc::unbounded_channel();
        let (opened, open) = oneshot::channel();
        let serve = move || {
            // Where it is not permitted, that was said of the engine's thread.
            let _ = sched::schedule_thread(scheduling);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(opened.send(Err(Error::Open(error)))),
            };
            runtime.block_on(async {
                let worker = Worker::open(asked, to_look, report, record, promoted, filter);
                let (worker, result) = match worker {
                    Ok(worker) => (Some(worker), Ok(nix::unistd::gettid().as_raw())),
                    Err(error) => (None, Err(error)),
                };
                if let (Ok(()), Some(worker)) = (opened.send(result), worker) {
                    worker.serve().await;
                }
            });
        };
        thread::Builder::new().name("netlink".to_owned()).spawn(serve).map_err(Error::Open)?;
        let thread = open.await.unwrap_or(Err(Error::NoAnswer))?;
        Ok(Self { asks, looks, reports, thread })
    }

    /// Schedules the thread in another way.
    pub fn reschedule(&self, scheduling: Scheduling) {
        if let Err(error) = sched::schedule_other_thread(self.thread, scheduling) {
            log::debug!("netlink thread: {error}");
        }
    }

    /// Asks for something; the answer comes as a [`Report`].
    pub fn ask(&self, ask: Ask) {
        // The thread is gone: that is reported, too.
        let _ = self.asks.send(ask);
    }

    /// Asks how programs are on interfaces; what is worth an answer comes as [`Report::Hooks`].
    pub fn look(&self, look: Look) {
        let _ = self.looks.send(look);
    }

    /// What the thread has to say next. Cancel safe.
    pub async fn next(&mut self) -> Report {
        self.reports.recv().await.unwrap_or(Report::Closed)
    }
}

type Messages = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// Changes of links and addresses since it was opened, until it is dropped.
struct Notifications {
    messages: Messages,
    /// Reads the socket, and owns it.
    connection: AbortHandle,
}

impl Notifications {
    /// Within a tokio runtime. Errors: those of socket(2) and bind(2).
    fn open() -> io::Result<Self> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (mut monitor, _, messages) = new_multicast_connection(&groups)?;
        enlarge(monitor.socket_mut());
        Ok(Self { messages, connection: tokio::spawn(monitor).abort_handle() })
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Needs CAP_NET_ADMIN, which the daemon has anyway. Failing is no reason to stop: an overrun is detected, and answered by
/// reading everything again.
fn enlarge(socket: &mut impl AsyncSocket) {
    let _ = setsockopt(socket.socket_mut(), sockopt::RcvBufForce, &RECEIVE_BUFFER);
}

/// What runs on the thread.
///
/// Four netlink sockets: one to list everything, one for notifications, one for requests, one for questions. On a single one
/// rtnetlink takes the notification that a request causes for a part of its answer (both carry the
/// request's sequence number), and nobody would see it among the others, in its place.
struct Worker {
    handle: Handle,
    notifications: Notifications,
    batch: Batch,
    record: Record,
    filter: AcceptFilter,
    /// What it had refused when that was last reported.
    refused: u64,
    inspector: Inspector,
    asked: mpsc::UnboundedReceiver<Ask>,
    to_look: mpsc::UnboundedReceiver<Look>,
    report: mpsc::UnboundedSender<Report>,
    /// Notifications were lost, and reading everything failed since then.
    stale: bool,
    /// Notifications of routes and rules, from the first one of ours on.
    routes: Option<Messages>,
}

impl Worker {
    /// Within a tokio runtime, on which rtnetlink's own tasks are spawned.
    fn open(
        asked: mpsc::UnboundedReceiver<Ask>,
        to_look: mpsc::UnboundedReceiver<Look>,
        report: mpsc::UnboundedSender<Report>,
        record: PathBuf,
        promoted: Promoted,
        filter: AcceptFilter,
    ) -> Result<Self, Error> {
        let mut batch = Batch::open(promoted).map_err(Error::Open)?;
        let inspector = Inspector::open().map_err(Error::Open)?;
        let record = Record::open(record, batch.keeps_marks());
        let (mut lists, handle, _) = new_connection().map_err(Error::Open)?;
        let notifications = Notifications::open().map_err(Error::Open)?;
        enlarge(lists.socket_mut());
        tokio::spawn(lists);
        Ok(Self {
            handle,
            notifications,
            batch,
            record,
            filter,
            refused: 0,
            inspector,
            asked,
            to_look,
            report,
            stale: false,
            routes: None,
        })
    }

    async fn serve(mut self) {
        let mut report = Some(self.everything().await);
        let mut asks = Vec::new();
        while report.is_none_or(|report| self.report.send(report).is_ok()) {
            asks.clear();
            report = tokio::select! {
                count = self.asked.recv_many(&mut asks, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.watch_routes(&asks);
                    let before = self.record.begin(&asks);
                    let mut answers = self.carry_out(&asks);
                    self.record.end(&asks, &before, &mut answers);
                    self.read_refused(&asks);
                    Some(Report::Answers(answers))
                }
                Some(look) = self.to_look.recv() => {
                    let mut found = self.inspector.inspect(&look.hooks);
                    let wrong = |state| matches!(state, HookState::Lost(_) | HookState::LinkRemoved);
                    found.retain(|(_, state)| look.answer || wrong(*state));
                    (!found.is_empty()).then_some(Report::Hooks(found))
                }
                message = next_of(&mut self.routes) => {
                    Some(Report::Events(events(message, self.routes.as_mut(), &Event::RoutesOverrun)))
                }
                () = tokio::time::sleep(AGAIN), if self.stale => Some(self.everything_anew().await),
                notification = self.notifications.messages.next() => {
                    let Some((message, _)) = notification else { return };
                    let mut events = events(message, Some(&mut self.notifications.messages), &Event::Overrun);
                    for event in &mut events {
                        self.record.event(event);
                    }
                    if events.contains(&Event::Overrun) {
                        if self.report.send(Report::Events(events)).is_err() {
                            return;
                        }
                        Some(self.everything_anew().await)
                    } else {
                        Some(Report::Events(events))
                    }
                }
            };
        }
    }

    /// Carries out requests in their order, whichever socket they are for.
    fn carry_out(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let is_refused = |ask: &Ask| matches!(ask.object, Object::Refused(_));
        let mut answers = Vec::with_capacity(asks.len());
        for some in asks.chunk_by(|one, next| !is_refused(one) && !is_refused(next)) {
            if let [Ask { request, subject, object: Object::Refused(addresses) }] = some {
                let result = self.filter.carry_out(*request, addresses);
                answers.push(Answer { request: *request, subject: *subject, result, ours: false });
            } else {
                answers.extend(self.batch.carry_out(some));
            }
        }
        answers
    }

    /// Reports how many packets were refused, where somebody has asked about them and it is news.
    fn read_refused(&mut self, asks: &[Ask]) {
        if !asks.iter().any(|ask| matches!(ask.object, Object::Refused(_))) {
            return;
        }
        match self.filter.refused() {
            Ok(Some(count)) if count != self.refused => {
                self.refused = count;
                // Who does not listen any more gets no answers either.
                let _ = self.report.send(Report::Refused(count));
            }
            Ok(_) => {}
            Err(error) => log::debug!("packets that were refused: {error}"),
        }
    }

    /// Subscribes to changes of routes and rules before the first one is added: most daemons have none, and must
    /// not pay for those of others.
    fn watch_routes(&mut self, asks: &[Ask]) {
        let concerned = |ask: &Ask| matches!(ask.object, Object::Route(_) | Object::Rule(_));
        if self.routes.is_some() || !asks.iter().any(concerned) {
            return;
        }
        let groups = [
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let opened = new_multicast_connection(&groups).and_then(|(mut monitor, _, messages)| {
            let socket = monitor.socket_mut();
            SockRef::from(&*socket.socket_mut()).attach_filter(&route::only_ours())?;
            enlarge(socket);
            tokio::spawn(monitor);
            Ok(messages)
        });
        match opened {
            Ok(messages) => self.routes = Some(messages),
            Err(error) => log::error!("who removes routes and rules will not be noticed: {error}"),
        }
    }

    /// Reads everything after notifications were lost. Those that are queued are older than what is listed, and what would
    /// correct them may be among the lost ones: they end with their socket. A new one is opened first, as at the start, so that
    /// no change is missed between the two; and as no request is carried out until everything is read, nothing is reported
    /// afterwards of what was asked for before.
    async fn everything_anew(&mut self) -> Report {
        match Notifications::open() {
            Ok(notifications) => self.notifications = notifications,
            Err(error) => {
                self.stale = true;
                return Report::Unknown(Error::Open(error));
            }
        }
        self.everything().await
    }

    async fn everything(&mut self) -> Report {
        let report = match (self.links().await, self.addresses().await) {
            (Ok(links), Ok(mut addresses)) => {
                self.record.everything(&mut addresses);
                Report::Everything(links, addresses)
            }
            (Err(error), _) | (_, Err(error)) => Report::Unknown(error),
        };
        self.stale = matches!(report, Report::Unknown(_));
        report
    }

    async fn links(&self) -> Result<Vec<Link>, Error> {
        let links = self.handle.link().get().execute();
        Ok(bounded(links.try_collect::<Vec<_>>()).await?.iter().filter_map(link).collect())
    }

    async fn addresses(&self) -> Result<Vec<AssignedAddress>, Error> {
        let request = self.handle.address().get();
        let all: Vec<AddressMessage> = bounded(request.execute().try_collect()).await?;
        Ok(all.iter().filter_map(address).collect())
    }
}

/// The next message; never if there is nothing to wait for.
async fn next_of(routes: &mut Option<Messages>) -> NetlinkMessage<RouteNetlinkMessage> {
    if let Some(messages) = routes {
        if let Some((message, _)) = messages.next().await {
            return message;
        }
        log::error!("who removes routes and rules is no longer noticed");
    }
    *routes = None;
    std::future::pending().await
}

/// What a message says, and those behind it: not all of a storm, which must not hold up requests.
fn events(
    first: NetlinkMessage<RouteNetlinkMessage>,
    mut rest: Option<&mut Messages>,
    overrun: &Event,
) -> Vec<Event> {
    let mut events: Vec<Event> = event(first, overrun).into_iter().collect();
    while events.len() < BATCH
        && let Some(Ok((message, _))) = rest.as_mut().map(|rest| rest.try_recv())
    {
        events.extend(event(message, overrun));
    }
    events
}

async fn bounded<T>(answer: impl Future<Output = Result<T, rtnetlink::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::NoAnswer),
    }
}

fn message(request: &AddressRequest) -> AddressMessage {
    let AddressRequest { address, options } = request;
    let AssignedAddress { at, prefix, marked, tentative: _ } = *address;
    let InterfaceAddr { iface, address } = at;
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        prefix_len: prefix,
        scope: AddressScope::from(options.scope),
        index: iface.ifindex,
        ..AddressHeader::default()
    };
    // IFA_ADDRESS is the other end of a point-to-point address (rtnetlink(7)).
    let other = options.peer.unwrap_or(address);
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(other)];
    if marked {
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
    }
    if let (true, Some(label)) = (address.is_ipv4(), &options.label) {
        message.attributes.push(AddressAttribute::Label(label.clone()));
    }
    if let Some(IpAddr::V4(broadcast)) = options.broadcast {
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    if options.flags != AddressFlags::default() {
        let flags = address::AddressFlags::from_bits_retain(options.flags.0);
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    if let (Some(seconds), IpAddr::V6(_)) = (options.preferred_lft, address) {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = seconds;
        lifetime.ifa_valid = u32::MAX;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    message
}

#[allow(clippy::wildcard_enum_match_arm)]
fn event(message: NetlinkMessage<RouteNetlinkMessage>, overrun: &Event) -> Option<Event> {
    use RouteNetlinkMessage as Message;
    let message = match message.payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Some(overrun.clone()),
        _ => return None,
    };
    match message {
        Message::NewLink(message) => link(&message).map(Event::Link),
        Message::DelLink(message) if is_device(&message) => {
            Some(Event::LinkRemoved(InterfaceId::own(message.header.index)))
        }
        Message::NewAddress(message) => address(&message).map(Event::Address),
        Message::DelAddress(message) => address(&message).map(Event::AddressRemoved),
        Message::NewRoute(message) => route::seen(&message).map(Event::Route),
        Message::DelRoute(message) => route::seen(&message).map(Event::RouteRemoved),
        Message::NewRule(message) => route::seen_rule(&message).map(Event::Rule),
        Message::DelRule(message) => route::seen_rule(&message).map(Event::RuleRemoved),
        _ => None,
    }
}

/// Bridges send link messages of their own family about their ports: leaving a bridge looks like the
/// end of the device there.
fn is_device(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

/// What there is at these indexes, each asked for by itself: for what is done seldom.
pub fn links(indexes: impl IntoIterator<Item = u32>) -> Vec<Link> {
    let messages = indexes.into_iter().filter_map(link_message);
    messages.filter_map(|message| link(&message)).collect()
}

/// Whether anybody has an interface take in all frames (`IFLA_PROMISCUITY`), be it the kernel for want of a filter.
pub fn is_promiscuous(ifindex: u32) -> bool {
    let attributes = link_message(ifindex).map(|message| message.attributes).unwrap_or_default();
    attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::Promiscuity(1..)))
}

/// What the kernel says of an interface, asked for by itself.
pub(super) fn link_message(ifindex: u32) -> Option<LinkMessage> {
    let mut question = LinkMessage::default();
    question.header.index = ifindex;
    asked(question)
}

fn asked(question: LinkMessage) -> Option<LinkMessage> {
    let answer = once::ask(RouteNetlinkMessage::GetLink(question)).ok()?;
    let Some(RouteNetlinkMessage::NewLink(found)) = once::read(&answer) else { return None };
    Some(found)
}

fn link(message: &LinkMessage) -> Option<Link> {
    if !is_device(message) {
        return None;
    }
    let mut name = None;
    let mut mac = None;
    let mut mtu = u32::MAX;
    let (mut aggregate, mut routed) = (false, false);
    let (mut vlan, mut elsewhere, mut below) = (false, false, None);
    let mut unicast_filter = UnicastFilter::Membership;
    for attribute in &message.attributes {
        if let LinkAttribute::IfName(value) = attribute {
            name = Some(value.clone());
        } else if let LinkAttribute::Address(value) = attribute {
            mac = <[u8; 6]>::try_from(value.as_slice()).ok();
        } else if let LinkAttribute::Mtu(value) = attribute {
            mtu = *value;
        } else if let LinkAttribute::LinkInfo(infos) = attribute {
            aggregate = infos.iter().any(|info| {
                let LinkInfo::Kind(kind) = info else { return false };
                *kind == InfoKind::Bond || matches!(kind, InfoKind::Other(name) if name == "team")
            });
            routed = infos.iter().any(|info| {
                let LinkInfo::Data(InfoData::IpVlan(data)) = info else { return false };
                let modes = [IpVlanMode::L3, IpVlanMode::L3S];
                modes.iter().any(|mode| data.contains(&InfoIpVlan::Mode(*mode)))
            });
            vlan = infos.contains(&LinkInfo::Kind(InfoKind::Vlan));
            unicast_filter = filter_of(infos);
        } else if let LinkAttribute::Link(value) = attribute {
            below = Some(InterfaceId::own(*value));
        } else if let LinkAttribute::LinkNetNsId(_) = attribute {
            elsewhere = true;
        }
    }
    let vlan_of = below.filter(|_| vlan && !elsewhere);
    let flags = message.header.flags;
    Some(Link {
        iface: InterfaceId::own(message.header.index),
        name: name?,
        up: flags.contains(LinkFlags::Up | LinkFlags::Running),
        mac,
        mtu,
        aggregate,
        routed,
        vlan_of,
        enabled: flags.contains(LinkFlags::Up),
        xdp: xdp_programs(message).next().is_some(),
        unicast_filter,
    })
}

/// What lets frames to another Ethernet address into an interface of that kind.
fn filter_of(infos: &[LinkInfo]) -> UnicastFilter {
    let passthru = infos.iter().any(|info| {
        let LinkInfo::Data(InfoData::MacVlan(data)) = info else { return false };
        data.contains(&InfoMacVlan::Mode(MacVlanMode::Passthrough))
    });
    let kind = infos.iter().find_map(|info| {
        let LinkInfo::Kind(kind) = info else { return None };
        Some(kind)
    });
    match kind {
        Some(InfoKind::Veth) => UnicastFilter::None,
        Some(InfoKind::Bridge) => UnicastFilter::Bridge,
        Some(InfoKind::MacVlan) if passthru => UnicastFilter::Every,
        Some(InfoKind::MacVlan | InfoKind::MacVtap | InfoKind::IpVlan | InfoKind::IpVtap) => {
            UnicastFilter::Own
        }
        Some(_) | None => UnicastFilter::Membership,
    }
}

fn address(message: &AddressMessage) -> Option<AssignedAddress> {
    if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    // On a point-to-point interface IFA_ADDRESS is the peer; ours is IFA_LOCAL (rtnetlink(7)).
    let mut found = None;
    let mut marked = false;
    for attribute in &message.attributes {
        if let AddressAttribute::Local(local) = attribute {
            found = Some(*local);
        } else if let AddressAttribute::Address(address) = attribute {
            found = found.or(Some(*address));
        } else if let AddressAttribute::Protocol(protocol) = attribute {
            marked = *protocol == AddressProtocol::Other(MARK);
        }
    }
    let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    Some(AssignedAddress {
        at: InterfaceAddr::new(InterfaceId::own(message.header.index), found?),
        prefix: message.header.prefix_len,
        marked,
        tentative: message.header.flags.intersects(unusable),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use netlink_packet_route::link::{InfoPortKind, LinkHeader, LinkXdp};

    fn link_message(family: AddressFamily, flags: LinkFlags) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header =
            LinkHeader { interface_family: family, index: 7, flags, ..LinkHeader::default() };
        message.attributes = vec![
            LinkAttribute::IfName("eth7".to_owned()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 7]),
            LinkAttribute::Mtu(1500),
        ];
        message
    }

    #[test]
    fn up_needs_carrier() {
        let up = link_message(AddressFamily::Unspec, LinkFlags::Up | LinkFlags::Running);
        assert_eq!(
            link(&up),
            Some(Link {
                iface: InterfaceId::own(7),
                name: "eth7".to_owned(),
                up: true,
                mac: Some([2, 0, 0, 0, 0, 7]),
                mtu: 1500,
                aggregate: false,
                routed: false,
                vlan_of: None,
                enabled: true,
                xdp: false,
                unicast_filter: UnicastFilter::Membership,
            })
        );
        let no_carrier = link(&link_message(AddressFamily::Unspec, LinkFlags::Up)).unwrap();
        assert!(!no_carrier.up && no_carrier.enabled);
        let mut taken = up;
        taken.attributes.push(LinkAttribute::Xdp(vec![LinkXdp::ProgId(7)]));
        assert!(link(&taken).unwrap().xdp);
    }

    #[test]
    fn what_is_made_of_ports_with_addresses_of_their_own() {
        let made_as = |info| {
            let mut message = link_message(AddressFamily::Unspec, LinkFlags::Up);
            message.attributes.push(LinkAttribute::LinkInfo(vec![info]));
            link(&message).unwrap().aggregate
        };
        assert!(made_as(LinkInfo::Kind(InfoKind::Bond)));
        assert!(made_as(LinkInfo::Kind(InfoKind::Other("team".to_owned()))));
        assert!(!made_as(LinkInfo::Kind(InfoKind::Bridge)));
        // Not what it is a port of.
        assert!(!made_as(LinkInfo::PortKind(InfoPortKind::Bond)));
    }

    #[test]
    fn ipvlans_that_pass_no_multicast() {
        let routed = |mode| {
            let mut message = link_message(AddressFamily::Unspec, LinkFlags::Up);
            let data = InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)]);
            let infos = vec![LinkInfo::Kind(InfoKind::IpVlan), LinkInfo::Data(data)];
            message.attributes.push(LinkAttribute::LinkInfo(infos));
            link(&message).unwrap().routed
        };
        assert!(routed(IpVlanMode::L3) && routed(IpVlanMode::L3S));
        assert!(!routed(IpVlanMode::L2));
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_a_device_that_is_gone() {
        let port = link_message(AddressFamily::Bridge, LinkFlags::Up);
        let gone = NetlinkMessage::from(RouteNetlinkMessage::DelLink(port));
        assert_eq!(event(gone, &Event::Overrun), None);
        let device = link_message(AddressFamily::Unspec, LinkFlags::Up);
        let gone = NetlinkMessage::from(RouteNetlinkMessage::DelLink(device));
        assert_eq!(event(gone, &Event::Overrun), Some(Event::LinkRemoved(InterfaceId::own(7))));
    }

    #[test]
    fn our_side_of_a_point_to_point_address() {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.index = 3;
        message.header.prefix_len = 32;
        message.attributes = vec![
            AddressAttribute::Address("10.0.0.2".parse().unwrap()),
            AddressAttribute::Local("10.0.0.1".parse().unwrap()),
        ];
        let read = address(&message).unwrap();
        assert_eq!(read.to_string(), "10.0.0.1/32");
    }

    #[test]
    fn ipv6_addresses_are_not_used_before_they_are_unique() {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.attributes = vec![AddressAttribute::Address("fe80::1".parse().unwrap())];
        assert!(!address(&message).unwrap().tentative);
        for flag in [AddressHeaderFlags::Tentative, AddressHeaderFlags::Dadfailed] {
            message.header.flags = flag | AddressHeaderFlags::Permanent;
            assert!(address(&message).unwrap().tentative);
        }
        message.header.family = AddressFamily::Phonet;
        assert_eq!(address(&message), None);
    }

    #[test]
    fn who_takes_in_frames_to_other_addresses() {
        let filter = |infos: Vec<LinkInfo>| filter_of(&infos);
        let kind = |kind| filter(vec![LinkInfo::Kind(kind)]);
        assert_eq!(filter(vec![]), UnicastFilter::Membership);
        assert_eq!(kind(InfoKind::Veth), UnicastFilter::None);
        assert_eq!(kind(InfoKind::Bridge), UnicastFilter::Bridge);
        for device in [InfoKind::Vlan, InfoKind::Bond] {
            assert_eq!(kind(device), UnicastFilter::Membership);
        }
        for device in [InfoKind::MacVlan, InfoKind::MacVtap, InfoKind::IpVlan] {
            assert_eq!(kind(device), UnicastFilter::Own);
        }
        let mode = |mode| LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]));
        let macvlan = |of| filter(vec![LinkInfo::Kind(InfoKind::MacVlan), mode(of)]);
        assert_eq!(macvlan(MacVlanMode::Bridge), UnicastFilter::Own);
        assert_eq!(macvlan(MacVlanMode::Passthrough), UnicastFilter::Every);
    }
}
