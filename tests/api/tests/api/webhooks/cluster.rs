//! A cluster as it is after the shipped manifests were applied, and replicas of the controller that only answer.

use crate::http::Place;
use crate::roles;
use api_tests::{Double, Options};
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use xtask::tools;

/// A cluster with the shipped definitions, roles and webhooks.
pub(crate) struct Cluster {
    pub(crate) double: Double,
    logs: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let mut options = Options {
            crds: Some(root().join("deploy/crds")),
            ..Options::default()
        };
        options.users.add("controller", CONTROLLER, &[]);
        let cluster = Self {
            double: Double::start(options).unwrap(),
            logs: tempfile::tempdir().unwrap(),
        };
        cluster.apply_manifests();
        cluster
    }

    /// As `kubectl replace` of what is shipped.
    pub(crate) fn apply_manifests(&self) {
        let files = ["0-namespace", "1-controller-rights", "4-webhooks"]
            .map(|name| format!("deploy/manifests/{name}.yaml"));
        let crd = "deploy/crds/bgppeers.yaml".to_owned();
        for file in files.into_iter().chain([crd]) {
            let text = fs::read_to_string(root().join(&file)).unwrap();
            for document in serde_norway::Deserializer::from_str(&text) {
                let object = Value::deserialize(document).unwrap();
                let (code, answer) = self.double.put(&object);
                assert!(code < 300, "{file}: {answer}");
            }
        }
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

    pub(crate) fn merge(&self, path: &str, patch: &Value) {
        let (code, answer) =
            self.double
                .request("PATCH", path, "application/merge-patch+json", patch);
        assert_eq!(code, 200, "{answer}");
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
        let file = self.logs.path().join("applied.yaml");
        fs::write(&file, manifest).unwrap();
        Command::new(xtask::kubectl::ensure().unwrap())
            .env("HOME", self.logs.path())
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
    child: Child,
    webhooks: SocketAddr,
    health: SocketAddr,
    log: PathBuf,
}

impl Replica {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(cluster: &Cluster, flags: &[&str]) -> Self {
        let replica = Self::spawn(cluster, flags);
        replica.until_ready();
        replica
    }

    pub(crate) fn spawn(cluster: &Cluster, flags: &[&str]) -> Self {
        let [webhooks, health] = free();
        let log = cluster.logs.path().join(webhooks.port().to_string());
        let written = File::create(&log).unwrap();
        let child = Command::new(speaker())
            .args([
                "controller",
                "--webhook-mode=onlywebhook",
                "--port=0",
                "--namespace=metallb-system",
            ])
            .arg(format!("--webhook-port={}", webhooks.port()))
            .arg(format!("--health-probe-port={}", health.port()))
            .arg("--kubeconfig")
            .arg(cluster.double.kubeconfig(CONTROLLER).unwrap())
            // The last of two counts.
            .arg("--port=0")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(written.try_clone().unwrap())
            .stderr(written)
            .spawn()
            .unwrap();
        Self {
            child,
            webhooks,
            health,
            log,
        }
    }

    pub(crate) fn until_ready(&self) {
        let place = Place {
            address: self.health,
            tls: None,
        };
        self.until("it is ready", || {
            let answer = place.send("GET", "/readyz", &[], b"");
            answer.is_ok_and(|answer| answer.status == 200)
        });
    }

    /// Ends it as a kubelet does.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.unwrap().success());
    }

    pub(crate) fn until_ended(&mut self) {
        let deadline = Instant::now() + PROMISED;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "still there\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Looks again and again, for as long as is promised.
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PROMISED;
        while !holds() {
            assert!(
                Instant::now() < deadline,
                "{what}: not within 5 s\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            roles::judge(&self.double.requests());
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

/// Free ports of this machine.
fn free() -> [SocketAddr; 2] {
    let held = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

/// The binary of this build, or the one that `HELIOGRAPH_SPEAKER` names.
fn speaker() -> PathBuf {
    let named = std::env::var_os("HELIOGRAPH_SPEAKER").map(PathBuf::from);
    let path = named.unwrap_or_else(|| tools::target().join("debug/speaker"));
    assert!(
        path.exists(),
        "{} is missing: cargo build -p speaker",
        path.display()
    );
    path
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) const CONTROLLER: &str = "system:serviceaccount:metallb-system:controller";
pub(crate) const POOLS: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools";
pub(crate) const SECRET: &str = "/api/v1/namespaces/metallb-system/secrets/metallb-webhook-cert";
pub(crate) const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/metallb-webhook-configuration";
pub(crate) const WEBHOOK_BUNDLE: &str = "/webhooks/0/clientConfig/caBundle";
pub(crate) const CRD: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io";
pub(crate) const CRD_BUNDLE: &str = "/spec/conversion/webhook/clientConfig/caBundle";
/// What webhooks may take to answer again, whatever was overwritten.
pub(crate) const PROMISED: Duration = Duration::from_secs(5);
