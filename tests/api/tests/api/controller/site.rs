//! A cluster with our roles in force, and controllers as processes.

use crate::cluster::{CONTROLLER, Cluster, Running};
use serde_json::{Value, json};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::Path;

/// A cluster with the namespaces `metallb-system` and `a`.
pub(super) struct Site {
    cluster: Cluster,
}

impl Deref for Site {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}

impl Site {
    pub(super) fn new() -> Self {
        let files = [
            "manifests/0-namespace.yaml",
            "manifests/1-controller-rights.yaml",
        ];
        let cluster = Cluster::start(TOKEN, CONTROLLER, &files);
        cluster.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}));
        Self { cluster }
    }

    pub(super) fn service(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/namespaces/a/services/{name}"))
    }

    pub(super) fn delete_service(&self, name: &str) {
        let path = format!("/api/v1/namespaces/a/services/{name}");
        assert_eq!(self.double.delete(&path), 200);
    }

    pub(super) fn pool(&self, name: &str) -> Value {
        let all = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools";
        self.get(&format!("{all}/{name}"))
    }

    /// The status of ConfigurationState `controller`.
    pub(super) fn state(&self) -> Value {
        let all = "/apis/metallb.io/v1beta1/namespaces/metallb-system/configurationstates";
        self.get(&format!("{all}/controller"))["status"].clone()
    }

    /// What ConfigurationState `controller` says is wrong.
    pub(super) fn summary(&self) -> String {
        let summary = self.state()["errorSummary"].clone();
        summary.as_str().unwrap_or_default().to_owned()
    }

    /// The pod of MetalLB's controller goes.
    pub(super) fn delete_foreign_controller(&self) {
        let pod = "/api/v1/namespaces/metallb-system/pods/controller-old?gracePeriodSeconds=0";
        assert_eq!(self.double.delete(pod), 200);
    }

    pub(super) fn lease(&self) -> Value {
        let all = "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases";
        self.get(&format!("{all}/heliograph-controller"))["spec"].clone()
    }

    /// The addresses in the status of a service.
    pub(super) fn holds(&self, name: &str) -> Vec<String> {
        let service = self.service(name);
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
        let ips = ingress.into_iter().flatten();
        ips.map(|entry| entry["ip"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Type, reason and message of the events of a service, oldest first.
    pub(super) fn events(&self, service: &str) -> Vec<String> {
        let list = self.get("/api/v1/namespaces/a/events");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let of_service = |event: &&Value| event["involvedObject"]["name"] == service;
        let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        let mut events: Vec<(String, String)> = items
            .iter()
            .filter(of_service)
            .map(|e| {
                let shown = [text(e, "type"), text(e, "reason"), text(e, "message")];
                let name = e["metadata"]["name"].as_str().unwrap().to_owned();
                (name, shown.join(" "))
            })
            .collect();
        events.sort();
        events.into_iter().map(|(_, shown)| shown).collect()
    }

    /// Starts a controller under a pod's name.
    pub(super) fn controller(&self, pod: &str, flags: &[&str]) -> Running {
        let kubeconfig = self.double.kubeconfig(CONTROLLER).unwrap();
        self.controller_by(&kubeconfig, pod, flags)
    }

    /// The same, with credentials in files of a folder.
    pub(super) fn controller_by_files(&self, folder: &Path, pod: &str) -> Running {
        let kubeconfig = self.double.kubeconfig_of_files(folder, CONTROLLER).unwrap();
        self.controller_by(&kubeconfig, pod, &[])
    }

    /// The same by a kubeconfig of that text, with these variables in its environment and no others that say where proxies are.
    pub(super) fn controller_of(&self, kubeconfig: &Value, variables: &[(&str, &str)]) -> Running {
        let path = self.folder.path().join("kubeconfig");
        fs::write(&path, kubeconfig.to_string()).unwrap();
        let usual = usual("c-0");
        let usual: Vec<&str> = usual.iter().map(String::as_str).collect();
        self.run_in(&path, &usual, variables)
    }

    fn controller_by(&self, kubeconfig: &Path, pod: &str, flags: &[&str]) -> Running {
        let usual = usual(pod);
        let usual: Vec<&str> = usual.iter().map(String::as_str).collect();
        self.run(kubeconfig, &[&usual[..], flags].concat())
    }
}

fn usual(pod: &str) -> Vec<String> {
    let pod = format!("--pod-name={pod}");
    let usual = [
        "controller",
        "--log-format=json",
        "--port=0",
        "--health-probe-port=0",
        "--webhook-mode=disabled",
        "--namespace=metallb-system",
        &pod,
    ];
    usual.map(str::to_owned).to_vec()
}

pub(super) fn pool(name: &str, addresses: &str) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": "metallb-system"},
        "spec": {"addresses": [addresses]},
    })
}

/// A load balancer in namespace `a`.
pub(super) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "a"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": name}},
    })
}

/// By which the controller is known.
pub(super) const TOKEN: &str = "controller-token";
