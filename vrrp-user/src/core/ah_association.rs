//! The authentication header of a router (`auth_type AH`): its key, and the one sequence number that what it sends and what it hears
//! have in common.
//!
//! As in keepalived, which knows one number for all routers of a VRID: a backup follows the number of its master, and goes on from
//! there when it takes over. Kept for each source it would not do: the next master would begin with a number that the others have
//! long heard.

use crate::wire::ah::{self, Key};
use crate::wire::frame::AdvertFrame;

/// The security association of one router.
pub struct AhAssociation {
    key: Key,
    /// Whether the TTL is left out of what is authenticated.
    to_peers: bool,
    /// The last sequence number that was sent or heard; 0 for none.
    last: u32,
}

impl AhAssociation {
    /// With that password, of a router that sends to peers or to the group. `None` if the library has no use for the password, which
    /// does not happen.
    pub fn new(password: &[u8; 8], to_peers: bool) -> Option<Self> {
        Some(Self { key: ah::key(password)?, to_peers, last: 0 })
    }

    /// The last sequence number that was sent or heard.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// Goes on behind a sequence number that was used before.
    pub fn go_on_after(&mut self, last: u32) {
        self.last = last;
    }

    /// Another sequence number for the next advertisement. After the last one there is it begins anew: others refuse that, until
    /// they have taken over and begun anew as well (136 years of advertisements, or somebody who knows the password).
    pub fn advance(&mut self) {
        self.last = self.last.checked_add(1).unwrap_or(1);
    }

    /// Fills in the header of a frame with that number.
    pub fn authenticate(&self, frame: &mut AdvertFrame) {
        frame.authenticate(&self.key, self.last);
    }

    /// Whether the header of a packet that was heard has the right value.
    pub fn is_authentic(&self, packet: &[u8], header_len: usize) -> bool {
        ah::is_authentic(&self.key, packet, header_len, self.to_peers)
    }

    /// Whether a sequence number is a new one.
    pub fn is_new(&self, sequence: u32) -> bool {
        sequence > self.last
    }

    /// An accepted advertisement had that number. A master that is to answer one of lower priority leaves one out, because that one
    /// may have sent another meanwhile.
    pub fn accept(&mut self, sequence: u32, is_answered: bool) {
        self.last = if is_answered { sequence.saturating_add(1) } else { sequence };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_later_than_what_was_heard() {
        let mut own = AhAssociation::new(b"secret\0\0", false).unwrap();
        own.advance();
        assert_eq!(own.last(), 1);
        assert!(!own.is_new(1) && own.is_new(2));
        own.accept(1_000, false);
        assert!(!own.is_new(1_000) && own.is_new(1_001));
        own.advance();
        assert_eq!(own.last(), 1_001);
        // The other one may have sent 1,002 already.
        own.accept(1_001, true);
        own.advance();
        assert_eq!(own.last(), 1_003);
        own.accept(u32::MAX, true);
        own.advance();
        assert_eq!(own.last(), 1);
    }
}
