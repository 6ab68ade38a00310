//! Attaching the programs to interfaces, and keeping them there.

use aya::programs::links::{FdLink, LinkError};
use aya::programs::tc::{
    self, NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcHandle,
};
use aya::programs::xdp::{XdpLink, XdpLinkId};
use aya::programs::{LinkOrder, TcAttachType, XdpMode};
use nix::net::if_::if_nametoindex;

use super::error::{Error, chain, errno};
use super::filters::{FILTER_PRIORITY, StaleFilter, remove_stale_filter};
use super::interface_numbers::{self, NumberedInterface};
use super::load::{NOT_COUNTED, Programs, classifier, loaded, xdp};
use super::others::{is_xdp_generic, occupant};
use super::pins::{Direction, Pins};
use super::{Datapath, Feature};
use crate::api::problem::{Limitation, LimitationKind};
use crate::capture::{CaptureMode, Failure};
use crate::core::{Hooks, InterfaceId};
use crate::io::netlink::{self, Hook, HookPoint};

/// The programs on one interface.
pub(super) struct Attached {
    iface: InterfaceId,
    /// None where it was taken away and could not be put back.
    ingress: Option<Attachment>,
    /// [`Hook::serial`].
    serial: u64,
    /// None where the kernel could not attach it: then what leaves is not counted.
    egress: Option<Attachment>,
}

impl Attached {
    fn at(&mut self, way: Direction) -> &mut Option<Attachment> {
        match way {
            Direction::In => &mut self.ingress,
            Direction::Out => &mut self.egress,
        }
    }
}

/// A program on an interface.
enum Attachment {
    Xdp(XdpLinkId),
    Tc(Direction, SchedClassifierLinkId),
    /// None: the daemon itself captures.
    Raw,
}

impl Attachment {
    /// Where its link is pinned, if it has one.
    fn way(&self) -> Direction {
        match self {
            Self::Xdp(_) | Self::Raw => Direction::In,
            Self::Tc(way, _) => *way,
        }
    }

    /// Whether it is attached by a link: a filter, without tcx, is not.
    fn has_link(&self, tcx: bool) -> bool {
        match self {
            Self::Xdp(_) => true,
            Self::Tc(..) => tcx,
            Self::Raw => false,
        }
    }
}

impl Datapath {
    /// Attaches to an interface in one mode. What was attached before goes when that is there. The programs leave with the
    /// daemon. The egress program comes along in the modes of tc and of packet sockets, and beside XDP only if there is one
    /// already: the rest is for [`Self::mend_egress`].
    /// Errors: why not. What was attached before stays.
    pub fn attach(
        &mut self,
        place: NumberedInterface,
        ifname: &str,
        mode: CaptureMode,
        serial: u64,
    ) -> Result<(), Failure> {
        let NumberedInterface { iface, number } = place;
        let ingress = match self.adopt_ingress(place, ifname, mode) {
            Some(ingress) => Some(ingress),
            None => Some(self.attach_and_keep(place, ifname, mode)?),
        };
        let mut egress = None;
        if let Some(before) = self.links.remove(&number) {
            egress = before.egress;
            if let Err(error) = self.detach_program(before.ingress) {
                log::error!("{ifname}: {}", chain(&error));
            }
        }
        let egress = match mode {
            CaptureMode::Native | CaptureMode::Generic if egress.is_none() => {
                self.adopt_egress(number, ifname)
            }
            CaptureMode::Native | CaptureMode::Generic | CaptureMode::Tc | CaptureMode::Raw => {
                self.reattach_egress(number, ifname, egress)
            }
        };
        self.links.insert(number, Attached { iface, ingress, serial, egress });
        Ok(())
    }

    fn attach_and_keep(
        &mut self,
        place: NumberedInterface,
        ifname: &str,
        mode: CaptureMode,
    ) -> Result<Attachment, Failure> {
        let attached = self.attach_ingress(place, ifname, mode)?;
        match self.keep(place.number, attached) {
            Ok(ingress) => Ok(ingress),
            // Without a pin, then.
            Err(()) => self.attach_ingress(place, ifname, mode),
        }
    }

