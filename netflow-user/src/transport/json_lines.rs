//! JSON lines: to files, or to standard output. What the lines say is another room's: a translator makes them of messages.

use std::{
    fmt,
    io::{self, ErrorKind},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    error::TransportError,
    file::{Content, FileTarget, FileTransport},
};
use crate::time::{Instant, MonotonicNanos};

/// Octets of a message unless others are asked for: what is printed comes soon.
const MESSAGE_SIZE: usize = 16_384;
/// What a pipe that has room takes without making its writer wait (PIPE_BUF).
const PIECE: usize = 4096;
/// Between two looks whether there is room.
const PAUSE: Duration = Duration::from_millis(10);

/// Makes lines of a message: none, where it holds templates only.
pub type Translator = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum JsonTarget {
    /// Standard output.
    Stdout,
    /// Files, changed as IPFIX Files are.
    Files(FileTarget),
}

/// The way there.
pub struct JsonTransport {
    output: Output,
    translator: Translator,
    message_size: usize,
}

#[derive(Debug)]
enum Output {
    Stdout(StandardOutput),
    Files(FileTransport),
}

/// Standard output, whose reader may be slow, or leave.
#[derive(Debug, Default)]
struct StandardOutput {
    /// Nobody reads any more.
    has_left: bool,
    /// A line was not written to its end.
    is_torn: bool,
}

impl JsonTarget {
    /// Reads what the operator typed: `json:-`, or `json:///directory/prefix` with the options of `file:`.
    ///
    /// # Errors
    /// What has no meaning, in one line.
    pub(super) fn parse(text: &str) -> Result<Self, TransportError> {
        match text.split_once(':') {
            Some((_, "-")) => Ok(Self::Stdout),
            _ => FileTarget::parse(text, Content::JsonLines).map(Self::Files),
        }
    }
}

impl fmt::Display for JsonTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("json:-"),
            Self::Files(target) => write!(f, "json:{}", target.prefix.display()),
        }
    }
}

impl fmt::Debug for JsonTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonTransport").field("output", &self.output).finish_non_exhaustive()
    }
}

impl JsonTransport {
    /// Opens it; until a translator is given, messages are written as they are.
    ///
    /// # Errors
    /// As [`FileTransport::open`].
    pub fn open(target: &JsonTarget, message_size: Option<usize>) -> Result<Self, TransportError> {
        let output = match target {
            JsonTarget::Stdout => Output::Stdout(StandardOutput::default()),
            JsonTarget::Files(target) => Output::Files(FileTransport::open(target.clone(), message_size)?),
        };
        let message_size = message_size.unwrap_or(MESSAGE_SIZE);
        Ok(Self { output, translator: Box::new(<[u8]>::to_vec), message_size })
    }

    /// What makes lines of messages.
    pub fn translate_by(&mut self, translator: Translator) {
        self.translator = translator;
    }

    /// Octets that a message may have.
    pub fn message_limit(&self) -> usize {
        self.message_size
    }

    /// Where it writes, for the log.
    pub fn place(&self) -> String {
        match &self.output {
            Output::Stdout(_) => "standard output".to_owned(),
            Output::Files(files) => files.place(),
        }
    }

    /// As [`FileTransport::is_complete`].
    pub fn is_complete(&self, now: MonotonicNanos) -> bool {
        matches!(&self.output, Output::Files(files) if files.is_complete(now))
    }

    /// As [`FileTransport::deadline`].
    pub fn deadline(&self) -> Option<MonotonicNanos> {
        match &self.output {
            Output::Stdout(_) => None,
            Output::Files(files) => files.deadline(),
        }
    }

    /// Writes the lines of a message. After an error they are not in a file; of those to standard output some may have been read.
    ///
    /// # Errors
    /// The disk is full, nobody reads any more.
    pub async fn send(&mut self, message: &[u8], now: Instant) -> Result<(), TransportError> {
        let lines = (self.translator)(message);
        if lines.is_empty() {
            return Ok(());
        }
        match &mut self.output {
            Output::Stdout(output) => output.write(&lines).await,
            Output::Files(files) => tokio::task::block_in_place(|| files.send(&lines, now)),
        }
    }

    /// As [`FileTransport::complete`].
    ///
    /// # Errors
    /// As there.
    pub fn complete(&mut self) -> Result<(), TransportError> {
        match &mut self.output {
            Output::Stdout(_) => Ok(()),
            Output::Files(files) => tokio::task::block_in_place(|| files.complete()).map(drop),
        }
    }
}

impl StandardOutput {
    async fn write(&mut self, lines: &[u8]) -> Result<(), TransportError> {
        if self.has_left {
            return Err(TransportError::Output { source: ErrorKind::BrokenPipe.into() });
        }
        if self.is_torn {
            // The rest of the line is lost; the next one is whole again.
            self.piece(b"\n").await?;
            self.is_torn = false;
        }
        for piece in lines.chunks(PIECE) {
            self.is_torn = true;
            self.piece(piece).await?;
        }
        self.is_torn = false;
        Ok(())
    }

    /// Waits for room without holding anybody up: standard output is not ours alone, so it cannot be made non-blocking.
    async fn piece(&mut self, mut piece: &[u8]) -> Result<(), TransportError> {
        while !piece.is_empty() {
            if !has_room() {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            match tokio::task::block_in_place(|| rustix::io::write(io::stdout(), piece)) {
                Ok(written) => piece = piece.get(written..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => {
                    self.has_left = error == rustix::io::Errno::PIPE;
                    return Err(TransportError::Output { source: error.into() });
                }
            }
        }
        Ok(())
    }
}

/// Whether a piece can be written, or an error can be had.
fn has_room() -> bool {
    let output = io::stdout();
    let mut polled = [PollFd::new(&output, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Where it cannot be asked, writing tells.
    poll(&mut polled, Some(&now)).map_or(true, |ready| ready > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn lines_go_to_standard_output_or_to_files() {
        assert_eq!(JsonTarget::parse("json:-").unwrap().to_string(), "json:-");
        let files = JsonTarget::parse("json:///var/flows/r?rotate-size=1MiB&sync=off").unwrap();
        assert_eq!(files.to_string(), "json:/var/flows/r");
        for (text, reason) in [
            ("json:", "absolute path"),
            ("json:-?sync=off", "absolute path"),
            ("json://host/path", "absolute path"),
            ("json:///a?protocol=v9", "protocol has no meaning"),
            ("json:///a?sync=never", "sync is close"),
        ] {
            let error = JsonTarget::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_message_without_lines_makes_no_file() {
        let directory = std::env::temp_dir().join(format!("netflow-json-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let target = JsonTarget::parse(&format!("json://{}/f", directory.display())).unwrap();
        let mut transport = JsonTransport::open(&target, None).unwrap();
        transport.translate_by(Box::new(|message| match message {
            b"templates" => Vec::new(),
            _ => b"{}\n".to_vec(),
        }));
        transport.send(b"templates", Instant::default()).await.unwrap();
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        transport.send(b"records", Instant::default()).await.unwrap();
        transport.complete().unwrap();
        let names: Vec<_> =
            std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(names[0].to_str().unwrap().ends_with("Z.json"), "{names:?}");
        assert_eq!(std::fs::read(&names[0]).unwrap(), b"{}\n");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
