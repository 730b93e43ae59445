//! What controller and speakers may do: each rule is followed from the call that needs it. Nodes are read and never written, and
//! Secrets are read by name and never listed.
//!
//! Names are MetalLB's, so that applying this over MetalLB replaces its wider roles.

use super::controller::CONTROLLER;
use super::speaker::SPEAKER;
use super::{Object, Options, global, own};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

/// API group, resources, names (none: all), verbs.
type Rule = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

pub(super) fn objects(options: &Options) -> Vec<Object> {
    let controller = Account {
        name: CONTROLLER,
        everywhere: CONTROLLER_EVERYWHERE,
        role: CONTROLLER,
        at_home: CONTROLLER_AT_HOME,
    };
    let speaker = Account {
        name: SPEAKER,
        everywhere: SPEAKER_EVERYWHERE,
        // MetalLB's name for the role of speakers in their own namespace.
        role: "pod-lister",
        at_home: SPEAKER_AT_HOME,
    };
    let accounts = [controller, speaker].into_iter();
    accounts
        .flat_map(|account| account.objects(options))
        .collect()
}

struct Account {
    name: &'static str,
    /// Its rights in the cluster.
    everywhere: &'static [Rule],
    /// The name of its role at home.
    role: &'static str,
    /// Its rights in its own namespace.
    at_home: &'static [Rule],
}

impl Account {
    fn objects(&self, options: &Options) -> [Object; 5] {
        let global_name = format!("metallb-system:{}", self.name);
        [
            Object::of(&ServiceAccount {
                metadata: own(options, self.name),
                ..ServiceAccount::default()
            }),
            Object::of(&ClusterRole {
                metadata: global(options, &global_name),
                rules: Some(self.everywhere.iter().map(rule).collect()),
                ..ClusterRole::default()
            }),
            Object::of(&ClusterRoleBinding {
                metadata: global(options, &global_name),
                role_ref: refer("ClusterRole", &global_name),
                subjects: Some(vec![self.subject(options)]),
            }),
            Object::of(&Role {
                metadata: own(options, self.role),
                rules: Some(self.at_home.iter().map(rule).collect()),
            }),
            Object::of(&RoleBinding {
                metadata: own(options, self.role),
                role_ref: refer("Role", self.role),
                subjects: Some(vec![self.subject(options)]),
            }),
        ]
    }

    fn subject(&self, options: &Options) -> Subject {
        Subject {
            kind: "ServiceAccount".to_owned(),
            name: self.name.to_owned(),
            namespace: Some(options.namespace.clone()),
            ..Subject::default()
        }
    }
}

fn refer(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn rule(&(group, resources, names, verbs): &Rule) -> PolicyRule {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(texts(resources)),
        resource_names: super::listed(texts(names)),
        verbs: texts(verbs),
        ..PolicyRule::default()
    }
}

const FOLLOW: &[&str] = &["list", "watch"];
const MAKE: &[&str] = &["create"];
const CONFIGURATION: &[&str] = &[
    "ipaddresspools",
    "l2advertisements",
    "bgpadvertisements",
    "bgppeers",
    "bfdprofiles",
    "communities",
];
const KEEP: &[&str] = &["list", "watch", "create", "patch", "delete"];

/// Asks who wants to read /metrics, and whether they may.
const WHO_ASKS: Rule = ("authentication.k8s.io", &["tokenreviews"], &[], MAKE);
const MAY_THEY: Rule = ("authorization.k8s.io", &["subjectaccessreviews"], &[], MAKE);
/// Events on services in their own namespaces: made once, then counted up by a patch.
const EVENTS: Rule = ("", &["events"], &[], &["create", "patch"]);
/// Whether it could use the configuration: made, given its labels and owner, its conditions applied.
const STATES: Rule = (
    "metallb.io",
    &["configurationstates"],
    &[],
    &["get", "create", "patch"],
);
const STATES_STATUS: Rule = (
    "metallb.io",
    &["configurationstates/status"],
    &[],
    &["patch"],
);

