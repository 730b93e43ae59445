//! L2Advertisement and BGPAdvertisement as they stand in YAML.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `spec` of an L2Advertisement.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "L2Advertisement",
    plural = "l2advertisements",
    namespaced,
    crates(kube_core = "kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct L2AdvertisementSpec {
    /// Pools by name.
    #[serde(default, rename = "ipAddressPools")]
    pub ip_address_pools: Vec<String>,
    /// Pools by label.
    #[serde(default, rename = "ipAddressPoolSelectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that may announce.
    #[serde(default)]
    pub node_selectors: Vec<LabelSelector>,
    /// Links to announce on.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// Services by label.
    #[serde(default)]
    pub service_selectors: Vec<LabelSelector>,
    /// Nodes that should rather announce.
    #[serde(default)]
    pub preferred_node_selectors: Vec<PreferredNodeSelector>,
}

/// One of `spec.preferredNodeSelectors`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PreferredNodeSelector {
    /// 1 to 100.
    pub weight: i32,
    /// Which nodes.
    pub preference: LabelSelector,
}

/// `spec` of a BGPAdvertisement.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    plural = "bgpadvertisements",
    namespaced,
    crates(kube_core = "kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct BGPAdvertisementSpec {
    /// The length of the IPv4 prefixes that are announced.
    #[serde(default = "whole_v4")]
    pub aggregation_length: i32,
    /// The length of the IPv6 prefixes that are announced.
    #[serde(default = "whole_v6")]
    pub aggregation_length_v6: i32,
    /// LOCAL_PREF on sessions within one AS.
    #[serde(default)]
    pub local_pref: u32,
    /// Values, or names of Community objects.
    #[serde(default)]
    pub communities: Vec<String>,
    /// Pools by name.
    #[serde(default, rename = "ipAddressPools")]
    pub ip_address_pools: Vec<String>,
    /// Pools by label.
    #[serde(default, rename = "ipAddressPoolSelectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that announce.
    #[serde(default)]
    pub node_selectors: Vec<LabelSelector>,
    /// BGPPeers by name.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Services by label.
    #[serde(default)]
    pub service_selectors: Vec<LabelSelector>,
}

fn whole_v4() -> i32 {
    32
}

fn whole_v6() -> i32 {
    128
}
