//! Certificates and keys from PEM files, checked before anything is sent: each refusal names the file.

use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use rustls::crypto::{CryptoProvider, ring::default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::error::TransportError;
use super::tls_options::{Fingerprint, TlsOptions};

/// A bundle of all authorities in the world has a quarter of it.
const LONGEST_FILE: u64 = 16 << 20;

/// The own certificate.
#[derive(Debug)]
pub(super) struct Identity {
    /// The file of the certificate.
    pub(super) path: PathBuf,
    /// The own one first, then those between it and its authority.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The private key of the first.
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads what the options name, if they name one.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold what it should, or a key of another certificate.
    pub(super) fn read(options: &TlsOptions) -> Result<Option<Self>, TransportError> {
        let Some(path) = &options.cert else { return Ok(None) };
        let key_path = options.key.as_ref().unwrap_or(path);
        let identity = Self { path: path.clone(), chain: certificates(path)?, key: key(key_path)? };
        identity.check(&default_provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                unusable(key_path, format!("it is not the key of the certificate in {}", path.display()))
            }
            error => unusable(key_path, error.to_string()),
        })?;
        Ok(Some(identity))
    }

    fn check(&self, provider: &CryptoProvider) -> Result<(), Error> {
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), provider).map(drop)
    }

    /// Why it will be refused by those who check it now.
    pub(super) fn complaint(&self, unix_seconds: u64) -> Option<String> {
        let validity = Validity::of(self.chain.first()?)?;
        let path = self.path.display();
        if unix_seconds > validity.last {
            Some(format!("the certificate in {path} has expired: collectors that check it will refuse it"))
        } else if unix_seconds < validity.first {
            Some(format!(
                "the certificate in {path} is not valid yet: collectors that check it will refuse it"
            ))
        } else {
            None
        }
    }
}

/// The authorities that the options name, or those that the system trusts. None are needed where the collector's
/// certificate itself is known.
///
/// # Errors
/// A file that cannot be read or holds none, or a system without any.
pub(super) fn authorities(options: &TlsOptions) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    if let Some(path) = &options.ca {
        return certificates(path);
    }
    if !options.fingerprints.is_empty() {
        return Ok(Vec::new());
    }
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() { Err(TransportError::NoAuthorities) } else { Ok(found) }
}

/// SHA-256 of a certificate.
pub(super) fn fingerprint(certificate: &[u8]) -> Fingerprint {
    let mut octets = [0; 32];
    for (octet, digested) in octets.iter_mut().zip(digest(&SHA256, certificate).as_ref()) {
        *octet = *digested;
    }
    Fingerprint(octets)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(path, "it holds no certificate in PEM".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(path, format!("it is no PEM ({error})"))),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TransportError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            unusable(path, "it holds no private key in PEM (without a passphrase)".to_owned())
        }
        error => unusable(path, format!("it is no PEM ({error})")),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TransportError> {
    let failed = |source| TransportError::CertificateFile { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(unusable(path, "it is not a regular file".to_owned()));
    }
    if metadata.len() > LONGEST_FILE {
        return Err(unusable(path, format!("it has more than {LONGEST_FILE} octets")));
    }
    fs::read(path).map_err(failed)
}

fn unusable(path: &Path, reason: String) -> TransportError {
    TransportError::Certificate { path: path.to_owned(), reason }
}

/// When a certificate is valid, in seconds since 1970 (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Validity {
    pub(super) first: u64,
    pub(super) last: u64,
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Validity {
    /// Reads it, if the certificate is one.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (tag, certificate, _) = element(certificate)?;
        let (inner, to_be_signed, _) = element(certificate)?;
        if (tag, inner) != (SEQUENCE, SEQUENCE) {
            return None;
        }
        let (tag, _, after_first) = element(to_be_signed)?;
        // Version 1 is left out.
        let rest = if tag == VERSION { element(after_first)?.2 } else { after_first };
        let (_, _, rest) = element(rest)?; // signature algorithm
        let (_, _, rest) = element(rest)?; // issuer
        let (_, validity, _) = element(rest)?;
        let (tag, first, rest) = element(validity)?;
        let first = seconds(tag, first)?;
        let (tag, last, _) = element(rest)?;
        Some(Self { first, last: seconds(tag, last)? })
    }
}

