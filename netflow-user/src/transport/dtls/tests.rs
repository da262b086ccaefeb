//! Connections to OpenSSL's own server, in a thread.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::UdpSocket as StdSocket;
use std::path::{Path, PathBuf};
use std::thread;

use openssl::ssl::{Ssl, SslContext, SslFiletype, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::X509;

use super::super::certificates::fingerprint;
use super::super::test_certificates::{Authority, Leaf};
use super::super::{ExportProtocol, TransportKind};
use super::*;
use crate::clock;

struct Scene {
    authority: Authority,
    directory: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("netflow-dtls-{name}-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let authority = Authority::new("ours").unwrap();
        authority.write(&directory, "ca").unwrap();
        Self { authority, directory }
    }

    fn destination(&self, address: SocketAddr) -> Destination {
        let mut destination =
            Destination::udp(address.ip().to_string(), address.port(), ExportProtocol::Ipfix);
        destination.transport = TransportKind::Dtls;
        destination.options.timeout = Duration::from_secs(10);
        destination.options.tls.ca = Some(self.directory.join("ca.pem"));
        destination.options.tls.name = Some("localhost".to_owned());
        destination
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A datagram socket as OpenSSL wants it.
#[derive(Debug)]
struct Wire(StdSocket);

impl io::Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }
}

impl io::Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.send(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Accepts the one who sends first, and returns the records of its connection; none if the handshake fails.
fn serve(socket: StdSocket, pem: PathBuf, demands: Option<PathBuf>) -> thread::JoinHandle<Vec<Vec<u8>>> {
    thread::spawn(move || accept(socket, &pem, demands, usize::MAX))
}

/// The same, up to so many records.
fn accept(socket: StdSocket, pem: &Path, demands: Option<PathBuf>, most: usize) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut context = SslContext::builder(SslMethod::dtls_server()).unwrap();
    context.set_certificate_file(pem, SslFiletype::PEM).unwrap();
    context.set_private_key_file(pem, SslFiletype::PEM).unwrap();
    if let Some(ca) = demands {
        context.set_ca_file(ca).unwrap();
        context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    let from = loop {
        let mut datagram = [0; 2048];
        let (_, from) = socket.peek_from(&mut datagram).unwrap();
        // The content type of a handshake; what is left of an old connection is none.
        if datagram[0] == 22 {
            break from;
        }
        socket.recv(&mut datagram).unwrap();
    };
    socket.connect(from).unwrap();
    let mut ssl = Ssl::new(&context.build()).unwrap();
    ssl.set_mtu(1400).unwrap();
    let mut stream = SslStream::new(ssl, Wire(socket)).unwrap();
    let mut records = Vec::new();
    if stream.accept().is_ok() {
        let mut buffer = [0; 16_384];
        while records.len() < most
            && let Ok(length @ 1..) = stream.ssl_read(&mut buffer)
        {
            records.push(buffer[..length].to_vec());
        }
    }
    records
}

async fn event(transport: &mut DtlsTransport) -> Event {
    timeout(Duration::from_secs(20), transport.event(|| clock::now().monotonic))
        .await
        .expect("something happens")
}

#[tokio::test]
async fn a_message_is_a_record_and_a_datagram_within_the_limit() {
    // DTLS-2, DTLS-3, TLS-5
    let scene = Scene::new("good");
    let socket = StdSocket::bind("127.0.0.1:0").unwrap();
    let mut destination = scene.destination(socket.local_addr().unwrap());
    let server = scene.authority.issue(&Leaf::SERVER).unwrap().write(&scene.directory, "server").unwrap();
    let own = scene.authority.issue(&Leaf::CLIENT).unwrap().write(&scene.directory, "own").unwrap();
    destination.options.tls.cert = Some(own);
    let serving = serve(socket, server, Some(scene.directory.join("ca.pem")));
    let mut transport = DtlsTransport::new(&destination, None).unwrap();
    assert!(transport.send(b"early").await.is_err());
    assert!(matches!(event(&mut transport).await, Event::Connected));
    let limit = transport.message_limit();
    assert_eq!(limit, 1472 - 37);
    let before = transport.counters();
    transport.send(b"short").await.unwrap();
    transport.send(&vec![7; limit]).await.unwrap();
    let after = transport.counters();
    assert_eq!(after.sent - before.sent, 2);
    assert_eq!(after.sent_octets - before.sent_octets, 5 + 37 + 1472);
    let error = transport.send(&vec![7; limit + 1]).await.unwrap_err();
    assert!(
        matches!(error, TransportError::TooLong { length, limit: said, .. } if length == limit + 1 && said == limit)
    );
    transport.close().await;
    assert_eq!(serving.join().unwrap(), [b"short".to_vec(), vec![7; limit]]);
}

#[tokio::test]
async fn a_collector_that_is_not_who_it_should_be_gets_nothing() {
    // TLS-6, TLS-7, TLS-8, TLS-12
    let scene = Scene::new("bad");
    let issue = |leaf: &Leaf<'_>| scene.authority.issue(leaf).unwrap();
    let stranger = Authority::new("theirs").unwrap();
    let cases = [
        (issue(&Leaf::EXPIRED), "its certificate has expired"),
        (issue(&Leaf::NOT_YET_VALID), "its certificate is not valid yet"),
        (issue(&Leaf::WRONG_NAME), "its certificate is not for 'localhost'"),
        (issue(&Leaf::COMMON_NAME_ONLY), "its certificate is not for 'localhost'"),
        (issue(&Leaf::WRONG_USAGE), "its certificate is not one for servers"),
        (stranger.issue(&Leaf::SERVER).unwrap(), "no authority that is trusted vouches"),
        (Leaf::SERVER.self_signed().unwrap(), "no authority that is trusted vouches"),
    ];
    for (i, (shown, reason)) in cases.iter().enumerate() {
        let socket = StdSocket::bind("127.0.0.1:0").unwrap();
        let destination = scene.destination(socket.local_addr().unwrap());
        let serving = serve(socket, shown.write(&scene.directory, &i.to_string()).unwrap(), None);
        let mut transport = DtlsTransport::new(&destination, None).unwrap();
        let Event::Disconnected(error) = event(&mut transport).await else { panic!("connected: {reason}") };
        let said = error.to_string();
        assert!(said.contains("the DTLS handshake failed: ") && said.contains(reason), "{reason}: {said}");
        assert!(serving.join().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_collector_that_wants_a_certificate_gets_nothing_without_one() {
    let scene = Scene::new("client");
    let socket = StdSocket::bind("127.0.0.1:0").unwrap();
    let destination = scene.destination(socket.local_addr().unwrap());
    let server = scene.authority.issue(&Leaf::SERVER).unwrap().write(&scene.directory, "server").unwrap();
    let serving = serve(socket, server, Some(scene.directory.join("ca.pem")));
    let mut transport = DtlsTransport::new(&destination, None).unwrap();
    let Event::Disconnected(error) = event(&mut transport).await else { panic!("connected") };
    assert!(error.to_string().contains("wants a certificate of this exporter"), "{error}");
    assert!(serving.join().unwrap().is_empty());
}

#[tokio::test]
async fn only_certificates_on_the_list_are_sent_to_and_those_need_no_authority() {
    let scene = Scene::new("pinned");
    let alone = Leaf::SERVER.self_signed().unwrap();
    let old = Leaf::EXPIRED.self_signed().unwrap();
    let vouched = scene.authority.issue(&Leaf::SERVER).unwrap();
    let list = [&alone, &old, &vouched].map(|identity| fingerprint(&identity.der));
    assert_eq!(
        list[0],
        fingerprint(&X509::from_pem(alone.certificate.as_bytes()).unwrap().to_der().unwrap())
    );
    let other = Leaf::SERVER.self_signed().unwrap();
    let cases = [
        (&alone, None),
        (&vouched, None),
        (&old, Some("has expired")),
        (&other, Some("is none of those allowed")),
    ];
    for (i, (shown, refused)) in cases.into_iter().enumerate() {
        let socket = StdSocket::bind("127.0.0.1:0").unwrap();
        let mut destination = scene.destination(socket.local_addr().unwrap());
        destination.options.tls.ca = None;
        destination.options.tls.fingerprints = list.to_vec();
        let serving = serve(socket, shown.write(&scene.directory, &i.to_string()).unwrap(), None);
        let mut transport = DtlsTransport::new(&destination, None).unwrap();
        match (event(&mut transport).await, refused) {
            (Event::Connected, None) => transport.close().await,
            (Event::Disconnected(error), Some(reason)) => {
                assert!(error.to_string().contains(reason), "{error}")
            }
            (other, _) => panic!("{i}: {other:?}"),
        }
        drop(transport);
        assert!(serving.join().unwrap().is_empty());
    }
}

#[tokio::test]
async fn who_is_not_there_or_speaks_something_else_is_given_up_in_time() {
    // DTLS-4, TLS-10
    let scene = Scene::new("away");
    let socket = StdSocket::bind("127.0.0.1:0").unwrap();
    let mut destination = scene.destination(socket.local_addr().unwrap());
    destination.options.timeout = Duration::from_secs(1);
    let mut transport = DtlsTransport::new(&destination, None).unwrap();
    let Event::Disconnected(error) = event(&mut transport).await else { panic!("connected") };
    assert!(error.to_string().ends_with("it did not answer in time"), "{error}");
    // The next attempt comes when it is due, and no sooner.
    assert!(transport.give_up(clock::now().monotonic) > Duration::from_secs(30));
    drop(socket);
    let mut transport = DtlsTransport::new(&destination, None).unwrap();
    let Event::Disconnected(error) = event(&mut transport).await else { panic!("connected") };
    assert!(error.to_string().ends_with("nobody listens there, says ICMP"), "{error}");
}

#[tokio::test]
async fn a_collector_that_came_back_is_found_by_the_next_handshake() {
    // DTLS-4: nothing tells of it.
    let scene = Scene::new("renewed");
    let socket = StdSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut destination = scene.destination(address);
    destination.options.resolve_interval = Duration::from_secs(1);
    let server = scene.authority.issue(&Leaf::SERVER).unwrap().write(&scene.directory, "server").unwrap();
    let serving = thread::spawn(move || {
        let first = accept(socket, &server, None, 1);
        (first, accept(StdSocket::bind(address).unwrap(), &server, None, 1))
    });
    let mut transport = DtlsTransport::new(&destination, None).unwrap();
    for message in [b"one", b"two"] {
        assert!(matches!(event(&mut transport).await, Event::Connected));
        transport.send(message).await.unwrap();
    }
    assert_eq!(serving.join().unwrap(), (vec![b"one".to_vec()], vec![b"two".to_vec()]));
    // And when nobody is there, that is noticed, and the record is to go again.
    transport.send(b"lost").await.unwrap();
    let Event::Disconnected(error) = event(&mut transport).await else { panic!("connected") };
    assert!(matches!(error, TransportError::ConnectionLost { .. }), "{error}");
    transport.give_up(clock::now().monotonic);
    assert!(!transport.is_connected() && transport.counters().sent > 3);
}

#[tokio::test]
async fn only_cipher_suites_that_authenticate_encrypt_and_protect_are_offered() {
    // TLS-4: ephemeral keys, certificates, an AEAD.
    const GOOD: [u16; 9] = [0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0x009e, 0x009f, 0xccaa];
    /// TLS_EMPTY_RENEGOTIATION_INFO_SCSV, which is no suite.
    const SIGNAL: u16 = 0x00ff;
    let scene = Scene::new("suites");
    let socket = StdSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut destination = scene.destination(socket.local_addr().unwrap());
    destination.options.timeout = Duration::from_secs(1);
    let mut transport = DtlsTransport::new(&destination, None).unwrap();
    assert!(matches!(event(&mut transport).await, Event::Disconnected(_)));
    let mut hello = [0; 2048];
    socket.recv(&mut hello).unwrap();
    // Record and handshake headers, version, random; then the session id and the cookie.
    let id = 13 + 12 + 2 + 32;
    let cookie = id + 1 + usize::from(hello[id]);
    let suites = cookie + 1 + usize::from(hello[cookie]);
    let octets = usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
    let offered: Vec<_> = hello[suites + 2..suites + 2 + octets]
        .chunks(2)
        .map(|suite| u16::from_be_bytes([suite[0], suite[1]]))
        .collect();
    assert!(offered.iter().all(|suite| GOOD.contains(suite) || *suite == SIGNAL), "{offered:04x?}");
    assert!(GOOD.iter().any(|suite| offered.contains(suite)));
}
