//! The daemon's side of the control socket, on a thread and runtime of its own: a slow or hostile client
//! never delays a timer of the engine.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::api::{Answer, Request, Status};
use crate::io::bpf;
use crate::metrics;

/// Clients served at once; further ones wait in the listen queue.
const MAX_CLIENTS: usize = 32;
/// The longest request in octets.
const MAX_REQUEST: u64 = 4096;
/// How long a client may stay silent, or take to read its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question to the engine's thread, with the place for the answer.
pub type Question = oneshot::Sender<Status>;

/// Binds the socket and serves it from a new thread until the process ends. A socket file that a dead
/// daemon left is replaced: the caller holds the instance's lock.
///
/// # Errors
/// The socket can not be bound, or the thread not started.
pub fn start(socket: &Path, pins: PathBuf) -> io::Result<mpsc::Receiver<Question>> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    let (questions, receiver) = mpsc::channel(16);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        runtime.block_on(async move {
            match UnixListener::from_std(listener) {
                Ok(listener) => accept(&listener, questions, pins.into()).await,
                Err(error) => log::error!("control socket: {error}"),
            }
        });
    })?;
    Ok(receiver)
}

async fn accept(listener: &UnixListener, questions: mpsc::Sender<Question>, pins: Arc<Path>) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (questions, pins) = (questions.clone(), Arc::clone(&pins));
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &questions, &pins).await {
                        log::debug!("control client: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: do not spin.
                log::warn!("control socket: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve(
    mut stream: UnixStream,
    questions: &mpsc::Sender<Question>,
    pins: &Path,
) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut read).take(MAX_REQUEST);
        tokio::time::timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(());
        }
        let complete = line.ends_with(b"\n");
        let answer = if complete {
            answer(&line, questions, pins).await
        } else {
            Answer::Error(format!("a request is one line of at most {MAX_REQUEST} octets"))
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        tokio::time::timeout(PATIENCE, write.write_all(&text)).await??;
        if !complete {
            return Ok(());
        }
    }
}

async fn answer(line: &[u8], questions: &mpsc::Sender<Question>, pins: &Path) -> Answer {
    match serde_json::from_slice::<Request>(line) {
        Ok(Request::Status {}) => {
            let (place, status) = oneshot::channel();
            if questions.send(place).await.is_err() {
                return Answer::Error("the daemon is stopping".to_owned());
            }
            match status.await {
                Ok(status) => Answer::Status(status),
                Err(_) => Answer::Error("the daemon is stopping".to_owned()),
            }
        }
        Ok(Request::Stats {}) => match metrics::collect(pins) {
            Ok(stats) => Answer::Stats(stats),
            Err(error) => Answer::Error(bpf::chain(&error)),
        },
        Err(error) => Answer::Error(format!("bad request: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn talk(request: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        let _questions = start(&socket, dir.path().join("no-pins")).unwrap();
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn bad_requests_get_an_answer_that_says_so() {
        assert!(talk(b"nonsense\n").contains("bad request"));
        assert!(talk(b"\xff\xfe\n").contains("bad request"));
        assert!(talk(&[b'x'; 5000]).contains("at most 4096 octets"));
        assert_eq!(talk(b""), "");
        let two = talk(b"{}\n{\"command\":\"stats\"}\n");
        assert_eq!(two.lines().count(), 2, "{two}");
    }
}
