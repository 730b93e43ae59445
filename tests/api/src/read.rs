//! Reads: one object, lists in pages, and the forms in which clients want them.
//!
//! Governed by the "Kubernetes API Concepts" page (resource versions, chunked lists) and recorded exchanges.

use crate::answer::{About, Answer, Refusal};
use crate::call::{Call, Stop};
use crate::hooks;
use crate::route::{Form, form};
use crate::schema::{self, Cause};
use crate::select::Selector;
use crate::store::{Key, Store};
use crate::table;
use crate::value::{take, text};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::Arc;

/// One object.
pub(crate) fn get(store: &Store, call: &Call<'_>) -> Result<Answer, Stop> {
    let wanted = revision(call)?;
    check_future(store, wanted)?;
    let target = &call.target;
    let key = Key::new(&call.kind.resource(), &target.namespace, &target.name);
    let Some(object) = store.get(&key) else {
        return Err(Refusal::not_found(&target.about()).into());
    };
    Ok(Answer::json(200, present(call, object)?))
}

/// A list, or a page of one.
pub(crate) fn list(store: &Store, call: &Call<'_>) -> Result<Answer, Stop> {
    let page = Page::read(store, call)?;
    let selector = selector(call)?;
    let resource = call.kind.resource();
    let namespace = &call.target.namespace;
    let (found, rest) = if page.revision == store.revision() {
        page.take(store.range(&resource, namespace), &selector)
    } else {
        let objects = store.at(page.revision, &resource, namespace);
        page.take(objects.ok_or_else(|| page.too_old())?, &selector)
    };
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if call.kind.is_custom() && form(&call.request.accept)? == Form::Whole {
        metadata["continue"] = json!("");
    }
    if let Some((last, _)) = found.last()
        && rest > 0
    {
        metadata["continue"] = json!(token(page.revision, &place(last)));
        // With a selector nobody counts.
        if selector.is_empty() {
            metadata["remainingItemCount"] = json!(rest);
        }
    }
    let objects = found.iter().map(|(_, object)| Value::clone(object));
    let objects = many_in_version(call, objects.collect()).map_err(|stop| cold(call, stop))?;
    Ok(Answer::json(200, shape(call, objects, metadata)?))
}

/// A list that cannot be converted is one that the server's cache does not have yet.
fn cold(call: &Call<'_>, stop: Stop) -> Stop {
    match stop {
        Stop::Refused(refusal) if refusal.code == 500 => {
            let (version, kind) = (call.api_version(), &call.kind.kind);
            let why = format!(
                "storage is (re)initializing: failed to list {version}, Kind={kind}: {}",
                refusal.message
            );
            Refusal::new(429, "TooManyRequests", why).wait(1).into()
        }
        other => other,
    }
}

/// The request's selectors; a named object is one too.
pub(crate) fn selector(call: &Call<'_>) -> Result<Selector, Refusal> {
    let mut fields = call.request.query("fieldSelector").to_owned();
    if !call.target.name.is_empty() {
        fields = format!("{fields},metadata.name={}", call.target.name);
    }
    Selector::read(&call.kind, call.request.query("labelSelector"), &fields)
}

/// Which state a list shows.
struct Page {
    revision: u64,
    limit: Option<usize>,
    /// Where the page before ended.
    after: Option<String>,
}

impl Page {
    fn read(store: &Store, call: &Call<'_>) -> Result<Self, Stop> {
        let request = call.request;
        request.number("timeoutSeconds")?;
        let limit = request.number("limit")?.filter(|limit| *limit > 0);
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let wanted = text(&json!(request.query("resourceVersion")));
        let token = request.query("continue");
        if !token.is_empty() {
            return Self::next(store, token, limit, &wanted);
        }
        let matched = request.query("resourceVersionMatch");
        check_match(matched, &wanted)?;
        let wanted = revision(call)?;
        check_future(store, wanted)?;
        let current = store.revision();
        let revision = match wanted {
            Some(exact)
                if matched == "Exact" || (exact > 0 && limit.is_some() && matched.is_empty()) =>
            {
                exact
            }
            _newest => current,
        };
        Ok(Self {
            revision,
            // From the cache, which has no pages.
            limit: limit.filter(|_| wanted != Some(0)),
            after: None,
        })
    }

    fn next(
        store: &Store,
        token: &str,
        limit: Option<usize>,
        revision: &str,
    ) -> Result<Self, Stop> {
        if !revision.is_empty() && revision != "0" {
            let why = "specifying resource version is not allowed when using continue";
            return Err(Refusal::bad(why).into());
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
        let decoded = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
        let (Some(revision), Some(start)) = (decoded["rv"].as_i64(), decoded["start"].as_str())
        else {
            let letter = String::from_utf8_lossy(&bytes).chars().next();
            let shown = bytes.first().map_or(letter, |byte| Some(char::from(*byte)));
            let shown = shown.unwrap_or(' ') as u32;
            let why = format!(
                "invalid continue token: continue key is not valid: invalid character '\\u{shown:04x}' looking for beginning of value"
            );
            return Err(Refusal::bad(why).into());
        };
        Ok(Self {
            // A token without a revision goes on from whatever is there now.
            revision: u64::try_from(revision).unwrap_or(store.revision()),
            limit,
            after: Some(start.trim_end_matches('\0').to_owned()),
        })
    }

    /// What stands on it, and how many come after it.
    fn take<'a>(
        &self,
        objects: impl IntoIterator<Item = (&'a Key, &'a Arc<Value>)>,
        selector: &Selector,
    ) -> (Vec<(&'a Key, &'a Arc<Value>)>, usize) {
        let is_rest = |key: &Key| self.after.as_ref().is_none_or(|after| place(key) > *after);
        let mut rest = objects
            .into_iter()
            .filter(|(key, object)| is_rest(key) && selector.matches(object));
        let found = rest.by_ref().take(self.limit.unwrap_or(usize::MAX));
        (found.collect(), rest.count())
    }

