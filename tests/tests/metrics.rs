//! Metrics as Prometheus sees them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use vrrp_tests::{Frame, Host, Instance, Lab, Process, RawSocket, Result, VrrpUser};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(30);
const ROUTER: &str = "VI_1";
const AT: &str = "127.0.0.1:9560";
const ALERTS: &str = include_str!("../../docs/alerts.yml");

/// `curl ARGS` on a host.
fn curl(host: &Host, args: &[&str]) -> Result<String> {
    host.namespace().run("curl", &[&["-sS", "--max-time", "10"], args].concat())
}

/// Waits until metrics are there.
fn metrics(host: &Host) -> Result<String> {
    host.lab().wait_until(LONG, "metrics", || {
        Ok(curl(host, &["--fail", &format!("http://{AT}/metrics")]).ok())
    })
}

/// The value of a series, written as in the text.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

/// Whether `promtool check metrics` is content.
fn check(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: run `cargo xtask setup`");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// Starts Prometheus on a host, which scrapes these that often.
fn prometheus(host: &Host, interval: &str, targets: &[&str]) -> Result<Process> {
    let dir = host.dir("prometheus")?;
    let file = dir.join("prometheus.yml");
    let config = format!(
        "global:\n  scrape_interval: {interval}\nscrape_configs:\n- job_name: vrrp\n  static_configs:\n  \
         - targets: {targets:?}\n"
    );
    fs::write(&file, config).unwrap();
    host.spawn(
        "prometheus",
        "prometheus",
        &[
            &format!("--config.file={}", file.display()),
            &format!("--storage.tsdb.path={}", dir.join("data").display()),
            "--web.listen-address=127.0.0.1:9090",
        ],
    )
}

/// What Prometheus on a host answers to a query: the value of the only series.
fn query(host: &Host, query: &str) -> Result<Option<f64>> {
    let at = "http://127.0.0.1:9090/api/v1/query";
    let Ok(text) = curl(host, &["--get", "--data-urlencode", &format!("query={query}"), at]) else {
        // It does not listen yet.
        return Ok(None);
    };
    let Ok(answer) = serde_json::from_str::<Value>(&text) else { return Ok(None) };
    let value = &answer["data"]["result"][0]["value"][1];
    Ok(value.as_str().and_then(|value| value.parse().ok()))
}

#[test]
fn prometheus_scrapes_and_answers() -> Result<()> {
    let lab = Lab::new()?;
    let (host, client) = (lab.host("a", "10.0.0.1/24")?, lab.host("client", "10.0.0.50/24")?);
    let toml = format!(
        "metrics = \"{AT}\"\n[[router]]\nname = \"{ROUTER}\"\ninterface = \"eth0\"\nvrid = 51\n\
         priority = 255\naddresses = [\"10.0.0.100/24\"]\n"
    );
    let mut daemon = VrrpUser::start_with(&host, "vrrp.toml", &toml)?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;

    let _prometheus = prometheus(&host, "1s", &[AT])?;

    lab.wait_until(LONG, "the address", || Ok(host.has_address("10.0.0.100")?.then_some(())))?;
    host.wait_egress("eth0")?;
    client.namespace().run("ping", &["-c", "3", "-i", "0.2", "-W", "2", "10.0.0.100"])?;
    let sender = Ipv4Addr::new(10, 0, 0, 200);
    let advert = Frame::v2(sender, 51, 254, &["10.0.0.100".parse().unwrap()]);
    RawSocket::open(&client)?.send(&Frame { ttl: 3, ..advert }.bytes())?;

    let text = lab.wait_until(LONG, "the refused advertisement", || {
        let text = metrics(&host)?;
        let refused = value(&text, r#"vrrp_received_packets_total{reason="ttl",verdict="drop"}"#);
        Ok((refused == Some(1.0)).then_some(text))
    })?;
    println!("{text}");
    check(&text);
    let router = format!(r#"{{router="{ROUTER}",interface="eth0",vrid="51"}}"#);
    assert_eq!(value(&text, &format!("vrrp_router_state{router}")), Some(2.0));
    assert_eq!(value(&text, &format!("vrrp_router_adverts_refused_total{router}")), Some(1.0));
    let vip = r#"{address="10.0.0.100",interface="eth0"}"#;
    for direction in ["received", "sent"] {
        let packets = value(&text, &format!("vrrp_vip_{direction}_packets_total{vip}")).unwrap();
        let bytes = value(&text, &format!("vrrp_vip_{direction}_bytes_total{vip}")).unwrap();
        assert!(packets >= 3.0 && bytes >= packets * 42.0, "{direction}: {packets}, {bytes}");
    }
    let open = curl(
        &host,
        &["-H", "Accept: application/openmetrics-text", &format!("http://{AT}/metrics")],
    )?;
    assert!(open.ends_with("# EOF\n"), "{open}");

    // Prometheus asks for OpenMetrics, and understands every line of it.
    for (what, expected) in [
        ("up{job=\"vrrp\"}", 1.0),
        ("vrrp_router_state", 2.0),
        ("vrrp_received_packets_total{reason=\"ttl\"}", 1.0),
        ("vrrp_build_info", 1.0),
        ("count(vrrp_vip_sent_bytes_total)", 1.0),
    ] {
        let mut last = None;
        let answered = lab.wait_until(LONG, &format!("{what} is {expected}"), || {
            last = query(&host, what)?;
            Ok((last == Some(expected)).then_some(()))
        });
        assert!(answered.is_ok(), "{what}: {last:?}: {answered:?}");
    }
    let (mut queries, alerts) = (dashboard(), alerts());
    assert!(queries.len() > 10 && alerts.len() > 5, "{queries:?} {alerts:?}");
    queries.extend(alerts);
    let at = "http://127.0.0.1:9090/api/v1/query";
    for query in &queries {
        let query = format!("query={query}");
        let answer = curl(&host, &["--get", "--data-urlencode", &query, at])?;
        assert!(answer.starts_with(r#"{"status":"success""#), "{query}: {answer}");
        for name in names(&query) {
            let known = text.lines().any(|line| line.starts_with(&format!("# TYPE {name} ")));
            assert!(known, "there is no metric {name}");
        }
    }
    lab.wait_until(LONG, "a rate", || {
        let rate = query(&host, "rate(vrrp_router_adverts_sent_total[30s])")?;
        Ok(rate.filter(|rate| *rate > 0.2 && *rate < 3.0))
    })?;
    // Nothing is said of reloads before there is one.
    let successful = "vrrp_daemon_last_reload_successful";
    assert_eq!(value(&text, successful), None);
    daemon.reload(&host, &[])?;
    assert_eq!(value(&metrics(&host)?, successful), Some(1.0));
    assert_eq!(value(&metrics(&host)?, "vrrp_daemon_disabled_scripts"), Some(0.0));
    // As `status` has them: what was refused above is one for a while.
    lab.wait_until(LONG, "no problem is left", || {
        Ok((value(&metrics(&host)?, "vrrp_problems") == Some(0.0)).then_some(()))
    })?;
    let down = r#"vrrp_problems_by_cause{cause="interface-down"}"#;
    assert_eq!(value(&metrics(&host)?, down), None);
    host.ip(&["link", "set", "eth0", "down"])?;
    lab.wait_until(LONG, "a problem", || {
        let text = metrics(&host)?;
        Ok((value(&text, down) == Some(1.0) && value(&text, "vrrp_problems") >= Some(1.0))
            .then_some(()))
    })?;
    assert!(daemon.stop()?.success());
    Ok(())
}

/// How many routers the hosts of the dashboard share: more series of states than its timeline shows.
const SHARED: u32 = 15;

/// A host's routers: in FAULT while `up0` is down.
fn shared(own: &str, priority: u32) -> String {
    let mut toml =
        format!("metrics = \"{own}:9560\"\n[defaults]\ninterface = \"eth0\"\nversion = 3\n");
    toml += &format!(
        "interval = \"200ms\"\npriority = {priority}\ntrack = [{{ interface = \"up0\" }}]\n"
    );
    for number in 1..=SHARED {
        let address = format!("addresses = [\"10.0.0.{}/24\"]", 100 + number);
        toml += &format!("[[router]]\nname = \"R{number}\"\nvrid = {number}\n{address}\n");
        toml += "track = [{ interface = \"up0\" }]\n";
    }
    toml
}

/// What panels and alerts of two hosts say while all goes well, in a failover, with two masters, and with none.
#[test]
fn the_dashboard_shows_how_two_hosts_fare() -> Result<()> {
    let lab = Lab::new()?;
    let (a, b) = (lab.host("a", "10.0.0.1/24")?, lab.host("b", "10.0.0.2/24")?);
    let c = lab.host("c", "10.0.0.3/24")?;
    for host in [&a, &b] {
        host.namespace().run("ip", &["link", "add", "up0", "type", "veth", "peer", "up1"])?;
        for end in ["up0", "up1"] {
            host.namespace().run("ip", &["link", "set", end, "up"])?;
        }
    }
    let start_a = || VrrpUser::start_with(&a, "vrrp.toml", &shared("10.0.0.1", 150));
    let mut daemon_a = start_a()?;
    let mut daemon_b = VrrpUser::start_with(&b, "vrrp.toml", &shared("10.0.0.2", 100))?;
    let _prometheus = prometheus(&c, "500ms", &["10.0.0.1:9560", "10.0.0.2:9560"])?;
    let (panels, all) = (dashboard(), Some(f64::from(SHARED)));
    let rule = |name: &str| {
        let (_, rest) = ALERTS.split_once(&format!("alert: {name}\n")).expect(name);
        format!("count({})", rest.lines().next().unwrap().trim().strip_prefix("expr: ").unwrap())
    };
    // Masters, backups, in FAULT, without a master, with two; hosts that are down.
    let shows = |what: &str, expected: [Option<f64>; 5], down: Option<f64>| -> Result<()> {
        let queries = panels[..5].iter().cloned();
        let rules = ["VrrpNobodyIsMaster", "VrrpTwoMasters", "VrrpDaemonDown"].map(rule);
        let expected: Vec<_> =
            expected.into_iter().chain([expected[3], expected[4], down]).collect();
        let queries: Vec<_> = queries.chain(rules).collect();
        let mut last = Vec::new();
        let reached = lab.wait_until(LONG, what, || {
            last = queries.iter().map(|text| query(&c, text)).collect::<Result<_>>()?;
            Ok((last == expected).then_some(()))
        });
        assert!(reached.is_ok(), "{what}: {last:?} instead of {expected:?} of {queries:?}");
        Ok(())
    };
    let well = [all, all, None, None, None];
    shows("all is well", well, None)?;
    daemon_a.stop()?;
    shows("failover", [all, None, None, None, None], Some(1.0))?;
    daemon_a = start_a()?;
    shows("all is well again", well, None)?;

    lab.block_vrrp(&[])?;
    shows("two masters", [Some(2.0 * f64::from(SHARED)), None, None, None, all], None)?;
    let split = rule("VrrpSplitBrain");
    lab.wait_until(LONG, "split brain", || Ok(query(&c, &split)?.filter(|count| *count > 0.0)))?;
    lab.unblock_vrrp()?;
    shows("healed", well, None)?;
    check_other_panels(&lab, [&a, &c], &daemon_a)?;

    for host in [&a, &b] {
        host.namespace().run("ip", &["link", "set", "up0", "down"])?;
    }
    shows("nobody", [None, None, Some(2.0 * f64::from(SHARED)), all, None], None)?;
    let timeline = panels.iter().find(|panel| panel.contains("topk(25")).unwrap();
    assert_eq!(query(&c, &format!("count({timeline})"))?, Some(25.0));
    assert!(daemon_a.stop()?.success() && daemon_b.stop()?.success());
    Ok(())
}

/// What the panels say that are not about who is master, of two hosts on which something happens that each of them is
/// there for: of every query how many series it has, and between what its greatest value lies.
fn check_other_panels(lab: &Lab, [a, c]: [&Host; 2], daemon: &VrrpUser) -> Result<()> {
    daemon.rewrite("nonsense")?;
    assert_eq!(daemon.reload(a, &[])?.1, Some(1));
    // From somebody who is no host of the dashboard, with a TTL that no neighbour's has.
    let sender = Ipv4Addr::new(10, 0, 0, 200);
    let advert = Frame::v2(sender, 1, 254, &["10.0.0.101".parse().unwrap()]);
    RawSocket::open(c)?.send(&Frame { ttl: 3, ..advert }.bytes())?;
    c.namespace().run("ping", &["-c", "20", "-i", "0.1", "-s", "500", "-W", "2", "10.0.0.101"])?;

    let adverts = 5.0 * f64::from(SHARED);
    let busiest = f64::from(SHARED).min(10.0);
    // Each is extrapolated over a minute of which there was less.
    let shown = [
        (6, 0, 1.0, [f64::from(SHARED), 1000.0]),
        (8, 0, 1.0, [adverts / 10.0, adverts * 2.0]),
        (8, 1, 1.0, [adverts / 10.0, adverts * 2.0]),
        (9, 0, 1.0, [0.001, 1.0]),
        (10, 0, busiest, [100.0, 100_000.0]),
        (11, 0, busiest, [100.0, 100_000.0]),
        (12, 0, busiest, [0.1, 100.0]),
        (13, 0, busiest, [0.1, 100.0]),
        (14, 0, busiest, [0.0, 3.0]),
        (15, 0, 1.0, [0.9, 10.0]),
        (16, 0, 2.0, [1.0, 1.0]),
        (17, 0, 2.0, [1.0, 1.0]),
    ];
    let panels = panels();
    for (id, target, series, [least, most]) in shown {
        let text = &panels.iter().find(|(known, _)| *known == id).unwrap().1[target];
        // What two masters have brought about before is among that.
        let text = text.replace("reason!~", "reason=\"ttl\",reason!~");
        let mut last = None;
        let reached = lab.wait_until(LONG, "a panel", || {
            let (count, max) = (format!("count({text})"), format!("max({text})"));
            last = query(c, &count)?.zip(query(c, &max)?);
            let right =
                |(count, max): &(f64, f64)| *count == series && (least..=most).contains(max);
            Ok(last.filter(right))
        });
        println!("panel {id}: {last:?}");
        assert!(
            reached.is_ok(),
            "panel {id}: {last:?}, not {series} up to {least} to {most}: {text}"
        );
    }
    Ok(())
}

/// Every query of the dashboard, without its variables.
fn dashboard() -> Vec<String> {
    panels().into_iter().flat_map(|(_, queries)| queries).collect()
}

/// The same by the numbers of its panels.
fn panels() -> Vec<(u64, Vec<String>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let written = |target: &Value| {
        let query = target["expr"].as_str().unwrap();
        let query = query.replace("$__rate_interval", "1m").replace("$__range", "1h");
        query.replace("$instance", ".*").replace("$interface", ".*").replace("$router", ".*")
    };
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queries =
        |panel: &Value| panel["targets"].as_array().unwrap().iter().map(written).collect();
    panels.map(|panel| (panel["id"].as_u64().unwrap(), queries(panel))).collect()
}

/// The expressions of the alerts that are shipped.
fn alerts() -> Vec<String> {
    let lines = ALERTS.lines();
    lines.filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned).collect()
}

/// By what two hosts have said in takeovers, faults and mistakes.
#[test]
fn alerts_fire_when_something_is_wrong() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/metrics/alerts_test.yml");
    let output = Command::new("promtool").args(["test", "rules", tests]).output();
    let output = output.expect("promtool: run `cargo xtask setup`");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// The names of metrics in a query.
fn names(query: &str) -> impl Iterator<Item = &str> {
    query
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("vrrp_"))
}

/// Clients that say nothing, too much or nonsense hold up neither the others nor the engine, and are counted.
#[test]
fn bad_clients_are_counted_and_disturb_nobody() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let conf = Instance::new(51, 255, "10.0.0.100/24").v3("0.1").to_string();
    let mut daemon = VrrpUser::start_with_options(&host, "vrrp.conf", &conf, &["--metrics", AT])?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    metrics(&host)?;
    let at: SocketAddr = AT.parse().unwrap();
    let (before, silent) = host.namespace().enter(|| {
        let connect = || {
            let stream = TcpStream::connect(at).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            stream
        };
        // No more than may wait at once, but one.
        let silent: Vec<_> = (0..3).map(|_| connect()).collect();
        for (request, status) in [
            (&b"NONSENSE\r\n\r\n"[..], "400"),
            (b"GET /other HTTP/1.1\r\n\r\n", "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ] {
            let mut stream = connect();
            stream.write_all(request).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
        let mut flood = connect();
        let _ = flood.write_all(&[b'x'; 100_000]);
        let mut answer = Vec::new();
        match flood.read_to_end(&mut answer) {
            // The rest of the flood finds nobody.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            result => drop(result.unwrap()),
        }
        (daemon.router_stats(&host, ROUTER), silent)
    })?;
    let sent = before?["adverts_sent"].as_u64().unwrap();
    // The silent ones are sent away.
    let text = lab.wait_until(LONG, "all are counted", || {
        let text = metrics(&host)?;
        let count = |result| {
            value(&text, &format!("vrrp_metrics_requests_total{{result=\"{result}\"}}")).unwrap()
        };
        let all = count("malformed") == 1.0
            && count("not_found") == 1.0
            && count("method") == 1.0
            && count("too_long") + count("aborted") >= 1.0
            && count("timeout") == 3.0;
        Ok(all.then_some(text))
    })?;
    drop(silent);
    check(&text);
    let stats = daemon.router_stats(&host, ROUTER)?;
    assert!(stats["adverts_sent"].as_u64().unwrap() > sent + 20, "{stats}");
    assert_eq!(stats["send_errors"], 0);
    Ok(())
}

/// An address that is taken is no reason not to run, and is used once it is free; a socket file comes and goes.
#[test]
fn the_address_may_come_later() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("a", "10.0.0.1/24")?;
    let conf = Instance::new(51, 255, "10.0.0.100/24").to_string();
    let taken = host.namespace().enter(|| std::net::TcpListener::bind(AT).unwrap())?;
    let mut daemon = VrrpUser::start_with_options(&host, "vrrp.conf", &conf, &["--metrics", AT])?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    assert!(daemon.log().contains("metrics: cannot listen at 127.0.0.1:9560"));
    drop(taken);
    let text = metrics(&host)?;
    let head = curl(&host, &["--head", "--fail", &format!("http://{AT}/metrics")])?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    assert!(length.and_then(|length| length.trim().parse().ok()) > Some(1000), "{head}");
    let failed = value(&text, r#"vrrp_metrics_requests_total{result="not_listening"}"#).unwrap();
    assert!(failed >= 1.0, "{text}");
    assert!(daemon.stop()?.success());

    let socket = host.dir("metrics")?.join("sock");
    let at = format!("unix:{}", socket.display());
    let mut daemon = VrrpUser::start_with_options(&host, "vrrp.conf", &conf, &["--metrics", &at])?;
    daemon.wait_state(&host, ROUTER, "MASTER", LONG)?;
    let mut stream =
        lab.wait_until(LONG, "the socket", || Ok(UnixStream::connect(&socket).ok()))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("vrrp_router_state{"), "{answer}");
    assert!(daemon.stop()?.success());
    assert!(!socket.exists());
    Ok(())
}
