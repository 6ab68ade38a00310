//! What a reader understood of one virtual router, before anybody judged it.

use std::fmt;
use std::net::IpAddr;

use super::model::{
    Address, Fence, Fixed, LinkDelay, Listen, Routing, Scheduling, TrackFile, TrackProcess,
    TrackScript, Tracked, V3Checksum,
};
use super::notify::{Notify, Settings};
use super::report::{Located, Position};
use super::socket::SocketAccess;
use crate::capture::CaptureMode;
use crate::engine::time::Nanos;
use crate::engine::types::GarpPolicy;
use crate::types::netns::{self, Netns};
use zeroize::Zeroize;

/// A value that is not there, or cannot be used, leaves what there is.
pub(super) fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

/// A file as written.
#[derive(Clone, Debug, Default)]
pub(super) struct Drafts {
    /// Whether the file means that there are no virtual routers, where there are none.
    pub(super) idle: bool,
    /// The virtual routers in the order of the file.
    pub(super) routers: Vec<Draft>,
    pub(super) groups: Vec<Located<GroupDraft>>,
    pub(super) scripts: Vec<Located<ObjectDraft<TrackScript>>>,
    pub(super) files: Vec<Located<ObjectDraft<TrackFile>>>,
    pub(super) processes: Vec<Located<ObjectDraft<TrackProcess>>>,
    /// How the engine's thread is scheduled.
    pub(super) scheduling: Option<Scheduling>,
    /// Where metrics are served.
    pub(super) metrics: Option<Listen>,
    /// The network namespace that the daemon runs in.
    pub(super) netns: Option<Located<Netns>>,
    /// Who may use the control socket.
    pub(super) control: SocketAccess,
    /// What counts for all scripts and fifos.
    pub(super) notify: Settings,
    /// What is there as long as the daemon runs, without addresses.
    pub(super) fixed: Fixed,
    /// Who follows it.
    pub(super) track_groups: Vec<Located<TrackGroupDraft>>,
    /// The groups that it names.
    pub(super) track_group_uses: Vec<Located<String>>,
    /// The addresses of it, each with its interface.
    pub(super) fixed_addresses: Vec<Located<Address>>,
    /// What happens later than it could.
    pub(super) delays: DelaysDraft,
    /// How interfaces capture.
    pub(super) capture: CaptureDraft,
}

/// How interfaces capture, as written.
#[derive(Clone, Debug, Default)]
pub(super) struct CaptureDraft {
    /// Those that are not named.
    pub(super) default: Option<CaptureMode>,
    /// Interfaces with a mode of their own.
    pub(super) interfaces: Vec<Located<(String, Option<CaptureMode>)>>,
}

/// Delays as written.
#[derive(Clone, Debug, Default)]
pub(super) struct DelaysDraft {
    /// From the start of the daemon.
    pub(super) startup: Option<Located<Nanos>>,
    /// From the start of the host.
    pub(super) after_boot: Option<Located<Nanos>>,
    /// Between gratuitous ARP.
    pub(super) garp: Option<Located<Nanos>>,
    /// Between unsolicited neighbour advertisements.
    pub(super) gna: Option<Located<Nanos>>,
    /// Groups of interfaces with other pauses.
    pub(super) garp_groups: Vec<Located<GarpGroupDraft>>,
    /// Interfaces whose changes count later.
    pub(super) links: Vec<Located<LinkDelay>>,
}

/// A `garp_group` as written.
#[derive(Clone, Debug, Default)]
pub(super) struct GarpGroupDraft {
    /// Names of interfaces.
    pub(super) interfaces: Vec<Located<String>>,
    /// Between gratuitous ARP.
    pub(super) garp: Option<Located<Nanos>>,
    /// Between unsolicited neighbour advertisements.
    pub(super) gna: Option<Located<Nanos>>,
}

