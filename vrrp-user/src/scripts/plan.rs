//! What a configuration wants of scripts and fifos, ready to be carried out.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::program::Account;
use super::resolve::{Resolver, Script, Unusable};
use super::{Notified, Subject};
use crate::config::command::{Command, Origin};
use crate::config::model::{Config, Diagnostic, Tracked};
use crate::config::notify::{LifecycleScript, Notify, Settings};
use crate::engine::time::Nanos;
use crate::types::netns;

/// The scripts and fifos of a configuration. Making it looks at files and users: see [`super::resolve`].
#[derive(Debug, Default)]
pub struct Plan {
    subjects: HashMap<Subject, Box<NotifyScripts>>,
    /// Whether fifos are told of changes of priority, where a router does not say.
    priority_changes: bool,
    /// `fifo_write_vrrp_states_on_reload`
    pub states_on_reload: bool,
    pub(crate) split_brain: Option<Arc<Script>>,
    pub(crate) fifos: Vec<Fifo>,
    pub(crate) checks: Vec<Check>,
    pub(crate) startup: Option<(Arc<Script>, Duration)>,
    pub(crate) shutdown: Option<(Arc<Script>, Duration)>,
    pub(crate) concurrency: usize,
    /// For one notification.
    pub(crate) timeout: Duration,
    /// What cannot run, with why and where it is configured. Tracked scripts that count for nothing are not among it: their
    /// routers say so.
    pub disabled: Vec<String>,
}

/// The scripts of one router or group.
#[derive(Debug, Default, PartialEq, Eq)]
struct NotifyScripts {
    any: Option<Arc<Script>>,
    master: Option<Arc<Script>>,
    backup: Option<Arc<Script>>,
    fault: Option<Arc<Script>>,
    stop: Option<Arc<Script>>,
    deleted: Option<Arc<Script>>,
    notify_deleted: bool,
    lower_priority: Option<Arc<Script>>,
    priority_changes: Option<bool>,
}

/// A fifo to write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fifo {
    /// Where.
    pub(crate) path: PathBuf,
    /// Whose it is, if it is made.
    pub(crate) account: Account,
    /// What reads it.
    pub(crate) script: Option<Arc<Script>>,
    /// Its file mode creation mask.
    pub(crate) umask: Option<u16>,
}

/// A script whose exit status is tracked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: Arc<str>,
    /// `None` when it cannot run: that counts as failure, unless it is `disabled`.
    pub(crate) script: Option<Arc<Script>>,
    /// Why it cannot run, where that counts for nothing.
    pub(crate) disabled: Option<Arc<str>>,
    /// Whether a run that could not be started says nothing, instead of counting as failure.
    pub(crate) keeps_result: bool,
    pub(crate) interval: Nanos,
    pub(crate) timeout: Duration,
    pub(crate) rise: u32,
    pub(crate) fall: u32,
    pub(crate) init_fail: bool,
}

impl Plan {
    /// What this configuration wants, and what its owner should know.
    pub fn new(config: &Config) -> (Self, Vec<Diagnostic>) {
        let settings = &config.notify;
        let mut resolver = Resolver::new(settings);
        let mut plan = Self {
            priority_changes: settings.priority_changes,
            states_on_reload: settings.states_on_reload,
            concurrency: settings.concurrency.into(),
            timeout: duration(settings.timeout),
            ..Self::default()
        };
        for router in &config.routers {
            if let Some(notify) = &router.notify {
                let subject = Subject::Instance(router.name.as_str().into());
                resolver.netns = netns::of_interface(&router.interface);
                plan.subjects.insert(subject, Box::new(NotifyScripts::new(notify, &mut resolver)));
                resolver.netns = None;
            }
        }
        for group in &config.groups {
            if let Some(notify) = &group.notify {
                let subject = Subject::Group(group.name.as_str().into());
                plan.subjects.insert(subject, Box::new(NotifyScripts::new(notify, &mut resolver)));
                // What a group says counts for its routers that say nothing themselves.
                let members = group.members.iter().filter(|_| notify.priority_changes.is_some());
                for member in members {
                    let subject = Subject::Instance(member.as_str().into());
                    let told = plan.subjects.entry(subject).or_default();
                    told.priority_changes = told.priority_changes.or(notify.priority_changes);
                }
            }
        }
        let split_brain = settings.split_brain.as_ref();
        plan.split_brain =
            split_brain.and_then(|command| resolver.script("notify_split_brain", command));
        plan.startup = once("startup_script", settings.startup.as_ref(), &mut resolver);
        plan.shutdown = once("shutdown_script", settings.shutdown.as_ref(), &mut resolver);
        plan.add_fifos(settings, &mut resolver);
        plan.disabled = resolver.disabled.iter().map(|of| format!("{of}; nothing runs")).collect();
        plan.add_checks(config, &mut resolver);
        (plan, resolver.diagnostics)
    }

