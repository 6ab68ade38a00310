//! What of a kernel is taken as missing, so that what takes its place can be tried on any kernel.

use std::env;
use std::fmt;
use std::str::FromStr;

use strum::{EnumString, IntoStaticStr, VariantArray};

/// The environment variable by which `run` and `doctor` are told, for tests only.
pub const VARIABLE: &str = "VRRP_USER_WITHOUT";

/// Something that a kernel, or the rights of a daemon there, may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Feature {
    /// All of BPF, as where a seccomp filter refuses bpf(2).
    Bpf,
    /// Ring buffers.
    RingBuffer,
    /// As much memory that may be locked as the maps need, before Linux 5.11.
    LockedMemory,
    /// A place to pin maps.
    Bpffs,
    /// XDP with all that the program needs, packets in fragments and the helpers for them among that, as before Linux 5.18.
    Xdp,
    /// XDP in the drivers.
    Native,
    /// XDP in the network stack.
    Generic,
    /// The tc program that receives.
    Ingress,
    /// Reading packets in place in tc programs, as in Linux 5.10 with the rights of the unit.
    InPlace,
    /// tcx, as before Linux 6.6.
    Tcx,
    /// The qdisc clsact, which takes the place of tcx.
    Clsact,
    /// The tc program that counts what leaves.
    Egress,
    /// Programs that check signatures.
    Signatures,
    /// nf_tables.
    Nftables,
}

impl Feature {
    /// All of them.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// Its word in [`VARIABLE`].
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What is taken as missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    features: [bool; Feature::ALL.len()],
}

impl Without {
    /// These.
    pub fn of(features: &[Feature]) -> Self {
        let mut without = Self::default();
        for feature in features {
            without.features[*feature as usize] = true;
        }
        without
    }

    /// What the environment says; nothing where it says nothing.
    /// Errors: [`UnknownFeature`].
    pub fn from_environment() -> Result<Self, UnknownFeature> {
        match env::var_os(VARIABLE) {
            Some(words) => words.to_string_lossy().parse(),
            None => Ok(Self::default()),
        }
    }

    /// Whether it is taken as missing.
    pub fn lacks(self, feature: Feature) -> bool {
        self.features[feature as usize]
    }

    /// Whether nothing is.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Feature::ALL.iter().filter(|feature| self.lacks(**feature));
        f.write_str(&names.map(|feature| feature.name()).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Without {
    type Err = UnknownFeature;

    /// Reads words with commas between them.
    fn from_str(words: &str) -> Result<Self, UnknownFeature> {
        let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
        let features: Result<Vec<_>, _> =
            words.map(|word| word.parse().map_err(|_| UnknownFeature(word.to_owned()))).collect();
        Ok(Self::of(&features?))
    }
}

/// A word that names nothing that could be missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE}: `{0}` is nothing that a kernel could lack; write some of {names}, with commas between them",
    names = Feature::ALL.iter().map(|feature| feature.name()).collect::<Vec<_>>().join(", "))]
pub struct UnknownFeature(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_a_word() {
        for &feature in Feature::ALL {
            let without: Without = feature.name().parse().unwrap();
            assert_eq!(without, Without::of(&[feature]));
            assert_eq!(without.to_string(), feature.name());
            assert!(without.lacks(feature) && !without.is_nothing());
        }
        let some: Without = " tcx, xdp,".parse().unwrap();
        assert_eq!(some, Without::of(&[Feature::Xdp, Feature::Tcx]));
        assert_eq!(some.to_string(), "xdp,tcx");
        assert!("".parse::<Without>().unwrap().is_nothing());
        let unknown = "xdp,wings".parse::<Without>().unwrap_err().to_string();
        assert!(unknown.contains("`wings`") && unknown.contains("bpf, ring-buffer"), "{unknown}");
    }
}
