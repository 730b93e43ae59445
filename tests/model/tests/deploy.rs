//! The manifests of an installation: MetalLB's names, labels and ports, least privilege, and only flags that exist.
//!
//! Governed by MetalLB's own manifests: who scripts against them, scrapes them or admits them must find the same.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::{apps::v1 as apps, core::v1 as core, rbac::v1 as rbac};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};
use speaker_core::crd::MetalLb;
use speaker_core::{admission, deploy};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_object_has_metallbs_name() {
    let names: BTreeSet<(String, String)> = objects().into_keys().collect();
    let expected = [
        ("ClusterRole", "metallb-system:controller"),
        ("ClusterRole", "metallb-system:speaker"),
        ("ClusterRoleBinding", "metallb-system:controller"),
        ("ClusterRoleBinding", "metallb-system:speaker"),
        ("ConfigMap", "metallb-excludel2"),
        ("DaemonSet", "speaker"),
        ("Deployment", "controller"),
        ("Namespace", "metallb-system"),
        ("Role", "controller"),
        ("Role", "pod-lister"),
        ("RoleBinding", "controller"),
        ("RoleBinding", "pod-lister"),
        ("Service", "controller-monitor-service"),
        ("Service", "metallb-webhook-service"),
        ("Service", "speaker-monitor-service"),
        ("ServiceAccount", "controller"),
        ("ServiceAccount", "speaker"),
        ("ValidatingAdmissionPolicy", "heliograph-speaker-configmaps"),
        (
            "ValidatingAdmissionPolicyBinding",
            "heliograph-speaker-configmaps",
        ),
        (
            "ValidatingWebhookConfiguration",
            "metallb-webhook-configuration",
        ),
    ];
    let expected = expected.map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    assert_eq!(names, BTreeSet::from(expected));
}

#[test]
fn the_namespace_comes_first_and_everything_is_in_it() {
    let files = files("deploy/manifests");
    assert_eq!(documents(&files[0])[0]["kind"], "Namespace");
    for ((kind, name), object) in objects() {
        let is_global =
            kind.starts_with("Cluster") || kind.starts_with("Validating") || kind == "Namespace";
        let expected = if is_global {
            Value::Null
        } else {
            json!("metallb-system")
        };
        assert_eq!(object["metadata"]["namespace"], expected, "{kind} {name}");
    }
}

#[test]
fn pods_have_metallbs_labels_and_ports() {
    for (kind, name, ports) in [
        ("Deployment", "controller", json!([9120, 9443, 17472])),
        ("DaemonSet", "speaker", json!([9120, 17472, 7946])),
    ] {
        let object = object(kind, name);
        let labels = json!({"app": "metallb", "component": name});
        let spec = &object["spec"];
        assert_eq!(spec["selector"]["matchLabels"], labels, "{name}");
        let own = json!({"app": "metallb", "component": name, "heliograph.io/part": name});
        assert_eq!(spec["template"]["metadata"]["labels"], own, "{name}");
        assert_eq!(spec["template"]["spec"]["serviceAccountName"], name);
        let container = container(&object);
        assert_eq!(container["name"], name);
        let own: Value = container["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["containerPort"].clone())
            .collect();
        assert_eq!(own, ports, "{name}");
        assert_eq!(container["ports"][0]["name"], "metricshttps");
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            let asked = &container[probe]["httpGet"];
            assert_eq!(asked["path"], path, "{name}");
            assert_eq!(asked["port"], "health", "{name}");
        }
    }
}

