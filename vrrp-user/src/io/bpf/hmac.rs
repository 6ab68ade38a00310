//! Keys of signed advertisements, and the last sequence of each source.

use std::collections::HashSet;

use vrrp_common::hmac::Sequence;
use vrrp_common::maps::{
    HMAC_KEYS, HMAC_MARKS, HmacKey, HmacKeyId, INFO, INFO_HMAC_SEQUENCE, PeerKey,
};

use super::Datapath;
use super::error::Error;
use super::load::hmac_entries;
use super::slots::stored;
use crate::types::id::KeyId;

impl Datapath {
    /// Has signatures of the router at `index` checked by a key.
    /// Errors: [`Error::Full`] when the map was made for fewer.
    pub fn set_hmac_key(&mut self, index: u32, id: KeyId, key: HmacKey) -> Result<(), Error> {
        self.hmac_keys.insert(
            HMAC_KEYS,
            HmacKeyId::new(index, id.get()),
            key,
            hmac_entries(self.sizes),
        )
    }

    /// Ends what [`Self::set_hmac_key`] began; nothing happens where it did not.
    /// Errors: [`Error::Map`].
    pub fn remove_hmac_key(&mut self, index: u32, id: KeyId) -> Result<(), Error> {
        self.hmac_keys.remove(HMAC_KEYS, &HmacKeyId::new(index, id.get()))
    }

    /// A key of a router.
    pub fn hmac_key(&self, id: &HmacKeyId) -> Option<HmacKey> {
        self.hmac_keys.get(id)
    }

    /// The last sequence of a source.
    pub fn hmac_mark(&self, peer: &PeerKey) -> Option<Sequence> {
        self.hmac_marks.get(peer).map(Sequence)
    }

    /// Remembers it. Errors: [`Error::Full`], [`Error::Map`].
    pub fn set_hmac_mark(&mut self, peer: PeerKey, sequence: Sequence) -> Result<(), Error> {
        self.hmac_marks.insert(HMAC_MARKS, peer, sequence.0, hmac_entries(self.sizes))
    }

    /// Forgets the sources of routers that are gone. Walks the whole map.
    /// Errors: [`Error::Map`].
    pub(super) fn forget_hmac_marks(&mut self, removed: impl Fn(u32) -> bool) -> Result<(), Error> {
        self.hmac_marks.retain(HMAC_MARKS, |peer, _| !removed(peer.slot))
    }

    /// Forgets the keys of a daemon that was killed but for these. Errors: [`Error::Map`].
    pub fn retain_hmac_keys(&mut self, retained: &HashSet<HmacKeyId>) -> Result<(), Error> {
        self.hmac_keys.retain(HMAC_KEYS, |id, _| retained.contains(id))
    }

    /// Notes what an advertisement of the router at `index` was signed with, for the next daemon.
    /// Errors: [`Error::Full`] past the end.
    pub fn note_hmac_sequence(&mut self, index: u32, sequence: Sequence) -> Result<(), Error> {
        let done = self.info.store(index, INFO_HMAC_SEQUENCE, sequence.0);
        stored(done, INFO, self.info.len())
    }
}
