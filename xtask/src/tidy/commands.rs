//! Commands and flags that documents name exist: `--help` of the real programs says so.

use super::{Finding, Tree};
use anyhow::Result;
use std::collections::BTreeMap;

/// Asks a program (`xtask`, `speaker`) for the help of a subcommand's path.
pub(crate) trait Help {
    /// The text of `--help`.
    ///
    /// # Errors
    /// When the program cannot be run.
    fn help(&mut self, program: &str, path: &[String]) -> Result<String>;
}

/// Subcommands and flags in Markdown that the programs do not know.
///
/// # Errors
/// As [`Help::help`].
pub(crate) fn commands_exist(tree: &Tree, help: &mut dyn Help) -> Result<Vec<Finding>> {
    let mut asked = Asked {
        help,
        texts: BTreeMap::new(),
    };
    let mut findings = Vec::new();
    for (path, text) in tree.texts("", ".md") {
        for (line, code) in code(text) {
            for command in commands(code) {
                let unknown = asked.unknown(&command)?;
                findings.extend(unknown.map(|what| Finding::new(path, line, what)));
            }
        }
    }
    Ok(findings)
}

struct Asked<'a> {
    help: &'a mut dyn Help,
    texts: BTreeMap<Vec<String>, String>,
}

impl Asked<'_> {
    fn text(&mut self, program: &str, path: &[String]) -> Result<&str> {
        let key: Vec<String> = std::iter::once(program.to_owned())
            .chain(path.to_vec())
            .collect();
        if !self.texts.contains_key(&key) {
            let text = self.help.help(program, path)?;
            self.texts.insert(key.clone(), text);
        }
        Ok(self.texts.get(&key).map_or("", String::as_str))
    }

    /// What of the command does not exist.
    fn unknown(&mut self, command: &Command<'_>) -> Result<Option<String>> {
        let mut path: Vec<String> = Vec::new();
        let mut is_value = false;
        for word in &command.words {
            let text = self.text(command.program, &path)?;
            if let Some(flag) = flag(word) {
                if !ALWAYS.contains(&flag) && !has_flag(text, flag) {
                    let at = path.join(" ");
                    return Ok(Some(format!(
                        "`{} {at}` has no flag {flag}",
                        command.program
                    )));
                }
                is_value = !word.contains('=');
                continue;
            }
            let subcommands = subcommands(text);
            if subcommands.iter().any(|sub| sub == word) {
                path.push((*word).to_owned());
            } else if !subcommands.is_empty()
                && !is_value
                && is_subcommand_like(word)
                && !takes_words(text)
            {
                return Ok(Some(format!(
                    "`{}` has no subcommand {word}",
                    command.program
                )));
            }
            is_value = false;
        }
        Ok(None)
    }
}

struct Command<'a> {
    program: &'static str,
    words: Vec<&'a str>,
}

/// Lines of fenced or indented blocks and pieces between back-ticks, with their lines from 1.
pub(super) fn code(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut is_code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if is_code || line.starts_with("    ") {
            found.push((at + 1, line));
        } else {
            found.extend(
                line.split('`')
                    .skip(1)
                    .step_by(2)
                    .map(|piece| (at + 1, piece)),
            );
        }
    }
    found
}

/// The commands of ours that a piece of code runs; one word alone is a name, not a command.
fn commands(code: &str) -> Vec<Command<'_>> {
    let mut commands = Vec::new();
    let mut rest = code;
    while let Some((piece, after)) = next_piece(rest) {
        commands.extend(command(piece));
        rest = after;
    }
    commands
}

/// What stands before the next pipe, semicolon, `&&` or comment outside quotes, and what after it.
fn next_piece(code: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in code.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | ';' | '&') => return Some((code.get(..at)?, code.get(at + 1..)?)),
            (None, '#') if at > 0 => return Some((code.get(..at)?, "")),
            (Some(_) | None, _) => {}
        }
    }
    (!code.is_empty()).then_some((code, ""))
}

fn command(piece: &str) -> Option<Command<'_>> {
    let mut words = piece.split_whitespace().peekable();
    while words
        .next_if(|word| BEFORE.contains(word) || is_variable(word))
        .is_some()
    {}
    let program = match words.next()? {
        "cargo" => {
            words.next_if_eq(&"xtask")?;
            "xtask"
        }
        name if name == "speaker" || name.ends_with("/speaker") => "speaker",
        _ => return None,
    };
    let words: Vec<&str> = words
        .take_while(|word| !ENDS.contains(word) && !word.contains(['\'', '"']))
        .collect();
    let is_command = words
        .first()
        .is_some_and(|w| flag(w).is_some() || is_subcommand_like(w));
    is_command.then_some(Command { program, words })
}

fn is_variable(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

fn flag(word: &str) -> Option<&str> {
    let word = word
        .trim_start_matches('[')
        .trim_end_matches([']', ',', '.']);
    let name = word.split('=').next().unwrap_or(word);
    let body = name.strip_prefix('-')?;
    let letters = body.trim_start_matches('-');
    (!letters.is_empty()
        && letters
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-'))
    .then_some(name)
}

fn is_subcommand_like(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

fn has_flag(help: &str, flag: &str) -> bool {
    help.split(|c: char| c.is_whitespace() || ",=[<".contains(c))
        .any(|word| word == flag)
}

/// Positional arguments stand in the usage line beside the subcommands.
fn takes_words(help: &str) -> bool {
    let usage = help
        .lines()
        .find(|line| line.starts_with("Usage:"))
        .unwrap_or("");
    let words = usage.replace("[OPTIONS]", "").replace("[COMMAND]", "");
    (words.contains('<') || words.contains('[')) && !words.contains("<COMMAND>")
}

/// The names under "Commands:".
fn subcommands(help: &str) -> Vec<&str> {
    help.lines()
        .skip_while(|line| line.trim() != "Commands:")
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|l| !l.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// Where a command's own words end.
const ENDS: &[&str] = &["--", "\\", "…", "...", ">", "2>"];
/// What may stand before a program in an example.
const BEFORE: &[&str] = &["$", "#", "sudo", "exec", "time"];
const ALWAYS: &[&str] = &["--help", "-h", "--version", "-V"];