#[test]
fn speakers_share_the_secret_that_the_controller_makes() {
    let variable = |kind, name, wanted: &str| {
        let object = object(kind, name);
        let env = container(&object)["env"].as_array().unwrap().clone();
        let found = env.iter().find(|variable| variable["name"] == wanted);
        found.map(|variable| variable["value"].clone())
    };
    let path = variable("DaemonSet", "speaker", "METALLB_ML_SECRET_KEY_PATH");
    let made = variable("Deployment", "controller", "METALLB_ML_SECRET_NAME");
    let speaker = object("DaemonSet", "speaker");
    let pod = &speaker["spec"]["template"]["spec"];
    let named = |list: &Value| {
        let list = list.as_array().unwrap().iter();
        let mut found = list.filter(|item| item["name"] == "memberlist");
        found.next().unwrap().clone()
    };
    let mount = named(&container(&speaker)["volumeMounts"]);
    assert_eq!(Some(&mount["mountPath"]), path.as_ref());
    assert_eq!(mount["readOnly"], true);
    assert_eq!(
        mount["subPath"],
        Value::Null,
        "a file of it alone never changes"
    );
    let secret = &named(&pod["volumes"])["secret"];
    assert_eq!(Some(&secret["secretName"]), made.as_ref());
    assert_eq!(secret["defaultMode"], 0o400);
}

#[test]
fn speakers_hear_each_other_by_udp_on_metallbs_port() {
    let speaker = object("DaemonSet", "speaker");
    let ports = container(&speaker)["ports"].as_array().unwrap();
    let of_members = ports.iter().find(|port| port["containerPort"] == 7946);
    let expected = json!({"name": "memberlist-udp", "containerPort": 7946, "protocol": "UDP"});
    assert_eq!(of_members, Some(&expected));
}

#[test]
fn services_lead_to_the_pods() {
    for (name, labels, port, target) in [
        (
            "metallb-webhook-service",
            json!({"app": "metallb", "component": "controller"}),
            443,
            9443,
        ),
        (
            "controller-monitor-service",
            json!({"component": "controller"}),
            9120,
            9120,
        ),
        (
            "speaker-monitor-service",
            json!({"component": "speaker"}),
            9120,
            9120,
        ),
    ] {
        let spec = &object("Service", name)["spec"];
        assert_eq!(spec["selector"], labels, "{name}");
        assert_eq!(spec["ports"][0]["port"], port, "{name}");
        assert_eq!(spec["ports"][0]["targetPort"], target, "{name}");
    }
}

