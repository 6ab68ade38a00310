//! What many labs begin with.

use std::time::Duration;

use crate::{Host, Lab, Result, VrrpUser};

/// More than it takes.
const LONG: Duration = Duration::from_secs(30);

/// A master and its backup.
#[derive(Debug)]
pub struct Pair {
    /// The master's host, 10.0.0.1.
    pub a: Host,
    /// The backup's host, 10.0.0.2.
    pub b: Host,
    /// The master, with priority 150.
    pub on_a: VrrpUser,
    /// The backup, with priority 100, which has never been anything else.
    pub on_b: VrrpUser,
}

impl Pair {
    /// Starts both, of which `router` is a router and `conf` the configuration for a priority.
    pub fn start(lab: &Lab, router: &str, conf: impl Fn(u8) -> String) -> Result<Self> {
        let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
        let mut on_a = VrrpUser::start(&a, &conf(150))?;
        on_a.wait_state(&a, router, "MASTER", LONG)?;
        let mut on_b = VrrpUser::start(&b, &conf(100))?;
        on_b.wait_state(&b, router, "BACKUP", LONG)?;
        Ok(Self { a, b, on_a, on_b })
    }
}
