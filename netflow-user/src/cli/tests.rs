#![allow(clippy::unwrap_used, reason = "tests")]
use clap::CommandFactory as _;

use super::{values::*, *};

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn durations_and_sizes_take_units() {
    assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
    assert_eq!(duration("0").unwrap(), Duration::ZERO);
    assert!(duration("15").is_err());
    assert_eq!(size("1GiB").unwrap(), 1 << 30);
    assert_eq!(entries("256Ki").unwrap().get(), 262_144);
    assert!(entries("0").is_err() && entries("5G").is_err());
}

#[test]
fn a_refused_command_line_is_one_line() {
    let cases: [(&[&str], &str); 5] = [
        (
            &["run", "--clock", "sun"],
            "invalid value 'sun' for '--clock <CLOCK>' [possible values: jiffies, precise]; try --help",
        ),
        (&["run", "--idle-timeout", "15"], "write for example 500ms, 15s or 30m; try --help"),
        (
            &["run", "--tap"],
            "the following required arguments were not provided: --interface <NAME>; try --help",
        ),
        (&["bogus\nline"], "unrecognized subcommand 'bogus line'; try --help"),
        (&["read"], "the following required arguments were not provided: <FILE>; try --help"),
    ];
    for (arguments, text) in cases {
        let typed = [&["netflow"], arguments].concat();
        let line = in_one_line(&Cli::try_parse_from(typed).unwrap_err()).unwrap();
        assert!(line.ends_with(text) && !line.contains('\n') && !line.starts_with("error"), "{line}");
    }
    assert_eq!(in_one_line(&Cli::try_parse_from(["netflow", "run", "-h"]).unwrap_err()), None);
}

#[test]
fn tap_needs_an_interface() {
    assert!(Cli::try_parse_from(["netflow", "run", "--tap"]).is_err());
    assert!(Cli::try_parse_from(["netflow", "run", "--tap", "-i", "eth1"]).is_ok());
}
