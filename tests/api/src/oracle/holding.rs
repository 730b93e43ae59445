//! What a service holds: that it may hold it, and that nobody holds it who may not.

use super::service::Service;
use super::{Picture, Rule, Violation};
use std::net::IpAddr;

/// Addresses of two services that may not share them.
pub(super) fn shared(picture: &Picture) -> Vec<Violation> {
    let ours: Vec<&Service> = picture.ours().collect();
    let mut violations = Vec::new();
    for (place, one) in ours.iter().enumerate() {
        for other in ours.iter().skip(place + 1) {
            if let Some(ip) = common(one, other).filter(|_| !one.terms.fit(&other.terms)) {
                let what = format!("{} and {} both have {ip}", one.id, other.id);
                violations.push(Violation::new(Rule::GivenTwice, what));
            }
        }
    }
    violations
}

/// An address that both hold.
pub(super) fn common(one: &Service, other: &Service) -> Option<IpAddr> {
    let mut held = one.held.iter();
    held.find(|ip| other.held.contains(ip)).copied()
}

/// Services that hold what they may not hold, or of which annotation and status do not agree.
pub(super) fn lawful(picture: &Picture) -> Vec<Violation> {
    let mut violations = Vec::new();
    for service in picture.services.values() {
        if !service.is_load_balancer {
            violations.extend(released(picture, service));
        } else if picture.is_ours(service) {
            violations.extend(agreement(picture, service));
            if let Err(why) = may_hold(picture, service, &service.held) {
                let what = format!("{} has {:?}: {why}", service.id, service.held);
                violations.push(Violation::new(Rule::Unlawful, what));
            }
        }
    }
    violations
}

/// What is left of addresses on a service that is no load balancer any more. With a class nobody sees it change.
fn released(picture: &Picture, service: &Service) -> Option<Violation> {
    let is_seen = picture.class.is_none();
    let is_clean = service.held.is_empty() && (service.from_pool.is_none() || !is_seen);
    let what = format!(
        "{} is no load balancer and has {:?}",
        service.id, service.held
    );
    (!is_clean).then(|| Violation::new(Rule::Unlawful, what))
}

/// That the annotation names the pool of what the status says.
pub(super) fn agreement(picture: &Picture, service: &Service) -> Option<Violation> {
    let why = match (service.held.as_slice(), &service.from_pool) {
        ([], None) => return None,
        ([], Some(pool)) => format!("names {pool} and there is no address"),
        (held, None) => format!("is absent and there are {held:?}"),
        (held, Some(name)) => match picture.pools.get(name) {
            Some(pool) if pool.has_all(held) => return None,
            Some(_) | None if picture.hides_pools() => return None,
            None => format!("names {name}, which is not there"),
            Some(_) => format!("names {name}, which does not have {held:?}"),
        },
    };
    let what = format!("{}: the annotation {why}", service.id);
    Some(Violation::new(Rule::Disagreement, what))
}

/// Whether a service may hold these addresses, as far as pools and its own wishes go.
pub(super) fn may_hold(picture: &Picture, service: &Service, ips: &[IpAddr]) -> Result<(), String> {
    if ips.is_empty() {
        return Ok(());
    }
    let holding: Vec<_> = picture
        .pools
        .iter()
        .filter(|(_, pool)| pool.has_all(ips))
        .collect();
    if holding.is_empty() {
        return unseen(picture);
    }
    if !service.takes(ips) {
        return Err(format!("it has the families {:?}", service.families));
    }
    if let Ok(asked) = &service.asked
        && !asked.is_empty()
        && !(asked.len() == ips.len() && asked.iter().all(|ip| ips.contains(ip)))
    {
        return Err(format!("it asks for {asked:?}"));
    }
    let serving = holding
        .iter()
        .filter(|(_, pool)| picture.serves(pool, service));
    let mut names = serving.map(|(name, _)| *name).peekable();
    if names.peek().is_none() {
        return Err("its pool is not for it".to_owned());
    }
    match &service.asked_pool {
        Some(asked) if !names.any(|name| name == asked) => Err(format!("it asks for pool {asked}")),
        Some(_) | None => Ok(()),
    }
}

/// Addresses in no pool may be of one that cannot be read now. Nothing is taken away for what cannot be read.
fn unseen(picture: &Picture) -> Result<(), String> {
    if picture.hides_pools() {
        return Ok(());
    }
    Err("they are not together in one pool".to_owned())
}
