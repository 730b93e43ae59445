//! The Rust types of MetalLB's resources against MetalLB's own schemas (`data/crd.json`): no field of theirs is lost, none of
//! ours is not theirs, and what they bound, enumerate and fill in, our reader bounds, enumerates and fills in.

use kube_core::CustomResourceExt;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use speaker_core::crd::schema::{self, v1beta1};
use speaker_core::manifest;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A kind and version with what its type does.
struct Type {
    kind: &'static str,
    version: &'static str,
    /// Reads an object and writes it again.
    read_and_write: fn(Value) -> Result<Value, serde_json::Error>,
    /// The schema that its fields make.
    schema: fn() -> Value,
}

impl Type {
    fn of<T: DeserializeOwned + Serialize + JsonSchema>(
        kind: &'static str,
        version: &'static str,
    ) -> Self {
        assert_eq!(T::schema_name(), kind);
        Self {
            kind,
            version,
            read_and_write: |object| serde_json::to_value(serde_json::from_value::<T>(object)?),
            schema: || {
                let generator = SchemaSettings::openapi3()
                    .with(|settings| settings.inline_subschemas = true)
                    .into_generator();
                serde_json::to_value(generator.into_root_schema_for::<T>()).unwrap()
            },
        }
    }

    fn fields(&self) -> BTreeMap<String, Value> {
        fields_of(self.kind, self.version)
    }
}

/// Every kind and version but BGPSessionState, which is written and never read as a type.
fn types() -> Vec<Type> {
    let types = vec![
        Type::of::<schema::IPAddressPool>("IPAddressPool", "v1beta1"),
        Type::of::<schema::L2Advertisement>("L2Advertisement", "v1beta1"),
        Type::of::<schema::BGPAdvertisement>("BGPAdvertisement", "v1beta1"),
        Type::of::<v1beta1::BGPPeer>("BGPPeer", "v1beta1"),
        Type::of::<schema::BGPPeer>("BGPPeer", "v1beta2"),
        Type::of::<schema::BFDProfile>("BFDProfile", "v1beta1"),
        Type::of::<schema::Community>("Community", "v1beta1"),
        Type::of::<schema::ServiceL2Status>("ServiceL2Status", "v1beta1"),
        Type::of::<schema::ServiceBGPStatus>("ServiceBGPStatus", "v1beta1"),
        Type::of::<schema::ConfigurationState>("ConfigurationState", "v1beta1"),
        Type::of::<schema::MetalLB>("MetalLB", "v1beta1"),
    ];
    assert_eq!(types.len() + 1, recorded().len(), "every kind has a type");
    types
}

#[test]
fn the_types_go_by_the_names_of_the_kinds() {
    let ours = [
        schema::IPAddressPool::crd(),
        schema::L2Advertisement::crd(),
        schema::BGPAdvertisement::crd(),
        schema::BGPPeer::crd(),
        v1beta1::BGPPeer::crd(),
        schema::BFDProfile::crd(),
        schema::Community::crd(),
        schema::MetalLB::crd(),
    ];
    for crd in ours {
        let crd = serde_json::to_value(crd).unwrap();
        let (names, version) = (&crd["spec"]["names"], &crd["spec"]["versions"][0]["name"]);
        let theirs = recorded()
            .into_iter()
            .find(|entry| entry["kind"] == names["kind"] && entry["version"] == *version)
            .unwrap_or_else(|| panic!("no {names} {version}"));
        assert_eq!(names["plural"], theirs["plural"]);
        assert_eq!(crd["metadata"]["name"], theirs["crd"]);
        assert_eq!(crd["spec"]["scope"], theirs["scope"]);
    }
}

#[test]
fn no_field_of_the_schemas_is_lost() {
    for of in types() {
        let (kind, version, fields) = (of.kind, of.version, of.fields());
        for path in fields.keys() {
            let mut object = json!({"metadata": {"name": "x"}, "spec": {}});
            if kind == "ConfigurationState" {
                object.as_object_mut().unwrap().remove("spec");
            }
            fill(&mut object, path, &fields);
            let written = (of.read_and_write)(object.clone())
                .unwrap_or_else(|e| panic!("{kind} {version} {path}: {e}: {object}"));
            assert!(
                holds(&written, &object),
                "{kind} {version} {path}: {object} became {written}"
            );
        }
    }
}

#[test]
fn our_fields_are_those_of_the_schemas() {
    for of in types() {
        let mut ours = BTreeSet::new();
        flatten("", &(of.schema)(), &mut ours);
        let mut theirs: BTreeSet<String> = of.fields().into_keys().collect();
        if !theirs.iter().any(|path| path.starts_with("status.")) {
            theirs.remove("status"); // says nothing
        }
        assert_eq!(ours, theirs, "{} {}", of.kind, of.version);
    }
}

