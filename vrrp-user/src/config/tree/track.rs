//! Tracked objects and sync groups.

use super::{Table, Value, scripts};
use crate::config::model::{
    Group, InitFile, ParamMatch, Track, TrackFile, TrackProcess, TrackScript, Tracked,
};

/// What a router or a group depends on.
pub(super) fn tracks(tracks: &[Track]) -> Value {
    let track = |track: &Track| {
        let Track { what, weight, reverse } = track;
        let mut table = Table::default();
        match what {
            Tracked::Interface(name) => table.push("interface", name.as_str()),
            Tracked::Script(name) => table.push("script", name.as_str()),
            Tracked::File(name) => table.push("file", name.as_str()),
            Tracked::Process(name) => table.push("process", name.as_str()),
        }
        table.push("weight", *weight);
        table.push("reverse", *reverse);
        table
    };
    tracks.iter().map(track).collect::<Vec<_>>().into()
}

/// `[[group]]`; its members are those routers that name it.
pub(super) fn group(group: &Group) -> Table {
    let Group { name, line: _, members: _, track, notify, tracking_weight } = group;
    let mut table = Table::default();
    table.push("name", name.as_str());
    table.push("track", tracks(track));
    table.push("notify", scripts::notify(notify.as_deref()));
    table.push("tracking_weight", *tracking_weight);
    table
}

/// `[[script]]`.
pub(super) fn script(script: &TrackScript) -> Table {
    let TrackScript {
        name,
        line: _,
        command,
        interval,
        timeout,
        rise,
        fall,
        weight,
        reverse,
        init_fail,
    } = script;
    let mut table = Table::default();
    table.push("name", name.as_str());
    table.push("command", scripts::command(command));
    table.push("interval", *interval);
    table.push("timeout", *timeout);
    table.push("rise", *rise);
    table.push("fall", *fall);
    table.push("init_fail", *init_fail);
    table.push("weight", *weight);
    table.push("reverse", *reverse);
    table
}

/// `[[file]]`.
pub(super) fn file(file: &TrackFile) -> Table {
    let TrackFile { name, line: _, path, weight, reverse, init } = file;
    let (init, overwrite) = match init {
        Some(InitFile { value, overwrite }) => (Some(*value), *overwrite),
        None => (None, false),
    };
    let mut table = Table::default();
    table.push("name", name.as_str());
    table.push("path", path.display().to_string());
    table.push("init", init);
    table.push("overwrite", overwrite);
    table.push("weight", *weight);
    table.push("reverse", *reverse);
    table
}

/// `[[process]]`.
pub(super) fn process(process: &TrackProcess) -> Table {
    let TrackProcess {
        name,
        line: _,
        command,
        parameters,
        param_match,
        full_command,
        quorum,
        quorum_max,
        fork_delay,
        terminate_delay,
        weight,
        reverse,
    } = process;
    let compared = param_match.map(|how| match how {
        ParamMatch::Exact => "exact",
        ParamMatch::Partial => "partial",
        ParamMatch::Initial => "initial",
    });
    let mut table = Table::default();
    table.push("name", name.as_str());
    table.push("command", command.as_str());
    table.push("parameters", parameters.clone());
    table.push("match", compared);
    table.push("full_command", *full_command);
    table.push("quorum", *quorum);
    table.push("quorum_max", (*quorum_max != u32::MAX).then_some(*quorum_max));
    table.push("fork_delay", *fork_delay);
    table.push("terminate_delay", *terminate_delay);
    table.push("weight", *weight);
    table.push("reverse", *reverse);
    table
}
