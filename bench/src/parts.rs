//! The parts of the bench, in the order in which they run.

use std::time::Duration;

use anyhow::Result;

use crate::{Context, Outcome, Part, drain, export, live, memory, others, packet};

/// All of them. The budgets of `--quick` stay below three minutes together.
pub const PARTS: [Part; 6] = [
    part('a', "Nanoseconds per packet", 40, packet::run),
    part('b', "Live traffic, beside other exporters", 60, live::run),
    part('c', "Drain and merge", 18, drain::run),
    part('d', "Encode and send", 30, encode_and_send),
    part('e', "Memory", 6, memory::run),
    part('f', "What it costs others", 20, others::run),
];

const fn part(letter: char, title: &'static str, quick: u64, run: fn(&Context) -> Result<Outcome>) -> Part {
    Part { letter, title, quick: Duration::from_secs(quick), run }
}

/// What of part d's budget is left to whole exporters.
const WHOLE_EXPORTERS: Duration = Duration::from_secs(17);

fn encode_and_send(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    export::run(&Context { until: context.until - WHOLE_EXPORTERS, ..context.clone() }, &mut outcome)?;
    live::closing::run(context, &mut outcome)?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_has_less_than_three_minutes() {
        let all: Duration = PARTS.iter().map(|part| part.quick).sum();
        assert!(all < Duration::from_secs(180), "{all:?}");
    }
}