/// A virtual router as written. Numbers are kept as text, so that one place says which are allowed.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// Where it begins.
    pub(super) at: Position,
    /// Which of the routers it is that an entry stands for; `None` if the entry is one router.
    pub(super) entry: Option<String>,
    pub(super) name: String,
    /// The network namespace of the interfaces and objects that it names; `None` for that of its interface.
    pub(super) netns: Option<Netns>,
    pub(super) interface: Option<Located<String>>,
    pub(super) vrid: Option<Located<String>>,
    pub(super) version: Option<Located<String>>,
    pub(super) priority: Option<Located<String>>,
    pub(super) interval: Option<Located<Nanos>>,
    /// Password of version 2.
    pub(super) password: Option<Located<Vec<u8>>>,
    /// Where it says that the password is for an authentication header.
    pub(super) ah: Option<Position>,
    /// How its advertisements are signed.
    pub(super) hmac: Option<Located<HmacDraft>>,
    pub(super) source: Option<Located<IpAddr>>,
    pub(super) multicast_group: Option<Located<IpAddr>>,
    /// Unicast; `None` for multicast.
    pub(super) unicast: Option<Located<UnicastDraft>>,
    pub(super) preempt: Option<Located<bool>>,
    /// How long pre-emption waits.
    pub(super) preempt_delay: Option<Located<Nanos>>,
    /// The longest interval of a master that is believed.
    pub(super) max_learned_interval: Option<Located<Nanos>>,
    pub(super) addresses: Vec<Located<Address>>,
    /// Addresses that are not advertised.
    pub(super) excluded: Vec<Located<Address>>,
    /// `no_virtual_ipaddress`: that there is no address is meant.
    pub(super) no_addresses: bool,
    /// At least one address is required even with version 2 (`vrrp_strict`).
    pub(super) need_addresses: bool,
    pub(super) garp: GarpPolicy,
    /// How often addresses on other interfaces are announced.
    pub(super) garp_extra_if: Option<Located<Nanos>>,
    /// Whether also those without a virtual MAC address are; `None` for yes.
    pub(super) garp_extra_if_all: Option<bool>,
    /// How often its own address is announced.
    pub(super) garp_own_address: Option<Located<Nanos>>,
    /// Whether a lower-priority advertisement is answered.
    pub(super) lower_prio_advert: bool,
    /// How many advertisements a master has to miss.
    pub(super) down_adverts: Option<Located<String>>,
    /// Whether one more advertisement is sent when yielding.
    pub(super) higher_prio_advert: Option<bool>,
    /// Whether an owner takes no notice of what it hears.
    pub(super) owner_ignores_adverts: Option<Located<bool>>,
    /// Whether the first address of others must be link-local.
    pub(super) link_local_first: Option<Located<bool>>,
    /// What stops the host from answering for its addresses.
    pub(super) fence: Fence,
    /// Whether it has a virtual MAC address.
    pub(super) virtual_mac: Option<Located<bool>>,
    /// Which, in five bytes, to which the VRID is added, or six.
    pub(super) own_virtual_mac: Option<Located<String>>,
    /// Whether its advertisements leave with it.
    pub(super) virtual_mac_adverts: Option<Located<bool>>,
    /// The device that there would be for it elsewhere.
    pub(super) virtual_mac_device: Option<String>,
    /// Whether packets to its addresses are let in.
    pub(super) accept: bool,
    /// Whether the interface must have the source.
    pub(super) track_source: Option<Located<bool>>,
    /// Version 3 checksum.
    pub(super) v3_checksum: V3Checksum,
    pub(super) track: Vec<Located<TrackDraft>>,
    /// Its sync group, where the router names it.
    pub(super) group: Option<Located<String>>,
    pub(super) dont_track_primary: bool,
    pub(super) notify: Notify,
    /// What comes and goes with it besides its addresses.
    pub(super) routing: Routing,
}

impl Draft {
    /// Whether its priority is 255.
    pub(super) fn is_owner(&self) -> bool {
        self.priority.as_ref().is_some_and(|priority| priority.value.trim() == "255")
    }

