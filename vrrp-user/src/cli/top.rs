//! `vrrp-user top`: routers, rates, refusals and events on one screen.
//!
//! [`model`] is what is shown and what keys and the mouse do, [`view`] draws it, [`source`] reads the figures on a thread of
//! its own, so that a slow daemon does not hold up the keyboard; so are orders ([`action`]) carried out. Only this file speaks
//! to the terminal.

mod action;
mod hit;
mod model;
mod parts;
mod source;
mod view;

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{panic, process};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::style;

use self::action::Action;
use self::model::{Flow, Model, Reading};
use self::source::Source;
use crate::cli::terminal::{Terminal, is_dumb};
use crate::control::client;
use crate::types::instance::Instance;

/// From one reading to the next.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a reading may wait for a key to be pressed.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the end may take after that of the terminal, or a signal.
const GRACE: Duration = Duration::from_secs(1);

/// Clicks and the wheel are reported, in a form without bounds, and no motion (xterm's control sequences, DECSET 1000 and
/// 1006).
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";

/// `top` cannot show anything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Output goes to a file or a pipe.
    #[error("top needs a terminal; `stats` and `status` print the same, as tables or JSON")]
    NoTerminal,
    /// `TERM=dumb`.
    #[error(
        "top needs a terminal that can write over what it shows, and TERM is dumb; `status` and `stats` print the same"
    )]
    Dumb,
    #[error("the terminal does not work: {0}")]
    Terminal(#[from] io::Error),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] nix::Error),
}

enum Message {
    Reading(Box<Reading>),
    /// What came of an order; `Err` is why it was refused.
    Answer(Action, Result<String, String>),
    /// A signal says that it is over.
    End,
}

/// Shows the screen until `q` or a signal.
pub fn top(instance: &Instance, bpffs: Option<PathBuf>) -> Result<(), Error> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Error::NoTerminal);
    }
    if is_dumb() {
        return Err(Error::Dumb);
    }
    // What is logged would stand across the screen.
    log::set_max_level(log::LevelFilter::Off);
    let (sender, messages) = channel();
    end_on_signals(sender.clone())?;
    let reader = read(Source::new(instance.clone(), bpffs), sender.clone())?;
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let _ = mouse(false);
        before(info);
    }));
    // Also restores the terminal on a panic.
    let mut terminal = ratatui::try_init()?;
    let order = |action| order(instance, action, sender.clone());
    let result = mouse(true).and_then(|()| show(&mut terminal, &messages, &reader, &order));
    let reset = mouse(false);
    ratatui::try_restore()?;
    reset?;
    Ok(result?)
}

/// Signals that would end the process are waited for instead, so that the terminal is put in order first. So is the end
/// of the terminal, of which not everybody gets a signal.
fn end_on_signals(sender: Sender<Message>) -> Result<(), Error> {
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        ends.add(signal);
    }
    // Threads that begin later have them blocked, too.
    ends.thread_block()?;
    let hung_up = sender.clone();
    thread::Builder::new().spawn(move || {
        let _ = ends.wait();
        end(&sender);
    })?;
    thread::Builder::new().spawn(move || {
        // Nothing is asked for, so that only its end is told.
        let stdin = io::stdin();
        let mut terminal = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
        while poll(&mut terminal, PollTimeout::NONE) == Err(Errno::EINTR) {}
        end(&hung_up);
    })?;
    Ok(())
}

/// Ends the process, in order if that is possible: who waits for keys of a terminal that is gone never comes back,
/// and takes a whole CPU.
fn end(sender: &Sender<Message>) {
    let _ = sender.send(Message::End);
    thread::sleep(GRACE);
    process::exit(0);
}

fn read(mut source: Source, sender: Sender<Message>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().spawn(move || {
        loop {
            let begun = Instant::now();
            if sender.send(Message::Reading(Box::new(source.read()))).is_err() {
                return;
            }
            thread::sleep(PERIOD.saturating_sub(begun.elapsed()));
        }
    })
}

fn mouse(on: bool) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(if on { MOUSE_ON } else { MOUSE_OFF })?;
    out.flush()
}

/// Has it carried out, on a thread of its own.
fn order(instance: &Instance, action: Action, sender: Sender<Message>) -> io::Result<()> {
    let instance = instance.clone();
    thread::Builder::new().spawn(move || {
        let answer = client::order(&instance, action.request()).map_err(|error| error.to_string());
        let _ = sender.send(Message::Answer(action, answer));
    })?;
    Ok(())
}

fn show(
    terminal: &mut DefaultTerminal,
    messages: &Receiver<Message>,
    reader: &JoinHandle<()>,
    order: &dyn Fn(Action) -> io::Result<()>,
) -> io::Result<()> {
    let mut model = Model::default();
    let colour = Terminal::stdout().colour;
    // What it writes in place of a colour resets what is bold and reversed.
    style::force_color_output(true);
    let mut is_old = true;
    loop {
        if is_old {
            let begun = Instant::now();
            terminal.draw(|frame| {
                view::draw(frame, &mut model);
                if !colour {
                    view::uncolour(frame.buffer_mut());
                }
            })?;
            model.drawn = begun.elapsed();
            is_old = false;
        }
        if event::poll(PATIENCE)? {
            let flow = match event::read()? {
                Event::Key(key) => {
                    is_old = true;
                    model.press(key)
                }
                Event::Mouse(event) => {
                    is_old |= model.mouse(event);
                    Flow::Continue
                }
                Event::Resize(..) | Event::FocusGained | Event::FocusLost | Event::Paste(_) => {
                    is_old = true;
                    Flow::Continue
                }
            };
            if flow == Flow::Quit {
                return Ok(());
            }
            if let Some(action) = model.ordered.take() {
                order(action)?;
            }
        }
        if reader.is_finished() {
            // It panicked, which has restored the terminal.
            return Err(io::Error::other("nothing reads the figures any more"));
        }
        for message in messages.try_iter() {
            match message {
                Message::End => return Ok(()),
                Message::Answer(action, answer) => {
                    model.answered(&action, answer);
                    is_old = true;
                }
                Message::Reading(reading) => {
                    model.update(*reading);
                    is_old = true;
                }
            }
        }
    }
}
