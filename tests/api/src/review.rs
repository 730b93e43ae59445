//! Reviews that are answered and never stored: whose a token is, and who may do what.
//!
//! Governed by the TokenReview and SubjectAccessReview APIs, and recorded exchanges.

use crate::access;
use crate::answer::{About, Answer, Refusal};
use crate::rbac::User;
use crate::schema::Cause;
use crate::store::Store;
use crate::value::{each, text};
use serde_json::{Value, json};

/// Answers a review if `plural` of `group` is one.
pub(crate) fn review(
    store: &Store,
    user: &User,
    group: &str,
    plural: &str,
    body: &[u8],
) -> Option<Result<Answer, Refusal>> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let spec = &body["spec"];
    match (group, plural) {
        ("authentication.k8s.io", "tokenreviews") => Some(token(store, spec)),
        ("authorization.k8s.io", "subjectaccessreviews") => Some(access(store, spec)),
        ("authorization.k8s.io", "selfsubjectaccessreviews") => {
            let allowed = access::review(store, user, spec);
            Some(Ok(answer(
                "SelfSubjectAccessReview",
                AUTHORIZATION,
                spec,
                allowed,
            )))
        }
        _none => None,
    }
}

fn answer(kind: &str, api_version: &str, spec: &Value, status: Value) -> Answer {
    Answer::json(
        201,
        json!({"kind": kind, "apiVersion": api_version, "metadata": {}, "spec": spec, "status": status}),
    )
}

fn token(store: &Store, spec: &Value) -> Result<Answer, Refusal> {
    let token = text(&spec["token"]);
    if token.is_empty() {
        return Err(Refusal::bad(
            "token is required for TokenReview in authentication",
        ));
    }
    let audiences = spec["audiences"].as_array();
    let is_meant = audiences.is_none_or(|list| list.iter().any(|audience| audience == AUDIENCE));
    let status = match store.users.user(&token).filter(|_| is_meant) {
        Some(user) => json!({
            "authenticated": true, "user": {"username": user.name, "groups": user.groups}, "audiences": [AUDIENCE],
        }),
        None => json!({"user": {}, "error": "invalid bearer token"}),
    };
    Ok(answer(
        "TokenReview",
        "authentication.k8s.io/v1",
        spec,
        status,
    ))
}

fn access(store: &Store, spec: &Value) -> Result<Answer, Refusal> {
    let about = About {
        group: "authorization.k8s.io".to_owned(),
        ..About::default()
    };
    let groups = each(&spec["groups"]);
    let user = User {
        name: text(&spec["user"]),
        groups: groups.map(text).collect(),
        ..User::default()
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let why = "at least one of user or group must be specified";
        let causes = [Cause::shown("spec.user", &json!(""), why)];
        return Err(Refusal::invalid(&about, &causes));
    }
    let other = &spec["nonResourceAttributes"];
    if spec["resourceAttributes"].is_object() && other.is_object() {
        let told = json!({"Path": other["path"], "Verb": other["verb"]});
        let why = "cannot be specified in combination with resourceAttributes";
        let causes = [Cause::shown("spec.nonResourceAttributes", &told, why)];
        return Err(Refusal::invalid(&about, &causes));
    }
    let status = access::review(store, &user, spec);
    Ok(answer("SubjectAccessReview", AUTHORIZATION, spec, status))
}

const AUTHORIZATION: &str = "authorization.k8s.io/v1";

/// The only audience of tokens here.
const AUDIENCE: &str = "https://kubernetes.default.svc";
