//! The tools that building and testing need: which versions, where they are, and how they get there.
//!
//! Everything goes under `target/`, but for Debian packages, which go where Debian puts them. Nothing is installed before it
//! was announced; what may not be installed is an error that ends with the command to run.

use crate::apt;
use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How variables begin by which cargo tells a program of its package.
const OF_A_PACKAGE: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// Links BPF objects; this version loads the LLVM that comes with the Rust compilers it fits.
pub const BPF_LINKER: &str = "0.10.1";

/// The repository's root.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// Where everything that is built or downloaded goes.
pub fn target() -> PathBuf {
    root().join("target")
}

/// The cargo that runs this, or the one in the path.
///
/// It is not told what the cargo around this process says of the package here: build scripts that ask for that (ring's does) would run again, and
/// all that depends on them be built again, whenever another package's tests begin a build.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(root());
    for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if OF_A_PACKAGE.iter().any(|of| name.starts_with(of)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Whether this process is root.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Says what is about to happen, on standard error: figures and tables alone go to standard output.
pub fn say(what: &str) {
    // Nobody may be reading any more; what is being done must go on, cleaning up above all.
    let _ = writeln!(io::stderr(), "xtask: {what}");
}

/// Runs a command whose output the user sees. Fails with the command line if it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command
        .status()
        .with_context(|| format!("failed to start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs a command and returns what it printed. Fails with the command line and what it complained of if it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start `{line}`"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{line}` ended with {}: {}",
            output.status,
            complaint.trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed no text"))
}

fn line(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    words.join(" ")
}

/// The compiler's version, such as `1.95.0`.
pub fn rustc_version() -> Result<String> {
    let version = output(Command::new("rustc").arg("--version").current_dir(root()))?;
    let version = version.split_whitespace().nth(1);
    version
        .map(str::to_owned)
        .context("`rustc --version` printed no version")
}

/// A folder of this machine that compilers would write into what they make, and what is to stand there.
pub struct Place {
    /// The folder.
    pub folder: String,
    /// The same everywhere.
    pub name: String,
}

impl Place {
    /// The flag of rustc.
    pub fn remap(&self) -> String {
        format!("--remap-path-prefix={}={}", self.folder, self.name)
    }
}

/// Where sources are that are not ours: cargo's and the standard library's.
///
/// # Errors
/// When the compiler or the environment does not say.
pub fn places() -> Result<[Place; 2]> {
    let ask = |what: &[&str]| output(Command::new("rustc").args(what).current_dir(root()));
    let sysroot = ask(&["--print", "sysroot"])?;
    let version = ask(&["-vV"])?;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "))
        .context("rustc does not know its commit")?;
    let cargo = match (env::var("CARGO_HOME"), env::var("HOME")) {
        (Ok(home), _) => home,
        (Err(_), Ok(user)) => format!("{user}/.cargo"),
        (Err(_), Err(_)) => bail!("neither CARGO_HOME nor HOME says where cargo keeps its sources"),
    };
    Ok([
        Place {
            folder: cargo,
            name: "/cargo".to_owned(),
        },
        // The library names this place itself where its sources are not installed.
        Place {
            folder: format!("{}/lib/rustlib/src/rust", sysroot.trim()),
            name: format!("/rustc/{commit}"),
        },
    ])
}

/// The folder with a `bpf-linker` of the pinned version; it is built into `target/tools` if there is none.
pub fn bpf_linker() -> Result<PathBuf> {
    let own = target().join("tools");
    let in_path = env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![own.join("bin")];
    folders.extend(env::split_paths(&in_path));
    if let Some(folder) = folders.into_iter().find(|folder| is_linker(folder)) {
        return Ok(folder);
    }
    say(&format!(
        "building bpf-linker {BPF_LINKER} into target/tools (about two minutes, once)"
    ));
    let version = format!("={BPF_LINKER}");
    let mut install = cargo();
    install
        .args(["install", "bpf-linker", "--locked", "--version", &version])
        .arg("--root")
        .arg(&own);
    run(&mut install).with_context(|| {
        format!("there is no bpf-linker {BPF_LINKER}; install it with `cargo install bpf-linker --locked --version {version}`")
    })?;
    Ok(own.join("bin"))
}

fn is_linker(folder: &Path) -> bool {
    let program = folder.join("bpf-linker");
    program.is_file()
        && output(Command::new(program).arg("--version"))
            .is_ok_and(|version| version.split_whitespace().any(|word| word == BPF_LINKER))
}

/// Sees to it that the compiler finds the source of `core`, which is built for the kernel's target.
pub fn rust_src() -> Result<()> {
    let sysroot = output(
        Command::new("rustc")
            .args(["--print", "sysroot"])
            .current_dir(root()),
    )?;
    let place = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    if has_core(&place) {
        return Ok(());
    }
    let has_rustup = output(Command::new("rustup").arg("--version")).is_ok();
    if has_rustup {
        say("adding the component rust-src to this toolchain");
        let added = run(Command::new("rustup")
            .args(["component", "add", "rust-src"])
            .current_dir(root()));
        if added.is_ok() && has_core(&place) {
            return Ok(());
        }
        say("rustup could not add it; trying the Debian package");
    }
    let version = rustc_version()?;
    debian_rust_src(&version, &place).with_context(|| {
        format!(
            "the source of core for Rust {version} is not in {}; `rustup component add rust-src` puts it there",
            place.display()
        )
    })
}

fn has_core(source: &Path) -> bool {
    source.join("library/core/src/lib.rs").is_file()
}

fn debian_rust_src(version: &str, place: &Path) -> Result<()> {
    let store = target().join("tools/rust-src");
    let source = store.join(format!("usr/src/rustc-{version}"));
    if !has_core(&source) {
        let suites = apt::RUST_SUITES;
        let archive = apt::Archive::open("rust", &suites)?;
        let package = archive.version_starting("rust-src", &format!("{version}+"))?;
        say(&format!(
            "taking the Debian package {package} apart under target/tools"
        ));
        archive.unpack(&package, &store)?;
    }
    if !has_core(&source) {
        bail!("the package has no {}", source.display());
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("failed to make {}", parent.display()))?;
    }
    symlink(&source, place).with_context(|| format!("failed to link {}", place.display()))
}

/// Sees to it that Debian packages are there. `why` says what for, to the user, before anything is installed.
pub fn ensure_packages(packages: &[&str], why: &str) -> Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let command = format!("apt-get install -y --no-install-recommends {list}");
    if !is_root() {
        bail!("{why} needs Debian packages that are not there; as root run: {command}");
    }
    say(&format!("{why} needs Debian packages, installing: {list}"));
    let install = || {
        let mut install = Command::new("apt-get");
        install
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        run(&mut install)
    };
    // The package lists of a fresh machine are empty or old.
    if install().is_err() {
        run(Command::new("apt-get")
            .args(["update", "-q"])
            .stdout(Stdio::null()))?;
        install().with_context(|| format!("{why} needs Debian packages; run: {command}"))?;
    }
    Ok(())
}

/// Repeats `check` until it is well or time is up, and returns its last word.
///
/// # Errors
/// The last error of `check`.
pub fn within<T, E>(
    time: Duration,
    mut check: impl FnMut() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let until = Instant::now() + time;
    loop {
        match check() {
            Ok(found) => return Ok(found),
            Err(why) if Instant::now() >= until => return Err(why),
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

const AGAIN: Duration = Duration::from_millis(50);

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Abbrev}", package]);
    output(&mut query).is_ok_and(|status| status.starts_with("ii"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_within_a_test_has_the_environment_of_one_without() {
        let told: Vec<_> = env::vars_os().map(|(name, _)| name).collect();
        let name = OsString::from("CARGO_PKG_NAME");
        assert!(told.contains(&name), "cargo runs this test");
        let cargo = cargo();
        let mut changes = cargo.get_envs();
        assert!(changes.any(|change| change == (name.as_os_str(), None)));
    }
}
