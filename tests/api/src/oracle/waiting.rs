//! Services without an address: that there is none for them, and that what is said of it is so.

use super::pool::{Pool, Standing};
use super::service::{Family, Malformed, Policy, Service};
use super::{Picture, Rule, Violation, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A text that an event may have.
enum Cause {
    Exactly(String),
    /// What follows names objects in an order that is left open.
    Begins(String),
    Contains(&'static str),
}

/// Why a service has no address.
enum Verdict {
    /// There is one for it.
    InVain(String),
    /// Nothing is said of it.
    Silent,
    /// For one of these causes.
    Told(Vec<Cause>),
}

/// Services that wait without need, or for another reason than they are told.
pub(super) fn waiting(picture: &Picture, events: &[Value]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for service in picture.ours().filter(|service| !service.is_going) {
        match service.held.as_slice() {
            [] => violations.extend(without(picture, service, events)),
            [one] => violations.extend(with_one(picture, service, *one)),
            _both => {}
        }
    }
    violations
}

fn without(picture: &Picture, service: &Service, events: &[Value]) -> Option<Violation> {
    let causes = match verdict(picture, service) {
        Verdict::InVain(why) => {
            let what = format!("{} has no address, and {why}", service.id);
            return Some(Violation::new(Rule::WaitsInVain, what));
        }
        Verdict::Silent => return None,
        Verdict::Told(causes) => causes,
    };
    let told = last_told(service, events);
    let begin = format!("Failed to allocate IP for \"{}\": ", service.id);
    let cause = told.and_then(|told| told.strip_prefix(&begin));
    if cause.is_some_and(|cause| causes.iter().any(|expected| expected.is(cause))) {
        return None;
    }
    let expected: Vec<_> = causes.iter().map(Cause::shown).collect();
    let what = format!("{} is told {told:?}, expected {expected:?}", service.id);
    Some(Violation::new(Rule::UntrueReason, what))
}

impl Cause {
    fn is(&self, cause: &str) -> bool {
        match self {
            Self::Exactly(text) => cause == text,
            Self::Begins(text) => cause.starts_with(text),
            Self::Contains(text) => cause.contains(text),
        }
    }

    fn shown(&self) -> &str {
        match self {
            Self::Exactly(text) | Self::Begins(text) => text,
            Self::Contains(text) => text,
        }
    }
}

/// The last failure that the service was told of.
fn last_told<'e>(service: &Service, events: &'e [Value]) -> Option<&'e str> {
    let is_about = |event: &&Value| {
        let subject = &event["involvedObject"];
        let id = format!("{}/{}", text(&subject["namespace"]), text(&subject["name"]));
        let is_same = subject["uid"].is_null() || text(&subject["uid"]) == service.uid;
        id == service.id && is_same && text(&event["reason"]) == "AllocationFailed"
    };
    events
        .iter()
        .rfind(is_about)
        .map(|event| text(&event["message"]))
}

fn verdict(picture: &Picture, service: &Service) -> Verdict {
    let lacks_family = service.policy == Policy::Require && service.families.len() < 2;
    let mut pools = picture.pools.values();
    let is_unconfigured = pools.all(|pool| pool.standing == Standing::Broken);
    if is_unconfigured || service.families.is_empty() || lacks_family {
        return Verdict::Silent;
    }
    let asked = match &service.asked {
        Ok(asked) => asked,
        Err(malformed) => return Verdict::Told(vec![Cause::Contains(malformed.text())]),
    };
    if !asked.is_empty() {
        return addresses(picture, service, asked);
    }
    match &service.asked_pool {
        Some(name) => pool(picture, service, name),
        None => anywhere(picture, service),
    }
}

impl Malformed {
    fn text(self) -> &'static str {
        match self {
            Self::Both => "svc.Spec.LoadBalancerIP",
            Self::Text => "invalid ",
            Self::Families => "IPFamilyForAddresses: ",
        }
    }
}

/// Of a service that asks for addresses.
fn addresses(picture: &Picture, service: &Service, asked: &[IpAddr]) -> Verdict {
    let quoted: Vec<_> = asked.iter().map(|ip| format!("\"{ip}\"")).collect();
    let list = format!("[{}]", quoted.join(" "));
    let families: BTreeSet<_> = asked.iter().copied().map(Family::of).collect();
    let requested =
        |rest: &str| Cause::Exactly(format!("requested loadBalancer IP(s) {list} {rest}"));
    let told = |cause| Verdict::Told(vec![cause]);
    if families != service.families {
        return told(requested("does not match the ipFamily of the service"));
    }
    let mut pools = picture.pools.iter();
    let Some((name, pool)) = pools.find(|(_, pool)| pool.has_all(asked)) else {
        // What is in force of a pool that cannot be read is not to be seen.
        if !picture.is_regular() {
            return Verdict::Silent;
        }
        return told(match &service.asked_pool {
            Some(pool) => requested(&format!(
                "is not compatible with requested address pool {pool}"
            )),
            None => Cause::Exactly(format!("{list} is not allowed in config")),
        });
    };
    if let Some(other) = service.asked_pool.as_ref().filter(|other| *other != name) {
        return told(requested(&format!(
            "is not compatible with requested address pool {other}"
        )));
    }
    if pool.standing != Standing::Regular {
        return Verdict::Silent;
    }
    if !picture.serves(pool, service) {
        return told(not_compatible(name));
    }
    let causes: Vec<_> = asked
        .iter()
        .flat_map(|ip| taken(picture, service, *ip))
        .collect();
    if causes.is_empty() {
        return Verdict::InVain(format!("{list} can be had"));
    }
    Verdict::Told(causes)
}