    /// Puts the program in the place of that of a daemon that was killed, without a gap. Where that captured in another mode,
    /// nothing is done but that what would be in the way goes.
    fn adopt_ingress(
        &mut self,
        NumberedInterface { iface, number }: NumberedInterface,
        ifname: &str,
        mode: CaptureMode,
    ) -> Option<Attachment> {
        let generic = match mode {
            CaptureMode::Native => false,
            CaptureMode::Generic => true,
            CaptureMode::Tc => return self.adopt_tc(number, ifname, Direction::In),
            CaptureMode::Raw => return None,
        };
        if !self.adopts || self.links.contains_key(&number) || self.xdp_refused.is_some() {
            return None;
        }
        let link = self.pins.as_ref()?.found_link(number, Direction::In)?;
        // A link of another kind goes when there is one of this.
        let link = XdpLink::try_from(link).ok()?;
        let is_same = is_xdp_generic(iface.ifindex) == Some(generic);
        let program = loaded(&mut self.programs).and_then(xdp).ok()?;
        let adopted = is_same.then(|| program.attach_to_link(link).ok()).flatten();
        if adopted.is_none() {
            self.remove_link(number, &[Direction::In]);
        }
        adopted.map(Attachment::Xdp)
    }

    /// The same for a tc program. Without tcx it is the filter of that number that is replaced.
    fn adopt_tc(&mut self, number: u32, ifname: &str, way: Direction) -> Option<Attachment> {
        if !self.adopts || self.links.contains_key(&number) {
            return None;
        }
        let link = if self.tcx {
            let link = self.pins.as_ref()?.found_link(number, way)?;
            SchedClassifierLink::try_from(link).ok()?
        } else {
            self.stale_filter(ifname, way)?
        };
        let program = classifier(loaded(&mut self.programs).ok()?, way).ok()?;
        let adopted = program.attach_to_link(link).ok();
        if adopted.is_none() {
            self.remove_link(number, &[way]);
        }
        adopted.map(|link| Attachment::Tc(way, link))
    }

    /// The filter that a daemon which was killed has left on an interface.
    fn stale_filter(&self, ifname: &str, way: Direction) -> Option<SchedClassifierLink> {
        let egress = way == Direction::Out;
        let is_there = |filter: &StaleFilter| filter.interface == ifname && filter.egress == egress;
        self.stale_filters.iter().any(is_there).then_some(())?;
        let (at, handle) = (attach_type(way), TcHandle::from(self.filter_handle));
        SchedClassifierLink::attached(ifname, at, FILTER_PRIORITY, handle, None).ok()
    }

    /// What a daemon that was killed has left is adopted, as far as it is used. The rest goes: its programs on interfaces that
    /// are not used any more.
    pub fn end_adoption(&mut self) {
        if !std::mem::take(&mut self.adopts) {
            return;
        }
        let Self { links, pins, tcx, .. } = self;
        // What is pinned beside one without a link is of another mode.
        let is_link = |attachment: &Attachment| attachment.has_link(*tcx);
        let is_used = |number: u32, way| {
            links.get(&number).is_some_and(|on: &Attached| match way {
                Direction::In => on.ingress.as_ref().is_some_and(is_link),
                Direction::Out => on.egress.as_ref().is_some_and(is_link),
            })
        };
        if let Some(pins) = pins
            && let Err(error) = pins.retain_links(is_used)
        {
            log::warn!("programs of a daemon that was killed stay: {error}");
        }
        for filter in std::mem::take(&mut self.stale_filters) {
            let way = if filter.egress { Direction::Out } else { Direction::In };
            let number = if_nametoindex(&*filter.interface).unwrap_or_default();
            let is_tc = |on: &Attached| match way {
                Direction::In => matches!(on.ingress, Some(Attachment::Tc(..))),
                Direction::Out => on.egress.is_some(),
            };
            if !links.get(&number).is_some_and(is_tc)
                && let Err(why) = remove_stale_filter(&filter)
            {
                log::warn!("{why}");
            }
        }
    }

    /// Attaches in one mode, or says why not.
    fn attach_ingress(
        &mut self,
        place: NumberedInterface,
        ifname: &str,
        mode: CaptureMode,
    ) -> Result<Attachment, Failure> {
        if let Some(why) = self.without.as_ref().filter(|_| mode != CaptureMode::Raw) {
            return Err(Failure::Refused(why.clone()));
        }
        let xdp_mode = match mode {
            CaptureMode::Native => XdpMode::Driver,
            CaptureMode::Generic => XdpMode::Skb,
            CaptureMode::Tc if !place.is_index() => {
                return Err(Failure::Refused(same_index(place)));
            }
            CaptureMode::Tc => {
                return self.attach_tc_ingress(ifname);
            }
            CaptureMode::Raw => return Ok(Attachment::Raw),
        };
        if !place.is_index() {
            return Err(Failure::Refused(same_index(place)));
        }
        if let Some(why) = &self.xdp_refused {
            return Err(Failure::Refused(format!("XDP is refused: {why}")));
        }
        let masked = if mode == CaptureMode::Native { Feature::Native } else { Feature::Generic };
        if self.masked.lacks(masked) {
            let why = Error::Masked(masked);
            return Err(Failure::Refused(format!("{} is refused: {why}", mode.title())));
        }
        let program = loaded(&mut self.programs).and_then(xdp);
        let program = program.map_err(|error| Failure::Refused(chain(&error)))?;
        program.attach_to_if_index(place.iface.ifindex, xdp_mode).map(Attachment::Xdp).map_err(
            |error| {
                match errno(&error) {
                    // In the same mode, in the other one (net/core/dev.c, dev_xdp_attach).
                    Some(libc::EBUSY | libc::EEXIST) => {
                        Failure::Displaced(occupant(place.iface.ifindex))
                    }
                    Some(_) | None => not_attached(mode, &error.into()),
                }
            },
        )
    }

