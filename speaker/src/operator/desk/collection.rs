//! What is followed.

use super::super::settings::{LABEL, LEFT, MANAGER};
use speaker_core::deploy::{self, Options};
use std::collections::BTreeSet;

/// Objects that are followed together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::operator) struct Collection {
    /// Their path.
    pub(in crate::operator) path: String,
    /// Of their labels, what they must carry.
    pub(in crate::operator) labels: String,
    /// Of their fields, what they must have.
    pub(in crate::operator) fields: String,
}

/// What is followed: the resources, of every kind that we make what carries our label, and pods that are to be replaced.
pub(super) fn collections(namespace: &str, usual: &Options) -> Vec<Collection> {
    let resources = Collection {
        path: format!("/apis/metallb.io/v1beta1/namespaces/{namespace}/metallbs"),
        labels: String::new(),
        fields: String::new(),
    };
    let everything = Options {
        has_policies: true,
        // What several controllers need goes when there is one again.
        controllers: 2,
        ..usual.clone()
    };
    let objects = deploy::running(&everything);
    let ours = objects.iter().map(|object| Collection {
        path: object.collection(),
        labels: format!("{LABEL}={}", MANAGER),
        // Rights to objects of the cluster are for this one alone.
        fields: match object.namespace {
            Some(_) => String::new(),
            None => format!("metadata.name={}", object.name),
        },
    });
    let ours: BTreeSet<Collection> = ours.collect();
    let left = Collection {
        path: format!("/api/v1/namespaces/{namespace}/pods"),
        labels: LEFT.to_owned(),
        fields: String::new(),
    };
    [resources, left].into_iter().chain(ours).collect()
}

/// What speakers say of the configuration.
pub(super) fn judgements(namespace: &str) -> Collection {
    Collection {
        path: format!("/apis/metallb.io/v1beta1/namespaces/{namespace}/configurationstates"),
        labels: "metallb.io/component-type=speaker".to_owned(),
        fields: String::new(),
    }
}
