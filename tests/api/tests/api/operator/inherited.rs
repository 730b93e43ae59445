//! A whole installation of MetalLB 0.16 is taken over, whoever made it: afterwards every object of ours is what it is where nothing was before.
//!
//! The objects are MetalLB's by name, selector and what they have that we do not want, as its operator, its plain manifests and its chart make them;
//! what they share with ours is not written out again. Of the chart's those count that have the name that we use: its workloads are called otherwise.

use super::site::Site;
use super::{holds, wanted};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[test]
fn metallb_1_8_what_is_taken_over_is_what_is_made_anew_whoever_made_it() {
    let fresh = {
        let site = Site::new();
        let _operator = site.operator(&[]);
        site.metallb("metallb", &json!({}));
        site.until_available();
        faces(&site)
    };
    for installer in INSTALLERS {
        let site = Site::new();
        let theirs = installer.objects();
        for object in &theirs {
            installer.install(&site, object);
        }
        let kept: Vec<(String, Value)> = KEPT
            .iter()
            .map(|path| ((*path).to_owned(), site.get(path)))
            .collect();
        let operator = site.operator(&[]);
        site.metallb("metallb", &json!({}));
        site.until(&format!("{installer:?}: all of it"), || {
            let objects = wanted(&json!({}));
            objects
                .iter()
                .all(|one| holds(&site.get(&one.path()), &one.body))
        });
        site.until_available();
        let now = faces(&site);
        for (path, was) in &fresh {
            assert_eq!(&now[path], was, "{installer:?}: {path}");
        }
        for path in fresh.keys() {
            let managers = managers(&site.get(path));
            assert!(
                managers.iter().all(|one| one == "metallb-operator"),
                "{installer:?}: {path}: {managers:?}"
            );
        }
        let adopted = operator.lines_of("objectAdopted").len();
        let foreign = theirs.iter().filter(|one| !is_kept(one)).count();
        match installer {
            Installer::Operator => assert_eq!(adopted, 0, "they were ours by name"),
            Installer::Applied | Installer::Created | Installer::Chart | Installer::Flux => {
                assert_eq!(adopted, foreign, "{installer:?}")
            }
        }
        for (path, was) in kept {
            assert_eq!(site.get(&path), was, "{installer:?}: {path}");
        }
        assert_eq!(
            operator.lines_of("notDeployed"),
            [Value::Null; 0],
            "{installer:?}"
        );
    }
}

/// Who put MetalLB there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Installer {
    /// MetalLB's operator, whose field manager is ours.
    Operator,
    /// `kubectl apply --server-side` of the plain manifests.
    Applied,
    /// `kubectl apply` of them as it is without a flag.
    Created,
    /// Helm, by the chart.
    Chart,
    /// Flux, by the plain manifests.
    Flux,
}

const INSTALLERS: [Installer; 5] = [
    Installer::Operator,
    Installer::Applied,
    Installer::Created,
    Installer::Chart,
    Installer::Flux,
];

impl Installer {
    const fn manager(self) -> &'static str {
        match self {
            Self::Operator => "metallb-operator",
            Self::Applied => "kubectl",
            Self::Created => "kubectl-client-side-apply",
            Self::Chart => "helm",
            Self::Flux => "kustomize-controller",
        }
    }

    const fn applies(self) -> bool {
        match self {
            Self::Operator | Self::Applied | Self::Flux => true,
            Self::Created | Self::Chart => false,
        }
    }

    /// What it made, with what it writes on everything.
    fn objects(self) -> Vec<Value> {
        let mut objects = vec![links(), webhook_service(), webhooks()];
        match self {
            Self::Operator | Self::Applied | Self::Created | Self::Flux => {
                objects.extend([controller(), speaker()])
            }
            // Its own are `metallb-controller` and `metallb-speaker`.
            Self::Chart => {}
        }
        for object in &mut objects {
            match self {
                Self::Chart => {
                    object["metadata"]["labels"] = json!({
                        "app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": "metallb",
                        "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "metallb-0.16.1",
                    });
                    object["metadata"]["annotations"] = json!({
                        "meta.helm.sh/release-name": "metallb", "meta.helm.sh/release-namespace": "metallb-system",
                    });
                }
                Self::Created => {
                    let last = object.to_string();
                    object["metadata"]["annotations"] =
                        json!({"kubectl.kubernetes.io/last-applied-configuration": last});
                }
                Self::Flux => {
                    object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] =
                        json!("metallb");
                }
                Self::Operator | Self::Applied => {}
            }
        }
        objects.extend([certificate(), memberlist()]);
        objects
    }

    fn install(self, site: &Site, object: &Value) {
        let path = site.double.path(object);
        let manager = match is_kept(object) {
            // Those are the controller's.
            true => "controller",
            false => self.manager(),
        };
        let (method, path, content) = match self.applies() && !is_kept(object) {
            true => (
                "PATCH",
                format!("{path}?fieldManager={manager}&force=true"),
                "application/apply-patch+yaml",
            ),
            false => {
                let (collection, _) = path.rsplit_once('/').unwrap();
                (
                    "POST",
                    format!("{collection}?fieldManager={manager}"),
                    "application/json",
                )
            }
        };
        let (code, answer) = site.double.request(method, &path, content, object);
        assert_eq!(code, 201, "{self:?}: {answer}");
    }
}

/// What the controller made, ours or MetalLB's, is not the operator's to change.
fn is_kept(object: &Value) -> bool {
    object["kind"] == "Secret"
}

