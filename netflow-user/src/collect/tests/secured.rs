//! TLS and DTLS with certificates made here, and peers that are refused.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

use super::connections::{Running, expected, messages, sorted};
use super::*;
use crate::collect::{ListenUrl, Listener};

/// A directory with `ca.pem`, and certificate and key of `server` and `client`, and of `stranger`, whom nobody vouches for.
struct Authority(PathBuf);

impl Authority {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("netflow-tls-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        let this = Self(directory);
        let ca = certificate("authority", None);
        this.write("ca", &ca);
        for name in ["server", "client"] {
            this.write(name, &certificate(name, Some(&ca)));
        }
        this.write("stranger", &certificate("stranger", None));
        this
    }

    fn write(&self, name: &str, (certificate, key): &(X509, PKey<Private>)) {
        fs::write(self.file(name, "pem"), certificate.to_pem().unwrap()).unwrap();
        fs::write(self.file(name, "key"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    }

    fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.0.join(format!("{name}.{kind}"))
    }

    fn url(&self, scheme: &str, mutual: bool) -> String {
        let file = |name, kind| self.file(name, kind).display().to_string();
        let own = format!("cert={}&key={}", file("server", "pem"), file("server", "key"));
        let authority = if mutual { format!("&client-ca={}", file("ca", "pem")) } else { String::new() };
        format!("{scheme}://127.0.0.1:0?{own}{authority}")
    }

    /// A client that takes our certificate, and shows its own.
    fn connector(&self, method: SslMethod, client: Option<&str>) -> SslConnector {
        let mut builder = SslConnector::builder(method).unwrap();
        builder.set_ca_file(self.file("ca", "pem")).unwrap();
        builder.set_verify(SslVerifyMode::PEER);
        if let Some(name) = client {
            builder.set_certificate_file(self.file(name, "pem"), SslFiletype::PEM).unwrap();
            builder.set_private_key_file(self.file(name, "key"), SslFiletype::PEM).unwrap();
        }
        builder.build()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn certificate(name: &str, issuer: Option<&(X509, PKey<Private>)>) -> (X509, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let number = BigNum::from_u32(name.len() as u32).unwrap();
    builder.set_serial_number(&number.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&*subject, |(issuer, _)| issuer.subject_name())).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    if name == "authority" {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    } else {
        let names = SubjectAlternativeName::new().ip("127.0.0.1").build(&builder.x509v3_context(None, None));
        builder.append_extension(names.unwrap()).unwrap();
    }
    builder.sign(issuer.map_or(&key, |(_, key)| key), MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

/// A connected socket as a stream of datagrams.
#[derive(Debug)]
struct Datagrams(UdpSocket);

impl Datagrams {
    fn to(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(socket)
    }
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }
}

impl Write for Datagrams {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.send(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn dtls(
    authority: &Authority,
    client: Option<&str>,
    socket: Datagrams,
) -> Result<SslStream<Datagrams>, String> {
    let configuration = authority.connector(SslMethod::dtls_client(), client).configure().unwrap();
    let mut ssl = configuration.into_ssl("127.0.0.1").unwrap();
    ssl.set_mtu(1200).unwrap();
    ssl.connect(socket).map_err(|error| format!("{error:?}"))
}

fn tls(
    authority: &Authority,
    client: Option<&str>,
    address: SocketAddr,
) -> Result<SslStream<TcpStream>, String> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let connector = authority.connector(SslMethod::tls_client(), client);
    let mut stream = connector.connect("127.0.0.1", stream).map_err(|error| format!("{error:?}"))?;
    // In TLS 1.3 a client is refused behind its handshake.
    stream.ssl_read(&mut []).map_or(Ok(()), |_| Ok::<(), String>(()))?;
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_by_tls_are_those_by_datagrams() {
    let authority = Authority::new();
    let running = Running::start(&[&authority.url("tls", false), &authority.url("tls", true)]);
    for (address, client) in running.addresses.iter().zip([None, Some("client")]) {
        let mut stream = tls(&authority, client, *address).unwrap();
        stream.write_all(&messages().concat()).unwrap();
        stream.shutdown().unwrap();
    }
    running.until(42).await;
    let (lines, summary) = running.finish().await;
    let twice: Vec<String> = expected().into_iter().flat_map(|line| [line.clone(), line]).collect();
    assert_eq!(sorted(lines), twice);
    assert!(summary.to_string().ends_with("; nothing lost"), "{summary}");
}

// RFC 7011 section 11.3: no record of a peer that is not who it has to be.
#[tokio::test(flavor = "multi_thread")]
async fn peers_without_a_good_certificate_and_plain_ones_are_refused() {
    let authority = Authority::new();
    let running = Running::start(&[&authority.url("tls", true), &authority.url("dtls", true)]);
    let [stream, datagrams] = running.addresses[..] else { unreachable!() };
    for client in [None, Some("stranger")] {
        if let Ok(mut stream) = tls(&authority, client, stream) {
            // Both may fail: it is refused by now.
            let _ = stream.write_all(&messages().concat()).and_then(|()| stream.read(&mut [0]));
        }
        assert!(dtls(&authority, client, Datagrams::to(datagrams)).is_err());
    }
    let mut plain = TcpStream::connect(stream).unwrap();
    plain.write_all(&messages().concat()).unwrap();
    let _ = plain.read(&mut [0; 64]);
    Datagrams::to(datagrams).write_all(&vector(6)).unwrap();
    let (lines, summary) = running.finish().await;
    assert_eq!(lines, Vec::<String>::new());
    assert!(summary.to_string().contains("6 handshakes failed"), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_peers_of_dtls_share_a_port_and_may_begin_anew() {
    let authority = Authority::new();
    let running = Running::start(&[&authority.url("dtls", false), &authority.url("dtls", true)]);
    for (address, client) in running.addresses.iter().zip([None, Some("client")]) {
        let mut peers: Vec<_> =
            (0..5).map(|_| dtls(&authority, client, Datagrams::to(*address)).unwrap()).collect();
        for message in messages() {
            peers.iter_mut().for_each(|peer| peer.write_all(&message).unwrap());
        }
        // Without a word, from the same port: as after a crash.
        let socket = peers.remove(0).get_ref().0.try_clone().unwrap();
        let mut again = dtls(&authority, client, Datagrams(socket)).unwrap();
        messages().iter().for_each(|message| again.write_all(message).unwrap());
        peers.iter_mut().for_each(|peer| drop(peer.shutdown()));
    }
    running.until(252).await;
    let (lines, summary) = running.finish().await;
    let all: Vec<String> = expected().into_iter().flat_map(|line| vec![line; 12]).collect();
    assert_eq!(sorted(lines), all);
    assert!(summary.to_string().ends_with("; nothing lost"), "{summary}");
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let authority = Authority::new();
    let bad = authority.file("bad", "pem");
    fs::write(&bad, "no certificate").unwrap();
    let show = |path: &Path| path.display().to_string();
    let (server, key) = (show(&authority.file("server", "pem")), show(&authority.file("client", "key")));
    for scheme in ["tls", "dtls"] {
        for (certificate, key, named) in [
            (show(&bad), key.clone(), show(&bad)),
            (server.clone(), show(&bad), show(&bad)),
            (server.clone(), "/no/such/file".to_owned(), "/no/such/file".to_owned()),
            // Of another certificate.
            (server.clone(), key.clone(), String::new()),
        ] {
            let url =
                ListenUrl::parse(&format!("{scheme}://127.0.0.1:0?cert={certificate}&key={key}")).unwrap();
            let error = Listener::open(&[url]).err().unwrap().to_string();
            assert!(error.starts_with("cannot use /") && error.contains(&named), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