/// What keeps an address from a service: those who have it.
fn taken(picture: &Picture, service: &Service, ip: IpAddr) -> Vec<Cause> {
    let holders = picture
        .ours()
        .filter(|other| other.id != service.id && other.held.contains(&ip));
    let mut causes = Vec::new();
    for holder in holders {
        if !holder.terms.fit_but_for_ports(&service.terms) {
            causes.push(Cause::Begins(format!(
                "can't change sharing key for \"{}\", address also in use by ",
                service.id
            )));
        }
        let clashing = holder.terms.ports.intersection(&service.terms.ports);
        causes.extend(clashing.map(|(protocol, port)| {
            Cause::Exactly(format!(
                "port {protocol}/{port} is already in use on \"{ip}\""
            ))
        }));
    }
    causes
}

/// Of a service that asks for a pool.
fn pool(picture: &Picture, service: &Service, name: &str) -> Verdict {
    let told = |cause| Verdict::Told(vec![cause]);
    let Some(pool) = picture.pools.get(name) else {
        return told(Cause::Exactly(format!("unknown pool {name:?}")));
    };
    if pool.standing != Standing::Regular {
        return Verdict::Silent;
    }
    if !picture.serves(pool, service) {
        return told(not_compatible(name));
    }
    if let Some(why) = offer(picture, service, name, pool) {
        return Verdict::InVain(why);
    }
    let mut families = service.families.iter();
    let has = |family: &Family| pool.has_family(*family);
    told(match service.families.len() {
        1 if !families.all(has) => {
            Cause::Exactly("[\"<nil>\"] is not allowed in config".to_owned())
        }
        1 => Cause::Exactly(format!("no available IPs in pool {name}")),
        _two => Cause::Exactly(format!("no available IPs in pool {name} for dual IPFamily")),
    })
}

/// Of a service that asks for nothing.
fn anywhere(picture: &Picture, service: &Service) -> Verdict {
    let offered = picture
        .pools
        .iter()
        .filter(|(_, pool)| pool.is_offered(service, &picture.namespaces));
    let mut offers = offered.filter_map(|(name, pool)| offer(picture, service, name, pool));
    match offers.next() {
        Some(why) => Verdict::InVain(why),
        None => Verdict::Told(vec![Cause::Exactly("no available IPs".to_owned())]),
    }
}

/// What the pool has for the service, in words; nothing if it may give nothing.
fn offer(picture: &Picture, service: &Service, name: &str, pool: &Pool) -> Option<String> {
    if pool.standing != Standing::Regular {
        return None;
    }
    let free = |family: &Family| usable(picture, service, pool, *family);
    let found: Vec<IpAddr> = service.families.iter().filter_map(free).collect();
    let suffices = match service.policy {
        Policy::Prefer => !found.is_empty(),
        Policy::Single | Policy::Require => found.len() == service.families.len(),
    };
    suffices.then(|| format!("{name} has {found:?} for it"))
}

/// An address of the pool that the service could have beside those who have it.
fn usable(picture: &Picture, service: &Service, pool: &Pool, family: Family) -> Option<IpAddr> {
    // With more addresses than services one is free.
    let limit = picture.services.len() + 1;
    let others: Vec<&Service> = picture
        .ours()
        .filter(|other| other.id != service.id)
        .collect();
    let is_usable = |ip: &IpAddr| {
        let mut holders = others.iter().filter(|other| other.held.contains(ip));
        holders.all(|holder| holder.terms.fit(&service.terms))
    };
    pool.addresses(family, limit).find(is_usable)
}

/// A service that would rather have both families and has one.
fn with_one(picture: &Picture, service: &Service, held: IpAddr) -> Option<Violation> {
    let is_lacking = service.policy == Policy::Prefer && service.families.len() == 2;
    if !is_lacking || service.asked != Ok(Vec::new()) {
        return None;
    }
    let name = service.from_pool.as_ref()?;
    let pool = picture.pools.get(name)?;
    // What it holds may stay with it behind a pool that cannot be read.
    if pool.standing != Standing::Regular || !pool.has(held) {
        return None;
    }
    let missing = Family::BOTH
        .into_iter()
        .find(|family| *family != Family::of(held))?;
    let ip = usable(picture, service, pool, missing)?;
    let what = format!(
        "{} has {held} alone, and {name} has {ip} for it",
        service.id
    );
    Some(Violation::new(Rule::WaitsInVain, what))
}

fn not_compatible(pool: &str) -> Cause {
    Cause::Exactly(format!("pool {pool} not compatible for ip assignment"))
}
