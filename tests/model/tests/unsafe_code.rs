//! Every piece of unsafe code of the product, with the reason that stands beside it: `docs/reference/unsafe.md`.
//!
//! Made from the sources; `UPDATE_EXPECT=1` writes it anew. Which files may have any is a rule of `cargo xtask check tidy`.

use super::reference::{compare, files, root};
use std::fmt::Write;
use std::fs;

#[test]
fn every_unsafe_has_its_reason_and_is_listed_with_it() {
    let mut page = String::from(HEAD);
    let mut count = 0;
    for file in [files("speaker/src", "rs"), files("speaker-ebpf/src", "rs")].concat() {
        let text = fs::read_to_string(&file).unwrap();
        let place = file.strip_prefix(root()).unwrap().display().to_string();
        if place.contains("/bench/") {
            continue;
        }
        let rows = rows(&text);
        count += rows.len();
        for (within, reason) in rows {
            let reason = reason.unwrap_or_else(|| panic!("{place}: {within} has no reason"));
            writeln!(
                page,
                "| `{place}` | `{within}` | {} |",
                reason.replace('|', "\\|")
            )
            .unwrap();
        }
    }
    assert!(count > 40, "only {count}");
    compare("unsafe.md", &page);
}

#[test]
fn an_unsafe_is_found_with_the_comment_before_it() {
    let text = "fn a() {\n    // SAFETY: it is\n    // sound.\n    let x = unsafe {\n        y()\n    };\n}\n// SAFETY: Be careful.\nunsafe impl Send for S {}\nfn c() {\n    unsafe { d() }\n}\n";
    let found = rows(text);
    let expected = [
        ("a", Some("it is sound.")),
        ("S", Some("Be careful.")),
        ("c", None),
    ];
    let found: Vec<(&str, Option<&str>)> = found
        .iter()
        .map(|(within, reason)| (within.as_str(), reason.as_deref()))
        .collect();
    assert_eq!(found, expected);
}

/// Where each `unsafe` of a file is, tests left out, and what is said before it.
fn rows(text: &str) -> Vec<(String, Option<String>)> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines: Vec<&str> = code.lines().collect();
    let mut within = "the file".to_owned();
    let mut rows = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        if let Some(name) = name_of(line) {
            within = name.to_owned();
        }
        if KINDS.iter().any(|kind| line.contains(kind)) {
            let what = match line.contains("#[unsafe(") {
                // What it marks comes after it.
                true => lines[at..].iter().find_map(|line| name_of(line)),
                false => None,
            };
            let within = what.map_or_else(|| within.clone(), str::to_owned);
            let row = (within, reason(line, &lines[..at]));
            // Two marks of one thing are one row.
            if rows.last() != Some(&row) {
                rows.push(row);
            }
        }
    }
    rows
}

/// The name of the function or static that a line begins, or the type that it is about.
fn name_of(line: &str) -> Option<&str> {
    let (_, rest) = [
        "fn ",
        "static mut ",
        "static ",
        "unsafe impl Send for ",
        "unsafe impl Sync for ",
    ]
    .iter()
    .find_map(|word| line.split_once(word))?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0).then(|| &rest[..end])
}

/// The last comment of safety before here, in the same function; of a mark, what is said of the thing that it marks.
fn reason(line: &str, before: &[&str]) -> Option<String> {
    if line.contains("#[unsafe(") {
        let above = before.iter().rev();
        let above = above.take_while(|line| line.starts_with("#[") || line.starts_with("///"));
        let mut words: Vec<&str> = above.filter_map(|line| line.strip_prefix("/// ")).collect();
        words.reverse();
        return (!words.is_empty()).then(|| words.join(" "));
    }
    let is_begin = |before: &&str| match line.contains("unsafe {") {
        true => before.contains("fn "),
        false => before.starts_with('}'),
    };
    let begin = before.iter().rposition(is_begin).map_or(0, |at| at + 1);
    let near = &before[begin..];
    let at = near.iter().rposition(|line| line.contains("// SAFETY: "))?;
    let text = |line: &str| line.trim_start().trim_start_matches('/').trim().to_owned();
    let comment = near[at..]
        .iter()
        .take_while(|line| line.trim_start().starts_with("//"));
    let words: Vec<String> = comment
        .map(|line| text(line))
        .filter(|line| !line.is_empty())
        .collect();
    let reason = words.join(" ");
    Some(reason.trim_start_matches("SAFETY: ").to_owned())
}

/// An `unsafe fn` is no use of it: what it does has blocks, and so has whoever calls it.
const KINDS: [&str; 3] = ["unsafe {", "unsafe impl ", "#[unsafe("];

const HEAD: &str = "# Unsafe code

Made from the sources by a test; change those, not this page. All that the product has, and the reason that stands beside each use; the core and the protocols
forbid it to themselves. Which files may have any is named in `xtask/src/tidy/forbidden.rs`.

| file | within | why it is sound |
|---|---|---|
";
