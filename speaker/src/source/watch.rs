//! Changes of a directory as the kernel tells them (inotify(7)).
//!
//! Every directory of the tree is watched, the directory that the root itself lies in (so that one that is deleted and
//! made anew is found again), and those that links lead to. Knows what changed, not what it means.

use super::settle::{Pending, State};
use super::tree::{self, ALLOCATIONS, Tree};
use anyhow::{Context, Result};
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio_stream::StreamExt;

/// The watches on a directory.
pub(super) struct Watch {
    root: PathBuf,
    events: EventStream<Vec<u8>>,
    watches: Watches,
    places: BTreeMap<PathBuf, Watched>,
    /// Links among the files, by where they lead to.
    linked: BTreeMap<PathBuf, BTreeSet<String>>,
    has_aliases: bool,
}

/// A watched directory.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Watched {
    descriptor: WatchDescriptor,
    /// Its path without links.
    real: PathBuf,
    place: Place,
}

/// What a watched directory is to the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    /// A directory of the tree, by its path within.
    Within(String),
    /// A directory in which only these names lead to the root.
    Above(BTreeSet<String>),
    /// A directory that a link leads to.
    Elsewhere,
}

impl Watch {
    /// Starts to listen. Must be called within a runtime.
    pub(super) fn new(root: &Path) -> Result<Self> {
        let inotify = Inotify::init()
            .context("failed to start inotify (see sysctl fs.inotify.max_user_instances)")?;
        let watches = inotify.watches();
        let events = inotify
            .into_event_stream(vec![0; BUFFER_BYTES])
            .context("failed to read inotify")?;
        Ok(Self {
            root: root.to_owned(),
            events,
            watches,
            places: BTreeMap::new(),
            linked: BTreeMap::new(),
            has_aliases: false,
        })
    }

    /// Watches everything that matters to the tree and walks it, until nothing new turns up: what changes from now on
    /// is told by [`Watch::next`].
    pub(super) fn walk(&mut self) -> Tree {
        let mut tree = Tree::walk(&self.root);
        let mut walks = 1;
        while self.cover(&mut tree) && walks < WALKS_MAX {
            tree = Tree::walk(&self.root);
            walks += 1;
        }
        self.linked = std::mem::take(&mut tree.linked);
        self.has_aliases = tree.has_aliases;
        tree
    }

    /// Whether a watch had to be added.
    fn cover(&mut self, tree: &mut Tree) -> bool {
        let mut wanted: BTreeMap<PathBuf, Place> = above(&self.root);
        for (dir, within) in &tree.watched {
            let place = within.clone().map_or(Place::Elsewhere, Place::Within);
            wanted.insert(dir.clone(), place);
        }
        let mut is_new = false;
        let mut kept = BTreeMap::new();
        for (dir, place) in wanted {
            match self.watches.add(&dir, mask()) {
                Ok(descriptor) => {
                    let old = self.places.get(&dir);
                    is_new |= old.is_none_or(|old| old.descriptor != descriptor);
                    let real = dir.canonicalize().unwrap_or_else(|_| dir.clone());
                    kept.insert(
                        dir,
                        Watched {
                            descriptor,
                            real,
                            place,
                        },
                    );
                }
                // It went away just now, or it is a dead end that was told as a fault.
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    let why = format!(
                        "cannot be watched: {error} (see sysctl fs.inotify.max_user_watches)"
                    );
                    tree.faults.insert(dir.display().to_string(), why);
                }
            }
        }
        self.keep(kept);
        is_new
    }

    fn keep(&mut self, kept: BTreeMap<PathBuf, Watched>) {
        let old = std::mem::replace(&mut self.places, kept);
        for gone in old.into_values() {
            let is_kept = |kept: &Watched| kept.descriptor == gone.descriptor;
            if !self.places.values().any(is_kept) {
                // The kernel has removed it already if its directory is gone.
                drop(self.watches.remove(gone.descriptor));
            }
        }
    }

    /// Waits for a change and notes it.
    pub(super) async fn next(&mut self, pending: &mut Pending) -> Result<()> {
        let event = self.events.next().await.context("inotify ended")?;
        self.note(&event.context("failed to read inotify")?, pending);
        Ok(())
    }

    fn note(&self, event: &EventOwned, pending: &mut Pending) {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            pending.all();
            return;
        }
        for (dir, watched) in &self.places {
            if watched.descriptor != event.wd {
                continue;
            }
            match event.name.as_ref().map(|name| name.to_str()) {
                Some(Some(name)) => self.note_name(dir, watched, name, event.mask, pending),
                // A name that is no text is no manifest's.
                Some(None) => {}
                None if event.mask.intersects(SELF) => pending.all(),
                None => {}
            }
        }
    }

    fn note_name(
        &self,
        dir: &Path,
        watched: &Watched,
        name: &str,
        mask: EventMask,
        pending: &mut Pending,
    ) {
        let path = dir.join(name);
        let aliases = self.linked.get(&watched.real.join(name));
        match &watched.place {
            Place::Above(names) => {
                if names.contains(name) {
                    pending.all();
                }
                return;
            }
            Place::Elsewhere if aliases.is_none() => return,
            Place::Elsewhere => {}
            Place::Within(within) => {
                let within = tree::join(within, name);
                let is_lock = within == super::allocations::LOCK;
                let is_directory =
                    mask.contains(EventMask::ISDIR) || self.places.contains_key(&path);
                if mask.intersects(MOVES) && (is_directory || is_lock || is_alias(&path)) {
                    pending.all();
                }
                if tree::is_manifest(&within) || within == ALLOCATIONS {
                    pending.file(within, state(&path, mask));
                }
            }
        }
        let state = state(&path, mask);
        for alias in aliases.into_iter().flatten() {
            pending.file(alias.clone(), state);
        }
        if self.has_aliases && (state == State::Whole || mask.intersects(MOVES)) {
            pending.all();
        }
    }
}

