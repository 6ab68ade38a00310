//! Whether a command can be run, as whom, and whether it should be: keepalived's rules.
//!
//! This looks at files and at the list of users, which can take its time. It belongs where a configuration is loaded,
//! never on the engine's thread.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Gid, Group, User, getgrouplist};

use super::program::{Account, Program};
use crate::capability;
use serde::{Deserialize, Serialize};

use crate::config::access::{self, Identity, Need, group_name, user_name};
use crate::config::command::{Command, Origin, ScriptUser};
use crate::config::model::{Diagnostic, Severity};
use crate::config::notify::Settings;
use crate::types::netns::Netns;

/// Whom scripts run as when nothing is said, if there is such a user.
const DEFAULT_USER: &str = "keepalived_script";
/// Where programs without a path are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command that can be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The command as it was written, for the log.
    pub text: String,
    /// What is run.
    pub program: Program,
}

/// Why a command cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// In words.
    pub why: Arc<str>,
    /// Whether keepalived could run it, which is always root.
    pub only_here: bool,
}

impl From<String> for Unusable {
    fn from(why: String) -> Self {
        Self { why: why.into(), only_here: false }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Words, user and network namespace of a command.
type Asked = (Vec<String>, String, Option<Netns>);

/// Resolves the commands of one configuration.
pub struct Resolver<'a> {
    settings: &'a Settings,
    ours: Account,
    users: HashMap<String, Result<Account, Unusable>>,
    default: Option<Result<Account, Unusable>>,
    scripts: HashMap<Asked, Result<Arc<Script>, Unusable>>,
    /// Where those run that are resolved from now on.
    pub netns: Option<Netns>,
    /// What the user should know.
    pub diagnostics: Vec<Diagnostic>,
    /// What is disabled, why, and where it stands.
    pub disabled: Vec<String>,
}

impl<'a> Resolver<'a> {
    /// For a configuration with these settings.
    pub fn new(settings: &'a Settings) -> Self {
        Self {
            settings,
            ours: Account::ours(),
            users: HashMap::new(),
            default: None,
            scripts: HashMap::new(),
            netns: None,
            diagnostics: Vec::new(),
            disabled: Vec::new(),
        }
    }

    /// What is configured there cannot run.
    pub fn disable(&mut self, origin: &Origin, what: &str, why: &impl fmt::Display) {
        let message = format!("{what} is disabled: {why}");
        self.disabled.push(format!("{message} ({}:{})", origin.file, origin.line));
        self.warning(origin, message, "");
    }

    /// What is to be run for a command; `None`, with a message, when it cannot or must not be.
    pub fn script(&mut self, keyword: &str, command: &Command) -> Option<Arc<Script>> {
        self.find(keyword, command).ok()
    }

    /// As [`Self::script`].
    /// Errors: when it cannot or must not be run; that was also said in a message.
    pub fn find(&mut self, keyword: &str, command: &Command) -> Result<Arc<Script>, Unusable> {
        let user = command.user.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = (command.argv.clone(), user, self.netns.clone());
        if let Some(known) = self.scripts.get(&key) {
            return known.clone();
        }
        let resolved = self.resolve(keyword, command).map(Arc::new);
        self.scripts.insert(key, resolved.clone());
        resolved
    }

    fn warning(&mut self, origin: &Origin, message: String, hint: &str) {
        self.diagnostics.push(Diagnostic {
            file: origin.file.to_string(),
            line: origin.line,
            column: origin.column,
            severity: Severity::Warning,
            message,
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        });
    }

