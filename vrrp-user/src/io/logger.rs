//! A log that never makes its writers wait.
//!
//! A pipe or terminal that nobody reads blocks whoever writes to it, and the engine's thread must not be
//! blocked. Lines go into a buffer of bounded size; a thread writes them to stderr, and tries again what could not be
//! written, as a disk may be full for a while. What finds the buffer full is counted, and reported as soon as stderr
//! takes something again.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use env_logger::{Builder, Target, WriteStyle};
use log::{Level, LevelFilter, Record};
use nix::sys::stat::fstat;

use crate::printable;

/// Bytes that may wait to be written: the lines of some thousands of routers that take over at once.
const BUFFER: usize = 1 << 20;

/// After a failure to write, until the next attempt: at first and at most.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(30);
/// Likewise where stderr is a pipe that does not block.
const RETRY_FULL: Duration = Duration::from_millis(10);

/// Lines that did not fit, in this process.
static LOST: AtomicU64 = AtomicU64::new(0);
/// Attempts to write to stderr that failed.
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Attempts to write to stderr that failed, because a disk is full, for example. What was to be written waits.
pub fn writes_failed() -> u64 {
    FAILED.load(Ordering::Relaxed)
}

/// Lines that were lost because stderr did not take them.
pub fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    /// Lost lines that were not reported yet.
    lost: u64,
    /// The thread writes what it took.
    writing: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the logger writes to.
struct Entrance(Arc<Shared>);

