//! The daemon's side of the control socket, on a thread and runtime of its own: a slow or hostile client
//! never delays a timer of the engine.
//!
//! Nothing is kept for a client. Who follows the events is told that there are new ones and asks the engine's
//! thread for them, part by part, when the last part has been written; so is who asks about thousands of
//! routers. What a client takes of memory is one part, however slow it is, and who does not read for
//! [`PATIENCE`] is cut off, or earlier where others want its slot.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::access::Access;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::events::{Events, WallClock};
use crate::api::history::Cursor;
use crate::api::problem::{ProblemCounts, ProblemKind};
use crate::api::{
    Answer, Line, Order, Reloaded, Request, RouterDetail, Routers, Status, UpgradeReport,
};
use crate::config::socket::SocketAccess;
use crate::engine::time::Nanos;
use crate::engine::types::RouterId;
use crate::io::bpf::Maps;
use crate::io::client_slots::{ClientSlot, ClientSlots, Lost};
use crate::io::lockfile::{self, LOCK, LockFile, SharedLock};
use crate::io::scripts::Board;
use crate::io::socket_file::SocketFile;
use crate::io::{bpf, logger, neighbour, netns, threads, timer};
use crate::metrics;
use crate::wire::ethernet::Colons;

/// Clients served at once; a further one takes the slot of the one that has been idle longest.
const MAX_CLIENTS: usize = 64;
/// How many of them may follow the events, so that there are always slots for questions.
const MAX_FOLLOWERS: usize = 32;
/// The longest request in bytes.
const MAX_REQUEST: u64 = 4096;
/// How long a client may stay silent, or take to read one part of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure to accept, or when the socket was deleted, until the next attempt: at first and at most.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// In which time an order is carried out, if it is. Less than a client waits ([`super::client`]).
const IN_TIME: Nanos = Nanos::from_secs(4);

/// The name under which lines of the log are counted that stderr did not take.
pub const LOG_LINES_LOST: &str = "log_lines_lost";
/// Attempts to write to stderr that failed, in the same list.
pub const LOG_WRITES_FAILED: &str = "log_writes_failed";

vrrp_common::counters! {
    /// What the control socket refuses.
    pub enum Counter {
        /// A request that is too long, not JSON, or unknown.
        BadRequest = "control_bad_request",
        /// A client that sent no complete request in time.
        Silent = "control_silent_client",
        /// A client that did not read its answer in time and was cut off.
        Slow = "control_slow_client",
        /// A client that was idle longest when another one wanted its slot.
        Displaced = "control_displaced_client",
        /// The socket's file was deleted by somebody, and made again.
        SocketDeleted = "control_socket_deleted",
        /// A client that wanted to follow the events while too many others did.
        TooMany = "control_too_many_followers",
        /// Entries of the history that were overwritten before a follower of the events was told.
        EventsLost = "control_events_lost",
        /// A request to change something from somebody who may not.
        NotPermitted = "control_not_permitted",
        /// A request to change something whose client had gone, or given up, before it could be carried out.
        TooLate = "control_too_late",
    }
}

/// Who asks for another program to take the place of this one.
pub struct Asker {
    /// Where the answer goes.
    pub answer: oneshot::Sender<UpgradeReport>,
    /// When that has been written: what comes then ends the connection.
    pub written: std::sync::mpsc::Receiver<()>,
    /// Where it is said what went wrong after that.
    pub failure: oneshot::Sender<ApiError>,
}

