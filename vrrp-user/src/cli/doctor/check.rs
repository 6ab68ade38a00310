//! What is examined: identifiers for programs, which never change.

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
pub enum Check {
    /// Whether packets can be kept from addresses, where a router is without accept mode.
    #[strum(serialize = "accept mode")]
    AcceptMode,
    /// Who has the shared IPv4 addresses.
    #[strum(serialize = "addresses")]
    Addresses,
    /// Who has the shared IPv6 addresses.
    #[strum(serialize = "addresses6")]
    Addresses6,
    /// The setting of the kernel.
    #[strum(serialize = "arp_announce")]
    ArpAnnounce,
    /// The setting of the kernel.
    #[strum(serialize = "arp_ignore")]
    ArpIgnore,
    /// What the kernel takes of the programs.
    #[strum(serialize = "bpf")]
    Bpf,
    /// Whether maps can be pinned.
    #[strum(serialize = "bpffs")]
    Bpffs,
    /// What this process may do.
    #[strum(serialize = "capabilities")]
    Capabilities,
    /// How an interface captures.
    #[strum(serialize = "capture")]
    Capture,
    /// What `check` says.
    #[strum(serialize = "configuration")]
    Configuration,
    /// Duplicate address detection.
    #[strum(serialize = "dad")]
    Dad,
    /// What `status` says.
    #[strum(serialize = "daemon")]
    Daemon,
    /// Whether packets from the shared IPv4 addresses come back.
    #[strum(serialize = "egress")]
    Egress,
    /// The same of IPv6.
    #[strum(serialize = "egress6")]
    Egress6,
    /// Whether interfaces can be examined.
    #[strum(serialize = "interfaces")]
    Interfaces,
    /// The setting of the kernel.
    #[strum(serialize = "ip_nonlocal_bind")]
    IpNonlocalBind,
    /// The same of IPv6.
    #[strum(serialize = "ip_nonlocal_bind6")]
    IpNonlocalBind6,
    /// Whether IPv6 is enabled.
    #[strum(serialize = "ipv6")]
    Ipv6,
    /// Whether programs are compiled.
    #[strum(serialize = "jit")]
    Jit,
    /// Its version.
    #[strum(serialize = "kernel")]
    Kernel,
    /// Filters of a daemon that was killed.
    #[strum(serialize = "left behind")]
    LeftBehind,
    /// Whether there is an address to advertise from in IPv6.
    #[strum(serialize = "link-local")]
    LinkLocal,
    /// Whether the group is joined.
    #[strum(serialize = "multicast")]
    Multicast,
    /// The same of IPv6.
    #[strum(serialize = "multicast6")]
    Multicast6,
    /// Whether that of the daemon can be entered.
    #[strum(serialize = "network namespace")]
    NetworkNamespace,
    /// Who else receives VRRP here.
    #[strum(serialize = "other daemons")]
    OtherDaemons,
    /// Whether advertisements still come from where ARP does.
    #[strum(serialize = "protocol 112")]
    Protocol112,
    /// Advertisements that were refused.
    #[strum(serialize = "refused")]
    Refused,
    /// The setting of the kernel.
    #[strum(serialize = "rp_filter")]
    RpFilter,
    /// Whether the kernel has it.
    #[strum(serialize = "tcx")]
    Tcx,
    /// Whether frames to one come in.
    #[strum(serialize = "virtual MAC")]
    VirtualMac,
    /// Who else sends from one.
    #[strum(serialize = "virtual MAC in use")]
    VirtualMacInUse,
}

impl Check {
    /// Name for people, which `check` of a finding begins with.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Name for programs, `cause` of a finding.
    pub fn cause(self) -> String {
        self.name().replace(' ', "-")
    }
}
