//! Reference pages that are made from the code: flags, annotations, events of Kubernetes, what the doctor looks for. That of
//! metrics is made where their pages are tested.
//!
//! `UPDATE_EXPECT=1` writes them anew; without it a page that says something else than the code fails.

use crate::settings::args::Cli;
use clap::{Arg, ArgAction, Command, CommandFactory};
use speaker_core::doctor::CHECKS;
use speaker_core::{annotations, events};
use std::fmt::Write;
use std::path::Path;

#[test]
fn the_reference_of_the_command_line_is_what_it_takes() {
    let mut command = Cli::command();
    command.build();
    let mut page = String::from(COMMAND_LINE);
    describe(&command, "speaker", &mut page);
    compare("speaker.md", &page);
}

#[test]
fn the_reference_of_the_doctor_is_what_it_looks_for() {
    let mut page = String::from(DOCTOR);
    for row in CHECKS {
        writeln!(page, "| `{}` | {} |", row.name, row.why).unwrap();
    }
    compare("doctor.md", &page);
}

#[test]
fn the_reference_of_annotations_is_what_is_checked() {
    let mut page = String::from(ANNOTATIONS);
    for row in annotations::TABLE {
        let (key, places, values) = (row.key(), row.places(), row.values());
        let (effect, more) = (row.effect, row.page);
        writeln!(
            page,
            "| `{key}` | {places} | {values} | {effect} ([more](../{more})) |"
        )
        .unwrap();
    }
    compare("annotations.md", &page);
}

#[test]
fn the_reference_of_events_is_what_is_told() {
    let mut page = String::from(EVENTS);
    for reason in events::REASONS {
        let (name, severity, on) = (reason.name, reason.severity.as_str(), reason.on);
        let (by, when) = (reason.by, reason.when);
        writeln!(page, "| `{name}` | {severity} | {on} | {by} | {when} |").unwrap();
    }
    compare("events.md", &page);
}

fn describe(command: &Command, path: &str, page: &mut String) {
    let text = |text: &clap::builder::StyledStr| text.to_string();
    let about = command.get_long_about().or(command.get_about()).map(text);
    writeln!(
        page,
        "\n## `{path}`\n\n{}.",
        about.unwrap_or_default().trim_end_matches('.')
    )
    .unwrap();
    let subcommands: Vec<&Command> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .collect();
    let own = command.get_arguments().filter(|arg| {
        // What all subcommands take is told once, where it is defined.
        !ALWAYS.contains(&arg.get_id().as_str())
            && (!arg.is_global_set() || !subcommands.is_empty())
    });
    let (shown, inert): (Vec<&Arg>, Vec<&Arg>) = own.partition(|arg| !arg.is_hide_set());
    if !shown.is_empty() {
        page.push_str("\n| flag | default | environment | |\n|---|---|---|---|\n");
        shown.iter().for_each(|arg| row(arg, page));
    }
    if !inert.is_empty() {
        let names = inert.iter().filter_map(|arg| arg.get_long());
        let names: Vec<String> = names.map(|name| format!("`--{name}`")).collect();
        writeln!(
            page,
            "\nTaken without effect, as the log says: {}.",
            names.join(", ")
        )
        .unwrap();
    }
    for sub in subcommands {
        describe(sub, &format!("{path} {}", sub.get_name()), page);
    }
}

fn row(arg: &Arg, page: &mut String) {
    let value = arg.get_value_names().and_then(|names| names.first());
    let value = value.filter(|_| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append));
    let name = match (arg.get_short(), arg.get_long(), value) {
        (_, None, value) => value.map_or_else(|| arg.get_id().to_string(), ToString::to_string),
        (short, Some(long), value) => {
            let short = short.map_or_else(String::new, |short| format!("-{short}, "));
            let value = value.map_or_else(String::new, |value| format!(" {value}"));
            format!("{short}--{long}{value}")
        }
    };
    let defaults = arg.get_default_values().iter();
    let defaults: Vec<String> = defaults
        .map(|value| value.to_string_lossy().into_owned())
        .filter(|value| !value.is_empty() && value != "false")
        .map(|value| format!("`{value}`"))
        .collect();
    let env = arg
        .get_env()
        .map_or_else(String::new, |env| format!("`{}`", env.to_string_lossy()));
    let help = arg.get_long_help().or(arg.get_help());
    let mut help = help.map_or_else(String::new, |help| help.to_string());
    let words: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|word| !word.is_hide_set() && !matches!(word.get_name(), "true" | "false"))
        .map(|word| format!("`{}`", word.get_name()))
        .collect();
    if !words.is_empty() {
        write!(help, ": {}", words.join(", ")).unwrap();
    }
    let help = help
        .replace('|', "\\|")
        .replace('*', "\\*")
        .replace('\n', " ");
    writeln!(
        page,
        "| `{name}` | {} | {env} | {help} |",
        defaults.join(" ")
    )
    .unwrap();
}

#[track_caller]
pub(crate) fn compare(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/reference")
        .join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page).unwrap();
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == page,
        "docs/reference/{name} is not what the code says; UPDATE_EXPECT=1 writes it, to be read before it is committed"
    );
}

const ALWAYS: [&str; 2] = ["help", "version"];

const COMMAND_LINE: &str = "# The command line

Made from the definition of the command line by a test; change that, not this page. What each part does is in the other documents, such as
[kubernetes.md](../kubernetes.md), [controller.md](../controller.md), [operator.md](../operator.md) and [doctor.md](../doctor.md). Flags may have one dash or two.
";

const DOCTOR: &str = "# What the doctor looks for

Made from the code by a test; change that, not this page. How to ask it, and what its answers look like, is in [doctor.md](../doctor.md).

| check | why it matters |
|---|---|
";

const ANNOTATIONS: &str = "# Annotations

Made from the code by a test; change that, not this page. MetalLB's own annotations, `metallb.io/…`, are in [metallb.md](../metallb.md#allocation). The ones below are
ours. They are optional: without them everything is as with MetalLB.

On configuration objects a bad annotation is refused like a bad field. On a Service it is a problem in log and status, and the service behaves as if the annotation were
absent. A key under `heliograph.io/` that is not in the table is a problem which names the nearest one that is.

| key | where | value | effect |
|---|---|---|---|
";

const EVENTS: &str = "# Events of Kubernetes

Made from the code by a test; change that, not this page. What `kubectl describe` shows of an object. Reasons and sources (`metallb-controller`, `metallb-speaker`) are
MetalLB's where it has the same event; each is told on change and not at every look, and equal ones are counted up. Events of the log are in [log.md](log.md).

| reason | type | on | by | when |
|---|---|---|---|---|
";
