//! Rust text as the rules read it: code without comments and literals, functions with their lengths, tests set apart.
//!
//! A lexer for just that, not a parser: it knows where comments, strings and braces begin and end. What a macro makes
//! of its tokens it does not know.

use std::ops::RangeInclusive;

/// One Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The file with comments and literals blanked; lines and columns as in the file.
    pub code: String,
    /// The whole file is compiled for tests only.
    pub is_test: bool,
    tests: Vec<RangeInclusive<usize>>,
    lines: usize,
}

/// A function with a body.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Function<'a> {
    pub name: &'a str,
    /// Of its `fn`, from 1.
    pub line: usize,
    /// From its `fn` to its closing brace.
    pub lines: usize,
}

impl Source {
    pub(crate) fn of(text: &str) -> Self {
        let code = blank(text);
        let tests = test_items(&code);
        Self {
            lines: text.lines().count(),
            code,
            is_test: false,
            tests,
        }
    }

    /// Whether the line (from 1) is compiled for tests only.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test || self.tests.iter().any(|item| item.contains(&line))
    }

    /// Lines outside tests, comments and blank ones included.
    pub(crate) fn production_lines(&self) -> usize {
        (1..=self.lines)
            .filter(|line| !self.is_test_line(*line))
            .count()
    }

    /// The lines of code with their numbers from 1, without those of tests.
    pub(crate) fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.all().filter(|(line, _)| !self.is_test_line(*line))
    }

    /// The lines of code with their numbers from 1.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }

    /// Every function with a body, tests included.
    pub(crate) fn functions(&self) -> Vec<Function<'_>> {
        let code = &self.code;
        words(code, "fn")
            .filter_map(|at| function_at(code, at))
            .collect()
    }

    /// The files that this one, at `path`, declares as modules for tests only.
    pub(crate) fn test_files(&self, path: &str) -> Vec<String> {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let stem = file.trim_end_matches(".rs");
        let below = match stem {
            "lib" | "main" | "mod" => folder.to_owned(),
            stem => format!("{folder}/{stem}"),
        };
        let mut files = Vec::new();
        for (_, line) in self.all().filter(|(line, _)| self.is_test_line(*line)) {
            let declared = line
                .trim()
                .strip_prefix("mod ")
                .and_then(|m| m.strip_suffix(';'));
            if let Some(module) = declared {
                files.push(format!("{below}/{module}.rs"));
                files.push(format!("{below}/{module}/mod.rs"));
            }
        }
        files
    }
}

/// Where `word` stands by itself, as byte offsets.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let before = code.get(..*at).and_then(|s| s.chars().next_back());
            let after = code.get(at + word.len()..).and_then(|s| s.chars().next());
            !before.is_some_and(part) && !after.is_some_and(part)
        })
}

fn function_at(code: &str, at: usize) -> Option<Function<'_>> {
    let rest = code.get(at + 2..)?.trim_start();
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let name = rest.get(..end).filter(|name| !name.is_empty())?;
    let close = item_end(code, at)?;
    if code.as_bytes().get(close) != Some(&b'}') {
        return None;
    }
    let line = line_of(code, at);
    Some(Function {
        name,
        line,
        lines: line_of(code, close) - line + 1,
    })
}

/// The items under `#[cfg(test)]`, as ranges of lines.
fn test_items(code: &str) -> Vec<RangeInclusive<usize>> {
    let attributes = code
        .match_indices("#[cfg(test)]")
        .chain(code.match_indices("#[cfg(all(test"));
    attributes
        .filter_map(|(at, attribute)| {
            let end = item_end(code, at + attribute.len())?;
            Some(line_of(code, at)..=line_of(code, end))
        })
        .collect()
}

/// The end of the item that begins at `from`: its closing brace, or the semicolon of one without a body.
fn item_end(code: &str, from: usize) -> Option<usize> {
    let (mut braces, mut others) = (0_u32, 0_u32);
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' => braces += 1,
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && others == 0 {
                    return Some(at);
                }
            }
            b'(' | b'[' => others += 1,
            b')' | b']' => others = others.saturating_sub(1),
            b';' if braces == 0 && others == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn line_of(code: &str, at: usize) -> usize {
    code.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// Puts spaces in place of comments and of strings and characters, quotes included.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = out
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_');
        let taken = if word { 0 } else { hidden(rest) };
        let (piece, after) = match taken {
            0 => rest.split_at(first.len_utf8()),
            taken => rest.split_at(taken),
        };
        match taken {
            0 => out.push_str(piece),
            _ => out.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
        }
        rest = after;
    }
    out
}

/// How many bytes of a comment or literal `rest` begins with.
fn hidden(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    let letters = rest.find(|c: char| !"bcr".contains(c)).unwrap_or(0);
    let (prefix, body) = rest.split_at(letters);
    if letters > 2 {
        return 0;
    }
    if prefix.contains('r') {
        let fence = body.find(|c| c != '#').unwrap_or(0);
        let end = format!("\"{}", "#".repeat(fence));
        let Some(raw) = body.get(fence..).and_then(|b| b.strip_prefix('"')) else {
            return 0;
        };
        return match raw.find(&end) {
            Some(at) => letters + fence + 1 + at + end.len(),
            None => rest.len(),
        };
    }
    if body.starts_with('"') {
        return letters + quoted(body);
    }
    if prefix == "b" && body.starts_with('\'') {
        1 + character(body)
    } else {
        0
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while let Some(here) = rest.get(at..).filter(|here| !here.is_empty()) {
        let step = match here {
            h if h.starts_with("/*") => {
                depth += 1;
                2
            }
            h if h.starts_with("*/") => {
                depth -= 1;
                2
            }
            h => h.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal, or nothing for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            let _escaped = chars.next();
            chars.find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_code_is_not() {
        let text = "let a = \"// \\\" fn\"; // fn\nlet b: &'a str = r#\"\"fn\"#; /* fn /* fn */ fn */ b'{'";
        let code = blank(text);
        assert_eq!(words(&code, "fn").count(), 0, "{code}");
        assert!(code.contains("&'a str") && code.contains("let b"), "{code}");
        assert!(!code.contains('{'));
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn functions_are_measured_from_their_name_to_their_brace() {
        let source = Source::of(
            "fn a() {\n}\n\ntrait T {\n    fn b(&self);\n    fn c(x: [u8; 2]) {\n        x;\n    }\n}",
        );
        let a = Function {
            name: "a",
            line: 1,
            lines: 2,
        };
        let c = Function {
            name: "c",
            line: 6,
            lines: 3,
        };
        assert_eq!(source.functions(), [a, c]);
    }

    #[test]
    fn lines_of_tests_do_not_count() {
        let source =
            Source::of("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n");
        assert_eq!(source.production_lines(), 2);
    }

    #[test]
    fn a_module_for_tests_makes_its_file_a_test() {
        let source = Source::of("#[cfg(test)]\nmod net;\nmod live;\n");
        assert!(
            source
                .test_files("speaker/src/main.rs")
                .contains(&"speaker/src/net.rs".to_owned())
        );
        assert!(
            source
                .test_files("x/src/a.rs")
                .contains(&"x/src/a/net.rs".to_owned())
        );
        assert!(
            !source
                .test_files("x/src/a.rs")
                .iter()
                .any(|file| file.contains("live"))
        );
    }
}
