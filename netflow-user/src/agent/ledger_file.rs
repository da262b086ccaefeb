//! The books as a file: rewritten at each tick, whole at any moment.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use tracing::warn;

use super::AgentError;
use crate::ledger::Books;

/// `--ledger-file`.
#[derive(Debug)]
pub(super) struct LedgerFile {
    path: PathBuf,
}

/// Writes the books on a thread of its own: a slow disk must not hold up the meter.
#[derive(Debug)]
pub(super) struct LedgerWriter {
    books: Option<SyncSender<Books>>,
    thread: Option<JoinHandle<()>>,
}

impl LedgerWriter {
    /// Has the books written. Where the books before are still being written, the next ones will do.
    pub(super) fn write(&self, books: Books) {
        if let Some(sender) = &self.books {
            let _ = sender.try_send(books);
        }
    }
}

impl Drop for LedgerWriter {
    /// Waits until nothing is being written: the final books must be the last ones.
    fn drop(&mut self) {
        self.books = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl LedgerFile {
    /// Prepares a path: one that cannot be written is an error at start. Nothing is there before the
    /// first [`LedgerFile::write`], so that a start that fails leaves another's books alone.
    pub(super) fn open(path: &Path) -> Result<Self, AgentError> {
        let fail = |source| AgentError::LedgerFile { path: path.to_owned(), source };
        // Renaming over a device such as /dev/null would replace it for everybody.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) || path.file_name().is_none() {
            return Err(fail(io::Error::other("it is there and is no regular file")));
        }
        let file = Self { path: path.to_owned() };
        fs::File::create(file.new_path()).map_err(fail)?;
        fs::remove_file(file.new_path()).map_err(fail)?;
        Ok(file)
    }

    /// Writes the final books.
    pub(super) fn close(self, books: &Books) -> Result<(), AgentError> {
        self.replace(books).map_err(|source| AgentError::LedgerFile { path: self.path, source })
    }

    /// Writes the first books and starts the writer of the others.
    pub(super) fn start(self, books: &Books) -> Result<LedgerWriter, AgentError> {
        let fail = |path: &Path, source| AgentError::LedgerFile { path: path.to_owned(), source };
        self.replace(books).map_err(|source| fail(&self.path, source))?;
        let (sender, receiver) = sync_channel::<Books>(1);
        let path = self.path.clone();
        let thread = thread::Builder::new().name("ledger".to_owned()).spawn(move || {
            let mut failing = false;
            for books in receiver {
                failing = self.write(&books, failing);
            }
        });
        let thread = thread.map_err(|source| fail(&path, source))?;
        Ok(LedgerWriter { books: Some(sender), thread: Some(thread) })
    }

    /// Writes the books; a failure is said once and does not stop the meter. Returns whether it failed.
    fn write(&self, books: &Books, failing: bool) -> bool {
        let result = self.replace(books);
        match &result {
            Err(error) if !failing => warn!("cannot write the ledger to {}: {error}", self.path.display()),
            Ok(()) if failing => warn!("the ledger is written to {} again", self.path.display()),
            _ => {}
        }
        result.is_err()
    }

    fn replace(&self, books: &Books) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(books)?;
        text.push(b'\n');
        let new = self.new_path();
        fs::write(&new, text)?;
        // A reader sees the old books or the new ones, never a part.
        fs::rename(&new, &self.path)
    }

    fn new_path(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        self.path.with_file_name(name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn devices_directories_and_missing_directories_are_refused_and_left_alone() {
        let missing = std::env::temp_dir().join("netflow-no-such-directory/ledger.json");
        let cases = [
            (Path::new("/dev/null"), "no regular file"),
            (&std::env::temp_dir(), "no regular file"),
            (Path::new("/"), "no regular file"),
            (&missing, "No such file or directory"),
        ];
        for (path, reason) in cases {
            let AgentError::LedgerFile { source, .. } = LedgerFile::open(path).unwrap_err() else { panic!() };
            assert!(source.to_string().contains(reason), "{}: {source}", path.display());
        }
        assert!(!Path::new("/dev/null.new").exists());
    }
}
