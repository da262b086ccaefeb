//! `conformance`: each requirement of the standards on an exporter, with the test that shows it, or why there is none.
//!
//! In: `requirements.txt` and the tests of the tree. A test shows a requirement whose id stands in one of its comments, or
//! in those of a function that it calls, or that names it in the list. Out: a line for each, and an error for a
//! requirement with neither test nor reason. What only the virtual machine shows is said apart.

mod sources;

use anyhow::{Context as _, Result, bail};

use self::sources::{Place, Tests};

const REQUIREMENTS: &str = include_str!("requirements.txt");

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

/// Prints the list and checks it.
pub fn conformance() -> Result<()> {
    let tests = Tests::of_the_tree()?;
    let (mut shown, mut in_vm, mut not_applicable, mut open) = (0, 0, 0, 0);
    let mut wrong: Vec<String> =
        tests.unused().map(|(id, place)| format!("{id} is cited in {place}, which no test calls")).collect();
    for requirement in requirements(REQUIREMENTS)? {
        let Requirement { id, level, words, said } = requirement;
        let citing = tests.citing(id);
        let state = match (said, citing.as_slice()) {
            (Said::Tests(names), _) => {
                let missing = names.split(", ").find(|name| !tests.is_test(name));
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
                let only_in_vm = citing.iter().all(Place::is_in_vm);
                in_vm += usize::from(only_in_vm);
                let vm = if only_in_vm { "in the virtual machine (cargo xtask vm) " } else { "" };
                format!("shown {vm}by {first}{more}")
            }
            (Said::Cited, []) => {
                wrong.push(format!("{id} has neither a test that cites it nor a reason"));
                "NOTHING SHOWS IT".to_owned()
            }
        };
        println!("{id:<14} {level:<10} {words}\n{:14} {state}", "");
    }
    println!(
        "\n{shown} shown by tests, {in_vm} of them in the virtual machine only; {not_applicable} do not apply, {open} not met yet"
    );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_can_be_read_and_no_id_stands_twice() {
        let mut ids: Vec<&str> =
            requirements(REQUIREMENTS).unwrap_or_default().iter().map(|line| line.id).collect();
        assert!(ids.len() > 300, "{}", ids.len());
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
