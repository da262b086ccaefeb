//! Command lines: each bad one is refused in one line with exit code 2, before anything is done.

use tests::agent::binary;
use tests::process::{COMMAND_TIMEOUT, Process, command};

use crate::support::{assert_refused, netflow};

#[test]
fn bad_command_lines_are_refused_in_one_line() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["bogus"], &["unrecognized subcommand 'bogus'", "--help"]),
        (&["run", "--bogus"], &["unexpected argument '--bogus'"]),
        (&["run", "eth0"], &["unexpected argument 'eth0'"]),
        (&["run", "-i"], &["a value is required for '--interface <NAME>'"]),
        (&["run", "-i", "m0", "-i", "m1", "-i", "m0"], &["-i m0 is given twice"]),
        (&["run", "--tap"], &["--interface <NAME>"]),
        (&["run", "--xdp-mode", "offload"], &["'offload'", "auto, native, tc, generic"]),
        (&["run", "--promiscuous", "yes"], &["'yes'", "auto, on, off"]),
        (&["run", "--clock", "sun"], &["'sun'", "jiffies, precise"]),
        (&["run", "--protocol", "v8"], &["'v8'", "ipfix, v9"]),
        (&["run", "--format", "xml"], &["'xml'", "table, json"]),
        (&["run", "--log-level", "loud"], &["'loud'", "error, warn, info, debug, trace"]),
        (&["run", "--log-format", "xml"], &["'xml'", "auto, text, json, journal"]),
        (&["run", "--idle-timeout", "0"], &["an idle timeout of 0", "aggregated in the kernel"]),
        (&["run", "--idle-timeout", "0s"], &["an idle timeout of 0"]),
        (&["run", "--idle-timeout", "15"], &["--idle-timeout", "15s"]),
        (&["run", "--idle-timeout=-3s"], &["--idle-timeout", "15s"]),
        (&["run", "--idle-timeout", "3parsec"], &["unknown time unit", "15s"]),
        (&["run", "--idle-timeout", ""], &["--idle-timeout", "15s"]),
        (&["run", "--idle-timeout", "99999999999999y"], &["--idle-timeout"]),
        (&["run", "--active-timeout", "0"], &["active timeout"]),
        (&["run", "--end-linger", "soon"], &["--end-linger", "15s"]),
        (&["run", "--drain-interval", "0"], &["--drain-interval", "from 10ms to 60s"]),
        (&["run", "--drain-interval", "2m"], &["--drain-interval", "from 10ms to 60s"]),
        (&["run", "--template-refresh", "1 moon"], &["--template-refresh", "15s"]),
        (&["run", "--template-refresh-packets", "0"], &["--template-refresh-packets"]),
        (&["run", "--map-size", "0"], &["--map-size", "from 1"]),
        (&["run", "--map-size", "1G"], &["--map-size", "up to 16777216"]),
        (&["run", "--map-size", "many"], &["--map-size", "262144"]),
        (&["run", "--cache-size", "0"], &["--cache-size", "from 1"]),
        (&["run", "--cache-size", "5G"], &["--cache-size", "4294967295"]),
        (&["run", "--kernel-memory", "lots"], &["--kernel-memory", "1GiB"]),
        (&["run", "--message-size", "100"], &["--message-size 100", "from 512 to 65507"]),
        (&["run", "--message-size", "64KiB"], &["--message-size 65536", "from 512 to 65507"]),
        (&["run", "--observation-domain", "4294967296"], &["--observation-domain"]),
        (&["run", "--export-rate", "fast"], &["--export-rate"]),
        (&["run", "--anonymise", "ipv4"], &["--anonymise", "ipv4=crypto-pan, ipv6=/48 or eth0:ipv4=/16"]),
        (&["run", "--anonymise", "ipv5=/8"], &["no addresses 'ipv5'", "ipv4, ipv6 and mac"]),
        (&["run", "--anonymise", "ipv4=/33"], &["IPv4 addresses have 32 bits, /33 is not possible"]),
        (&["run", "--anonymise", "ipv4=md5"], &["no method 'md5'", "crypto-pan, /BITS and none"]),
        (&["run", "--anonymise", "mac=crypto-pan"], &["for IP addresses"]),
        (&["run", "--anonymise", "ipv4=/8", "--anonymise", "ipv4=/9"], &["says twice", "IPv4 addresses"]),
        (&["run", "--anonymise", "ipv4=crypto-pan"], &["needs a key", "--anonymisation-key"]),
        (&["read", "a", "--anonymise", "eth0:ipv4=/8"], &["eth0", "a capture file has no interfaces"]),
        (&["run", "--anonymisation-key", "/no-such-key"], &["/no-such-key", "No such file"]),
        (&["run", "--anonymisation-key", "/dev/zero"], &["/dev/zero is not a regular file"]),
        (&["read"], &["<FILE>"]),
        (&["read", "a", "b"], &["unexpected argument 'b'"]),
        (&["collect", "--listen"], &["--listen <URL>"]),
        (&["run\nevil"], &["unrecognized subcommand"]),
    ];
    for (arguments, texts) in cases {
        assert_refused(&netflow(arguments), 2, texts);
    }
}

