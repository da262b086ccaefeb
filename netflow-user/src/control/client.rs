//! The asking side: one request, one answer, blocking and bounded in time.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{ControlError, Reply, Request};

/// How long an answer may take: longer than the agent gives itself.
const PATIENCE: Duration = Duration::from_secs(90);
/// The longest answer.
const ANSWER_LIMIT: u64 = 64 << 20;

/// Asks one thing; the answer as it came, and as a value.
///
/// # Errors
/// There is no agent, it refuses, or what it says is not understood.
pub fn ask<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<(String, T), ControlError> {
    let answer = exchange(path, request)?;
    let not_understood = |source| ControlError::Answer { source };
    match serde_json::from_str::<Reply<Box<RawValue>>>(&answer).map_err(not_understood)? {
        Reply::Error(error) => Err(ControlError::Refused(error)),
        Reply::Ok(value) => {
            let typed = serde_json::from_str(value.get()).map_err(not_understood)?;
            Ok((value.get().to_owned(), typed))
        }
    }
}

fn exchange(path: &Path, request: &Request) -> Result<String, ControlError> {
    let mut stream = UnixStream::connect(path).map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => ControlError::NotAllowed { path: path.to_owned() },
        _ => ControlError::NoAgent { path: path.to_owned(), source },
    })?;
    let talk = || -> io::Result<String> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).take(ANSWER_LIMIT).read_line(&mut answer)?;
        if answer.ends_with('\n') { Ok(answer) } else { Err(ErrorKind::UnexpectedEof.into()) }
    };
    talk().map_err(|source| ControlError::NoAnswer { path: path.to_owned(), source })
}
