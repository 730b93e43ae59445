//! A cluster in a double, with our roles in force, and controllers as processes.

use crate::roles;
use api_tests::{Double, Options, Users};
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use xtask::tools;

/// A cluster with the namespaces `metallb-system` and `a`.
pub(super) struct Site {
    pub(super) double: Double,
    folder: tempfile::TempDir,
    started: RefCell<Vec<PathBuf>>,
}

/// A controller. Killed when it is dropped.
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

impl Site {
    pub(super) fn new() -> Self {
        let mut users = Users::new();
        users.add(TOKEN, CONTROLLER, &[]);
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
        for file in ["0-namespace.yaml", "1-controller-rights.yaml"] {
            site.apply(&root.join("deploy/manifests").join(file));
        }
        site.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}));
        site
    }

    fn apply(&self, file: &Path) {
        let text = fs::read_to_string(file).unwrap();
        for document in serde_norway::Deserializer::from_str(&text) {
            self.put(&Value::deserialize(document).unwrap());
        }
    }

    /// Makes or replaces an object.
    pub(super) fn put(&self, object: &Value) {
        let (code, answer) = self.double.put(object);
        assert!((200..300).contains(&code), "{code} {answer} for {object}");
    }

    pub(super) fn get(&self, path: &str) -> Value {
        self.double.get(path).unwrap_or_default()
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

    fn controller_by(&self, kubeconfig: &Path, pod: &str, flags: &[&str]) -> Running {
        let count = self.started.borrow().len();
        let log = self.folder.path().join(format!("{count}-{pod}.log"));
        self.started.borrow_mut().push(log.clone());
        let out = File::create(&log).unwrap();
        let child = Command::new(tools::target().join("debug/speaker"))
            .args([
                "controller",
                "--log-format=json",
                "--port=0",
                "--health-probe-port=0",
            ])
            .args([
                "--webhook-mode=disabled",
                "--namespace=metallb-system",
                "--pod-name",
                pod,
            ])
            .args(flags)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Running { child, log }
    }

    /// Waits until something is so, with all logs if it never is.
    pub(super) fn until(&self, what: &str, is_so: impl FnMut() -> bool) {
        self.until_within(WAIT_MAX, what, is_so);
    }

    /// The same for what takes longer.
    pub(super) fn until_within(&self, longest: Duration, what: &str, is_so: impl FnMut() -> bool) {
        if !wait_for(longest, is_so) {
            let logs: Vec<String> = self
                .started
                .borrow()
                .iter()
                .map(|log| fs::read_to_string(log).unwrap())
                .collect();
            panic!("{what} did not come\n{}", logs.join("\n---\n"));
        }
    }
}

impl Running {
    /// The lines of its log.
    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap();
        let lines = text.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The first line of an event.
    pub(super) fn line(&self, event: &str) -> Option<Value> {
        self.lines_of(event).into_iter().next()
    }

    /// All of them.
    pub(super) fn lines_of(&self, event: &str) -> Vec<Value> {
        let lines = self.lines().into_iter();
        lines
            .filter(|line| line["event"] == event || line["op"] == event)
            .collect()
    }

    pub(super) fn until_it_says(&self, event: &str) {
        assert!(
            wait_for(WAIT_MAX, || self.line(event).is_some()),
            "no {event} in\n{}",
            fs::read_to_string(&self.log).unwrap()
        );
    }

    /// Ends it as a kubelet does.
    pub(super) fn stop(mut self) {
        self.signal("TERM");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Ends it as a machine does that loses power.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(done.unwrap().success());
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
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

pub(super) fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

fn wait_for(longest: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > longest {
            return false;
        }
        pause(50);
    }
    true
}

/// Who the controller is to the API server.
pub(super) const CONTROLLER: &str = "system:serviceaccount:metallb-system:controller";
/// By which it is known.
pub(super) const TOKEN: &str = "controller-token";
const WAIT_MAX: Duration = Duration::from_secs(60); // a Lease runs out in 15 s, and the machine may be busy
