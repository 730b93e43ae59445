//! The house rules that neither the compiler nor clippy knows, as functions from the repository's files to findings.
//!
//! A rule sees text only: [`rust::Source`] blanks comments and literals, so that a rule reads code and not prose. Rules
//! know nothing of each other, of git, or of how they are run; each has tests that plant a violation and see it found.

mod claims;
mod commands;
mod compat;
mod deny;
mod docs;
mod forbidden;
mod imports;
mod interop;
mod places;
mod rust;
mod scenarios;
mod sizes;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use commands::{Help, commands_exist};
pub(crate) use deny::dependencies;
pub(crate) use sizes::{RATCHET, rises};

use anyhow::{Context, Result};
use rust::Source;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

/// One place where a house rule is broken.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Finding {
    /// The file, relative to the repository.
    pub path: String,
    /// Counted from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// What is wrong and, where it is not plain, what to do instead.
    pub what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what } = self;
        match line {
            0 => write!(f, "{path}: {what}"),
            line => write!(f, "{path}:{line}: {what}"),
        }
    }
}

/// A rule over the files alone.
pub(crate) struct Rule {
    /// What it asks for, as a fact.
    pub name: &'static str,
    /// Where it is broken.
    pub find: fn(&Tree) -> Vec<Finding>,
}

/// All rules over files, in the order they are reported.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "files and functions are short",
        find: sizes::short,
    },
    Rule {
        name: "every file says what it is for",
        find: words::module_docs,
    },
    Rule {
        name: "the shell's parts do not import each other",
        find: imports::shell,
    },
    Rule {
        name: "proto and core forbid unsafe code",
        find: imports::forbid_unsafe,
    },
    Rule {
        name: "clock, chance and sleep stay in drive",
        find: forbidden::clocks,
    },
    Rule {
        name: "no order of a hash is ever seen",
        find: forbidden::hashes,
    },
    Rule {
        name: "unsafe stays in its files",
        find: forbidden::unsafe_code,
    },
    Rule {
        name: "lints are expected, never allowed",
        find: forbidden::allows,
    },
    Rule {
        name: "kernel maps and packets have one place",
        find: forbidden::raw_kernel,
    },
    Rule {
        name: "no macros, no globs, no drawers",
        find: words::plain,
    },
    Rule {
        name: "no leftover markers",
        find: words::markers,
    },
    Rule {
        name: "no place of one machine",
        find: places::machines,
    },
    Rule {
        name: "every scenario is complete",
        find: scenarios::complete,
    },
    Rule {
        name: "every test of MetalLB's has one of ours",
        find: compat::covered,
    },
    Rule {
        name: "every feature is tried with every router, or it is said why not",
        find: interop::tried,
    },
    Rule {
        name: "every claim of security has its test",
        find: claims::shown,
    },
    Rule {
        name: "every rule of layer 2 has a test of its number",
        find: claims::numbered,
    },
    Rule {
        name: "links in documents resolve",
        find: docs::links,
    },
    Rule {
        name: "paths in documents exist",
        find: docs::paths,
    },
    Rule {
        name: "documents that sources name exist",
        find: docs::mentions,
    },
    Rule {
        name: "every reason is documented",
        find: docs::reasons,
    },
    Rule {
        name: "every metric is documented",
        find: docs::metrics,
    },
];

/// The repository's text files, by path.
#[derive(Debug)]
pub(crate) struct Tree {
    texts: BTreeMap<String, String>,
    sources: BTreeMap<String, Source>,
    /// Every path, also of files that are not text, and of folders.
    paths: Vec<String>,
}

impl Tree {
    /// Reads everything below `root` but what builds and version control leave there.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self {
            texts: BTreeMap::new(),
            sources: BTreeMap::new(),
            paths: Vec::new(),
        };
        tree.walk(root, "")?;
        tree.mark_test_files();
        Ok(tree)
    }

    fn walk(&mut self, root: &Path, below: &str) -> Result<()> {
        let folder = root.join(below);
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("failed to list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            let path = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            if entry.file_type()?.is_dir() {
                self.walk(root, &path)?;
            } else if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
                self.put(&path, text);
            }
            self.paths.push(path);
        }
        Ok(())
    }

    fn put(&mut self, path: &str, text: String) {
        if path.ends_with(".rs") {
            self.sources.insert(path.to_owned(), Source::of(&text));
        }
        self.texts.insert(path.to_owned(), text);
    }

    /// A file is a test when its name says so or its parent declares it under `#[cfg(test)]`.
    fn mark_test_files(&mut self) {
        let declared: Vec<String> = self
            .sources
            .iter()
            .flat_map(|(path, source)| source.test_files(path))
            .collect();
        for (path, source) in &mut self.sources {
            let named = path.contains("/tests/")
                || path.ends_with("/tests.rs")
                || path.ends_with("_tests.rs");
            if named || declared.contains(path) {
                source.is_test = true;
            }
        }
    }

    /// The text files whose path begins and ends so.
    fn texts<'a>(
        &'a self,
        begin: &'a str,
        end: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts
            .iter()
            .filter(move |(path, _)| path.starts_with(begin) && path.ends_with(end))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The Rust files whose path begins so.
    fn sources<'a>(&'a self, begin: &'a str) -> impl Iterator<Item = (&'a str, &'a Source)> {
        self.sources
            .iter()
            .filter(move |(path, _)| path.starts_with(begin))
            .map(|(path, source)| (path.as_str(), source))
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|p| p == path)
    }
}

/// What builds, version control and tests leave behind.
const SKIPPED: &[&str] = &[".git", "target", "proptest-regressions"];
