//! The keys that a collector's URL may have behind its question mark: one table, and nothing about them elsewhere.

use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use super::destination::TransportKind;
use super::spool_options;
use super::tls_options::Fingerprint;
use super::url::{CollectorUrl, ExportProtocol};

/// A key, and what its value does.
pub(super) struct UrlKey {
    pub(super) name: &'static str,
    /// The transports that it has a meaning for.
    pub(super) of: &'static [TransportKind],
    /// Whether it may stand there several times.
    pub(super) repeats: bool,
    /// Takes the value, or says what is wrong with it.
    pub(super) set: fn(&mut CollectorUrl, &str) -> Result<(), String>,
}

/// The shortest pace of attempts and looks.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest: what the kernel's timers take as milliseconds of 32 bits, with room.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// Records of two batches: one of them waits while the other is sent.
const SHORTEST_QUEUE: NonZeroU64 = NonZeroU64::new(2048).unwrap();
/// Octets of an interface's name at most (IFNAMSIZ, less the final zero).
const LONGEST_INTERFACE: usize = 15;

const EVERY: &[TransportKind] = &TransportKind::ALL;
const SECURE: &[TransportKind] = &TransportKind::SECURE;
const CONNECTED: &[TransportKind] = &TransportKind::CONNECTED;
const RELIABLE: &[TransportKind] = &TransportKind::RELIABLE;

/// All keys, in the order in which they are told.
pub(super) const KEYS: &[UrlKey] = &[
    UrlKey { name: "protocol", of: EVERY, repeats: false, set: protocol },
    UrlKey {
        name: "preset",
        of: EVERY,
        repeats: false,
        set: |url, text| {
            // Which there are is known where messages are made.
            url.options.preset = Some(text.to_owned());
            Ok(())
        },
    },
    UrlKey { name: "queue", of: EVERY, repeats: false, set: queue },
    UrlKey { name: "bind", of: EVERY, repeats: false, set: bind },
    UrlKey { name: "interface", of: EVERY, repeats: false, set: interface },
    UrlKey { name: "dscp", of: EVERY, repeats: false, set: dscp },
    UrlKey { name: "ttl", of: EVERY, repeats: false, set: ttl },
    UrlKey {
        name: "resolve",
        of: EVERY,
        repeats: false,
        set: |url, text| time("resolve", text, &mut url.options.resolve_interval),
    },
    UrlKey {
        name: "retry",
        of: CONNECTED,
        repeats: false,
        set: |url, text| time("retry", text, &mut url.options.retry),
    },
    UrlKey {
        name: "timeout",
        of: CONNECTED,
        repeats: false,
        set: |url, text| time("timeout", text, &mut url.options.timeout),
    },
    UrlKey {
        name: "spool",
        of: RELIABLE,
        repeats: false,
        set: |url, text| directory("spool", text, &mut url.options.spool.directory),
    },
    UrlKey {
        name: "spool-size",
        of: RELIABLE,
        repeats: false,
        set: |url, text| octets("spool-size", text, &mut url.options.spool.size),
    },
    UrlKey {
        name: "spool-rate",
        of: RELIABLE,
        repeats: false,
        set: |url, text| octets("spool-rate", text, &mut url.options.spool.rate),
    },
    UrlKey {
        name: "ca",
        of: SECURE,
        repeats: false,
        set: |url, text| file("ca", text, &mut url.options.tls.ca),
    },
    UrlKey {
        name: "cert",
        of: SECURE,
        repeats: false,
        set: |url, text| file("cert", text, &mut url.options.tls.cert),
    },
    UrlKey {
        name: "key",
        of: SECURE,
        repeats: false,
        set: |url, text| file("key", text, &mut url.options.tls.key),
    },
    UrlKey { name: "name", of: SECURE, repeats: false, set: name },
    UrlKey { name: "fingerprint", of: SECURE, repeats: true, set: fingerprint },
];

