//! Why privileges cannot be given up. Each of these ends the program: an agent with privileges is not what was asked for.

use std::io;

/// A privilege that stays.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesError {
    /// There is no second process.
    #[error("cannot make a process of its own for what needs privileges")]
    Part {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The user is not known.
    #[error("there is no user {name:?}; --user takes the name of one that exists")]
    UnknownUser {
        /// As given.
        name: String,
    },
    /// Users cannot be looked up.
    #[error("cannot look up the user {name:?}")]
    Users {
        /// As given.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The user cannot be changed.
    #[error("cannot run as {name}: that needs root, or CAP_SETUID and CAP_SETGID")]
    User {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Programs that are executed could have more privileges.
    #[error("cannot give up new privileges (no_new_privs)")]
    NoNewPrivileges {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Capabilities are still there.
    #[error("cannot give up capabilities")]
    Capabilities {
        /// Why.
        #[source]
        source: io::Error,
    },
}
