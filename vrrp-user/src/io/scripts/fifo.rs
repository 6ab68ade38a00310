//! A named pipe that is told what happens, and the program that reads it.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};
use tokio::net::unix::pipe::Sender;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::board::{Board, Counter};
use super::process::{self, Ended, Voice};
use super::{Subject, plan};

/// What keepalived gives to a fifo that it makes.
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR).union(Mode::S_IRGRP).union(Mode::S_IROTH);
/// Between the end of the reading program and its next start, at first and at most.
const RESTART: Duration = Duration::from_secs(1);
const RESTART_MOST: Duration = Duration::from_secs(60);
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

    /// So many octets of the first line were taken.
    fn taken(&mut self, octets: usize) {
        let Some((topic, line)) = self.lines.front_mut() else { return };
        line.drain(..octets.min(line.len()));
        // What has begun is written to its end.
        *topic = None;
        if line.is_empty() {
            self.lines.pop_front();
        }
    }
}

/// A fifo in use.
pub struct Fifo {
    path: PathBuf,
    lines: mpsc::UnboundedSender<(Topic, String)>,
    writer: JoinHandle<()>,
    reader: Option<JoinHandle<()>>,
    /// The reading program is not started again.
    closing: watch::Sender<bool>,
    /// It is ended.
    ending: watch::Sender<bool>,
    /// It is ours to remove.
    created: bool,
}

impl Fifo {
    /// Makes the fifo if it is not there, starts what reads it, and opens it.
    ///
    /// # Errors
    /// It can not be made or opened, or is something else.
    pub fn open(
        plan: &plan::Fifo,
        environment: Arc<[CString]>,
        board: Arc<Board>,
    ) -> io::Result<Self> {
        let path = plan.path.clone();
        let created = make(plan)?;
        let ((closing, closed), (ending, ended)) = (watch::channel(false), watch::channel(false));
        let opened = open(plan).inspect_err(|_| {
            if created {
                let _ = fs::remove_file(&path);
            }
        })?;
        let reader = plan.script.clone().map(|script| {
            let argument = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
            tokio::spawn(keep_running(script, argument, environment, closed, ended))
        });
        let (lines, received) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write(opened, received, path.clone(), board));
        Ok(Self { path, lines, writer, reader, closing, ending, created })
    }

    /// Where it is.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Writes a line, now or when there is room.
    pub fn tell(&self, topic: Topic, line: String) {
        // The task ends after this side.
        let _ = self.lines.send((topic, line));
    }

    /// Removes the fifo if it is ours, at once, and closes it when everything is written. What reads it finds the end
    /// of the file, and has until the deadline to end by itself.
    pub fn close(self, deadline: Instant) -> impl Future<Output = ()> {
        // First of all: a program that opens it again when it ends shall not find it.
        if self.created
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

fn open(plan: &plan::Fifo) -> io::Result<Sender> {
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
    Sender::from_file(file)
}

/// Writes what comes, until nothing more can come.
async fn write(
    fifo: Sender,
    mut lines: mpsc::UnboundedReceiver<(Topic, String)>,
    path: PathBuf,
    board: Arc<Board>,
) {
    let mut pending = Pending::default();
    let mut open = true;
    let mut behind = false;
    while open || !pending.lines.is_empty() {
        tokio::select! {
            biased;
            line = lines.recv(), if open => match line {
                Some((topic, line)) => {
                    if pending.push(topic, line.into_bytes()) {
                        board.count(Counter::FifoLinesLost);
                        if !std::mem::replace(&mut behind, true) {
                            log::warn!("fifo {} is not read: only the last states are kept", path.display());
                        }
                    }
                }
                None => open = false,
            },
            writable = fifo.writable(), if !pending.lines.is_empty() => {
                if let Err(error) = writable {
                    return log::error!("fifo {}: {error}", path.display());
                }
            }
        }
        while let Some((_, line)) = pending.lines.front() {
            match fifo.try_write(line) {
                Ok(octets) => pending.taken(octets),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    log::error!("fifo {}: {error}", path.display());
                    board.count(Counter::FifoLinesLost);
                    pending.lines.pop_front();
                }
            }
        }
        behind &= !pending.lines.is_empty();
    }
}

/// Runs the program that reads, again and again.
async fn keep_running(
    script: Arc<super::resolve::Script>,
    path: CString,
    environment: Arc<[CString]>,
    mut closing: watch::Receiver<bool>,
    ending: watch::Receiver<bool>,
) {
    let mut pause = RESTART;
    loop {
        let voice =
            Voice { label: format!("fifo script {}", script.text), level: log::Level::Info };
        let begin = Instant::now();
        let more = [path.clone()];
        let end =
            process::run(&script.program, &more, &environment, None, voice, ending.clone()).await;
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
}
