//! The roles that are shipped grant each call that our programs make, and nothing that none of them needs.
//!
//! A call that is new in a program belongs in the table here and in `deploy/manifests`, in both or in neither.

use api_tests::Logged;
use api_tests::rbac::{Attributes, User, allows, grant};
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Verbs, group, resource with subresource, where, and the name where it is always the same.
type Call = (
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[test]
fn every_call_is_granted() {
    let objects = shipped();
    for (account, calls) in ACCOUNTS {
        for &(verbs, group, resource, namespace, name) in calls {
            for verb in verbs {
                let request = request(verb, group, resource, namespace, name);
                assert!(
                    allows(&objects, &user(account), &request),
                    "{account} may not {verb} {resource} {name} in {namespace:?}"
                );
            }
        }
    }
}

/// Taken away one by one, each verb of each resource of each rule is missed by some call.
#[test]
fn every_right_is_needed() {
    let objects = shipped();
    let mut rights = 0;
    for at in 0..objects.len() {
        for (rule, resource, verb) in rights_of(&objects[at]) {
            let mut lesser = objects.clone();
            take(&mut lesser[at], rule, &resource, &verb);
            let role = &objects[at]["metadata"]["name"];
            assert!(
                is_missed(&lesser),
                "no call needs {verb} on {resource} in {role}"
            );
            rights += 1;
        }
    }
    assert!(rights >= 50, "only {rights} rights");
}

#[test]
fn what_nobody_needs_is_refused() {
    let objects = shipped();
    for (account, _) in ACCOUNTS {
        for (verb, resource, namespace, name) in [
            ("list", "secrets", "metallb-system", ""),
            ("watch", "secrets", "metallb-system", ""),
            ("get", "secrets", "default", "metallb-webhook-cert"),
            ("update", "services", "default", "web"),
            ("patch", "services/status", "default", "web"),
            ("patch", "nodes", "", "n1"),
            ("patch", "nodes/status", "", "n1"),
            ("create", "pods", "metallb-system", ""),
            (
                "create",
                "serviceaccounts/token",
                "metallb-system",
                "speaker",
            ),
        ] {
            let request = request(verb, "", resource, namespace, name);
            let granted = grant(&objects, &user(account), &request);
            assert_eq!(granted, None, "{account}: {verb} {resource}");
        }
    }
    let secret = request("get", "", "secrets", OWN, "memberlist");
    assert_eq!(grant(&objects, &user("controller"), &secret), None);
    let status = request("update", "", "services/status", "default", "web");
    assert!(!allows(&objects, &user("speaker"), &status));
    let stranger = user("default");
    for &(verbs, group, resource, namespace, name) in ACCOUNTS.iter().flat_map(|(_, calls)| *calls)
    {
        let request = request(verbs[0], group, resource, namespace, name);
        assert!(!allows(&objects, &stranger, &request), "{resource}");
    }
}

/// Every request that our accounts were seen to make is a call of the table.
pub(super) fn judge(log: &[Logged]) {
    for logged in log {
        let account = logged
            .user
            .strip_prefix("system:serviceaccount:metallb-system:");
        let known = ACCOUNTS.iter().find(|(known, _)| account == Some(known));
        let Some((_, calls)) = known else {
            continue;
        };
        let Some((group, resource)) = resource_of(&logged.path) else {
            continue;
        };
        let is_known = calls.iter().any(|&(verbs, of, what, _, _)| {
            verbs.contains(&logged.verb.as_str()) && of == group && what == resource
        });
        let Logged {
            user, verb, path, ..
        } = logged;
        assert!(
            is_known,
            "{user} was seen to {verb} {path}, which is in no table"
        );
    }
}

/// Group, and resource with its subresource.
fn resource_of(path: &str) -> Option<(String, String)> {
    let mut parts = path.trim_start_matches('/').split('/');
    let group = match parts.next()? {
        "api" => String::new(),
        "apis" => parts.next()?.to_owned(),
        _not_a_resource => return None,
    };
    let _version = parts.next()?;
    let mut rest: Vec<&str> = parts.collect();
    if let ["namespaces", _, _, ..] = rest.as_slice() {
        rest.drain(..2);
    }
    let resource = match rest.as_slice() {
        [resource, _, sub] => format!("{resource}/{sub}"),
        [resource, ..] => (*resource).to_owned(),
        [] => return None,
    };
    Some((group, resource))
}

fn is_missed(objects: &[Value]) -> bool {
    ACCOUNTS.into_iter().any(|(account, calls)| {
        calls
            .iter()
            .any(|&(verbs, group, resource, namespace, name)| {
                verbs.iter().any(|verb| {
                    let request = request(verb, group, resource, namespace, name);
                    !allows(objects, &user(account), &request)
                })
            })
    })
}

/// Number of the rule, resource and verb.
fn rights_of(object: &Value) -> BTreeSet<(usize, String, String)> {
    let rules = object["rules"].as_array().into_iter().flatten();
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let is_role = ["Role", "ClusterRole"].contains(&object["kind"].as_str().unwrap());
    rules
        .enumerate()
        .filter(|_| is_role)
        .flat_map(|(at, rule)| {
            let verbs = texts(&rule["verbs"]);
            let resources = texts(&rule["resources"]).into_iter();
            resources.flat_map(move |resource| {
                let verbs = verbs.clone().into_iter();
                verbs.map(move |verb| (at, resource.clone(), verb))
            })
        })
        .collect()
}

/// Leaves a rule without one verb on one resource.
fn take(role: &mut Value, at: usize, resource: &str, verb: &str) {
    let rules = role["rules"].as_array_mut().unwrap();
    let mut lesser = rules[at].clone();
    lesser["resources"] = json!([resource]);
    lesser["verbs"]
        .as_array_mut()
        .unwrap()
        .retain(|own| own != verb);
    let others = &mut rules[at]["resources"];
    others.as_array_mut().unwrap().retain(|own| own != resource);
    rules.push(lesser);
}

fn request<'a>(
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    namespace: &'a str,
    name: &'a str,
) -> Attributes<'a> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes::Resource {
        verb,
        group,
        resource,
        subresource,
        namespace,
        name,
    }
}

