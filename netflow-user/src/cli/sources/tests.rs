#![allow(clippy::unwrap_used, reason = "tests")]
use std::{io::Write as _, time::Duration};

use super::*;
use crate::cli::{self, Run, shown};

/// What comes of a file, variables and a command line.
fn typed(file: &str, environment: &[(&str, &str)], line: &[&str]) -> Result<Typed, String> {
    let mut path = tempfile::NamedTempFile::new().unwrap();
    path.write_all(file.as_bytes()).unwrap();
    let name = path.path().to_str().unwrap().to_owned();
    let words = ["netflow", "run", "--config", &name].into_iter().chain(line.iter().copied());
    let words: Vec<OsString> = words.map(OsString::from).collect();
    let variable = |name: &str| {
        environment.iter().find(|(variable, _)| *variable == name).map(|(_, value)| OsString::from(*value))
    };
    read(&words, variable).map_err(|error| error.to_string().replace(&name, "FILE"))
}

fn run(typed: Typed) -> Run {
    let cli::Command::Run(run) = typed.cli.command else { panic!("another command") };
    *run
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let file = "idle-timeout = '1s'\nactive-timeout = '2s'\nend-linger = '3s'\ngroup = ['l2', 'tcp']\n";
    let environment = [("NETFLOW_ACTIVE_TIMEOUT", "20s"), ("NETFLOW_END_LINGER", "30s")];
    let typed = typed(file, &environment, &["--end-linger", "300s", "-i", "eth1"]).unwrap();
    let origin = |option: &str| {
        typed.effective.iter().find(|effective| effective.option == option).unwrap().origin.clone()
    };
    assert!(origin("idle-timeout").unwrap().ends_with(":1"));
    assert_eq!(origin("active-timeout").as_deref(), Some("NETFLOW_ACTIVE_TIMEOUT"));
    assert_eq!(origin("end-linger").as_deref(), Some("command line"));
    assert_eq!(origin("map-size"), None);
    let run = run(typed);
    assert_eq!(run.flows.idle_timeout, Duration::from_secs(1));
    assert_eq!(run.flows.active_timeout, Duration::from_secs(20));
    assert_eq!(run.flows.end_linger, Duration::from_secs(300));
    assert_eq!(run.measured.group, ["l2", "tcp"]);
    assert_eq!(run.interface, ["eth1"]);
}

#[test]
fn a_list_of_the_command_line_stands_in_place_of_the_one_in_the_file() {
    let file = "[[collector]]\nurl = '192.0.2.1'\n[[collector]]\nurl = '192.0.2.2'\n";
    let collectors = |environment, line| run(typed(file, environment, line).unwrap()).export.collector;
    assert_eq!(collectors(&[], &[]), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(collectors(&[("NETFLOW_COLLECTOR", "192.0.2.3 192.0.2.4")], &[]), ["192.0.2.3", "192.0.2.4"]);
    assert_eq!(collectors(&[], &["-c", "192.0.2.5"]), ["192.0.2.5"]);
}

#[test]
fn the_doctor_reads_the_same_places_as_run() {
    let mut path = tempfile::NamedTempFile::new().unwrap();
    path.write_all(b"collector = '192.0.2.1'\nidle-timeout = '7s'\n").unwrap();
    let name = path.path().to_str().unwrap();
    let words = ["netflow", "doctor", "--json", "--config", name, "-i", "eth1"].map(OsString::from);
    let typed = read(&words, |_| None).unwrap();
    let cli::Command::Doctor(doctor) = typed.cli.command else { panic!("another command") };
    assert_eq!((doctor.run.export.collector, doctor.json), (vec!["192.0.2.1".to_owned()], true));
    assert_eq!(
        (doctor.run.flows.idle_timeout, doctor.run.interface),
        (Duration::from_secs(7), vec!["eth1".to_owned()])
    );
}

#[test]
fn what_needs_an_interface_finds_it_in_the_file() {
    let run = run(typed("tap = true\ninterface = 'eth1'\n", &[], &[]).unwrap());
    assert!(run.tap);
    let run = self::run(typed("interface = 'eth1'\n", &[("NETFLOW_TAP", "1")], &[]).unwrap());
    assert!(run.tap && run.interface == ["eth1"]);
    let run = self::run(typed("interface = 'eth1'\nroutes = false\n", &[], &["--tap"]).unwrap());
    assert!(run.tap && run.routes == cli::Routes::Off);
    assert!(typed("tap = true\n", &[], &[]).unwrap_err().contains("--interface <NAME>"));
}

#[test]
fn a_wrong_option_is_told_with_the_place_where_it_stands() {
    let cases = [
        ("\nidle-timout = '1s'\n", "FILE:2: there is no option 'idle-timout'; 'idle-timeout' is similar"),
        ("idle-timeout = 15\n", "FILE:1: "),
        (
            "xdp-mode = 'fast'\n",
            "FILE:1: invalid value 'fast' for '--xdp-mode <MODE>' [possible values: auto, native, tc, generic]",
        ),
        ("tap = 'maybe'\n", "FILE:1: 'tap' is true or false, not 'maybe'"),
        ("map-size = [1, 2]\n", "FILE:1: 'map-size' has one value"),
        ("config = 'other.toml'\n", "FILE:1: there is no option 'config'"),
    ];
    for (file, expected) in cases {
        let error = typed(file, &[], &[]).unwrap_err();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{file}: {error}");
    }
    let error = typed("", &[("NETFLOW_CLOCK", "sun")], &[]).unwrap_err();
    assert!(error.starts_with("NETFLOW_CLOCK: invalid value 'sun'"), "{error}");
    let error = typed("clock = 'sun'\n", &[], &["--clock", "moon"]).unwrap_err();
    assert!(error.starts_with("invalid value 'moon'"), "{error}");
}

#[test]
fn what_is_shown_is_a_file_that_means_the_same() {
    let file = "[[interface]]\nname = 'eth*'\n[[collector]]\nurl = 'udp://192.0.2.1?protocol=v9'\n";
    let first = typed(file, &[], &["--filter", "host \"a\\b\"", "--tap"]).unwrap();
    let second = typed(&shown(&first.effective), &[], &[]).unwrap();
    let values = |typed: &Typed| -> Vec<(String, Vec<String>)> {
        typed.effective.iter().map(|effective| (effective.option.clone(), effective.values.clone())).collect()
    };
    assert_eq!(values(&first), values(&second));
}

#[test]
fn the_file_of_defaults_changes_nothing_and_its_options_can_be_used() {
    let empty = typed("", &[], &[]).unwrap();
    let text = cli::defaults();
    assert_eq!(typed(&text, &[], &[]).unwrap().effective, empty.effective);
    // With the marks of comments taken away where a default follows.
    let used: String = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix('#').filter(|line| line.contains(" = ") && !line.starts_with(' '))
        })
        .take_while(|line| !line.starts_with("name"))
        .filter(|line| !line.chars().any(char::is_uppercase))
        .map(|line| format!("{line}\n"))
        .collect();
    let typed = typed(&used, &[], &[]).unwrap();
    let values = |effective: &[Effective]| -> Vec<Vec<String>> {
        effective.iter().map(|effective| effective.values.clone()).collect()
    };
    assert_eq!(values(&typed.effective), values(&empty.effective));
}
