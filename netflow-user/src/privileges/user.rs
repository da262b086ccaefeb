//! Whom the agent runs as.

use std::{
    ffi::CString,
    io,
    os::unix::fs::{MetadataExt as _, lchown},
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Uid, initgroups, setgroups, setresgid, setresuid};
use rustix::thread::set_keep_capabilities;
use tracing::{info, warn};

use super::PrivilegesError;

/// A user by name and numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// As others see it.
    pub name: String,
    uid: u32,
    gid: u32,
}

impl User {
    /// Looks a user up.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn find(name: &str) -> Result<Self, PrivilegesError> {
        match nix::unistd::User::from_name(name) {
            Ok(Some(user)) => Ok(Self::of(user)),
            Ok(None) => Err(PrivilegesError::UnknownUser { name: name.to_owned() }),
            Err(error) => Err(PrivilegesError::Users { name: name.to_owned(), source: error.into() }),
        }
    }

    /// One that may have no name, with this group then.
    fn by_number(uid: u32, gid: u32) -> Self {
        match nix::unistd::User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => Self::of(user),
            _ => Self { name: uid.to_string(), uid, gid },
        }
    }

    fn of(user: nix::unistd::User) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }

    /// The process is this user's from now on, for good, with its groups. The capabilities that may be used stay permitted
    /// where they are still needed.
    pub(super) fn become_it(&self, keeping_capabilities: bool) -> Result<(), PrivilegesError> {
        let fail = |source: io::Error| PrivilegesError::User { name: self.name.clone(), source };
        if (self.uid, self.gid) == (Uid::effective().as_raw(), Gid::effective().as_raw()) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups = match CString::new(self.name.as_str()) {
            Ok(name) => initgroups(&name, gid),
            Err(_) => setgroups(&[gid]),
        };
        groups.map_err(|error| fail(error.into()))?;
        set_keep_capabilities(keeping_capabilities).map_err(|error| fail(error.into()))?;
        setresgid(gid, gid, gid).map_err(|error| fail(error.into()))?;
        setresuid(uid, uid, uid).map_err(|error| fail(error.into()))
    }

    /// A file is this user's from now on.
    pub(super) fn give(&self, file: &Path) -> io::Result<()> {
        lchown(file, Some(self.uid), Some(self.gid))
    }

    fn may(&self, found: &std::fs::Metadata, access: u32) -> bool {
        let bits = if found.uid() == self.uid {
            found.mode() >> 6
        } else if found.gid() == self.gid {
            found.mode() >> 3
        } else {
            found.mode()
        };
        bits & access == access
    }

    /// Whether it can make files there. What other groups it has is not asked.
    fn can_write_to(&self, directory: &Path) -> bool {
        let mut ancestors = directory.ancestors();
        let own = ancestors.next().and_then(|own| own.metadata().ok());
        own.is_none_or(|own| self.may(&own, 0o3))
            && ancestors.all(|above| above.metadata().map_or(true, |found| self.may(&found, 0o1)))
    }
}

/// Root without capabilities cannot write to the directories of others, as it can with them. So it becomes their owner
/// where it has to write there; `None`: it can stay who it is.
pub(super) fn owner_of(written: &[PathBuf]) -> Option<User> {
    if !Uid::effective().is_root() {
        return None;
    }
    let root = User { name: "root".to_owned(), uid: 0, gid: Gid::effective().as_raw() };
    let written: Vec<PathBuf> = written.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let refused = written.iter().find(|directory| !root.can_write_to(directory))?;
    let found = refused.metadata().ok()?;
    let owner = User::by_number(found.uid(), found.gid());
    if owner.uid != 0 && written.iter().all(|directory| owner.can_write_to(directory)) {
        info!("running as {}, who owns {}; --user says otherwise", owner.name, refused.display());
        return Some(owner);
    }
    warn!(
        "root cannot write to {} without capabilities: --user NAME of one who can, or another owner helps",
        refused.display()
    );
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_user_that_does_not_exist_is_named() {
        let text = User::find("no such user").unwrap_err().to_string();
        assert!(text.contains("\"no such user\"") && text.contains("--user"), "{text}");
        assert_eq!(User::find("root").unwrap(), User { name: "root".to_owned(), uid: 0, gid: 0 });
    }

    #[test]
    fn who_may_write_to_a_directory_is_decided_by_its_owner_its_group_and_what_is_above() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let found = inner.metadata().unwrap();
        let user = |uid, gid| User { name: String::new(), uid, gid };
        let owner = user(found.uid(), found.gid());
        let member = user(found.uid() + 1, found.gid());
        let other = user(found.uid() + 1, found.gid() + 1);
        for (above, own, expected) in [
            (0o711, 0o755, [true, false, false]),
            (0o711, 0o775, [true, true, false]),
            (0o711, 0o777, [true, true, true]),
            (0o700, 0o777, [true, false, false]),
            (0o711, 0o577, [false, true, true]),
        ] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(above)).unwrap();
            fs::set_permissions(&inner, fs::Permissions::from_mode(own)).unwrap();
            let path = inner.canonicalize().unwrap();
            // Where the directory of temporary files itself is closed to others, nobody else gets there.
            if path.ancestors().skip(2).all(|path| other.may(&path.metadata().unwrap(), 1)) {
                assert_eq!(
                    [&owner, &member, &other].map(|user| user.can_write_to(&path)),
                    expected,
                    "{own:o}"
                );
            }
        }
    }
}
