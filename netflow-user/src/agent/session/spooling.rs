//! A session with a spool: what cannot be sent goes to disk, and from there over connections of its own, oldest first, before
//! anything younger goes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::Session;
use crate::{
    agent::{
        AgentError,
        batch::Batch,
        messages::{Messages, Way},
        spool::{Replay, Spool},
    },
    clock,
    config::ExportConfig,
    ledger::DestinationBooks,
    time::MonotonicNanos,
    transport::{Pace, SpoolOptions, Target},
};

/// A spool, and where its session stands.
pub(super) struct Spooling {
    spool: Spool,
    state: State,
    /// How fast files go.
    pace: Pace,
    /// When the next message of a file may go.
    next: MonotonicNanos,
}

enum State {
    /// There is no connection, and it is known that it takes time: records go to disk.
    Away,
    /// A connection is to come at once: records wait in the queue.
    Expecting,
    /// A file goes over the connection.
    Replaying {
        replay: Replay,
        /// Octets written to the connection up to the end of each message on its way.
        ends: VecDeque<u64>,
        /// It is the last one; records wait in the queue until it is through.
        is_last: bool,
    },
    /// Nothing waits: records go over the connection.
    Live,
}

impl Spooling {
    pub(super) fn open(
        options: &SpoolOptions,
        target: &Target,
        config: &ExportConfig,
        books: Arc<DestinationBooks>,
    ) -> Result<Self, AgentError> {
        // What is told of a session does not hold for what another one sends later.
        let config = &ExportConfig { statistics: None, ..config.clone() };
        let messages = |message_limit| {
            let way = Way { message_limit, is_lossy: false, exporter_address: [0; 4] };
            // IPFIX has no sysUpTime.
            Ok(Messages::new(config, target.protocol(), way, MonotonicNanos(0))?)
        };
        let spool = Spool::open(options, &target.to_string(), config.message_size, messages, books)?;
        Ok(Self::new(spool, options.rate))
    }

    /// A session that is about to connect. `rate` is in octets per second.
    pub(super) fn new(spool: Spool, rate: u64) -> Self {
        // A message at once is not a burst.
        Self { spool, state: State::Expecting, pace: Pace::new(rate, 0), next: MonotonicNanos(0) }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }

    /// Whether records go to disk.
    pub(super) fn is_taking(&self) -> bool {
        matches!(self.state, State::Away | State::Replaying { is_last: false, .. })
    }

    /// Ends a replay, and with it the file or what of it has arrived.
    fn stop(&mut self, state: State) {
        if let State::Replaying { replay, .. } = std::mem::replace(&mut self.state, state) {
            tokio::task::block_in_place(|| self.spool.end_replay(replay));
        }
    }
}

impl Session {
    /// Puts a batch on disk.
    pub(super) fn spool(&mut self, batch: &Batch) {
        self.at = batch.at;
        let now = self.now();
        let Some(Spooling { spool, .. }) = &mut self.spooling else { return };
        match &batch.options {
            Some(options) => {
                tokio::task::block_in_place(|| spool.set_options_data(options));
                self.messages.set_options_data(options);
            }
            None => tokio::task::block_in_place(|| spool.put(&batch.records, now)),
        }
    }

    /// Puts on disk what was taken from the queue and did not arrive: there is no connection any more.
    pub(super) fn spool_pending(&mut self) {
        let now = self.now();
        if let Some(spooling) = &mut self.spooling {
            spooling.stop(State::Away);
            tokio::task::block_in_place(|| spooling.spool.put(&self.pending, now));
            self.pending.clear();
        }
    }

    /// There is a connection: whether something on disk goes first.
    pub(super) fn begin_replay(&mut self) -> bool {
        let Some(spooling) = &mut self.spooling else { return false };
        // The last connection may have ended in the midst of a file, in order.
        spooling.stop(State::Away);
        let replay = tokio::task::block_in_place(|| spooling.spool.begin_replay());
        spooling.state = match replay {
            Some(replay) => {
                let is_last = spooling.spool.is_empty();
                State::Replaying { replay, ends: VecDeque::new(), is_last }
            }
            None => State::Live,
        };
        !spooling.is_live()
    }

    /// How long until a message of a file may go, if one is to.
    pub(super) fn until_replay(&self, now: MonotonicNanos) -> Option<Duration> {
        match &self.spooling {
            Some(Spooling { state: State::Replaying { replay, .. }, next, .. })
                if self.link.is_up() && !replay.is_at_end() =>
            {
                Some(next.since(now))
            }
            _ => None,
        }
    }

    /// Sends a message of the file.
    pub(super) async fn replay(&mut self) {
        let Some(Spooling { state: State::Replaying { replay, ends, .. }, pace, next, .. }) =
            &mut self.spooling
        else {
            return;
        };
        let Some(message) = replay.next_message() else { return self.end_replay().await };
        let now = clock::now();
        *next = now.monotonic.plus(pace.take(message.len() as u64, now.monotonic));
        match self.link.send(message, now).await {
            Ok(()) => ends.push_back(self.link.written()),
            Err(error) => return self.disconnected(&error),
        }
        self.settle();
        self.end_replay().await;
    }

    /// Messages of the file have arrived.
    pub(super) fn settle_replay(&mut self, acknowledged: u64) {
        let Some(Spooling { state: State::Replaying { replay, ends, .. }, .. }) = &mut self.spooling else {
            return;
        };
        while ends.pop_front_if(|end| *end <= acknowledged).is_some() {
            if let Some((octets, volume)) = replay.deliver() {
                self.books.replayed(octets, volume);
            }
        }
    }

    /// If the whole file has arrived: it is gone, and another connection is for the next one, or for what is younger.
    pub(super) async fn end_replay(&mut self) {
        let Some(spooling) = &mut self.spooling else { return };
        let State::Replaying { replay, is_last, .. } = &spooling.state else { return };
        if replay.is_delivered() {
            let state = if *is_last { State::Expecting } else { State::Away };
            spooling.stop(state);
            self.link.reconnect().await;
        }
    }

    /// Leaves the spool as the next run is to find it.
    pub(super) fn end_spooling(&mut self) {
        if let Some(spooling) = &mut self.spooling {
            spooling.stop(State::Away);
            tokio::task::block_in_place(|| spooling.spool.complete_open());
        }
    }
}
