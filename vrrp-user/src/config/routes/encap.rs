//! `encap`: what a packet is put into on the way that a route leads it.
//!
//! The words are those of ip-route(8). What needs a program, a key or options of a tunnel device is not here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::words::{Word, Words};
use super::{Context, Family, Remark, option};
use crate::config::text::number;

/// Labels that iproute2 takes (`MPLS_MAX_LABELS`).
const MAX_LABELS: usize = 16;
/// The largest label (RFC 3032 section 2.1).
const LARGEST_LABEL: u32 = (1 << 20) - 1;
/// The longest routing header, in units of 8 bytes behind the first (RFC 8754 section 2).
const LONGEST_HEADER: usize = u8::MAX as usize;
/// Flags of a tunnel by the names that ip-route(8) has for them (`TUNNEL_*`, linux/if_tunnel.h).
const FLAGS: [(&str, u16); 3] = [("csum", 1), ("key", 4), ("seq", 8)];
/// How the checksum is kept right (`ILA_CSUM_*`, linux/ila.h).
const CSUM_MODES: &[(&str, u8)] =
    &[("adj-transport", 0), ("neutral-map", 1), ("no-action", 2), ("neutral-map-auto", 3)];
/// What an identifier is (`ILA_ATYPE_*`, linux/ila.h).
const IDENT_TYPES: &[(&str, u8)] = &[("luid", 1), ("use-format", 32)];
/// When the locator is put in (`ILA_HOOK_*`, linux/ila.h).
const HOOK_TYPES: &[(&str, u8)] = &[("output", 0), ("input", 1)];

/// What a packet is put into.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Encap {
    /// Labels, the outermost first.
    Mpls {
        /// 20 bits each.
        labels: Vec<u32>,
        /// TTL of the labels; `None` for that of the packet.
        ttl: Option<u8>,
    },
    /// What a tunnel device of external mode puts around it.
    Ip(IpEncap),
    /// Identifier-locator addressing.
    Ila {
        /// The upper half of the destination.
        locator: u64,
        /// `ILA_CSUM_*`.
        csum_mode: Option<u8>,
        /// `ILA_ATYPE_*`.
        ident_type: Option<u8>,
        /// `ILA_HOOK_*`.
        hook_type: Option<u8>,
    },
    /// A segment routing header (RFC 8754).
    Seg6 {
        /// Where it goes.
        mode: Seg6Mode,
        /// The segments, the first one first.
        segments: Vec<Ipv6Addr>,
        /// Number of the key that signs it.
        hmac: Option<u32>,
    },
}

/// What a tunnel device is told of a packet (`LWTUNNEL_IP_*`, `LWTUNNEL_IP6_*`, linux/lwtunnel.h).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IpEncap {
    /// That of the outer header.
    pub family: Family,
    /// Number of the tunnel.
    pub id: Option<u64>,
    /// Outer destination.
    pub dst: Option<IpAddr>,
    /// Outer source.
    pub src: Option<IpAddr>,
    /// Type of service, or traffic class.
    pub class: Option<u8>,
    /// TTL, or hop limit.
    pub hops: Option<u8>,
    /// `TUNNEL_*`.
    pub flags: u16,
}

/// Where a segment routing header goes (`SEG6_IPTUN_MODE_*`, linux/seg6_iptunnel.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
#[repr(u8)]
pub enum Seg6Mode {
    /// Into the packet itself.
    Inline = 0,
    /// Into an IPv6 header around it.
    Encap = 1,
    /// The same around its Ethernet frame.
    L2Encap = 2,
    /// As `encap`, without the first segment.
    #[strum(serialize = "encap.red")]
    EncapReduced = 3,
    /// As `l2encap`, without the first segment.
    #[strum(serialize = "l2encap.red")]
    L2EncapReduced = 4,
}

/// Reads what stands behind `encap`.
pub(super) fn read(
    encap: &Word,
    words: &mut Words<'_>,
    context: &mut Context,
) -> Result<Encap, Remark> {
    let kind = words.value(encap)?;
    match kind.value.as_str() {
        "mpls" => mpls(kind, words),
        "ip" => ip(kind, Family::V4, words, context),
        "ip6" => ip(kind, Family::V6, words, context),
        "ila" => ila(kind, words),
        "seg6" => seg6(kind, words),
        other => {
            let message = format!("encap {other} is not supported");
            Err(Remark::new(kind.at, message, "mpls, ip, ip6, ila and seg6 are"))
        }
    }
}

