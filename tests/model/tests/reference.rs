//! Reference pages that are made from files: the fields of the resources from their schemas, the events of the log from the sources.
//!
//! `UPDATE_EXPECT=1` writes `docs/reference/resources.md` and `docs/reference/log.md` anew.

use serde::Deserialize as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_reference_of_resources_is_what_their_schemas_say() {
    let mut page = String::from(RESOURCES);
    for file in files("deploy/crds", "yaml") {
        let text = fs::read_to_string(&file).unwrap();
        for document in serde_norway::Deserializer::from_str(&text) {
            resource(&Value::deserialize(document).unwrap(), &mut page);
        }
    }
    compare("resources.md", &page);
}

#[test]
fn the_reference_of_the_log_is_what_is_written_there() {
    let mut page = String::from(LOG);
    let mut events: BTreeMap<String, Line> = BTreeMap::new();
    for file in files("speaker/src", "rs") {
        if file.to_string_lossy().ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (name, line) in calls(code) {
            let event = events.entry(name).or_default();
            event.levels.extend(line.levels);
            event.fields.extend(line.fields);
            event.messages.extend(line.messages);
        }
    }
    assert!(events.len() > 50, "{:?}", events.keys());
    let list = |items: &BTreeSet<String>| items.iter().cloned().collect::<Vec<_>>().join(", ");
    for (name, line) in &events {
        let fields: BTreeSet<String> = line
            .fields
            .iter()
            .map(|field| format!("`{field}`"))
            .collect();
        let messages = list(&line.messages).replace('|', "\\|");
        writeln!(
            page,
            "| `{name}` | {} | {} | {messages} |",
            list(&line.levels),
            list(&fields)
        )
        .unwrap();
    }
    compare("log.md", &page);
}

fn resource(definition: &Value, page: &mut String) {
    let spec = &definition["spec"];
    let (group, kind) = (&spec["group"], &spec["names"]["kind"]);
    for version in spec["versions"].as_array().unwrap() {
        let name = format!("{}/{}", text(group), text(&version["name"]));
        writeln!(page, "\n## {} ({name})\n", text(kind)).unwrap();
        let schema = &version["schema"]["openAPIV3Schema"];
        if version["deprecated"] == true {
            page.push_str("Deprecated.\n\n");
        }
        page.push_str("| field | type | default | |\n|---|---|---|---|\n");
        for part in ["spec", "status"] {
            fields(&schema["properties"][part], part, page);
        }
    }
}

/// A row for each field, and for those within it.
fn fields(schema: &Value, path: &str, page: &mut String) {
    if schema.is_null() {
        return;
    }
    let default = match &schema["default"] {
        Value::Null => String::new(),
        default => format!("`{default}`"),
    };
    let words = schema["enum"].as_array().into_iter().flatten();
    let words: Vec<String> = words.map(|word| format!("`{}`", text(word))).collect();
    let mut about = text(&schema["description"]).replace('\n', " ");
    if !words.is_empty() {
        write!(about, " One of {}.", words.join(", ")).unwrap();
    }
    let about = about.replace('|', "\\|").replace('*', "\\*");
    writeln!(
        page,
        "| `{path}` | {} | {default} | {about} |",
        kind(schema)
    )
    .unwrap();
    // Kubernetes' own types are in its reference.
    if OF_KUBERNETES.iter().any(|end| path.ends_with(end)) {
        return;
    }
    let (inner, path) = match schema["type"].as_str() {
        Some("array") => (&schema["items"], format!("{path}[]")),
        _ => (schema, path.to_owned()),
    };
    for (name, field) in inner["properties"].as_object().into_iter().flatten() {
        fields(field, &format!("{path}.{name}"), page);
    }
}

fn kind(schema: &Value) -> String {
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some("object") if !schema["additionalProperties"].is_null() => "map".to_owned(),
        Some(plain) => plain.to_owned(),
        None => "integer or string".to_owned(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().trim().to_owned()
}

/// What is known of an event's lines.
#[derive(Default)]
struct Line {
    levels: BTreeSet<String>,
    fields: BTreeSet<String>,
    messages: BTreeSet<String>,
}

/// Every call that logs an event by a name that stands there.
fn calls(code: &str) -> Vec<(String, Line)> {
    let mut found = Vec::new();
    for (at, begin) in code.match_indices("tracing::") {
        let rest = &code[at + begin.len()..];
        let Some((level, rest)) = rest.split_once("!(") else {
            continue;
        };
        if !["trace", "debug", "info", "warn", "error"].contains(&level) {
            continue;
        }
        let parts = parts(rest);
        let name = parts
            .iter()
            .find_map(|part| part.strip_prefix("event = \""));
        let Some(name) = name.and_then(|name| name.strip_suffix('"')) else {
            continue;
        };
        let mut line = Line::default();
        line.levels.insert(level.to_owned());
        for part in parts.iter().filter(|part| !part.starts_with("event =")) {
            if let Some(message) = part.strip_prefix('"') {
                // A message over several lines goes on after its indentation.
                let message = message
                    .trim_end_matches('"')
                    .split("\\\n")
                    .map(str::trim_start);
                line.messages.insert(message.collect::<Vec<_>>().join(""));
                break;
            }
            let field = part.split(['=', '.']).next().unwrap_or(part);
            line.fields
                .insert(field.trim().trim_start_matches(['%', '?']).to_owned());
        }
        found.push((name.to_owned(), line));
    }
    found
}

/// The arguments of a call, which begin here, parted at commas outside of brackets and literals.
pub(super) fn parts(rest: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut depth, mut is_literal, mut is_escaped) =
        (Vec::new(), 0, 0, false, false);
    for (at, c) in rest.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_literal => is_escaped = true,
            '"' => is_literal = !is_literal,
            _ if is_literal => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                parts.push(rest[begin..at].trim());
                break;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(rest[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

pub(super) fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|own| own == end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
pub(super) fn compare(name: &str, page: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, page).unwrap();
    }
    let stands = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == page,
        "docs/reference/{name} is not what the files say; UPDATE_EXPECT=1 writes it, to be read before it is committed"
    );
}

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Ends of paths below which Kubernetes' types are.
const OF_KUBERNETES: [&str; 5] = [
    ".affinity",
    ".resources",
    "Tolerations",
    "Selector",
    "Selectors",
];

const RESOURCES: &str = "# Fields of the resources

Made from `deploy/crds` by a test; change those, not this page. What each does here is in [metallb.md](../metallb.md), [bgp.md](../bgp.md), [bfd.md](../bfd.md) and
[operator.md](../operator.md). Fields below selectors, affinities, tolerations and resources are Kubernetes' own.
";

const LOG: &str = "# Events of the log

Made from the sources by a test; change those, not this page. A line of the log has the name under `event`, the fields beside it, and the message under `msg`. Events
whose names the code computes are elsewhere: what happens to a VIP in [layer2.md](../layer2.md#what-an-operator-sees), what happens to a service in [reasons.md](../reasons.md).

| event | level | fields | message |
|---|---|---|---|
";
