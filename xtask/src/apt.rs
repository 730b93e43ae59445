//! Debian packages from the machine's own mirror, also of suites that the machine does not use, without installing them.
//!
//! Lists, sources and packages live under `target/apt`; the machine's package manager never learns of them.

use crate::tools::{output, run, say, target};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Suites that may carry the Rust compiler's source.
pub const RUST_SUITES: [&str; 6] = [
    "bookworm-backports",
    "trixie",
    "trixie-backports",
    "forky",
    "testing",
    "sid",
];

/// The suite of what tests meet in one version everywhere.
pub const DEBIAN_12: &str = "bookworm";

/// One set of suites with package lists of its own.
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// The `suites` of the machine's mirror that exist there, under `target/apt/<name>`. Lists are fetched once.
    pub fn open(name: &str, suites: &[&str]) -> Result<Self> {
        let archive = Self {
            folder: target().join("apt").join(name),
        };
        for part in ["lists/partial", "cache/archives/partial"] {
            let folder = archive.folder.join(part);
            fs::create_dir_all(&folder)
                .with_context(|| format!("failed to make {}", folder.display()))?;
        }
        let sources = sources(suites)?;
        let file = archive.folder.join("sources.list");
        if fs::read_to_string(&file).is_ok_and(|old| old == sources) {
            return Ok(archive);
        }
        let wanted = archive.folder.join("sources.new");
        fs::write(&wanted, &sources)
            .with_context(|| format!("failed to write {}", wanted.display()))?;
        archive.update(&wanted);
        fs::rename(&wanted, &file)
            .with_context(|| format!("failed to rename {}", wanted.display()))?;
        Ok(archive)
    }

    /// Suites that the mirror does not have are no failure: what is missing then shows in the packages.
    fn update(&self, sources: &Path) {
        let mut update = self.apt("apt-get");
        update
            .arg("-o")
            .arg(format!("Dir::Etc::SourceList={}", sources.display()))
            .args(["update", "-q"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let _ = update.status();
    }

    /// `package=version` of the newest version that starts with `start`.
    pub fn version_starting(&self, package: &str, start: &str) -> Result<String> {
        let listed = output(self.apt("apt-cache").args(["madison", package]))?;
        let version = listed
            .lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(str::trim)
            .find(|version| version.starts_with(start));
        match version {
            Some(version) => Ok(format!("{package}={version}")),
            None => bail!("the mirror has no {package} {start}"),
        }
    }

    /// The packages that `package` depends on by name, those that start with `start`.
    pub fn dependency(&self, package: &str, start: &str) -> Result<String> {
        let listed = output(self.apt("apt-cache").args(["depends", package]))?;
        let names = listed
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "));
        let found = names.map(str::trim).find(|name| name.starts_with(start));
        match found {
            Some(name) => Ok(name.to_owned()),
            None => bail!("{package} depends on no {start}…, or the mirror does not have it"),
        }
    }

    /// Downloads a package (with `=version` if it matters) and takes it apart in `into`.
    pub fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let store = self
            .folder
            .join("packages")
            .join(package.replace(['=', ':', '/'], "_"));
        fs::create_dir_all(&store)
            .with_context(|| format!("failed to make {}", store.display()))?;
        if downloaded(&store)?.is_none() && self.download(package, &store).is_err() {
            // The lists are as old as the folder; a mirror keeps newer versions only.
            self.update(&self.folder.join("sources.list"));
            self.download(package, &store)?;
        }
        let Some(file) = downloaded(&store)? else {
            bail!("`apt-get download {package}` left no file");
        };
        fs::create_dir_all(into).with_context(|| format!("failed to make {}", into.display()))?;
        run(Command::new("dpkg-deb").arg("-x").arg(file).arg(into))
    }

    fn download(&self, package: &str, store: &Path) -> Result<()> {
        let mut download = self.apt("apt-get");
        download
            .args(["download", "-q", package])
            .current_dir(store)
            .stdout(Stdio::null());
        run(&mut download)
    }

    fn apt(&self, program: &str) -> Command {
        let folder = self.folder.display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::Etc::SourceList={folder}/sources.list"),
            "Dir::Etc::SourceParts=-".to_owned(),
            format!("Dir::State::Lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// Waits until nobody else takes packages apart, and keeps others waiting for as long as it lives.
///
/// # Errors
/// When the file by which they agree cannot be made.
pub fn alone() -> Result<File> {
    let folder = target().join("apt");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("failed to make {}", path.display()))?;
    file.lock()
        .with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(file)
}

/// Packages of Debian 12, whatever the machine runs, taken apart in `target/<folder>`, and where that is. `what` they are is said the first time.
///
/// # Errors
/// When the mirror does not have one.
pub fn taken_apart(folder: &str, what: &str, packages: &[&str]) -> Result<PathBuf> {
    let _alone = alone()?;
    let root = target().join(folder);
    let done = root.join("packages");
    let list = packages.join("\n");
    if fs::read_to_string(&done).is_ok_and(|have| have == list) {
        return Ok(root);
    }
    say(&format!(
        "taking {what} of Debian 12 apart under target/{folder} (once)"
    ));
    let archive = Archive::open("routers", &[DEBIAN_12])?;
    for package in packages {
        archive.unpack(&format!("{package}/{DEBIAN_12}"), &root)?;
    }
    fs::write(&done, list).with_context(|| format!("failed to write {}", done.display()))?;
    Ok(root)
}

fn downloaded(store: &Path) -> Result<Option<PathBuf>> {
    let entries =
        fs::read_dir(store).with_context(|| format!("failed to list {}", store.display()))?;
    let mut packages = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    Ok(packages.next())
}

/// The sources list: each suite at each address that the machine already takes packages from.
fn sources(suites: &[&str]) -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI) $(CREATED_BY)"]);
    let listed = output(&mut targets).context("only Debian's package manager can fetch this")?;
    let mirrors: BTreeSet<_> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(" Packages"))
        .filter(|address| address.trim_end_matches('/').ends_with("/debian"))
        .collect();
    if mirrors.is_empty() {
        bail!("this machine's package manager knows no Debian mirror");
    }
    let mut text = String::new();
    for mirror in mirrors {
        for suite in suites {
            text.push_str(&format!("deb {mirror} {suite} main\n"));
        }
    }
    Ok(text)
}
