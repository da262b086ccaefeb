//! What is wrong with a filter.

/// A filter that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FilterError {
    /// No libpcap on this machine.
    #[error(
        "--filter needs libpcap, which compiles the expression: install libpcap0.8 (Debian, Ubuntu) or libpcap: {reason}"
    )]
    NoLibrary {
        /// What the dynamic linker says.
        reason: String,
    },
    /// This binary cannot load it.
    #[error(
        "--filter needs libpcap, which a static binary cannot load: the Debian package and the container have one that can"
    )]
    StaticBinary,
    /// The compiler refused it.
    #[error("--filter {expression:?} is refused for {link}: {reason}")]
    Refused {
        /// As given.
        expression: String,
        /// For packets that begin with what.
        link: &'static str,
        /// libpcap's message.
        reason: String,
    },
    /// More instructions than are taken.
    #[error(
        "--filter is too long: {instructions} instructions, at most 4096 are possible; nets in place of hosts make it shorter"
    )]
    TooLong {
        /// How many it has.
        instructions: usize,
    },
    /// An instruction that is not known.
    #[error("--filter asks for what is no octet of the packet, nor its direction, interface or length")]
    NotUnderstood,
    /// A jump back.
    #[error(
        "--filter: protochain makes a loop, which a filter in the kernel cannot have; name the protocols one by one"
    )]
    Loop,
    /// A question about a packet to which a capture file has no answer.
    #[error(
        "--filter asks for the direction or the interface, which are not known of packets in a capture file"
    )]
    NotInCapture,
    /// The object could not be written.
    #[error("--filter: its program cannot be written")]
    NotWritten,
}
