//! The socket's place in the file system: made, taken over from an agent that is dead, removed at the end.

use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use super::ControlError;

/// Where the socket is unless the operator says otherwise.
pub const DEFAULT_PATH: &str = "/run/netflow/control.sock";

/// Owner and group may connect.
const MODE: u32 = 0o660;
/// Of its directory, where it has to be made.
const DIRECTORY_MODE: u32 = 0o755;

/// Where the socket is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Nowhere.
    None,
    /// At [`DEFAULT_PATH`], where that can be.
    Default,
    /// There, or the agent does not start.
    At(PathBuf),
}

/// A bound socket. Its file goes with the value, if it still is its file.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Socket {
    /// Binds a path: mode 0660, the group that its directory gives. What an agent that was killed left there is replaced.
    ///
    /// # Errors
    /// Somebody answers there, or it is no socket, or it cannot be made.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let fail = |source| ControlError::Bind { path: path.to_owned(), source };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            let made = fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
            made.map_err(|source| ControlError::Directory { path: path.to_owned(), source })?;
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ControlError::NoSocket { path: path.to_owned() });
            }
            // Refused means that nobody has it open; whatever else happens, somebody may.
            Ok(_) => match UnixStream::connect(path) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                _ => return Err(ControlError::Taken { path: path.to_owned() }),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
        }
        // Under its name it is there with its mode, never before.
        let new = new_path(path);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&new).map_err(fail)?;
        let socket = || -> io::Result<(u64, u64)> {
            fs::set_permissions(&new, Permissions::from_mode(MODE))?;
            listener.set_nonblocking(true)?;
            let made = fs::symlink_metadata(&new)?;
            fs::rename(&new, path)?;
            Ok((made.dev(), made.ino()))
        };
        match socket() {
            Ok(file) => Ok(Self { listener, path: path.to_owned(), file }),
            Err(error) => {
                let _ = fs::remove_file(&new);
                Err(fail(error))
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listening end, not blocking.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    /// Removes the file, unless another agent's stands there.
    fn drop(&mut self) {
        let is_own = |found: fs::Metadata| (found.dev(), found.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(is_own) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn new_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_agent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/control.sock");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, MODE);
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn a_live_agents_socket_is_left_alone_and_a_dead_ones_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let first = Socket::bind(&path).unwrap();
        assert!(matches!(Socket::bind(&path), Err(ControlError::Taken { .. })));
        drop(first);
        // As after kill -9: nobody has it open, and the file is still there.
        drop(UnixListener::bind(&path).unwrap());
        let second = Socket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(Socket::bind(&path), Err(ControlError::NoSocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let below = path.join("control.sock");
        assert!(matches!(Socket::bind(&below), Err(ControlError::Directory { .. })));
    }

    #[test]
    fn a_socket_that_another_agent_has_put_there_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let first = Socket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = Socket::bind(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
    }
}
