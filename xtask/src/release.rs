//! `cargo xtask release`: everything that a version is published as, in one folder, and what is left to do by hand.
//!
//! Packs and checks; it pushes nothing and tags nothing. What is installed names the image by its digest, so that a registry cannot
//! give another one.

mod pack;

pub use pack::{Image, pack};

use crate::advisories::{self, Outcome};
use crate::image::{self, Architecture};
use crate::tools::{root, say, target};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::fs;

/// Pack a release (target/dist): image, lists of what is in it, manifests, chart, notes and checksums.
///
/// Publishes nothing: it ends with the commands that do.
#[derive(Args)]
pub struct Request {
    /// Where the image will be, without a tag.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// For these architectures; all of them without any.
    #[arg(long = "arch", value_name = "ARCH")]
    architectures: Vec<Architecture>,
    /// Pack also what is not finished: a version without a date in the change log, files that differ from the commit, dependencies whose known
    /// faults could not be looked up.
    #[arg(long)]
    rehearse: bool,
}

impl Request {
    /// Checks, builds, packs and tells.
    ///
    /// # Errors
    /// When the versions do not agree, something is not finished, or something cannot be built.
    pub fn run(&self) -> Result<()> {
        let version = env!("CARGO_PKG_VERSION");
        ensure!(
            self.name.contains('/') && !self.name.contains(['@', ' ']),
            "--name is {:?}: give registry and repository, such as registry.example.com/heliograph",
            self.name
        );
        versions_agree(version)?;
        let log = read("CHANGELOG.md")?;
        let (title, notes) = section(&log, version)?;
        let source = image::Source::here()?;
        if !self.rehearse {
            ensure!(
                !title.contains("unreleased"),
                "CHANGELOG.md says `{title}`: give it its date, or --rehearse"
            );
            ensure!(
                !source.commit.ends_with("-dirty"),
                "files differ from the commit: commit them, or --rehearse"
            );
        }
        may_go_out(advisories::look()?, self.rehearse)?;
        let architectures = match self.architectures.as_slice() {
            [] => Architecture::ALL.as_slice(),
            some => some,
        };
        for architecture in architectures {
            image::emulator(*architecture)
                .context("nothing is released that was not started for its processor")?;
        }
        let dist = target().join("dist");
        if dist.exists() {
            fs::remove_dir_all(&dist).context("failed to empty target/dist")?;
        }
        let made = image::make(architectures, &self.name, &target().join("image"))?;
        let image = Image {
            name: self.name.clone(),
            version: version.to_owned(),
            digest: made.digest,
            files: std::iter::once(made.archive)
                .chain(made.images.into_iter().map(|(_, _, list)| list))
                .collect(),
        };
        let files = pack(&image, notes, &dist)?;
        for file in &files {
            println!("{}", dist.join(file).display());
        }
        say("publish it by hand:");
        for step in steps(&image) {
            say(&format!("  {step}"));
        }
        Ok(())
    }
}

/// Nothing is released with a known fault, and nothing of which nobody knows whether it has one.
fn may_go_out(advisories: Outcome, rehearse: bool) -> Result<()> {
    match advisories {
        Outcome::Looked(findings) => {
            for finding in &findings {
                say(&finding.to_string());
            }
            ensure!(
                findings.is_empty(),
                "{} known faults are linked in",
                findings.len()
            );
        }
        Outcome::Skipped(why) if rehearse => {
            say(&format!(
                "NOT LOOKED UP, known faults of dependencies: {why:#}"
            ));
        }
        Outcome::Skipped(why) => {
            return Err(why.context(
                "known faults of dependencies could not be looked up: go where they can, or --rehearse",
            ));
        }
    }
    Ok(())
}

