//! What each subcommand comes to, and how the program ends.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::args::{Command, RunArgs};
use super::doctor::Severity as Worst;
use super::exit::{self, Exit};
use super::{
    check, cleanup, clock, convert, doctor, events, help, manual, monitor, reload, service_user,
    stats, status, top, upgrade,
};
use crate::api::Request;
use crate::config::diagnostic::Severity;
use crate::control::client;
use crate::driver::signals;
use crate::io::bpf::{self, Without};
use crate::io::{descriptors, handover, logger, memory, netlink, netns};
use crate::types::build;
use crate::types::instance::Instance;
use crate::types::netns::Netns;
use crate::{config, driver, printable};

/// Does what the arguments say.
pub fn main() -> ExitCode {
    // Where a shell asks what a word may become, that is all.
    clap_complete::CompleteEnv::with_factory(help::command).complete();
    signals::block();
    #[cfg(debug_assertions)]
    pretend();
    let received = handover::receive();
    let cli = help::parse();
    if cli.utc {
        clock::use_utc();
    }
    let run = if let Command::Run(run) = &cli.command { Some(run) } else { None };
    if run.is_none_or(|run| run.check_adopt) {
        signals::unblock();
    }
    let (daemon, level) = (run.is_some(), run.and_then(|run| run.log_level));
    let log = match logger::start(daemon, level, clock::stamp) {
        Ok(log) => log,
        Err(error) => {
            complain(&format!("cannot start the log: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match received {
        Ok(()) => {}
        Err(error) => log::warn!("nothing is taken from the program before this one: {error}"),
    }
    if let Some(version) = handover::version() {
        // What is executed by a descriptor is called by its number.
        let _ = nix::sys::prctl::set_name(c"vrrp-user");
        log::info!("version {} takes over from version {version}", build::version());
    }
    let result = dispatch(cli.command);
    // What led to an error stands before it.
    drop(log);
    match result {
        Ok(code) => code,
        // `vrrp-user stats | head` is no failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            if daemon { exit::of(&error).into() } else { ExitCode::FAILURE }
        }
    }
}

/// What tests have written at the end of this program.
#[cfg(debug_assertions)]
fn pretend() {
    use std::io::{Read as _, Seek as _};
    const MOST: u64 = 1024;
    let mut end = Vec::new();
    let read = std::fs::File::open("/proc/self/exe").and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(length.saturating_sub(MOST)))?;
        file.read_to_end(&mut end)
    });
    if read.is_ok() {
        build::pretend(&end);
    }
}

