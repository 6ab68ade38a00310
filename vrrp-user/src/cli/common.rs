//! Arguments that several subcommands have.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::complete;
use crate::types::instance::Instance;

#[derive(Clone, Debug, Default, Args)]
pub struct InstanceArg {
    /// Name of the daemon on this machine.
    #[arg(add = ArgValueCandidates::new(complete::instances), short, long, value_name = "NAME", default_value = "default", env = "VRRP_USER_INSTANCE")]
    pub instance: Instance,
}

/// Between two looks where nobody says how long.
pub const PERIOD: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default, Args)]
pub struct WatchArg {
    /// Again and again, until interrupted; SECONDS between, 1 if not given.
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    pub watch: Option<Watch>,
}

/// What follows `--watch`: a pause, or already the name that could as well stand before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Look so often.
    Every(Duration),
    /// Look at this every [`PERIOD`].
    Name(String),
}

impl FromStr for Watch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Ok(seconds) = text.parse() else { return Ok(Self::Name(text.to_owned())) };
        let seconds = Some(seconds).filter(|seconds| (0.1..=86_400.0).contains(seconds));
        let pause = seconds.map(|seconds| Self::Every(Duration::from_secs_f64(seconds)));
        pause.ok_or("from 0.1 to 86400 seconds")
    }
}

impl WatchArg {
    /// How often to look, if again.
    pub fn period(&self) -> Option<Duration> {
        self.watch.as_ref().map(|watch| match watch {
            Watch::Every(pause) => *pause,
            Watch::Name(_) => PERIOD,
        })
    }

    /// Puts a name that stood behind `--watch` where names are, unless that is `taken` by something else.
    ///
    /// # Errors
    /// It is, and that was no pause.
    pub fn settle(&self, name: &mut Option<String>, taken: bool) -> Result<(), String> {
        let Some(Watch::Name(behind)) = &self.watch else { return Ok(()) };
        if name.is_some() || taken {
            return Err(format!("--watch takes a number of seconds, not `{behind}`"));
        }
        *name = Some(behind.clone());
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct ConfigIdArg {
    /// What `@ID` in a keepalived.conf is compared with (keepalived's -i) [default: the host name up to its first
    /// dot].
    #[arg(long, value_name = "ID")]
    pub config_id: Option<String>,
}

#[derive(Clone, Debug, Default, Args)]
pub struct AsUserArg {
    /// Look at files and scripts as this user, without capabilities [default: the user, groups and capabilities of the
    /// installed unit, if root asks].
    #[arg(long, value_name = "NAME")]
    pub as_user: Option<String>,
}

#[derive(Clone, Debug, Default, Args)]
pub struct BpffsArg {
    /// BPF filesystem that holds the pinned maps [default: /sys/fs/bpf, else /run/vrrp-user/bpf].
    #[arg(long, value_name = "DIR", env = "VRRP_USER_BPFFS")]
    pub bpffs: Option<PathBuf>,
}