fn user(account: &str) -> User {
    User {
        name: format!("system:serviceaccount:{OWN}:{account}"),
        groups: vec!["system:serviceaccounts".to_owned()],
    }
}

fn shipped() -> Vec<Value> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let folders = ["manifests", "operator"].map(|name| fs::read_dir(deploy.join(name)).unwrap());
    let files = folders
        .into_iter()
        .flatten()
        .map(|file| file.unwrap().path());
    let mut objects = Vec::new();
    for file in files.filter(|file| file.is_file()) {
        let content = fs::read_to_string(file).unwrap();
        for document in serde_norway::Deserializer::from_str(&content) {
            objects.push(Value::deserialize(document).unwrap());
        }
    }
    objects
}

const OWN: &str = "metallb-system";
const FOLLOW: &[&str] = &["list", "watch"];

const ACCOUNTS: [(&str, &[Call]); 3] = [
    ("controller", CONTROLLER),
    ("speaker", SPEAKER),
    ("metallb-operator", OPERATOR),
];

const CONTROLLER: &[Call] = &[
    (FOLLOW, "", "services", "", ""),
    (&["get"], "", "services", "default", "web"),
    (&["update"], "", "services/status", "default", "web"),
    (FOLLOW, "", "namespaces", "", ""),
    (FOLLOW, "", "nodes", "", ""),
    (&["create", "patch"], "", "events", "default", "web.1"),
    (
        &["list", "watch", "patch"],
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        "",
        "metallb-webhook-configuration",
    ),
    (
        &["list", "watch", "patch"],
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "",
        "bgppeers.metallb.io",
    ),
    (&["create"], "authentication.k8s.io", "tokenreviews", "", ""),
    (
        &["create"],
        "authorization.k8s.io",
        "subjectaccessreviews",
        "",
        "",
    ),
    (FOLLOW, "metallb.io", "ipaddresspools", OWN, ""),
    (FOLLOW, "metallb.io", "l2advertisements", OWN, ""),
    (FOLLOW, "metallb.io", "bgpadvertisements", OWN, ""),
    (FOLLOW, "metallb.io", "bgppeers", OWN, ""),
    (FOLLOW, "metallb.io", "bfdprofiles", OWN, ""),
    (FOLLOW, "metallb.io", "communities", OWN, ""),
    (&["update"], "metallb.io", "ipaddresspools/status", OWN, "p"),
    (
        &["get", "create", "patch"],
        "metallb.io",
        "configurationstates",
        OWN,
        "controller",
    ),
    (
        &["patch"],
        "metallb.io",
        "configurationstates/status",
        OWN,
        "controller",
    ),
    (&["create"], "coordination.k8s.io", "leases", OWN, ""),
    (
        &["get", "update"],
        "coordination.k8s.io",
        "leases",
        OWN,
        "heliograph-controller",
    ),
    (&["create"], "", "secrets", OWN, ""),
    (
        &["get", "list", "watch", "patch"],
        "",
        "secrets",
        OWN,
        "metallb-webhook-cert",
    ),
    (&["get"], "apps", "deployments", OWN, "controller"),
    (&["get"], "", "pods", OWN, "controller-1"),
    (&["list"], "", "pods", OWN, ""),
];

