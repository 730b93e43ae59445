//! The objects of an installation, built in one place: the manifests that are shipped are compared with them, and the operator applies
//! them.
//!
//! Typed and pure: [`Options`] in, [`Object`]s out. Knows no API server, nothing of what is there already, and no file. Names, labels
//! and ports are MetalLB's, so that who scripts against them, scrapes them or admits them finds the same; what differs is in
//! `docs/metallb.md`.

mod adopt;
mod condition;
mod controller;
mod monitoring;
mod network;
mod openshift;
mod options;
mod pods;
mod policy;
mod rights;
mod rollout;
mod speaker;
mod webhooks;

pub use adopt::{Adoption, adoption};
pub use condition::{Condition, Kind as ConditionKind, State, conditions};
pub use openshift::constraints;
pub use options::{Component, Level, Monitors, Options, Ports};
pub use rollout::rollout;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One object as it is to be, with where it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// Group and version, or the version alone for core.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// How paths name the kind.
    pub plural: String,
    /// Its namespace; `None` for an object of the cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// All of it, `apiVersion` and `kind` included.
    pub body: Value,
}

impl Object {
    fn of<T: Resource + Metadata<Ty = ObjectMeta> + Serialize>(object: &T) -> Self {
        let metadata = object.metadata();
        Self {
            api_version: T::API_VERSION.to_owned(),
            kind: T::KIND.to_owned(),
            plural: T::URL_PATH_SEGMENT.to_owned(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone().unwrap_or_default(),
            body: serde_json::to_value(object).expect("Kubernetes' types are JSON"),
        }
    }

    /// The path of all of its kind, in its namespace if it has one.
    pub fn collection(&self) -> String {
        let root = match self.api_version.contains('/') {
            true => "/apis",
            false => "/api",
        };
        let place = match &self.namespace {
            Some(namespace) => format!("/namespaces/{namespace}"),
            None => String::new(),
        };
        format!("{root}/{}{place}/{}", self.api_version, self.plural)
    }

    /// Its own path.
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    /// Kind and name, for people.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}

/// Everything of an installation, in the order in which it is applied.
pub fn objects(options: &Options) -> Vec<Object> {
    let mut objects = vec![Object::of(&namespace(options))];
    objects.extend(rights::objects(options));
    objects.extend(running(options));
    objects
}

/// The same without the namespace and the rights, which the operator finds there: it grants nothing to anybody. Webhooks come last, so
/// that they refuse nothing for want of somebody who answers.
pub fn running(options: &Options) -> Vec<Object> {
    let mut objects = vec![speaker::excluded_links(options)];
    if options.has_admission_policies {
        objects.extend(policy::objects(options));
    }
    objects.extend([
        controller::deployment(options),
        controller::service(options),
        speaker::daemon_set(options),
    ]);
    objects.extend(controller::budget(options));
    objects.extend(monitoring::objects(options));
    objects.extend(network::objects(options));
    objects.push(webhooks::configuration(options));
    objects
}

fn namespace(options: &Options) -> Namespace {
    // The speaker uses the node's network and loads programs into its kernel; no lesser level allows that.
    let labels = ["enforce", "audit", "warn"]
        .map(|mode| (format!("pod-security.kubernetes.io/{mode}"), "privileged"));
    Namespace {
        metadata: ObjectMeta {
            name: Some(options.namespace.clone()),
            labels: Some(texts(labels)),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

/// Metadata of an object in the installation's namespace.
fn own(options: &Options, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(options.namespace.clone()),
        ..global(options, name)
    }
}

/// Metadata of an object of the cluster.
fn global(options: &Options, name: &str) -> ObjectMeta {
    let mut labels = texts([("app", "metallb")]);
    labels.extend(options.labels.clone());
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

fn texts<K: Into<String>, V: Into<String>>(
    pairs: impl IntoIterator<Item = (K, V)>,
) -> BTreeMap<String, String> {
    let pairs = pairs.into_iter();
    pairs
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

/// A list, or nothing where it is empty: an empty list would be owned all the same.
fn listed<T>(items: Vec<T>) -> Option<Vec<T>> {
    Some(items).filter(|items| !items.is_empty())
}

#[cfg(test)]
mod tests;
