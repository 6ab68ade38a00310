//! The thread's loop: orders, ends of scripts and the clock come in, programs are started.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::board::{Board, Counter};
use super::fifo::{Fifo, Topic as LineTopic};
use super::handover::{self, Current, Key, Running, Topic};
use super::process::{self, Ended, GRACE, OutputLog};
use super::{Order, spawn};
use crate::engine::time::Nanos;
use crate::engine::types::Health;
use crate::io::timer;
use crate::scripts::check::{CheckSchedule, ResultFilter};
use crate::scripts::plan::{self, Plan};
use crate::scripts::queue::{Kind, Queues};
use crate::scripts::resolve::Script;
use crate::scripts::{Event, Found, NotificationKind, Notified, Subject};
use crate::wire::ethernet::Colons;

/// How long what was told before the end may run in all.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// After this part of it, what ran before is ended, so that the last word can be said.
const MAKE_WAY: Duration = Duration::from_secs(2);

/// Something to run: its scripts one after the other.
struct Job {
    scripts: Vec<(Arc<Script>, Vec<CString>)>,
    /// What it is about, for the log.
    about: String,
    limit: Duration,
    kind: Kind,
    topic: Topic,
    /// The first one runs already.
    running: Option<Running>,
}

/// A job that runs.
struct Started {
    topic: Topic,
    about: String,
    limit: Duration,
    scripts: Vec<(Arc<Script>, Vec<CString>)>,
    current: Current,
}

struct Checked {
    plan: plan::Check,
    filter: ResultFilter,
    schedule: CheckSchedule,
    /// The last run could not be started, and that said nothing.
    lost: bool,
}

impl Checked {
    fn health(&self) -> Health {
        if self.plan.disabled.is_some() { Health::Disabled } else { self.filter.health() }
    }
}

struct Runner {
    plan: Plan,
    queues: Queues<Key, Topic, Job>,
    started: HashMap<Key, Started>,
    checks: BTreeMap<Arc<str>, Checked>,
    /// What the program before this one has found out.
    before: handover::Scripts,
    fifos: Vec<(Fifo, plan::Fifo)>,
    environment: Arc<[CString]>,
    board: Arc<Board>,
    found: mpsc::UnboundedSender<Found>,
    ended: mpsc::UnboundedSender<(Key, Ended)>,
    /// Ends all that runs.
    ending: watch::Sender<bool>,
    stopping: bool,
}

/// Runs until [`Order::Stop`] is carried out.
pub(super) async fn run(
    plan: Plan,
    mut orders: mpsc::UnboundedReceiver<Order>,
    waiting: Arc<AtomicUsize>,
    board: Arc<Board>,
    found: mpsc::UnboundedSender<Found>,
) {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let mut runner = Runner {
        plan: Plan::default(),
        queues: Queues::new(1),
        started: HashMap::new(),
        checks: BTreeMap::new(),
        before: handover::Scripts::received(),
        fifos: Vec::new(),
        environment: spawn::environment().into(),
        board,
        found,
        ended,
        ending: watch::channel(false).0,
        stopping: false,
    };
    let mut begun = false;
    let mut plan = Some(plan);
    let reply = loop {
        // Not before the startup script, if there is one: it may make what the others need.
        if let Some(plan) = plan.take_if(|plan| plan.startup.is_none() || begun) {
            runner.reconfigure(plan);
            runner.resume();
        }
        runner.start_jobs();
        let due = runner.next_check();
        let due = due.map(|at| Instant::now() + Duration::from_nanos((at - timer::now()).0));
        tokio::select! {
            biased;
            Some((key, end)) = ends.recv() => runner.job_ended(&key, &end),
            order = orders.recv() => match order {
                Some(Order::Notify(event)) => {
                    waiting.fetch_sub(1, Ordering::Relaxed);
                    runner.event(&event);
                }
                Some(Order::Reconfigure(new)) => match &mut plan {
                    // Still before the start.
                    Some(plan) => *plan = *new,
                    None => runner.reconfigure(*new),
                },
                Some(Order::Begin) => begun = true,
                Some(Order::Startup(done)) => {
                    if let Some((script, limit)) = plan.as_mut().and_then(|plan| plan.startup.take()) {
                        runner.once("startup script", &script, limit).await;
                    }
                    begun = true;
                    let _ = done.send(());
                }
                Some(Order::Replace(replacement, failed)) => {
                    let running = runner.handover().await;
                    if let Some(error) = replacement(running) {
                        let _ = failed.send(error);
                    }
                }
                Some(Order::Stop(done)) => break Some(done),
                // Whoever could stop it is gone.
                None => break None,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                runner.start_checks();
            }
        }
    };
    runner.stop(&mut ends, reply).await;
}

