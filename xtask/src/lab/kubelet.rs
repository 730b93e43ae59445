//! What a cluster's own parts do about workloads, for a lab that the operator installs: Deployments and the DaemonSet become processes, and
//! their statuses say so.
//!
//! [`Lab::attend`] looks once and does what is due; whoever keeps the lab up calls it again and again. A container's command is the lab's
//! binary with the arguments and the environment of its template; what it mounts is a folder of the lab. Pods of a Deployment run where
//! the control plane is. A DaemonSet is rolled one node at a time, as `maxUnavailable: 1` asks. Of a container's confinement nothing is
//! done here: images, capabilities and seccomp have tests of their own. Knows nothing of what the operator wants, and why.

use super::Lab;
use super::cluster::{Cluster, NAMESPACE};
use super::control::NO_CLUSTER;
use super::http::get;
use crate::tools::{self, root};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A container as a process.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
}

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Kubelet {
    /// Of which template each pod is that was started.
    templates: BTreeMap<String, Value>,
    /// The nodes take pods.
    has_nodes: bool,
}

/// A Deployment of one pod at the control plane.
struct Central {
    name: &'static str,
    account: &'static str,
    health: u16,
    flags: &'static [&'static str],
}

impl Lab {
    /// Installs the operator, asks it for an installation, and waits until there is a controller.
    pub(super) fn operate(&mut self) -> Result<()> {
        let cluster = self.cluster()?;
        cluster.apply(&root().join("deploy/crds"))?;
        for file in ["0-namespace", "1-controller-rights", "2-speaker-rights"] {
            cluster.apply(&root().join(format!("deploy/manifests/{file}.yaml")))?;
        }
        cluster.apply(&root().join("deploy/operator"))?;
        let [operator, controller] = CENTRAL;
        self.until("the operator is ready", |lab| {
            Ok(lab.cluster()?.is_ready(operator.health))
        })?;
        let resource = "deploy/operator/samples/metallb.yaml";
        tools::say(&format!("the operator is ready; applying {resource}"));
        self.cluster()?.apply(&root().join(resource))?;
        self.until("the controller is ready", |lab| {
            Ok(lab.cluster()?.is_ready(controller.health))
        })?;
        tools::say("the operator made the controller; applying pools, advertisements and services");
        Ok(())
    }

    /// Waits until the resource says that all that it asks for is there.
    pub(super) fn until_available(&mut self) -> Result<()> {
        self.kubelet.has_nodes = true;
        self.until("the resource is Available", |lab| {
            Ok(lab.conditions()?.iter().any(|one| one == "Available"))
        })?;
        tools::say("MetalLB metallb is Available: there is a speaker on each node");
        Ok(())
    }

    /// The conditions of the resource that hold; none while there is no resource.
    ///
    /// # Errors
    /// When the lab is no cluster, or the API server does not tell.
    pub fn conditions(&self) -> Result<Vec<String>> {
        let path = format!("/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/metallbs/metallb");
        let resource = self.cluster()?.object(&path)?.unwrap_or_default();
        let conditions = resource["status"]["conditions"].as_array();
        let holding = conditions.into_iter().flatten();
        let holding = holding.filter(|one| one["status"] == "True");
        let names = holding.map(|one| one["type"].as_str().unwrap_or_default().to_owned());
        Ok(names.collect())
    }

    /// Does what a cluster's own parts would do now; nothing in a lab that no operator installed.
    ///
    /// # Errors
    /// When the API server does not tell, or something cannot be started or ended.
    pub fn attend(&mut self) -> Result<()> {
        if !self.options.is_operated {
            return Ok(());
        }
        for central in &CENTRAL {
            self.attend_central(central)?;
        }
        match self.kubelet.has_nodes {
            true => self.attend_speakers(),
            false => Ok(()),
        }
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let until = Instant::now() + THERE_MAX;
        loop {
            self.attend()?;
            if is_so(self)? {
                return Ok(());
            }
            if Instant::now() >= until {
                let conditions = self.conditions()?.join(", ");
                let say = self.speakers_say();
                bail!(
                    "not so within {} s: {what}; {conditions}\n{say}",
                    THERE_MAX.as_secs()
                );
            }
            std::thread::sleep(TURN);
        }
    }

    fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context(NO_CLUSTER)
    }

    fn cluster_mut(&mut self) -> Result<&mut Cluster> {
        self.cluster.as_mut().context(NO_CLUSTER)
    }

    fn attend_central(&mut self, central: &Central) -> Result<()> {
        let name = central.name;
        let path = workload("deployments", name);
        let object = self.cluster()?.object(&path)?;
        let template = object.as_ref().and_then(wanted);
        let runs = self.cluster_mut()?.has_pod(name)?;
        if runs && self.kubelet.templates.get(name) != template {
            self.end_pod(name, |lab| lab.cluster_mut()?.end_pod(name))?;
        } else if !runs && let Some(template) = template {
            let folder = self.volumes(name);
            if let Some(pod) = self.cluster()?.pod(template, name, "control", &folder)? {
                self.cluster()?.make_pod(template, name, "control", None)?;
                let binary = self.options.controller.clone();
                let cluster = self.cluster_mut()?;
                cluster.start_pod(&binary, central.account, &pod, central.flags)?;
                let processes = cluster.processes()?;
                self.note_all(processes)?;
                self.kubelet
                    .templates
                    .insert(name.to_owned(), template.clone());
            }
        }
        let Some(object) = &object else {
            return Ok(());
        };
        let is_newest = self.kubelet.templates.get(name) == template;
        let ready = usize::from(is_newest && self.cluster()?.is_ready(central.health));
        let counts = ["replicas", "updatedReplicas", "availableReplicas"];
        self.cluster()?.report(&path, object, counts, [1, 1, ready])
    }

    fn attend_speakers(&mut self) -> Result<()> {
        let path = workload("daemonsets", "speaker");
        let object = self.cluster()?.object(&path)?;
        let nodes: Vec<String> = self
            .topology
            .nodes
            .iter()
            .map(|one| one.name.clone())
            .collect();
        let Some(template) = object.as_ref().and_then(wanted) else {
            for node in &nodes {
                self.end_speaker(node)?;
            }
            return match &object {
                Some(object) => self.cluster()?.report(&path, object, NODES, [0; 3]),
                None => Ok(()),
            };
        };
        let is_ready = |lab: &Self, node: &&String| {
            let at = lab.topology.node(node);
            lab.speakers.contains_key(*node)
                && at.is_some_and(|at| get(&at.netns, SPEAKER_HEALTH, "/readyz").is_ok())
        };
        let ready = nodes.iter().filter(|node| is_ready(self, node)).count();
        let is_old = |lab: &Self, node: &&String| {
            let known = lab.kubelet.templates.get(&pod_of(node));
            known.is_some_and(|known| known != template)
        };
        let old = nodes.iter().filter(|node| is_old(self, node)).count();
        if ready == nodes.len()
            && let Some(node) = nodes.iter().find(|node| is_old(self, node))
        {
            tools::say(&format!("a speaker in its new form comes to {node}"));
            self.end_speaker(node)?;
        }
        let uid = object
            .as_ref()
            .map(|object| object["metadata"]["uid"].clone());
        for node in &nodes {
            self.keep_speaker(node, template, uid.as_ref())?;
        }
        let newest = nodes.len() - old;
        match &object {
            Some(object) => {
                self.cluster()?
                    .report(&path, object, NODES, [nodes.len(), newest, ready])
            }
            None => Ok(()),
        }
    }

    /// Starts the speaker of a node where none runs, and again where one has ended.
    fn keep_speaker(&mut self, node: &str, template: &Value, owner: Option<&Value>) -> Result<()> {
        let name = pod_of(node);
        if let Some(speaker) = self.speakers.get_mut(node) {
            if speaker.check().is_ok() {
                return Ok(());
            }
            self.speakers.remove(node);
        }
        let folder = self.volumes(&name);
        // As on any node: without what it mounts a container waits.
        let Some(mut pod) = self.cluster()?.pod(template, &name, node, &folder)? else {
            return Ok(());
        };
        let links = folder.join("metallb-excludel2/excludel2.yaml");
        pod.args
            .push(format!("--exclude-links={}", links.display()));
        self.cluster()?.make_pod(template, &name, node, owner)?;
        self.launch(node, Some(&pod))?;
        self.kubelet.templates.insert(name, template.clone());
        Ok(())
    }

    fn end_speaker(&mut self, node: &str) -> Result<()> {
        if !self.speakers.contains_key(node) {
            return Ok(());
        }
        self.end_pod(&pod_of(node), |lab| {
            lab.speaker(node)?.end(GRACE)?;
            lab.speakers.remove(node);
            Ok(())
        })
    }

    /// Marks a pod as going, lets its process end, and takes it away.
    fn end_pod(&mut self, name: &str, end: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}");
        self.cluster()?.change("DELETE", &path, &json!({}))?;
        end(self)?;
        self.kubelet.templates.remove(name);
        let free = json!({"metadata": {"finalizers": null}});
        self.cluster()?.change("PATCH", &path, &free)
    }

    fn volumes(&self, pod: &str) -> PathBuf {
        self.folder().join("volumes").join(pod)
    }
}