#[test]
fn containers_have_the_least_privilege() {
    let controller = object("Deployment", "controller");
    let pod = &controller["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65534);
    assert_eq!(pod["hostNetwork"], Value::Null);
    let speaker = object("DaemonSet", "speaker");
    for (object, added) in [
        (&controller, Value::Null),
        (&speaker, json!(needed_capabilities())),
    ] {
        let pod = &object["spec"]["template"]["spec"]["securityContext"];
        assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault");
        let context = &container(object)["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["privileged"], Value::Null);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(context["capabilities"]["add"], added);
    }
}

/// A speaker that is throttled renews no deadline, and one that is killed early gives nothing away.
#[test]
fn pods_have_precedence_time_to_stop_and_no_limit_of_cpu() {
    let drain_and_more = 60;
    for (kind, name, class, grace) in [
        (
            "DaemonSet",
            "speaker",
            "system-node-critical",
            drain_and_more,
        ),
        ("Deployment", "controller", "system-cluster-critical", 10),
    ] {
        let object = object(kind, name);
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!(pod["priorityClassName"], class, "{name}");
        assert_eq!(pod["terminationGracePeriodSeconds"], grace, "{name}");
        let seccomp = json!({"type": "RuntimeDefault"});
        assert_eq!(pod["securityContext"]["seccompProfile"], seccomp, "{name}");
        assert_eq!(container(&object)["resources"], Value::Null, "{name}");
    }
    let speaker = object("DaemonSet", "speaker");
    let startup = &container(&speaker)["startupProbe"];
    assert_eq!(startup["httpGet"]["path"], "/healthz");
    let strategy = &object("Deployment", "controller")["spec"]["strategy"];
    assert_eq!(*strategy, json!({"type": "Recreate"}));
    // Made where it is missing, the folder would be on the node's disk, and pins in it would be refused without a word why.
    let volumes = speaker["spec"]["template"]["spec"]["volumes"].as_array();
    let bpffs = volumes.unwrap().iter().find(|one| one["name"] == "bpffs");
    let expected = json!({"path": "/sys/fs/bpf", "type": "Directory"});
    assert_eq!(bpffs.unwrap()["hostPath"], expected);
}

#[test]
fn webhooks_have_metallbs_names_and_no_authority() {
    let webhooks = object(
        "ValidatingWebhookConfiguration",
        "metallb-webhook-configuration",
    );
    let found: BTreeMap<&str, (&str, &Value)> = webhooks["webhooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|webhook| {
            let client = &webhook["clientConfig"];
            assert_eq!(client["caBundle"], Value::Null);
            assert_eq!(client["service"]["name"], "metallb-webhook-service");
            assert_eq!(webhook["failurePolicy"], "Fail");
            assert_eq!(webhook["sideEffects"], "None");
            let rule = &webhook["rules"][0];
            let path = client["service"]["path"].as_str().unwrap();
            let version = rule["apiVersions"][0].as_str().unwrap();
            assert!(path.starts_with(&format!("/validate-metallb-io-{version}-")));
            let resource = rule["resources"][0].as_str().unwrap();
            (
                webhook["name"].as_str().unwrap(),
                (resource, &rule["operations"]),
            )
        })
        .collect();
    let (written, kept) = (json!(["CREATE", "UPDATE"]), json!(["CREATE", "DELETE"]));
    let expected = [
        (
            "bfdprofilevalidationwebhook.metallb.io",
            ("bfdprofiles", &kept),
        ),
        (
            "bgpadvertisementvalidationwebhook.metallb.io",
            ("bgpadvertisements", &written),
        ),
        (
            "bgppeersvalidationwebhook.metallb.io",
            ("bgppeers", &written),
        ),
        (
            "communityvalidationwebhook.metallb.io",
            ("communities", &written),
        ),
        (
            "ipaddresspoolvalidationwebhook.metallb.io",
            ("ipaddresspools", &written),
        ),
        (
            "l2advertisementvalidationwebhook.metallb.io",
            ("l2advertisements", &written),
        ),
    ];
    assert_eq!(found, BTreeMap::from(expected));
}

/// What a type of Kubernetes' does not know is lost on the way through it.
#[test]
fn no_field_is_misspelt() {
    let mut objects: Vec<Value> = objects().into_values().collect();
    objects.extend(in_folder("deploy/crds"));
    objects.extend(in_folder("deploy/operator"));
    for object in objects {
        let read = match object["kind"].as_str().unwrap() {
            "ClusterRole" => through::<rbac::ClusterRole>(&object),
            "ClusterRoleBinding" => through::<rbac::ClusterRoleBinding>(&object),
            "ConfigMap" => through::<core::ConfigMap>(&object),
            "CustomResourceDefinition" => through::<CustomResourceDefinition>(&object),
            "DaemonSet" => through::<apps::DaemonSet>(&object),
            "Deployment" => through::<apps::Deployment>(&object),
            "Namespace" => through::<core::Namespace>(&object),
            "Role" => through::<rbac::Role>(&object),
            "RoleBinding" => through::<rbac::RoleBinding>(&object),
            "Service" => through::<core::Service>(&object),
            "ServiceAccount" => through::<core::ServiceAccount>(&object),
            "ValidatingAdmissionPolicy" => through::<ValidatingAdmissionPolicy>(&object),
            "ValidatingAdmissionPolicyBinding" => {
                through::<ValidatingAdmissionPolicyBinding>(&object)
            }
            "ValidatingWebhookConfiguration" => through::<ValidatingWebhookConfiguration>(&object),
            other => panic!("{other} is not known here"),
        };
        assert_eq!(read, fractions(&object), "{}", object["metadata"]["name"]);
    }
}

fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
    let name = &object["metadata"]["name"];
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
    fractions(&serde_json::to_value(typed).unwrap())
}