/// A question to the engine's thread, with the slot for the answer.
pub enum Question {
    /// The daemon and its first routers.
    Status(oneshot::Sender<Status>),
    /// Further routers.
    Routers {
        /// How many were told already.
        begin: usize,
        /// The next ones.
        answer: oneshot::Sender<Routers>,
    },
    /// Everything about one router, `None` when there is none of that name.
    Router {
        /// Name, or `INTERFACE/VRID`.
        name: String,
        answer: oneshot::Sender<Option<Box<RouterDetail>>>,
    },
    /// An order of an operator.
    Order {
        /// Name of a router or sync group, or `INTERFACE/VRID`.
        name: String,
        /// What it is to do.
        order: Order,
        /// When it is too late for it: the client has given up by then.
        until: Nanos,
        /// What was done, or why not; `None` if it was too late.
        answer: oneshot::Sender<Option<Result<String, ApiError>>>,
    },
    /// Which router that is.
    Find {
        /// Name, or `INTERFACE/VRID`.
        name: String,
        answer: oneshot::Sender<Option<RouterId>>,
    },
    /// How many problems there are.
    Problems {
        /// How many routers were looked at already.
        begin: usize,
        /// Those of the next ones.
        answer: oneshot::Sender<ProblemCounts>,
    },
    /// A reload. The answer takes as long as that.
    Reload {
        /// Only say what would change.
        check: bool,
        /// What came of it.
        answer: oneshot::Sender<Reloaded>,
    },
    /// Another program is to take the place of this one. The answer takes as long as that one does.
    Upgrade {
        /// Its file.
        binary: PathBuf,
        /// Only say whether it could.
        check: bool,
        /// Who wants it.
        asker: Asker,
    },
    /// What happened.
    Events {
        /// Since when.
        from: Cursor,
        /// To whom; `None` for all.
        router: Option<RouterId>,
        /// Some of it.
        answer: oneshot::Sender<Events>,
    },
}

/// The ends that the engine's thread holds.
pub struct Channels {
    /// What it is asked.
    pub questions: mpsc::Receiver<Question>,
    /// Where others ask.
    pub ask: mpsc::Sender<Question>,
    /// Where it says what the last entry of the history is.
    pub latest: watch::Sender<u64>,
    /// Who may change something; those that are connected already are not asked again.
    pub access: Arc<Mutex<Access>>,
}

/// What all clients share.
struct Shared {
    questions: mpsc::Sender<Question>,
    latest: watch::Receiver<u64>,
    slots: Arc<ClientSlots>,
    followers: Semaphore,
    lock: SharedLock,
    access: Arc<Mutex<Access>>,
    maps: Maps,
    board: Arc<Board>,
    counters: [AtomicU64; Counter::ALL.len()],
}

/// Why a client is not served any more.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("it sent no complete request for {} s", PATIENCE.as_secs())]
    Silent,
    #[error("it did not read its answer for {} s", PATIENCE.as_secs())]
    Slow,
    #[error(transparent)]
    Displaced(#[from] Lost),
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error("cannot answer")]
    Json(#[from] serde_json::Error),
}

/// Binds the socket and serves it from a new thread until the process ends. A socket file that a dead
/// daemon left is replaced: the caller holds the instance's lock, and takes it away when the daemon has ended, before it
/// removes the socket.
/// Errors: the socket cannot be bound, or the thread not started.
pub fn start(
    socket: &Path,
    access: &SocketAccess,
    maps: Maps,
    board: Arc<Board>,
    lock: SharedLock,
) -> io::Result<Channels> {
    let (listener, access) = bind(socket, access)?;
    let access = Arc::new(Mutex::new(access));
    let (questions, receiver) = mpsc::channel(16);
    let (sender, latest) = watch::channel(0);
    let shared = Arc::new(Shared {
        questions: questions.clone(),
        latest,
        slots: ClientSlots::new(MAX_CLIENTS),
        followers: Semaphore::new(MAX_FOLLOWERS),
        lock,
        access: Arc::clone(&access),
        maps,
        board,
        counters: Default::default(),
    });
    let path = socket.to_owned();
    threads::with_runtime("control", move |runtime| {
        runtime.block_on(listen(&path, listener, &shared));
    })?;
    Ok(Channels { questions: receiver, ask: questions, latest: sender, access })
}

/// In the place of whatever is there.
fn bind(
    socket: &Path,
    settings: &SocketAccess,
) -> io::Result<(std::os::unix::net::UnixListener, Access)> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(socket)?;
    let access = Access::grant(socket, settings)?;
    listener.set_nonblocking(true)?;
    Ok((listener, access))
}

