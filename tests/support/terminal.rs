//! A terminal of the test's own, with a program in it: keys go in, the screen can be looked at.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::pty::{Winsize, openpty};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr, tcsetwinsize};

/// How long a screen may take to show something, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one look at the terminal waits.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The terminal.
pub struct Terminal {
    /// The side that a terminal's user has.
    user: File,
    /// Kept open, so that what the program wrote last is not lost with it.
    program: File,
    child: Child,
    screen: vt100::Parser,
}

impl Terminal {
    /// Starts a program in a terminal of so many rows and columns, as the leader of a session of its own.
    pub fn start(program: &Path, arguments: &[&str], rows: u16, columns: u16) -> Result<Self> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None)?;
        let (user, slave) = (File::from(pair.master), File::from(pair.slave));
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(program)
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave.try_clone()?))
            .spawn()?;
        Ok(Self { user, program: slave, child, screen: vt100::Parser::new(sized(rows), sized(columns), 0) })
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.user.write_all(keys.as_bytes())?)
    }

    /// Makes the window another size.
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<()> {
        let mut size = rustix::termios::tcgetwinsize(&self.user)?;
        (size.ws_row, size.ws_col) = (rows, columns);
        tcsetwinsize(&self.user, size)?;
        self.screen.screen_mut().set_size(sized(rows), sized(columns));
        Ok(())
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Whether a letter on the screen has a colour.
    pub fn has_colour(&self) -> bool {
        let screen = self.screen.screen();
        let (rows, columns) = (screen.size().0.get(), screen.size().1.get());
        let mut cells =
            (0..rows).flat_map(|row| (0..columns).filter_map(move |column| screen.cell(row, column)));
        cells.any(|cell| {
            [cell.fgcolor(), cell.bgcolor()].iter().any(|colour| *colour != vt100::Color::Default)
        })
    }

    /// Waits until the screen says so; returns it.
    pub fn wait_for(&mut self, what: &str, so: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.look()?;
            let text = self.text();
            if so(&text) {
                return Ok(text);
            }
            if let Some(status) = self.child.try_wait()? {
                self.look()?;
                bail!("no {what}: the program has ended with {status}:\n{}", self.text());
            }
            if Instant::now() > deadline {
                bail!("no {what} within {PATIENCE:?}:\n{text}");
            }
        }
    }

    /// Waits until the screen has all of these texts.
    pub fn wait_for_all(&mut self, texts: &[&str]) -> Result<String> {
        self.wait_for(&format!("{texts:?}"), |screen| texts.iter().all(|text| screen.contains(text)))
    }

    /// Waits for the program's end. The terminal must be as it was before: the usual screen, a cursor, lines that are echoed.
    pub fn finish(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            self.look()?;
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("the program does not end:\n{}", self.text());
            }
        };
        self.look()?;
        let modes = tcgetattr(&self.program)?.local_modes;
        let screen = self.screen.screen();
        if !modes.contains(LocalModes::ECHO | LocalModes::ICANON)
            || screen.alternate_screen()
            || screen.hide_cursor()
        {
            bail!("the terminal was not given back: {modes:?}\n{}", self.text());
        }
        Ok(status)
    }

    /// Takes what the program has written.
    fn look(&mut self) -> Result<()> {
        loop {
            let mut polled = [PollFd::new(&self.user, PollFlags::IN)];
            if poll(&mut polled, Some(&LOOK))? == 0 {
                return Ok(());
            }
            let mut octets = [0; 16_384];
            match self.user.read(&mut octets)? {
                0 => return Ok(()),
                read => self.screen.process(&octets[..read]),
            }
        }
    }
}

/// A window has a row and a column.
fn sized(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).unwrap_or(NonZeroU16::MIN)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
