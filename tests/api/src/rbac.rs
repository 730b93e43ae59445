//! Who may do what, by the roles and bindings that are there.
//!
//! It knows objects, a user and one request, and grants only what a role says; no tokens, no HTTP. Ruled by the chapter "Using
//! RBAC Authorization" of Kubernetes' documentation. Roles that are aggregated from others are not known.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct User {
    /// As in `system:serviceaccount:metallb-system:speaker`.
    pub name: String,
    /// All groups that the user is in.
    pub groups: Vec<String>,
    /// What else the server knows of it, as the node of a service account's pod.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attributes<'a> {
    /// Objects. What is not said is empty: the namespace of a request for all of them, the name of a list.
    Resource {
        /// As in `list`; not HTTP's.
        verb: &'a str,
        /// API group; empty for the core.
        group: &'a str,
        /// Plural.
        resource: &'a str,
        /// As in `status`.
        subresource: &'a str,
        /// Namespace.
        namespace: &'a str,
        /// Name.
        name: &'a str,
    },
    /// A path that leads to no objects, as `/metrics` does.
    Path {
        /// HTTP's, in small letters.
        verb: &'a str,
        /// Without query.
        path: &'a str,
    },
}

/// Whether any role among `objects` allows the request. Other objects may be among them.
pub fn allows(objects: &[Value], user: &User, request: &Attributes<'_>) -> bool {
    grant(objects, user, request).is_some()
}

/// Why a request is allowed, in the words of a SubjectAccessReview.
pub fn grant(objects: &[Value], user: &User, request: &Attributes<'_>) -> Option<String> {
    let mut bindings = objects
        .iter()
        .filter(|object| is(object, "ClusterRoleBinding") || is(object, "RoleBinding"));
    bindings.find_map(|binding| {
        let subject = subject(binding, user)?;
        let role = role(objects, binding)?;
        let mut rules = role["rules"].as_array()?.iter();
        let is_within = holds_for(binding, request);
        if !is_within || !rules.any(|rule| covers(rule, request)) {
            return None;
        }
        let kind = text(&binding["kind"]);
        let mut name = text(&binding["metadata"]["name"]).to_owned();
        if kind == "RoleBinding" {
            name = format!("{name}/{}", text(&binding["metadata"]["namespace"]));
        }
        let (role_kind, role) = (text(&role["kind"]), text(&role["metadata"]["name"]));
        Some(format!(
            "RBAC: allowed by {kind} \"{name}\" of {role_kind} \"{role}\" to {subject}"
        ))
    })
}

/// The roles and bindings that every cluster is born with, as far as they say what everybody may.
pub fn built_in() -> Vec<Value> {
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let public = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let reviews = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["create"]});
    let own = [
        reviews(
            "authorization.k8s.io",
            &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        ),
        reviews("authentication.k8s.io", &["selfsubjectreviews"]),
    ];
    let gets = |paths: &[&str]| json!([{"nonResourceURLs": paths, "verbs": ["get"]}]);
    let known = ["system:authenticated"];
    let all = ["system:authenticated", "system:unauthenticated"];
    [
        ("system:discovery", gets(&discovery), &known[..]),
        ("system:basic-user", json!(own), &known[..]),
        ("system:public-info-viewer", gets(&public), &all[..]),
    ]
    .into_iter()
    .flat_map(|(name, rules, groups)| {
        let subjects: Vec<_> = groups
            .iter()
            .map(|group| json!({"kind": "Group", "name": group}))
            .collect();
        let role = json!({"kind": "ClusterRole", "name": name});
        [
            json!({"kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}),
            json!({"kind": "ClusterRoleBinding", "metadata": {"name": name}, "roleRef": role, "subjects": subjects}),
        ]
    })
    .collect()
}

/// The subject of a binding that the user is, as `Group "ops"`.
fn subject(binding: &Value, user: &User) -> Option<String> {
    let mut subjects = binding["subjects"].as_array()?.iter();
    subjects.find_map(|subject| {
        let (kind, name) = (text(&subject["kind"]), text(&subject["name"]));
        match kind {
            "User" => (user.name == name).then(|| format!("User {name:?}")),
            "Group" => {
                let is_in = user.groups.iter().any(|group| group == name);
                is_in.then(|| format!("Group {name:?}"))
            }
            "ServiceAccount" => {
                let own = text(&binding["metadata"]["namespace"]);
                let namespace = subject["namespace"].as_str().unwrap_or(own);
                let full = format!("system:serviceaccount:{namespace}:{name}");
                (user.name == full).then(|| format!("ServiceAccount \"{name}/{namespace}\""))
            }
            _ => None,
        }
    })
}

/// The role that a binding names; a Role is one of the binding's own namespace.
fn role<'a>(objects: &'a [Value], binding: &Value) -> Option<&'a Value> {
    let wanted = &binding["roleRef"];
    objects.iter().find(|object| {
        let is_near = is(object, "ClusterRole")
            || is(object, "Role")
                && is(binding, "RoleBinding")
                && object["metadata"]["namespace"] == binding["metadata"]["namespace"];
        is_near && object["kind"] == wanted["kind"] && object["metadata"]["name"] == wanted["name"]
    })
}

