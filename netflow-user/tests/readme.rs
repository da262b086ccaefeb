//! README's tables against what the program does: options, exported fields, reasons.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, num::NonZeroU32};

use clap::CommandFactory as _;
use netflow_common::{Loss, Note, Refusal};
use netflow_user::{
    cli::{self, Cli},
    config::RunConfig,
    ledger::NotSent,
    message::{Group, Protocol, TemplateOptions, TemplateSet, template::AddressFamily},
};

const README: &str = include_str!("../../README.md");

/// The cells of the table between two markers, without its two header lines.
fn table(name: &str) -> Vec<Vec<String>> {
    let (_, rest) = README.split_once(&format!("<!-- {name} -->\n")).unwrap();
    let (table, _) = rest.split_once(&format!("<!-- /{name} -->")).unwrap();
    table
        .lines()
        .skip(2)
        .map(|line| {
            let line = line.replace("\\|", "/");
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

#[test]
fn plain_transports_are_documented_as_for_networks_of_ones_own() {
    // SEC-2
    let words = README.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in ["Plain UDP and TCP are for networks of", "Use plain UDP on networks of your own."] {
        assert!(words.contains(sentence), "{sentence}");
    }
}

#[test]
fn every_option_of_run_stands_in_readme_with_its_default() {
    let mut command = Cli::command();
    command.build();
    let run = command.find_subcommand("run").unwrap();
    let rows = table("flags");
    let mut documented: BTreeSet<String> = BTreeSet::new();
    for row in &rows {
        let at = row[0].find("--").unwrap() + 2;
        let name: String = row[0][at..].chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
        documented.insert(name.clone());
        let argument = run.get_arguments().find(|argument| argument.get_long() == Some(name.as_str()));
        let argument = argument.unwrap_or_else(|| panic!("README has --{name}, `run` has not"));
        if argument.get_action().takes_values() {
            for default in argument.get_default_values() {
                let default = default.to_string_lossy();
                assert!(
                    row[1].trim_matches('`') == default,
                    "--{name}: README says {}, it is {default}",
                    row[1]
                );
            }
        }
    }
    for argument in run.get_arguments() {
        let name = argument.get_long().unwrap_or_default();
        assert!(
            documented.contains(name) || ["help", "version"].contains(&name),
            "--{name} is missing in README"
        );
    }
}

#[test]
fn every_configuration_in_readme_is_one_that_the_agent_takes() {
    let directory = tempfile::tempdir().unwrap();
    let blocks: Vec<&str> =
        README.split("```toml\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect();
    for (at, block) in blocks.iter().enumerate() {
        let file = directory.path().join(format!("{at}.toml"));
        std::fs::write(&file, block).unwrap();
        let arguments = ["netflow".into(), "run".into(), "--config".into(), file.into_os_string()];
        let typed = cli::read(&arguments, |_| None).map_err(|error| error.to_string());
        let cli::Command::Run(run) = typed.unwrap_or_else(|error| panic!("{error}: {block}")).cli.command
        else {
            panic!("another command");
        };
        RunConfig::new(*run).unwrap_or_else(|error| panic!("{error}: {block}"));
    }
    assert!(blocks.len() >= 5);
}

/// What one pair of columns of the field table says: (id, octets).
fn documented_fields(id_column: usize) -> BTreeSet<(u16, u16)> {
    let mut fields = BTreeSet::new();
    for row in table("fields") {
        let split = |cell: &str| -> Vec<u16> {
            cell.split([',', '/']).filter_map(|part| part.trim().parse().ok()).collect()
        };
        let (ids, lengths) = (split(&row[id_column]), split(&row[id_column + 1]));
        for (i, id) in ids.iter().enumerate() {
            fields.insert((*id, *lengths.get(i).unwrap_or(&lengths[0])));
        }
    }
    fields
}

#[test]
fn every_exported_field_stands_in_readme_with_its_length() {
    for (protocol, column) in [(Protocol::Ipfix, 1), (Protocol::NetflowV9, 3)] {
        let mut exported = BTreeSet::new();
        let templates = TemplateSet::new(&TemplateOptions::new(protocol)).unwrap();
        for family in AddressFamily::ALL {
            for field in templates.fields(family) {
                exported.insert((field.id(), field.length));
            }
        }
        assert_eq!(documented_fields(column), exported, "{protocol:?}");
    }
    let templates = TemplateSet::new(&TemplateOptions::new(Protocol::Ipfix)).unwrap();
    for family in AddressFamily::ALL {
        for field in templates.fields(family) {
            assert!(
                table("fields").iter().any(|row| row[0].contains(field.name())),
                "{} is missing in README",
                field.name()
            );
        }
    }
}

#[test]
fn every_field_of_every_group_stands_in_readme_with_its_length() {
    let rows = table("groups");
    for group in Group::ALL {
        let options = TemplateOptions {
            groups: [group].into_iter().collect(),
            enterprise_number: NonZeroU32::new(32473),
            ..TemplateOptions::new(Protocol::Ipfix)
        };
        let (templates, plain) = (
            TemplateSet::new(&options).unwrap(),
            TemplateSet::new(&TemplateOptions::new(Protocol::Ipfix)).unwrap(),
        );
        let row = rows.iter().find(|row| row[0] == format!("`{}`", group.name())).unwrap();
        let mut documented: BTreeSet<&str> = row[1].split(", ").collect();
        for family in AddressFamily::ALL {
            for field in &templates.fields(family)[plain.fields(family).len()..] {
                let own = if field.enterprise_number == 0 { "" } else { "own " };
                let text = format!("{} {own}{}/{}", field.name(), field.id(), field.length);
                assert!(row[1].split(", ").any(|said| said == text), "{text} is missing for {}", row[0]);
                documented.retain(|said| *said != text);
            }
        }
        // It is in the key already.
        documented.remove("ipClassOfService 5/1");
        assert!(documented.is_empty(), "{documented:?} are no fields of {}", row[0]);
    }
    assert_eq!(rows.len(), Group::ALL.len());
}

#[test]
fn every_reason_stands_in_readme() {
    let names = Refusal::ALL.iter().map(|reason| reason.name());
    let names = names.chain(Loss::ALL.iter().map(|reason| reason.name()));
    let names = names.chain(Note::ALL.iter().map(|note| note.name()));
    for name in names.chain(NotSent::ALL.iter().map(|reason| reason.name())) {
        assert!(README.contains(&format!("`{name}`")), "{name} is missing in README");
    }
}