    fn add_fifos(&mut self, settings: &Settings, resolver: &mut Resolver<'_>) {
        for (keyword, fifo) in settings.fifos() {
            let path = fifo.path.clone();
            let problem = if self.fifos.iter().any(|known| known.path == path) {
                Some("there is a fifo with this path already".to_owned())
            } else if !path.is_absolute() {
                Some("the path must begin with `/`".to_owned())
            } else {
                None
            };
            let account = match problem {
                Some(problem) => Err(problem.into()),
                None => resolver.account(fifo.user.as_ref(), &fifo.origin),
            };
            let account = match account {
                Ok(account) => account,
                Err(why) => {
                    let what = format!("{keyword} {}", path.display());
                    resolver.disable(&fifo.origin, &what, &why);
                    continue;
                }
            };
            let keyword = match keyword {
                "notify_fifo" => "notify_fifo_script",
                _ => "vrrp_notify_fifo_script",
            };
            let script = fifo.script.as_ref();
            let script = script.and_then(|command| resolver.script(keyword, command));
            self.fifos.push(Fifo { path, account, script, umask: settings.umask });
        }
    }

    fn add_checks(&mut self, config: &Config, resolver: &mut Resolver<'_>) {
        let tracks = config.routers.iter().flat_map(|router| &router.track);
        let tracks = tracks.chain(config.groups.iter().flat_map(|group| &group.track));
        let used: HashSet<&str> = tracks
            .filter_map(|track| match &track.what {
                Tracked::Script(name) => Some(name.as_str()),
                Tracked::Interface(_) | Tracked::File(_) | Tracked::Process(_) => None,
            })
            .collect();
        for script in config.scripts.iter().filter(|script| used.contains(script.name.as_str())) {
            let (program, disabled) = match resolver.find("vrrp_script", &script.command) {
                Ok(program) => (Some(program), None),
                Err(Unusable { why, only_here: false }) if config.notify.disable_unusable => {
                    (None, Some(why))
                }
                Err(Unusable { why, .. }) => {
                    let Origin { file, line, .. } = &script.command.origin;
                    self.disabled.push(format!(
                        "script {} cannot run: {why} ({file}:{line}); it counts as one that fails",
                        script.name
                    ));
                    (None, None)
                }
            };
            self.checks.push(Check {
                name: script.name.as_str().into(),
                keeps_result: program.is_some() && config.notify.disable_unusable,
                script: program,
                disabled,
                interval: script.interval,
                timeout: duration(script.timeout.unwrap_or(script.interval)),
                rise: script.rise.max(1),
                fall: script.fall.max(1),
                init_fail: script.init_fail,
            });
        }
    }

    /// Whether there is anything to do at all.
    pub fn is_empty(&self) -> bool {
        self.subjects.values().all(|told| told.is_silent())
            && self.fifos.is_empty()
            && self.checks.is_empty()
            && self.split_brain.is_none()
            && self.startup.is_none()
            && self.shutdown.is_none()
    }

    /// What runs when a router or group enters a state: first the script of that state, then the one of all.
    /// `true` for the latter, which gets arguments.
    pub(crate) fn on_state(&self, subject: &Subject, state: Notified) -> Vec<(Arc<Script>, bool)> {
        let Some(told) = self.subjects.get(subject) else { return Vec::new() };
        let own = match state {
            Notified::Master => &told.master,
            Notified::Backup => &told.backup,
            Notified::Fault => &told.fault,
            Notified::Stop => &told.stop,
            // Not that of FAULT where this is what it is called: keepalived does not run it either.
            Notified::Deleted => &told.deleted,
        };
        let own = own.iter().map(|script| (Arc::clone(script), false));
        own.chain(told.any.iter().map(|script| (Arc::clone(script), true))).collect()
    }

