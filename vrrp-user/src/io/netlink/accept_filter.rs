//! What keeps packets to some addresses from being delivered to this host (RFC 9568 section 6.1, `Accept_Mode`): the table of
//! [`accept_rules`], in the network namespace of the thread that opens it.
//!
//! The table outlives the process, as the addresses do that a killed daemon leaves behind. Nobody owns it
//! (`NFT_TABLE_F_OWNER`, Linux 5.12), because then it would end with the socket, before those; so others may remove it, as
//! `nft flush ruleset` does, and it is made again when it is looked at.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use netlink_packet_netfilter::nftables::{
    ChainAttribute, GenAttribute, GenMessage, NfTablesMessage, TableAttribute, TableFlags,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkPayload, Nla, NlasIterator,
};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::accept_rules::{self, NFTA_COUNTER_PACKETS, NFTA_OBJ_DATA, RULES, Step};
use super::{Request, RequestError, once};
use crate::wire::family::Family;

/// The part of netfilter that a transaction is for (linux/netfilter/nfnetlink.h).
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// Bytes that a transaction may have besides those of its messages, by which the kernel reckons.
const OVERHEAD: usize = 4096;

/// Why packets to addresses are let in all the same.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no nf_tables.
    #[error("the kernel has no nf_tables: {0}")]
    Missing(#[source] io::Error),
    /// It is taken as missing.
    #[error("the kernel is taken to have no nf_tables")]
    Masked,
    /// The socket could not be opened, or used.
    #[error("cannot ask nf_tables: {0}")]
    Socket(#[source] io::Error),
    /// The kernel refused something.
    #[error("nf_tables refuses {what}: {error}")]
    Refused {
        /// What.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The kernel does not answer.
    #[error("no answer from nf_tables: {0}")]
    NoAnswer(#[source] io::Error),
    /// It answers something else.
    #[error("an answer from nf_tables cannot be read")]
    Unreadable,
}

impl Error {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Missing(error) | Self::Refused { error, .. } => error.raw_os_error(),
            Self::Masked | Self::Socket(_) | Self::NoAnswer(_) | Self::Unreadable => None,
        }
    }

    /// Whether this process may not ask.
    pub fn is_permission(&self) -> bool {
        self.errno() == Some(libc::EPERM)
    }

    fn refused(what: &'static str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => {
                Self::Missing(error)
            }
            _ => Self::Refused { what, error },
        }
    }
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        Self::new(error.errno(), error.to_string())
    }
}

/// The table of an instance.
#[derive(Debug)]
pub struct AcceptFilter {
    table: String,
    masked: bool,
    connection: Option<Connection>,
    /// What it lets nothing in for, if it was made by this process, and what the generation of all tables was then.
    there: Option<(Arc<[IpAddr]>, u32)>,
    counted: Counted,
}

/// How many packets were refused.
#[derive(Debug, Default)]
struct Counted {
    /// By tables that others have removed.
    before: u64,
    /// By the one that there is.
    now: u64,
}

impl Counted {
    /// The counter has this value. The sum.
    fn reads(&mut self, now: u64) -> u64 {
        if now < self.now {
            self.before += self.now;
        }
        self.now = now;
        self.before + self.now
    }
}

impl AcceptFilter {
    /// That of an instance, of which nothing is known. `masked`: as if the kernel had no nf_tables.
    pub fn new(instance: &str, masked: bool) -> Self {
        let table = format!("vrrp-user-{instance}");
        Self { table, masked, connection: None, there: None, counted: Counted::default() }
    }

    /// The same for another network namespace, of which nothing is known either.
    pub fn another(&self) -> Self {
        let (table, masked) = (self.table.clone(), self.masked);
        Self { table, masked, connection: None, there: None, counted: Counted::default() }
    }

    /// Whether there is nf_tables, and this process may use it, as far as can be told without making anything.
    /// Errors: [`Error`].
    pub fn look(&mut self) -> Result<(), Error> {
        let table = NfTablesMessage::GetTable(accept_rules::named(&self.table));
        self.get(table).map(drop)
    }

    /// The name of the table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Carries out a request: [`Request::Add`] lets nothing in for these addresses, and for no others; where it was so
    /// before, it is looked whether it still is. [`Request::Remove`] removes the table.
    /// Errors: [`Error`]; whatever was there before is there then.
    pub fn carry_out(
        &mut self,
        request: Request,
        addresses: &Arc<[IpAddr]>,
    ) -> Result<(), RequestError> {
        let done = match request {
            Request::Add => self.refuse(addresses),
            Request::Remove => self.remove().map(|_| ()),
        };
        done.map_err(|error| {
            // Whatever it was: the next one begins anew.
            self.connection = None;
            error.into()
        })
    }