    fn resolve(&mut self, keyword: &str, command: &Command) -> Result<Script, Unusable> {
        let account = match self.account(command.user.as_ref(), &command.origin) {
            Ok(account) => account,
            Err(why) => {
                self.disable(&command.origin, &format!("{keyword} {command}"), &why);
                return Err(why);
            }
        };
        let text = command.to_string();
        let [name, arguments @ ..] = command.argv.as_slice() else {
            return Err("it is empty".to_owned().into());
        };
        let (umask, netns) = (self.settings.umask, self.netns.clone());
        let program = |path: &Path, argv: Vec<&OsStr>| {
            let zero = |_| "it has a zero in it".to_owned();
            let c = |word: &OsStr| CString::new(word.as_bytes()).map_err(zero);
            let argv = argv.into_iter().map(c).collect::<Result<Vec<CString>, String>>()?;
            let path = c(path.as_os_str())?;
            let (account, netns) = (account.clone(), netns.clone());
            Ok::<_, String>(Program { path, argv, account, umask, netns })
        };
        if name.starts_with(['<', '>']) {
            // keepalived's way to ask whether a file can be opened: a redirection without a program.
            let line = command.argv.join(" ");
            let argv = ["/bin/sh", "-c", &line].map(OsStr::new).to_vec();
            return Ok(Script { text, program: program(Path::new("/bin/sh"), argv)? });
        }
        let written = if name.contains('/') {
            PathBuf::from(name)
        } else {
            match search(name, &account) {
                Ok(found) => {
                    let message = format!("{keyword} {name} is found as {}", found.display());
                    self.warning(&command.origin, message, "write the whole path");
                    found
                }
                Err(why) => {
                    self.disable(&command.origin, &format!("{keyword} {name}"), &why);
                    return Err(why.into());
                }
            }
        };
        let path = match self.examine(keyword, &written, &account, &command.origin) {
            Ok(path) => path,
            Err(why) => {
                self.disable(&command.origin, &format!("{keyword} {}", written.display()), &why);
                return Err(why.into());
            }
        };
        let argv = [written.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new));
        Ok(Script { text, program: program(&path, argv.collect())? })
    }

    /// The path to execute.
    fn examine(
        &mut self,
        keyword: &str,
        written: &Path,
        account: &Account,
        origin: &Origin,
    ) -> Result<PathBuf, String> {
        if !written.is_absolute() {
            return Err("the path must begin with `/`".to_owned());
        }
        let failed = |error: io::Error| match access::remedy(written, Need::Execute) {
            Some(command) => format!("{}; as root: {command}", plain(&error)),
            None => plain(&error),
        };
        let real = written.canonicalize().map_err(failed)?;
        let meta = fs::metadata(&real).map_err(failed)?;
        if !meta.is_file() {
            return Err("it is no file".to_owned());
        }
        if !self.may_execute(&real, &meta, account) {
            let Account { uid, gid, ref groups } = *account;
            let who = Identity { uid, gid, groups: groups.to_vec() };
            return Err(format!(
                "it is not executable for user {} of group {}; as root: {}",
                user_name(uid),
                group_name(gid),
                access::command(&real, &meta, "rx", &who)
            ));
        }
        if needs_protection(&meta, account)
            && let Some(found) = unsafe_part(written).or_else(|| unsafe_part(&real))
        {
            let why = format!("it would run as root, and {found}");
            if self.settings.security {
                return Err(why);
            }
            let message = format!("{keyword} {} is not safe: {why}", written.display());
            self.warning(
                origin,
                message,
                "enable_script_security, in TOML `security = true`, disables such scripts",
            );
        }
        Ok(if self.settings.symlink_paths { written.to_owned() } else { real })
    }

    /// For this process the kernel decides, by access control lists and capabilities, too; for others their bits tell.
    fn may_execute(&self, path: &Path, meta: &Metadata, account: &Account) -> bool {
        if (account.uid, account.gid) == (self.ours.uid, self.ours.gid) {
            access::permits(path, Need::Execute)
        } else {
            executable(meta, account)
        }
    }

