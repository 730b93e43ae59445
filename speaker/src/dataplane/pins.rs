//! Where the maps and links of one node are pinned.
//!
//! `<bpffs>/heliograph/<node>/<map>_v<layout>`, `link_<ifindex>_<hook>`, `program_sk` and `link_netns_sk`. A bpf file system takes no name with a dot,
//! so those of a node's name become underscores, which no node name has. Knows paths only, nothing of what the pinned
//! objects hold.

use anyhow::{Context, Result, bail};
use speaker_ebpf::abi::MapSpec;
use speaker_proto::NodeName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The pins of one node.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    dir: PathBuf,
}

/// A hook whose attachment is a link that can be pinned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum PinnedHook {
    /// The TC chain of kernel 6.6 and later.
    Tcx,
    /// XDP, native or generic.
    Xdp,
}

impl fmt::Display for PinnedHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcx => "tcx",
            Self::Xdp => "xdp",
        })
    }
}

impl Pins {
    /// The pins under `dir`, which is `<bpffs>/heliograph/<node>`.
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Where a map is pinned.
    pub(crate) fn map(&self, spec: &MapSpec) -> PathBuf {
        self.dir.join(format!("{}_v{}", spec.name, spec.layout))
    }

    /// Where the link of a hook on an interface is pinned.
    pub(crate) fn link(&self, ifindex: u32, hook: PinnedHook) -> PathBuf {
        self.dir.join(format!("link_{ifindex}_{hook}"))
    }

    /// Where the program that chooses sockets is pinned, for whoever attaches it.
    pub(crate) fn socket_program(&self) -> PathBuf {
        self.dir.join("program_sk")
    }

    /// Where its attachment to the network namespace is pinned.
    pub(crate) fn socket_link(&self) -> PathBuf {
        self.dir.join("link_netns_sk")
    }

    /// Makes the folder; fails with the command to run when no bpf file system is mounted there.
    pub(crate) fn create(&self) -> Result<()> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("failed to list mounts")?;
        if file_system_of(&mounts, &self.dir) != Some("bpf") {
            let root = self.dir.ancestors().nth(2).unwrap_or(&self.dir).display();
            bail!(
                "no bpf file system at {root}, so nothing can be pinned; mount one: \
                 mkdir -p {root} && mount -t bpf bpf {root}"
            );
        }
        fs::create_dir_all(&self.dir)
            .with_context(|| format!("failed to create the pin folder {}", self.dir.display()))
    }

    /// The pinned links by interface and hook; none if the folder does not exist.
    pub(crate) fn links(&self) -> io::Result<BTreeMap<(u32, PinnedHook), PathBuf>> {
        let named = |name: &str| parse_link(name);
        Ok(self
            .files()?
            .into_iter()
            .filter_map(|(name, path)| Some((named(&name)?, path)))
            .collect())
    }

    /// Pinned maps by file name; none if the folder does not exist.
    pub(crate) fn maps(&self) -> io::Result<BTreeMap<String, PathBuf>> {
        Ok(self
            .files()?
            .into_iter()
            .filter(|(name, _)| parse_map(name).is_some())
            .collect())
    }

    /// Every file in the folder by name.
    pub(crate) fn files(&self) -> io::Result<BTreeMap<String, PathBuf>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries?,
        };
        entries
            .map(|entry| {
                let entry = entry?;
                Ok((
                    entry.file_name().to_string_lossy().into_owned(),
                    entry.path(),
                ))
            })
            .collect()
    }
}

/// Where the speaker of a node pins, on the bpf file system at `bpffs`.
pub(crate) fn pin_dir(bpffs: &Path, node: &NodeName) -> PathBuf {
    all_pins(bpffs).join(node.as_str().replace('.', "_"))
}

/// The nodes that have pins on the bpf file system at `bpffs`.
pub(crate) fn pinned_nodes(bpffs: &Path) -> io::Result<BTreeSet<NodeName>> {
    let folders = Pins::new(&all_pins(bpffs)).files()?;
    Ok(folders
        .keys()
        .filter_map(|name| name.replace('_', ".").parse().ok())
        .collect())
}

/// The folder of all nodes' pins: ours among what others keep on a bpf file system.
pub(crate) fn all_pins(bpffs: &Path) -> PathBuf {
    bpffs.join("heliograph")
}

/// Interface and hook of a link's pin.
fn parse_link(name: &str) -> Option<(u32, PinnedHook)> {
    let (ifindex, hook) = name.strip_prefix("link_")?.split_once('_')?;
    let hook = match hook {
        "tcx" => PinnedHook::Tcx,
        "xdp" => PinnedHook::Xdp,
        _ => return None,
    };
    Some((ifindex.parse().ok()?, hook))
}

/// Name and layout version of a map's pin.
pub(crate) fn parse_map(name: &str) -> Option<(&str, u32)> {
    let (map, layout) = name.rsplit_once("_v")?;
    map.starts_with("hg_")
        .then_some((map, layout.parse().ok()?))
}

/// The type of the file system that holds `path`, by the longest mount point; the last of equal ones is on top.
fn file_system_of<'a>(mountinfo: &'a str, path: &Path) -> Option<&'a str> {
    mountinfo
        .lines()
        .filter_map(|line| {
            // proc_pid_mountinfo(5): the fields after the separator are type, source and options.
            let (mount, file_system) = line.split_once(" - ")?;
            let point = Path::new(mount.split(' ').nth(4)?);
            path.starts_with(point)
                .then(|| (point.components().count(), file_system.split(' ').next()))
        })
        .max_by_key(|(depth, _)| *depth)
        .and_then(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_and_latest_mount_decides_the_file_system() {
        let mounts = "20 1 0:18 / / rw - overlay o rw\n\
                      21 20 0:19 / /sys rw - sysfs sysfs rw\n\
                      22 21 0:20 / /sys/fs/bpf rw,nosuid shared:7 - bpf bpf rw,mode=700\n\
                      23 20 0:21 / /mnt rw - bpf bpf rw\n\
                      24 20 0:22 / /mnt rw - tmpfs tmpfs rw\n";
        for (path, expected) in [
            ("/sys/fs/bpf/heliograph/a", "bpf"),
            ("/sys/fs/bpfx/heliograph/a", "sysfs"),
            ("/mnt/heliograph/a", "tmpfs"),
            ("/var", "overlay"),
        ] {
            assert_eq!(
                file_system_of(mounts, Path::new(path)),
                Some(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn two_nodes_never_share_a_folder() {
        let dir = |node: &str| pin_dir(Path::new("/b"), &node.parse().unwrap());
        assert_eq!(
            dir("node-a.example.com"),
            Path::new("/b/heliograph/node-a_example_com")
        );
        assert_ne!(dir("a.b"), dir("a-b"));
        assert!(
            "a_b".parse::<NodeName>().is_err(),
            "so the folder's name means one node"
        );
    }

    #[test]
    fn names_of_pins_are_read_back() {
        assert_eq!(parse_link("link_12_tcx"), Some((12, PinnedHook::Tcx)));
        assert_eq!(parse_link("link_12_xdp"), Some((12, PinnedHook::Xdp)));
        assert_eq!(parse_link("link_x_tcx"), None);
        assert_eq!(parse_link("link_12_else"), None);
        assert_eq!(parse_map("hg_vips_v3"), Some(("hg_vips", 3)));
        assert_eq!(parse_map("other_v3"), None);
        assert_eq!(parse_map("hg_vips"), None);
    }
}
