//! The keywords that are recognised but not acted on, and what that means for the one who wrote them.

use crate::config::model::Severity::{self, Error, Warning};

/// A keyword that is not acted on.
#[derive(Debug)]
pub(super) struct Unsupported {
    /// Keyword.
    pub(super) keyword: &'static str,
    /// An error where going on without it would make two masters or act in the wrong place.
    pub(super) severity: Severity,
    /// What happens instead.
    pub(super) meaning: &'static str,
}

const fn warning(keyword: &'static str, meaning: &'static str) -> Unsupported {
    Unsupported { keyword, severity: Warning, meaning }
}

const fn error(keyword: &'static str, meaning: &'static str) -> Unsupported {
    Unsupported { keyword, severity: Error, meaning }
}

/// Looks a keyword up.
pub(super) fn find(table: &'static [Unsupported], keyword: &str) -> Option<&'static Unsupported> {
    table.iter().find(|entry| entry.keyword == keyword)
}

const BALANCER: &str = "load balancing is not part of this daemon, the block is skipped";
const NO_SCRIPT: &str = "no script is run";
const NO_FIFO: &str = "nothing is written to a fifo";
const NO_TRACKING: &str = "it does not influence the priority or the state";
const NO_ROUTES: &str = "it is neither added nor removed";
const NO_MAIL: &str = "no mail is sent";
const NO_SNMP: &str = "there is no SNMP agent and no D-Bus interface";
const NO_TUNING: &str = "scheduling, memory and buffers are left as they are";
const NO_FIREWALL: &str = "no firewall rule is made";
const NO_PROCESS: &str = "the daemon is one process and names its files itself";
const NO_VMAC: &str = "the interface's own MAC address is used";
const NO_DEBUG: &str = "it changes nothing";

/// Keywords outside blocks.
pub(super) const ROOT: &[Unsupported] = &[
    warning("vrrp_sync_group", "its instances change state independently of each other"),
    warning("vrrp_script", NO_SCRIPT),
    warning("vrrp_track_process", NO_TRACKING),
    warning("track_file", NO_TRACKING),
    warning("vrrp_track_file", NO_TRACKING),
    warning("track_group", NO_TRACKING),
    warning("bfd_instance", NO_TRACKING),
    warning("static_ipaddress", NO_ROUTES),
    warning("static_routes", NO_ROUTES),
    warning("static_rules", NO_ROUTES),
    warning("garp_group", "gratuitous ARP is sent without pauses"),
    warning("interface_up_down_delays", "interface changes take effect at once"),
    warning("linkbeat_interfaces", "link state comes from netlink alone"),
    warning("linkbeat_use_polling", "link state comes from netlink alone"),
    warning("virtual_server", BALANCER),
    warning("virtual_server_group", BALANCER),
    warning("real_server", BALANCER),
    error("net_namespace", "start the daemon inside the network namespace and remove this line"),
    warning("net_namespace_ipvs", BALANCER),
    warning("namespace_with_ipsets", NO_FIREWALL),
    warning("use_pid_dir", NO_PROCESS),
    warning("instance", "`--instance` names the instance"),
    warning("child_wait_time", NO_PROCESS),
];

/// Keywords in `global_defs`.
pub(super) const GLOBAL: &[Unsupported] = &[
    warning("router_id", "it is only a name in mails"),
    warning("notification_email", NO_MAIL),
    warning("notification_email_from", NO_MAIL),
    warning("smtp_server", NO_MAIL),
    warning("smtp_helo_name", NO_MAIL),
    warning("smtp_connect_timeout", NO_MAIL),
    warning("smtp_alert", NO_MAIL),
    warning("smtp_alert_vrrp", NO_MAIL),
    warning("smtp_alert_checker", NO_MAIL),
    warning("no_email_faults", NO_MAIL),
    warning("no_checker_emails", NO_MAIL),
    warning("script_user", NO_SCRIPT),
    warning("enable_script_security", NO_SCRIPT),
    warning("startup_script", NO_SCRIPT),
    warning("startup_script_timeout", NO_SCRIPT),
    warning("shutdown_script", NO_SCRIPT),
    warning("shutdown_script_timeout", NO_SCRIPT),
    warning("notify_fifo", NO_FIFO),
    warning("notify_fifo_script", NO_FIFO),
    warning("vrrp_notify_fifo", NO_FIFO),
    warning("vrrp_notify_fifo_script", NO_FIFO),
    warning("vrrp_notify_priority_changes", NO_FIFO),
    warning("fifo_write_vrrp_states_on_reload", NO_FIFO),
    warning("lvs_notify_fifo", NO_FIFO),
    warning("lvs_notify_fifo_script", NO_FIFO),
    error(
        "vrrp_mcast_group4",
        "advertisements go to 224.0.0.18 only, which the other routers would not hear",
    ),
    warning("vrrp_mcast_group6", "there is no IPv6"),
    warning("vrrp_gna_interval", "there is no IPv6"),
    warning("vrrp_garp_interval", "gratuitous ARP is sent without pauses"),
    warning("vrrp_min_garp", "garp_master_repeat says how many are sent"),
    warning("vrrp_garp_extra_if", "gratuitous ARP is sent on the address's own interface only"),
    warning("vrrp_vmac_garp_intvl", "gratuitous ARP is sent on the address's own interface only"),
    warning("vrrp_down_timer_adverts", "a master is down after three advertisement intervals"),
    warning("vrrp_skip_check_adv_addr", "a differing address list is reported and never refused"),
    warning("vrrp_check_unicast_src", "the source of unicast advertisements is not checked"),
    warning("vrrp_owner_ignore_adverts", "an owner listens as RFC 9568 says"),
    warning("vrrp_startup_delay", "routers start at once"),
    warning("vrrp_delay_after_boot", "routers start at once"),
    warning("log_unknown_vrids", "they are counted, not logged"),
    warning("default_interface", "every router and address names its interface"),
    warning("disable_local_igmp", "membership reports are left to the kernel"),
    warning("vmac_prefix", NO_VMAC),
    warning("vmac_addr_prefix", NO_VMAC),
    warning("vrrp_iptables", NO_FIREWALL),
    warning("vrrp_ipsets", NO_FIREWALL),
    warning("nftables", NO_FIREWALL),
    warning("nftables_priority", NO_FIREWALL),
    warning("nftables_ifindex", NO_FIREWALL),
    warning("nftables_counters", NO_FIREWALL),
    warning("nftables_ipvs", BALANCER),
    warning("nftables_ipvs_priority", BALANCER),
    warning("nftables_ipvs_start_fwmark", BALANCER),
    warning("lvs_timeouts", BALANCER),
    warning("lvs_flush", BALANCER),
    warning("lvs_flush_on_stop", BALANCER),
    warning("lvs_flush_onstop", BALANCER),
    warning("lvs_sync_daemon", BALANCER),
    warning("rs_init_notifies", BALANCER),
    warning("checker_log_all_failures", BALANCER),
    warning("snmp_socket", NO_SNMP),
    warning("enable_traps", NO_SNMP),
    warning("enable_snmp_vrrp", NO_SNMP),
    warning("enable_snmp_keepalived", NO_SNMP),
    warning("enable_snmp_rfc", NO_SNMP),
    warning("enable_snmp_rfcv2", NO_SNMP),
    warning("enable_snmp_rfcv3", NO_SNMP),
    warning("enable_snmp_checker", NO_SNMP),
    warning("snmp_vs_stats_update_interval", NO_SNMP),
    warning("snmp_rs_stats_update_interval", NO_SNMP),
    warning("enable_dbus", NO_SNMP),
    warning("dbus_service_name", NO_SNMP),
    warning("dbus_no_interface_name", NO_SNMP),
    warning("vrrp_priority", NO_TUNING),
    warning("vrrp_cpu_affinity", NO_TUNING),
    warning("vrrp_rlimit_rttime", NO_TUNING),
    warning("vrrp_rlimit_rtime", NO_TUNING),
    warning("checker_priority", NO_TUNING),
    warning("checker_no_swap", NO_TUNING),
    warning("checker_rt_priority", NO_TUNING),
    warning("checker_cpu_affinity", NO_TUNING),
    warning("checker_rlimit_rttime", NO_TUNING),
    warning("checker_rlimit_rtime", NO_TUNING),
    warning("bfd_priority", NO_TUNING),
    warning("bfd_no_swap", NO_TUNING),
    warning("bfd_rt_priority", NO_TUNING),
    warning("bfd_cpu_affinity", NO_TUNING),
    warning("bfd_rlimit_rttime", NO_TUNING),
    warning("bfd_rlimit_rtime", NO_TUNING),
    warning("max_auto_priority", NO_TUNING),
    warning("min_auto_priority_delay", NO_TUNING),
    warning("vrrp_netlink_cmd_rcv_bufs", NO_TUNING),
    warning("vrrp_netlink_cmd_rcv_bufs_force", NO_TUNING),
    warning("vrrp_netlink_monitor_rcv_bufs", NO_TUNING),
    warning("vrrp_netlink_monitor_rcv_bufs_force", NO_TUNING),
    warning("lvs_netlink_cmd_rcv_bufs", NO_TUNING),
    warning("lvs_netlink_cmd_rcv_bufs_force", NO_TUNING),
    warning("lvs_netlink_monitor_rcv_bufs", NO_TUNING),
    warning("lvs_netlink_monitor_rcv_bufs_force", NO_TUNING),
    warning("process_monitor_rcv_bufs", NO_TUNING),
    warning("process_monitor_rcv_bufs_force", NO_TUNING),
    warning("vrrp_rx_bufs_policy", NO_TUNING),
    warning("vrrp_rx_bufs_multiplier", NO_TUNING),
    warning("process_names", NO_PROCESS),
    warning("process_name", NO_PROCESS),
    warning("vrrp_process_name", NO_PROCESS),
    warning("checker_process_name", NO_PROCESS),
    warning("lvs_process_name", NO_PROCESS),
    warning("bfd_process_name", NO_PROCESS),
    warning("use_symlink_paths", NO_SCRIPT),
    warning("set_supplementary_groups", NO_SCRIPT),
    warning("umask", NO_PROCESS),
    warning("random_seed", "`${_RANDOM}` is different at every start"),
    warning("include_check", "write includer, includem, includew or includea instead"),
    warning("reload_check_config", NO_PROCESS),
    warning("reload_time_file", NO_PROCESS),
    warning("reload_repeat", NO_PROCESS),
    warning("reload_file", NO_PROCESS),
    warning("config_save_dir", NO_PROCESS),
    warning("tmp_config_directory", NO_PROCESS),
    warning("data_use_instance", NO_PROCESS),
    warning("json_version", NO_PROCESS),
    warning("state_dump_file", NO_PROCESS),
    warning("stats_dump_file", NO_PROCESS),
    warning("json_dump_file", NO_PROCESS),
    warning("iproute_usr_dir", "scopes have their usual names"),
    warning("iproute_etc_dir", "scopes have their usual names"),
];

/// Keywords in `vrrp_instance`.
pub(super) const INSTANCE: &[Unsupported] = &[
    warning("track_interface", NO_TRACKING),
    warning("track_script", NO_TRACKING),
    warning("track_file", NO_TRACKING),
    warning("track_process", NO_TRACKING),
    warning("track_bfd", NO_TRACKING),
    warning("track_src_ip", NO_TRACKING),
    warning("dont_track_primary", "the router is in FAULT while its interface is down"),
    warning("notify", NO_SCRIPT),
    warning("notify_master", NO_SCRIPT),
    warning("notify_backup", NO_SCRIPT),
    warning("notify_fault", NO_SCRIPT),
    warning("notify_stop", NO_SCRIPT),
    warning("notify_deleted", NO_SCRIPT),
    warning("notify_master_rx_lower_pri", NO_SCRIPT),
    warning("notify_priority_changes", NO_SCRIPT),
    warning("smtp_alert", NO_MAIL),
    warning("virtual_routes", NO_ROUTES),
    warning("virtual_rules", NO_ROUTES),
    warning("use_vmac", NO_VMAC),
    warning("use_vmac_addr", NO_VMAC),
    warning("vmac_xmit_base", NO_VMAC),
    warning("use_ipvlan", NO_VMAC),
    warning("vrf", "name the interface instead"),
    warning("no_accept", "packets to the addresses are accepted"),
    warning("promote_secondaries", "the sysctl is left as it is"),
    warning("linkbeat_use_polling", "link state comes from netlink alone"),
    warning("lvs_sync_daemon_interface", BALANCER),
    warning("garp_extra_if", "gratuitous ARP is sent on the address's own interface only"),
    warning("vmac_garp_intvl", "gratuitous ARP is sent on the address's own interface only"),
    warning("down_timer_adverts", "a master is down after three advertisement intervals"),
    warning("timer_expired_backup", "it changes nothing"),
    warning("thread_timer_expired", "it changes nothing"),
    warning("owner_ignore_adverts", "an owner listens as RFC 9568 says"),
    warning("skip_check_adv_addr", "a differing address list is reported and never refused"),
    warning("check_unicast_src", "the source of unicast advertisements is not checked"),
    warning("unicast_ttl", "advertisements leave with TTL 255, as RFC 9568 wants"),
    warning("old_unicast_checksum", "the checksum is the one of the RFCs"),
    warning("kernel_rx_buf_size", NO_TUNING),
    warning("debug", NO_DEBUG),
    error("auth_hmac", "the other routers would refuse what this one sends"),
];
