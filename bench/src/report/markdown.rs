//! The report for people.

use std::fmt::Write as _;

use super::Results;
use crate::{Cell, Table, measurement::number};

/// The whole report.
pub fn markdown(results: &Results) -> String {
    let mut text = String::from("# Results of `cargo xtask bench`\n\n");
    header(&mut text, results);
    let mut bounds = String::new();
    targets(&mut bounds, results);
    if !bounds.is_empty() {
        let _ = write!(text, "\n## Targets\n\n{bounds}");
    }
    for part in &results.parts {
        let _ = write!(text, "\n## {}. {}\n\n", part.letter, part.title);
        if !part.outcome.method.is_empty() {
            let _ = writeln!(text, "{}\n", part.outcome.method);
        }
        for table in &part.outcome.tables {
            write_table(&mut text, table);
        }
        for plot in &part.outcome.plots {
            let _ = writeln!(text, "![{}]({}.svg)\n", plot.title, plot.name);
        }
        for note in &part.outcome.notes {
            let _ = writeln!(text, "- {note}");
        }
        for line in &part.outcome.not_run {
            let _ = writeln!(text, "- Not run: {line}");
        }
        let _ = writeln!(text, "\n(This part took {:.0} s.)", part.seconds);
    }
    text
}

/// The machine, the state of the tree, the date, and how quiet it was.
pub(super) fn header(text: &mut String, results: &Results) {
    let (machine, noise) = (&results.machine, &results.noise);
    let kind = if machine.is_virtual { "On a virtual machine: " } else { "" };
    let _ = writeln!(
        text,
        "{}Linux {}, {}, {} CPUs, {:.1} GiB of memory; commit {}; {}.\n",
        kind,
        machine.kernel,
        machine.cpu,
        machine.cpus,
        machine.memory as f64 / f64::from(1 << 30),
        if machine.commit.is_empty() { "unknown" } else { &machine.commit },
        machine.date,
    );
    let length =
        if results.is_full { "Full length." } else { "Short run (`--quick` or `--only`): indicative." };
    let _ = write!(text, "{length} Numbers are medians, in parentheses minimum and maximum. Noise: ");
    if let Some(piece) = &noise.loop_microseconds {
        let _ = write!(text, "a fixed piece of arithmetic took {piece} µs, ");
    }
    let _ = writeln!(
        text,
        "the hypervisor took {:.1} % of the CPUs' time, load average before the run {}.",
        noise.steal_percent, noise.load_before
    );
}

/// The table of all targets, if there are any, and why some are not met.
pub(super) fn targets(text: &mut String, results: &Results) {
    let all: Vec<_> = results
        .parts
        .iter()
        .flat_map(|part| part.outcome.targets.iter().map(move |it| (part.letter, it)))
        .collect();
    if all.is_empty() {
        return;
    }
    text.push_str("| | target | bound | measured | |\n|---|---|---|---|---|\n");
    for (letter, target) in &all {
        let measured = target
            .measured
            .map_or("-".to_owned(), |value| format!("{} {}", number(value), target.unit.name()));
        let (name, bound, verdict) = (&target.name, &target.bound, target.verdict());
        let _ = writeln!(text, "| {letter} | {name} | {bound} | {measured} | {verdict} |");
    }
    let reasons: Vec<_> =
        all.iter().filter_map(|(_, target)| Some((&target.name, target.reason.as_ref()?))).collect();
    if !reasons.is_empty() {
        text.push_str("\nNot met:\n\n");
        for (name, reason) in reasons {
            let _ = writeln!(text, "- {name}: {reason}");
        }
    }
}

pub(super) fn write_table(text: &mut String, table: &Table) {
    if !table.title.is_empty() {
        let _ = writeln!(text, "{}\n", table.title);
    }
    let _ = writeln!(text, "| {} |", table.columns.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(table.columns.len()));
    // What was not measured at all is told of behind the tables.
    let is_measured = |(_, cells): &&(String, Vec<Cell>)| cells.iter().any(|cell| *cell != Cell::Nothing);
    for (name, cells) in table.rows.iter().filter(is_measured) {
        let cells: Vec<String> = cells.iter().map(cell).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text.push('\n');
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Measured(measurement) => measurement.to_string(),
        Cell::Number(value) if value.fract() == 0.0 => number(*value).replace(".00", "").replace(".0", ""),
        Cell::Number(value) => number(*value),
        Cell::Text(text) => text.clone(),
        Cell::Nothing => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Measurement, Unit};

    #[test]
    fn tables_have_a_line_for_each_row() {
        let mut table = Table::new("What it costs", &["flows", "ns", "lost"]);
        table.row("1 k", [Measurement::of(Unit::Nanoseconds, [1.0, 2.0, 3.0]).into(), Cell::Number(0.0)]);
        table.row("1 M", [Cell::Nothing, "none".into()]);
        table.row("5 M", [Cell::Nothing, Cell::Nothing]);
        let mut text = String::new();
        write_table(&mut text, &table);
        assert_eq!(
            text,
            "What it costs\n\n| flows | ns | lost |\n|---|---|---|\n| 1 k | 2.00 (1.00 to 3.00) | 0 |\n| 1 M | - | none |\n\n"
        );
    }

    #[test]
    fn whole_numbers_are_written_without_a_fraction() {
        assert_eq!(cell(&Cell::Number(12.0)), "12");
        assert_eq!(cell(&Cell::Number(5.0)), "5");
        assert_eq!(cell(&Cell::Number(1000.0)), "1,000");
        assert_eq!(cell(&Cell::Number(5.25)), "5.25");
    }
}
