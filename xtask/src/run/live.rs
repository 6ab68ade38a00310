//! The live view at the end of the story: who is what, once a second, and keys with which things go wrong.

use std::io::{Read, Write, stdin, stdout};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use vrrp_tests::story::{Machine, Off, Story};
use vrrp_tests::{Error, Lab, Result, VrrpUser};

/// Period of the live table.
const REFRESH: Duration = Duration::from_secs(1);

/// The terminal, with another screen and without waiting for whole lines. What was there before comes back with its end.
struct Screen {
    before: Termios,
}

impl Screen {
    fn enter() -> Result<Self> {
        let before = tcgetattr(stdin()).map_err(|error| failed("read the terminal", error))?;
        let screen = Self { before };
        screen.resume()?;
        Ok(screen)
    }

    fn resume(&self) -> Result<()> {
        let mut raw = self.before.clone();
        raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 0;
        // Tenths of a second that reading waits.
        raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 1;
        tcsetattr(stdin(), SetArg::TCSANOW, &raw)
            .map_err(|error| failed("change the terminal", error))?;
        write("\x1b[?1049h\x1b[?25l")
    }

    fn suspend(&self) -> Result<()> {
        let restored = tcsetattr(stdin(), SetArg::TCSANOW, &self.before);
        write("\x1b[?25h\x1b[?1049l")?;
        restored.map_err(|error| failed("change the terminal", error))
    }

    /// The next key, if one comes within a moment.
    fn key() -> Result<Option<u8>> {
        let mut key = [0];
        match stdin().read(&mut key) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(key[0])),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(Error::io("read the terminal")(error)),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may have gone.
        let _ = self.suspend();
    }
}

fn failed(what: &'static str, error: nix::Error) -> Error {
    Error::io(what)(error.into())
}

fn write(text: &str) -> Result<()> {
    let mut stdout = stdout();
    // A terminal that has gone away ends it as well: this fails, or SIGHUP comes.
    let done = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    done.map_err(Error::io("write the table"))
}

/// Shows who is what every second, until somebody has enough.
/// Errors: Ctrl-C, or the terminal or the lab is gone.
pub fn stay(lab: &Lab, story: &mut Story) -> Result<()> {
    let screen = Screen::enter()?;
    let mut live = Live { lab, story, blocked: false, said: String::new() };
    loop {
        let text = live.text()?.replace('\n', "\x1b[K\r\n");
        write(&format!("\x1b[H{text}\x1b[J"))?;
        let start = Instant::now();
        while start.elapsed() < REFRESH {
            vrrp_tests::pause(Duration::from_millis(1))?;
            match Screen::key()? {
                None => continue,
                Some(b'q') => return Ok(()),
                Some(b't') => {
                    screen.suspend()?;
                    live.said = live.top();
                    screen.resume()?;
                }
                Some(key) => live.press(key)?,
            }
            break;
        }
    }
}

/// What is shown, and what keys change.
struct Live<'a> {
    lab: &'a Lab,
    story: &'a mut Story,
    blocked: bool,
    /// What came of the last key.
    said: String,
}

impl Live<'_> {
    fn text(&mut self) -> Result<String> {
        let mut text = format!(
            "{:<5} {:<10} {:<7} {:>8} {:>8}  {}\n",
            "HOST", "DAEMON", "STATE", "RECEIVED", "SENT", "ADDRESSES"
        );
        for machine in [&mut self.story.a, &mut self.story.b] {
            text += &row(machine)?;
        }
        let answers = self.story.prober.now();
        let answers = answers.map_or("nobody".to_owned(), |host| format!("host {host}"));
        text += &format!("\nThe client's page comes from {answers}.\n{}\n\n", self.said);
        text += "k kill the daemon on a   r start it again   p ";
        text +=
            if self.blocked { "let protocol 112 pass" } else { "block protocol 112 between them" };
        text += "   t top   q quit\n\nFrom another terminal:\n";
        let [a, b] = [&self.story.a, &self.story.b]
            .map(|machine| machine.host().namespace().name().to_owned());
        text += &format!("  nsenter --net=/run/netns/{b} tcpdump -n -i eth0 proto 112\n");
        let instance = VrrpUser::instance(self.story.a.host());
        let (binary, bpffs) = (VrrpUser::binary()?, self.lab.bpffs());
        let (binary, bpffs) = (binary.display(), bpffs.display());
        text += &format!("  {binary} status --instance {instance}\n");
        text += &format!("  {binary} stats --instance {instance} --bpffs {bpffs}\n");
        text += &format!("  nsenter --net=/run/netns/{a} bash\n");
        Ok(text)
    }

    fn press(&mut self, key: u8) -> Result<()> {
        match key {
            b'k' => {
                if let Some(daemon) = self.story.a.daemon() {
                    daemon.kill()?;
                }
                self.said = "The daemon on a was killed: its kernel side stops answering, and b takes over.".into();
            }
            b'r' => {
                if let Some(daemon) = self.story.a.daemon() {
                    // It may have been killed.
                    let _ = daemon.stop();
                }
                self.story.a.back(Off::DaemonStops)?;
                self.said = "The daemon on a is started again.".into();
            }
            b'p' => {
                if self.blocked {
                    self.lab.unblock_vrrp()?;
                } else {
                    self.lab.block_vrrp(&[])?;
                }
                self.blocked = !self.blocked;
                self.said = if self.blocked {
                    "Neither hears the other: both are master, and `status` says `split brain`."
                } else {
                    "They hear each other again."
                }
                .into();
            }
            _ => {}
        }
        Ok(())
    }

    /// `vrrp-user top` of the first host, until it ends. What went wrong, if anything.
    fn top(&mut self) -> String {
        let run = || -> Result<()> {
            let mut command = VrrpUser::command(self.story.a.host(), "top")?;
            // One of another group would be stopped as soon as it reads from the terminal.
            command.process_group(nix::unistd::getpgrp().as_raw());
            let status = command.status().map_err(Error::io("run top"))?;
            if status.success() { Ok(()) } else { Err(Error::Unexpected(format!("top: {status}"))) }
        };
        run().err().map(|error| error.to_string()).unwrap_or_default()
    }
}

/// One line of the live table.
fn row(machine: &mut Machine) -> Result<String> {
    let state = machine.state();
    let addresses: Vec<_> =
        machine.host().addresses()?.into_iter().filter(|a| !a.starts_with("127.")).collect();
    let (name, kind) = (machine.host().name().to_owned(), machine.kind().name());
    let mut counters = [String::from("-"), String::from("-")];
    let stats = machine.stats();
    for (counter, name) in counters.iter_mut().zip(["adverts_received", "adverts_sent"]) {
        if let Some(count) = stats.as_ref().and_then(|stats| stats[name].as_u64()) {
            *counter = count.to_string();
        }
    }
    let [received, sent] = counters;
    let state = if state.is_empty() { "down" } else { &state };
    let addresses = addresses.join(" ");
    Ok(format!("{name:<5} {kind:<10} {state:<7} {received:>8} {sent:>8}  {addresses}\n"))
}
