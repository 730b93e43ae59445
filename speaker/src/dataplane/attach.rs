//! Which hook a link's program goes to: a ladder of attempts, each explained.
//!
//! The default is TC (TCX from kernel 6.6, clsact below); XDP is taken when asked for and nothing speaks against
//! it, and every ladder ends in TC. A stranger's program is never replaced. Knows nothing of which links should
//! announce, and not how a hook is attached to (`tc`, `xdp`).

use super::facts::Facts;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// Where the operator wants the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum AttachMode {
    /// Native XDP where nothing speaks against it, TC otherwise.
    Auto,
    /// TCX, or clsact where the kernel has none.
    #[default]
    Tc,
    /// TCX only.
    Tcx,
    /// clsact only.
    Clsact,
    /// XDP in the driver, TC where that cannot be.
    XdpNative,
    /// XDP in the stack, TC where that cannot be.
    XdpGeneric,
}

/// A place in the kernel's receive path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hook {
    /// The driver's XDP hook.
    XdpNative,
    /// The stack's XDP hook.
    XdpGeneric,
    /// The TC chain of links, kernel 6.6 and later.
    Tcx,
    /// The clsact qdisc's ingress filters.
    Clsact,
}

/// What was tried on a link, in order, and where the program is now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct AttachReport {
    /// The interface's name.
    pub(crate) link: String,
    /// Its index.
    pub(crate) ifindex: u32,
    /// Where the program is; `None`: nowhere, and the steps say why.
    pub(crate) hook: Option<Hook>,
    /// Each rung of the ladder that was looked at.
    pub(crate) steps: Vec<Step>,
}

/// One rung of the ladder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Step {
    /// The hook.
    pub(crate) tried: Hook,
    /// What came of it.
    pub(crate) result: StepResult,
    /// Why, in words for an operator; empty when there is nothing to add.
    pub(crate) why: String,
}

/// What came of one rung.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepResult {
    /// Attached anew.
    Attached,
    /// Attached by an earlier process; its program was replaced in one step.
    Adopted,
    /// Not tried: it would not work, or not well.
    Refused,
    /// Tried in vain.
    Failed,
}

impl AttachReport {
    /// Whether the program runs on the link.
    pub(crate) fn is_attached(&self) -> bool {
        self.hook.is_some()
    }

    /// Every step in one line: `xdp-native refused: it carries VLANs …; tcx attached`.
    pub(crate) fn explained(&self) -> String {
        let explain = |Step { tried, result, why }: &Step| match why.as_str() {
            "" => format!("{tried} {result}"),
            why => format!("{tried} {result}: {why}"),
        };
        let steps: Vec<String> = self.steps.iter().map(explain).collect();
        steps.join("; ")
    }
}

impl Hook {
    /// Whether it is one of XDP's.
    pub(crate) fn is_xdp(self) -> bool {
        match self {
            Self::XdpNative | Self::XdpGeneric => true,
            Self::Tcx | Self::Clsact => false,
        }
    }
}

impl AttachMode {
    /// The hooks to try, best first.
    pub(super) fn ladder(self) -> &'static [Hook] {
        match self {
            Self::Auto | Self::XdpNative => &[Hook::XdpNative, Hook::Tcx, Hook::Clsact],
            Self::XdpGeneric => &[Hook::XdpGeneric, Hook::Tcx, Hook::Clsact],
            Self::Tc => &[Hook::Tcx, Hook::Clsact],
            Self::Tcx => &[Hook::Tcx],
            Self::Clsact => &[Hook::Clsact],
        }
    }

    /// Why a hook is not to be tried on such a link; `None` if it may be.
    pub(super) fn refusal(self, hook: Hook, facts: &Facts) -> Option<String> {
        match hook {
            Hook::Tcx | Hook::Clsact => None,
            Hook::XdpNative if facts.kind.as_deref() == Some("bond") => Some(
                "on a bond the driver runs it on each port, where the bond's addresses are not known".to_owned(),
            ),
            Hook::XdpNative if self == Self::Auto && facts.kind.as_deref() == Some("veth") => Some(
                "replies leave a veth only if its peer has an XDP program too; ask for xdp-native to try".to_owned(),
            ),
            Hook::XdpNative | Hook::XdpGeneric => tags_are_hidden(facts),
        }
    }
}