#[test]
fn bad_collector_urls_are_refused_with_what_is_wrong() {
    let cases = [
        ("", "the host is missing"),
        ("udp://", "the host is missing"),
        ("udp://:4739", "the host is missing"),
        ("udp://host:0", "a number from 1 to 65535"),
        ("host:65536", "a number from 1 to 65535"),
        ("host:flow", "a number from 1 to 65535"),
        ("http://host", "unknown transport 'http', known are udp, tcp, tls, dtls, sctp, file and json"),
        ("udp://host?protocol=v8", "unknown protocol 'v8', known are ipfix, v9 and v5"),
        ("udp://host?color=red", "unknown option 'color', known are protocol"),
        ("udp://host?cert=c.pem", "option 'cert' has no meaning for udp"),
        ("udp://host?dscp=64", "dscp is a number from 0 to 63"),
        ("udp://127.0.0.1?bind=::1", "one is IPv4, the other IPv6"),
        ("udp://[2001:db8::1", "invalid IPv6 address"),
        ("udp://ho st", "invalid"),
        ("udp://host:1/path", "has no meaning here"),
        ("udp://user:word@host", "has no meaning here"),
    ];
    for (url, reason) in cases {
        for command in [&["run", "-c", url][..], &["read", "no-such-file", "-c", "127.0.0.1", "-c", url]] {
            assert_refused(&netflow(command), 2, &[&format!("collector '{url}'"), reason]);
        }
    }
}

#[test]
fn bad_places_to_listen_are_refused() {
    let cases = [
        ("collector.example", "the host must be an address of this machine"),
        ("sctp://[::]:4739", "transport 'sctp' is not received"),
        ("tls://[::]:4739?key=/k", "a certificate and its key are needed"),
        ("udp://127.0.0.1?protocol=v9", "leave out the option"),
        ("udp://127.0.0.1:99999", "to 65535"),
        ("", "the host must be an address of this machine"),
    ];
    for (url, reason) in cases {
        assert_refused(&netflow(&["collect", "--listen", url]), 2, &[&format!("'{url}'"), reason]);
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&["--version"][..], &["-V"], &["run", "--version"]] {
        let version = netflow(arguments);
        assert!(version.status.success() && version.stdout.ends_with("0.1.0\n"), "{version:?}");
    }
    for command in ["run", "read", "collect"] {
        let short = netflow(&[command, "-h"]);
        let long = netflow(&[command, "--help"]);
        assert!(short.status.success() && short.stderr.is_empty(), "{short:?}");
        assert!(short.stdout.contains(&format!("Usage: netflow {command}")), "{}", short.stdout);
        assert!(long.status.success() && long.stdout.lines().count() > short.stdout.lines().count());
        assert!(long.stdout.contains("Exit codes: 0"), "{}", long.stdout);
    }
    let alone = netflow(&[]);
    assert_eq!(alone.status.code(), Some(2));
    assert!(alone.stderr.contains("Usage: netflow <COMMAND>"), "{}", alone.stderr);
}

#[test]
fn short_help_fits_a_screen_and_names_every_default() {
    for (name, defaults, without_default) in [("run", 16, 5), ("read", 10, 4), ("collect", 3, 0)] {
        let mut help = command(binary().unwrap().to_str().unwrap(), [name, "-h"]);
        help.env("COLUMNS", "110");
        let help = Process::spawn(help).unwrap().finish(COMMAND_TIMEOUT).unwrap().stdout;
        assert!(help.lines().count() <= 60, "{} lines:\n{help}", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
        let mut options: Vec<String> = Vec::new();
        for line in help.lines().map(str::trim) {
            match options.last_mut() {
                Some(option) if !line.starts_with('-') => *option = format!("{option} {line}"),
                _ => options.push(line.to_owned()),
            }
        }
        let with_value = options.iter().filter(|option| option.starts_with('-') && option.contains('<'));
        // What is off, or none, unless it is given.
        let without = |option: &&String| {
            ["--collector ", "--ledger-file ", "--filter ", "--group ", "--exclude-interface "]
                .iter()
                .any(|name| option.contains(name))
        };
        let (none, named): (Vec<_>, Vec<_>) = with_value.partition(without);
        let missing: Vec<_> = named.iter().filter(|option| !option.contains("[default: ")).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!((named.len(), none.len()), (defaults, without_default), "{help}");
    }
}
