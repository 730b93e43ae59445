//! The directory of manifests, followed by inotify and never polled.
//!
//! A thread of its own reads and parses, so that neither a large file nor a slow disk holds anything else up. What cannot
//! be read stays in force as it last was. A directory that is gone as a whole says nothing: what it held stays in force
//! until it is there again.

use super::Event;
use super::allocations::{Allocations, Told};
use super::folder::{Content, Folder, unreadable};
use super::settle::{Due, Pending};
use super::tree::{self, ALLOCATIONS, Tree};
use super::watch::Watch;
use anyhow::{Context, Result, ensure};
use speaker_core::allocator::{Assignments, text};
use speaker_core::manifest;
use speaker_core::{Kind, ObjectKey, Problem};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Reads a directory, then follows it. Configuration objects count in `namespace` only. The receiver gets every
/// object first, then that each kind is synced. Must be called within no runtime of its own.
///
/// # Errors
/// When there is no such directory, or no thread can be started.
pub(crate) fn spawn(dir: &Path, namespace: &str) -> Result<(mpsc::Receiver<Event>, Allocations)> {
    let root =
        std::path::absolute(dir).with_context(|| format!("failed to find {}", dir.display()))?;
    ensure!(
        root.is_dir(),
        "{} is not a directory of manifests (--manifests)",
        root.display()
    );
    let (events, received) = mpsc::channel(EVENTS_MAX);
    let (allocations, told) = Allocations::spawn(&root)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the directory's runtime")?;
    let source = Source {
        root,
        namespace: namespace.to_owned(),
        folder: Folder::default(),
        pending: Pending::default(),
        faults: BTreeSet::new(),
        assignments: None,
        has_lock: false,
        allocates: false,
        is_synced: false,
        allocations: allocations.clone(),
        events,
    };
    std::thread::Builder::new()
        .name("source".to_owned())
        .spawn(move || {
            if let Err(error) = runtime.block_on(source.run(told)) {
                tracing::error!(
                    error = format!("{error:#}"),
                    op = "source",
                    "the directory is not followed any more"
                );
            }
        })
        .context("failed to start the directory's thread")?;
    Ok((received, allocations))
}

/// The thread's state.
struct Source {
    root: PathBuf,
    namespace: String,
    folder: Folder,
    pending: Pending,
    /// Paths that could not be looked at, and were told.
    faults: BTreeSet<String>,
    /// The addresses that were told last; `None`: none could be read yet.
    assignments: Option<Arc<Assignments>>,
    has_lock: bool,
    /// What was told of that.
    allocates: bool,
    is_synced: bool,
    allocations: Allocations,
    events: mpsc::Sender<Event>,
}

impl Source {
    /// Runs until nobody listens, or the directory can no longer be followed.
    async fn run(mut self, mut told: mpsc::Receiver<Told>) -> Result<()> {
        let mut watch = Watch::new(&self.root)?;
        self.read_all(&mut watch).await;
        while !self.events.is_closed() {
            let quiet = elapsed(self.pending.wait());
            tokio::select! {
                biased;
                changed = watch.next(&mut self.pending) => changed?,
                Some(told) = told.recv() => self.hear(told).await,
                () = self.events.closed() => {}
                () = quiet => match self.pending.take() {
                    Due::All => self.read_all(&mut watch).await,
                    Due::Files(files) => self.read(files).await,
                },
            }
        }
        Ok(())
    }

    /// Reads everything anew.
    async fn read_all(&mut self, watch: &mut Watch) {
        let tree = watch.walk();
        let is_there = self.root.is_dir();
        self.tell_faults(&tree, is_there).await;
        if is_there {
            let known = self.folder.paths().map(|path| path.as_ref().to_owned());
            let files = known
                .chain(tree.files.into_keys())
                .chain([ALLOCATIONS.to_owned()]);
            let files = files.filter(|path| !self.pending.is_open(path)).collect();
            self.read(files).await;
            self.allocations.check();
        }
    }

    async fn tell_faults(&mut self, tree: &Tree, is_there: bool) {
        let mut faults = tree.faults.clone();
        if !is_there {
            let why = "is gone: what it held stays in force until it is back";
            faults.insert(String::new(), why.to_owned());
        }
        let named = |path: &str| {
            if path.is_empty() {
                self.root.display().to_string()
            } else {
                path.to_owned()
            }
        };
        let problems: Vec<Problem> = faults
            .iter()
            .map(|(path, why)| unreadable(&named(path), why))
            .collect();
        let told: BTreeSet<String> = problems
            .iter()
            .map(|problem| problem.object.name.clone())
            .collect();
        for path in self.faults.difference(&told) {
            self.tell(Event::Gone(ObjectKey::new(Kind::Document, "", path)))
                .await;
        }
        self.faults = told;
        for problem in problems {
            self.tell(Event::Put(Err(problem))).await;
        }
    }