impl Cluster {
    /// What the container of a template is as a process; none while something that it mounts is not there.
    fn pod(&self, template: &Value, name: &str, node: &str, folder: &Path) -> Result<Option<Pod>> {
        let spec = &template["spec"];
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            if !self.mount(volume, folder)? {
                return Ok(None);
            }
        }
        let container = &spec["containers"][0];
        let mounts = container["volumeMounts"].as_array();
        let mounts: Vec<(&str, PathBuf)> = mounts
            .into_iter()
            .flatten()
            .map(|mount| (text(&mount["mountPath"]), folder.join(text(&mount["name"]))))
            .collect();
        let place = |value: &str| {
            let mounted = mounts.iter().find(|(path, _)| *path == value);
            mounted.map_or_else(|| value.to_owned(), |(_, path)| path.display().to_string())
        };
        let mut env = Vec::new();
        for one in container["env"].as_array().into_iter().flatten() {
            let value = match text(&one["valueFrom"]["fieldRef"]["fieldPath"]) {
                "spec.nodeName" => node.to_owned(),
                "metadata.name" => name.to_owned(),
                "metadata.namespace" => NAMESPACE.to_owned(),
                "" if one["value"].is_string() => place(text(&one["value"])),
                // From a ConfigMap that need not be there, and in the lab is not.
                "" => continue,
                other => bail!("{name}: the lab knows no field {other}"),
            };
            env.push((text(&one["name"]).to_owned(), value));
        }
        let args = container["args"].as_array().into_iter().flatten();
        Ok(Some(Pod {
            name: name.to_owned(),
            args: args.map(|arg| text(arg).to_owned()).collect(),
            env,
        }))
    }

    /// Writes the files of a volume of a ConfigMap or a Secret. Whether they are there.
    fn mount(&self, volume: &Value, folder: &Path) -> Result<bool> {
        let (kind, name, is_secret) = match (
            &volume["configMap"]["name"],
            &volume["secret"]["secretName"],
        ) {
            (Value::String(name), _) => ("configmaps", name, false),
            (_, Value::String(name)) => ("secrets", name, true),
            _of_the_node => return Ok(true),
        };
        let path = format!("/api/v1/namespaces/{NAMESPACE}/{kind}/{name}");
        let Some(object) = self.object(&path)? else {
            return Ok(false);
        };
        let folder = folder.join(text(&volume["name"]));
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            let value = match is_secret {
                true => self.decoded(name, key)?,
                false => text(value).to_owned(),
            };
            fs::write(folder.join(key), value).with_context(|| format!("failed to write {key}"))?;
        }
        Ok(true)
    }

    fn decoded(&self, secret: &str, key: &str) -> Result<String> {
        let form = format!("go-template={{{{index .data {key:?} | base64decode}}}}");
        let mut kubectl = Command::new(self.kubectl());
        kubectl.args(["-n", NAMESPACE, "get", "secret", secret, "-o", &form]);
        super::net::output(&mut kubectl)
    }

    /// Says that a pod is there. It stays until its process is gone.
    fn make_pod(
        &self,
        template: &Value,
        name: &str,
        node: &str,
        owner: Option<&Value>,
    ) -> Result<()> {
        let mut spec = template["spec"].clone();
        spec["nodeName"] = json!(node);
        let mut metadata = json!({
            "name": name, "namespace": NAMESPACE, "labels": template["metadata"]["labels"],
            "finalizers": ["lab.heliograph.io/process"],
        });
        if let Some(uid) = owner {
            metadata["ownerReferences"] = json!([{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "speaker", "uid": uid, "controller": true,
            }]);
        }
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        self.change("POST", &path, &pod)
    }

    /// Writes a workload's status where it is another, and lets it go when it is being deleted: its pods are gone then.
    fn report(
        &self,
        path: &str,
        object: &Value,
        names: [&str; 3],
        counts: [usize; 3],
    ) -> Result<()> {
        if is_ending(object) {
            let free = json!({"metadata": {"finalizers": null}});
            return self.change("PATCH", path, &free);
        }
        let mut status = json!({"observedGeneration": object["metadata"]["generation"]});
        for (name, count) in names.iter().zip(counts) {
            status[*name] = json!(count);
        }
        let is_said = status.as_object().into_iter().flatten();
        let mut is_said = is_said.map(|(name, value)| object["status"][name] == *value);
        if is_said.all(|is_said| is_said) {
            return Ok(());
        }
        let patch = json!({"status": status});
        self.change("PATCH", &format!("{path}/status"), &patch)
    }
}

/// The template whose pods are to be there; none while they are to go.
fn wanted(object: &Value) -> Option<&Value> {
    (!is_ending(object)).then_some(&object["spec"]["template"])
}

fn is_ending(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn workload(plural: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/{plural}/{name}")
}

fn pod_of(node: &str) -> String {
    format!("speaker-{node}")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

const CENTRAL: [Central; 2] = [
    Central {
        name: "metallb-operator-controller-manager",
        account: "metallb-operator",
        health: 8080,
        // The controller's webhook is in the same namespace here.
        flags: &["--webhook-port=9444"],
    },
    Central {
        name: "controller",
        account: "controller",
        health: 17472,
        flags: &[],
    },
];
/// What a DaemonSet's status counts.
const NODES: [&str; 3] = [
    "desiredNumberScheduled",
    "updatedNumberScheduled",
    "numberAvailable",
];
const SPEAKER_HEALTH: u16 = 17472;
const TURN: Duration = Duration::from_millis(200);
const GRACE: Duration = Duration::from_secs(60); // terminationGracePeriodSeconds of the speaker
const THERE_MAX: Duration = Duration::from_secs(120); // a machine with much to do; usually some seconds
