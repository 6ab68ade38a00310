//! A named pipe that is told what happens, and the program that reads it.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};
use tokio::net::unix::pipe::Sender;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::board::{Board, Counter};
use super::handover::{self, Current};
use super::process::{self, Ended, OutputLog};
use crate::scripts::resolve::Script;
use crate::scripts::{Subject, plan};

/// What keepalived gives to a fifo that it makes.
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR).union(Mode::S_IRGRP).union(Mode::S_IROTH);
/// Between the end of the reading program and its next start, at first and at most.
const RESTART: Duration = Duration::from_secs(1);
const RESTART_MOST: Duration = Duration::from_secs(60);
/// What a pipe may hold at most, in bytes, if nobody has raised `fs.pipe-max-size`.
const PIPE_MOST: usize = 1 << 20;
/// A program that ran so long may be started again soon.
const LASTING: Duration = Duration::from_secs(30);

/// What a line is about: a later one of the same topic makes it pointless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic(pub Subject, pub &'static str);

/// Lines that the fifo has not taken yet.
#[derive(Default)]
struct Pending {
    lines: VecDeque<(Option<Topic>, Vec<u8>)>,
}

impl Pending {
    /// Adds a line. Whether another one was overtaken.
    fn push(&mut self, topic: Topic, line: Vec<u8>) -> bool {
        let same = |(known, _): &(Option<Topic>, _)| known.as_ref() == Some(&topic);
        let overtaken = self.lines.iter().position(same);
        if let Some(place) = overtaken {
            self.lines.remove(place);
        }
        self.lines.push_back((Some(topic), line));
        overtaken.is_some()
    }

    /// Begins anew elsewhere, with what nobody has read. Whether a line is lost, because somebody has read the beginning
    /// of it.
    fn restart(&mut self, unread: Vec<u8>) -> bool {
        let lost =
            unread.is_empty() && self.lines.front().is_some_and(|(topic, _)| topic.is_none());
        if lost {
            self.lines.pop_front();
        }
        if !unread.is_empty() {
            self.lines.push_front((None, unread));
        }
        lost
    }

    /// So many bytes of the first line were taken.
    fn taken(&mut self, bytes: usize) {
        let Some((topic, line)) = self.lines.front_mut() else { return };
        line.drain(..bytes.min(line.len()));
        // What has begun is written to its end.
        *topic = None;
        if line.is_empty() {
            self.lines.pop_front();
        }
    }
}

/// What the task that writes is told.
enum Order {
    Line(Topic, String),
    /// To say what was not written, and what is open.
    Pending(oneshot::Sender<(Vec<Vec<u8>>, RawFd)>),
}

/// A fifo in use.
pub struct Fifo {
    path: PathBuf,
    lines: mpsc::UnboundedSender<Order>,
    writer: JoinHandle<()>,
    /// What reads it.
    current: Current,
    reader: Option<JoinHandle<()>>,
    /// The reading program is not started again.
    closing: watch::Sender<bool>,
    /// It is ended.
    ending: watch::Sender<bool>,
    /// It is ours to remove.
    created: Created,
}

impl Fifo {
    /// Makes the fifo if it is not there, starts what reads it, and opens it.
    /// Errors: it cannot be made or opened, or is something else.
    pub fn open(
        plan: &plan::Fifo,
        environment: Arc<[CString]>,
        board: Arc<Board>,
        before: Option<handover::Fifo>,
    ) -> io::Result<Self> {
        let path = plan.path.clone();
        let created = make(plan)? || before.as_ref().is_some_and(|before| before.created);
        let ((closing, closed), (ending, ended)) = (watch::channel(false), watch::channel(false));
        let opened = open(plan).inspect_err(|_| {
            if created {
                let _ = fs::remove_file(&path);
            }
        })?;
        let (current, mut before) = (Current::default(), before);
        let reader = plan.script.clone().map(|script| {
            let argument = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
            let running = before
                .as_ref()
                .is_some_and(|it| it.reader.as_ref().is_some_and(|(before, _)| *before == *script));
            let running = before.as_mut().filter(|_| running).and_then(|it| it.reader.take());
            let running = running.map(|(_, running)| running);
            let noted = current.clone();
            tokio::spawn(keep_running(script, argument, environment, closed, ended, noted, running))
        });
        let (lines, received) = mpsc::unbounded_channel();
        let created = Arc::new(Mutex::new(created.then_some(opened.identity)));
        let writer = Writer {
            fifo: opened,
            pending: Pending {
                lines: before
                    .map(|it| it.lines)
                    .into_iter()
                    .flatten()
                    .map(|it| (None, it))
                    .collect(),
            },
            plan: plan.clone(),
            created: Arc::clone(&created),
            board,
            behind: false,
            refused: false,
        };
        let writer = tokio::spawn(writer.run(received));
        Ok(Self { path, lines, writer, current, reader, closing, ending, created })
    }

