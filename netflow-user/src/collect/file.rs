//! IPFIX Files (RFC 5655) in, flows out: messages one behind the other.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use super::collector::Collector;
use super::error::CollectError;
use super::peer::Peer;
use super::printer::{Format, Printer};
use super::summary::{Summary, Totals};
use super::undecoded::Reason;
use crate::time::MonotonicNanos;

/// Message Header (RFC 7011 section 3.1): version, Length.
const HEADER_LEN: usize = 16;
const VERSION: u16 = 10;

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
    while next_message(reader, &mut message).map_err(failed)? {
        for flow in collector.decode_all(Peer::of_file(), &message) {
            printer.flow(&flow, MonotonicNanos::default()).map_err(write)?;
        }
    }
    if !message.is_empty() {
        collector.count_malformed(Peer::of_file(), Reason::MessageLength);
    }
    printer.flush().map_err(write)
}

/// The next whole message; false at the end, where what is left of the file is in `message`.
fn next_message(reader: &mut impl Read, message: &mut Vec<u8>) -> io::Result<bool> {
    message.clear();
    reader.take(HEADER_LEN as u64).read_to_end(message)?;
    if message.len() < HEADER_LEN {
        return Ok(false);
    }
    let [version, stated] = [0, 2].map(|at| u16::from_be_bytes([message[at], message[at + 1]]));
    let Some(rest) = usize::from(stated).checked_sub(HEADER_LEN).filter(|_| version == VERSION) else {
        return Ok(false);
    };
    reader.take(rest as u64).read_to_end(message)?;
    Ok(message.len() == usize::from(stated))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn message(rest: &[u8]) -> Vec<u8> {
        let mut octets = vec![0, 10, 0, (HEADER_LEN + rest.len()) as u8];
        octets.resize(HEADER_LEN, 0);
        octets.extend(rest);
        octets
    }

    #[test]
    fn messages_are_read_to_the_end_or_to_what_is_none() {
        for (behind, left) in [
            (&b""[..], 0),
            (&[0, 10, 0][..], 3),
            (&message(b"cut")[..18], 18),
            (&[0, 9, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 16),
            (&[0, 10, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 16),
        ] {
            let octets = [&message(b"one")[..], &message(b""), behind].concat();
            let (mut reader, mut found) = (&octets[..], Vec::new());
            assert!(next_message(&mut reader, &mut found).unwrap());
            assert_eq!(found, message(b"one"));
            assert!(next_message(&mut reader, &mut found).unwrap());
            assert!(!next_message(&mut reader, &mut found).unwrap());
            assert_eq!(found.len(), left, "{behind:?}");
        }
    }
}
