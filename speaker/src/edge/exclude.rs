//! Interfaces that never announce, by name.
//!
//! MetalLB's `excludel2.yaml` (field `announcedInterfacesToExclude`): a list of regular expressions, any of which may match
//! anywhere in the name unless it says `^` or `$`.

use anyhow::{Context, Result, bail};
use regex::RegexSet;
use serde::Deserialize;

/// The names that never announce.
#[derive(Clone, Debug)]
pub(crate) struct Exclude {
    patterns: RegexSet,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(default)]
    announced_interfaces_to_exclude: Vec<String>,
}

impl Exclude {
    /// The list that MetalLB ships.
    pub(crate) fn metallb_default() -> Self {
        Self::new(&METALLB_DEFAULT).expect("the patterns are constant and tested")
    }

    /// Reads the content of an `excludel2.yaml`.
    pub(crate) fn from_yaml(text: &str) -> Result<Self> {
        let file: File =
            serde_norway::from_str(text).context("failed to read the exclusion list")?;
        Self::new(&file.announced_interfaces_to_exclude)
    }

    /// Whether an interface of this name never announces.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.patterns.is_match(name)
    }

    fn new(patterns: &[impl AsRef<str>]) -> Result<Self> {
        if patterns.len() > PATTERNS_MAX {
            bail!(
                "announcedInterfacesToExclude: {} patterns, at most {PATTERNS_MAX}",
                patterns.len()
            );
        }
        for (index, pattern) in patterns.iter().enumerate() {
            regex::Regex::new(pattern.as_ref())
                .with_context(|| format!("announcedInterfacesToExclude[{index}]: not a pattern"))?;
        }
        let patterns = RegexSet::new(patterns).context("the patterns are too large together")?;
        Ok(Self { patterns })
    }
}

/// More would be a mistake, and each costs memory.
const PATTERNS_MAX: usize = 1024;

const METALLB_DEFAULT: [&str; 14] = [
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metallb_3_3_the_default_list_excludes_what_metallb_excludes() {
        let exclude = Exclude::metallb_default();
        for name in [
            "lo",
            "docker0",
            "veth1a2b",
            "cali123",
            "kube-ipvs0",
            "lxc_health",
        ] {
            assert!(exclude.contains(name), "{name}");
        }
        for name in ["eth0", "lo0", "bond0", "ens1f0.100", "br-veth", "mydummy"] {
            assert!(!exclude.contains(name), "{name}");
        }
    }

    #[test]
    fn metallb_3_3_a_pattern_matches_anywhere_unless_it_is_anchored() {
        let exclude = Exclude::from_yaml("announcedInterfacesToExclude: [wlan, '^usb$']").unwrap();
        assert!(exclude.contains("my-wlan0"));
        assert!(exclude.contains("usb"));
        assert!(!exclude.contains("usb0"));
        assert!(
            !Exclude::from_yaml("announcedInterfacesToExclude: []")
                .unwrap()
                .contains("lo")
        );
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = Exclude::from_yaml("announcedInterfacesToExclude: ['^a', '(']").unwrap_err();
        assert!(
            format!("{error:#}").contains("announcedInterfacesToExclude[1]"),
            "{error:#}"
        );
        assert!(Exclude::from_yaml("interfaces: []").is_err());
    }
}
