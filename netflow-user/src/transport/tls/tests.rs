//! Handshakes with a server in the same process.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;

use super::super::certificates::fingerprint;
use super::super::test_certificates::{Authority, Identity as Made, Leaf};
use super::super::{ExportProtocol, TransportKind};
use super::*;

struct Scene {
    authority: Authority,
    stranger: Authority,
    directory: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("netflow-tls-{name}-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let (authority, stranger) = (Authority::new("ours").unwrap(), Authority::new("theirs").unwrap());
        authority.write(&directory, "ca").unwrap();
        Self { authority, stranger, directory }
    }

    fn destination(&self) -> Destination {
        let mut destination = Destination::udp("localhost", 4740, ExportProtocol::Ipfix);
        destination.transport = TransportKind::Tls;
        destination.options.timeout = Duration::from_secs(20);
        destination.options.tls.ca = Some(self.directory.join("ca.pem"));
        destination
    }

    /// A server with this certificate, which demands one of its authority's clients if `demands`.
    fn server(
        &self,
        shown: &Made,
        demands: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsAcceptor {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap();
        let builder = if demands {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_slice(shown.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
        TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Sends a message if it may, and returns what the server read of it.
async fn exchange(destination: &Destination, server: TlsAcceptor) -> (Result<(), String>, Vec<u8>) {
    let client = TlsClient::new(destination).unwrap();
    let (near, far): (DuplexStream, DuplexStream) = duplex(1 << 16);
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        if let Ok(mut stream) = server.accept(far).await {
            let _ = stream.read_to_end(&mut read).await;
        }
        read
    });
    let result = match client.connect(near, "127.0.0.1:4740".parse().unwrap()).await {
        Ok(mut stream) => {
            stream.write_all(b"message").await.unwrap();
            stream.shutdown().await.unwrap();
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    };
    (result, reading.await.unwrap())
}

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

#[tokio::test]
async fn a_collector_that_is_who_it_should_be_is_sent_to_by_either_version() {
    // TLS-1, TLS-3, TLS-5
    let scene = Scene::new("good");
    let server = scene.authority.issue(&Leaf::SERVER).unwrap();
    let mut destination = scene.destination();
    let own = scene.authority.issue(&Leaf::CLIENT).unwrap();
    destination.options.tls.cert = Some(own.write(&scene.directory, "own").unwrap());
    for host in ["localhost", "127.0.0.1", "::1"] {
        destination.host = host.to_owned();
        for version in BOTH {
            for demands in [false, true] {
                let (result, read) = exchange(&destination, scene.server(&server, demands, &[version])).await;
                assert_eq!((result, read.as_slice()), (Ok(()), b"message".as_slice()), "{version:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_collector_that_is_not_who_it_should_be_gets_nothing() {
    // TLS-6, TLS-7, TLS-10, TLS-12
    let scene = Scene::new("bad");
    let issue = |leaf: &Leaf<'_>| scene.authority.issue(leaf).unwrap();
    let cases = [
        (issue(&Leaf::EXPIRED), "its certificate has expired"),
        (issue(&Leaf::NOT_YET_VALID), "its certificate is not valid yet"),
        (issue(&Leaf::WRONG_NAME), "its certificate is not for 'localhost' but for"),
        (issue(&Leaf::COMMON_NAME_ONLY), "its certificate is not for 'localhost': no subjectAltName says so"),
        (issue(&Leaf::WRONG_USAGE), "its certificate is not one for servers"),
        (scene.stranger.issue(&Leaf::SERVER).unwrap(), "no authority that is trusted vouches"),
        (Leaf::SERVER.self_signed().unwrap(), "no authority that is trusted vouches"),
    ];
    for (shown, reason) in cases {
        for version in BOTH {
            let (result, read) =
                exchange(&scene.destination(), scene.server(&shown, false, &[version])).await;
            let said = result.unwrap_err();
            assert!(said.starts_with("collector 127.0.0.1:4740: the TLS handshake failed: "), "{said}");
            assert!(said.contains(reason) && !said.contains('\n'), "{said}");
            assert!(read.is_empty());
        }
    }
}

#[tokio::test]
async fn a_certificate_that_signs_itself_is_good_where_it_is_the_one_that_is_trusted() {
    // TLS-12: self-signed is refused unless pinned.
    let scene = Scene::new("itself");
    let named = |leaf: &Leaf<'_>, is_authority| {
        if is_authority { leaf.self_signed_authority() } else { leaf.self_signed() }.unwrap()
    };
    for is_authority in [true, false] {
        let mut destination = scene.destination();
        for (leaf, refused) in [
            (Leaf::SERVER, None),
            (Leaf::WRONG_NAME, Some("is not for 'localhost'")),
            (Leaf::EXPIRED, Some("has expired")),
        ] {
            let shown = named(&leaf, is_authority);
            destination.options.tls.ca = Some(shown.write(&scene.directory, "itself").unwrap());
            let (result, read) = exchange(&destination, scene.server(&shown, false, &BOTH)).await;
            match refused {
                None => assert_eq!((result, read.as_slice()), (Ok(()), b"message".as_slice())),
                Some(reason) => {
                    let said = result.unwrap_err();
                    assert!(said.contains(reason) && read.is_empty(), "{said}");
                }
            }
        }
        // Another one of the same name.
        let shown = named(&Leaf::SERVER, is_authority);
        let (result, read) = exchange(&destination, scene.server(&shown, false, &BOTH)).await;
        assert!(result.is_err() && read.is_empty());
    }
}

#[tokio::test]
async fn a_collector_that_wants_a_certificate_gets_nothing_without_one() {
    // TLS-5: in TLS 1.3 it says so only when this end takes the handshake for complete.
    let scene = Scene::new("client");
    let server = scene.authority.issue(&Leaf::SERVER).unwrap();
    for version in BOTH {
        let (result, read) = exchange(&scene.destination(), scene.server(&server, true, &[version])).await;
        let said = result.unwrap_err();
        assert!(said.contains("wants a certificate of this exporter (cert=FILE)"), "{version:?}: {said}");
        assert!(read.is_empty());
    }
    let mut destination = scene.destination();
    let foreign = scene.stranger.issue(&Leaf::CLIENT).unwrap();
    destination.options.tls.cert = Some(foreign.write(&scene.directory, "foreign").unwrap());
    for version in BOTH {
        let (result, read) = exchange(&destination, scene.server(&server, true, &[version])).await;
        let said = result.unwrap_err();
        assert!(said.contains("it refuses the certificate of this exporter"), "{version:?}: {said}");
        assert!(read.is_empty());
    }
}

#[tokio::test]
async fn only_certificates_on_the_list_are_sent_to() {
    // TLS-8; with a list and no authorities, what is on it needs none.
    let scene = Scene::new("pinned");
    let alone = Leaf::SERVER.self_signed().unwrap();
    let vouched = scene.authority.issue(&Leaf::SERVER).unwrap();
    let old = Leaf::EXPIRED.self_signed().unwrap();
    let mut destination = scene.destination();
    destination.options.tls.fingerprints =
        vec![fingerprint(&vouched.der), fingerprint(&alone.der), fingerprint(&old.der)];
    let said = async |destination: &Destination, shown: &Made| {
        exchange(destination, scene.server(shown, false, &BOTH)).await.0
    };
    assert_eq!(said(&destination, &vouched).await, Ok(()));
    assert!(said(&destination, &alone).await.unwrap_err().contains("no authority"));
    let other = scene.authority.issue(&Leaf::SERVER).unwrap();
    assert!(said(&destination, &other).await.unwrap_err().contains("is none of those allowed"));
    destination.options.tls.ca = None;
    assert_eq!(said(&destination, &alone).await, Ok(()));
    assert_eq!(said(&destination, &vouched).await, Ok(()));
    assert!(said(&destination, &old).await.unwrap_err().contains("has expired"));
    destination.host = "other.example".to_owned();
    assert!(said(&destination, &alone).await.unwrap_err().contains("is not for 'other.example'"));
    destination.options.tls.name = Some("localhost".to_owned());
    assert_eq!(said(&destination, &alone).await, Ok(()));
}

#[tokio::test]
async fn what_does_not_speak_tls_gets_nothing_and_does_not_hold_up() {
    // TLS-10
    let scene = Scene::new("plain");
    let mut destination = scene.destination();
    destination.options.timeout = Duration::from_secs(1);
    let client = TlsClient::new(&destination).unwrap();
    let peer = "127.0.0.1:4740".parse().unwrap();
    for (answer, reason) in [
        (b"220 ready\r\n".as_slice(), "it does not answer in TLS"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "it speaks neither TLS 1.2 nor TLS 1.3"),
        (b"", "it did not answer in time"),
    ] {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(answer).await.unwrap();
        let said = client.connect(near, peer).await.unwrap_err().to_string();
        assert!(said.contains(reason), "{said}");
    }
    let (near, far) = duplex(1 << 16);
    drop(far);
    assert!(client.connect(near, peer).await.is_err());
}

#[tokio::test]
async fn only_cipher_suites_that_authenticate_encrypt_and_protect_are_offered() {
    // TLS-4: those of TLS 1.3, and of TLS 1.2 those with ephemeral keys and an AEAD.
    const GOOD: [u16; 9] = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9];
    /// TLS_EMPTY_RENEGOTIATION_INFO_SCSV, which is no suite.
    const SIGNAL: u16 = 0x00ff;
    let scene = Scene::new("suites");
    let client = TlsClient::new(&scene.destination()).unwrap();
    let (near, mut far) = duplex(1 << 16);
    let connecting = tokio::spawn(async move {
        let _ = client.connect(near, "127.0.0.1:4740".parse().unwrap()).await;
    });
    let mut hello = vec![0; 512];
    let length = far.read(&mut hello).await.unwrap();
    connecting.abort();
    hello.truncate(length);
    // Record and handshake headers, version, random; then the session id.
    let id = 5 + 4 + 2 + 32;
    let suites = id + 1 + usize::from(hello[id]);
    let octets = usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
    let offered: Vec<_> = hello[suites + 2..suites + 2 + octets]
        .chunks(2)
        .map(|suite| u16::from_be_bytes([suite[0], suite[1]]))
        .collect();
    assert!(offered.iter().all(|suite| GOOD.contains(suite) || *suite == SIGNAL), "{offered:04x?}");
    assert!(GOOD.iter().any(|suite| offered.contains(suite)));
}
