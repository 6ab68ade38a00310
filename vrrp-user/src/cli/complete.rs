//! What a shell may complete words with: routers, groups, instances and interfaces as they are at that moment. The shell asks
//! this program, with COMPLETE in its environment.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap_complete::CompletionCandidate;

use crate::api::Status;
use crate::control::client;
use crate::engine::types::State;
use crate::types::instance::Instance;

/// Names of routers, and where they are.
pub fn routers() -> Vec<CompletionCandidate> {
    status().map(|status| candidates(router_names(&status))).unwrap_or_default()
}

/// And of sync groups, which orders take as well.
pub fn routers_and_groups() -> Vec<CompletionCandidate> {
    let Some(status) = status() else { return Vec::new() };
    let groups = status.routers.iter().filter_map(|router| router.group.clone());
    candidates(router_names(&status).into_iter().chain(groups).collect())
}

/// Interfaces with routers where a daemon runs, else all.
pub fn interfaces() -> Vec<CompletionCandidate> {
    let of_routers = |status: Status| status.interfaces.into_iter().map(|i| i.name).collect();
    candidates(status().map_or_else(|| entries("/sys/class/net"), of_routers))
}

/// Instances that run or were killed.
pub fn instances() -> Vec<CompletionCandidate> {
    let folder = Instance::default().runtime_dir();
    candidates(folder.parent().map(instances_in).unwrap_or_default())
}

/// Those of a folder: each has one with a lock. The BPF filesystem that a daemon mounts where there is none is beside them.
fn instances_in(folder: &Path) -> BTreeSet<String> {
    let mut names = entries(&folder.display().to_string());
    names.retain(|name| folder.join(name).join("lock").exists());
    names
}

/// States of routers.
pub fn states() -> Vec<CompletionCandidate> {
    candidates(State::ALL.iter().map(|state| state.name().to_lowercase()).collect())
}

fn candidates(names: BTreeSet<String>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn router_names(status: &Status) -> BTreeSet<String> {
    let names = status.routers.iter();
    names
        .flat_map(|router| [router.name.clone(), format!("{}/{}", router.interface, router.vrid)])
        .collect()
}

fn entries(folder: &str) -> BTreeSet<String> {
    let all = fs::read_dir(folder).into_iter().flatten().flatten();
    all.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Of the daemon that the words before name, if it may be asked.
fn status() -> Option<Status> {
    client::status(&instance(env::args_os(), env::var("VRRP_USER_INSTANCE").ok())).ok()
}

/// The one that a line names, which is not parsed when it is completed.
fn instance(line: impl Iterator<Item = OsString>, otherwise: Option<String>) -> Instance {
    let words: Vec<String> = line.map(|word| word.to_string_lossy().into_owned()).collect();
    let pairs = words.windows(2).filter(|pair| ["-i", "--instance"].contains(&&*pair[0]));
    let named = pairs.map(|pair| pair[1].clone()).next_back();
    let named = named.or_else(|| {
        words.iter().rev().find_map(|word| Some(word.strip_prefix("--instance=")?.to_owned()))
    });
    named.or(otherwise).and_then(|name| name.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_instance() {
        let named = |line: &str, otherwise: Option<&str>| {
            let words = line.split(' ').map(OsString::from);
            instance(words, otherwise.map(str::to_owned)).to_string()
        };
        assert_eq!(named("vrrp-user status", None), "default");
        assert_eq!(named("vrrp-user status", Some("edge")), "edge");
        assert_eq!(named("vrrp-user status -i lab ", Some("edge")), "lab");
        assert_eq!(named("vrrp-user status --instance=lab x", None), "lab");
        assert_eq!(named("vrrp-user status -i ../..", None), "default");
    }

    #[test]
    fn what_is_no_instance_is_not_named() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["edge", "bpf"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("edge/lock"), "").unwrap();
        assert_eq!(instances_in(directory.path()), BTreeSet::from(["edge".to_owned()]));
    }

    #[test]
    fn states_are_completed() {
        let names: Vec<_> = states().iter().map(|state| state.get_value().to_owned()).collect();
        assert_eq!(names, ["backup", "fault", "init", "master"]);
    }
}
