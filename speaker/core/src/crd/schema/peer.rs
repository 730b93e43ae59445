//! BGPPeer at version v1beta2, which is stored, as it stands in YAML.

use crate::duration::Span;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `spec` of a BGPPeer.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
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
    /// The peer's AS number; 0 is none.
    #[serde(default, rename = "peerASN")]
    pub peer_asn: u32,
    /// `internal` or `external`: the peer's AS number is taken from its OPEN.
    #[serde(
        default,
        rename = "dynamicASN",
        skip_serializing_if = "Option::is_none"
    )]
    pub dynamic_asn: Option<String>,
    /// The AS number that this peer sees instead of ours.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    pub local_asn: Option<u32>,
    /// The peer's address.
    #[serde(default)]
    pub peer_address: String,
    /// The link on which the peer is found.
    #[serde(default)]
    pub interface: String,
    /// The address that we speak from.
    #[serde(default)]
    pub source_address: String,
    /// The peer's TCP port.
    #[serde(default = "bgp")]
    pub peer_port: u16,
    /// Silence after which the session is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub hold_time: Option<Span>,
    /// The time between KEEPALIVEs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub keepalive_time: Option<Span>,
    /// The time between attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub connect_time: Option<Span>,
    /// Our BGP identifier.
    #[serde(default, rename = "routerID")]
    pub router_id: String,
    /// Nodes that speak to the peer.
    #[serde(default)]
    pub node_selectors: Vec<LabelSelector>,
    /// A password in clear.
    #[serde(default)]
    pub password: String,
    /// The Secret that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,
    /// A BFDProfile by name.
    #[serde(default)]
    pub bfd_profile: String,
    /// Whether routes stay while we are away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_graceful_restart: Option<bool>,
    /// Whether the peer may be more than one hop away.
    #[serde(default)]
    pub ebgp_multi_hop: bool,
    /// The VRF in which the session lives.
    #[serde(default)]
    pub vrf: String,
    /// Deprecated, without effect.
    #[serde(default, rename = "disableMP")]
    pub disable_mp: bool,
    /// Whether the session carries both families.
    #[serde(default)]
    pub dual_stack_address_family: bool,
}

/// Names a Secret.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

fn bgp() -> u16 {
    179
}
