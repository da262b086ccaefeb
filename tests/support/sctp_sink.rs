//! A collector by SCTP that understands nothing: it keeps each user message of one association.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketType, accept, bind, ipproto, listen, recv, socket};

use crate::lab::Namespace;

/// How long it waits for a peer, and for the next message.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// It listens for one peer.
pub struct SctpSink {
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
        let listener = namespace.enter(|| -> Result<OwnedFd> {
            let listener = open().context("no SCTP socket")?;
            bind(&listener, &address).context("bind")?;
            listen(&listener, 1).context("listen")?;
            Ok(listener)
        })??;
        Ok(Self { task: thread::spawn(move || serve(&listener)) })
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

fn serve(listener: &OwnedFd) -> Result<Vec<Vec<u8>>> {
    wait(listener)?;
    let peer = accept(listener)?;
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
