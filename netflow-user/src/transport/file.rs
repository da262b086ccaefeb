//! IPFIX Files (RFC 5655): messages one behind the other, in files that are changed by size and by time.
//!
//! A file has its final name only once it is complete: it is written as `NAME.part`, brought to disk and renamed. What a
//! crash leaves behind is cut behind its last whole message and gets its name at the next start. Each file is a
//! Transport Session of its own, with its templates (FILE-3), so that it can be read alone.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::error::TransportError;
use crate::time::{Instant, MonotonicNanos};

/// The longest message (RFC 7011 section 3.1).
const LONGEST_MESSAGE: usize = 65_535;
/// Message Header: version, Length.
const HEADER_LEN: usize = 16;
const VERSION: u16 = 10;
/// Behind the name of a file that is not complete.
const PART: &str = ".part";
const SUFFIX: &str = ".ipfix";

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
                complete_left_behind(&path).map_err(|source| failed(&path, source))?;
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
        format!("{}-*{SUFFIX}", self.target.prefix.display())
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
        let rest = name.strip_prefix(&*prefix)?.strip_suffix(behind)?.strip_suffix(SUFFIX)?;
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
            name.push(SUFFIX);
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

/// Cuts a file behind its last whole message and gives it its name; without one it goes.
fn complete_left_behind(part: &Path) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(part)?;
    if file.try_lock().is_err() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process writes to it"));
    }
    let whole = whole_messages(&mut file)?;
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
        let [version, stated] = [0, 2].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
        let end = whole + u64::from(stated);
        if version != VERSION || usize::from(stated) < HEADER_LEN || end > length {
            break;
        }
        reader.seek_relative(i64::from(stated) - HEADER_LEN as i64)?;
        whole = end;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// 2026-01-01 00:00:00 UTC.
    const SECOND: u64 = 1_767_225_600;

    fn at(seconds: u64) -> Instant {
        Instant {
            monotonic: MonotonicNanos(seconds * 1_000_000_000),
            unix_nanos: (SECOND + seconds) * 1_000_000_000,
        }
    }

    fn message(length: u16) -> Vec<u8> {
        let mut octets = vec![7; length.into()];
        octets[..2].copy_from_slice(&VERSION.to_be_bytes());
        octets[2..4].copy_from_slice(&length.to_be_bytes());
        octets
    }

    fn target(directory: &Path) -> FileTarget {
        FileTarget {
            prefix: directory.join("flows"),
            rotate_size: Some(100),
            rotate_time: Some(Duration::from_secs(60)),
            sync: Sync::Close,
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn directory() -> PathBuf {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("netflow-files-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn a_file_has_its_name_when_it_is_complete_by_size_or_by_age() {
        let directory = directory();
        let mut transport = FileTransport::open(target(&directory), None).unwrap();
        transport.send(&message(40), at(0)).unwrap();
        assert_eq!(names(&directory), ["flows-20260101T000000Z.ipfix.part"]);
        assert!(!transport.is_complete(at(59).monotonic));
        assert!(transport.is_complete(at(60).monotonic));
        assert_eq!(transport.deadline(), Some(at(60).monotonic));
        transport.send(&message(60), at(0)).unwrap();
        assert!(transport.is_complete(at(0).monotonic));
        transport.complete().unwrap();
        assert_eq!(names(&directory), ["flows-20260101T000000Z.ipfix"]);
        // In the same second.
        transport.send(&message(40), at(0)).unwrap();
        drop(transport);
        assert_eq!(names(&directory), ["flows-20260101T000000Z-1.ipfix", "flows-20260101T000000Z.ipfix"]);
        assert_eq!(
            fs::read(directory.join("flows-20260101T000000Z.ipfix")).unwrap(),
            [message(40), message(60)].concat()
        );
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_a_crash_left_behind_is_cut_to_whole_messages_and_named() {
        let directory = directory();
        let left = |name: &str, octets: &[u8]| fs::write(directory.join(name), octets).unwrap();
        left(
            "flows-20260101T000000Z.ipfix.part",
            &[&message(40)[..], &message(50), &message(60)[..59]].concat(),
        );
        left("flows-20260101T000001Z.ipfix.part", &message(40)[..30]);
        left("flows-20260101T000002Z.ipfix.part", b"");
        left("other-20260101T000000Z.ipfix.part", b"not ours");
        left("flowsother.ipfix.part", b"not ours");
        drop(FileTransport::open(target(&directory), None).unwrap());
        assert_eq!(
            names(&directory),
            ["flows-20260101T000000Z.ipfix", "flowsother.ipfix.part", "other-20260101T000000Z.ipfix.part"]
        );
        assert_eq!(
            fs::read(directory.join("flows-20260101T000000Z.ipfix")).unwrap(),
            [message(40), message(50)].concat()
        );
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn two_processes_do_not_write_files_of_one_name() {
        let directory = directory();
        let mut first = FileTransport::open(target(&directory), None).unwrap();
        first.send(&message(40), at(0)).unwrap();
        let refused = FileTransport::open(target(&directory), None).unwrap_err();
        let cause = std::error::Error::source(&refused).unwrap().to_string();
        assert!(cause.contains("another process"), "{cause}");
        drop(first);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_with_its_path() {
        let refused = FileTransport::open(target(Path::new("/no/such/directory")), None).unwrap_err();
        assert!(refused.to_string().contains("/no/such/directory"), "{refused}");
    }
}
