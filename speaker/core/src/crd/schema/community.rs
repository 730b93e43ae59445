//! Community as it stands in YAML.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `spec` of a Community.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "Community",
    plural = "communities",
    namespaced,
    crates(kube_core = "kube_core")
)]
pub struct CommunitySpec {
    /// Names and what they stand for.
    #[serde(default)]
    pub communities: Vec<NamedCommunity>,
}

/// One of `spec.communities`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NamedCommunity {
    /// The name that advertisements use.
    #[serde(default)]
    pub name: String,
    /// `a:b` or `large:a:b:c`.
    #[serde(default)]
    pub value: String,
}
