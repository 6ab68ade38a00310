//! The verdicts on a packet: one enum from which the XDP action, the counter index, the metric
//! label and the text on the command line all come.

/// What happens to a packet that got a certain [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The packet goes on into the stack.
    Pass,
    /// The packet ends here.
    Drop,
}

macro_rules! reasons {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $name:literal, $verdict:ident, $text:literal; )+) => {
        /// Why a packet of IP protocol 112 or 51, ARP or neighbour discovery for an address of ours, or a frame to or from a virtual MAC
        /// address, got its verdict; index of the per-CPU array `REASONS`.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl Reason {
            /// All reasons, ordered by index.
            pub const ALL: &'static [Reason] = &[ $( Reason::$variant, )+ ];

            /// Identifier for metric labels and JSON: lower case, digits and underscores.
            pub const fn name(self) -> &'static str {
                match self { $( Reason::$variant => $name, )+ }
            }

            /// The reason in words, for people.
            pub const fn text(self) -> &'static str {
                match self { $( Reason::$variant => $text, )+ }
            }

            /// What the kernel side does with the packet.
            pub const fn verdict(self) -> Verdict {
                match self { $( Reason::$variant => Verdict::$verdict, )+ }
            }
        }
    };
}

reasons! {
    /// Passed every check; reported to the daemon.
    Accepted = "accepted", Pass, "valid advertisement for a router of ours";
    /// The VRID (on this interface, VLAN and family) is not configured here; another daemon may own it.
    UnknownVrid = "unknown_vrid", Pass, "VRID not configured on this interface";
    /// Protocol 112 to an address that is neither the router's multicast group nor, with unicast, its own.
    OtherDestination = "other_destination", Pass, "addressed neither to the VRRP group nor to this router";
    /// The frame is for another host: its Ethernet destination is neither a group address nor that of the interface
    /// (PACKET_OTHERHOST, linux/if_packet.h). An interface in promiscuous mode shows such, and so does a switch that does
    /// not know yet where to send them.
    OtherHost = "other_host", Pass, "in a frame to another host's Ethernet address";
    /// The source is no address that a host can send from: unspecified, loopback, multicast, limited broadcast (RFC 1122
    /// section 3.2.1.3, RFC 4291 section 2), or an IPv4 address in the form of IPv6.
    ImpossibleSource = "impossible_source", Drop, "source is an address that no host can have";
    /// The source is our own address: a looped frame or a duplicate address.
    OwnAddress = "own_address", Drop, "source is our own address (loop, or duplicate address)";
    /// The frame ends inside the IP header or before the length that the IP header gives. Whose it is, nobody knows, and
    /// the same goes for the next ones: only what is known to be for a router of ours is dropped.
    Truncated = "truncated", Pass, "frame shorter than its IP header says";
    /// IP header length or total length impossible.
    IpHeader = "ip_header", Pass, "malformed IP header";
    /// IPv4 header checksum wrong; XDP runs before the stack would have checked it.
    IpChecksum = "ip_checksum", Pass, "wrong IP header checksum";
    /// A fragment; advertisements are never fragmented, and XDP cannot reassemble.
    Fragment = "fragment", Pass, "fragmented";
    /// IPv6: more extension headers than are followed ([`crate::parse::MAX_EXTENSIONS`]), and more than make sense. What is
    /// behind them, nobody knows.
    ExtensionHeaders = "extension_headers", Pass, "more IPv6 extension headers than are followed";
    /// Multicast: TTL or hop limit is not 255 (RFC 9568 section 7.1).
    Ttl = "ttl", Drop, "TTL is not 255 (sent from another network?)";
    /// Unicast from an address that is none of the peers, of a router that listens to no others
    /// (keepalived's `check_unicast_src`).
    UnknownPeer = "unknown_peer", Drop, "sender is none of the unicast peers";
    /// Unicast whose TTL or hop limit is out of the range that the peer has (keepalived's `min_ttl` and `max_ttl`).
    PeerTtl = "peer_ttl", Drop, "TTL is not in the range of that unicast peer";
    /// Shorter than a header, so that it may be for anybody.
    VrrpHeader = "vrrp_header", Pass, "too short for a VRRP message";
    /// Shorter than its address count says (RFC 9568 section 7.1), longer than any can be, or no multiple of four bytes.
    VrrpLength = "vrrp_length", Drop, "VRRP message incomplete or of impossible length";
    /// Another version than the router is configured for (RFC 9568 section 7.1).
    Version = "version", Drop, "VRRP version differs from ours";
    /// Not an advertisement (RFC 9568 section 5.2.2).
    PacketType = "packet_type", Drop, "not an advertisement";
    /// VRRP checksum wrong (RFC 9568 section 5.2.8).
    Checksum = "checksum", Drop, "wrong VRRP checksum";
    /// The address count is zero (RFC 9568 section 5.2.5).
    NoAddresses = "no_addresses", Drop, "carries no address, which version 3 must";
    /// Over IPv6, of a router that wants it so: the first address is not link-local (RFC 9568 section 5.2.9, erratum
    /// 8300).
    FirstAddress = "first_address", Drop, "the first address is not link-local, which this router demands";
    /// Version 3: the maximum advertisement interval is zero.
    ZeroInterval = "zero_interval", Drop, "advertisement interval is zero";
    /// Version 2: the interval differs from ours (RFC 3768 section 7.1).
    Interval = "interval", Drop, "advertisement interval differs from ours";
    /// Version 2: the authentication type differs from ours (RFC 3768 section 7.1).
    AuthType = "auth_type", Drop, "authentication type differs from ours";
    /// Version 2: the password differs from ours (RFC 2338 section 7.1).
    AuthData = "auth_data", Drop, "authentication password differs from ours";
    /// The ring buffer was full: the advertisement passed every check but was not reported.
    RingFull = "ring_full", Pass, "event lost: ring buffer full";
    /// What the master says changes more often than is reported; the advertisement passed every check, counts as one of
    /// that master, and what it says is kept for the daemon ([`crate::report::MasterSeen`]).
    MasterLimited = "master_limited", Pass, "not reported: changes too often";
    /// It outranks the router or its master, but there were too many such from that sender, or from all together
    /// ([`crate::report`]).
    OutranksLimited = "outranks_limited", Pass, "not reported: too many that outrank us or our master";
    /// The same of priority 0.
    ResignsLimited = "resigns_limited", Pass, "not reported: too many with priority 0";
    /// Its priority is lower than ours; more such than the daemon is told of.
    LowerLimited = "lower_limited", Pass, "not reported: too many of lower priority";
    /// Its priority is lower than ours, and the router is a backup that pre-empts now or listens to a better master: it
    /// changes nothing (RFC 9568 section 6.4.2).
    LowerIgnored = "lower_ignored", Pass, "lower priority than ours: a backup discards it";
    /// The router takes no part at the moment (INIT, FAULT).
    NotListening = "not_listening", Pass, "the router takes no part at the moment";
    /// The daemon: address list differs from ours (RFC 3768 section 7.1 item 57); counted, not dropped.
    AddressList = "address_list", Pass, "address list differs from ours";
    /// ARP (RFC 826) whose sender address is a virtual address that we hold, from another Ethernet address: two
    /// hosts have it.
    ArpConflict = "arp_conflict", Pass, "ARP: another host claims an address that we hold as master";
    /// Neighbour discovery (RFC 4861) that says the same of an IPv6 address.
    NdiscConflict = "ndisc_conflict", Pass, "neighbour discovery: another host claims an address that we hold as master";
    /// To an address whose router is fenced ([`crate::lease`]), in a frame to our own Ethernet address.
    FencedTo = "fenced_to", Drop, "fenced: to an address that another host has now";
    /// From such an address; ARP and neighbour discovery that say that we have it among that.
    FencedFrom = "fenced_from", Drop, "fenced: from an address that another host has now";
    /// An advertisement of our own daemon for a router that is fenced.
    FencedAdvert = "fenced_advert", Drop, "fenced: our own advertisement, when another host is master";
    /// To the virtual MAC address of a router that is master here ([`crate::virtual_mac`]), and by that for this host.
    VirtualMacAccepted = "virtual_mac_accepted", Pass, "to the virtual MAC address of a router that is master here";
    /// The same of a router that is not master: it is for another host, and the stack discards it (RFC 9568 section 6.4.2).
    VirtualMacBackup = "virtual_mac_backup", Pass, "to the virtual MAC address of a router that is not master here";
    /// The same of a router that is fenced ([`crate::lease`]).
    VirtualMacFenced = "virtual_mac_fenced", Pass, "fenced: to a virtual MAC address that another host has now";
    /// To the virtual MAC address of a VRID that has none on this interface: a flooding switch, or a promiscuous interface.
    VirtualMacUnknown = "virtual_mac_unknown", Pass, "to the virtual MAC address of a VRID that has none on this interface";
    /// From the virtual MAC address of a router that is master here, and no advertisement: nobody else may send from it.
    VirtualMacSource = "virtual_mac_source", Pass, "to all or to another host, from the virtual MAC address of a router that is master here: another host has it, or the network sends ours back";
    /// ARP or neighbour discovery of that kind, for an address that we hold: the same as we send ourselves.
    VirtualMacEcho = "virtual_mac_echo", Pass, "the same in ARP or neighbour discovery, for an address that we hold";
    /// To an address of a router without accept mode (RFC 9568 section 6.1). Counted by nf_tables, where local delivery is
    /// decided.
    NotAccepted = "not_accepted", Drop, "to an address of a router without accept mode";
    /// An ICMP redirect of this host, on an interface that has virtual MAC addresses (RFC 9568 sections 8.1.1 and 8.2.1): it would
    /// come from the interface's own address, also to who uses a virtual one as gateway.
    VirtualMacRedirect = "virtual_mac_redirect", Drop, "ICMP redirect of this host, on an interface with virtual MAC addresses";
    /// Of a router with signed advertisements, where only the daemon checks signatures ([`crate::hmac`]), or nobody yet.
    HmacUnchecked = "hmac_unchecked", Pass, "not looked at: only the daemon checks signatures here, or the program that does is not there yet";
    /// Of a router whose advertisements are to be signed ([`crate::hmac`]): this one is not.
    HmacMissing = "hmac_missing", Drop, "not signed, which this router demands";
    /// Its trailer is of an unknown kind.
    HmacMalformed = "hmac_malformed", Drop, "its signature is of an unknown kind";
    /// Signed with a key whose number this router does not have.
    HmacUnknownKey = "hmac_unknown_key", Drop, "signed with a key that this router does not have";
    /// The signature is wrong: forged, damaged, or with another key of the same number.
    HmacBad = "hmac_bad", Drop, "wrong signature: forged, or made with another key";
    /// Signed at another time than now, by more than is permitted.
    HmacStale = "hmac_stale", Drop, "signed at another time than now: replayed, or the clocks of the hosts differ";
    /// Not later than the last one of its source.
    HmacReplay = "hmac_replay", Drop, "not later than the last one of its source: replayed";
    /// Of a router with an authentication header ([`crate::ah`]): this one has none.
    AhMissing = "ah_missing", Drop, "without an authentication header (AH), which this router demands";
    /// With an authentication header, which the router does not have.
    AhUnexpected = "ah_unexpected", Drop, "with an authentication header (AH), which this router does not have";
    /// Its authentication header is not as long as any that can be checked: where its message is, nobody knows.
    AhMalformed = "ah_malformed", Pass, "its authentication header (AH) is of impossible length";
    /// The integrity check value is wrong: forged, damaged, or with another password.
    AhBad = "ah_bad", Drop, "wrong authentication header (AH): forged, changed on its way, or made with another password";
    /// Its security parameters index is not its source address.
    AhSpi = "ah_spi", Drop, "the SPI in its authentication header (AH) is not its source address";
    /// Its sequence number is not greater than the last one of that router.
    AhReplay = "ah_replay", Drop, "its authentication header (AH) is not later than the last one: replayed";
}