fn complain(text: &str) {
    let text = format!("vrrp-user: {}\n", printable::message(text));
    let text =
        if logger::to_journal() { logger::journal_lines(log::Level::Error, &text) } else { text };
    let _ = io::stderr().write_all(text.as_bytes());
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        let json = cause.downcast_ref::<serde_json::Error>();
        let kind = json.and_then(serde_json::Error::io_error_kind);
        kind.or_else(|| cause.downcast_ref::<io::Error>().map(io::Error::kind))
    };
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match command {
        Command::Run(run) => return run_daemon(*run),
        Command::Completions { shell } => {
            manual::completions(shell, &mut out).context("cannot write")?;
        }
        Command::Preflight { config, config_id, instance, running, memory } => {
            let config_id = config_id.config_id;
            let options = config::Options { config_id, instance, running, ..Default::default() };
            let settings = driver::reload::Settings { options, ..Default::default() };
            let usable = driver::reload::preflight::child(&config, &settings, memory, &mut out)?;
            return Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Man { dir } => {
            manual::pages(&dir).with_context(|| format!("cannot write to {}", dir.display()))?;
        }
        Command::Status(options) => {
            return Ok(match status::status(&options, &mut out) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::from(exit::WRONG),
                Err(error) => {
                    let code = exit::of_status(&error);
                    let error = error.into();
                    if is_broken_pipe(&error) {
                        return Ok(ExitCode::SUCCESS);
                    }
                    complain(&format!("{error:#}"));
                    code.into()
                }
            });
        }
        Command::StepDown { name, instance } => {
            order(&instance.instance, Request::StepDown { name }, &mut out)?;
        }
        Command::Resume { name, instance } => {
            order(&instance.instance, Request::Resume { name }, &mut out)?;
        }
        Command::SetPriority { name, priority, reset: _, instance } => {
            let request = Request::SetPriority { name, priority };
            order(&instance.instance, request, &mut out)?;
        }
        Command::Reload { instance, check, json } => {
            let taken = reload::reload(&instance.instance, check, json, &mut out)?;
            return Ok(if taken { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Upgrade { binary, instance, check, json } => {
            let outcome = upgrade::upgrade(&instance.instance, binary, check, json, &mut out)?;
            return Ok(ExitCode::from(outcome as u8));
        }
        Command::Events(options) => events::events(&options, &mut out)?,
        Command::Stats(view) => stats::stats(&view, &mut out)?,
        Command::Monitor(options) => monitor::monitor(options, &mut io::BufWriter::new(out))?,
        Command::Fence { name, clear, instance, bpffs } => {
            let bpffs = bpffs.bpffs.as_deref();
            cleanup::fence(&instance.instance, bpffs, name.as_deref(), clear, &mut out)?;
        }
        Command::Cleanup { instance, bpffs } => {
            let gone = cleanup::clean(&instance.instance, bpffs.bpffs.as_deref(), &mut out)?;
            return Ok(if gone { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Top { instance, bpffs } => {
            // It writes for itself.
            drop(out);
            top::top(&instance.instance, bpffs.bpffs)?;
        }
        Command::Check { file, config_id, instance, as_user, all, json } => {
            let options = config::Options {
                config_id: config_id.config_id,
                instance: Some(instance.instance.name().to_owned()),
                mtu: Some(netlink::mtu),
                enter: Some(enter),
                running: None,
            };
            let checked_as = service_user::assume(&instance.instance, as_user.as_user.as_deref())?;
            let view = check::View { all, json, machine: true, checked_as };
            let usable = check::check(&file, &options, &view, &mut out)?;
            return Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Convert { file, config_id } => {
            let options =
                config::Options { config_id: config_id.config_id, ..config::Options::default() };
            let written = convert::convert(&file, &options, &mut out, &mut io::stderr())
                .context("cannot write")?;
            return Ok(if written { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Doctor(options) => {
            return Ok(match doctor::doctor(&options, without()?, &mut out)? {
                Worst::Fine | Worst::Skipped => ExitCode::SUCCESS,
                Worst::Warning => ExitCode::from(1),
                Worst::Broken => ExitCode::from(2),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks a running daemon to do something, and prints what it did.
fn order(instance: &Instance, request: Request, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "{}", client::order(instance, request)?).context("cannot write")
}

/// What the kernel is to be taken to lack.
fn without() -> Result<Without, bpf::UnknownFeature> {
    let without = Without::from_environment()?;
    if !without.is_nothing() {
        log::warn!(
            "{}={without}: for tests only; what the kernel has of that is not used",
            bpf::VARIABLE
        );
    }
    Ok(without)
}

/// Goes to the network namespace that a configuration names. That this is not permitted says nothing against the file.
fn enter(netns: &Netns) -> Result<(), (Severity, String)> {
    netns::enter(netns).map(drop).map_err(|error| {
        let severity = match error {
            netns::Error::Denied { .. } => Severity::Warning,
            netns::Error::Missing(_) | netns::Error::Other(_) | netns::Error::Io { .. } => {
                Severity::Error
            }
        };
        (severity, bpf::chain(&error))
    })
}

fn run_daemon(run: RunArgs) -> anyhow::Result<ExitCode> {
    if let Some(refusal) = run.keepalived.refusal() {
        complain(&refusal);
        return Ok(Exit::Usage.into());
    }
    if run.config == Path::new(config::STDIN) {
        complain("standard input cannot be read again on a reload: give --config a file");
        return Ok(Exit::Usage.into());
    }
    let without = match without() {
        Ok(without) => without,
        Err(error) => {
            complain(&error.to_string());
            return Ok(Exit::Usage.into());
        }
    };
    for warning in run.keepalived.warnings() {
        log::warn!("{warning}");
    }
    memory::return_large_blocks();
    descriptors::raise();
    let instance = run.instance.instance;
    if run.check_adopt {
        memory::expendable(None);
    } else {
        bpf::begin(run.bpffs.bpffs.as_deref(), &instance);
    }
    if let Some(netns) = &run.netns {
        netns::enter(netns)?;
    }
    let named = config::Options {
        instance: Some(instance.name().to_owned()),
        config_id: run.config_id.config_id,
        // In TOML, that one router has too many addresses is no reason not to start the others.
        mtu: (!config::is_toml(&run.config)).then_some(netlink::mtu),
        enter: run.netns.is_none().then_some(enter),
        running: None,
    };
    let loaded = memory::apart(|| config::load(&run.config, &named))?;
    config::log(&run.config, &loaded.diagnostics);
    let mut config = loaded.config;
    let follows = run.netns.is_none().then(|| config.netns.clone());
    // The file was read in a thread of its own.
    if let Some(Some(netns)) = &follows {
        netns::enter(netns)?;
    }
    if let Some(netns) = run.netns.as_ref().or(config.netns.as_ref()) {
        log::info!("in the network namespace {netns}");
    }
    let again = driver::reload::Settings {
        options: named,
        metrics: run.metrics,
        netns: follows,
        socket_mode: run.socket_mode,
        socket_group: run.socket_group,
        capture: run.capture,
    };
    again.apply(&mut config);
    let options = driver::Options {
        config,
        config_path: run.config,
        instance,
        bpffs: run.bpffs.bpffs,
        pid_file: run.pid_file,
        again,
        without,
    };
    if run.check_adopt {
        driver::upgrade::candidate(&options)?.write(&mut io::stdout())?;
    } else {
        driver::run(options)?;
    }
    Ok(Exit::Stopped.into())
}
