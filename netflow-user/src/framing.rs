//! IPFIX Messages one behind the other, in files and in streams: where each of them ends (RFC 7011 section 3.1, RFC 5655
//! section 7). Nothing else of them is known here.

use std::io::{self, Read};

/// Octets of a Message Header.
pub const HEADER_LEN: usize = 16;
/// What its Length can state.
pub const LONGEST_MESSAGE: usize = 65_535;

/// Octets of the message that begins with these: `None` if they are no Message Header of IPFIX.
pub fn message_length(octets: &[u8]) -> Option<usize> {
    let header: &[u8; 4] = octets.first_chunk()?;
    let stated = u16::from_be_bytes([header[2], header[3]]).into();
    (header[..2] == [0, 10] && stated >= HEADER_LEN).then_some(stated)
}

/// Reads the next whole message; false at the end, or where there is none: what is left or was read then is in `message`.
///
/// # Errors
/// As the reader's own.
pub fn read_message(reader: &mut impl Read, message: &mut Vec<u8>) -> io::Result<bool> {
    message.clear();
    reader.take(HEADER_LEN as u64).read_to_end(message)?;
    let Some(length) = message_length(message).filter(|_| message.len() == HEADER_LEN) else {
        return Ok(false);
    };
    reader.take((length - HEADER_LEN) as u64).read_to_end(message)?;
    Ok(message.len() == length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn message(rest: &[u8]) -> Vec<u8> {
        let mut octets = vec![0, 10, 0, (HEADER_LEN + rest.len()) as u8];
        octets.resize(HEADER_LEN, 0);
        octets.extend(rest);
        octets
    }

    #[test]
    fn messages_are_read_to_the_end_or_to_what_is_none() {
        for (behind, left) in [
            (&b""[..], 0),
            (&[0, 10, 0][..], 3),
            (&message(b"cut")[..18], 18),
            (&[0, 9, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 16),
            (&[0, 10, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 16),
        ] {
            let octets = [&message(b"one")[..], &message(b""), behind].concat();
            let (mut reader, mut found) = (&octets[..], Vec::new());
            assert!(read_message(&mut reader, &mut found).unwrap());
            assert_eq!(found, message(b"one"));
            assert!(read_message(&mut reader, &mut found).unwrap());
            assert!(!read_message(&mut reader, &mut found).unwrap());
            assert_eq!(found.len(), left, "{behind:?}");
        }
    }
}
