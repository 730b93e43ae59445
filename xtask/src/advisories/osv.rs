//! One advisory, and whether it speaks of a version.
//!
//! Governed by the Open Source Vulnerability format (ranges of type `SEMVER`) as RustSec's database is exported in it. Knows nothing of where
//! advisories come from.

use anyhow::{Context, Result, bail};
use semver::Version;
use serde::Deserialize;
use std::cmp::Ordering;
use std::fmt;

/// An advisory, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Advisory {
    /// Such as `RUSTSEC-2030-0001`.
    pub(super) id: String,
    #[serde(default)]
    summary: String,
    withdrawn: Option<String>,
    #[serde(default)]
    affected: Vec<Affected>,
}

/// What an advisory means for who links the package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Weight {
    /// It can be made to do harm.
    Fault,
    /// Something to know: nobody keeps it any more.
    Word,
}

#[derive(Debug, Deserialize)]
struct Affected {
    package: Named,
    #[serde(default)]
    ranges: Vec<Range>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    database_specific: Specific,
}

#[derive(Debug, Deserialize)]
struct Named {
    ecosystem: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
struct Specific {
    informational: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Introduced(String),
    Fixed(String),
    LastAffected(String),
}

impl Advisory {
    /// What it means for this version of a package; nothing where it does not speak of it.
    ///
    /// # Errors
    /// When it speaks of versions in a way that is not understood: then nobody may take it for silence.
    pub(super) fn weight(&self, name: &str, version: &str) -> Result<Option<Weight>> {
        if self.withdrawn.is_some() {
            return Ok(None);
        }
        let mut weight = None;
        for affected in &self.affected {
            let package = &affected.package;
            if package.ecosystem != "crates.io" || package.name != name {
                continue;
            }
            let speaks = affected
                .speaks_of(version)
                .with_context(|| format!("{} is not understood", self.id))?;
            if speaks && weight != Some(Weight::Fault) {
                weight = Some(affected.weight());
            }
        }
        Ok(weight)
    }
}

impl fmt::Display for Advisory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.id, self.summary)
    }
}

impl Affected {
    fn speaks_of(&self, version: &str) -> Result<bool> {
        if self.versions.iter().any(|one| one == version) {
            return Ok(true);
        }
        let version = parsed(version)?;
        for range in &self.ranges {
            if range.holds(&version)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// That code is unsound is a fault, too: safe Rust does not keep anybody from it.
    fn weight(&self) -> Weight {
        match self.database_specific.informational.as_deref() {
            None | Some("unsound") => Weight::Fault,
            Some(_other) => Weight::Word,
        }
    }
}

impl Range {
    /// By the events in the order of their versions: the last one before the version says.
    fn holds(&self, version: &Version) -> Result<bool> {
        if self.kind != "SEMVER" {
            bail!("it has a range of type {}", self.kind);
        }
        let mut events = Vec::new();
        for event in &self.events {
            events.push((parsed(event.at())?, event));
        }
        events.sort_by(|(a, _), (b, _)| a.cmp_precedence(b));
        let mut is_in = false;
        for (at, event) in events {
            let order = version.cmp_precedence(&at);
            match event {
                Event::Introduced(_) if order != Ordering::Less => is_in = true,
                Event::Fixed(_) if order != Ordering::Less => is_in = false,
                Event::LastAffected(_) if order == Ordering::Greater => is_in = false,
                Event::Introduced(_) | Event::Fixed(_) | Event::LastAffected(_) => {}
            }
        }
        Ok(is_in)
    }
}

impl Event {
    fn at(&self) -> &str {
        match self {
            Self::Introduced(at) | Self::Fixed(at) | Self::LastAffected(at) => at,
        }
    }
}

fn parsed(version: &str) -> Result<Version> {
    // The format's word for "from the first one on".
    let version = if version == "0" { "0.0.0-0" } else { version };
    Version::parse(version).with_context(|| format!("{version:?} is no version"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn advisory(affected: Value) -> Advisory {
        let whole =
            json!({"id": "RUSTSEC-2030-0001", "summary": "It burns", "affected": [affected]});
        serde_json::from_value(whole).unwrap()
    }

    fn ranged(events: Value) -> Advisory {
        advisory(json!({
            "package": {"ecosystem": "crates.io", "name": "wire"},
            "ranges": [{"type": "SEMVER", "events": events}],
        }))
    }

    fn is_fault(advisory: &Advisory, version: &str) -> bool {
        advisory.weight("wire", version).unwrap() == Some(Weight::Fault)
    }

    #[test]
    fn a_range_begins_with_its_first_version_and_ends_before_the_mended_one() {
        let twice = ranged(json!([
            {"introduced": "2.0.0"}, {"fixed": "2.0.4"}, {"introduced": "0"}, {"fixed": "1.2.3"},
        ]));
        for (version, expected) in [
            ("0.1.0", true),
            ("1.2.3-rc.1", true),
            ("1.2.3", false),
            ("1.9.0", false),
            ("2.0.0", true),
            ("2.0.3+build", true),
            ("2.0.4", false),
            ("10.0.0", false),
        ] {
            assert_eq!(is_fault(&twice, version), expected, "{version}");
        }
        let last = ranged(json!([{"introduced": "1.0.0"}, {"last_affected": "1.1.0"}]));
        assert!(is_fault(&last, "1.1.0") && !is_fault(&last, "1.1.1"));
        let open = ranged(json!([{"introduced": "0.0.0-0"}]));
        assert!(is_fault(&open, "999.0.0"));
    }

    #[test]
    fn what_is_of_another_package_or_withdrawn_is_not_meant() {
        let mut open = ranged(json!([{"introduced": "0"}]));
        assert_eq!(open.weight("wires", "1.0.0").unwrap(), None);
        open.withdrawn = Some("2030-01-01T00:00:00Z".to_owned());
        assert!(!is_fault(&open, "1.0.0"));
    }

    #[test]
    fn unsound_code_is_a_fault_and_an_orphan_is_a_word() {
        for (kind, weight) in [
            ("unsound", Weight::Fault),
            ("unmaintained", Weight::Word),
            ("notice", Weight::Word),
        ] {
            let one = advisory(json!({
                "package": {"ecosystem": "crates.io", "name": "wire"},
                "versions": ["1.0.0"],
                "database_specific": {"informational": kind},
            }));
            assert_eq!(one.weight("wire", "1.0.0").unwrap(), Some(weight), "{kind}");
            assert_eq!(one.weight("wire", "1.0.1").unwrap(), None, "{kind}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_silence() {
        let commits = advisory(json!({
            "package": {"ecosystem": "crates.io", "name": "wire"},
            "ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}],
        }));
        assert!(commits.weight("wire", "1.0.0").is_err());
        let strange = ranged(json!([{"introduced": "one"}]));
        assert!(strange.weight("wire", "1.0.0").is_err());
    }
}
