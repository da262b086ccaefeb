//! Messages with descriptors between two processes of the same program, over a pair of stream sockets.
//!
//! A message is its length (four octets), the number of descriptors (four octets), JSON, and one octet for each
//! 128 descriptors, which carries them. What is longer than [`LONGEST`] or has more than [`MOST`] is refused.

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};

/// Octets of a message at most: two filters of 4096 instructions are some 500 KiB.
const LONGEST: u32 = 2 << 20;
/// Descriptors of a message at most: two generations of 4096 CPUs, and some.
const MOST: u32 = 8448;
/// Descriptors that go together; the kernel takes 253.
const TOGETHER: usize = 128;

/// Sends a message.
pub(super) fn send(
    socket: &UnixStream,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the message is too long");
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= LONGEST).ok_or_else(too_long)?;
    let count = u32::try_from(descriptors.len()).ok().filter(|count| *count <= MOST).ok_or_else(too_long)?;
    let mut octets = Vec::with_capacity(8 + text.len());
    octets.extend(length.to_ne_bytes());
    octets.extend(count.to_ne_bytes());
    octets.extend(text);
    let mut writer = socket;
    writer.write_all(&octets)?;
    for together in descriptors.chunks(TOGETHER) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TOGETHER))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(together)) {
            return Err(too_long());
        }
        while let Err(error) = sendmsg(socket, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// Receives a message; `None` where the other end is closed.
pub(super) fn receive<M: DeserializeOwned>(socket: &UnixStream) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut reader = socket;
    let mut header = [[0; 4]; 2];
    match reader.read_exact(header.as_flattened_mut()) {
        Ok(()) => {}
        // Also where it is closed with something unread.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let [length, count] = header.map(u32::from_ne_bytes);
    if length > LONGEST || count > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that is too long"));
    }
    let mut text = vec![0; length as usize];
    reader.read_exact(&mut text)?;
    let mut descriptors = Vec::new();
    while descriptors.len() < count as usize {
        receive_together(socket, &mut descriptors)?;
    }
    Ok(Some((serde_json::from_slice(&text)?, descriptors)))
}

fn receive_together(socket: &UnixStream, descriptors: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TOGETHER))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut octet = [0];
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut octet)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let before = descriptors.len();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    // Some did not fit, into this process's table (RLIMIT_NOFILE).
    if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() == before {
        return Err(io::Error::other("descriptors did not arrive: is RLIMIT_NOFILE too low?"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{
        fs::File,
        os::fd::{AsFd as _, AsRawFd as _},
        thread,
    };

    use super::*;

    #[test]
    fn a_message_arrives_with_all_of_its_descriptors() {
        let (one, other) = UnixStream::pair().unwrap();
        for count in [0, 1, TOGETHER, TOGETHER + 1, 3 * TOGETHER + 7] {
            let files: Vec<OwnedFd> =
                (0..count).map(|_| OwnedFd::from(File::open("/dev/null").unwrap())).collect();
            let text = "x".repeat(count * 1000);
            thread::scope(|scope| {
                let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
                let (one, text) = (&one, &text);
                scope.spawn(move || send(one, text, &borrowed).unwrap());
                let (received, descriptors) = receive::<String>(&other).unwrap().unwrap();
                assert_eq!((received.len(), descriptors.len()), (text.len(), count));
                assert!(descriptors.iter().all(|descriptor| {
                    rustix::io::fcntl_getfd(descriptor).unwrap().contains(rustix::io::FdFlags::CLOEXEC)
                        && files.iter().all(|file| file.as_raw_fd() != descriptor.as_raw_fd())
                }));
            });
        }
        drop(one);
        assert!(receive::<String>(&other).unwrap().is_none());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for octets in [
            [LONGEST.to_ne_bytes().map(|_| 0xff), [0; 4]].concat(),
            [0u32.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat(),
            [[3, 0, 0, 0], [0; 4], [b'"', b'x', b'y', 0]].concat()[..11].to_vec(),
        ] {
            let (one, other) = UnixStream::pair().unwrap();
            (&one).write_all(&octets).unwrap();
            drop(one);
            assert!(receive::<String>(&other).is_err(), "{octets:?}");
        }
        // Octets where descriptors were announced.
        let (one, other) = UnixStream::pair().unwrap();
        (&one).write_all(&[2, 0, 0, 0, 1, 0, 0, 0, b'"', b'"', 0]).unwrap();
        assert!(receive::<String>(&other).is_err());
    }
}
