//! The tests of the tree, and which requirements they cite.
//!
//! In: the files of the members. Out: names of tests, and the places of comments with ids that some test comes to. This
//! module refuses to know what is required. What a function calls is told by the names that stand in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process;

/// Where tests are.
const MEMBERS: [&str; 5] = ["netflow-common", "netflow-ebpf", "netflow-user", "tests", "xtask"];
/// The program that is run in the virtual machine: its `main` is the test.
const IN_VM: &str = "tests/vm/";

/// A function with a comment that cites.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    file: String,
    function: String,
}

impl Place {
    /// Whether the virtual machine comes to it, and no other test.
    pub fn is_in_vm(&self) -> bool {
        self.file.starts_with(IN_VM)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.function)
    }
}

/// What stands in the tests of the tree.
#[derive(Default, Debug)]
pub struct Tests {
    citing: BTreeMap<String, Vec<Place>>,
    /// `#[test]`, `#[tokio::test]`.
    tests: BTreeSet<String>,
    /// Of each name of a function the names that it calls.
    calls: BTreeMap<String, BTreeSet<String>>,
    /// Names that some test calls, and the tests.
    reached: BTreeSet<String>,
}

impl Tests {
    /// Reads all members.
    pub fn of_the_tree() -> Result<Self> {
        let mut tests = Self::default();
        for member in MEMBERS {
            tests.read_folder(&process::root().join(member), member)?;
        }
        tests.follow();
        Ok(tests)
    }

    /// Whether a test has this name.
    pub fn is_test(&self, name: &str) -> bool {
        self.tests.contains(name)
    }

    /// Where an id stands in a test, or in what a test calls.
    pub fn citing(&self, id: &str) -> Vec<Place> {
        let places = self.citing.get(id).into_iter().flatten();
        places.filter(|place| self.reached.contains(&place.function)).cloned().collect()
    }

    /// Ids in functions that no test calls.
    pub fn unused(&self) -> impl Iterator<Item = (&str, &Place)> {
        let all = self.citing.iter().flat_map(|(id, places)| places.iter().map(|place| (id.as_str(), place)));
        all.filter(|(_, place)| !self.reached.contains(&place.function))
    }

    fn read_folder(&mut self, folder: &Path, name: &str) -> Result<()> {
        let told = || format!("cannot read {}", folder.display());
        let mut entries =
            fs::read_dir(folder).with_context(told)?.collect::<Result<Vec<_>, _>>().with_context(told)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy()));
            if path.is_dir() && !name.ends_with("/target") {
                self.read_folder(&path, &name)?;
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
                self.read_file(&name, &text);
            }
        }
        Ok(())
    }

    /// Takes the functions of a file that are tests or help tests, what they call, and the ids in their comments.
    fn read_file(&mut self, name: &str, text: &str) {
        let mut in_tests =
            name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("tests.rs");
        let (mut function, mut is_test) = (None, false);
        for line in text.lines() {
            in_tests |= line.starts_with("#[cfg(test)]");
            if !in_tests {
                continue;
            }
            let code = line.trim_start();
            is_test |= code.starts_with("#[test]") || code.starts_with("#[tokio::test");
            if let Some(found) = function_name(code) {
                if is_test || (found == "main" && name.starts_with(IN_VM)) {
                    self.reached.insert(found.to_owned());
                }
                if is_test {
                    self.tests.insert(found.to_owned());
                }
                (function, is_test) = (Some(found.to_owned()), false);
            }
            let Some(function) = &function else { continue };
            let (code, comment) = line.split_once("//").unwrap_or((line, ""));
            self.calls.entry(function.clone()).or_default().extend(called(code));
            for id in
                comment.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(|word| is_id(word))
            {
                let place = Place { file: name.to_owned(), function: function.clone() };
                let citing = self.citing.entry(id.to_owned()).or_default();
                if !citing.contains(&place) {
                    citing.push(place);
                }
            }
        }
    }

    /// From the tests to everything that they call.
    fn follow(&mut self) {
        let mut waiting: Vec<String> = self.reached.iter().cloned().collect();
        while let Some(name) = waiting.pop() {
            for called in self.calls.get(&name).into_iter().flatten() {
                if self.reached.insert(called.clone()) {
                    waiting.push(called.clone());
                }
            }
        }
    }
}

/// `pub(super) const fn name<T>(`.
fn function_name(code: &str) -> Option<&str> {
    let (before, rest) = code.split_once("fn ")?;
    let is_head = before.split_whitespace().all(|word| {
        word.starts_with("pub") || ["async", "const", "unsafe", "extern", "\"C\""].contains(&word)
    });
    let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    (is_head && end > 0).then(|| &rest[..end])
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whatever may be the name of a function that is called, or handed on: `map(name)`.
fn called(code: &str) -> impl Iterator<Item = String> {
    code.split(|c: char| !is_word(c))
        .filter(|word| word.starts_with(|c: char| c.is_lowercase() || c == '_'))
        .map(str::to_owned)
}

/// `V9-HDR-2`.
fn is_id(word: &str) -> bool {
    let mut parts = word.rsplit('-');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    parts.next().is_some_and(is_number)
        && word.contains('-')
        && parts.all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        })
        && word.starts_with(|c: char| c.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, text: &str) -> Tests {
        let mut tests = Tests::default();
        tests.read_file(file, text);
        tests.follow();
        tests
    }

    #[test]
    fn ids_are_told_from_other_words() {
        assert!(["V9-HDR-2", "IE-17", "IPFIX-SET-5"].into_iter().all(is_id));
        assert!(!["RFC", "7011", "UTF-8x", "a-1", "-1", "V9-"].into_iter().any(is_id));
    }

    #[test]
    fn comments_of_tests_and_of_what_they_call_cite_and_others_do_not() {
        let text = [
            "fn code() {} // AB-1",
            "#[cfg(test)]",
            "mod tests {",
            "    #[test]",
            "    fn shows_it() {",
            "        // AB-2, AB-3: why",
            "        helper();",
            "    }",
            "    fn helper() {} // AB-4",
            "    fn nobody() {} // AB-5",
            "}",
        ];
        let tests = read("netflow-user/src/x.rs", &text.join("\n"));
        let cited = |id: &str| tests.citing(id).iter().map(Place::to_string).collect::<Vec<_>>();
        assert_eq!(cited("AB-2"), ["netflow-user/src/x.rs: shows_it"]);
        assert_eq!((cited("AB-3").len(), cited("AB-4").len()), (1, 1));
        assert_eq!((cited("AB-1").len(), cited("AB-5").len()), (0, 0));
        assert_eq!(tests.unused().map(|(id, _)| id).collect::<Vec<_>>(), ["AB-5"]);
        assert!(tests.is_test("shows_it") && !tests.is_test("helper") && !tests.is_test("code"));
    }

    #[test]
    fn what_the_virtual_machine_runs_is_told_apart() {
        let text = ["fn main() {", "    sends();", "}", "fn sends() {", "    // AB-1", "}"].join("\n");
        let tests = read("tests/vm/guest.rs", &text);
        assert!(tests.citing("AB-1").iter().all(Place::is_in_vm) && tests.citing("AB-1").len() == 1);
        assert!(read("tests/other.rs", &text).citing("AB-1").is_empty());
    }
}
