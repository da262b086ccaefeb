//! The answering side. Everything is bounded: clients, the length of a line, the time for a request, the time for an
//! answer to be taken. Nothing here waits on the metering thread's time, only the other way round.

use std::{future::Future, io, sync::Arc, time::Duration};

use rustix::process::{geteuid, getuid};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};
use tracing::{debug, info};

use super::{Reply, Request, Socket};

/// Clients that are served at once; further ones wait in the socket's backlog.
const CLIENTS: usize = 64;
/// The longest request, octets.
const LINE_LIMIT: usize = 16 << 10;
/// How long a client may take for a request: from its connection, and from the answer before.
const REQUEST_TIME: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(5) };
/// How long an answer may take to be made.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How long a client may take for reading an answer.
const READ_TIME: Duration = Duration::from_secs(20);
/// Between two attempts to accept, where no descriptor is left.
const RETRY: Duration = Duration::from_millis(100);

/// What a client may do, by its credentials. That it may connect at all is the file's mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Root, or the agent's own user: everything.
    All,
    /// A member of the socket's group: ask, and change nothing.
    Ask,
}

/// Whoever knows the answers.
pub trait Responder: Send + Sync + 'static {
    /// The answer as JSON, or why there is none in one line.
    fn respond(
        &self,
        request: Request,
        access: Access,
    ) -> impl Future<Output = Result<String, String>> + Send;
}

