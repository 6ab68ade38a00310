//! The command line's side of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::Instance;
use super::api::{Answer, Request};

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read, in octets: some 10,000 routers.
const MAX_ANSWER: u64 = 64 << 20;

/// The daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there.
    #[error(
        "no daemon runs as instance `{instance}` ({path}: {error}); start it with \
         `vrrp-user run --config FILE --instance {instance}`, or name another one with --instance"
    )]
    NotRunning {
        /// Instance.
        instance: Instance,
        /// Its socket.
        path: PathBuf,
        /// Why it could not be reached.
        error: io::Error,
    },
    /// The socket belongs to somebody else.
    #[error("not permitted to ask instance `{0}`: run as root, or with sudo")]
    Permission(Instance),
    /// It did not answer, or not in full.
    #[error("instance `{0}` did not answer: {1}")]
    Silent(Instance, io::Error),
    /// It answered something else than JSON that we know.
    #[error("instance `{0}` answered what this version does not understand: {1}")]
    Garbled(Instance, serde_json::Error),
    /// It refused.
    #[error("instance `{0}`: {1}")]
    Refused(Instance, String),
}

/// Asks a running daemon.
///
/// # Errors
/// [`Error`]; never [`Answer::Error`].
pub fn ask(instance: &Instance, request: Request) -> Result<Answer, Error> {
    let path = instance.socket();
    let stream = UnixStream::connect(&path).map_err(|error| {
        if error.kind() == io::ErrorKind::PermissionDenied {
            Error::Permission(instance.clone())
        } else {
            Error::NotRunning { instance: instance.clone(), path: path.clone(), error }
        }
    })?;
    let line = exchange(&stream, request).map_err(|e| Error::Silent(instance.clone(), e))?;
    match serde_json::from_str(&line).map_err(|e| Error::Garbled(instance.clone(), e))? {
        Answer::Error(message) => Err(Error::Refused(instance.clone(), message)),
        answer @ (Answer::Status(_) | Answer::Stats(_)) => Ok(answer),
    }
}

fn exchange(mut stream: &UnixStream, request: Request) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut text = serde_json::to_string(&request)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_line(&mut line)?;
    if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
}
