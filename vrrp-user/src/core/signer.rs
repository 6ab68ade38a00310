//! What the advertisements of a router are signed with, and those of others checked by (draft-cassen-vrrp-auth-hmac).

use vrrp_common::hmac::{Sequence, prepare};
use vrrp_common::maps::{HmacKey, RouterEntry, hmac};

use crate::api::HmacStatus;
use crate::config::model::{AntiReplay, Hmac, HmacMode, KeyId};
use crate::wire::frame::{AdvertFrame, SigningKey, signing_key};

/// The keys of one router.
pub struct Signer {
    keys: Box<[(KeyId, HmacKey)]>,
    /// The one that signs, unless the router only receives.
    signs: Option<(KeyId, SigningKey)>,
    anti_replay: AntiReplay,
    /// In seconds.
    window: u16,
    mode: HmacMode,
    /// Of the last advertisement that was signed.
    last: Sequence,
}

impl Signer {
    /// As configured.
    pub fn new(config: &Hmac) -> Self {
        let keys = config.keys.iter().map(|key| (key.id, prepare(key.secret.expose())));
        let signs =
            config.signing_key().and_then(|key| Some((key.id, signing_key(key.secret.expose())?)));
        Self {
            keys: keys.collect(),
            signs,
            anti_replay: config.anti_replay,
            window: config.time_window.seconds(),
            mode: config.mode,
            last: Sequence::default(),
        }
    }

    /// What signatures of others are checked by.
    pub fn keys(&self) -> &[(KeyId, HmacKey)] {
        &self.keys
    }

    /// The number of the key that signs.
    pub fn active_key(&self) -> Option<KeyId> {
        self.signs.as_ref().map(|(id, _)| *id)
    }

    /// How it is, without what is secret.
    pub fn status(&self) -> HmacStatus {
        HmacStatus {
            mode: self.mode.name().to_owned(),
            active_key: self.active_key().map(KeyId::get),
            keys: self.keys.iter().map(|(id, _)| id.get()).collect(),
            anti_replay: self.anti_replay.name().to_owned(),
            time_window_s: self.window,
        }
    }

    /// That it protects nothing, if so.
    pub fn problem(&self) -> Option<String> {
        let signs = match self.mode {
            HmacMode::Enforce => return None,
            HmacMode::Permissive => "its own are signed",
            HmacMode::ReceiveOnly => "its own are not signed either",
        };
        Some(format!(
            "advertisements without a signature are accepted (auth_hmac, mode {}; {signs}): anybody can send them; set `mode \
             enforce` as soon as all its routers sign",
            self.mode.name()
        ))
    }

    /// The last sequence that was used.
    pub fn last(&self) -> Sequence {
        self.last
    }

    /// Goes on behind a sequence that was used before.
    pub fn go_on_after(&mut self, last: Sequence) {
        self.last = last;
    }

    /// What the kernel side must know of it besides keys.
    pub fn entry(&self, entry: RouterEntry) -> RouterEntry {
        let unsigned = match self.mode {
            HmacMode::Enforce => 0,
            HmacMode::Permissive | HmacMode::ReceiveOnly => hmac::UNSIGNED,
        };
        let monotonic = match self.anti_replay {
            AntiReplay::Time => 0,
            AntiReplay::Monotonic => hmac::MONOTONIC,
        };
        RouterEntry { hmac: hmac::KEYS | unsigned | monotonic, hmac_window: self.window, ..entry }
    }

    /// Another sequence for the next advertisement.
    pub fn advance(&mut self, clock: Sequence) {
        let window = match self.anti_replay {
            AntiReplay::Time => Some(self.window),
            AntiReplay::Monotonic => None,
        };
        self.last = self.last.next(clock, window);
    }

    /// Signs a frame with that sequence.
    pub fn sign(&self, frame: &mut AdvertFrame) {
        if let Some((id, key)) = &self.signs {
            frame.sign(key, *id, self.last);
        }
    }
}
