//! Which of the addresses that bear no mark were put there by this daemon, or by one of the same instance before it that
//! was killed: a file in the runtime directory, which the system empties when it starts, as it does its interfaces.
//!
//! Addresses that are always there bear no mark, as they are the host's own; before Linux 5.18 none does.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fs, str::FromStr};

use super::{Answer, Ask, AssignedAddress, Event, Object, Request, kept};
use crate::core::{InterfaceId, NamespaceId};

/// Name of the file.
const FILE: &str = "addresses";

/// An address as the kernel tells it from others: interface, address, prefix length.
type Key = (InterfaceId, IpAddr, u8);

/// The record.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    /// What we added, and whether it is a virtual address.
    known: BTreeMap<Key, bool>,
    /// Whether the kernel keeps the mark of an address.
    marks: bool,
    /// The last attempt to write failed, which was said.
    failing: bool,
}

fn key(at: &AssignedAddress) -> Key {
    (at.at.iface, at.at.address, at.prefix)
}

/// A line of the file: `2 10.0.0.100/24 virtual`, with `@` and the number of its network namespace behind the index, if that is
/// another one than the daemon's.
fn parse(line: &str) -> Option<(Key, bool)> {
    let mut words = line.split(' ');
    let (iface, address) = (words.next()?, words.next()?);
    let is_virtual = match (words.next()?, words.next()) {
        ("virtual", None) => true,
        ("fixed", None) => false,
        _ => return None,
    };
    let (address, prefix) = address.split_once('/')?;
    let key = (kept::interface(iface)?, IpAddr::from_str(address).ok()?, prefix.parse().ok()?);
    Some((key, is_virtual))
}

impl Record {
    /// The file in a runtime directory.
    pub fn path(runtime_dir: &Path) -> PathBuf {
        runtime_dir.join(FILE)
    }

