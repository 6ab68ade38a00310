//! The program that checks signatures: loaded when the first router has some, by an object of their own over the maps that are
//! pinned. A host without signed advertisements has none of it.

use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::ProgramArray;
use aya::programs::ProgramFd;
use vrrp_common::maps::{HMAC_XDP, HMAC_XDP_PROGRAM, XDP_PROGRAM};

use super::error::{Error, chain};
use super::load::{load_object, load_signatures, program_pin};
use super::without::{Feature, Without};
use super::{Datapath, sized_loader, use_pinned};
use crate::api::problem::{Limitation, LimitationKind};
use crate::capture::{CaptureMode, ModeSet};
use crate::core::Sizes;

/// Which programs check signatures.
#[derive(Debug, Default)]
pub struct Signatures {
    /// The modes in which they receive.
    modes: ModeSet,
    /// Why not more of them.
    refused: Vec<String>,
}

/// What loads them, on whichever thread.
#[derive(Clone, Debug)]
pub struct SignatureLoader {
    pins: PathBuf,
    sizes: Sizes,
    source_key: u64,
    without: Without,
}

/// Those in which XDP receives.
fn modes() -> ModeSet {
    let mut modes = ModeSet::default();
    modes.insert(CaptureMode::Native);
    modes.insert(CaptureMode::Generic);
    modes
}

impl SignatureLoader {
    /// Loads them, and has those that receive go over to them.
    pub fn load(&self) -> Signatures {
        let mut signatures = Signatures::default();
        if let Err(error) = self.try_load(&mut signatures) {
            signatures.refused.push(chain(&error));
        }
        signatures
    }

    fn try_load(&self, signatures: &mut Signatures) -> Result<(), Error> {
        let Self { pins, sizes, source_key, without } = self;
        if without.lacks(Feature::Signatures) {
            return Err(Error::Masked(Feature::Signatures));
        }
        let mut loader = sized_loader(*sizes, source_key);
        use_pinned(&mut loader, pins);
        let mut ebpf = load_object(&mut loader, *without)?;
        if !program_pin(pins, XDP_PROGRAM).exists() {
            signatures.refused.push("XDP is not available".to_owned());
            return Ok(());
        }
        match load_signatures(&mut ebpf)? {
            Some(error) => signatures.refused.push(chain(&error)),
            None => {
                self.put(&mut ebpf)?;
                signatures.modes = modes();
            }
        }
        Ok(())
    }

    /// Has a program called, and pins it for a daemon that adopts it.
    fn put(&self, ebpf: &mut Ebpf) -> Result<(), Error> {
        let (name, array) = (HMAC_XDP_PROGRAM, HMAC_XDP);
        let program = ebpf.program_mut(name).ok_or(Error::Missing(name))?;
        let path = program_pin(&self.pins, name);
        let _ = std::fs::remove_file(&path);
        if let Err(error) = program.pin(&path) {
            log::debug!("program {name}: {}", chain(&error));
        }
        let fd: ProgramFd = program.fd()?.try_clone().map_err(Error::Watch)?;
        let map = ebpf.map_mut(array).ok_or(Error::Missing(array))?;
        let mut map = ProgramArray::try_from(map).map_err(Error::map(array))?;
        map.set(0, &fd, 0).map_err(Error::map(array))
    }
}

impl Datapath {
    /// The modes whose programs check signatures, as far as any were loaded.
    pub fn signature_modes(&self) -> ModeSet {
        self.signature_modes.unwrap_or_default()
    }

    /// Whether it was tried to load the programs that check signatures.
    pub fn knows_signatures(&self) -> bool {
        self.signature_modes.is_some()
    }

    /// What loads the programs that check signatures, unless that was done, or cannot be.
    pub fn signature_loader(&self) -> Option<SignatureLoader> {
        if self.signature_modes.is_some() {
            return None;
        }
        let pins = self.pins.as_ref()?.dir().to_owned();
        let (sizes, source_key, without) = (self.sizes, self.source_key, self.masked);
        Some(SignatureLoader { pins, sizes, source_key, without })
    }

    /// Takes what came of it; `None` where it could not be tried.
    pub fn set_signatures(&mut self, signatures: Option<Signatures>) {
        let Signatures { modes, mut refused } = signatures.unwrap_or_default();
        self.signature_modes = Some(modes);
        if self.pins.is_none() && self.without.is_none() {
            refused.push("no pins".to_owned());
        }
        if !refused.is_empty() {
            let text = format!(
                "signatures are checked by the daemon, wherever no program can: {}",
                refused.join("; ")
            );
            log::warn!("{text}");
            self.lacks.push(Limitation { kind: LimitationKind::NoSignatures, text });
        }
    }

    /// Goes on with the programs that a daemon has left, if it left any.
    pub fn adopt_signatures(&mut self) {
        let Some(pins) = self.pins.as_ref().filter(|_| self.adopts) else { return };
        let is_pinned = |name| program_pin(pins.dir(), name).exists();
        if is_pinned(HMAC_XDP_PROGRAM) {
            self.signature_modes = Some(modes());
        }
    }
}