impl Reason {
    /// Number of reasons; the length of `REASONS`.
    pub const COUNT: usize = Self::ALL.len();

    /// Index into `REASONS`.
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// Whether a packet with this reason, whose router is known, was for that router.
    #[inline(always)]
    pub const fn is_for_router(self) -> bool {
        !matches!(self, Self::OtherDestination | Self::OtherHost)
    }

    /// Whether it says that something was wrong with a packet, which RFC 9568 section 7.1 wants logged; not whether that
    /// was for a router of ours.
    pub const fn is_logged(self) -> bool {
        match self {
            Self::OwnAddress
            | Self::ImpossibleSource
            | Self::Truncated
            | Self::IpHeader
            | Self::IpChecksum
            | Self::Fragment
            | Self::ExtensionHeaders
            | Self::Ttl
            | Self::UnknownPeer
            | Self::PeerTtl
            | Self::VrrpHeader
            | Self::VrrpLength
            | Self::Version
            | Self::PacketType
            | Self::Checksum
            | Self::NoAddresses
            | Self::FirstAddress
            | Self::ZeroInterval
            | Self::Interval
            | Self::AuthType
            | Self::AuthData
            | Self::HmacMissing
            | Self::HmacMalformed
            | Self::HmacUnknownKey
            | Self::HmacBad
            | Self::HmacStale
            | Self::HmacReplay
            | Self::AhMissing
            | Self::AhUnexpected
            | Self::AhMalformed
            | Self::AhBad
            | Self::AhSpi
            | Self::AhReplay => true,
            Self::Accepted
            | Self::UnknownVrid
            | Self::OtherDestination
            | Self::OtherHost
            | Self::RingFull
            | Self::MasterLimited
            | Self::OutranksLimited
            | Self::ResignsLimited
            | Self::LowerLimited
            | Self::LowerIgnored
            | Self::NotListening
            | Self::AddressList
            | Self::ArpConflict
            | Self::NdiscConflict
            | Self::FencedTo
            | Self::FencedFrom
            | Self::FencedAdvert
            | Self::VirtualMacAccepted
            | Self::VirtualMacBackup
            | Self::VirtualMacFenced
            | Self::VirtualMacUnknown
            | Self::VirtualMacSource
            | Self::VirtualMacEcho
            | Self::NotAccepted
            | Self::VirtualMacRedirect
            | Self::HmacUnchecked => false,
        }
    }