/// All numbers as fractions: some types know no whole ones.
fn fractions(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(fractions).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), fractions(value)))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// Clap's derive makes a flag of every field that is `long`; so the source says which there are.
#[test]
fn every_command_flag_and_variable_exists() {
    let (flags, sources) = (flags(), sources());
    assert!(flags.contains("log-level"), "{flags:?}");
    let commands = commands(&sources);
    let both = [("Deployment", "controller"), ("DaemonSet", "speaker")];
    let mut objects = both.map(|(kind, name)| object(kind, name)).to_vec();
    objects.push(operator());
    for object in objects {
        let name = &object["metadata"]["name"];
        let container = container(&object);
        let args = container["args"].as_array().unwrap();
        let command = args[0].as_str().unwrap();
        assert!(commands.contains(&command.to_owned()), "{command}");
        for arg in args[1..].iter().map(|arg| arg.as_str().unwrap()) {
            let flag = arg.strip_prefix("--").unwrap();
            let flag = flag.split('=').next().unwrap();
            assert!(flags.contains(flag), "{name}: --{flag}");
        }
        for variable in container["env"].as_array().unwrap() {
            // By a flag, or beside one.
            let name = &variable["name"];
            let read = [format!("env = {name}"), format!(", {name}),\n")];
            let is_read = sources
                .iter()
                .any(|source| read.iter().any(|read| source.contains(read)));
            assert!(is_read, "{name}: nothing reads {}", variable["name"]);
        }
    }
}

