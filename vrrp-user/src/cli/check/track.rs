//! What `check` says of sync groups, and of what is tracked.

use std::io::{self, Write};

use super::{describe_notify, described, line, seconds};
use crate::config::model::{
    Config, Group, InitFile, ParamMatch, TrackFile, TrackProcess, TrackScript,
};
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

fn describe_group(group: &Group, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "sync group {} (line {})", group.name, group.line)?;
    line(out, "routers", [group.members.join(", ")])?;
    let weights = "those of its routers count";
    line(out, "weights", group.tracking_weight.then_some(weights))?;
    for track in &group.track {
        line(out, "tracks", [track])?;
    }
    group.notify.iter().try_for_each(|notify| describe_notify(notify, out))?;
    writeln!(out)
}

fn describe_script(script: &TrackScript, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "script {} (line {})", script.name, script.line)?;
    line(out, "command", [described(&script.command)])?;
    let timeout = script.timeout.unwrap_or(script.interval);
    let (interval, timeout) = (seconds(script.interval), seconds(timeout));
    line(out, "runs", [format!("every {interval}, for {timeout} at most")])?;
    let first = if script.init_fail { "down" } else { "not known" };
    let (rise, fall) = (script.rise, script.fall);
    let up = format!("after {rise} x success, down after {fall} x failure; at first {first}");
    line(out, "up", [up])?;
    writeln!(out)
}

fn describe_file(file: &TrackFile, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "file {} (line {})", file.name, file.line)?;
    line(out, "path", [file.path.display()])?;
    let written = file.init.map(|InitFile { value, overwrite }| {
        format!("{value} at start{}", if overwrite { "" } else { " unless it exists" })
    });
    line(out, "written", written)?;
    writeln!(out)
}

fn describe_process(process: &TrackProcess, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "process {} (line {})", process.name, process.line)?;
    line(out, "command", [&process.command])?;
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
        line(out, "parameters", [format!("{parameters}{how}")])?;
    }
    line(out, "compared with", process.full_command.then_some("/proc/PID/cmdline"))?;
    let most = match process.quorum_max {
        u32::MAX => String::new(),
        most => format!(", at most {most}"),
    };
    line(out, "up", [format!("with at least {}{most}", process.quorum)])?;
    if process.fork_delay > Nanos::ZERO || process.terminate_delay > Nanos::ZERO {
        let (up, down) = (seconds(process.fork_delay), seconds(process.terminate_delay));
        line(out, "delays", [format!("{up} until it is up, {down} until it is down")])?;
    }
    writeln!(out)
}
