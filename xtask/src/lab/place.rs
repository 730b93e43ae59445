//! Where a lab has its files, and whose binaries it runs.

use super::cluster::Binaries;
use crate::tools;
use anyhow::{Context, Result, bail};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// What a lab is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// First part of the namespaces' names, and the name of the lab's folder.
    pub prefix: String,
    /// The folder of manifests, which is copied.
    pub manifests: PathBuf,
    /// The folder in which the lab has its own.
    pub home: PathBuf,
    /// The speaker's binary.
    pub speaker: PathBuf,
    /// The binary of a cluster's controller: the speakers', unless versions are to meet.
    pub controller: PathBuf,
    /// The binary whose subcommand `lab-backend` is a backend.
    pub backend: PathBuf,
    /// A mounted bpffs, or a folder in one; at the usual place it is mounted when it is not.
    pub bpffs: PathBuf,
    /// Folder of the speakers' control sockets.
    pub run_dir: PathBuf,
    /// What makes it a cluster; without, the speakers follow the folder of manifests.
    pub cluster: Option<Binaries>,
    /// Whether the operator installs the cluster from a MetalLB resource, in place of manifests.
    pub is_operated: bool,
    /// Further flags of every speaker.
    pub speaker_flags: &'static [&'static str],
    /// Whether there are a router at the switch and a client behind it.
    pub has_router: bool,
    /// How many nodes there are; the samples have manifests of three.
    pub nodes: u8,
}

impl Options {
    /// The lab of `cargo xtask lab`, with the places that a speaker has by default.
    pub fn sample() -> Self {
        let target = tools::target();
        Self {
            prefix: "hg".to_owned(),
            manifests: tools::root().join("deploy/samples"),
            home: target.join("lab"),
            speaker: target.join("debug/speaker"),
            controller: target.join("debug/speaker"),
            backend: target.join("debug/xtask"),
            bpffs: PathBuf::from(BPFFS),
            run_dir: PathBuf::from(RUN_DIR),
            cluster: None,
            is_operated: false,
            speaker_flags: &[],
            has_router: false,
            nodes: 3,
        }
    }

    /// The lab's own folder.
    pub fn folder(&self) -> PathBuf {
        self.home.join(&self.prefix)
    }

    /// Where it is written what to undo.
    pub(super) fn record(&self) -> PathBuf {
        self.folder().join("lab.json")
    }
}

/// The sole right to the lab of these options, for as long as the file is open.
pub(super) fn lock(options: &Options) -> Result<File> {
    fs::create_dir_all(&options.home)?;
    let path = options.home.join(format!("{}.lock", options.prefix));
    let file = File::create(&path).with_context(|| format!("failed to make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "a lab of this name is up: end it with Ctrl-C there or `cargo xtask lab down` here"
            )
        }
        Err(TryLockError::Error(error)) => Err(error).context("failed to lock the lab's folder"),
    }
}

/// Removes the lab's own folder.
pub(super) fn remove_home(options: &Options) -> Result<()> {
    let folder = options.folder();
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    Ok(())
}

/// Copies the files of a folder, not those of folders in it.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let entries =
        fs::read_dir(from).with_context(|| format!("failed to list {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Whether a path is there and lies in a bpffs.
pub(super) fn is_in_bpffs(path: &Path) -> Result<bool> {
    match rustix::fs::statfs(path) {
        Ok(stat) => Ok(stat.f_type == BPFFS_MAGIC),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("failed to look at {}", path.display())),
    }
}

/// Where a speaker has its control socket by default.
pub(super) const RUN_DIR: &str = "/run/heliograph";
/// Where a bpffs belongs.
pub(super) const BPFFS: &str = "/sys/fs/bpf";
const BPFFS_MAGIC: rustix::fs::FsWord = 0xcafe_4a11; // BPF_FS_MAGIC of linux/magic.h
