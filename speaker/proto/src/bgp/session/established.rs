//! Established: what the peer is told, and when it is told that this was all (RFC 4271 §9.2; RFC 4724, RFC 2918, RFC 7313).
//!
//! One message is made each time the driver asks for one, and none while too much of what it has is not written: routes that a
//! slow peer does not take wait in the shared table.

use super::Side;
use super::cause::COLLIDED;
use super::connection::Connection;
use super::machine::Session;
use super::open::Restarted;
use super::receive::other;
use crate::bgp::rib::{Sent, Step};
use crate::bgp::wire::{self, NextHop, Path, Refresh};
use crate::bgp::{Attributes, Community, Family, Routes};
use crate::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What belongs to a session that is up.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) side: Side,
    pub(super) since: Time,
    pub(super) sent: Sent,
    /// After so long it has proven that it works.
    proven: Span,
    /// Families of which End-of-RIB is still to be said.
    unended: BTreeSet<Family>,
    /// Families that are told anew, and whether their end is to be marked.
    refreshing: BTreeMap<Family, bool>,
    /// Families that the peer asked for meanwhile; so each is told anew once at a time.
    asked: BTreeSet<Family>,
}

impl Session {
    /// The peer's KEEPALIVE confirmed our OPEN.
    pub(super) fn come_up(&mut self, side: Side) {
        if self.connections.contains_key(&other(side)) {
            self.send_notification(other(side), &COLLIDED);
            self.drop_connection(other(side));
        }
        self.stop_dialling();
        self.wait = None;
        self.dial_backoff.reset();
        let asn = self.settings.asn;
        let Some(connection) = self.connections.get_mut(&side) else {
            return;
        };
        connection.establish();
        let Some(negotiated) = connection.negotiated() else {
            return;
        };
        let families = negotiated.families.iter().copied();
        let announced = families.filter(|family| path(connection, asn, *family).is_some());
        let mut sent = Sent::new(announced.collect());
        sent.want(&self.routes);
        self.up = Some(Up {
            side,
            since: self.now,
            sent,
            proven: match negotiated.hold {
                hold if hold > Span::s(0) => hold,
                _ => PROVEN_WITHOUT_HOLD,
            },
            unended: negotiated.families.clone(),
            refreshing: BTreeMap::new(),
            asked: BTreeSet::new(),
        });
        // RFC 4724 §4.1: R in the first session only. From here on forwarding goes on whatever happens to a connection.
        self.restarted = Restarted {
            is_restarting: false,
            kept_forwarding: true,
        };
        self.counters.established += 1;
    }

    /// If it was this connection that was up, none is now.
    pub(super) fn leave_established(&mut self, side: Side) {
        let Some(up) = self.up.take_if(|up| up.side == side) else {
            return;
        };
        self.counters.dropped += 1;
        if self.now.since(up.since) >= up.proven {
            self.idle_backoff.reset();
        }
    }

    pub(super) fn set_routes(&mut self, routes: Arc<Routes>, is_complete: bool) {
        self.routes = routes;
        self.is_complete |= is_complete;
        if self.is_withdrawing() {
            return;
        }
        if let Some(up) = &mut self.up {
            up.sent.want(&self.routes);
        }
    }

    /// RFC 2918 §4: everything of this family again, once what is being said now is said.
    pub(super) fn take_refresh(&mut self, family: Option<Family>) {
        if let (Some(up), Some(family)) = (&mut self.up, family) {
            up.asked.insert(family);
        }
    }

    pub(super) fn keep_alive(&mut self, side: Side) {
        let Some(connection) = self.connections.get_mut(&side) else {
            return;
        };
        if connection.has_room() {
            self.send_keepalive(side);
        } else {
            // So much waits to be read that it does what a KEEPALIVE would.
            connection.spoke(self.now, &mut self.chance);
        }
    }

