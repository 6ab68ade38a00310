//! Who answers at an address, and for how long nobody did.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Error, Host, Namespace, Result, WebServer};

/// How long one probe waits.
const PATIENCE: Duration = Duration::from_millis(200);
/// Pause between two probes.
const PERIOD: Duration = Duration::from_millis(20);

/// `curl` of the web server at an address; the name of the host that answered.
pub fn fetch(from: &Namespace, address: &str) -> Result<String> {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let url = format!("http://{host}:{}/", WebServer::PORT);
    let options = ["--silent", "--show-error", "--fail", "--max-time", "2", &url];
    Ok(from.run("curl", &options)?.trim().to_owned())
}

/// One question of a [`Prober`].
#[derive(Clone, Debug)]
pub struct Sample {
    /// When the answer came, or patience ended.
    pub at: Instant,
    /// The host that answered.
    pub host: Option<String>,
}

/// Asks for the web page at an address all the time, with a new connection each. The neighbour table
/// of the client is left alone: only gratuitous ARP or a neighbour advertisement tells it that the address has moved.
#[derive(Debug)]
pub struct Prober {
    samples: Arc<Mutex<Vec<Sample>>>,
    _worker: Worker,
}

impl Prober {
    /// Starts asking from a host.
    pub fn start(client: &Host, address: &str) -> Result<Self> {
        let target = server(address)?;
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let shared = Arc::clone(&samples);
        // A thread inherits the namespace of the one that makes it.
        let worker = client.namespace().enter(|| {
            Worker::start(move || {
                let host = ask(target);
                let sample = Sample { at: Instant::now(), host };
                shared.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                thread::sleep(PERIOD);
                true
            })
        })?;
        Ok(Self { samples, _worker: worker })
    }

    /// Everything since a moment.
    pub fn samples(&self, since: Instant) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().filter(|sample| sample.at >= since).cloned().collect()
    }

    /// The hosts that answered since a moment, in order, without repetitions.
    pub fn hosts(&self, since: Instant) -> Vec<String> {
        let mut hosts: Vec<_> = self.samples(since).into_iter().filter_map(|s| s.host).collect();
        hosts.dedup();
        hosts
    }

    /// The host that gave the latest answer, if the latest question was answered.
    pub fn now(&self) -> Option<String> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.last()?.host.clone()
    }

    /// The longest time without an answer since a moment: from the last answer before a failed question
    /// (or the moment itself) to the next answer, or until now. Zero when every question was answered.
    pub fn away(&self, since: Instant) -> Duration {
        let mut longest = Duration::ZERO;
        let (mut last, mut failed) = (since, false);
        for sample in self.samples(since) {
            if sample.host.is_none() {
                failed = true;
                longest = longest.max(sample.at - last);
                continue;
            }
            if failed {
                longest = longest.max(sample.at - last);
            }
            (last, failed) = (sample.at, false);
        }
        longest
    }
}

/// A thread that ends with this.
#[derive(Debug)]
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Calls `f` again and again, until it says that this is all.
    fn start(mut f: impl FnMut() -> bool + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || while !stopped.load(Ordering::Relaxed) && f() {});
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends within one call; it does not panic.
            let _ = thread.join();
        }
    }
}

/// The web server at an address.
fn server(address: &str) -> Result<SocketAddr> {
    let address: IpAddr = address
        .parse()
        .map_err(|_| Error::Unexpected(format!("{address} is not an IP address")))?;
    Ok(SocketAddr::from((address, WebServer::PORT)))
}

/// A download that goes on until this is dropped or the connection ends.
#[derive(Debug)]
pub struct Download {
    arrivals: Arc<Mutex<Vec<Instant>>>,
    _worker: Worker,
}

impl Download {
    /// Starts it from a host.
    ///
    /// # Errors
    /// There is no connection to a web server at the address.
    pub fn start(client: &Host, address: &str) -> Result<Self> {
        let target = server(address)?;
        let connected = client.namespace().enter(|| {
            let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(stream, "GET {} HTTP/1.0\r\n\r\n", WebServer::DOWNLOAD)?;
            Ok(stream)
        })?;
        let mut stream = connected.map_err(Error::io(format!("connect to {target}")))?;
        let arrivals = Arc::<Mutex<Vec<Instant>>>::default();
        let shared = Arc::clone(&arrivals);
        let mut buffer = [0; 16 << 10];
        let worker = Worker::start(move || match stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(_) => {
                shared.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        Ok(Self { arrivals, _worker: worker })
    }

    /// Whether something has arrived since a moment.
    pub fn goes_on(&self, since: Instant) -> bool {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.last().is_some_and(|last| *last > since)
    }

    /// The longest time in which nothing arrived, of that after a moment.
    pub fn gap(&self, since: Instant) -> Duration {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = arrivals.windows(2).filter(|pair| pair[1] > since);
        pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

/// One question; `None` when there is no answer in time.
fn ask(target: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().last().map(str::to_owned)
}
