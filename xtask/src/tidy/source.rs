//! A Rust file as the checks see it: code without comments and string contents, comments without code, and which
//! lines are tests. A light reading, not a parser: enough for words and paths.

use std::ops::Range;

/// One Rust file.
pub struct Source {
    /// Its name relative to the workspace.
    pub name: String,
    /// The text with comments and the insides of literals replaced by spaces; lines stay where they are.
    pub code: String,
    /// The text of which only comments are left.
    pub comments: String,
    tests: Vec<Range<usize>>,
}

/// A path in the code, such as `crate::record::FlowRecord`, and the line it stands in.
#[derive(Debug, PartialEq, Eq)]
pub struct CodePath {
    pub line: usize,
    pub path: String,
}

impl Source {
    pub fn new(name: &str, text: String) -> Self {
        let (code, comments) = separate(&text);
        let tests = test_ranges(&code);
        Self { name: name.to_owned(), code, comments, tests }
    }

    /// Whether the line belongs to tests: by its file or by `#[cfg(test)]`.
    pub fn is_test(&self, line: usize) -> bool {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        self.name.starts_with("tests/")
            || self.name.contains("/tests/")
            || file == "tests.rs"
            || self.tests.iter().any(|range| range.contains(&line))
    }

    /// Lines in which `word` stands in the code, not as a part of a longer word.
    pub fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code
            .match_indices(word)
            .filter(|(at, _)| stands_alone(&self.code, *at, word))
            .map(|(at, _)| line_at(&self.code, at))
    }

    /// All paths of the code, with `use a::{b, c}` written out as `a::b` and `a::c`.
    pub fn paths(&self) -> Vec<CodePath> {
        let mut paths = Vec::new();
        let mut at = 0;
        while at < self.code.len() {
            at = if starts_identifier(&self.code, at) {
                read_path(&self.code, at, "", &mut paths)
            } else {
                at + 1
            };
        }
        let newlines: Vec<usize> = self.code.match_indices('\n').map(|(at, _)| at).collect();
        let line = |at| newlines.partition_point(|newline| *newline < at) + 1;
        paths.into_iter().map(|(at, path)| CodePath { line: line(at), path }).collect()
    }
}

