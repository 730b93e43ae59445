//! IPAddressPool as it stands in YAML.

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
    status = "IPAddressPoolStatus",
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

/// `status` of an IPAddressPool: counts of addresses, a shared one once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct IPAddressPoolStatus {
    /// IPv4 addresses that services hold.
    #[serde(rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// IPv6 addresses that services hold.
    #[serde(rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// IPv4 addresses that are free.
    #[serde(rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// IPv6 addresses that are free.
    #[serde(rename = "availableIPv6")]
    pub available_ipv6: i64,
}
