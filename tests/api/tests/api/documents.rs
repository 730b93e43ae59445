//! Commands of the documents, run as they stand there: by a real kubectl and a real helm, in order, against a double for each document,
//! and held to what they must print ([`expected`]).
//!
//! A document that installs nothing begins with what the manifests install. Of what a cluster's own controllers do, workloads that come
//! up are played. What the double cannot do is done in another way by [`KUBECTL`] and [`HELM`]; what it cannot do in any is in
//! [`NOT_RUN`]. A command with a name in capitals, such as `POD`, is a pattern and not run.

use api_tests::{Double, Options};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::{kubectl, tools};

#[test]
fn the_commands_of_the_documents_run() {
    let mut skipped: BTreeSet<&str> = BTreeSet::new();
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let mut commands = commands(&text);
        commands.retain(|command| !is_pattern(command));
        commands.retain(|command| {
            let known = NOT_RUN.iter().find(|(start, _)| command.starts_with(start));
            skipped.extend(known.map(|(start, _)| *start));
            known.is_none()
        });
        if commands.is_empty() {
            continue;
        }
        let story = Story::new();
        if !commands.iter().any(|command| command.contains(INSTALLS)) {
            story.run(&document, "kubectl apply --server-side -f deploy/crds");
            story.run(&document, "kubectl apply --server-side -f deploy/manifests");
        }
        for command in &commands {
            story.play();
            story.run(&document, command);
        }
        count += commands.len();
    }
    assert!(count >= 25, "only {count} commands were found");
    let listed = BTreeSet::from(NOT_RUN.map(|(start, _)| start));
    assert_eq!(skipped, listed, "some are in no document any more");
}

#[test]
fn commands_are_found_in_fences_alone_and_whole() {
    let text = "`kubectl no`\nkubectl no\n\n```\nkubectl get \\\n  pods\ncurl x\n# helm no\nhelm list\n```\nhelm no\n";
    assert_eq!(commands(text), ["kubectl get pods", "helm list"]);
    assert!(is_pattern("kubectl exec POD -- ls"));
    assert!(!is_pattern("kubectl get pods -A -o name"));
}

/// What this double has no way to do, by how the command begins.
///
/// Commands on nodes and in pods are run in the lab, by `the_commands_for_nodes_run` in the suite `lab`.
const NOT_RUN: [(&str, &str); 4] = [
    (
        "TOKEN=$(kubectl",
        "tokens are made by a signer that the double does not have",
    ),
    (
        "kubectl -n metallb-system logs",
        "no pod runs there that could have said something: run in the lab",
    ),
    (
        "kubectl -n metallb-system wait --for=delete pod",
        "no pod is there that could go: run in the lab",
    ),
    (
        "kubectl --kubeconfig target/double.kubeconfig",
        "of a double that is started by hand",
    ),
];

/// The double serves no OpenAPI, so nothing is validated before it is sent; it reads no protobuf, so what `create` makes is applied. What
/// is played was written by somebody else. Nobody empties a namespace that is deleted.
const KUBECTL: &str = r#"#!/bin/sh
case " $* " in
*" create "*) "$REAL_KUBECTL" "$@" --dry-run=client -o json \
    | "$REAL_KUBECTL" apply --server-side --force-conflicts --validate=false -f - ;;
*" apply "*) exec "$REAL_KUBECTL" "$@" --validate=false --force-conflicts ;;
*" delete "*) exec "$REAL_KUBECTL" "$@" --wait=false ;;
*) exec "$REAL_KUBECTL" "$@" ;;
esac
"#;

/// A release is kept as protobuf; the objects of its render are applied instead.
const HELM: &str = r#"#!/bin/sh
case "$1" in
install | upgrade)
    shift
    "$REAL_HELM" template "$@" | "$REAL_KUBECTL" apply --server-side --force-conflicts --validate=false -f - ;;
*) exec "$REAL_HELM" "$@" ;;
esac
"#;

struct Story {
    double: Double,
    config: PathBuf,
    folder: tempfile::TempDir,
}

