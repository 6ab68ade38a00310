//! Serves metrics over HTTP from a thread and runtime of its own, which reads the shared maps: nothing that a
//! scraper does can delay the engine, which is only asked now and then, and in small parts, what is wrong.
//!
//! What is hard, reading a request's head, is `httparse`'s; docs/architecture.md says why not more. Every connection is good
//! for one request.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout};

use super::openmetrics::{Format, LeftOut, Snapshot};
use crate::api::problem::ProblemCounts;
use crate::config::model::Listen;
use crate::io::bpf::{self, Maps};
use crate::io::client_slots::{ClientSlot, ClientSlots, Lost};
use crate::io::scripts::Board;
use crate::io::socket_file::SocketFile;
use crate::io::threads;

/// Connections at once; a further one takes the place of the one that has been idle longest.
const MAX_CLIENTS: usize = 32;
/// How many of them may hold an answer, some 10 MiB with 4,000 routers; likewise.
const MAX_ANSWERS: usize = 4;
/// What of an answer is written at a time: who takes that is not idle.
const PART: usize = 64 << 10;
/// The longest head of a request in bytes.
const MAX_HEAD: usize = 8192;
/// Header fields in it.
const MAX_FIELDS: usize = 64;
/// How long a client may take to send its request, and then to take its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the engine's thread may take to say what is wrong with some routers: it has more urgent things to do.
const ANSWER: Duration = Duration::from_millis(500);
/// For how long that is told to others who scrape: however often they do, the engine's thread is asked no more often.
const BELIEVED: Duration = Duration::from_secs(5);
/// After a failure to listen, until the next attempt: the address may be on its way.
const RETRY: Duration = Duration::from_secs(5);
/// After a connection could not be accepted, or the socket was deleted.
const PAUSE: Duration = Duration::from_secs(1);
/// The resource.
const PATH: &str = "/metrics";

vrrp_common::counters! {
    /// What became of a request, or kept one from being made.
    pub enum Outcome {
        /// The metrics were written.
        Served = "served",
        /// It was no HTTP request.
        Malformed = "malformed",
        /// Its head was too long, or had too many fields.
        TooLong = "too_long",
        /// Where the metrics are was written.
        Index = "index",
        /// What was to be left out is not known.
        BadQuery = "bad_query",
        /// Another resource.
        NotFound = "not_found",
        /// Another method than GET and HEAD.
        Method = "method",
        /// It did not come, or the answer was not taken, in time.
        Timeout = "timeout",
        /// It was idle longest when another one wanted its place.
        Displaced = "displaced",
        /// The socket was deleted by somebody, and is made again.
        SocketDeleted = "socket_deleted",
        /// The client went away.
        Aborted = "aborted",
        /// The maps could not be read.
        Unreadable = "unreadable",
        /// The address could not be listened at.
        NotListening = "not_listening",
        /// A connection could not be accepted.
        NotAccepted = "not_accepted",
    }
}

/// Asks how many problems there are after so many routers; `None` where nobody can be asked now.
pub type AskProblems = Arc<dyn Fn(usize) -> Option<oneshot::Receiver<ProblemCounts>> + Send + Sync>;

/// How many there are, by identifier; `None` where nobody had time to say so.
type Problems = Option<BTreeMap<&'static str, u64>>;

/// Where metrics come from.
pub struct Sources {
    /// What is counted.
    pub maps: Maps,
    /// What is known of scripts.
    pub board: Arc<Board>,
    /// What is wrong.
    pub problems: AskProblems,
}

/// What all connections share.
struct Shared {
    sources: Sources,
    /// What was said last to be wrong, and when.
    problems: Mutex<Option<(Instant, Problems)>>,
    connections: Arc<ClientSlots>,
    answers: Arc<ClientSlots>,
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

impl Shared {
    fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let all = Outcome::ALL.iter();
        all.map(|(o, name)| (*name, self.outcomes[*o as usize].load(Ordering::Relaxed))).collect()
    }
}