/// A value that is not what it should be.
fn wrong<T>(word: &Word, what: &str, hint: &str) -> Result<T, Remark> {
    Err(Remark::new(word.at, format!("`{}` is no {what}", word.value), hint))
}

/// `mpls LABEL[/LABEL...] [ttl TTL]`.
fn mpls(kind: &Word, words: &mut Words<'_>) -> Result<Encap, Remark> {
    let word = words.value(kind)?;
    let labels = word.value.split('/').map(number::<u32>).collect::<Option<Vec<u32>>>();
    let labels = labels.filter(|labels| labels.iter().all(|label| *label <= LARGEST_LABEL));
    let Some(labels) = labels.filter(|labels| labels.len() <= MAX_LABELS) else {
        return wrong(word, "list of MPLS labels", "up to 16 numbers of 20 bits: 100/200");
    };
    let ttl = match words.peek() {
        "ttl" => hops(words)?,
        _ => None,
    };
    Ok(Encap::Mpls { labels, ttl })
}

/// `ttl N` or `hoplimit N`.
fn hops(words: &mut Words<'_>) -> Result<Option<u8>, Remark> {
    let Some(option) = words.next() else { return Ok(None) };
    words.number(option, u8::MAX.into()).map(Some)
}

/// `ip [id N] [dst A] [src A] [tos N] [ttl N] [key] [csum] [seq]`, and the same of `ip6` with `tc` and `hoplimit`.
fn ip(
    kind: &Word,
    family: Family,
    words: &mut Words<'_>,
    context: &mut Context,
) -> Result<Encap, Remark> {
    let mut encap = IpEncap { family, ..IpEncap::default() };
    let address = |option: &Word, words: &mut Words<'_>| {
        let word = words.value(option)?;
        match word.value.parse::<IpAddr>() {
            Ok(address) if Family::of(address) == family => Ok(Some(address)),
            Ok(_) | Err(_) => wrong(word, &format!("{family} address"), ""),
        }
    };
    loop {
        match (words.peek(), family) {
            ("id", _) => {
                let Some(option) = words.next() else { break };
                encap.id = Some(words.number(option, u64::MAX)?);
            }
            ("dst" | "remote", _) => {
                let Some(option) = words.next() else { break };
                encap.dst = address(option, words)?;
            }
            ("src" | "local", _) => {
                let Some(option) = words.next() else { break };
                encap.src = address(option, words)?;
            }
            ("tos" | "dsfield", Family::V4) | ("tc", Family::V6) => {
                let Some(option) = words.next() else { break };
                encap.class = Some(words.named(option, |text| context.tos(text))?);
            }
            ("ttl", Family::V4) | ("hoplimit", Family::V6) => encap.hops = hops(words)?,
            (word, _) => {
                let Some((_, flag)) = FLAGS.iter().find(|(name, _)| *name == word) else { break };
                encap.flags |= flag;
                words.next();
            }
        }
    }
    if encap.dst.is_none() && encap.id.is_none() {
        let message = format!("encap {} has neither dst nor id", kind.value);
        return Err(Remark::new(kind.at, message, ""));
    }
    Ok(Encap::Ip(encap))
}

/// `ila LOCATOR [csum-mode M] [ident-type T] [hook-type H]`.
fn ila(kind: &Word, words: &mut Words<'_>) -> Result<Encap, Remark> {
    let word = words.value(kind)?;
    let parts = word.value.split(':').map(|part| u16::from_str_radix(part, 16).ok());
    let parts = parts.collect::<Option<Vec<u16>>>().unwrap_or_default();
    let [a, b, c, d] = parts.as_slice() else {
        return wrong(word, "locator", "four numbers of 16 bits in hexadecimal: 2001:0:87:0");
    };
    let locator = [a, b, c, d].iter().fold(0, |all, part| all << 16 | u64::from(**part));
    let (mut csum_mode, mut ident_type, mut hook_type) = (None, None, None);
    loop {
        let (to, names) = match words.peek() {
            "csum-mode" => (&mut csum_mode, CSUM_MODES),
            "ident-type" => (&mut ident_type, IDENT_TYPES),
            "hook-type" => (&mut hook_type, HOOK_TYPES),
            _ => break,
        };
        let Some(option) = words.next() else { break };
        let named = |text: &str| names.iter().find(|(name, _)| *name == text);
        *to = Some(words.named(option, |text| named(text).map(|(_, number)| (*number).into()))?);
    }
    Ok(Encap::Ila { locator, csum_mode, ident_type, hook_type })
}

