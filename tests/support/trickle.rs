//! A little traffic for as long as a test likes: packets of 100 octets, one flow after the other, about a thousand a second.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::frames::{frame, udp};
use crate::lab::{GENERATOR_INTERFACE, Lab};
use crate::raw::RawSender;

/// Sends packets of so many flows until it is to stop, or fails at the limit. Says how many.
pub fn trickle(lab: &Lab, flows: u16, limit: Duration, stop: &AtomicBool) -> Result<u64> {
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
    let to: SocketAddr = (Ipv4Addr::new(10, 2, 0, 2), 53).into();
    let frames: Vec<Vec<u8>> = (0..flows)
        .map(|flow| frame(&udp((Ipv4Addr::new(10, 1, 0, 1), 1000 + flow).into(), to, &[0; 72])))
        .collect();
    let (mut sent, deadline) = (0, Instant::now() + limit);
    for frame in frames.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if Instant::now() > deadline {
            bail!("nobody has stopped the traffic");
        }
        sender.send(frame)?;
        sent += 1;
        thread::sleep(Duration::from_millis(1));
    }
    ensure!(sent > 0, "no traffic");
    Ok(sent)
}

/// Says stop when it goes.
pub struct OnDrop<'a>(pub &'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
