//! What the agent makes of the segments around it: over whom packets are spread, and to whom they belonged before.
//!
//! Until it is known who answers on the links, everything stays as the last process left it. It knows nothing of tables or of how
//! nodes are asked.

use super::{Agent, Output};
use crate::link::{Link, LinkName};
use crate::members::node_id;
use crate::plan::{self, BgpOutcome, Entries, L2Entry, Plan, Reason, Shares, Steering, Unrouted};
use crate::steering::history::{Facts, History, WINDOW};
use crate::steering::newcomers::{self, Newcomers};
use crate::steering::socket::Listeners;
use crate::steering::{
    Before, Legacy, Neighbourhood, Overlay, Place, Prospects, Unspread, Weights,
};
use speaker_proto::{NodeId, NodeName, Span, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of the segments, and what follows.
#[derive(Debug, Default)]
pub(super) struct Spreading {
    hood: Option<Arc<Neighbourhood>>,
    history: History,
    prospects: Arc<Prospects>,
    /// VIPs that the last process spread, until that was followed up.
    adopted: Legacy,
    /// VIPs that were to be spread over segments, and when that was so last: connections go on for a while.
    beyond: BTreeMap<IpAddr, Time>,
    newcomers: Newcomers,
    /// Its kernel was there all along, as the last process left it, which was heard so lately that connections from then count. To others it
    /// may have been dead.
    was_there: bool,
    /// Until then, at most, all is left as the last process left it, for want of knowing who else is there.
    left_until: Option<Time>,
    /// Until then, at most, routes of what is spread wait for it to be known who else is there; `None`: they do not, since a former process
    /// left everything as it must be.
    held_back: Option<Time>,
    /// Whether the last plan has routes that do.
    has_waiting: bool,
    /// Who came lately, as others said when that was asked last.
    told: BTreeSet<NodeId>,
    /// When the history of something ends.
    pub(super) due: Option<Time>,
}

impl Spreading {
    pub(super) fn new(adopted: Legacy, last_deadline: Option<Time>, now: Time) -> Self {
        let is_lately = last_deadline.is_some_and(|last| now < last + WINDOW);
        Self {
            was_there: is_lately && !adopted.is_empty(),
            left_until: (!adopted.is_empty()).then_some(now + HELD_BACK_MAX),
            held_back: adopted.is_empty().then_some(now + HELD_BACK_MAX),
            adopted,
            ..Self::default()
        }
    }

    /// When it is known who else is there, or not waited for any more; `None`: it is.
    fn found(&self) -> Option<Time> {
        let latest = self.held_back?;
        let until = self.newcomers.finding_until();
        Some(until.map_or(latest, |until| until.min(latest)))
    }
}

impl Agent {
    pub(super) fn neighbourhood(&mut self, now: Time, hood: Arc<Neighbourhood>) {
        if self.spreading.hood.as_ref() != Some(&hood) {
            self.spreading.hood = Some(hood);
            self.changed(now);
        }
    }

    pub(super) fn listeners(&mut self, now: Time, listeners: Arc<Listeners>) {
        if self.local.listeners != listeners {
            self.local.listeners = listeners;
            self.changed(now);
        }
    }

    /// Others may know better by now who came lately.
    pub(super) fn hear_of_newcomers(&mut self, now: Time) {
        let is_finding = self.spreading.newcomers.is_finding(now);
        if is_finding && self.spreading.told != newcomers::told(&self.roster) {
            self.changed(now);
        }
    }

    /// Looks whether routes of what is spread have to wait. Routers send a node that comes connections which others have, as soon as they hear of
    /// it: then it must know whose they are.
    pub(super) fn find(&mut self, now: Time) {
        let end = self.spreading.found();
        if end.is_none_or(|end| end <= now) {
            self.spreading.held_back = None;
        }
        self.local.is_finding = self.spreading.held_back.is_some();
    }

    /// Notes whether routes of this plan wait. Asked after every input, so that nobody has to go through them then.
    pub(super) fn note_waiting(&mut self, plan: &Plan) {
        let finding = BgpOutcome::Silent(Reason::NoRoute(Unrouted::Finding));
        let mut outcomes = plan.bgp_outcomes.values();
        self.spreading.has_waiting =
            self.spreading.held_back.is_some() && outcomes.any(|outcome| *outcome == finding);
    }

    /// When routes need not wait any more, if the last plan has any that do.
    pub(super) fn found(&self) -> Option<Time> {
        self.spreading
            .found()
            .filter(|_| self.spreading.has_waiting)
    }

    /// VIPs that are spread, or were until lately.
    pub(super) fn followed(&self) -> BTreeSet<Vip> {
        let rows = self.spreading.history.rows().keys();
        rows.map(|(vip, _)| *vip).collect()
    }

    /// How packets are spread from now on, for a plan with these entries that comes after the one in force.
    pub(super) fn steer(&mut self, now: Time, entries: &Entries) -> Option<Steering> {
        let came = &mut self.spreading.newcomers;
        came.see(now, &self.roster);
        self.local.newcomers = came.lately();
        self.spreading.told = newcomers::told(&self.roster);
        self.spreading
            .left_until
            .take_if(|until| self.roster.is_settled || *until <= now);
        if self.spreading.left_until.is_some() {
            // Who has not been heard yet would lose its share, and its connections with that.
            self.spreading.due = self.spreading.left_until;
            return None;
        }
        // Whoever may still have connections is looked for as well.
        let is_followed = !self.spreading.history.rows().is_empty();
        self.look_for(plan::prospects(
            &self.memo,
            &self.world,
            &self.local,
            &self.roster,
            is_followed,
        ));
        let hood = Arc::clone(self.spreading.hood.as_ref()?);
        let overlay = Arc::new(self.overlay(now));
        let Shares { shares, unspread } = plan::shares(&self.memo, &self.local, &hood, &overlay);
        let ground = Ground {
            entries,
            last: &self.plan,
            routed: match shares.is_empty() {
                true => BTreeSet::new(),
                false => plan::routed_vips(&self.plan.bgp_outcomes),
            },
            adopted: &self.spreading.adopted,
            links: &self.local.links,
            unspread: &unspread,
            own: Arc::new(Weights::from([(self.local.node.clone(), 1)])),
            newcomers: self.came_before_it_looked(now),
        };
        self.spreading.history.advance(now, shares, &ground);
        self.spreading.due = self.spreading.history.deadline(now);
        self.spreading.adopted.clear();
        Some(Steering {
            rows: self.spreading.history.rows().clone(),
            unspread,
            neighbourhood: hood,
            overlay,
        })
    }

    /// Who came when this node was not there to see it, as others say.
    fn came_before_it_looked(&self, now: Time) -> BTreeSet<NodeId> {
        if !self.spreading.newcomers.is_finding(now) {
            return BTreeSet::new();
        }
        let mut came = self.spreading.told.clone();
        if self.spreading.was_there {
            came.remove(&node_id(&self.local.node));
        }
        came
    }

    /// How other segments are reached, if anything is spread over them or was until lately.
    fn overlay(&mut self, now: Time) -> Overlay {
        let beyond = &mut self.spreading.beyond;
        beyond.extend(plan::beyond(&self.memo).into_iter().map(|vip| (vip, now)));
        beyond.retain(|_, last| now < *last + WINDOW);
        let vips = beyond.keys().copied().collect();
        plan::overlay(&self.world, &self.local, &self.roster, vips)
    }

    fn look_for(&mut self, prospects: Prospects) {
        if *self.spreading.prospects != prospects {
            self.spreading.prospects = Arc::new(prospects);
            let prospects = Arc::clone(&self.spreading.prospects);
            self.outputs.push_back(Output::LookFor(prospects));
        }
    }
}

/// What is true of places between the last plan and the next.
struct Ground<'g> {
    entries: &'g Entries,
    last: &'g Plan,
    /// VIPs whose packets routes brought here until now, whether or not they were spread.
    routed: BTreeSet<Vip>,
    adopted: &'g Legacy,
    links: &'g BTreeMap<LinkName, Link>,
    unspread: &'g BTreeMap<Place, Unspread>,
    own: Arc<Weights>,
    /// As others say, where this node was not there.
    newcomers: BTreeSet<NodeId>,
}

