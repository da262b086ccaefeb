//! A stream of IPFIX Messages, cut by their Length (RFC 7011 section 10.4.2.3): the same for TCP and TLS.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::time::timeout;

use super::inbox::{Ending, Event, Gone, Inbox};
use super::peer::Peer;
use crate::framing::{HEADER_LEN, message_length};

/// How long a message may take from its first octet to its last, and the first one to begin. Between messages
/// an exporter may be silent for as long as it likes.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is read at once.
const BUFFER: usize = 16 * 1024;

/// Hands on the messages of a connection until it is over, and says why it is. An error means that nobody decodes
/// any more.
pub(super) async fn receive(
    stream: impl AsyncRead + Unpin,
    peer: Peer,
    inbox: &Inbox,
    patience: Duration,
) -> Result<Ending, Gone> {
    let mut reader = BufReader::with_capacity(BUFFER, stream);
    let mut first = true;
    loop {
        let begun = reader.fill_buf();
        let begun = match first {
            true => match timeout(patience, begun).await {
                Ok(begun) => begun,
                Err(_) => return Ok(Ending::Slow),
            },
            false => begun.await,
        };
        match begun {
            Ok([]) => return Ok(Ending::Closed),
            Ok(_) => {}
            // Nothing of a message is lost: who crashes, or is not polite with TLS, ends so.
            Err(_) => return Ok(Ending::Closed),
        }
        first = false;
        let octets = match timeout(patience, next_message(&mut reader)).await {
            Err(_) => return Ok(Ending::Slow),
            Ok(Ok(Some(octets))) => octets,
            Ok(Ok(None)) => return Ok(Ending::Foreign),
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                return Ok(Ending::Cut { cause: "the peer closed it".to_owned() });
            }
            Ok(Err(error)) => return Ok(Ending::Cut { cause: error.to_string() }),
        };
        inbox.put(Event::Message { peer, octets }).await?;
    }
}

/// As long as a message may take where nothing else is said.
pub(super) fn patience() -> Duration {
    PATIENCE
}

/// The next message; `None` where what comes is none, which its first octets tell.
async fn next_message(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; HEADER_LEN];
    reader.read_exact(&mut header[..2]).await?;
    // With a Length that is one, since it is not there yet: only the version is judged.
    if message_length(&[header[0], header[1], 0xff, 0xff]).is_none() {
        return Ok(None);
    }
    reader.read_exact(&mut header[2..4]).await?;
    let Some(length) = message_length(&header) else { return Ok(None) };
    reader.read_exact(&mut header[4..]).await?;
    let mut octets = vec![0; length];
    octets[..HEADER_LEN].copy_from_slice(&header);
    reader.read_exact(&mut octets[HEADER_LEN..]).await?;
    Ok(Some(octets))
}
