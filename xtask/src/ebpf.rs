//! Builds the kernel object, and runs the host tests of its logic under a sanitizer.
//!
//! The object is built by the same stable compiler as everything else, with `core` from source, in a target folder of its own so
//! that neither build waits for the other. It knows nothing of what is in the object.

use crate::tools::{self, output, say, target};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Build the kernel object (target/ebpf/heliograph.o), which the speaker embeds.
#[derive(Args)]
pub struct BuildEbpf {
    /// Also copy the object here.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Build nothing: fail if the object is missing or older than its sources.
    #[arg(long)]
    check: bool,
}

impl BuildEbpf {
    /// Does what was asked for.
    pub fn run(&self) -> Result<()> {
        let object = if self.check {
            let object = Object::Heliograph;
            if !object.is_current()? {
                bail!(
                    "{} is not up to date; run: cargo xtask build-ebpf",
                    object.path().display()
                );
            }
            object.path()
        } else {
            build(Object::Heliograph)?
        };
        if let Some(out) = &self.out {
            fs::copy(&object, out).with_context(|| format!("failed to write {}", out.display()))?;
        }
        println!("{}", self.out.as_ref().unwrap_or(&object).display());
        Ok(())
    }
}

/// The objects that can be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// The one that ships.
    Heliograph,
    /// Generator, sink and wrappers of the bench.
    Bench,
}

impl Object {
    const fn binary(self) -> &'static str {
        match self {
            Self::Heliograph => "heliograph",
            Self::Bench => "heliograph-bench",
        }
    }

    /// Where it is once it is built.
    pub fn path(self) -> PathBuf {
        target().join("ebpf").join(format!("{}.o", self.binary()))
    }

    fn stamp(self) -> PathBuf {
        self.path().with_extension("stamp")
    }

    fn is_current(self) -> Result<bool> {
        let stamp = fs::read_to_string(self.stamp()).unwrap_or_default();
        Ok(self.path().is_file() && stamp == fingerprint()?)
    }
}

/// Builds an object unless it is up to date; where it is.
pub fn build(object: Object) -> Result<PathBuf> {
    if object.is_current()? {
        return Ok(object.path());
    }
    tools::rust_src()?;
    let linker = tools::bpf_linker()?;
    say(&format!("building the kernel object {}", object.binary()));
    let built = build_in(&tools::root(), object, &linker)?;
    let path = object.path();
    let folder = path.parent().context("an object's path has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    // A rename, so that nobody ever embeds half an object.
    let fresh = path.with_extension("new");
    fs::copy(&built, &fresh).with_context(|| format!("failed to copy {}", built.display()))?;
    fs::rename(&fresh, &path).with_context(|| format!("failed to rename {}", fresh.display()))?;
    fs::write(object.stamp(), fingerprint()?).context("failed to write the stamp")?;
    Ok(path)
}

/// Builds the object that ships from another tree of this project, where the next build overwrites it.
///
/// # Errors
/// When a tool is missing, or the tree has what does not build.
pub fn build_of(tree: &Path) -> Result<PathBuf> {
    tools::rust_src()?;
    build_in(tree, Object::Heliograph, &tools::bpf_linker()?)
}

fn build_in(root: &Path, object: Object, linker: &Path) -> Result<PathBuf> {
    tools::run(&mut compile(root, object, linker)?)?;
    let built = bpf_target().join(TARGET).join("release");
    Ok(built.join(object.binary()))
}

fn compile(root: &Path, object: Object, linker: &Path) -> Result<Command> {
    // v3 of the instruction set (5.3) has 32-bit arithmetic; BTF is what makes maps and programs readable.
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
    ];
    // BTF names source files: relative to here, so that the object is the same wherever it is built, and its lines are found.
    let places = tools::places()?;
    flags.push(format!("--remap-path-prefix={}=.", root.display()));
    flags.extend(places.iter().map(tools::Place::remap));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(linker.to_owned()).chain(std::env::split_paths(&path));
    let mut cargo = tools::cargo();
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--package", "speaker-ebpf", "--release"])
        .args([
            "--bin",
            object.binary(),
            "--target",
            TARGET,
            "-Zbuild-std=core",
        ])
        .arg("--target-dir")
        .arg(bpf_target())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env(
            "PATH",
            std::env::join_paths(folders).context("a path with a colon in it")?,
        )
        .env_remove("RUSTFLAGS");
    Ok(cargo)
}

fn bpf_target() -> PathBuf {
    target().join("bpf")
}

/// Everything that the objects depend on, as one number.
fn fingerprint() -> Result<String> {
    let root = tools::root();
    let mut files = vec![
        root.join("Cargo.lock"),
        root.join("speaker-ebpf/Cargo.toml"),
    ];
    collect(&root.join("speaker-ebpf/src"), &mut files)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    (
        tools::rustc_version()?,
        tools::BPF_LINKER,
        include_str!("ebpf.rs"),
    )
        .hash(&mut hasher);
    for file in files {
        let bytes =
            fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
        (file.strip_prefix(&root).unwrap_or(&file), bytes).hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The command that runs the host tests of the packet logic under Miri where a nightly compiler has it, and else under the
/// address sanitizer; says which.
pub fn sanitized_tests() -> Command {
    let mut miri = tools::cargo();
    miri.args(["+nightly", "miri", "--version"]);
    if output(&mut miri).is_ok() {
        say("testing speaker-ebpf under Miri");
        let mut test = tools::cargo();
        test.args([
            "+nightly",
            "miri",
            "test",
            "--quiet",
            "--package",
            "speaker-ebpf",
            "--lib",
        ]);
        return test;
    }
    say(
        "testing speaker-ebpf under the address sanitizer (there is no nightly compiler with Miri)",
    );
    let mut test = tools::cargo();
    // A target of its own keeps the flags away from build scripts.
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    test.args([
        "test",
        "--quiet",
        "--package",
        "speaker-ebpf",
        "--lib",
        "--target",
        &host,
    ])
    .arg("--target-dir")
    .arg(target().join("asan"))
    .env("RUSTC_BOOTSTRAP", "1")
    .env("CARGO_ENCODED_RUSTFLAGS", "-Zsanitizer=address");
    test
}

const TARGET: &str = "bpfel-unknown-none";
