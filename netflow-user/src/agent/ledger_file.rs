//! The books as a file: rewritten at each tick, whole at any moment.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use tracing::warn;

use super::AgentError;
use crate::ledger::Books;

/// `--ledger-file`.
#[derive(Debug)]
pub(super) struct LedgerFile {
    path: PathBuf,
    failing: AtomicBool,
}

impl LedgerFile {
    /// Writes the first, empty books: a path that cannot be written is an error at start.
    pub(super) fn create(path: &Path, books: &Books) -> Result<Self, AgentError> {
        let file = Self { path: path.to_owned(), failing: AtomicBool::new(false) };
        file.replace(books).map_err(|source| AgentError::LedgerFile { path: path.to_owned(), source })?;
        Ok(file)
    }

    /// Writes the books; a failure is said once and does not stop the meter.
    pub(super) fn write(&self, books: &Books) {
        let result = self.replace(books);
        let failing = result.is_err();
        if failing != self.failing.swap(failing, Ordering::Relaxed) {
            match result {
                Err(error) => warn!("cannot write the ledger to {}: {error}", self.path.display()),
                Ok(()) => warn!("the ledger is written to {} again", self.path.display()),
            }
        }
    }

    fn replace(&self, books: &Books) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(books)?;
        text.push(b'\n');
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = self.path.with_file_name(name);
        fs::write(&new, text)?;
        // A reader sees the old books or the new ones, never a part.
        fs::rename(&new, &self.path)
    }
}
