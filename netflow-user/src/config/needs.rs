//! What the agent has to reach when it has no privileges any more: the paths of the configuration.

use std::path::{Path, PathBuf};

use super::RunConfig;
use crate::{
    control,
    privileges::Needs,
    transport::{JsonTarget, Target},
};

impl RunConfig {
    /// What it has to reach.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs { user: self.user.clone(), tap: self.load.tap, ..Needs::default() };
        needs.read.extend(self.read_again.iter().flat_map(|file| places_of(file)));
        match &self.control {
            control::Place::None => {}
            // Where it cannot be, the agent does without.
            control::Place::Default => needs.make = Some(directory_of(Path::new(control::DEFAULT_PATH))),
            control::Place::At(path) => match directory_of(path) {
                directory if directory.exists() => needs.write.push(directory),
                directory => needs.make = Some(directory),
            },
        }
        needs.write.extend(self.ledger_file.as_deref().map(directory_of));
        for target in &self.export.destinations {
            match target {
                Target::Collector(destination) => {
                    needs.write.extend(destination.options.spool.directory.clone());
                    let tls = &destination.options.tls;
                    for file in [&tls.ca, &tls.cert, &tls.key].into_iter().flatten() {
                        needs.read.extend(places_of(file));
                    }
                }
                Target::File(files) | Target::Json(JsonTarget::Files(files)) => {
                    needs.write.push(directory_of(&files.prefix));
                }
                Target::Json(JsonTarget::Stdout) => {}
            }
        }
        needs
    }
}

/// Where a file is made, and made anew.
fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A file that is read again later, when it may be another one of that name: its directory, and that of the file which
/// it may be a link to. Not `/etc` and `/` as a whole, from which the file alone is read.
fn places_of(file: &Path) -> Vec<PathBuf> {
    let place = |file: &Path| match directory_of(file) {
        directory if directory == Path::new("/") || directory == Path::new("/etc") => file.to_owned(),
        directory => directory,
    };
    let mut places = vec![place(file)];
    places.extend(file.canonicalize().ok().map(|target| place(&target)));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_in_its_directory() {
        for (file, directory) in [("x.json", "."), ("/x.json", "/"), ("/var/x.json", "/var"), ("a/b", "a")] {
            assert_eq!(directory_of(Path::new(file)), Path::new(directory));
        }
    }

    #[test]
    fn certificates_are_read_from_their_directory_and_never_from_all_of_etc() {
        let places = |file| places_of(Path::new(file));
        assert_eq!(places("/nowhere/tls/key.pem"), [Path::new("/nowhere/tls")]);
        assert_eq!(places("/etc/no-such-key.pem"), [Path::new("/etc/no-such-key.pem")]);
    }
}
