//! What can go wrong while collecting; a bad datagram is not among it, it is a counter.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// A step of the built-in collector that failed.
#[derive(Debug, Error)]
pub enum CollectError {
    /// What was typed is no place to listen.
    #[error("cannot listen on '{url}': {reason}")]
    Url {
        /// What was typed.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host is a name; a listener needs an address.
    #[error("cannot listen on '{url}': the host must be an address of this machine, or [::] for all of them")]
    NotAnAddress {
        /// What was typed.
        url: String,
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
    /// Certificate, key or issuers cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// This binary was built without DTLS.
    #[error("cannot listen on {address}: this program was built without DTLS (the feature 'dtls')")]
    #[cfg(not(feature = "dtls"))]
    NoDtls {
        /// Where.
        address: SocketAddr,
    },
    /// The connections' tasks cannot begin.
    #[error("cannot wait for connections")]
    Start {
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

impl CollectError {
    /// A socket could not be made or bound.
    pub(super) fn of_bind(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse { address },
            io::ErrorKind::AddrNotAvailable => Self::ForeignAddress { address },
            _ => Self::Listen { address, source },
        }
    }
}
