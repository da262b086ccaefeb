//! Captures made by others, with reference counts. They are not in this tree: NETFLOW_CAPTURES names their directory,
//! or it is `../shared/pcaps` beside the checkout.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// What a capture holds by the reference count.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Expected {
    /// Frames.
    pub packets: u64,
    /// Their lengths on the wire.
    pub frame_bytes: u64,
    /// The longest frame, as captured.
    pub max_captured_bytes: u64,
    /// Frames with a readable IP header.
    pub ip_packets: u64,
    /// Those of IPv4.
    pub ipv4_packets: u64,
    /// Those of IPv6.
    pub ipv6_packets: u64,
    /// Frames of other protocols.
    pub non_ip_packets: u64,
    /// Frames that should be IP and cannot be read.
    pub bad_ip_header_packets: u64,
    /// IP octets, as the headers state them.
    pub ip_bytes: u64,
    /// Distinct addresses, protocol and ports.
    pub flows_5tuple: u64,
    /// The same with ICMP type and code.
    pub flows_5tuple_icmp_typecode: u64,
    /// The same with the outer VLAN id.
    pub flows_5tuple_vlan: u64,
    /// The same where later fragments have the ports of the first.
    pub flows_5tuple_fragments_tracked: u64,
    /// First fragments.
    pub first_fragments: u64,
    /// Later fragments.
    pub nonfirst_fragments: u64,
    /// Frames cut by the snap length.
    pub truncated_captures: u64,
    /// Frames that tshark calls malformed.
    pub tshark_malformed: u64,
    /// Packets by protocol number.
    pub ip_protocols: BTreeMap<u8, u64>,
    /// Whether all frames fit an MTU of 1500.
    pub replayable_mtu1500: bool,
}

/// What makes a flow of the reference counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReferenceKey {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol.
    pub protocol: u8,
    /// Source port; 0 without ports.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
    /// Outer VLAN id.
    pub vlan: Option<u16>,
}

/// One flow of the reference counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReferenceFlow {
    /// Its key.
    pub key: ReferenceKey,
    /// Its packets.
    pub packets: u64,
    /// Their IP octets.
    pub ip_octets: u64,
    /// Their TCP control bits.
    pub tcp_flags: u16,
    /// The first packet's time, in nanoseconds since 1970.
    pub first_unix_nanos: u64,
    /// The last packet's time.
    pub last_unix_nanos: u64,
    /// Fragments other than the first.
    pub later_fragments: u64,
    /// The smallest time to live.
    pub min_ttl: u8,
    /// The largest.
    pub max_ttl: u8,
}

/// One capture file.
#[derive(Clone, Debug)]
pub struct Capture {
    /// Its file name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub expected: Expected,
    flows: PathBuf,
}

impl Capture {
    /// Its flows by the reference count.
    pub fn flows(&self) -> Result<Vec<ReferenceFlow>> {
        let text = fs::read_to_string(&self.flows).with_context(|| self.flows.display().to_string())?;
        let mut lines = text.lines();
        ensure!(lines.next() == Some(COLUMNS), "{}: unknown columns", self.flows.display());
        lines.map(|line| flow(line).with_context(|| format!("{}: {line}", self.flows.display()))).collect()
    }
}

/// All captures, by name. `None` where there are none, which is said; in CI that is an error.
pub fn find() -> Result<Option<Vec<Capture>>> {
    let directory = match env::var_os("NETFLOW_CAPTURES") {
        Some(directory) => PathBuf::from(directory),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pcaps"),
    };
    if !directory.join(EXPECTED).is_file() {
        let message =
            format!("no captures in {}: NETFLOW_CAPTURES names their directory", directory.display());
        if env::var_os("CI").is_some_and(|ci| ci == "true") {
            bail!(message);
        }
        eprintln!("{message}; what needs them is not tested");
        return Ok(None);
    }
    load(&directory).map(Some)
}

