//! A cluster in a double where the operator's manifests were applied, and operators as processes.
//!
//! The test plays what the double does not: pods that become available, and what goes when its pods are gone.

use crate::roles;
use api_tests::{Double, Options, Users};
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use xtask::tools;

/// A cluster with what `deploy/operator` asks to be applied.
pub(super) struct Site {
    pub(super) double: Double,
    folder: tempfile::TempDir,
    started: RefCell<Vec<PathBuf>>,
}

/// An operator. Killed when it is dropped.
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

impl Site {
    pub(super) fn new() -> Self {
        let mut users = Users::new();
        users.add("operator-token", OPERATOR, &[]);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let double = Double::start(Options {
            crds: Some(root.join("deploy/crds")),
            users,
            ..Options::default()
        })
        .unwrap();
        let site = Self {
            double,
            folder: tempfile::tempdir().unwrap(),
            started: RefCell::default(),
        };
        for file in [
            "manifests/0-namespace.yaml",
            "manifests/1-controller-rights.yaml",
            "manifests/2-speaker-rights.yaml",
            "operator/1-operator-rights.yaml",
            "operator/2-operator.yaml",
            "operator/3-webhook.yaml",
        ] {
            let text = fs::read_to_string(root.join("deploy").join(file)).unwrap();
            for document in serde_norway::Deserializer::from_str(&text) {
                site.put(&Value::deserialize(document).unwrap());
            }
        }
        site
    }

    /// Makes or replaces an object.
    pub(super) fn put(&self, object: &Value) {
        let (code, answer) = self.double.put(object);
        assert!((200..300).contains(&code), "{code} {answer} for {object}");
    }

    /// Null if there is none.
    pub(super) fn get(&self, path: &str) -> Value {
        self.double.get(path).unwrap_or_default()
    }

    /// Changes an object by hand.
    pub(super) fn edit(&self, path: &str, patch: &Value) {
        let path = format!("{path}?fieldManager=kubectl-edit");
        let merge = "application/merge-patch+json";
        let (code, answer) = self.double.request("PATCH", &path, merge, patch);
        assert_eq!(code, 200, "{answer}");
    }

    /// Starts an operator.
    pub(super) fn operator(&self, flags: &[&str]) -> Running {
        let port = free_port();
        self.double.place(
            "metallb-operator-webhook-service.metallb-system",
            ([127, 0, 0, 1], port).into(),
        );
        let count = self.started.borrow().len();
        let log = self.folder.path().join(format!("{count}.log"));
        self.started.borrow_mut().push(log.clone());
        let out = File::create(&log).unwrap();
        let child = Command::new(tools::target().join("debug/speaker"))
            .args([
                "operator",
                "--log-format=json",
                "--port=0",
                "--namespace=metallb-system",
                "--controller-image=heliograph:c",
                "--speaker-image=heliograph:s",
                "--kubeconfig",
            ])
            .arg(self.double.kubeconfig(OPERATOR).unwrap())
            .arg(format!("--webhook-port={port}"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Running { child, log }
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
            for count in counts {
                status[count] = json!(1);
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

    /// Waits until something is so, with all logs if it never is.
    pub(super) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            if begun.elapsed() > WAIT_MAX {
                let started = self.started.borrow();
                let logs = started.iter().map(|log| fs::read_to_string(log).unwrap());
                let logs: Vec<String> = logs.collect();
                panic!("{what} did not come\n{}", logs.join("\n---\n"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Running {
    /// The lines of an event in its log.
    pub(super) fn lines(&self, event: &str) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap();
        let lines = text.lines();
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event"] == event).collect()
    }

    /// Ends it as a kubelet does.
    pub(super) fn stop(mut self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(told.unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            roles::judge(&self.double.requests());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    held.local_addr().unwrap().port()
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
const COLLECTIONS: [(&str, &str); 7] = [
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
        "ValidatingWebhookConfiguration",
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    ),
];
const WAIT_MAX: Duration = Duration::from_secs(60); // a Lease runs out in 15 s, and the machine may be busy
