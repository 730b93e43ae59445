//! Tables, as `kubectl get` asks for them: the columns of a definition, and a name and an age for everything else.
//!
//! Governed by the "additional printer columns" section of the CustomResourceDefinition page. Services and Nodes have the columns
//! that people look at; other kinds of core are told by name and age.

use crate::call::Call;
use crate::kinds::{Kind, Version};
use crate::read::metadata_only;
use crate::route::Request;
use crate::value::text;
use crate::watch::Watch;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Objects as a table.
pub(crate) fn table(call: &Call<'_>, objects: &[Value], metadata: Value) -> Value {
    of(
        &call.kind,
        call.version(),
        call.request,
        objects,
        metadata,
        call.request.now,
    )
}

/// One object of a watch as a table.
pub(crate) fn event(watch: &Watch, object: &Value) -> Value {
    let kind = &watch.kind;
    let version = kind.version(&watch.version).unwrap_or(kind.stored());
    let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
    let objects = std::slice::from_ref(object);
    of(
        kind,
        version,
        &watch.request,
        objects,
        metadata,
        Timestamp::now(),
    )
}

fn of(
    kind: &Kind,
    version: &Version,
    request: &Request,
    objects: &[Value],
    metadata: Value,
    now: Timestamp,
) -> Value {
    let columns = columns(kind, version);
    let included = request.query("includeObject");
    let rows: Vec<_> = objects
        .iter()
        .map(|object| row(&columns, object, included, now))
        .collect();
    let definitions: Vec<_> = columns.iter().map(definition).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions, "rows": rows,
    })
}

fn row(columns: &[Value], object: &Value, included: &str, now: Timestamp) -> Value {
    let cells: Vec<_> = columns
        .iter()
        .map(|column| cell(column, object, now))
        .collect();
    let shown = match included {
        "None" => Value::Null,
        "Object" => object.clone(),
        _metadata => metadata_only(object),
    };
    json!({"cells": cells, "object": shown})
}

fn columns(kind: &Kind, version: &Version) -> Vec<Value> {
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    let mut columns = vec![json!({
        "name": "Name", "type": "string", "format": "name", "description": NAME_TEXT, "jsonPath": ".metadata.name",
    })];
    let age = || {
        json!({
            "name": "Age", "type": "date", "description": AGE_TEXT, "jsonPath": ".metadata.creationTimestamp",
        })
    };
    let own = &version.columns;
    if !own.is_empty() {
        columns.extend(own.iter().cloned());
        return columns;
    }
    match kind.resource().as_str() {
        "services" => columns.extend([
            column("Type", ".spec.type"),
            column("Cluster-IP", ".spec.clusterIP"),
            column("External-IP", ".status.loadBalancer.ingress[*].ip"),
            column("Port(s)", ".spec.ports[*].port"),
        ]),
        "namespaces" => columns.push(column("Status", ".status.phase")),
        "events" => columns.extend([
            column("Type", ".type"),
            column("Reason", ".reason"),
            column("Object", ".involvedObject.name"),
            column("Message", ".message"),
        ]),
        _other => {}
    }
    columns.push(age());
    columns
}

fn definition(column: &Value) -> Value {
    let path = text(&column["jsonPath"]);
    let described = column["description"].as_str().map(str::to_owned);
    let described = described.unwrap_or_else(|| {
        format!("Custom resource definition column (in JSONPath format): {path}")
    });
    json!({
        "name": column["name"], "type": column["type"], "format": text(&column["format"]), "description": described,
        "priority": column["priority"].as_i64().unwrap_or_default(),
    })
}

fn cell(column: &Value, object: &Value, now: Timestamp) -> Value {
    let found = pick(object, &text(&column["jsonPath"]));
    let Some(value) = found else {
        return Value::Null;
    };
    match column["type"].as_str() {
        Some("date") => json!(age(&value, now)),
        Some("string") => match value {
            Value::String(_) => value,
            other => json!(other.to_string()),
        },
        _plain => value,
    }
}

/// A path such as `.status.items[*].ip`, of several values a text with commas. Nothing for the other forms of brackets.
fn pick(object: &Value, path: &str) -> Option<Value> {
    let mut found = vec![object];
    let mut is_many = false;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, index) = part.split_once('[').unwrap_or((part, ""));
        found = found
            .into_iter()
            .filter_map(|value| value.get(name))
            .collect();
        match index.trim_end_matches(']') {
            "" => {}
            "*" => {
                is_many = true;
                found = found
                    .into_iter()
                    .filter_map(Value::as_array)
                    .flatten()
                    .collect();
            }
            _place_or_condition => return None,
        }
    }
    if is_many {
        let words: Vec<_> = found
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            })
            .collect();
        return (!words.is_empty()).then(|| json!(words.join(",")));
    }
    found.first().map(|value| (*value).clone())
}

fn age(value: &Value, now: Timestamp) -> String {
    let Ok(then) = text(value).parse::<Timestamp>() else {
        return "<unknown>".to_owned();
    };
    let seconds = (now.as_second() - then.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _days => format!("{}d", seconds / 86_400),
    }
}

const AGE_TEXT: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

const NAME_TEXT: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