/// The names of those that have a meaning for a transport: `protocol, bind and dscp`.
pub(super) fn names(of: TransportKind) -> String {
    let names: Vec<&str> = KEYS.iter().filter(|key| key.of.contains(&of)).map(|key| key.name).collect();
    match names.split_last() {
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn protocol(url: &mut CollectorUrl, text: &str) -> Result<(), String> {
    let all = [ExportProtocol::Ipfix, ExportProtocol::NetflowV9, ExportProtocol::NetflowV5];
    let found = all.into_iter().find(|protocol| protocol.name() == text);
    let protocol = found.ok_or_else(|| format!("unknown protocol '{text}', known are ipfix, v9 and v5"))?;
    url.protocol = Some(protocol);
    Ok(())
}

fn bind(url: &mut CollectorUrl, text: &str) -> Result<(), String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address: IpAddr =
        bare.parse().map_err(|_| format!("bind is an address of this host, '{text}' is none"))?;
    if let Ok(host) = url.host.parse::<IpAddr>()
        && host.is_ipv4() != address.is_ipv4()
    {
        return Err(format!("from {address} nothing can be sent to {host}: one is IPv4, the other IPv6"));
    }
    url.options.socket.bind = Some(address);
    Ok(())
}

fn interface(url: &mut CollectorUrl, text: &str) -> Result<(), String> {
    let odd = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    if text.is_empty() || text.len() > LONGEST_INTERFACE || text.contains(odd) {
        return Err(format!("interface is the name of an interface, '{text}' cannot be one"));
    }
    url.options.socket.interface = Some(text.to_owned());
    Ok(())
}

fn dscp(url: &mut CollectorUrl, text: &str) -> Result<(), String> {
    let value = text.parse::<u8>().ok().filter(|value| *value <= 63);
    url.options.socket.dscp =
        Some(value.ok_or_else(|| format!("dscp is a number from 0 to 63, not '{text}'"))?);
    Ok(())
}

fn queue(url: &mut CollectorUrl, text: &str) -> Result<(), String> {
    let records = text.parse().ok().filter(|records: &NonZeroU64| *records >= SHORTEST_QUEUE);
    url.options.queue = Some(
        records
            .ok_or_else(|| format!("queue is a number of records from {SHORTEST_QUEUE} on, not '{text}'"))?,
    );
    Ok(())
}

fn ttl(url: &mut CollectorUrl, text: &str) -> Result<(), String> {
    let value = text.parse::<NonZeroU8>();
    url.options.socket.ttl = Some(value.map_err(|_| format!("ttl is a number from 1 to 255, not '{text}'"))?);
    Ok(())
}

fn time(key: &str, text: &str, place: &mut Duration) -> Result<(), String> {
    let time = humantime::parse_duration(text).ok().filter(|time| (SHORTEST..=LONGEST).contains(time));
    *place = time.ok_or_else(|| format!("{key} is a time from 1s to 30days as 90s, not '{text}'"))?;
    Ok(())
}

fn directory(key: &str, text: &str, place: &mut Option<PathBuf>) -> Result<(), String> {
    if !text.starts_with('/') || text.contains('\0') {
        return Err(format!("{key} is the path of a directory, from the root, not '{text}'"));
    }
    *place = Some(PathBuf::from(text));
    Ok(())
}

fn octets(key: &str, text: &str, place: &mut u64) -> Result<(), String> {
    let octets = parse_size::parse_size(text).ok().filter(|octets| *octets >= spool_options::LEAST);
    *place = octets.ok_or_else(|| format!("{key} is a size from 64KiB as 1GiB, not '{text}'"))?;
    Ok(())
}

fn file(key: &str, text: &str, place: &mut Option<PathBuf>) -> Result<(), String> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!("{key} is the path of a PEM file"));
    }
    *place = Some(PathBuf::from(text));
    Ok(())
}

fn name(url: &mut CollectorUrl, text: &str) -> Result<(), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let labels = || text.split('.').all(|label| (1..=63).contains(&label.len()));
    let is_good =
        text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.chars().all(is_name) && labels());
    if !is_good {
        return Err(format!("name is a DNS name or an address of the certificate, '{text}' is neither"));
    }
    url.options.tls.name = Some(text.to_owned());
    Ok(())
}

fn fingerprint(url: &mut CollectorUrl, text: &str) -> Result<(), String> {
    let wrong =
        || format!("fingerprint is the SHA-256 of a certificate, 64 hexadecimal digits, not '{text}'");
    url.options.tls.fingerprints.push(Fingerprint::parse(text).ok_or_else(wrong)?);
    Ok(())
}
