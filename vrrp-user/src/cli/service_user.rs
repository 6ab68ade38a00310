//! Whom a configuration is checked as: the user of the installed unit, or the one of `--as-user`. What root may read and
//! execute says nothing about what the daemon may. `check` becomes that user for the rest of its life, so that the kernel
//! answers as it will answer the daemon; `doctor`, which needs root for the rest, asks a `check` of its own.
//!
//! Not looked at is what else the unit does to the view of the daemon (`ProtectHome=`, `ReadWritePaths=`).

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::prctl;
use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use serde::{Deserialize, Serialize};

use crate::config::access::{group_name, user_name};
use crate::types::instance::Instance;

/// Where systemd looks for units, first the one that goes before the others (systemd.unit(5)).
const UNIT_PATHS: [&str; 11] = [
    "/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient",
    "/etc/systemd/system", "/etc/systemd/system.attached", "/run/systemd/system",
    "/run/systemd/system.attached", "/run/systemd/generator", "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system", "/lib/systemd/system",
];
/// The variable that goes before them (systemd.unit(5)).
const UNIT_PATH: &str = "SYSTEMD_UNIT_PATH";

/// Nobody can be found, or become, whom a configuration is to be checked as.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no user {user}{}", of(unit.as_deref()))]
    NoUser { user: String, unit: Option<PathBuf> },
    #[error("there is no group {group}, which {} names", unit.display())]
    NoGroup { group: String, unit: PathBuf },
    #[error("only root can check as another user than itself, and not as {0}")]
    NotRoot(String),
    #[error("cannot read {}", path.display())]
    Unit { path: PathBuf, source: io::Error },
    #[error("cannot become user {user}")]
    Become { user: String, source: io::Error },
}

fn of(unit: Option<&Path>) -> String {
    unit.map(|unit| format!(", whom {} names", unit.display())).unwrap_or_default()
}

/// As whom a configuration was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedAs {
    /// Its user, by name.
    pub user: String,
    /// Its group, by name.
    pub group: String,
    /// The unit that names them.
    pub unit: Option<PathBuf>,
    /// The user of the unit, where that is another one and only root could become it.
    pub not_as: Option<String>,
}

impl CheckedAs {
    /// In words.
    pub fn describe(&self) -> String {
        let Self { user, group, unit, not_as } = self;
        let who = format!("checked as user {user}, group {group}");
        match (unit, not_as) {
            (Some(unit), Some(service)) => {
                format!("{who}; {} runs as user {service}: root can check as that", unit.display())
            }
            (Some(unit), None) => format!("{who}: those of {}", unit.display()),
            (None, _) => who,
        }
    }
}

/// Becomes whom the daemon of an instance runs as, if root asks; or another user, by name. `None` when there is nobody to
/// become: no unit is installed.
///
/// # Errors
/// [`Error`].
pub fn assume(instance: &Instance, named: Option<&str>) -> Result<Option<CheckedAs>, Error> {
    let (unit, service) = match named {
        Some(user) => (None, Service { user: Some(user.to_owned()), ..Service::default() }),
        None => match Service::installed(instance)? {
            Some((unit, service)) => (Some(unit), service),
            None => return Ok(None),
        },
    };
    let user = service.user(unit.as_deref())?;
    let ours = geteuid();
    if !ours.is_root() {
        if named.is_some() && user.uid != ours {
            return Err(Error::NotRoot(user.name));
        }
        let not_as = (user.uid != ours).then_some(user.name);
        let (user, group) = (user_name(ours.as_raw()), group_name(nix::unistd::getegid().as_raw()));
        return Ok(Some(CheckedAs { user, group, unit, not_as }));
    }
    let (group, groups) = service.groups(&user, unit.as_deref())?;
    let kept = service.capabilities(user.uid.is_root());
    become_user(user.uid, group, &groups, kept)
        .map_err(|source| Error::Become { user: user.name.clone(), source })?;
    let group = group_name(group.as_raw());
    Ok(Some(CheckedAs { user: user.name, group, unit, not_as: None }))
}

