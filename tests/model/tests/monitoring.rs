//! Alerts, their tests, their runbooks and the dashboard: they name what exists, and they belong together.
//!
//! What exists is what the reference of metrics says, which a test of the speaker makes from its pages. When alerts fire, promtool says
//! (`cargo xtask check alerts`); here it is only asked that each has a case in which it does, and one in which it does not.

mod promql;

use promql::{Query, parse};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_query_names_metrics_and_labels_that_exist() {
    let known = metrics();
    for (place, text) in queries() {
        let query = parse(&text);
        assert!(!query.metrics.is_empty(), "{place}: no metric in {text}");
        for (name, matchers) in &query.metrics {
            let labels = labels(&known, [name], &place);
            for matcher in matchers {
                let label = &matcher.label;
                assert!(labels.contains(label), "{place}: {name} has no {label}");
            }
        }
        let all = labels(&known, query.metrics.iter().map(|(name, _)| name), &place);
        let used = query.by.iter().chain(&query.without).chain(&query.matched);
        for label in used {
            assert!(all.contains(label), "{place}: nothing has {label}");
        }
    }
}

#[test]
fn every_value_that_a_query_asks_for_is_one_that_the_code_gives() {
    let sources = sources();
    for (place, text) in queries() {
        let matchers = parse(&text).metrics.into_iter().flat_map(|(_, all)| all);
        let ours = matchers.filter(|matcher| !OF_TARGETS.contains(&matcher.label.as_str()));
        for value in ours.flat_map(|matcher| matcher.values) {
            let is_given = value.starts_with('$') || sources.contains(&format!("\"{value}\""));
            assert!(is_given, "{place}: nothing is ever called {value}");
        }
    }
}

#[test]
fn every_label_in_a_text_is_one_that_the_query_leaves() {
    let known = metrics();
    let alerts = alerts().into_iter().map(|(name, rule)| {
        let annotations = rule["annotations"].to_string();
        (
            name,
            text(&rule["expr"]),
            placeholders(&annotations, "$labels."),
        )
    });
    let mut panels = Vec::new();
    each(&dashboard(), &mut |object| {
        if object["expr"].is_string() {
            let legend = placeholders(&text(&object["legendFormat"]), "");
            panels.push((text(&object["expr"]), legend));
        }
    });
    let panels = panels.into_iter();
    let panels = panels.map(|(expression, legend)| (expression.clone(), expression, legend));
    for (place, expression, used) in alerts.chain(panels) {
        let left = left(&known, &parse(&expression), &place);
        for label in used {
            assert!(left.contains(&label), "{place}: no {label} is left");
        }
    }
}

