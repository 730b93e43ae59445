//! A release as it is packed: what somebody installs from it names the image by its digest, and every file's checksum is right.

use serde::Deserialize as _;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use xtask::release::{Image, pack};
use xtask::tools;

#[test]
fn a_release_installs_one_image_by_its_digest_and_its_sums_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let (image, expected) = image(folder.path());
    let dist = folder.path().join("dist");
    let notes = "New: see [docs/bgp.md](docs/bgp.md#graceful).";
    let files = pack(&image, notes, &dist).unwrap();
    let listed: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    let chart = format!("metallb-{VERSION}.tgz");
    let files = [
        "SHA256SUMS",
        "heliograph-operator.yaml",
        "heliograph.oci.tar",
        "heliograph.yaml",
        &chart,
        "notes.md",
    ];
    assert_eq!(listed, BTreeSet::from(files));
    let told = fs::read_to_string(dist.join("notes.md")).unwrap();
    let link = format!("/blob/v{VERSION}/docs/bgp.md#graceful).\n");
    assert!(
        told.starts_with("New: see [docs/bgp.md](https://"),
        "{told}"
    );
    assert!(told.contains(&link) && told.contains(&expected), "{told}");
    // Whatever a command of the notes reads is there.
    for word in told.split_whitespace().map(|word| word.trim_matches('`')) {
        let is_file = word.ends_with(".yaml") || word.ends_with(".tgz") || word == "SHA256SUMS";
        assert!(!is_file || files.contains(&word), "{word}");
    }

    let mut sums = Command::new("sha256sum");
    sums.args(["--check", "--strict", "SHA256SUMS"]);
    let checked = tools::output(sums.current_dir(&dist)).unwrap();
    assert_eq!(checked.lines().count(), files.len() - 1, "{checked}");

    for (file, count) in [("heliograph.yaml", 2), ("heliograph-operator.yaml", 1)] {
        let text = fs::read_to_string(dist.join(file)).unwrap();
        let images = images(&text);
        assert_eq!(images, vec![expected.clone(); count], "{file}");
        assert!(!text.contains(" heliograph:"), "{file} names another image");
        assert!(text.contains("kind: CustomResourceDefinition"), "{file}");
    }
    let operator = fs::read_to_string(dist.join("heliograph-operator.yaml")).unwrap();
    let told = format!("value: {expected}\n");
    assert_eq!(operator.matches(&told).count(), 2, "what it installs");

    let mut helm = Command::new(xtask::kubectl::helm().unwrap());
    helm.args(["template", "metallb"]).arg(dist.join(chart));
    let rendered = tools::output(&mut helm).unwrap();
    assert_eq!(images(&rendered), [expected.clone(), expected]);
}

/// An image that is somewhere, with one file that is published as it is; and how pods name it.
fn image(folder: &Path) -> (Image, String) {
    let archive = folder.join("heliograph.oci.tar");
    fs::write(&archive, "an archive").unwrap();
    let digest = format!("sha256:{}", "5".repeat(64));
    let name = "registry.example.com/lb/heliograph".to_owned();
    let named = format!("{name}:{VERSION}@{digest}");
    let image = Image {
        name,
        version: VERSION.to_owned(),
        digest,
        files: vec![archive],
    };
    (image, named)
}

/// Of all containers in these objects.
fn images(text: &str) -> Vec<String> {
    let mut images = Vec::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let object = Value::deserialize(document).unwrap();
        let pod = &object["spec"]["template"]["spec"];
        let containers = pod["containers"].as_array().into_iter().flatten();
        images.extend(containers.map(|one| one["image"].as_str().unwrap().to_owned()));
    }
    images
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
