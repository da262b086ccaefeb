//! Results as files: Markdown for people, JSON for programs, SVG plots for both.

mod markdown;
mod readme;
mod svg;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

pub use self::{
    markdown::markdown,
    readme::{replace_section, section},
    svg::svg,
};
use crate::{
    Outcome,
    machine::{Machine, Noise},
};

/// All results of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// How quiet it was there.
    pub noise: Noise,
    /// Whether all parts were measured in full length.
    pub is_full: bool,
    /// The parts that were run.
    pub parts: Vec<PartResult>,
}

/// The results of one part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartResult {
    /// As `--only` names it.
    pub letter: char,
    /// Its heading.
    pub title: String,
    /// How long it took.
    pub seconds: f64,
    /// What came out.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Writes the section of README that tells of the results in a directory.
///
/// # Errors
/// A file cannot be read or written, or README has no place for it.
pub fn write_readme(directory: &Path, file: &Path) -> Result<()> {
    let read =
        |file: &Path| fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    // Read back, so that numbers are those that everybody else reads there.
    let results: Results = serde_json::from_str(&read(&directory.join("results.json"))?)?;
    let text = replace_section(&read(file)?, &section(&results))
        .with_context(|| format!("{} has no markers of the section", file.display()))?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Writes `results.md`, `results.json` and the plots into a directory.
///
/// # Errors
/// A file cannot be written.
pub fn write(results: &Results, directory: &Path) -> Result<()> {
    let put = |name: &str, text: &str| {
        let file = directory.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    put("results.md", &markdown(results))?;
    put("results.json", &(serde_json::to_string_pretty(results)? + "\n"))?;
    for plot in results.parts.iter().flat_map(|part| &part.outcome.plots) {
        put(&format!("{}.svg", plot.name), &svg(plot)?)?;
    }
    Ok(())
}
