//! An image as files: blobs named by their digests, and the documents that lead to them.
//!
//! Governed by the OCI image specification 1.1 (`image-layout.md`, `manifest.md`, `config.md`, `image-index.md`,
//! `annotations.md`). Knows nothing of how the program in it was built.

use super::source::Source;
use super::tar::Archive;
use super::{Architecture, digest};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What one architecture's image is made of.
#[derive(Debug)]
pub struct Program {
    /// What it runs on.
    pub architecture: Architecture,
    /// The speaker.
    pub bytes: Vec<u8>,
}

/// A layout, ready to be written.
#[derive(Debug)]
pub struct Layout {
    files: BTreeMap<String, Vec<u8>>,
    /// Digest of the index: what an installation pins.
    pub digest: String,
    /// Digest of each architecture's manifest.
    pub manifests: Vec<(Architecture, String)>,
}

impl Layout {
    /// One image of every program, under `name` and the version as its tag; `licences` by their file names go into each.
    ///
    /// # Errors
    /// When a layer cannot be packed.
    pub fn of(
        name: &str,
        source: &Source,
        programs: Vec<Program>,
        licences: &[(String, Vec<u8>)],
    ) -> Result<Self> {
        let mut blobs = Blobs::default();
        let mut manifests = Vec::new();
        let mut listed = Vec::new();
        for program in programs {
            let architecture = program.architecture;
            let mut manifest = blobs.image(source, program, licences)?;
            manifests.push((architecture, text(&manifest["digest"])));
            manifest["platform"] = architecture.platform();
            listed.push(manifest);
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": listed,
            "annotations": source.annotations(),
        });
        let mut index = blobs.document(INDEX, &index);
        index["annotations"] = json!({
            // How `ctr images import` and with it a node's kubelet call it.
            "io.containerd.image.name": format!("{name}:{}", source.version),
            "org.opencontainers.image.ref.name": source.version,
        });
        let digest = text(&index["digest"]);
        let top = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [index]});
        let mut files = blobs.files;
        files.insert("index.json".to_owned(), top.to_string().into_bytes());
        let version = json!({"imageLayoutVersion": "1.0.0"});
        files.insert("oci-layout".to_owned(), version.to_string().into_bytes());
        Ok(Self {
            files,
            digest,
            manifests,
        })
    }

    /// Writes it as a folder. What was in the folder is taken away first.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, folder: &Path) -> Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)
                .with_context(|| format!("failed to empty {}", folder.display()))?;
        }
        fs::create_dir_all(folder.join(BLOBS))
            .with_context(|| format!("failed to make {}", folder.display()))?;
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            fs::write(&path, bytes)
                .with_context(|| format!("failed to write {}", path.display()))?;
        }
        Ok(())
    }

    /// The same as one file, an OCI archive.
    ///
    /// # Errors
    /// When something is too long for it.
    pub fn archive(&self, moment: u64) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for (path, bytes) in &self.files {
            archive.file(path, 0o644, bytes.clone());
        }
        archive.bytes(moment)
    }
}

#[derive(Default)]
struct Blobs {
    files: BTreeMap<String, Vec<u8>>,
}

impl Blobs {
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let hex = digest(&bytes);
        let size = bytes.len();
        self.files.insert(format!("{BLOBS}/{hex}"), bytes);
        json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": size})
    }

    fn document(&mut self, media_type: &str, document: &Value) -> Value {
        self.add(media_type, document.to_string().into_bytes())
    }

    /// The descriptor of one architecture's manifest.
    fn image(
        &mut self,
        source: &Source,
        program: Program,
        licences: &[(String, Vec<u8>)],
    ) -> Result<Value> {
        let mut root = Archive::default();
        root.file("speaker", 0o755, program.bytes);
        for (name, text) in licences {
            root.file(&format!("licenses/{name}"), 0o644, text.clone());
        }
        let layer = root.bytes(source.moment)?;
        let unpacked = format!("sha256:{}", digest(&layer));
        let layer = self.add(LAYER, gzip(&layer)?);
        let mut config = program.architecture.platform();
        config["created"] = json!(source.created());
        config["config"] = json!({
            "Entrypoint": ["/speaker"],
            "User": NOBODY,
            "WorkingDir": "/",
            "Labels": source.annotations(),
        });
        config["rootfs"] = json!({"type": "layers", "diff_ids": [unpacked]});
        config["history"] = json!([{
            "created": source.created(), "created_by": "cargo xtask image",
        }]);
        let config = self.document(CONFIG, &config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
            "annotations": source.annotations(),
        });
        Ok(self.document(MANIFEST, &manifest))
    }
}

