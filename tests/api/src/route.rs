//! Requests, and what their paths and queries ask for.
//!
//! Governed by the "Kubernetes API Concepts" page of the Kubernetes documentation. Knows no kind: whether there is such a
//! resource is seen later.

use crate::answer::{About, Refusal};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// One HTTP request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Such as `GET`.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Decoded; the last of equal keys counts.
    pub query: BTreeMap<String, String>,
    /// `Content-Type`, empty if none.
    pub content_type: String,
    /// `Accept`, empty if none.
    pub accept: String,
    /// First word of `User-Agent`, the field manager of those who name none.
    pub agent: String,
    /// Bearer token.
    pub token: Option<String>,
    /// As sent.
    pub body: Vec<u8>,
    /// When it came.
    pub now: Timestamp,
}

impl Request {
    /// A query's value, empty if not there.
    pub(crate) fn query(&self, key: &str) -> &str {
        self.query.get(key).map_or("", String::as_str)
    }

    /// Whether a query says yes.
    pub(crate) fn says(&self, key: &str) -> bool {
        matches!(self.query(key), "1" | "true" | "True" | "t")
    }

    /// A number of the query. Refused as Go's parser refuses it.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, Refusal> {
        let text = self.query(key);
        if text.is_empty() {
            return Ok(None);
        }
        let number = text.parse();
        number.map(Some).map_err(|_| {
            Refusal::bad(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })
    }

    /// Whether nothing is to be kept.
    pub(crate) fn is_dry(&self) -> bool {
        self.query("dryRun") == "All"
    }

    /// Who owns the fields that this request sets.
    pub(crate) fn manager(&self) -> String {
        match self.query("fieldManager") {
            "" => self.agent.clone(),
            named => named.to_owned(),
        }
    }
}

/// Pairs of a query, decoded.
pub(crate) fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (
                decode(&key.replace('+', " ")),
                decode(&value.replace('+', " ")),
            )
        })
        .collect()
}

/// A text of a URL, decoded.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let coded = match after {
            [high, low, ..] if *first == b'%' => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok();
                digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            _plain => None,
        };
        bytes.push(coded.unwrap_or(*first));
        rest = if coded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/version`.
    Version,
    /// `/healthz`, `/livez`, `/readyz`.
    Health,
    /// `/api`.
    Core,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    Contents(String, String),
    /// An object, a collection or a subresource.
    Target(Target),
    /// Something else.
    Unknown,
}

/// An object or a collection, as the path has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Empty for core.
    pub(crate) group: String,
    /// Such as `v1`.
    pub(crate) version: String,
    /// Empty for the cluster or for all namespaces.
    pub(crate) namespace: String,
    /// Such as `services`.
    pub(crate) plural: String,
    /// Empty for a collection.
    pub(crate) name: String,
    /// Such as `status`, empty for the object.
    pub(crate) subresource: String,
    /// The old form `/watch/…`.
    pub(crate) is_watch: bool,
}

impl Target {
    /// For messages, by plural.
    pub(crate) fn about(&self) -> About {
        self.about_name(&self.name)
    }

    /// For messages about an object of the collection.
    pub(crate) fn about_name(&self, name: &str) -> About {
        About {
            group: self.group.clone(),
            kind: self.plural.clone(),
            name: name.to_owned(),
        }
    }

    fn new(group: &str, version: &str, rest: &[&str]) -> Self {
        let is_watch = rest.first() == Some(&"watch");
        let rest = if is_watch { &rest[1..] } else { rest };
        let (namespace, rest) = match rest {
            // A namespace's own parts are no resources in it.
            ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, inner @ ..] if !inner.is_empty() => (*namespace, inner),
            other => ("", other),
        };
        let part = |at: usize| rest.get(at).map_or(String::new(), |&part| part.to_owned());
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.to_owned(),
            plural: part(0),
            name: part(1),
            subresource: part(2),
            is_watch,
        }
    }
}

/// Reads a path.
pub(crate) fn route(path: &str) -> Route {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["version"] => Route::Version,
        ["healthz" | "livez" | "readyz"] => Route::Health,
        ["api"] => Route::Core,
        ["api", version] => Route::Contents(String::new(), (*version).to_owned()),
        ["api", version, rest @ ..] => Route::Target(Target::new("", version, rest)),
        ["apis"] => Route::Groups,
        ["apis", group] => Route::Group((*group).to_owned()),
        ["apis", group, version] => Route::Contents((*group).to_owned(), (*version).to_owned()),
        ["apis", group, version, rest @ ..] => Route::Target(Target::new(group, version, rest)),
        _other => Route::Unknown,
    }
}

/// What is wanted of a body: the plain form, a table, or metadata alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As stored.
    Whole,
    /// `as=Table`.
    Table,
    /// `as=PartialObjectMetadata` or its list.
    Metadata,
}

/// Reads `Accept`. Refused with 406 if nothing in it can be served.
pub(crate) fn form(accept: &str) -> Result<Form, Refusal> {
    if accept.is_empty() {
        return Ok(Form::Whole);
    }
    for clause in accept.split(',') {
        let mut words = clause.split(';').map(str::trim);
        if !matches!(
            words.next(),
            Some("application/json" | "*/*" | "application/*")
        ) {
            continue;
        }
        let shape = words.find_map(|word| word.strip_prefix("as="));
        match shape {
            None => return Ok(Form::Whole),
            Some("Table") => return Ok(Form::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => {
                return Ok(Form::Metadata);
            }
            Some(_unknown) => {}
        }
    }
    let mut refusal = Refusal::new(
        406,
        "NotAcceptable",
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    );
    refusal.details = Some(Value::Object(serde_json::Map::new()));
    Err(refusal)
}
