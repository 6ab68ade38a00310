//! The keys that sign advertisements: read, and judged. A file without a key that it names is refused as a whole, because
//! a router without it would say that it is safe, or refuse what the others send. No message quotes a key.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Validator;
use crate::config::draft::{HmacDraft, KeyDraft, KeySource};
use crate::config::model::{
    AntiReplay, Hmac, HmacKey, HmacMode, KeyId, Origin, Secret, TimeWindow,
};
use crate::config::report::{Located, Position};
use crate::config::source::Files;
use crate::config::text;
use crate::engine::time::Nanos;
use crate::engine::types::AdvertInterval;

/// What begins a value in hexadecimal digits.
const HEX: &str = "hex:";
/// Where the service manager puts credentials (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The shortest time window where nothing says another one, in seconds (keepalived's `VRRP_AUTH_HMAC_WINDOW_FLOOR`).
const LEAST_WINDOW: u64 = 5;
/// Intervals in it.
const WINDOW_INTERVALS: u64 = 3;
/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;
/// Permissions of a file that neither its owner nor its group has.
const OTHERS: u32 = 0o007;

/// What a file with a key holds, or why it cannot be used.
pub(super) type KeyFile = Result<Arc<Zeroizing<Vec<u8>>>, String>;

/// Why bytes are no key.
enum NoKey {
    NotHex,
    /// Their number.
    Length(usize),
}

/// The bytes of a value: behind `hex:`, or as they are.
fn bytes(value: &[u8]) -> Result<Zeroizing<Vec<u8>>, NoKey> {
    match value.strip_prefix(HEX.as_bytes()) {
        Some(digits) => digits_of(digits),
        None => Ok(Zeroizing::new(value.to_vec())),
    }
}

fn digits_of(digits: &[u8]) -> Result<Zeroizing<Vec<u8>>, NoKey> {
    let bytes = std::str::from_utf8(digits).ok().and_then(text::hex);
    bytes.map(Zeroizing::new).ok_or(NoKey::NotHex)
}

/// The bytes of a file, without the end of its line.
fn read(path: &Path) -> KeyFile {
    if !path.is_absolute() {
        return Err("its path does not begin with /".to_owned());
    }
    let problem = |error: io::Error| error.to_string();
    let mut bytes = Zeroizing::new(Files::default().read(path).map_err(problem)?);
    while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(Arc::new(bytes))
}