    /// What another program in the place of this one is to go on with.
    pub async fn handover(&self, script: Option<&Script>) -> Option<handover::Fifo> {
        let (answer, pending) = oneshot::channel();
        self.lines.send(Order::Pending(answer)).ok()?;
        let (lines, pipe) = pending.await.ok()?;
        let created = self.created.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let running = self.current.get().map(|(_, running)| running);
        let reader = script.cloned().zip(running);
        Some(handover::Fifo { path: self.path.clone(), created, lines, pipe, reader })
    }

    /// Where it is.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Writes a line, now or when there is room.
    pub fn notify(&self, topic: Topic, line: String) {
        // The task ends after this side.
        let _ = self.lines.send(Order::Line(topic, line));
    }

    /// Removes the fifo if it is ours, at once, and closes it when everything is written. What reads it finds the end
    /// of the file, and has until the deadline to end by itself.
    pub fn close(self, deadline: Instant) -> impl Future<Output = ()> {
        // First of all: a program that opens it again when it ends shall not find it.
        if self.created.lock().is_ok_and(|created| is_at(*created, &self.path))
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("cannot remove fifo {}: {error}", self.path.display());
        }
        self.closing.send_replace(true);
        let Self { lines, mut writer, reader, ending, .. } = self;
        drop(lines);
        async move {
            if timeout_at(deadline, &mut writer).await.is_err() {
                writer.abort();
                // Which closes it.
                let _ = writer.await;
            }
            if let Some(mut reader) = reader
                && timeout_at(deadline, &mut reader).await.is_err()
            {
                ending.send_replace(true);
                let _ = reader.await;
            }
        }
    }
}

/// Whether it was not there.
fn make(plan: &plan::Fifo) -> io::Result<bool> {
    match mkfifo(&plan.path, MODE) {
        Ok(()) => {}
        Err(nix::errno::Errno::EEXIST) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let (uid, gid) = (Uid::from_raw(plan.account.uid), Gid::from_raw(plan.account.gid));
    if let Err(error) = chown(&plan.path, Some(uid), Some(gid)) {
        log::warn!("cannot give fifo {} to its user: {error}", plan.path.display());
    }
    Ok(true)
}

/// Device and inode.
type Identity = (u64, u64);

/// The fifo that we made and that is ours to remove, if there is one.
type Created = Arc<Mutex<Option<Identity>>>;

/// Whether that one is at this path.
fn is_at(fifo: Option<Identity>, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| Some((meta.dev(), meta.ino())) == fifo)
}

/// An open fifo.
struct Open {
    sender: Sender,
    identity: Identity,
}

impl Open {
    /// Takes back what nobody has read.
    fn unread(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut part = [0; 4096];
        // It does not block, and is open for reading as well.
        while all.len() < PIPE_MOST {
            match nix::unistd::read(&self.sender, &mut part) {
                Ok(0) | Err(_) => break,
                Ok(bytes) => all.extend_from_slice(&part[..bytes]),
            }
        }
        all
    }
}

fn open(plan: &plan::Fifo) -> io::Result<Open> {
    // Read as well, so that it can be opened and written without anybody at the other end.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let file = File::options().read(true).write(true).custom_flags(flags).open(&plan.path)?;
    let meta = file.metadata()?;
    if !meta.file_type().is_fifo() {
        return Err(io::Error::other("it is there already, and is no fifo"));
    }
    let ours = nix::unistd::geteuid().as_raw();
    if meta.uid() != ours && meta.uid() != plan.account.uid {
        let uid = meta.uid();
        return Err(io::Error::other(format!(
            "it is there already, and belongs to somebody else (user {uid})"
        )));
    }
    Ok(Open { identity: (meta.dev(), meta.ino()), sender: Sender::from_file(file)? })
}

