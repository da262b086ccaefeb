//! IPFIX Files (RFC 5655) in, flows out: messages one behind the other.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::Path;

use super::collector::Collector;
use super::error::CollectError;
use super::peer::Peer;
use super::printer::{Format, Printer};
use super::summary::{Summary, Totals};
use super::undecoded::Reason;
use crate::framing::read_message;
use crate::time::MonotonicNanos;

/// Decodes a file and writes its flows, until its end, or to the first thing that is not an IPFIX Message, which is
/// counted as malformed.
///
/// # Errors
/// The file cannot be read, or the output fails.
pub fn read(path: &Path, format: Format, output: impl Write) -> Result<Summary, CollectError> {
    let failed = |source| CollectError::File { path: path.to_owned(), source };
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    // Nothing changes in a file that a table could follow.
    let format = if format == Format::Screen { Format::Lines } else { format };
    let mut printer = Printer::new(format, output);
    let mut collector = Collector::new();
    let result = decode(path, &mut reader, &mut collector, &mut printer);
    let summary = Summary::of(Totals::of(&collector));
    match result {
        Ok(()) => Ok(summary),
        // The reader of our output has seen enough (`| head`).
        Err(CollectError::Write { source }) if source.kind() == ErrorKind::BrokenPipe => Ok(summary),
        Err(error) => Err(error),
    }
}

fn decode(
    path: &Path,
    reader: &mut impl Read,
    collector: &mut Collector,
    printer: &mut Printer<impl Write>,
) -> Result<(), CollectError> {
    let write = |source| CollectError::Write { source };
    let failed = |source| CollectError::File { path: path.to_owned(), source };
    printer.begin().map_err(write)?;
    let mut message = Vec::new();
    while read_message(reader, &mut message).map_err(failed)? {
        for flow in collector.decode_all(Peer::of_file(), &message) {
            printer.flow(&flow, MonotonicNanos::default()).map_err(write)?;
        }
    }
    if !message.is_empty() {
        collector.count_malformed(Peer::of_file(), Reason::MessageLength);
    }
    printer.flush().map_err(write)
}