impl Write for Entrance {
    /// Takes one line, as env_logger writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        // What was lost is told where it was lost: nothing goes in before that is reported.
        if waiting.lost > 0 || waiting.text.len() + line.len() > BUFFER {
            waiting.lost += 1;
            LOST.fetch_add(1, Ordering::Relaxed);
        } else {
            let idle = waiting.text.is_empty() && !waiting.writing;
            waiting.text.extend_from_slice(line);
            // A thread that writes looks again when it has written.
            if idle {
                self.0.changed.notify_all();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of a process. When it is dropped, what still waits is written, if stderr takes it within a second.
pub struct Log(Arc<Shared>);

/// How long the end of the process waits for stderr.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Drop for Log {
    fn drop(&mut self) {
        let pending =
            |waiting: &mut Waiting| waiting.writing || !waiting.text.is_empty() || waiting.lost > 0;
        // Whether in time or not: the process ends.
        drop(self.0.changed.wait_timeout_while(self.0.lock(), LAST_WORDS, pending));
    }
}

/// Whether stderr is a stream of the journal, which has times of its own (`JOURNAL_STREAM`, systemd.exec(5)).
pub fn to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    // What a process inherits may be another one's.
    fstat(io::stderr()).is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

/// The priorities of syslog(3), as sd-daemon(3) wants them in front of a line.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// A text for the journal: each line is an entry of its own, with its priority.
pub fn journal_lines(level: Level, text: &str) -> String {
    text.lines().map(|line| format!("<{}>{line}\n", priority(level))).collect()
}

/// What a line says. Where it comes from matters to those who debug it.
fn text(record: &Record<'_>) -> String {
    let text = match record.level() {
        Level::Error | Level::Warn | Level::Info => record.args().to_string(),
        Level::Debug | Level::Trace => format!("{}: {}", record.target(), record.args()),
    };
    match printable::message(&text) {
        // As it was.
        Cow::Borrowed(same) if same.len() == text.len() => text,
        escaped @ (Cow::Borrowed(_) | Cow::Owned(_)) => escaped.into_owned(),
    }
}

/// Installs the logger for this process, with `level`, else `RUST_LOG`, else `info`. `buffered` for the daemon;
/// what only lives for one command may wait for stderr. `now` is the time of a line, for people.
/// Errors: the thread cannot be started.
pub fn start(buffered: bool, level: Option<LevelFilter>, now: fn() -> String) -> io::Result<Log> {
    let mut builder = Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    if let Some(level) = level {
        builder.filter_level(level);
    }
    if to_journal() {
        builder.format(|out, record| {
            out.write_all(journal_lines(record.level(), &text(record)).as_bytes())
        });
    } else {
        builder.format(move |out, record| {
            let (time, level) = (now(), record.level());
            let style = out.default_level_style(level);
            writeln!(out, "{time} {style}{level:<5}{style:#} {}", text(record))
        });
    }
    let shared = Arc::<Shared>::default();
    if buffered {
        // For a pipe the logger cannot find out by itself.
        if io::stderr().is_terminal() && takes_colours(|name| std::env::var_os(name)) {
            builder.write_style(WriteStyle::Always);
        }
        builder.target(Target::Pipe(Box::new(Entrance(Arc::clone(&shared)))));
        let exit = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("log".to_owned());
        thread.spawn(move || drain(&exit, &mut io::stderr()))?;
    }
    builder.init();
    Ok(Log(shared))
}

/// Whether a terminal is to have colours, by the environment, where that leaves it to us.
fn takes_colours(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let dumb = variable("TERM").is_some_and(|term| term == "dumb");
    !dumb && !set("NO_COLOR") && !set("RUST_LOG_STYLE")
}

/// Writes what comes, for ever.
fn drain(shared: &Shared, out: &mut impl Write) {
    loop {
        let (text, lost) = {
            let empty = |waiting: &mut Waiting| waiting.text.is_empty() && waiting.lost == 0;
            let waiting = shared.changed.wait_while(shared.lock(), empty);
            let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            waiting.writing = true;
            (std::mem::take(&mut waiting.text), std::mem::take(&mut waiting.lost))
        };
        write_whole(out, &text);
        if lost > 0 {
            let mark =
                format!("[{lost} lines of the log were lost here: stderr did not take them]\n");
            write_whole(out, mark.as_bytes());
        }
        shared.lock().writing = false;
        shared.changed.notify_all();
    }
}

/// However long it takes. A stderr that is broken for good is as good as one that nobody reads.
fn write_whole(out: &mut impl Write, mut bytes: &[u8]) {
    let mut pause = RETRY;
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(written @ 1..) => {
                bytes = &bytes[written..];
                pause = RETRY;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(RETRY_FULL);
            }
            Ok(0) | Err(_) => {
                FAILED.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(pause);
                pause = (pause * 2).min(RETRY_MOST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_log_has_colours_where_the_terminal_takes_them() {
        let with = |variables: &[(&str, &str)]| {
            takes_colours(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            })
        };
        assert!(with(&[]) && with(&[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!with(&[("TERM", "dumb")]) && !with(&[("TERM", "xterm"), ("NO_COLOR", "1")]));
    }

    #[test]
    fn each_line_of_the_journal_has_its_priority() {
        assert_eq!(journal_lines(Level::Warn, "one\ntwo"), "<4>one\n<4>two\n");
        assert_eq!(journal_lines(Level::Debug, "x"), "<7>x\n");
    }

    #[test]
    fn a_name_makes_up_no_line_and_commands_no_terminal() {
        let name = "eth0\u{1b}[2J\nERROR made up";
        let says = |args: std::fmt::Arguments<'_>| {
            text(&Record::builder().level(Level::Info).args(args).build())
        };
        assert_eq!(says(format_args!("{name} is up")), "eth0\\u{1b}[2J\n    ERROR made up is up");
        assert_eq!(says(format_args!("as it was")), "as it was");
    }

    #[test]
    fn a_full_pipe_blocks_nobody_and_is_reported() {
        let (mut read, mut write) = io::pipe().unwrap();
        let shared = Arc::<Shared>::default();
        let (log, mut entrance) = (Log(Arc::clone(&shared)), Entrance(Arc::clone(&shared)));
        std::thread::spawn(move || drain(&shared, &mut write));
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        let (begin, lines) = (Instant::now(), 3 * BUFFER / line.len());
        let before = lines_lost();
        for _ in 0..lines {
            assert_eq!(entrance.write(&line).unwrap(), line.len());
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        let lost = usize::try_from(lines_lost() - before).unwrap();
        // The buffer was full, and what the thread had taken before and writes may be as much; the pipe takes little.
        assert!(lost > lines / 4, "{lost}");
        // The end waits for a while, and not for ever.
        drop(log);
        let mut entrance = std::thread::spawn(move || {
            // What comes after the report is written again.
            loop {
                if entrance.0.lock().lost == 0 {
                    entrance.write_all(b"the end\n").unwrap();
                    return entrance;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let (mut text, mut some) = (Vec::new(), [0; 4096]);
        while !text.ends_with(b"the end\n") {
            let n = read.read(&mut some).unwrap();
            assert!(n > 0);
            text.extend_from_slice(&some[..n]);
        }
        let text = String::from_utf8(text).unwrap();
        // Once for each time that the buffer was full. The count of the process has what other tests lose, too.
        let reports = text.lines().filter_map(|line| {
            let (count, _) =
                line.strip_prefix('[')?.split_once(" lines of the log were lost here")?;
            count.parse::<usize>().ok()
        });
        let reported: usize = reports.sum();
        assert!(reported > lines / 4 && reported <= lost, "{reported} of {lost}");
        assert_eq!(text.lines().filter(|line| line.starts_with('x')).count(), lines - reported);
        let _ = &mut entrance;
    }

    /// A file on a disk that is full from time to time.
    struct Disk(mpsc::Sender<Vec<u8>>, std::vec::IntoIter<Result<usize, i32>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.1.next().unwrap_or(Ok(usize::MAX));
            let taken = room.map_err(io::Error::from_raw_os_error)?.min(bytes.len());
            self.0.send(bytes[..taken].to_vec()).unwrap();
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_nothing_that_fits_into_the_buffer() {
        let (sender, written) = mpsc::channel();
        let times = vec![Err(libc::ENOSPC), Ok(3), Err(libc::EAGAIN), Ok(0), Err(libc::EINTR)];
        let shared = Arc::<Shared>::default();
        let mut entrance = Entrance(Arc::clone(&shared));
        let before = writes_failed();
        std::thread::spawn(move || drain(&shared, &mut Disk(sender, times.into_iter())));
        entrance.write_all(b"one\n").unwrap();
        entrance.write_all(b"two\n").unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"two\n") {
            text.extend(written.recv_timeout(Duration::from_secs(60)).unwrap());
        }
        assert_eq!(text, b"one\ntwo\n");
        assert_eq!(writes_failed() - before, 2);
    }
}