/// Tag, content, and what comes behind (X.690 section 8.1).
fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = octets.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (length.iter().fold(0, |sum, &octet| sum << 8 | usize::from(octet)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn seconds(tag: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            // RFC 5280 section 4.1.2.5.1.
            (number(year).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut parts = [0; 5];
    for (i, part) in parts.iter_mut().enumerate() {
        *part = number(rest.get(2 * i..2 * i + 2)?)?;
    }
    let [month, day, hour, minute, second] = parts;
    if year < 1970 {
        return Some(0);
    }
    // Days since 1970, by years that begin in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let days =
        (365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year).checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::test_certificates::{Authority, Leaf};
    use super::*;

    #[test]
    fn the_validity_is_that_of_the_certificate() {
        assert_eq!(seconds(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, b"000229235959Z"), Some(951_868_799));
        assert_eq!(seconds(GENERALIZED_TIME, b"20991231000000Z"), Some(4_102_358_400));
        assert_eq!(seconds(UTC_TIME, b"00022923595Z"), None);
        let identity = Leaf::EXPIRED.self_signed().unwrap();
        let validity = Validity::of(&identity.der).unwrap();
        assert_eq!(validity, Validity { first: 1_577_836_800, last: 1_609_459_200 });
        for length in 0..identity.der.len() {
            assert_eq!(Validity::of(&identity.der[..length]), None);
        }
    }

    #[test]
    fn files_that_are_no_use_are_named_with_the_reason() {
        let directory = std::env::temp_dir().join(format!("netflow-certificates-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let authority = Authority::new("authority").unwrap();
        let (one, other) =
            (authority.issue(&Leaf::CLIENT).unwrap(), authority.issue(&Leaf::EXPIRED).unwrap());
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let good = write("good.pem", &one.certificate);
        let empty = write("empty.pem", "nothing");
        let cut = write("cut.pem", &one.certificate[..200]);
        let read = |cert: &Path, key: Option<&Path>| {
            let options = TlsOptions {
                cert: Some(cert.to_owned()),
                key: key.map(Path::to_owned),
                ..TlsOptions::default()
            };
            Identity::read(&options)
        };
        let refusal = |cert: &Path, key: Option<&Path>| read(cert, key).unwrap_err().to_string();
        assert!(refusal(&directory.join("absent"), None).ends_with("absent"));
        assert!(refusal(Path::new("/dev/zero"), None).ends_with("/dev/zero: it is not a regular file"));
        assert!(refusal(&empty, None).ends_with("empty.pem: it holds no certificate in PEM"));
        assert!(refusal(&cut, None).contains("cut.pem: it is no PEM"));
        assert!(refusal(&good, None).contains("good.pem: it holds no private key"));
        let key = write("key.pem", &one.key);
        assert!(read(&good, Some(&key)).unwrap().unwrap().complaint(1_800_000_000).is_none());
        let wrong = write("wrong.pem", &other.key);
        assert!(refusal(&good, Some(&wrong)).contains("wrong.pem: it is not the key of the certificate in"));
        let expired = other.write(&directory, "expired").unwrap();
        let complaint = read(&expired, None).unwrap().unwrap().complaint(1_800_000_000).unwrap();
        assert!(complaint.contains("expired.pem has expired"), "{complaint}");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_fingerprint_is_sha_256_of_the_certificate() {
        // FIPS 180-4's example, "abc".
        assert!(fingerprint(b"abc").to_string().starts_with("BA:78:16:BF:8F:01:CF:EA"));
    }
}