/// XDP would take a tagged frame for an untagged one, and answer into the wrong VLAN.
fn tags_are_hidden(facts: &Facts) -> Option<String> {
    let is_veth = facts.kind.as_deref() == Some("veth");
    if facts.vlans.is_empty() || (facts.strips_vlan == Some(false) && !is_veth) {
        return None;
    }
    let carries = format!("it carries VLANs ({})", facts.vlans.join(", "));
    Some(if is_veth {
        format!(
            "{carries} and the peer of a veth hands tags over beside the frame, where XDP does not see them"
        )
    } else {
        let name = &facts.name;
        format!(
            "{carries} and its tags are taken off before XDP; `ethtool -K {name} rxvlan off` allows it"
        )
    })
}

const MODES: [(&str, AttachMode); 6] = [
    ("auto", AttachMode::Auto),
    ("tc", AttachMode::Tc),
    ("tcx", AttachMode::Tcx),
    ("clsact", AttachMode::Clsact),
    ("xdp-native", AttachMode::XdpNative),
    ("xdp-generic", AttachMode::XdpGeneric),
];

impl FromStr for AttachMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = MODES.iter().find(|(name, _)| *name == text);
        found.map(|(_, mode)| *mode).ok_or_else(|| {
            let names: Vec<_> = MODES.iter().map(|(name, _)| *name).collect();
            format!("not an attach mode: {text:?}; one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = MODES.iter().find(|(_, mode)| mode == self);
        f.write_str(found.map(|(name, _)| *name).expect("every mode is listed"))
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attached => "attached",
            Self::Adopted => "adopted",
            Self::Refused => "refused",
            Self::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(kind: Option<&str>, vlans: &[&str], strips_vlan: Option<bool>) -> Facts {
        Facts {
            name: "eth0".to_owned(),
            kind: kind.map(str::to_owned),
            vlans: vlans.iter().map(|&vlan| vlan.to_owned()).collect(),
            strips_vlan,
            xdp: None,
        }
    }

    #[test]
    fn names_of_modes_are_read_back() {
        for (name, mode) in MODES {
            assert_eq!(name.parse(), Ok(mode));
            assert_eq!(mode.to_string(), name);
        }
        assert!(
            "xdp"
                .parse::<AttachMode>()
                .unwrap_err()
                .contains("xdp-native")
        );
    }

    #[test]
    fn every_xdp_ladder_ends_in_tc() {
        for (_, mode) in MODES {
            let ladder = mode.ladder();
            assert!(
                matches!(ladder.last(), Some(Hook::Tcx | Hook::Clsact)),
                "{mode}"
            );
        }
    }

    #[test]
    fn xdp_is_refused_where_vlan_tags_are_hidden_from_it() {
        let trunk = |strips| facts(None, &["eth0.100"], strips);
        for hook in [Hook::XdpNative, Hook::XdpGeneric] {
            let why = |strips| AttachMode::XdpNative.refusal(hook, &trunk(strips));
            assert!(why(Some(true)).unwrap().contains("eth0.100"));
            assert!(
                why(None).is_some(),
                "a driver that does not say is not trusted"
            );
            assert_eq!(why(Some(false)), None);
        }
        let veth = facts(Some("veth"), &["eth0.100"], Some(false));
        assert!(
            AttachMode::XdpGeneric
                .refusal(Hook::XdpGeneric, &veth)
                .is_some()
        );
        assert_eq!(AttachMode::Tc.refusal(Hook::Tcx, &trunk(Some(true))), None);
    }

    #[test]
    fn auto_does_not_try_what_loses_replies_in_silence() {
        let veth = facts(Some("veth"), &[], None);
        assert!(AttachMode::Auto.refusal(Hook::XdpNative, &veth).is_some());
        assert_eq!(AttachMode::XdpNative.refusal(Hook::XdpNative, &veth), None);
        let bond = facts(Some("bond"), &[], None);
        assert!(
            AttachMode::XdpNative
                .refusal(Hook::XdpNative, &bond)
                .is_some()
        );
        assert_eq!(
            AttachMode::XdpGeneric.refusal(Hook::XdpGeneric, &bond),
            None
        );
    }
}
