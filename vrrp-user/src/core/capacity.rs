//! How much the maps of the kernel side have room for.

/// How many entries the maps have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Virtual routers.
    pub routers: u32,
    /// Pairs of interface and virtual IPv4 address.
    pub vips: u32,
    /// Pairs of interface and virtual IPv6 address.
    pub vips6: u32,
    /// Unicast peers of the routers that listen to no others.
    pub allowed: u32,
}

/// What may be added of each kind at least.
const LEAST_ROOM: usize = 1024;

/// What a configuration needs room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Virtual routers.
    pub routers: usize,
    /// Pairs of interface and virtual IPv4 address.
    pub vips: usize,
    /// Pairs of interface and virtual IPv6 address.
    pub vips6: usize,
    /// Unicast peers of the routers that listen to no others.
    pub allowed: usize,
}

impl Sizes {
    /// Room for these and for as many as a changed configuration may add to them: a quarter, and never less than
    /// 1,024 of each kind. What is not used costs some 750 bytes of kernel memory a router (slot 64, info 168, key and
    /// entry 112, two peers 257, budgets 32, ring at least 96), 166 an address and 32 more for each CPU, and 32
    /// a peer.
    pub fn with_room(needs: Needs) -> Self {
        let Needs { routers, vips, vips6, allowed } = needs;
        let room = |used: usize| {
            u32::try_from(used.saturating_add(LEAST_ROOM.max(used / 4))).unwrap_or(u32::MAX)
        };
        let (routers, vips, vips6, allowed) =
            (room(routers), room(vips), room(vips6), room(allowed));
        Self { routers, vips, vips6, allowed }
    }

    /// With none of them empty, which no map may be.
    pub fn at_least_one(self) -> Self {
        let Self { routers, vips, vips6, allowed } = self;
        let [routers, vips, vips6, allowed] = [routers, vips, vips6, allowed].map(|n| n.max(1));
        Self { routers, vips, vips6, allowed }
    }

    /// What of this there is no room for: what it is, how much is needed and how much fits.
    pub fn lacking(self, needs: Needs) -> impl Iterator<Item = (&'static str, usize, u32)> {
        let Needs { routers, vips, vips6, allowed } = needs;
        let all = [
            ("virtual routers", routers, self.routers),
            ("IPv4 addresses", vips, self.vips),
            ("IPv6 addresses", vips6, self.vips6),
            ("peers whose source is checked", allowed, self.allowed),
        ];
        all.into_iter().filter(|(_, used, room)| !u32::try_from(*used).is_ok_and(|n| n <= *room))
    }
}