#[test]
fn metallb_5_3_alerts_have_metallbs_names_and_severity() {
    let alerts = alerts();
    let expected = [
        ("MetalLBStaleConfig", "warning"),
        ("MetalLBConfigNotLoaded", "warning"),
        ("MetalLBAddressPoolExhausted", "critical"),
        ("MetalLBAddressPoolUsage75Percent", "warning"),
        ("MetalLBAddressPoolUsage85Percent", "warning"),
        ("MetalLBAddressPoolUsage95Percent", "critical"),
        ("MetalLBBGPSessionDown", "critical"),
    ];
    let theirs = alerts
        .iter()
        .filter(|(name, _)| name.starts_with("MetalLB"));
    let found: Vec<_> = theirs
        .map(|(name, rule)| {
            assert_eq!(rule["for"], "1m", "{name}");
            (name.as_str(), rule["labels"]["severity"].as_str().unwrap())
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_alert_has_its_section_and_every_section_its_alert() {
    let document = read("docs/runbooks.md");
    let mut sections = document.split("\n## ");
    let head = sections.next().unwrap();
    let mut titles = Vec::new();
    for section in sections {
        let (title, body) = section.split_once('\n').unwrap();
        for part in [
            "**Means.** ",
            "**Users notice.** ",
            "**Look.** ",
            "**Do.** ",
        ] {
            let count = body.matches(part).count();
            assert_eq!(count, 1, "{title}: {part}");
        }
        titles.push(title.to_owned());
    }
    let alerts = alerts();
    let names: Vec<String> = alerts.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(titles, names);
    for (name, rule) in alerts {
        let annotations = &rule["annotations"];
        let place = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(annotations["runbook_url"], place.as_str(), "{name}");
        for part in ["summary", "description"] {
            assert!(annotations[part].is_string(), "{name} has no {part}");
        }
        let place = format!("(#{})", name.to_lowercase());
        assert!(head.contains(&place), "{name} is not in the list");
    }
}

#[test]
fn every_alert_fires_in_one_case_and_is_silent_on_its_own_metrics_in_another() {
    let cases: Value = serde_norway::from_str(&read("deploy/monitoring/alerts.test.yaml")).unwrap();
    let mut fires = BTreeSet::new();
    let mut silent: Vec<(BTreeSet<String>, BTreeSet<String>)> = Vec::new();
    for case in cases["tests"].as_array().unwrap() {
        let series = case["input_series"].as_array().unwrap().iter();
        let metrics: BTreeSet<String> = series
            .flat_map(|series| parse(&text(&series["series"])).metrics)
            .map(|(name, _)| name)
            .collect();
        for check in case["promql_expr_test"].as_array().unwrap() {
            assert_eq!(check["expr"], "ALERTS{alertstate=\"firing\"}");
            let samples = check["exp_samples"].as_array().unwrap().iter();
            let samples = samples.map(|sample| text(&sample["labels"]));
            let names = samples.map(|sample| {
                let (_, rest) = sample.split_once("alertname=\"").unwrap();
                rest.split('"').next().unwrap().to_owned()
            });
            let names: BTreeSet<String> = names.collect();
            fires.extend(names.clone());
            silent.push((metrics.clone(), names));
        }
    }
    for (name, rule) in alerts() {
        assert!(fires.contains(&name), "{name} fires in no case");
        let query = parse(&text(&rule["expr"]));
        let is_silent = silent.iter().any(|(metrics, names)| {
            let mut needed = query.metrics.iter();
            needed.all(|(metric, _)| metrics.contains(metric)) && !names.contains(&name)
        });
        assert!(is_silent, "{name} is silent in no case");
    }
}

/// The alerts in their order, by name.
fn alerts() -> Vec<(String, Value)> {
    let rules: Value = serde_norway::from_str(&read("deploy/monitoring/alerts.yaml")).unwrap();
    let groups = rules["spec"]["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.map(|rule| (text(&rule["alert"]), rule)).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap()
}

/// Every query of alerts and dashboard, with the place where it stands.
fn queries() -> Vec<(String, String)> {
    let alerts = alerts().into_iter();
    let mut queries: Vec<_> = alerts
        .map(|(name, rule)| (name, text(&rule["expr"])))
        .collect();
    let of_alerts = queries.len();
    each(&dashboard(), &mut |object| {
        if let Some(query) = object["expr"].as_str() {
            queries.push((format!("dashboard: {query}"), query.to_owned()));
        }
        // A variable takes the values of a label of a metric.
        let definition = object["definition"].as_str().unwrap_or_default();
        let parts = definition.strip_prefix("label_values(");
        if let Some((metric, label)) = parts.and_then(|parts| parts.split_once(", ")) {
            let label = label.trim_end_matches(')');
            queries.push((
                definition.to_owned(),
                format!("max by ({label}) ({metric})"),
            ));
        }
    });
    assert!(queries.len() > of_alerts + QUERIES_MIN, "few queries");
    queries
}

/// Visits every object of a document.
fn each(value: &Value, visit: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(fields) => {
            visit(value);
            fields.values().for_each(|field| each(field, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| each(item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The words of `{{…}}` that begin so, without that beginning.
fn placeholders(text: &str, begin: &str) -> Vec<String> {
    let inner = text.split("{{").skip(1);
    let words = inner.filter_map(|rest| {
        let word = rest.split("}}").next()?.trim().strip_prefix(begin)?;
        word.split_whitespace().next()
    });
    words.map(str::to_owned).collect()
}

/// Labels by metric, as the reference has them.
fn metrics() -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics = BTreeMap::new();
    let text = read("docs/reference/metrics.md");
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let words = |cell: &str| -> Vec<String> {
            let words = cell.split('`').skip(1).step_by(2);
            words.map(str::to_owned).collect()
        };
        let name = words(cells[0]).remove(0);
        metrics.insert(name, words(cells[2]).into_iter().collect());
    }
    metrics
}

/// The labels of these metrics, and those that every scraped series has.
fn labels<'a>(
    known: &BTreeMap<String, BTreeSet<String>>,
    names: impl IntoIterator<Item = &'a String>,
    place: &str,
) -> BTreeSet<String> {
    let mut labels: BTreeSet<_> = OF_TARGETS.map(str::to_owned).into();
    for name in names {
        let own = known.get(name);
        let own = own.unwrap_or_else(|| panic!("{place}: there is no metric {name}"));
        labels.extend(own.iter().cloned());
    }
    labels
}

/// The labels that the result of a query has.
fn left(
    known: &BTreeMap<String, BTreeSet<String>>,
    query: &Query,
    place: &str,
) -> BTreeSet<String> {
    if !query.by.is_empty() {
        return query.by.clone();
    }
    let all = labels(known, query.metrics.iter().map(|(name, _)| name), place);
    all.difference(&query.without).cloned().collect()
}

/// The text of speaker and kernel code.
fn sources() -> String {
    let mut folders = ["speaker", "speaker-ebpf"]
        .map(|name| root().join(name))
        .to_vec();
    let mut sources = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    sources
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn read(file: &str) -> String {
    let file = root().join(file);
    fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Labels that Prometheus adds to what it scrapes.
const OF_TARGETS: [&str; 5] = ["container", "instance", "job", "namespace", "pod"];

/// Fewer queries on the dashboard than this are a mistake of the reader.
const QUERIES_MIN: usize = 60;
