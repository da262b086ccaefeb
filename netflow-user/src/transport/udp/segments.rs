//! Many datagrams in one system call, by UDP_SEGMENT (kernel 4.18): the kernel carries them as one through routing, filters and
//! queues, and the interface or the last step before it parts them. They must be of one length, the last one may be shorter.
//!
//! sendmmsg was tried and gains nothing: what a datagram costs is its way through the stack, not the system call. quinn-udp
//! writes traffic class and path MTU discovery of its own over those of the operator.

use std::{
    io::{self, IoSlice},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::io::Errno;
use tokio::io::Interest;

use super::{
    super::{burst::Burst, error::TransportError},
    UdpTransport,
};

/// Fewer go each by itself: little would be gained.
const WORTH: usize = 8;

impl UdpTransport {
    /// Sends the messages of a burst, as many as it can in one system call. It says how many went, whenever this ends or
    /// is dropped. An error is about the one behind them; those behind that were not tried.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_all(&mut self, burst: &mut Burst) -> Result<(), TransportError> {
        while let Some(train) = burst.train() {
            let is_worth = self.segments && train.messages >= WORTH;
            let segment = u16::try_from(train.segment).ok().filter(|_| is_worth);
            // What is too long is so by itself: together, it would hide what is told of earlier datagrams.
            if let Some(segment) = segment.filter(|_| train.segment <= self.path_limit()) {
                match self.try_hard(train.octets, Some(segment)).await {
                    Ok(()) => {
                        let messages = train.messages;
                        self.counters.sent += messages as u64;
                        self.counters.sent_octets += train.octets.len() as u64;
                        burst.advance(messages);
                        continue;
                    }
                    Err(error) => self.doubt(&error, train.segment),
                }
            }
            // One by one, as each has its own end.
            let Some(message) = burst.next() else { break };
            self.send(message).await?;
            burst.advance(1);
        }
        Ok(())
    }

    /// Whether an error means that the way to the Collector does not have this at all: an interface without checksums of
    /// its own before kernel 6.11, or IPsec.
    fn doubt(&mut self, error: &TransportError, segment: usize) {
        let TransportError::Send { source, .. } = error else { return };
        let is_refused =
            matches!(Errno::from_io_error(source), Some(Errno::INVAL | Errno::IO | Errno::OPNOTSUPP));
        // Datagrams beyond the path MTU are refused in the same way.
        if is_refused && segment <= self.path_limit() {
            tracing::debug!("collector {}: datagrams go one by one: {source}", self.peer);
            self.segments = false;
        }
    }

    /// One system call: one datagram, or several of `segment` octets each.
    pub(super) async fn transmit(&mut self, octets: &[u8], segment: Option<u16>) -> io::Result<()> {
        self.counters.calls += 1;
        let Some(segment) = segment else { return self.socket.send(octets).await.map(drop) };
        let call = || {
            let parts = [IoSlice::new(octets)];
            let segments = [ControlMessage::UdpGsoSegments(&segment)];
            Ok(sendmsg::<()>(self.socket.as_raw_fd(), &parts, &segments, MsgFlags::empty(), None)?)
        };
        self.socket.async_io(Interest::WRITABLE, call).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{
        super::tests::{connect, listener, received},
        *,
    };

    /// Messages of these lengths, each of its own octet.
    fn burst(lengths: impl IntoIterator<Item = usize>) -> (Burst, Vec<Vec<u8>>) {
        let messages: Vec<_> = lengths
            .into_iter()
            .zip((0..=u8::MAX).cycle())
            .map(|(length, octet)| vec![octet; length])
            .collect();
        let mut burst = Burst::default();
        messages.iter().for_each(|message| burst.push(message));
        (burst, messages)
    }

    #[tokio::test]
    async fn messages_of_one_length_go_in_one_system_call_and_arrive_as_they_are() {
        let collector = listener("127.83.1.5:0");
        let mut transport = connect(collector.local_addr().unwrap(), None).unwrap();
        let (mut burst, messages) = burst([1400; 20].into_iter().chain([900, 1404, 1404]));
        transport.send_all(&mut burst).await.unwrap();
        for message in &messages {
            assert_eq!(received(&collector), (message.clone(), transport.local().unwrap()));
        }
        let counters = transport.counters();
        let octets: usize = messages.iter().map(Vec::len).sum();
        assert_eq!((burst.sent(), counters.sent, counters.sent_octets), (23, 23, octets as u64));
        // The last two are too few.
        assert_eq!((counters.calls, counters.not_sent), (3, 0));
    }

    #[tokio::test]
    async fn over_ipv6_too() {
        if std::net::UdpSocket::bind("[::1]:0").is_err() {
            eprintln!("skipped: this host has no IPv6");
            return;
        }
        let collector = listener("[::1]:0");
        let mut transport = connect(collector.local_addr().unwrap(), None).unwrap();
        let (mut burst, messages) = burst([1452; 32]);
        transport.send_all(&mut burst).await.unwrap();
        assert!(messages.iter().all(|message| received(&collector).0 == *message));
        assert_eq!(transport.counters().calls, 1);
    }

    #[tokio::test]
    async fn a_refusal_of_an_earlier_datagram_costs_a_burst_nothing() {
        // UDP-ERR-1
        let address = listener("127.83.1.6:0").local_addr().unwrap();
        let mut transport = connect(address, None).unwrap();
        transport.send(b"to nobody").await.unwrap();
        let alive = listener(&address.to_string());
        let (mut burst, messages) = burst([100; 20]);
        transport.send_all(&mut burst).await.unwrap();
        assert!(messages.iter().all(|message| received(&alive).0 == *message));
        let counters = transport.counters();
        assert_eq!((counters.sent, counters.not_sent, counters.refused, counters.calls), (21, 0, 1, 3));
    }

    #[tokio::test]
    async fn a_burst_beyond_the_path_mtu_ends_before_the_first_message_that_is() {
        // UDP-MTU-1
        let collector = listener("127.83.1.7:0");
        let mut transport = connect(collector.local_addr().unwrap(), Some(usize::MAX)).unwrap();
        let longest = transport.message_limit();
        let (mut burst, messages) = burst([700, 700].into_iter().chain([longest + 1; 10]));
        let error = transport.send_all(&mut burst).await.unwrap_err();
        assert!(matches!(error, TransportError::TooLong { limit, .. } if limit == longest), "{error}");
        assert_eq!((burst.sent(), transport.counters().sent, transport.counters().not_sent), (2, 2, 1));
        assert!(messages[..2].iter().all(|message| received(&collector).0 == *message));
        assert!(transport.segments, "that says nothing of other lengths");
    }

    #[tokio::test]
    async fn where_the_kernel_does_not_take_a_burst_its_messages_go_one_by_one() {
        let collector = listener("127.83.1.8:0");
        let mut transport = connect(collector.local_addr().unwrap(), None).unwrap();
        // No kernel takes more than 128.
        let (mut burst, messages) = burst([20; 200]);
        transport.send_all(&mut burst).await.unwrap();
        assert!(messages.iter().all(|message| received(&collector).0 == *message));
        assert_eq!((burst.sent(), transport.counters().sent, transport.segments), (200, 200, false));
        assert_eq!(transport.counters().calls, 201);
    }
}
