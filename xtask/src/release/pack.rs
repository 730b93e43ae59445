//! The files of a release, from an image that is made already.

use crate::image::digest;
use crate::kubectl;
use crate::tools::{output, root};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image, and what goes along with it.
#[derive(Debug)]
pub struct Image {
    /// Where it will be, without a tag.
    pub name: String,
    /// Its tag.
    pub version: String,
    /// `sha256:` and the digest of its index.
    pub digest: String,
    /// Files that are published as they are.
    pub files: Vec<PathBuf>,
}

impl Image {
    /// Tag and digest: the digest counts, the tag is for people.
    fn tag(&self) -> String {
        format!("{}@{}", self.version, self.digest)
    }
}

/// Writes everything into `dist`, and returns the files' names.
///
/// # Errors
/// When something cannot be read, packed or written.
pub fn pack(image: &Image, notes: &str, dist: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(dist).with_context(|| format!("failed to make {}", dist.display()))?;
    for file in &image.files {
        let name = file.file_name().context("an artefact has a name")?;
        fs::copy(file, dist.join(name))
            .with_context(|| format!("failed to copy {}", file.display()))?;
    }
    let write = |name: &str, text: &str| {
        fs::write(dist.join(name), text).with_context(|| format!("failed to write {name}"))
    };
    write("heliograph.yaml", &joined(image, &PLAIN)?)?;
    write("heliograph-operator.yaml", &joined(image, &OPERATOR)?)?;
    write("notes.md", &with_ways_in(notes, image))?;
    chart(image, dist)?;
    let mut names = names(dist)?;
    let mut sums = String::new();
    for name in &names {
        let bytes = fs::read(dist.join(name)).with_context(|| format!("failed to read {name}"))?;
        sums.push_str(&format!("{}  {name}\n", digest(&bytes)));
    }
    write(SUMS, &sums)?;
    names.push(SUMS.to_owned());
    Ok(names)
}

/// The notes as they stand beside the files: links lead to the tree of this version, and the ways to install it come after.
fn with_ways_in(notes: &str, image: &Image) -> String {
    let Image { version, .. } = image;
    let there = format!("]({REPOSITORY}/blob/v{version}/");
    let notes = notes.replace("](docs/", &format!("{there}docs/"));
    format!(
        "{notes}

### Install it

The image is `{name}:{tag}`, which all of these name. How, and in MetalLB's place: [docs/kubernetes.md{there}docs/kubernetes.md).

```
sha256sum --check --ignore-missing SHA256SUMS
kubectl apply --server-side -f heliograph.yaml
```

In place of the last, the operator by `kubectl apply --server-side -f heliograph-operator.yaml`, or the chart:

```
helm install metallb metallb-{version}.tgz --namespace metallb-system
```
",
        name = image.name,
        tag = image.tag(),
    )
}

/// Manifests one after the other, with this image.
fn joined(image: &Image, places: &[&str]) -> Result<String> {
    let mut documents = Vec::new();
    for place in places {
        let place = root().join(place);
        let files = match place.is_dir() {
            true => yaml(&place)?,
            false => vec![place],
        };
        for file in files {
            let text = fs::read_to_string(&file)
                .with_context(|| format!("failed to read {}", file.display()))?;
            documents.push(text.trim_end().to_owned());
        }
    }
    let here = format!("heliograph:{}", image.version);
    let there = format!("{}:{}", image.name, image.tag());
    let text = documents.join("\n---\n") + "\n";
    ensure!(text.contains(&here), "no manifest names the image {here}");
    Ok(text.replace(&here, &there))
}

fn yaml(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The chart with this image as its default, packed by helm.
fn chart(image: &Image, dist: &Path) -> Result<()> {
    let work = dist.join("chart");
    // Links are followed, so that the copy holds the files they lead to.
    let mut copy = Command::new("cp");
    copy.arg("-rL").arg(root().join("deploy/chart")).arg(&work);
    output(&mut copy)?;
    let values = work.join("values.yaml");
    let text = fs::read_to_string(&values).context("failed to read the chart's values")?;
    fs::write(&values, with_image(&text, image)?).context("failed to write the chart's values")?;
    let mut package = Command::new(kubectl::helm()?);
    package
        .arg("package")
        .arg(&work)
        .arg("--destination")
        .arg(dist);
    output(&mut package)?;
    fs::remove_dir_all(&work).context("failed to remove the copy of the chart")
}

/// The values with repository and tag of the image in place of the defaults.
fn with_image(values: &str, image: &Image) -> Result<String> {
    ensure!(
        values.matches(DEFAULT).count() == 1,
        "the chart's values do not hold once:\n{DEFAULT}"
    );
    let own = format!(
        "    repository: {}\n    # Tag and digest: the digest counts.\n    tag: {}\n",
        image.name,
        image.tag()
    );
    Ok(values.replace(DEFAULT, &own))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Where the chart's values say which image.
const DEFAULT: &str =
    "    repository: heliograph\n    # The chart's appVersion, if empty.\n    tag: \"\"\n";
const SUMS: &str = "SHA256SUMS";
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
const PLAIN: [&str; 2] = ["deploy/crds", "deploy/manifests"];
/// The operator brings the rest itself.
const OPERATOR: [&str; 5] = [
    "deploy/crds",
    "deploy/manifests/0-namespace.yaml",
    "deploy/manifests/1-controller-rights.yaml",
    "deploy/manifests/2-speaker-rights.yaml",
    "deploy/operator",
];