/// Writes what comes, until nothing more can come.
struct Writer {
    fifo: Open,
    pending: Pending,
    plan: plan::Fifo,
    created: Created,
    board: Arc<Board>,
    /// It was said that the fifo is not read.
    behind: bool,
    /// What somebody has put in its place is not used, which was said.
    refused: bool,
}

impl Writer {
    async fn run(mut self, mut lines: mpsc::UnboundedReceiver<Order>) {
        let mut open = true;
        while open || (!self.pending.lines.is_empty() && !self.refused) {
            tokio::select! {
                biased;
                line = lines.recv(), if open => match line {
                    Some(Order::Line(topic, line)) => self.push(topic, line),
                    Some(Order::Pending(answer)) => {
                        let lines = self.pending.lines.iter().map(|(_, line)| line.clone());
                        let _ = answer.send((lines.collect(), self.fifo.sender.as_raw_fd()));
                    }
                    None => open = false,
                },
                () = sleep(RESTART), if self.refused => {}
                writable = self.fifo.sender.writable(), if !self.refused && !self.pending.lines.is_empty() => {
                    if let Err(error) = writable {
                        return log::error!("fifo {}: {error}", self.plan.path.display());
                    }
                }
            }
            // At the end it is removed.
            if !self.pending.lines.is_empty() && !lines.is_closed() {
                self.follow();
            }
            if !self.refused {
                self.write();
            }
        }
    }

    fn push(&mut self, topic: Topic, line: String) {
        if self.pending.push(topic, line.into_bytes()) {
            self.board.count(Counter::FifoLinesLost);
            if !std::mem::replace(&mut self.behind, true) {
                let path = self.plan.path.display();
                log::warn!("fifo {path} is not read: only the last states are kept");
            }
        }
    }

    /// Goes on with what somebody has put in the place of the fifo, or makes it again.
    fn follow(&mut self) {
        if is_at(Some(self.fifo.identity), &self.plan.path) {
            self.refused = false;
            return;
        }
        let path = self.plan.path.display();
        let opened = make(&self.plan).and_then(|made| {
            let opened = open(&self.plan);
            if made && opened.is_err() {
                let _ = fs::remove_file(&self.plan.path);
            }
            Ok((made, opened?))
        });
        match opened {
            Ok((made, opened)) => {
                *self.created.lock().unwrap_or_else(PoisonError::into_inner) =
                    made.then_some(opened.identity);
                let unread = self.fifo.unread();
                let what =
                    if made { "deleted by somebody: made again" } else { "replaced by somebody" };
                log::warn!(
                    "fifo {path} was {what}; {} bytes that nobody had read are written again",
                    unread.len()
                );
                if self.pending.restart(unread) {
                    self.board.count(Counter::FifoLinesLost);
                }
                self.fifo = opened;
                self.refused = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.refused, true) {
                    log::error!(
                        "fifo {path} was replaced by what cannot be used: {error}; only the last states are kept"
                    );
                }
            }
        }
    }

    fn write(&mut self) {
        while let Some((_, line)) = self.pending.lines.front() {
            match self.fifo.sender.try_write(line) {
                Ok(bytes) => self.pending.taken(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    log::error!("fifo {}: {error}", self.plan.path.display());
                    self.board.count(Counter::FifoLinesLost);
                    self.pending.lines.pop_front();
                }
            }
        }
        self.behind &= !self.pending.lines.is_empty();
    }
}

impl Drop for Writer {
    /// What was not written until the end is lost.
    fn drop(&mut self) {
        let lost = self.pending.lines.len();
        if lost > 0 {
            self.board.count_more(Counter::FifoLinesLost, lost as u64);
            log::warn!(
                "fifo {}: {lost} lines are lost, as nobody read them",
                self.plan.path.display()
            );
        }
    }
}

