//! The output in its formats.

use std::io::{self, Write};

use super::flow::DecodedFlow;
use super::line;
use super::screen::Screen;
use super::summary::Totals;
use crate::time::MonotonicNanos;

/// How decoded flows are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A table that updates in place, for a terminal.
    Screen,
    /// A header and one line per flow.
    Lines,
    /// One JSON object per flow and line.
    Json,
}

impl Format {
    /// A table as it suits standard output: in place on a terminal, line by line elsewhere.
    pub fn table() -> Self {
        if terminal_size().is_some() { Self::Screen } else { Self::Lines }
    }
}

/// The output in one of its formats.
pub(super) struct Printer<W: Write> {
    format: Format,
    /// Whether options data are shown, too.
    options: bool,
    screen: Screen,
    output: io::BufWriter<W>,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(format: Format, output: W) -> Self {
        Self {
            format,
            options: true,
            screen: Screen::default(),
            output: io::BufWriter::with_capacity(65_536, output),
        }
    }

    /// Nothing but flows.
    pub(super) fn without_options(self) -> Self {
        Self { options: false, ..self }
    }

    pub(super) fn wants_frames(&self) -> bool {
        self.format == Format::Screen
    }

    pub(super) fn begin(&mut self) -> io::Result<()> {
        match self.format {
            Format::Screen => self.output.write_all(b"\x1b[2J")?,
            Format::Lines => writeln!(self.output, "{}", line::header())?,
            Format::Json => {}
        }
        self.output.flush()
    }

    pub(super) fn flow(&mut self, flow: &DecodedFlow, now: MonotonicNanos) -> io::Result<()> {
        if flow.options_template_id.is_some() && (!self.options || self.format == Format::Screen) {
            return Ok(());
        }
        match self.format {
            Format::Screen => {
                self.screen.add(flow, now);
                Ok(())
            }
            Format::Lines => writeln!(self.output, "{}", line::line(flow)),
            Format::Json => {
                serde_json::to_writer(&mut self.output, flow)?;
                self.output.write_all(b"\n")
            }
        }
    }

    pub(super) fn frame(&mut self, totals: &Totals, now: MonotonicNanos) -> io::Result<()> {
        if self.wants_frames() {
            let (columns, rows) = terminal_size().unwrap_or((80, 24));
            self.output.write_all(self.screen.frame(totals, columns, rows, now).as_bytes())?;
            self.output.flush()?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Columns and rows of the terminal at standard output, if it is one.
fn terminal_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(if size.ws_col == 0 || size.ws_row == 0 { (80, 24) } else { (size.ws_col, size.ws_row) })
}