    /// What a state is called where it is told.
    pub(crate) fn state_name(&self, subject: &Subject, state: Notified) -> &'static str {
        match state {
            Notified::Master => "MASTER",
            Notified::Backup => "BACKUP",
            Notified::Fault => "FAULT",
            Notified::Stop => "STOP",
            Notified::Deleted if self.notify_deleted(subject) => "DELETED",
            Notified::Deleted => "FAULT",
        }
    }

    /// Whether one that leaves the configuration is called DELETED, and not FAULT (`notify_deleted`).
    pub(crate) fn notify_deleted(&self, subject: &Subject) -> bool {
        self.subjects.get(subject).is_some_and(|told| told.notify_deleted)
    }

    /// What runs when a master hears of a lower priority.
    pub(crate) fn on_lower_priority(&self, subject: &Subject) -> Option<Arc<Script>> {
        self.subjects.get(subject)?.lower_priority.clone()
    }

    /// Whether the fifos are told when the priority of this one changes.
    pub(crate) fn notifies_priority(&self, subject: &Subject) -> bool {
        let own = self.subjects.get(subject).and_then(|told| told.priority_changes);
        own.unwrap_or(self.priority_changes)
    }
}

impl NotifyScripts {
    fn new(notify: &Notify, resolver: &mut Resolver<'_>) -> Self {
        let mut script = |keyword: &str, command: &Option<Command>| {
            command.as_ref().and_then(|command| resolver.script(keyword, command))
        };
        Self {
            any: script("notify", &notify.any),
            master: script("notify_master", &notify.master),
            backup: script("notify_backup", &notify.backup),
            fault: script("notify_fault", &notify.fault),
            stop: script("notify_stop", &notify.stop),
            deleted: script("notify_deleted", &notify.deleted),
            notify_deleted: notify.notify_deleted,
            lower_priority: script("notify_master_rx_lower_pri", &notify.lower_priority),
            priority_changes: notify.priority_changes,
        }
    }

    /// It has no script.
    fn is_silent(&self) -> bool {
        let all = [
            &self.any, &self.master, &self.backup, &self.fault, &self.stop, &self.deleted,
            &self.lower_priority,
        ];
        all.into_iter().all(Option::is_none)
    }
}

fn once(
    keyword: &str,
    once: Option<&LifecycleScript>,
    resolver: &mut Resolver<'_>,
) -> Option<(Arc<Script>, Duration)> {
    let once = once?;
    Some((resolver.script(keyword, &once.command)?, duration(once.timeout)))
}