    fn too_old(&self) -> Refusal {
        let Some(after) = &self.after else {
            let why = "The resourceVersion for the provided list is too old.";
            return Refusal::new(410, "Expired", why);
        };
        let mut refusal = Refusal::new(410, "Expired", CONTINUE_TOO_OLD);
        refusal.metadata = json!({"continue": token_of(-1, after)});
        refusal
    }
}

fn token(revision: u64, place: &str) -> String {
    token_of(i64::try_from(revision).unwrap_or(-1), place)
}

fn token_of(revision: i64, place: &str) -> String {
    let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": format!("{place}\0")});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn place(key: &Key) -> String {
    if key.namespace.is_empty() {
        format!("/{}", key.name)
    } else {
        format!("/{}/{}", key.namespace, key.name)
    }
}

fn check_match(matched: &str, revision: &str) -> Result<(), Stop> {
    if matched.is_empty() {
        return Ok(());
    }
    let field = "resourceVersionMatch";
    let cause = if revision.is_empty() {
        Cause::forbidden(
            field,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        )
    } else if !matches!(matched, "Exact" | "NotOlderThan") {
        Cause::unlisted(field, &json!(matched), &["Exact", "NotOlderThan", ""])
    } else if matched == "Exact" && revision == "0" {
        let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        Cause::forbidden(field, why)
    } else {
        return Ok(());
    };
    Err(Refusal::invalid(&About::options("ListOptions"), &[cause]).into())
}

fn revision(call: &Call<'_>) -> Result<Option<u64>, Refusal> {
    let wanted = call.request.query("resourceVersion");
    if wanted.is_empty() {
        return Ok(None);
    }
    let number = wanted.parse();
    number.map(Some).map_err(|_| {
        Refusal::bad(format!(
            "invalid resource version: {}",
            revision_fault(wanted)
        ))
    })
}

/// What is wrong with a resourceVersion that is no number.
pub(crate) fn revision_fault(wanted: &str) -> String {
    let shown = json!(wanted);
    format!(
        "resourceVersion: Invalid value: {shown}: strconv.ParseUint: parsing {shown}: invalid syntax"
    )
}

fn check_future(store: &Store, wanted: Option<u64>) -> Result<(), Refusal> {
    let current = store.revision();
    let Some(wanted) = wanted.filter(|wanted| *wanted > current) else {
        return Ok(());
    };
    let why = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let mut refusal = Refusal::new(504, "Timeout", why).wait(1);
    if let Some(details) = &mut refusal.details {
        details["causes"] =
            json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
    }
    Err(refusal)
}

/// One stored object in the version of the request.
pub(crate) fn in_version(call: &Call<'_>, object: &Arc<Value>) -> Result<Value, Stop> {
    let mut objects = many_in_version(call, vec![(**object).clone()])?;
    Ok(objects.pop().unwrap_or_default())
}

fn many_in_version(call: &Call<'_>, objects: Vec<Value>) -> Result<Vec<Value>, Stop> {
    if !call.kind.is_custom() {
        return Ok(objects);
    }
    let mut objects = hooks::convert(call, objects, &call.target.version)?;
    for object in &mut objects {
        schema::complete(&call.version().schema, object);
    }
    Ok(objects)
}

/// One object in the version and the form of the request.
pub(crate) fn present(call: &Call<'_>, object: &Arc<Value>) -> Result<Value, Stop> {
    let object = in_version(call, object)?;
    Ok(match form(&call.request.accept)? {
        Form::Whole => object,
        Form::Metadata => metadata_only(&object),
        Form::Table => {
            let revision = object["metadata"]["resourceVersion"].clone();
            table::table(call, &[object], json!({"resourceVersion": revision}))
        }
    })
}

/// Kind and metadata alone.
pub(crate) fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn shape(call: &Call<'_>, mut objects: Vec<Value>, metadata: Value) -> Result<Value, Stop> {
    let kind = &call.kind.kind;
    Ok(match form(&call.request.accept)? {
        Form::Table => table::table(call, &objects, metadata),
        Form::Metadata => {
            let items: Vec<_> = objects.iter().map(metadata_only).collect();
            let items = if items.is_empty() {
                Value::Null
            } else {
                json!(items)
            };
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items,
            })
        }
        Form::Whole => {
            if !call.kind.is_custom() {
                for object in &mut objects {
                    take(object, "kind");
                    take(object, "apiVersion");
                }
            }
            json!({
                "kind": format!("{kind}List"), "apiVersion": call.api_version(), "metadata": metadata, "items": objects,
            })
        }
    })
}

const CONTINUE_TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