/// For the rest of the life of this thread, and what is executed by it, with some of its capabilities, or all.
fn become_user(
    user: Uid,
    group: Gid,
    groups: &[Gid],
    kept: Option<CapabilitySet>,
) -> io::Result<()> {
    prctl::set_keepcaps(true)?;
    setgroups(groups)?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    if let Some(set) = kept {
        let set = set & capabilities(None)?.permitted;
        let sets = CapabilitySets { effective: set, permitted: set, inheritable: set };
        set_capabilities(None, sets)?;
    }
    Ok(())
}

/// What a unit says about whom its process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Service {
    user: Option<String>,
    group: Option<String>,
    supplementary: Vec<String>,
    /// `None` for none.
    ambient: Option<CapabilitySet>,
    /// `None` for all.
    bounding: Option<CapabilitySet>,
}

impl Service {
    /// That of the unit of an instance, and the file of the unit, if it is installed.
    fn installed(instance: &Instance) -> Result<Option<(PathBuf, Self)>, Error> {
        let name = instance.name();
        let names = match name {
            "default" => vec!["vrrp-user.service".to_owned()],
            _ => vec![format!("vrrp-user@{name}.service"), "vrrp-user@.service".to_owned()],
        };
        let paths = unit_paths(std::env::var_os(UNIT_PATH).as_deref());
        let Some((unit, texts)) = read(&paths, &names)? else { return Ok(None) };
        Ok(Some((unit, Self::parse(&texts, name))))
    }

    /// From a unit file and its drop-ins, in the order in which they count.
    fn parse(texts: &[String], instance: &str) -> Self {
        let mut service = Self::default();
        for (key, value) in texts.iter().flat_map(|text| settings(text)) {
            let value = value.replace("%i", instance).replace("%I", instance).replace("%%", "%");
            let words = value.split_whitespace().map(str::to_owned);
            let one = || Some(value.clone()).filter(|value| !value.is_empty());
            match &*key {
                "User" => service.user = one(),
                "Group" => service.group = one(),
                "SupplementaryGroups" if value.is_empty() => service.supplementary.clear(),
                "SupplementaryGroups" => service.supplementary.extend(words),
                "AmbientCapabilities" => {
                    let before = service.ambient.unwrap_or(CapabilitySet::empty());
                    service.ambient = Some(merged(Some(before), &value));
                }
                "CapabilityBoundingSet" => {
                    service.bounding = Some(merged(service.bounding, &value));
                }
                _ => {}
            }
        }
        service
    }

    fn user(&self, unit: Option<&Path>) -> Result<User, Error> {
        let name = self.user.as_deref().unwrap_or("root");
        let found = match name.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(name),
        };
        let missing = || Error::NoUser { user: name.to_owned(), unit: unit.map(Path::to_owned) };
        found.ok().flatten().ok_or_else(missing)
    }

    /// The group, and all groups.
    fn groups(&self, user: &User, unit: Option<&Path>) -> Result<(Gid, Vec<Gid>), Error> {
        let find = |name: &String| {
            let found = match name.parse() {
                Ok(number) => Ok(Some(Gid::from_raw(number))),
                Err(_) => Group::from_name(name).map(|group| group.map(|group| group.gid)),
            };
            let unit = unit.unwrap_or(Path::new("")).to_owned();
            found.ok().flatten().ok_or_else(|| Error::NoGroup { group: name.clone(), unit })
        };
        let group = self.group.as_ref().map(find).transpose()?.unwrap_or(user.gid);
        let name = CString::new(user.name.as_str()).unwrap_or_default();
        let mut groups = getgrouplist(&name, group).unwrap_or_else(|_| vec![group]);
        for name in &self.supplementary {
            groups.push(find(name)?);
        }
        Ok((group, groups))
    }

    /// What the process may do besides; `None` for root who may do everything.
    fn capabilities(&self, root: bool) -> Option<CapabilitySet> {
        if root {
            return self.bounding;
        }
        let bounding = self.bounding.unwrap_or(CapabilitySet::all());
        Some(self.ambient.unwrap_or(CapabilitySet::empty()) & bounding)
    }
}

