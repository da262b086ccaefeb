//! What tshark sees in each packet of a capture file, layer by layer, without reassembly.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Process, command};

const READ: Duration = Duration::from_secs(300);

/// The layers whose fields are wanted; others are there without fields.
const WANTED: &str = "frame eth vlan ieee8021ad llc mpls ip ipv6 tcp udp udplite sctp dccp icmp icmpv6 igmp esp ah gre vxlan geneve gtp";

/// Each packet stands for itself, whatever came before it.
const APART: [&str; 3] = ["ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE"];

/// One layer of a packet. What stands inside an ICMP error is part of the ICMP layer, extension headers are part of
/// the IPv6 layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layer {
    /// tshark's name of the protocol.
    pub name: String,
    /// Names and octets of its fields, in the packet's order.
    fields: Vec<(String, String)>,
}

impl Layer {
    /// The numbers that fields of this name have: their bits in the packet, in network order.
    pub fn numbers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = u128> + 'a {
        let values = self.fields.iter().filter(move |(field, _)| field == name);
        values.filter_map(|(_, digits)| u128::from_str_radix(digits, 16).ok())
    }

    /// The first of them.
    pub fn number(&self, name: &str) -> Option<u128> {
        self.numbers(name).next()
    }

    /// The fields whose number is wanted, in the packet's order.
    pub fn numbers_where<'a>(
        &'a self,
        wanted: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a str, u128)> + 'a {
        let values = self.fields.iter().filter(move |(field, _)| wanted(field));
        values.filter_map(|(name, digits)| Some((name.as_str(), u128::from_str_radix(digits, 16).ok()?)))
    }
}

/// Whether there is a tshark.
pub fn tshark_is_here() -> bool {
    let found = Command::new("tshark").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// The layers of each packet of a capture file.
pub fn layers(capture: &Path) -> Result<Vec<Vec<Layer>>> {
    let mut tshark = command("tshark", ["-n", "-T", "pdml", "-J", WANTED]);
    for preference in APART {
        tshark.args(["-o", preference]);
    }
    let finished = {
        tshark.arg("-r").arg(capture);
        Process::spawn(tshark)?.finish(READ)?
    };
    if !finished.status.success() {
        bail!("tshark: {}: {}", finished.status, finished.stderr);
    }
    read(&finished.stdout)
}

/// PDML as tshark writes it: one tag a line.
fn read(text: &str) -> Result<Vec<Vec<Layer>>> {
    let mut packets = Vec::new();
    let mut depth = 0_usize;
    for line in text.lines().map(str::trim_start) {
        let (packet, opened) = (packets.last_mut(), line.starts_with("<proto "));
        match packet {
            _ if line.starts_with("<packet>") => packets.push(Vec::new()),
            Some(packet) if opened && depth == 0 => {
                let name = attribute(line, "name").with_context(|| line.to_owned())?;
                packet.push(Layer { name: name.to_owned(), fields: Vec::new() });
            }
            Some(packet) if line.starts_with("<field ") => {
                let layer = packet.last_mut().context("a field without a layer")?;
                if let (Some(name), Some(value)) = (attribute(line, "name"), attribute(line, "value")) {
                    layer.fields.push((name.to_owned(), value.to_owned()));
                }
            }
            _ => {}
        }
        if opened && !line.ends_with("/>") {
            depth += 1;
        } else if line.starts_with("</proto>") {
            depth = depth.checked_sub(1).context("a layer ends that did not begin")?;
        }
    }
    ensure!(text.trim_end().ends_with("</pdml>") && depth == 0, "tshark's text is cut off");
    Ok(packets)
}

fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}=\""))?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn headers_inside_of_an_icmp_error_are_no_layers() {
        let text = r#"<pdml>
<packet>
  <proto name="ip" size="20" pos="14">
    <field name="ip.src" show="10.0.0.1" value="0a000001"/>
  </proto>
  <proto name="icmp" size="64" pos="34">
    <field name="icmp.type" show="3" value="03"/>
    <proto name="ip" size="20" pos="42">
      <field name="ip.src" show="10.0.0.2" value="0a000002"/>
    </proto>
  </proto>
</packet>
</pdml>"#;
        let packets = read(text).unwrap();
        assert_eq!(packets.len(), 1);
        let names: Vec<_> = packets[0].iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["ip", "icmp"]);
        assert_eq!(packets[0][0].number("ip.src"), Some(0x0a00_0001));
        assert_eq!(packets[0][1].number("icmp.type"), Some(3));
        assert!(read("<pdml>\n<packet>\n<proto name=\"ip\">\n").is_err());
    }
}