const CONTROLLER_EVERYWHERE: &[Rule] = &[
    // Follows all services, also those that stop being load balancers; reads one anew after a conflict.
    ("", &["services"], &[], &["get", "list", "watch"]),
    // Writes addresses and metallb.io/ip-allocated-from-pool: a PUT to /status carries both.
    ("", &["services/status"], &[], &["update"]),
    // Namespaces, for the selectors of pools; nodes, for verdicts on peers and advertisements.
    ("", &["namespaces", "nodes"], &[], FOLLOW),
    EVENTS,
    // Follows this one object, by the field selector metadata.name, and patches its caBundle in where that is not in place.
    (
        "admissionregistration.k8s.io",
        &["validatingwebhookconfigurations"],
        &["metallb-webhook-configuration"],
        &["list", "watch", "patch"],
    ),
    // The same for the conversion of BGPPeer.
    (
        "apiextensions.k8s.io",
        &["customresourcedefinitions"],
        &["bgppeers.metallb.io"],
        &["list", "watch", "patch"],
    ),
    WHO_ASKS,
    MAY_THEY,
];

const CONTROLLER_AT_HOME: &[Rule] = &[
    // The configuration: to allocate by, and to judge new objects beside the others.
    ("metallb.io", CONFIGURATION, &[], FOLLOW),
    // Counters of pools.
    ("metallb.io", &["ipaddresspools/status"], &[], &["update"]),
    STATES,
    STATES_STATUS,
    // One replica writes at a time. A name cannot be demanded of something that is to be made.
    ("coordination.k8s.io", &["leases"], &[], MAKE),
    (
        "coordination.k8s.io",
        &["leases"],
        &["heliograph-controller"],
        &["get", "update"],
    ),
    // Certificates of the webhooks, and the key of the speakers' gossip, which is made and never read.
    ("", &["secrets"], &[], MAKE),
    // The certificates are read at the start, followed by name, and renewed.
    (
        "",
        &["secrets"],
        &["metallb-webhook-cert"],
        &["get", "list", "watch", "patch"],
    ),
    // Owner of the gossip's Secret.
    ("apps", &["deployments"], &["controller"], &["get"]),
    // Its own pod, which owns what it makes; and whether a controller of MetalLB is still there.
    ("", &["pods"], &[], &["get", "list"]),
];

const SPEAKER_EVERYWHERE: &[Rule] = &[
    // What is announced, and the nodes that can announce.
    ("", &["services", "nodes"], &[], FOLLOW),
    // Whether a service can be served, and where.
    ("discovery.k8s.io", &["endpointslices"], &[], FOLLOW),
    // Which peers somebody else's frr-k8s has, wherever its objects are.
    ("frrk8s.metallb.io", &["frrconfigurations"], &[], &["list"]),
    EVENTS,
    WHO_ASKS,
    MAY_THEY,
];

const SPEAKER_AT_HOME: &[Rule] = &[
    // The configuration.
    ("metallb.io", CONFIGURATION, &[], FOLLOW),
    // Passwords of BGP peers, each by the name that its BGPPeer gives.
    ("", &["secrets"], &[], &["get"]),
    // Who announces which service, and to which peers: followed, made and removed by the node that does, their status patched.
    (
        "metallb.io",
        &["servicel2statuses", "servicebgpstatuses"],
        &[],
        KEEP,
    ),
    (
        "metallb.io",
        &["servicel2statuses/status", "servicebgpstatuses/status"],
        &[],
        &["patch"],
    ),
    // How each BGP session fares, where METALLB_BGP_TYPE is frr-k8s: likewise.
    ("frrk8s.metallb.io", &["bgpsessionstates"], &[], KEEP),
    (
        "frrk8s.metallb.io",
        &["bgpsessionstates/status"],
        &[],
        &["patch"],
    ),
    STATES,
    STATES_STATUS,
    // Hardware addresses of nodes: each writes those of its own, as a ValidatingAdmissionPolicy sees to, and follows the others'.
    (
        "",
        &["configmaps"],
        &[],
        &["list", "watch", "create", "patch"],
    ),
    // Its own pod, which owns what it makes, and says at the end whether it is deleted.
    ("", &["pods"], &[], &["get"]),
    // Whether another pod follows its own on this node, asked when it is told to stop.
    ("apps", &["daemonsets"], &["speaker"], &["get"]),
];
