//! Filters of tc on clsact, where there is no tcx: they outlive a daemon that is killed.

use aya::programs::tc::{SchedClassifierLink, TcHandle};
use aya::programs::{Link, ProgramError, TcAttachType};
use nix::net::if_::if_nameindex;

use super::error::chain;
use crate::core::InterfaceId;
use crate::io::netlink::{Hook, HookPoint, HookState, Inspector};

/// Priority of our filter where there is no tcx: the first, as another one may end the chain. Of several BPF filters of that
/// priority the newest runs first (`cls_bpf_change`, net/sched/cls_bpf.c); where one of another kind has it, the kernel
/// refuses ours, and tc is not available.
pub(super) const FILTER_PRIORITY: u16 = 1;

/// Number of our filters on clsact, which is the same in all versions.
pub(super) fn filter_handle(instance: &str) -> u32 {
    // FNV-1a.
    let hash = instance
        .bytes()
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // 0 would be any.
    hash | 1
}

/// Removes the filters that a daemon of an instance left when it was killed, on all interfaces, be they still configured
/// or not: without tcx, they stay.
pub fn remove_stale_filters(instance: &str) -> Vec<Result<StaleFilter, String>> {
    let filters = stale_filters(instance).into_iter();
    filters.map(|filter| remove_stale_filter(&filter).map(|()| filter)).collect()
}

pub(super) fn remove_stale_filter(filter: &StaleFilter) -> Result<(), String> {
    let StaleFilter { interface, egress, handle } = filter;
    let way = if *egress { TcAttachType::Egress } else { TcAttachType::Ingress };
    let handle = TcHandle::from(*handle);
    let left = SchedClassifierLink::attached(interface, way, FILTER_PRIORITY, handle, None);
    left.map_err(ProgramError::from).and_then(|left| left.detach()).map_err(|error| {
        format!("{interface}: a tc program of a daemon that was killed stays: {}", chain(&error))
    })
}

pub(super) fn tidy_filters(instance: &str) {
    for left in remove_stale_filters(instance) {
        match left {
            Ok(StaleFilter { interface, .. }) => {
                log::info!("{interface}: removed a tc program of a daemon that was killed");
            }
            Err(why) => log::warn!("{why}"),
        }
    }
}

/// A filter of an instance on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleFilter {
    /// Where.
    pub interface: String,
    /// Of what leaves.
    pub egress: bool,
    /// Its number among those of the same priority.
    pub handle: u32,
}

impl StaleFilter {
    /// The word of tc(8) for its direction.
    pub const fn direction(&self) -> &'static str {
        if self.egress { "egress" } else { "ingress" }
    }

    /// The command that removes it.
    pub fn removal(&self) -> String {
        let Self { interface, egress: _, handle } = self;
        let direction = self.direction();
        format!(
            "tc filter del dev {interface} {direction} protocol all pref {FILTER_PRIORITY} handle {handle:#x} bpf"
        )
    }
}

/// The filters of an instance on all interfaces.
pub fn stale_filters(instance: &str) -> Vec<StaleFilter> {
    let handle = filter_handle(instance);
    let interfaces = if_nameindex();
    let places = interfaces.iter().flatten().flat_map(|interface| {
        let name = interface.name().to_string_lossy().into_owned();
        [false, true].map(|egress| (interface.index(), name.clone(), egress))
    });
    let places: Vec<_> = places.collect();
    let hooks: Vec<_> = places
        .iter()
        .map(|&(ifindex, _, egress)| {
            let at = HookPoint::Filter { egress, priority: FILTER_PRIORITY, handle };
            // Whichever program it is.
            Hook { iface: InterfaceId::own(ifindex), at, program: 0, serial: 0 }
        })
        .collect();
    let Ok(mut inspector) = Inspector::open() else { return Vec::new() };
    let there = inspector.inspect(&hooks).into_iter().zip(places);
    let there = there.filter(|((_, state), _)| matches!(state, HookState::Lost(Some(_))));
    there.map(|(_, (_, interface, egress))| StaleFilter { interface, egress, handle }).collect()
}
