//! What we say in OPEN, and what the peer's OPEN makes of it (RFC 4271 §4.2, §6.2; RFC 5492).
//!
//! Pure: settings and messages in, values out.

use super::settings::{PeerAsn, Settings};
use super::status::Negotiated;
use crate::Span;
use crate::bgp::{Capabilities, Family, GracefulRestart, Notification, Open};
use std::collections::BTreeSet;

/// What graceful restart says of this process (RFC 4724 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Restarted {
    /// R.
    pub(super) is_restarting: bool,
    /// F of every family.
    pub(super) kept_forwarding: bool,
}

/// Our OPEN.
pub(super) fn ours(settings: &Settings, restarted: Restarted) -> Open {
    let graceful = settings.graceful_restart.map(|graceful| GracefulRestart {
        is_restarting: restarted.is_restarting,
        has_notification: graceful.has_notification,
        seconds: graceful.seconds,
        families: (settings.families.iter())
            .map(|family| (*family, restarted.kept_forwarding))
            .collect(),
    });
    Open {
        asn: settings.asn,
        hold_seconds: settings.hold_seconds,
        router_id: settings.router_id,
        capabilities: Capabilities {
            families: settings.families.clone(),
            has_route_refresh: true,
            has_enhanced_refresh: true,
            has_four_byte_as: true,
            has_v4_over_v6_next_hop: settings.has_v4_over_v6_next_hop,
            graceful_restart: graceful,
            others: BTreeSet::new(),
        },
    }
}

/// What both OPENs lead to.
///
/// # Errors
/// The NOTIFICATION for an OPEN that we do not take.
pub(super) fn negotiate(settings: &Settings, peer: &Open) -> Result<Negotiated, Notification> {
    let is_external = peer.asn != settings.asn;
    let is_expected = match settings.peer_asn {
        PeerAsn::Number(asn) => peer.asn == asn,
        PeerAsn::Internal => !is_external,
        PeerAsn::External => is_external,
    };
    if !is_expected {
        return Err(BAD_PEER_AS);
    }
    // RFC 6286 §2.2: within one AS an identifier is no other speaker's.
    if !is_external && peer.router_id == settings.router_id {
        return Err(BAD_IDENTIFIER);
    }
    let families = common(&settings.families, &peer.capabilities.families);
    if families.is_empty() {
        return Err(no_family(&settings.families));
    }
    let theirs = &peer.capabilities;
    let hold = Span::s(settings.hold_seconds.min(peer.hold_seconds).into());
    let graceful = (settings.graceful_restart).zip(theirs.graceful_restart.as_ref());
    Ok(Negotiated {
        hold,
        keepalive: keepalive(settings, hold),
        is_external,
        has_four_byte_as: theirs.has_four_byte_as,
        has_v4_over_v6_next_hop: settings.has_v4_over_v6_next_hop && theirs.has_v4_over_v6_next_hop,
        has_graceful_restart: graceful.is_some(),
        has_hard_reset: graceful
            .is_some_and(|(ours, theirs)| ours.has_notification && theirs.has_notification),
        has_enhanced_refresh: theirs.has_enhanced_refresh && theirs.has_route_refresh,
        families,
    })
}

/// The time between two KEEPALIVEs (RFC 4271 §4.4): as configured, at most a third of the hold time, at least a second; zero without a
/// hold time.
pub(super) fn keepalive(settings: &Settings, hold: Span) -> Span {
    if hold == Span::s(0) {
        return hold;
    }
    let third = Span::from_ns(hold.ns() / 3);
    let configured = Span::s(settings.keepalive_seconds.into());
    configured.min(third).max(KEEPALIVE_MIN)
}

/// Families of both sides. RFC 4760 §8: a peer that says nothing of families has IPv4.
fn common(ours: &BTreeSet<Family>, theirs: &BTreeSet<Family>) -> BTreeSet<Family> {
    let unsaid = BTreeSet::from([Family::V4]);
    let theirs = if theirs.is_empty() { &unsaid } else { theirs };
    ours.intersection(theirs).copied().collect()
}

/// RFC 5492 §5: the data are the capabilities that the peer would need.
fn no_family(ours: &BTreeSet<Family>) -> Notification {
    let capability = |family: &Family| match family {
        Family::V4 => [1, 4, 0, 1, 0, 1],
        Family::V6 => [1, 4, 0, 2, 0, 1],
    };
    Notification {
        data: ours.iter().flat_map(capability).collect(),
        ..Notification::new(2, 7)
    }
}

/// RFC 4271 §4.4: KEEPALIVEs are not sent more often than this.
pub(super) const KEEPALIVE_MIN: Span = Span::s(1);
/// RFC 4271 §6.2.
pub(super) const BAD_PEER_AS: Notification = Notification::new(2, 2);
const BAD_IDENTIFIER: Notification = Notification::new(2, 3);

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