    /// Reads some files and tells what that changes.
    async fn read(&mut self, mut files: BTreeSet<String>) {
        let has_addresses = files.remove(ALLOCATIONS);
        if self.folder.is_empty() {
            // Nothing can move from one file to another yet: what stands in one is told before the next is read, so that
            // all of it is never there twice.
            for file in std::mem::take(&mut files) {
                files.extend(self.read_together(BTreeSet::from([file])).await);
            }
        }
        while !files.is_empty() {
            files = self.read_together(files).await;
        }
        if has_addresses {
            self.read_addresses().await;
        }
        if !self.is_synced && self.assignments.is_some() {
            self.is_synced = true;
            for kind in Kind::ALL {
                self.tell(Event::Synced(kind)).await;
            }
        }
    }

    /// Reads some files as one and tells what that changes; which files must be read again.
    async fn read_together(&mut self, files: BTreeSet<String>) -> BTreeSet<String> {
        let content = |path: String| (path.as_str().into(), self.content(&path));
        let found: BTreeMap<_, Content> = files.into_iter().map(content).collect();
        let change = self.folder.take(found);
        for event in change.events {
            self.tell(event).await;
        }
        let reread = change.reread.iter();
        reread.map(|path| path.as_ref().to_owned()).collect()
    }

    fn content(&self, path: &str) -> Content {
        match tree::text(&self.root.join(path)) {
            Ok(Some(text)) => Content::Read(manifest::read(path, &text, &self.namespace)),
            Ok(None) => Content::Absent,
            Err(why) => Content::Unreadable(why),
        }
    }

    /// Reads the addresses in force. What cannot be read, or is gone, changes nothing; until it could be read once,
    /// nothing is synced, so that nothing is withdrawn for want of it.
    async fn read_addresses(&mut self) {
        let read = match tree::text(&self.root.join(ALLOCATIONS)) {
            Ok(Some(text)) => text::parse(ALLOCATIONS, &text).map(Arc::new),
            Ok(None) => Ok(self.lost_addresses()),
            Err(why) => Err(unreadable(ALLOCATIONS, &why)),
        };
        match read {
            Ok(assignments) => {
                let healed = ObjectKey::new(Kind::Document, "", ALLOCATIONS);
                self.tell(Event::Gone(healed)).await;
                self.assignments = Some(Arc::clone(&assignments));
                self.tell(Event::Assignments(assignments)).await;
                self.tell_lock().await;
            }
            Err(problem) => self.tell(Event::Put(Err(problem))).await,
        }
    }

    /// What is in force without a file: its writer puts it back.
    fn lost_addresses(&self) -> Arc<Assignments> {
        let Some(known) = &self.assignments else {
            return Arc::default();
        };
        self.allocations.write(Assignments::clone(known));
        Arc::clone(known)
    }

    async fn hear(&mut self, told: Told) {
        match told {
            Told::Locked => {
                self.has_lock = true;
                // What the last holder wrote comes before what this one decides.
                self.read_addresses().await;
            }
            Told::Unlocked => {
                self.has_lock = false;
                self.tell_lock().await;
            }
            Told::Failed(why) => self.tell(Event::Put(Err(unreadable(WRITER, &why)))).await,
            Told::Written => {
                self.tell(Event::Gone(ObjectKey::new(Kind::Document, "", WRITER)))
                    .await
            }
        }
    }

    async fn tell_lock(&mut self) {
        let allocates = self.has_lock && self.assignments.is_some();
        if self.allocates != allocates {
            self.allocates = allocates;
            self.tell(Event::Allocates(allocates)).await;
        }
    }

    async fn tell(&self, event: Event) {
        // Nobody listens any more: the loop sees it too.
        drop(self.events.send(event).await);
    }
}

/// Ends after that long; `None`: never.
async fn elapsed(span: Option<Duration>) {
    let forever = std::future::pending::<()>();
    match span {
        Some(span) => drop(tokio::time::timeout(span, forever).await),
        None => forever.await,
    }
}

/// What faults of writing go by, apart from those of what is read.
const WRITER: &str = "allocations.yaml (writer)";
const EVENTS_MAX: usize = 1024; // on their way; reading waits for whoever is slower

#[cfg(test)]
#[path = "dir_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "storm_tests.rs"]
mod storm_tests;
