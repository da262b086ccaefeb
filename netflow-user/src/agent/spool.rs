//! What a reliable destination cannot be given now: IPFIX Files (RFC 5655) within a bound, given to it in order when it is back.
//!
//! A file is a Transport Session (RFC 5655 section 7), so it goes over a connection of its own, octet by octet: neither its
//! templates nor its sequence numbers have to agree with those of another run of the exporter.

mod replay;

use std::{collections::VecDeque, fs, path::PathBuf, sync::Arc};

use tracing::{info, warn};

pub(super) use replay::Replay;

use super::{AgentError, batch::volume, chain, messages::Messages};
use crate::{
    ledger::{DestinationBooks, NotSent, Volume},
    message::OptionsData,
    record::FlowRecord,
    time::Instant,
    transport::{Content, FileTarget, FileTransport, SpoolOptions, Sync, TransportError},
};

/// Files are a part of the bound, so that little is lost when the oldest goes; and not longer than is good to send in one
/// connection.
const FILES: u64 = 16;
const LONGEST_FILE: u64 = 64 << 20;
const SHORTEST_FILE: u64 = 64 << 10;
/// Messages are as long as over the connection.
const MESSAGE_SIZE: usize = 16_384;

/// Files that wait for a destination.
pub(super) struct Spool {
    target: FileTarget,
    files: FileTransport,
    messages: Messages,
    limit: u64,
    /// Complete files, oldest first.
    complete: VecDeque<Spooled>,
    /// The messages of the file that is open.
    open: Vec<Spooling>,
    books: Arc<DestinationBooks>,
}

/// A complete file.
#[derive(Debug)]
struct Spooled {
    path: PathBuf,
    messages: Vec<Spooling>,
}

/// A message in a file.
#[derive(Clone, Copy, Debug)]
struct Spooling {
    octets: u64,
    volume: Volume,
}

impl Spooled {
    fn octets(&self) -> u64 {
        octets(&self.messages)
    }

    fn volume(&self) -> Volume {
        let mut sum = Volume::default();
        self.messages.iter().for_each(|message| sum.add(message.volume));
        sum
    }
}

fn octets(messages: &[Spooling]) -> u64 {
    messages.iter().map(|message| message.octets).sum()
}

impl Spool {
    /// Looks at what an earlier run left behind, which is the destination's from now on.
    ///
    /// # Errors
    /// The directory is not there, or files cannot be made or read in it.
    pub(super) fn open(
        options: &SpoolOptions,
        name: &str,
        message_size: Option<usize>,
        messages: impl FnOnce(usize) -> Result<Messages, AgentError>,
        books: Arc<DestinationBooks>,
    ) -> Result<Self, AgentError> {
        let directory = options.directory.clone().unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let name: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        let target = FileTarget {
            prefix: directory.join(name),
            rotate_size: Some((options.size / FILES).clamp(SHORTEST_FILE, LONGEST_FILE)),
            rotate_time: None,
            sync: Sync::Close,
            content: Content::Ipfix,
        };
        let files = FileTransport::open(target.clone(), Some(message_size.unwrap_or(MESSAGE_SIZE)))?;
        let mut complete = VecDeque::new();
        let mut left = Volume::default();
        for path in target.complete_files()? {
            let messages = replay::read(&path)?;
            let file = Spooled { path, messages };
            left.add(file.volume());
            complete.push_back(file);
        }
        if !complete.is_empty() {
            info!("{} records in {} files wait in {}", left.records, complete.len(), directory.display());
        }
        books.inherited(left);
        let messages = messages(files.message_limit())?;
        let mut spool =
            Self { target, files, messages, limit: options.size, complete, open: Vec::new(), books };
        spool.keep_within_the_bound();
        Ok(spool)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.complete.is_empty() && self.open.is_empty()
    }

    /// Octets that wait.
    fn octets(&self) -> u64 {
        self.complete.iter().map(Spooled::octets).sum::<u64>() + octets(&self.open)
    }

    /// What options data say of the records to come; those of one file are all under the same.
    pub(super) fn set_options_data(&mut self, data: &OptionsData) {
        self.complete_open();
        self.messages.set_options_data(data);
    }

