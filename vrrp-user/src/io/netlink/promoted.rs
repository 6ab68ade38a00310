//! Of which interfaces `promote_secondaries` was turned on by this daemon, or by one of the same instance before it that was killed
//! or replaced: a file in the runtime directory, which the system empties when it starts, as it does its interfaces.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Answer, Ask, Batch, Object, Request, RequestError, kept};
use crate::core::netlink::Subject;
use crate::core::{InterfaceId, NamespaceId};
use crate::io::netns;
use crate::printable;
use crate::types;

/// Name of the file.
const FILE: &str = "promoted";

/// Interfaces that are to be as they were, by their numbers.
#[derive(Debug, Default)]
pub struct Promoted {
    /// Where that is kept; nowhere for a while that ends with the process.
    path: Option<PathBuf>,
    known: BTreeSet<InterfaceId>,
    /// The last attempt to write failed, which was said.
    failing: bool,
}

impl Promoted {
    /// What was left in a runtime directory. What cannot be read was not left.
    pub fn open(runtime_dir: &Path) -> Self {
        let path = runtime_dir.join(FILE);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let known = text.lines().filter_map(kept::interface).collect();
        Self { path: Some(path), known, failing: false }
    }

    /// Whether nothing has to be asked of the kernel, because a setting is as it should be. What is turned on is noted before:
    /// whoever is killed after that has left word.
    /// `socket` is one in the network namespace of the interface.
    pub fn begin(&mut self, ask: &Ask, socket: impl AsFd) -> bool {
        let Object::PromoteSecondaries { iface, name } = &ask.object else { return false };
        match ask.request {
            Request::Add => {
                let (_, name) = types::netns::split(name);
                let path = format!("/proc/sys/net/ipv4/conf/{name}/promote_secondaries");
                let is_on = || fs::read_to_string(path).is_ok_and(|value| value.trim() == "1");
                let on = match iface.namespace {
                    NamespaceId::OWN => is_on(),
                    _ => netns::beside(socket, is_on).unwrap_or_default(),
                };
                if !on && self.known.insert(*iface) {
                    self.save();
                }
                on
            }
            Request::Remove => !self.known.contains(iface),
        }
    }

    /// What the kernel has answered to that: what is as it was, is no concern any more.
    pub fn end(&mut self, ask: &Ask, result: &Result<(), RequestError>) {
        let Object::PromoteSecondaries { iface, .. } = &ask.object else { return };
        let is_over = match (ask.request, result) {
            (Request::Add, result) => result.is_err(),
            (Request::Remove, Ok(())) => true,
            (Request::Remove, Err(error)) => error.is_absent(),
        };
        if is_over && self.known.remove(iface) {
            self.save();
        }
    }

    fn save(&mut self) {
        let Some(path) = &self.path else { return };
        let mut text = String::new();
        for iface in &self.known {
            let _ = writeln!(text, "{iface}");
        }
        match kept::save(path, &text) {
            // Without the directory there is nobody who would look there.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                if !std::mem::replace(&mut self.failing, true) {
                    let path = path.display();
                    log::warn!("{path}: {error}; after a kill, `promote_secondaries` will stay on");
                }
            }
            Ok(()) | Err(_) => self.failing = false,
        }
    }
}

/// Turns `promote_secondaries` off again where daemons of an instance have turned it on and nobody did that: of which interfaces,
/// and what came of it.
pub fn restore_settings(runtime_dir: &Path) -> Vec<(String, Result<(), RequestError>)> {
    let mut promoted = Promoted::open(runtime_dir);
    if promoted.known.is_empty() {
        return Vec::new();
    }
    let all: Vec<InterfaceId> = promoted.known.iter().copied().collect();
    let mut restored = Vec::with_capacity(all.len());
    for there in all.chunk_by(|one, next| one.namespace == next.namespace) {
        let Some(namespace) = there.first().map(|iface| iface.namespace) else { continue };
        let mut restore = || restore(there, &mut promoted);
        match namespace {
            NamespaceId::OWN => restored.extend(restore()),
            // One that has no name any more has taken its interfaces along.
            NamespaceId(number) => {
                restored.extend(netns::within_numbered(number, restore).unwrap_or_default());
            }
        }
    }
    let is_here =
        |result: &Result<(), RequestError>| !result.as_ref().is_err_and(RequestError::is_absent);
    restored.retain(|(_, result)| is_here(result));
    restored
}

/// The same for interfaces of the network namespace that this thread is in.
fn restore(
    all: &[InterfaceId],
    promoted: &mut Promoted,
) -> Vec<(String, Result<(), RequestError>)> {
    let off = |iface: &InterfaceId| Ask {
        request: Request::Remove,
        subject: Subject::Object(0),
        object: Object::PromoteSecondaries { iface: *iface, name: "".into() },
    };
    let what = |iface: &InterfaceId| {
        format!("promote_secondaries of {}", printable::interface(iface.ifindex))
    };
    let names: Vec<_> = all.iter().map(what).collect();
    let asks: Vec<_> = all.iter().map(off).collect();
    let results: Vec<_> = match Batch::open() {
        Ok(mut batch) => {
            let answers = batch.carry_out(&asks, promoted).into_iter();
            answers.map(|Answer { result, .. }| result).collect()
        }
        Err(error) => {
            let refused = || RequestError::new(error.raw_os_error(), error.to_string());
            asks.iter().map(|_| Err(refused())).collect()
        }
    };
    names.into_iter().zip(results).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(request: Request, ifindex: u32) -> Ask {
        let object =
            Object::PromoteSecondaries { iface: InterfaceId::own(ifindex), name: "none".into() };
        Ask { request, subject: Subject::Object(0), object }
    }

    fn refused(errno: i32) -> Result<(), RequestError> {
        Err(RequestError::new(Some(errno), "refused"))
    }

    #[test]
    fn what_was_turned_on_is_known_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        let mut promoted = Promoted::open(dir.path());
        for (ifindex, result) in [(2, Ok(())), (3, Ok(())), (4, refused(libc::EPERM))] {
            assert!(!promoted.begin(&ask(Request::Add, ifindex), io::stdin()));
            assert_eq!(
                Promoted::open(dir.path()).known.last(),
                Some(&InterfaceId::own(ifindex)),
                "before it is asked"
            );
            promoted.end(&ask(Request::Add, ifindex), &result);
        }
        // Killed here.
        let mut promoted = Promoted::open(dir.path());
        assert_eq!(Vec::from_iter(&promoted.known), [&InterfaceId::own(2), &InterfaceId::own(3)]);
        assert!(promoted.begin(&ask(Request::Remove, 4), io::stdin()), "somebody else's");
        let off = ask(Request::Remove, 2);
        for result in [refused(libc::EPERM), Ok(())] {
            assert!(!promoted.begin(&off, io::stdin()), "it is still on");
            promoted.end(&off, &result);
        }
        promoted.end(&ask(Request::Remove, 3), &refused(libc::ENODEV));
        assert!(promoted.known.is_empty() && !file.exists());
    }

    #[test]
    fn nonsense_in_the_file_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "\n7\n-1\neth0\n99999999999\n7 7\n7@\n8@9\n").unwrap();
        assert_eq!(
            Vec::from_iter(&Promoted::open(dir.path()).known),
            [&InterfaceId::own(7), &InterfaceId { namespace: NamespaceId(9), ifindex: 8 }]
        );
    }
}
