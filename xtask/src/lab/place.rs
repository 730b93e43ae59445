//! Where a lab has its files, and whose binaries it runs.

use crate::tools;
use anyhow::{Context, Result};
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
    /// The binary whose subcommand `lab-backend` is a backend.
    pub backend: PathBuf,
    /// A mounted bpffs, or a folder in one; at the usual place it is mounted when it is not.
    pub bpffs: PathBuf,
    /// Folder of the speakers' control sockets.
    pub run_dir: PathBuf,
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
            backend: target.join("debug/xtask"),
            bpffs: PathBuf::from(BPFFS),
            run_dir: PathBuf::from(RUN_DIR),
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