/// A server that runs.
pub struct Server {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Lets it end, and start another one in its place as soon as its address is free.
    fn stop(self) -> JoinHandle<()> {
        // It waits for the sender's end.
        drop(self.stop);
        self.thread
    }
}

/// Serves the maps from a new thread, after the server `before` has ended. An address at
/// which it cannot listen is logged and tried again: metrics are no reason not to run. Without an address, `before`
/// only ends.
pub fn start(
    listen: Option<Listen>,
    sources: Sources,
    before: Option<Server>,
) -> io::Result<Option<Server>> {
    let before = before.map(Server::stop);
    let Some(listen) = listen else { return Ok(None) };
    let shared = Arc::new(Shared {
        sources,
        problems: Mutex::default(),
        connections: ClientSlots::new(MAX_CLIENTS),
        answers: ClientSlots::new(MAX_ANSWERS),
        outcomes: Default::default(),
    });
    let (stop, stopped) = oneshot::channel();
    let thread = threads::with_runtime("metrics", move |runtime| {
        // A thread that panicked has ended as well.
        let _ = before.map(JoinHandle::join);
        runtime.block_on(async {
            tokio::select! {
                () = serve(&listen, &shared) => {}
                _ = stopped => tidy(&listen),
            }
        });
    })?;
    Ok(Some(Server { stop, thread }))
}

