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

use std::collections::BTreeMap;
use std::fs::File;
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
use socket2::{SockFilter, SockRef};
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
use super::{netns, sched};
use crate::config::model::{AddressFlags, Scheduling};
pub use crate::core::netlink::{
    AddressRequest, Answer, Ask, AssignedAddress, Event, Hook, HookPoint, HookState, Link, Look,
    Object, Request, RequestError, RouteKey, RouteRequest, RouteSeen, RuleKey, Subject,
    UnicastFilter,
};
use crate::core::{InterfaceAddr, InterfaceId, NamespaceId};
use crate::types;
use crate::types::netns::Netns;

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
    /// A network namespace is open ([`Netlink::enter`]): all that is in it, or why it cannot be used.
    Entered(NamespaceId, Result<Vec<Event>, Error>),
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
pub fn mtu(interface: &str) -> Option<u32> {
    let (_, name) = types::netns::split(interface);
    let ask = || {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        asked(question)
    };
    let answer = netns::beside_interface(interface, ask).ok()?;
    Origin::default().link(&answer?).filter(|link| link.mtu < u32::MAX).map(|link| link.mtu)
}

/// Where a socket is: what the kernel says by it is about that network namespace.
#[derive(Clone, Debug, Default)]
struct Origin {
    namespace: NamespaceId,
    /// Its name, if it is another one than the daemon's.
    netns: Option<Netns>,
}

impl Origin {
    fn of(netns: &Netns) -> Self {
        Self { namespace: NamespaceId::of(Some(netns)), netns: Some(netns.clone()) }
    }

    fn iface(&self, ifindex: u32) -> InterfaceId {
        InterfaceId { namespace: self.namespace, ifindex }
    }

    /// What an interface is called here.
    fn name(&self, name: &str) -> String {
        self.netns.as_ref().map_or_else(|| name.to_owned(), |netns| netns.interface(name))
    }
}

/// Work for the thread, in its order.
enum Order {
    Ask(Ask),
    Enter(Origin, File),
    Leave(NamespaceId),
}

/// A network namespace to begin with, and the file by which it can be entered.
pub type Entrance = (Netns, File);

/// The thread's other end.
pub struct Netlink {
    orders: mpsc::UnboundedSender<Order>,
    looks: mpsc::UnboundedSender<Look>,
    reports: mpsc::UnboundedReceiver<Report>,
    thread: libc::pid_t,
}

impl Netlink {
    /// Opens the sockets, subscribes to link and address changes, and starts the thread, which
    /// [`Report::Everything`] is the first word of. It ends when this is dropped. `runtime_dir` holds the record of what
    /// bears no mark, and of `promote_secondaries`; `filter` is what refuses packets. `others` are the network namespaces
    /// that there are besides that of this process: one that cannot be used is left out, and said ([`Report::Entered`]).
    /// Errors: [`Error::Open`].
    pub async fn open(
        scheduling: Scheduling,
        runtime_dir: &Path,
        filter: AcceptFilter,
        others: Vec<Entrance>,
    ) -> Result<Self, Error> {
        let (record, promoted) = (Record::path(runtime_dir), Promoted::open(runtime_dir));
        let (orders, ordered) = mpsc::unbounded_channel();
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
                let channels = (ordered, to_look, report);
                let worker = Worker::open(channels, record, promoted, filter, others);
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
        Ok(Self { orders, looks, reports, thread })
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
        let _ = self.orders.send(Order::Ask(ask));
    }

    /// Opens sockets in a network namespace, which a file stands for, and says what is there ([`Report::Entered`]): nothing in
    /// it is reported before.
    pub fn enter(&self, netns: &Netns, file: File) {
        let _ = self.orders.send(Order::Enter(Origin::of(netns), file));
    }

    /// Closes them, behind everything that was asked before. What is still reported of it is late.
    pub fn leave(&self, namespace: NamespaceId) {
        let _ = self.orders.send(Order::Leave(namespace));
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
        Self::of(&groups, &[])
    }

