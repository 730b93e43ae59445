//! One event as a line.
//!
//! JSON keys are in alphabetical order, as MetalLB's are; `caller`, `level` and `ts` always stand there. A field
//! whose `Debug` text is a JSON list of texts, as that of a list of `String`s, is shown as a list. What is long is cut: whoever may write
//! an object must not fill a disk with what stands in it.

use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// An event's parts.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) caller: String,
    pub(super) message: String,
    pub(super) fields: BTreeMap<&'static str, Value>,
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut line = Self {
            level: *metadata.level(),
            caller: caller(metadata.file(), metadata.line()),
            message: String::new(),
            fields: BTreeMap::new(),
        };
        event.record(&mut line);
        line
    }

    /// Tells of lines that were left out.
    pub(super) fn cut_short(lines: u64) -> Self {
        Self {
            level: Level::WARN,
            caller: caller(Some(file!()), Some(line!())),
            message: "log lines left out: too many in one second".to_owned(),
            fields: BTreeMap::from([("lines", lines.into())]),
        }
    }

    /// All of it but its time.
    pub(super) fn identity(&self) -> String {
        let mut identity = format!("{} {}", self.caller, self.message);
        for (key, value) in &self.fields {
            write!(identity, " {key}={value}").expect("a String takes all text");
        }
        identity
    }

    pub(super) fn json(&self, now: SystemTime) -> String {
        let own = [
            ("caller", self.caller.clone()),
            ("level", word(self.level).into()),
            ("ts", time(now)),
        ];
        let message = Some(("msg", self.message.clone())).filter(|(_, text)| !text.is_empty());
        let own = own
            .into_iter()
            .chain(message)
            .map(|(key, text)| (key, Value::from(text)));
        let fields = self.fields.iter().map(|(key, value)| (*key, value.clone()));
        let keys: BTreeMap<&str, Value> = fields.chain(own).collect();
        let mut text = serde_json::to_string(&keys).expect("texts and numbers are JSON");
        text.push('\n');
        text
    }

    pub(super) fn text(&self, now: SystemTime, coloured: bool) -> String {
        let paint = |code: &str, text: &str| {
            if coloured {
                format!("\x1b[{code}m{text}\x1b[0m")
            } else {
                text.to_owned()
            }
        };
        let time = time(now);
        let clock = time
            .split_once('T')
            .map_or(time.as_str(), |(_, clock)| clock);
        let level = format!("{:5}", word(self.level).to_uppercase());
        let mut text = format!(
            "{} {} {}",
            paint("2", clock),
            paint(colour(self.level), &level),
            plain(&self.message)
        );
        for (key, value) in &self.fields {
            let key = paint("2", &format!("{key}="));
            write!(text, "  {key}{}", shown(value)).expect("a String takes all text");
        }
        writeln!(text, "  {}", paint("2", &self.caller)).expect("a String takes all text");
        text
    }

    fn set(&mut self, field: &Field, value: Value) {
        match (field.name(), bounded(value)) {
            ("message", Value::String(text)) => self.message = text,
            ("message", value) => self.message = value.to_string(),
            (name, value) => {
                self.fields.insert(name, value);
            }
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        let list: Option<Vec<String>> = if text.starts_with('[') {
            serde_json::from_str(&text).ok()
        } else {
            None
        };
        self.set(field, list.map_or_else(|| text.into(), Value::from));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            write!(text, ": {error}").expect("a String takes all text");
            cause = error.source();
        }
        self.set(field, text.into());
    }
}

/// The value as it is written: texts to [`TEXT_BYTES_MAX`], lists to [`ITEMS_MAX`], and how much was left out.
fn bounded(value: Value) -> Value {
    match value {
        Value::String(text) => cut(text).into(),
        Value::Array(mut items) => {
            let more = items.len().saturating_sub(ITEMS_MAX);
            items.truncate(ITEMS_MAX);
            let mut items: Vec<Value> = items.into_iter().map(bounded).collect();
            if more > 0 {
                items.push(format!("… {more} more").into());
            }
            items.into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value,
    }
}

fn cut(mut text: String) -> String {
    let bytes = text.len();
    if bytes > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        write!(text, "… {} more bytes", bytes - text.len()).expect("a String takes all text");
    }
    text
}

/// Several times what the longest text of ours has without what others wrote.
pub(super) const TEXT_BYTES_MAX: usize = 4096;
/// More than a service or a pool has of anything that is told.
const ITEMS_MAX: usize = 64;

/// `report/log.rs:12`: the path within `src`.
fn caller(file: Option<&str>, line: Option<u32>) -> String {
    let file = file.unwrap_or("?");
    let within = file.rsplit_once("src/").map_or(file, |(_, within)| within);
    match line {
        Some(line) => format!("{within}:{line}"),
        None => within.to_owned(),
    }
}

/// RFC 3339, UTC, milliseconds.
fn time(now: SystemTime) -> String {
    let timestamp = Timestamp::try_from(now).unwrap_or_default();
    format!("{timestamp:.3}")
}

/// A field's value for people: quoted only where it would be misread.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() || text.contains([' ', '"']) => {
            plain(&value.to_string())
        }
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            plain(&value.to_string())
        }
    }
}

/// A terminal must not act on what someone else wrote.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn word(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::TRACE | Level::DEBUG => "2",
        Level::INFO => "32",
        Level::WARN => "33",
        Level::ERROR => "1;31",
    }
}
