//! The section of README that tells how fast it is: what the bench measured, and no other number.

use std::fmt::Write as _;

use super::{
    Results,
    markdown::{header, targets, write_table},
};

/// The lines between which the section stands.
const MARKERS: [&str; 2] = ["<!-- speed: written by `cargo xtask bench --readme` -->\n", "<!-- /speed -->\n"];

/// The section's text, without its heading.
pub fn section(results: &Results) -> String {
    let mut text = String::new();
    header(&mut text, results);
    text.push_str("\nWhat the project has set itself, part by part of `cargo xtask bench`:\n\n");
    targets(&mut text, results);
    for part in &results.parts {
        let tables = || part.outcome.tables.iter().filter(|table| !table.is_detail && !table.rows.is_empty());
        if tables().next().is_none() {
            continue;
        }
        let _ = write!(text, "\n### {}. {}\n\n", part.letter, part.title);
        tables().for_each(|table| write_table(&mut text, table));
        for plot in &part.outcome.plots {
            let _ = writeln!(text, "![{}](bench/{}.svg)\n", plot.title, plot.name);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text.push_str(
        "\nHow each part measures, and the rest of the tables: [bench/results.md](bench/results.md).\n",
    );
    text
}

/// README with this section in place of the one it has; `None` where it has no place for it.
pub fn replace_section(readme: &str, section: &str) -> Option<String> {
    let (before, _, after) = split(readme)?;
    Some(format!("{before}{}{section}{}{after}", MARKERS[0], MARKERS[1]))
}

/// What stands before the markers, between them, and behind them.
fn split(readme: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = readme.split_once(MARKERS[0])?;
    let (section, after) = rest.split_once(MARKERS[1])?;
    Some((before, section, after))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{fs, path::Path};

    use super::*;

    /// README's numbers are those of the results beside it. A short run of somebody's own, which nobody wrote into
    /// README, is not compared.
    #[test]
    fn readme_says_what_the_bench_measured() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let readme = fs::read_to_string(root.join("README.md")).unwrap();
        let (_, said, _) = split(&readme).expect("README has a section of speed between its markers");
        let Ok(results) = fs::read_to_string(root.join("bench/results.json")) else {
            eprintln!("there are no results");
            return;
        };
        let results: Results = serde_json::from_str(&results).unwrap();
        if results.is_full || said.contains(&results.machine.date) {
            assert_eq!(said, section(&results), "run `cargo xtask bench --readme`");
        }
    }

    #[test]
    fn the_section_is_replaced_and_nothing_else() {
        let readme = format!("a\n{}old\n{}b\n", MARKERS[0], MARKERS[1]);
        let new = replace_section(&readme, "new\n").unwrap();
        assert_eq!(new, format!("a\n{}new\n{}b\n", MARKERS[0], MARKERS[1]));
        assert_eq!(replace_section("a\n", "new\n"), None);
    }
}