    /// Pins the link of a program, so that it goes on if this process is killed. Where that fails it is detached, and
    /// nothing is pinned from then on.
    fn keep(&mut self, number: u32, attachment: Attachment) -> Result<Attachment, ()> {
        let Some(pins) = self.pins.as_ref() else { return Ok(attachment) };
        let way = attachment.way();
        if !self.keeps || !attachment.has_link(self.tcx) {
            // What was attached before in another mode would stay by its pin.
            pins.remove_link(number, way);
            return Ok(attachment);
        }
        match attach_again(&mut self.programs, attachment, Some((pins, number))) {
            Ok(kept) => Ok(kept),
            Err(error) => {
                pins.remove_link(number, way);
                self.keeps_no_more(&error);
                Err(())
            }
        }
    }

    /// Pins the links again whose pins somebody has removed: how many it were. One that cannot be pinned is detached, which is
    /// noticed as if somebody else had done it.
    pub fn keep_again(&mut self) -> usize {
        let mut kept = 0;
        for number in self.links.keys().copied().collect::<Vec<_>>() {
            for way in [Direction::In, Direction::Out] {
                let missing = |attachment: &Attachment| {
                    let pins = self.pins.as_ref().filter(|_| self.keeps);
                    attachment.has_link(self.tcx)
                        && pins.is_some_and(|pins| pins.found_link(number, way).is_none())
                };
                let Some(attached) = self.links.get_mut(&number) else { continue };
                let Some(attachment) = attached.at(way).take_if(|it| missing(it)) else { continue };
                let attachment = self.keep(number, attachment).ok();
                kept += usize::from(attachment.is_some());
                if let Some(attached) = self.links.get_mut(&number) {
                    *attached.at(way) = attachment;
                }
            }
        }
        kept
    }

    fn keeps_no_more(&mut self, error: &Error) {
        self.keeps = false;
        let lack = format!(
            "links cannot be pinned, and programs leave with a daemon that is killed: {}",
            chain(error)
        );
        log::warn!("{lack}");
        self.lacks.push(Limitation { kind: LimitationKind::NoLinkPins, text: lack });
    }

    /// Removes the pins of the links of an interface.
    fn remove_link(&self, number: u32, ways: &[Direction]) {
        for way in ways {
            self.pins.iter().for_each(|pins| pins.remove_link(number, *way));
        }
    }

    fn attach_tc_ingress(&mut self, ifname: &str) -> Result<Attachment, Failure> {
        if let Some(why) = &self.tc_refused {
            return Err(Failure::Refused(format!("tc is refused: {why}")));
        }
        let options = self.tc_options(ifname);
        let attached = options.and_then(|options| self.attach_tc(ifname, Direction::In, options));
        attached.map_err(|error| not_attached(CaptureMode::Tc, &error))
    }

    fn attach_tc(
        &mut self,
        ifname: &str,
        way: Direction,
        options: TcAttachOptions,
    ) -> Result<Attachment, Error> {
        let program = classifier(loaded(&mut self.programs)?, way)?;
        Ok(Attachment::Tc(way, program.attach_with_options(ifname, attach_type(way), options)?))
    }

    /// How tc programs are attached: ahead of others, as one that ends the chain must not hide what it passes. Without tcx
    /// they take a qdisc, which is added if need be.
    fn tc_options(&self, ifname: &str) -> Result<TcAttachOptions, Error> {
        if self.tcx {
            return Ok(TcAttachOptions::TcxOrder(LinkOrder::first()));
        }
        if self.masked.lacks(Feature::Clsact) {
            return Err(Error::Masked(Feature::Clsact));
        }
        match tc::qdisc_add_clsact(ifname) {
            Err(tc::TcError::AlreadyAttached) | Ok(()) => {}
            Err(error) if errno(&error) == Some(libc::EEXIST) => {}
            Err(error) => return Err(Error::Program(Box::new(error.into()))),
        }
        let (priority, handle) = (FILTER_PRIORITY, TcHandle::from(self.filter_handle));
        Ok(TcAttachOptions::Netlink(NlOptions { priority, handle, classid: None }))
    }

