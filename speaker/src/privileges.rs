//! Which capabilities the speaker starts with, which it keeps, and what each is for.
//!
//! Called on the main thread before any other thread exists: capabilities belong to threads, and those that come
//! later inherit what is left.

use anyhow::{Context, Result, bail};
use caps::{CapSet, Capability, CapsHashSet};
use std::num::NonZeroU16;

/// A capability and the reason to have it.
pub(crate) struct Need {
    /// The capability.
    pub(crate) cap: Capability,
    /// What for.
    pub(crate) what_for: &'static str,
    /// Whether it is kept after the start.
    pub(crate) kept: bool,
}

/// Everything the speaker needs by default, and nothing else.
pub(crate) const NEEDS: [Need; 4] = [
    Need {
        cap: Capability::CAP_BPF,
        what_for: "create, pin, read and write the maps, load the programs",
        kept: true,
    },
    Need {
        cap: Capability::CAP_NET_ADMIN,
        what_for: "attach the programs to links and sockets that come later, proxy-neighbour entries, arp_announce, rules and routes for VIPs that sockets serve",
        kept: true,
    },
    Need {
        cap: Capability::CAP_NET_RAW,
        what_for: "gratuitous ARP, unsolicited neighbour advertisements, probes and hearing their answers, router advertisements of BGP peers, VRFs",
        kept: true,
    },
    Need {
        cap: Capability::CAP_PERFMON,
        what_for: "pass the verifier with the pointer arithmetic of packet parsing",
        kept: false,
    },
];

/// What it needs besides where BGP peers may dial a port below 1024.
pub(crate) const LISTENING: Need = Need {
    cap: Capability::CAP_NET_BIND_SERVICE,
    what_for: "listen for BGP peers (only with `--bgp-listen-port` below 1024)",
    kept: true,
};

/// What it needs with this port on which BGP peers may dial.
fn needs(bgp_port: Option<NonZeroU16>) -> impl Iterator<Item = &'static Need> {
    let is_low = bgp_port.is_some_and(|port| port.get() < 1024);
    NEEDS.iter().chain(is_low.then_some(&LISTENING))
}

/// What of it this thread lacks.
pub(crate) fn lacking(bgp_port: Option<NonZeroU16>) -> Result<Vec<&'static Need>> {
    let have = caps::read(None, CapSet::Effective).context("failed to read the capabilities")?;
    Ok(needs(bgp_port)
        .filter(|need| !have.contains(&need.cap))
        .collect())
}

/// Fails with the list of what is missing.
pub(crate) fn check(bgp_port: Option<NonZeroU16>) -> Result<()> {
    let missing: Vec<String> = lacking(bgp_port)?
        .iter()
        .map(|need| format!("  {}: {}", need.cap, need.what_for))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "the speaker lacks capabilities; run it as root, or grant it:\n{}",
        missing.join("\n")
    )
}

/// Gives up every capability that is not kept, for good, and forbids gaining any (`no_new_privs`).
pub(crate) fn drop_the_rest(bgp_port: Option<NonZeroU16>) -> Result<()> {
    let keep: CapsHashSet = needs(bgp_port)
        .filter(|need| need.kept)
        .map(|need| need.cap)
        .collect();
    let drop = |set| -> Result<()> {
        let have =
            caps::read(None, set).with_context(|| format!("failed to read the {set:?} set"))?;
        for cap in have.difference(&keep) {
            caps::drop(None, set, *cap)
                .with_context(|| format!("failed to drop {cap} ({set:?})"))?;
        }
        Ok(())
    };
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        drop(CapSet::Bounding)?;
    }
    drop(CapSet::Ambient)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())
        .context("failed to empty the inheritable set")?;
    caps::set(None, CapSet::Effective, &keep).context("failed to set the effective set")?;
    caps::set(None, CapSet::Permitted, &keep).context("failed to set the permitted set")?;
    rustix::thread::set_no_new_privs(true).context("failed to set no_new_privs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_what_each_capability_is_for() {
        let document = include_str!("../../docs/security.md");
        let rows = document.lines().filter(|line| line.starts_with("| `CAP_"));
        let told: Vec<&str> = rows.collect();
        let wanted: Vec<String> = NEEDS
            .iter()
            .chain([&LISTENING])
            .map(|need| {
                let kept = if need.kept { "yes" } else { "no" };
                format!("| `{}` | {} | {kept} |", need.cap, need.what_for)
            })
            .collect();
        assert_eq!(told, wanted);
    }
}
