//! The program of an image: static, optimised, and free of this machine's paths.
//!
//! Rust's musl targets bring the C library along, so that the image needs no base. The kernel object in it is the same for every
//! architecture: its code is that of the kernel's own machine.

use super::Architecture;
use super::elf::{Elf, kernel_objects};
use super::source::Source;
use super::start::starts;
use crate::ebpf::{self, Object};
use crate::tools::{self, Place, output, root, say, target};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a program is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// As it ships.
    Optimised,
    /// For tests, in a fraction of the time.
    Quick,
}

/// The speaker for an architecture, seen to be static and to have the kernel object in it.
///
/// # Errors
/// When something it takes cannot be had, with the command that would get it, or when it does not build.
pub(super) fn build(architecture: Architecture, source: &Source, pace: Pace) -> Result<Vec<u8>> {
    let object = ebpf::build(Object::Heliograph)?;
    ensure(architecture)?;
    let mut cargo = cargo(architecture, source, &root())?;
    let (folder, profile) = match pace {
        Pace::Optimised => (target().join("image/build"), "release"),
        // What it needs on this machine is built there already.
        Pace::Quick => (target(), "debug"),
    };
    if pace == Pace::Optimised {
        cargo.arg("--release");
    }
    tools::run(cargo.arg("--target-dir").arg(&folder))?;
    let program = folder
        .join(triple(architecture))
        .join(profile)
        .join("speaker");
    let bytes =
        fs::read(&program).with_context(|| format!("failed to read {}", program.display()))?;
    let object =
        fs::read(&object).with_context(|| format!("failed to read {}", object.display()))?;
    fit(&bytes, architecture, &object)
        .with_context(|| format!("{} is not fit for an image", program.display()))?;
    if pace == Pace::Optimised {
        starts(&program, architecture)?;
    }
    Ok(bytes)
}

/// The speaker as [`build`] makes it, made anew from nothing and from a copy of the tree in `folder`, which is empty. The kernel object is the
/// same: it is built in one place.
///
/// # Errors
/// As [`build`].
pub(super) fn again(architecture: Architecture, source: &Source, folder: &Path) -> Result<Vec<u8>> {
    let object = ebpf::build(Object::Heliograph)?;
    ensure(architecture)?;
    let mut copy = Command::new("sh");
    copy.args(["-c", COPY, "sh"])
        .arg(folder)
        .current_dir(root());
    tools::run(&mut copy)?;
    let mut cargo = cargo(architecture, source, folder)?;
    // As far from the tree's root as the first one.
    let target = folder.join("target/image/build");
    cargo.arg("--release").arg("--target-dir").arg(&target);
    tools::run(cargo.env("HELIOGRAPH_EBPF_OBJECT", object))?;
    let program = target.join(triple(architecture)).join("release/speaker");
    fs::read(&program).with_context(|| format!("failed to read {}", program.display()))
}

/// The target's name.
pub(super) fn triple(architecture: Architecture) -> String {
    format!("{}-unknown-linux-musl", architecture.as_str())
}

/// Its C compiler, for the cryptography and for linking; Debian's has this name on every machine.
fn c_compiler(architecture: Architecture) -> String {
    format!("{}-linux-gnu-gcc", architecture.as_str())
}

/// Gets the C compiler with its headers and Rust's library for an architecture, if they are missing.
pub(super) fn ensure(architecture: Architecture) -> Result<()> {
    if !compiles_c(architecture) {
        let packages = c_packages(architecture);
        tools::ensure_packages(&packages, "an image for this architecture")?;
    }
    let triple = triple(architecture);
    let mut libdir = Command::new("rustc");
    libdir.args(["--print", "target-libdir", "--target", &triple]);
    let libdir = output(libdir.current_dir(root()))?;
    if PathBuf::from(libdir.trim()).is_dir() {
        return Ok(());
    }
    say(&format!("adding the target {triple} to this toolchain"));
    let mut add = Command::new("rustup");
    add.args(["target", "add", &triple]).current_dir(root());
    tools::run(&mut add).with_context(|| {
        format!("Rust's library for {triple} is missing; `rustup target add {triple}` gets it")
    })
}

/// Whether its C compiler is there and finds a C library's headers: the first comes without the second.
fn compiles_c(architecture: Architecture) -> bool {
    let mut preprocess = Command::new(c_compiler(architecture));
    preprocess.args(["-E", "-include", "stdlib.h", "-x", "c", "/dev/null"]);
    output(&mut preprocess).is_ok()
}

/// Debian's packages of both. What is linked is the C library that Rust brings; headers of another one declare the same functions.
pub(super) fn c_packages(architecture: Architecture) -> [&'static str; 2] {
    match architecture {
        own if Architecture::own() == Some(own) => ["gcc", "libc6-dev"],
        Architecture::X86_64 => ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
        Architecture::Aarch64 => ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
    }
}