pub fn line_at(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn stands_alone(code: &str, at: usize, word: &str) -> bool {
    let bytes = code.as_bytes();
    let open_before = at == 0 || !is_word(bytes[at - 1]) || !is_word(bytes[at]);
    let last = word.as_bytes().last().copied().unwrap_or_default();
    let open_after = bytes.get(at + word.len()).is_none_or(|next| !is_word(*next)) || !is_word(last);
    open_before && open_after
}

fn starts_identifier(code: &str, at: usize) -> bool {
    let bytes = code.as_bytes();
    is_word(bytes[at]) && !bytes[at].is_ascii_digit() && (at == 0 || !is_word(bytes[at - 1]))
}

fn skip_spaces(code: &str, at: usize) -> usize {
    at + code.as_bytes()[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Reads the path that begins at `at` behind `prefix`; where it ends. Paths of one segment are no paths.
fn read_path(code: &str, mut at: usize, prefix: &str, paths: &mut Vec<(usize, String)>) -> usize {
    let start = at;
    let mut path = prefix.to_owned();
    loop {
        let end = at + code.as_bytes()[at..].iter().take_while(|byte| is_word(**byte)).count();
        path.push_str(&code[at..end]);
        at = skip_spaces(code, end);
        if !code[at..].starts_with("::") {
            at = end;
            break;
        }
        let next = skip_spaces(code, at + 2);
        path.push_str("::");
        if code[next..].starts_with('{') {
            return read_group(code, next + 1, &path, paths);
        }
        if next == code.len() || !starts_identifier(code, next) {
            at = next + usize::from(code[next..].starts_with('*'));
            break;
        }
        at = next;
    }
    let path = path.trim_end_matches("::").to_owned();
    if path.contains("::") {
        paths.push((start, path));
    }
    at
}

/// Reads the rest of `{...}` behind `prefix`; where it ends.
fn read_group(code: &str, mut at: usize, prefix: &str, paths: &mut Vec<(usize, String)>) -> usize {
    while at < code.len() {
        match code.as_bytes()[at] {
            b'}' => return at + 1,
            b'*' => {
                paths.push((at, prefix.trim_end_matches("::").to_owned()));
                at += 1;
            }
            _ if starts_identifier(code, at) => at = read_path(code, at, prefix, paths),
            _ => at += 1,
        }
    }
    at
}

/// Lines of everything that stands behind `#[cfg(test)]`.
fn test_ranges(code: &str) -> Vec<Range<usize>> {
    let marks = code.match_indices("#[cfg(test)]").chain(code.match_indices("#[cfg(all(test"));
    marks
        .filter_map(|(mark, _)| {
            let open = mark + code[mark..].find(['{', ';'])?;
            let end = if code.as_bytes()[open] == b'{' { closing_brace(code, open) } else { open };
            Some(line_at(code, mark)..line_at(code, end) + 1)
        })
        .collect()
}

fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Code without comments and the insides of literals, and comments without code.
fn separate(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let comment = comment_length(rest);
        let length = if comment > 0 { comment } else { literal_length(rest, code.chars().next_back()) };
        let (taken, after) = rest.split_at(if length > 0 { length } else { first.len_utf8() });
        let blank = |into: &mut String, text: &str| {
            into.extend(text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        };
        if comment > 0 {
            comments.push_str(taken);
            blank(&mut code, taken);
        } else if length > 0 {
            // The quotes stay, so that an empty reason differs from a given one.
            code.push('"');
            blank(&mut code, taken.get(1..taken.len() - 1).unwrap_or_default());
            code.push('"');
            blank(&mut comments, taken);
        } else {
            code.push(first);
            blank(&mut comments, taken);
        }
        rest = after;
    }
    (code, comments)
}

/// Length of the comment that `text` begins with; 0 if it begins with none.
fn comment_length(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if !text.starts_with("/*") {
        return 0;
    }
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" if depth == 1 => return at + 2,
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

/// Length of the string or character literal that `text` begins with; 0 if it begins with none, as a lifetime does.
fn literal_length(text: &str, before: Option<char>) -> usize {
    let is_prefix = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if is_prefix && let Some(length) = raw_string_length(text) {
        return length;
    }
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return 0 };
    if quote == '\'' {
        let mut inside = text[1..].chars();
        let is_character = inside.next().is_some_and(|c| c == '\\') || inside.next() == Some('\'');
        if !is_character {
            return 0;
        }
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string_length(text: &str) -> Option<usize> {
    let behind = ["r", "br", "cr"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let inside = behind[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("netflow-user/src/agent.rs", text.to_owned())
    }

    fn paths(text: &str) -> Vec<String> {
        source(text).paths().into_iter().map(|path| path.path).collect()
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        let source =
            source("a(); // unsafe\n/* un /* nested */ safe */ b(\"todo!()\");\nlet c = r#\"\"dbg!\"#;\n");
        assert!(
            !source.code.contains("unsafe") && !source.code.contains("todo") && !source.code.contains("dbg")
        );
        assert!(
            source.code.contains("a();") && source.code.contains("b(\"") && source.code.contains("let c")
        );
        assert!(source.comments.contains("unsafe") && !source.comments.contains("todo"));
        assert_eq!(source.code.lines().count(), 3);
    }

    #[test]
    fn lifetimes_are_not_character_literals() {
        let source = source("fn f<'a>(x: &'a str) { let q = '\"'; let e = '\\''; unsafe {} }");
        assert_eq!(source.lines_with("unsafe").collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn an_empty_string_differs_from_a_filled_one() {
        assert!(source("#[ignore = \"\"]").code.contains("\"\""));
        assert!(!source("#[ignore = \"x\"]").code.contains("\"\""));
    }

    #[test]
    fn words_inside_words_do_not_count() {
        assert_eq!(source("unsafe_code unsafe\nx_unsafe").lines_with("unsafe").collect::<Vec<_>>(), [1]);
        assert_eq!(source("todo!()").lines_with("todo!").collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn nested_use_groups_are_written_out() {
        assert_eq!(
            paths("use crate::{drain, message::{self, ipfix::Header}, record::*};"),
            ["crate::drain", "crate::message::self", "crate::message::ipfix::Header", "crate::record"]
        );
        assert_eq!(paths("let t = std :: time :: Instant::now();"), ["std::time::Instant::now"]);
        assert_eq!(paths("let v = Vec::<u8>::new();"), Vec::<String>::new());
    }

    #[test]
    fn everything_behind_cfg_test_is_a_test() {
        let source = source("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { { } }\n}\nfn c() {}\n");
        let tests: Vec<usize> = (1..=6).filter(|line| source.is_test(*line)).collect();
        assert_eq!(tests, [2, 3, 4, 5]);
    }
}
