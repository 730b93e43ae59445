//! Every recorded verdict that a schema alone decides: the same from our definitions, with the API server's own text.

use api_tests::schema::{self, Cause};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Suites shrink by accident: fewer cases than these are a mistake.
const REFUSED_MIN: usize = 30;
const ALLOWED_MIN: usize = 100;
const EXCHANGES_MIN: usize = 60;

#[test]
fn recorded_verdicts_of_schemas_and_rules_are_ours() {
    let schemas = Schemas::shipped();
    let (mut refused, mut allowed) = (0, 0);
    for file in VERDICTS {
        for case in lines(&format!("../model/data/admission/{file}.jsonl")) {
            let by_schema = case["by"] == "schema" || case["by"] == "cel";
            match schemas.verdict(&case) {
                None => continue,
                Some(Err(causes)) => {
                    assert!(by_schema, "{}: {causes:?}", case["name"]);
                    let expected = case["message"].as_str().unwrap();
                    let object = &case["submit"];
                    let ours = refusal(object, &text(&object["metadata"]["name"]), &causes);
                    assert_eq!(parts(&ours), parts(expected), "{}", case["name"]);
                    refused += 1;
                }
                Some(Ok((object, unknown))) => {
                    assert!(!by_schema, "{} is allowed", case["name"]);
                    check_stored(&case, &object, &unknown);
                    allowed += 1;
                }
            }
        }
    }
    assert!(refused >= REFUSED_MIN, "only {refused} refusals");
    assert!(allowed >= ALLOWED_MIN, "only {allowed} allowed");
}

/// The story of `crds.jsonl`, as far as it is made of writes to custom resources.
#[test]
fn recorded_writes_of_custom_resources_are_judged_alike() {
    let mut schemas = Schemas::shipped();
    let mut stored: BTreeMap<String, Value> = BTreeMap::new();
    let mut exchanges = 0;
    for exchange in lines("data/apiserver/crds.jsonl") {
        let name = &exchange["name"];
        let request = &exchange["request"];
        let (body, answer) = (&request["body"], &exchange["response"]);
        let status = answer["status"].as_u64().unwrap();
        if answer["body"]["kind"] == "CustomResourceDefinition" {
            schemas.learn(&answer["body"]);
        }
        let path = text(&request["path"]);
        let is_write = matches!(
            request["method"].as_str().unwrap(),
            "POST" | "PUT" | "PATCH"
        );
        if !is_write || !path.contains("/namespaces/") || ![200, 201, 422].contains(&status) {
            continue;
        }
        let (main, is_status) = match path.strip_suffix("/status") {
            Some(main) => (main.to_owned(), true),
            None => (path.clone(), false),
        };
        let (key, mut new) = if request["method"] == "POST" {
            (
                format!("{main}/{}", text(&body["metadata"]["name"])),
                body.clone(),
            )
        } else {
            let mut new = stored[&main].clone();
            patch(&mut new, request);
            (main, new)
        };
        let old = stored.get(&key).filter(|_| request["method"] != "POST");
        if !is_status {
            keep_status(&mut new, old);
        }
        match schemas.admit(&mut new, old, is_status).unwrap() {
            Ok(_) => {
                assert!(status < 300, "{name} is allowed");
                let answer = &answer["body"];
                for part in ["spec", "status"] {
                    assert_eq!(new.get(part), answer.get(part), "{name}: {part}");
                }
                stored.insert(key, new);
            }
            Err(causes) => {
                assert_eq!(status, 422, "{name}: {causes:?}");
                let ours = refusal(&new, &text(&answer["body"]["details"]["name"]), &causes);
                let expected = text(&answer["body"]["message"]);
                assert_eq!(parts(&ours), parts(&expected), "{name}");
                check_causes(&causes, &answer["body"]["details"]["causes"], name);
            }
        }
        exchanges += 1;
    }
    assert!(exchanges >= EXCHANGES_MIN, "only {exchanges} exchanges");
}

/// Manifests that we hand out are good for a cluster too.
#[test]
fn our_samples_apply() {
    let schemas = Schemas::shipped();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let mut applied = BTreeSet::new();
    let folders =
        ["samples", "samples-bgp"].map(|folder| fs::read_dir(deploy.join(folder)).unwrap());
    for file in folders.into_iter().flatten() {
        let content = fs::read_to_string(file.unwrap().path()).unwrap();
        for object in documents(&content) {
            let mut stored = object.clone();
            if let Some(verdict) = schemas.admit(&mut stored, None, false) {
                assert_eq!(verdict, Ok(Vec::new()), "{object}");
                applied.insert(text(&object["kind"]));
            }
        }
    }
    assert!(applied.len() >= 5, "only {applied:?}");
}

/// The object as it is stored, and what was pruned; or what is wrong with it.
type Verdict = Result<(Value, Vec<String>), Vec<Cause>>;

/// Schemas by `apiVersion` and `kind`.
struct Schemas(BTreeMap<(String, String), Value>);

