//! The base and the components for kustomize, rendered by a real kubectl: the objects that the code builds.

use serde::Deserialize as _;
use serde_json::Value;
use speaker_core::deploy::{self, Options};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_base_is_what_the_code_builds_and_the_definitions() {
    let rendered = rendered(&deploy());
    assert_eq!(without_definitions(&rendered), built(&options()));
    let definitions = fs::read_dir(deploy().join("crds")).unwrap();
    let texts = definitions.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let mut shipped: BTreeMap<String, Value> = texts.flat_map(|text| documents(&text)).collect();
    // The operator's resource comes with the operator.
    shipped
        .remove("CustomResourceDefinition metallbs.metallb.io")
        .unwrap();
    let shown = rendered
        .into_iter()
        .filter(|(title, _)| title.starts_with(DEFINITION));
    assert_eq!(shown.collect::<BTreeMap<_, _>>(), shipped);
}

#[test]
fn two_controllers_are_what_the_code_builds_of_two() {
    let mut options = options();
    options.controllers = 2;
    let rendered = with(&["two-controllers"], "");
    assert_eq!(without_definitions(&rendered), built(&options));
}

#[test]
fn openshifts_constraints_come_along() {
    let mut expected = built(&options());
    let constraints = deploy::constraints(&options()).into_iter();
    expected.extend(constraints.map(|object| (object.title(), object.body)));
    assert_eq!(without_definitions(&with(&["openshift"], "")), expected);
}

/// As an overlay of somebody's own does it.
#[test]
fn an_overlay_can_name_another_image_by_its_digest() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let images = format!(
        "images:\n  - name: heliograph\n    newName: registry.example.com/heliograph\n    digest: {digest}\n"
    );
    let rendered = with(&[], &images);
    let image = format!("registry.example.com/heliograph@{digest}");
    let mut options = options();
    options.controller.image.clone_from(&image);
    options.speaker.image = image;
    assert_eq!(without_definitions(&rendered), built(&options));
}

fn options() -> Options {
    let image = format!("heliograph:{}", env!("CARGO_PKG_VERSION"));
    Options::new("metallb-system", &image, &image)
}

fn built(options: &Options) -> BTreeMap<String, Value> {
    let objects = deploy::objects(options).into_iter();
    objects
        .map(|object| (object.title(), object.body))
        .collect()
}

fn without_definitions(objects: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut objects = objects.clone();
    objects.retain(|title, _| !title.starts_with(DEFINITION));
    objects
}

/// What an overlay on the base with these components renders.
fn with(components: &[&str], more: &str) -> BTreeMap<String, Value> {
    // Kustomize wants relative paths, so the overlay is not far.
    let folder = tempfile::tempdir_in(xtask::tools::target()).unwrap();
    let mut overlay = "resources:\n  - ../../deploy\n".to_owned();
    if !components.is_empty() {
        overlay.push_str("components:\n");
    }
    for component in components {
        overlay.push_str(&format!("  - ../../deploy/kustomize/{component}\n"));
    }
    fs::write(folder.path().join("kustomization.yaml"), overlay + more).unwrap();
    rendered(folder.path())
}

fn rendered(folder: &Path) -> BTreeMap<String, Value> {
    let kubectl = xtask::kubectl::ensure().unwrap();
    let output = Command::new(kubectl)
        .arg("kustomize")
        .arg(folder)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    assert_eq!(words, "", "no warning");
    documents(&String::from_utf8(output.stdout).unwrap())
        .into_iter()
        .collect()
}

/// By kind and name, as [`deploy::Object::title`] has it.
fn documents(text: &str) -> Vec<(String, Value)> {
    let documents = serde_norway::Deserializer::from_str(text);
    documents
        .map(|document| {
            let object = Value::deserialize(document).unwrap();
            let kind = object["kind"].as_str().unwrap();
            let name = object["metadata"]["name"].as_str().unwrap();
            (format!("{kind} {name}"), object.clone())
        })
        .collect()
}

fn deploy() -> PathBuf {
    xtask::tools::root().join("deploy")
}

const DEFINITION: &str = "CustomResourceDefinition ";
