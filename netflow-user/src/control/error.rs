//! What goes wrong at the control socket.

use std::{io, path::PathBuf};

/// A socket that cannot be served or asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Its directory is missing and cannot be made.
    #[error("cannot make the directory of the control socket {path}", path = path.display())]
    Directory {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody answers there.
    #[error("another agent has the control socket {path}; give each its own with --control-socket", path = path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// A file that is nobody's socket.
    #[error("{path} is there and is no socket: it is left alone", path = path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// Any other reason why it cannot be bound.
    #[error("cannot listen on the control socket {path}", path = path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No agent there.
    #[error("no agent answers at {path}: is `netflow run` running, with this --control-socket?", path = path.display())]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not for this user.
    #[error("{path}: not allowed: ask as root, as the agent's user, or as a member of the socket's group", path = path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke, or took too long.
    #[error("the agent at {path} gave no answer", path = path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was not understood.
    #[error("the answer of the agent is not understood: is it of another version?")]
    Answer {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// What the agent says.
    #[error("{0}")]
    Refused(String),
    /// Where `netflow top` draws.
    #[error("cannot use the terminal")]
    Terminal {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Standard output.
    #[error("cannot write the answer")]
    Output {
        /// Why.
        #[source]
        source: io::Error,
    },
}
