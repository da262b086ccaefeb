//! JSON lines: messages are built as for an IPFIX File, and the collector's decoder, not written by who wrote the encoder,
//! says what is in them. So lines are what `netflow collect` would print.

use std::net::{Ipv6Addr, SocketAddr};

use crate::{collect::Collector, transport::Translator};

/// Makes lines of messages: an object for each Flow Record, with the registry's names.
pub(super) fn translator() -> Translator {
    let mut collector = Collector::new();
    // It is this agent, which needs no address.
    let here = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    Box::new(move |message| {
        let mut lines = Vec::new();
        for flow in collector.decode(here, message) {
            // Neither writing into a Vec nor names and values as text can fail.
            if serde_json::to_writer(&mut lines, &flow).is_ok() {
                lines.push(b'\n');
            }
        }
        lines
    })
}