/// Runs the program that reads, again and again.
async fn keep_running(
    script: Arc<Script>,
    path: CString,
    environment: Arc<[CString]>,
    mut closing: watch::Receiver<bool>,
    ending: watch::Receiver<bool>,
    current: Current,
    mut running: Option<handover::Running>,
) {
    let mut pause = RESTART;
    loop {
        let output_log =
            OutputLog { label: format!("fifo script {}", script.text), level: log::Level::Info };
        let begin = Instant::now();
        let more = [path.clone()];
        let (ending_now, place) = (ending.clone(), (&current, 0));
        let end = match running.take().map(|it| (it.elapsed, it.child())) {
            Some((elapsed, Ok(child))) => {
                process::attend(child, elapsed, None, output_log, ending_now, place).await
            }
            Some((_, Err(_))) | None => {
                let program = &script.program;
                process::run(program, &more, &environment, None, output_log, ending_now, place)
                    .await
            }
        };
        // Once the fifo is removed or no more in use, its end is the end.
        if end == Ended::Stopped || *closing.borrow() {
            return;
        }
        if begin.elapsed() > LASTING {
            pause = RESTART;
        }
        log::warn!(
            "fifo script {}: {end}; it is started again in {} s",
            script.text,
            pause.as_secs()
        );
        tokio::select! {
            () = sleep(pause) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
        pause = (pause * 2).min(RESTART_MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::program::Account;

    fn topic(name: &str) -> Topic {
        Topic(Subject::Instance(name.into()), "state")
    }

    #[test]
    fn what_waits_is_bounded_by_the_routers() {
        let mut pending = Pending::default();
        assert!(!pending.push(topic("a"), b"a1".to_vec()));
        assert!(!pending.push(topic("b"), b"b1".to_vec()));
        pending.taken(1);
        // It has begun and stays.
        assert!(!pending.push(topic("a"), b"a2".to_vec()));
        assert!(pending.push(topic("b"), b"b2".to_vec()));
        assert!(pending.push(topic("a"), b"a3".to_vec()));
        let rest: Vec<_> = pending.lines.iter().map(|(_, line)| line.clone()).collect();
        assert_eq!(rest, [b"1".to_vec(), b"b2".to_vec(), b"a3".to_vec()]);
    }

    #[test]
    fn a_begun_line_is_whole_or_lost_in_another_fifo() {
        let begun = || {
            let mut pending = Pending::default();
            pending.push(topic("a"), b"a1".to_vec());
            pending.push(topic("b"), b"b1".to_vec());
            pending.taken(1);
            pending
        };
        let rest = |pending: Pending| {
            pending.lines.into_iter().flat_map(|(_, line)| line).collect::<Vec<_>>()
        };
        let mut pending = begun();
        assert!(!pending.restart(b"0a".to_vec()));
        assert_eq!(rest(pending), b"0a1b1");
        let mut pending = begun();
        assert!(pending.restart(Vec::new()));
        assert_eq!(rest(pending), b"b1");
    }

    #[tokio::test]
    async fn what_takes_the_place_of_a_fifo_gets_the_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let plan = plan::Fifo {
            path: path.clone(),
            account: Account { uid, gid, groups: Box::default() },
            script: None,
            umask: None,
        };
        let board = Arc::<Board>::default();
        let lost = || board.counters().find(|(name, _)| *name == "fifo_lines_lost").unwrap().1;
        let fifo = Fifo::open(&plan, Arc::new([]), Arc::clone(&board), None).unwrap();
        let tell = |name: &str| fifo.notify(topic(name), format!("{name}\n"));
        let read = |path: &Path, wanted: &str| {
            let (path, wanted) = (path.to_owned(), wanted.to_owned());
            async move {
                let flags = libc::O_NONBLOCK;
                let mut file = File::options().read(true).custom_flags(flags).open(path).unwrap();
                let mut text = String::new();
                while text != wanted {
                    let _ = io::Read::read_to_string(&mut file, &mut text);
                    assert!(wanted.starts_with(&text), "{text}");
                    sleep(Duration::from_millis(1)).await;
                }
            }
        };
        tell("one");
        read(&path, "one\n").await;
        tell("two");
        sleep(Duration::from_millis(50)).await;
        // Nobody has read that.
        fs::remove_file(&path).unwrap();
        mkfifo(&path, MODE).unwrap();
        tell("three");
        read(&path, "two\nthree\n").await;
        fs::remove_file(&path).unwrap();
        tell("four");
        while !path.exists() {
            sleep(Duration::from_millis(1)).await;
        }
        read(&path, "four\n").await;
        assert_eq!(lost(), 0);
        // No fifo: what is overtaken is counted, and the rest at the end.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        for _ in 0..3 {
            tell("five");
        }
        while lost() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        fifo.close(Instant::now() + Duration::from_millis(100)).await;
        assert_eq!(lost(), 3);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
