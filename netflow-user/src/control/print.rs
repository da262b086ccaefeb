//! A question asked and its answer printed: what the subcommands do.

use std::{
    io::{self, ErrorKind, Write as _},
    path::Path,
};

use serde::de::DeserializeOwned;

use super::{ControlError, Done, Request, client::ask, show};

/// Asks and prints, as JSON or for people.
///
/// # Errors
/// There is no answer, or nowhere to print it.
pub fn ask_and_print(socket: &Path, request: &Request, is_json: bool) -> Result<(), ControlError> {
    let asking = Question { socket, request, is_json };
    match request {
        Request::ShowLedger => asking.print(show::ledger),
        Request::ShowSummary => asking.print(show::summary),
        Request::ShowExport => asking.print(show::export),
        Request::ShowInterfaces => asking.print(show::interfaces),
        Request::ShowTemplates => asking.print(show::templates),
        Request::ShowFlows(query) => asking.print(|answer| show::flows(query, answer)),
        Request::Explain { .. } => asking.print(show::explanation),
        Request::Expire { .. }
        | Request::ClearStatistics
        | Request::SendTemplates
        | Request::LogLevel { .. }
        | Request::Reload => asking.print(|answer: &Done| answer.done.clone()),
    }
}

struct Question<'a> {
    socket: &'a Path,
    request: &'a Request,
    is_json: bool,
}

impl Question<'_> {
    fn print<T: DeserializeOwned>(&self, lines: impl Fn(&T) -> Vec<String>) -> Result<(), ControlError> {
        let (json, answer) = ask::<T>(self.socket, self.request)?;
        let mut text = if self.is_json { json } else { lines(&answer).join("\n") };
        // Names come from whoever named an interface or a collector; a terminal obeys control characters.
        text.retain(|letter| letter == '\n' || !letter.is_control());
        text.push('\n');
        match io::stdout().lock().write_all(text.as_bytes()) {
            // Who has read enough needs no more.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|source| ControlError::Output { source }),
        }
    }
}
