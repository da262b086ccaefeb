//! IPFIX Files (RFC 5655), messages one behind the other, and files of JSON lines; both are changed by size and by time.
//!
//! A file has its final name only once it is complete: it is written as `NAME.part`, brought to disk and renamed. What a
//! crash leaves behind is cut behind its last whole message (or line) and gets its name at the next start. Each file is a
//! Transport Session of its own, with its templates (FILE-3), so that it can be read alone.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::error::TransportError;
use crate::{
    framing::{HEADER_LEN, LONGEST_MESSAGE, message_length},
    time::{Instant, MonotonicNanos},
};

/// Behind the name of a file that is not complete.
const PART: &str = ".part";

/// When what was written is brought to disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Sync {
    /// When a file is complete.
    #[default]
    Close,
    /// Behind each message.
    Message,
    /// When the kernel likes.
    Off,
}

/// What is in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Content {
    /// IPFIX Messages.
    Ipfix,
    /// JSON, an object a line.
    JsonLines,
}

impl Content {
    fn suffix(self) -> &'static str {
        match self {
            Self::Ipfix => ".ipfix",
            Self::JsonLines => ".json",
        }
    }

    /// Octets of what is whole at the beginning of a file.
    fn whole(self, file: &mut File) -> io::Result<u64> {
        match self {
            Self::Ipfix => whole_messages(file),
            Self::JsonLines => whole_lines(file),
        }
    }
}

/// Where files go and when they are changed.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct FileTarget {
    /// The directory and the beginning of the names: `/var/lib/flows/router` makes
    /// `/var/lib/flows/router-20260101T000000Z.ipfix`.
    pub prefix: PathBuf,
    /// A file is complete when it has so many octets.
    pub rotate_size: Option<u64>,
    /// A file is complete when it is so old.
    pub rotate_time: Option<Duration>,
    /// When it is brought to disk.
    pub sync: Sync,
    /// What is in it.
    pub content: Content,
}

/// Files, one behind the other.
#[derive(Debug)]
pub struct FileTransport {
    target: FileTarget,
    message_size: Option<usize>,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// As long as it is not complete.
    part: PathBuf,
    name: PathBuf,
    octets: u64,
    since: MonotonicNanos,
}

impl FileTransport {
    /// Looks whether files can be made there, and completes what an earlier run left behind.
    ///
    /// # Errors
    /// There is no such directory, or it takes no files; another process writes files of this name.
    pub fn open(target: FileTarget, message_size: Option<usize>) -> Result<Self, TransportError> {
        let failed = |path: &Path, source| TransportError::File { path: path.to_owned(), source };
        let directory = target.directory();
        for entry in fs::read_dir(directory).map_err(|source| failed(directory, source))? {
            let path = entry.map_err(|source| failed(directory, source))?.path();
            if target.is_part(&path) {
                complete_left_behind(&path, target.content).map_err(|source| failed(&path, source))?;
            }
        }
        let mut probe = target.prefix.clone().into_os_string();
        probe.push(PART);
        let probe = PathBuf::from(probe);
        create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(|source| failed(&probe, source))?;
        Ok(Self { target, message_size, open: None })
    }

    /// Octets that a message may have.
    pub fn message_limit(&self) -> usize {
        self.message_size.unwrap_or(LONGEST_MESSAGE)
    }

    /// Where it writes, for the log.
    pub fn place(&self) -> String {
        format!("{}-*{}", self.target.prefix.display(), self.target.content.suffix())
    }

    /// Whether the next message begins another file, and with it another session.
    pub fn is_complete(&self, now: MonotonicNanos) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let large = self.target.rotate_size.is_some_and(|size| open.octets >= size);
            let old = self.target.rotate_time.is_some_and(|time| now >= open.since.plus(time));
            large || old
        })
    }

    /// When the file that is open is complete by its age.
    pub fn deadline(&self) -> Option<MonotonicNanos> {
        Some(self.open.as_ref()?.since.plus(self.target.rotate_time?))
    }

    /// Appends a message. After an error nothing of it is in the file.
    ///
    /// # Errors
    /// The file cannot be made or written to.
    pub fn send(&mut self, message: &[u8], now: Instant) -> Result<(), TransportError> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(self.target.begin(now)?),
        };
        let written = open.file.write_all(message).and_then(|()| match self.target.sync {
            Sync::Message => open.file.sync_data(),
            Sync::Close | Sync::Off => Ok(()),
        });
        match written {
            Ok(()) => {
                open.octets += message.len() as u64;
                Ok(())
            }
            Err(source) => {
                let path = open.part.clone();
                // A part of it may be there: readers would stumble over it.
                let restored = open
                    .file
                    .set_len(open.octets)
                    .and_then(|()| open.file.seek(io::SeekFrom::Start(open.octets)));
                if restored.is_err() {
                    self.open = None;
                }
                Err(TransportError::File { path, source })
            }
        }
    }

    /// Completes the file that is open, if one is: brings it to disk and gives it its name, which is returned.
    ///
    /// # Errors
    /// That did not work; the file keeps its `.part`, and the next start completes it.
    pub fn complete(&mut self) -> Result<Option<PathBuf>, TransportError> {
        let Some(OpenFile { file, part, name, .. }) = self.open.take() else { return Ok(None) };
        let failed = |source| TransportError::File { path: part.clone(), source };
        if self.target.sync != Sync::Off {
            file.sync_all().map_err(failed)?;
        }
        fs::rename(&part, &name).map_err(failed)?;
        if self.target.sync != Sync::Off {
            // The name, too.
            File::open(self.target.directory()).and_then(|directory| directory.sync_all()).map_err(failed)?;
        }
        Ok(Some(name))
    }
}

