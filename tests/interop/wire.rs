//! Each capture replayed on the wire, metered by native XDP.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tests::agent::{AgentProcess, Signal, StoppedAgent};
use tests::captures::{self, Capture};
use tests::judges::{Panel, PanelVerdict};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};

use crate::judge::{self, Anonymisation, Metered};

/// The kernel's tick at its slowest (HZ=100): the step of a packet's time.
const CLOCK_STEP: u64 = 10;
/// Rounding to milliseconds, twice.
const ROUNDING: u64 = 2;

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn every_capture_on_the_wire_is_exported_as_the_reference_counts_it() {
    let Some(captures) = captures::find().unwrap() else { return };
    let (ordinary, long): (Vec<_>, Vec<_>) =
        captures.iter().partition(|capture| capture.expected.replayable_mtu1500);
    let mut wrong = Vec::new();
    for (mtu, captures) in [(1500, ordinary), (9600, long)] {
        wrong.extend(replayed(mtu, &captures, &[], None).unwrap());
    }
    println!("{} captures on the wire, {} complaints", captures.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The captures, one after the other, each with an agent of its own and further arguments, which are to do that to
/// addresses.
pub fn replayed(
    mtu: u32,
    captures: &[&Capture],
    arguments: &[&str],
    anonymisation: Option<&Anonymisation>,
) -> Result<Vec<String>> {
    let lab = Lab::new(LabOptions { mtu, ..LabOptions::default() })?;
    let panel = Panel::start(&lab.monitor, IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    let mut all = Vec::new();
    let mut spans = Vec::new();
    for (capture, domain) in captures.iter().zip(1..) {
        let begin = unix_millis()?;
        let agent = meter(&lab, &panel, capture, domain, arguments).with_context(|| capture.name.clone())?;
        spans.push((begin, unix_millis()?));
        all.push(Metered { capture, domain, agent, on_the_captures_clock: false, anonymisation });
    }
    let verdict = panel.stop()?;
    let mut wrong = judge::closing_lines(&all, &verdict);
    for (metered, span) in all.iter().zip(spans) {
        wrong.extend(judge::complaints(metered, &verdict)?);
        wrong.extend(times(metered, &verdict, span));
    }
    Ok(wrong)
}

fn meter(lab: &Lab, panel: &Panel, capture: &Capture, domain: u32, more: &[&str]) -> Result<StoppedAgent> {
    let domain = domain.to_string();
    // The reference counts fragments by themselves.
    let options = ["--xdp-mode", "native", "--fragments", "separate", "--observation-domain", &domain];
    let arguments = [&["-i", MONITOR_INTERFACE][..], &options].concat();
    let collectors = panel.collectors();
    let agent = AgentProcess::start(
        &lab.monitor,
        &[&arguments[..], more, &collectors.each_ref().map(String::as_str)].concat(),
    )?;
    let before = lab.monitor.counters(MONITOR_INTERFACE)?.rx_packets;
    let path = capture.path.to_str().context("the capture's path is no text")?;
    // Slow enough for the pair's ring of 256 frames, however late its reader gets the CPU.
    let replay = lab.generator.run("tcpreplay", &["-K", "-i", GENERATOR_INTERFACE, "--pps=2000", path])?;
    let sent = format!("Successful packets:        {}\n", capture.expected.packets);
    ensure!(replay.stdout.contains(&sent), "tcpreplay: {}{}", replay.stdout, replay.stderr);
    lab.wait_for_packets(before + capture.expected.packets)?;
    agent.stop(Signal::TERM)
}

/// Every packet was seen between the agent's start and its end.
fn times(metered: &Metered, verdict: &PanelVerdict, (begin, end): (u64, u64)) -> Vec<String> {
    let span = begin - CLOCK_STEP - ROUNDING..=end + CLOCK_STEP + ROUNDING;
    let messages = verdict.messages.iter().filter(|message| message.domain == metered.domain);
    let records = messages.flat_map(|message| &message.records);
    records
        .filter(|record| {
            !span.contains(&record.start_unix_millis)
                || !span.contains(&record.end_unix_millis)
                || record.end_unix_millis < record.start_unix_millis
        })
        .map(|record| format!("{}: not within {span:?}: {record:?}", metered.capture.name))
        .collect()
}

fn unix_millis() -> Result<u64> {
    Ok(Duration::as_millis(&SystemTime::now().duration_since(UNIX_EPOCH)?) as u64)
}
