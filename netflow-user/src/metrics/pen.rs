//! Writes samples of metrics that are taken anew at each scrape, by the official client's encoder.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric as _, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use crate::agent::Durations;

/// The labels of a sample.
pub(super) type Labels = Vec<(&'static str, String)>;

/// One label.
pub(super) fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

/// What is counted or measured: the last part of a metric's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Of {
    Packets,
    Bytes,
    Flows,
    Records,
    Seconds,
    /// The name says it.
    Things,
}

impl Of {
    fn unit(self) -> Option<Unit> {
        match self {
            Self::Packets => Some(Unit::Other("packets".to_owned())),
            Self::Bytes => Some(Unit::Bytes),
            Self::Flows => Some(Unit::Other("flows".to_owned())),
            Self::Records => Some(Unit::Other("records".to_owned())),
            Self::Seconds => Some(Unit::Seconds),
            Self::Things => None,
        }
    }
}

/// Writes one metric after the other. Names are without the unit and without `_total`.
pub(super) struct Pen<'a>(pub(super) DescriptorEncoder<'a>);

impl Pen<'_> {
    /// A counter with samples by label.
    pub(super) fn counters<N: EncodeCounterValue>(
        &mut self,
        name: &str,
        of: Of,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, N)>,
    ) -> fmt::Result {
        let unit = of.unit();
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in samples {
            ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// A counter.
    pub(super) fn counter(&mut self, name: &str, of: Of, help: &str, value: u64) -> fmt::Result {
        let unit = of.unit();
        let metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    /// A gauge with samples by label.
    pub(super) fn gauges<N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        of: Of,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, N)>,
    ) -> fmt::Result {
        let unit = of.unit();
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// A gauge.
    pub(super) fn gauge(
        &mut self,
        name: &str,
        of: Of,
        help: &str,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        let unit = of.unit();
        let metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    /// A histogram of times.
    pub(super) fn durations(&mut self, name: &str, help: &str, durations: &Durations) -> fmt::Result {
        let unit = Of::Seconds.unit();
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Histogram)?;
        let bounds = Durations::BOUNDS.iter().map(std::time::Duration::as_secs_f64).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(durations.counts().iter().copied()).collect();
        metric.encode_histogram::<NoLabelSet>(
            durations.sum().as_secs_f64(),
            durations.count(),
            &buckets,
            None,
        )
    }

    /// What does not change while the process runs.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &Labels) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }
}
