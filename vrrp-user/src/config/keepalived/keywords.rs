//! The keywords that are recognised but not acted on, and what that means for the one who wrote them.

use crate::config::model::Severity::{self, Note, Warning};

/// Keywords that are not acted on.
#[derive(Debug)]
pub(super) struct Unsupported {
    /// A note where nothing differs on the network.
    pub(super) severity: Severity,
    /// What happens instead.
    pub(super) meaning: &'static str,
    pub(super) keywords: &'static [&'static str],
}

const fn warning(meaning: &'static str, keywords: &'static [&'static str]) -> Unsupported {
    Unsupported { severity: Warning, meaning, keywords }
}

const fn note(meaning: &'static str, keywords: &'static [&'static str]) -> Unsupported {
    Unsupported { severity: Note, meaning, keywords }
}

/// Looks a keyword up.
pub(super) fn find(table: &'static [Unsupported], keyword: &str) -> Option<&'static Unsupported> {
    table.iter().find(|entry| entry.keywords.contains(&keyword))
}

/// Of what belongs to keepalived's load balancer.
pub(super) const BALANCER: &str = "load balancing is not part of this daemon";
const NO_BFD: &str = "no BFD session is made or read: with short intervals of version 3 a dead master is noticed as soon; what \
                      another daemon's session (FRR's bfdd, bird) says is tracked by a vrrp_script, or by a track_file that it writes";
const NO_MAIL: &str = "no mail is sent";
const NO_SNMP: &str = "there is no SNMP agent and no D-Bus interface";
const NO_TUNING: &str = "scheduling, memory and buffers are left as they are";
const OWN_FIREWALL: &str = "what accept mode needs has a table of nf_tables of its own";
const NO_PROCESS: &str = "the daemon is one process and names its files itself";

/// Keywords outside blocks.
pub(super) const ROOT: &[Unsupported] = &[
    warning(NO_BFD, &["bfd_instance"]),
    note("link state comes from netlink alone", &["linkbeat_interfaces", "linkbeat_use_polling"]),
    warning(BALANCER, &["virtual_server", "virtual_server_group", "real_server", "SSL"]),
    note(BALANCER, &["net_namespace_ipvs"]),
    note("no ipset is made", &["namespace_with_ipsets"]),
    note(NO_PROCESS, &["use_pid_dir", "child_wait_time"]),
    note("`--instance` names the instance", &["instance"]),
];

/// Keywords in `global_defs`.
pub(super) const GLOBAL: &[Unsupported] = &[
    note("it is only a name in mails and in SNMP", &["router_id"]),
    note(
        NO_MAIL,
        &[
            "notification_email", "notification_email_from", "smtp_server", "smtp_helo_name",
            "smtp_connect_timeout", "smtp_alert", "smtp_alert_vrrp", "smtp_alert_checker",
            "no_email_faults", "no_checker_emails",
        ],
    ),
    note(
        BALANCER,
        &[
            "lvs_notify_fifo", "lvs_notify_fifo_script", "nftables_ipvs", "nftables_ipvs_priority",
            "nftables_ipvs_start_fwmark", "lvs_timeouts", "lvs_flush", "lvs_flush_on_stop",
            "lvs_flush_onstop", "lvs_sync_daemon", "rs_init_notifies", "checker_log_all_failures",
        ],
    ),
    note("a differing address list is reported and never refused", &["vrrp_skip_check_adv_addr"]),
    note(
        "they are counted (unknown_vrid) and not logged; `vrrp-user monitor` shows who sends them",
        &["log_unknown_vrids"],
    ),
    note("membership reports are left to the kernel", &["disable_local_igmp"]),
    note("no device is made that would need a name", &["vmac_addr_prefix"]),
    note(
        OWN_FIREWALL,
        &[
            "vrrp_iptables", "vrrp_ipsets", "nftables", "nftables_priority", "nftables_ifindex",
            "nftables_counters",
        ],
    ),
    note(
        NO_SNMP,
        &[
            "snmp_socket", "enable_traps", "enable_snmp_vrrp", "enable_snmp_keepalived",
            "enable_snmp_rfc", "enable_snmp_rfcv2", "enable_snmp_rfcv3", "enable_snmp_checker",
            "snmp_vs_stats_update_interval", "snmp_rs_stats_update_interval", "enable_dbus",
            "dbus_service_name", "dbus_no_interface_name",
        ],
    ),
    note(
        NO_TUNING,
        &[
            "vrrp_priority", "vrrp_cpu_affinity", "vrrp_rlimit_rttime", "vrrp_rlimit_rtime",
            "checker_priority", "checker_no_swap", "checker_rt_priority", "checker_cpu_affinity",
            "checker_rlimit_rttime", "checker_rlimit_rtime", "bfd_priority", "bfd_no_swap",
            "bfd_rt_priority", "bfd_cpu_affinity", "bfd_rlimit_rttime", "bfd_rlimit_rtime",
            "max_auto_priority", "min_auto_priority_delay", "vrrp_netlink_cmd_rcv_bufs",
            "vrrp_netlink_cmd_rcv_bufs_force", "vrrp_netlink_monitor_rcv_bufs",
            "vrrp_netlink_monitor_rcv_bufs_force", "lvs_netlink_cmd_rcv_bufs",
            "lvs_netlink_cmd_rcv_bufs_force", "lvs_netlink_monitor_rcv_bufs",
            "lvs_netlink_monitor_rcv_bufs_force", "process_monitor_rcv_bufs",
            "process_monitor_rcv_bufs_force", "vrrp_rx_bufs_policy", "vrrp_rx_bufs_multiplier",
        ],
    ),
    note(
        NO_PROCESS,
        &[
            "process_names", "process_name", "vrrp_process_name", "checker_process_name",
            "lvs_process_name", "bfd_process_name", "reload_check_config", "reload_time_file",
            "reload_repeat", "reload_file", "config_save_dir", "tmp_config_directory",
            "data_use_instance", "json_version", "state_dump_file", "stats_dump_file",
            "json_dump_file",
        ],
    ),
    note("`${_RANDOM}` is different at every start", &["random_seed"]),
    note("scopes have their usual names", &["iproute_usr_dir", "iproute_etc_dir"]),
];

/// Keywords in `vrrp_instance`.
pub(super) const INSTANCE: &[Unsupported] = &[
    warning(NO_BFD, &["track_bfd"]),
    note(NO_MAIL, &["smtp_alert"]),
    warning("the interface is named, and is in its VRF already", &["vrf"]),
    note("link state comes from netlink alone", &["linkbeat_use_polling"]),
    note(BALANCER, &["lvs_sync_daemon_interface"]),
    note("it changes nothing", &["timer_expired_backup", "thread_timer_expired", "debug"]),
    note("a differing address list is reported and never refused", &["skip_check_adv_addr"]),
    note("the checksum is the one of the RFCs", &["old_unicast_checksum"]),
    note(NO_TUNING, &["kernel_rx_buf_size"]),
];

/// Keywords in `vrrp_sync_group`.
pub(super) const GROUP: &[Unsupported] =
    &[warning(NO_BFD, &["track_bfd"]), note(NO_MAIL, &["smtp_alert"])];
