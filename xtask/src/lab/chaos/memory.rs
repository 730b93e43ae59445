//! The fault of a process that may have no more memory: a control group of its own, whose limit is drawn tight around it.
//!
//! What a process had before it came into a group is not counted there, and pages of a file are counted where they were first read. So the
//! speaker is restarted into the group, from a copy of its binary that nobody has read. Then the limit is lowered until the kernel can take
//! nothing more away. From there on each page that the speaker needs, be it of its own code, must be taken from it elsewhere first. The group's own
//! counters say whether the limit was met: if it never was, the fault was none, and that is an error.
//! `Documentation/admin-guide/cgroup-v1/memory.rst` and `cgroup-v2.rst` in the kernel's sources.

use super::fault::{Heal, Target, nothing};
use crate::lab::Lab;
use crate::tools;
use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Restarts the holder's speaker into a group and draws the limit tight.
pub(super) fn squeeze(target: &mut Target<'_>) -> Result<Heal> {
    let Some(controller) = Controller::find() else {
        tools::say(
            "memory: this machine has no memory controller at the usual places; nothing was done",
        );
        return Ok(nothing());
    };
    let name = format!("{}-chaos", target.lab.options().prefix);
    let group = controller.group(&name)?;
    let holder = target.holder.clone();
    let binary = unread_copy(target.lab)?;
    let before = std::mem::replace(&mut target.lab.options.speaker, binary);
    let done = restart_into(target.lab, &holder, &group);
    target.lab.options.speaker = before;
    done?;
    let limit = group.tighten()?;
    let met = group.met()?;
    Ok(Box::new(move |lab| {
        let now = group.met()?;
        let (reached, killed) = (now.reached - met.reached, now.killed - met.killed);
        tools::say(&format!(
            "memory: {} KiB were reached {reached} times, {killed} processes were killed for it",
            limit / 1024
        ));
        group.loosen()?;
        let speaker = lab.speaker(&holder)?;
        if speaker.check().is_ok() {
            fs::write(
                controller.own.join("cgroup.procs"),
                speaker.id().to_string(),
            )
            .context("failed to move the speaker back")?;
        } else {
            // As its kubelet would.
            lab.start_speaker(&holder)?;
            lab.speaker(&holder)?.wait_until_ready()?;
        }
        fs::remove_dir(&group.path)
            .with_context(|| format!("failed to remove {}", group.path.display()))?;
        ensure!(
            reached + killed > 0,
            "the limit was never reached: the speaker needed no page more"
        );
        Ok(())
    }))
}

/// A copy of the lab's speaker of which no page is in memory, so that those that are read are its reader's.
fn unread_copy(lab: &Lab) -> Result<PathBuf> {
    let copy = lab.folder().join("speaker-squeezed");
    fs::copy(&lab.options.speaker, &copy).context("failed to copy the speaker")?;
    let file = File::open(&copy)?;
    file.sync_all().context("failed to write the copy out")?;
    fadvise(&file, 0, None, Advice::DontNeed).context("failed to forget the copy's pages")?;
    Ok(copy)
}

fn restart_into(lab: &mut Lab, node: &str, group: &Group) -> Result<()> {
    lab.speaker(node)?.stop()?;
    lab.start_speaker(node)?;
    let speaker = lab.speaker(node)?;
    // It has hardly begun.
    fs::write(group.path.join("cgroup.procs"), speaker.id().to_string())
        .context("failed to move the speaker into its group")?;
    speaker.wait_until_ready()
}

/// Where the memory controller is, in either version of control groups.
struct Controller {
    root: PathBuf,
    /// The group of this process, and of the other speakers.
    own: PathBuf,
    files: &'static Files,
}

/// What a version calls things.
struct Files {
    /// How `/proc/self/cgroup` names the hierarchy.
    hierarchy: &'static str,
    root: &'static str,
    usage: &'static str,
    limit: &'static str,
    /// Takes pages away before the limit is lowered, where a limit below what is used would kill at once.
    reclaim: Option<&'static str>,
    no_limit: &'static str,
    /// Where it is counted how often the limit was met, under which key; the whole file where there is none.
    reached: (&'static str, Option<&'static str>),
    killed: (&'static str, Option<&'static str>),
}

