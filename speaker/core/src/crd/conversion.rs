//! BGPPeer from one version to the other.
//!
//! Total: whatever the object says, there is an answer, since one refusal breaks every list of the kind for everyone.
//! What a version does not know is lost, unset timers become `0s`, and what is empty is left out: as MetalLB does it.
//! `metadata` stays as it is.

use crate::duration::Span;
use serde_json::{Map, Value, json};

/// A version of BGPPeer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// Served, deprecated.
    V1Beta1,
    /// Served and stored.
    V1Beta2,
}

impl Version {
    /// The version that an `apiVersion` names.
    pub fn of(api_version: &str) -> Option<Self> {
        [Self::V1Beta1, Self::V1Beta2]
            .into_iter()
            .find(|version| version.api_version() == api_version)
    }

    /// As in the `apiVersion` field.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::V1Beta1 => "metallb.io/v1beta1",
            Self::V1Beta2 => "metallb.io/v1beta2",
        }
    }
}

/// A BGPPeer of the other version as one of version `to`.
pub fn convert(mut peer: Map<String, Value>, to: Version) -> Map<String, Value> {
    let old = match peer.remove("spec") {
        Some(Value::Object(spec)) => spec,
        Some(_) | None => Map::new(),
    };
    let mut spec = Map::new();
    for (name, value) in old {
        if KEPT.contains(&name.as_str()) && !is_empty(&value) {
            spec.insert(name, value);
        }
    }
    spec.entry("myASN").or_insert_with(|| json!(0));
    for timer in ["holdTime", "keepaliveTime"] {
        let text = spec.get(timer).and_then(Value::as_str).unwrap_or("0s");
        // A text that is no duration stays for the webhook to refuse.
        let text = text
            .parse::<Span>()
            .map_or(text.to_owned(), |span| span.to_string());
        spec.insert(timer.to_owned(), text.into());
    }
    match to {
        Version::V1Beta1 => {
            spec.entry("peerASN").or_insert_with(|| json!(0));
            spec.entry("peerAddress").or_insert_with(|| json!(""));
        }
        Version::V1Beta2 => {
            spec.insert("passwordSecret".to_owned(), json!({}));
        }
    }
    settle_selectors(&mut spec, to);
    peer.insert("apiVersion".to_owned(), to.api_version().into());
    peer.insert("spec".to_owned(), Value::Object(spec));
    peer.insert("status".to_owned(), json!({}));
    peer
}

/// Whether a field is left out where Go leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_set) => !is_set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => false,
    }
}

/// Node selectors leave out what is empty, but in v1beta1 each expression has `values`, even if none.
fn settle_selectors(spec: &mut Map<String, Value>, to: Version) {
    let selectors = spec.get_mut("nodeSelectors").and_then(Value::as_array_mut);
    for selector in selectors
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        selector.retain(|_, part| !is_empty(part) && *part != json!({}));
        let expressions = selector.get_mut("matchExpressions");
        let expressions = expressions.and_then(Value::as_array_mut);
        for expression in expressions
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            let values = expression.entry("values").or_insert_with(|| json!([]));
            if to == Version::V1Beta2 && is_empty(values) {
                expression.remove("values");
            }
        }
    }
}

/// The fields of `spec` that both versions have.
const KEPT: [&str; 12] = [
    "myASN",
    "peerASN",
    "peerAddress",
    "sourceAddress",
    "peerPort",
    "holdTime",
    "keepaliveTime",
    "routerID",
    "nodeSelectors",
    "password",
    "bfdProfile",
    "ebgpMultiHop",
];

#[cfg(test)]
#[path = "conversion_tests.rs"]
mod tests;
