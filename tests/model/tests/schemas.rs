//! The types that read MetalLB's resources have the fields of MetalLB's own schemas: same names, same types, same ones
//! required. `data/schemas.jsonl` holds those schemas, one kind a line, flattened into paths.

use kube_core::CustomResourceExt;
use serde_json::Value;
use speaker_core::crd::schema::{Community, IPAddressPool, L2Advertisement};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Type of a field, and whether it must be there.
type Fields = BTreeMap<String, (String, bool)>;

#[test]
fn the_types_have_the_fields_of_the_schemas() {
    let ours = [
        IPAddressPool::crd(),
        L2Advertisement::crd(),
        Community::crd(),
    ];
    for crd in ours {
        let crd = serde_json::to_value(crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        let theirs = recorded(kind);
        assert_eq!(crd["spec"]["names"]["plural"], theirs["plural"], "{kind}");
        assert_eq!(crd["spec"]["scope"], theirs["scope"], "{kind}");
        assert_eq!(
            crd["spec"]["versions"][0]["name"], theirs["version"],
            "{kind}"
        );
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut fields = Fields::new();
        flatten("spec", &schema["properties"]["spec"], &mut fields);
        assert_eq!(fields, spec_fields(&theirs), "{kind}");
    }
}

fn recorded(kind: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/schemas.jsonl");
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .find(|line| line["kind"] == kind)
        .unwrap_or_else(|| panic!("no schema of {kind}"))
}

/// The recorded fields under `spec`.
fn spec_fields(recorded: &Value) -> Fields {
    let fields = recorded["schema"].as_array().unwrap().iter();
    let under = fields.filter(|field| field["path"].as_str().unwrap().starts_with("spec."));
    under
        .map(|field| {
            let text = |name: &str| field[name].as_str().unwrap().to_owned();
            (text("path"), (text("type"), field["required"] == true))
        })
        .collect()
}

/// Items of lists go by `[]`, values of maps by `{}`.
fn flatten(path: &str, schema: &Value, into: &mut Fields) {
    let mut add = |path: String, schema: &Value, is_required: bool| {
        let kind = schema["type"].as_str().unwrap_or("?").to_owned();
        into.insert(path.clone(), (kind, is_required));
        flatten(&path, schema, into);
    };
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        add(
            format!("{path}.{name}"),
            field,
            required.contains(&Value::from(name.as_str())),
        );
    }
    if schema["items"].is_object() {
        add(format!("{path}[]"), &schema["items"], false);
    }
    if schema["additionalProperties"].is_object() {
        add(
            format!("{path}{{}}"),
            &schema["additionalProperties"],
            false,
        );
    }
}
