//! `cargo xtask image`: an OCI image of the speaker without a container engine, with nothing of this machine in it.
//!
//! The image holds one static program and the licences, on nothing. Beside it come the same as one file, and for each architecture a
//! list of what is linked into it. Publishing it is somebody else's, as is running it.

mod compile;
mod elf;
mod layout;
mod sbom;
mod source;
mod start;
mod tar;

pub use elf::kernel_objects;
pub use layout::{Layout, Program};
pub use source::Source;
pub use start::{emulator, starts};

use crate::tools::{root, say, target};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use compile::Pace;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Make an OCI image of the speaker (target/image), without a container engine.
///
/// Neither clock nor folders of this machine are in it. Compilers for the architectures asked for are installed if they are missing.
#[derive(Args)]
pub struct Request {
    /// What it runs on, each as often as wanted; this machine's own without any.
    #[arg(long = "arch", value_name = "ARCH")]
    architectures: Vec<Architecture>,
    /// What the image is called, without a tag; the tag is the version. The default is what manifests call `heliograph`.
    #[arg(long, default_value = "docker.io/library/heliograph")]
    name: String,
    /// Where it goes.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Build the program a second time, from nothing and from a copy of the tree in another folder, and fail unless both are the same byte for
    /// byte.
    #[arg(long)]
    twice: bool,
    /// A few lines, or one JSON object.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Form {
    Text,
    Json,
}

/// A kind of processor that images are made for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Debug)]
pub enum Architecture {
    /// 64-bit x86, `amd64` in images.
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit ARM, `arm64` in images.
    #[value(name = "aarch64")]
    Aarch64,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// This machine's, if images are made for it.
    pub fn own() -> Option<Self> {
        let own = std::env::consts::ARCH;
        Self::ALL.into_iter().find(|one| one.as_str() == own)
    }

    /// As compilers call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// As the OCI image specification names it.
    fn platform(self) -> Value {
        match self {
            Self::X86_64 => json!({"architecture": "amd64", "os": "linux"}),
            Self::Aarch64 => json!({"architecture": "arm64", "os": "linux", "variant": "v8"}),
        }
    }
}

impl Request {
    /// Builds, packs and tells.
    ///
    /// # Errors
    /// If something cannot be installed, built or written.
    pub fn run(&self) -> Result<()> {
        let out = self.out.clone().unwrap_or_else(|| target().join("image"));
        let made = make(&self.architectures, &self.name, &out)?;
        if self.twice {
            for (architecture, _, _) in &made.images {
                twice(*architecture, &made.source, &out)?;
            }
        }
        match self.output {
            Form::Text => made.tell(),
            Form::Json => println!("{}", made.json()),
        }
        Ok(())
    }
}

/// Builds a program again, elsewhere, and compares.
fn twice(architecture: Architecture, source: &Source, out: &Path) -> Result<()> {
    let first = compile::build(architecture, source, Pace::Optimised)?;
    let folder = out.join("again");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("failed to remove an earlier copy of the tree")?;
    }
    fs::create_dir_all(&folder).context("failed to make a folder for a copy of the tree")?;
    let name = architecture.as_str();
    say(&format!(
        "building the speaker for {name} again, from nothing and elsewhere"
    ));
    let second = compile::again(architecture, source, &folder)?;
    fs::remove_dir_all(&folder).context("failed to remove the copy of the tree")?;
    let differs = first.iter().zip(&second).position(|(a, b)| a != b);
    ensure!(
        first == second,
        "two builds for {name} differ: {} and {} bytes, the first other byte at {differs:?}",
        first.len(),
        second.len()
    );
    say(&format!(
        "two builds for {name} are the same: sha256 {}",
        digest(&first)
    ));
    Ok(())
}

/// What was made, and where it is.
#[derive(Debug)]
pub struct Made {
    /// From what.
    pub source: Source,
    /// The image with its tag.
    pub name: String,
    /// Digest of its index.
    pub digest: String,
    /// The layout.
    pub layout: PathBuf,
    /// The same as one file.
    pub archive: PathBuf,
    /// Per architecture the digest of its manifest and the list of what is in its program.
    pub images: Vec<(Architecture, String, PathBuf)>,
}

