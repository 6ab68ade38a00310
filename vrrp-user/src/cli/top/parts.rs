//! What the screen is made of: the columns of the table, and the panes below it.

/// What a column holds; also what is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    /// Name of the router.
    #[default]
    Name,
    Interface,
    Vrid,
    State,
    Priority,
    Master,
    /// Time in the state.
    Since,
    /// Advertisements accepted per second.
    Received,
    /// Advertisements sent per second.
    Sent,
    /// Advertisements refused per second.
    Refused,
    /// Bytes per second to the addresses.
    RxTraffic,
    /// Bytes per second from the addresses.
    TxTraffic,
    /// Virtual addresses.
    Addresses,
    /// The reason for the state.
    Reason,
}

impl Column {
    /// All, from left to right: the key that sorts by it, its head, and what it is in words.
    pub const ALL: [(Self, char, &'static str, &'static str); 14] = [
        (Self::Name, 'n', "ROUTER", "what is wrong first, then the name"),
        (Self::Interface, 'i', "IFACE", "interface"),
        (Self::Vrid, 'v', "VRID", "virtual router identifier"),
        (Self::State, 's', "STATE", "state, masters first"),
        (Self::Priority, 'p', "PRIO", "effective priority"),
        (Self::Master, 'm', "MASTER", "address of the master"),
        (Self::Since, 't', "SINCE", "time in this state, shortest first"),
        (Self::Received, 'a', "IN/s", "advertisements accepted per second"),
        (Self::Sent, 'o', "OUT/s", "advertisements sent per second"),
        (Self::Refused, 'x', "REF/s", "advertisements refused per second"),
        (Self::RxTraffic, 'r', "RX/s", "bytes per second to its addresses"),
        (Self::TxTraffic, 'w', "TX/s", "bytes per second from its addresses"),
        (Self::Addresses, 'd', "ADDRESSES", "virtual addresses (where there is room)"),
        (Self::Reason, 'y', "REASON", "why it is in that state (where there is room)"),
    ];

    pub const fn title(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    /// Whether it is about amounts, the largest of which are looked for.
    pub const fn is_amount(self) -> bool {
        matches!(
            self,
            Self::Priority
                | Self::Received
                | Self::Sent
                | Self::Refused
                | Self::RxTraffic
                | Self::TxTraffic
        )
    }
}

/// What the second pane shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr)]
pub enum Pane {
    /// Packets that were not accepted, by reason.
    #[default]
    #[strum(serialize = "Refused")]
    Refusals,
    /// What is wrong at the moment.
    Problems,
    /// What changed while `top` looked on.
    Events,
    Router,
}

impl Pane {
    pub const ALL: [Self; 4] = [Self::Problems, Self::Refusals, Self::Events, Self::Router];

    pub fn title(self) -> &'static str {
        self.into()
    }

    pub const fn next(self) -> Self {
        match self {
            Self::Refusals => Self::Events,
            Self::Events => Self::Router,
            Self::Router => Self::Problems,
            Self::Problems => Self::Refusals,
        }
    }
}
