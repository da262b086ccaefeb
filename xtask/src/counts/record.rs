//! What is recorded of counts, and what another count may differ by.

use std::fmt;

/// In percent: what the same compilers may make of an unrelated change, in inlining say.
const TOLERANCE: u64 = 3;
/// What other compilers may make of the same source.
const TOLERANCE_OF_OTHER_COMPILERS: u64 = 10;
const HEADER: &str = "# Instructions: of the kernel's programs as the object has them, and that the agent's stages execute for a flow, in
# thousandths. `cargo xtask counts` compares, `cargo xtask counts --update` writes this file.";

/// A number of instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub name: String,
    pub count: u64,
}

/// What was counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    pub compilers: String,
    pub counts: Vec<Count>,
}

/// What a comparison found.
#[derive(Debug, PartialEq, Eq)]
pub struct Findings {
    /// Everything that is to be shown.
    pub lines: Vec<String>,
    /// What does not pass.
    pub wrong: Vec<String>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\ncompilers: {}", self.compilers)?;
        self.counts.iter().try_for_each(|Count { name, count }| writeln!(f, "{name}: {count}"))
    }
}

impl Counts {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let compilers = lines.next()?.strip_prefix("compilers: ")?.to_owned();
        let count = |line: &str| {
            let (name, count) = line.rsplit_once(": ")?;
            Some(Count { name: name.to_owned(), count: count.parse().ok()? })
        };
        Some(Self { compilers, counts: lines.map(count).collect::<Option<_>>()? })
    }

    /// Compares others with these. Fewer instructions than recorded do not pass either: the next regression would hide
    /// behind them.
    pub fn compare(&self, now: &Self) -> Findings {
        let mut findings = Findings { lines: Vec::new(), wrong: Vec::new() };
        let is_same = self.compilers == now.compilers;
        let tolerance = if is_same { TOLERANCE } else { TOLERANCE_OF_OTHER_COMPILERS };
        if !is_same {
            let (then, now) = (&self.compilers, &now.compilers);
            findings.lines.push(format!("recorded with {then}, counted with {now}: within {tolerance} %"));
        }
        for Count { name, count } in &now.counts {
            let Some(recorded) = self.counts.iter().find(|recorded| recorded.name == *name) else {
                findings.wrong.push(format!("{name} is not recorded"));
                continue;
            };
            let percent = (*count as f64 / recorded.count as f64 - 1.0) * 100.0;
            let line = format!("{name}: {count} instructions, recorded {} ({percent:+.1} %)", recorded.count);
            if count.abs_diff(recorded.count).saturating_mul(100) > recorded.count.saturating_mul(tolerance) {
                findings.wrong.push(line.clone());
            }
            findings.lines.push(line);
        }
        let gone = self.counts.iter().filter(|old| now.counts.iter().all(|new| new.name != old.name));
        findings
            .wrong
            .extend(gone.map(|Count { name, .. }| format!("{name} is recorded, but was not counted")));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(compilers: &str, counts: &[(&str, u64)]) -> Counts {
        let counts = counts.iter().map(|(name, count)| Count { name: (*name).to_owned(), count: *count });
        Counts { compilers: compilers.to_owned(), counts: counts.collect() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = counts("rustc 1, LLVM 2", &[("program a", 100), ("stage b", 7)]);
        assert_eq!(Counts::parse(&written.to_string()), Some(written));
        assert_eq!(Counts::parse("compilers: x\nno number: many"), None);
        assert_eq!(Counts::parse(""), None);
    }

    #[test]
    fn a_difference_within_the_tolerance_passes_and_a_larger_one_does_not_in_either_direction() {
        let recorded = counts("same", &[("a", 1000)]);
        for (count, passes) in [(1000, true), (1030, true), (970, true), (1031, false), (969, false)] {
            assert_eq!(
                recorded.compare(&counts("same", &[("a", count)])).wrong.is_empty(),
                passes,
                "{count}"
            );
        }
        for (count, passes) in [(1100, true), (1101, false)] {
            assert_eq!(
                recorded.compare(&counts("other", &[("a", count)])).wrong.is_empty(),
                passes,
                "{count}"
            );
        }
    }

    #[test]
    fn what_is_on_one_side_only_does_not_pass() {
        let recorded = counts("same", &[("a", 1), ("b", 1)]);
        let findings = recorded.compare(&counts("same", &[("b", 1), ("c", 1)]));
        assert_eq!(findings.wrong, ["c is not recorded", "a is recorded, but was not counted"]);
    }
}