    /// Whether it says that this host must not answer for an address any more; nothing is wrong with the packet then.
    pub const fn is_fence(self) -> bool {
        matches!(self, Self::FencedTo | Self::FencedFrom | Self::FencedAdvert)
    }

    /// The reason at an index of `REASONS`, `None` past its end.
    pub const fn from_index(index: u32) -> Option<Self> {
        if (index as usize) < Self::COUNT { Some(Self::ALL[index as usize]) } else { None }
    }
}

/// A set of reasons, for who knows one as a number only: the verifier of the kernel side does not follow each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonSet(u64);

const _: () = assert!(Reason::COUNT <= u64::BITS as usize);

impl ReasonSet {
    /// What does not go on into the stack.
    pub const DROPPED: Self = {
        let (mut set, mut index) = (Self(0), 0);
        while index < Reason::COUNT {
            if matches!(Reason::ALL[index].verdict(), Verdict::Drop) {
                set.0 |= 1 << index;
            }
            index += 1;
        }
        set
    };

    /// What the daemon is told of now and then, for its log ([`Reason::is_logged`]).
    pub const LOGGED: Self = {
        let (mut set, mut index) = (Self(0), 0);
        while index < Reason::COUNT {
            if Reason::ALL[index].is_logged() {
                set.0 |= 1 << index;
            }
            index += 1;
        }
        set
    };

