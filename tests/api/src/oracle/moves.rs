//! What may change between two moments: who may lose an address, and who may get one.

use super::holding::{self, may_hold};
use super::pool::{Pool, Standing};
use super::service::Service;
use super::{Picture, Rule, Violation};

/// Services that lost an address which they could have kept.
///
/// `before` is the cluster at rest, `during` what it was after each change since then, and `after` the cluster at rest
/// again. What was not allowed at some moment between may be gone.
pub(super) fn kept(before: &Picture, during: &[Picture], after: &Picture) -> Vec<Violation> {
    let mut violations = Vec::new();
    for service in before.ours().filter(|service| !service.held.is_empty()) {
        let moments: Vec<&Picture> = during.iter().chain([after]).collect();
        let Some(now) = after.services.get(&service.id) else {
            continue;
        };
        if service.held.iter().all(|ip| now.held.contains(ip)) {
            continue;
        }
        if moments
            .iter()
            .all(|moment| may_keep(before, service, moment))
        {
            let what = format!(
                "{} had {:?} and has {:?}",
                service.id, service.held, now.held
            );
            violations.push(Violation::new(Rule::Moved, what));
        }
    }
    violations
}

/// Whether nothing in the cluster at this moment forbids the service what it held before.
fn may_keep(before: &Picture, service: &Service, moment: &Picture) -> bool {
    let Some(now) = moment.services.get(&service.id) else {
        return false;
    };
    if now.uid != service.uid || !moment.is_ours(now) || !is_judged(before, service, moment) {
        return false;
    }
    let mut as_before = now.clone();
    as_before.from_pool.clone_from(&service.from_pool);
    if may_hold(moment, &as_before, &service.held).is_err() {
        return false;
    }
    let mut neighbours = before
        .ours()
        .filter(|other| other.id != service.id && holding::common(service, other).is_some());
    neighbours.all(|neighbour| match moment.services.get(&neighbour.id) {
        // Of two that fit no longer the one that changed goes. Of two that both change, one is looked at first.
        Some(other) if moment.is_ours(other) => {
            let fits = other.terms.fit(&now.terms) && neighbour.terms.fit(&now.terms);
            fits || now.terms == service.terms
        }
        Some(_) | None => true,
    })
}

/// Whether it can be told from outside what is in force of the service's pool. A pool that overlaps another or cannot be
/// read keeps for a service what no other pool has; what its own edits would change is not to be seen.
fn is_judged(before: &Picture, service: &Service, moment: &Picture) -> bool {
    let now = moment.services.get(&service.id);
    let named = |name: Option<&String>| name.and_then(|name| moment.pools.get_key_value(name));
    let is_irregular = |pool: &Pool| pool.standing != Standing::Regular;
    let covers = |pool: &Pool| service.held.iter().any(|ip| pool.covers(*ip));
    let own = named(service.from_pool.as_ref());
    let covering = moment.pools.iter().filter(|(_, pool)| covers(pool));
    let mut concerned = covering.clone().chain(own);
    if concerned.any(|(_, pool)| is_irregular(pool)) {
        let is_alone = covering
            .map(|(name, _)| name)
            .all(|name| own.is_some_and(|(own, _)| name == own));
        let is_same = now.is_some_and(|now| !now.differs(service));
        return is_alone && is_same && before.namespaces == moment.namespaces;
    }
    // No pool that can be read has them; one that cannot be read may have had them once.
    let is_seen = moment
        .pools
        .values()
        .any(|pool| pool.has_all(&service.held));
    if !is_seen && moment.hides_pools() {
        return false;
    }
    let asked = named(now.and_then(|now| now.asked_pool.as_ref()));
    !asked.is_some_and(|(_, pool)| is_irregular(pool))
}

/// Services that were given, between two moments, an address which another had and could not share. The terms of `rest`,
/// when all was quiet last, count as well: what the controller saw may be that old.
pub(super) fn given(rest: &Picture, earlier: &Picture, later: &Picture) -> Vec<Violation> {
    let mut violations = Vec::new();
    for service in later.ours() {
        let had = earlier
            .services
            .get(&service.id)
            .filter(|had| had.uid == service.uid);
        let is_new = |ip| had.is_none_or(|had| !had.held.contains(ip));
        for ip in service.held.iter().filter(|ip| is_new(ip)) {
            let mut others = later
                .ours()
                .filter(|other| other.id != service.id && other.held.contains(ip));
            let fitted = |other: &Service| {
                let then = |id: &String| rest.services.get(id).map(|service| &service.terms);
                let (mine, theirs) = (then(&service.id), then(&other.id));
                let mine = mine.into_iter().chain([&service.terms]);
                let mut pairs = mine.flat_map(|mine| {
                    theirs
                        .into_iter()
                        .chain([&other.terms])
                        .map(move |theirs| mine.fit(theirs))
                });
                pairs.any(|fits| fits)
            };
            if let Some(other) = others.find(|other| !fitted(other)) {
                let what = format!("{} is given {ip} while {} has it", service.id, other.id);
                violations.push(Violation::new(Rule::GivenTwice, what));
            }
        }
        violations.extend(half_written(later, service, had));
    }
    violations
}

/// An address without the annotation that belongs to it, or the other way round.
fn half_written(later: &Picture, service: &Service, had: Option<&Service>) -> Option<Violation> {
    let is_written =
        had.is_none_or(|had| (&had.held, &had.from_pool) != (&service.held, &service.from_pool));
    let is_half = service.held.is_empty() != service.from_pool.is_none();
    // Without a status of its own the API server empties it alone, as when the type changes.
    let is_emptied = service.held.is_empty();
    if !is_written || !is_half || is_emptied {
        return None;
    }
    holding::agreement(later, service)
}

/// Load balancers of other classes whose addresses changed. Nobody but a controller changes them.
pub(super) fn untouched(before: &Picture, after: &Picture) -> Vec<Violation> {
    let mut violations = Vec::new();
    let others = |picture: &Picture, service: &Service| {
        service.is_load_balancer && service.class != picture.class
    };
    for service in after.services.values().filter(|s| others(after, s)) {
        let Some(had) = before.services.get(&service.id) else {
            continue;
        };
        let is_same = had.uid == service.uid && others(before, had);
        if is_same && (&had.held, &had.from_pool) != (&service.held, &service.from_pool) {
            let what = format!("{} is of {:?} and was written", service.id, service.class);
            violations.push(Violation::new(Rule::NotOurs, what));
        }
    }
    violations
}
