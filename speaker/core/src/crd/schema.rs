//! MetalLB's custom resources as they stand in YAML: names and types of fields, nothing more.
//!
//! What the values mean, and which of them make sense, is up to the domain types beside this file. Fields that are
//! not listed here are dropped, as the API server drops them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `spec` of an IPAddressPool.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "IPAddressPool",
    plural = "ipaddresspools",
    namespaced,
    crates(kube_core = "kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolSpec {
    /// CIDRs and ranges.
    pub addresses: Vec<String>,
    /// Whether services that ask for nothing get an address from here.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Whether IPv4 addresses that end in .0 or .255 are left out.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Which services the pool is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocationSpec>,
}

fn yes() -> bool {
    true
}

/// `spec.serviceAllocation` of an IPAddressPool.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocationSpec {
    /// Lower is earlier; 0 is last.
    #[serde(default)]
    pub priority: i64,
    /// Namespaces by name.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Namespaces by label.
    #[serde(default)]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label.
    #[serde(default)]
    pub service_selectors: Vec<LabelSelector>,
}

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