impl Schemas {
    fn shipped() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
        let mut schemas = Self(BTreeMap::new());
        for file in fs::read_dir(folder).unwrap() {
            let content = fs::read_to_string(file.unwrap().path()).unwrap();
            schemas.learn(&serde_norway::from_str(&content).unwrap());
        }
        schemas
    }

    fn learn(&mut self, crd: &Value) {
        let (group, kind) = (
            text(&crd["spec"]["group"]),
            text(&crd["spec"]["names"]["kind"]),
        );
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let api_version = format!("{group}/{}", text(&version["name"]));
            let schema = version["schema"]["openAPIV3Schema"].clone();
            self.0.insert((api_version, kind.clone()), schema);
        }
    }

    /// Nothing where no schema of ours is concerned.
    fn admit(
        &self,
        new: &mut Value,
        old: Option<&Value>,
        is_status: bool,
    ) -> Option<Result<Vec<String>, Vec<Cause>>> {
        let key = (text(&new["apiVersion"]), text(&new["kind"]));
        let schema = self.0.get(&key)?;
        Some(match old {
            Some(old) if is_status => schema::admit_status(schema, new, old),
            old => schema::admit(schema, new, old),
        })
    }

    /// What comes of the object of a case: as it is stored, and what was pruned.
    fn verdict(&self, case: &Value) -> Option<Verdict> {
        let mut new = case["submit"].clone();
        let operation = case["operation"].as_str().unwrap();
        let old = match operation {
            "CREATE" => None,
            "UPDATE" | "UPDATE_STATUS" => Some(self.given(case)?),
            _ => return None,
        };
        let is_status = operation == "UPDATE_STATUS";
        let verdict = self.admit(&mut new, old.as_ref(), is_status)?;
        Some(verdict.map(|unknown| (new, unknown)))
    }

    /// The object as it was before, if it is stored in the version of the new one.
    fn given(&self, case: &Value) -> Option<Value> {
        let new = &case["submit"];
        let mut given = case["given"].as_array().unwrap().iter();
        let same = |field: &str, old: &Value| old[field] == new[field];
        let mut old = given
            .find(|old| {
                same("kind", old)
                    && same("apiVersion", old)
                    && old["metadata"]["name"] == new["metadata"]["name"]
            })?
            .clone();
        let key = (text(&old["apiVersion"]), text(&old["kind"]));
        schema::complete(self.0.get(&key)?, &mut old);
        Some(old)
    }
}

/// A write to the main path leaves the status as it is.
fn keep_status(new: &mut Value, old: Option<&Value>) {
    let new = new.as_object_mut().unwrap();
    new.remove("status");
    if let Some(status) = old.and_then(|old| old.get("status")) {
        new.insert("status".to_owned(), status.clone());
    }
}

/// What was stored, when that was other than what was sent; and warnings of unknown fields.
fn check_stored(case: &Value, object: &Value, unknown: &[String]) {
    let name = &case["name"];
    let is_converted = object["apiVersion"] == "metallb.io/v1beta1" && object["kind"] == "BGPPeer";
    let is_older = unknown.is_empty() && is_of_main(case);
    if !case["stored"].is_null() && !is_converted && !is_older {
        assert_eq!(object["spec"], case["stored"], "{name}");
    }
    let warned = case["warnings"].as_array().into_iter().flatten();
    let warned: Vec<String> = warned
        .filter_map(|warning| {
            let field = warning.as_str()?.split("unknown field \\\"").nth(1)?;
            Some(field.trim_end_matches("\\\"\"").to_owned())
        })
        .collect();
    if !is_older {
        assert_eq!(unknown, warned, "{name}");
    }
}

/// Recorded with a MetalLB that did not know `preferredNodeSelectors` yet; our schema is that of its successor.
fn is_of_main(case: &Value) -> bool {
    !case["submit"]["spec"]["preferredNodeSelectors"].is_null()
}

fn check_causes(ours: &[Cause], theirs: &Value, name: &Value) {
    let ours: BTreeSet<String> = ours
        .iter()
        .map(|cause| {
            json!({"reason": cause.reason, "message": cause.message, "field": cause.field})
                .to_string()
        })
        .collect();
    let theirs = theirs.as_array().unwrap().iter();
    let theirs: BTreeSet<String> = theirs.map(Value::to_string).collect();
    assert_eq!(ours, theirs, "{name}");
}

/// The message of the Status that refuses an object.
fn refusal(object: &Value, name: &str, causes: &[Cause]) -> String {
    let api_version = text(&object["apiVersion"]);
    let group = api_version.split('/').next().unwrap();
    let kind = text(&object["kind"]);
    let message = schema::message(causes);
    format!("{kind}.{group} \"{name}\" is invalid: {message}")
}

/// Several faults come in no order: the server keeps properties in a map that has none.
fn parts(message: &str) -> BTreeSet<&str> {
    match message.split_once(": [") {
        Some((begin, faults)) => {
            let faults = faults.trim_end_matches(']');
            let faults = faults.split(", ").collect::<BTreeSet<_>>();
            faults.into_iter().chain([begin]).collect()
        }
        None => BTreeSet::from([message]),
    }
}

fn patch(object: &mut Value, request: &Value) {
    let body = &request["body"];
    match request["contentType"].as_str().unwrap() {
        "application/json-patch+json" => {
            let steps: json_patch::Patch = serde_json::from_value(body.clone()).unwrap();
            json_patch::patch(object, &steps).unwrap();
        }
        "application/merge-patch+json" => json_patch::merge(object, body),
        other => panic!("{other}"),
    }
}

fn lines(file: &str) -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let content = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let lines = content.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn documents(content: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    let documents = serde_norway::Deserializer::from_str(content);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

const VERDICTS: &[&str] = &[
    "bfdprofile",
    "bgpadvertisement",
    "bgppeer",
    "bgppeer-v1beta1",
    "community",
    "ipaddresspool",
    "l2advertisement",
    "namespace",
    "native",
    "statuses",
];