#[test]
fn metallb_1_8_the_operator_has_metallbs_name_and_little_privilege() {
    let pod = &operator()["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
}

/// MetalLB's operator takes them from this ConfigMap too, which need not be there. Whole, it could set any variable.
#[test]
fn metallb_1_8_tls_comes_from_metallbs_config_map_and_nothing_else_does() {
    let operator = operator();
    let container = container(&operator);
    assert_eq!(container["envFrom"], Value::Null);
    let env = container["env"].as_array().unwrap();
    for name in [
        "TLS_MIN_VERSION",
        "TLS_CIPHER_SUITES",
        "TLS_CURVE_PREFERENCES",
    ] {
        let variable = env.iter().find(|one| one["name"] == name).unwrap();
        let key = json!({"name": "metallb-tls-config", "key": name, "optional": true});
        assert_eq!(variable["valueFrom"], json!({"configMapKeyRef": key}));
    }
}

/// One account is of one program: else the webhooks' Service would lead to the operator, or it would be cut off by the policies.
#[test]
fn the_operators_pods_are_not_taken_for_others() {
    let labels = &operator()["spec"]["template"]["metadata"]["labels"];
    assert_ne!(labels["app"], "metallb");
    let services = in_folder("deploy/operator").into_iter();
    let services: Vec<Value> = services.filter(|one| one["kind"] == "Service").collect();
    assert_eq!(services.len(), 1);
    let selected = services[0]["spec"]["selector"].as_object().unwrap();
    assert!(selected.iter().all(|(key, value)| labels[key] == *value));
    let own = json!({"control-plane": "controller-manager"});
    assert_eq!(
        operator()["spec"]["selector"]["matchLabels"],
        own,
        "MetalLB's"
    );
    let webhooks = in_folder("deploy/operator").into_iter();
    let mut webhooks = webhooks.filter(|one| one["kind"] == "ValidatingWebhookConfiguration");
    let client = webhooks.next().unwrap()["webhooks"][0]["clientConfig"].clone();
    let service = &services[0]["metadata"]["name"];
    assert_eq!(client["service"]["name"], *service);
    assert_eq!(client["service"]["path"], admission::METALLB);
}

/// What is asked for in the example is what is usual.
#[test]
fn the_sample_of_a_metallb_is_good() {
    let samples = in_folder("deploy/operator/samples");
    let usual = deploy::Options::new("metallb-system", "c", "s");
    let asked = MetalLb::read(&samples[0]).unwrap();
    assert_eq!(asked.notes, [""; 0]);
    assert_eq!(
        asked.options(&usual).speaker.image,
        usual.speaker.image,
        "images are the operator's"
    );
}

#[test]
fn the_links_left_out_are_those_of_the_default() {
    let map = object("ConfigMap", "metallb-excludel2");
    let text = map["data"]["excludel2.yaml"].as_str().unwrap();
    let list: Value = serde_norway::from_str(text).unwrap();
    let list = list["announcedInterfacesToExclude"].as_array().unwrap();
    let sources = sources()
        .into_iter()
        .find(|text| text.contains("^nodelocaldns"));
    let default = sources.unwrap();
    assert_eq!(list.len(), 14);
    for pattern in list {
        let pattern = pattern.as_str().unwrap();
        assert!(default.contains(&format!("\"{pattern}\"")), "{pattern}");
    }
}

/// Those of `speaker/src/privileges.rs`.
fn needed_capabilities() -> Vec<String> {
    let source = fs::read_to_string(root().join("speaker/src/privileges.rs")).unwrap();
    let (_, always) = source.split_once("const NEEDS").unwrap();
    let (always, _) = always.split_once("];").unwrap();
    let names = always.split("cap: Capability::CAP_").skip(1);
    names
        .map(|rest| rest.split(',').next().unwrap().to_owned())
        .collect()
}

/// The variants of clap's `Command`, as they are typed.
fn commands(sources: &[String]) -> Vec<String> {
    let mut lists = sources.iter().filter_map(|source| {
        let (_, list) = source.split_once("pub(crate) enum Command {")?;
        list.split_once("\n}").map(|(list, _)| list)
    });
    let variants = lists
        .next()
        .unwrap()
        .lines()
        .filter(|line| line.ends_with("),"));
    variants
        .map(|line| line.trim().split('(').next().unwrap().to_lowercase())
        .collect()
}

fn flags() -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    for source in sources() {
        for attribute in source.split("#[arg(").skip(1) {
            let Some((attribute, field)) = attribute.split_once(")]") else {
                continue;
            };
            let mut words = attribute.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| word == "long") {
                let field = field.split(':').next().unwrap();
                let name = field.split_whitespace().last().unwrap();
                flags.insert(name.replace('_', "-"));
            }
        }
    }
    flags
}

/// The text of every file of the shell.
fn sources() -> Vec<String> {
    let mut folders = vec![root().join("speaker/src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    sources
}

fn container(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"][0]
}

/// The operator's Deployment.
fn operator() -> Value {
    let objects = in_folder("deploy/operator").into_iter();
    let mut found = objects.filter(|one| one["kind"] == "Deployment");
    let operator = found.next().unwrap();
    assert_eq!(
        operator["metadata"]["name"],
        "metallb-operator-controller-manager"
    );
    operator
}

fn in_folder(folder: &str) -> Vec<Value> {
    let files = files(folder);
    files.iter().flat_map(|file| documents(file)).collect()
}

fn object(kind: &str, name: &str) -> Value {
    let key = (kind.to_owned(), name.to_owned());
    objects()
        .remove(&key)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// By kind and name.
fn objects() -> BTreeMap<(String, String), Value> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut objects = BTreeMap::new();
    for object in files("deploy/manifests")
        .iter()
        .flat_map(|file| documents(file))
    {
        let key = (text(&object["kind"]), text(&object["metadata"]["name"]));
        let before = objects.insert(key.clone(), object);
        assert_eq!(before, None, "{key:?} is there twice");
    }
    objects
}

fn documents(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    let documents = serde_norway::Deserializer::from_str(&text);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = root().join(folder);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
