//! Label selectors (metav1.LabelSelector), parsed once.

use crate::names;
use crate::problem::Faults;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use std::collections::{BTreeMap, BTreeSet};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A label selector; all of its requirements hold, or it does not match. An empty one matches everything.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Selector {
    /// `matchLabels` and `matchExpressions`, sorted.
    pub requirements: BTreeSet<Requirement>,
}

/// One condition on one label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold of it.
    pub operator: Operator,
}

/// The operators of `matchExpressions`; `matchLabels` is `In` with one value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operator {
    /// Present with one of these values.
    In(BTreeSet<String>),
    /// Absent, or present with none of these values.
    NotIn(BTreeSet<String>),
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
}

impl Selector {
    /// Whether every requirement holds for `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.operator {
                Operator::In(values) => value.is_some_and(|v| values.contains(v)),
                Operator::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

/// Whether any of `selectors` matches; an empty list matches everything, as in every list of selectors of MetalLB.
pub fn any_matches(selectors: &[Selector], labels: &Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
}

/// Reads a list of selectors. One that stands there twice is refused, whatever the order of its parts, as MetalLB's
/// webhooks do.
pub(crate) fn parse_list(
    field: &str,
    raw: Vec<LabelSelector>,
    faults: &mut Faults,
) -> Vec<Selector> {
    let mut seen = BTreeSet::new();
    let mut selectors = Vec::with_capacity(raw.len());
    for (i, raw) in raw.into_iter().enumerate() {
        let field = format!("{field}[{i}]");
        if !seen.insert(normal_form(&raw)) {
            faults.push(&field, "stands there twice");
        }
        selectors.push(parse(&field, raw, faults));
    }
    selectors
}

/// What makes two selectors the same as written.
fn normal_form(raw: &LabelSelector) -> (Labels, BTreeSet<(String, String, BTreeSet<String>)>) {
    let expressions = raw.match_expressions.iter().flatten().map(|expression| {
        let values = expression.values.iter().flatten().cloned().collect();
        (expression.key.clone(), expression.operator.clone(), values)
    });
    (
        raw.match_labels.clone().unwrap_or_default(),
        expressions.collect(),
    )
}

/// Reads one selector; what is wrong with it goes to `faults`.
pub(crate) fn parse(field: &str, raw: LabelSelector, faults: &mut Faults) -> Selector {
    let mut requirements = BTreeSet::new();
    for (key, value) in raw.match_labels.into_iter().flatten() {
        let place = || format!("{field}.matchLabels.{key}");
        faults.take(place, names::check_key(&key));
        faults.take(place, names::check_label_value(&value));
        requirements.insert(Requirement {
            key,
            operator: Operator::In(BTreeSet::from([value])),
        });
    }
    let mut seen = BTreeSet::new();
    for (i, raw) in raw.match_expressions.into_iter().flatten().enumerate() {
        let field = format!("{field}.matchExpressions[{i}]");
        let Some(requirement) = requirement(&field, raw, faults) else {
            continue;
        };
        if !seen.insert(requirement.clone()) {
            faults.push(&field, "stands there twice");
        }
        requirements.insert(requirement);
    }
    Selector { requirements }
}

fn requirement(
    field: &str,
    raw: LabelSelectorRequirement,
    faults: &mut Faults,
) -> Option<Requirement> {
    faults.take(|| format!("{field}.key"), names::check_key(&raw.key));
    let mut values = BTreeSet::new();
    for (i, value) in raw.values.into_iter().flatten().enumerate() {
        let field = || format!("{field}.values[{i}]");
        faults.take(field, names::check_label_value(&value));
        if values.contains(&value) {
            faults.push(field(), format!("{value:?} stands there twice"));
        }
        values.insert(value);
    }
    let operator = match raw.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            faults.push(
                format!("{field}.values"),
                format!("is empty, which {} cannot be", raw.operator),
            );
            return None;
        }
        "In" => Operator::In(values),
        "NotIn" => Operator::NotIn(values),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            faults.push(
                format!("{field}.values"),
                format!("must be empty with {}", raw.operator),
            );
            return None;
        }
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => {
            let why = format!("{other:?} is none of In, NotIn, Exists, DoesNotExist");
            faults.push(format!("{field}.operator"), why);
            return None;
        }
    };
    Some(Requirement {
        key: raw.key,
        operator,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: serde_json::Value, expected: &str) {
        let raw = serde_json::from_value(raw).unwrap();
        let mut faults = Faults::default();
        parse_list("s", raw, &mut faults);
        assert_eq!(faults.to_string(), expected);
    }

    #[test]
    fn good_selectors_pass() {
        check(
            serde_json::json!([{}, {"matchLabels": {"a": ""}}, {"matchExpressions": [
                {"key": "a", "operator": "In", "values": ["b"]},
                {"key": "a", "operator": "Exists"},
            ]}]),
            "",
        );
    }

    #[test]
    fn a_selector_in_another_order_is_the_same_selector() {
        let expression = |values: [&str; 2]| serde_json::json!({"matchExpressions": [{"key": "c", "operator": "In", "values": values}]});
        check(
            serde_json::json!([expression(["x", "y"]), expression(["y", "x"])]),
            "s[1]: stands there twice",
        );
    }

    #[test]
    fn each_fault_names_its_place() {
        check(
            serde_json::json!([{"matchExpressions": [
                {"key": "a b", "operator": "Exists"},
                {"key": "c", "operator": "near", "values": ["x", "x"]},
                {"key": "c", "operator": "In"},
            ]}]),
            "s[0].matchExpressions[0].key: \"a b\" is no label key: an optional DNS name and '/', then up to 63 letters, digits, '-', '_' and '.'; \
             s[0].matchExpressions[1].values[1]: \"x\" stands there twice; \
             s[0].matchExpressions[1].operator: \"near\" is none of In, NotIn, Exists, DoesNotExist; \
             s[0].matchExpressions[2].values: is empty, which In cannot be",
        );
    }

    #[test]
    fn a_missing_label_is_in_no_set() {
        let labels = Labels::from([("a".to_owned(), "b".to_owned())]);
        let holds = |operator| {
            let requirements = BTreeSet::from([Requirement {
                key: "x".into(),
                operator,
            }]);
            Selector { requirements }.matches(&labels)
        };
        assert!(!holds(Operator::In(BTreeSet::from(["b".into()]))));
        assert!(holds(Operator::NotIn(BTreeSet::from(["b".into()]))));
        assert!(!holds(Operator::Exists));
        assert!(holds(Operator::DoesNotExist));
    }
}
