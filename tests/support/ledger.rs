//! The agent's books, as it writes them to `--ledger-file`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The books at one flip.
#[derive(Clone, PartialEq, Debug)]
pub struct Ledger(pub Value);

impl Ledger {
    /// Reads the file. It is replaced atomically, so that it is whole whenever there is one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("no ledger in {}", path.display()))?;
        Ok(Self(serde_json::from_slice(&text).context("the ledger is no JSON")?))
    }

    /// A number by its JSON pointer (`/packets/seen`). A missing one is an error, not zero.
    pub fn number(&self, pointer: &str) -> Result<u64> {
        let value = self.0.pointer(pointer).and_then(Value::as_u64);
        value.with_context(|| format!("no number {pointer} in the ledger {}", self.0))
    }

    /// The sum of all numbers below a JSON pointer: of an object of reasons, say.
    pub fn sum(&self, pointer: &str) -> Result<u64> {
        let value =
            self.0.pointer(pointer).with_context(|| format!("no {pointer} in the ledger {}", self.0))?;
        Ok(sum(value))
    }
}

fn sum(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::Array(values) => values.iter().map(sum).sum(),
        Value::Object(values) => values.values().map(sum).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn numbers_are_found_and_reasons_summed() {
        let ledger = Ledger(
            serde_json::json!({"packets": {"seen": 7, "lost": {"map_full": 2, "cpu_without_map": 1}}}),
        );
        assert_eq!(ledger.number("/packets/seen").unwrap(), 7);
        assert_eq!(ledger.sum("/packets/lost").unwrap(), 3);
        assert!(ledger.number("/packets/metered").is_err());
    }
}