fn duration(span: Nanos) -> Duration {
    Duration::from_nanos(span.0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{self, Options};

    fn plan(text: &str) -> (Plan, Vec<Diagnostic>) {
        plan_of("vrrp.toml", text)
    }

    fn plan_of(name: &str, text: &str) -> (Plan, Vec<Diagnostic>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Plan::new(&config::load(&path, &Options::default()).unwrap().config)
    }

    fn router(name: &str, vrid: u8, more: &str) -> String {
        format!(
            "[[router]]\nname = \"{name}\"\ninterface = \"eth0\"\nvrid = {vrid}\n\
             addresses = [\"10.0.0.{vrid}\"]\n{more}\n"
        )
    }

    fn texts(plan: &Plan, subject: &Subject, state: Notified) -> Vec<(String, bool)> {
        let scripts = plan.on_state(subject, state).into_iter();
        scripts.map(|(script, general)| (script.text.clone(), general)).collect()
    }

    #[test]
    fn without_scripts_and_fifos_there_is_nothing_to_do() {
        let (plan, diagnostics) = plan(&router("a", 1, "notify = { deleted = true }"));
        assert!(plan.is_empty() && diagnostics.is_empty());
        let unused = "[[script]]\nname = \"x\"\ncommand = \"/bin/true\"\n";
        assert!(self::plan(&format!("{unused}{}", router("a", 1, ""))).0.is_empty());
    }

    /// keepalived does not track it; in TOML that must be said.
    #[test]
    fn a_tracked_script_that_cannot_run() {
        let conf = "vrrp_script s {\n script /nonexistent/s\n}\nvrrp_instance A {\n interface eth0\n \
                    virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1\n }\n track_script {\n s\n }\n}\n";
        let (plan, diagnostics) = plan_of("k.conf", conf);
        assert_eq!(plan.checks[0].disabled.as_deref(), Some("it does not exist"));
        let mut said = diagnostics.into_iter().map(|said| said.message);
        assert_eq!(
            said.next_back().as_deref(),
            Some("vrrp_script /nonexistent/s is disabled: it does not exist")
        );
        let toml = |scripts: &str| {
            let script = "[[script]]\nname = \"s\"\ncommand = \"/nonexistent/s\"\n";
            let router = router("a", 1, "track = [{ script = \"s\" }]");
            let (mut plan, _) = self::plan(&[scripts, script, &router].concat());
            plan.checks.remove(0)
        };
        let check = toml("");
        assert_eq!((check.script, check.disabled), (None, None));
        // A tracked one is said by its routers where it counts for nothing, and here where it counts as failure.
        assert!(plan.disabled.is_empty(), "{:?}", plan.disabled);
        let notify =
            router("a", 1, "track = [{ script = \"s\" }]\nnotify = { any = \"/nonexistent/n\" }");
        let script = "[[script]]\nname = \"s\"\ncommand = \"/nonexistent/s\"\n";
        let (plan, _) = self::plan(&format!("{script}{notify}"));
        let [any, tracked] = &plan.disabled[..] else { panic!("{:?}", plan.disabled) };
        assert!(any.starts_with("notify /nonexistent/n is disabled: it does not exist ("), "{any}");
        assert!(tracked.starts_with("script s cannot run: it does not exist ("), "{tracked}");
        assert!(toml("[scripts]\ndisable_unusable = true\n").disabled.is_some());
    }

    #[test]
    fn what_runs_when() {
        let notify =
            "notify = { master = \"/bin/true m\", fault = \"/bin/true f\", any = \"/bin/true\" }";
        let deleted = "notify = { deleted = \"/bin/true d\", lower_priority = \"/bin/true l\" }";
        let (plan, _) = plan(&format!("{}{}", router("a", 1, notify), router("b", 2, deleted)));
        let (a, b) = (Subject::Instance("a".into()), Subject::Instance("b".into()));
        let (any, own) =
            (("/bin/true".to_owned(), true), |word| (format!("/bin/true {word}"), false));
        assert_eq!(texts(&plan, &a, Notified::Master), [own("m"), any.clone()]);
        assert_eq!(texts(&plan, &a, Notified::Backup), std::slice::from_ref(&any));
        // As keepalived says it, unless notify_deleted is there.
        assert_eq!(texts(&plan, &a, Notified::Deleted), [any]);
        assert_eq!(plan.state_name(&a, Notified::Deleted), "FAULT");
        assert_eq!(texts(&plan, &b, Notified::Deleted), [own("d")]);
        assert_eq!(plan.state_name(&b, Notified::Deleted), "DELETED");
        assert!(plan.on_lower_priority(&b).is_some() && plan.on_lower_priority(&a).is_none());
        assert_eq!(texts(&plan, &Subject::Group("a".into()), Notified::Master), []);
    }

    #[test]
    fn what_is_said_of_priorities_is_inherited() {
        let group = "[notify]\nfifo = \"/nonexistent/f\"\nvrrp_fifo = \"/nonexistent/f\"\n\
                     [[group]]\nname = \"g\"\nnotify = { priority_changes = true }\n";
        let (plan, diagnostics) = plan(&format!(
            "{group}{}{}{}",
            router("a", 1, "group = \"g\""),
            router("b", 2, "group = \"g\"\nnotify = { priority_changes = false }"),
            router("c", 3, ""),
        ));
        let tells = |name: &str| plan.notifies_priority(&Subject::Instance(name.into()));
        assert_eq!(["a", "b", "c"].map(tells), [true, false, false]);
        assert_eq!(plan.fifos.len(), 1);
        let told = diagnostics
            .iter()
            .filter(|told| told.message.contains("a fifo with this path already"));
        assert_eq!(told.count(), 1, "{diagnostics:?}");
    }
}
