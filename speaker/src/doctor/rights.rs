//! What an API server lets this process do of all that a speaker does.
//!
//! What a speaker needs is read from the manifest that grants it, which is in the program; tests hold that one to the calls that speakers make. Each
//! right is asked for by a SelfSubjectAccessReview, which everybody may make and which changes nothing.

use super::gather::unseen;
use crate::api::{Access, Api, Call, connect};
use crate::settings::shared::{namespace, own_namespace};
use anyhow::{Context, Result};
use serde::Deserialize as _;
use serde_json::{Value, json};
use speaker_core::doctor::Facts;
use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::time::Duration;

/// Asks for every right with the account of this pod or of the kubeconfig. Where there is neither, nobody is asked.
pub(crate) fn gather(access: &Access, typed: Option<&str>, facts: &mut Facts) {
    if access.kubeconfig.is_none() && env::var_os(IN_POD).is_none() {
        return;
    }
    let namespace = namespace(typed, own_namespace().as_deref());
    match lacking(access, &namespace) {
        Ok(lacking) => facts.lacking_rights = lacking,
        Err(error) => unseen(facts, "rights", &error),
    }
}

fn lacking(access: &Access, namespace: &str) -> Result<BTreeSet<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start a runtime")?;
    runtime.block_on(async {
        let api = connect(access).await?;
        let mut lacking = BTreeSet::new();
        for right in needed(namespace) {
            if !may(&api, &right).await? {
                lacking.insert(right.to_string());
            }
        }
        Ok(lacking)
    })
}

async fn may(api: &Api, right: &Right) -> Result<bool> {
    let review = Call::post(REVIEWS, right.review()).within(ANSWER_MAX);
    let answer = api.call(review).await?;
    let allowed = answer["status"]["allowed"].as_bool();
    allowed.context("the API server's review says neither yes nor no")
}

/// One kind of call.
#[derive(Debug)]
struct Right {
    verb: String,
    group: String,
    /// With a subresource after a slash.
    resource: String,
    name: Option<String>,
    /// `None`: in all of them.
    namespace: Option<String>,
}

impl Right {
    fn review(&self) -> Value {
        let (resource, part) = match self.resource.split_once('/') {
            Some((resource, part)) => (resource, Some(part)),
            None => (self.resource.as_str(), None),
        };
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": self.verb,
                "group": self.group,
                "resource": resource,
                "subresource": part,
                "name": self.name,
                "namespace": self.namespace,
            }},
        })
    }
}

/// As `kubectl auth can-i` is asked.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, part) = match self.resource.split_once('/') {
            Some((resource, part)) => (resource, format!(" --subresource={part}")),
            None => (self.resource.as_str(), String::new()),
        };
        write!(f, "{} {resource}", self.verb)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, "/{name}")?;
        }
        f.write_str(&part)?;
        match &self.namespace {
            Some(namespace) => write!(f, " -n {namespace}"),
            None => f.write_str(" --all-namespaces"),
        }
    }
}

/// What the manifest grants, one call at a time.
fn needed(namespace: &str) -> Vec<Right> {
    let mut rights = Vec::new();
    for document in serde_norway::Deserializer::from_str(MANIFEST) {
        let object = Value::deserialize(document)
            .expect("the manifest is in the program, and a test reads it");
        let namespace = (object["kind"] == "Role").then_some(namespace);
        for rule in list(&object["rules"]) {
            rights.extend(of_rule(rule, namespace));
        }
    }
    rights
}

fn of_rule(rule: &Value, namespace: Option<&str>) -> Vec<Right> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: Vec<Option<String>> = match list(&rule["resourceNames"]) {
        [] => vec![None],
        some => some.iter().map(|name| Some(text(name))).collect(),
    };
    let mut rights = Vec::new();
    for group in list(&rule["apiGroups"]) {
        for resource in list(&rule["resources"]) {
            for verb in list(&rule["verbs"]) {
                rights.extend(names.iter().map(|name| Right {
                    verb: text(verb),
                    group: text(group),
                    resource: text(resource),
                    name: name.clone(),
                    namespace: namespace.map(str::to_owned),
                }));
            }
        }
    }
    rights
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

const MANIFEST: &str = include_str!("../../../deploy/manifests/2-speaker-rights.yaml");
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// Set in every pod.
const IN_POD: &str = "KUBERNETES_SERVICE_HOST";
/// Somebody waits for it; a server that takes longer has other troubles.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_asked_for_as_the_manifest_grants_them() {
        let rights = needed("lb");
        let said: BTreeSet<String> = rights.iter().map(Right::to_string).collect();
        assert_eq!(said.len(), rights.len(), "one is asked for twice");
        for right in [
            "list services --all-namespaces",
            "watch endpointslices.discovery.k8s.io --all-namespaces",
            "get secrets -n lb",
            "get daemonsets.apps/speaker -n lb",
            "patch servicel2statuses.metallb.io --subresource=status -n lb",
        ] {
            assert!(said.contains(right), "{right} is not in {said:?}");
        }
        let status = rights.iter().find(|right| right.resource.contains('/'));
        let review = status.expect("one is on a subresource").review();
        let asked = &review["spec"]["resourceAttributes"];
        assert_eq!(asked["subresource"], "status");
        assert!(
            !asked["resource"]
                .as_str()
                .expect("it has one")
                .contains('/')
        );
    }
}
