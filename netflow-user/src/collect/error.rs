//! What can go wrong while collecting; a bad datagram is not among it, it is a counter.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::transport::TransportError;

/// A step of the built-in collector that failed.
#[derive(Debug, Error)]
pub enum CollectError {
    /// What was typed is no address.
    #[error("cannot listen on '{url}'")]
    Url {
        /// What was typed.
        url: String,
        /// What is wrong with it.
        #[source]
        source: TransportError,
    },
    /// The host is a name; a listener needs an address.
    #[error("cannot listen on '{url}': the host must be an address of this machine, or [::] for all of them")]
    NotAnAddress {
        /// What was typed.
        url: String,
    },
    /// The transport is one that there is no listener for.
    #[error("cannot listen on '{url}': transport '{transport}' is not supported yet, use udp")]
    Transport {
        /// What was typed.
        url: String,
        /// Its scheme.
        transport: &'static str,
    },
    /// A protocol was asked for.
    #[error("cannot listen on '{url}': a collector takes every protocol it knows, leave out the option")]
    Protocol {
        /// What was typed.
        url: String,
    },
    /// Another program has the port.
    #[error("cannot listen on {address}: the port is in use by another program")]
    PortInUse {
        /// Where.
        address: SocketAddr,
    },
    /// The address belongs to another machine.
    #[error("cannot listen on {address}: this machine has no such address")]
    ForeignAddress {
        /// Where.
        address: SocketAddr,
    },
    /// The socket could not be made or bound for another reason.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The socket failed while receiving.
    #[error("cannot receive datagrams on {address}")]
    Receive {
        /// Where.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The output could not be written, for another reason than a reader that left.
    #[error("cannot write the decoded flows")]
    Write {
        /// The cause.
        #[source]
        source: io::Error,
    },
}
