//! The files of a directory and the directories to watch for them.
//!
//! Hidden names are skipped, so that a ConfigMap's `..data` and an editor's swap file do not count by themselves; links
//! are followed, and the directory of what they lead to is watched too. Bounded in depth and number: what is past
//! that is told, not read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The name of the file of addresses; it holds no manifests.
pub(super) const ALLOCATIONS: &str = "allocations.yaml";

/// What a directory holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Tree {
    /// Manifest files by their path within the directory.
    pub(super) files: BTreeMap<String, PathBuf>,
    /// Directories in which a change matters, by their path within the directory; `None`: what a link leads to.
    pub(super) watched: BTreeMap<PathBuf, Option<String>>,
    /// What could not be looked at, by path.
    pub(super) faults: BTreeMap<String, String>,
}

impl Tree {
    /// Walks a directory. One that does not exist is empty.
    pub(super) fn walk(root: &Path) -> Self {
        let mut tree = Self::default();
        let mut entered = BTreeSet::new();
        tree.enter(root, "", 0, &mut entered);
        let linked: BTreeSet<PathBuf> = tree
            .files
            .values()
            .filter_map(|file| real_parent(file))
            .collect();
        for dir in linked {
            if !entered.contains(&dir) {
                tree.watched.entry(dir).or_insert(None);
            }
        }
        tree
    }

    fn enter(&mut self, dir: &Path, within: &str, depth: usize, entered: &mut BTreeSet<PathBuf>) {
        let Ok(real) = dir.canonicalize() else { return };
        if !entered.insert(real) {
            return;
        }
        if depth > DEPTH_MAX || self.watched.len() >= DIRECTORIES_MAX {
            let why =
                format!("is past the limit of {DEPTH_MAX} levels or {DIRECTORIES_MAX} directories");
            self.faults.insert(within.to_owned(), why);
            return;
        }
        self.watched.insert(dir.to_owned(), Some(within.to_owned()));
        match names(dir) {
            Ok(names) => {
                for name in names {
                    self.look(dir, within, &name, depth, entered);
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                self.faults
                    .insert(within.to_owned(), format!("cannot be listed: {error}"));
            }
        }
    }

    fn look(
        &mut self,
        dir: &Path,
        within: &str,
        name: &str,
        depth: usize,
        entered: &mut BTreeSet<PathBuf>,
    ) {
        let path = dir.join(name);
        let within = join(within, name);
        let Ok(about) = fs::metadata(&path) else {
            return;
        };
        if about.is_dir() && !is_hidden(name) {
            self.enter(&path, &within, depth + 1, entered);
        } else if about.is_file() && is_manifest(&within) {
            if self.files.len() < FILES_MAX {
                self.files.insert(within, path);
            } else {
                let why = format!("holds more than {FILES_MAX} files; the rest is not read");
                self.faults.insert(String::new(), why);
            }
        }
    }
}

/// Whether a file of this path within the directory holds manifests, by its name.
pub(super) fn is_manifest(within: &str) -> bool {
    let name = within.rsplit_once('/').map_or(within, |(_, name)| name);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    !is_hidden(name)
        && within != ALLOCATIONS
        && ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

/// The text of a file; `None` if there is none.
pub(super) fn text(path: &Path) -> Result<Option<String>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be opened: {error}")),
    };
    let about = file
        .metadata()
        .map_err(|error| format!("cannot be looked at: {error}"))?;
    if !about.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {} MiB", FILE_BYTES_MAX >> 20));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            Err(format!("is not UTF-8 text: byte {at}"))
        }
    }
}

/// The path of `name` in the directory `within`.
pub(super) fn join(within: &str, name: &str) -> String {
    if within.is_empty() {
        name.to_owned()
    } else {
        format!("{within}/{name}")
    }
}

/// Names that are no UTF-8 text are no manifests of ours.
fn names(dir: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.insert(name);
        }
    }
    Ok(names)
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// The directory in which a file really lies.
fn real_parent(file: &Path) -> Option<PathBuf> {
    Some(file.canonicalize().ok()?.parent()?.to_owned())
}

const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
const DEPTH_MAX: usize = 8; // deeper is a mistake, such as the root of a file system
const DIRECTORIES_MAX: usize = 1024; // each takes an inotify watch
const FILES_MAX: usize = 20_000; // one per object of a large cluster
const FILE_BYTES_MAX: u64 = 32 << 20; // a large cluster in one file
