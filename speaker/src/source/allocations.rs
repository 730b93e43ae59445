//! `allocations.yaml`: the addresses that speakers give where no API server keeps them.
//!
//! One speaker writes it, the one that holds the lock on [`LOCK`] for as long as it lives; the others wait for the lock
//! in the kernel (flock(2)) and read. The file is replaced as a whole, so that nobody reads half of it. A file that
//! cannot be read is never written over: only a person may decide that what it says is lost. Knows nothing of how
//! addresses are chosen.

use super::tree::{self, ALLOCATIONS};
use anyhow::{Context, Result, bail};
use speaker_core::allocator::{Assignments, text};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::sync::mpsc;

/// The file that the writer locks.
pub(super) const LOCK: &str = ".allocations.lock";

/// The hand that writes; cheap to clone. Writing happens on a thread of its own and never blocks the caller.
#[derive(Clone, Debug)]
pub(crate) struct Allocations {
    orders: SyncSender<Order>,
}

#[derive(Clone, Debug)]
enum Order {
    Write(Assignments),
    Check,
}

/// What the writing thread tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// It has the lock from now on.
    Locked,
    /// It has lost the lock.
    Unlocked,
    /// Something failed: locking or writing.
    Failed(String),
    /// What failed works again.
    Written,
}

impl Allocations {
    /// Starts the thread, which waits for the lock first.
    pub(super) fn spawn(dir: &Path) -> Result<(Self, mpsc::Receiver<Told>)> {
        let (orders, ordered) = sync_channel(ORDERS_MAX);
        let (tell, told) = mpsc::channel(ORDERS_MAX);
        let writer = Writer {
            dir: dir.to_owned(),
            tell,
        };
        std::thread::Builder::new()
            .name("allocations".to_owned())
            .spawn(move || writer.run(&ordered))
            .context("failed to start the thread of allocations")?;
        Ok((Self { orders }, told))
    }

    /// Has these assignments written, if that changes anything and this process has the lock.
    pub(crate) fn write(&self, assignments: Assignments) {
        self.order(Order::Write(assignments));
    }

    /// Has it looked at whether the lock is still the one in the directory, or can be had now.
    pub(super) fn check(&self) {
        self.order(Order::Check);
    }

    fn order(&self, order: Order) {
        match self.orders.try_send(order) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                // Waiting for the lock, nothing is due; else the next decision asks again.
                tracing::debug!(op = "allocate", "the writer of allocations is busy");
            }
        }
    }
}

/// The thread's state.
struct Writer {
    dir: PathBuf,
    tell: mpsc::Sender<Told>,
}

impl Writer {
    /// Runs until nobody gives orders any more.
    fn run(self, orders: &Receiver<Order>) {
        loop {
            let lock = match lock(&self.dir) {
                Ok(lock) => lock,
                Err(error) => {
                    self.tell(Told::Failed(format!("{error:#}")));
                    let is_over = orders.recv().is_err();
                    if is_over {
                        return;
                    }
                    continue;
                }
            };
            while orders.try_recv().is_ok() {} // From before: no order to write was one for the holder.
            self.tell(Told::Locked);
            let is_over = self.hold(&lock, orders);
            if is_over {
                return;
            }
            self.tell(Told::Unlocked);
        }
    }

    /// Obeys as long as the lock is the directory's. Whether everything is over.
    fn hold(&self, lock: &File, orders: &Receiver<Order>) -> bool {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Write(assignments) => self.write(&assignments),
                Order::Check => {}
            }
            if !is_same(lock, &self.dir.join(LOCK)) {
                return false;
            }
        }
        true
    }

    fn write(&self, assignments: &Assignments) {
        match write(&self.dir, assignments) {
            Ok(()) => self.tell(Told::Written),
            Err(error) => self.tell(Told::Failed(format!("{error:#}"))),
        }
    }

    fn tell(&self, told: Told) {
        // Whoever listened has ended, and so does this process.
        drop(self.tell.blocking_send(told));
    }
}

/// Waits for the lock on the directory as it is.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    loop {
        let mut options = File::options();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("failed to open the lock {}", path.display()))?;
        file.lock()
            .with_context(|| format!("failed to lock {}", path.display()))?;
        if is_same(&file, &path) {
            return Ok(file);
        }
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    let id = |about: fs::Metadata| (about.dev(), about.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(path)) => id(file) == id(path),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Replaces the file if it says something else.
fn write(dir: &Path, assignments: &Assignments) -> Result<()> {
    let path = dir.join(ALLOCATIONS);
    let new = text::render(assignments);
    match tree::text(&path) {
        Ok(Some(old)) if old == new => return Ok(()),
        Ok(Some(old)) => {
            if let Err(problem) = text::parse(ALLOCATIONS, &old) {
                bail!("not written over, since it cannot be read: {problem}");
            }
        }
        Ok(None) => {}
        Err(why) => bail!("not written over: it {why}"),
    }
    let draft = dir.join(DRAFT);
    let mut file =
        File::create(&draft).with_context(|| format!("failed to make {}", draft.display()))?;
    file.write_all(new.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("failed to write {}", draft.display()))?;
    fs::rename(&draft, &path).with_context(|| format!("failed to replace {}", path.display()))?;
    sync_directory(dir).with_context(|| format!("failed to sync {}", dir.display()))
}

/// The new name must outlive a power cut; a file system that cannot promise it is not to blame.
fn sync_directory(dir: &Path) -> std::io::Result<()> {
    match File::open(dir)?.sync_all() {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

const DRAFT: &str = ".allocations.yaml.new";
const ORDERS_MAX: usize = 16; // the newest order is as good as all before it

#[cfg(test)]
#[path = "allocations_tests.rs"]
mod tests;
