//! Connections to peers that behave and that do not.
#![allow(clippy::unwrap_used, reason = "tests")]

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{clock, transport::ExportProtocol};

fn now() -> MonotonicNanos {
    clock::now().monotonic
}

fn transport(address: SocketAddr) -> TcpTransport {
    let mut destination = Destination {
        transport: TransportKind::Tcp,
        ..Destination::udp(address.ip().to_string(), address.port(), ExportProtocol::Ipfix)
    };
    destination.options.timeout = Duration::from_secs(20);
    TcpTransport::new(&destination, None).unwrap()
}

async fn connected() -> (TcpListener, TcpStream, TcpTransport) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut transport = transport(listener.local_addr().unwrap());
    assert!(!transport.is_connected() && transport.ends().is_none());
    let event = transport.event(now).await;
    assert!(matches!(event, Event::Connected), "{event:?}");
    let (peer, from) = listener.accept().await.unwrap();
    assert_eq!(transport.ends(), Some((from, listener.local_addr().unwrap())));
    (listener, peer, transport)
}

async fn until_acknowledged(transport: &mut TcpTransport) {
    while transport.acknowledged() < transport.written() {
        let event = transport.event(now).await;
        assert!(matches!(event, Event::Acknowledged), "{event:?}");
    }
}

#[tokio::test]
async fn messages_follow_one_another_and_are_acknowledged() {
    // TCP-CONN-1, TCP-FRAME-1.
    let (_listener, mut peer, mut transport) = connected().await;
    transport.send(b"one").await.unwrap();
    transport.send(b"two").await.unwrap();
    assert_eq!(transport.written(), 6);
    until_acknowledged(&mut transport).await;
    // TCP-CONN-5.
    transport.close().await;
    let mut arrived = Vec::new();
    peer.read_to_end(&mut arrived).await.unwrap();
    assert_eq!(arrived, b"onetwo");
}

#[tokio::test]
async fn a_peer_that_closes_ends_the_session_and_what_it_acknowledged_is_known() {
    let (_listener, peer, mut transport) = connected().await;
    transport.send(b"arrives").await.unwrap();
    until_acknowledged(&mut transport).await;
    drop(peer);
    let event = transport.event(now).await;
    assert!(matches!(&event, Event::Disconnected(TransportError::ConnectionLost { .. })), "{event:?}");
    assert_eq!(transport.acknowledged(), 7);
    // TCP-CONN-2: the next attempt is a minute after the last.
    let wait = transport.give_up(now());
    assert!(!transport.is_connected());
    assert!((Duration::from_secs(50)..Duration::from_secs(80)).contains(&wait), "{wait:?}");
    assert_eq!(transport.written(), 0);
}

#[tokio::test]
async fn what_a_peer_did_not_take_before_a_reset_is_not_acknowledged() {
    let (_listener, peer, mut transport) = connected().await;
    // More than both buffers hold, to one who reads nothing: written to the end only when the connection is gone.
    let message = vec![7; 1 << 20];
    let mut accepted = 0;
    while let Ok(result) = tokio::time::timeout(Duration::from_millis(300), transport.send(&message)).await {
        result.unwrap();
        accepted += 1;
        assert!(accepted < 64, "it has a limit");
    }
    let written = transport.written();
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let error = transport.send(&message).await.unwrap_err();
    assert!(matches!(error, TransportError::ConnectionLost { .. }), "{error}");
    let acknowledged = transport.acknowledged();
    assert!(acknowledged > 0 && acknowledged < written, "{acknowledged} of {written}");
}

#[tokio::test]
async fn attempts_that_fail_are_told_and_come_ever_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut transport = transport(address);
    let event = transport.event(now).await;
    assert!(matches!(&event, Event::Disconnected(TransportError::Connect { .. })), "{event:?}");
    let mut shortest = Duration::ZERO;
    for failures in 1..8 {
        transport.failures = failures;
        let wait = wait(transport.destination.options.retry, transport.failures);
        assert!(wait >= Duration::from_secs(60) && wait <= Duration::from_secs(75 * 8), "{wait:?}");
        assert!(wait >= shortest.saturating_sub(Duration::from_secs(15)), "{wait:?}");
        shortest = wait;
    }
}