impl Story {
    /// An empty cluster with Prometheus' operator.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, script) in [("kubectl", KUBECTL), ("helm", HELM)] {
            let path = folder.path().join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(folder.path().join("your-values.yaml"), "").unwrap();
        // Commands are run in a folder of their own, since some leave files.
        let deploy = tools::root().join("deploy");
        std::os::unix::fs::symlink(deploy, folder.path().join("deploy")).unwrap();
        let double = Double::start(Options::default()).unwrap();
        for name in ["metallb-system", "monitoring"] {
            let metadata = json!({"name": name});
            double.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}));
        }
        double.put(&json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "prometheusrules.monitoring.coreos.com"},
            "spec": {
                "group": "monitoring.coreos.com", "scope": "Namespaced",
                "names": {"plural": "prometheusrules", "kind": "PrometheusRule"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }],
            },
        }));
        let config = double.kubeconfig("admin").unwrap();
        Self {
            double,
            config,
            folder,
        }
    }

    fn run(&self, document: &Path, command: &str) {
        let here = self.folder.path().display();
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("timeout")
            .args(["120", "sh", "-c", command])
            .current_dir(self.folder.path())
            .env("PATH", format!("{here}:{path}"))
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", &self.config)
            .env("REAL_KUBECTL", kubectl::ensure().unwrap())
            .env("REAL_HELM", kubectl::helm().unwrap())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}: `{command}` ended with {}: {words}",
            document.display(),
            output.status
        );
        let said = match command.split_once(" > ") {
            Some((_, file)) => fs::read_to_string(self.folder.path().join(file.trim())).unwrap(),
            None => String::from_utf8_lossy(&output.stdout).into_owned(),
        };
        let expected = expected(command);
        assert!(
            said.contains(expected) || words.contains(expected),
            "{}: `{command}` does not say {expected:?} but {said:?}, {words:?}",
            document.display()
        );
    }

    /// What a cluster does about workloads, and an operator about its resource. Nobody is there to answer webhooks.
    fn play(&self) {
        let webhooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
        for mut object in self.list(webhooks) {
            for webhook in object["webhooks"].as_array_mut().unwrap() {
                webhook["failurePolicy"] = json!("Ignore");
            }
            // Items of a list do not say what they are.
            object["apiVersion"] = json!("admissionregistration.k8s.io/v1");
            object["kind"] = json!("ValidatingWebhookConfiguration");
            let (code, answer) = self.double.put(&object);
            assert_eq!(code, 200, "{answer}");
        }
        for kind in ["deployments", "daemonsets"] {
            let path = format!("/apis/apps/v1/namespaces/metallb-system/{kind}");
            self.each(&path, |object| {
                let generation = &object["metadata"]["generation"];
                json!({
                    "observedGeneration": generation,
                    "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
                    "desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1,
                    "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1,
                })
            });
        }
        let metallbs = "/apis/metallb.io/v1beta1/namespaces/metallb-system/metallbs";
        self.each(metallbs, |_| {
            let moment = "2026-01-01T00:00:00Z";
            json!({"conditions": [{
                "type": "Available", "status": "True", "reason": "Available", "message": "",
                "lastTransitionTime": moment,
            }]})
        });
    }

    fn list(&self, path: &str) -> Vec<Value> {
        let list = self.double.get(path).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    fn each(&self, path: &str, status: impl Fn(&Value) -> Value) {
        for object in &self.list(path) {
            let name = object["metadata"]["name"].as_str().unwrap();
            let patch = json!({"status": status(object)});
            let path = format!("{path}/{name}/status");
            let merge = "application/merge-patch+json";
            let (code, answer) = self.double.request("PATCH", &path, merge, &patch);
            assert_eq!(code, 200, "{answer}");
        }
    }
}

/// What a command must say, by what it does.
fn expected(command: &str) -> &'static str {
    let does = |words: &[&str]| words.iter().any(|word| command.contains(word));
    match command {
        _ if does(&[" rollout status "]) => "successfully rolled out",
        _ if does(&[" wait "]) => "condition met",
        _ if does(&[" label "]) => "labeled",
        _ if does(&[" patch "]) => "patched",
        _ if does(&[" delete "]) => match command.contains("--ignore-not-found") {
            // What was never there is no news.
            true => "",
            false => "deleted",
        },
        _ if does(&[" get "]) && command.contains("-o yaml") => "items:",
        // An empty list is said on the other stream.
        _ if does(&[" get "]) => match command.contains("pods") || command.contains("statuses") {
            true => "No resources found",
            false => "",
        },
        _ if does(&[" describe "]) => "Name:",
        _others_apply => "serverside-applied",
    }
}

/// Everything that people read.
fn documents() -> Vec<PathBuf> {
    let folder = fs::read_dir(tools::root().join("docs")).unwrap();
    let mut documents: Vec<PathBuf> = folder.map(|file| file.unwrap().path()).collect();
    documents.retain(|path| path.extension().is_some_and(|end| end == "md"));
    documents.push(tools::root().join("README.md"));
    documents.sort();
    documents
}

/// The lines of fenced blocks that call kubectl or helm; a line that ends in a backslash goes on.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut is_code = false;
    let mut begun = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            continue;
        }
        if !is_code {
            continue;
        }
        begun.push_str(line.trim());
        if let Some(open) = begun.strip_suffix('\\') {
            begun = open.to_owned();
            continue;
        }
        let command = std::mem::take(&mut begun);
        let starts = ["kubectl ", "helm ", "TOKEN=$(kubectl "];
        if starts.iter().any(|start| command.starts_with(start)) {
            commands.push(command);
        }
    }
    commands
}

/// Whether a word in capitals stands for a name of the reader's own.
fn is_pattern(command: &str) -> bool {
    command
        .split_whitespace()
        .any(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase()))
}

const INSTALLS: &str = "-f deploy/crds";
