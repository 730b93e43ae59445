//! An image's program is started before it is packed: here if it is for this machine, else by an emulator.
//!
//! The emulator is that of Debian 12's `qemu-user-static`, which is not installed: it is kept under `target/emulators`. It stands for a processor
//! and has this machine's kernel, without `bpf(2)`: what a program does to a kernel is not seen by it.

use super::Architecture;
use crate::apt::{Archive, DEBIAN_12, alone};
use crate::tools::{output, say, target};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Starts a program for its version and for its help, and returns its version. Nothing where it is for another processor and there is no emulator
/// to be had, which is said.
///
/// # Errors
/// When it does not start, or says something else than it should.
pub fn starts(program: &Path, architecture: Architecture) -> Result<Option<String>> {
    let name = architecture.as_str();
    match emulator(architecture) {
        Ok(emulator) => {
            let version = asked(program, emulator.as_deref())?;
            let by = match emulator {
                Some(_) => ", emulated",
                None => "",
            };
            say(&format!("started for {name}{by}: {version}"));
            Ok(Some(version))
        }
        Err(why) => {
            say(&format!(
                "SKIPPED: the program for {name} was not started: {why:#}"
            ));
            Ok(None)
        }
    }
}

/// Gets the emulator for an architecture, if it is missing; nothing for this machine's own.
///
/// # Errors
/// When the mirror does not have it.
pub fn emulator(architecture: Architecture) -> Result<Option<PathBuf>> {
    if Architecture::own() == Some(architecture) {
        return Ok(None);
    }
    let folder = target().join("emulators");
    let program = format!("qemu-{}-static", architecture.as_str());
    let kept = folder.join(&program);
    let _alone = alone()?;
    if !kept.is_file() {
        say(&format!(
            "taking {program} out of Debian 12's package {PACKAGE} into target/emulators (once)"
        ));
        let archive = Archive::open("routers", &[DEBIAN_12])?;
        let whole = folder.join("package");
        archive.unpack(&format!("{PACKAGE}/{DEBIAN_12}"), &whole)?;
        fs::rename(whole.join("usr/bin").join(&program), &kept)
            .with_context(|| format!("the package {PACKAGE} has no {program}"))?;
        // Emulators of thirty other processors.
        fs::remove_dir_all(&whole)
            .with_context(|| format!("failed to remove {}", whole.display()))?;
    }
    Ok(Some(kept))
}

/// What a program says of its version, once its help is seen to be there too.
fn asked(program: &Path, emulator: Option<&Path>) -> Result<String> {
    let ask = |args: &[&str]| {
        let mut start = match emulator {
            Some(emulator) => {
                let mut start = Command::new(emulator);
                start.arg(program);
                start
            }
            None => Command::new(program),
        };
        output(start.args(args)).with_context(|| format!("{} does not start", program.display()))
    };
    let version = ask(&["--version"])?;
    ensure!(
        version.contains(env!("CARGO_PKG_VERSION")),
        "{} says of its version: {version:?}",
        program.display()
    );
    for command in ["run", "controller", "operator", "ctl"] {
        let help = ask(&[command, "--help"])?;
        ensure!(
            help.contains(&format!("Usage: speaker {command} ")),
            "{} says of {command}: {help:?}",
            program.display()
        );
    }
    Ok(version.trim().to_owned())
}

/// Static, so that it takes nothing of Debian 12 along.
const PACKAGE: &str = "qemu-user-static";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_program_that_does_not_start_or_says_something_else_is_refused() {
        let own = Architecture::own().unwrap();
        let folder = format!("heliograph-starts-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        let (text, program) = (folder.join("text"), folder.join("program"));
        let seen = |script: &str| {
            fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
            // By another process: a child of another thread may hold open what this one wrote, and then it cannot be started.
            tools::run(Command::new("cp").arg(&text).arg(&program)).unwrap();
            starts(&program, own).map_err(|why| format!("{why:#}"))
        };
        let version = concat!("speaker ", env!("CARGO_PKG_VERSION"));
        let says = |help: &str| {
            format!("if [ $1 = --version ]; then echo {version}; else echo {help}; fi")
        };
        let good = seen(&says("Usage: speaker $1 [OPTIONS]"));
        assert_eq!(good.unwrap().as_deref(), Some(version));
        let refusal = |script: &str| seen(script).unwrap_err();
        assert!(refusal("exit 1").contains("does not start"));
        assert!(refusal("echo speaker 0.0.0").contains("0.0.0"));
        let mute = refusal(&says("nothing"));
        assert!(mute.contains("of run: \"nothing"), "{mute}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
