//! What a reader makes of maps that another version of the daemon has made.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

mod top;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aya::maps::MapInfo;
use bytemuck::Pod;
use top::Top;
use vrrp_common::maps::{
    ABI_VERSION, CONTROL, Control, INFO, LEASES, REASONS, RouterInfo, SLOTS, Slot,
};
use vrrp_common::reason::Reason;
use vrrp_tests::{Instance, Lab, Result, VrrpUser};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(20);
const ROUTER: &str = "VI_1";

fn bpftool(args: &[&str]) {
    let output = Command::new("bpftool").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn bytes(value: &[u8]) -> Vec<String> {
    value.iter().map(u8::to_string).collect()
}

/// Puts an array in the place of a pinned one, with entries that are longer or shorter, the first of which is given.
fn replace(pins: &Path, name: &str, by: isize, more_entries: u32, first: &impl Pod) {
    let path = pins.join(name);
    let entries = MapInfo::from_pin(&path).unwrap().max_entries() + more_entries;
    fs::remove_file(&path).unwrap();
    let (mut value, path) = (bytemuck::bytes_of(first).to_vec(), path.display().to_string());
    value.resize(value.len().checked_add_signed(by).unwrap(), 0xee);
    let (size, entries) = (value.len().to_string(), entries.to_string());
    let kind = if name == REASONS { "percpu_array" } else { "array" };
    bpftool(&[
        "map", "create", &path, "type", kind, "key", "4", "value", &size, "entries", &entries,
        "name", name,
    ]);
    let value = if kind == "array" { bytes(&value) } else { return };
    let args = ["map", "update", "pinned", &path, "key", "0", "0", "0", "0", "value"];
    let args: Vec<&str> = args.into_iter().chain(value.iter().map(String::as_str)).collect();
    bpftool(&args);
}

/// The maps of one that is newer, and says from which version on its maps can be read.
fn replace_by_newer(pins: &Path) {
    let mut info = RouterInfo { vrid: 51, adverts_sent: 7, state: 2, ..RouterInfo::default() };
    info.set_name(ROUTER);
    info.set_interface("eth0");
    replace(pins, INFO, 16, 0, &info);
    replace(pins, SLOTS, -8, 0, &Slot { adverts: 9, refused: 2, filter: 5, ..Slot::default() });
    fs::remove_file(pins.join(LEASES)).unwrap();
    replace(pins, REASONS, 0, 3, &0_u64);
    replace(pins, "SAMPLE_COUNTS", 0, 3, &[0_u64; 2]);
    replace(pins, CONTROL, 8, 0, &newer());
}

fn newer() -> Control {
    Control { abi_version: ABI_VERSION + 1, ..Control::new(7, 1) }
}

#[test]
fn what_both_versions_have_is_read() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = VrrpUser::start(&host, &Instance::new(51, 255, "10.0.0.100/24").to_string())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    daemon.kill()?;
    let pins = lab.bpffs().join("vrrp-user").join(VrrpUser::instance(&host));

    replace_by_newer(&pins);
    let stats = daemon.stats(&host)?;
    let router = &stats["routers"][0];
    assert_eq!((&router["name"], &router["state"]), (&ROUTER.into(), &"MASTER".into()), "{stats}");
    let numbers = ["adverts_sent", "adverts_received", "refused"].map(|name| router[name].as_u64());
    assert_eq!((numbers, &stats["pid"]), ([Some(7), Some(9), Some(2)], &7.into()), "{stats}");
    let text = daemon.stats_table(&host)?;
    for said in [
        format!(
            "another version of the daemon (layout {}, ours is {ABI_VERSION})",
            ABI_VERSION + 1
        ),
        "INFO has 16 bytes more in each entry, which are not shown".to_owned(),
        "SLOTS has 8 bytes less in each entry: what stands there is shown as zero".to_owned(),
        "there is no LEASES".to_owned(),
        "3 reasons have no name here".to_owned(),
    ] {
        assert!(text.contains(&said), "{said}\n{text}");
        let said = stats["unread"].to_string().contains(&said);
        assert!(said, "{stats}");
    }
    assert!(text.contains(Reason::Accepted.name()), "{text}");

    // One whose maps mean something else.
    let other = Control { readable_since: ABI_VERSION + 1, ..newer() };
    replace(&pins, CONTROL, 0, 0, &other);
    let error = daemon.stats(&host).unwrap_err().to_string();
    assert!(error.contains("use the `vrrp-user` that belongs to it"), "{error}");
    Ok(())
}

/// `top` as well, in few lines, beside a daemon whose words it does not understand either, and when that is gone.
#[test]
fn top_shows_what_both_versions_have() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let mut daemon = VrrpUser::start(&host, &Instance::new(51, 255, "10.0.0.100/24").to_string())?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    daemon.kill()?;
    let instance = VrrpUser::instance(&host);
    let pins = lab.bpffs().join("vrrp-user").join(&instance);
    replace_by_newer(&pins);
    let version = format!(
        "another version of the daemon (layout {}, ours is {ABI_VERSION})",
        ABI_VERSION + 1
    );

    let mut top = Top::start(&host)?;
    top.wait_for("DAEMON GONE")?;
    for said in [&*version, "SLOTS has 8 bytes less", "3 more: `vrrp-user stats` has all", "VI_1 "]
    {
        assert!(top.text().contains(said), "{said}\n{}", top.text());
    }

    let socket = Path::new("/run/vrrp-user").join(&instance).join("control.sock");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut question = String::new();
            if stream.read_line(&mut question).is_ok_and(|read| read > 0) {
                let _ = stream.get_mut().write_all(b"{\"status\":{\"from\":\"the future\"}}\n");
            }
        }
    });
    top.wait_for("pid 7")?;
    for said in ["does not understand", &*version, "4 more: `vrrp-user stats` has all", "VI_1 "] {
        assert!(top.text().contains(said), "{said}\n{}", top.text());
    }
    println!("{}", top.text());

    // One whose maps mean something else.
    replace(&pins, CONTROL, 0, 0, &Control { readable_since: ABI_VERSION + 1, ..newer() });
    top.wait_for("DAEMON OF ANOTHER VERSION")?;
    top.press("q");
    top.ends_in_order()
}
