//! `cargo xtask run`: the story of two hosts and one address in a network of namespaces, or the
//! daemon itself.

mod live;

use std::ffi::OsString;
use std::io::{IsTerminal, Write, stdin, stdout};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use vrrp_tests::story::{ADDRESS, Kind, Off, PRIORITIES, Step, Story};
use vrrp_tests::{Advert, Error, Lab};

use crate::{build, setup};

/// Names the daemon's binary to the root process that `sudo` starts, which must build nothing.
const BINARY: &str = "VRRP_USER_BIN";
/// The step that takes the master away.
const FAILOVER: usize = 2;
/// How often it is said how long a step takes by now.
const TICK: Duration = Duration::from_millis(500);

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Args {
    /// Arguments of `vrrp-user run`, such as `--config FILE`; without any, the story is played in a
    /// network of namespaces
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    daemon: Vec<OsString>,
}

/// Runs the task.
pub fn run(args: Args) -> Result<ExitCode> {
    let root = nix::unistd::geteuid().is_root();
    let binary = match std::env::var_os(BINARY) {
        Some(binary) => PathBuf::from(binary),
        None => {
            if args.daemon.is_empty() {
                setup::setup()?;
            }
            build::daemon(false, None)?
        }
    };
    if !args.daemon.is_empty() {
        let mut command = as_root(root, &binary.into_os_string());
        // Ctrl-C and signals are the daemon's own business from here on.
        let error = command.arg("run").args(args.daemon).exec();
        return Err(error).context("cannot start the daemon");
    }
    if !root {
        let own = std::env::current_exe().context("cannot find the running executable")?;
        let mut variable = OsString::from(format!("{BINARY}="));
        variable.push(binary);
        let mut command = as_root(root, &"env".into());
        let error = command.arg(variable).arg(own).arg("run").exec();
        return Err(error).context("cannot become root");
    }
    vrrp_tests::interrupt_on_signals()?;
    let (passed, sum) = mpsc::channel();
    let played = play(&passed);
    match played {
        Err(Error::Interrupted) => println!("\nInterrupted; everything is removed."),
        Err(error) => bail!("{error}"),
        Ok(()) => println!("Everything is removed."),
    }
    // The last line is what came of it.
    if let Ok(sum) = sum.try_recv() {
        println!("{sum}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The program as root, by sudo if need be.
fn as_root(root: bool, program: &OsString) -> Command {
    if root {
        return Command::new(program);
    }
    println!("This needs root: sudo {}", program.display());
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Plays the story, tells what came of it, and stays up with a live table on a terminal.
fn play(passed: &mpsc::Sender<String>) -> vrrp_tests::Result<()> {
    let terminal = stdout().is_terminal();
    let titles = Story::titles(Off::PowerFails);
    println!(
        "Plays a failover in network namespaces, in {} steps: about half a minute.",
        titles.len()
    );
    println!(
        "Nothing outside of them is touched, and all is removed at the end; Ctrl-C ends it at any time.\n"
    );
    let lab = Lab::new()?;
    let mut story = Story::new(&lab, Kind::VrrpUser, Kind::VrrpUser)?;
    println!("Two hosts on one network share {ADDRESS}, each with a web server on port 81:");
    for (machine, priority) in [&story.a, &story.b].into_iter().zip(PRIORITIES) {
        let (host, kind) = (machine.host(), machine.kind().name());
        println!("  {}  {:<9}  {kind}  priority {priority}", host.name(), host.address());
    }
    println!("A client on the same network asks for the page all the time.\n");
    let (mut steps, mut failover) = (0, Duration::ZERO);
    let mut waiting = Waiting::new(terminal, 1, &titles);
    story.play(Off::PowerFails, |step| {
        waiting.end();
        steps += 1;
        if steps == FAILOVER {
            failover = step.away;
        }
        print_step(steps, titles.len(), step);
        waiting = Waiting::new(terminal, steps + 1, &titles);
    })?;
    let sum = format!("All {steps} steps passed \u{b7} failover {:.1} s", failover.as_secs_f64());
    println!("{sum}");
    // Nobody listens any more when this fails.
    let _ = passed.send(sum);
    if terminal && stdin().is_terminal() {
        story.b.back(Off::PowerFails)?;
        live::stay(&lab, &mut story)?;
    }
    Ok(())
}

/// Says which step is being played, and on a terminal for how long by now.
struct Waiting {
    stop: Option<mpsc::Sender<()>>,
    ticker: Option<thread::JoinHandle<()>>,
}

impl Waiting {
    fn new(terminal: bool, number: usize, titles: &[String]) -> Self {
        let Some(title) = titles.get(number - 1) else {
            return Self { stop: None, ticker: None };
        };
        let line = format!("[{number}/{}] {title} ...", titles.len());
        if !terminal {
            println!("{line}");
            return Self { stop: None, ticker: None };
        }
        let (stop, stopped) = mpsc::channel();
        let ticker = thread::spawn(move || {
            let start = Instant::now();
            loop {
                print!("\r{line} {:.1} s", start.elapsed().as_secs_f64());
                let _ = stdout().flush();
                if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                    // Below comes what the step showed.
                    print!("\r\x1b[K");
                    return;
                }
            }
        });
        Self { stop: Some(stop), ticker: Some(ticker) }
    }

    fn end(&mut self) {
        self.stop = None;
        if let Some(ticker) = self.ticker.take() {
            // It prints, and cannot fail.
            let _ = ticker.join();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

fn print_step(number: usize, of: usize, step: &Step) {
    println!("[{number}/{of}] {}", step.title);
    println!("   curl http://{ADDRESS}:81/ -> {}", step.answered);
    if number > 1 {
        println!("   address away for {:.2} s", step.away.as_secs_f64());
    }
    if !step.adverts.is_empty() {
        println!("   tcpdump on b:");
    }
    // Of equal lines, the first tells it all.
    let what = |advert: &Advert| (advert.source.clone(), advert.priority);
    for same in step.adverts.chunk_by(|one, next| what(one) == what(next)) {
        if let Some(first) = same.first() {
            println!("     {}", first.line);
        }
        if same.len() > 1 {
            println!("     ... and {} more like it", same.len() - 1);
        }
    }
    println!();
}
