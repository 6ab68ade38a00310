//! Frames and packets that wait to be sent, in order.

use std::net::IpAddr;

use super::send_failures::Errno;
use crate::core::interface_id::InterfaceId;
use crate::engine::types::RouterId;

/// So many are sent at once.
pub const BATCH: usize = 128;
/// Room for queued frames that is kept, bytes.
const KEPT: usize = 64 << 10;

/// What something is that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// An advertisement of a router, or the part of it that goes to one of its peers.
    Advert {
        /// The router.
        router: RouterId,
        /// Whether another advertisement begins with it; what follows without is for other peers.
        first: bool,
        /// Whether it renews the router's lease: not with priority 0.
        renews: bool,
    },
    /// An announcement of an address, or a question for it.
    Announcement,
}

/// Something that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Interface by which it leaves.
    pub iface: InterfaceId,
    /// To whom it is routed: then it is an IP packet with its header. `None` for an Ethernet frame.
    pub to: Option<IpAddr>,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What it is.
    pub tag: Tag,
}

#[derive(Clone, Copy)]
struct Queued {
    iface: InterfaceId,
    start: usize,
    end: usize,
    to: Option<IpAddr>,
    tag: Tag,
}

/// What waits to be sent.
#[derive(Default)]
pub struct TxQueue {
    bytes: Vec<u8>,
    queued: Vec<Queued>,
}

impl TxQueue {
    /// Appends an Ethernet frame for an interface.
    pub fn push(&mut self, iface: InterfaceId, frame: &[u8], tag: Tag) {
        self.append(iface, None, frame, tag);
    }

    /// Appends an IP packet, header included, for somebody behind an interface.
    pub fn push_ip(&mut self, iface: InterfaceId, to: IpAddr, packet: &[u8], tag: Tag) {
        self.append(iface, Some(to), packet, tag);
    }

    fn append(&mut self, iface: InterfaceId, to: Option<IpAddr>, bytes: &[u8], tag: Tag) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.queued.push(Queued { iface, start, end: self.bytes.len(), to, tag });
    }

    /// Whether as much waits as is sent with one system call.
    pub fn is_full(&self) -> bool {
        self.queued.len() >= BATCH
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queued.len()
    }

    /// The one at that place in the queue.
    pub fn get(&self, place: usize) -> Option<Frame<'_>> {
        let Queued { iface, start, end, to, tag } = *self.queued.get(place)?;
        Some(Frame { iface, to, bytes: self.bytes.get(start..end)?, tag })
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Frame<'_>> {
        (0..self.len()).filter_map(|place| self.get(place))
    }

    /// Whose advertisements they are, each once.
    pub fn adverts(&self) -> impl Iterator<Item = RouterId> {
        self.queued.iter().filter_map(|queued| match queued.tag {
            Tag::Advert { router, first: true, .. } => Some(router),
            Tag::Advert { first: false, .. } | Tag::Announcement => None,
        })
    }

    /// Whose leases are renewed when all of them were sent but for those at these places, which ascend: an advertisement has
    /// left as soon as it has for one peer. Some may come more than once.
    pub fn refreshed(&self, refused: &[(usize, Errno)]) -> impl Iterator<Item = RouterId> {
        let mut refused = refused.iter().map(|(place, _)| *place).peekable();
        self.queued.iter().enumerate().filter_map(move |(place, queued)| match queued.tag {
            _ if refused.next_if_eq(&place).is_some() => None,
            Tag::Advert { router, renews: true, .. } => Some(router),
            Tag::Advert { renews: false, .. } | Tag::Announcement => None,
        })
    }

    /// They have been sent.
    pub fn clear(&mut self) {
        self.queued.clear();
        self.bytes.clear();
        // A takeover of thousands of routers needs more, but only once.
        self.queued.shrink_to(16 * BATCH);
        self.bytes.shrink_to(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_that_was_reached_renews_a_lease_and_priority_0_does_not() {
        let mut queue = TxQueue::default();
        for (router, first, renews) in
            [(0, true, true), (1, true, true), (1, false, true), (2, true, false)]
        {
            let tag = Tag::Advert { router: RouterId(router), first, renews };
            queue.push(InterfaceId::own(2), b"advert", tag);
        }
        queue.push(InterfaceId::own(2), b"arp", Tag::Announcement);
        let refreshed = |places: &[usize]| {
            let refused: Vec<_> = places.iter().map(|place| (*place, Errno(1))).collect();
            queue.refreshed(&refused).map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(refreshed(&[]), [0, 1, 1]);
        assert_eq!((refreshed(&[0, 1]), refreshed(&[0, 2, 4])), (vec![1], vec![1]));
        assert_eq!(refreshed(&[1, 2, 3]), [0]);
    }
}
