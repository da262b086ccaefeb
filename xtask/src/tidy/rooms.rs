//! Which room may use what. The tree is the data path, and dependencies may only point the ways that style gives.

use crate::tidy::Finding;
use crate::tidy::source::Source;

/// What the files of a room must not use.
struct Rule {
    /// Beginnings of file names; a directory ends with `/`.
    files: &'static [&'static str],
    /// Beginnings of the file names that may.
    except: &'static [&'static str],
    /// The paths, as beginnings; `..` stands for any beginning.
    must_not_use: &'static [&'static str],
    /// Whether unit tests may.
    tests_may: bool,
    why: &'static str,
}

const STAGES: [&str; 4] = ["drain", "flow_cache", "message", "transport"];

const RULES: [Rule; 14] = [
    Rule {
        files: &["netflow-common/src/"],
        except: &[],
        must_not_use: &["std", "alloc", "aya", "aya_ebpf"],
        tests_may: true,
        why: "the words both sides share need core and bytemuck only",
    },
    Rule {
        files: &["netflow-ebpf/src/packet/"],
        except: &[],
        must_not_use: &["std", "alloc", "aya", "aya_ebpf", "netflow_ebpf::map", "netflow_ebpf::reader"],
        tests_may: true,
        why: "the parser reads octets, in the kernel and on the host alike",
    },
    Rule {
        files: &["netflow-user/src/flow_cache/", "netflow-user/src/record/", "netflow-user/src/message/"],
        except: &[],
        must_not_use: &[
            "aya",
            "tokio",
            "socket2",
            "std::net::UdpSocket",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::os::unix::net",
        ],
        tests_may: false,
        why: "these rooms know no kernel and no socket",
    },
    Rule {
        files: &["netflow-user/src/flow_cache/", "netflow-user/src/record/", "netflow-user/src/message/"],
        except: &[],
        must_not_use: &["std::time::SystemTime", "std::time::Instant"],
        tests_may: true,
        why: "these rooms know no clock: now is an argument",
    },
    Rule {
        files: &["netflow-user/src/record/"],
        except: &[],
        must_not_use: &[
            "netflow_user::agent",
            "netflow_user::capture",
            "netflow_user::collect",
            "netflow_user::config",
            "netflow_user::drain",
            "netflow_user::flow_cache",
            "netflow_user::kernel",
            "netflow_user::ledger",
            "netflow_user::message",
            "netflow_user::route",
            "netflow_user::transport",
        ],
        tests_may: false,
        why: "a record depends on the shared words only",
    },
    Rule {
        files: &["netflow-user/src/route/"],
        except: &[],
        must_not_use: &[
            "aya",
            "tokio",
            "netflow_user::agent",
            "netflow_user::config",
            "netflow_user::drain",
            "netflow_user::flow_cache",
            "netflow_user::kernel",
            "netflow_user::ledger",
            "netflow_user::message",
            "netflow_user::transport",
        ],
        tests_may: false,
        why: "routes know the kernel's routing tables, keys and records, and not the line",
    },
    Rule {
        files: &["netflow-user/src/control/"],
        except: &[],
        must_not_use: &[
            "aya",
            "netflow_user::agent",
            "netflow_user::config",
            "netflow_user::drain",
            "netflow_user::flow_cache",
            "netflow_user::kernel",
            "netflow_user::message",
            "netflow_user::transport",
        ],
        tests_may: false,
        why: "control knows the words of questions and answers, records and books, and not the line",
    },
    Rule {
        files: &["netflow-user/src/kernel/", "netflow-user/src/privileges/"],
        except: &[],
        must_not_use: &[
            "netflow_user::agent",
            "netflow_user::capture",
            "netflow_user::collect",
            "netflow_user::config",
            "netflow_user::drain",
            "netflow_user::flow_cache",
            "netflow_user::message",
            "netflow_user::record",
            "netflow_user::route",
            "netflow_user::transport",
        ],
        tests_may: false,
        why: "what keeps privileges knows no packet, no flow and no peer",
    },
    Rule {
        files: &["netflow-user/src/transport/"],
        except: &[],
        must_not_use: &[
            "netflow_user::record",
            "netflow_common",
            "netflow_user::agent",
            "netflow_user::kernel",
        ],
        tests_may: false,
        why: "transport delivers finished datagrams and knows nothing of what is in them",
    },
    Rule {
        files: &["netflow-user/src/doctor/"],
        except: &[],
        must_not_use: &["aya", "netflow_user::cli", "netflow_user::flow_cache", "netflow_user::route"],
        tests_may: false,
        why: "the doctor asks other rooms, and never the kernel behind their backs",
    },
    Rule {
        files: &["netflow-user/src/metrics/"],
        except: &[],
        must_not_use: &[
            "aya",
            "netflow_user::config",
            "netflow_user::drain",
            "netflow_user::flow_cache",
            "netflow_user::kernel",
            "netflow_user::message",
            "netflow_user::route",
            "netflow_user::transport",
        ],
        tests_may: false,
        why: "metrics show the agent's picture of itself, and interfaces' counters, and touch nothing",
    },
    Rule {
        files: &["netflow-user/src/"],
        except: &[
            "netflow-user/src/main.rs",
            "netflow-user/src/cli.rs",
            "netflow-user/src/cli/",
            "netflow-user/src/config.rs",
            "netflow-user/src/config/",
            "netflow-user/src/measured.rs",
        ],
        must_not_use: &["netflow_user::cli"],
        tests_may: false,
        why: "cli holds what was typed, config and measured what was decided; nobody else sees cli",
    },
    Rule {
        files: &["netflow-user/src/", "netflow-common/", "netflow-ebpf/"],
        except: &["netflow-user/src/main.rs"],
        must_not_use: &["anyhow"],
        tests_may: true,
        why: "each room has one error enum of its own",
    },
    Rule {
        files: &["netflow-user/src/", "netflow-common/", "netflow-ebpf/"],
        except: &["netflow-user/src/clock.rs"],
        must_not_use: &["..Instant::now", "..SystemTime::now", "..clock_gettime"],
        tests_may: true,
        why: "clock.rs alone reads clocks",
    },
];