    /// What the last daemon of the instance left, if it was killed. What cannot be read was not left.
    pub fn open(path: PathBuf, marks: bool) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let known = text.lines().filter_map(parse).collect();
        Self { path, known, marks, failing: false }
    }

    /// Whether an address is known by this record only.
    fn concerns(&self, ask: &Ask) -> Option<(Key, bool)> {
        match &ask.object {
            Object::Address(request) => {
                let at = &request.address;
                (!at.marked || !self.marks).then(|| (key(at), at.marked))
            }
            Object::Route(_)
            | Object::Rule(_)
            | Object::PromoteSecondaries { .. }
            | Object::Refused(..) => None,
        }
    }

    /// Before requests are carried out: whoever is killed after that has left word. Returns which of them are about
    /// addresses that are here already.
    pub fn begin(&mut self, asks: &[Ask]) -> Vec<bool> {
        let mut changed = false;
        let before = asks.iter().map(|ask| match (self.concerns(ask), ask.request) {
            (Some((key, is_virtual)), Request::Add) => {
                let new = self.known.insert(key, is_virtual).is_none();
                changed |= new;
                !new
            }
            (Some((key, _)), Request::Remove) => self.known.contains_key(&key),
            (None, _) => false,
        });
        let before = before.collect();
        self.save_if(changed);
        before
    }

    /// After that: what was there before was put there by others, and what is not there is not ours. Completes the
    /// answers.
    pub fn end(&mut self, asks: &[Ask], before: &[bool], answers: &mut [Answer]) {
        let mut changed = false;
        for ((ask, before), answer) in asks.iter().zip(before).zip(answers) {
            let Some((key, _)) = self.concerns(ask) else { continue };
            let errno = answer.result.as_ref().err().and_then(super::RequestError::errno);
            let keep = match (ask.request, &answer.result) {
                (Request::Add, Ok(())) => true,
                (Request::Add, Err(_)) => *before && errno == Some(libc::EEXIST),
                (Request::Remove, Ok(())) => false,
                (Request::Remove, Err(error)) => *before && !error.is_absent(),
            };
            answer.ours = *before && keep;
            if !keep {
                changed |= self.known.remove(&key).is_some();
            }
        }
        self.save_if(changed);
    }

    /// Notes what the kernel says of an address, and adds the mark that it would bear if the kernel kept it.
    pub fn event(&mut self, event: &mut Event) {
        if self.known.is_empty() {
            return;
        }
        match event {
            Event::Address(at) => self.mark(at),
            Event::AddressRemoved(at) => {
                self.mark(at);
                let changed = self.known.remove(&key(at)).is_some();
                self.save_if(changed);
            }
            Event::LinkRemoved(iface) => {
                let before = self.known.len();
                self.known.retain(|(on, ..), _| on != iface);
                self.save_if(self.known.len() != before);
            }
            Event::Link(_)
            | Event::Route(_)
            | Event::RouteRemoved(_)
            | Event::Rule(_)
            | Event::RuleRemoved(_)
            | Event::RoutesOverrun
            | Event::Overrun => {}
        }
    }

    /// The same for all addresses that there are.
    pub fn everything(&mut self, addresses: &mut [AssignedAddress]) {
        if self.known.is_empty() {
            return;
        }
        for at in &mut *addresses {
            self.mark(at);
        }
        let before = self.known.len();
        let there: HashSet<Key> = addresses.iter().map(key).collect();
        // Of a network namespace that is not there yet nothing is known.
        let listed: HashSet<NamespaceId> =
            addresses.iter().map(|at| at.at.iface.namespace).chain([NamespaceId::OWN]).collect();
        self.known.retain(|key, _| there.contains(key) || !listed.contains(&key.0.namespace));
        self.save_if(self.known.len() != before);
    }

    /// Adds the mark that an address would bear if the kernel kept it.
    pub fn mark(&self, at: &mut AssignedAddress) {
        at.marked |= self.known.get(&key(at)) == Some(&true);
    }

    fn save_if(&mut self, changed: bool) {
        if !changed {
            return;
        }
        match self.save() {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let path = self.path.display();
                    log::warn!(
                        "{path}: {error}; a start after a kill will not know all addresses of ours"
                    );
                }
            }
        }
    }

    fn save(&self) -> io::Result<()> {
        let mut text = String::new();
        for ((iface, address, prefix), is_virtual) in &self.known {
            let kind = if *is_virtual { "virtual" } else { "fixed" };
            let _ = writeln!(text, "{iface} {address}/{prefix} {kind}");
        }
        kept::save(&self.path, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::InterfaceAddr;
    use crate::io::netlink::{AddressRequest, RequestError};

    fn at(address: &str, marked: bool) -> AssignedAddress {
        let address = address.parse().unwrap();
        let at = InterfaceAddr { iface: InterfaceId::own(2), address };
        AssignedAddress { at, prefix: 24, marked, tentative: false }
    }

    fn ask(request: Request, at: AssignedAddress) -> Ask {
        Ask::address(request, AddressRequest::plain(at))
    }

    fn answer(ask: &Ask, errno: Option<i32>) -> Answer {
        let result = errno.map_or(Ok(()), |errno| Err(RequestError::new(Some(errno), "refused")));
        Answer { request: ask.request, subject: ask.subject, result, ours: false }
    }

    /// Carries one request out. Whether the answer says that the address is ours from before.
    fn carry_out(record: &mut Record, ask: Ask, errno: Option<i32>) -> bool {
        let asks = [ask];
        let before = record.begin(&asks);
        let mut answers = [answer(&asks[0], errno)];
        record.end(&asks, &before, &mut answers);
        answers[0].ours
    }

    #[test]
    fn what_was_added_is_known_after_a_kill() {
        let dir = std::env::temp_dir().join(format!("vrrp-record-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = Record::path(&dir);
        let mut record = Record::open(path.clone(), false);
        let (vip, foreign) = (at("10.0.0.100", true), at("10.0.0.101", true));
        let fixed = at("2001:db8::1", false);
        assert!(!carry_out(&mut record, ask(Request::Add, vip), None));
        assert!(!carry_out(&mut record, ask(Request::Add, fixed), None));
        assert!(!carry_out(&mut record, ask(Request::Add, foreign), Some(libc::EEXIST)));
        // Killed here.
        let mut record = Record::open(path.clone(), false);
        let mut seen = [at("10.0.0.100", false), at("10.0.0.101", false), fixed];
        record.everything(&mut seen);
        assert_eq!(seen.map(|at| at.marked), [true, false, false]);
        assert!(carry_out(&mut record, ask(Request::Add, fixed), Some(libc::EEXIST)));
        assert!(carry_out(&mut record, ask(Request::Add, vip), Some(libc::EEXIST)));
        carry_out(&mut record, ask(Request::Remove, vip), None);
        let mut event = Event::AddressRemoved(fixed);
        record.event(&mut event);
        assert!(!path.exists());
        assert!(!carry_out(&mut record, ask(Request::Add, fixed), Some(libc::EEXIST)));
        fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn what_bears_a_mark_needs_no_record() {
        let mut record = Record::open("/nonexistent/addresses".into(), true);
        assert!(!carry_out(&mut record, ask(Request::Add, at("10.0.0.100", true)), None));
        assert!(record.known.is_empty() && !record.failing);
        // One that cannot be written does no harm.
        carry_out(&mut record, ask(Request::Add, at("10.0.0.100", false)), None);
        assert!(record.failing && record.known.len() == 1);
    }

    #[test]
    fn nonsense_in_the_file_is_passed_over() {
        assert_eq!(
            parse("2 10.0.0.1/24 virtual"),
            Some(((InterfaceId::own(2), "10.0.0.1".parse().unwrap(), 24), true))
        );
        let elsewhere = parse("2@7 10.0.0.1/24 fixed").unwrap().0.0;
        assert_eq!(elsewhere, InterfaceId { namespace: NamespaceId(7), ifindex: 2 });
        for line in [
            "", "2", "2@ 10.0.0.1/24 fixed", "2 10.0.0.1 fixed", "2 10.0.0.1/24",
            "2 10.0.0.1/24 fixed more",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
