//! How the lists and maps of a kind are to be read: as one value, by key, or item by item.

use serde_json::{Map, Value, json};

/// How the lists of one kind are to be read. What is not known is one value if it is a list, and fields if it is a map.
#[derive(Clone, Debug)]
pub struct Lists {
    schema: Value,
    /// Whether the schema knows all fields.
    is_complete: bool,
}

/// What a value is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// One value, however big.
    Leaf,
    /// Fields.
    Fields,
    /// Items that are told apart.
    Items,
}

impl Lists {
    /// Of a custom resource, by the schema of its version.
    pub fn of_schema(schema: &Value) -> Self {
        let mut schema = schema.clone();
        schema["properties"]["metadata"] = metadata();
        Self {
            schema,
            is_complete: true,
        }
    }

    /// Of one of Kubernetes' own kinds.
    pub fn of_kind(kind: &str) -> Self {
        let pods = json!({"properties": {"spec": pod()}});
        let conditions = json!({"conditions": by(&["type"])});
        let spec = match kind {
            "Service" => json!({"ports": ports("port"), "selector": atomic()}),
            "Pod" => pod()["properties"].clone(),
            "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet" => {
                json!({"selector": atomic(), "template": pods})
            }
            _ => json!({}),
        };
        let mut status = conditions;
        if kind == "Node" {
            status["addresses"] = by(&["type"]);
        }
        let mut fields = json!({
            "metadata": metadata(),
            "spec": {"properties": spec},
            "status": {"properties": status},
        });
        match kind {
            "ValidatingWebhookConfiguration" => fields["webhooks"] = by(&["name"]),
            "ServiceAccount" => fields["secrets"] = by(&["name"]),
            _ => {}
        }
        Self {
            schema: json!({"properties": fields}),
            is_complete: false,
        }
    }

    pub(super) fn root(&self) -> &Value {
        &self.schema
    }

    /// What is there before anybody wrote anything: Kubernetes' own kinds never lack their big structs.
    pub(super) fn blank(&self, new: &Value) -> Value {
        let mut blank = json!({"metadata": {}});
        let own = ["spec", "status"].into_iter();
        for part in own.filter(|part| !self.is_complete && new[part].is_object()) {
            blank[part] = json!({});
            let structs = STRUCTS.iter();
            for name in structs.filter(|name| new[part][**name].is_object()) {
                blank[part][*name] = json!({});
            }
        }
        blank
    }

    /// Whether an object can be read as its kind.
    pub(super) fn check(&self, object: &Value) -> Result<(), String> {
        check(object, &self.schema, "", self.is_complete)
    }
}

fn check(value: &Value, schema: &Value, path: &str, is_complete: bool) -> Result<(), String> {
    match value {
        Value::Object(fields) => {
            let lacks = is_complete
                && schema["properties"].is_object()
                && schema["x-kubernetes-preserve-unknown-fields"] != true;
            for (name, value) in fields {
                let below = field(schema, name);
                let path = format!("{path}.{name}");
                if lacks && below.is_null() {
                    return Err(format!("{path}: field not declared in schema"));
                }
                check(value, below, &path, is_complete)?;
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let is_keyed = schema["x-kubernetes-list-type"] == "map";
                if is_keyed && key(item, schema).is_none() {
                    let keys = &schema["x-kubernetes-list-map-keys"];
                    return Err(format!(
                        "{path}: element {at}: associative list with keys has an element that omits all key \
                        fields {keys} (and doesn't have default values for any key fields)"
                    ));
                }
                check(item, &schema["items"], path, is_complete)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

/// What a value is made of, by its schema.
pub(super) fn shape(value: &Value, schema: &Value) -> Shape {
    match value {
        Value::Object(_) if schema["x-kubernetes-map-type"] != "atomic" => Shape::Fields,
        Value::Array(_) => match schema["x-kubernetes-list-type"].as_str() {
            Some("map" | "set") => Shape::Items,
            _ => Shape::Leaf,
        },
        _ => Shape::Leaf,
    }
}

/// The parts of a value that is no leaf: element of a path, value, schema.
pub(super) fn children<'a>(
    value: &'a Value,
    schema: &'a Value,
) -> Vec<(String, &'a Value, &'a Value)> {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (format!("f:{name}"), value, field(schema, name)))
                .collect()
        }
        Value::Array(items) => {
            let items = items.iter();
            items
                .map(|item| (element(item, schema), item, &schema["items"]))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// How a path names an item.
pub(super) fn element(item: &Value, list: &Value) -> String {
    match key(item, list) {
        Some(key) => format!("k:{key}"),
        None => format!("v:{item}"),
    }
}

/// The key of an item, defaults filled in; nothing if it has none of its fields.
fn key(item: &Value, list: &Value) -> Option<Value> {
    let names = list["x-kubernetes-list-map-keys"].as_array()?;
    let fields = names.iter().filter_map(|name| {
        let name = name.as_str()?;
        let default = list["items"]["properties"][name].get("default");
        let value = item.get(name).or(default)?;
        Some((name.to_owned(), value.clone()))
    });
    let fields: Map<_, _> = fields.collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// The schema of a field; null if it is not known.
pub(super) fn field<'a>(schema: &'a Value, name: &str) -> &'a Value {
    let listed = schema["properties"].get(name);
    listed.unwrap_or(&schema["additionalProperties"])
}

fn metadata() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true, "properties": {
        "finalizers": {"x-kubernetes-list-type": "set"},
        "ownerReferences": by(&["uid"]),
    }})
}

fn pod() -> Value {
    let mut container = by(&["name"]);
    container["items"] = json!({"properties": {
        "env": by(&["name"]),
        "ports": ports("containerPort"),
        "volumeDevices": by(&["devicePath"]),
        "volumeMounts": by(&["mountPath"]),
    }});
    json!({"properties": {
        "containers": container,
        "ephemeralContainers": container,
        "hostAliases": by(&["ip"]),
        "imagePullSecrets": by(&["name"]),
        "initContainers": container,
        "nodeSelector": atomic(),
        "topologySpreadConstraints": by(&["topologyKey", "whenUnsatisfiable"]),
        "volumes": by(&["name"]),
    }})
}

fn by(keys: &[&str]) -> Value {
    json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys})
}

fn ports(number: &str) -> Value {
    let mut ports = by(&[number, "protocol"]);
    ports["items"] = json!({"properties": {"protocol": {"default": "TCP"}}});
    ports
}

fn atomic() -> Value {
    json!({"x-kubernetes-map-type": "atomic"})
}

/// Structs without which `spec` and `status` of Kubernetes' own kinds are never written.
const STRUCTS: &[&str] = &["loadBalancer", "strategy", "template", "updateStrategy"];
