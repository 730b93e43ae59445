//! The routes of each audience, out of what all services ask for.
//!
//! Several services may make one route: those that share an address, and those whose addresses are in one aggregated prefix. What
//! they say of it unites by the rules of [`terms`](super::terms); where it cannot, the older service keeps its routes and
//! the younger one has none, so that a new service takes nothing away.

use super::Placed;
use super::bid::{Bid, Offer, Route, unrouted};
use super::setting::Setting;
use super::terms::Terms;
use crate::plan::Reason;
use crate::plan::sharing::age;
use speaker_proto::bgp::{Attributes, Prefix, Routes};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What all services ask for, settled.
#[derive(Debug)]
pub(super) struct Table {
    /// By audience.
    pub(super) routes: Vec<Routes>,
    /// By place of the service: why it has no routes although it asks for some.
    pub(super) silenced: BTreeMap<usize, Reason>,
}

/// A route that a service asks for.
struct Entry<'b> {
    place: usize,
    offer: &'b Offer,
    route: &'b Route,
}

impl Entry<'_> {
    const fn key(&self) -> (usize, Prefix) {
        (self.route.audience, self.route.prefix)
    }
}

impl Table {
    /// `bids` are those of all services; of those at places among `left_out` none counts.
    pub(super) fn of(
        setting: &mut Setting,
        bids: &[Placed],
        left_out: &BTreeMap<usize, Reason>,
    ) -> Self {
        let places = bids.iter().enumerate();
        let counted = places.filter(|(place, _)| !left_out.contains_key(place));
        let mut entries: Vec<Entry<'_>> = counted
            .flat_map(|(at, (_, bid))| entries(at, bid))
            .collect();
        entries.sort_unstable_by_key(|entry| (entry.key(), entry.place));
        let silenced = settle(setting, bids, &entries);
        let mut routes = vec![Vec::new(); setting.audiences.len()];
        for same in entries.chunk_by(|a, b| a.key() == b.key()) {
            let mut kept = same
                .iter()
                .filter(|e| !silenced.contains_key(&e.place))
                .peekable();
            if kept.peek().is_some() {
                let (audience, prefix) = same[0].key();
                routes[audience].push((prefix, united(setting, kept)));
            }
        }
        let routes = routes
            .into_iter()
            .map(|routes| routes.into_iter().collect());
        Self {
            routes: routes.collect(),
            silenced,
        }
    }
}

fn entries(place: usize, bid: &Bid) -> impl Iterator<Item = Entry<'_>> {
    let offer = match bid {
        Bid::Offered(offer) => Some(offer),
        Bid::Silent(_) => None,
    };
    let entry = move |offer, route| Entry {
        place,
        offer,
        route,
    };
    offer
        .into_iter()
        .flat_map(move |offer| offer.routes.iter().map(move |r| entry(offer, r)))
}

/// What peers are told of one route by those who ask for it and agree.
fn united<'b>(
    setting: &mut Setting,
    mut entries: impl Iterator<Item = &'b Entry<'b>>,
) -> Arc<Attributes> {
    let first = entries
        .next()
        .expect("somebody asks for a route that is there");
    let mut lot = &first.route.lot;
    let mut terms: Option<Terms> = None;
    let mut endpoints = first.offer.endpoints(first.route.prefix);
    for entry in entries {
        let next = &entry.route.lot;
        if !Arc::ptr_eq(lot, next) {
            let so_far = terms.as_ref().unwrap_or(&lot.terms);
            let merged = so_far.merged(&next.terms);
            terms = Some(merged.expect("those who disagree were silenced"));
            lot = next;
        }
        endpoints = endpoints.saturating_add(entry.offer.endpoints(entry.route.prefix));
    }
    match (terms, &lot.attributes) {
        (None, Some(attributes)) => Arc::clone(attributes),
        (None, None) => setting.attributes(&lot.terms, endpoints),
        (Some(terms), _) => setting.attributes(&terms, endpoints),
    }
}

/// Lets services have the routes that they ask for, older ones first, and says who gets none.
fn settle(setting: &Setting, bids: &[Placed], entries: &[Entry<'_>]) -> BTreeMap<usize, Reason> {
    let mut silenced = BTreeMap::new();
    let mut accepted: BTreeMap<(usize, Prefix), (Terms, usize)> = BTreeMap::new();
    for (place, offer) in contested(bids, entries) {
        let mut wanted = Vec::with_capacity(offer.routes.len());
        for route in &offer.routes {
            let key = (route.audience, route.prefix);
            let terms = &route.lot.terms;
            let Some((theirs, holder)) = accepted.get(&key) else {
                wanted.push((key, (terms.clone(), place)));
                continue;
            };
            match theirs.merged(terms) {
                Ok(merged) => wanted.push((key, (merged, *holder))),
                Err(clash) => {
                    let older = bids[*holder].0.id();
                    let why = unrouted(setting, clash, route.prefix, Some(older));
                    silenced.insert(place, Reason::NoRoute(why));
                    wanted.clear();
                    break;
                }
            }
        }
        accepted.extend(wanted);
    }
    silenced
}

/// The services of which a route is asked for on other terms too, older ones first.
fn contested<'b>(bids: &[Placed], entries: &[Entry<'b>]) -> Vec<(usize, &'b Offer)> {
    let mut places = BTreeSet::new();
    let mut contested = Vec::new();
    for same in entries.chunk_by(|a, b| a.key() == b.key()) {
        let lot = &same[0].route.lot;
        if same.iter().any(|entry| !Arc::ptr_eq(&entry.route.lot, lot)) {
            let new = same.iter().filter(|entry| places.insert(entry.place));
            contested.extend(new.map(|entry| (entry.place, entry.offer)));
        }
    }
    contested.sort_by(|a, b| age(&bids[a.0].0).cmp(&age(&bids[b.0].0)));
    contested
}
