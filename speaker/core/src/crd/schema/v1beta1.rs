//! BGPPeer at version v1beta1, which is served and deprecated, as it stands in YAML.

use crate::duration::Span;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `spec` of a BGPPeer.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPPeer",
    plural = "bgppeers",
    namespaced,
    crates(kube_core = "kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerSpec {
    /// Our AS number.
    #[serde(rename = "myASN")]
    pub my_asn: u32,
    /// The peer's AS number.
    #[serde(rename = "peerASN")]
    pub peer_asn: u32,
    /// The peer's address.
    pub peer_address: String,
    /// The address that we speak from.
    #[serde(default)]
    pub source_address: String,
    /// The peer's TCP port; 0 is 179.
    #[serde(default)]
    pub peer_port: u16,
    /// Silence after which the session is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub hold_time: Option<Span>,
    /// The time between KEEPALIVEs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub keepalive_time: Option<Span>,
    /// Our BGP identifier.
    #[serde(default, rename = "routerID")]
    pub router_id: String,
    /// Nodes that speak to the peer.
    #[serde(default)]
    pub node_selectors: Vec<NodeSelector>,
    /// A password in clear.
    #[serde(default)]
    pub password: String,
    /// A BFDProfile by name.
    #[serde(default)]
    pub bfd_profile: String,
    /// Whether the peer may be more than one hop away.
    #[serde(default)]
    pub ebgp_multi_hop: bool,
}

/// One of `spec.nodeSelectors`: a label selector of its own kind.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelector {
    /// Labels and their values.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions.
    #[serde(default)]
    pub match_expressions: Vec<NodeExpression>,
}

/// One condition of a [`NodeSelector`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct NodeExpression {
    /// The label's key.
    pub key: String,
    /// How it is compared.
    pub operator: String,
    /// With what.
    pub values: Vec<String>,
}