/// One value at a property, and whether the schema takes it.
struct Probe {
    value: Value,
    is_allowed: bool,
}

#[test]
fn our_reader_has_the_bounds_of_the_schemas() {
    let mut probes = 0;
    for (kind, version, base) in bases() {
        for (path, about) in fields_of(kind, version) {
            for probe in probes_of(&about) {
                if is_stricter(kind, &path, &probe.value) {
                    continue;
                }
                let mut object = base.clone();
                if path == "spec.dynamicASN" {
                    object["spec"].as_object_mut().unwrap().remove("peerASN");
                }
                set(&mut object, &path, probe.value.clone());
                let problems = problems(&object);
                let agrees = problems.is_empty() == probe.is_allowed;
                assert!(
                    agrees,
                    "{kind} {version} {path} = {}: {problems:?}",
                    probe.value
                );
                probes += 1;
            }
        }
    }
    assert!(probes >= PROBES_MIN, "only {probes} probes");
}

#[test]
fn our_types_have_the_defaults_of_the_schemas() {
    let mut count = 0;
    for of in types() {
        let fields = of.fields();
        let defaults = fields
            .iter()
            .filter(|(_, about)| !about["default"].is_null());
        for (path, about) in defaults {
            let (_, _, base) = bases()
                .into_iter()
                .find(|(kind, version, _)| (*kind, *version) == (of.kind, of.version))
                .unwrap_or_else(|| panic!("no object of {} {}", of.kind, of.version));
            let written = (of.read_and_write)(base).unwrap();
            let pointer = format!("/{}", path.replace('.', "/"));
            assert_eq!(written.pointer(&pointer), Some(&about["default"]), "{path}");
            count += 1;
        }
    }
    assert!(count >= DEFAULTS_MIN, "only {count} defaults");
}

/// A good object of each kind that our reader checks.
fn bases() -> Vec<(&'static str, &'static str, Value)> {
    let peer = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"});
    let bases = [
        (
            "IPAddressPool",
            "v1beta1",
            json!({"addresses": ["192.0.2.0/24"]}),
        ),
        (
            "L2Advertisement",
            "v1beta1",
            json!({"preferredNodeSelectors": [{"weight": 1, "preference": {}}]}),
        ),
        ("BGPAdvertisement", "v1beta1", json!({})),
        ("BGPPeer", "v1beta1", peer.clone()),
        ("BGPPeer", "v1beta2", peer),
        ("BFDProfile", "v1beta1", json!({})),
        ("Community", "v1beta1", json!({})),
    ];
    let object = |(kind, version, spec): (&'static str, &'static str, Value)| {
        let api_version = format!("metallb.io/{version}");
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
        (kind, version, object)
    };
    bases.map(object).to_vec()
}

/// Where MetalLB's webhooks refuse what its schema allows.
fn is_stricter(kind: &str, path: &str, value: &Value) -> bool {
    let no_number = ["spec.myASN", "spec.peerASN"].contains(&path) && *value == json!(0);
    kind == "BGPPeer" && no_number
}

/// Values at both sides of each bound, and each word of an enumeration with one that is none.
fn probes_of(about: &Value) -> Vec<Probe> {
    let mut probes = Vec::new();
    for (bound, step) in [("minimum", -1), ("maximum", 1)] {
        if let Some(bound) = about[bound].as_i64() {
            probes.push(Probe {
                value: bound.into(),
                is_allowed: true,
            });
            probes.push(Probe {
                value: (bound + step).into(),
                is_allowed: false,
            });
        }
    }
    if let Some(words) = about["enum"].as_array() {
        let good = words.iter().map(|word| Probe {
            value: word.clone(),
            is_allowed: true,
        });
        probes.extend(good);
        probes.push(Probe {
            value: "other".into(),
            is_allowed: false,
        });
    }
    probes
}

fn problems(object: &Value) -> Vec<String> {
    let read = manifest::read("api", &object.to_string(), manifest::DEFAULT_NAMESPACE);
    let problems = read.objects.into_iter().filter_map(Result::err);
    problems.map(|problem| problem.to_string()).collect()
}

/// What the schema says, by path: `[]` stands for the items of a list and `{}` for the values of a map.
fn fields_of(kind: &str, version: &str) -> BTreeMap<String, Value> {
    let entry = recorded()
        .into_iter()
        .find(|entry| text(entry, "kind") == kind && text(entry, "version") == version)
        .unwrap_or_else(|| panic!("no schema of {kind} {version}"));
    let fields = entry["schema"].as_array().unwrap().iter();
    fields
        .map(|field| (text(field, "path"), field.clone()))
        .collect()
}

