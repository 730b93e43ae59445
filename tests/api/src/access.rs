//! Who may do what: requests turned into verbs and resources, for the roles to judge.
//!
//! Governed by the "Authorization Overview" page. What the roles say is up to [`super::rbac`].

use crate::answer::Refusal;
use crate::rbac::{self, Attributes, User};
use crate::route::{Request, Route, Target};
use crate::store::Store;
use crate::value::text;
use serde_json::{Value, json};

/// The verb of a request, as roles and audit logs name it.
pub(crate) fn verb(request: &Request, target: &Target) -> &'static str {
    let is_one = !target.name.is_empty();
    let is_watch = target.is_watch || request.says("watch");
    match (request.method.as_str(), is_one) {
        ("GET" | "HEAD", _) if is_watch => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _other => "",
    }
}

/// Refused with 403 if no role allows the request.
pub(crate) fn check(
    store: &Store,
    user: &User,
    request: &Request,
    route: &Route,
) -> Result<(), Refusal> {
    let name = &user.name;
    let Route::Target(target) = route else {
        let (verb, path) = (request.method.to_lowercase(), &request.path);
        if allows(store, user, &Attributes::Path { verb: &verb, path }).is_some() {
            return Ok(());
        }
        let why = format!("forbidden: User {name:?} cannot {verb} path {path:?}");
        let mut refusal = Refusal::new(403, "Forbidden", why);
        refusal.details = Some(json!({}));
        return Err(refusal);
    };
    let asked = Attributes::Resource {
        verb: verb(request, target),
        group: &target.group,
        resource: &target.plural,
        subresource: &target.subresource,
        namespace: &target.namespace,
        name: name_asked(request, target),
    };
    // A method that the server does not know is not the roles' affair.
    if verb(request, target).is_empty() || allows(store, user, &asked).is_some() {
        return Ok(());
    }
    let place = match target.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let resource = match target.subresource.as_str() {
        "" => target.plural.clone(),
        sub => format!("{}/{sub}", target.plural),
    };
    let (verb, group) = (verb(request, target), &target.group);
    let why =
        format!("User {name:?} cannot {verb} resource {resource:?} in API group {group:?} {place}");
    Err(Refusal::forbidden(&target.about(), &why))
}

/// The one object that a request is about, also where it lists or watches by `metadata.name`.
fn name_asked<'r>(request: &'r Request, target: &'r Target) -> &'r str {
    if !target.name.is_empty() {
        return &target.name;
    }
    let requirements = request.query("fieldSelector").split(',');
    let mut names = requirements.filter_map(|one| one.strip_prefix("metadata.name="));
    names.next().unwrap_or_default().trim_start_matches('=')
}

/// The status of a SubjectAccessReview.
pub(crate) fn review(store: &Store, user: &User, spec: &Value) -> Value {
    let (asked, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let own = |value: &Value, key: &str| text(&value[key]);
    let [verb, group, resource, subresource, namespace, name] = [
        "verb",
        "group",
        "resource",
        "subresource",
        "namespace",
        "name",
    ]
    .map(|key| own(asked, key));
    let (path_verb, path) = (own(other, "verb"), own(other, "path"));
    let attributes = if asked.is_object() {
        Attributes::Resource {
            verb: &verb,
            group: &group,
            resource: &resource,
            subresource: &subresource,
            namespace: &namespace,
            name: &name,
        }
    } else {
        Attributes::Path {
            verb: &path_verb,
            path: &path,
        }
    };
    match allows(store, user, &attributes) {
        Some(reason) if reason.is_empty() => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    }
}

/// Why it is allowed, empty for an administrator. None if it is not.
fn allows(store: &Store, user: &User, asked: &Attributes<'_>) -> Option<String> {
    if user.is_master() {
        return Some(String::new());
    }
    rbac::grant(store.rights(), user, asked)
}
