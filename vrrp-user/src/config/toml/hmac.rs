//! `hmac` of a router: the keys that sign its advertisements. Nothing here quotes one.

use toml::Spanned;
use toml::de::DeValue;

use super::{Reader, Table};
use crate::config::draft::{HmacDraft, KeyDraft, KeySource, Unprinted};
use crate::config::report::Located;

pub(super) const HMAC_KEYS: &[&str] = &["keys", "active_key", "anti_replay", "time_window", "mode"];
pub(super) const KEY_KEYS: &[&str] = &["id", "hex", "text", "file", "credential"];

impl Reader<'_> {
    pub(super) fn hmac(&mut self, router: &Table<'_, '_>) -> Option<Located<HmacDraft>> {
        let table = self.sub_table(router, "hmac", HMAC_KEYS)?;
        let keys = self.array(&table, "keys").map_or(&[][..], |(keys, _)| keys);
        let time_window = self.duration(&table, "time_window");
        let time_window = time_window
            .map(|window| Located::new(window.value.as_secs_f64().to_string(), window.at));
        let hmac = HmacDraft {
            keys: keys.iter().filter_map(|key| self.hmac_key(key)).collect(),
            active_key: self.number(&table, "active_key"),
            anti_replay: self.string(&table, "anti_replay"),
            time_window,
            mode: self.string(&table, "mode"),
        };
        Some(Located::new(hmac, table.at))
    }

    /// `{ id = 1, file = "/PATH" }`, or `hex`, `text` or `credential`.
    fn hmac_key(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Located<KeyDraft>> {
        let table = self.nested(value, "a key", KEY_KEYS)?;
        let id = self.number(&table, "id");
        if table.lookup("id").is_none() {
            self.report.error(table.at, "a key has no id", "add id = 1");
        }
        let mut sources = Vec::new();
        for kind in ["hex", "text", "file", "credential"] {
            let Some((value, at)) = self.get(&table, kind) else { continue };
            let Some(text) = value.as_str() else {
                self.wrong_type(at, kind, "a string", value);
                continue;
            };
            let source = match kind {
                "hex" => KeySource::Hex(Unprinted(text.to_owned())),
                // As it is, also with braces.
                "text" => KeySource::Text(Unprinted(text.to_owned())),
                "file" => KeySource::File(self.expanded(text, at)?),
                _ => KeySource::Credential(self.expanded(text, at)?),
            };
            sources.push(Located::new(source, at));
        }
        let Ok([secret]) = <[Located<KeySource>; 1]>::try_from(sources) else {
            let message = "a key has one of hex, text, file and credential";
            self.report.error(table.at, message, "{ id = 1, credential = \"vrrp\" }");
            return None;
        };
        Some(Located::new(KeyDraft { id: id?, secret }, table.at))
    }
}
