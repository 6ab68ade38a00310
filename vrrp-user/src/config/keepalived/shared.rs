//! What an instance can say for itself, and `global_defs`, with `vrrp_` in front, for all of them.

use super::delays::ExtraIf;
use super::{Entry, Parser, keep};
use crate::config::draft::set;
use crate::config::model::Fence;
use crate::config::report::Located;
use crate::engine::time::Nanos;
use crate::engine::types::GarpPolicy;

/// `None` is what nothing is said about.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) master_repeat: Option<u32>,
    pub(super) master_delay: Option<Nanos>,
    refresh: Option<Nanos>,
    pub(super) refresh_repeat: Option<u32>,
    pub(super) lower_prio_repeat: Option<u32>,
    pub(super) lower_prio_delay: Option<Nanos>,
    pub(super) extra_if: ExtraIf,
    pub(super) lower_prio_no_advert: Option<bool>,
    pub(super) higher_prio_send_advert: Option<bool>,
    pub(super) owner_ignores_adverts: Option<Located<bool>>,
    pub(super) down_adverts: Option<Located<String>>,
    pub(super) fence: Option<Fence>,
}

impl Shared {
    /// Sets what is said about gratuitous ARP.
    pub(super) fn apply(&self, garp: &mut GarpPolicy) {
        set(&mut garp.master_repeat, self.master_repeat);
        set(&mut garp.master_delay, self.master_delay);
        set(&mut garp.refresh, self.refresh);
        set(&mut garp.refresh_repeat, self.refresh_repeat);
        set(&mut garp.lower_prio_repeat, self.lower_prio_repeat);
        set(&mut garp.lower_prio_delay, self.lower_prio_delay);
    }
}

impl Parser<'_> {
    /// Whether it is one of these keywords, as an instance has it.
    pub(super) fn shared_entry(&mut self, keyword: &str, entry: &Entry, to: &mut Shared) -> bool {
        match keyword {
            "garp_master_delay" => keep(&mut to.master_delay, self.delay(entry)),
            "garp_master_repeat" => keep(&mut to.master_repeat, self.rounds(entry)),
            "garp_master_refresh" => keep(&mut to.refresh, self.seconds(entry)),
            "garp_master_refresh_repeat" => keep(&mut to.refresh_repeat, self.rounds(entry)),
            "garp_lower_prio_delay" => keep(&mut to.lower_prio_delay, self.delay(entry)),
            "garp_lower_prio_repeat" => keep(&mut to.lower_prio_repeat, self.number(entry)),
            "garp_extra_if" | "vmac_garp_intvl" => self.extra_if(entry, &mut to.extra_if),
            "down_timer_adverts" => {
                let value = self.value(entry).map(|word| self.number_in_front(word, ""));
                keep(&mut to.down_adverts, value);
            }
            "lower_prio_no_advert" => keep(&mut to.lower_prio_no_advert, self.boolean(entry)),
            "higher_prio_send_advert" => keep(&mut to.higher_prio_send_advert, self.boolean(entry)),
            "owner_ignore_adverts" => {
                let ignores = self.boolean(entry).map(|on| Located::new(on, entry.at()));
                keep(&mut to.owner_ignores_adverts, ignores);
            }
            // A keyword of ours.
            "fence" => {
                let Some(value) = self.value(entry) else { return true };
                match value.value.parse() {
                    Ok(fence) => to.fence = Some(fence),
                    Err(_) => self.bad_value(entry, &value, Fence::NAMES),
                }
            }
            _ => return false,
        }
        true
    }
}
