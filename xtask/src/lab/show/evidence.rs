//! That the programs answered and the stacks did not: what each program counted meanwhile, and where the VIPs are not.

use super::{Frontend, out};
use crate::lab::Lab;
use anyhow::{Result, bail, ensure};
use std::collections::BTreeMap;

/// Answers that the program of each node has given so far.
pub(super) fn counters(lab: &Lab) -> Result<BTreeMap<String, u64>> {
    let speakers = lab.speakers().iter();
    speakers
        .map(|(node, speaker)| Ok((node.clone(), speaker.answered()?)))
        .collect()
}

/// Shows the difference since `before`, and checks that no namespace has a VIP.
///
/// # Errors
/// When a VIP is on an interface, or no program has counted an answer.
pub(super) fn show(
    lab: &Lab,
    frontends: &[Frontend],
    before: &BTreeMap<String, u64>,
) -> Result<()> {
    let mut sum = 0;
    for (node, now) in counters(lab)? {
        let answered = now - before.get(&node).copied().unwrap_or(0).min(now);
        out(&format!(
            "  the program on {node} answered {answered} ARP and neighbour requests"
        ));
        sum += answered;
    }
    ensure!(
        sum > 0,
        "the VIPs answer, but no program has counted an answer"
    );
    for netns in lab.topology().namespaces() {
        let on = netns.addresses()?;
        let owned = frontends.iter().find(|frontend| on.contains(&frontend.vip));
        if let Some(frontend) = owned {
            bail!("{} is on an interface of {}", frontend.vip, netns.name());
        }
    }
    out("  no interface of any namespace has a VIP, so no stack can have answered");
    Ok(())
}
