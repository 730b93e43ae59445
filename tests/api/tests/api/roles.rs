//! The roles that are shipped grant each call that our programs make, and nothing that none of them needs.
//!
//! A call that is new in a program belongs in the table here and in `deploy/manifests`, in both or in neither.

use crate::cluster;
use api_tests::Logged;
use api_tests::rbac::{Attributes, User, allows, grant};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A kind of call that a program makes.
struct Call {
    verbs: Vec<&'static str>,
    /// Empty for the core.
    group: &'static str,
    /// With its subresource.
    resource: &'static str,
    /// Empty for the cluster, or for all namespaces.
    namespace: &'static str,
    /// Empty where it is not always the same.
    name: &'static str,
}

#[test]
fn every_call_is_granted() {
    let objects = shipped();
    for (account, rows) in ACCOUNTS {
        for call in calls(rows) {
            for request in call.requests() {
                assert!(
                    allows(&objects, &user(account), &request),
                    "{account} may not {request:?}"
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
    for call in ACCOUNTS.iter().flat_map(|(_, rows)| calls(rows)) {
        for request in call.requests() {
            assert!(!allows(&objects, &stranger, &request), "{request:?}");
        }
    }
}

/// Every request that our accounts were seen to make is a call of the table.
pub(super) fn judge(log: &[Logged]) {
    for logged in log {
        let account = logged
            .user
            .strip_prefix("system:serviceaccount:metallb-system:");
        let known = ACCOUNTS.iter().find(|(known, _)| account == Some(known));
        let Some((_, rows)) = known else {
            continue;
        };
        let Some((group, resource)) = resource_of(&logged.path) else {
            continue;
        };
        let is_known = calls(rows).any(|call| {
            call.verbs.contains(&logged.verb.as_str())
                && call.group == group
                && call.resource == resource
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
    ACCOUNTS.into_iter().any(|(account, rows)| {
        calls(rows).any(|call| {
            let mut requests = call.requests();
            requests.any(|request| !allows(objects, &user(account), &request))
        })
    })
}

impl Call {
    /// One request for each verb.
    fn requests(&self) -> impl Iterator<Item = Attributes<'_>> {
        let verbs = self.verbs.iter();
        verbs.map(|verb| request(verb, self.group, self.resource, self.namespace, self.name))
    }
}

/// Reads the rows of a table: verbs, group, resource, namespace and name, `-` for none.
fn calls(rows: &[&'static str]) -> impl Iterator<Item = Call> {
    rows.iter().map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        let [verbs, group, resource, namespace, name] = words[..] else {
            panic!("{row:?} has not five words");
        };
        let named = |word| if word == "-" { "" } else { word };
        Call {
            verbs: verbs.split(',').collect(),
            group: if group == "core" { "" } else { group },
            resource,
            namespace: if namespace == "own" {
                OWN
            } else {
                named(namespace)
            },
            name: named(name),
        }
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
        ..User::default()
    }
}

/// Everything that is shipped as manifests.
fn shipped() -> Vec<Value> {
    let folders = ["manifests", "operator"].into_iter();
    folders.flat_map(cluster::shipped).collect()
}

const OWN: &str = "metallb-system";

const ACCOUNTS: [(&str, &[&str]); 3] = [
    ("controller", CONTROLLER),
    ("speaker", SPEAKER),
    ("metallb-operator", OPERATOR),
];

const CONTROLLER: &[&str] = &[
    "list,watch           core                         services                        -       -",
    "get                  core                         services                        default web",
    "update               core                         services/status                 default web",
    "list,watch           core                         namespaces                      -       -",
    "list,watch           core                         nodes                           -       -",
    "create,patch         core                         events                          default web.1",
    "list,watch,patch     admissionregistration.k8s.io validatingwebhookconfigurations -       metallb-webhook-configuration",
    "list,watch,patch     apiextensions.k8s.io         customresourcedefinitions       -       bgppeers.metallb.io",
    "create               authentication.k8s.io        tokenreviews                    -       -",
    "create               authorization.k8s.io         subjectaccessreviews            -       -",
    "list,watch           metallb.io                   ipaddresspools                  own     -",
    "list,watch           metallb.io                   l2advertisements                own     -",
    "list,watch           metallb.io                   bgpadvertisements               own     -",
    "list,watch           metallb.io                   bgppeers                        own     -",
    "list,watch           metallb.io                   bfdprofiles                     own     -",
    "list,watch           metallb.io                   communities                     own     -",
    "update               metallb.io                   ipaddresspools/status           own     p",
    "get,create,patch     metallb.io                   configurationstates             own     controller",
    "patch                metallb.io                   configurationstates/status      own     controller",
    "create               coordination.k8s.io          leases                          own     -",
    "get,update           coordination.k8s.io          leases                          own     heliograph-controller",
    "create               core                         secrets                         own     -",
    "get,list,watch,patch core                         secrets                         own     metallb-webhook-cert",
    "get                  apps                         deployments                     own     controller",
    "get                  core                         pods                            own     controller-1",
    "list                 core                         pods                            own     -",
];

const SPEAKER: &[&str] = &[
    "list,watch          core                  services                   -       -",
    "list,watch          core                  nodes                      -       -",
    "list,watch          discovery.k8s.io      endpointslices             -       -",
    "create,patch        core                  events                     default web.1",
    "create              authentication.k8s.io tokenreviews               -       -",
    "create              authorization.k8s.io  subjectaccessreviews       -       -",
    "list,watch          metallb.io            ipaddresspools             own     -",
    "list,watch          metallb.io            l2advertisements           own     -",
    "list,watch          metallb.io            bgpadvertisements          own     -",
    "list,watch          metallb.io            bgppeers                   own     -",
    "list,watch          metallb.io            bfdprofiles                own     -",
    "list,watch          metallb.io            communities                own     -",
    "get                 core                  secrets                    own     bgp-password",
    "list,watch          metallb.io            servicel2statuses          own     -",
    "create,patch,delete metallb.io            servicel2statuses          own     l2-x",
    "patch               metallb.io            servicel2statuses/status   own     l2-x",
    "list,watch          metallb.io            servicebgpstatuses         own     -",
    "create,patch,delete metallb.io            servicebgpstatuses         own     bgp-x",
    "patch               metallb.io            servicebgpstatuses/status  own     bgp-x",
    "list,watch          frrk8s.metallb.io     bgpsessionstates           own     -",
    "list                frrk8s.metallb.io     frrconfigurations          -       -",
    "create,patch,delete frrk8s.metallb.io     bgpsessionstates           own     n1-x",
    "patch               frrk8s.metallb.io     bgpsessionstates/status    own     n1-x",
    "get,create,patch    metallb.io            configurationstates        own     speaker-n1",
    "patch               metallb.io            configurationstates/status own     speaker-n1",
    "list,watch          core                  configmaps                 own     -",
    "create,patch        core                  configmaps                 own     speaker-n1",
    "get                 core                  pods                       own     speaker-1",
    "get                 apps                  daemonsets                 own     speaker",
];

/// Of what it makes it reads each before it takes it over.
const OPERATOR: &[&str] = &[
    "create                      admissionregistration.k8s.io validatingwebhookconfigurations -       -",
    "list,watch,get,patch,delete admissionregistration.k8s.io validatingwebhookconfigurations -       metallb-webhook-configuration",
    "list,watch,patch            admissionregistration.k8s.io validatingwebhookconfigurations -       metallb-operator-webhook-configuration",
    "create                      admissionregistration.k8s.io validatingadmissionpolicies     -       -",
    "list,watch,get,patch,delete admissionregistration.k8s.io validatingadmissionpolicies     -       heliograph-speaker-configmaps",
    "create                      admissionregistration.k8s.io validatingadmissionpolicybindings -       -",
    "list,watch,get,patch,delete admissionregistration.k8s.io validatingadmissionpolicybindings -       heliograph-speaker-configmaps",
    "get,patch                   apiextensions.k8s.io         customresourcedefinitions       -       bgppeers.metallb.io",
    "create,patch                core                         events                          default e.1",
    "list,watch                  metallb.io                   metallbs                        own     -",
    "patch                       metallb.io                   metallbs/status                 own     any",
    "list,watch                  metallb.io                   configurationstates             own     -",
    "create                      coordination.k8s.io          leases                          own     -",
    "get,update                  coordination.k8s.io          leases                          own     metallb.io.metallboperator",
    "delete                      coordination.k8s.io          leases                          own     heliograph-controller",
    "create                      core                         secrets                         own     -",
    "get,list,watch,patch        core                         secrets                         own     metallb-operator-webhook-cert",
    "delete                      core                         secrets                         own     metallb-webhook-cert",
    "list,watch,create           core                         configmaps                      own     -",
    "get,patch,delete            core                         configmaps                      own     metallb-excludel2",
    "list,watch,create           core                         services                        own     -",
    "get,patch,delete            core                         services                        own     metallb-webhook-service",
    "get,patch,delete            core                         services                        own     controller-monitor-service",
    "get,patch,delete            core                         services                        own     speaker-monitor-service",
    "list,watch,create           apps                         deployments                     own     -",
    "get,patch,delete            apps                         deployments                     own     controller",
    "list,watch,create           apps                         daemonsets                      own     -",
    "get,patch,delete            apps                         daemonsets                      own     speaker",
    "list,watch,create           networking.k8s.io            networkpolicies                 own     -",
    "get,patch,delete            networking.k8s.io            networkpolicies                 own     controller",
    "get,patch,delete            networking.k8s.io            networkpolicies                 own     default-deny",
    "list,watch,create           policy                       poddisruptionbudgets            own     -",
    "get,patch,delete            policy                       poddisruptionbudgets            own     controller",
    "list,watch,create           monitoring.coreos.com        podmonitors                     own     -",
    "get,patch,delete            monitoring.coreos.com        podmonitors                     own     controller-monitor",
    "get,patch,delete            monitoring.coreos.com        podmonitors                     own     speaker-monitor",
    "list,watch,create           monitoring.coreos.com        servicemonitors                 own     -",
    "get,patch,delete            monitoring.coreos.com        servicemonitors                 own     controller-monitor",
    "get,patch,delete            monitoring.coreos.com        servicemonitors                 own     speaker-monitor",
    "list,watch,patch,delete     core                         pods                            own     speaker-x",
    "get,delete                  apps                         deployments                     own     webhook-server",
    "get,delete                  apps                         deployments                     own     metallb-operator-webhook-server",
    "get,delete                  apps                         deployments                     own     frr-k8s-webhook-server",
    "get,delete                  apps                         deployments                     own     frr-k8s-statuscleaner",
    "get,delete                  apps                         daemonsets                      own     frr-k8s",
    "get,delete                  core                         configmaps                      own     frr-startup",
    "get,delete                  networking.k8s.io            networkpolicies                 own     metallb-controller",
    "get,delete                  networking.k8s.io            networkpolicies                 own     metallb-webhook",
];
