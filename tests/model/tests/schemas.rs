//! The custom resources that are shipped have MetalLB's own schemas.
//!
//! `data/crd.json` holds MetalLB's schemas, one version of a kind an entry, flattened into paths: `[]` stands for the items of
//! a list and `{}` for the values of a map. Descriptions are not part of it; ours are our own, and every property has one.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A field's path with all that the schema says of it but its description.
type Fields = BTreeMap<String, Value>;

#[test]
fn the_custom_resources_are_those_of_metallb() {
    let shipped = shipped();
    let mut versions = 0;
    for theirs in recorded() {
        let kind = text(&theirs, "kind");
        let ours = shipped
            .get(text(&theirs, "crd"))
            .unwrap_or_else(|| panic!("{kind} is not shipped"));
        let version = version(ours, text(&theirs, "version"));
        let root = &version["schema"]["openAPIV3Schema"];
        let mut fields = Fields::new();
        flatten("", root, &mut fields);
        assert_eq!(fields, recorded_fields(&theirs), "{kind}");
        assert_eq!(described(ours, version), expected(&theirs), "{kind}");
        versions += 1;
    }
    let served: usize = shipped
        .values()
        .map(|crd| crd["spec"]["versions"].as_array().unwrap().len())
        .sum();
    assert_eq!(served, versions, "no version is ours alone");
}

#[test]
fn bgp_peers_are_converted_by_the_controller() {
    let shipped = shipped();
    for (name, crd) in &shipped {
        let expected = match name.as_str() {
            "bgppeers.metallb.io" => json!({
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": {"service": {
                        "name": "metallb-webhook-service",
                        "namespace": "metallb-system",
                        "path": "/convert",
                    }},
                    "conversionReviewVersions": ["v1beta1", "v1beta2"],
                },
            }),
            _ => Value::Null,
        };
        assert_eq!(crd["spec"]["conversion"], expected, "{name}");
    }
}

#[test]
fn every_property_is_described() {
    for (name, crd) in shipped() {
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let root = &version["schema"]["openAPIV3Schema"];
            assert!(root["description"].is_string(), "{name}");
            let bare = bare("", root);
            assert!(bare.is_empty(), "{name} says nothing of {bare:?}");
        }
    }
}

/// Shipped definitions by name.
fn shipped() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let crd: Value =
            serde_norway::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        (text_at(&crd["metadata"]["name"]), crd)
    };
    let shipped: BTreeMap<_, _> = files.iter().map(read).collect();
    assert_eq!(shipped.len(), files.len(), "one kind a file");
    shipped
}

fn recorded() -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/crd.json");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn version<'a>(crd: &'a Value, name: &str) -> &'a Value {
    let versions = crd["spec"]["versions"].as_array().unwrap();
    versions
        .iter()
        .find(|version| version["name"] == name)
        .unwrap_or_else(|| panic!("no version {name}"))
}

/// What is recorded of a version beside its schema, as ours says it.
fn described(crd: &Value, version: &Value) -> Value {
    let names = &crd["spec"]["names"];
    json!({
        "kind": names["kind"],
        "listKind": names["listKind"],
        "plural": names["plural"],
        "singular": names["singular"],
        "shortNames": names.get("shortNames").cloned().unwrap_or(json!([])),
        "scope": crd["spec"]["scope"],
        "served": version["served"],
        "storage": version["storage"],
        "deprecated": version["deprecated"] == true,
        "deprecationWarning": version["deprecationWarning"],
        "subresources": version["subresources"].as_object().unwrap().keys().collect::<Vec<_>>(),
        "columns": version.get("additionalPrinterColumns").cloned().unwrap_or(json!([])),
    })
}

fn expected(recorded: &Value) -> Value {
    let mut expected = recorded.clone();
    let fields = expected.as_object_mut().unwrap();
    for other in ["crd", "version", "conversion", "schema"] {
        fields.remove(other);
    }
    expected
}

fn recorded_fields(recorded: &Value) -> Fields {
    let fields = recorded["schema"].as_array().unwrap().iter();
    fields
        .map(|field| {
            let mut field = field.clone();
            let about = field.as_object_mut().unwrap();
            let path = text_at(&about.remove("path").unwrap());
            if let Some(rules) = about.remove("cel") {
                about.insert("x-kubernetes-validations".to_owned(), rules);
            }
            about.entry("required").or_insert(json!(false));
            (path, field)
        })
        .collect()
}

/// Items of lists go by `[]`, values of maps by `{}`. The three fields that every object has are left out.
fn flatten(path: &str, schema: &Value, into: &mut Fields) {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let mut add = |path: String, schema: &Value, is_required: bool| {
        let mut about = schema.as_object().unwrap().clone();
        for other in ["description", "properties", "items", "additionalProperties"] {
            about.remove(other);
        }
        about.insert("required".to_owned(), is_required.into());
        into.insert(path.clone(), about.into());
        flatten(&path, schema, into);
    };
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if !(path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str())) {
            let dot = if path.is_empty() { "" } else { "." };
            add(
                format!("{path}{dot}{name}"),
                field,
                required.contains(&json!(name)),
            );
        }
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            add(format!("{path}{mark}"), &schema[key], false);
        }
    }
}

/// Paths of properties without a description.
fn bare(path: &str, schema: &Value) -> Vec<String> {
    let mut bare_ones = Vec::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            bare_ones.push(path.clone());
        }
        bare_ones.extend(bare(&path, field));
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            bare_ones.extend(bare(path, &schema[key]));
        }
    }
    bare_ones
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

fn text_at(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