const SPEAKER: &[Call] = &[
    (FOLLOW, "", "services", "", ""),
    (FOLLOW, "", "nodes", "", ""),
    (FOLLOW, "discovery.k8s.io", "endpointslices", "", ""),
    (&["create", "patch"], "", "events", "default", "web.1"),
    (&["create"], "authentication.k8s.io", "tokenreviews", "", ""),
    (
        &["create"],
        "authorization.k8s.io",
        "subjectaccessreviews",
        "",
        "",
    ),
    (FOLLOW, "metallb.io", "ipaddresspools", OWN, ""),
    (FOLLOW, "metallb.io", "l2advertisements", OWN, ""),
    (FOLLOW, "metallb.io", "bgpadvertisements", OWN, ""),
    (FOLLOW, "metallb.io", "bgppeers", OWN, ""),
    (FOLLOW, "metallb.io", "bfdprofiles", OWN, ""),
    (FOLLOW, "metallb.io", "communities", OWN, ""),
    (&["get"], "", "secrets", OWN, "bgp-password"),
    (FOLLOW, "metallb.io", "servicel2statuses", OWN, ""),
    (
        &["create", "patch", "delete"],
        "metallb.io",
        "servicel2statuses",
        OWN,
        "l2-x",
    ),
    (
        &["patch"],
        "metallb.io",
        "servicel2statuses/status",
        OWN,
        "l2-x",
    ),
    (FOLLOW, "metallb.io", "servicebgpstatuses", OWN, ""),
    (
        &["create", "patch", "delete"],
        "metallb.io",
        "servicebgpstatuses",
        OWN,
        "bgp-x",
    ),
    (
        &["patch"],
        "metallb.io",
        "servicebgpstatuses/status",
        OWN,
        "bgp-x",
    ),
    (FOLLOW, "frrk8s.metallb.io", "bgpsessionstates", OWN, ""),
    (
        &["create", "patch", "delete"],
        "frrk8s.metallb.io",
        "bgpsessionstates",
        OWN,
        "n1-x",
    ),
    (
        &["patch"],
        "frrk8s.metallb.io",
        "bgpsessionstates/status",
        OWN,
        "n1-x",
    ),
    (
        &["get", "create", "patch"],
        "metallb.io",
        "configurationstates",
        OWN,
        "speaker-n1",
    ),
    (
        &["patch"],
        "metallb.io",
        "configurationstates/status",
        OWN,
        "speaker-n1",
    ),
    (&["get"], "", "pods", OWN, "speaker-1"),
    (&["get"], "apps", "daemonsets", OWN, "speaker"),
];