/// Removes the socket file, if there is one.
pub fn tidy(listen: &Listen) {
    match listen {
        Listen::Tcp(_) => {}
        Listen::Unix(path) => {
            if is_socket(path) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => match TcpListener::bind(address).await {
                // All addresses, of a host without IPv6.
                Err(error) if is_without_ipv6(&error) && address.ip() == Ipv6Addr::UNSPECIFIED => {
                    let address = (Ipv4Addr::UNSPECIFIED, address.port());
                    TcpListener::bind(address).await.map(Self::Tcp)
                }
                bound => bound.map(Self::Tcp),
            },
            Listen::Unix(path) => Ok(Self::Unix(unix(path)?, SocketFile::new(path)?)),
        }
    }

    /// Hands connections to tasks of their own, as long as there can be any.
    async fn accept(&self, shared: &Arc<Shared>) {
        match self {
            Self::Tcp(listener) => loop {
                let accepted = listener.accept().await;
                begin(accepted.map(|(stream, _)| stream), shared).await;
            },
            Self::Unix(listener, file) => loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        begin(accepted.map(|(stream, _)| stream), shared).await;
                    }
                    () = file.removed() => return,
                }
            },
        }
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Whoever connects is accepted before there is a place: those in the queue that say nothing would keep others out.
async fn begin(
    accepted: io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    shared: &Arc<Shared>,
) {
    match accepted {
        Ok(stream) => {
            let place = shared.connections.take().await;
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                let outcome = converse(stream, &place, &shared).await.unwrap_or(Outcome::Displaced);
                shared.count(outcome);
            });
        }
        Err(error) => {
            // Out of descriptors, most likely: do not spin.
            shared.count(Outcome::NotAccepted);
            log::warn!("metrics: {error}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// In the place of a socket file that a dead daemon left, but of nothing else.
fn unix(path: &Path) -> io::Result<UnixListener> {
    if is_socket(path) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

async fn serve(listen: &Listen, shared: &Arc<Shared>) {
    let mut complained = false;
    loop {
        match Listener::bind(listen).await {
            Ok(listener) => {
                match listen {
                    Listen::Tcp(address) => log::info!("metrics: http://{address}{PATH}"),
                    Listen::Unix(path) => {
                        log::info!("metrics: {PATH} on socket {}", path.display());
                    }
                }
                complained = false;
                listener.accept(shared).await;
                shared.count(Outcome::SocketDeleted);
                log::warn!("metrics: {listen} was deleted by somebody: making it again");
                // Whoever deletes a directory shall have the time to finish that.
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                shared.count(Outcome::NotListening);
                if !std::mem::replace(&mut complained, true) {
                    log::error!(
                        "metrics: cannot listen at {listen}: {error}; trying again every {} s",
                        RETRY.as_secs()
                    );
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// One request and its answer.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    slot: &ClientSlot,
    shared: &Shared,
) -> Result<Outcome, Lost> {
    let request = slot.wait_for(timeout(PATIENCE, head(&mut stream))).await?;
    let request = request.unwrap_or(Request::bad(Outcome::Timeout));
    let problems = problems(&shared.sources.problems, &shared.problems);
    // From here on it is waited for in this slot only.
    let slot = shared.answers.take().await;
    let (mut answer, outcome) = match request.wanted {
        Ok(Resource::Metrics(view)) => match page(shared, view, problems.await) {
            Ok(text) => (served(view, &text), Outcome::Served),
            Err(error) => {
                log::warn!("metrics: {}", bpf::chain(&error));
                let text = format!("{}\n", bpf::chain(&error));
                (
                    response("503 Service Unavailable", PLAIN, "", text.as_bytes()),
                    Outcome::Unreadable,
                )
            }
        },
        Ok(Resource::Index) => (response("200 OK", PLAIN, "", INDEX.as_bytes()), Outcome::Index),
        Err(outcome) => (refusal(outcome), outcome),
    };
    if request.only_head
        && let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")
    {
        answer.truncate(end + 4);
    }
    let written = timeout(PATIENCE, async {
        for part in answer.chunks(PART) {
            slot.wait_for(stream.write_all(part)).await??;
        }
        slot.wait_for(stream.shutdown()).await??;
        Ok(())
    });
    match written.await {
        Ok(Ok(())) => Ok(outcome),
        Ok(Err(End::Displaced(lost))) => Err(lost),
        Ok(Err(End::Broken(_))) => Ok(Outcome::Aborted),
        Err(_) => Ok(Outcome::Timeout),
    }
}

/// Why an answer is not written to its end.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Displaced(#[from] Lost),
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// What is wrong, or was a moment ago. Who asks meanwhile waits for the same answer.
async fn problems(ask: &AskProblems, said: &Mutex<Option<(Instant, Problems)>>) -> Problems {
    let mut said = said.lock().await;
    match &*said {
        Some((at, problems)) if at.elapsed() < BELIEVED => problems.clone(),
        Some(_) | None => {
            let problems = ask_problems(ask).await;
            *said = Some((Instant::now(), problems.clone()));
            problems
        }
    }
}

/// From the engine's thread, in parts.
async fn ask_problems(ask: &AskProblems) -> Problems {
    let (mut counts, mut routers) = (BTreeMap::new(), 0);
    loop {
        let part = timeout(ANSWER, ask(routers)?).await.ok()?.ok()?;
        for (cause, count) in part.counts {
            *counts.entry(cause).or_default() += count;
        }
        routers += part.routers;
        if !part.more {
            return Some(counts);
        }
    }
}

fn page(shared: &Shared, view: View, problems: Problems) -> Result<String, bpf::Error> {
    let Sources { maps, board, .. } = &shared.sources;
    let snapshot = Snapshot::take(&maps.reader()?, shared.outcomes())?;
    let snapshot = snapshot.with_scripts(board).with_problems(problems);
    // Writing into memory does not fail.
    Ok(snapshot.without(view.left_out).write(view.format).unwrap_or_default())
}

/// The metrics, compressed where that is wanted: thousands of series have names that are nearly the same.
fn served(view: View, text: &str) -> Vec<u8> {
    let kind = view.format.content_type();
    let compressed = view.gzip.then(|| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish())
    });
    match compressed {
        Some(Ok(body)) => {
            let more = "Content-Encoding: gzip\r\nVary: Accept, Accept-Encoding\r\n";
            response("200 OK", kind, more, &body)
        }
        // Memory takes everything.
        Some(Err(_)) | None => {
            response("200 OK", kind, "Vary: Accept, Accept-Encoding\r\n", text.as_bytes())
        }
    }
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    /// What else there is.
    Index,
    Metrics(View),
}

/// The metrics as they are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View {
    format: Format,
    gzip: bool,
    left_out: LeftOut,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    /// What is to be written, or why there is nothing.
    wanted: Result<Resource, Outcome>,
    /// Only what the head of the answer would be (RFC 9110 section 9.3.2).
    only_head: bool,
}

impl Request {
    fn bad(outcome: Outcome) -> Self {
        Self { wanted: Err(outcome), only_head: false }
    }
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Request {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 1024];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return Request::bad(Outcome::Aborted),
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
        if let Some(understood) = understand(&bytes) {
            return understood;
        }
        if bytes.len() > MAX_HEAD {
            return Request::bad(Outcome::TooLong);
        }
    }
}

/// `None` while the head is incomplete.
fn understand(bytes: &[u8]) -> Option<Request> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Some(Request::bad(Outcome::TooLong)),
        Err(
            httparse::Error::HeaderName
            | httparse::Error::HeaderValue
            | httparse::Error::NewLine
            | httparse::Error::Status
            | httparse::Error::Token
            | httparse::Error::Version,
        ) => return Some(Request::bad(Outcome::Malformed)),
    }
    let (path, query) = match request.path.unwrap_or_default().split_once('?') {
        Some((path, query)) => (path, query),
        None => (request.path.unwrap_or_default(), ""),
    };
    let field = |name: &str| {
        let fields = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        fields.map(|field| String::from_utf8_lossy(field.value).into_owned()).collect::<Vec<_>>()
    };
    let open = field("accept").iter().any(|value| value.contains("application/openmetrics-text"));
    let view = left_out(query).map(|left_out| View {
        format: if open { Format::OpenMetrics } else { Format::Classic },
        gzip: field("accept-encoding").iter().any(|value| takes_gzip(value)),
        left_out,
    });
    let wanted = match (path, request.method) {
        (PATH, Some("GET" | "HEAD")) => view.map(Resource::Metrics).ok_or(Outcome::BadQuery),
        ("/", Some("GET" | "HEAD")) => Ok(Resource::Index),
        (PATH | "/", _) => Err(Outcome::Method),
        _ => Err(Outcome::NotFound),
    };
    Some(Request { wanted, only_head: request.method == Some("HEAD") })
}

/// What `without=peers,addresses` in a query leaves out. Other keys say nothing to us, and some proxies add one.
/// `None` where a value is not known.
fn left_out(query: &str) -> Option<LeftOut> {
    let mut left_out = LeftOut::default();
    let values = query.split('&').filter_map(|pair| pair.strip_prefix("without="));
    for value in values.flat_map(|values| values.split(',').flat_map(|value| value.split("%2C"))) {
        match value {
            "peers" => left_out.peers = true,
            "addresses" => left_out.addresses = true,
            "" => {}
            _ => return None,
        }
    }
    Some(left_out)
}

/// Whether an `Accept-Encoding` permits gzip (RFC 9110 section 12.5.3).
fn takes_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.unwrap_or(1.0) > 0.0
    })
}