/// Serves clients until it is dropped.
///
/// # Errors
/// The socket cannot be waited for.
pub fn serve<R: Responder>(
    socket: &Socket,
    responder: Arc<R>,
) -> io::Result<impl Future<Output = ()> + Send + use<R>> {
    let listener = UnixListener::from_std(socket.listener()?)?;
    Ok(async move {
        let places = Arc::new(Semaphore::new(CLIENTS));
        loop {
            // A place first: who finds none waits in the backlog, where it costs nothing.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let responder = Arc::clone(&responder);
                    tokio::spawn(async move {
                        if let Err(error) = serve_one(stream, &*responder).await {
                            debug!("a client of the control socket is given up: {error}");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    debug!("cannot accept a client of the control socket: {error}");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    })
}

async fn serve_one(mut stream: UnixStream, responder: &impl Responder) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let access = access_of(peer.uid());
    let mut received = Vec::new();
    while let Some(line) = timeout(REQUEST_TIME, next_line(&mut stream, &mut received)).await?? {
        let reply = match serde_json::from_slice::<Request>(&line) {
            Err(error) => Err(format!("not a request: {error}")),
            Ok(request) if request.is_change() && access != Access::All => {
                Err("only root and the agent's own user may change something".to_owned())
            }
            Ok(request) => {
                if request.is_change() {
                    info!("uid {} asks for {}", peer.uid(), in_words(&request));
                }
                let answer = timeout(ANSWER_TIME, responder.respond(request, access)).await;
                answer.unwrap_or_else(|_| Err("the answer took too long".to_owned()))
            }
        };
        let text = match reply {
            Ok(json) => format!("{{\"ok\":{json}}}\n"),
            Err(error) => {
                let mut text = serde_json::to_string(&Reply::<()>::Error(error))?;
                text.push('\n');
                text
            }
        };
        timeout(READ_TIME, stream.write_all(text.as_bytes())).await??;
    }
    Ok(())
}

/// The next line without its end; `None` at the end of the stream. `received` keeps what came behind it.
async fn next_line(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    let mut searched = 0;
    loop {
        if let Some(end) = received[searched..].iter().position(|octet| *octet == b'\n') {
            let rest = received.split_off(searched + end + 1);
            let mut line = std::mem::replace(received, rest);
            line.pop();
            return Ok(Some(line));
        }
        searched = received.len();
        if searched > LINE_LIMIT {
            return Err(io::Error::other("the request is too long"));
        }
        let mut octets = [0; 4096];
        match stream.read(&mut octets).await? {
            0 if received.is_empty() => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => received.extend_from_slice(&octets[..read]),
        }
    }
}

fn access_of(uid: u32) -> Access {
    let own = [0, getuid().as_raw(), geteuid().as_raw()];
    if own.contains(&uid) { Access::All } else { Access::Ask }
}

fn in_words(request: &Request) -> String {
    serde_json::to_string(request).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncBufReadExt as _, BufReader};

    use super::*;

    /// Says how often it was asked.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Responder for Counting {
        async fn respond(&self, request: Request, _: Access) -> Result<String, String> {
            match request {
                Request::ShowLedger => Ok(self.0.fetch_add(1, Ordering::Relaxed).to_string()),
                _ => Err("something else".to_owned()),
            }
        }
    }

    async fn answers(stream: UnixStream, lines: usize) -> Vec<String> {
        let mut reader = BufReader::new(stream);
        let mut answers = Vec::new();
        for _ in 0..lines {
            let mut line = String::new();
            reader.read_line(&mut line).await.unwrap();
            answers.push(line);
        }
        answers
    }

    fn start(directory: &tempfile::TempDir) -> (Socket, tokio::task::JoinHandle<()>) {
        let socket = Socket::bind(&directory.path().join("control.sock")).unwrap();
        let task = tokio::spawn(serve(&socket, Arc::new(Counting::default())).unwrap());
        (socket, task)
    }

    #[tokio::test]
    async fn several_requests_on_a_connection_are_answered_in_order_and_nonsense_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, _task) = start(&directory);
        let mut stream = UnixStream::connect(socket.path()).await.unwrap();
        let asked = b"{\"request\":\"show-ledger\"}\nhello\n{\"request\":\"show-summary\"}\n{\"request\":\"show-ledger\"}\n";
        stream.write_all(asked).await.unwrap();
        let answers = answers(stream, 4).await;
        assert_eq!(answers[0], "{\"ok\":0}\n");
        assert!(answers[1].starts_with("{\"error\":\"not a request"), "{}", answers[1]);
        assert_eq!(answers[2], "{\"error\":\"something else\"}\n");
        assert_eq!(answers[3], "{\"ok\":1}\n");
    }

    #[tokio::test]
    async fn all_of_many_clients_are_served_though_some_say_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, _task) = start(&directory);
        let mut silent = Vec::new();
        for _ in 0..CLIENTS - 1 {
            silent.push(UnixStream::connect(socket.path()).await.unwrap());
        }
        let clients = (0..3 * CLIENTS).map(|_| {
            let path = socket.path().to_owned();
            tokio::spawn(async move {
                let mut stream = UnixStream::connect(path).await.unwrap();
                stream.write_all(b"{\"request\":\"show-ledger\"}\n").await.unwrap();
                answers(stream, 1).await.remove(0)
            })
        });
        for client in clients.collect::<Vec<_>>() {
            assert!(client.await.unwrap().starts_with("{\"ok\":"));
        }
    }

    #[tokio::test]
    async fn endless_lines_and_silence_end_the_connection() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, _task) = start(&directory);
        let mut endless = UnixStream::connect(socket.path()).await.unwrap();
        // It may be closed before all of it is written.
        let _ = endless.write_all(&vec![b'x'; 3 * LINE_LIMIT]).await;
        let mut end = Vec::new();
        let _ = endless.read_to_end(&mut end).await;
        assert!(end.is_empty());
        let mut silent = UnixStream::connect(socket.path()).await.unwrap();
        assert_eq!(silent.read_to_end(&mut end).await.unwrap(), 0);
    }

    #[test]
    fn root_and_the_agents_user_may_do_everything_and_others_ask() {
        assert_eq!(access_of(0), Access::All);
        assert_eq!(access_of(getuid().as_raw()), Access::All);
        assert_eq!(access_of(u32::MAX - 2), Access::Ask);
    }
}
