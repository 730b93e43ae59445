//! What is served, as clients ask for it: group lists and resource lists.
//!
//! Governed by the "Kubernetes API Discovery" page. kubectl 1.36 asks for both at once first (aggregated discovery), and takes these
//! where a server has not got that.

use crate::answer::{Answer, Refusal};
use crate::kinds::{Kind, Version};
use crate::store::Store;
use serde_json::{Value, json};
use std::sync::Arc;

/// `/version`.
pub(crate) fn version() -> Answer {
    Answer::json(
        200,
        json!({
            "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
            "minCompatibilityMinor": "35", "gitVersion": "v1.36.2", "gitCommit": "unknown", "gitTreeState": "clean",
            "buildDate": "2026-06-10T00:00:00Z", "goVersion": "go1.26.10", "compiler": "gc", "platform": "linux/amd64",
        }),
    )
}

/// `/api`.
pub(crate) fn core() -> Answer {
    Answer::json(
        200,
        json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
        }),
    )
}

/// `/apis`.
pub(crate) fn groups(store: &Store) -> Answer {
    let groups = names(store).into_iter().filter(|name| !name.is_empty());
    let groups: Vec<_> = groups.map(|name| describe(store, &name)).collect();
    Answer::json(
        200,
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
    )
}

/// `/apis/GROUP`.
pub(crate) fn group(store: &Store, name: &str) -> Result<Answer, Refusal> {
    if versions(store, name).is_empty() {
        return Err(Refusal::no_path());
    }
    let mut group = describe(store, name);
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Ok(Answer::json(200, group))
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(store: &Store, group: &str, version: &str) -> Result<Answer, Refusal> {
    let mut resources = Vec::new();
    for (kind, found) in members(store, group, version) {
        let mut resource = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.is_namespaced, "kind": kind.kind,
            "verbs": verbs(kind),
        });
        if !kind.short.is_empty() {
            resource["shortNames"] = json!(kind.short);
        }
        resources.push(resource);
        if found.has_status {
            resources.push(json!({
                "name": format!("{}/status", kind.plural), "singularName": "", "namespaced": kind.is_namespaced,
                "kind": kind.kind, "verbs": STATUS_VERBS,
            }));
        }
    }
    if resources.is_empty() {
        return Err(Refusal::no_path());
    }
    let name = joined(group, version);
    let mut list = json!({"kind": "APIResourceList", "groupVersion": name, "resources": resources});
    if !group.is_empty() {
        list["apiVersion"] = json!("v1");
    }
    Ok(Answer::json(200, list))
}

fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<_> = store.kinds.all().map(|kind| kind.group.clone()).collect();
    names.dedup();
    names
}

fn versions(store: &Store, group: &str) -> Vec<String> {
    let kinds = store.kinds.all().filter(|kind| kind.group == group);
    let versions = kinds.flat_map(|kind| kind.versions.iter().map(|version| version.name.clone()));
    let mut versions: Vec<_> = versions.collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.dedup();
    versions
}

fn members<'a>(
    store: &'a Store,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = (&'a Arc<Kind>, &'a Version)> {
    let kinds = store.kinds.all().filter(move |kind| kind.group == group);
    kinds.filter_map(move |kind| Some((kind, kind.version(version)?)))
}

fn describe(store: &Store, name: &str) -> Value {
    let versions = versions(store, name).into_iter();
    let versions: Vec<_> = versions
        .map(|version| json!({"groupVersion": joined(name, &version), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions[0]})
}

fn joined(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// In the order in which the server lists them.
fn verbs(kind: &Kind) -> Vec<&'static str> {
    let verbs = if kind.is_custom() {
        "delete deletecollection get list patch create update watch"
    } else {
        "create delete deletecollection get list patch update watch"
    };
    verbs.split(' ').collect()
}

const STATUS_VERBS: &[&str] = &["get", "patch", "update"];
