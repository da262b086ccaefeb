//! Traffic of others: iperf3's TCP, and datagrams that are answered.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ::tests::{
    lab::{Lab, Namespace},
    process::{Process, run},
};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::machine::Pinned;

/// The metered end's address.
const SERVER: &str = "10.77.0.2";
const ECHO_PORT: u16 = 7007;

const WAIT: Duration = Duration::from_secs(10);
/// A datagram that is answered no sooner is lost.
const ANSWER: Duration = Duration::from_secs(2);
/// How often the end that answers looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);

/// Bits per second of one TCP connection as the server received them; nothing where there is no iperf3.
///
/// # Errors
/// iperf3 fails.
pub fn throughput(lab: &Lab, client_cpu: usize, server_cpu: usize, seconds: u64) -> Result<Option<f64>> {
    let pinned = |namespace: &Namespace, cpu: usize, arguments: &[&str]| {
        let cpu = cpu.to_string();
        namespace.command("taskset", &[&["-c", &cpu, "iperf3"], arguments].concat())
    };
    if run(lab.monitor.command("iperf3", &["--version"])).is_err() {
        return Ok(None);
    }
    let server = pinned(&lab.monitor, server_cpu, &["--server", "--one-off", "--forceflush"]);
    let server = Process::spawn(server)?;
    let deadline = Instant::now() + WAIT;
    while !server.stdout().contains("listening") {
        ensure!(Instant::now() < deadline, "iperf3's server does not listen: {}", server.stderr().trim());
        thread::sleep(Duration::from_millis(5));
    }
    let seconds = seconds.to_string();
    let client = pinned(&lab.generator, client_cpu, &["--client", SERVER, "--time", &seconds, "--json"]);
    let told: Value = serde_json::from_str(&run(client)?.stdout).context("iperf3 told no JSON")?;
    server.finish(WAIT)?;
    let rate = told.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    rate.map(Some).context("iperf3 told no bits per second")
}

/// Microseconds, the median, that a datagram and its answer take, with both ends on one CPU.
///
/// # Errors
/// A datagram or an answer is lost.
pub fn exchange(lab: &Lab, cpu: usize, exchanges: u32) -> Result<f64> {
    let server = lab.monitor.enter(|| UdpSocket::bind((SERVER, ECHO_PORT)))??;
    let client = lab.generator.enter(|| UdpSocket::bind(("10.77.0.1", 0)))??;
    client.connect((SERVER, ECHO_PORT))?;
    server.set_read_timeout(Some(LOOK))?;
    client.set_read_timeout(Some(ANSWER))?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| answer(&server, cpu, &is_over));
        let asked = scope.spawn(|| ask(&client, cpu, exchanges)).join();
        is_over.store(true, Ordering::Relaxed);
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Sends each datagram back, until it is over.
fn answer(socket: &UdpSocket, cpu: usize, is_over: &AtomicBool) {
    let _pinned = Pinned::to(cpu);
    let mut datagram = [0; 64];
    while !is_over.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut datagram) {
            // Where it fails, the other end waits in vain and says so.
            let _ = socket.send_to(&datagram[..length], from);
        }
    }
}

fn ask(socket: &UdpSocket, cpu: usize, exchanges: u32) -> Result<f64> {
    let _pinned = Pinned::to(cpu);
    let mut datagram = [7; 64];
    let mut nanos = Vec::with_capacity(exchanges as usize);
    for _ in 0..exchanges {
        let begin = Instant::now();
        socket.send(&datagram)?;
        socket.recv(&mut datagram).context("a datagram was not answered")?;
        nanos.push(begin.elapsed().as_nanos() as f64);
    }
    nanos.sort_by(f64::total_cmp);
    let median = nanos.get(nanos.len() / 2).context("no exchanges")?;
    Ok(median / 1000.0)
}