impl Runner {
    // ---- what is told --------------------------------------------------------------------------------

    fn event(&mut self, Event { subject, kind }: &Event) {
        match *kind {
            NotificationKind::State { state, priority } => {
                self.notify_state(subject, state, priority);
                self.run_state(subject, state, priority);
            }
            NotificationKind::StillIn { state, priority } => {
                self.notify_state(subject, state, priority);
            }
            NotificationKind::Deleted { fault, priority } => {
                // That it is in FAULT was told already.
                if !fault || self.plan.notify_deleted(subject) {
                    self.notify_state(subject, Notified::Deleted, priority);
                    self.run_state(subject, Notified::Deleted, priority);
                }
            }
            NotificationKind::LowerPriority { priority } => {
                self.notify_fifos(subject, "lower priority", "MASTER_RX_LOWER_PRI", priority);
                if let Some(script) = self.plan.on_lower_priority(subject) {
                    let about = format!("{}: notify_master_rx_lower_pri", subject.name());
                    let scripts = vec![(script, Vec::new())];
                    self.push(subject, Topic::LowerPriority, scripts, about);
                }
            }
            NotificationKind::Priority { master, priority } => {
                if self.plan.notifies_priority(subject) {
                    let name = if master { "MASTER_PRIORITY" } else { "BACKUP_PRIORITY" };
                    self.notify_fifos(subject, "priority", name, priority);
                }
            }
            NotificationKind::SplitBrain { begin, address, mac } => {
                let Some(script) = self.plan.split_brain.clone() else { return };
                let phase = if begin { "BEGIN" } else { "END" };
                let (address_text, mac) = (address.to_string(), Colons(mac).to_string());
                let words = [subject.kind(), subject.name(), phase, &address_text, &mac];
                let about = format!("{}: notify_split_brain {phase}", subject.name());
                let scripts = vec![(script, arguments(&words))];
                self.push(subject, Topic::SplitBrain(address), scripts, about);
            }
        }
    }

    fn notify_state(&mut self, subject: &Subject, state: Notified, priority: u8) {
        let name = self.plan.state_name(subject, state);
        self.notify_fifos(subject, "state", name, priority);
    }

    fn run_state(&mut self, subject: &Subject, state: Notified, priority: u8) {
        let scripts = self.plan.on_state(subject, state);
        if scripts.is_empty() {
            return;
        }
        let name = self.plan.state_name(subject, state);
        let priority = priority.to_string();
        let words = arguments(&[subject.kind(), subject.name(), name, &priority]);
        let scripts = scripts
            .into_iter()
            .map(|(script, general)| (script, if general { words.clone() } else { Vec::new() }));
        let about = format!("{}: {name}", subject.name());
        self.push(subject, Topic::State, scripts.collect(), about);
    }

    fn push(
        &mut self,
        subject: &Subject,
        topic: Topic,
        scripts: Vec<(Arc<Script>, Vec<CString>)>,
        about: String,
    ) {
        let limit = self.plan.timeout;
        let kind = Kind::Notification;
        let job = Job { scripts, about, limit, kind, topic, running: None };
        let key = Key::Subject(subject.clone());
        if let Some(overtaken) = self.queues.push(Kind::Notification, key, topic, job) {
            self.board.count(Counter::NotificationsSkipped);
            log::debug!("{}: left out, it has changed once more", overtaken.about);
        }
    }

    fn notify_fifos(&self, subject: &Subject, topic: &'static str, state: &str, priority: u8) {
        for (fifo, _) in &self.fifos {
            let line = format!("{} \"{}\" {state} {priority}\n", subject.kind(), subject.name());
            fifo.notify(LineTopic(subject.clone(), topic), line);
        }
    }

    // ---- what runs -----------------------------------------------------------------------------------

    /// Starts what there are places for.
    fn start_jobs(&mut self) {
        while let Some((key, job)) = self.queues.next() {
            let current = Current::default();
            let started = Started {
                topic: job.topic,
                about: job.about.clone(),
                limit: job.limit,
                scripts: job.scripts.clone(),
                current: current.clone(),
            };
            self.started.insert(key.clone(), started);
            let (ended, board) = (self.ended.clone(), Arc::clone(&self.board));
            let (environment, ending) = (Arc::clone(&self.environment), self.ending.subscribe());
            tokio::spawn(async move {
                let end = job.run(&environment, &board, ending, &current).await;
                // The loop outlives its jobs.
                let _ = ended.send((key, end));
            });
        }
    }

