//! The kernel's neighbour table of IPv4.

use std::fs;

/// Complete entry (`ATF_COM` in linux/if_arp.h).
const COMPLETE: u32 = 0x02;

/// The Ethernet address of a neighbour, if this host has talked with it of late: an advertisement alone does not
/// make an entry. From a file, as one entry for a person who asks is not worth a netlink socket.
pub fn mac(address: &str, interface: &str) -> Option<String> {
    find(&fs::read_to_string("/proc/net/arp").ok()?, address, interface)
}

/// In the format of `/proc/net/arp` (proc(5)): address, hardware type, flags, hardware address, mask, device.
fn find(table: &str, address: &str, interface: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (ip, _, flags, mac) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let device = fields.nth(1)?;
        let flags = u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?;
        let found = ip == address && device == interface && flags & COMPLETE != 0;
        found.then(|| mac.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_entries_count() {
        let table = "\
IP address       HW type     Flags       HW address            Mask     Device
10.0.0.2         0x1         0x2         02:00:00:00:00:02     *        eth0
10.0.0.3         0x1         0x0         00:00:00:00:00:00     *        eth0
10.0.0.4         0x1         0x6         02:00:00:00:00:04     *        eth1
nonsense
";
        assert_eq!(find(table, "10.0.0.2", "eth0").as_deref(), Some("02:00:00:00:00:02"));
        assert_eq!(find(table, "10.0.0.4", "eth1").as_deref(), Some("02:00:00:00:00:04"));
        for (address, interface) in [("10.0.0.2", "eth1"), ("10.0.0.3", "eth0"), ("10.0.0", "eth0")]
        {
            assert_eq!(find(table, address, interface), None, "{address} {interface}");
        }
        assert_eq!(find("", "10.0.0.2", "eth0"), None);
    }
}