/// By the program, so that no library's version shows in the bytes; without a name and a time.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("gzip")
        .args(["-n", "-9"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start gzip")?;
    let mut input = child.stdin.take().context("gzip has no input")?;
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(move || input.write_all(bytes));
        let output = child.wait_with_output();
        let written = writer.join().unwrap_or(Ok(()));
        output.map(|output| (output, written))
    });
    let (output, written) = written.context("failed to run gzip")?;
    written.context("gzip did not take all of it")?;
    if !output.status.success() {
        bail!("gzip ended with {}", output.status);
    }
    Ok(output.stdout)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whoever starts a speaker makes it root: pins are root's. Nothing else needs to be.
pub(super) const NOBODY: &str = "65534:65534";
const BLOBS: &str = "blobs/sha256";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            version: "1.2.3".to_owned(),
            commit: "abc".to_owned(),
            moment: 1_700_000_000,
        }
    }

    fn layout(byte: u8) -> Layout {
        let programs = Architecture::ALL.map(|architecture| Program {
            architecture,
            bytes: vec![byte; 3000],
        });
        let licences = [("LICENSE".to_owned(), b"free".to_vec())];
        Layout::of("example/heliograph", &source(), programs.into(), &licences).unwrap()
    }

    fn document(layout: &Layout, path: &str) -> Value {
        serde_json::from_slice(&layout.files[path]).unwrap()
    }

    /// The document that a descriptor leads to, once its digest and size are seen to be right.
    fn followed(layout: &Layout, descriptor: &Value) -> Value {
        serde_json::from_slice(blob(layout, descriptor)).unwrap()
    }

    fn blob<'a>(layout: &'a Layout, descriptor: &Value) -> &'a [u8] {
        let named = descriptor["digest"].as_str().unwrap();
        let hex = named.strip_prefix("sha256:").unwrap();
        let bytes = &layout.files[&format!("{BLOBS}/{hex}")];
        assert_eq!(digest(bytes), hex);
        assert_eq!(descriptor["size"], bytes.len());
        bytes
    }

    #[test]
    fn the_same_program_is_the_same_image_and_another_is_another() {
        assert_eq!(layout(1).files, layout(1).files);
        assert_eq!(layout(1).archive(5).unwrap(), layout(1).archive(5).unwrap());
        assert_ne!(layout(1).digest, layout(2).digest);
    }

    #[test]
    fn every_document_leads_to_the_next_and_no_blob_is_left_over() {
        let layout = layout(1);
        let top = document(&layout, "index.json");
        let tag = &top["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
        assert_eq!(*tag, "1.2.3");
        assert_eq!(top["manifests"][0]["digest"], layout.digest);
        let index = followed(&layout, &top["manifests"][0]);
        // Files beside blobs, the index, and per architecture manifest and config; both share the layer of equal programs.
        assert_eq!(layout.files.len(), 2 + 1 + 2 * 2 + 1);
        let listed = index["manifests"].as_array().unwrap();
        let platforms: Vec<&Value> = listed
            .iter()
            .map(|m| &m["platform"]["architecture"])
            .collect();
        assert_eq!(platforms, ["amd64", "arm64"]);
        for descriptor in listed {
            let manifest = followed(&layout, descriptor);
            let config = followed(&layout, &manifest["config"]);
            assert_eq!(
                config["architecture"],
                descriptor["platform"]["architecture"]
            );
            assert_eq!(config["config"]["User"], "65534:65534");
            assert_eq!(config["created"], "2023-11-14T22:13:20Z");
            let labels = &config["config"]["Labels"];
            assert_eq!(labels["org.opencontainers.image.version"], "1.2.3");
            assert_eq!(labels["org.opencontainers.image.revision"], "abc");
            assert!(blob(&layout, &manifest["layers"][0]).starts_with(&[0x1f, 0x8b]));
        }
    }
}