    /// Whether the reason of this index is in it.
    #[inline(always)]
    pub const fn contains(self, index: u32) -> bool {
        self.0 >> (index & 63) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_position() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index() as usize, position);
            assert_eq!(Reason::from_index(reason.index()), Some(*reason));
        }
        assert_eq!(Reason::from_index(u32::try_from(Reason::COUNT).unwrap()), None);
    }

    #[test]
    fn what_is_dropped_is_logged() {
        let dropped = |reason: &&Reason| reason.verdict() == Verdict::Drop;
        let is_wrong = |reason: &Reason| reason.is_logged() != reason.is_fence();
        // Who sends to an address that does not accept it has done nothing wrong, nor has this host itself.
        let right = [Reason::NotAccepted, Reason::VirtualMacRedirect];
        let others = Reason::ALL.iter().filter(|reason| !right.contains(reason));
        assert!(others.filter(dropped).all(is_wrong));
    }

    #[test]
    fn sets_have_their_reasons() {
        for reason in Reason::ALL {
            let dropped = reason.verdict() == Verdict::Drop;
            assert_eq!(ReasonSet::DROPPED.contains(reason.index()), dropped, "{reason:?}");
            assert_eq!(
                ReasonSet::LOGGED.contains(reason.index()),
                reason.is_logged(),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn names_are_distinct_labels() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert!(reason.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(Reason::ALL[..position].iter().all(|other| other.name() != reason.name()));
        }
    }
}
