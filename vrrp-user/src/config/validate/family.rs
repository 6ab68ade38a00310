//! What goes with the address family of a router.

use std::net::IpAddr;

use vrrp_common::ah;

use super::Validator;
use crate::config::draft::{Draft, PeerDraft};
use crate::config::model::Address;
use crate::config::report::{Located, Position};
use crate::engine::types::Version;
use crate::wire::ethernet;
use crate::wire::family::Family;
use crate::wire::frame::advert_len;

/// What a signed advertisement has behind it (draft-cassen-vrrp-auth-hmac): type, key, sequence, and the signature.
const SIGNATURE_LEN: usize = 28;

impl Validator<'_> {
    /// The family of a router: that of its first address, or else of the addresses that it sends from or to. What is
    /// of the other one does not go into its advertisements and is taken out; excluded addresses may be of either.
    pub(super) fn family(&mut self, draft: &mut Draft) -> Family {
        let first = draft.addresses.first().map(|address| address.value.address);
        let peers = draft.unicast.iter().flat_map(|unicast| &unicast.value.peers);
        let family = first
            .or(draft.source.as_ref().map(|source| source.value))
            .or(peers.map(|peer| peer.value.address).next())
            .or(draft.multicast_group.as_ref().map(|group| group.value))
            .map_or(Family::V4, Family::of);
        let foreign = |address: IpAddr| Family::of(address) != family;
        let addresses = std::mem::take(&mut draft.addresses).into_iter();
        draft.addresses = addresses
            .filter(|Located { value: Address { address, .. }, at }| {
                if foreign(*address) {
                    let hint = "list it as excluded, or make a second router of it";
                    self.foreign(*at, &address.to_string(), family, "skipped", hint);
                }
                !foreign(*address)
            })
            .collect();
        if let Some(source) = draft.source.take_if(|source| foreign(source.value)) {
            let what = format!("the source {}", source.value);
            self.foreign(source.at, &what, family, "ignored", "");
        }
        if let Some(group) = draft.multicast_group.take_if(|group| foreign(group.value)) {
            let what = format!("the multicast group {}", group.value);
            self.foreign(group.at, &what, family, "ignored", "");
        }
        if let Some(unicast) = &mut draft.unicast {
            unicast.value.peers.retain(|Located { value: PeerDraft { address, .. }, at }| {
                if foreign(*address) {
                    self.foreign(*at, &format!("the peer {address}"), family, "skipped", "");
                }
                !foreign(*address)
            });
        }
        family
    }

    fn foreign(&mut self, at: Position, what: &str, family: Family, repair: &str, hint: &str) {
        let message = format!("{what} does not go with {family}, which the first address is");
        self.repair(at, message, &format!("it is {repair}"), hint);
    }

    /// The version, as written or by default: there is VRRP over IPv6 since version 3 only.
    pub(super) fn version(&mut self, written: Option<&Located<String>>, family: Family) -> Version {
        let Some(written) = written else {
            return match family {
                Family::V4 => Version::V2,
                Family::V6 => Version::V3,
            };
        };
        match (written.value.trim(), family) {
            ("2", Family::V4) => Version::V2,
            ("3", Family::V4 | Family::V6) => Version::V3,
            ("2", Family::V6) => {
                let hint = "remove version, here and on the other hosts";
                self.repair(written.at, "IPv6 needs version 3", "3 is used", hint);
                Version::V3
            }
            (other, Family::V4) => {
                let message = format!("version must be 2 or 3, not `{other}`");
                self.repair(written.at, message, "2 is used", "");
                Version::V2
            }
            (other, Family::V6) => {
                let message = format!("version must be 3 with IPv6, not `{other}`");
                self.repair(written.at, message, "3 is used", "");
                Version::V3
            }
        }
    }

    /// The first address should be link-local (RFC 9568 section 5.2.9). keepalived does without.
    pub(super) fn first_address(&mut self, draft: &Draft) {
        if let Some(Located { value: Address { address: IpAddr::V6(first), .. }, at }) =
            draft.addresses.first()
            && !first.is_unicast_link_local()
        {
            let message = format!(
                "{first} is not link-local: other routers may want the first address to be"
            );
            self.report.warning(*at, message, "begin with an address out of fe80::/64");
        }
    }

    /// Whether the first address of others must be link-local (RFC 9568 erratum 8300). Only who begins with such a one
    /// can want that: two with the same list would refuse each other, and both be master.
    pub(super) fn link_local_first(
        &mut self,
        on: Option<&Located<bool>>,
        addresses: &[Address],
    ) -> bool {
        let begins = addresses.first().is_some_and(
            |first| matches!(first.address, IpAddr::V6(first) if first.is_unicast_link_local()),
        );
        let problem = format!(
            "{} needs a list of its own that begins with a link-local IPv6 address: routers with the same list would \
             refuse each other",
            self.format.link_local_first
        );
        self.only_if(on, begins, problem)
    }
}

impl Validator<'_> {
    /// What the MTU of the interface has no room for is not advertised, or refused.
    pub(super) fn fit_mtu(
        &mut self,
        draft: &Draft,
        version: Version,
        interface: &str,
        addresses: &mut Vec<Address>,
        excluded: &mut Vec<Address>,
    ) {
        let (Some(mtu), Some(first)) = (self.mtu, addresses.first()) else { return };
        let mtus = &mut self.mtus;
        let known = mtus.get(interface).copied();
        let Some(mtu) = known.unwrap_or_else(|| {
            let found = mtu(interface);
            mtus.insert(interface.to_owned(), found);
            found
        }) else {
            return;
        };
        // keepalived since 2.4 counts the Ethernet header, too (`vrrp_complete_instance`, vrrp.c). Beside it, as many
        // must be advertised.
        let frame = if self.format.lenient { ethernet::HEADER_LEN } else { 0 };
        let room = usize::try_from(mtu).unwrap_or(usize::MAX).saturating_sub(frame);
        // What it has whether or not it is signed yet.
        let signature = if draft.hmac.is_some() { SIGNATURE_LEN } else { 0 };
        let has_header = draft.ah.is_some() && version == Version::V2;
        let signature = signature + if has_header { ah::LEN } else { 0 };
        let family = Family::of(first.address);
        let most =
            (0..=addresses.len()).rfind(|n| advert_len(family, version, *n) + signature <= room);
        let most = most.unwrap_or(0);
        if addresses.len() <= most {
            return;
        }
        let keyword = self.format.addresses;
        let message = format!(
            "the {} addresses in {keyword} of {} do not fit in an advertisement: the MTU of {interface} is {mtu}",
            addresses.len(),
            draft.name
        );
        let repair = format!(
            "those after the first {most} are not advertised, and keepalived up to 2.3.2 refuses a list that is not its own"
        );
        let hint = "list as excluded, on all its routers, what need not be advertised, or give the interface a greater MTU";
        let at = addresses.get(most).and_then(|first| {
            let written = draft.addresses.iter();
            written.rev().find(|written| written.value == *first).map(|written| written.at)
        });
        self.repair(at.unwrap_or(draft.at), message, &repair, hint);
        if self.format.lenient {
            excluded.splice(..0, addresses.drain(most..));
        }
    }
}
