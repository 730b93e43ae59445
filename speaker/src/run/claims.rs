//! Claims of our VIPs by others: told to the operator, a stranger's defended, a member's brought to the deciding thread.
//!
//! The program has counted each, and fenced where it must, before anyone hears of it here. A claim of a VIP that this node
//! does not hold is its holder announcing itself. What a member's claim leads to is decided elsewhere.

use crate::ctl::{Event, Kind};
use crate::dataplane::Claims;
use crate::drive::decide::View;
use anyhow::Result;
use speaker_core::fence::Raised;
use speaker_ebpf::abi::{Claim, ClaimKind, Entry, Mode};
use speaker_proto::announce::Place;
use speaker_proto::{Mac, Vip};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, watch};

/// Where claims are told.
pub(super) struct Hearers {
    /// What this node holds.
    pub(super) views: watch::Receiver<Option<Arc<View>>>,
    /// `ctl watch`.
    pub(super) changes: broadcast::Sender<Event>,
    /// The announcer, which defends; one that is behind has defended lately.
    pub(super) claimed: mpsc::Sender<Place>,
    /// The deciding thread, told of members' claims without being waited for. `false`: it had no room; the fence is then found by
    /// `drive/fences.rs`.
    pub(super) raised: Box<dyn Fn(Raised) -> bool + Send>,
}

/// Follows the ring until it fails.
pub(super) async fn follow(mut claims: Claims, hearers: Hearers) -> Result<()> {
    loop {
        let batch = claims.next_batch().await?;
        // One line a VIP, link and claimant, however often it repeats itself within the batch.
        let mut by_claimant: BTreeMap<_, (u64, Claim)> = BTreeMap::new();
        for claim in batch {
            let seen = by_claimant
                .entry((claim.vip, claim.mac, claim.kind))
                .or_insert((0, claim));
            // The newest: clearing a fence up to its generation settles all of them.
            *seen = (seen.0 + 1, claim);
        }
        for (count, claim) in by_claimant.into_values() {
            hearers.hear(&claim, count);
        }
    }
}

impl Hearers {
    fn hear(&self, claim: &Claim, count: u64) {
        let vip = IpAddr::from(claim.vip.addr());
        let Some(kind) = ClaimKind::from_byte(claim.kind) else {
            return;
        };
        let who = match kind {
            ClaimKind::Member => "a member",
            ClaimKind::Foreign => "a stranger",
            ClaimKind::Spoofed => "a stranger in a member's name",
        };
        let because = format!("{who} claims it with {:?} ({count} times)", claim.mac);
        if !self.is_held(claim) || self.is_own(claim) {
            tracing::debug!(event = "vipClaimed", %vip, ifindex = claim.vip.ifindex(), "{because}");
            return;
        }
        match kind {
            ClaimKind::Member => {
                let _found_by_the_next_look = (self.raised)(Raised {
                    vip: Vip(vip),
                    ifindex: claim.vip.ifindex(),
                    slot: claim.slot,
                    generation: claim.fence_gen,
                    claimant: Some(Mac(claim.mac.0)),
                });
            }
            ClaimKind::Foreign | ClaimKind::Spoofed => {
                let _defended_lately = self.claimed.try_send((Vip(vip), claim.vip.ifindex()));
            }
        }
        tracing::warn!(
            event = "vipClaimed",
            %vip,
            ifindex = claim.vip.ifindex(),
            mac = ?claim.mac,
            count,
            "{because}"
        );
        let _nobody_may_watch =
            self.changes
                .send(Event::new(Kind::Claim, vip.to_string(), because));
    }

    /// Another link of this node on the same segment says what it answers for.
    fn is_own(&self, claim: &Claim) -> bool {
        let view = self.views.borrow();
        let mut links = view.iter().flat_map(|view| view.local.links.values());
        links.any(|link| link.mac.0 == claim.mac.0)
    }

    fn is_held(&self, claim: &Claim) -> bool {
        let view = self.views.borrow();
        let entry = view
            .as_ref()
            .and_then(|view| view.tables.vips.get(&claim.vip));
        entry.and_then(Entry::mode) == Some(Mode::Answer)
    }
}
