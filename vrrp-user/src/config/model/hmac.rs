//! Signed advertisements (draft-cassen-vrrp-auth-hmac, `auth_hmac` of keepalived): keys, and what is asked of others.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU8;
use std::sync::Arc;

use zeroize::Zeroize;

/// How the advertisements of a router are signed and checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hmac {
    /// At least one, no two with one number.
    pub keys: Vec<HmacKey>,
    /// `active_key`: the number of the one that signs, which is among [`Self::keys`].
    pub active_key: KeyId,
    /// What keeps an old advertisement from being taken for a new one.
    pub anti_replay: AntiReplay,
    /// `time_window`: how far the clocks of two hosts may lie apart.
    pub time_window: TimeWindow,
    /// Whether unsigned ones are accepted, and whether ours are signed.
    pub mode: HmacMode,
}

impl Hmac {
    /// The key that signs; `None` in [`HmacMode::ReceiveOnly`], or if there is no such key.
    pub fn signing_key(&self) -> Option<&HmacKey> {
        let signs = match self.mode {
            HmacMode::Enforce | HmacMode::Permissive => true,
            HmacMode::ReceiveOnly => false,
        };
        self.keys.iter().find(|key| signs && key.id == self.active_key)
    }
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HmacKey {
    /// Its number, as it stands in advertisements.
    pub id: KeyId,
    /// What is secret of it.
    pub secret: Secret,
}

/// The number of a key, 1-255.
pub type KeyId = NonZeroU8;

/// The bytes of a key, 32-64. They are in no message: `Debug` leaves them out, and there is no other way to print them. Memory
/// is cleared when they are dropped. Two that have the same bytes are the same, wherever these come from.
#[derive(Clone)]
pub struct Secret {
    bytes: Box<[u8]>,
    origin: Origin,
}

/// Where the configuration has a key from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the configuration itself.
    #[default]
    Inline,
    /// A file of this name.
    File(Arc<str>),
    /// A credential of this name, which the service manager hands over (systemd.exec(5)).
    Credential(Arc<str>),
}

impl Secret {
    /// Fewest bytes of a key: as many as SHA-256 has (RFC 2104 section 3).
    pub const MIN_LEN: usize = 32;
    /// Most bytes of a key: a block of SHA-256. A longer one would be hashed first (RFC 2104 section 2).
    pub const MAX_LEN: usize = 64;

    /// `None` if there are too few or too many bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (Self::MIN_LEN..=Self::MAX_LEN)
            .contains(&bytes.len())
            .then(|| Self { bytes: bytes.into(), origin: Origin::Inline })
    }

    /// The same, from elsewhere.
    pub fn from_origin(self, origin: Origin) -> Self {
        Self { bytes: self.bytes.clone(), origin }
    }

    /// Where the configuration has it from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Secret {}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(********)")
    }
}

/// What keeps an old advertisement from being taken for a new one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum AntiReplay {
    /// The clock: within [`Hmac::time_window`] of ours, and later than the last one.
    #[default]
    Time,
    /// Later than the last one, whatever the clock.
    Monotonic,
}

impl AntiReplay {
    /// Their names, for messages.
    pub const NAMES: &str = "time or monotonic";

    /// The word in configurations.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Seconds by which the clocks of two hosts may lie apart, 1-300.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeWindow(u16);

impl TimeWindow {
    /// The longest.
    pub const MAX: Self = Self(300);

    /// `None` for a number of seconds that is none.
    pub fn new(seconds: u16) -> Option<Self> {
        (1..=Self::MAX.0).contains(&seconds).then_some(Self(seconds))
    }

    /// In seconds.
    pub fn seconds(self) -> u16 {
        self.0
    }
}

/// Whether unsigned advertisements are accepted, and whether ours are signed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr,
)]
#[strum(serialize_all = "kebab-case")]
pub enum HmacMode {
    /// Ours are signed, and unsigned ones refused.
    #[default]
    Enforce,
    /// Ours are signed, and unsigned ones accepted: it protects nothing.
    Permissive,
    /// Ours are not signed, and unsigned ones accepted: it protects nothing.
    ReceiveOnly,
}

impl HmacMode {
    /// Their names, for messages.
    pub const NAMES: &str = "enforce, permissive or receive-only";

    /// The word in configurations.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_bounds_and_are_not_printed() {
        assert_eq!(Secret::new(&[7; 31]), None);
        assert_eq!(Secret::new(&[7; 65]), None);
        let secret = Secret::new(b"abcdefghijklmnopqrstuvwxyz012345").unwrap();
        let id = KeyId::MIN;
        let key = HmacKey { id, secret };
        assert_eq!(format!("{key:?}"), "HmacKey { id: 1, secret: Secret(********) }");
    }

    #[test]
    fn a_key_is_the_same_wherever_it_comes_from() {
        let inline = Secret::new(&[7; 32]).unwrap();
        let file = inline.clone().from_origin(Origin::File("/k".into()));
        assert_eq!((&inline, inline.origin()), (&file, &Origin::Inline));
        assert_ne!(Some(file), Secret::new(&[8; 32]));
    }

    #[test]
    fn words_are_those_of_keepalived() {
        assert_eq!("receive-only".parse(), Ok(HmacMode::ReceiveOnly));
        assert_eq!(HmacMode::Permissive.name(), "permissive");
        assert_eq!("monotonic".parse(), Ok(AntiReplay::Monotonic));
        assert_eq!(TimeWindow::new(0), None);
        assert_eq!(TimeWindow::new(301), None);
    }

    #[test]
    fn who_only_receives_signs_with_nothing() {
        let key =
            |id| HmacKey { id: KeyId::new(id).unwrap(), secret: Secret::new(&[id; 32]).unwrap() };
        let mut hmac = Hmac {
            keys: vec![key(1), key(2)],
            active_key: KeyId::new(2).unwrap(),
            anti_replay: AntiReplay::Time,
            time_window: TimeWindow::MAX,
            mode: HmacMode::Enforce,
        };
        assert_eq!(hmac.signing_key(), Some(&key(2)));
        hmac.mode = HmacMode::ReceiveOnly;
        assert_eq!(hmac.signing_key(), None);
    }
}
