//! The secret: 32 octets that nobody but the operator and this process sees.

use std::{
    fmt, fs, io,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Octets of the key.
const LEN: usize = 32;
/// The most that a key file holds: two hexadecimal digits an octet and the end of the line.
const FILE_OCTETS: u64 = 2 * LEN as u64 + 2;
/// Permission bits that a key file may have: its owner reads and writes it.
const MODE: u32 = 0o600;

/// The key of Crypto-PAn. It shows its octets to the cipher only.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; LEN]);

/// Why a key file is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read the anonymisation key {path}", path = path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("the anonymisation key {path} is not a regular file", path = path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
    },
    /// Others than its owner may do something with it.
    #[error(
        "the anonymisation key {path} has mode {mode:04o}, at most 0600 is allowed; run `chmod 600 {path}`, or take a new key if others have seen it",
        path = path.display()
    )]
    Mode {
        /// Its path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Neither of the two forms.
    #[error(
        "the anonymisation key {path} is neither 32 octets nor 64 hexadecimal digits; `openssl rand -hex 32` makes one",
        path = path.display()
    )]
    Form {
        /// Its path.
        path: PathBuf,
    },
}

impl Key {
    /// Reads a key file: 32 octets, or 64 hexadecimal digits and at most the end of a line.
    ///
    /// # Errors
    /// It cannot be read, others may read or write it, or it is of another length.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let fail = |source| KeyError::Read { path: path.to_owned(), source };
        // Asked before it is opened: opening a pipe waits for its writer.
        if !fs::metadata(path).map_err(fail)?.is_file() {
            return Err(KeyError::NotAFile { path: path.to_owned() });
        }
        let file = fs::File::open(path).map_err(fail)?;
        let mode = file.metadata().map_err(fail)?.permissions().mode() & 0o7777;
        if mode & !MODE != 0 {
            return Err(KeyError::Mode { path: path.to_owned(), mode });
        }
        let mut octets = Vec::new();
        file.take(FILE_OCTETS + 1).read_to_end(&mut octets).map_err(fail)?;
        Self::parse(&octets).ok_or_else(|| KeyError::Form { path: path.to_owned() })
    }

    fn parse(octets: &[u8]) -> Option<Self> {
        if let Ok(key) = octets.try_into() {
            return Some(Self(key));
        }
        let digits = octets.strip_suffix(b"\n").unwrap_or(octets);
        let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
        if digits.len() != 2 * LEN {
            return None;
        }
        let mut key = [0; LEN];
        for (octet, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *octet = hexadecimal(pair[0])? << 4 | hexadecimal(pair[1])?;
        }
        Some(Self(key))
    }

    /// The key of the cipher, and what becomes the pad.
    pub(super) fn halves(&self) -> ([u8; 16], [u8; 16]) {
        let mut halves = ([0; 16], [0; 16]);
        halves.0.copy_from_slice(&self.0[..16]);
        halves.1.copy_from_slice(&self.0[16..]);
        halves
    }

    #[cfg(test)]
    pub(super) fn of(octets: [u8; LEN]) -> Self {
        Self(octets)
    }
}

/// Nothing of it may get into a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    /// A file of this test process, removed at its end.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, octets: &[u8], mode: u32) -> Self {
            use io::Write as _;
            let path = std::env::temp_dir().join(format!("netflow-key-{}-{name}", std::process::id()));
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
            file.write_all(octets).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_key_is_32_octets_or_64_digits() {
        let octets: [u8; 32] = std::array::from_fn(|i| i as u8 + 0xd0);
        let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        for (name, text) in [
            ("raw", &octets[..]),
            ("hex", digits.as_bytes()),
            ("upper", digits.to_uppercase().as_bytes()),
            ("line", format!("{digits}\n").as_bytes()),
            ("crlf", format!("{digits}\r\n").as_bytes()),
        ] {
            let file = File::new(name, text, 0o600);
            assert_eq!(Key::read(&file.0).unwrap(), Key(octets), "{name}");
        }
        let only_read = File::new("only-read", &octets, 0o400);
        assert!(Key::read(&only_read.0).is_ok());
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        for (name, octets) in [
            ("empty", &b""[..]),
            ("short", &[7; 31]),
            ("long", &[7; 33]),
            ("no-hex", &[b'g'; 64]),
            ("few-digits", &[b'a'; 63]),
            ("many-digits", &[b'a'; 66]),
            ("endless", &[b'a'; 4096]),
        ] {
            let file = File::new(name, octets, 0o600);
            let error = Key::read(&file.0).unwrap_err();
            assert!(matches!(error, KeyError::Form { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o660, 0o644, 0o700, 0o620] {
            let file = File::new("mode", &[7; 32], mode);
            let error = Key::read(&file.0).unwrap_err();
            assert!(matches!(error, KeyError::Mode { .. }), "{mode:o}: {error}");
            let text = error.to_string();
            assert!(text.contains(&format!("mode {mode:04o}")) && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        assert!(matches!(Key::read(Path::new("/dev/zero")), Err(KeyError::NotAFile { .. })));
        assert!(matches!(Key::read(&std::env::temp_dir()), Err(KeyError::NotAFile { .. })));
        assert!(matches!(Key::read(Path::new("/nonexistent/key")), Err(KeyError::Read { .. })));
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", Key([0x55; 32])), "Key(secret)");
    }
}
