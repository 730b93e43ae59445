//! Finds the kernel object that the speaker embeds, and the version that it tells.
//!
//! The object is built by `cargo xtask build-ebpf` into the workspace's `target/ebpf`; `HELIOGRAPH_EBPF_OBJECT` names
//! another one. The version has the commit beside it where `HELIOGRAPH_COMMIT` gives one, as it does for images.

use std::env;
use std::path::{Path, PathBuf};

const OVERRIDE: &str = "HELIOGRAPH_EBPF_OBJECT";
const COMMIT: &str = "HELIOGRAPH_COMMIT";

fn main() {
    version();
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    let object = env::var_os(OVERRIDE).map_or_else(built, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    if object.is_file() {
        println!("cargo::rustc-env={OVERRIDE}={}", object.display());
    } else {
        println!(
            "cargo::error=the kernel object {} does not exist; build it with: cargo xtask build-ebpf",
            object.display()
        );
    }
}

fn version() {
    println!("cargo::rerun-if-env-changed={COMMIT}");
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets it for build scripts");
    let version = match env::var(COMMIT) {
        Ok(commit) => format!("{version} ({commit})"),
        Err(_) => version,
    };
    println!("cargo::rustc-env=HELIOGRAPH_VERSION={version}");
}

fn built() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts");
    Path::new(&package).join("../target/ebpf/heliograph.o")
}
