//! Where the options of `netflow run` come from: the command line, else the environment, else the configuration file.
//!
//! What the environment and the file say becomes a command line, which clap then reads with what was typed: every
//! option is in all three, has the same name and takes the same values.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use super::{
    Cli,
    file::{self, DEFAULT_FILE, FileError},
    in_one_line,
};

/// Before the names of variables.
const PREFIX: &str = "NETFLOW_";
/// The commands that take the options of `run` from everywhere.
const RUNS: [&str; 2] = ["run", "doctor"];
/// The word for no configuration file.
pub const NO_FILE: &str = "none";

/// Where a value was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// In the configuration file.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line, from 1.
        line: usize,
    },
    /// In the environment.
    Environment {
        /// The variable.
        variable: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => f.write_str(variable),
        }
    }
}

/// What is said of one option in one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The option's long name.
    pub option: String,
    /// Its values: `true` or `false` for one that takes none.
    pub values: Vec<String>,
    /// Where they are said.
    pub origin: Origin,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A command line that clap refuses, or asks for help.
    #[error("{}", in_one_line(.0).unwrap_or_default())]
    Typed(clap::Error),
    /// The configuration file.
    #[error(transparent)]
    File(#[from] FileError),
    /// An option in the environment or in the file.
    #[error("{origin}: {text}")]
    Setting {
        /// Where it is said.
        origin: Origin,
        /// What is wrong with it.
        text: String,
    },
}

/// An option with the values in force, and where they come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effective {
    /// The option's long name.
    pub option: String,
    /// Its values; none for one that is off, or has no default.
    pub values: Vec<String>,
    /// `None`: the default.
    pub origin: Option<String>,
}

/// What was typed, with what the environment and the file add.
#[derive(Debug)]
pub struct Typed {
    /// All of it.
    pub cli: Cli,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// The options of `netflow run` as they are in force; empty for other commands.
    pub effective: Vec<Effective>,
}

/// Reads a command line, the first word being the program's name.
///
/// # Errors
/// What cannot be, in one line with the place.
pub fn read(
    arguments: &[OsString],
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Typed, Refused> {
    let command = Cli::command();
    let named = arguments.get(1).and_then(|word| word.to_str());
    let Some(name) = named.filter(|word| RUNS.contains(word)) else {
        let cli = Cli::from_arg_matches(&matches(command, arguments).map_err(Refused::Typed)?);
        return Ok(Typed { cli: cli.map_err(Refused::Typed)?, file: None, effective: Vec::new() });
    };
    let run = run(&command);
    // Whatever is missing may be in the file.
    let typed = matches(command.clone().ignore_errors(true), arguments).map_err(Refused::Typed)?;
    let typed = typed.subcommand_matches(name).cloned().unwrap_or_default();
    let is_typed =
        |option: &str| run.get_arguments().any(|arg| arg.get_long() == Some(option) && is_given(&typed, arg));

    let mut settings: Vec<Setting> = options(&run).filter_map(|arg| variable(arg, &environment)).collect();
    settings.retain(|setting| !is_typed(&setting.option));
    let named = match typed.try_get_one::<PathBuf>("config") {
        Ok(Some(path)) if is_typed("config") => Some(path.clone()),
        _ => environment("NETFLOW_CONFIG").map(PathBuf::from),
    };
    let file = match named {
        Some(path) if path.as_os_str() == NO_FILE => None,
        Some(path) => Some(path),
        None => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()),
    };
    if let Some(path) = &file {
        for setting in file::read(path)? {
            option(&run, &setting)?;
            let is_said = settings.iter().any(|other| other.option == setting.option);
            if !is_said && !is_typed(&setting.option) {
                settings.push(setting);
            }
        }
    }

    let mut line = arguments.get(..2).unwrap_or(arguments).to_vec();
    for setting in &settings {
        line.extend(words(&run, setting)?);
    }
    line.extend(arguments.iter().skip(2).cloned());
    let matched = matches(command, &line).map_err(|error| blame(error, &settings))?;
    let cli = Cli::from_arg_matches(&matched).map_err(Refused::Typed)?;
    let effective = match matched.subcommand_matches("run") {
        Some(matched) => effective(&run, matched, &settings),
        None => Vec::new(),
    };
    Ok(Typed { cli, file, effective })
}

fn matches(command: Command, arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    command.try_get_matches_from(arguments)
}

/// `netflow run`.
pub(super) fn run(command: &Command) -> Command {
    let mut run = command.find_subcommand("run").cloned().unwrap_or_default();
    run.build();
    run
}

/// The options that a file or the environment may say.
pub(super) fn options(run: &Command) -> impl Iterator<Item = &Arg> {
    run.get_arguments()
        .filter(|arg| arg.get_long().is_some_and(|long| !matches!(long, "config" | "help" | "version")))
}

