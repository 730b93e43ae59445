//! Bodies of requests: media types, JSON and YAML, and the fields that nobody knows.

use crate::answer::Refusal;
use crate::builtin;
use crate::call::{Call, Stop};
use crate::value::text;
use serde_json::{Value, json};

/// The object of a body, with its `apiVersion` and `kind`.
pub(crate) fn object(call: &Call<'_>) -> Result<Value, Stop> {
    check_media(call)?;
    let kind = &call.kind.kind;
    let mut object = value_or(call, |why| {
        let shown = match call.request.body.as_slice() {
            [] => "<empty>".to_owned(),
            bytes => String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]).into_owned(),
        };
        Refusal::bad(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why} ({shown})"
        ))
    })?;
    if object.is_null() {
        object = json!({});
    }
    if !object.is_object() {
        let shown: String = call
            .request
            .body
            .iter()
            .take(SHOWN_MAX)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let why = format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {} ({shown})",
            no_object(&object)
        );
        return Err(Refusal::bad(why).into());
    }
    check_type(call, &object)?;
    if call.kind.plural == "leases"
        && let Err(time) = builtin::lease_times(&mut object)
    {
        let version = &call.target.version;
        let why = format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {}",
            builtin::time_fault(&time)
        );
        return Err(Refusal::bad(why).into());
    }
    object["apiVersion"] = json!(call.api_version());
    object["kind"] = json!(kind);
    Ok(object)
}

/// The value of a body.
pub(crate) fn value(call: &Call<'_>) -> Result<Value, Stop> {
    value_or(call, |why| Refusal::bad(why))
}

/// The value of a body; `refuse` says what to answer if it cannot be read.
pub(crate) fn value_or(call: &Call<'_>, refuse: impl Fn(&str) -> Refusal) -> Result<Value, Stop> {
    let body = &call.request.body;
    if call.request.content_type.contains("yaml") && !body.starts_with(b"{") {
        let parsed = serde_norway::from_slice(body);
        return parsed.map_err(|why| refuse(&why.to_string()).into());
    }
    serde_json::from_slice(body).map_err(|why| {
        let told = if why.is_eof() {
            "unexpected end of JSON input".to_owned()
        } else {
            why.to_string()
        };
        refuse(&told).into()
    })
}

/// What is said of a value that is no object.
pub(crate) fn no_object(value: &Value) -> String {
    let kind = match value {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Null | Value::Number(_) | Value::Object(_) => "number",
    };
    format!(
        "json: cannot unmarshal {kind} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    )
}

fn check_media(call: &Call<'_>) -> Result<(), Stop> {
    let media = call
        .request
        .content_type
        .split(';')
        .next()
        .unwrap_or_default();
    if matches!(
        media,
        "" | "application/json" | "application/yaml" | "application/apply-patch+yaml"
    ) {
        return Ok(());
    }
    let why = "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    Err(Refusal::new(415, "UnsupportedMediaType", why).into())
}

pub(crate) fn check_type(call: &Call<'_>, object: &Value) -> Result<(), Stop> {
    let (kind, version) = (&call.kind.kind, &call.target.version);
    let wanted = call.api_version();
    let named = text(&object["kind"]);
    let api_version = text(&object["apiVersion"]);
    if named.is_empty() && call.kind.is_custom() {
        let shown = String::from_utf8_lossy(&call.request.body).into_owned();
        let head: String = shown.chars().take(SHOWN_MAX).collect();
        let why = format!(
            "the object provided is unrecognized (must be of type {kind}): Object 'Kind' is missing in '{shown}' ({head} ...)"
        );
        return Err(Refusal::bad(why).into());
    }
    let is_right =
        (named.is_empty() || named == *kind) && (api_version.is_empty() || api_version == wanted);
    if is_right {
        return Ok(());
    }
    let why = if named != *kind && !named.is_empty() && api_version == wanted {
        format!("converting ({version}.{named}) to (core.{kind}): unknown conversion")
    } else {
        format!(
            "no kind {named:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )
    };
    if call.kind.is_custom() && named == *kind {
        let why = format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        );
        return Err(Refusal::bad(why).into());
    }
    let named = if named.is_empty() { kind } else { &named };
    let why = format!("{named} in version {version:?} cannot be handled as a {kind}: {why}");
    Err(Refusal::bad(why).into())
}

/// Fields that were pruned: an error for a strict client, nothing for one that ignores them, else warnings.
pub(crate) fn unknown(call: &Call<'_>, fields: &[String]) -> Result<(), Stop> {
    if fields.is_empty() {
        return Ok(());
    }
    let told = fields
        .iter()
        .map(|field| format!("unknown field {field:?}"));
    match call.request.query("fieldValidation") {
        "Ignore" => {}
        "Strict" => {
            let (kind, version) = (&call.kind.kind, &call.target.version);
            let told: Vec<_> = told.collect();
            let told = told.join(", ");
            let why = format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {told}"
            );
            return Err(Refusal::bad(why).into());
        }
        _warn => told.for_each(|warning| call.warn(warning)),
    }
    Ok(())
}

/// Bytes of a body that an error shows.
const SHOWN_MAX: usize = 28;
