//! Each capture through `netflow read`: the same counts, on the capture's own clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use netflow_user::capture::CaptureFile;
use tests::agent::AgentProcess;
use tests::captures::{self, Capture};
use tests::judges::{Panel, PanelVerdict};
use tests::lab::Namespace;

use crate::judge::{self, Anonymisation, Metered};

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn every_capture_file_is_exported_as_the_reference_counts_it() {
    let Some(captures) = captures::find().unwrap() else { return };
    let wrong = read(&captures, IpAddr::V4(Ipv4Addr::LOCALHOST), &[], None).unwrap();
    println!("{} capture files, {} complaints", captures.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn collectors_at_an_ipv6_address_get_the_same() {
    let Some(captures) = captures::find().unwrap() else { return };
    let captures: Vec<_> =
        captures.into_iter().filter(|capture| capture.name == "zeek-wikipedia.pcap").collect();
    let wrong = read(&captures, IpAddr::V6(Ipv6Addr::LOCALHOST), &[], None).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each capture with an agent of its own and further arguments, which are to do that to addresses.
pub fn read(
    captures: &[Capture],
    host: IpAddr,
    arguments: &[&str],
    anonymisation: Option<&Anonymisation>,
) -> Result<Vec<String>> {
    let namespace = Namespace::new()?;
    let panel = Panel::start(&namespace, host)?;
    let collectors = panel.collectors();
    let mut all = Vec::new();
    for (capture, domain) in captures.iter().zip(1..) {
        let number = domain.to_string();
        let domain_arguments = ["--observation-domain", &number, "--fragments", "separate"];
        let arguments =
            [&domain_arguments[..], arguments, &collectors.each_ref().map(String::as_str)].concat();
        let agent = AgentProcess::read(&namespace, &capture.path, &arguments)?;
        all.push(Metered { capture, domain, agent, on_the_captures_clock: true, anonymisation });
    }
    let verdict = panel.stop()?;
    let mut wrong = judge::closing_lines(&all, &verdict);
    for metered in &all {
        wrong.extend(judge::complaints(metered, &verdict)?);
        wrong.extend(header_times(metered, &verdict)?);
    }
    Ok(wrong)
}

/// Messages are of the capture's time too, and sysUpTime is 1 at its first packet: 0 would read as "no time".
fn header_times(metered: &Metered, verdict: &PanelVerdict) -> Result<Vec<String>> {
    let mut file = CaptureFile::open(&metered.capture.path)?;
    let mut times = Vec::new();
    while let Some(packet) = file.next_packet()? {
        times.push(packet.time_unix_nanos);
    }
    let first = *times.first().context("no packets")? / 1_000_000;
    let last = *times.iter().max().context("no packets")?;
    // Export Time is cut to the second, UNIX Secs is the next whole one.
    let seconds = first / 1000..=last.div_ceil(1_000_000_000);
    let name = &metered.capture.name;
    let messages = verdict.messages.iter().filter(|message| message.domain == metered.domain);
    let mut wrong = Vec::new();
    for message in messages {
        if !seconds.contains(&message.export_seconds) {
            wrong.push(format!("{name}: a message of {}, not within {seconds:?}", message.export_seconds));
        }
        // By the header alone, so to a multiple of 2^32 ms.
        let counts_from = |up: u64| (message.export_seconds * 1000).wrapping_sub(up);
        if message.sys_up_time.is_some_and(|up| counts_from(up) as u32 != (first - 1) as u32) {
            wrong
                .push(format!("{name}: sysUpTime {:?} does not count from {first} - 1", message.sys_up_time));
        }
    }
    Ok(wrong)
}
