//! Arguments that several subcommands have.

use std::path::PathBuf;

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