/// A node that cannot find out who else is there, since it has no secret for example, announces what it has, and spreads over those that it
/// knows, after this long.
const HELD_BACK_MAX: Span = Span::s(30);

impl Facts for Ground<'_> {
    fn is_stack(&self, place: &Place) -> bool {
        let had = takes(self.last.l2.get(place)) || self.routed.contains(&place.0);
        had && !self.adopted.keys().any(|(vip, _)| *vip == place.0)
    }

    fn left(&self, (vip, link): &Place) -> Option<Arc<Vec<Before>>> {
        let link = self.links.get(link)?;
        self.adopted.get(&(*vip, link.ifindex)).cloned()
    }

    fn newcomers(&self, weights: &Weights) -> BTreeSet<NodeName> {
        let came = weights.keys();
        let came = came.filter(|node| self.newcomers.contains(&node_id(node)));
        came.cloned().collect()
    }

    fn own(&self, place: &Place) -> Option<Arc<Weights>> {
        let may = takes(self.entries.get(place)) && !self.unspread.contains_key(place);
        may.then(|| Arc::clone(&self.own))
    }
}

fn takes(entry: Option<&L2Entry>) -> bool {
    entry.is_some_and(L2Entry::takes_packets)
}

#[cfg(test)]
#[path = "steering_tests.rs"]
mod tests;
