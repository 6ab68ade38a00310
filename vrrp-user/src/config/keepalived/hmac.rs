//! `auth_hmac`: the keys that sign the advertisements of an instance. Nothing here quotes what may be one.

use super::{Entry, Parser, keep};
use crate::config::draft::{HmacDraft, KeyDraft, KeySource, Unprinted};
use crate::config::model::HmacMode;
use crate::config::report::{Located, Report};

/// Keywords of the block.
const KEYWORDS: &[&str] = &["key", "active_key", "anti_replay", "time_window", "mode"];

/// What strict mode makes of it.
pub(super) fn enforce(hmac: &mut HmacDraft, report: &mut Report) {
    let lax = hmac
        .mode
        .take_if(|mode| mode.value.parse().is_ok_and(|mode: HmacMode| mode != HmacMode::default()));
    if let Some(mode) = lax {
        let message = format!("strict mode has no mode {}; enforce is used", mode.value);
        report.warning(mode.at, message, "");
    }
}

impl Parser<'_> {
    /// Several blocks are as good as one.
    pub(super) fn auth_hmac(&mut self, entry: &Entry, to: &mut Option<Located<HmacDraft>>) {
        let hmac =
            &mut to.get_or_insert_with(|| Located::new(HmacDraft::default(), entry.at())).value;
        self.enter_block(entry);
        while let Some(inner) = self.list_entry(entry) {
            match inner.keyword.value.as_str() {
                "key" => hmac.keys.extend(self.key(inner)),
                "active_key" => keep(&mut hmac.active_key, self.value(&inner)),
                "anti_replay" => keep(&mut hmac.anti_replay, self.value(&inner)),
                "time_window" => keep(&mut hmac.time_window, self.value(&inner)),
                "mode" => keep(&mut hmac.mode, self.value(&inner)),
                _ => {
                    let hint = format!("known are {}", KEYWORDS.join(", "));
                    self.warning(inner.at(), "unknown keyword in auth_hmac", &hint);
                    self.skip_block();
                }
            }
        }
    }

    /// `key ID VALUE`.
    fn key(&mut self, entry: Entry) -> Option<Located<KeyDraft>> {
        let at = entry.at();
        let hint = "key 1 hex:..., key 1 file:/PATH, or key 1 and 32 to 64 characters";
        let Ok([id, value]) = <[Located<String>; 2]>::try_from(entry.parameters) else {
            self.error(at, "key takes a number and one value", hint);
            return None;
        };
        let source = match value.value.strip_prefix("file:") {
            Some(path) => KeySource::File(path.to_owned()),
            None => KeySource::Inline(Unprinted(value.value)),
        };
        let secret = Located::new(source, value.at);
        Some(Located::new(KeyDraft { id, secret }, at))
    }
}