    /// Whom something runs as, or belongs to.
    pub fn account(
        &mut self,
        user: Option<&ScriptUser>,
        origin: &Origin,
    ) -> Result<Account, Unusable> {
        let Some(user) = user.or(self.settings.user.as_ref()) else {
            return self.default_account(origin);
        };
        let key = user.to_string();
        if let Some(known) = self.users.get(&key) {
            return known.clone();
        }
        let found = self.look_up(user).map_err(Into::into);
        let found = found.and_then(|account| self.attainable(account));
        self.users.insert(key, found.clone());
        found
    }

    /// Without privileges nobody can become somebody else.
    fn attainable(&self, account: Account) -> Result<Account, Unusable> {
        let same = (account.uid, account.gid) == (self.ours.uid, self.ours.gid);
        if capability::can_change_users() || same {
            return Ok(account);
        }
        let (ours, theirs) = (user_name(self.ours.uid), user_name(account.uid));
        let why = format!(
            "the daemon runs as user {ours} and cannot run anything as user {theirs}: that takes CAP_SETUID and \
             CAP_SETGID, and CAP_KILL to end it"
        );
        Err(Unusable { why: why.into(), only_here: true })
    }

    fn look_up(&self, user: &ScriptUser) -> Result<Account, String> {
        let name = &user.user;
        let found = User::from_name(name).map_err(|error| format!("user {name}: {error}"))?;
        let found = found.ok_or_else(|| format!("there is no user {name}"))?;
        let mut supplementary = self.settings.supplementary_groups;
        let mut gid = found.gid;
        if let Some(group) = &user.group {
            let group = match group.strip_prefix(':') {
                Some(rest) => {
                    supplementary = true;
                    rest
                }
                None => group,
            };
            if !group.is_empty() {
                let named =
                    Group::from_name(group).map_err(|error| format!("group {group}: {error}"))?;
                gid = named.ok_or_else(|| format!("there is no group {group}"))?.gid;
            }
        }
        let mut groups = Vec::new();
        if supplementary {
            let name = CString::new(name.as_str()).map_err(|error| error.to_string())?;
            groups = getgrouplist(&name, found.gid).map_err(|error| format!("groups: {error}"))?;
        }
        let groups = groups.into_iter().map(Gid::as_raw).collect();
        Ok(Account { uid: found.uid.as_raw(), gid: gid.as_raw(), groups })
    }

    fn default_account(&mut self, origin: &Origin) -> Result<Account, Unusable> {
        if let Some(known) = &self.default {
            return known.clone();
        }
        let user = ScriptUser { user: DEFAULT_USER.to_owned(), group: None };
        let found = if self.ours.uid != 0 {
            Ok(self.ours.clone())
        } else if let Ok(account) = self.look_up(&user) {
            Ok(account)
        } else if self.settings.security {
            let why = format!(
                "there is no user {DEFAULT_USER}, no script_user is given, and with enable_script_security \
                 nothing runs as root that does not ask for it"
            );
            Err(why.into())
        } else {
            let message = format!(
                "there is no user {DEFAULT_USER}, and no script_user is given: scripts run as root"
            );
            self.warning(origin, message, "create the user, or name one");
            Ok(self.ours.clone())
        };
        self.default = Some(found.clone());
        found
    }
}

fn plain(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "it does not exist".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "it cannot be reached: permission denied".to_owned()
    } else {
        error.to_string()
    }
}

/// Looks a program up as execvp(3) does.
fn search(name: &str, account: &Account) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let candidates = std::env::split_paths(&path).map(|directory| directory.join(name));
    let mut denied = false;
    for candidate in candidates.filter(|candidate| candidate.is_absolute()) {
        match fs::metadata(&candidate) {
            Ok(meta) if meta.is_file() && executable(&meta, account) => return Ok(candidate),
            Ok(_) => denied = true,
            Err(_) => {}
        }
    }
    Err(if denied { "it is not executable" } else { "it is not in the search path" }.to_owned())
}

