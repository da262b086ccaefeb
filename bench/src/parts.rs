//! The parts of the bench, in the order in which they run.

use std::time::Duration;

use anyhow::Result;

use crate::{Context, Outcome, Part, live, others, packet};

/// All of them. The budgets of `--quick` stay below three minutes together.
pub const PARTS: [Part; 6] = [
    part('a', "Nanoseconds per packet", 40, packet::run),
    part('b', "Live traffic, beside other exporters", 60, live::run),
    part('c', "Drain and merge", 15, not_written),
    part('d', "Encode and send", 20, encode_and_send),
    part('e', "Memory", 15, not_written),
    part('f', "What it costs others", 20, others::run),
];

const fn part(letter: char, title: &'static str, quick: u64, run: fn(&Context) -> Result<Outcome>) -> Part {
    Part { letter, title, quick: Duration::from_secs(quick), run }
}

fn encode_and_send(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome {
        not_run: vec!["the agent's stages alone: not written yet".to_owned()],
        ..Outcome::default()
    };
    live::closing::run(context, &mut outcome)?;
    Ok(outcome)
}

fn not_written(_context: &Context) -> Result<Outcome> {
    Ok(Outcome { not_run: vec!["this part is not written yet".to_owned()], ..Outcome::default() })
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
