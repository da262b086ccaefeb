//! Serves metrics by HTTP: `GET /metrics` and nothing else, to a bounded number of clients for a bounded time. Nothing
//! here waits for the meter, and the meter waits for nothing here.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderName},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::debug;

use super::picture::Picture;
use crate::{
    agent::Statuses,
    clock,
    interface::{Interfaces, ReceiveDrops},
    time::MonotonicNanos,
};

/// Clients at once; further ones wait to be accepted.
const CLIENTS: usize = 32;
/// A client has to send its request within this time,
const REQUEST: Duration = Duration::from_secs(2);
/// and to have taken the answer within this one.
const ANSWER: Duration = Duration::from_secs(5);
/// Octets and lines of a request's header.
const HEADER_OCTETS: usize = 16 << 10;
const HEADER_LINES: usize = 64;
/// A pause where no connection can be accepted, because descriptors have run out, say.
const PAUSE: Duration = Duration::from_millis(200);
/// Interfaces are asked no more often than this.
const DROPS: Duration = Duration::from_secs(1);

const PATH: &str = "/metrics";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Interfaces that are metered: ifIndex and name.
pub type MeteredNames = Vec<(u32, String)>;

/// Where metrics are served; not before [`Listener::serve`].
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// Serves as long as it lives.
#[derive(Debug)]
pub struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What scrapes are made of.
struct Source {
    statuses: Statuses,
    metered: watch::Receiver<MeteredNames>,
    interfaces: Interfaces,
    drops: Mutex<Drops>,
}

/// The interfaces' counters.
#[derive(Default)]
struct Drops {
    /// When they were asked for.
    asked: Option<MonotonicNanos>,
    /// By the interfaces' names.
    counted: Vec<(String, ReceiveDrops)>,
}

impl Listener {
    /// Takes the address.
    ///
    /// # Errors
    /// It is taken, or not this machine's.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let listener = StdTcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener: TcpListener::from_std(listener)?, address })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves from now on.
    pub fn serve(
        self,
        statuses: Statuses,
        metered: watch::Receiver<MeteredNames>,
        interfaces: Interfaces,
    ) -> Server {
        let source = Source { statuses, metered, interfaces, drops: Mutex::default() };
        Server(tokio::spawn(accept(self.listener, Arc::new(source))))
    }
}

async fn accept(listener: TcpListener, source: Arc<Source>) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    // It is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, client)) => {
                let source = Arc::clone(&source);
                tokio::spawn(async move {
                    match timeout(ANSWER, talk(stream, source)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => debug!("metrics: client {client}: {error}"),
                        Err(_) => debug!("metrics: client {client} is too slow"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                debug!("metrics: cannot accept a connection: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// One request and its answer.
async fn talk(stream: TcpStream, source: Arc<Source>) -> hyper::Result<()> {
    let service = service_fn(|request| answer(&source, request));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .keep_alive(false)
        .max_buf_size(HEADER_OCTETS)
        .max_headers(HEADER_LINES)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(source: &Source, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != PATH {
        return Ok(said(StatusCode::NOT_FOUND, "metrics are at /metrics\n"));
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = said(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are allowed\n");
        set(&mut response, ALLOW, "GET, HEAD");
        return Ok(response);
    }
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let open = accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.trim_start().starts_with("application/openmetrics-text"));
    let picture = source.picture().await;
    let (text, kind) = if open { (picture.open_metrics(), OPEN_METRICS) } else { (picture.plain(), PLAIN) };
    let Ok(text) = text else {
        return Ok(said(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n"));
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    set(&mut response, CONTENT_TYPE, kind);
    Ok(response)
}

fn said(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, "text/plain; charset=utf-8");
    response
}

fn set(response: &mut Response<Full<Bytes>>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
}

impl Source {
    async fn picture(&self) -> Picture {
        // Neither holds up who writes them: a pointer is copied, and names.
        let status = self.statuses.borrow().clone();
        Picture { status, interfaces: self.drops().await }
    }

    /// What the metered interfaces dropped; those of which it is not known are not shown.
    async fn drops(&self) -> Vec<(String, ReceiveDrops)> {
        let mut known = self.drops.lock().await;
        let now = clock::now().monotonic;
        if known.asked.is_none_or(|asked| now.since(asked) >= DROPS) {
            let metered = self.metered.borrow().clone();
            let mut counted = Vec::with_capacity(metered.len());
            for (index, name) in metered {
                match self.interfaces.receive_drops(index).await {
                    Ok(Some(drops)) => counted.push((name, drops)),
                    Ok(None) => {}
                    Err(error) => debug!("metrics: {}", crate::agent::chain(&error)),
                }
            }
            *known = Drops { asked: Some(now), counted };
        }
        known.counted.clone()
    }
}
