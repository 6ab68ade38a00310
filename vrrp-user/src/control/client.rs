//! The command line's side of the control socket.

use std::io::{self, BufRead, BufReader, Read, Take, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::api::error::{ApiError, ErrorKind};
use crate::api::{Answer, Event, Line, Reloaded, Request, RouterDetail, Status, UpgradeReport};
use crate::printable;
use crate::types::instance::Instance;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a reload may take, and those that came before it: files may lie on a slow network.
const RELOAD: Duration = Duration::from_secs(120);
/// The longest line that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// The daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no daemon runs as instance `{instance}` ({path}: {error}); start it with \
         `vrrp-user run --config FILE --instance {instance}`, or name another one with --instance{}",
        that(others)
    )]
    NotRunning {
        instance: Instance,
        path: PathBuf,
        error: io::Error,
        /// Names of the instances that run.
        others: Vec<String>,
    },
    /// The socket belongs to somebody else.
    #[error(
        "not permitted to ask instance `{0}`: run as root or with sudo, or let the daemon give its socket to a \
         group of yours (socket_group)"
    )]
    Permission(Instance),
    #[error("instance `{0}` did not answer: {1}")]
    Silent(Instance, io::Error),
    #[error("instance `{0}` hung up: it stopped, or its answers were not read in time")]
    HungUp(Instance),
    #[error("instance `{0}` answered what this version does not understand: {1}")]
    Garbled(Instance, serde_json::Error),
    #[error("instance `{0}`: {1}")]
    Refused(Instance, ApiError),
}

/// Asks a running daemon. A [`crate::api::Status`] is complete.
/// Errors: [`Error`]; never a [`Line::Error`].
#[allow(clippy::needless_pass_by_value, reason = "a request is made for one question")]
pub fn ask(instance: &Instance, request: Request) -> Result<Answer, Error> {
    let mut connection = Connection::open(instance, &request)?;
    let mut answer = connection.answer()?;
    if let Answer::Status(status) = &mut answer {
        while std::mem::take(&mut status.more) {
            let Answer::Routers(part) = connection.answer()? else { return Err(wrong(instance)) };
            status.routers.extend(part.routers);
            status.more = part.more;
        }
    }
    Ok(answer)
}

/// The state of a running daemon.
pub fn status(instance: &Instance) -> Result<Status, Error> {
    let Answer::Status(status) = ask(instance, Request::Status {})? else {
        return Err(wrong(instance));
    };
    Ok(status)
}

/// Everything about one of its routers, by name or `INTERFACE/VRID`.
pub fn router(instance: &Instance, name: &str) -> Result<RouterDetail, Error> {
    let Answer::Router(detail) = ask(instance, Request::Router { name: name.to_owned() })? else {
        return Err(wrong(instance));
    };
    Ok(*detail)
}

/// Has something done, and says what was.
/// Errors: [`Error`], also when the daemon refuses.
pub fn order(instance: &Instance, request: Request) -> Result<String, Error> {
    let Answer::Done(done) = ask(instance, request)? else { return Err(wrong(instance)) };
    Ok(done)
}

/// Lets a running daemon read its configuration again. With `check` it only says what would change.
/// Errors: [`Error`]. A configuration that is refused is none.
pub fn reload(instance: &Instance, check: bool) -> Result<Reloaded, Error> {
    let mut connection = Connection::open(instance, &Request::Reload { check })?;
    let patience = connection.stream.get_ref().get_ref().set_read_timeout(Some(RELOAD));
    patience.map_err(|error| Error::Silent(instance.clone(), error))?;
    let Answer::Reloaded(reloaded) = connection.answer()? else { return Err(wrong(instance)) };
    Ok(*reloaded)
}

/// A daemon that was asked to let another program take its place.
pub struct Asked {
    /// What it has said to that.
    pub report: UpgradeReport,
    connection: Connection,
}

impl Asked {
    /// Waits until the other program takes over.
    ///
    /// # Errors
    /// It does not.
    pub fn wait(&mut self) -> Result<(), Error> {
        match self.connection.answer() {
            Err(Error::HungUp(_)) => Ok(()),
            Ok(_) => Err(wrong(&self.connection.instance)),
            Err(error) => Err(error),
        }
    }
}

/// Lets another program take the place of that of a running daemon. With `check` it only says whether it could.
///
/// # Errors
/// [`Error`]. A program that is refused is none.
pub fn upgrade(instance: &Instance, binary: &Path, check: bool) -> Result<Asked, Error> {
    let binary = binary.display().to_string();
    let mut connection = Connection::open(instance, &Request::Upgrade { binary, check })?;
    let patience = connection.stream.get_ref().get_ref().set_read_timeout(Some(RELOAD));
    patience.map_err(|error| Error::Silent(instance.clone(), error))?;
    let Answer::Upgrade(report) = connection.answer()? else { return Err(wrong(instance)) };
    Ok(Asked { report: *report, connection })
}

/// What comes from [`follow`].
#[derive(Clone, Debug, PartialEq)]
pub enum Streamed {
    /// Something happened.
    Event(Box<Event>),
    /// So many events were overwritten in the daemon before they could be sent.
    Lost(u64),
}