impl Validator<'_> {
    pub(super) fn hmac(
        &mut self,
        written: Option<&Located<HmacDraft>>,
        interval: AdvertInterval,
        password: Option<&Located<Vec<u8>>>,
    ) -> Option<Hmac> {
        let Located { value: draft, at } = written?;
        if let Some(password) = password {
            let message = format!("authentication does not go with {}", self.format.hmac);
            self.report.error(password.at, message, "remove one of them, on all routers at once");
        }
        let keys = self.keys(&draft.keys);
        if draft.keys.is_empty() {
            let message = format!("{} has no key", self.format.hmac);
            self.report.error(*at, message, "");
        }
        let active_key = self.active_key(draft, *at);
        let anti_replay = self.named(draft.anti_replay.as_ref(), "anti_replay", AntiReplay::NAMES);
        let mode: Option<HmacMode> = self.named(draft.mode.as_ref(), "mode", HmacMode::NAMES);
        if let (Some(mode @ (HmacMode::Permissive | HmacMode::ReceiveOnly)), Some(written)) =
            (mode, &draft.mode)
        {
            let message = format!(
                "mode {} accepts unsigned advertisements, and so protects nothing",
                mode.name()
            );
            let hint = "for the time of a change only: enforce, as soon as all routers sign";
            self.report.warning(written.at, message, hint);
        }
        let time_window = self.time_window(draft.time_window.as_ref(), interval);
        Some(Hmac {
            keys,
            active_key: active_key?,
            anti_replay: anti_replay.unwrap_or_default(),
            time_window,
            mode: mode.unwrap_or_default(),
        })
    }

    fn named<T: std::str::FromStr>(
        &mut self,
        written: Option<&Located<String>>,
        keyword: &str,
        known: &str,
    ) -> Option<T> {
        let Located { value, at } = written?;
        let read = value.parse().ok();
        if read.is_none() {
            self.report.error(*at, format!("unknown {keyword} `{value}`"), known);
        }
        read
    }

    fn keys(&mut self, drafts: &[Located<KeyDraft>]) -> Vec<HmacKey> {
        let mut seen: Vec<(KeyId, usize)> = Vec::new();
        let mut keys = Vec::new();
        for Located { value: KeyDraft { id, secret }, at } in drafts {
            let id = self.key_id("the number of a key", id);
            let secret = self.secret(secret);
            let Some(id) = id else { continue };
            if let Some((_, line)) = seen.iter().find(|(other, _)| *other == id) {
                let message = format!("there is a key {id} already, in line {line}");
                self.report.error(*at, message, "each key has its own number");
                continue;
            }
            seen.push((id, at.line));
            keys.extend(secret.map(|secret| HmacKey { id, secret }));
        }
        keys
    }

    fn key_id(&mut self, what: &str, written: &Located<String>) -> Option<KeyId> {
        let id = written.value.trim().parse().ok().and_then(KeyId::new);
        if id.is_none() {
            // It may be a key, where the number was forgotten.
            self.report.error(written.at, format!("{what} must be 1 to 255"), "");
        }
        id
    }

    fn active_key(&mut self, draft: &HmacDraft, at: Position) -> Option<KeyId> {
        let hmac = self.format.hmac;
        let Some(written) = &draft.active_key else {
            self.report.error(
                at,
                format!("{hmac} has no active_key"),
                "the number of the key that signs",
            );
            return None;
        };
        let id = self.key_id("active_key", written)?;
        let mut keys = draft.keys.iter().map(|key| key.value.id.value.trim().parse().ok());
        if !keys.any(|key| key == Some(id)) {
            let message = format!("there is no key {id}, which active_key names");
            self.report.error(written.at, message, "");
        }
        Some(id)
    }

    /// The default is [`WINDOW_INTERVALS`] intervals, at least [`LEAST_WINDOW`].
    fn time_window(
        &mut self,
        written: Option<&Located<String>>,
        interval: AdvertInterval,
    ) -> TimeWindow {
        let Some(Located { value, at }) = written else {
            let Nanos(nanos) = interval.duration();
            let seconds = (nanos * WINDOW_INTERVALS).div_ceil(SECOND).max(LEAST_WINDOW);
            let window = u16::try_from(seconds).ok().and_then(TimeWindow::new);
            return window.unwrap_or(TimeWindow::MAX);
        };
        let window = value.trim().parse().ok().and_then(TimeWindow::new);
        window.unwrap_or_else(|| {
            let message = format!("time_window must be 1 to 300 whole seconds, not `{value}`");
            self.report.error(*at, message, "");
            TimeWindow::MAX
        })
    }

    fn secret(&mut self, written: &Located<KeySource>) -> Option<Secret> {
        let at = written.at;
        let (bytes, origin) = match &written.value {
            KeySource::Inline(text) => (bytes(text.0.as_bytes()), Origin::Inline),
            KeySource::Hex(text) => (digits_of(text.0.as_bytes()), Origin::Inline),
            KeySource::Text(text) => {
                (Ok(Zeroizing::new(text.0.as_bytes().to_vec())), Origin::Inline)
            }
            KeySource::File(path) => {
                let content = self.key_file(Path::new(path), at)?;
                (bytes(&content), Origin::File(path.as_str().into()))
            }
            KeySource::Credential(name) => {
                let content = self.credential(name, at)?;
                (bytes(&content), Origin::Credential(name.as_str().into()))
            }
        };
        let place = match &origin {
            Origin::Inline => String::new(),
            Origin::File(path) => format!(" in {path}"),
            Origin::Credential(name) => format!(" in the credential {name}"),
        };
        let problem = match bytes {
            Ok(bytes) => match Secret::new(&bytes) {
                Some(secret) => return Some(secret.from_origin(origin)),
                None => NoKey::Length(bytes.len()),
            },
            Err(problem) => problem,
        };
        let (min, max) = (Secret::MIN_LEN, Secret::MAX_LEN);
        let (message, hint) = match problem {
            NoKey::NotHex => (
                format!("the key{place} is not in pairs of hexadecimal digits"),
                self.format.key_form,
            ),
            NoKey::Length(length) if length < min => (
                format!("the key{place} has {length} bytes, and needs at least {min}"),
                "openssl rand -hex 32",
            ),
            NoKey::Length(length) => {
                (format!("the key{place} has {length} bytes, and may have {max} at most"), "")
            }
        };
        self.report.error(at, message, hint);
        None
    }

    fn credential(&mut self, name: &str, at: Position) -> Option<Arc<Zeroizing<Vec<u8>>>> {
        let unit_hint = "LoadCredential= of the unit hands it over; outside of the unit, set it to its directory below \
                         /run/credentials";
        if name.is_empty() || name.contains('/') {
            self.report.error(at, format!("`{name}` cannot be the name of a credential"), "");
            return None;
        }
        let Some(directory) = std::env::var_os(CREDENTIALS) else {
            let message = format!("there is no credential {name}: {CREDENTIALS} is not set");
            self.report.error(at, message, unit_hint);
            return None;
        };
        self.key_file(&Path::new(&directory).join(name), at)
    }

    /// What a file with a key holds.
    fn key_file(&mut self, path: &Path, at: Position) -> Option<Arc<Zeroizing<Vec<u8>>>> {
        let found = self.keys.entry(path.to_owned()).or_insert_with(|| read(path)).clone();
        let shown = path.display();
        match found {
            Ok(bytes) => {
                if path.metadata().is_ok_and(|file| file.mode() & OTHERS != 0) {
                    let message = format!("everybody has access to {shown}, which holds a key");
                    self.report.warning(
                        at,
                        message,
                        "chmod o= it; the user of the daemon must be able to read it",
                    );
                }
                Some(bytes)
            }
            Err(why) => {
                let hint = "it is read as the user of the daemon; LoadCredential= of the unit hands over what only root may read";
                self.report.error(at, format!("cannot read the key in {shown}: {why}"), hint);
                None
            }
        }
    }
}