/// Serves clients until the daemon has ended. The socket is made again if somebody deletes it.
async fn listen(
    socket: &Path,
    mut listener: std::os::unix::net::UnixListener,
    shared: &Arc<Shared>,
) {
    loop {
        if let Err(error) = accept(socket, listener, shared).await {
            log::warn!("control socket {}: {error}", socket.display());
        }
        let (mut pause, mut complained) = (RETRY, false);
        listener = loop {
            // Whoever deletes a directory shall have the time to finish that.
            tokio::time::sleep(pause).await;
            match shared.bind_again(socket) {
                Ok(Some(listener)) => break listener,
                Ok(None) => return,
                Err(error) if !std::mem::replace(&mut complained, true) => log::error!(
                    "the control socket {} was deleted by somebody, and cannot be made again: {error}; trying again \
                     every {} s",
                    socket.display(),
                    RETRY_MOST.as_secs()
                ),
                Err(_) => {}
            }
            pause = (pause * 2).min(RETRY_MOST);
        };
        shared.count(Counter::SocketDeleted, 1);
        log::warn!("the control socket {} was deleted by somebody: made again", socket.display());
    }
}

/// Accepts clients until the file of the socket is gone.
async fn accept(
    socket: &Path,
    listener: std::os::unix::net::UnixListener,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let file = SocketFile::new(socket)?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = file.removed() => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                let slot = shared.slots.take().await;
                let shared = Arc::clone(shared);
                tokio::spawn(async move {
                    if let Err(end) = serve(stream, &slot, &shared).await {
                        match end {
                            End::Silent => shared.count(Counter::Silent, 1),
                            End::Slow => shared.count(Counter::Slow, 1),
                            End::Displaced(_) => shared.count(Counter::Displaced, 1),
                            End::Broken(_) | End::Json(_) => {}
                        }
                        log::debug!("control client: {end}");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: do not spin.
                log::warn!("control socket: {error}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
/// One client: request after request.
async fn serve(mut stream: UnixStream, slot: &ClientSlot, shared: &Shared) -> Result<(), End> {
    // Before anything is asked: the answer does not change while the connection lives.
    let may_change = shared.access().permits_changes(&stream)?;
    let may_upgrade = shared.access().permits_upgrade(&stream)?;
    let (read, write) = stream.split();
    let mut write = Writer { half: write, slot };
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut read).take(MAX_REQUEST);
        let got = tokio::time::timeout(PATIENCE, limited.read_until(b'\n', &mut line));
        if slot.wait_for(got).await?.map_err(|_| End::Silent)?? == 0 {
            return Ok(());
        }
        if !line.ends_with(b"\n") {
            shared.count(Counter::BadRequest, 1);
            let error = format!("a request is one line of at most {MAX_REQUEST} bytes");
            return send(&mut write, &[ErrorKind::BadRequest.because(error).into()]).await;
        }
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) if request.changes() && !may_change => {
                shared.count(Counter::NotPermitted, 1);
                let error = ErrorKind::NotPermitted.because(shared.access().refusal());
                send(&mut write, &[error.into()]).await?;
            }
            Ok(Request::Upgrade { .. }) if !may_upgrade => {
                shared.count(Counter::NotPermitted, 1);
                let error = "not permitted: it takes root, or the daemon's own user";
                send(&mut write, &[ErrorKind::NotPermitted.because(error).into()]).await?;
            }
            // Somebody who was told that nobody answers must not be surprised later.
            Ok(request) if request.changes() && has_hung_up(read.get_ref().as_ref()) => {
                shared.count(Counter::TooLate, 1);
                log::warn!("a request to change something came too late: its client is gone");
                return Ok(());
            }
            Ok(request) => shared.answer(request, &mut read, &mut write).await?,
            Err(error) => {
                shared.count(Counter::BadRequest, 1);
                let error = ErrorKind::BadRequest.because(format!("bad request: {error}"));
                send(&mut write, &[error.into()]).await?;
            }
        }
    }
}

/// Whether the client has closed the connection, and not only finished what it says.
fn has_hung_up(stream: &UnixStream) -> bool {
    let mut polled = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let hung_up = |polled: &PollFd<'_>| {
        polled.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
    };
    poll(&mut polled, PollTimeout::ZERO).is_ok() && polled.iter().any(hung_up)
}

