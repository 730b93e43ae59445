//! Objects that somebody else's tool made, taken over so that what they have and we do not want goes.
//!
//! Server-side apply removes what its own manager applied before and applies no more, and nothing else. So the fields that an installer
//! owns are put into our manager's entry first. Governed by "Server-Side Apply" in the Kubernetes documentation (field management,
//! and the migration from client-side apply).

use serde_json::{Map, Value, json};

/// What stands between an object and our applying it.
#[derive(Clone, PartialEq, Debug)]
pub enum Adoption {
    /// Nothing.
    None,
    /// A JSON patch that gives us the fields of the tools that installed it.
    Move(Value),
    /// It selects other pods, and a selector cannot be changed.
    Selector,
}

/// What is to be done with `live` before `wanted` is applied as field manager `manager`.
pub fn adoption(live: &Value, wanted: &Value, manager: &str) -> Adoption {
    let selector = |object: &Value| object["spec"]["selector"]["matchLabels"].clone();
    if !selector(wanted).is_null() && selector(live) != selector(wanted) {
        return Adoption::Selector;
    }
    let entries = live["metadata"]["managedFields"].as_array();
    let entries = entries.map_or(&[][..], Vec::as_slice);
    let (foreign, mut kept): (Vec<&Value>, Vec<&Value>) = entries
        .iter()
        .partition(|entry| is_installer(entry, manager));
    if foreign.is_empty() {
        return Adoption::None;
    }
    let is_own = |entry: &&Value| is_applied_by(entry, manager);
    let mut own = match kept.iter().position(is_own) {
        Some(at) => kept.remove(at).clone(),
        None => json!({"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1"}),
    };
    let mut fields = own["fieldsV1"].as_object().cloned().unwrap_or_default();
    for entry in &foreign {
        unite(&mut fields, &entry["fieldsV1"]);
    }
    own["apiVersion"] = live["apiVersion"].clone();
    own["fieldsV1"] = Value::Object(fields);
    let mut entries: Vec<Value> = kept.into_iter().cloned().collect();
    entries.push(own);
    Adoption::Move(json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": entries},
    ]))
}

/// An entry of a tool that installs, other than our own applying. What is written to a subresource belongs to whoever keeps it.
fn is_installer(entry: &Value, manager: &str) -> bool {
    let name = entry["manager"].as_str().unwrap_or_default();
    let is_ours = name == manager && !is_applied_by(entry, manager);
    let is_plain = entry["subresource"].as_str().unwrap_or_default().is_empty();
    is_plain && (is_ours || INSTALLERS.contains(&name))
}

fn is_applied_by(entry: &Value, manager: &str) -> bool {
    entry["manager"] == manager && entry["operation"] == "Apply"
}

/// Puts all fields of one set into another; a set is a tree of names, and `.` says that the node itself is in it.
fn unite(fields: &mut Map<String, Value>, more: &Value) {
    for (name, below) in more.as_object().into_iter().flatten() {
        let entry = fields.entry(name.clone()).or_insert_with(|| json!({}));
        if let Value::Object(own) = entry {
            unite(own, below);
        }
    }
}

/// As whom people and their tools install; two are Flux's. `manager` was that of MetalLB's operator before it applied.
const INSTALLERS: [&str; 11] = [
    "Helm",
    "argocd-controller",
    "before-first-apply",
    "helm",
    "helm-controller",
    "kubectl",
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-replace",
    "kustomize-controller",
    "manager",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, subresource: &str, fields: Value) -> Value {
        json!({
            "manager": manager, "operation": operation, "subresource": subresource,
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    }

    fn live(entries: &[Value]) -> Value {
        json!({
            "apiVersion": "v1",
            "metadata": {"resourceVersion": "7", "managedFields": entries},
            "spec": {"selector": {"matchLabels": {"app": "metallb"}}},
        })
    }

    fn owners(adoption: Adoption) -> Vec<(String, Value)> {
        let Adoption::Move(patch) = adoption else {
            panic!("{adoption:?}");
        };
        let entries = patch[1]["value"].as_array().unwrap().iter();
        entries
            .map(|entry| {
                let name = format!("{} {}", entry["manager"], entry["operation"]);
                (name.replace('"', ""), entry["fieldsV1"].clone())
            })
            .collect()
    }

    #[test]
    fn what_tools_own_becomes_ours_and_the_rest_stays() {
        let status = entry(
            "kube-controller-manager",
            "Update",
            "status",
            json!({"f:status": {}}),
        );
        let bundle = entry("heliograph", "Update", "", json!({"f:webhooks": {}}));
        let live = live(&[
            entry("helm", "Update", "", json!({"f:spec": {"f:a": {}}})),
            status,
            bundle,
            entry(
                "metallb-operator",
                "Apply",
                "",
                json!({"f:spec": {"f:b": {}}}),
            ),
        ]);
        let found = owners(adoption(&live, &json!({}), "metallb-operator"));
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "kube-controller-manager Update",
                "heliograph Update",
                "metallb-operator Apply"
            ]
        );
        assert_eq!(found[2].1, json!({"f:spec": {"f:a": {}, "f:b": {}}}));
    }

    #[test]
    fn an_update_of_our_own_name_is_taken_too() {
        let live = live(&[entry(
            "metallb-operator",
            "Update",
            "",
            json!({"f:data": {}}),
        )]);
        let found = owners(adoption(&live, &json!({}), "metallb-operator"));
        assert_eq!(
            found,
            [("metallb-operator Apply".to_owned(), json!({"f:data": {}}))]
        );
    }

    #[test]
    fn what_is_ours_already_needs_nothing() {
        let live = live(&[entry(
            "metallb-operator",
            "Apply",
            "",
            json!({"f:spec": {}}),
        )]);
        assert_eq!(
            adoption(&live, &json!({}), "metallb-operator"),
            Adoption::None
        );
        let edited = entry("kubectl-edit", "Update", "", json!({"f:spec": {}}));
        assert_eq!(
            adoption(&self::live(&[edited]), &json!({}), "metallb-operator"),
            Adoption::None,
            "who edits by hand owns what they add"
        );
    }

    #[test]
    fn another_selector_is_told() {
        let wanted = json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}});
        assert_eq!(adoption(&live(&[]), &wanted, "m"), Adoption::Selector);
    }
}
