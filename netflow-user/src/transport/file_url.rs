//! `file:///directory/prefix?rotate-size=100MiB&rotate-time=1h&sync=close|message|off`.

use std::time::Duration;

use url::Url;

use super::{
    error::TransportError,
    file::{Content, FileTarget, Sync},
};

impl FileTarget {
    /// Reads what the operator typed.
    ///
    /// # Errors
    /// What has no meaning, in one line.
    pub(super) fn parse(text: &str, content: Content) -> Result<Self, TransportError> {
        let malformed =
            |reason: &str| TransportError::FileUrl { url: text.to_owned(), reason: reason.to_owned() };
        let parsed = Url::parse(text).map_err(|error| malformed(&error.to_string()))?;
        let prefix = parsed
            .to_file_path()
            .map_err(|()| malformed("a file is on this host and has an absolute path"))?;
        if parsed.path().ends_with('/') || prefix.file_name().is_none() {
            return Err(malformed("the beginning of the files' names is missing behind the directory"));
        }
        let mut target = Self { prefix, rotate_size: None, rotate_time: None, sync: Sync::Close, content };
        for (key, value) in parsed.query_pairs() {
            match (key.as_ref(), value.as_ref()) {
                ("protocol", "ipfix") if content == Content::Ipfix => {}
                ("protocol", _) if content == Content::JsonLines => {
                    return Err(malformed("protocol has no meaning for JSON"));
                }
                ("protocol", _) => return Err(malformed("files hold IPFIX")),
                ("rotate-size", size) => {
                    let octets = parse_size::parse_size(size).ok().filter(|&octets| octets > 0);
                    target.rotate_size =
                        Some(octets.ok_or_else(|| malformed("rotate-size is a size as 100MiB"))?);
                }
                ("rotate-time", time) => {
                    let time =
                        humantime::parse_duration(time).ok().filter(|&time| time >= Duration::from_secs(1));
                    target.rotate_time =
                        Some(time.ok_or_else(|| malformed("rotate-time is a time of 1s or more, as 1h"))?);
                }
                ("sync", "close") => target.sync = Sync::Close,
                ("sync", "message") => target.sync = Sync::Message,
                ("sync", "off") => target.sync = Sync::Off,
                ("sync", _) => return Err(malformed("sync is close, message or off")),
                _ => return Err(malformed("known are rotate-size, rotate-time and sync")),
            }
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn good_urls_give_prefix_and_rotation() {
        let target = FileTarget::parse(
            "file:///var/lib/flows/r?rotate-size=1MiB&rotate-time=1h&sync=off",
            Content::Ipfix,
        )
        .unwrap();
        let expected = FileTarget {
            prefix: PathBuf::from("/var/lib/flows/r"),
            rotate_size: Some(1 << 20),
            rotate_time: Some(Duration::from_secs(3600)),
            sync: Sync::Off,
            content: Content::Ipfix,
        };
        assert_eq!(target, expected);
        let plain = FileTarget::parse("file:///tmp/a%20b", Content::Ipfix).unwrap();
        assert_eq!((plain.prefix, plain.sync), (PathBuf::from("/tmp/a b"), Sync::Close));
    }

    #[test]
    fn bad_urls_are_refused_with_their_reason() {
        for (text, reason) in [
            ("file://host/path", "absolute path"),
            ("file:///", "names is missing"),
            ("file:///var/lib/", "names is missing"),
            ("file:///a?protocol=v9", "hold IPFIX"),
            ("file:///a?rotate-size=0", "rotate-size"),
            ("file:///a?rotate-size=x", "rotate-size"),
            ("file:///a?rotate-time=1ms", "rotate-time"),
            ("file:///a?sync=always", "close, message or off"),
            ("file:///a?compress=yes", "known are"),
        ] {
            let error = FileTarget::parse(text, Content::Ipfix).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