const EXPECTED: &str = "expected.json";

fn load(directory: &Path) -> Result<Vec<Capture>> {
    let path = directory.join(EXPECTED);
    let expected: BTreeMap<String, Expected> =
        serde_json::from_slice(&fs::read(&path)?).with_context(|| path.display().to_string())?;
    ensure!(!expected.is_empty(), "{} names no captures", path.display());
    let capture = |(name, expected)| {
        let flows = directory.join("flows").join(format!("{name}.csv"));
        Capture { path: directory.join(&name), flows, name, expected }
    };
    Ok(expected.into_iter().map(capture).collect())
}

const COLUMNS: &str = "src,dst,proto,sport,dport,icmp_type,icmp_code,vlan,packets,ip_bytes,tcp_flags,first_epoch,\
                       last_epoch,nonfirst_fragments,min_ttl,max_ttl";

fn flow(line: &str) -> Result<ReferenceFlow> {
    let columns: Vec<&str> = line.split(',').collect();
    let columns: [&str; 16] = columns.try_into().ok().context("not 16 columns")?;
    let [src, dst, proto, sport, dport, icmp_type, icmp_code, vlan, rest @ ..] = columns;
    let [packets, ip_octets, tcp_flags, first, last, fragments, min_ttl, max_ttl] = rest;
    let icmp = if icmp_type.is_empty() { None } else { Some((icmp_type.parse()?, icmp_code.parse()?)) };
    let vlan = if vlan.is_empty() { None } else { Some(vlan.parse()?) };
    let key = ReferenceKey {
        source: src.parse()?,
        destination: dst.parse()?,
        protocol: proto.parse()?,
        source_port: sport.parse()?,
        destination_port: dport.parse()?,
        icmp,
        vlan,
    };
    Ok(ReferenceFlow {
        key,
        packets: packets.parse()?,
        ip_octets: ip_octets.parse()?,
        tcp_flags: tcp_flags.parse()?,
        first_unix_nanos: unix_nanos(first)?,
        last_unix_nanos: unix_nanos(last)?,
        later_fragments: fragments.parse()?,
        min_ttl: min_ttl.parse()?,
        max_ttl: max_ttl.parse()?,
    })
}

/// Seconds with nine decimals.
fn unix_nanos(text: &str) -> Result<u64> {
    let (seconds, fraction) = text.split_once('.').context("no decimals")?;
    ensure!(fraction.len() == 9, "not nine decimals");
    Ok(seconds.parse::<u64>()? * 1_000_000_000 + fraction.parse::<u64>()?)
}

/// Writes a pcap file of Ethernet frames, the first one in 2026, each some time after the one before
/// (draft-ietf-opsawg-pcap, section 4).
pub fn write(path: &Path, frames: &[Vec<u8>], apart: Duration) -> Result<()> {
    let mut octets = Vec::new();
    // Microseconds, version 2.4, snap length, Ethernet.
    for word in [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65_535, 1] {
        octets.extend(word.to_le_bytes());
    }
    let mut time = Duration::from_secs(1_767_225_600);
    for frame in frames {
        let length = u32::try_from(frame.len())?;
        for word in [u32::try_from(time.as_secs())?, time.subsec_micros(), length, length] {
            octets.extend(word.to_le_bytes());
        }
        octets.extend(frame);
        time += apart;
    }
    fs::write(path, octets).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn flows_add_up_to_what_is_expected_of_their_capture() {
        for capture in find().unwrap().unwrap_or_default() {
            let flows = capture.flows().unwrap();
            let sum = |of: fn(&ReferenceFlow) -> u64| flows.iter().map(of).sum::<u64>();
            assert_eq!(sum(|flow| flow.packets), capture.expected.ip_packets, "{}", capture.name);
            assert_eq!(sum(|flow| flow.ip_octets), capture.expected.ip_bytes, "{}", capture.name);
        }
    }
}
