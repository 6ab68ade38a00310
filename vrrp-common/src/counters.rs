//! The places of the map `COUNTERS`: those of the daemon from the beginning, and from the end one for each reason that the
//! daemon itself finds, where no kernel side does.

use crate::maps::DAEMON_COUNTERS;
use crate::reason::Reason;

/// Makes an enumeration of counters of a list of them, each with the name under which it is shown.
#[macro_export]
macro_rules! counters {
    (
        $(#[doc = $about:literal])+
        pub enum $counter:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $name:literal, )+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $counter {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl $counter {
            /// All of them with their names, ordered by their index.
            pub const ALL: &'static [(Self, &'static str)] = &[ $( (Self::$variant, $name), )+ ];
        }
    };
}

counters! {
    /// What the daemon itself refuses or fails at; the kernel side's refusals are [`Reason`]. The index is that in the
    /// map [`crate::maps::COUNTERS`].
    pub enum Counter {
        /// A ring-buffer record that is shorter than it says, or names a router that is not there.
        BadEvent = "bad_event",
        /// An advertisement that passed the kernel side but does not parse.
        BadAdvert = "bad_advert",
        /// An advertisement over IPv6 that was reported and whose first address is not link-local (RFC 9568 section 5.2.9).
        FirstNotLinkLocal = "first_not_link_local",
        /// A frame that the kernel refused to send.
        SendFailed = "send_failed",
        /// An address that the kernel refused to add.
        AddressAddFailed = "address_add_failed",
        /// An address that the kernel refused to remove.
        AddressRemoveFailed = "address_remove_failed",
        /// An address removed by somebody else while we were master.
        AddressLost = "address_lost",
        /// Netlink notifications lost, and everything read again.
        NetlinkOverrun = "netlink_overrun",
        /// An interface on which the XDP program could not be attached.
        AttachFailed = "attach_failed",
        /// An XDP program of ours that somebody else detached or replaced.
        CaptureLost = "capture_lost",
        /// Pinned maps that somebody else removed.
        PinsLost = "pins_lost",
        /// A route that the kernel refused to add.
        RouteAddFailed = "route_add_failed",
        /// A route that the kernel refused to remove.
        RouteRemoveFailed = "route_remove_failed",
        /// A route of a master, or one that is always there, removed by somebody else.
        RouteLost = "route_lost",
        /// A rule that the kernel refused to add.
        RuleAddFailed = "rule_add_failed",
        /// A rule that the kernel refused to remove.
        RuleRemoveFailed = "rule_remove_failed",
        /// A rule of a master, or one that is always there, removed by somebody else.
        RuleLost = "rule_lost",
        /// Something removed by somebody else that was put back at once.
        Restored = "restored",
        /// Something that was not put back at once, because that happened too often.
        RestoreLimited = "restore_limited",
        /// A setting of an interface that the kernel refused.
        SettingFailed = "setting_failed",
        /// A notice or a change of something tracked that the history left out, because there were too many of them in
        /// a minute.
        EventsSuppressed = "events_suppressed",
        /// A tracked file that holds no number, or cannot be read.
        BadTrackFile = "bad_track_file",
        /// A packet socket that had no room for advertisements.
        RawOverrun = "raw_overrun",
        /// A configuration that was not applied, because of its errors.
        ReloadRefused = "reload_refused",
        /// An answer to a request that was not made, or was answered already.
        UnexpectedAnswer = "unexpected_answer",
        /// A change of an interface that is not known, or is gone.
        UnknownInterface = "unknown_interface",
        /// A router that goes on as the master that it was in a daemon that was killed.
        Adopted = "adopted",
        /// A router that was master in a daemon that was killed, and is not adopted; or all pins of that daemon.
        NotAdopted = "not_adopted",
        /// Another program that was to take the place of the daemon's, and could not.
        UpgradeRefused = "upgrade_refused",
        /// The kernel would not refuse packets to the addresses of routers without accept mode, or not go on to let them in.
        AcceptFilterFailed = "accept_filter_failed",
    }
}

/// The index in [`crate::maps::COUNTERS`] of a reason that the daemon itself found.
pub const fn of_reason(reason: Reason) -> u32 {
    const { assert!(Counter::ALL.len() + Reason::COUNT <= DAEMON_COUNTERS as usize) };
    DAEMON_COUNTERS - 1 - reason.index()
}
