//! A real kubectl at work against the double, over TLS and with a token, as people use it.

use api_tests::{Double, Options};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

#[test]
fn kubectl_reads_applies_and_deletes() {
    let cluster = Cluster::start();
    assert!(cluster.run(&["version"]).contains("Server Version: v1.36"));
    assert!(cluster.run(&["get", "namespaces"]).contains("kube-system"));
    let resources = cluster.run(&["api-resources", "--api-group=metallb.io"]);
    assert!(resources.contains("IPAddressPool"), "{resources}");
    let pool = cluster.file(
        "pool.yaml",
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: p\n  namespace: default\nspec:\n  addresses: [192.0.2.0/28]\n",
    );
    let applied = cluster.apply(&pool);
    assert!(
        applied.contains("ipaddresspool.metallb.io/p serverside-applied"),
        "{applied}"
    );
    let table = cluster.run(&["get", "ipaddresspools"]);
    let wanted = "NAME   AUTO ASSIGN   AVOID BUGGY IPS   ADDRESSES\np      true          false             [\"192.0.2.0/28\"]\n";
    assert_eq!(table, wanted);
    cluster.run(&["label", "ipaddresspool", "p", "a=b"]);
    let labelled = cluster.run(&["get", "ipaddresspools", "-l", "a=b", "-o", "name"]);
    assert_eq!(labelled, "ipaddresspool.metallb.io/p\n");
    cluster.run(&["delete", "ipaddresspool", "p"]);
    let gone = cluster.output(&["get", "ipaddresspool", "p"]);
    let words = String::from_utf8_lossy(&gone.stderr);
    assert!(
        words.contains("ipaddresspools.metallb.io \"p\" not found"),
        "{words}"
    );
}

#[test]
fn kubectl_is_told_what_is_wrong() {
    let cluster = Cluster::start();
    let pool = cluster.file(
        "pool.yaml",
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: p\n  namespace: default\nspec: {}\n",
    );
    let refused = cluster.output(&["apply", "--server-side", "--validate=false", "-f", &pool]);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(words.contains("spec.addresses: Required value"), "{words}");
    let speaker = cluster.double.kubeconfig(SPEAKER).unwrap();
    let denied = cluster.output_as(&speaker, &["get", "secrets"]);
    let words = String::from_utf8_lossy(&denied.stderr);
    assert!(
        words.contains("cannot list resource \"secrets\""),
        "{words}"
    );
}

#[test]
fn kubectl_watches_a_service_and_waits_for_its_address() {
    let cluster = Cluster::start();
    let service = cluster.file(
        "service.yaml",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: default\nspec:\n  type: LoadBalancer\n  ports: [{port: 80}]\n",
    );
    cluster.apply(&service);
    let mut watch = cluster
        .command(&[
            "get",
            "service",
            "web",
            "-w",
            "--output-watch-events",
            "--no-headers",
            "--request-timeout=60s",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("ADDED"), "{first}");
    // Its first line is read before the watch begins.
    let is_open = |cluster: &Cluster| {
        let requests = cluster.double.requests();
        requests
            .iter()
            .any(|entry| entry.verb == "watch" && entry.code == 200)
    };
    while !is_open(&cluster) {
        assert!(watch.try_wait().unwrap().is_none(), "kubectl ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let path = "/api/v1/namespaces/default/services/web/status";
    let (code, _) = cluster
        .double
        .request("PATCH", path, "application/merge-patch+json", &status);
    assert_eq!(code, 200);
    let second = lines.next().unwrap().unwrap();
    assert!(
        second.starts_with("MODIFIED") && second.contains("192.0.2.1"),
        "{second}"
    );
    cluster.run(&[
        "wait",
        "--for=jsonpath={.status.loadBalancer.ingress[0].ip}=192.0.2.1",
        "service/web",
    ]);
    cluster.run(&["delete", "service", "web"]);
    let third = lines.next().unwrap().unwrap();
    assert!(third.starts_with("DELETED"), "{third}");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn the_shipped_manifests_apply() {
    let cluster = Cluster::start();
    cluster.double.put(
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metallb-system"}}),
    );
    let samples = root().join("deploy/samples");
    cluster.apply(samples.to_str().unwrap());
    let services = cluster.run(&["get", "services", "-o", "name"]);
    assert!(services.contains("service/web\n"), "{services}");
    let manifests = root().join("deploy/manifests");
    cluster.apply(manifests.to_str().unwrap());
    let deployment = cluster.run(&[
        "get",
        "deployment",
        "-n",
        "metallb-system",
        "controller",
        "-o",
        "json",
    ]);
    let deployment: Value = serde_json::from_str(&deployment).unwrap();
    assert_eq!(deployment["metadata"]["name"], "controller");
    let again = cluster.apply(manifests.to_str().unwrap());
    assert!(again.contains("serverside-applied"), "{again}");
    let operator = cluster.apply(root().join("deploy/operator").to_str().unwrap());
    let name = "deployment.apps/metallb-operator-controller-manager serverside-applied";
    assert!(operator.contains(name), "{operator}");
}

/// A strategy that is there already ends, as in an upgrade of a release of MetalLB's.
#[test]
fn what_the_chart_renders_applies() {
    let cluster = Cluster::start();
    cluster.double.put(
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metallb-system"}}),
    );
    let rolled = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
    for (values, strategy) in [
        (json!({"controller": {"strategy": rolled}}), rolled.clone()),
        (json!({}), json!({"type": "Recreate"})),
    ] {
        let file = cluster.file("chart.yaml", &crate::chart::rendered(values));
        let applied = cluster.apply(&file);
        let speakers = "daemonset.apps/metallb-speaker serverside-applied";
        assert!(applied.contains(speakers), "{applied}");
        let path = "jsonpath={.spec.strategy}";
        let own = ["-n", "metallb-system", "get", "deployment", "-o", path];
        let found = cluster.run(&[&own[..], &["metallb-controller"]].concat());
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found, strategy);
    }
}

/// A double with the shipped definitions, and the kubectl for it.
struct Cluster {
    double: Double,
    kubectl: PathBuf,
    admin: PathBuf,
}

impl Cluster {
    fn start() -> Self {
        let mut options = Options {
            crds: Some(root().join("deploy/crds")),
            ..Options::default()
        };
        options.users.add("speaker", SPEAKER, &[]);
        let double = Double::start(options).unwrap();
        let admin = double.kubeconfig("admin").unwrap();
        Self {
            double,
            kubectl: program(),
            admin,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_as(&self.admin, arguments)
    }

    fn command_as(&self, config: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        // Its caches go where this cluster's files are.
        let home = config.parent().unwrap();
        command
            .env("HOME", home)
            .env("KUBECONFIG", config)
            .args(arguments);
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn output_as(&self, config: &Path, arguments: &[&str]) -> Output {
        self.command_as(config, arguments).output().unwrap()
    }

    /// What it prints; it must succeed.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {words}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn apply(&self, path: &str) -> String {
        self.run(&["apply", "--server-side", "--validate=false", "-f", path])
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.admin.with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// The program, fetched once.
fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| xtask::kubectl::ensure().unwrap());
    program.clone()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const SPEAKER: &str = "system:serviceaccount:metallb-system:speaker";
