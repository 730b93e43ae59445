//! What an installation needs on OpenShift besides: constraints under which its pods may have the privileges that they are made with.
//!
//! Not among [`super::objects`]: whoever administers the cluster applies them, and nothing of ours may grant them. OpenShift's type is not
//! among Kubernetes'; it is written here as it stands in YAML. Governed by OpenShift's `security.openshift.io/v1` and MetalLB's operator,
//! which has constraints of the same name.

use super::controller::CONTROLLER;
use super::speaker::{CAPABILITIES, SPEAKER};
use super::{Object, Options};
use serde_json::json;

/// The constraints of the speaker, and the controller's leave to use those of the cluster.
pub fn constraints(options: &Options) -> [Object; 2] {
    let namespace = &options.namespace;
    let anything = json!({"type": "RunAsAny"});
    let speaker = json!({
        "apiVersion": "security.openshift.io/v1",
        "kind": "SecurityContextConstraints",
        "metadata": {
            "name": NAME,
            "labels": {"app": "metallb"},
            "annotations": {"kubernetes.io/description": DESCRIPTION},
        },
        "users": [format!("system:serviceaccount:{namespace}:{SPEAKER}")],
        "allowHostNetwork": true,
        "allowHostPorts": true,
        "allowHostDirVolumePlugin": true,
        "allowHostIPC": false,
        "allowHostPID": false,
        "allowPrivilegedContainer": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "requiredDropCapabilities": ["ALL"],
        "allowedCapabilities": CAPABILITIES,
        "seccompProfiles": ["runtime/default", "localhost/heliograph/speaker.json"],
        "runAsUser": anything,
        "seLinuxContext": anything,
        "fsGroup": anything,
        "supplementalGroups": anything,
        "volumes": VOLUMES,
    });
    let account =
        |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": "controller-constraints", "namespace": namespace, "labels": {"app": "metallb"},
        },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:openshift:scc:nonroot-v2",
        },
        "subjects": [account(CONTROLLER), account("metallb-operator")],
    });
    [
        Object {
            api_version: "security.openshift.io/v1".to_owned(),
            kind: "SecurityContextConstraints".to_owned(),
            plural: "securitycontextconstraints".to_owned(),
            namespace: None,
            name: NAME.to_owned(),
            body: speaker,
        },
        Object {
            api_version: "rbac.authorization.k8s.io/v1".to_owned(),
            kind: "RoleBinding".to_owned(),
            plural: "rolebindings".to_owned(),
            namespace: Some(namespace.clone()),
            name: "controller-constraints".to_owned(),
            body: binding,
        },
    ]
}

/// Whether constraints let a pod be: what OpenShift would refuse of it, in words.
#[cfg(test)]
pub(super) fn refusals(constraints: &serde_json::Value, pod: &serde_json::Value) -> Vec<String> {
    let listed = |list: &serde_json::Value, wanted: &serde_json::Value| {
        list.as_array().is_some_and(|list| list.contains(wanted))
    };
    let mut refusals = Vec::new();
    if pod["hostNetwork"] == true && constraints["allowHostNetwork"] != true {
        refusals.push("hostNetwork".to_owned());
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let kinds = volume.as_object().into_iter().flatten();
        for (kind, _) in kinds.filter(|(kind, _)| *kind != "name") {
            let is_host = kind == "hostPath";
            if !listed(&constraints["volumes"], &json!(kind))
                || (is_host && constraints["allowHostDirVolumePlugin"] != true)
            {
                refusals.push(format!("volume {kind}"));
            }
        }
    }
    for container in pod["containers"].as_array().into_iter().flatten() {
        let context = &container["securityContext"];
        for added in context["capabilities"]["add"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if !listed(&constraints["allowedCapabilities"], added) {
                refusals.push(format!("capability {added}"));
            }
        }
        if context["capabilities"]["drop"] != constraints["requiredDropCapabilities"] {
            refusals.push("capabilities that stay".to_owned());
        }
        for denied in ["allowPrivilegeEscalation", "privileged"] {
            if context[denied] == true {
                refusals.push(denied.to_owned());
            }
        }
        if context["readOnlyRootFilesystem"] != true {
            refusals.push("a root that can be written".to_owned());
        }
    }
    refusals
}

const NAME: &str = "metallb-speaker";
const DESCRIPTION: &str =
    "For the speakers of load balancers, which answer for addresses in the kernels of their nodes.";
const VOLUMES: [&str; 6] = [
    "configMap",
    "downwardAPI",
    "emptyDir",
    "hostPath",
    "projected",
    "secret",
];