    /// Says of everything that it names in which network namespace it is, where that is another one than the daemon's.
    pub(super) fn placed(mut self) -> Self {
        let of_interface = |name: &Located<String>| netns::of_interface(&name.value);
        let netns = self.netns.take().or_else(|| self.interface.as_ref().and_then(of_interface));
        let Some(netns) = netns else { return self };
        let place = |name: &mut String| *name = netns.interface(name);
        self.interface.iter_mut().for_each(|name| place(&mut name.value));
        let addresses = self.addresses.iter_mut().chain(&mut self.excluded);
        addresses.filter_map(|address| address.value.dev.as_mut()).for_each(place);
        for track in &mut self.track {
            if let Tracked::Interface(name) = &mut track.value.what {
                place(name);
            }
        }
        self.virtual_mac_device.iter_mut().for_each(place);
        self.routing.routes.iter_mut().for_each(|route| route.place_in(Some(&netns)));
        self.routing.rules.iter_mut().for_each(|rule| rule.place_in(Some(&netns)));
        self.netns = Some(netns);
        self
    }
}

/// How advertisements are signed, as written.
#[derive(Clone, Debug, Default)]
pub(super) struct HmacDraft {
    pub(super) keys: Vec<Located<KeyDraft>>,
    pub(super) active_key: Option<Located<String>>,
    pub(super) anti_replay: Option<Located<String>>,
    /// In seconds.
    pub(super) time_window: Option<Located<String>>,
    pub(super) mode: Option<Located<String>>,
}

/// A key as written.
#[derive(Clone, Debug)]
pub(super) struct KeyDraft {
    pub(super) id: Located<String>,
    pub(super) secret: Located<KeySource>,
}

/// Where the bytes of a key come from.
#[derive(Clone, Debug)]
pub(super) enum KeySource {
    /// `hex:` and digits, or the bytes themselves.
    Inline(Unprinted),
    /// Pairs of digits.
    Hex(Unprinted),
    /// The bytes themselves.
    Text(Unprinted),
    /// A file that holds what [`Self::Inline`] is.
    File(String),
    /// A credential of the service manager's that does.
    Credential(String),
}

/// A text that is in no message.
#[derive(Clone)]
pub(super) struct Unprinted(pub(super) String);

impl Drop for Unprinted {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Unprinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// Unicast as written.
#[derive(Clone, Debug, Default)]
pub(super) struct UnicastDraft {
    pub(super) peers: Vec<Located<PeerDraft>>,
    /// TTL or hop limit of what is sent.
    pub(super) ttl: Option<Located<String>>,
    /// Whether only peers are heard.
    pub(super) check_source: bool,
}

/// A unicast peer as written.
#[derive(Clone, Debug)]
pub(super) struct PeerDraft {
    pub(super) address: IpAddr,
    /// Least TTL or hop limit that its advertisements may arrive with.
    pub(super) min_ttl: Option<Located<String>>,
    /// The greatest one.
    pub(super) max_ttl: Option<Located<String>>,
}

impl From<IpAddr> for PeerDraft {
    fn from(address: IpAddr) -> Self {
        Self { address, min_ttl: None, max_ttl: None }
    }
}

/// A weight as written.
#[derive(Clone, Debug, Default)]
pub(super) struct Weight {
    pub(super) number: Option<Located<String>>,
    /// The direction.
    pub(super) reverse: Option<bool>,
}

/// That something is tracked, as written.
#[derive(Clone, Debug)]
pub(super) struct TrackDraft {
    pub(super) what: Tracked,
    /// Its weight; what is not written is that of the tracked object.
    pub(super) weight: Weight,
}

/// Something that can be tracked, as written: its own weight is still to be judged.
#[derive(Clone, Debug)]
pub(super) struct ObjectDraft<T> {
    pub(super) object: T,
    pub(super) weight: Weight,
}

/// A `track_group` as written.
#[derive(Clone, Debug, Default)]
pub(super) struct TrackGroupDraft {
    pub(super) name: String,
    pub(super) routers: Vec<Located<String>>,
}

/// A sync group as written.
#[derive(Clone, Debug)]
pub(super) struct GroupDraft {
    pub(super) name: String,
    /// Its routers; `None` where the routers name their group.
    pub(super) members: Option<Vec<Located<String>>>,
    pub(super) track: Vec<Located<TrackDraft>>,
    /// What runs when something happens to it.
    pub(super) notify: Notify,
    /// `sync_group_tracking_weight`.
    pub(super) tracking_weight: bool,
}