/// All that is said of what the operator wants, but for what differs by the moment and by who wrote it, by path.
fn faces(site: &Site) -> BTreeMap<String, Value> {
    let objects = wanted(&json!({}));
    let face = |path: &str| {
        let mut object = site.get(path);
        object.as_object_mut().unwrap().remove("status");
        if let Some(spec) = object["spec"].as_object_mut() {
            // Of a Service: whichever was free.
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        let metadata = object["metadata"].as_object_mut().unwrap();
        for field in [
            "creationTimestamp",
            "generation",
            "managedFields",
            "resourceVersion",
            "uid",
        ] {
            metadata.remove(field);
        }
        object
    };
    objects
        .iter()
        .map(|one| (one.path(), face(&one.path())))
        .collect()
}

/// Who owns fields of an object, but for what is written to its subresources.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    let entries = entries.into_iter().flatten();
    let entries = entries.filter(|entry| entry["subresource"].is_null());
    entries
        .map(|entry| entry["manager"].as_str().unwrap().to_owned())
        .collect()
}

fn named(version: &str, kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"name": name, "namespace": "metallb-system", "labels": {"app": "metallb"}},
    })
}

fn controller() -> Value {
    let labels = json!({"app": "metallb", "component": "controller"});
    let mut object = named("apps/v1", "Deployment", "controller");
    object["spec"] = json!({
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels, "annotations": {"prometheus.io/port": "9120"}},
            "spec": {
                "containers": [{
                    "name": "controller", "image": "quay.io/metallb/controller:v0.16.1",
                    "args": ["--port=9120", "--log-level=info", "--tls-min-version=VersionTLS12"],
                    "env": [
                        {"name": "METALLB_ML_SECRET_NAME", "value": "memberlist"},
                        {"name": "METALLB_DEPLOYMENT", "value": "controller"},
                        {"name": "METALLB_BGP_TYPE", "value": "frr"},
                    ],
                    "ports": [{"name": "metricshttps", "containerPort": 9120}, {"name": "webhook-server", "containerPort": 9443}],
                    "volumeMounts": [{"name": "cert", "mountPath": "/tmp/k8s-webhook-server/serving-certs", "readOnly": true}],
                    "lifecycle": {"preStop": {"exec": {"command": ["sleep", "1"]}}},
                }],
                "serviceAccountName": "controller",
                "terminationGracePeriodSeconds": 0,
                "volumes": [{"name": "cert", "secret": {"secretName": "metallb-webhook-cert", "defaultMode": 420}}],
            },
        },
    });
    object
}

fn speaker() -> Value {
    let container = |name: &str| json!({"name": name, "image": format!("quay.io/metallb/{name}:v0.16.1"), "command": [name]});
    let labels = json!({"app": "metallb", "component": "speaker"});
    let mut object = named("apps/v1", "DaemonSet", "speaker");
    object["spec"] = json!({
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "shareProcessNamespace": true,
                "hostNetwork": true,
                "serviceAccountName": "speaker",
                "terminationGracePeriodSeconds": 0,
                "initContainers": [container("cp-frr-files"), container("cp-reloader"), container("cp-metrics")],
                "containers": [container("speaker"), container("frr"), container("reloader"), container("frr-metrics")],
                "volumes": [
                    {"name": "frr-sockets", "emptyDir": {}},
                    {"name": "frr-startup", "configMap": {"name": "frr-startup"}},
                    {"name": "memberlist", "secret": {"secretName": "memberlist", "defaultMode": 420}},
                ],
            },
        },
    });
    object
}

fn links() -> Value {
    let mut object = named("v1", "ConfigMap", "metallb-excludel2");
    object["data"] =
        json!({"excludel2.yaml": "announcedInterfacesToExclude: [\"^veth.*\"]\n", "more": "x"});
    object
}

/// The operator's leads to a Deployment of its own.
fn webhook_service() -> Value {
    let mut object = named("v1", "Service", "metallb-webhook-service");
    object["spec"] = json!({
        "selector": {"component": "webhook-server", "app.kubernetes.io/name": "metallb"},
        "ports": [{"port": 443, "targetPort": 9443}],
    });
    object
}

fn webhooks() -> Value {
    let webhook = |kind: &str| {
        json!({
            "name": format!("{kind}validationwebhook.metallb.io"),
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 30,
            "clientConfig": {"service": {"name": "webhook-server", "namespace": "metallb-system", "path": format!("/validate-{kind}")}},
            "rules": [{"apiGroups": ["metallb.io"], "apiVersions": ["v1beta1"], "operations": ["CREATE"], "resources": [format!("{kind}s")]}],
        })
    };
    // The second is of an earlier version and is nobody's here.
    let all = ["ipaddresspool", "addresspool", "l2advertisement"].map(webhook);
    let mut object = named(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "metallb-webhook-configuration",
    );
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("namespace");
    object["webhooks"] = json!(all);
    object
}

fn certificate() -> Value {
    let mut object = named("v1", "Secret", "metallb-webhook-cert");
    object["data"] = json!({"tls.crt": "eA=="});
    object
}

fn memberlist() -> Value {
    let mut object = named("v1", "Secret", "memberlist");
    object["data"] = json!({"secretkey": "eA=="});
    object
}

const KEPT: [&str; 2] = [
    "/api/v1/namespaces/metallb-system/secrets/metallb-webhook-cert",
    "/api/v1/namespaces/metallb-system/secrets/memberlist",
];
