//! The keywords that are recognised but not acted on, and what that means for the one who wrote them.

use crate::config::model::Severity::{self, Error, Note, Warning};

/// A keyword that is not acted on.
#[derive(Debug)]
pub(super) struct Unsupported {
    /// Keyword.
    pub(super) keyword: &'static str,
    /// A note where nothing differs on the network; an error where going on without it would make two masters
    /// or act in the wrong place.
    pub(super) severity: Severity,
    /// What happens instead.
    pub(super) meaning: &'static str,
}

const fn warning(keyword: &'static str, meaning: &'static str) -> Unsupported {
    Unsupported { keyword, severity: Warning, meaning }
}

const fn note(keyword: &'static str, meaning: &'static str) -> Unsupported {
    Unsupported { keyword, severity: Note, meaning }
}

const fn error(keyword: &'static str, meaning: &'static str) -> Unsupported {
    Unsupported { keyword, severity: Error, meaning }
}

/// Looks a keyword up.
pub(super) fn find(table: &'static [Unsupported], keyword: &str) -> Option<&'static Unsupported> {
    table.iter().find(|entry| entry.keyword == keyword)
}

/// Of what belongs to keepalived's load balancer.
pub(super) const BALANCER: &str = "load balancing is not part of this daemon";
const NO_TRACKING: &str = "it does not influence the priority or the state";
const NO_MAIL: &str = "no mail is sent";
const NO_SNMP: &str = "there is no SNMP agent and no D-Bus interface";
const NO_TUNING: &str = "scheduling, memory and buffers are left as they are";
const NO_FIREWALL: &str = "no firewall rule is made";
const NO_PROCESS: &str = "the daemon is one process and names its files itself";
const NO_VMAC: &str = "the interface's own MAC address is used";
const NO_DEBUG: &str = "it changes nothing";

/// Keywords outside blocks.
pub(super) const ROOT: &[Unsupported] = &[
    warning("track_group", NO_TRACKING),
    warning("bfd_instance", NO_TRACKING),
    note("linkbeat_interfaces", "link state comes from netlink alone"),
    note("linkbeat_use_polling", "link state comes from netlink alone"),
    warning("virtual_server", BALANCER),
    warning("virtual_server_group", BALANCER),
    warning("real_server", BALANCER),
    warning("SSL", BALANCER),
    error("net_namespace", "start the daemon inside the network namespace and remove this line"),
    note("net_namespace_ipvs", BALANCER),
    note("namespace_with_ipsets", NO_FIREWALL),
    note("use_pid_dir", NO_PROCESS),
    note("instance", "`--instance` names the instance"),
    note("child_wait_time", NO_PROCESS),
];

/// Keywords in `global_defs`.
pub(super) const GLOBAL: &[Unsupported] = &[
    note("router_id", "it is only a name in mails and in SNMP"),
    note("notification_email", NO_MAIL),
    note("notification_email_from", NO_MAIL),
    note("smtp_server", NO_MAIL),
    note("smtp_helo_name", NO_MAIL),
    note("smtp_connect_timeout", NO_MAIL),
    note("smtp_alert", NO_MAIL),
    note("smtp_alert_vrrp", NO_MAIL),
    note("smtp_alert_checker", NO_MAIL),
    note("no_email_faults", NO_MAIL),
    note("no_checker_emails", NO_MAIL),
    note("lvs_notify_fifo", BALANCER),
    note("lvs_notify_fifo_script", BALANCER),
    note("vrrp_skip_check_adv_addr", "a differing address list is reported and never refused"),
    note("log_unknown_vrids", "they are counted, not logged"),
    note("disable_local_igmp", "membership reports are left to the kernel"),
    note("vmac_prefix", NO_VMAC),
    note("vmac_addr_prefix", NO_VMAC),
    note("vrrp_iptables", NO_FIREWALL),
    note("vrrp_ipsets", NO_FIREWALL),
    note("nftables", NO_FIREWALL),
    note("nftables_priority", NO_FIREWALL),
    note("nftables_ifindex", NO_FIREWALL),
    note("nftables_counters", NO_FIREWALL),
    note("nftables_ipvs", BALANCER),
    note("nftables_ipvs_priority", BALANCER),
    note("nftables_ipvs_start_fwmark", BALANCER),
    note("lvs_timeouts", BALANCER),
    note("lvs_flush", BALANCER),
    note("lvs_flush_on_stop", BALANCER),
    note("lvs_flush_onstop", BALANCER),
    note("lvs_sync_daemon", BALANCER),
    note("rs_init_notifies", BALANCER),
    note("checker_log_all_failures", BALANCER),
    note("snmp_socket", NO_SNMP),
    note("enable_traps", NO_SNMP),
    note("enable_snmp_vrrp", NO_SNMP),
    note("enable_snmp_keepalived", NO_SNMP),
    note("enable_snmp_rfc", NO_SNMP),
    note("enable_snmp_rfcv2", NO_SNMP),
    note("enable_snmp_rfcv3", NO_SNMP),
    note("enable_snmp_checker", NO_SNMP),
    note("snmp_vs_stats_update_interval", NO_SNMP),
    note("snmp_rs_stats_update_interval", NO_SNMP),
    note("enable_dbus", NO_SNMP),
    note("dbus_service_name", NO_SNMP),
    note("dbus_no_interface_name", NO_SNMP),
    note("vrrp_priority", NO_TUNING),
    note("vrrp_cpu_affinity", NO_TUNING),
    note("vrrp_rlimit_rttime", NO_TUNING),
    note("vrrp_rlimit_rtime", NO_TUNING),
    note("checker_priority", NO_TUNING),
    note("checker_no_swap", NO_TUNING),
    note("checker_rt_priority", NO_TUNING),
    note("checker_cpu_affinity", NO_TUNING),
    note("checker_rlimit_rttime", NO_TUNING),
    note("checker_rlimit_rtime", NO_TUNING),
    note("bfd_priority", NO_TUNING),
    note("bfd_no_swap", NO_TUNING),
    note("bfd_rt_priority", NO_TUNING),
    note("bfd_cpu_affinity", NO_TUNING),
    note("bfd_rlimit_rttime", NO_TUNING),
    note("bfd_rlimit_rtime", NO_TUNING),
    note("max_auto_priority", NO_TUNING),
    note("min_auto_priority_delay", NO_TUNING),
    note("vrrp_netlink_cmd_rcv_bufs", NO_TUNING),
    note("vrrp_netlink_cmd_rcv_bufs_force", NO_TUNING),
    note("vrrp_netlink_monitor_rcv_bufs", NO_TUNING),
    note("vrrp_netlink_monitor_rcv_bufs_force", NO_TUNING),
    note("lvs_netlink_cmd_rcv_bufs", NO_TUNING),
    note("lvs_netlink_cmd_rcv_bufs_force", NO_TUNING),
    note("lvs_netlink_monitor_rcv_bufs", NO_TUNING),
    note("lvs_netlink_monitor_rcv_bufs_force", NO_TUNING),
    note("process_monitor_rcv_bufs", NO_TUNING),
    note("process_monitor_rcv_bufs_force", NO_TUNING),
    note("vrrp_rx_bufs_policy", NO_TUNING),
    note("vrrp_rx_bufs_multiplier", NO_TUNING),
    note("process_names", NO_PROCESS),
    note("process_name", NO_PROCESS),
    note("vrrp_process_name", NO_PROCESS),
    note("checker_process_name", NO_PROCESS),
    note("lvs_process_name", NO_PROCESS),
    note("bfd_process_name", NO_PROCESS),
    note("random_seed", "`${_RANDOM}` is different at every start"),
    note("reload_check_config", NO_PROCESS),
    note("reload_time_file", NO_PROCESS),
    note("reload_repeat", NO_PROCESS),
    note("reload_file", NO_PROCESS),
    note("config_save_dir", NO_PROCESS),
    note("tmp_config_directory", NO_PROCESS),
    note("data_use_instance", NO_PROCESS),
    note("json_version", NO_PROCESS),
    note("state_dump_file", NO_PROCESS),
    note("stats_dump_file", NO_PROCESS),
    note("json_dump_file", NO_PROCESS),
    note("iproute_usr_dir", "scopes have their usual names"),
    note("iproute_etc_dir", "scopes have their usual names"),
];

/// Keywords in `vrrp_instance`.
pub(super) const INSTANCE: &[Unsupported] = &[
    warning("track_bfd", NO_TRACKING),
    note("smtp_alert", NO_MAIL),
    warning("use_vmac", NO_VMAC),
    warning("use_vmac_addr", NO_VMAC),
    warning("vmac_xmit_base", NO_VMAC),
    warning("use_ipvlan", NO_VMAC),
    warning("vrf", "name the interface instead"),
    warning("no_accept", "packets to the addresses are accepted"),
    note("linkbeat_use_polling", "link state comes from netlink alone"),
    note("lvs_sync_daemon_interface", BALANCER),
    note("timer_expired_backup", "it changes nothing"),
    note("thread_timer_expired", "it changes nothing"),
    note("skip_check_adv_addr", "a differing address list is reported and never refused"),
    note("old_unicast_checksum", "the checksum is the one of the RFCs"),
    note("kernel_rx_buf_size", NO_TUNING),
    note("debug", NO_DEBUG),
    error("auth_hmac", "the other routers would refuse what this one sends"),
];

/// Keywords in `vrrp_sync_group`.
pub(super) const GROUP: &[Unsupported] =
    &[warning("track_bfd", NO_TRACKING), note("smtp_alert", NO_MAIL)];
