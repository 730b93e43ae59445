//! Label selectors, as apimachinery's LabelSelector has them.

use super::text;
use serde_json::Value;
use std::collections::BTreeMap;

/// Labels by key.
pub(super) type Labels = BTreeMap<String, String>;

/// The labels of an object, or its annotations.
pub(super) fn of(value: &Value) -> Labels {
    let pairs = value.as_object().into_iter().flatten();
    pairs
        .map(|(key, value)| (key.clone(), text(value).to_owned()))
        .collect()
}

/// Whether one of the selectors matches.
pub(super) fn any(selectors: &[Value], labels: &Labels) -> bool {
    selectors.iter().any(|selector| matches(selector, labels))
}

fn matches(selector: &Value, labels: &Labels) -> bool {
    let equal = of(&selector["matchLabels"])
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value));
    let mut expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    equal && expressions.all(|expression| holds(expression, labels))
}

fn holds(expression: &Value, labels: &Labels) -> bool {
    let value = labels.get(text(&expression["key"]));
    let mut values = expression["values"].as_array().into_iter().flatten();
    let mut is_listed = || values.any(|listed| Some(text(listed)) == value.map(String::as_str));
    match text(&expression["operator"]) {
        "In" => is_listed(),
        "NotIn" => !is_listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _unknown => false,
    }
}