/// A RoleBinding reaches as far as its namespace.
fn holds_for(binding: &Value, request: &Attributes<'_>) -> bool {
    let is_cluster_wide = is(binding, "ClusterRoleBinding");
    match request {
        Attributes::Resource { namespace, .. } => {
            let own = text(&binding["metadata"]["namespace"]);
            is_cluster_wide || (!namespace.is_empty() && own == *namespace)
        }
        Attributes::Path { .. } => is_cluster_wide,
    }
}

fn covers(rule: &Value, request: &Attributes<'_>) -> bool {
    match *request {
        Attributes::Resource {
            verb,
            group,
            resource,
            subresource,
            namespace: _,
            name,
        } => {
            let names = rule["resourceNames"].as_array();
            has(&rule["verbs"], verb)
                && has(&rule["apiGroups"], group)
                && has_resource(&rule["resources"], resource, subresource)
                && names.is_none_or(|names| names.is_empty() || names.contains(&json!(name)))
        }
        Attributes::Path { verb, path } => {
            let mut paths = list(&rule["nonResourceURLs"]);
            has(&rule["verbs"], verb)
                && paths.any(|allowed| match allowed.strip_suffix('*') {
                    Some(begin) => path.starts_with(begin),
                    None => path == allowed,
                })
        }
    }
}

fn has(values: &Value, wanted: &str) -> bool {
    list(values).any(|value| value == "*" || value == wanted)
}

/// `*` is everything with all subresources; a resource alone is without them.
fn has_resource(values: &Value, resource: &str, subresource: &str) -> bool {
    list(values).any(|value| match value.split_once('/') {
        _ if value == "*" => true,
        Some(("*", below)) => below == subresource,
        Some((of, below)) => of == resource && below == subresource,
        None => value == resource && subresource.is_empty(),
    })
}

fn is(object: &Value, kind: &str) -> bool {
    object["kind"] == kind
}

