//! One scrape: the agent's last picture of itself, and what interfaces dropped, as text.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use super::{
    books,
    pen::{Of, Pen, label},
};
use crate::{agent::Status, interface::ReceiveDrops};

/// What a scrape shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    /// Of the last flip; none before the first.
    pub(super) status: Option<Arc<Status>>,
    /// Interfaces that are metered, by name, and what they dropped.
    pub(super) interfaces: Vec<(String, ReceiveDrops)>,
}

impl Picture {
    /// As OpenMetrics text.
    pub(super) fn open_metrics(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(32 << 10);
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    /// As the older text of Prometheus, which every scraper reads: the same lines, but for names of counters, which
    /// end there with `_total`, and for kinds that it does not know.
    pub(super) fn plain(self) -> Result<String, fmt::Error> {
        Ok(plain(&self.open_metrics()?))
    }
}

impl Collector for Picture {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut pen = Pen(encoder);
        let version = label("version", env!("CARGO_PKG_VERSION"));
        pen.info("netflow_build", "The agent's version", &version)?;
        let drops = self.interfaces.iter().flat_map(|(name, drops)| {
            let with = |reason| [label("interface", name), label("reason", reason)].concat();
            drops.by_reason().map(|(reason, count)| (with(reason), count))
        });
        pen.counters(
            "netflow_interface_receive_drops",
            Of::Packets,
            "Received frames that a metered interface did not hand on, by the kernel's reason; missed, fifo, over, crc, frame and length were never seen by the meter",
            drops,
        )?;
        let Some(status) = &self.status else { return Ok(()) };
        agent(&mut pen, status)?;
        books::write(&mut pen, &status.books)
    }
}

fn agent(pen: &mut Pen<'_>, status: &Status) -> fmt::Result {
    let seconds = |millis: crate::time::UnixMillis| millis.0 as f64 / 1e3;
    pen.gauge(
        "process_start_time",
        Of::Seconds,
        "When the agent started, since 1970",
        seconds(status.started),
    )?;
    pen.gauge(
        "netflow_last_flip_timestamp",
        Of::Seconds,
        "When the last flip was, since 1970: the other numbers are as of then",
        seconds(status.at),
    )?;
    let interval = status.drain_interval.as_secs_f64();
    pen.gauge("netflow_drain_interval", Of::Seconds, "Time between flips, as asked for", interval)?;
    pen.gauge(
        "netflow_sampling_interval",
        Of::Packets,
        "One in how many packets is metered",
        u64::from(status.sampled_one_in),
    )?;
    let latencies = &status.latencies;
    for (name, help, durations) in [
        (
            "netflow_flip_duration",
            "Changing the generation, and waiting until no program writes to the old one",
            &latencies.flip,
        ),
        (
            "netflow_drain_duration",
            "Emptying a generation and merging it into the flow cache",
            &latencies.drain,
        ),
        ("netflow_expire_duration", "Ending flows and offering their records", &latencies.expire),
    ] {
        pen.durations(name, help, durations)?;
    }
    let names = books::names(&status.books.destinations);
    let collectors = || names.iter().cloned().zip(&status.collectors);
    let up = collectors().map(|(labels, state)| (labels, u64::from(state.is_good)));
    let help = "1 as long as the session knows of no trouble with the collector";
    pen.gauges("netflow_destination_up", Of::Things, help, up)?;
    let limits = collectors().map(|(labels, state)| (labels, state.queue_limit));
    let help = "Records that wait in the destination's queue before further ones are turned away";
    pen.gauges("netflow_destination_queue_limit", Of::Records, help, limits)
}

/// Makes plain text of OpenMetrics text.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            if let Some((_, help)) = help.take() {
                plain.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            plain.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}
