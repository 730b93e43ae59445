//! The kinds that components write and people read: ServiceL2Status, ServiceBGPStatus, ConfigurationState.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A `metallb.io/v1beta1` ServiceL2Status: who answers for a service.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServiceL2Status {
    /// Name, labels, owner.
    pub metadata: ObjectMeta,
    /// Empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Nothing>,
    /// What is so.
    #[serde(default)]
    pub status: ServiceL2StatusStatus,
}

/// `spec` of a kind that has only a status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Nothing {}

/// `status` of a ServiceL2Status. Node and service never change once they are set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceL2StatusStatus {
    /// The node that answers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The service's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// The service's namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_namespace: String,
    /// The links on which it answers; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceName>,
}

/// One of `status.interfaces`.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
pub struct InterfaceName {
    /// The link's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A `metallb.io/v1beta1` ServiceBGPStatus: the peers to which one node means to announce a service.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServiceBGPStatus {
    /// Name, labels, owner.
    pub metadata: ObjectMeta,
    /// Empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Nothing>,
    /// What is so.
    #[serde(default)]
    pub status: ServiceBGPStatusStatus,
}

/// `status` of a ServiceBGPStatus. Node and service never change once they are set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBGPStatusStatus {
    /// The node that announces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The service's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// The service's namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_namespace: String,
    /// BGPPeers by name, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}

/// A `metallb.io/v1beta1` ConfigurationState: whether a component could use the configuration.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationState {
    /// Name, labels, owner.
    pub metadata: ObjectMeta,
    /// What is so.
    #[serde(default)]
    pub status: ConfigurationStateStatus,
}

/// `status` of a ConfigurationState.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStateStatus {
    /// All conditions in one word; absent until somebody has judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ConfigurationResult>,
    /// The messages of the conditions that are not true, one a line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_summary: String,
    /// One for each component's part, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// `status.result` of a ConfigurationState.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum ConfigurationResult {
    /// Every condition holds.
    Valid,
    /// The configuration has a fault.
    Invalid,
    /// Nobody has judged yet.
    Unknown,
}
