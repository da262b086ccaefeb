//! A collector by SCTP that understands nothing: it keeps each user message of one association.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketType, accept, bind, ipproto, listen, recv, socket};

use crate::lab::Namespace;

/// How long it waits for a peer, and for the next message.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// How soon it notices that it is to go on.
const STEP: Duration = Duration::from_millis(20);

/// It listens for one peer.
pub struct SctpSink {
    waits: Arc<AtomicBool>,
    task: JoinHandle<Result<Vec<Vec<u8>>>>,
}

/// Whether this kernel has SCTP.
pub fn is_here() -> bool {
    open().is_ok()
}

fn open() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::SCTP))
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
            bind(&listener, &address).context("bind")?;
            listen(&listener, 1).context("listen")?;
            Ok(listener)
        })??;
        let waits = Arc::new(AtomicBool::new(true));
        let is_waiting = Arc::clone(&waits);
        Ok(Self { waits, task: thread::spawn(move || serve(&listener, &is_waiting)) })
    }

    /// From now on it reads.
    pub fn go_on(&self) {
        self.waits.store(false, Ordering::Relaxed);
    }

    /// The messages, once the association has ended.
    pub fn finish(self) -> Result<Vec<Vec<u8>>> {
        self.task.join().map_err(|_| anyhow!("the sink panicked"))?
    }
}

fn wait(socket: &OwnedFd) -> Result<()> {
    let ready = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&PATIENCE))?;
    ensure!(ready > 0, "nothing came over SCTP");
    Ok(())
}

fn serve(listener: &OwnedFd, waits: &AtomicBool) -> Result<Vec<Vec<u8>>> {
    wait(listener)?;
    let peer = accept(listener)?;
    while waits.load(Ordering::Relaxed) {
        thread::sleep(STEP);
    }
    let mut messages = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        wait(&peer)?;
        let (length, _) = recv(&peer, &mut buffer[..], RecvFlags::empty())?;
        if length == 0 {
            return Ok(messages);
        }
        messages.push(buffer[..length].to_vec());
    }
}
