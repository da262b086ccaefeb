//! What ends the agent, named by step.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{
    capture::CaptureError, collect::CollectError, control::ControlError, drain::DrainError,
    filter::FilterError, flow_cache::FlowCacheError, interface::InterfaceError, kernel::KernelError,
    message::MessageError, transport::TransportError,
};

/// An agent that could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// An interface cannot be metered.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The kernel side.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Draining.
    #[error(transparent)]
    Drain(#[from] DrainError),
    /// The flow cache.
    #[error(transparent)]
    FlowCache(#[from] FlowCacheError),
    /// A message setting that the protocol cannot keep.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A collector cannot be reached at start.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The built-in collector.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// The capture file.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The filter cannot be applied to a packet of the capture file.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Signal handlers.
    #[error("cannot install signal handlers")]
    Signals {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Waiting for the kernel's events.
    #[error("cannot wait for events")]
    Poll {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file of `--ledger-file`.
    #[error("cannot write the ledger to {path}", path = path.display())]
    LedgerFile {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address of `--metrics`.
    #[error(
        "cannot serve metrics at {address}; --metrics ADDRESS:PORT names another, --metrics off serves none"
    )]
    Metrics {
        /// As given.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Two would write there.
    #[error(
        "collector {collector}: {} writes to {} and has to end first: take it out, reload, and put this one in", other, place.display()
    )]
    StillWriting {
        /// The new one.
        collector: String,
        /// The one that is there.
        other: String,
        /// Where.
        place: PathBuf,
    },
    /// A line of the ledger did not close.
    #[error("the ledger does not balance: see the log and --ledger-file")]
    Imbalance,
    /// Nothing is attached any more.
    #[error("the privileged process of this agent was ended, and metering with it")]
    PrivilegedProcessEnded,
    /// The runtime ended under the meter.
    #[error("the meter was cancelled")]
    Cancelled,
}

/// An error and its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Transparent errors repeat their cause.
        if !text.ends_with(&next) {
            text = format!("{text}: {}", next.trim());
        }
        cause = error.source();
    }
    text
}