/// Checks a Rust file against the rules of its room.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = source.name.as_str();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    let rules: Vec<&Rule> = RULES.iter().filter(|rule| begins(rule.files) && !begins(rule.except)).collect();
    let stage = STAGES.into_iter().find(|stage| in_room(name, stage));
    for found in source.paths() {
        let path = absolute(name, &found.path);
        for rule in &rules {
            let applies = !(rule.tests_may && source.is_test(found.line));
            if applies && rule.must_not_use.iter().any(|pattern| matches(&path, pattern)) {
                findings
                    .push(Finding::error(found.line, format!("must not use `{}`: {}", found.path, rule.why)));
            }
        }
        if let Some(stage) = stage
            && let Some(other) = STAGES.into_iter().find(|other| uses_room(&path, other))
            && other != stage
        {
            let text =
                format!("`{stage}` must not use `{other}`: the stages meet in nouns, the agent joins them");
            findings.push(Finding::error(found.line, text));
        }
    }
    findings
}

fn in_room(name: &str, room: &str) -> bool {
    let rest = name.strip_prefix("netflow-user/src/").and_then(|rest| rest.strip_prefix(room));
    rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

fn uses_room(path: &str, room: &str) -> bool {
    path.strip_prefix("netflow_user::").is_some_and(|rest| rest.split("::").next() == Some(room))
}

/// The path from its crate's name on. Unit tests' own `super` is taken for that of their file, one step too far: what
/// they reach then is a room's own content, which no rule names.
fn absolute(name: &str, path: &str) -> String {
    let Some((member, file)) = name.split_once("/src/") else { return path.to_owned() };
    let mut module: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if module.last().is_some_and(|last| matches!(*last, "mod" | "lib" | "main")) {
        module.pop();
    }
    let member = member.replace('-', "_");
    let mut segments = path.split("::").peekable();
    match segments.peek() {
        Some(&"crate") => {
            segments.next();
            module.clear();
        }
        Some(&("self" | "super")) => {
            while let Some(step) = segments.next_if(|segment| matches!(*segment, "self" | "super")) {
                if step == "super" {
                    module.pop();
                }
            }
        }
        _ => return path.to_owned(),
    }
    [member.as_str()].into_iter().chain(module).chain(segments).collect::<Vec<_>>().join("::")
}

fn matches(path: &str, pattern: &str) -> bool {
    match pattern.strip_prefix("..") {
        Some(ending) => path == ending || path.ends_with(&format!("::{ending}")),
        None => path.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(name: &str, text: &str) -> Vec<String> {
        check(&Source::new(name, text.to_owned())).into_iter().map(|finding| finding.text).collect()
    }

    fn is_clean(name: &str, text: &str) -> bool {
        errors(name, text).is_empty()
    }

    #[test]
    fn stages_do_not_use_one_another() {
        assert_eq!(
            errors("netflow-user/src/message/ipfix.rs", "use crate::{record, transport::Udp};").len(),
            1
        );
        assert_eq!(errors("netflow-user/src/drain/mod.rs", "use super::flow_cache::FlowCache;").len(), 1);
        assert!(is_clean("netflow-user/src/message/ipfix.rs", "use crate::message::octets::Octets;"));
        assert!(is_clean("netflow-user/src/message/ipfix.rs", "use crate::record::FlowRecord;"));
        assert!(is_clean("netflow-user/src/agent.rs", "use crate::{drain, flow_cache, message, transport};"));
    }

    #[test]
    fn the_middle_of_the_path_knows_no_kernel_socket_or_clock() {
        for text in [
            "use aya::Ebpf;",
            "use tokio::sync::mpsc;",
            "use std::net::UdpSocket;",
            "use std::time::Instant;",
        ] {
            assert!(!is_clean("netflow-user/src/flow_cache/timeout.rs", text), "{text}");
        }
        let addresses = "use std::net::{IpAddr, Ipv4Addr}; use std::time::Duration;";
        assert!(is_clean("netflow-user/src/flow_cache/timeout.rs", addresses));
        assert!(is_clean("netflow-user/src/kernel/mod.rs", "use aya::Ebpf;"));
        assert!(is_clean("netflow-user/src/flow_cache/tests/measure.rs", "use std::time::Instant;"));
    }

    #[test]
    fn only_the_clock_reads_clocks() {
        let text = "fn f() { let t = Instant::now(); }";
        assert_eq!(errors("netflow-user/src/agent.rs", text).len(), 1);
        assert!(is_clean("netflow-user/src/clock.rs", text));
        assert!(is_clean("xtask/src/process.rs", text));
        assert!(is_clean(
            "netflow-user/src/agent.rs",
            "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }"
        ));
        assert!(!is_clean("netflow-user/src/agent.rs", "let t = rustix::time::clock_gettime(id);"));
    }

    #[test]
    fn the_shared_words_need_no_std() {
        assert!(!is_clean("netflow-common/src/flow_key.rs", "use std::fmt;"));
        assert!(is_clean("netflow-common/src/flow_key.rs", "use core::fmt; // std::fmt"));
        assert!(is_clean("netflow-common/src/flow_key.rs", "#[cfg(test)]\nmod tests { use std::fmt; }"));
    }

    #[test]
    fn routes_know_records_and_not_the_line() {
        assert!(is_clean("netflow-user/src/route/follower.rs", "use crate::{clock, record::FlowRecord};"));
        for text in
            ["use crate::agent::chain;", "use crate::flow_cache::FlowCache;", "use tokio::sync::watch;"]
        {
            assert!(!is_clean("netflow-user/src/route/follower.rs", text), "{text}");
        }
        assert!(!is_clean("netflow-user/src/record/mod.rs", "use crate::route::Routes;"));
    }

    #[test]
    fn the_command_line_is_seen_by_two_files_only() {
        assert!(!is_clean("netflow-user/src/agent.rs", "use crate::cli::Cli;"));
        assert!(is_clean("netflow-user/src/config.rs", "use crate::cli::Cli;"));
        assert!(is_clean("netflow-user/src/main.rs", "use netflow_user::cli::Cli;"));
    }

    #[test]
    fn relative_paths_are_followed() {
        let file = "netflow-user/src/message/packer.rs";
        assert_eq!(absolute(file, "super::super::transport::Udp"), "netflow_user::transport::Udp");
        assert_eq!(absolute(file, "super::octets"), "netflow_user::message::octets");
        assert_eq!(absolute(file, "self::x"), "netflow_user::message::packer::x");
        assert_eq!(absolute("netflow-user/src/message/mod.rs", "super::ledger"), "netflow_user::ledger");
        assert_eq!(absolute(file, "crate::record"), "netflow_user::record");
        assert_eq!(absolute(file, "std::fmt"), "std::fmt");
    }
}
