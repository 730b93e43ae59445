//! `arp_announce=2` on announcing links, and back.
//!
//! A node whose service proxy binds VIPs to a device would otherwise ask its own who-has with a VIP as the sender, which
//! claims it. The values found are written to a file before they are changed, so that `speaker cleanup` can restore them.
//! See `docs/layer2.md`, L4.2.

use super::picture;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Keeps the setting on the announcing links.
pub(crate) struct ArpSetting {
    saved: Saved,
    root: PathBuf,
}

impl ArpSetting {
    /// Remembers in `state_dir` what it changes.
    pub(crate) fn open(state_dir: &Path) -> Result<Self> {
        Ok(Self {
            saved: Saved::read(state_dir)?,
            root: CONF.into(),
        })
    }

    /// Sets it on these links (index to name) where it is lower; on those that are no longer among them it stays until
    /// cleanup. Does all that it can and returns what failed.
    pub(crate) fn apply(&mut self, links: &BTreeMap<u32, String>) -> Vec<(String, anyhow::Error)> {
        let set = |(ifindex, link): (&u32, &String)| {
            Some((link.clone(), self.set(*ifindex, link).err()?))
        };
        links.iter().filter_map(set).collect()
    }

    fn set(&mut self, ifindex: u32, link: &str) -> Result<()> {
        let found = read(&self.root, link)?;
        if found >= WANTED {
            return Ok(());
        }
        self.saved.add(ifindex, found)?;
        write(&self.root, link, WANTED)
    }
}

/// Restores the values that were found, on links that still exist and still have ours; the names of those.
pub(crate) fn restore(state_dir: &Path) -> Result<Vec<String>> {
    restore_under(Path::new(CONF), state_dir, &picture::names()?)
}

fn restore_under(
    root: &Path,
    state_dir: &Path,
    links: &BTreeMap<u32, String>,
) -> Result<Vec<String>> {
    let saved = Saved::read(state_dir)?;
    let mut restored = Vec::new();
    for (ifindex, &found) in &saved.found {
        // By index, since a link may have another name by now.
        let Some(link) = links.get(ifindex) else {
            continue;
        };
        if read(root, link).is_ok_and(|now| now == WANTED) {
            write(root, link, found)?;
            restored.push(link.clone());
        }
    }
    match fs::remove_file(&saved.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => {
            removed.with_context(|| format!("failed to remove {}", saved.path.display()))?;
        }
    }
    Ok(restored)
}

/// The values found, by the link's index.
struct Saved {
    path: PathBuf,
    found: BTreeMap<u32, u32>,
}

impl Saved {
    fn read(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join("arp_announce.json");
        let found = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("failed to read {}", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read {}", path.display()));
            }
        };
        Ok(Self { path, found })
    }

    /// The first value found counts: a later one may be our own.
    fn add(&mut self, ifindex: u32, found: u32) -> Result<()> {
        if self.found.contains_key(&ifindex) {
            return Ok(());
        }
        self.found.insert(ifindex, found);
        let new = self.path.with_extension("new");
        let text = serde_json::to_vec(&self.found).context("failed to write JSON")?;
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &self.path))
            .with_context(|| format!("failed to write {}", self.path.display()))
    }
}

fn read(root: &Path, link: &str) -> Result<u32> {
    let path = path(root, link);
    let text = fs::read_to_string(&path);
    let text = text.with_context(|| format!("failed to read {}", path.display()))?;
    text.trim()
        .parse()
        .with_context(|| format!("not a number in {}", path.display()))
}

fn write(root: &Path, link: &str, value: u32) -> Result<()> {
    let path = path(root, link);
    fs::write(&path, value.to_string())
        .with_context(|| format!("failed to write {}", path.display()))
}

fn path(root: &Path, link: &str) -> PathBuf {
    root.join(link).join("arp_announce")
}

const CONF: &str = "/proc/sys/net/ipv4/conf";
/// The best local address for the target's network, never that of another device.
const WANTED: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    struct Conf {
        dir: tempfile::TempDir,
    }

    impl Conf {
        fn new(links: &[(&str, u32)]) -> Self {
            let conf = Self {
                dir: tempfile::tempdir().unwrap(),
            };
            for (link, value) in links {
                fs::create_dir(conf.dir.path().join(link)).unwrap();
                write(conf.dir.path(), link, *value).unwrap();
            }
            conf
        }

        fn setting(&self) -> ArpSetting {
            let saved = Saved::read(self.dir.path()).unwrap();
            ArpSetting {
                saved,
                root: self.dir.path().to_owned(),
            }
        }

        fn restore(&self, names: &[&str]) -> Vec<String> {
            restore_under(self.dir.path(), self.dir.path(), &links(names)).unwrap()
        }

        fn value(&self, link: &str) -> u32 {
            read(self.dir.path(), link).unwrap()
        }
    }

    /// `ethN` has index N.
    fn links(names: &[&str]) -> BTreeMap<u32, String> {
        let index = |name: &str| name.trim_start_matches("eth").parse().unwrap();
        names
            .iter()
            .map(|&name| (index(name), name.to_owned()))
            .collect()
    }

    #[test]
    fn l4_2_the_setting_is_made_and_restored_by_another_process() {
        let conf = Conf::new(&[("eth0", 0), ("eth1", 2), ("eth2", 1)]);
        assert!(conf.setting().apply(&links(&["eth0", "eth1"])).is_empty());
        assert!(conf.setting().apply(&links(&["eth0", "eth2"])).is_empty());
        assert_eq!(
            ["eth0", "eth1", "eth2"].map(|link| conf.value(link)),
            [2, 2, 2]
        );
        assert_eq!(
            conf.restore(&["eth0", "eth1", "eth2"]),
            ["eth0", "eth2"],
            "eth1 was so before"
        );
        assert_eq!(
            ["eth0", "eth1", "eth2"].map(|link| conf.value(link)),
            [0, 2, 1]
        );
        assert!(conf.restore(&["eth0", "eth1", "eth2"]).is_empty());
    }

    #[test]
    fn a_value_that_someone_changed_since_is_left_alone() {
        let conf = Conf::new(&[("eth0", 0)]);
        conf.setting().apply(&links(&["eth0"]));
        write(conf.dir.path(), "eth0", 1).unwrap();
        assert!(conf.restore(&["eth0"]).is_empty());
        assert_eq!(conf.value("eth0"), 1);
    }

    #[test]
    fn a_link_that_was_renamed_is_restored_under_its_new_name() {
        let conf = Conf::new(&[("eth0", 0)]);
        conf.setting().apply(&links(&["eth0"]));
        fs::rename(conf.dir.path().join("eth0"), conf.dir.path().join("lan")).unwrap();
        let renamed = BTreeMap::from([(0, "lan".to_owned())]);
        assert!(conf.setting().apply(&renamed).is_empty());
        assert_eq!(
            restore_under(conf.dir.path(), conf.dir.path(), &renamed).unwrap(),
            ["lan"]
        );
        assert_eq!(conf.value("lan"), 0);
    }

    #[test]
    fn a_link_that_is_gone_is_reported_and_hinders_no_other() {
        let conf = Conf::new(&[("eth1", 0)]);
        let failed = conf.setting().apply(&links(&["eth0", "eth1"]));
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].0, "eth0");
        assert_eq!(conf.value("eth1"), 2);
    }
}