    fn job_ended(&mut self, key: &Key, end: &Ended) {
        self.started.remove(key);
        self.queues.done(key);
        if let Key::Check(name) = key {
            self.evaluate(name, end);
        }
    }

    /// Runs a script that everything else waits for.
    async fn once(&self, keyword: &str, script: &Arc<Script>, limit: Duration) {
        let about = keyword.to_owned();
        let scripts = vec![(Arc::clone(script), Vec::new())];
        let (kind, topic) = (Kind::Notification, Topic::State);
        let job = Job { scripts, about, limit, kind, topic, running: None };
        log::info!("running the {keyword} {}", script.text);
        // The end of the others is not its own.
        let (_alive, ending) = watch::channel(false);
        job.run(&self.environment, &self.board, ending, &Current::default()).await;
    }

    // ---- another program in the place of this one ----------------------------------------------------

    /// What it is to go on with.
    async fn handover(&self) -> handover::Scripts {
        let cloned = |scripts: &[(Arc<Script>, Vec<CString>)]| {
            scripts.iter().map(|(script, more)| (Script::clone(script), more.clone())).collect()
        };
        let mut jobs = Vec::new();
        for (key, started) in &self.started {
            // One that has none at the moment is between two scripts, or at its end.
            let current = started.current.get();
            let place = current.as_ref().map_or(started.scripts.len(), |(place, _)| *place);
            if let Some((_, running)) = current {
                jobs.push(handover::Job {
                    owner: key.into(),
                    topic: started.topic,
                    about: started.about.clone(),
                    limit: started.limit,
                    scripts: cloned(started.scripts.get(place..).unwrap_or(&[])),
                    running: Some(running),
                });
            }
        }
        // A check that waits is due again soon.
        let waiting = self.queues.waiting().filter(|(_, job)| job.topic != Topic::Check);
        jobs.extend(waiting.map(|(key, job)| handover::Job {
            owner: key.into(),
            topic: job.topic,
            about: job.about.clone(),
            limit: job.limit,
            scripts: cloned(&job.scripts),
            running: None,
        }));
        let checks = self.checks.iter().filter_map(|(name, check)| {
            let (health, streak) = (check.filter.health(), check.filter.streak());
            let result = handover::CheckResult::new(check.plan.script.as_deref(), health, streak)?;
            Some((name.to_string(), result))
        });
        let checks = checks.collect();
        let mut fifos = Vec::new();
        for (fifo, plan) in &self.fifos {
            fifos.extend(fifo.handover(plan.script.as_deref()).await);
        }
        handover::Scripts { jobs, checks, fifos }
    }