impl Drop for FileTransport {
    fn drop(&mut self) {
        // Whoever wants to know of errors has called `complete`.
        let _ = self.complete();
    }
}

impl FileTarget {
    fn directory(&self) -> &Path {
        self.prefix.parent().unwrap_or(Path::new("/"))
    }

    /// The complete files that are there, oldest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn complete_files(&self) -> Result<Vec<PathBuf>, TransportError> {
        let failed = |source| TransportError::File { path: self.directory().to_owned(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(self.directory()).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // The number tells those of one second apart; the first has none.
            if let Some(time) = self.time_of(&path, "") {
                let (time, number) = time.split_once('-').unwrap_or((&time, "0"));
                if let Ok(number) = number.parse::<u64>() {
                    files.push((time.to_owned(), number, path));
                }
            }
        }
        files.sort();
        Ok(files.into_iter().map(|(_, _, path)| path).collect())
    }

    /// Whether a path is that of a file of ours that is not complete.
    fn is_part(&self, path: &Path) -> bool {
        self.time_of(path, PART).is_some()
    }

    /// The time in the name of a file of ours with this behind its name.
    fn time_of(&self, path: &Path, behind: &str) -> Option<String> {
        let (name, prefix) =
            (path.file_name()?.to_string_lossy(), self.prefix.file_name()?.to_string_lossy());
        let rest = name.strip_prefix(&*prefix)?.strip_suffix(behind)?.strip_suffix(self.content.suffix())?;
        rest.strip_prefix('-').map(str::to_owned)
    }

    /// Begins a file that is named by the second; a number tells those of one second apart.
    fn begin(&self, now: Instant) -> Result<OpenFile, TransportError> {
        let time = std::time::UNIX_EPOCH + Duration::from_nanos(now.unix_nanos);
        let time = humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "");
        for number in 0.. {
            let mut name = self.prefix.clone().into_os_string();
            name.push(format!("-{time}"));
            if number > 0 {
                name.push(format!("-{number}"));
            }
            name.push(self.content.suffix());
            let mut part = name.clone();
            part.push(PART);
            let (name, part) = (PathBuf::from(name), PathBuf::from(part));
            if name.exists() {
                continue;
            }
            match create(&part) {
                Ok(file) => return Ok(OpenFile { file, part, name, octets: 0, since: now.monotonic }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(TransportError::File { path: part, source }),
            }
        }
        unreachable!("there are more numbers than files")
    }
}

/// A new file that other processes see as written to.
fn create(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create_new(true).mode(0o640).open(path)?;
    file.try_lock()?;
    Ok(file)
}

/// Cuts a file behind what is whole of it and gives it its name; without one it goes.
fn complete_left_behind(part: &Path, content: Content) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(part)?;
    if file.try_lock().is_err() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process writes to it"));
    }
    let whole = content.whole(&mut file)?;
    if whole == 0 {
        return fs::remove_file(part);
    }
    file.set_len(whole)?;
    file.sync_all()?;
    fs::rename(part, part.with_extension(""))
}

/// Octets of the whole messages at the beginning of a file.
fn whole_messages(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut reader = io::BufReader::new(file);
    let mut whole = 0;
    let mut header = [0; HEADER_LEN];
    while length - whole >= HEADER_LEN as u64 {
        reader.read_exact(&mut header)?;
        let Some(stated) = message_length(&header).filter(|&stated| whole + stated as u64 <= length) else {
            break;
        };
        reader.seek_relative((stated - HEADER_LEN) as i64)?;
        whole += stated as u64;
    }
    Ok(whole)
}

/// Octets up to the last end of a line.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0; 4096];
    while end > 0 {
        let begin = end.saturating_sub(block.len() as u64);
        file.seek(io::SeekFrom::Start(begin))?;
        let block = &mut block[..(end - begin) as usize];
        file.read_exact(block)?;
        if let Some(place) = block.iter().rposition(|&octet| octet == b'\n') {
            return Ok(begin + place as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