    /// Takes records that were queued.
    pub(super) fn put(&mut self, records: &[FlowRecord], now: Instant) {
        let mut rest = records;
        while !rest.is_empty() {
            match self.put_message(rest, now) {
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) => {
                    let lost = volume(rest);
                    warn!("{} records are lost to the spool: {}", lost.records, chain(&error));
                    self.books.not_sent(NotSent::SpoolFailed, lost);
                    return;
                }
            }
        }
        self.keep_within_the_bound();
    }

    /// Writes a message with records from the front of a slice; returns how many.
    fn put_message(&mut self, records: &[FlowRecord], now: Instant) -> Result<usize, TransportError> {
        if self.files.is_complete(now.monotonic) {
            self.complete_open();
        }
        if self.open.is_empty() {
            // Templates and options data have messages of their own: what is left of a file that was sent in part needs
            // them again, and none of the records.
            self.messages.restart();
            while self.append(&[], now)?.is_some() {}
        }
        Ok(self.append(records, now)?.unwrap_or(records.len()))
    }

    fn append(&mut self, records: &[FlowRecord], now: Instant) -> Result<Option<usize>, TransportError> {
        let Some(message) = self.messages.next_message(records, now) else { return Ok(None) };
        self.files.send(message.octets, now)?;
        let (taken, octets) = (message.records, message.octets.len() as u64);
        self.messages.commit();
        let volume = volume(records.get(..taken).unwrap_or_default());
        self.open.push(Spooling { octets, volume });
        self.books.spooled(volume);
        Ok(Some(taken))
    }

    /// Completes the file that is open, if one is.
    pub(super) fn complete_open(&mut self) {
        let messages = std::mem::take(&mut self.open);
        if messages.is_empty() {
            return;
        }
        match self.files.complete() {
            Ok(Some(path)) => self.complete.push_back(Spooled { path, messages }),
            Ok(None) => {}
            Err(error) => {
                let file = Spooled { path: PathBuf::new(), messages };
                warn!("{} records are lost to the spool: {}", file.volume().records, chain(&error));
                self.books.spool_lost(NotSent::SpoolFailed, file.volume());
            }
        }
    }

    /// The oldest goes where there is too much.
    fn keep_within_the_bound(&mut self) {
        while self.octets() > self.limit {
            if self.complete.is_empty() {
                self.complete_open();
            }
            let Some(oldest) = self.complete.pop_front() else { return };
            let lost = oldest.volume();
            warn!(
                "the spool {} is full: {} records are given up",
                self.target.prefix.display(),
                lost.records
            );
            self.books.spool_lost(NotSent::SpoolFull, lost);
            remove(&oldest);
        }
    }

    /// Begins to give back the oldest file.
    pub(super) fn begin_replay(&mut self) -> Option<Replay> {
        loop {
            if self.complete.is_empty() {
                self.complete_open();
            }
            let file = self.complete.pop_front()?;
            let (path, volume) = (file.path.clone(), file.volume());
            match Replay::begin(file) {
                Ok(replay) => return Some(replay),
                Err(source) => {
                    warn!(
                        "{} records are lost to the spool: cannot read {}: {source}",
                        volume.records,
                        path.display()
                    );
                    self.books.spool_lost(NotSent::SpoolFailed, volume);
                }
            }
        }
    }

    /// Ends a replay: what has arrived is gone, the rest is a file again, and the first to go.
    pub(super) fn end_replay(&mut self, replay: Replay) {
        let path = replay.path().to_owned();
        self.books.spool_lost(NotSent::SpoolFailed, replay.lost());
        match replay.end() {
            Ok(None) => {}
            Ok(Some(rest)) => self.complete.push_front(rest),
            Err((lost, source)) => {
                warn!(
                    "{} records are lost to the spool: cannot write {}: {source}",
                    lost.records,
                    path.display()
                );
                self.books.spool_lost(NotSent::SpoolFailed, lost);
            }
        }
    }
}

fn remove(file: &Spooled) {
    if let Err(source) = fs::remove_file(&file.path) {
        warn!("cannot remove {}: {source}", file.path.display());
    }
}

#[cfg(test)]
mod tests;