/// What is left to do.
fn steps(image: &Image) -> [String; 4] {
    let Image { name, version, .. } = image;
    [
        format!("git tag --sign v{version} && git push origin v{version}"),
        format!(
            "skopeo copy --all --preserve-digests oci-archive:target/dist/heliograph-{version}.oci.tar docker://{name}:{version}"
        ),
        format!("helm push target/dist/metallb-{version}.tgz oci://REGISTRY/charts"),
        "upload the rest of target/dist with notes.md as the text".to_owned(),
    ]
}

/// The version stands in files that no compiler reads.
fn versions_agree(version: &str) -> Result<()> {
    for (file, line) in [
        ("deploy/chart/Chart.yaml", format!("version: {version}")),
        ("deploy/chart/Chart.yaml", format!("appVersion: {version}")),
        (
            "deploy/manifests/3-controller.yaml",
            format!("image: heliograph:{version}"),
        ),
        (
            "deploy/manifests/5-speaker.yaml",
            format!("image: heliograph:{version}"),
        ),
        (
            "deploy/operator/2-operator.yaml",
            format!("image: heliograph:{version}"),
        ),
    ] {
        let text = read(file)?;
        if !text.lines().any(|one| one.trim() == line) {
            bail!("{file} does not say `{line}`");
        }
    }
    Ok(())
}

/// The title and the text of a version in the change log.
///
/// # Errors
/// When it has none.
pub fn section<'a>(log: &'a str, version: &str) -> Result<(&'a str, &'a str)> {
    let begins = |part: &&str| {
        let name = part.split([',', '\n']).next().unwrap_or_default();
        name.trim() == version
    };
    let part = log
        .split("\n## ")
        .skip(1)
        .find(begins)
        .with_context(|| format!("CHANGELOG.md has no section `## {version}`"))?;
    let (title, text) = part.split_once('\n').unwrap_or((part, ""));
    ensure!(
        !text.trim().is_empty(),
        "CHANGELOG.md says nothing of {version}"
    );
    Ok((title, text.trim()))
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(root().join(file)).with_context(|| format!("failed to read {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_has_one_version_and_says_what_is_in_it() {
        let version = env!("CARGO_PKG_VERSION");
        versions_agree(version).unwrap();
        let log = read("CHANGELOG.md").unwrap();
        let (_, text) = section(&log, version).unwrap();
        assert!(text.contains("\n### "), "{text}");
        let newer = versions_agree("99.0.0").unwrap_err().to_string();
        assert!(newer.contains("Chart.yaml does not say"), "{newer}");
    }

    #[test]
    fn what_nobody_looked_up_is_rehearsed_and_not_released() {
        let skipped = || Outcome::Skipped(anyhow::anyhow!("no way there"));
        may_go_out(skipped(), true).unwrap();
        let why = format!("{:#}", may_go_out(skipped(), false).unwrap_err());
        assert!(
            why.contains("could not be looked up") && why.contains("no way there"),
            "{why}"
        );
        let fault = || {
            let what = "wire 1.0.0: it burns".to_owned();
            Outcome::Looked(vec![crate::tidy::Finding {
                path: "Cargo.lock".to_owned(),
                line: 0,
                what,
            }])
        };
        assert!(may_go_out(fault(), true).is_err() && may_go_out(fault(), false).is_err());
        may_go_out(Outcome::Looked(Vec::new()), false).unwrap();
    }

    #[test]
    fn the_notes_are_those_of_one_version() {
        let log = "# Changelog\n\n## 0.2.0, unreleased\n\nNew.\n\n### Parts\n\n## 0.1.0, 2026-01-01\n\nOld.\n\n## 0.0.1\n";
        let (title, text) = section(log, "0.2.0").unwrap();
        assert_eq!((title, text), ("0.2.0, unreleased", "New.\n\n### Parts"));
        assert_eq!(
            section(log, "0.1.0").unwrap(),
            ("0.1.0, 2026-01-01", "Old.")
        );
        assert!(section(log, "0.0.1").is_err());
        assert!(section(log, "0.3.0").is_err());
    }
}
