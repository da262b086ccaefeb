//! The configuration file: options of `netflow run` as TOML, under the names of the command line.
//!
//! In: the text of a file. Out: [`Setting`]s, each with the line it stands in. What an option's value may be is the
//! command line's business, and the same for both.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::{DeArray, DeTable, DeValue};
use url::form_urlencoded::byte_serialize;

use super::sources::{Origin, Setting};

/// The file that is read where none is named and it is there.
pub const DEFAULT_FILE: &str = "/etc/netflow/netflow.toml";

/// Longer files are no configuration.
const LONGEST: u64 = 1 << 20;

/// A file that cannot be read as a configuration.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or not to be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML, or has what no option can be.
    #[error("{}:{line}: {text}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        text: String,
    },
}

/// Reads a configuration file.
///
/// # Errors
/// It cannot be read, or a line of it is no option.
pub fn read(path: &Path) -> Result<Vec<Setting>, FileError> {
    let fail = |source| FileError::Read { path: path.to_owned(), source };
    let found = fs::metadata(path).map_err(fail)?;
    if !found.is_file() {
        return Err(fail(io::Error::other("it is no regular file")));
    }
    if found.len() > LONGEST {
        return Err(fail(io::Error::other("it is longer than 1 MiB")));
    }
    let text = fs::read_to_string(path).map_err(fail)?;
    parse(path, &text)
}

/// Reads the text of a configuration file.
///
/// # Errors
/// A line of it is no option.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Setting>, FileError> {
    let reader = Reader { path: Arc::from(path), text };
    let table = DeTable::parse(text).map_err(|error| {
        let place = error.span().map_or(0, |span| span.start);
        reader.error(place, error.message().replace('\n', ", "))
    })?;
    let mut settings: Vec<Setting> = Vec::new();
    for (key, value) in table.get_ref() {
        let (name, place) = (key.get_ref().as_ref(), key.span().start);
        match value.get_ref() {
            DeValue::Array(tables) if is_tables(tables) => {
                reader.tables(name, place, tables, &mut settings)?;
            }
            DeValue::Table(_) => {
                return Err(reader.error(place, format!("[{name}] is no option; options have no tables of their own, and interfaces and collectors are [[interface]] and [[collector]]")));
            }
            value => {
                let values = reader.values(place, value)?;
                reader.add(&mut settings, name, values, place);
            }
        }
    }
    Ok(settings)
}

fn is_tables(array: &DeArray<'_>) -> bool {
    !array.is_empty() && array.iter().all(|value| matches!(value.get_ref(), DeValue::Table(_)))
}

struct Reader<'a> {
    path: Arc<Path>,
    text: &'a str,
}

