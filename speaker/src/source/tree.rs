//! The files of a directory and the directories to watch for them.
//!
//! Hidden names are skipped, so that a ConfigMap's `..data` and an editor's swap file do not count by themselves; links
//! are followed, and the directory of what they lead to is watched too. Bounded in depth and number: what is past
//! that is told, not read.

use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
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
    /// Links among the files, by where they lead to in the end, whether or not that exists.
    pub(super) linked: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Whether anything in it goes by two names, so that a change of one may change another.
    pub(super) has_aliases: bool,
    /// What could not be looked at, by path.
    pub(super) faults: BTreeMap<String, String>,
}

impl Tree {
    /// Walks a directory. One that does not exist is empty.
    pub(super) fn walk(root: &Path) -> Self {
        let mut tree = Self::default();
        let mut entered = BTreeSet::new();
        tree.enter(root, "", 0, &mut entered);
        let dirs = tree.linked.keys().filter_map(|path| path.parent());
        let elsewhere: BTreeSet<&Path> = dirs.filter(|dir| !entered.contains(*dir)).collect();
        let elsewhere = elsewhere.into_iter().map(|dir| (dir.to_owned(), None));
        tree.watched.extend(elsewhere.collect::<Vec<_>>());
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
        if fs::symlink_metadata(&path).is_ok_and(|about| about.is_symlink()) {
            self.has_aliases = true;
            if is_manifest(&within)
                && let Some(end) = end(&path)
            {
                self.linked.entry(end).or_default().insert(within.clone());
            }
        }
        let Ok(about) = fs::metadata(&path) else {
            return;
        };
        self.has_aliases |= about.is_file() && about.nlink() > 1;
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
        Err(error) if leads_nowhere(&error) => return Ok(None),
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

/// No file, a link to none, or links in a circle.
fn leads_nowhere(error: &std::io::Error) -> bool {
    let is_circle = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    is_circle || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
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

/// Where a link leads to in the end; as far as can be told if there is nothing.
fn end(link: &Path) -> Option<PathBuf> {
    if let Ok(end) = link.canonicalize() {
        return Some(end);
    }
    let next = link.parent()?.join(fs::read_link(link).ok()?);
    Some(next.parent()?.canonicalize().ok()?.join(next.file_name()?))
}

const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
const DEPTH_MAX: usize = 8; // deeper is a mistake, such as the root of a file system
const DIRECTORIES_MAX: usize = 1024; // each takes an inotify watch
const FILES_MAX: usize = 20_000; // one per object of a large cluster
const FILE_BYTES_MAX: u64 = 32 << 20; // a large cluster in one file