fn is_given(matches: &ArgMatches, arg: &Arg) -> bool {
    matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

/// What the environment says of an option: `NETFLOW_IDLE_TIMEOUT` for `--idle-timeout`. Lists are separated by spaces.
fn variable(arg: &Arg, environment: &impl Fn(&str) -> Option<OsString>) -> Option<Setting> {
    let option = arg.get_long()?;
    let variable = format!("{PREFIX}{}", option.replace('-', "_").to_uppercase());
    let value = environment(&variable)?.to_string_lossy().into_owned();
    let values = match arg.get_action() {
        ArgAction::Append => value.split_whitespace().map(str::to_owned).collect(),
        _ => vec![value],
    };
    Some(Setting { option: option.to_owned(), values, origin: Origin::Environment { variable } })
}

/// The option that a setting is of.
fn option<'a>(run: &'a Command, setting: &Setting) -> Result<&'a Arg, Refused> {
    let option = &setting.option;
    options(run).find(|arg| arg.get_long() == Some(option)).ok_or_else(|| {
        let like = similar(run, option).map(|like| format!("; '{like}' is similar")).unwrap_or_default();
        let text = format!("there is no option '{option}'{like}");
        Refused::Setting { origin: setting.origin.clone(), text }
    })
}

/// A setting as words of a command line.
fn words(run: &Command, setting: &Setting) -> Result<Vec<OsString>, Refused> {
    let refuse = |text: String| Refused::Setting { origin: setting.origin.clone(), text };
    let arg = option(run, setting)?;
    let option = &setting.option;
    let takes_value = arg.get_action().takes_values();
    if takes_value && setting.values.len() > 1 && !matches!(arg.get_action(), ArgAction::Append) {
        return Err(refuse(format!("'{option}' has one value")));
    }
    let mut words = Vec::new();
    for value in &setting.values {
        match (takes_value, value.as_str()) {
            (false, "true" | "1" | "on" | "yes") => words.push(format!("--{option}")),
            (false, "false" | "0" | "off" | "no") => {}
            (false, other) => return Err(refuse(format!("'{option}' is true or false, not '{other}'"))),
            // TOML has words of its own for what is on or off.
            (true, "true") if has_words(arg, "on") => words.push(format!("--{option}=on")),
            (true, "false") if has_words(arg, "off") => words.push(format!("--{option}=off")),
            (true, value) => words.push(format!("--{option}={value}")),
        }
    }
    Ok(words.into_iter().map(OsString::from).collect())
}

fn has_words(arg: &Arg, word: &str) -> bool {
    arg.get_possible_values().iter().any(|possible| possible.get_name() == word)
}

/// Says where it was said what clap refuses.
fn blame(error: clap::Error, settings: &[Setting]) -> Refused {
    let said = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => Some(arg),
        Some(ContextValue::Strings(args)) => args.first(),
        _ => None,
    };
    let option = said.and_then(|arg| arg.strip_prefix("--")?.split([' ', '=']).next());
    let setting = settings.iter().find(|setting| Some(setting.option.as_str()) == option);
    match (setting, in_one_line(&error)) {
        (Some(setting), Some(line)) if error.kind() != ErrorKind::MissingRequiredArgument => {
            let text = line.strip_suffix("; try --help").unwrap_or(&line).to_owned();
            Refused::Setting { origin: setting.origin.clone(), text }
        }
        _ => Refused::Typed(error),
    }
}

/// The options as they are in force.
fn effective(run: &Command, matches: &ArgMatches, settings: &[Setting]) -> Vec<Effective> {
    options(run)
        .filter_map(|arg| {
            let option = arg.get_long()?.to_owned();
            let id = arg.get_id().as_str();
            let raw = matches.get_raw(id).into_iter().flatten();
            let mut values: Vec<String> = raw.map(|value| value.to_string_lossy().into_owned()).collect();
            if !arg.get_action().takes_values() {
                values = vec![matches.get_flag(id).to_string()];
            }
            let said = settings.iter().find(|setting| setting.option == option);
            let origin = match (said, matches.value_source(id)) {
                (Some(setting), _) => Some(setting.origin.to_string()),
                (None, Some(ValueSource::CommandLine)) => Some("command line".to_owned()),
                _ => None,
            };
            Some(Effective { option, values, origin })
        })
        .collect()
}

/// The option that was probably meant.
fn similar<'a>(run: &'a Command, given: &str) -> Option<&'a str> {
    let names = options(run).filter_map(Arg::get_long);
    let near = names.map(|name| (strsim::jaro_winkler(name, given), name));
    near.filter(|(likeness, _)| *likeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