/// `seg6 mode MODE segs A[,B...] [hmac KEY]`.
fn seg6(kind: &Word, words: &mut Words<'_>) -> Result<Encap, Remark> {
    let (mut mode, mut segments, mut hmac) = (None, None, None);
    loop {
        match words.peek() {
            "mode" => {
                let Some(word) = words.next().map(|option| words.value(option)).transpose()? else {
                    break;
                };
                let Ok(known) = word.value.parse::<Seg6Mode>() else {
                    return wrong(
                        word,
                        "mode of seg6",
                        "inline, encap, l2encap, encap.red or l2encap.red",
                    );
                };
                mode = Some(known);
            }
            "segs" => {
                let Some(word) = words.next().map(|option| words.value(option)).transpose()? else {
                    break;
                };
                let list = word.value.split(',').map(str::parse);
                let Ok(list) = list.collect::<Result<Vec<Ipv6Addr>, _>>() else {
                    return wrong(word, "list of IPv6 addresses", "fc00::1,fc00::2");
                };
                segments = Some((list, word));
            }
            "hmac" => {
                let Some(option) = words.next() else { break };
                hmac = Some(words.number(option, u32::MAX.into())?);
            }
            _ => break,
        }
    }
    let (Some(mode), Some((segments, word))) = (mode, segments) else {
        return Err(Remark::new(kind.at, "encap seg6 needs a mode and segs", ""));
    };
    if srh_length(mode, segments.len(), hmac.is_some()) > LONGEST_HEADER {
        return Err(Remark::new(word.at, "a routing header has no room for so many segments", ""));
    }
    Ok(Encap::Seg6 { mode, segments, hmac })
}

/// The length of a segment routing header as it says it itself: in units of 8 bytes, without the first one. Inline, the
/// destination of the packet is one segment more; a signature has 40 bytes.
pub fn srh_length(mode: Seg6Mode, segments: usize, is_signed: bool) -> usize {
    (segments + usize::from(mode == Seg6Mode::Inline)) * 2 + usize::from(is_signed) * 5
}

/// The name of a number.
fn name(names: &[(&'static str, u8)], number: Option<u8>) -> Option<String> {
    let number = number?;
    let name = names.iter().find(|(_, known)| *known == number);
    Some(name.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned()))
}

/// What is joined by a sign.
fn joined<T: ToString>(parts: &[T], sign: &str) -> String {
    parts.iter().map(T::to_string).collect::<Vec<_>>().join(sign)
}

impl fmt::Display for Encap {
    /// As `ip route` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mpls { labels, ttl } => {
                write!(f, "encap mpls {}", joined(labels, "/"))?;
                option(f, "ttl", *ttl)
            }
            Self::Ip(encap) => encap.fmt(f),
            Self::Ila { locator, csum_mode, ident_type, hook_type } => {
                let [a, b, c, d] = [48, 32, 16, 0].map(|shift| locator >> shift & 0xffff);
                write!(f, "encap ila {a:x}:{b:x}:{c:x}:{d:x}")?;
                option(f, "csum-mode", name(CSUM_MODES, *csum_mode))?;
                option(f, "ident-type", name(IDENT_TYPES, *ident_type))?;
                option(f, "hook-type", name(HOOK_TYPES, *hook_type))
            }
            Self::Seg6 { mode, segments, hmac } => {
                write!(f, "encap seg6 mode {mode} segs {}", joined(segments, ","))?;
                option(f, "hmac", *hmac)
            }
        }
    }
}

impl fmt::Display for IpEncap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, class, hops) = match self.family {
            Family::V4 => ("ip", "tos", "ttl"),
            Family::V6 => ("ip6", "tc", "hoplimit"),
        };
        write!(f, "encap {kind}")?;
        option(f, "id", self.id)?;
        option(f, "dst", self.dst)?;
        option(f, "src", self.src)?;
        option(f, class, self.class)?;
        option(f, hops, self.hops)?;
        let set = FLAGS.iter().filter(|(_, flag)| self.flags & flag != 0);
        set.into_iter().try_for_each(|(flag, _)| write!(f, " {flag}"))
    }
}
