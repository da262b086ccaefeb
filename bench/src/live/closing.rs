//! Part d beside the agent's stages: whole exporters. Each is filled with flows and then asked to end; the records that
//! it exports then, by the processor time that it takes from there to its end.

use std::time::Duration;

use anyhow::Result;

use super::{
    EXPORTER_CPU, Exporter, Traffic,
    run::{self as live_run, Run},
};
use crate::{Cell, Context, Measurement, Outcome, Table, Unit};

/// Longer than the agent's drain interval: nothing is left in the kernel.
const QUIET: Duration = Duration::from_millis(1200);
/// What one of them takes.
const ESTIMATE: Duration = Duration::from_secs(5);

/// The agent, and the two rivals whose export is a loop over a table. The others export as flows expire.
const EXPORTERS: [Exporter; 3] = [Exporter::Netflow, Exporter::Softflowd, Exporter::Pmacctd];

/// Adds the table.
///
/// # Errors
/// The network cannot be made.
pub fn run(context: &Context, outcome: &mut Outcome) -> Result<()> {
    let flows = if context.quick { 200_000 } else { 500_000 };
    let traffic = Traffic { packets: flows, flows };
    let mut table = Table::new(
        format!(
            "Whole exporters on CPU {EXPORTER_CPU}: {flows} flows of one packet, exported at the end (ending and freeing all of them \
             included); processor time of all its processes"
        ),
        &["", "records/s and core", "ns per record", "records"],
    );
    let mut samples: Vec<Vec<Run>> = EXPORTERS.map(|_| Vec::new()).into();
    for _ in 0..context.rounds(1, 5) {
        for (exporter, samples) in EXPORTERS.iter().zip(&mut samples) {
            if exporter.program(&context.binary).is_err() || !context.has_time_for(ESTIMATE) {
                continue;
            }
            match live_run::run(*exporter, &context.binary, traffic, QUIET) {
                Ok(run) => samples.push(run),
                Err(error) => {
                    outcome.not_run.push(format!("{}: {error:#}", exporter.name()).replace('\n', " "))
                }
            }
        }
    }
    for (exporter, runs) in EXPORTERS.iter().zip(&samples) {
        if runs.is_empty() {
            outcome
                .not_run
                .push(format!("{} at the end of a run: not here, or no time left", exporter.name()));
            continue;
        }
        let records = |run: &Run| (run.exported.records - run.exported_before.records) as f64;
        let of = |unit, value: &dyn Fn(&Run) -> f64| Measurement::of(unit, runs.iter().map(value));
        table.row(
            exporter.name(),
            [
                of(Unit::RecordsPerSecond, &|run| records(run) / run.closing.as_secs_f64()).into(),
                of(Unit::Nanoseconds, &|run| run.closing.as_nanos() as f64 / records(run)).into(),
                of(Unit::Records, &records).map_or(Cell::Nothing, |records| Cell::Number(records.median())),
            ],
        );
    }
    outcome.tables.push(table);
    Ok(())
}
