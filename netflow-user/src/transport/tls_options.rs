//! Certificates as the operator names them, for TLS and DTLS.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// What proves who is who.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct TlsOptions {
    /// PEM file of the authorities that are trusted; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM file of the own certificate, and those between it and its authority.
    pub cert: Option<PathBuf>,
    /// PEM file of its private key; `None`: it stands in the certificate's file.
    pub key: Option<PathBuf>,
    /// The name, or the address, that the collector's certificate must be for (RFC 6125); `None`: the host of the
    /// URL.
    pub name: Option<String>,
    /// If there are any, the collector's certificate must be one of these (RFC 7011 section 11.3).
    pub fingerprints: Vec<Fingerprint>,
}

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Reads 64 hexadecimal digits, with or without colons between the octets, as `openssl x509 -fingerprint` prints
    /// them.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().filter(|&octet| octet != b':').collect();
        let mut octets = [0; 32];
        if digits.len() != 2 * octets.len() {
            return None;
        }
        for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |digit: u8| char::from(digit).to_digit(16);
            let (high, low) = (value(*pair.first()?)?, value(*pair.last()?)?);
            *octet = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(octets))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, octet) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_char(':')?;
            }
            write!(f, "{octet:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let plain = "00ff".repeat(16);
        let colons = ["00", "FF"].repeat(16).join(":");
        assert_eq!(Fingerprint::parse(&plain), Fingerprint::parse(&colons));
        assert_eq!(Fingerprint::parse(&plain).map(|it| it.to_string()), Some(colons));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
    }
}