/// Where the answers for a client go.
struct Writer<'a> {
    half: WriteHalf<'a>,
    slot: &'a ClientSlot,
}

/// Writes some lines, in the time that there is for one part.
async fn send(write: &mut Writer<'_>, lines: &[Line]) -> Result<(), End> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    let written = tokio::time::timeout(PATIENCE, write.half.write_all(&text));
    Ok(write.slot.wait_for(written).await?.map_err(|_| End::Slow)??)
}

/// Where the master of a router is by the neighbour table.
fn master_mac(detail: &RouterDetail) -> Option<String> {
    let (master, ifindex) = (detail.router.master.as_ref()?, detail.on.ifindex?);
    let address = master.address.parse().ok()?;
    let ask = || neighbour::mac(address, ifindex);
    let found = netns::beside_interface(&detail.on.name, ask).flatten();
    let found = found.inspect_err(|error| log::debug!("neighbour table: {error}"));
    found.ok()?.map(|mac| Colons(mac).to_string())
}

fn no_router(name: &str) -> Line {
    let error = format!(
        "there is no virtual router `{name}`; `vrrp-user status` lists them, and INTERFACE/VRID names one, too"
    );
    ErrorKind::UnknownRouter.because(error).into()
}

fn stopping() -> Line {
    ErrorKind::Stopping.because("the daemon is stopping").into()
}

