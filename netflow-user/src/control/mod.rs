//! CONTROL: asking the running agent over a Unix socket, and what the subcommands print of its answers.
//!
//! In: one JSON object per line ([`Request`]). Out: one per line ([`Reply`]). This room refuses to know where an answer
//! comes from: whoever serves gives a [`Responder`]. README documents both sides' words.

mod client;
mod error;
mod print;
mod protocol;
mod query;
mod server;
mod show;
mod socket;
mod top;

pub use self::{
    client::ask,
    error::ControlError,
    print::ask_and_print,
    protocol::{
        CollectorLine, Done, Explanation, Export, ExportedRow, FieldLine, InterfaceLine, Interfaces,
        LedgerAnswer, ProtocolLine, Reply, Request, SizeLine, Summary, TemplateLine, Templates, TimingLines,
        Traffic,
    },
    query::{Cell, Filter, FlowQuery, FlowRow, Gathered, Gathering, Prefix, QueryError, Sums, WINDOW, row},
    server::{Access, Responder, serve},
    socket::{DEFAULT_PATH, Place, Socket},
    top::{Top, top},
};
