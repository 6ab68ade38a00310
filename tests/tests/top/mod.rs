//! `top` on a terminal, for those who look at what it shows.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};
use vrrp_tests::{Host, Result, VrrpUser, wait_until};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(20);

/// `top` on a terminal of its own.
pub struct Top {
    pub child: Child,
    /// The end of the keyboard.
    pub keys: File,
    pub screen: Arc<Mutex<vt100::Parser>>,
    /// Keeps the terminal alive when `top` is gone.
    pub terminal: OwnedFd,
    before: Termios,
}

impl Top {
    pub fn start(host: &Host) -> Result<Self> {
        Self::start_as(host, None, true)
    }

    /// As a user and a group of that number, and where there are to be no colours.
    pub fn start_as(host: &Host, user: Option<u32>, colour: bool) -> Result<Self> {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let end = || pty.slave.try_clone().unwrap();
        let mut command = VrrpUser::command(host, "top")?;
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm-256color");
        if !colour {
            command.env("NO_COLOR", "1");
        }
        // SAFETY: setsid(2), ioctl(2) and those that change the user are bare system calls, as is allowed between fork and exec;
        // descriptor 0 is the terminal.
        unsafe {
            command.pre_exec(move || {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                if let Some(user) = user {
                    libc::setgroups(0, std::ptr::null());
                    libc::setgid(user);
                    libc::setuid(user);
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let mut output = File::from(pty.master.try_clone().unwrap());
        let shared = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                shared.lock().unwrap().process(&bytes[..read]);
            }
        });
        Ok(Self { child, keys: pty.master.into(), screen, terminal: pty.slave, before })
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    pub fn wait_for(&self, what: &str) -> Result<()> {
        wait_until(LONG, &format!("{what:?} on the screen"), || {
            Ok(self.text().contains(what).then_some(()))
        })
        .inspect_err(|_| eprintln!("the screen is\n{}", self.text()))
    }

    /// Waits for its end, and looks at what it leaves.
    pub fn ends_in_order(&mut self) -> Result<()> {
        let status = wait_until(LONG, "top ends", || Ok(self.child.try_wait().unwrap()))?;
        assert!(status.success(), "{status}");
        let after = tcgetattr(&self.terminal).unwrap();
        assert_eq!(after.local_flags, self.before.local_flags);
        assert_eq!(after.input_flags, self.before.input_flags);
        assert_eq!(after.output_flags, self.before.output_flags);
        wait_until(LONG, "the screen is as before", || {
            let parser = self.screen.lock().unwrap();
            let screen = parser.screen();
            Ok((!screen.alternate_screen() && !screen.hide_cursor()).then_some(()))
        })
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