/// Makes the image for these architectures, this machine's own if there are none, in `out`.
///
/// # Errors
/// If something cannot be installed, built or written.
pub fn make(architectures: &[Architecture], name: &str, out: &Path) -> Result<Made> {
    let mut architectures = match architectures {
        [] => {
            vec![Architecture::own().context("no image is made for this machine; name an --arch")?]
        }
        some => some.to_vec(),
    };
    architectures.sort_unstable();
    architectures.dedup();
    let source = Source::here()?;
    fs::create_dir_all(out).with_context(|| format!("failed to make {}", out.display()))?;
    let mut programs = Vec::new();
    let mut lists = Vec::new();
    let mut notices = sbom::Notices::default();
    for architecture in architectures {
        say(&format!(
            "building the speaker for {}, static and optimised (some minutes)",
            architecture.as_str()
        ));
        let bytes = compile::build(architecture, &source, Pace::Optimised)?;
        let linked = sbom::linked(&compile::triple(architecture))?;
        let list = sbom::cyclonedx(&source, architecture, &digest(&bytes), &linked)?;
        let stem = format!("heliograph-{}-{}", source.version, architecture.as_str());
        let path = out.join(format!("{stem}.cdx.json"));
        write(&path, list.as_bytes())?;
        lists.push(path);
        notices.add(&linked)?;
        programs.push(Program {
            architecture,
            bytes,
        });
    }
    let mut licences = own_licences()?;
    licences.push(("third-party.txt".to_owned(), notices.text().into_bytes()));
    let layout = Layout::of(name, &source, programs, &licences)?;
    let (folder, archive) = put(&layout, &source, out)?;
    let images = layout.manifests.iter().zip(lists);
    Ok(Made {
        name: format!("{name}:{}", source.version),
        digest: layout.digest.clone(),
        layout: folder,
        archive,
        images: images
            .map(|((architecture, digest), list)| (*architecture, digest.clone(), list))
            .collect(),
        source,
    })
}

/// A static program that is not optimised, for tests of images.
///
/// # Errors
/// When something it takes cannot be had, or it does not build.
pub fn quick(architecture: Architecture, source: &Source) -> Result<Program> {
    let bytes = compile::build(architecture, source, Pace::Quick)?;
    Ok(Program {
        architecture,
        bytes,
    })
}

/// Gets what it takes to compile for an architecture, if it is missing.
///
/// # Errors
/// When it cannot be had, with the command that would get it.
pub fn ensure(architecture: Architecture) -> Result<()> {
    compile::ensure(architecture)
}

/// Writes a layout into `out`, as a folder and as a file.
///
/// # Errors
/// When that fails.
pub fn put(layout: &Layout, source: &Source, out: &Path) -> Result<(PathBuf, PathBuf)> {
    let folder = out.join("layout");
    layout.write(&folder)?;
    let archive = out.join(format!("heliograph-{}.oci.tar", source.version));
    write(&archive, &layout.archive(source.moment)?)?;
    Ok((folder, archive))
}

/// The licences of what is ours, by file name.
///
/// # Errors
/// When one cannot be read.
pub fn own_licences() -> Result<Vec<(String, Vec<u8>)>> {
    let read = |path: &str| {
        let bytes =
            fs::read(root().join(path)).with_context(|| format!("failed to read {path}"))?;
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Ok((name, bytes))
    };
    OWN_LICENCES.into_iter().map(read).collect()
}

impl Made {
    fn tell(&self) {
        println!("image    {}", self.name);
        println!("digest   {}", self.digest);
        println!("commit   {}", self.source.commit);
        println!("layout   {}", self.layout.display());
        println!("archive  {}", self.archive.display());
        for (architecture, digest, list) in &self.images {
            println!("{:<8} {digest}", architecture.as_str());
            println!("         {}", list.display());
        }
    }

    fn json(&self) -> Value {
        let images = self.images.iter().map(|(architecture, digest, list)| {
            json!({"architecture": architecture.as_str(), "digest": digest, "sbom": list})
        });
        json!({
            "name": self.name,
            "digest": self.digest,
            "version": self.source.version,
            "commit": self.source.commit,
            "created": self.source.created(),
            "layout": self.layout,
            "archive": self.archive,
            "images": images.collect::<Vec<_>>(),
        })
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("failed to write {}", path.display()))
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

const OWN_LICENCES: [&str; 3] = [
    "LICENSE",
    "speaker-ebpf/LICENSE-GPL-2.0",
    "speaker-ebpf/LICENSE-MIT",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_builds_by_the_same_command_and_ends_alike() {
        let text = fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
        let compiler = format!("rust:{}-bookworm AS build", env!("CARGO_PKG_RUST_VERSION"));
        let user = format!("\nUSER {}\n", layout::NOBODY);
        for part in [
            compiler.as_str(),
            "cargo xtask image --arch",
            "&& test -x /root-of-image/speaker\n",
            "\nFROM scratch\n",
            &user,
            "\nENTRYPOINT [\"/speaker\"]\n",
        ] {
            assert!(text.contains(part), "{part}");
        }
        for package in Architecture::ALL.into_iter().flat_map(compile::c_packages) {
            assert!(text.contains(package), "{package}");
        }
    }
}