impl Shared {
    /// The socket once more, and the lock beside it; `None` when the daemon has ended.
    fn bind_again(&self, socket: &Path) -> io::Result<Option<std::os::unix::net::UnixListener>> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            return Ok(None);
        }
        if let Some(directory) = socket.parent() {
            std::fs::create_dir_all(directory)?;
        }
        match LockFile::take(&socket.with_file_name(LOCK), |_| false) {
            Ok(again) => *lock = Some(again),
            // It is there still, and ours.
            Err(lockfile::Error::Taken { .. }) => {}
            Err(error @ (lockfile::Error::Foreign | lockfile::Error::Io(_))) => {
                return Err(io::Error::other(error));
            }
        }
        let (listener, access) = bind(socket, self.access().settings())?;
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = access;
        Ok(Some(listener))
    }

    fn access(&self) -> Access {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, counter: Counter, more: u64) {
        self.counters[counter as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// What this thread counts, and the log.
    fn counters(&self) -> BTreeMap<String, u64> {
        let all = Counter::ALL.iter();
        let mut counters: BTreeMap<String, u64> = all
            .map(|(counter, name)| {
                let count = self.counters[*counter as usize].load(Ordering::Relaxed);
                ((*name).to_owned(), count)
            })
            .collect();
        counters.insert(LOG_LINES_LOST.to_owned(), logger::lines_lost());
        counters.insert(LOG_WRITES_FAILED.to_owned(), logger::writes_failed());
        counters.extend(self.board.counters().map(|(name, count)| (name.to_owned(), count)));
        counters
    }

    /// Asks the engine's thread; `None` when that stops.
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.questions.send(question(sender)).await.ok()?;
        answer.await.ok()
    }

    async fn answer(
        &self,
        request: Request,
        read: &mut BufReader<ReadHalf<'_>>,
        write: &mut Writer<'_>,
    ) -> Result<(), End> {
        match request {
            Request::Status {} => self.status(write).await,
            Request::Router { name } => {
                let asked = name.clone();
                let detail = self.ask(|answer| Question::Router { name: asked, answer }).await;
                let answer = match detail {
                    Some(Some(mut detail)) => {
                        detail.master_mac = master_mac(&detail);
                        detail.scripts = self.board.scripts(timer::now());
                        detail.scripts.retain(|script| {
                            let name = format!("script {}", script.name);
                            detail.tracks.iter().any(|track| track.name == name)
                        });
                        Answer::Router(detail).into()
                    }
                    Some(None) => no_router(&name),
                    None => stopping(),
                };
                send(write, &[answer]).await
            }
            Request::StepDown { name } => self.order(name, Order::StepDown, write).await,
            Request::Resume { name } => self.order(name, Order::Resume, write).await,
            Request::SetPriority { name, priority } => {
                self.order(name, Order::SetPriority(priority), write).await
            }
            Request::Stats {} => {
                let answer = match self.maps.reader().and_then(|reader| metrics::collect(&reader)) {
                    Ok(stats) => Answer::Stats(stats).into(),
                    Err(error) => ErrorKind::NoCounters.because(bpf::chain(&error)).into(),
                };
                send(write, &[answer]).await
            }
            Request::Reload { check } => {
                let reloaded = self.ask(|answer| Question::Reload { check, answer }).await;
                let answer = reloaded.map(|reloaded| Answer::Reloaded(Box::new(reloaded)).into());
                send(write, &[answer.unwrap_or_else(stopping)]).await
            }
            Request::Upgrade { binary, check } => self.upgrade(binary.into(), check, write).await,
            Request::Events { since_ms, name } => {
                let Ok(_place) = self.followers.try_acquire() else {
                    self.count(Counter::TooMany, 1);
                    let error = format!("{MAX_FOLLOWERS} clients follow the events already");
                    let error = ErrorKind::TooManyFollowers.because(error);
                    return send(write, &[error.into()]).await;
                };
                let router = match name {
                    None => None,
                    Some(name) => {
                        let asked = name.clone();
                        match self.ask(|answer| Question::Find { name: asked, answer }).await {
                            Some(Some(router)) => Some(router),
                            Some(None) => return send(write, &[no_router(&name)]).await,
                            None => return send(write, &[stopping()]).await,
                        }
                    }
                };
                let from = match since_ms {
                    Some(since) => Cursor::Since(timer::now() - Nanos::from_millis(since)),
                    None => Cursor::Since(Nanos::MAX),
                };
                self.follow(from, router, read, write).await
            }
        }
    }

    async fn upgrade(
        &self,
        binary: PathBuf,
        check: bool,
        write: &mut Writer<'_>,
    ) -> Result<(), End> {
        let (answer, report) = oneshot::channel();
        let (written, reached) = std::sync::mpsc::channel();
        let (failure, failed) = oneshot::channel();
        let asker = Asker { answer, written: reached, failure };
        let asked = self.questions.send(Question::Upgrade { binary, check, asker }).await;
        let report = if asked.is_ok() { report.await.ok() } else { None };
        let Some(report) = report else { return send(write, &[stopping()]).await };
        let goes_on = report.ready && !check;
        send(write, &[Answer::Upgrade(Box::new(report)).into()]).await?;
        // Nobody may wait for it any more.
        let _ = written.send(());
        match failed.await {
            Ok(why) if goes_on => send(write, &[why.into()]).await,
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn order(&self, name: String, order: Order, write: &mut Writer<'_>) -> Result<(), End> {
        let until = timer::now() + IN_TIME;
        let asked = self.ask(|answer| Question::Order { name, order, until, answer }).await;
        let answer = match asked {
            Some(Some(Ok(done))) => Answer::Done(done).into(),
            Some(Some(Err(refused))) => refused.into(),
            Some(None) => {
                self.count(Counter::TooLate, 1);
                log::warn!("an order came too late: its client has given up");
                ErrorKind::TooLate.because("it was too late for this; nothing was done").into()
            }
            None => stopping(),
        };
        send(write, &[answer]).await
    }

    async fn status(&self, write: &mut Writer<'_>) -> Result<(), End> {
        let Some(mut status) = self.ask(Question::Status).await else {
            return send(write, &[stopping()]).await;
        };
        status.counters.extend(self.counters());
        status.scripts = self.board.scripts(timer::now());
        let disabled = self.board.disabled();
        let cause = ProblemKind::ScriptDisabled.name().to_owned();
        status.problem_causes.extend(disabled.iter().map(|_| cause.clone()));
        status.problems.extend(disabled);
        let (mut told, mut more) = (status.routers.len(), status.more);
        send(write, &[Answer::Status(status).into()]).await?;
        while more {
            let Some(part) = self.ask(|answer| Question::Routers { begin: told, answer }).await
            else {
                return send(write, &[stopping()]).await;
            };
            told += part.routers.len();
            more = part.more;
            send(write, &[Answer::Routers(part).into()]).await?;
        }
        Ok(())
    }

    /// Tells what happens until the client hangs up.
    async fn follow(
        &self,
        mut from: Cursor,
        router: Option<RouterId>,
        read: &mut BufReader<ReadHalf<'_>>,
        write: &mut Writer<'_>,
    ) -> Result<(), End> {
        let mut latest = self.latest.clone();
        loop {
            // Before the question: what comes after it is news.
            latest.borrow_and_update();
            let Some(events) = self.ask(|answer| Question::Events { from, router, answer }).await
            else {
                return send(write, &[stopping()]).await;
            };
            let now = WallClock::at(timer::now());
            let mut lines: Vec<Line> = Vec::new();
            if events.lost > 0 {
                self.count(Counter::EventsLost, events.lost);
                lines.push(Answer::Lost { events: events.lost }.into());
            }
            let told = events.records.iter().map(|record| Answer::Event(record.event(now)));
            lines.extend(told.map(Line::from));
            from = Cursor::After(events.last);
            if !lines.is_empty() {
                send(write, &lines).await?;
            }
            if events.more {
                continue;
            }
            tokio::select! {
                changed = latest.changed() => if changed.is_err() {
                    return send(write, &[stopping()]).await;
                },
                // Whether it hangs up or asks something else: that ends the stream.
                hung_up = read.fill_buf() => {
                    hung_up?;
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, Read, Write};
    use std::os::unix::net::UnixStream;

    use crate::api::events::{Record, Whose};
    use crate::api::history::{Entry, EventKind, EventSource};
    use crate::engine::types::{Cause, State};

    /// More than anything takes here.
    const LONG: Duration = Duration::from_secs(60);

    fn connect(socket: &Path) -> UnixStream {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    fn talk(request: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        let _channels = serve_at(&socket);
        let mut stream = connect(&socket);
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn bad_requests_get_an_answer_that_says_so() {
        assert!(talk(b"nonsense\n").contains("bad request"));
        assert!(talk(b"nonsense\n").ends_with(",\"cause\":\"bad-request\"}\n"));
        assert!(talk(b"\xff\xfe\n").contains("bad request"));
        assert!(talk(&[b'x'; 5000]).contains("at most 4096 bytes"));
        assert_eq!(talk(b""), "");
        let two = talk(b"{}\n{\"command\":\"stats\"}\n");
        assert_eq!(two.lines().count(), 2, "{two}");
    }

    /// Starts it with the default access, where there are no pins.
    fn serve_at(socket: &Path) -> Channels {
        let pins = socket.with_file_name("no-pins").into();
        start(socket, &SocketAccess::default(), pins, Arc::default(), Arc::default()).unwrap()
    }

    /// An engine's thread in which so much has happened, and whose ring holds the last `kept` of it.
    fn busy_engine(mut channels: Channels, events: u64, kept: u64) -> std::thread::JoinHandle<()> {
        let record = |number| Record {
            whose: Whose::Router { name: "VI_1".into(), interface: "eth0".into(), vrid: 51 },
            text: None,
            entry: Entry {
                number,
                at: timer::now(),
                source: EventSource::Router(RouterId(0)),
                kind: EventKind::Transition {
                    from: State::Init,
                    to: State::Backup,
                    cause: Cause::Startup,
                },
            },
        };
        std::thread::spawn(move || {
            channels.latest.send_replace(events);
            while let Some(question) = channels.questions.blocking_recv() {
                let Question::Events { from, answer, .. } = question else { return };
                let after = match from {
                    Cursor::After(number) => number,
                    Cursor::Since(_) => 0,
                };
                let begin = after.max(events.saturating_sub(kept));
                let last = (begin + 10).min(events);
                let _ = answer.send(Events {
                    records: (begin + 1..=last).map(record).collect(),
                    last,
                    lost: begin - after,
                    more: last < events,
                });
            }
        })
    }

    #[test]
    fn a_follower_is_told_what_it_missed_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        busy_engine(serve_at(&socket), 150, 100);
        let mut stream = connect(&socket);
        stream.write_all(b"{\"command\":\"events\"}\n").unwrap();
        let mut lines = io::BufReader::new(stream).lines();
        assert_eq!(lines.next().unwrap().unwrap(), r#"{"lost":{"events":50}}"#);
        for number in 51..=150 {
            let line = lines.next().unwrap().unwrap();
            assert!(line.contains(&format!("\"number\":{number},")), "{line}");
        }
    }

    #[test]
    fn who_does_not_follow_gets_what_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        busy_engine(serve_at(&socket), 150, 150);
        let mut stream = connect(&socket);
        stream.write_all(b"{\"command\":\"events\",\"since_ms\":99999}\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(io::BufReader::new(stream).lines().count(), 150);
    }

    #[test]
    fn a_client_that_does_not_read_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        busy_engine(serve_at(&socket), u64::MAX, u64::MAX);
        let mut slow = connect(&socket);
        slow.write_all(b"{\"command\":\"events\",\"since_ms\":1}\n").unwrap();
        std::thread::sleep(PATIENCE + Duration::from_secs(2));
        // What was in the socket's buffer, and then the end, which would otherwise never come.
        let mut text = String::new();
        slow.read_to_string(&mut text).unwrap();
        assert!(text.len() > 1000 && text.len() < 4 << 20, "{}", text.len());
    }

    #[test]
    fn followers_leave_places_for_questions() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        busy_engine(serve_at(&socket), 1, 1);
        let mut followers = Vec::new();
        let mut first = |mut stream: UnixStream| {
            stream.write_all(b"{\"command\":\"events\"}\n").unwrap();
            let mut line = String::new();
            io::BufReader::new(&stream).read_line(&mut line).unwrap();
            followers.push(stream);
            line
        };
        for _ in 0..MAX_FOLLOWERS {
            let line = first(connect(&socket));
            assert!(line.contains("VI_1"), "{line}");
        }
        let line = first(connect(&socket));
        assert!(line.contains("32 clients follow the events already"), "{line}");
        let mut other = connect(&socket);
        other.write_all(b"{\"command\":\"stats\"}\n").unwrap();
        let mut line = String::new();
        io::BufReader::new(other).read_line(&mut line).unwrap();
        assert!(line.contains("error"), "{line}");
    }

    #[test]
    fn silent_clients_lock_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        let _channels = serve_at(&socket);
        let mut silent: Vec<_> = (0..MAX_CLIENTS).map(|_| connect(&socket)).collect();
        let mut other = connect(&socket);
        other.write_all(b"{\"command\":\"stats\"}\n").unwrap();
        let mut line = String::new();
        io::BufReader::new(&other).read_line(&mut line).unwrap();
        assert!(line.contains("error"), "{line}");
        // The first of them is gone, and nobody else.
        assert_eq!(silent[0].read(&mut [0]).unwrap(), 0);
        silent[1].set_nonblocking(true).unwrap();
        assert_eq!(silent[1].read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_deleted_socket_is_made_again_until_the_daemon_ends() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = dir.path().join("instance");
        std::fs::create_dir(&runtime).unwrap();
        let socket = runtime.join("control.sock");
        let lock = LockFile::take(&runtime.join(LOCK), |_| false).unwrap();
        let lock = Arc::new(Mutex::new(Some(lock)));
        let pins = dir.path().join("no-pins").into();
        let access = SocketAccess { mode: "0606".parse().unwrap(), ..SocketAccess::default() };
        let _channels = start(&socket, &access, pins, Arc::default(), Arc::clone(&lock)).unwrap();
        std::fs::remove_dir_all(&runtime).unwrap();
        let mut stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(b"nonsense\n").unwrap();
        let mut line = String::new();
        io::BufReader::new(stream).read_line(&mut line).unwrap();
        assert!(line.contains("bad request"), "{line}");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&socket.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o606);
        // And so is the lock, which goes with the daemon.
        assert!(matches!(
            LockFile::take(&runtime.join(LOCK), |_| false),
            Err(lockfile::Error::Taken { .. })
        ));
        lock.lock().unwrap().take();
        assert!(!runtime.join(LOCK).exists());
    }
}