    /// Gives the driver the next UPDATE or mark, if there is one and room for it.
    pub(super) fn say_routes(&mut self) {
        let is_draining = self.is_draining();
        let Some(up) = &mut self.up else {
            return;
        };
        let side = up.side;
        let Some(connection) = self.connections.get(&side) else {
            return;
        };
        if !connection.has_room() {
            return;
        }
        let Some(step) = up.sent.step() else {
            self.say_mark(side);
            return;
        };
        let mut prefixes = up.sent.prefixes().peekable();
        let first = prefixes.peek().map(|prefix| prefix.family());
        let Some(path) = first.and_then(|family| path(connection, self.settings.asn, family))
        else {
            return;
        };
        let mut bytes = Vec::new();
        let count = match step {
            Step::Withdraw => wire::withdraw(&mut bytes, &path, &mut prefixes),
            Step::Announce(attributes) if is_draining => {
                let attributes = drained(&attributes, self.settings.drain_prepends);
                wire::announce(&mut bytes, &path, &attributes, &mut prefixes)
            }
            Step::Announce(attributes) => {
                wire::announce(&mut bytes, &path, &attributes, &mut prefixes)
            }
        };
        drop(prefixes);
        up.sent.told(count);
        self.send_update(side, bytes);
    }

    /// All was told: what is to be said of that.
    fn say_mark(&mut self, side: Side) {
        let is_complete = self.is_complete;
        let Some(up) = &mut self.up else {
            return;
        };
        // RFC 4724 §2: never before the routes are known, else the peer drops those that it kept.
        if is_complete && let Some(family) = up.unended.pop_first() {
            let mut bytes = Vec::new();
            wire::end_of_rib(&mut bytes, family);
            self.send_update(side, bytes);
            return;
        }
        while let Some((family, is_marked)) = up.refreshing.pop_first() {
            if is_marked {
                self.send_refresh(side, family, Refresh::End);
                return;
            }
        }
        if let Some(family) = up.asked.pop_first() {
            self.tell_again(side, family);
        }
    }

    fn tell_again(&mut self, side: Side, family: Family) {
        let connection = self.connections.get(&side);
        let negotiated = connection.and_then(Connection::negotiated);
        let Some((up, negotiated)) = self.up.as_mut().zip(negotiated) else {
            return;
        };
        if !negotiated.families.contains(&family) {
            return;
        }
        up.sent.again(family);
        // RFC 7313 §4: no mark of a beginning before End-of-RIB.
        let is_marked = negotiated.has_enhanced_refresh && !up.unended.contains(&family);
        up.refreshing.insert(family, is_marked);
        if is_marked {
            self.send_refresh(side, family, Refresh::Begin);
        } else {
            self.say_routes();
        }
    }

    /// Families that both sides have and for which this side has no next hop.
    pub(super) fn without_next_hop(&self) -> BTreeSet<Family> {
        let connection = self
            .up
            .as_ref()
            .and_then(|up| self.connections.get(&up.side));
        let families = connection
            .and_then(Connection::negotiated)
            .map(|n| &n.families);
        let has_hop = |family: &Family| {
            connection
                .is_some_and(|connection| path(connection, self.settings.asn, *family).is_some())
        };
        let families = families.into_iter().flatten().copied();
        families.filter(|family| !has_hop(family)).collect()
    }
}

/// What is added to routes of a family on this connection; `None`: there is no next hop for them.
fn path(connection: &Connection, asn: u32, family: Family) -> Option<Path> {
    let negotiated = connection.negotiated()?;
    let hops = connection.next_hops;
    let v6 = hops.v6.map(|address| NextHop::V6 {
        address,
        link_local: hops.link_local.filter(|link_local| *link_local != address),
    });
    let next_hop = match family {
        Family::V4 if negotiated.has_v4_over_v6_next_hop && v6.is_some() => v6,
        Family::V4 => hops.v4.map(NextHop::V4),
        Family::V6 => v6,
    };
    Some(Path {
        asn,
        is_ebgp: negotiated.is_external,
        has_four_byte_as: negotiated.has_four_byte_as,
        next_hop: next_hop?,
    })
}

/// What makes routers prefer any other way: the community of RFC 8326 §4, the lowest preference within the AS, a longer path beyond it.
fn drained(attributes: &Attributes, prepends: u8) -> Attributes {
    let mut drained = attributes.clone();
    drained.local_pref = 0;
    drained.prepends = drained.prepends.saturating_add(prepends);
    while drained.communities.len() >= COMMUNITIES_MAX {
        drained.communities.pop_last();
    }
    drained.communities.insert(Community::GRACEFUL_SHUTDOWN);
    drained
}

/// Communities of a route: as many as [`Attributes`] may have.
const COMMUNITIES_MAX: usize = 63;
/// A session without hold time that lived so long counts as one that works.
const PROVEN_WITHOUT_HOLD: Span = Span::s(90);
