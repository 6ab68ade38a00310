//! What daemons left that were killed, and no later one has removed.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;

use super::{Check, Finding, some};
use crate::io::bpf::{self, StaleFilter};
use crate::types::instance::{Instance, RUNTIME_DIR};

/// Programs of this instance, and of others that were started here, where none of them runs.
pub fn examine(instance: &Instance) -> Finding {
    let others = fs::read_dir(RUNTIME_DIR).into_iter().flatten().flatten();
    let others = others.filter_map(|entry| entry.file_name().to_str()?.parse::<Instance>().ok());
    let others = others.filter(|other| other != instance);
    let dead = [instance.clone()].into_iter().chain(others).filter(is_dead);
    let left = dead.flat_map(|instance| {
        let filters = bpf::stale_filters(instance.name());
        filters.into_iter().map(move |filter| (instance.clone(), filter))
    });
    found(&left.collect::<Vec<_>>())
}

/// Whether nobody listens. Who may not ask does not know.
fn is_dead(instance: &Instance) -> bool {
    UnixStream::connect(instance.socket()).is_err_and(|error| {
        matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
    })
}

fn found(left: &[(Instance, StaleFilter)]) -> Finding {
    let check = Check::LeftBehind;
    let [(instance, first), ..] = left else {
        return Finding::fine(check, "no filter of a daemon that was killed");
    };
    let named: Vec<_> = left
        .iter()
        .map(|(_, filter)| format!("{} ({})", filter.interface, filter.direction()))
        .collect();
    let drops = if left.iter().all(|(_, filter)| filter.egress) {
        ""
    } else {
        ", and what arrives and would have been refused is still dropped"
    };
    let text = format!(
        "tc programs of daemons that were killed are on {}: they cost each packet some time{drops}",
        some(&named)
    );
    Finding::warning(check, text).hint(format!(
        "they go when their instance ({instance}) is started again; by hand: {}",
        first.removal()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn each_is_named_and_how_it_goes() {
        assert_eq!(found(&[]).severity, Severity::Fine);
        let filter = |interface: &str, egress| {
            let interface = interface.to_owned();
            ("red".parse().unwrap(), StaleFilter { interface, egress, handle: 0x1f })
        };
        let leaves = found(&[filter("eth1", true)]);
        assert!(!leaves.text.contains("dropped"), "{leaves:?}");
        let finding = found(&[filter("eth1", false), filter("eth1", true)]);
        assert!(finding.text.contains("dropped"), "{finding:?}");
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.text.contains("eth1 (ingress)"), "{finding:?}");
        assert!(finding.text.contains("eth1 (egress)"), "{finding:?}");
        let hint = finding.hint.unwrap();
        assert!(hint.contains("instance (red)"), "{hint}");
        assert!(
            hint.ends_with("tc filter del dev eth1 ingress protocol all pref 1 handle 0x1f bpf"),
            "{hint}"
        );
    }
}