fn recorded() -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/crd.json");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap().to_owned()
}

/// Puts a value at `path`, and one at every required field beside the way there and below it.
fn fill(object: &mut Value, path: &str, fields: &BTreeMap<String, Value>) {
    let mut prefix = String::new();
    for part in parts(path) {
        prefix = join(&prefix, part);
        put(object, &prefix, fields);
        for (sibling, about) in fields {
            if about["required"] == true && parent(sibling) == prefix {
                put(object, sibling, fields);
                let below: Vec<_> = fields.keys().filter(|p| parent(p) == *sibling).collect();
                for path in below {
                    if fields[path]["required"] == true {
                        put(object, path, fields);
                    }
                }
            }
        }
    }
    let required = fields
        .iter()
        .filter(|(p, about)| about["required"] == true && parent(p) == "spec");
    for (path, _) in required {
        put(object, path, fields);
    }
}

/// Puts an example at `path` unless there is something.
fn put(object: &mut Value, path: &str, fields: &BTreeMap<String, Value>) {
    let about = &fields[path];
    let example = match about["type"].as_str() {
        Some("object") => json!({}),
        Some("array") => json!([]),
        Some("boolean") => json!(true),
        Some("integer") => json!(7),
        Some("string") if about["format"] == "date-time" => json!("2026-01-01T00:00:00Z"),
        Some("string") if path.ends_with("Time") => json!("1m30s"),
        Some("string") => about["enum"].get(0).cloned().unwrap_or(json!("some")),
        Some(other) => panic!("no example of type {other}"),
        None => json!("1"), // a quantity, which may be a number or a text
    };
    let place = place(object, path);
    if place.is_null() {
        *place = example;
    }
}

fn set(object: &mut Value, path: &str, value: Value) {
    *place(object, path) = value;
}

/// The place that a path leads to: the first item of a list, one key of a map.
fn place<'a>(object: &'a mut Value, path: &str) -> &'a mut Value {
    parts(path).into_iter().fold(object, |at, part| match part {
        "[]" => {
            let items = at.as_array_mut().unwrap();
            if items.is_empty() {
                items.push(Value::Null);
            }
            &mut items[0]
        }
        "{}" => &mut at["key"],
        name => &mut at[name],
    })
}

/// `a.b[].c` as a, b, [], c.
fn parts(path: &str) -> Vec<&str> {
    let split = path.split('.').flat_map(|name| {
        let bare = name.trim_end_matches("[]").trim_end_matches("{}");
        let marks = &name[bare.len()..];
        let marks = (0..marks.len() / 2).map(move |i| &marks[2 * i..2 * i + 2]);
        [bare]
            .into_iter()
            .filter(|bare| !bare.is_empty())
            .chain(marks)
    });
    split.collect()
}

fn join(prefix: &str, part: &str) -> String {
    match part {
        "[]" | "{}" => format!("{prefix}{part}"),
        name if prefix.is_empty() => name.to_owned(),
        name => format!("{prefix}.{name}"),
    }
}

fn parent(path: &str) -> String {
    let parts = parts(path);
    let above = parts.iter().take(parts.len() - 1);
    above.fold(String::new(), |prefix, part| join(&prefix, part))
}

/// Whether everything in `part` is in `whole` too.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, part)| match whole.get(key) {
                Some(whole) => holds(whole, part),
                None => is_nothing(part),
            })
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(w, p)| holds(w, p))
        }
        (whole, part) => whole == part,
    }
}

/// Whether it says nothing, so that a type may leave it out.
fn is_nothing(value: &Value) -> bool {
    *value == json!({}) || *value == json!([])
}

/// Paths of a schema, without the three fields that every object has.
fn flatten(path: &str, schema: &Value, into: &mut BTreeSet<String>) {
    let schema = present(schema);
    let empty = Map::new();
    for (name, field) in schema["properties"].as_object().unwrap_or(&empty) {
        if path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
            continue;
        }
        let path = join(path, name);
        into.insert(path.clone());
        flatten(&path, field, into);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            let path = format!("{path}{mark}");
            into.insert(path.clone());
            flatten(&path, &schema[key], into);
        }
    }
}

/// The schema of what is there, where it may also be null.
fn present(schema: &Value) -> &Value {
    let choices = schema["anyOf"].as_array().or(schema["allOf"].as_array());
    choices
        .and_then(|choices| choices.iter().find(|choice| choice["type"] != "null"))
        .unwrap_or(schema)
}

/// As many bounds and words are recorded; a table that shrinks is a mistake.
const PROBES_MIN: usize = 50;
const DEFAULTS_MIN: usize = 7;
