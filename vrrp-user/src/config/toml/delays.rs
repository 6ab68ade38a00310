//! `startup_delay` and the other keys of the file that are delays, `[[garp_group]]` and `[[interface]]`.

use super::{Reader, Table};
use crate::capture::{self, CaptureMode};
use crate::config::draft::{CaptureDraft, DelaysDraft, GarpGroupDraft};
use crate::config::model::LinkDelay;
use crate::config::report::Located;
use crate::engine::time::Nanos;

pub(super) const GARP_GROUP_KEYS: &[&str] = &["interfaces", "garp_interval", "gna_interval"];
pub(super) const INTERFACE_KEYS: &[&str] = &["name", "down_delay", "up_delay", "capture"];

impl Reader<'_> {
    /// What waits, and how interfaces capture.
    pub(super) fn delays(&mut self, root: &Table<'_, '_>) -> (DelaysDraft, CaptureDraft) {
        let mut capture =
            CaptureDraft { default: self.capture(root).flatten(), ..CaptureDraft::default() };
        let mut links = Vec::new();
        for Located { value, at } in
            self.objects(root, "interface", INTERFACE_KEYS, Self::interface)
        {
            let (link, mode) = value;
            if let Some(mode) = mode {
                capture.interfaces.push(Located::new((link.interface.clone(), mode), at));
            }
            if link.down > Nanos::ZERO || link.up > Nanos::ZERO || mode.is_none() {
                links.push(Located::new(link, at));
            }
        }
        let delays = DelaysDraft {
            startup: self.duration(root, "startup_delay"),
            after_boot: self.duration(root, "delay_after_boot"),
            garp: self.duration(root, "garp_interval"),
            gna: self.duration(root, "gna_interval"),
            garp_groups: self.garp_groups(root),
            links,
        };
        (delays, capture)
    }

    /// The value of `capture`, if it is there.
    fn capture(&mut self, table: &Table<'_, '_>) -> Option<Option<CaptureMode>> {
        self.read(table, "capture", |text| {
            capture::setting(text)
                .map_err(|error| (format!("`{text}` is no way to capture"), error))
        })
    }

    fn garp_groups(&mut self, root: &Table<'_, '_>) -> Vec<Located<GarpGroupDraft>> {
        const KIND: &str = "garp_group";
        let Some(tables) = self.tables(root, KIND) else { return Vec::new() };
        let mut groups = Vec::new();
        for table in tables {
            let Some(table) = self.nested(table, KIND, GARP_GROUP_KEYS) else { continue };
            let interfaces = match self.get(&table, "interfaces") {
                None => Vec::new(),
                Some((_, at)) => {
                    let names = self.words(&table, "interfaces").into_iter();
                    names.map(|name| Located::new(name, at)).collect()
                }
            };
            let garp = self.duration(&table, "garp_interval");
            let gna = self.duration(&table, "gna_interval");
            groups.push(Located::new(GarpGroupDraft { interfaces, garp, gna }, table.at));
        }
        groups
    }

    #[allow(clippy::unnecessary_wraps, reason = "as all readers of tables with a name")]
    fn interface(
        &mut self,
        table: &Table<'_, '_>,
        interface: String,
    ) -> Option<(LinkDelay, Option<Option<CaptureMode>>)> {
        let capture = self.capture(table);
        let mut delay = |key| self.span(table, key).unwrap_or(Nanos::ZERO);
        let (down, up) = (delay("down_delay"), delay("up_delay"));
        Some((LinkDelay { interface, down, up }, capture))
    }
}
