//! What `check` says of sync groups, and of what is tracked.

use std::io::{self, Write};

use super::{describe_notify, described, seconds};
use crate::config::model::{Config, Group, ParamMatch, TrackFile, TrackProcess, TrackScript};
use crate::engine::time::Nanos;

/// Writes one block per group, script, file and process.
pub fn describe(config: &Config, out: &mut impl Write) -> io::Result<()> {
    for group in &config.groups {
        describe_group(group, out)?;
    }
    for script in &config.scripts {
        describe_script(script, out)?;
    }
    for file in &config.files {
        describe_file(file, out)?;
    }
    for process in &config.processes {
        describe_process(process, out)?;
    }
    Ok(())
}

fn line(out: &mut impl Write, name: &str, value: impl std::fmt::Display) -> io::Result<()> {
    writeln!(out, "    {name:<16}{value}")
}

fn describe_group(group: &Group, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "sync group {} (line {})", group.name, group.line)?;
    line(out, "routers", group.members.join(", "))?;
    if group.tracking_weight {
        line(out, "weights", "those of its routers count")?;
    }
    for track in &group.track {
        line(out, "tracks", track)?;
    }
    if let Some(notify) = &group.notify {
        describe_notify(notify, &mut |name: &str, value: String| line(out, name, value))?;
    }
    writeln!(out)
}

fn describe_script(script: &TrackScript, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "script {} (line {})", script.name, script.line)?;
    line(out, "command", described(&script.command))?;
    let timeout = script.timeout.unwrap_or(script.interval);
    line(
        out,
        "runs",
        format!("every {}, for {} at most", seconds(script.interval), seconds(timeout)),
    )?;
    let first = if script.init_fail { "down" } else { "not known" };
    let (rise, fall) = (script.rise, script.fall);
    line(
        out,
        "up",
        format!("after {rise} x success, down after {fall} x failure; at first {first}"),
    )?;
    writeln!(out)
}

fn describe_file(file: &TrackFile, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "file {} (line {})", file.name, file.line)?;
    line(out, "path", file.path.display())?;
    if let Some(init) = file.init {
        let when = if init.overwrite { "at start" } else { "at start unless it exists" };
        line(out, "written", format!("{} {when}", init.value))?;
    }
    writeln!(out)
}

fn describe_process(process: &TrackProcess, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "process {} (line {})", process.name, process.line)?;
    line(out, "command", &process.command)?;
    if let Some(how) = process.param_match {
        let parameters = match process.parameters.join(" ") {
            none if none.is_empty() => "none".to_owned(),
            some => some,
        };
        let how = match how {
            ParamMatch::Exact => "",
            ParamMatch::Partial => ", and maybe more",
            ParamMatch::Initial => "..., and maybe more",
        };
        line(out, "parameters", format!("{parameters}{how}"))?;
    }
    if process.full_command {
        line(out, "compared with", "/proc/PID/cmdline")?;
    }
    let most = match process.quorum_max {
        u32::MAX => String::new(),
        most => format!(", at most {most}"),
    };
    line(out, "up", format!("with at least {}{most}", process.quorum))?;
    if process.fork_delay > Nanos::ZERO || process.terminate_delay > Nanos::ZERO {
        let (up, down) = (seconds(process.fork_delay), seconds(process.terminate_delay));
        line(out, "delays", format!("{up} until it is up, {down} until it is down"))?;
    }
    writeln!(out)
}