    /// Goes on with what the program before this one has handed over.
    fn resume(&mut self) {
        let handover::Scripts { jobs, checks: _, fifos } = std::mem::take(&mut self.before);
        let (running, waiting): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| job.running.is_some());
        // What runs needs its place, whatever the limit is now.
        self.queues.set_limit(self.plan.concurrency.max(4 * running.len()));
        running.into_iter().for_each(|job| self.resume_job(job));
        self.start_jobs();
        self.queues.set_limit(self.plan.concurrency);
        waiting.into_iter().for_each(|job| self.resume_job(job));
        // What reads a fifo that is no more configured finds its end.
        for (_, running) in fifos.into_iter().filter_map(|fifo| fifo.reader) {
            if let Ok(child) = running.child() {
                let ending = self.ending.subscribe();
                let label = "fifo script".to_owned();
                let output_log = OutputLog { label, level: log::Level::Info };
                tokio::spawn(async move {
                    let (elapsed, current) = (Duration::ZERO, Current::default());
                    let limit = Some(GRACE);
                    process::attend(child, elapsed, limit, output_log, ending, (&current, 0)).await
                });
            }
        }
    }

    fn resume_job(&mut self, job: handover::Job) {
        let handover::Job { owner, topic, about, limit, scripts, running } = job;
        let scripts = scripts.into_iter().map(|(script, more)| (Arc::new(script), more)).collect();
        let key = Key::from(owner);
        let kind = if let Key::Check(_) = key { Kind::Check } else { Kind::Notification };
        log::debug!("{about}: goes on");
        self.queues.push(kind, key, topic, Job { scripts, about, limit, kind, topic, running });
    }

    // ---- checks --------------------------------------------------------------------------------------

    fn next_check(&self) -> Option<Nanos> {
        let runs = self.checks.values().filter(|check| check.plan.disabled.is_none());
        runs.map(|check| check.schedule.due()).min()
    }

    fn start_checks(&mut self) {
        let now = timer::now();
        let Self { checks, queues, board, .. } = self;
        let mut failed = Vec::new();
        let due = checks
            .iter_mut()
            .filter(|(_, check)| check.plan.disabled.is_none() && check.schedule.due() <= now);
        for (name, check) in due {
            check.schedule.advance(now);
            let Some(script) = &check.plan.script else {
                failed.push(Arc::clone(name));
                continue;
            };
            let key = Key::Check(Arc::clone(name));
            if queues.is_busy(&key) {
                board.overrun(name);
                log::debug!("vrrp_script {name}: still runs, left out once");
                continue;
            }
            let job = Job {
                scripts: vec![(Arc::clone(script), Vec::new())],
                about: format!("vrrp_script {name}"),
                limit: check.plan.timeout,
                kind: Kind::Check,
                topic: Topic::Check,
                running: None,
            };
            queues.push(Kind::Check, key, Topic::Check, job);
        }
        for name in failed {
            self.evaluate(&name, &Ended::NotStarted("it cannot run".to_owned()));
        }
    }

    fn evaluate(&mut self, name: &Arc<str>, end: &Ended) {
        if *end == Ended::Stopped {
            return;
        }
        let Some(check) = self.checks.get_mut(name) else { return };
        let lost = check.plan.keeps_result && matches!(end, Ended::NotStarted(_));
        if lost && !check.lost {
            log::warn!("script {name}: {end}; what it found before counts until it runs again");
        }
        check.lost = lost;
        let changed = if lost { None } else { check.filter.result(end.is_success()) };
        self.board.ended(name, end.clone(), check.filter.health(), timer::now());
        if let Some(health) = changed {
            log::info!("script {name}: {end}");
            // The engine may have stopped listening.
            let end = (!end.is_success()).then(|| end.to_string().into());
            let _ = self.found.send(Found { script: Arc::clone(name), health, end });
        }
    }

    // ---- configuration -------------------------------------------------------------------------------

    fn reconfigure(&mut self, mut plan: Plan) {
        self.queues.set_limit(plan.concurrency);
        self.set_checks(std::mem::take(&mut plan.checks));
        let wanted = std::mem::take(&mut plan.fifos);
        // What stays as it is stays open: its reader notices nothing.
        let (stay, go): (Vec<_>, Vec<_>) =
            self.fifos.drain(..).partition(|(_, known)| wanted.contains(known));
        self.fifos = stay;
        for (fifo, _) in go {
            // Its place is free now; its reader may take its time.
            tokio::spawn(fifo.close(Instant::now() + GRACE));
        }
        for new in wanted {
            if self.fifos.iter().any(|(_, known)| *known == new) {
                continue;
            }
            let (environment, board) = (Arc::clone(&self.environment), Arc::clone(&self.board));
            let before = self.before.fifos.iter().position(|fifo| fifo.path == new.path);
            let before = before.map(|place| self.before.fifos.swap_remove(place));
            match Fifo::open(&new, environment, board, before) {
                Ok(fifo) => {
                    log::debug!("fifo {} is open", fifo.path().display());
                    self.fifos.push((fifo, new));
                }
                Err(error) => log::error!("fifo {} is not used: {error}", new.path.display()),
            }
        }
        self.plan = plan;
    }

    fn set_checks(&mut self, plans: Vec<plan::Check>) {
        let now = timer::now();
        let mut before = std::mem::take(&mut self.checks);
        let mut counts: BTreeMap<Nanos, (usize, usize)> = BTreeMap::new();
        for plan in &plans {
            counts.entry(plan.interval).or_default().1 += 1;
        }
        for plan in plans {
            let (index, count) = counts.entry(plan.interval).or_default();
            let fresh = CheckSchedule::new(now, plan.interval, *index, *count);
            *index += 1;
            let name = Arc::clone(&plan.name);
            let check = match before.remove(&name) {
                Some(known) if known.plan.script == plan.script => Checked {
                    filter: known.filter.with(plan.rise, plan.fall),
                    schedule: if known.plan.interval == plan.interval {
                        known.schedule
                    } else {
                        fresh
                    },
                    lost: known.lost,
                    plan,
                },
                // What the old one found out says nothing about the new one.
                Some(_) | None => Checked {
                    filter: match self.before.checks.remove(&*name) {
                        Some(it) if it.script.as_ref() == plan.script.as_deref() => {
                            ResultFilter::resumed(plan.rise, plan.fall, it.health(), it.streak)
                        }
                        Some(_) | None => ResultFilter::new(plan.rise, plan.fall, plan.init_fail),
                    },
                    schedule: fresh,
                    lost: false,
                    plan,
                },
            };
            let (health, end) = (check.health(), check.plan.disabled.clone());
            if health != Health::Unknown {
                let _ = self.found.send(Found { script: Arc::clone(&name), health, end });
            }
            self.checks.insert(name, check);
        }
        let checks = self.checks.iter().map(|(name, check)| {
            let script = check.plan.script.as_ref();
            let command =
                script.map_or_else(|| "disabled".to_owned(), |script| script.text.clone());
            (name.to_string(), command, check.health())
        });
        self.board.set_checks(checks, now);
        let checks = &self.checks;
        self.queues.retain(|key| match key {
            Key::Check(name) => checks.contains_key(name),
            Key::Subject(_) => true,
        });
    }

    // ---- the end -------------------------------------------------------------------------------------

    async fn stop(
        mut self,
        ends: &mut mpsc::UnboundedReceiver<(Key, Ended)>,
        reply: Option<oneshot::Sender<()>>,
    ) {
        self.stopping = true;
        self.checks.clear();
        let dropped = self.queues.retain(|key| matches!(key, Key::Subject(_)));
        log::debug!("{dropped} checks are not run any more");
        self.queues.unshare();
        let begin = Instant::now();
        let (make_way, deadline) = (begin + MAKE_WAY, begin + STOP_PATIENCE);
        // What is started from here on has an end of its own.
        let before = std::mem::replace(&mut self.ending, watch::channel(false).0);
        let mut made_way = false;
        self.start_jobs();
        while !self.queues.is_empty() {
            let until = if made_way { deadline } else { make_way };
            match timeout_at(until, ends.recv()).await {
                Ok(Some((key, _))) => {
                    self.started.remove(&key);
                    self.queues.done(&key);
                    self.start_jobs();
                }
                Ok(None) => break,
                Err(_) if !made_way => {
                    made_way = true;
                    before.send_replace(true);
                }
                Err(_) => break,
            }
        }
        if !self.queues.is_empty() {
            log::warn!(
                "scripts still run or wait after {} s; they are ended",
                STOP_PATIENCE.as_secs()
            );
            let _ = self.queues.retain(|_| false);
            self.ending.send_replace(true);
            before.send_replace(true);
            let last = Instant::now() + GRACE + Duration::from_secs(1);
            while self.queues.running() > 0 {
                match timeout_at(last, ends.recv()).await {
                    Ok(Some((key, _))) => self.queues.done(&key),
                    Ok(None) | Err(_) => break,
                }
            }
        }
        for (fifo, _) in std::mem::take(&mut self.fifos) {
            fifo.close(deadline.max(Instant::now() + Duration::from_millis(500))).await;
        }
        if let Some((script, limit)) = self.plan.shutdown.take() {
            self.once("shutdown script", &script, limit).await;
        }
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }
}