fn list(values: &Value) -> impl Iterator<Item = &str> {
    let values = values.as_array().into_iter().flatten();
    values.filter_map(Value::as_str)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_object_is_that_one_alone() {
        let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"], "verbs": ["get", "list"]});
        let objects = bound("Role", rule);
        assert!(may(&objects, "get", "", "configmaps", "", "home", "one"));
        assert!(!may(&objects, "get", "", "configmaps", "", "home", "two"));
        assert!(!may(&objects, "list", "", "configmaps", "", "home", ""));
        assert!(!may(
            &objects,
            "update",
            "",
            "configmaps",
            "",
            "home",
            "one"
        ));
        assert_eq!(
            grant(
                &objects,
                &speaker(),
                &resource("get", "", "configmaps", "", "home", "one")
            )
            .as_deref(),
            Some(
                r#"RBAC: allowed by RoleBinding "b/home" of Role "r" to ServiceAccount "speaker/metallb-system""#
            )
        );
    }

    #[test]
    fn a_role_binding_reaches_as_far_as_its_namespace() {
        let rule = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
        for role in ["Role", "ClusterRole"] {
            let objects = bound(role, rule.clone());
            assert!(may(&objects, "get", "", "pods", "", "home", "p"), "{role}");
            assert!(!may(&objects, "get", "", "pods", "", "away", "p"), "{role}");
            assert!(!may(&objects, "list", "", "pods", "", "", ""), "{role}");
        }
    }

    #[test]
    fn a_subresource_is_a_right_of_its_own() {
        let rule = json!({"apiGroups": [""], "resources": ["services", "pods/status", "*/scale"], "verbs": ["update"]});
        let objects = bound("ClusterRole", rule);
        for (resource, subresource, expected) in [
            ("services", "", true),
            ("services", "status", false),
            ("pods", "", false),
            ("pods", "status", true),
            ("things", "scale", true),
        ] {
            let is = may(&objects, "update", "", resource, subresource, "home", "x");
            assert_eq!(is, expected, "{resource}/{subresource}");
        }
        assert!(!may(
            &objects, "update", "apps", "services", "", "home", "x"
        ));
    }

    #[test]
    fn paths_are_for_cluster_roles() {
        let rule = json!({"nonResourceURLs": ["/metrics", "/debug/*"], "verbs": ["get"]});
        let mut objects = bound("ClusterRole", rule);
        let get = |path| Attributes::Path { verb: "get", path };
        assert!(!allows(&objects, &speaker(), &get("/metrics")));
        objects[1]["kind"] = json!("ClusterRoleBinding");
        assert!(allows(&objects, &speaker(), &get("/metrics")));
        assert!(allows(&objects, &speaker(), &get("/debug/pprof")));
        assert!(!allows(&objects, &speaker(), &get("/metrics/cadvisor")));
        assert!(!allows(&objects, &User::default(), &get("/metrics")));
    }

    #[test]
    fn everybody_may_ask_for_the_version_and_strangers_for_little_more() {
        let objects = built_in();
        let stranger = group("system:unauthenticated");
        let known = group("system:authenticated");
        let get = |path| Attributes::Path { verb: "get", path };
        assert!(allows(&objects, &stranger, &get("/version")));
        assert!(!allows(&objects, &stranger, &get("/api")));
        assert!(allows(&objects, &known, &get("/apis/metallb.io/v1beta1")));
        let own = resource(
            "create",
            "authorization.k8s.io",
            "selfsubjectaccessreviews",
            "",
            "",
            "",
        );
        assert!(allows(&objects, &known, &own));
        assert!(!allows(&objects, &stranger, &own));
    }

    /// A role with one rule, bound in the namespace `home` to the speaker.
    fn bound(kind: &str, rule: Value) -> Vec<Value> {
        vec![
            json!({"kind": kind, "metadata": {"name": "r", "namespace": "home"}, "rules": [rule]}),
            json!({
                "kind": "RoleBinding",
                "metadata": {"name": "b", "namespace": "home"},
                "roleRef": {"kind": kind, "name": "r"},
                "subjects": [{"kind": "ServiceAccount", "name": "speaker", "namespace": "metallb-system"}],
            }),
        ]
    }

    fn may(
        objects: &[Value],
        verb: &str,
        group: &str,
        plural: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
    ) -> bool {
        let request = resource(verb, group, plural, subresource, namespace, name);
        allows(objects, &speaker(), &request)
    }

    fn resource<'a>(
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> Attributes<'a> {
        Attributes::Resource {
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
        }
    }

    fn speaker() -> User {
        User {
            name: "system:serviceaccount:metallb-system:speaker".to_owned(),
            groups: Vec::new(),
            extra: BTreeMap::default(),
        }
    }

    fn group(name: &str) -> User {
        User {
            name: "someone".to_owned(),
            groups: vec![name.to_owned()],
            extra: BTreeMap::default(),
        }
    }
}
