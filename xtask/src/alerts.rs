//! Alerts and dashboard as Prometheus' own tool sees them: it parses every expression, and runs the alerts against the series of
//! their test.
//!
//! The tool is promtool of Debian 12's package, which is not installed, since it would start a server: it is taken apart under
//! `target/prometheus`. Whether a metric exists is not asked here; `tests/model/tests/monitoring.rs` does.

use crate::apt::Archive;
use crate::tools::{output, root, say, target};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Checks that promtool reads every expression, and that every alert fires when its test says so and not else.
///
/// # Errors
/// When one does not, with promtool's words; or when there is no promtool to be had.
pub fn check() -> Result<()> {
    let folder = target().join("alerts");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let alerts: Value = serde_norway::from_str(&read("alerts.yaml")?)?;
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")?)?;
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    for (name, text) in [
        ("rules.json", alerts["spec"].to_string()),
        ("queries.json", recorded(&queries).to_string()),
        ("alerts.test.yaml", read("alerts.test.yaml")?),
    ] {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    }
    let promtool = promtool()?;
    for arguments in [
        ["check", "rules", "rules.json", "queries.json"].as_slice(),
        &["test", "rules", "alerts.test.yaml"],
    ] {
        output(Command::new(&promtool).args(arguments).current_dir(&folder))?;
    }
    Ok(())
}

fn read(name: &str) -> Result<String> {
    let file = root().join("deploy/monitoring").join(name);
    fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))
}

/// Every text under the key `expr`.
fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().filter(|_| name == "expr") {
                    Some(query) => queries.push(query.to_owned()),
                    None => collect(field, queries),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, queries)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The queries as rules, which promtool can read; Grafana's variable as a length of time.
fn recorded(queries: &[String]) -> Value {
    let rules = queries.iter().enumerate().map(|(at, query)| {
        let query = query.replace("$__rate_interval", "5m");
        json!({"record": format!("query:{at}"), "expr": query})
    });
    let rules: Vec<Value> = rules.collect();
    json!({"groups": [{"name": "dashboard", "rules": rules}]})
}

fn promtool() -> Result<PathBuf> {
    let folder = target().join("prometheus");
    let program = folder.join("usr/bin/promtool");
    if !program.is_file() {
        say("taking Prometheus of Debian 12 apart under target/prometheus (once)");
        let archive = Archive::open("prometheus", &[SUITE])?;
        archive
            .unpack(&format!("prometheus/{SUITE}"), &folder)
            .context("alerts are checked with promtool of Debian's package prometheus")?;
    }
    Ok(program)
}

/// Debian 12, whatever the machine runs: so that everyone's checks meet the same version.
const SUITE: &str = "bookworm";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_becomes_a_rule() {
        let dashboard = json!({
            "panels": [{"targets": [{"expr": "up"}, {"expr": "rate(a[$__rate_interval])", "legendFormat": "expr"}]}],
            "title": "expr",
        });
        let mut queries = Vec::new();
        collect(&dashboard, &mut queries);
        let rules = &recorded(&queries)["groups"][0]["rules"];
        let expected = json!([
            {"record": "query:0", "expr": "up"},
            {"record": "query:1", "expr": "rate(a[5m])"},
        ]);
        assert_eq!(rules, &expected);
    }
}
