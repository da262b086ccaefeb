//! A collector by SCTP that understands nothing: it keeps each user message, of one association after the other.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, accept_with, bind, ipproto, listen, recv, socket_with,
};

use crate::lab::Namespace;

/// How long it waits for a peer, and for the next message.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon it notices that it is to go on, or to end.
const STEP: Duration = Duration::from_millis(20);
const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Peers that are still to come at the end come within so long.
const LAST_PEER: Duration = Duration::from_secs(1);

/// It listens for peers.
pub struct SctpSink {
    orders: Arc<Orders>,
    task: JoinHandle<Result<Vec<Vec<u8>>>>,
}

#[derive(Default)]
struct Orders {
    waits: AtomicBool,
    ends: AtomicBool,
    aborts: AtomicBool,
}

/// Whether this kernel has SCTP.
pub fn is_here() -> bool {
    open().is_ok()
}

fn open() -> Result<OwnedFd, Errno> {
    // No process that is started meanwhile is to have it.
    socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::SCTP))
}

impl SctpSink {
    /// Listens in a namespace.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let sink = Self::start_waiting(namespace, address)?;
        sink.go_on();
        Ok(sink)
    }

    /// The same, but it reads nothing until it [goes on](Self::go_on).
    pub fn start_waiting(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let listener = namespace.enter(|| -> Result<OwnedFd> {
            let listener = open().context("no SCTP socket")?;
            // An association that was aborted has the port for a moment still.
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = bind(&listener, &address) {
                let is_taken = error == Errno::ADDRINUSE && Instant::now() < deadline;
                ensure!(is_taken, "bind: {error}");
                thread::sleep(STEP);
            }
            listen(&listener, 8).context("listen")?;
            Ok(listener)
        })??;
        let orders = Arc::new(Orders { waits: true.into(), ..Orders::default() });
        let taken = Arc::clone(&orders);
        Ok(Self { orders, task: thread::spawn(move || serve(&listener, &taken)) })
    }

    /// From now on it reads.
    pub fn go_on(&self) {
        self.orders.waits.store(false, Ordering::Relaxed);
    }

    /// The messages, once the last association has ended.
    pub fn finish(self) -> Result<Vec<Vec<u8>>> {
        self.orders.ends.store(true, Ordering::Relaxed);
        self.task.join().map_err(|_| anyhow!("the sink panicked"))?
    }

    /// The messages that have come, behind an ABORT.
    pub fn abort(self) -> Result<Vec<Vec<u8>>> {
        self.orders.aborts.store(true, Ordering::Relaxed);
        self.task.join().map_err(|_| anyhow!("the sink panicked"))?
    }
}

fn is_ready(socket: &OwnedFd) -> Result<bool> {
    Ok(poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&POLL))? > 0)
}

fn serve(listener: &OwnedFd, orders: &Orders) -> Result<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    let mut since = Instant::now();
    let mut patience = PATIENCE;
    loop {
        if orders.aborts.load(Ordering::Relaxed) {
            return Ok(messages);
        }
        if is_ready(listener)? {
            let peer = accept_with(listener, SocketFlags::CLOEXEC)?;
            if keep(&peer, orders, &mut messages)? {
                return Ok(messages);
            }
            (since, patience) = (Instant::now(), LAST_PEER);
            continue;
        }
        let is_over = since.elapsed() > patience;
        ensure!(!is_over || patience == LAST_PEER, "nobody came over SCTP");
        if is_over && orders.ends.load(Ordering::Relaxed) {
            return Ok(messages);
        }
    }
}

/// Keeps what comes until the peer ends, or says that it was aborted.
fn keep(peer: &OwnedFd, orders: &Orders, messages: &mut Vec<Vec<u8>>) -> Result<bool> {
    while orders.waits.load(Ordering::Relaxed) {
        thread::sleep(STEP);
    }
    let mut buffer = vec![0; 1 << 16];
    let mut last = Instant::now();
    loop {
        if orders.aborts.load(Ordering::Relaxed) {
            set_socket_linger(peer, Some(Duration::ZERO))?;
            return Ok(true);
        }
        if !is_ready(peer)? {
            ensure!(last.elapsed() < PATIENCE, "nothing came over SCTP");
            continue;
        }
        last = Instant::now();
        let (length, _) = recv(peer, &mut buffer[..], RecvFlags::empty())?;
        if length == 0 {
            return Ok(false);
        }
        messages.push(buffer[..length].to_vec());
    }
}