/// The capabilities after one more assignment (systemd.exec(5)): they are added to those before it, or with `~` taken away,
/// by the first one from all. Nothing takes all away, and `~` alone gives all.
fn merged(before: Option<CapabilitySet>, value: &str) -> CapabilitySet {
    let (inverted, names) = match value.strip_prefix('~') {
        Some(names) => (true, names),
        None => (false, value),
    };
    let named = names
        .split_whitespace()
        .filter_map(capability)
        .fold(CapabilitySet::empty(), CapabilitySet::union);
    match (inverted, named.is_empty()) {
        (true, true) => CapabilitySet::all(),
        (true, false) => before.unwrap_or(CapabilitySet::all()) - named,
        (false, true) => CapabilitySet::empty(),
        (false, false) => before.unwrap_or(CapabilitySet::empty()) | named,
    }
}

/// `CAP_SETUID` in whatever case.
fn capability(name: &str) -> Option<CapabilitySet> {
    CapabilitySet::from_name(name.to_uppercase().strip_prefix("CAP_")?)
}

/// The assignments of `[Service]`: `KEY=VALUE`, comments left out, continued lines in one (systemd.syntax(7)).
fn settings(text: &str) -> Vec<(String, String)> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let (mut found, mut within) = (Vec::new(), false);
    while let Some(first) = lines.next() {
        let mut line = first.to_owned();
        while let Some(head) = line.strip_suffix('\\') {
            line = format!("{head} {}", lines.next().unwrap_or_default());
        }
        if line.starts_with('[') {
            within = line == "[Service]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| within) {
            found.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

/// The folders of units. An empty entry at the end of the variable stands for the usual ones.
fn unit_paths(variable: Option<&OsStr>) -> Vec<PathBuf> {
    let usual = || UNIT_PATHS.map(PathBuf::from);
    let Some(variable) = variable.filter(|text| !text.is_empty()) else { return usual().into() };
    let mut paths: Vec<PathBuf> = std::env::split_paths(variable).collect();
    if paths.last().is_some_and(|last| last.as_os_str().is_empty()) {
        paths.pop();
        paths.extend(usual());
    }
    paths
}

/// The first unit file of one of these names, and its text with those of its drop-ins.
fn read(paths: &[PathBuf], names: &[String]) -> Result<Option<(PathBuf, Vec<String>)>, Error> {
    let files = names.iter().flat_map(|name| paths.iter().map(move |path| path.join(name)));
    // One that is masked is a link to /dev/null, and starts nothing.
    let Some(unit) = files.into_iter().find(|file| file.is_file()) else { return Ok(None) };
    let text = |path: &PathBuf| {
        fs::read_to_string(path).map_err(|source| Error::Unit { path: path.clone(), source })
    };
    let drop_ins = drop_ins(paths, names);
    let texts: Result<Vec<String>, Error> =
        [&unit].into_iter().chain(&drop_ins).map(text).collect();
    Ok(Some((unit, texts?)))
}

/// The drop-ins of units, sorted by name; one of the same name in a folder that comes first takes the place of the other.
fn drop_ins(paths: &[PathBuf], names: &[String]) -> Vec<PathBuf> {
    let shared = ["service.d".to_owned(), "vrrp-.service.d".to_owned()];
    let folders: Vec<String> = names.iter().map(|name| format!("{name}.d")).chain(shared).collect();
    let mut found = BTreeMap::new();
    for folder in paths.iter().flat_map(|path| folders.iter().map(move |name| path.join(name))) {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension() == Some(OsStr::new("conf"))
                && let Some(name) = path.file_name()
            {
                found.entry(name.to_owned()).or_insert(path);
            }
        }
    }
    found.into_values().filter(|path| path.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGED: &str = include_str!("../../../dist/vrrp-user.service");

    fn parsed(texts: &[&str]) -> Service {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Service::parse(&texts, "red")
    }

    #[test]
    fn the_packaged_unit_has_a_user_of_its_own() {
        let service = parsed(&[PACKAGED]);
        assert_eq!(service.user.as_deref(), Some("vrrp-user"));
        assert_eq!(service.group.as_deref(), Some("vrrp-user"));
        let granted = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW | CapabilitySet::BPF;
        assert_eq!(service.capabilities(false), Some(granted));
    }

    /// Those of docs/service.md.
    #[test]
    fn drop_ins_add_and_take_away() {
        let more = "[Service]\nAmbientCapabilities=CAP_SETUID CAP_SETGID \\\n # for scripts\n \
                    cap_kill\nCapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL\n\
                    SupplementaryGroups=a b\nSupplementaryGroups=\nSupplementaryGroups=c %i\n";
        let service = parsed(&[PACKAGED, more]);
        let capabilities = service.capabilities(false).unwrap();
        assert!(capabilities.contains(CapabilitySet::SETUID | CapabilitySet::KILL));
        assert!(!capabilities.contains(CapabilitySet::DAC_OVERRIDE));
        assert_eq!(service.supplementary, ["c", "red"]);
        let root = "[Service]\nUser=\nGroup=0\n[Install]\nUser=x\n";
        let service = parsed(&[PACKAGED, root]);
        assert_eq!((service.user.as_deref(), service.group.as_deref()), (None, Some("0")));
        // Root without the right to look past permissions is what the unit makes of it.
        let few = service.capabilities(true).unwrap();
        assert!(!few.contains(CapabilitySet::DAC_OVERRIDE));
        let all = parsed(&[PACKAGED, root, "[Service]\nCapabilityBoundingSet=~\n"]);
        assert_eq!(all.capabilities(true), Some(CapabilitySet::all()));
        let most = parsed(&[root, "[Service]\nCapabilityBoundingSet=~CAP_DAC_OVERRIDE\n"]);
        let lacks = CapabilitySet::all() - CapabilitySet::DAC_OVERRIDE;
        assert_eq!(most.capabilities(true), Some(lacks));
        assert_eq!(parsed(&[root]).capabilities(true), None);
    }

    #[test]
    fn units_are_found_where_systemd_finds_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, text) in [
            ("usr/vrrp-user@.service", "[Service]\nUser=usr\n"),
            ("usr/vrrp-user@.service.d/b.conf", "[Service]\nUser=hidden\n"),
            ("etc/vrrp-user@.service.d/b.conf", "[Service]\nGroup=etc\n"),
            ("etc/vrrp-user@red.service.d/c.conf", "[Service]\nUser=red\n"),
            ("etc/vrrp-user@red.service.d/d.txt", "[Service]\nUser=no\n"),
        ] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), text).unwrap();
        }
        let paths = [path("etc"), path("usr")];
        let names = ["vrrp-user@red.service".to_owned(), "vrrp-user@.service".to_owned()];
        let (unit, texts) = read(&paths, &names).unwrap().unwrap();
        assert_eq!(unit, path("usr/vrrp-user@.service"));
        let service = Service::parse(&texts, "red");
        assert_eq!((service.user.as_deref(), service.group.as_deref()), (Some("red"), Some("etc")));
        assert_eq!(read(&paths, &["vrrp-user.service".to_owned()]).unwrap(), None);
        let named = |text: &str| unit_paths(Some(OsStr::new(text))).len();
        assert_eq!((named("/a:/b"), named("/a:"), named("")), (2, 12, 11));
    }

    #[test]
    fn who_cannot_be_found_is_named() {
        let service = Service { user: Some("no-such-user".to_owned()), ..Service::default() };
        let error = service.user(Some(Path::new("/u"))).unwrap_err().to_string();
        assert_eq!(error, "there is no user no-such-user, whom /u names");
    }
}
