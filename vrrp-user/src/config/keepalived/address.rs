//! A line of `virtual_ipaddress` and `static_ipaddress`.

use std::net::IpAddr;

use super::{Entry, Parser, Word};
use crate::config::model::{Address, AddressFlags};
use crate::config::report::Located;
use crate::config::routes::TRACK_GROUP;
use crate::config::text;

/// The options that take a value.
const VALUED: &[&str] =
    &["dev", "label", "scope", "brd", "broadcast", "peer", "preferred_lft", TRACK_GROUP];

impl Parser<'_> {
    /// `ADDR[/MASK] [dev IF] [label L] [brd B] [scope S] [no_track] ...`. `None`, with a warning, if the
    /// address cannot be used.
    pub(super) fn virtual_address(&mut self, line: &Entry) -> Option<Located<Address>> {
        let written = &line.keyword.value;
        let Some((ip, prefix)) = text::cidr(written) else {
            self.warning(line.at(), format!("`{written}` is no address; it is skipped"), "");
            return None;
        };
        let prefix = match prefix {
            None => text::full_prefix(ip),
            Some(Ok(prefix)) => prefix,
            Some(Err(bad)) => {
                let full = text::full_prefix(ip);
                // What strtoul(3) makes of it.
                let digits = bad.trim().trim_start_matches('+');
                let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
                let number = match digits.get(..end) {
                    _ if digits.starts_with('-') => None,
                    None | Some("") => Some(0),
                    Some(number) => number.parse().ok().filter(|prefix| *prefix <= full),
                };
                let prefix = number.unwrap_or(full);
                let message = format!("`{bad}` is no prefix length; /{prefix} is used");
                self.warning(line.at(), message, "write it like /24");
                prefix
            }
        };
        let mut address = Address::new(ip, prefix);
        let mut broadcast = None;
        let mut words = line.parameters.iter();
        while let Some(word) = words.next() {
            let option = word.value.as_str();
            if !VALUED.contains(&option) {
                self.address_flag(written, word, &mut address);
                continue;
            }
            let Some(value) = words.next() else {
                let message = format!("{option} has no value; {written} is skipped");
                self.warning(word.at, message, "");
                return None;
            };
            match option {
                "dev" => address.dev = Some(value.value.clone()),
                TRACK_GROUP => address.track_group = Some(value.value.clone()),
                // A label that is too long costs the address, also where it is none.
                "label" if ip.is_ipv6() && value.value.len() < libc::IFNAMSIZ => {
                    self.ipv4_only(written, word);
                }
                "label" => address.label = Some(value.value.clone()),
                "scope" if ip.is_ipv6() => self.ipv4_only(written, word),
                "scope" => self.address_scope(value, &mut address),
                "peer" => self.peer(written, value, &mut address),
                "preferred_lft" => self.preferred_lft(written, word, value, &mut address),
                _ if ip.is_ipv6() => {
                    let message = format!("IPv6 has no broadcast address; {written} is skipped");
                    self.warning(word.at, message, "");
                    return None;
                }
                _ => broadcast = Some(value),
            }
        }
        // Last, because a peer has its own prefix length.
        if let Some(value) = broadcast
            && !self.address_broadcast(written, value, &mut address)
        {
            return None;
        }
        Some(Located::new(address, line.at()))
    }

    fn address_flag(&mut self, written: &str, word: &Word, address: &mut Address) {
        let option = word.value.as_str();
        let named = AddressFlags::NAMED.iter().find(|(name, _)| *name == option);
        match (option, named) {
            (_, Some((_, flag))) => address.flags.set(*flag, true),
            ("no_track", None) => address.no_track = true,
            ("-nodad", None) => address.flags.set(AddressFlags::NODAD, false),
            ("use_vmac", None) => address.virtual_mac = true,
            (_, None) => {
                let message = format!("`{option}` is ignored: {written} has no such option");
                self.warning(word.at, message, "");
            }
        }
    }

    fn ipv4_only(&mut self, written: &str, word: &Word) {
        let message = format!("{} is for IPv4; {written} goes without", word.value);
        self.warning(word.at, message, "");
    }

    fn address_scope(&mut self, value: &Word, address: &mut Address) {
        match text::scope(&value.value) {
            Some(scope) => address.scope = scope,
            None => {
                let message = format!("unknown scope `{}`; global is used", value.value);
                let hint = "global, site, link, host, nowhere or a number";
                self.warning(value.at, message, hint);
            }
        }
    }

    fn peer(&mut self, written: &str, value: &Word, address: &mut Address) {
        let Some((peer, prefix @ (None | Some(Ok(_))))) = text::cidr(&value.value) else {
            let message = format!("`{}` is no address; {written} goes without peer", value.value);
            return self.warning(value.at, message, "");
        };
        if peer.is_ipv4() != address.address.is_ipv4() {
            let message = format!("{peer} is of another family; {written} goes without peer");
            return self.warning(value.at, message, "");
        }
        let longest = text::full_prefix(peer);
        if address.prefix != longest {
            let message = format!("with a peer the prefix length of {written} is ignored");
            self.warning(value.at, message, "");
        }
        address.peer = Some(peer);
        address.prefix = match prefix {
            Some(Ok(prefix)) => prefix,
            None | Some(Err(_)) => longest,
        };
    }

    fn preferred_lft(&mut self, written: &str, word: &Word, value: &Word, address: &mut Address) {
        let seconds = value.value.parse();
        match (address.address, value.value.as_str(), seconds) {
            (IpAddr::V4(_), _, _) => {
                let message = format!("{} is for IPv6; {written} goes without", word.value);
                self.warning(word.at, message, "");
            }
            (IpAddr::V6(_), "forever", _) => address.preferred_lft = None,
            (IpAddr::V6(_), _, Ok(seconds)) => address.preferred_lft = Some(seconds),
            (IpAddr::V6(_), other, Err(_)) => {
                let message = format!("`{other}` is neither seconds nor forever; ignored");
                self.warning(value.at, message, "");
            }
        }
    }

    /// Whether the address can be used.
    fn address_broadcast(&mut self, written: &str, value: &Word, address: &mut Address) -> bool {
        let IpAddr::V4(v4) = address.address else { return true };
        let prefix = address.prefix;
        if address.peer.is_some() {
            let message = format!("{written} has a peer; the broadcast address is ignored");
            self.warning(value.at, message, "");
            return true;
        }
        match text::broadcast(&value.value, v4, prefix) {
            // 0.0.0.0 is none.
            Some(broadcast) => {
                address.broadcast =
                    Some(broadcast.into()).filter(|ip: &IpAddr| !ip.is_unspecified());
            }
            None if matches!(value.value.as_str(), "+" | "-") => {
                let message = format!("/{prefix} leaves no room for a broadcast address");
                self.warning(value.at, message, "");
            }
            None => {
                let message = format!("`{}` is no address; {written} is skipped", value.value);
                self.warning(value.at, message, "");
                return false;
            }
        }
        true
    }
}
