//! A cluster as it is after the shipped manifests were applied, and replicas of the controller that only answer.

use crate::cluster::{self, CONTROLLER, Running, wait_for};
use crate::http::Place;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::process::{Command, Output};
use std::time::Duration;

/// A cluster with the shipped definitions, roles and webhooks.
pub(crate) struct Cluster {
    cluster: cluster::Cluster,
}

impl Deref for Cluster {
    type Target = cluster::Cluster;

    fn deref(&self) -> &cluster::Cluster {
        &self.cluster
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut cluster::Cluster {
        &mut self.cluster
    }
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self {
            cluster: cluster::Cluster::start("controller", CONTROLLER, &SHIPPED),
        }
    }

    /// As `kubectl replace` of what is shipped.
    pub(crate) fn apply_manifests(&self) {
        self.apply(&SHIPPED);
    }

    /// Lets the Service of the webhooks lead to that replica.
    pub(crate) fn route(&self, replica: &Replica) {
        self.double
            .place("metallb-webhook-service.metallb-system", replica.webhooks);
    }

    pub(crate) fn post(&self, path: &str, object: &Value) -> (u16, Value) {
        self.double
            .request("POST", path, "application/json", object)
    }

    pub(crate) fn pool(&self, name: &str, addresses: &str) -> (u16, Value) {
        self.post(
            POOLS,
            &json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
                "metadata": {"name": name, "namespace": "metallb-system"},
                "spec": {"addresses": [addresses]},
            }),
        )
    }

    /// What a real kubectl comes to that applies this.
    pub(crate) fn kubectl_apply(&self, manifest: &str) -> Output {
        let file = self.folder.path().join("applied.yaml");
        fs::write(&file, manifest).unwrap();
        Command::new(xtask::kubectl::ensure().unwrap())
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.double.kubeconfig("admin").unwrap())
            .args(["apply", "--server-side", "--validate=false", "-f"])
            .arg(file)
            .output()
            .unwrap()
    }

    /// Takes the bundles of the webhooks by server-side apply.
    pub(crate) fn apply_bundle(&self, manager: &str, bundle: &str) {
        let seen = self.double.get(WEBHOOKS).unwrap();
        let mut webhooks = seen["webhooks"].clone();
        for webhook in webhooks.as_array_mut().unwrap() {
            webhook["clientConfig"]["caBundle"] = json!(bundle);
        }
        let applied = json!({
            "apiVersion": seen["apiVersion"], "kind": seen["kind"],
            "metadata": {"name": seen["metadata"]["name"]}, "webhooks": webhooks,
        });
        let path = format!("{WEBHOOKS}?fieldManager={manager}&force=true");
        let (code, answer) =
            self.double
                .request("PATCH", &path, "application/apply-patch+yaml", &applied);
        assert_eq!(code, 200, "{answer}");
    }

    /// How often the controller patched that object, since requests were forgotten.
    pub(crate) fn patches(&self, path: &str) -> usize {
        let requests = self.double.requests();
        let patches = requests.iter().filter(|one| {
            one.path == path && one.user == CONTROLLER && one.verb == "patch" && one.code == 200
        });
        patches.count()
    }

    /// The `caBundle` at that place.
    pub(crate) fn bundle(&self, path: &str, at: &str) -> Option<String> {
        let object = self.double.get(path)?;
        object.pointer(at)?.as_str().map(str::to_owned)
    }
}

/// A controller that does nothing but answer. It ends with the test.
pub(crate) struct Replica {
    running: Running,
    webhooks: SocketAddr,
    health: SocketAddr,
}

impl Deref for Replica {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Replica {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(cluster: &Cluster, flags: &[&str]) -> Self {
        let replica = Self::spawn(cluster, flags);
        replica.until_ready();
        replica
    }

    pub(crate) fn spawn(cluster: &Cluster, flags: &[&str]) -> Self {
        let [webhooks, health] = cluster::free();
        let ports = [("webhook", webhooks), ("health-probe", health)]
            .map(|(name, address)| format!("--{name}-port={}", address.port()));
        let usual = [
            "controller",
            "--webhook-mode=onlywebhook",
            "--port=0",
            "--namespace=metallb-system",
            &ports[0],
            &ports[1],
        ];
        let kubeconfig = cluster.double.kubeconfig(CONTROLLER).unwrap();
        Self {
            running: cluster.run(&kubeconfig, &[&usual[..], flags].concat()),
            webhooks,
            health,
        }
    }

    pub(crate) fn until_ready(&self) {
        let place = Place {
            address: self.health,
            tls: None,
        };
        self.within(BUSY_MAX, "it is ready", || {
            let answer = place.send("GET", "/readyz", &[], b"");
            answer.is_ok_and(|answer| answer.status == 200)
        });
    }

    /// Begins to end it as a kubelet does.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn until_ended(&mut self) {
        let mut status = None;
        wait_for(BUSY_MAX, || {
            status = self.running.ended();
            status.is_some()
        });
        let is_well = status.is_some_and(|status| status.success());
        assert!(is_well, "{status:?}\n{}", self.log());
    }

    /// Looks again and again, for as long as is promised and as much again three times: a busy machine lets processes wait. That it is done in the time itself
    /// is shown within one process (`within_5_s` of the controller's own tests).
    pub(crate) fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        self.within(4 * PROMISED, what, holds);
    }

    fn within(&self, time: Duration, what: &str, holds: impl FnMut() -> bool) {
        let is_so = wait_for(time, holds);
        assert!(is_so, "{what}: not within {time:?}\n{}", self.log());
    }
}

const SHIPPED: [&str; 4] = [
    "manifests/0-namespace.yaml",
    "manifests/1-controller-rights.yaml",
    "manifests/4-webhooks.yaml",
    "crds/bgppeers.yaml",
];
pub(crate) const POOLS: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools";
pub(crate) const SECRET: &str = "/api/v1/namespaces/metallb-system/secrets/metallb-webhook-cert";
pub(crate) const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/metallb-webhook-configuration";
pub(crate) const WEBHOOK_BUNDLE: &str = "/webhooks/0/clientConfig/caBundle";
pub(crate) const CRD: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io";
pub(crate) const CRD_BUNDLE: &str = "/spec/conversion/webhook/clientConfig/caBundle";
/// What webhooks may take to answer again, whatever was overwritten.
const PROMISED: Duration = Duration::from_secs(5);
/// How long a busy machine may take for what is done within some seconds.
pub(crate) const BUSY_MAX: Duration = Duration::from_secs(60);
