//! `cargo xtask run`: the story of two hosts and one address in a network of namespaces, or the
//! daemon itself.

use std::ffi::OsString;
use std::io::{IsTerminal, Write, stdout};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use vrrp_tests::story::{ADDRESS, Daemon, Kind, Machine, Off, PRIORITIES, Step, Story};
use vrrp_tests::{Advert, Error, Lab, VrrpUser};

use crate::{build, setup};

/// Names the daemon's binary to the root process that `sudo` starts, which must build nothing.
const BINARY: &str = "VRRP_USER_BIN";
/// Period of the live table.
const REFRESH: Duration = Duration::from_secs(1);

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Args {
    /// Arguments of `vrrp-user run`, such as `--config FILE`; without any, the story is played in a
    /// network of namespaces
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    daemon: Vec<OsString>,
}

/// Runs the task.
pub fn run(args: Args) -> Result<ExitCode> {
    let root = nix::unistd::geteuid().is_root();
    let binary = match std::env::var_os(BINARY) {
        Some(binary) => PathBuf::from(binary),
        None => {
            if args.daemon.is_empty() {
                setup::setup()?;
            }
            build::daemon(false, None)?
        }
    };
    if !args.daemon.is_empty() {
        let mut command = as_root(root, &binary.into_os_string());
        // Ctrl-C and signals are the daemon's own business from here on.
        let error = command.arg("run").args(args.daemon).exec();
        return Err(error).context("cannot start the daemon");
    }
    if !root {
        let own = std::env::current_exe().context("cannot find the running executable")?;
        let mut variable = OsString::from(format!("{BINARY}="));
        variable.push(binary);
        let mut command = as_root(root, &"env".into());
        let error = command.arg(variable).arg(own).arg("run").exec();
        return Err(error).context("cannot become root");
    }
    vrrp_tests::interrupt_on_signals()?;
    match play() {
        Err(Error::Interrupted) => println!("\nInterrupted; everything is removed."),
        Err(error) => bail!("{error}"),
        Ok(()) => println!("Everything is removed."),
    }
    Ok(ExitCode::SUCCESS)
}

/// The program as root, by sudo if need be.
fn as_root(root: bool, program: &OsString) -> Command {
    if root {
        return Command::new(program);
    }
    println!("This needs root: sudo {}", program.display());
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Plays the story and, on a terminal, stays up with a live table.
fn play() -> vrrp_tests::Result<()> {
    let lab = Lab::new()?;
    let mut story = Story::new(&lab, Kind::VrrpUser, Kind::VrrpUser)?;
    println!("Two hosts on one network share {ADDRESS}, each with a web server on port 81:");
    for (machine, priority) in [&story.a, &story.b].into_iter().zip(PRIORITIES) {
        let (host, kind) = (machine.host(), machine.kind().name());
        println!("  {}  {:<9}  {kind}  priority {priority}", host.name(), host.address());
    }
    println!("A client on the same network asks for the page all the time.\n");
    let mut number = 0;
    story.play(Off::PowerFails, |step| {
        number += 1;
        print_step(number, step);
    })?;
    println!("The story went as it should.");
    if stdout().is_terminal() {
        story.b.back(Off::PowerFails)?;
        stay(&lab, &mut story)?;
    }
    Ok(())
}

fn print_step(number: u32, step: &Step) {
    println!("{number}. {}", step.title);
    println!("   curl http://{ADDRESS}:81/ -> {}", step.answered);
    if number > 1 {
        println!("   address away for {:.2} s", step.away.as_secs_f64());
    }
    if !step.adverts.is_empty() {
        println!("   tcpdump on b:");
    }
    // Of equal lines, the first tells it all.
    let what = |advert: &Advert| (advert.source.clone(), advert.priority);
    for same in step.adverts.chunk_by(|one, next| what(one) == what(next)) {
        if let Some(first) = same.first() {
            println!("     {}", first.line);
        }
        if same.len() > 1 {
            println!("     ... and {} more like it", same.len() - 1);
        }
    }
    println!();
}

/// Shows who is what every second, until Ctrl-C.
fn stay(lab: &Lab, story: &mut Story) -> vrrp_tests::Result<()> {
    let namespace = |machine: &Machine| machine.host().namespace().name().to_owned();
    let (a, b) = (namespace(&story.a), namespace(&story.b));
    loop {
        let mut text = String::from("\x1b[H\x1b[2J");
        text += &format!(
            "{:<5} {:<10} {:<7} {:>8} {:>8}  {}\n",
            "HOST", "DAEMON", "STATE", "RECEIVED", "SENT", "ADDRESSES"
        );
        for machine in [&mut story.a, &mut story.b] {
            text += &row(machine)?;
        }
        let answers = story.prober.now().map_or("nobody".to_owned(), |host| format!("host {host}"));
        text += &format!("\nThe client's page comes from {answers}.\n\n");
        text += "From another terminal, for example:\n";
        text += &format!("  nsenter --net=/run/netns/{b} tcpdump -n -i eth0 proto 112\n");
        if let Some(Daemon::VrrpUser(daemon)) = story.a.daemon() {
            let pid = daemon.process().pid();
            text += &format!("  kill -9 {pid}      # the daemon on a\n");
            let instance = VrrpUser::instance(story.a.host());
            let bpffs = lab.bpffs();
            let binary = VrrpUser::binary()?;
            let (binary, bpffs) = (binary.display(), bpffs.display());
            text += &format!("  {binary} status --instance {instance}\n");
            text += &format!("  {binary} stats --instance {instance} --bpffs {bpffs}\n");
        }
        text += &format!("  nsenter --net=/run/netns/{a} bash\n\nCtrl-C ends it.\n");
        print!("{text}");
        // A terminal that has gone away ends it as well: the next write fails, or SIGHUP comes.
        stdout().flush().map_err(Error::io("write the table"))?;
        vrrp_tests::pause(REFRESH)?;
    }
}

/// One line of the live table.
fn row(machine: &mut Machine) -> vrrp_tests::Result<String> {
    let state = machine.state();
    let addresses: Vec<_> =
        machine.host().addresses()?.into_iter().filter(|a| !a.starts_with("127.")).collect();
    let (name, kind) = (machine.host().name().to_owned(), machine.kind().name());
    let mut counters = [String::from("-"), String::from("-")];
    let stats = machine.stats();
    for (counter, name) in counters.iter_mut().zip(["adverts_received", "adverts_sent"]) {
        if let Some(count) = stats.as_ref().and_then(|stats| stats[name].as_u64()) {
            *counter = count.to_string();
        }
    }
    let [received, sent] = counters;
    let state = if state.is_empty() { "down" } else { &state };
    let addresses = addresses.join(" ");
    Ok(format!("{name:<5} {kind:<10} {state:<7} {received:>8} {sent:>8}  {addresses}\n"))
}