    /// Where our programs should be on an interface, as far as they were attached and the kernel can be asked for them.
    pub fn hooks(&self, number: u32) -> Hooks {
        let ingress = self.links.get(&number).and_then(|attached| self.hook_of(attached));
        Hooks { ingress, egress: self.egress_hook(number), displaced: None }
    }

    /// What must be on an interface for what leaves to be counted, as far as it was attached.
    fn egress_hook(&self, number: u32) -> Option<Hook> {
        let attached = self.links.get(&number).filter(|attached| attached.egress.is_some())?;
        let at = if self.tcx { HookPoint::TcxEgress } else { self.filter(true) };
        Some(Hook { iface: attached.iface, at, program: self.egress_id, serial: attached.serial })
    }

    fn filter(&self, egress: bool) -> HookPoint {
        HookPoint::Filter { egress, priority: FILTER_PRIORITY, handle: self.filter_handle }
    }

    /// Attaches the egress program, without which everything but counting and fencing works, or puts it back where somebody
    /// else has replaced or detached it, or leaves it at that.
    pub fn mend_egress(&mut self, number: u32, ifname: &str, attach: bool) {
        let Some(attached) = self.links.get_mut(&number) else { return };
        let link = attached.egress.take();
        let link = if attach {
            self.reattach_egress(number, ifname, link)
        } else {
            self.remove_link(number, &[Direction::Out]);
            // There is another program in it, or none.
            let _ = self.detach_program(link);
            None
        };
        if let Some(attached) = self.links.get_mut(&number) {
            attached.egress = link;
        }
    }

    fn hook_of(&self, attached: &Attached) -> Option<Hook> {
        let (at, program) = match attached.ingress.as_ref()? {
            Attachment::Xdp(_) => (HookPoint::Xdp, self.xdp_id),
            Attachment::Tc(..) if self.tcx => (HookPoint::Tcx, self.ingress_id),
            Attachment::Tc(..) => (self.filter(false), self.ingress_id),
            Attachment::Raw => return None,
        };
        Some(Hook { iface: attached.iface, at, program, serial: attached.serial })
    }

    /// Puts a program back where somebody else has replaced or detached it: a link of ours with another program in it takes
    /// ours again without a gap.
    /// Errors: it is to be attached anew; a link that was detached is closed.
    pub fn restore(&mut self, number: u32, ifname: &str, serial: u64) -> Result<(), Failure> {
        let ingress = self.links.get_mut(&number).and_then(|attached| attached.ingress.take());
        let again = ingress
            .ok_or(Error::Missing("program on that interface"))
            .and_then(|ingress| attach_again(&mut self.programs, ingress, None));
        if again.is_err() {
            self.remove_link(number, &[Direction::In]);
        }
        let again = again.map_err(|error| Failure::Refused(format!("{ifname}: {}", chain(&error))));
        if let Some(attached) = self.links.get_mut(&number) {
            (attached.ingress, attached.serial) = (Some(again?), serial);
        }
        Ok(())
    }

    /// The egress program where the ingress one was attached anew: by the link that it has, because the kernel attaches
    /// a program but once, and a closed link leaves only with every copy of its descriptor, which a script that is being
    /// started may have.
    fn reattach_egress(
        &mut self,
        number: u32,
        ifname: &str,
        link: Option<Attachment>,
    ) -> Option<Attachment> {
        if !interface_numbers::is_index(number) {
            return None;
        }
        let kept = link.and_then(|link| attach_again(&mut self.programs, link, None).ok());
        let kept = kept.or_else(|| self.adopt_egress(number, ifname));
        kept.or_else(|| {
            let link = self.attach_egress(ifname)?;
            // Without a pin, then.
            self.keep(number, link).ok().or_else(|| self.attach_egress(ifname))
        })
    }

    fn adopt_egress(&mut self, number: u32, ifname: &str) -> Option<Attachment> {
        if !self.counts_egress {
            return None;
        }
        self.adopt_tc(number, ifname, Direction::Out)
    }