/// Whether a path is a link, or a file with another name.
fn is_alias(path: &Path) -> bool {
    let about = fs::symlink_metadata(path);
    about.is_ok_and(|about| about.is_symlink() || (about.is_file() && about.nlink() > 1))
}

/// Whether a file that changed so can be read.
fn state(path: &Path, mask: EventMask) -> State {
    if mask.contains(EventMask::MODIFY) {
        return State::Open;
    }
    // A new name of a file that has another one is whole; a new file is about to be written.
    let is_new = |about: fs::Metadata| about.is_file() && about.nlink() == 1;
    if mask.contains(EventMask::CREATE) && fs::symlink_metadata(path).is_ok_and(is_new) {
        return State::Open;
    }
    State::Whole
}

/// The nearest directories that exist above the root and above what it links to, with the names that lead on.
fn above(root: &Path) -> BTreeMap<PathBuf, Place> {
    let mut above: BTreeMap<PathBuf, Place> = BTreeMap::new();
    let mut path = root.to_owned();
    for _ in 0..LINKS_MAX {
        if let Some((dir, name)) = nearest(&path) {
            match above
                .entry(dir)
                .or_insert_with(|| Place::Above(BTreeSet::new()))
            {
                Place::Above(names) => {
                    names.insert(name);
                }
                Place::Within(_) | Place::Elsewhere => {}
            }
        }
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        path = path
            .parent()
            .map_or(target.clone(), |parent| parent.join(&target));
    }
    above
}

fn nearest(path: &Path) -> Option<(PathBuf, String)> {
    path.ancestors()
        .zip(path.ancestors().skip(1))
        .find_map(|(child, parent)| {
            let name = child.file_name()?.to_str()?.to_owned();
            parent.is_dir().then(|| (parent.to_owned(), name))
        })
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}

fn mask() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::MODIFY
        | WatchMask::CLOSE_WRITE
        | WatchMask::ATTRIB
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}

/// A name came or went.
const MOVES: EventMask = EventMask::CREATE
    .union(EventMask::MOVED_TO)
    .union(EventMask::MOVED_FROM)
    .union(EventMask::DELETE);
/// The directory itself came to an end, here at least.
const SELF: EventMask = EventMask::DELETE_SELF
    .union(EventMask::MOVE_SELF)
    .union(EventMask::UNMOUNT);
const BUFFER_BYTES: usize = 64 << 10; // some thousand events in one read
const WALKS_MAX: usize = 16; // each finds directories that were made during the one before
const LINKS_MAX: usize = 8; // longer chains are loops