const VERSIONS: [Files; 2] = [
    Files {
        hierarchy: ":memory:",
        root: "/sys/fs/cgroup/memory",
        usage: "memory.usage_in_bytes",
        limit: "memory.limit_in_bytes",
        reclaim: None,
        no_limit: "-1",
        reached: ("memory.failcnt", None),
        killed: ("memory.oom_control", Some("oom_kill")),
    },
    Files {
        hierarchy: "0::",
        root: "/sys/fs/cgroup",
        usage: "memory.current",
        limit: "memory.max",
        reclaim: Some("memory.reclaim"),
        no_limit: "max",
        reached: ("memory.events", Some("max")),
        killed: ("memory.events", Some("oom_kill")),
    },
];

impl Controller {
    fn find() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        VERSIONS.iter().find_map(|files| {
            let root = PathBuf::from(files.root);
            let controllers = fs::read_to_string(root.join("cgroup.subtree_control"));
            let has_controller = controllers
                .map(|names| names.split_whitespace().any(|name| name == "memory"))
                .unwrap_or_else(|_| root.join(files.limit).exists());
            let mut lines = groups.lines();
            let own = lines.find_map(|line| Some(line.split_once(files.hierarchy)?.1))?;
            has_controller.then(|| Self {
                own: root.join(own.trim_start_matches('/')),
                root,
                files,
            })
        })
    }

    fn group(&self, name: &str) -> Result<Group> {
        let path = self.root.join(name);
        if !path.exists() {
            fs::create_dir(&path).with_context(|| format!("failed to make {}", path.display()))?;
        }
        Ok(Group {
            path,
            files: self.files,
        })
    }
}

/// The speaker's group.
struct Group {
    path: PathBuf,
    files: &'static Files,
}

/// What the group's counters say.
#[derive(Clone, Copy, Debug)]
struct Met {
    reached: u64,
    killed: u64,
}

impl Group {
    /// Lowers the limit step by step, until the kernel finds no page any more that it could take; the limit.
    fn tighten(&self) -> Result<u64> {
        let usage = number(&self.path, (self.files.usage, None))?;
        let mut limit = usage;
        ensure!(usage > 0, "the speaker's group has no memory at all");
        while limit > STEP_BYTES {
            let next = limit - STEP_BYTES;
            let reclaimed = self.files.reclaim.map(|file| self.write(file, STEP_BYTES));
            if reclaimed == Some(false) || !self.write(self.files.limit, next) {
                break;
            }
            limit = next;
        }
        tools::say(&format!(
            "memory: the speaker had {} KiB and may have {} KiB",
            usage / 1024,
            limit / 1024
        ));
        Ok(limit)
    }

    /// Whether the kernel did as it was told.
    fn write(&self, file: &str, bytes: u64) -> bool {
        fs::write(self.path.join(file), bytes.to_string()).is_ok()
    }

    fn loosen(&self) -> Result<()> {
        fs::write(self.path.join(self.files.limit), self.files.no_limit)
            .context("failed to lift the limit")
    }

    fn met(&self) -> Result<Met> {
        Ok(Met {
            reached: number(&self.path, self.files.reached)?,
            killed: number(&self.path, self.files.killed)?,
        })
    }
}

/// A number of a group's file: the whole of it, or what stands behind a key.
fn number(group: &Path, (file, key): (&str, Option<&str>)) -> Result<u64> {
    let path = group.join(file);
    let text =
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let word = match key {
        None => Some(text.trim()),
        Some(key) => text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')),
    };
    let number = word.and_then(|word| word.parse().ok());
    number.with_context(|| format!("{} says: {text}", path.display()))
}

const STEP_BYTES: u64 = 256 << 10;