    /// Attaches the egress program.
    fn attach_egress(&mut self, ifname: &str) -> Option<Attachment> {
        if !self.counts_egress {
            return None;
        }
        let attached = match self.tc_options(ifname) {
            // There, a filter for what leaves would be one for what arrives (`ingress_tcf_block`, net/sched/sch_ingress.c).
            Ok(_) if !self.tcx && !netlink::has_clsact(ifname) => {
                log::warn!("{ifname}: {NOT_COUNTED}: it has the qdisc ingress, and not clsact");
                return None;
            }
            Ok(options) => self.attach_tc(ifname, Direction::Out, options),
            Err(error) => Err(error),
        };
        match attached {
            Ok(link) => Some(link),
            Err(error) => {
                log::warn!("{ifname}: {NOT_COUNTED}: {}", chain(&error));
                None
            }
        }
    }

    /// Detaches the egress program from all interfaces for good, as the XDP program needs the file descriptors more, and
    /// says `why`.
    pub fn release_egress(&mut self, why: &str) {
        let there = self.links.iter_mut();
        let links = there.filter_map(|(number, on)| Some((*number, on.egress.take()?)));
        let links: Vec<_> = links.collect();
        self.counts_egress = false;
        let lack = format!("{NOT_COUNTED} any more: {why}");
        log::warn!("{lack}");
        self.lacks.push(Limitation { kind: LimitationKind::NoEgress, text: lack });
        for (number, link) in links {
            self.remove_link(number, &[Direction::Out]);
            if let Err(error) = self.detach_program(Some(link)) {
                log::error!("{}", chain(&error));
            }
        }
    }

    /// Detaches the programs from an interface; nothing happens where they are not attached.
    /// Errors: [`Error::Program`].
    pub fn detach(&mut self, number: u32) -> Result<(), Error> {
        let Some(attached) = self.links.remove(&number) else { return Ok(()) };
        self.remove_link(number, &[Direction::In, Direction::Out]);
        let ingress = self.detach_program(attached.ingress);
        // Whether or not the first one could be detached.
        let egress = self.detach_program(attached.egress);
        ingress.and(egress)
    }

    fn detach_program(&mut self, attachment: Option<Attachment>) -> Result<(), Error> {
        match attachment {
            Some(Attachment::Xdp(link)) => xdp(loaded(&mut self.programs)?)?.detach(link)?,
            Some(Attachment::Tc(way, link)) => {
                classifier(loaded(&mut self.programs)?, way)?.detach(link)?;
            }
            Some(Attachment::Raw) | None => {}
        }
        Ok(())
    }
}

/// Why a program would take an interface for another one.
fn same_index(NumberedInterface { iface, .. }: NumberedInterface) -> String {
    format!(
        "an interface in another network namespace has the index {}, too, and programs know interfaces by their index",
        iface.ifindex
    )
}

fn attach_type(way: Direction) -> TcAttachType {
    match way {
        Direction::In => TcAttachType::Ingress,
        Direction::Out => TcAttachType::Egress,
    }
}

/// Attaches a program by the link that it has, which is pinned before if there is a place for that.
fn attach_again(
    programs: &mut Option<Programs>,
    attachment: Attachment,
    pins: Option<(&Pins, u32)>,
) -> Result<Attachment, Error> {
    match attachment {
        Attachment::Xdp(link) => {
            let program = xdp(loaded(programs)?)?;
            let link = pinned(pins, Direction::In, program.take_link(link)?)?;
            Ok(Attachment::Xdp(program.attach_to_link(link)?))
        }
        Attachment::Tc(way, link) => {
            let program = classifier(loaded(programs)?, way)?;
            let link = pinned(pins, way, program.take_link(link)?)?;
            Ok(Attachment::Tc(way, program.attach_to_link(link)?))
        }
        Attachment::Raw => Ok(Attachment::Raw),
    }
}

/// As [`Pins::keep`], where there is a place for pins.
fn pinned<L>(pins: Option<(&Pins, u32)>, way: Direction, link: L) -> Result<L, Error>
where
    L: TryFrom<FdLink, Error = LinkError>,
    FdLink: TryFrom<L, Error = LinkError>,
{
    match pins {
        Some((pins, number)) => pins.keep(number, way, link),
        None => Ok(link),
    }
}

/// Why an interface does not take a program in some mode.
fn not_attached(mode: CaptureMode, error: &Error) -> Failure {
    if let Some(libc::EMFILE | libc::ENFILE) = errno(error) {
        return Failure::Descriptors(Error::Descriptors.to_string());
    }
    let why = if let Error::Program(cause) = error { chain(cause) } else { chain(error) };
    Failure::Refused(format!("{} is refused: {why}", mode.title()))
}