    fn refuse(&mut self, addresses: &Arc<[IpAddr]>) -> Result<(), Error> {
        let generation = self.generation()?;
        if let Some((there, seen)) = &self.there
            && there == addresses
        {
            if *seen == generation {
                return Ok(());
            }
            if self.is_intact(addresses)? {
                self.there = Some((Arc::clone(addresses), generation));
                return Ok(());
            }
            log::warn!(
                "the table {} of nf_tables was removed or changed by somebody else; it is made anew",
                self.table
            );
        }
        self.transact(accept_rules::set_up(&self.table, addresses))?;
        // That of the transaction. If others came between, it is another one by now, and looked at again.
        self.there = Some((Arc::clone(addresses), generation.wrapping_add(1).max(1)));
        Ok(())
    }

    /// Removes the table. Whether there was one.
    /// Errors: [`Error`].
    pub fn remove(&mut self) -> Result<bool, Error> {
        self.there = None;
        // As a rule there is none, and a transaction that fails waits for RCU, which every start would.
        let table = NfTablesMessage::GetTable(accept_rules::named(&self.table));
        let removed = self.get(table).and_then(|table| {
            let steps = accept_rules::tear_down(&self.table);
            table.map(|_| self.transact(steps)).transpose()
        });
        match removed {
            Ok(removed) => Ok(removed.is_some()),
            Err(Error::Missing(_) | Error::Masked) => Ok(false),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How many packets were refused until now; `None` without a table.
    /// Errors: [`Error`].
    pub fn refused(&mut self) -> Result<Option<u64>, Error> {
        if self.there.is_none() {
            return Ok(None);
        }
        let counter = NfTablesMessage::GetObject(accept_rules::counter(&self.table, false));
        let Some(NfTablesMessage::NewObject(attributes)) = self.get(counter)? else {
            return Ok(None);
        };
        let data = attribute(&attributes, NFTA_OBJ_DATA).ok_or(Error::Unreadable)?;
        let packets = NlasIterator::new(&data[..]).flatten();
        let packets = packets.filter(|nla| nla.kind() == NFTA_COUNTER_PACKETS);
        let packets =
            packets.filter_map(|nla| Some(u64::from_be_bytes(nla.value().try_into().ok()?)));
        let packets = packets.last().ok_or(Error::Unreadable)?;
        Ok(Some(self.counted.reads(packets)))
    }

    /// The number of the last transaction of all that were carried out in this network namespace.
    fn generation(&mut self) -> Result<u32, Error> {
        let question = NfTablesMessage::GetGen(GenMessage { attributes: Vec::new() });
        let Some(NfTablesMessage::NewGen(GenMessage { attributes })) = self.get(question)? else {
            return Err(Error::Unreadable);
        };
        let id = attributes.iter().find_map(|attribute| {
            if let GenAttribute::Id(id) = attribute { Some(*id) } else { None }
        });
        id.ok_or(Error::Unreadable)
    }

    /// Whether the table is as it was made.
    fn is_intact(&mut self, addresses: &[IpAddr]) -> Result<bool, Error> {
        let table = NfTablesMessage::GetTable(accept_rules::named(&self.table));
        let Some(NfTablesMessage::NewTable(table)) = self.get(table)? else { return Ok(false) };
        let dormant = |attribute: &TableAttribute| matches!(attribute, TableAttribute::Flags(flags) if flags.contains(TableFlags::Dormant));
        if table.attributes.iter().any(dormant) {
            return Ok(false);
        }
        let chain = NfTablesMessage::GetChain(accept_rules::chain(&self.table));
        let Some(NfTablesMessage::NewChain(chain)) = self.get(chain)? else { return Ok(false) };
        let is_hooked =
            chain.attributes.iter().any(|attribute| matches!(attribute, ChainAttribute::Hook(_)));
        if !is_hooked || !chain.attributes.contains(&ChainAttribute::Use(RULES)) {
            return Ok(false);
        }
        let mut there = BTreeSet::new();
        for family in [Family::V4, Family::V6] {
            let set = accept_rules::elements(&self.table, family, None);
            let Some(found) = self.list(NfTablesMessage::GetSetElement(set))? else {
                return Ok(false);
            };
            for message in found {
                if let NfTablesMessage::NewSetElement(elements) = message {
                    there.extend(accept_rules::addresses(&elements));
                }
            }
        }
        Ok(there == addresses.iter().copied().collect())
    }

    /// Carries out all steps, or none.
    fn transact(&mut self, steps: Vec<Step>) -> Result<(), Error> {
        self.connection()?.transact(steps)
    }

    /// What the kernel has of something; `None` if that is not there.
    fn get(&mut self, question: NfTablesMessage) -> Result<Option<NfTablesMessage>, Error> {
        Ok(self.ask(question, 0)?.and_then(|mut answers| answers.pop()))
    }

    /// All that the kernel has of something; `None` if that is not there.
    fn list(&mut self, question: NfTablesMessage) -> Result<Option<Vec<NfTablesMessage>>, Error> {
        self.ask(question, NLM_F_DUMP)
    }

    fn ask(
        &mut self,
        question: NfTablesMessage,
        flags: u16,
    ) -> Result<Option<Vec<NfTablesMessage>>, Error> {
        match self.connection()?.ask(question, flags) {
            Ok(answers) => Ok(Some(answers)),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn connection(&mut self) -> Result<&mut Connection, Error> {
        if self.masked {
            return Err(Error::Masked);
        }
        match &mut self.connection {
            Some(connection) => Ok(connection),
            none @ None => Ok(none.insert(Connection::open()?)),
        }
    }
}

/// A socket to nf_tables.
#[derive(Debug)]
struct Connection {
    socket: Socket,
    sequence: u32,
}

impl Connection {
    fn open() -> Result<Self, Error> {
        let open = || {
            let socket = once::open(NETLINK_NETFILTER)?;
            socket.set_cap_ack(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|error: io::Error| match error.raw_os_error() {
            Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => Error::Missing(error),
            _ => Error::Socket(error),
        })?;
        Ok(Self { socket, sequence: 0 })
    }

    fn transact(&mut self, steps: Vec<Step>) -> Result<(), Error> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = self.message(control(ControlMessage::BatchBegin), 0);
        let (count, mut names) = (steps.len(), vec!["a transaction"]);
        for (number, (name, flags, message)) in steps.into_iter().enumerate() {
            // The last one is answered also where all is well.
            let ack = if number + 1 == count { NLM_F_ACK } else { 0 };
            bytes.extend(self.message(inet(message), flags | ack));
            names.push(name);
        }
        let last = self.sequence;
        bytes.extend(self.message(control(ControlMessage::BatchEnd), 0));
        // One datagram, whatever its length. Who may not do that may do nothing here.
        let _ = setsockopt(&self.socket, sockopt::SndBufForce, &(bytes.len() + OVERHEAD));
        self.send(&bytes)?;
        loop {
            for (sequence, answer) in self.receive()? {
                let Some(name) = names.get(sequence.wrapping_sub(first) as usize) else { continue };
                let NetlinkPayload::Error(error) = answer else { continue };
                if error.code.is_some() {
                    return Err(Error::refused(name, error.to_io()));
                }
                if sequence == last {
                    return Ok(());
                }
            }
        }
    }

    /// The answers to a question: one, or with `NLM_F_DUMP` any number.
    fn ask(
        &mut self,
        question: NfTablesMessage,
        flags: u16,
    ) -> Result<Vec<NfTablesMessage>, Error> {
        let bytes = self.message(inet(question), flags);
        self.send(&bytes)?;
        let mut answers = Vec::new();
        loop {
            for (sequence, answer) in self.receive()? {
                if sequence != self.sequence {
                    continue;
                }
                if let NetlinkPayload::Done(_) = answer {
                    return Ok(answers);
                }
                if let NetlinkPayload::Error(error) = answer {
                    return Err(Error::refused("a question", error.to_io()));
                }
                let NetlinkPayload::InnerMessage(message) = answer else {
                    return Err(Error::Unreadable);
                };
                if let NetfilterMessageInner::NfTables(message) = message.inner {
                    answers.push(message);
                }
            }
            if flags & NLM_F_DUMP == 0 && !answers.is_empty() {
                return Ok(answers);
            }
        }
    }

    /// A request with the next number.
    fn message(&mut self, body: NetfilterMessage, flags: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = once::bytes(body, NLM_F_REQUEST | flags, self.sequence);
        // NLMSG_ALIGN: the next one begins at a multiple of four.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        loop {
            match self.socket.send(bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(|_| ()).map_err(Error::Socket),
            }
        }
    }

    /// What one datagram holds, by sequence number.
    fn receive(&self) -> Result<Vec<(u32, NetlinkPayload<NetfilterMessage>)>, Error> {
        let datagram = loop {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => break datagram,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::NoAnswer(error)),
            }
        };
        let messages = once::messages::<NetfilterMessage>(&datagram);
        let parts = messages.map(|message| {
            let message = message.map_err(|_| Error::Unreadable)?;
            Ok((message.header.sequence_number, message.payload))
        });
        parts.collect()
    }
}

/// Begins or ends a transaction.
fn control(message: ControlMessage) -> NetfilterMessage {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES);
    NetfilterMessage::new(header, message)
}

/// About a table for both families.
fn inet(message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), message)
}

/// The value of an attribute.
fn attribute(attributes: &[DefaultNla], kind: u16) -> Option<Vec<u8>> {
    let found =
        attributes.iter().find(|nla| nla.kind() & !rtnetlink::packet_core::NLA_F_NESTED == kind)?;
    let mut value = vec![0; found.value_len()];
    found.emit_value(&mut value);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_removed_tables_have_counted_stays_counted() {
        let mut counted = Counted::default();
        assert_eq!([5, 9, 0, 2, 2].map(|now| counted.reads(now)), [5, 9, 9, 11, 11]);
    }

    #[test]
    fn without_nf_tables_nothing_is_refused_and_nothing_is_left() {
        let mut filter = AcceptFilter::new("test", true);
        let addresses: Arc<[IpAddr]> = Arc::new(["10.0.0.1".parse().unwrap()]);
        let error = filter.carry_out(Request::Add, &addresses).unwrap_err();
        assert_eq!(error.to_string(), "the kernel is taken to have no nf_tables");
        assert_eq!(filter.carry_out(Request::Remove, &addresses), Ok(()));
        assert_eq!(filter.refused().unwrap(), None);
    }
}