fn executable(meta: &Metadata, account: &Account) -> bool {
    let mode = meta.mode();
    if account.uid == 0 {
        mode & 0o111 != 0
    } else if account.uid == meta.uid() {
        mode & 0o100 != 0
    } else if account.gid == meta.gid() || account.groups.contains(&meta.gid()) {
        mode & 0o010 != 0
    } else {
        mode & 0o001 != 0
    }
}

/// Whether a script runs with root's rights.
fn needs_protection(meta: &Metadata, account: &Account) -> bool {
    let mode = meta.mode();
    account.uid == 0
        || account.gid == 0
        || (meta.uid() == 0 && mode & 0o4100 == 0o4100)
        || (meta.gid() == 0 && mode & 0o2010 == 0o2010)
}

/// The first part of a path that somebody other than root could replace, and who.
fn unsafe_part(path: &Path) -> Option<String> {
    let mut part = PathBuf::new();
    for component in path.components() {
        part.push(component);
        if component == Component::CurDir {
            continue;
        }
        // What cannot be looked at is reported elsewhere.
        let meta = fs::symlink_metadata(&part).ok()?;
        let shown = part.display();
        if meta.uid() != 0 {
            return Some(format!("{shown} belongs to user {}", user_name(meta.uid())));
        }
        let (mode, kind) = (meta.mode(), meta.file_type());
        let sticky = kind.is_dir() && mode & 0o1000 != 0;
        if kind.is_symlink() || sticky {
            continue;
        }
        if mode & 0o002 != 0 {
            return Some(format!("{shown}, which belongs to root, is writable by everybody"));
        }
        if meta.gid() != 0 && mode & 0o020 != 0 {
            let group = group_name(meta.gid());
            return Some(format!("{shown}, which belongs to root, is writable by group {group}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::command::split;

    fn command(text: &str) -> Command {
        let origin = Origin { file: "k.conf".into(), line: 7, column: 3 };
        Command { argv: split(text).unwrap(), user: None, origin }
    }

    fn told(resolver: &Resolver<'_>) -> Vec<String> {
        resolver
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .filter(|line| !line.contains("no user keepalived_script"))
            .collect()
    }

    fn write(path: &Path, mode: u32) {
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_cannot_run_is_named_with_why() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("script");
        write(&file, 0o644);
        let settings = Settings::default();
        for (text, why) in [
            ("/nonexistent/x", "notify /nonexistent/x is disabled: it does not exist"),
            ("a/b", "notify a/b is disabled: the path must begin with `/`"),
            ("/tmp", "notify /tmp is disabled: it is no file"),
            ("no-such-program-there", "is disabled: it is not in the search path"),
            (file.to_str().unwrap(), "is disabled: it is not executable for user"),
        ] {
            let mut resolver = Resolver::new(&settings);
            assert_eq!(resolver.script("notify", &command(text)), None, "{text}");
            // Once only, however many use it.
            assert_eq!(resolver.script("notify", &command(text)), None, "{text}");
            let told = told(&resolver);
            assert!(told.len() == 1 && told[0].contains(why), "{told:?}");
            assert!(told[0].starts_with("k.conf:7:3: warning: "), "{told:?}");
        }
        let mut resolver = Resolver::new(&settings);
        let mut as_nobody = command("/bin/true");
        as_nobody.user = Some(ScriptUser { user: "no-such-user".into(), group: None });
        assert_eq!(resolver.script("notify", &as_nobody), None);
        assert!(
            told(&resolver)[0].contains("/bin/true is disabled: there is no user no-such-user")
        );
    }

    #[test]
    fn who_is_meant_when_nobody_is_named() {
        if !nix::unistd::geteuid().is_root() || User::from_name(DEFAULT_USER).unwrap().is_some() {
            return;
        }
        for (security, message) in [
            (
                false,
                "there is no user keepalived_script, and no script_user is given: scripts run as root",
            ),
            (
                true,
                "notify /bin/true is disabled: there is no user keepalived_script, no script_user is given, and",
            ),
        ] {
            let settings = Settings { security, ..Settings::default() };
            let mut resolver = Resolver::new(&settings);
            assert_eq!(resolver.script("notify", &command("/bin/true")).is_none(), security);
            assert!(
                resolver.diagnostics[0].message.starts_with(message),
                "{:?}",
                resolver.diagnostics
            );
        }
    }

    #[test]
    fn symbolic_links_are_followed_unless_they_shall_not_be() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        write(&file, 0o755);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for (symlink_paths, expected) in [(false, &file), (true, &link)] {
            let settings = Settings { symlink_paths, ..Settings::default() };
            let mut resolver = Resolver::new(&settings);
            let text = format!("{} 'a b'", link.display());
            let script = resolver.script("notify", &command(&text)).unwrap();
            assert_eq!(script.program.path.as_bytes(), expected.as_os_str().as_bytes());
            let argv: Vec<_> =
                script.program.argv.iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!(argv, [link.to_str().unwrap(), "a b"]);
            assert_eq!(script.text, text);
        }
    }

    #[test]
    fn a_redirection_is_for_the_shell() {
        let settings = Settings::default();
        let script = Resolver::new(&settings).script("script", &command("</etc/passwd")).unwrap();
        assert_eq!(script.program.path.as_c_str(), c"/bin/sh");
        assert_eq!(script.program.argv[2].as_c_str(), c"</etc/passwd");
    }

    /// Where the test itself may write, root is not alone.
    #[test]
    fn root_runs_nothing_that_others_could_have_written() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (bad, good) = (dir.path().join("bad"), dir.path().join("good"));
        fs::create_dir_all(&bad).unwrap();
        fs::create_dir_all(&good).unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        set(dir.path(), 0o755);
        set(&bad, 0o777);
        set(&good, 0o755);
        for dir in [&bad, &good] {
            write(&dir.join("x"), 0o755);
        }
        write(&good.join("y"), 0o775);
        std::os::unix::fs::chown(good.join("y"), None, Some(1)).unwrap();
        write(&good.join("z"), 0o755);
        std::os::unix::fs::chown(good.join("z"), Some(1), None).unwrap();
        // A safe path that leads to an unsafe one.
        std::os::unix::fs::symlink(bad.join("x"), good.join("l")).unwrap();
        let user = Some(ScriptUser { user: "root".into(), group: None });
        let display = |path: PathBuf| path.display().to_string();
        for (path, why) in [
            (
                bad.join("x"),
                format!(
                    "{}, which belongs to root, is writable by everybody",
                    display(bad.clone())
                ),
            ),
            (
                good.join("l"),
                format!(
                    "{}, which belongs to root, is writable by everybody",
                    display(bad.clone())
                ),
            ),
            (
                good.join("y"),
                format!(
                    "{}, which belongs to root, is writable by group daemon",
                    display(good.join("y"))
                ),
            ),
            (good.join("z"), format!("{} belongs to user daemon", display(good.join("z")))),
        ] {
            for security in [true, false] {
                let settings = Settings { security, user: user.clone(), ..Settings::default() };
                let mut resolver = Resolver::new(&settings);
                let script = resolver.script("notify", &command(path.to_str().unwrap()));
                assert_eq!(script.is_none(), security, "{path:?}");
                let told = told(&resolver);
                assert_eq!(told.len(), 1, "{told:?}");
                assert!(told[0].contains(&format!("it would run as root, and {why}")), "{told:?}");
            }
        }
        let settings = Settings { security: true, user, ..Settings::default() };
        let mut resolver = Resolver::new(&settings);
        assert!(resolver.script("notify", &command(good.join("x").to_str().unwrap())).is_some());
        // Somebody else may run what is theirs.
        let mut theirs = command(good.join("z").to_str().unwrap());
        theirs.user = Some(ScriptUser { user: "daemon".into(), group: None });
        assert!(resolver.script("notify", &theirs).is_some());
        assert_eq!(told(&resolver), [""; 0]);
    }
}
