//! `conformance`: each requirement of the standards on an exporter, with the test that shows it, or why there is none.
//!
//! In: `requirements.txt` and the tests of the tree. A test shows a requirement whose id stands in one of its comments,
//! or that names it in the list. Out: a line for each, and an error for a requirement with neither test nor reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::process;

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Where tests are.
const MEMBERS: [&str; 5] = ["netflow-common", "netflow-ebpf", "netflow-user", "tests", "xtask"];

/// What the list says of a requirement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said<'a> {
    /// Nothing: tests cite it.
    Cited,
    /// These tests show it.
    Tests(&'a str),
    /// It is about something that this exporter does not send or do.
    NotApplicable(&'a str),
    /// Not met, or not shown, yet.
    Open(&'a str),
}

/// A line of the list: `id | level | words | what is said`.
struct Requirement<'a> {
    id: &'a str,
    level: &'a str,
    words: &'a str,
    said: Said<'a>,
}

/// The tests of the tree: which cite an id, and all names of functions.
#[derive(Default)]
struct Tests {
    citing: BTreeMap<String, Vec<String>>,
    names: BTreeMap<String, String>,
}

/// Prints the list and checks it.
pub fn conformance() -> Result<()> {
    let mut tests = Tests::default();
    for member in MEMBERS {
        read_folder(&process::root().join(member), member, &mut tests)?;
    }
    let (mut shown, mut not_applicable, mut open, mut wrong) = (0, 0, 0, Vec::new());
    for requirement in requirements(REQUIREMENTS)? {
        let Requirement { id, level, words, said } = requirement;
        let citing = tests.citing.get(id).map(Vec::as_slice).unwrap_or_default();
        let state = match (said, citing) {
            (Said::Tests(names), _) => {
                let missing = names.split(", ").find(|name| !tests.names.contains_key(*name));
                wrong.extend(missing.map(|name| format!("{id} names the test {name}, which does not exist")));
                shown += 1;
                format!("shown by {names}")
            }
            (Said::NotApplicable(why), _) => {
                not_applicable += 1;
                format!("does not apply: {why}")
            }
            (Said::Open(why), []) => {
                open += 1;
                format!("NOT MET YET: {why}")
            }
            (Said::Cited | Said::Open(_), [first, rest @ ..]) => {
                shown += 1;
                let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
                format!("shown by {first}{more}")
            }
            (Said::Cited, []) => {
                wrong.push(format!("{id} has neither a test that cites it nor a reason"));
                "NOTHING SHOWS IT".to_owned()
            }
        };
        println!("{id:<14} {level:<10} {words}\n{:14} {state}", "");
    }
    println!("\n{shown} shown by tests, {not_applicable} do not apply, {open} not met yet");
    if wrong.is_empty() { Ok(()) } else { bail!("conformance: {}", wrong.join("; ")) }
}

fn requirements(text: &str) -> Result<Vec<Requirement<'_>>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| requirement(line).with_context(|| format!("requirements.txt: `{line}`"))).collect()
}

fn requirement(line: &str) -> Option<Requirement<'_>> {
    let mut cells = line.splitn(4, " | ");
    let (id, level, words) = (cells.next()?, cells.next()?, cells.next()?);
    let said = match cells.next().map(|said| said.split_once(": ")) {
        None => Said::Cited,
        Some(Some(("test", names))) => Said::Tests(names),
        Some(Some(("n/a", why))) => Said::NotApplicable(why),
        Some(Some(("open", why))) => Said::Open(why),
        Some(_) => return None,
    };
    Some(Requirement { id, level, words, said })
}

fn read_folder(folder: &Path, name: &str, tests: &mut Tests) -> Result<()> {
    let told = || format!("cannot read {}", folder.display());
    let mut entries =
        fs::read_dir(folder).with_context(told)?.collect::<Result<Vec<_>, _>>().with_context(told)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy()));
        if path.is_dir() && !name.ends_with("/target") {
            read_folder(&path, &name, tests)?;
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
            read_file(&name, &text, tests);
        }
    }
    Ok(())
}

/// Takes the functions of a file, and the ids in the comments of those that are tests or help tests.
fn read_file(name: &str, text: &str, tests: &mut Tests) {
    let mut in_tests = name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("tests.rs");
    let mut function = None;
    for line in text.lines() {
        in_tests |= line.starts_with("#[cfg(test)]");
        if let Some(rest) =
            line.trim_start().trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ")
        {
            let found: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            tests.names.insert(found.clone(), name.to_owned());
            function = Some(found);
        }
        let (true, Some((_, comment)), Some(function)) = (in_tests, line.split_once("//"), &function) else {
            continue;
        };
        for id in comment.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(|word| is_id(word))
        {
            let citing = tests.citing.entry(id.to_owned()).or_default();
            let place = format!("{name}: {function}");
            if !citing.contains(&place) {
                citing.push(place);
            }
        }
    }
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

    #[test]
    fn ids_are_told_from_other_words() {
        assert!(["V9-HDR-2", "IE-17", "IPFIX-SET-5"].into_iter().all(is_id));
        assert!(!["RFC", "7011", "UTF-8x", "a-1", "-1", "V9-"].into_iter().any(is_id));
    }

    #[test]
    fn comments_of_tests_cite_and_others_do_not() {
        let mut tests = Tests::default();
        let text = "fn code() {} // AB-1\n#[cfg(test)]\nmod tests {\n    fn shows_it() {\n        // AB-2, AB-3: why\n    }\n}";
        read_file("netflow-user/src/x.rs", text, &mut tests);
        assert_eq!(tests.citing.keys().collect::<Vec<_>>(), ["AB-2", "AB-3"]);
        assert_eq!(tests.citing["AB-2"], ["netflow-user/src/x.rs: shows_it"]);
        assert!(tests.names.contains_key("shows_it") && tests.names.contains_key("code"));
    }

    #[test]
    fn every_line_of_the_list_can_be_read_and_no_id_stands_twice() {
        let mut ids: Vec<&str> =
            requirements(REQUIREMENTS).unwrap_or_default().iter().map(|line| line.id).collect();
        assert!(ids.len() > 300, "{}", ids.len());
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
