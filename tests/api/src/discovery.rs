//! What is served, as clients ask for it: group lists, resource lists, and both at once (aggregated discovery, v2).
//!
//! Governed by the "Kubernetes API Discovery" page; kubectl 1.36 asks for the aggregated form first.

use crate::answer::{Answer, Body, Refusal};
use crate::kinds::{Kind, Version};
use crate::route::Request;
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
pub(crate) fn core(store: &Store, request: &Request) -> Answer {
    if is_aggregated(request) {
        return aggregated(store, |group| group.is_empty());
    }
    Answer::json(
        200,
        json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
        }),
    )
}

/// `/apis`.
pub(crate) fn groups(store: &Store, request: &Request) -> Answer {
    if is_aggregated(request) {
        return aggregated(store, |group| !group.is_empty());
    }
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

fn is_aggregated(request: &Request) -> bool {
    let accept = &request.accept;
    accept.contains("as=APIGroupDiscoveryList") && accept.contains("v=v2;")
        || accept.contains("v=v2,")
}

fn aggregated(store: &Store, is_wanted: impl Fn(&str) -> bool) -> Answer {
    let groups = names(store).into_iter().filter(|name| is_wanted(name));
    let items: Vec<_> = groups
        .map(|name| {
            let versions = versions(store, &name);
            let versions: Vec<_> = versions
                .iter()
                .map(|version| {
                    let members = members(store, &name, version);
                    let resources: Vec<_> = members
                        .map(|(kind, found)| aggregate(kind, found))
                        .collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if name.is_empty() {
                json!({})
            } else {
                json!({"name": name})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    Answer {
        body: Body::Typed(list, AGGREGATED),
        ..Answer::json(200, Value::Null)
    }
}

fn aggregate(kind: &Kind, version: &Version) -> Value {
    // Core kinds are described by their kind alone.
    let (group, name) = match kind.is_custom() {
        true => (kind.group.as_str(), version.name.as_str()),
        false => ("", ""),
    };
    let response = json!({"group": group, "version": name, "kind": kind.kind});
    let scope = if kind.is_namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let mut resource = json!({
        "resource": kind.plural, "responseKind": response, "scope": scope, "singularResource": kind.singular,
        "verbs": verbs(kind),
    });
    if !kind.short.is_empty() {
        resource["shortNames"] = json!(kind.short);
    }
    if version.has_status {
        resource["subresources"] = json!([
            {"subresource": "status", "responseKind": response, "verbs": STATUS_VERBS},
        ]);
    }
    resource
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

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