impl Job {
    /// Runs its scripts, whatever becomes of each. The end of the last one.
    async fn run(
        mut self,
        environment: &[CString],
        board: &Board,
        ending: watch::Receiver<bool>,
        current: &Current,
    ) -> Ended {
        let mut last = Ended::Exited(0);
        for (place, (script, more)) in self.scripts.iter().enumerate() {
            let label = match self.kind {
                Kind::Notification => format!("{}: {}", self.about, script.text),
                Kind::Check => self.about.clone(),
            };
            // What a check prints again and again is for those who look for it.
            let level = match self.kind {
                Kind::Notification => log::Level::Info,
                Kind::Check => log::Level::Debug,
            };
            let output_log = OutputLog { label: label.clone(), level };
            let limit = Some(self.limit);
            let (ending_now, current) = (ending.clone(), (current, place));
            let end = match self.running.take() {
                Some(running) => {
                    let elapsed = running.elapsed;
                    match running.child() {
                        Ok(child) => {
                            process::attend(child, elapsed, limit, output_log, ending_now, current)
                                .await
                        }
                        Err(error) => Ended::NotStarted(format!("its end is not known: {error}")),
                    }
                }
                None => {
                    let program = &script.program;
                    process::run(program, more, environment, limit, output_log, ending_now, current)
                        .await
                }
            };
            if let Ended::TimedOut(_) = end {
                board.count(Counter::ScriptsTimedOut);
            }
            if self.kind == Kind::Notification && !end.is_success() {
                board.count(Counter::ScriptsFailed);
                log::warn!("{label}: {end}");
            } else {
                log::debug!("{label}: {end}");
            }
            last = end;
            if *ending.borrow() {
                break;
            }
        }
        last
    }
}

/// Arguments of a program. No name has a NUL in it.
fn arguments(words: &[&str]) -> Vec<CString> {
    words.iter().map(|word| CString::new(*word).unwrap_or_default()).collect()
}
