//! BFDProfile as it stands in YAML.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `spec` of a BFDProfile.
#[derive(
    CustomResource, Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BFDProfile",
    plural = "bfdprofiles",
    namespaced,
    crates(kube_core = "kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct BFDProfileSpec {
    /// Milliseconds between packets that we can take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_interval: Option<i32>,
    /// Milliseconds between packets that we send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit_interval: Option<i32>,
    /// Packets missed until the session is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect_multiplier: Option<i32>,
    /// Milliseconds between echo packets that we can take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_interval: Option<i32>,
    /// Whether echo packets are sent.
    #[serde(default)]
    pub echo_mode: bool,
    /// Whether we wait for the other side to begin.
    #[serde(default)]
    pub passive_mode: bool,
    /// The least TTL of packets of a multi-hop session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_ttl: Option<i32>,
}