    /// Those of routes and rules that bear our mark.
    fn of_routes() -> io::Result<Self> {
        let groups = [
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        Self::of(&groups, &route::only_ours())
    }

    fn of(groups: &[MulticastGroup], filter: &[SockFilter]) -> io::Result<Self> {
        let (mut monitor, _, messages) = new_multicast_connection(groups)?;
        let socket = monitor.socket_mut();
        if !filter.is_empty() {
            SockRef::from(&*socket.socket_mut()).attach_filter(filter)?;
        }
        enlarge(socket);
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
/// Four netlink sockets in the network namespace of the daemon: one to list everything, one for notifications, one for
/// requests, one for questions. On a single one rtnetlink takes the notification that a request causes for a part of its
/// answer (both carry the request's sequence number), and nobody would see it among the others, in its place.
struct Worker {
    handle: Handle,
    notifications: Notifications,
    here: Network,
    /// Other network namespaces.
    others: BTreeMap<NamespaceId, OtherNetwork>,
    /// What the kernel says there.
    notified: mpsc::UnboundedReceiver<Notification>,
    notifier: mpsc::UnboundedSender<Notification>,
    record: Record,
    promoted: Promoted,
    /// Packets that were refused there, when that was last reported.
    refused: u64,
    inspector: Inspector,
    ordered: mpsc::UnboundedReceiver<Order>,
    to_look: mpsc::UnboundedReceiver<Look>,
    report: mpsc::UnboundedSender<Report>,
    /// Notifications were lost, and reading everything failed since then.
    stale: bool,
    /// Notifications of routes and rules, from the first one of ours on.
    routes: Option<Notifications>,
}

/// What a request needs in a network namespace.
struct Network {
    batch: Batch,
    filter: AcceptFilter,
    /// Packets that it has refused.
    refused: u64,
}

impl Network {
    /// Does something with what refuses packets, in the network namespace in which this is.
    /// Errors: why that cannot be entered.
    fn filtering<T>(
        &mut self,
        namespace: NamespaceId,
        work: impl FnOnce(&mut AcceptFilter) -> T,
    ) -> io::Result<T> {
        let Self { batch, filter, .. } = self;
        match namespace {
            NamespaceId::OWN => Ok(work(filter)),
            _ => netns::beside(&*batch, || work(filter)),
        }
    }
}

/// Two sockets in another network namespace: one for notifications, one for requests. Others are opened when they are needed.
struct OtherNetwork {
    origin: Origin,
    network: Network,
    notifications: AbortHandle,
    /// Whoever notifier of routes and rules, from the first one of ours on.
    routes: Option<AbortHandle>,
}

impl Drop for OtherNetwork {
    fn drop(&mut self) {
        self.notifications.abort();
        if let Some(routes) = &self.routes {
            routes.abort();
        }
    }
}

/// Something that the kernel says in another network namespace.
struct Notification {
    namespace: NamespaceId,
    message: NetlinkMessage<RouteNetlinkMessage>,
    /// Whether it is about routes and rules.
    of_routes: bool,
}

/// The ends of the thread.
type Channels =
    (mpsc::UnboundedReceiver<Order>, mpsc::UnboundedReceiver<Look>, mpsc::UnboundedSender<Report>);

impl Worker {
    /// Within a tokio runtime, on which rtnetlink's own tasks are spawned.
    fn open(
        (ordered, to_look, report): Channels,
        record: PathBuf,
        promoted: Promoted,
        filter: AcceptFilter,
        others: Vec<Entrance>,
    ) -> Result<Self, Error> {
        let mut batch = Batch::open().map_err(Error::Open)?;
        let inspector = Inspector::open().map_err(Error::Open)?;
        let record = Record::open(record, batch.keeps_marks());
        let (mut lists, handle, _) = new_connection().map_err(Error::Open)?;
        let notifications = Notifications::open().map_err(Error::Open)?;
        enlarge(lists.socket_mut());
        tokio::spawn(lists);
        let (notifier, notified) = mpsc::unbounded_channel();
        let mut worker = Self {
            handle,
            notifications,
            here: Network { batch, filter, refused: 0 },
            others: BTreeMap::new(),
            notified,
            notifier,
            record,
            promoted,
            refused: 0,
            inspector,
            ordered,
            to_look,
            report,
            stale: false,
            routes: None,
        };
        for (netns, file) in others {
            let origin = Origin::of(&netns);
            let namespace = origin.namespace;
            if let Err(error) = worker.open_other(origin, &file) {
                let _ = worker.report.send(Report::Entered(namespace, Err(error)));
            }
        }
        Ok(worker)
    }

    async fn serve(mut self) {
        let mut report = Some(self.everything().await);
        let (mut orders, mut notified) = (Vec::new(), Vec::new());
        while report.is_none_or(|report| self.report.send(report).is_ok()) {
            orders.clear();
            report = tokio::select! {
                count = self.ordered.recv_many(&mut orders, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.carry_out_all(std::mem::take(&mut orders));
                    None
                }
                Some(look) = self.to_look.recv() => {
                    let mut found = self.inspect(&look.hooks);
                    let wrong = |state| matches!(state, HookState::Lost(_) | HookState::LinkRemoved);
                    found.retain(|(_, state)| look.answer || wrong(*state));
                    (!found.is_empty()).then_some(Report::Hooks(found))
                }
                message = next_of(&mut self.routes) => {
                    let rest = self.routes.as_mut().map(|routes| &mut routes.messages);
                    let events = events(&Origin::default(), message, rest, &Event::RoutesOverrun);
                    Some(Report::Events(events))
                }
                () = tokio::time::sleep(AGAIN), if self.stale => Some(self.everything_anew().await),
                _ = self.notified.recv_many(&mut notified, BATCH) => {
                    let events = self.events_of_others(std::mem::take(&mut notified));
                    self.changed(events).await
                }
                notification = self.notifications.messages.next() => {
                    let Some((message, _)) = notification else { return };
                    let rest = Some(&mut self.notifications.messages);
                    let events = events(&Origin::default(), message, rest, &Event::Overrun);
                    self.changed(events).await
                }
            };
        }
    }

    /// Reports what has changed, and what there is where something was missed.
    async fn changed(&mut self, mut events: Vec<Event>) -> Option<Report> {
        for event in &mut events {
            self.record.event(event);
        }
        if !events.contains(&Event::Overrun) {
            return (!events.is_empty()).then_some(Report::Events(events));
        }
        // Who does not listen any more needs nothing.
        self.report.send(Report::Events(events)).ok()?;
        Some(self.everything_anew().await)
    }

    fn events_of_others(&self, notified: Vec<Notification>) -> Vec<Event> {
        let mut events = Vec::with_capacity(notified.len());
        for Notification { namespace, message, of_routes } in notified {
            // One that was left meanwhile has nothing more to say.
            let Some(other) = self.others.get(&namespace) else { continue };
            let overrun = if of_routes { Event::RoutesOverrun } else { Event::Overrun };
            events.extend(event(&other.origin, message, &overrun));
        }
        events
    }

    /// Carries out what there is to be done, in its order, and reports the answers.
    fn carry_out_all(&mut self, orders: Vec<Order>) {
        let mut asks = Vec::with_capacity(orders.len());
        for order in orders {
            match order {
                Order::Ask(ask) => asks.push(ask),
                Order::Enter(origin, file) => {
                    self.answer(&std::mem::take(&mut asks));
                    let namespace = origin.namespace;
                    let entered = self.open_other(origin, &file);
                    let entered = entered.and_then(|()| self.list_other(namespace));
                    if entered.is_err() {
                        self.others.remove(&namespace);
                    }
                    let _ = self.report.send(Report::Entered(namespace, entered));
                }
                Order::Leave(namespace) => {
                    self.answer(&std::mem::take(&mut asks));
                    self.others.remove(&namespace);
                }
            }
        }
        self.answer(&asks);
    }

    /// Opens what is needed in another network namespace. Errors: [`Error::Open`].
    fn open_other(&mut self, origin: Origin, file: &File) -> Result<(), Error> {
        let filter = self.here.filter.another();
        let opened = netns::within(file, || Ok((Notifications::open()?, Batch::open()?)));
        let (notifications, batch) = opened.and_then(|opened| opened).map_err(Error::Open)?;
        let forward = Forward { namespace: origin.namespace, of_routes: false };
        let notifications = forward.from(notifications, self.notifier.clone());
        let network = Network { batch, filter, refused: 0 };
        let other = OtherNetwork { network, notifications, routes: None, origin };
        self.others.insert(other.origin.namespace, other);
        Ok(())
    }

    /// All links and addresses of another network namespace, in which it is, as events. Errors: why they cannot be read.
    fn list_other(&mut self, namespace: NamespaceId) -> Result<Vec<Event>, Error> {
        let (links, mut addresses) = self.all_other(namespace)?;
        addresses.iter_mut().for_each(|at| self.record.mark(at));
        let links = links.into_iter().map(Event::Link);
        Ok(links.chain(addresses.into_iter().map(Event::Address)).collect())
    }

    fn all_other(
        &self,
        namespace: NamespaceId,
    ) -> Result<(Vec<Link>, Vec<AssignedAddress>), Error> {
        let Some(OtherNetwork { origin, network, .. }) = self.others.get(&namespace) else {
            return Ok(<_>::default());
        };
        let list = || {
            let links = once::list(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
            let addresses = once::list(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
            Ok((links, addresses))
        };
        let listed = netns::beside(&network.batch, list).and_then(|listed| listed);
        let (links, addresses) = listed.map_err(Error::Open)?;
        let link = |message| {
            if let RouteNetlinkMessage::NewLink(message) = message {
                origin.link(&message)
            } else {
                None
            }
        };
        let address = |message| {
            if let RouteNetlinkMessage::NewAddress(message) = message {
                origin.address(&message)
            } else {
                None
            }
        };
        let links = links.into_iter().filter_map(link).collect();
        Ok((links, addresses.into_iter().filter_map(address).collect()))
    }

    /// How our programs are, wherever they are.
    fn inspect(&mut self, hooks: &[Hook]) -> Vec<(Hook, HookState)> {
        let mut found = Vec::with_capacity(hooks.len());
        for hooks in hooks.chunk_by(|one, next| one.iface.namespace == next.iface.namespace) {
            let Some(namespace) = hooks.first().map(|hook| hook.iface.namespace) else { continue };
            if namespace == NamespaceId::OWN {
                found.extend(self.inspector.inspect(hooks));
                continue;
            }
            let there = self.others.get(&namespace);
            let inspect = || Inspector::open().map(|mut inspector| inspector.inspect(hooks));
            let states = there.map(|there| netns::beside(&there.network.batch, inspect));
            match states {
                Some(Ok(Ok(states))) => found.extend(states),
                Some(Ok(Err(error)) | Err(error)) => {
                    log::debug!("programs in another network namespace: {error}");
                }
                None => {}
            }
        }
        found
    }

    /// Carries out requests, and reports the answers.
    fn answer(&mut self, asks: &[Ask]) {
        if asks.is_empty() {
            return;
        }
        self.watch_routes(asks);
        let before = self.record.begin(asks);
        let mut answers = self.carry_out(asks);
        self.record.end(asks, &before, &mut answers);
        // Who does not listen any more gets no answers either.
        let _ = self.report.send(Report::Answers(answers));
        self.read_refused(asks);
    }

    /// Carries out requests in their order, whichever socket they are for.
    fn carry_out(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let is_refused = |ask: &Ask| matches!(ask.object, Object::Refused(..));
        let namespace = |ask: &Ask| ask.object.namespace();
        let alike = |one: &Ask, next: &Ask| {
            !is_refused(one) && !is_refused(next) && namespace(one) == namespace(next)
        };
        let mut answers = Vec::with_capacity(asks.len());
        for some in asks.chunk_by(alike) {
            let Some(namespace) = some.first().map(namespace) else { continue };
            let network = match self.others.get_mut(&namespace) {
                Some(other) => Some(&mut other.network),
                None if namespace == NamespaceId::OWN => Some(&mut self.here),
                None => None,
            };
            let Some(network) = network else {
                let gone = RequestError::new(Some(libc::ENODEV), "the network namespace is gone");
                answers.extend(some.iter().map(|ask| {
                    let (request, subject) = (ask.request, ask.subject);
                    Answer { request, subject, result: Err(gone.clone()), ours: false }
                }));
                continue;
            };
            if let [Ask { request, subject, object: Object::Refused(_, addresses) }] = some {
                let carried_out =
                    network.filtering(namespace, |filter| filter.carry_out(*request, addresses));
                let result = carried_out.unwrap_or_else(|error| Err(Error::Open(error).into()));
                answers.push(Answer { request: *request, subject: *subject, result, ours: false });
            } else {
                answers.extend(network.batch.carry_out(some, &mut self.promoted));
            }
        }
        answers
    }

    /// Reports how many packets were refused, where somebody has asked about them and it is news.
    fn read_refused(&mut self, asks: &[Ask]) {
        for ask in asks {
            let Object::Refused(namespace, _) = &ask.object else { continue };
            let network = match self.others.get_mut(namespace) {
                Some(other) => &mut other.network,
                None => &mut self.here,
            };
            let refused = network.filtering(*namespace, AcceptFilter::refused);
            let refused = refused.unwrap_or_else(|error| Err(accept_filter::Error::Socket(error)));
            match refused {
                Ok(count) => network.refused = count.unwrap_or(network.refused),
                Err(error) => log::debug!("packets that were refused: {error}"),
            }
        }
        let others = self.others.values().map(|other| other.network.refused);
        let count = self.here.refused + others.sum::<u64>();
        if count > self.refused {
            self.refused = count;
            let _ = self.report.send(Report::Refused(count));
        }
    }

    /// Subscribes to changes of routes and rules before the first one is added: most daemons have none, and must
    /// not pay for those of others.
    fn watch_routes(&mut self, asks: &[Ask]) {
        for ask in asks {
            if !matches!(ask.object, Object::Route(_) | Object::Rule(_)) {
                continue;
            }
            let namespace = ask.object.namespace();
            let failed = |error| {
                log::error!("who removes routes and rules will not be noticed: {error}");
            };
            if let Some(other) = self.others.get_mut(&namespace) {
                if other.routes.is_none() {
                    let opened = netns::beside(&other.network.batch, Notifications::of_routes);
                    match opened.and_then(|opened| opened) {
                        Ok(routes) => {
                            let forward = Forward { namespace, of_routes: true };
                            other.routes = Some(forward.from(routes, self.notifier.clone()));
                        }
                        Err(error) => failed(error),
                    }
                }
            } else if namespace == NamespaceId::OWN && self.routes.is_none() {
                match Notifications::of_routes() {
                    Ok(routes) => self.routes = Some(routes),
                    Err(error) => failed(error),
                }
            }
        }
    }

    /// Reads everything after notifications were lost. Those that are queued are older than what is listed, and what would
    /// correct them may be among the lost ones: they end with their socket. A new one is opened first, as at the start, so that
    /// no change is missed between the two; and as no request is carried out until everything is read, nothing is reported
    /// afterwards of what was asked for before.
    async fn everything_anew(&mut self) -> Report {
        let opened = Notifications::open().and_then(|notifications| {
            self.notifications = notifications;
            for (namespace, other) in &mut self.others {
                let opened = netns::beside(&other.network.batch, Notifications::open);
                let forward = Forward { namespace: *namespace, of_routes: false };
                let notifications =
                    forward.from(opened.and_then(|opened| opened)?, self.notifier.clone());
                std::mem::replace(&mut other.notifications, notifications).abort();
            }
            Ok(())
        });
        if let Err(error) = opened {
            self.stale = true;
            return Report::Unknown(Error::Open(error));
        }
        // What was notified before.
        while let Ok(Notification { of_routes: false, .. }) = self.notified.try_recv() {}
        self.everything().await
    }

    async fn everything(&mut self) -> Report {
        let report = match (self.links().await, self.addresses().await) {
            (Ok(mut links), Ok(mut addresses)) => {
                for namespace in self.others.keys().copied().collect::<Vec<_>>() {
                    match self.all_other(namespace) {
                        Ok((more_links, more_addresses)) => {
                            links.extend(more_links);
                            addresses.extend(more_addresses);
                        }
                        Err(error) => {
                            self.others.remove(&namespace);
                            let _ = self.report.send(Report::Entered(namespace, Err(error)));
                        }
                    }
                }
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
        let links = bounded(links.try_collect::<Vec<_>>()).await?;
        Ok(links.iter().filter_map(|message| Origin::default().link(message)).collect())
    }

    async fn addresses(&self) -> Result<Vec<AssignedAddress>, Error> {
        let request = self.handle.address().get();
        let all: Vec<AddressMessage> = bounded(request.execute().try_collect()).await?;
        Ok(all.iter().filter_map(|message| Origin::default().address(message)).collect())
    }
}

/// Hands on what the kernel says in another network namespace.
#[derive(Clone, Copy)]
struct Forward {
    namespace: NamespaceId,
    of_routes: bool,
}

impl Forward {
    /// Until it is aborted, which closes the socket.
    fn from(
        self,
        mut notifications: Notifications,
        to: mpsc::UnboundedSender<Notification>,
    ) -> AbortHandle {
        let Self { namespace, of_routes } = self;
        let hand_on = async move {
            while let Some((message, _)) = notifications.messages.next().await {
                if to.send(Notification { namespace, message, of_routes }).is_err() {
                    return;
                }
            }
        };
        tokio::spawn(hand_on).abort_handle()
    }
}

/// The next message; never if there is nothing to wait for.
async fn next_of(routes: &mut Option<Notifications>) -> NetlinkMessage<RouteNetlinkMessage> {
    if let Some(routes) = routes {
        if let Some((message, _)) = routes.messages.next().await {
            return message;
        }
        log::error!("who removes routes and rules is no longer noticed");
    }
    *routes = None;
    std::future::pending().await
}

/// What a message says, and those behind it: not all of a storm, which must not hold up requests.
fn events(
    origin: &Origin,
    first: NetlinkMessage<RouteNetlinkMessage>,
    mut rest: Option<&mut Messages>,
    overrun: &Event,
) -> Vec<Event> {
    let mut events: Vec<Event> = event(origin, first, overrun).into_iter().collect();
    while events.len() < BATCH
        && let Some(Ok((message, _))) = rest.as_mut().map(|rest| rest.try_recv())
    {
        events.extend(event(origin, message, overrun));
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
fn event(
    origin: &Origin,
    message: NetlinkMessage<RouteNetlinkMessage>,
    overrun: &Event,
) -> Option<Event> {
    use RouteNetlinkMessage as Message;
    let namespace = origin.namespace;
    let message = match message.payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Some(overrun.clone()),
        _ => return None,
    };
    match message {
        Message::NewLink(message) => origin.link(&message).map(Event::Link),
        Message::DelLink(message) if is_device(&message) => {
            Some(Event::LinkRemoved(origin.iface(message.header.index)))
        }
        Message::NewAddress(message) => origin.address(&message).map(Event::Address),
        Message::DelAddress(message) => origin.address(&message).map(Event::AddressRemoved),
        Message::NewRoute(message) => route::seen(namespace, &message).map(Event::Route),
        Message::DelRoute(message) => route::seen(namespace, &message).map(Event::RouteRemoved),
        Message::NewRule(message) => route::seen_rule(namespace, &message).map(Event::Rule),
        Message::DelRule(message) => route::seen_rule(namespace, &message).map(Event::RuleRemoved),
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
    messages.filter_map(|message| Origin::default().link(&message)).collect()
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

impl Origin {
    fn link(&self, message: &LinkMessage) -> Option<Link> {
        if !is_device(message) {
            return None;
        }
        let mut name = None;
        let mut mac = None;
        let mut mtu = u32::MAX;
        let (mut aggregate, mut routed) = (false, false);
        let (mut vlan, mut others, mut below) = (false, false, None);
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
                    *kind == InfoKind::Bond
                        || matches!(kind, InfoKind::Other(name) if name == "team")
                });
                routed = infos.iter().any(|info| {
                    let LinkInfo::Data(InfoData::IpVlan(data)) = info else { return false };
                    let modes = [IpVlanMode::L3, IpVlanMode::L3S];
                    modes.iter().any(|mode| data.contains(&InfoIpVlan::Mode(*mode)))
                });
                vlan = infos.contains(&LinkInfo::Kind(InfoKind::Vlan));
                unicast_filter = filter_of(infos);
            } else if let LinkAttribute::Link(value) = attribute {
                below = Some(self.iface(*value));
            } else if let LinkAttribute::LinkNetNsId(_) = attribute {
                others = true;
            }
        }
        let vlan_of = below.filter(|_| vlan && !others);
        let flags = message.header.flags;
        Some(Link {
            iface: self.iface(message.header.index),
            name: self.name(&name?),
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

impl Origin {
    fn address(&self, message: &AddressMessage) -> Option<AssignedAddress> {
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
            at: InterfaceAddr::new(self.iface(message.header.index), found?),
            prefix: message.header.prefix_len,
            marked,
            tentative: message.header.flags.intersects(unusable),
        })
    }
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
            Origin::default().link(&up),
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
        let no_carrier =
            Origin::default().link(&link_message(AddressFamily::Unspec, LinkFlags::Up)).unwrap();
        assert!(!no_carrier.up && no_carrier.enabled);
        let mut taken = up;
        taken.attributes.push(LinkAttribute::Xdp(vec![LinkXdp::ProgId(7)]));
        assert!(Origin::default().link(&taken).unwrap().xdp);
    }

    #[test]
    fn what_is_made_of_ports_with_addresses_of_their_own() {
        let made_as = |info| {
            let mut message = link_message(AddressFamily::Unspec, LinkFlags::Up);
            message.attributes.push(LinkAttribute::LinkInfo(vec![info]));
            Origin::default().link(&message).unwrap().aggregate
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
            Origin::default().link(&message).unwrap().routed
        };
        assert!(routed(IpVlanMode::L3) && routed(IpVlanMode::L3S));
        assert!(!routed(IpVlanMode::L2));
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_a_device_that_is_gone() {
        let port = link_message(AddressFamily::Bridge, LinkFlags::Up);
        let gone = NetlinkMessage::from(RouteNetlinkMessage::DelLink(port));
        assert_eq!(event(&Origin::default(), gone, &Event::Overrun), None);
        let device = link_message(AddressFamily::Unspec, LinkFlags::Up);
        let gone = NetlinkMessage::from(RouteNetlinkMessage::DelLink(device));
        assert_eq!(
            event(&Origin::default(), gone, &Event::Overrun),
            Some(Event::LinkRemoved(InterfaceId::own(7)))
        );
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
        let read = Origin::default().address(&message).unwrap();
        assert_eq!(read.to_string(), "10.0.0.1/32");
    }

    #[test]
    fn ipv6_addresses_are_not_used_before_they_are_unique() {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.attributes = vec![AddressAttribute::Address("fe80::1".parse().unwrap())];
        assert!(!Origin::default().address(&message).unwrap().tentative);
        for flag in [AddressHeaderFlags::Tentative, AddressHeaderFlags::Dadfailed] {
            message.header.flags = flag | AddressHeaderFlags::Permanent;
            assert!(Origin::default().address(&message).unwrap().tentative);
        }
        message.header.family = AddressFamily::Phonet;
        assert_eq!(Origin::default().address(&message), None);
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
