//! What makes another pod in the place of the own one: the DaemonSet that owns it, if that still wants one on this node.
//!
//! A DaemonSet wants a pod on the nodes that its template's nodeSelector and required node affinity match (Kubernetes' page on
//! DaemonSet). Taints are not looked at: whom one drives away is followed by nobody until it is gone, and the restart's grace then
//! ends as it would for a process that does not come back.

use crate::node::Node;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec};

/// What becomes of the place of a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The pod belongs to no DaemonSet.
    Nobody,
    /// Its DaemonSet is gone.
    Gone,
    /// Its DaemonSet is being deleted.
    Deleted,
    /// Its DaemonSet wants no pod on this node.
    Elsewhere,
    /// Its DaemonSet wants a pod here.
    Here,
}

/// The name and UID of the DaemonSet that a pod belongs to.
pub fn controller(pod: &Pod) -> Option<(&str, &str)> {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet")?;
    Some((&owner.name, &owner.uid))
}

impl Owner {
    /// What the DaemonSet `set` makes of a pod whose owner has that UID, on `node`.
    pub fn of(set: &DaemonSet, uid: &str, node: Option<&Node>) -> Self {
        if set.metadata.uid.as_deref() != Some(uid) {
            // Another one of that name.
            Self::Gone
        } else if set.metadata.deletion_timestamp.is_some() {
            Self::Deleted
        } else if node.is_some_and(|node| !wants(set, node)) {
            Self::Elsewhere
        } else {
            Self::Here
        }
    }
}

fn wants(set: &DaemonSet, node: &Node) -> bool {
    let template = set.spec.template.spec.as_ref();
    template.is_none_or(|pod| selects(pod, node))
}

fn selects(pod: &PodSpec, node: &Node) -> bool {
    let mut labels = pod.node_selector.iter().flatten();
    let affinity = pod
        .affinity
        .as_ref()
        .and_then(|all| all.node_affinity.as_ref());
    let required = affinity.and_then(|of_nodes| {
        of_nodes
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    labels.all(|(key, value)| node.labels.get(key) == Some(value))
        && required.is_none_or(|required| {
            let mut terms = required.node_selector_terms.iter();
            terms.any(|term| matches(term, node))
        })
}

/// A term without requirements matches nothing.
fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let of_labels = term.match_expressions.iter().flatten();
    let of_labels = of_labels.map(|one| (one, node.labels.get(&one.key).map(String::as_str)));
    let of_fields = term.match_fields.iter().flatten();
    let of_fields = of_fields.map(|one| (one, Some(node.name.as_str())));
    let mut all = of_labels.chain(of_fields).peekable();
    all.peek().is_some() && all.all(|(one, value)| holds(one, value))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_among = || value.is_some_and(|value| values.iter().any(|one| one == value));
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.first().and_then(|text| number(text));
    let beside = value.and_then(number).zip(bound);
    match requirement.operator.as_str() {
        "In" => is_among(),
        "NotIn" => !is_among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => beside.is_some_and(|(value, bound)| value > bound),
        "Lt" => beside.is_some_and(|(value, bound)| value < bound),
        // An API server takes no other.
        _unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(labels: &[(&str, &str)]) -> Node {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Node {
            name: "n1".parse().unwrap(),
            labels: labels.collect(),
            addresses: Vec::new(),
            network_unavailable: false,
            ending: None,
        }
    }

    fn set(pod: &Value) -> DaemonSet {
        let set = json!({
            "metadata": {"name": "speaker", "uid": "u1"},
            "spec": {"selector": {}, "template": {"spec": pod}},
        });
        serde_json::from_value(set).unwrap()
    }

    #[track_caller]
    fn check(pod: &Value, labels: &[(&str, &str)], expected: Owner) {
        assert_eq!(Owner::of(&set(pod), "u1", Some(&node(labels))), expected);
    }

    fn affinity(terms: &Value) -> Value {
        let required = json!({"nodeSelectorTerms": terms});
        json!({"containers": [], "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": required,
        }}})
    }

    #[test]
    fn a_pod_belongs_to_the_daemon_set_that_controls_it() {
        let owners = |controller: bool| -> Pod {
            serde_json::from_value(json!({"metadata": {"ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u0", "controller": true},
                {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "speaker", "uid": "u1", "controller": controller},
            ]}}))
            .unwrap()
        };
        assert_eq!(controller(&owners(true)), Some(("speaker", "u1")));
        assert_eq!(controller(&owners(false)), None);
        assert_eq!(controller(&Pod::default()), None);
    }

    #[test]
    fn another_daemon_set_of_that_name_is_not_the_owner() {
        let set = set(&json!({"containers": []}));
        assert_eq!(Owner::of(&set, "u2", None), Owner::Gone);
        assert_eq!(Owner::of(&set, "u1", None), Owner::Here);
    }

    #[test]
    fn a_daemon_set_that_is_being_deleted_makes_no_pod() {
        let mut set = set(&json!({"containers": []}));
        let then = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        set.metadata.deletion_timestamp = Some(then);
        assert_eq!(Owner::of(&set, "u1", Some(&node(&[]))), Owner::Deleted);
    }

    #[test]
    fn a_node_selector_wants_every_label() {
        let pod = json!({"containers": [], "nodeSelector": {"a": "1", "b": "2"}});
        check(&pod, &[("a", "1"), ("b", "2"), ("c", "3")], Owner::Here);
        check(&pod, &[("a", "1")], Owner::Elsewhere);
        check(&pod, &[("a", "1"), ("b", "3")], Owner::Elsewhere);
    }

    #[test]
    fn one_term_of_the_required_affinity_is_enough_and_all_of_it_must_hold() {
        let is = |key: &str, operator: &str, values: &[&str]| json!({"key": key, "operator": operator, "values": values});
        let pod = affinity(&json!([
            {},
            {"matchExpressions": [is("a", "In", &["1", "2"]), is("b", "DoesNotExist", &[])]},
            {"matchFields": [is("metadata.name", "In", &["n2"])]},
        ]));
        check(&pod, &[("a", "2")], Owner::Here);
        check(&pod, &[("a", "2"), ("b", "")], Owner::Elsewhere);
        check(&pod, &[], Owner::Elsewhere);
        let named = affinity(&json!([{"matchFields": [is("metadata.name", "In", &["n1"])]}]));
        check(&named, &[], Owner::Here);
    }

    #[test]
    fn every_operator_is_kubernetes_own() {
        let cases: [(&str, &[&str], Option<&str>, bool); 12] = [
            ("In", &["1"], Some("1"), true),
            ("In", &["1"], None, false),
            ("NotIn", &["1"], Some("1"), false),
            ("NotIn", &["1"], None, true),
            ("Exists", &[], Some(""), true),
            ("Exists", &[], None, false),
            ("DoesNotExist", &[], None, true),
            ("DoesNotExist", &[], Some(""), false),
            ("Gt", &["3"], Some("4"), true),
            ("Gt", &["3"], Some("x"), false),
            ("Lt", &["3"], Some("2"), true),
            ("Lt", &["3"], None, false),
        ];
        for (operator, values, label, expected) in cases {
            let one = NodeSelectorRequirement {
                key: "a".to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
            };
            assert_eq!(
                holds(&one, label),
                expected,
                "{operator} {values:?} {label:?}"
            );
        }
    }
}
