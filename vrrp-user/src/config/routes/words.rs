//! The words of a line, one after the other, and what most options take.

use std::net::IpAddr;

use super::{Family, Prefix, Remark};
use crate::config::report::{Located, Position};
use crate::config::text;
use crate::types::netns::{InvalidNetns, Netns};

pub(super) type Word = Located<String>;

/// The words that are still to be read.
pub(super) struct Words<'a> {
    left: std::slice::Iter<'a, Word>,
    /// The family, as soon as something says it.
    pub(super) family: Option<Family>,
}

impl<'a> Words<'a> {
    pub(super) fn new(words: &'a [Word]) -> Self {
        Self { left: words.iter(), family: None }
    }

    pub(super) fn next(&mut self) -> Option<&'a Word> {
        self.left.next()
    }

    /// The next word, without taking it.
    pub(super) fn peek(&self) -> &'a str {
        self.left.as_slice().first().map_or("", |word| &word.value)
    }

    pub(super) fn value(&mut self, option: &Word) -> Result<&'a Word, Remark> {
        let message = || format!("{} has no value", option.value);
        self.next().ok_or_else(|| Remark::new(option.at, message(), ""))
    }

    /// Takes the next word if it is this one.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let there = self.peek() == word;
        if there {
            self.next();
        }
        there
    }

    /// Everything so far is of one family.
    pub(super) fn admit(&mut self, family: Family, at: Position) -> Result<(), Remark> {
        match self.family {
            Some(known) if known != family => {
                Err(Remark::new(at, format!("{family} where everything before is {known}"), ""))
            }
            Some(_) => Ok(()),
            None => {
                self.family = Some(family);
                Ok(())
            }
        }
    }

    pub(super) fn address(&mut self, option: &Word) -> Result<IpAddr, Remark> {
        let word = self.value(option)?;
        let Ok(address) = word.value.parse() else {
            let message = format!("`{}` is no address", word.value);
            return Err(Remark::new(word.at, message, ""));
        };
        self.admit(Family::of(address), word.at)?;
        Ok(address)
    }

    /// An address with an optional prefix length; `None` for all addresses of a family that others tell.
    pub(super) fn prefix(&mut self, word: &Word) -> Result<Option<Prefix>, Remark> {
        if matches!(word.value.as_str(), "default" | "any" | "all") {
            return Ok(None);
        }
        let (address, length) = match text::cidr(&word.value) {
            Some((address, None)) => (address, text::full_prefix(address)),
            Some((address, Some(Ok(length)))) => (address, length),
            Some((_, Some(Err(_)))) | None => {
                let message = format!("`{}` is no address with a prefix length", word.value);
                return Err(Remark::new(word.at, message, "write it like 10.0.0.0/24"));
            }
        };
        self.admit(Family::of(address), word.at)?;
        Ok(Some(Prefix { address, length }))
    }

    /// The value of an option as a number up to `max`, in decimal, in hexadecimal behind `0x`, in octal behind `0`.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, option: &Word, max: u64) -> Result<T, Remark> {
        let word = self.value(option)?;
        let number = text::number(&word.value).filter(|number| *number <= max);
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let message =
                format!("{} must be a number up to {max}, not `{}`", option.value, word.value);
            Remark::new(word.at, message, "")
        })
    }

    /// The value of an option by name or as a number.
    pub(super) fn named<T: TryFrom<u32>>(
        &mut self,
        option: &Word,
        mut look_up: impl FnMut(&str) -> Option<u32>,
    ) -> Result<T, Remark> {
        let word = self.value(option)?;
        look_up(&word.value).and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let message = format!("unknown {} `{}`", option.value, word.value);
            Remark::new(word.at, message, "a number always works")
        })
    }

    /// A network namespace.
    pub(super) fn netns(&mut self, option: &Word) -> Result<Netns, Remark> {
        let word = self.value(option)?;
        word.value.parse().map_err(|error: InvalidNetns| {
            let message = format!("`{}` is no network namespace", word.value);
            Remark::new(word.at, message, error.to_string())
        })
    }

    /// The name of an interface.
    pub(super) fn interface(&mut self, option: &Word) -> Result<String, Remark> {
        let word = self.value(option)?;
        if text::is_interface_name(&word.value) {
            return Ok(word.value.clone());
        }
        let message = format!("`{}` cannot be the name of an interface", word.value);
        Err(Remark::new(word.at, message, ""))
    }
}
