//! Words that must not stand in the tree, and attributes that must give a reason.

use crate::tidy::Finding;
use crate::tidy::source::{Source, line_at};

/// Where `unsafe` may stand, each file with the reason at its top.
const UNSAFE_FILES: [&str; 18] = [
    "bench/vary-ebpf/src/main.rs",
    "netflow-ebpf/src/packet/frame.rs",
    "netflow-ebpf/src/reader.rs",
    "netflow-ebpf/src/map.rs",
    "netflow-ebpf/src/flow_map.rs",
    "netflow-ebpf/src/flow_table.rs",
    "netflow-ebpf/src/state.rs",
    "netflow-ebpf/src/wide.rs",
    "netflow-ebpf/src/main.rs",
    "netflow-user/src/filter/libpcap.rs",
    "netflow-user/src/flow_cache/memory.rs",
    "netflow-user/src/kernel/bpf_call.rs",
    "netflow-user/src/doctor/wall_clock.rs",
    "netflow-user/src/privileges/fork.rs",
    "netflow-user/src/transport/unacknowledged.rs",
    "netflow-user/src/kernel/mapping.rs",
    "netflow-user/src/kernel/packet_socket.rs",
    "tests/generator-ebpf/src/main.rs",
];
const UNFINISHED_CODE: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
/// Spelled in two parts, since this file is checked too.
const UNFINISHED_COMMENTS: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];
/// Checks any text file for the place where this checkout happens to stand.
pub fn check_paths(text: &str, checkout: &str) -> Vec<Finding> {
    text.match_indices(checkout)
        .map(|(at, place)| {
            Finding::error(line_at(text, at), format!("`{place}` exists on this machine only"))
        })
        .collect()
}

/// Checks a Rust file's words and attributes.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !UNSAFE_FILES.contains(&source.name.as_str()) {
        let text = "`unsafe` belongs into the files that style names, nowhere else";
        findings.extend(source.lines_with("unsafe").map(|line| Finding::error(line, text)));
    }
    for word in UNFINISHED_CODE {
        findings.extend(
            source.lines_with(word).map(|line| Finding::error(line, format!("`{word}` is left over"))),
        );
    }
    for word in UNFINISHED_COMMENTS {
        let found = source.comments.match_indices(word);
        findings.extend(found.map(|(at, _)| {
            Finding::error(line_at(&source.comments, at), format!("`{word}`: do it, or open an issue"))
        }));
    }
    findings.extend(attributes(&source.code).filter_map(|(at, attribute)| {
        lacks_reason(attribute)
            .map(|name| Finding::error(line_at(&source.code, at), format!("`{name}` gives no reason")))
    }));
    findings
}

/// All attributes, without `#[` and `]`, and where they begin.
fn attributes(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.match_indices('#').filter_map(|(at, _)| {
        let text = code[at + 1..].strip_prefix('!').unwrap_or(&code[at + 1..]).strip_prefix('[')?;
        let mut depth = 1_usize;
        let end = text.bytes().position(|byte| {
            match byte {
                b'[' => depth += 1,
                b']' => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        Some((at, text[..end].trim()))
    })
}

/// The attribute's name, if it is one of those that need a reason and has none.
fn lacks_reason(attribute: &str) -> Option<&'static str> {
    if attribute == "ignore" || attribute.starts_with("ignore") && is_empty_text(attribute, "ignore") {
        return Some("#[ignore]");
    }
    let name = ["allow", "expect"].into_iter().find(|name| {
        attribute.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('('))
            || attribute.starts_with("cfg_attr") && attribute.contains(&format!(" {name}("))
    })?;
    let has_reason = attribute.contains("reason") && !is_empty_text(attribute, "reason");
    (!has_reason).then_some(if name == "allow" { "#[allow]" } else { "#[expect]" })
}

/// Whether `name = ""` stands in the attribute.
fn is_empty_text(attribute: &str, name: &str) -> bool {
    let value = attribute.split_once(name).and_then(|(_, rest)| rest.trim_start().strip_prefix('='));
    value.is_some_and(|value| value.trim_start().starts_with("\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(name: &str, text: &str) -> Vec<(usize, String)> {
        let source = Source::new(name, text.to_owned());
        check(&source).into_iter().map(|finding| (finding.line, finding.text)).collect()
    }

    #[test]
    fn unsafe_stands_only_in_the_named_files() {
        let text = "fn f() { unsafe { g() } }";
        assert_eq!(errors("netflow-user/src/agent.rs", text).len(), 1);
        assert_eq!(errors("netflow-user/src/kernel/bpf_call.rs", text), []);
        assert_eq!(errors("netflow-user/src/agent.rs", "#![allow(unsafe_code, reason = \"x\")]"), []);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_comments() {
        let text = concat!("fn f() {\n    todo!()\n}\n// FIX", "ME later\nlet s = \"dbg!\";\n");
        let lines: Vec<usize> = errors("a.rs", text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [2, 4]);
    }

    #[test]
    fn ignored_tests_and_silenced_lints_give_a_reason() {
        let name =
            |text| errors("a.rs", text).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", ");
        assert_eq!(name("#[ignore]\nfn f() {}"), "`#[ignore]` gives no reason");
        assert_eq!(name("#[ignore = \"\"]"), "`#[ignore]` gives no reason");
        assert_eq!(name("#[ignore = \"needs root\"]"), "");
        assert_eq!(name("#[allow(dead_code)]"), "`#[allow]` gives no reason");
        assert_eq!(name("#![expect(\n    dead_code,\n    reason = \"x\"\n)]"), "");
        assert_eq!(name("#[expect(dead_code, reason = \"\")]"), "`#[expect]` gives no reason");
        assert_eq!(name("#[cfg_attr(test, allow(dead_code))]"), "`#[allow]` gives no reason");
        assert_eq!(name("option.expect(1); allow(2);"), "");
    }

    #[test]
    fn workplaces_are_found_in_any_file() {
        let text = "see\n/home/me/netflow/README.md\n";
        assert_eq!(
            check_paths(text, "/home/me/netflow").iter().map(|finding| finding.line).collect::<Vec<_>>(),
            [2]
        );
        assert_eq!(check_paths("../shared/pcaps", "/home/me/netflow"), []);
    }
}
