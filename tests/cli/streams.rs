//! IPFIX Files sent to `netflow collect` by programs not written here, over TCP, TLS and DTLS: it prints what it prints of
//! the file.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tests::agent::binary;
use tests::process::{COMMAND_TIMEOUT, Process, command, run};

use crate::support::{assert_refused, flows, netflow, wait, write_pcap};

const FLOWS: u16 = 3000;

/// Messages of one IPFIX File, none longer than a path takes.
fn file(directory: &Path) -> PathBuf {
    let capture = directory.join("capture.pcap");
    write_pcap(&capture, &flows(FLOWS)).unwrap();
    let url = format!("file://{}/flows", directory.display());
    let read =
        ["read", capture.to_str().unwrap(), "-c", &url, "--message-size", "1200", "--export-rate", "0"];
    let read = netflow(&read);
    assert!(read.status.success(), "{}", read.stderr);
    let mut files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "ipfix")).unwrap()
}

fn certificate(directory: &Path) -> (String, String) {
    let [certificate, key] =
        ["server.pem", "server.key"].map(|name| directory.join(name).display().to_string());
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=collector -addext subjectAltName=IP:127.0.0.1";
    let files = ["-keyout", &key, "-out", &certificate];
    run(command("openssl", arguments.split(' ').chain(files))).unwrap();
    (certificate, key)
}

/// Records without what tells the ways apart.
fn records(json: &str) -> Vec<String> {
    let mut records: Vec<String> =
        json.lines().map(|line| line.replace("\"exporter\":\"127.0.0.1\",", "")).collect();
    records.sort();
    records
}

/// Gives a program the messages one by one: it sends what it reads at once as one record.
fn feed(program: &str, arguments: &[String], file: &Path) {
    let mut child = command(program, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let octets = fs::read(file).unwrap();
    let mut rest = &octets[..];
    while let [_, _, high, low, ..] = rest {
        let (message, behind) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
        stdin.write_all(message).unwrap();
        thread::sleep(Duration::from_millis(3));
        rest = behind;
    }
    drop(stdin);
    wait(&mut child, COMMAND_TIMEOUT);
}

#[test]
fn a_file_sent_by_tcp_tls_and_dtls_is_printed_as_the_file_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = file(directory.path());
    let expected = netflow(&["collect", file.to_str().unwrap(), "--format", "json"]);
    assert_eq!(expected.stdout.lines().count(), usize::from(FLOWS), "{}", expected.stderr);
    let (certificate, key) = certificate(directory.path());
    for scheme in ["tcp", "tls", "dtls"] {
        let identity = if scheme == "tcp" { String::new() } else { format!("?cert={certificate}&key={key}") };
        let url = format!("{scheme}://127.0.0.1:0{identity}");
        // Something else beside it.
        let arguments = ["collect", "--listen", &url, "--listen", "udp://127.0.0.1:0", "--format", "json"];
        let mut collector = Process::spawn(command(binary().unwrap().to_str().unwrap(), arguments)).unwrap();
        collector.wait_for_stderr("listening on udp://", COMMAND_TIMEOUT).unwrap();
        let said = collector.stderr();
        let (_, place) = said.split_once(&format!("listening on {scheme}://")).unwrap();
        let place = place.lines().next().unwrap().to_owned();
        match scheme {
            "tcp" => drop(
                run(command("socat", ["-u", &format!("FILE:{}", file.display()), &format!("TCP:{place}")]))
                    .unwrap(),
            ),
            _ => {
                let version = if scheme == "tls" { "-tls1_3" } else { "-dtls1_2" };
                let arguments = ["s_client", "-connect", &place, version, "-quiet", "-no_ign_eof"];
                let trust = ["-CAfile", &certificate, "-verify_return_error", "-verify_ip", "127.0.0.1"];
                let arguments: Vec<String> = arguments.into_iter().chain(trust).map(str::to_owned).collect();
                feed("openssl", &arguments, &file);
            }
        }
        collector.signal(Signal::TERM).unwrap();
        let finished = collector.finish(COMMAND_TIMEOUT).unwrap();
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        assert!(finished.stderr.contains("nothing lost"), "{scheme}: {}", finished.stderr);
        assert!(records(&finished.stdout) == records(&expected.stdout), "{scheme}: {}", finished.stderr);
    }
}

#[test]
fn connections_beyond_the_limit_are_refused_and_counted_and_the_others_go_on() {
    // As README says.
    const MOST: usize = 1024;
    const BEYOND: usize = 3;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let octets = fs::read(file(directory.path())).unwrap();
    let program = binary().unwrap();
    // A common limit of descriptors, below that of connections.
    let limited = ["-c", "ulimit -S -n 1024 && exec \"$@\"", "sh", program.to_str().unwrap()];
    let arguments = ["collect", "--listen", "tcp://127.0.0.1:0", "--format", "json"];
    let mut collector = Process::spawn(command("sh", limited.into_iter().chain(arguments))).unwrap();
    collector.wait_for_stderr("listening on tcp://", COMMAND_TIMEOUT).unwrap();
    let said = collector.stderr();
    let place = said.split_once("listening on tcp://").unwrap().1.lines().next().unwrap().to_owned();
    let connect = || TcpStream::connect(&place).unwrap();
    let is_closed = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0))
    };
    let mut connections: Vec<TcpStream> = (0..MOST).map(|_| connect()).collect();
    for _ in 0..BEYOND {
        assert!(is_closed(&mut connect()));
    }
    // Those that are there go on, and who leaves makes place.
    connections[MOST - 1].write_all(&octets).unwrap();
    drop(connections.remove(0));
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    let mut refused = BEYOND;
    loop {
        let mut next = connect();
        next.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        if !matches!(next.read(&mut [0; 1]), Ok(0)) {
            connections.push(next);
            break;
        }
        refused += 1;
        assert!(Instant::now() < deadline, "no place again");
    }
    collector.signal(Signal::TERM).unwrap();
    let finished = collector.finish(COMMAND_TIMEOUT).unwrap();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert_eq!(finished.stdout.lines().count(), usize::from(FLOWS), "{}", finished.stderr);
    let expected = format!("{refused} connections refused, too many at once");
    assert!(finished.stderr.contains(&expected), "{expected}: {}", finished.stderr);
    assert_eq!(finished.stderr.matches("refused: there are as many as may be").count(), 1);
}

#[test]
fn what_could_not_be_decoded_is_named_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let whole = fs::read(file(directory.path())).unwrap();
    // Without the first message, which has the templates, and without the end of the last one.
    let first = usize::from(u16::from_be_bytes([whole[2], whole[3]]));
    let cut = directory.path().join("cut.ipfix");
    fs::write(&cut, &whole[first..whole.len() - 3]).unwrap();
    let finished = netflow(&["collect", cut.to_str().unwrap(), "--format", "json"]);
    assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(0), ""), "{}", finished.stderr);
    for text in [
        "sets with id 256: no template 256 has come (from ::, IPFIX, domain 1)",
        "messages: not as long as the header says",
    ] {
        assert!(finished.stderr.contains(text), "{}", finished.stderr);
    }
}

#[test]
fn files_of_a_listener_that_are_of_no_use_are_named() {
    let refused = netflow(&["collect", "--listen", "tls://127.0.0.1:0?cert=/no/such&key=/no/such"]);
    assert_refused(&refused, 1, &["cannot use /no/such"]);
    let refused = netflow(&["collect", "--listen", "tls://127.0.0.1:0"]);
    assert_refused(&refused, 2, &["a certificate and its key are needed"]);
}