impl Reader<'_> {
    fn line(&self, place: usize) -> usize {
        1 + self.text.as_bytes().iter().take(place).filter(|&&octet| octet == b'\n').count()
    }

    fn error(&self, place: usize, text: impl Into<String>) -> FileError {
        FileError::Line { path: self.path.to_path_buf(), line: self.line(place), text: text.into() }
    }

    /// Values of one option come together, wherever they stand.
    fn add(&self, settings: &mut Vec<Setting>, option: &str, values: Vec<String>, place: usize) {
        let origin = Origin::File { path: Arc::clone(&self.path), line: self.line(place) };
        match settings.iter_mut().find(|setting| setting.option == option) {
            Some(setting) => setting.values.extend(values),
            None => settings.push(Setting { option: option.to_owned(), values, origin }),
        }
    }

    /// One value, or a list of them.
    fn values(&self, place: usize, value: &DeValue<'_>) -> Result<Vec<String>, FileError> {
        match value {
            DeValue::Array(array) => {
                array.iter().map(|value| self.value(value.span().start, value.get_ref())).collect()
            }
            value => Ok(vec![self.value(place, value)?]),
        }
    }

    fn value(&self, place: usize, value: &DeValue<'_>) -> Result<String, FileError> {
        match value {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            other => Err(self.error(
                place,
                format!("{} is no value of an option: text, a whole number, true or false is", kind(other)),
            )),
        }
    }

    /// `[[interface]]` and `[[collector]]`.
    fn tables(
        &self,
        name: &str,
        place: usize,
        tables: &DeArray<'_>,
        settings: &mut Vec<Setting>,
    ) -> Result<(), FileError> {
        if !matches!(name, "interface" | "collector") {
            let text = format!("[[{name}]] is not known: [[interface]] and [[collector]] are");
            return Err(self.error(place, text));
        }
        for value in tables {
            let DeValue::Table(table) = value.get_ref() else { continue };
            let place = value.span().start;
            if name == "interface" {
                self.interface(place, table, settings)?;
            } else {
                let url = self.collector(place, table)?;
                self.add(settings, "collector", vec![url], place);
            }
        }
        Ok(())
    }

    fn interface(
        &self,
        place: usize,
        table: &DeTable<'_>,
        settings: &mut Vec<Setting>,
    ) -> Result<(), FileError> {
        let mut name = None;
        let mut is_excluded = false;
        let mut rules = Vec::new();
        for (key, value) in table {
            let (at, value) = (key.span().start, value.get_ref());
            match (key.get_ref().as_ref(), value) {
                ("name", DeValue::String(text)) => name = Some(text.clone().into_owned()),
                ("exclude", DeValue::Boolean(exclude)) => is_excluded = *exclude,
                ("anonymise", value) => {
                    rules.extend(self.values(at, value)?.into_iter().map(|rule| (rule, at)))
                }
                ("name" | "exclude", _) => {
                    return Err(self.error(at, "name is text, exclude is true or false"));
                }
                (other, _) => {
                    return Err(self.error(
                        at,
                        format!("an interface has no '{other}': name, exclude and anonymise are possible; other options stand before the first [[table]]"),
                    ));
                }
            }
        }
        let name = name.ok_or_else(|| self.error(place, "an interface needs its name"))?;
        for (rule, at) in rules {
            self.add(settings, "anonymise", vec![format!("{name}:{rule}")], at);
        }
        let option = if is_excluded { "exclude-interface" } else { "interface" };
        self.add(settings, option, vec![name], place);
        Ok(())
    }

    /// The URL with everything else as its options.
    fn collector(&self, place: usize, table: &DeTable<'_>) -> Result<String, FileError> {
        let mut url = None;
        let mut options = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let values = self.values(key.span().start, value.get_ref())?.join(",");
            if name == "url" {
                url = Some(values);
            } else {
                let value: String = byte_serialize(values.as_bytes()).collect();
                options.push(format!("{name}={value}"));
            }
        }
        let mut url = url.ok_or_else(|| self.error(place, "a collector needs its url"))?;
        for option in options {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&option);
        }
        Ok(url)
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number that is not decimal",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list in a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn settings(text: &str) -> Vec<(String, Vec<String>, usize)> {
        let line = |origin: &Origin| match origin {
            Origin::File { line, .. } => *line,
            Origin::Environment { .. } => 0,
        };
        let mut settings: Vec<_> = parse(Path::new("n.toml"), text)
            .unwrap()
            .into_iter()
            .map(|setting| (setting.option, setting.values, line(&setting.origin)))
            .collect();
        settings.sort();
        settings
    }

    #[test]
    fn options_have_the_lines_they_stand_in() {
        let text = "# of the host\nidle-timeout = \"10s\"\ngroup = [\"l2\", 'tcp']\n\ncache-size = 5_000\ntap = true\n";
        let expected = [
            ("cache-size", &["5000"][..], 5),
            ("group", &["l2", "tcp"], 3),
            ("idle-timeout", &["10s"], 2),
            ("tap", &["true"], 6),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(name, values, line)| {
                (name.to_owned(), values.iter().map(|&value| value.to_owned()).collect(), line)
            })
            .collect();
        assert_eq!(settings(text), expected);
    }

    #[test]
    fn interfaces_and_collectors_are_tables() {
        let text = "[[interface]]\nname = 'eth*'\nanonymise = ['ipv4=/24']\n[[interface]]\nname = 'eth9'\nexclude = true\n[[collector]]\nurl = 'udp://192.0.2.7?protocol=v9'\nqueue = 4096\npreset = 'nfdump'\n[[collector]]\nurl = 'file:///a b'\nsync = 'message'\n";
        let found = settings(text);
        let of = |option: &str| {
            found.iter().find(|(name, ..)| name == option).map(|(_, values, _)| values.join(" ")).unwrap()
        };
        assert_eq!(of("interface"), "eth*");
        assert_eq!(of("exclude-interface"), "eth9");
        assert_eq!(of("anonymise"), "eth*:ipv4=/24");
        assert_eq!(
            of("collector"),
            "udp://192.0.2.7?protocol=v9&preset=nfdump&queue=4096 file:///a b?sync=message"
        );
    }

    #[test]
    fn what_is_no_option_is_named_with_its_line() {
        let cases = [
            ("a = 1\nb = ", "n.toml:2: "),
            ("a = 1\n\nb = 1.5\n", "n.toml:3: a number with a fraction is no value"),
            ("[flows]\nidle-timeout = '1s'\n", "n.toml:1: [flows] is no option"),
            ("[[flows]]\nidle-timeout = '1s'\n", "n.toml:1: [[flows]] is not known"),
            ("[[collector]]\nqueue = 1\n", "n.toml:1: a collector needs its url"),
            (
                "[[interface]]\nname = 'a'\nidle-timeout = '1s'\n",
                "n.toml:3: an interface has no 'idle-timeout'",
            ),
            ("[[interface]]\nname = 7\n", "n.toml:2: name is text"),
            ("a = [[1]]\n", "n.toml:1: a list in a list"),
            ("a = 1\na = 2\n", "n.toml:2: "),
        ];
        for (text, expected) in cases {
            let error = parse(Path::new("n.toml"), text).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