/// How cargo builds the speaker of the tree in `tree`.
fn cargo(architecture: Architecture, source: &Source, tree: &Path) -> Result<Command> {
    let triple = triple(architecture);
    let upper = triple.replace('-', "_").to_uppercase();
    let compiler = c_compiler(architecture);
    let own = Place {
        folder: tree.display().to_string(),
        name: "/heliograph".to_owned(),
    };
    let places: Vec<Place> = [own].into_iter().chain(tools::places()?).collect();
    let flags: Vec<String> = places.iter().map(Place::remap).collect();
    let c_flags: Vec<String> = places
        .iter()
        .map(|Place { folder, name }| format!("-ffile-prefix-map={folder}={name}"))
        .collect();
    let mut cargo = tools::cargo();
    cargo
        .current_dir(tree)
        .args(["build", "--quiet", "--locked"])
        .args(["--package", "speaker", "--target", &triple])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTFLAGS")
        .env(format!("CARGO_TARGET_{upper}_LINKER"), &compiler)
        .env(format!("CC_{}", triple.replace('-', "_")), &compiler)
        .env(
            format!("CFLAGS_{}", triple.replace('-', "_")),
            c_flags.join(" "),
        )
        // Names of functions stay, for what a crash prints; lines cost more than the program.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("CARGO_PROFILE_DEV_STRIP", "debuginfo")
        .env("HELIOGRAPH_COMMIT", &source.commit)
        .env("SOURCE_DATE_EPOCH", source.moment.to_string());
    Ok(cargo)
}

/// Refuses a program that an empty image cannot start, or that has not the kernel object in it.
fn fit(program: &[u8], architecture: Architecture, object: &[u8]) -> Result<()> {
    let elf = Elf(program);
    if !elf.is_little_endian() {
        bail!("it is no 64-bit program of a little-endian machine");
    }
    if !elf.is_for(architecture) {
        bail!("it is not for {}", architecture.as_str());
    }
    if elf.asks_for_loader() {
        bail!("it is not static: it asks for a loader");
    }
    if !kernel_objects(program).contains(&object) {
        bail!("the kernel object is not in it as it was built, whole and little-endian");
    }
    Ok(())
}

/// What git knows of, as it stands there.
const COPY: &str =
    "git ls-files -z | tar --create --null --files-from=- | tar --extract --directory=\"$1\"";

#[cfg(test)]
mod tests {
    use super::super::elf::tests::object;
    use super::*;

    fn refusal(program: &[u8], architecture: Architecture, object: &[u8]) -> String {
        fit(program, architecture, object).unwrap_err().to_string()
    }

    /// The headers of a program with one segment, and something after them.
    fn program(machine: u8, segment: u8) -> Vec<u8> {
        let mut program = vec![0; 64 + 56];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        program[18] = machine;
        program[32] = 64;
        program[54] = 56;
        program[56] = 1;
        program[64] = segment;
        program.extend(object(247, 1));
        program
    }

    #[test]
    fn a_static_program_with_the_object_in_it_is_fit() {
        let object = object(247, 1);
        fit(&program(62, 1), Architecture::X86_64, &object).unwrap();
        fit(&program(183, 1), Architecture::Aarch64, &object).unwrap();
    }

    #[test]
    fn what_an_empty_image_cannot_start_is_refused() {
        let object = &object(247, 1);
        let dynamic = refusal(&program(62, 3), Architecture::X86_64, object);
        assert!(dynamic.contains("not static"), "{dynamic}");
        let foreign = refusal(&program(62, 1), Architecture::Aarch64, object);
        assert!(foreign.contains("not for aarch64"), "{foreign}");
        let without = refusal(&program(62, 1), Architecture::X86_64, b"another object");
        assert!(without.contains("kernel object"), "{without}");
        let script = refusal(b"#!/bin/sh", Architecture::X86_64, object);
        assert!(script.contains("no 64-bit program"), "{script}");
    }

    #[test]
    fn a_foreign_c_compiler_comes_with_headers_of_its_own() {
        for architecture in Architecture::ALL {
            let [compiler, headers] = c_packages(architecture);
            let is_own = Architecture::own() == Some(architecture);
            assert_eq!(compiler == "gcc", is_own, "{compiler}");
            assert_eq!(headers == "libc6-dev", is_own, "{headers}");
        }
    }

    /// Tests are built with the machine's C library.
    #[test]
    fn this_very_test_is_seen_to_ask_for_a_loader() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let architecture = Architecture::own().unwrap();
        assert!(refusal(&own, architecture, b"x").contains("not static"));
    }
}
