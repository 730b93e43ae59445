//! The manifests that are shipped are what the code builds, so that there is one source of an installation.
//!
//! `UPDATE_EXPECT=1` writes those documents anew that differ, without the comments that stood in them, and leaves the others alone; what
//! is new or gone is for people to place.

use serde::Deserialize as _;
use serde_json::Value;
use speaker_core::deploy::{self, Options};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_manifests_are_what_the_code_builds() {
    let objects = deploy::objects(&options()).into_iter();
    let mut built: BTreeMap<String, (usize, Value)> = objects
        .enumerate()
        .map(|(at, object)| (object.title(), (at, object.body)))
        .collect();
    let mut places = Vec::new();
    let is_updating = std::env::var_os("UPDATE_EXPECT").is_some();
    for file in manifests() {
        let text = fs::read_to_string(&file).unwrap();
        let mut documents: Vec<String> = text.split(BETWEEN).map(str::to_owned).collect();
        for document in &mut documents {
            let shipped = read(document);
            let title = title(&shipped);
            let (at, wanted) = built
                .remove(&title)
                .unwrap_or_else(|| panic!("{}: the code builds no {title}", file.display()));
            places.push(at);
            if shipped == wanted {
                continue;
            }
            assert!(
                is_updating,
                "{title} differs; UPDATE_EXPECT=1 writes it, to be read before it is committed:\n{wanted:#}"
            );
            *document = serde_norway::to_string(&wanted)
                .unwrap()
                .trim_end()
                .to_owned();
        }
        if is_updating {
            fs::write(&file, documents.join(BETWEEN).trim_end().to_owned() + "\n").unwrap();
        }
    }
    let left: Vec<&String> = built.keys().collect();
    assert_eq!(left, [""; 0], "in no file");
    // kubectl applies files by name and documents from top to bottom; what others need comes first there too.
    let is_right = |at: usize| RIGHTS.contains(&at);
    assert_eq!(places[0], 0, "the namespace");
    assert!(places[RIGHTS].iter().all(|at| is_right(*at)), "{places:?}");
}

/// Nothing of an installation applies them by itself, so that they are in a folder of their own.
#[test]
fn metallb_1_8_openshifts_constraints_are_what_the_code_builds() {
    let file = deploy_folder().join("kustomize/openshift/constraints.yaml");
    let text = fs::read_to_string(file).unwrap();
    let shipped: Vec<Value> = text.split(BETWEEN).map(read).collect();
    let built = deploy::constraints(&options()).map(|object| object.body);
    assert_eq!(shipped, built);
}

fn options() -> Options {
    let image = format!("heliograph:{}", env!("CARGO_PKG_VERSION"));
    Options::new("metallb-system", &image, &image)
}

fn read(document: &str) -> Value {
    // A text block at the end keeps the line's end that `BETWEEN` took.
    let document = format!("{document}\n");
    let mut documents = serde_norway::Deserializer::from_str(&document);
    Value::deserialize(documents.next().unwrap()).unwrap()
}

/// As [`deploy::Object::title`] has it.
fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
    format!("{} {}", text(kind), text(name))
}

fn manifests() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(deploy_folder().join("manifests"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

fn deploy_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// Where accounts and their rights are among the objects.
const RIGHTS: std::ops::Range<usize> = 1..11;
const BETWEEN: &str = "\n---\n";
