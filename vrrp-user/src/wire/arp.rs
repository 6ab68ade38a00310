//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use vrrp_common::parse::{ARP_ETHERNET_IPV4, ARP_REPLY, ARP_REQUEST, is_arp};

use super::ethernet::Mac;
use super::{Error, array, at_least};

/// Bytes of a message.
pub const LEN: usize = 28;

mod field {
    pub const KIND: usize = 0;
    /// Lengths of addresses before it.
    pub const OPERATION: usize = 4;
    pub const SENDER_MAC: usize = 8;
    pub const SENDER_IP: usize = 14;
    pub const TARGET_MAC: usize = 18;
    pub const TARGET_IP: usize = 24;
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// What it is for.
    pub operation: Operation,
    /// Sender hardware address.
    pub sender_mac: Mac,
    /// Sender protocol address.
    pub sender_ip: Ipv4Addr,
    /// Target hardware address.
    pub target_mac: Mac,
    /// Target protocol address.
    pub target_ip: Ipv4Addr,
}

impl Repr {
    /// A gratuitous ARP request as keepalived sends it: the address asks for itself, and the target
    /// hardware address is the broadcast one.
    pub fn gratuitous(mac: Mac, address: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: address,
            target_mac: super::ethernet::BROADCAST,
            target_ip: address,
        }
    }

    /// A probe (RFC 5227 section 2.1.1): who has the address? It claims nothing, so that nobody's table changes.
    pub fn probe(mac: Mac, address: Ipv4Addr) -> Self {
        Self::request(mac, Ipv4Addr::UNSPECIFIED, address)
    }

    /// An ordinary question from `sender` for `target`.
    pub fn request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: sender,
            target_mac: [0; 6],
            target_ip: target,
        }
    }

    /// Reads a message; padding behind it is ignored.
    pub fn parse(message: &[u8]) -> Result<Self, Error> {
        let message = at_least(message, LEN)?;
        let word = |at| u32::from_be_bytes(array(message, at));
        let (kind, operation) = (word(field::KIND), word(field::OPERATION));
        if !is_arp(kind, operation) {
            return Err(Error::Not("an ARP request or reply for IPv4 over Ethernet"));
        }
        Ok(Self {
            operation: if operation == ARP_REPLY { Operation::Reply } else { Operation::Request },
            sender_mac: array(message, field::SENDER_MAC),
            sender_ip: array::<4>(message, field::SENDER_IP).into(),
            target_mac: array(message, field::TARGET_MAC),
            target_ip: array::<4>(message, field::TARGET_IP).into(),
        })
    }

    /// Writes the message to the first [`LEN`] bytes, which must be there.
    pub fn emit(&self, message: &mut [u8]) {
        let operation = match self.operation {
            Operation::Request => ARP_REQUEST,
            Operation::Reply => ARP_REPLY,
        };
        message[field::KIND..][..4].copy_from_slice(&ARP_ETHERNET_IPV4.to_be_bytes());
        message[field::OPERATION..][..4].copy_from_slice(&operation.to_be_bytes());
        message[field::SENDER_MAC..][..6].copy_from_slice(&self.sender_mac);
        message[field::SENDER_IP..][..4].copy_from_slice(&self.sender_ip.octets());
        message[field::TARGET_MAC..][..6].copy_from_slice(&self.target_mac);
        message[field::TARGET_IP..][..4].copy_from_slice(&self.target_ip.octets());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(
            reply: bool, sender_mac: Mac, sender: [u8; 4], target_mac: Mac, target: [u8; 4],
        ) {
            let repr = Repr {
                operation: if reply { Operation::Reply } else { Operation::Request },
                sender_mac,
                sender_ip: sender.into(),
                target_mac,
                target_ip: target.into(),
            };
            let mut message = [0xaa; LEN + 18];
            repr.emit(&mut message);
            prop_assert_eq!(Repr::parse(&message), Ok(repr));
        }

        #[test]
        fn parse_is_total(message in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Repr::parse(&message);
        }
    }
}
