//! A cluster where the operator's manifests were applied, and operators as processes.
//!
//! The test plays what the double does not: pods that become available, and what goes when its pods are gone.

use crate::cluster::{self, Cluster, Running};
use serde_json::{Value, json};
use std::ops::Deref;

/// A cluster with what `deploy/operator` asks to be applied.
pub(super) struct Site {
    cluster: Cluster,
}

impl Deref for Site {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Site {
    pub(super) fn new() -> Self {
        let files = [
            "manifests/0-namespace.yaml",
            "manifests/1-controller-rights.yaml",
            "manifests/2-speaker-rights.yaml",
            "operator/1-operator-rights.yaml",
            "operator/2-operator.yaml",
            "operator/3-webhook.yaml",
        ];
        Self {
            cluster: Cluster::start("operator-token", OPERATOR, &files),
        }
    }

    /// The kind of which ServiceMonitors are.
    pub(super) fn has_prometheus_operator(&self) {
        self.put(&json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
            "spec": {
                "group": "monitoring.coreos.com", "scope": "Namespaced",
                "names": {"plural": "servicemonitors", "kind": "ServiceMonitor"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }],
            },
        }));
    }

    /// Changes an object by hand.
    pub(super) fn edit(&self, path: &str, patch: &Value) {
        self.merge(&format!("{path}?fieldManager=kubectl-edit"), patch);
    }

    /// Starts an operator.
    pub(super) fn operator(&self, flags: &[&str]) -> Running {
        let [webhook] = cluster::free();
        let service = "metallb-operator-webhook-service.metallb-system";
        self.double.place(service, webhook);
        let port = format!("--webhook-port={}", webhook.port());
        let usual = [
            "operator",
            "--log-format=json",
            "--port=0",
            "--namespace=metallb-system",
            "--controller-image=heliograph:c",
            "--speaker-image=heliograph:s",
            &port,
        ];
        let kubeconfig = self.double.kubeconfig(OPERATOR).unwrap();
        self.run(&kubeconfig, &[&usual[..], flags].concat())
    }

    /// What the API server says to a resource of that name.
    pub(super) fn ask(&self, name: &str, spec: &Value) -> (u16, Value) {
        self.double.put(&json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "MetalLB",
            "metadata": {"name": name, "namespace": "metallb-system"}, "spec": spec,
        }))
    }

    /// Asks until the operator's webhook is there.
    pub(super) fn metallb(&self, name: &str, spec: &Value) {
        self.until("the resource is taken", || self.ask(name, spec).0 < 300);
    }

    /// Type, reason and message of the conditions that hold.
    pub(super) fn conditions(&self, name: &str) -> Vec<String> {
        let metallb = self.get(&format!("{METALLBS}/{name}"));
        let all = metallb["status"]["conditions"].as_array();
        let holding = all
            .into_iter()
            .flatten()
            .filter(|one| one["status"] == "True");
        let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
        holding
            .map(|one| {
                let shown = ["type", "reason", "message"].map(|field| text(one, field));
                shown.join(" ").trim_end().to_owned()
            })
            .collect()
    }

    pub(super) fn until_available(&self) {
        self.until("all objects", || {
            self.get(DAEMON_SET).is_object() && self.get(WEBHOOKS).is_object()
        });
        self.until("it is available", || {
            self.roll_out();
            self.conditions("metallb").first().map(String::as_str) == Some("Available Available")
        });
    }

    /// As the cluster does when pods have followed.
    pub(super) fn roll_out(&self) {
        for (path, counts) in [
            (
                DAEMON_SET,
                [
                    "desiredNumberScheduled",
                    "updatedNumberScheduled",
                    "numberAvailable",
                ],
            ),
            (
                DEPLOYMENT,
                ["replicas", "updatedReplicas", "availableReplicas"],
            ),
        ] {
            let object = self.get(path);
            let seen = &object["metadata"]["generation"];
            if object.is_null() || object["status"]["observedGeneration"] == *seen {
                continue;
            }
            let mut status = json!({"observedGeneration": seen});
            let pods = object["spec"]["replicas"].as_u64().unwrap_or(1);
            for count in counts {
                status[count] = json!(pods);
            }
            let (path, merge) = (format!("{path}/status"), "application/merge-patch+json");
            let patch = json!({"status": status});
            let (code, answer) = self.double.request("PATCH", &path, merge, &patch);
            assert!(code == 200 || code == 404, "{answer}");
        }
    }

    /// As the cluster does when the pods of what is being deleted are gone.
    pub(super) fn let_go(&self, path: &str) {
        self.edit(path, &json!({"metadata": {"finalizers": null}}));
    }

    /// Kinds and names of what carries the operator's label.
    pub(super) fn operated(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (kind, collection) in COLLECTIONS {
            let list = self.get(&format!(
                "{collection}?labelSelector=heliograph.io/operated-by"
            ));
            let items = list["items"].as_array().into_iter().flatten();
            let names = items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
            found.extend(names.map(|name| format!("{kind} {name}")));
        }
        found
    }

    /// What operators wrote, but for Leases, their certificates and conditions, since requests were forgotten.
    pub(super) fn writes(&self) -> Vec<String> {
        let requests = self.double.requests().into_iter();
        let writes = requests.filter(|one| {
            let is_of_itself = [
                "/leases",
                "/secrets",
                "metallb-operator-webhook-configuration",
            ];
            one.user == OPERATOR
                && ["create", "update", "patch", "delete"].contains(&one.verb.as_str())
                && !is_of_itself.iter().any(|of| one.path.contains(of))
        });
        writes
            .map(|one| format!("{} {}", one.verb, one.path))
            .collect()
    }
}

/// Who the operator is to the API server.
const OPERATOR: &str = "system:serviceaccount:metallb-system:metallb-operator";
pub(super) const METALLBS: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/metallbs";
pub(super) const DAEMON_SET: &str = "/apis/apps/v1/namespaces/metallb-system/daemonsets/speaker";
pub(super) const DEPLOYMENT: &str =
    "/apis/apps/v1/namespaces/metallb-system/deployments/controller";
pub(super) const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/metallb-webhook-configuration";
pub(super) const CRD: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io";
const COLLECTIONS: [(&str, &str); 9] = [
    ("ConfigMap", "/api/v1/namespaces/metallb-system/configmaps"),
    (
        "DaemonSet",
        "/apis/apps/v1/namespaces/metallb-system/daemonsets",
    ),
    (
        "Deployment",
        "/apis/apps/v1/namespaces/metallb-system/deployments",
    ),
    (
        "NetworkPolicy",
        "/apis/networking.k8s.io/v1/namespaces/metallb-system/networkpolicies",
    ),
    (
        "PodDisruptionBudget",
        "/apis/policy/v1/namespaces/metallb-system/poddisruptionbudgets",
    ),
    ("Service", "/api/v1/namespaces/metallb-system/services"),
    (
        "ValidatingAdmissionPolicy",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    ),
    (
        "ValidatingAdmissionPolicyBinding",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    ),
    (
        "ValidatingWebhookConfiguration",
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    ),
];