/// What `/` says.
const INDEX: &str = concat!(
    "vrrp-user ",
    env!("CARGO_PKG_VERSION"),
    ", VRRP daemon\n\
     /metrics                          counters and states, for Prometheus\n\
     /metrics?without=peers,addresses  the same without series of each peer and each address\n"
);

const PLAIN: &str = "text/plain; charset=utf-8";

/// What a client is told whose request was not carried out. Nothing where nobody listens.
fn refusal(outcome: Outcome) -> Vec<u8> {
    let (status, more, text) = match outcome {
        Outcome::Malformed => ("400 Bad Request", "", "this is no HTTP request\n"),
        Outcome::TooLong => {
            ("431 Request Header Fields Too Large", "", "the head of the request is too long\n")
        }
        Outcome::BadQuery => {
            ("400 Bad Request", "", "`without` takes peers and addresses, with a comma between\n")
        }
        Outcome::NotFound => ("404 Not Found", "", "metrics are at /metrics\n"),
        Outcome::Method => {
            ("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "GET and HEAD only\n")
        }
        Outcome::Timeout => ("408 Request Timeout", "", "the request did not come in time\n"),
        Outcome::Served
        | Outcome::Index
        | Outcome::Displaced
        | Outcome::SocketDeleted
        | Outcome::Aborted
        | Outcome::Unreadable
        | Outcome::NotListening
        | Outcome::NotAccepted => return Vec::new(),
    };
    response(status, PLAIN, more, text.as_bytes())
}

fn response(status: &str, content_type: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{more}\
         Connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use std::thread;

    use super::*;

    #[test]
    fn only_this_request_is_understood() {
        let understood = |text: &str| Some(understand(text.as_bytes())?.wanted);
        let get = "GET /metrics HTTP/1.1\r\nHost: a\r\n";
        assert_eq!(understood(get), None);
        let plain = View { format: Format::Classic, gzip: false, left_out: LeftOut::default() };
        let classic = Resource::Metrics(plain);
        assert_eq!(understood(&format!("{get}\r\n")), Some(Ok(classic)));
        let accept = "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
        let open = Resource::Metrics(View { format: Format::OpenMetrics, ..plain });
        assert_eq!(understood(&format!("{get}{accept}\r\n")), Some(Ok(open)));
        let zipped = Resource::Metrics(View { gzip: true, ..plain });
        let encoding = "accept-encoding: deflate, gzip;q=0.5\r\n";
        assert_eq!(understood(&format!("{get}{encoding}\r\n")), Some(Ok(zipped)));
        let lean =
            Resource::Metrics(View { left_out: LeftOut { peers: true, addresses: true }, ..plain });
        for query in [
            "without=peers,addresses", "x=1&without=peers&without=addresses",
            "without=peers%2Caddresses",
        ] {
            let request = format!("GET /metrics?{query} HTTP/1.1\r\n\r\n");
            assert_eq!(understood(&request), Some(Ok(lean)), "{query}");
        }
        let wrong = "GET /metrics?without=routers HTTP/1.1\r\n\r\n";
        assert_eq!(understood(wrong), Some(Err(Outcome::BadQuery)));
        assert_eq!(understood("GET /metrics?x=1 HTTP/1.0\r\n\r\n"), Some(Ok(classic)));
        assert_eq!(understood("GET / HTTP/1.1\r\n\r\n"), Some(Ok(Resource::Index)));
        assert_eq!(understood("GET /other HTTP/1.1\r\n\r\n"), Some(Err(Outcome::NotFound)));
        assert_eq!(understood("POST / HTTP/1.1\r\n\r\n"), Some(Err(Outcome::Method)));
        assert_eq!(understood("POST /metrics HTTP/1.1\r\n\r\n"), Some(Err(Outcome::Method)));
        assert_eq!(understood("GET /metrics\x01 HTTP/1.1\r\n"), Some(Err(Outcome::Malformed)));
        let many = format!("{get}{}\r\n", "a: b\r\n".repeat(MAX_FIELDS));
        assert_eq!(understood(&many), Some(Err(Outcome::TooLong)));
    }

    #[test]
    fn who_takes_gzip_gets_it() {
        for (value, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.1", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(value), takes, "{value}");
        }
        let text = "vrrp_router_state{router=\"VI_1\"} 2\n".repeat(4000);
        let view = |gzip| View { format: Format::Classic, gzip, left_out: LeftOut::default() };
        let (plain, zipped) = (served(view(false), &text), served(view(true), &text));
        assert!(plain.len() > text.len() && zipped.len() < text.len() / 20, "{}", zipped.len());
        let at = zipped.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        assert!(String::from_utf8_lossy(&zipped[..at]).contains("Content-Encoding: gzip\r\n"));
        let mut read = String::new();
        flate2::read::GzDecoder::new(&zipped[at..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
    }

    fn talk(socket: &Path, request: &[u8]) -> String {
        let mut stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Without maps, and with nobody to ask.
    fn sources(dir: &Path) -> Sources {
        let maps = dir.join("no-pins").into();
        Sources { maps, board: Arc::default(), problems: Arc::new(|_| None) }
    }

    #[tokio::test]
    async fn problems_are_asked_for_in_parts_and_not_waited_for_long() {
        let ask: AskProblems = Arc::new(|begin| {
            let (answer, answered) = oneshot::channel();
            let counts = [("no-fence", 1), ("no-pins", u64::from(begin == 0))].into();
            answer.send(ProblemCounts { counts, routers: 64, more: begin < 128 }).ok()?;
            Some(answered)
        });
        let expected: Problems = Some([("no-fence", 3), ("no-pins", 1)].into());
        let said = Mutex::default();
        assert_eq!(problems(&ask, &said).await, expected);
        let nobody = sources(Path::new("/")).problems;
        assert_eq!(problems(&nobody, &said).await, expected, "nobody is asked twice in a moment");

        let silent = std::sync::Mutex::new(Vec::new());
        let ask: AskProblems = Arc::new(move |_| {
            let (answer, answered) = oneshot::channel::<ProblemCounts>();
            silent.lock().unwrap().push(answer);
            Some(answered)
        });
        assert_eq!(problems(&ask, &Mutex::default()).await, None);
        assert_eq!(problems(&nobody, &Mutex::default()).await, None);
    }

    #[test]
    fn every_request_gets_its_answer() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("metrics.sock");
        // A dead daemon's.
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let listen = Some(Listen::Unix(socket.clone()));
        let server = start(listen, sources(dir.path()), None).unwrap();
        for (request, status) in [
            (&b"GET /metrics HTTP/1.1\r\n\r\n"[..], "503 "),
            (b"GET /metrics/ HTTP/1.1\r\n\r\n", "404 "),
            (b"PUT /metrics HTTP/1.1\r\n\r\n", "405 "),
            (b"HEAD /metrics HTTP/1.1\r\n\r\n", "503 "),
            (b"GET / HTTP/1.1\r\n\r\n", "200 "),
            (b"HEAD / HTTP/1.1\r\n\r\n", "200 "),
            (b"HEAD /x HTTP/1.1\r\n\r\n", "404 "),
            (b"\x00\x01\x02\r\n\r\n", "400 "),
            (&[b'x'; MAX_HEAD + 1], "431 "),
        ] {
            let answer = talk(&socket, request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.unwrap().parse().unwrap();
            assert!(length > 0, "{answer}");
            let sent = if request.starts_with(b"HEAD") { 0 } else { length };
            assert_eq!(body.len(), sent, "{answer}");
        }
        assert_eq!(unix(&socket).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // Another one takes its place, here at the same address.
        let listen = Some(Listen::Unix(socket.clone()));
        let server = start(listen, sources(dir.path()), server).unwrap();
        let another = dir.path().join("another.sock");
        let listen = Some(Listen::Unix(another.clone()));
        let server = start(listen, sources(dir.path()), server).unwrap();
        for _ in 0..500 {
            if another.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert!(talk(&another, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 "));
        assert!(!socket.exists());
        let thread = server.unwrap().stop();
        thread.join().unwrap();
        assert!(!another.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("precious");
        fs::write(&file, "x").unwrap();
        unix(&file).unwrap_err();
        tidy(&Listen::Unix(file.clone()));
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
    }

    #[test]
    fn idle_connections_lock_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("metrics.sock");
        let listen = Some(Listen::Unix(socket.clone()));
        let server = start(listen, sources(dir.path()), None).unwrap();
        let request = b"GET /metrics HTTP/1.1\r\n\r\n";
        assert!(talk(&socket, request).starts_with("HTTP/1.1 503 "));
        let mut idle: Vec<_> =
            (0..8 * MAX_CLIENTS).map(|_| UnixStream::connect(&socket).unwrap()).collect();
        assert!(talk(&socket, request).starts_with("HTTP/1.1 503 "));
        let mut last = idle.pop().unwrap();
        last.set_nonblocking(true).unwrap();
        assert_eq!(last.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(idle[0].read(&mut [0]).unwrap(), 0);
        // A socket that was deleted is made again.
        fs::remove_file(&socket).unwrap();
        assert!(talk(&socket, request).starts_with("HTTP/1.1 503 "));
        server.unwrap().stop().join().unwrap();
    }
}
