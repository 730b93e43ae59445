//! The speaker as it was some time ago, which meets today's in the lab: controllers and speakers of two versions have to get on with each other
//! while a cluster is upgraded.
//!
//! It is built from the history of this clone, the object in it too, with the dependencies that are built anyway. What it is tested for, the suite `lab`
//! knows.

use crate::ebpf;
use crate::tools::{self, output, say};
use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the other version's binary, for tests and by whoever has one.
pub const VARIABLE: &str = "HELIOGRAPH_OTHER";

/// The other version's speaker: what [`VARIABLE`] names, or one built from this clone's history. `None`, after saying so: there is no history.
///
/// What is built stands in for `target/debug/speaker` meanwhile, so build that one afterwards.
///
/// # Errors
/// When git or cargo fails.
pub fn ensure() -> Result<Option<PathBuf>> {
    if let Some(named) = env::var_os(VARIABLE) {
        return Ok(Some(PathBuf::from(named)));
    }
    let Some(commit) = commit()? else {
        say(
            "this clone has no history, so no other version is built and this one will meet itself",
        );
        return Ok(None);
    };
    let folder = tools::target().join("other").join(&commit);
    let speaker = folder.join("speaker");
    if !speaker.is_file() {
        say(&format!(
            "building the speaker as it was at {commit}, which meets today's in the lab"
        ));
        build(&commit, &folder)?;
    }
    Ok(Some(speaker))
}

/// The last release, or else a commit that many others agree on: one of every [`STEP`], as many before this one at least.
fn commit() -> Result<Option<String>> {
    let tag = git(&["describe", "--tags", "--match=v*", "--abbrev=0", "HEAD~1"]);
    let count = || git(&["rev-list", "--count", "--first-parent", "HEAD"]);
    let revision = match tag {
        Ok(tag) => tag,
        Err(_) => match count().ok().as_deref().map(str::parse).transpose()? {
            Some(count) if count > back(count) => format!("HEAD~{}", back(count)),
            Some(_) | None => return Ok(None),
        },
    };
    let commit = git(&["rev-parse", "--short=12", &format!("{revision}^{{commit}}")]);
    commit.map(Some)
}

/// How many commits before the one that has so many, itself among them.
const fn back(count: u32) -> u32 {
    STEP + count % STEP
}

fn build(commit: &str, folder: &Path) -> Result<()> {
    let tree = folder.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("failed to remove what an earlier attempt left")?;
    }
    fs::create_dir_all(&tree).with_context(|| format!("failed to make {}", tree.display()))?;
    let archive = folder.join("tree.tar");
    git(&[
        "archive",
        "--format=tar",
        "--output",
        text(&archive)?,
        commit,
    ])?;
    output(Command::new("tar").args(["-xf", text(&archive)?, "-C", text(&tree)?]))?;
    let object = ebpf::build_of(&tree)?;
    let kept = folder.join("heliograph.o");
    fs::copy(&object, &kept).context("failed to keep the other version's object")?;
    tools::run(
        tools::cargo()
            .current_dir(&tree)
            .args(["build", "--quiet", "--locked", "--package", "speaker"])
            .arg("--target-dir")
            .arg(tools::target())
            .env("HELIOGRAPH_EBPF_OBJECT", &kept),
    )?;
    // A rename, so that half a binary is never taken for one.
    let fresh = folder.join("speaker.new");
    fs::copy(tools::target().join("debug/speaker"), &fresh)
        .and_then(|_| fs::rename(&fresh, folder.join("speaker")))
        .context("failed to keep the other version's speaker")?;
    fs::remove_file(&archive)
        .and_then(|()| fs::remove_dir_all(&tree))
        .context("failed to remove the other version's sources")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is no text", path.display()))
}

fn git(words: &[&str]) -> Result<String> {
    let said = output(Command::new("git").current_dir(tools::root()).args(words))?;
    Ok(said.trim().to_owned())
}

/// Commits from one that is built to the next, so that it is not built anew for each.
const STEP: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_commits_in_a_row_meet_the_same_one() {
        let met = |count: u32| count - back(count);
        assert_eq!(met(1000), 950);
        assert_eq!(met(1049), 950);
        assert_eq!(met(1050), 1000);
    }
}
