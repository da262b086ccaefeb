//! One file of a spool on its way to the collector.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    net::{Ipv6Addr, SocketAddr},
    path::Path,
};

use super::{Spooled, Spooling};
use crate::{
    agent::AgentError, collect::Collector, framing::read_message, ledger::Volume, transport::TransportError,
};

/// Where its sequence number stands.
const SEQUENCE_NUMBER: std::ops::Range<usize> = 8..12;

/// The messages of a file, as far as they have gone.
pub(in crate::agent) struct Replay {
    file: Spooled,
    reader: BufReader<File>,
    /// Messages that were read.
    read: usize,
    /// Messages that have arrived.
    delivered: usize,
    octets: Vec<u8>,
    /// What is in messages that could not be read.
    lost: Volume,
}

impl Replay {
    pub(super) fn begin(file: Spooled) -> io::Result<Self> {
        let reader = BufReader::with_capacity(1 << 16, File::open(&file.path)?);
        Ok(Self { file, reader, read: 0, delivered: 0, octets: Vec::new(), lost: Volume::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }

    /// The next message, once; `None` at the end. What cannot be read counts as the end.
    pub(in crate::agent) fn next_message(&mut self) -> Option<&[u8]> {
        let message = self.file.messages.get(self.read)?;
        self.octets.resize(message.octets as usize, 0);
        if let Err(error) = self.reader.read_exact(&mut self.octets) {
            tracing::warn!("cannot read {}: {error}", self.file.path.display());
            let unread = self.file.messages.split_off(self.read);
            unread.iter().for_each(|message| self.lost.add(message.volume));
            return None;
        }
        self.read += 1;
        Some(&self.octets)
    }

    /// What is in messages that could not be read.
    pub(super) fn lost(&self) -> Volume {
        self.lost
    }

    /// Whether there is none.
    pub(in crate::agent) fn is_at_end(&self) -> bool {
        self.read >= self.file.messages.len()
    }

    /// The oldest message that had not arrived has; returns its octets and what is in it.
    pub(in crate::agent) fn deliver(&mut self) -> Option<(u64, Volume)> {
        let message = self.file.messages.get(self.delivered)?;
        self.delivered += 1;
        Some((message.octets, message.volume))
    }

    /// Whether all has arrived.
    pub(in crate::agent) fn is_delivered(&self) -> bool {
        self.delivered >= self.file.messages.len()
    }

    /// Removes the file if all of it has arrived, else takes out of it what has. An error has what is lost by it.
    pub(super) fn end(self) -> Result<Option<Spooled>, (Volume, io::Error)> {
        let Self { mut file, reader, delivered, .. } = self;
        let head = file.messages.iter().take_while(|message| message.volume.records == 0).count();
        if delivered >= file.messages.len() {
            super::remove(&file);
            return Ok(None);
        }
        if delivered > head {
            let rest = file.messages.split_off(delivered);
            let done: u64 = super::octets(&file.messages);
            file.messages.truncate(head);
            let head: u64 = super::octets(&file.messages);
            file.messages.extend(rest);
            if let Err(error) = cut(reader.into_inner(), &file.path, head, done) {
                let lost = file.volume();
                super::remove(&file);
                return Err((lost, error));
            }
        }
        Ok(Some(file))
    }
}

/// Takes the octets from `head` to `done` out of a file, both ends of messages, and closes the gap in the sequence numbers.
fn cut(mut file: File, path: &Path, head: u64, done: u64) -> io::Result<()> {
    let part = path.with_extension("rest");
    let mut rest = File::create(&part)?;
    file.seek(SeekFrom::Start(0))?;
    let mut octets = vec![0; head as usize];
    file.read_exact(&mut octets)?;
    rest.write_all(&octets)?;
    // The first message that is cut out has the number that the first of the rest is to have.
    let first = if read_message(&mut file, &mut octets)? { sequence_number(&octets) } else { 0 };
    file.seek(SeekFrom::Start(done))?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut gap = None;
    while read_message(&mut file, &mut octets)? {
        let stated = sequence_number(&octets);
        let gap = *gap.get_or_insert(stated.wrapping_sub(first));
        octets[SEQUENCE_NUMBER].copy_from_slice(&stated.wrapping_sub(gap).to_be_bytes());
        rest.write_all(&octets)?;
    }
    rest.sync_all()?;
    fs::rename(part, path)
}

fn sequence_number(message: &[u8]) -> u32 {
    message[SEQUENCE_NUMBER].iter().fold(0, |number, octet| number << 8 | u32::from(*octet))
}

/// What is in the messages of a file that an earlier run wrote: as a collector would read it.
pub(super) fn read(path: &Path) -> Result<Vec<Spooling>, AgentError> {
    let failed = |source| TransportError::File { path: path.to_owned(), source };
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    let mut collector = Collector::new();
    let from = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let (mut messages, mut octets) = (Vec::new(), Vec::new());
    while read_message(&mut file, &mut octets).map_err(failed)? {
        let before = collector.counters();
        collector.decode(from, &octets);
        let after = collector.counters();
        let volume = Volume {
            records: after.records - before.records,
            packets: after.packets - before.packets,
            octets: after.octets - before.octets,
        };
        messages.push(Spooling { octets: octets.len() as u64, volume });
    }
    Ok(messages)
}