/// Of what it makes it reads each before it takes it over.
const OPERATOR: &[Call] = &[
    (
        &["create"],
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        "",
        "",
    ),
    (
        &["list", "watch", "get", "patch", "delete"],
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        "",
        "metallb-webhook-configuration",
    ),
    (
        &["list", "watch", "patch"],
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        "",
        "metallb-operator-webhook-configuration",
    ),
    (
        &["get", "patch"],
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "",
        "bgppeers.metallb.io",
    ),
    (&["create", "patch"], "", "events", "default", "e.1"),
    (FOLLOW, "metallb.io", "metallbs", OWN, ""),
    (&["patch"], "metallb.io", "metallbs/status", OWN, "any"),
    (&["create"], "coordination.k8s.io", "leases", OWN, ""),
    (
        &["get", "update"],
        "coordination.k8s.io",
        "leases",
        OWN,
        "metallb.io.metallboperator",
    ),
    (
        &["delete"],
        "coordination.k8s.io",
        "leases",
        OWN,
        "heliograph-controller",
    ),
    (&["create"], "", "secrets", OWN, ""),
    (
        &["get", "list", "watch", "patch"],
        "",
        "secrets",
        OWN,
        "metallb-operator-webhook-cert",
    ),
    (&["delete"], "", "secrets", OWN, "metallb-webhook-cert"),
    (&["list", "watch", "create"], "", "configmaps", OWN, ""),
    (
        &["get", "patch", "delete"],
        "",
        "configmaps",
        OWN,
        "metallb-excludel2",
    ),
    (&["list", "watch", "create"], "", "services", OWN, ""),
    (
        &["get", "patch", "delete"],
        "",
        "services",
        OWN,
        "metallb-webhook-service",
    ),
    (
        &["get", "patch", "delete"],
        "",
        "services",
        OWN,
        "controller-monitor-service",
    ),
    (
        &["get", "patch", "delete"],
        "",
        "services",
        OWN,
        "speaker-monitor-service",
    ),
    (&["list", "watch", "create"], "apps", "deployments", OWN, ""),
    (
        &["get", "patch", "delete"],
        "apps",
        "deployments",
        OWN,
        "controller",
    ),
    (&["list", "watch", "create"], "apps", "daemonsets", OWN, ""),
    (
        &["get", "patch", "delete"],
        "apps",
        "daemonsets",
        OWN,
        "speaker",
    ),
    (
        &["list", "watch", "create"],
        "networking.k8s.io",
        "networkpolicies",
        OWN,
        "",
    ),
    (
        &["get", "patch", "delete"],
        "networking.k8s.io",
        "networkpolicies",
        OWN,
        "controller",
    ),
    (
        &["get", "patch", "delete"],
        "networking.k8s.io",
        "networkpolicies",
        OWN,
        "default-deny",
    ),
    (
        &["list", "watch", "create"],
        "policy",
        "poddisruptionbudgets",
        OWN,
        "",
    ),
    (
        &["get", "patch", "delete"],
        "policy",
        "poddisruptionbudgets",
        OWN,
        "controller",
    ),
    (
        &["list", "watch", "create"],
        "monitoring.coreos.com",
        "podmonitors",
        OWN,
        "",
    ),
    (
        &["get", "patch", "delete"],
        "monitoring.coreos.com",
        "podmonitors",
        OWN,
        "controller-monitor",
    ),
    (
        &["get", "patch", "delete"],
        "monitoring.coreos.com",
        "podmonitors",
        OWN,
        "speaker-monitor",
    ),
    (
        &["list", "watch", "create"],
        "monitoring.coreos.com",
        "servicemonitors",
        OWN,
        "",
    ),
    (
        &["get", "patch", "delete"],
        "monitoring.coreos.com",
        "servicemonitors",
        OWN,
        "controller-monitor",
    ),
    (
        &["get", "patch", "delete"],
        "monitoring.coreos.com",
        "servicemonitors",
        OWN,
        "speaker-monitor",
    ),
    (
        &["get", "delete"],
        "apps",
        "deployments",
        OWN,
        "webhook-server",
    ),
    (
        &["get", "delete"],
        "apps",
        "deployments",
        OWN,
        "metallb-operator-webhook-server",
    ),
    (
        &["get", "delete"],
        "apps",
        "deployments",
        OWN,
        "frr-k8s-webhook-server",
    ),
    (
        &["get", "delete"],
        "apps",
        "deployments",
        OWN,
        "frr-k8s-statuscleaner",
    ),
    (&["get", "delete"], "apps", "daemonsets", OWN, "frr-k8s"),
    (&["get", "delete"], "", "configmaps", OWN, "frr-startup"),
    (
        &["get", "delete"],
        "networking.k8s.io",
        "networkpolicies",
        OWN,
        "metallb-controller",
    ),
    (
        &["get", "delete"],
        "networking.k8s.io",
        "networkpolicies",
        OWN,
        "metallb-webhook",
    ),
];
