//! MetalLB, the operator's kind, as it stands in YAML.

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `spec` of a MetalLB.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "MetalLB",
    plural = "metallbs",
    namespaced,
    status = "MetalLBStatus",
    crates(kube_core = "kube_core")
)]
#[serde(rename_all = "camelCase", default)]
pub struct MetalLBSpec {
    /// Deprecated, without effect.
    pub image: String,
    /// Where speakers run.
    pub node_selector: BTreeMap<String, String>,
    /// What speakers tolerate.
    pub speaker_tolerations: Vec<Toleration>,
    /// Where the controller runs.
    pub controller_node_selector: BTreeMap<String, String>,
    /// What the controller tolerates.
    pub controller_tolerations: Vec<Toleration>,
    /// all, debug, info, warn, error or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// Which services are ours.
    pub load_balancer_class: String,
    /// The controller's pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_config: Option<Workload>,
    /// The speakers' pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker_config: Option<Workload>,
    /// native, frr, frr-k8s or frr-k8s-external.
    pub bgp_backend: String,
    /// Of MetalLB's FRR.
    #[serde(rename = "frrk8sConfig", skip_serializing_if = "Option::is_none")]
    pub frrk8s_config: Option<Frrk8sConfig>,
}

/// How the pods of one component are made.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Workload {
    /// A PriorityClass.
    pub priority_class_name: String,
    /// A RuntimeClass.
    pub runtime_class_name: String,
    /// Which nodes and neighbours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Annotations of the pods.
    pub annotations: BTreeMap<String, String>,
    /// Requests and limits of the main container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

/// `spec.frrk8sConfig` of a MetalLB.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Frrk8sConfig {
    /// CIDRs that are never taken from a peer.
    pub always_block: Vec<String>,
    /// The namespace of a foreign frr-k8s.
    pub namespace: String,
    /// Whether Secrets are named instead of copied.
    pub secret_passthrough: bool,
}

/// `status` of a MetalLB.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct MetalLBStatus {
    /// Available, Upgradeable, Progressing, Degraded.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
