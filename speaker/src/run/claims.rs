//! Claims of our VIPs by others: told to the operator.
//!
//! The program has counted each, and fenced where it must, before anyone hears of it here. What the agent does about
//! a claim comes with membership; a stranger's claim changes nothing but this line.

use crate::ctl::{Event, Kind};
use crate::dataplane::Claims;
use anyhow::Result;
use speaker_ebpf::abi::{Claim, ClaimKind};
use std::collections::BTreeMap;
use std::net::IpAddr;
use tokio::sync::broadcast;

/// Follows the ring until it fails.
pub(super) async fn follow(mut claims: Claims, changes: broadcast::Sender<Event>) -> Result<()> {
    loop {
        let batch = claims.next_batch().await?;
        // One line a VIP, link and claimant, however often it repeats itself within the batch.
        let mut by_claimant: BTreeMap<_, (u64, Claim)> = BTreeMap::new();
        for claim in batch {
            let seen = by_claimant
                .entry((claim.vip, claim.mac, claim.kind))
                .or_insert((0, claim));
            seen.0 += 1;
        }
        for (count, claim) in by_claimant.into_values() {
            tell_one(&claim, count, &changes);
        }
    }
}

fn tell_one(claim: &Claim, count: u64, changes: &broadcast::Sender<Event>) {
    let vip = IpAddr::from(claim.vip.addr());
    let who = match ClaimKind::from_byte(claim.kind) {
        Some(ClaimKind::Member) => "a member",
        Some(ClaimKind::Foreign) => "a stranger",
        Some(ClaimKind::Spoofed) => "a stranger in a member's name",
        None => return,
    };
    let because = format!("{who} claims it with {:?} ({count} times)", claim.mac);
    tracing::warn!(
        event = "vipClaimed",
        %vip,
        ifindex = claim.vip.ifindex(),
        mac = ?claim.mac,
        count,
        "{because}"
    );
    let _nobody_may_watch = changes.send(Event::new(Kind::Claim, vip.to_string(), because));
}
