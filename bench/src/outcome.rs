//! What a part of the bench is given, and what it tells.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{Measurement, Unit, measurement::number};

/// A part of the bench.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// As `--only` names it.
    pub letter: char,
    /// What it measures, as a heading.
    pub title: &'static str,
    /// How long it may take with `--quick`.
    pub quick: Duration,
    /// Measures. An error is said in the report, and the other parts go on.
    pub run: fn(&Context) -> Result<Outcome>,
}

/// What a part is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// Fewer cases and rounds, within the part's budget.
    pub quick: bool,
    /// When this part's budget ends; far away without `--quick`. Rounds that would go beyond it are left out.
    pub until: Instant,
    /// The release binary of the agent.
    pub binary: PathBuf,
}

impl Context {
    /// Rounds of each case: some with `--quick`, more without.
    pub fn rounds(&self, quick: usize, full: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Whether something that takes so long may still begin.
    pub fn has_time_for(&self, estimate: Duration) -> bool {
        Instant::now() + estimate <= self.until
    }
}

/// What a part tells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// How it is measured, and which CPU does what: one or more sentences.
    pub method: String,
    /// The numbers.
    pub tables: Vec<Table>,
    /// Some of them as pictures.
    pub plots: Vec<Plot>,
    /// What the project has set itself.
    pub targets: Vec<Target>,
    /// What could not be run and why, one line each.
    pub not_run: Vec<String>,
    /// What else the reader has to know, one line each.
    pub notes: Vec<String>,
}

/// Rows of numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// What stands above it.
    pub title: String,
    /// Headings, the first one that of the rows' names.
    pub columns: Vec<String>,
    /// Name and cells, one fewer than columns.
    pub rows: Vec<(String, Vec<Cell>)>,
    /// Stands in the report and not in README.
    #[serde(default)]
    pub is_detail: bool,
}

impl Table {
    /// An empty one.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            title: title.into(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
            is_detail: false,
        }
    }

    /// The same, for the report and not for README.
    #[must_use]
    pub fn detail(self) -> Self {
        Self { is_detail: true, ..self }
    }

    /// One more row.
    pub fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push((name.into(), cells.into_iter().collect()));
    }
}

/// One cell of a table.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// Measured several times.
    Measured(Measurement),
    /// Counted, or calculated from measurements.
    Number(f64),
    /// Words.
    Text(String),
    /// Not measured.
    Nothing,
}

impl From<Option<Measurement>> for Cell {
    fn from(measurement: Option<Measurement>) -> Self {
        measurement.map_or(Self::Nothing, Self::Measured)
    }
}

impl From<Measurement> for Cell {
    fn from(measurement: Measurement) -> Self {
        Self::Measured(measurement)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// How a plot shows its series.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlotKind {
    /// Lines over a logarithmic axis.
    Lines,
    /// One bar for each series' only value.
    Bars,
}

/// A picture.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plot {
    /// The file's name without `.svg`.
    pub name: String,
    /// What stands above it.
    pub title: String,
    /// What the horizontal axis of lines shows; bars have none.
    pub x_label: String,
    /// What the values are.
    pub y_label: String,
    /// Lines or bars.
    pub kind: PlotKind,
    /// What is shown.
    pub series: Vec<Series>,
}

/// Values that belong together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Places and values; of bars, one value at any place.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// The only value of a bar.
    pub fn bar(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), points: vec![(0.0, value)] }
    }
}

/// A bound that the project has set itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// What is bounded.
    pub name: String,
    /// The bound in words: `<= 20 ns`.
    pub bound: String,
    /// What was measured; `None` where it was not.
    pub measured: Option<f64>,
    /// In this unit.
    pub unit: Unit,
    /// Whether it is met; `None` where it was not measured.
    pub met: Option<bool>,
    /// Why it is not, where that was found out.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Target {
    /// Met by values up to this one.
    pub fn at_most(name: impl Into<String>, limit: f64, unit: Unit, measured: Option<f64>) -> Self {
        Self::new(name.into(), "<=", limit, unit, measured, |value| value <= limit)
    }

    /// Met by values from this one on.
    pub fn at_least(name: impl Into<String>, limit: f64, unit: Unit, measured: Option<f64>) -> Self {
        Self::new(name.into(), ">=", limit, unit, measured, |value| value >= limit)
    }

    fn new(
        name: String,
        sign: &str,
        limit: f64,
        unit: Unit,
        measured: Option<f64>,
        is_met: impl Fn(f64) -> bool,
    ) -> Self {
        let whole = limit.fract() == 0.0;
        let limit_text =
            if whole { number(limit).replace(".00", "").replace(".0", "") } else { number(limit) };
        Self {
            name,
            bound: format!("{sign} {limit_text} {}", unit.name()),
            measured,
            unit,
            met: measured.map(is_met),
            reason: None,
        }
    }

    /// Why it is not met, if it is not.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()).filter(|_| self.met == Some(false)), ..self }
    }

    /// Met, not met, or not measured.
    pub fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "not measured",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_met_up_to_and_with_their_bound() {
        let most = |value| Target::at_most("x", 20.0, Unit::Nanoseconds, value).verdict();
        assert_eq!(most(Some(20.0)), "met");
        assert_eq!(most(Some(20.1)), "**not met**");
        assert_eq!(most(None), "not measured");
        let least = |value| Target::at_least("x", 2e6, Unit::RecordsPerSecond, value).verdict();
        assert_eq!(least(Some(2e6)), "met");
        assert_eq!(least(Some(1.9e6)), "**not met**");
    }

    #[test]
    fn a_reason_is_kept_for_a_target_that_is_not_met_only() {
        let reason = |value| {
            Target::at_most("x", 20.0, Unit::Nanoseconds, value).because("cache misses").reason.is_some()
        };
        assert_eq!([Some(20.0), Some(21.0), None].map(reason), [false, true, false]);
    }

    #[test]
    fn bounds_are_said_in_words() {
        assert_eq!(Target::at_most("x", 20.0, Unit::Nanoseconds, None).bound, "<= 20 ns");
        assert_eq!(Target::at_most("x", 1.4, Unit::Times, None).bound, "<= 1.40 times");
        assert_eq!(Target::at_least("x", 2e6, Unit::RecordsPerSecond, None).bound, ">= 2,000,000 records/s");
        assert_eq!(Target::at_least("x", 0.0, Unit::Packets, None).bound, ">= 0 packets");
    }
}