/// The events of a running daemon: what it knows already, and if `goes_on`, what happens then. That ends, with an error,
/// when the daemon does.
/// Errors: [`Error`]; each item can be one as well.
pub fn follow(
    instance: &Instance,
    since: Option<Duration>,
    name: Option<String>,
    goes_on: bool,
) -> Result<impl Iterator<Item = Result<Streamed, Error>>, Error> {
    let since_ms = since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let mut connection = Connection::open(instance, &Request::Events { since_ms, name })?;
    let stream = connection.stream.get_ref().get_ref();
    let set = if goes_on {
        // Nothing may happen for years.
        stream.set_read_timeout(None)
    } else {
        // The daemon ends the stream when it would wait, and sees that nobody does.
        stream.shutdown(Shutdown::Write)
    };
    set.map_err(|error| Error::Silent(instance.clone(), error))?;
    let mut ended = false;
    Ok(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let next = match connection.answer() {
            Ok(Answer::Event(event)) => Ok(Streamed::Event(Box::new(event))),
            Ok(Answer::Lost { events }) => Ok(Streamed::Lost(events)),
            Ok(_) => Err(wrong(&connection.instance)),
            Err(Error::HungUp(_)) if !goes_on => {
                ended = true;
                return None;
            }
            Err(error) => Err(error),
        };
        ended = next.is_err();
        Some(next)
    }))
}

/// An answer to something else than what was asked.
pub fn wrong(instance: &Instance) -> Error {
    Error::Refused(instance.clone(), ErrorKind::BadRequest.because("wrong answer"))
}

/// An answer, with nothing in it that would command the terminal on which it is shown.
fn understood(line: &str) -> Result<Line, serde_json::Error> {
    // In JSON, control characters are escaped, or stand there as they are.
    if !line.trim_end().contains(|c: char| c == '\\' || c.is_control()) {
        return Line::parse(line);
    }
    let mut value = serde_json::from_str(line)?;
    printable::json(&mut value);
    Line::from_value(value)
}

/// The instances that run on this machine, as far as one may look.
fn running(instance: &Instance) -> Vec<String> {
    let runtime = instance.runtime_dir();
    let all = runtime.parent().and_then(|all| all.read_dir().ok()).into_iter().flatten().flatten();
    let runs = all.filter(|entry| UnixStream::connect(entry.path().join("control.sock")).is_ok());
    let mut names: Vec<String> =
        runs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn that(run: &[String]) -> String {
    if run.is_empty() { String::new() } else { format!(": {}", run.join(", ")) }
}

/// A connection on which something was asked.
struct Connection {
    instance: Instance,
    stream: BufReader<Take<UnixStream>>,
}

impl Connection {
    fn open(instance: &Instance, request: &Request) -> Result<Self, Error> {
        let path = instance.socket();
        let stream = UnixStream::connect(&path).map_err(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                Error::Permission(instance.clone())
            } else {
                let others = running(instance);
                Error::NotRunning { instance: instance.clone(), path, error, others }
            }
        })?;
        let silent = |error: io::Error| Error::Silent(instance.clone(), error);
        Self::send(&stream, request).map_err(silent)?;
        Ok(Self { instance: instance.clone(), stream: BufReader::new(stream.take(MAX_ANSWER)) })
    }

    fn send(mut stream: &UnixStream, request: &Request) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        stream.write_all(&text)
    }

    /// The next line.
    fn answer(&mut self) -> Result<Answer, Error> {
        self.stream.get_mut().set_limit(MAX_ANSWER);
        let mut line = String::new();
        let silent = |error| Error::Silent(self.instance.clone(), error);
        match self.stream.read_line(&mut line) {
            Ok(0) => Err(Error::HungUp(self.instance.clone())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(Error::HungUp(self.instance.clone()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(silent(io::ErrorKind::TimedOut.into()))
            }
            Err(error) => Err(silent(error)),
            Ok(_) => match understood(&line) {
                Ok(Line::Error(error)) => Err(Error::Refused(self.instance.clone(), error)),
                Ok(Line::Answer(answer)) => Ok(answer),
                Err(error) => Err(Error::Garbled(self.instance.clone(), error)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_commands_no_terminal() {
        let plain = understood("{\"done\":\"é\"}\n").unwrap();
        assert!(matches!(plain, Line::Answer(Answer::Done(done)) if done == "é"));
        for hostile in ["\\u001b[2J", "\u{9b}2J"] {
            let answer = understood(&format!("{{\"done\":\"{hostile}\"}}\n")).unwrap();
            let Line::Answer(Answer::Done(done)) = answer else { panic!("{answer:?}") };
            assert!(!done.contains(char::is_control) && done.contains("2J"), "{done}");
            let error =
                understood(&format!("{{\"error\":\"{hostile}\",\"cause\":\"busy\"}}\n")).unwrap();
            let Line::Error(ApiError { error, cause }) = error else { panic!("{error:?}") };
            assert!(!error.contains(char::is_control) && cause == "busy", "{error}");
        }
    }
}
