//! A collector of streams that understands nothing: it keeps what each connection brings in a file of its own.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::lab::Namespace;

/// How soon it notices that it is to stop.
const STEP: Duration = Duration::from_millis(50);

/// It listens until it is stopped.
pub struct StreamSink {
    stop: Arc<AtomicBool>,
    task: Option<JoinHandle<Result<()>>>,
    connections: Arc<AtomicUsize>,
}

impl StreamSink {
    /// Listens in a namespace. What comes is written to `NAME-1.ipfix` and so on in the directory.
    pub fn start(namespace: &Namespace, address: SocketAddr, directory: &Path, name: &str) -> Result<Self> {
        let listener = namespace.enter(|| TcpListener::bind(address))??;
        listener.set_nonblocking(true)?;
        let (stop, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&connections));
        let prefix = directory.join(name);
        let task = thread::spawn(move || serve(&listener, &prefix, &stopped, &counted));
        Ok(Self { stop, task: Some(task), connections })
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Says goodbye on all connections, takes what still comes on them, and listens no longer.
    pub fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.take().context("it is stopped once")?.join().map_err(|_| anyhow!("the sink panicked"))?
    }
}

impl Drop for StreamSink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve(listener: &TcpListener, prefix: &Path, stop: &Arc<AtomicBool>, counted: &AtomicUsize) -> Result<()> {
    let mut connections = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
                let file = PathBuf::from(format!("{}-{number}.ipfix", prefix.display()));
                let stop = Arc::clone(stop);
                connections.push(thread::spawn(move || keep(stream, &file, &stop)));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(STEP),
            Err(error) => return Err(error.into()),
        }
    }
    for connection in connections {
        connection.join().map_err(|_| anyhow!("a connection panicked"))??;
    }
    Ok(())
}

fn keep(mut stream: TcpStream, file: &Path, stop: &AtomicBool) -> io::Result<()> {
    let mut file = File::create(file)?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STEP))?;
    let mut octets = vec![0; 1 << 16];
    let mut said = false;
    loop {
        if stop.load(Ordering::Relaxed) && !said {
            // The peer closes in answer, and until then may send.
            stream.shutdown(std::net::Shutdown::Write)?;
            said = true;
        }
        match stream.read(&mut octets) {
            Ok(0) => return Ok(()),
            Ok(length) => file.write_all(&octets[..length])?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}
