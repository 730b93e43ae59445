//! What a service asks for: addresses, a pool, and terms of sharing.

use super::{Port, Sharing};
use crate::service::{Family, Service, TrafficPolicy};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// MetalLB's annotations have this prefix.
const PREFIX: &str = "metallb.io/";

/// They had this one once, and it is still read where the new key is absent.
const OLD_PREFIX: &str = "metallb.universe.tf/";

/// What a service asks for.
pub(super) struct Ask {
    /// Addresses; empty when it asks for none, an error when it cannot be read.
    pub(super) ips: Result<Vec<IpAddr>, String>,
    /// A pool by name.
    pub(super) pool: Option<String>,
    /// On which terms it shares; `None` if it does not.
    pub(super) sharing: Option<Sharing>,
    /// The ports that it takes.
    pub(super) ports: BTreeSet<Port>,
    /// Its keys with the old prefix.
    pub(super) deprecated: Vec<String>,
}

impl Ask {
    pub(super) fn of(service: &Service) -> Self {
        let keys = service.annotations.range(OLD_PREFIX.to_owned()..);
        let deprecated = keys
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(OLD_PREFIX));
        Self {
            ips: ips(service),
            pool: annotation(service, "address-pool").map(str::to_owned),
            sharing: Sharing::of(service),
            ports: ports(service),
            deprecated: deprecated.cloned().collect(),
        }
    }

    pub(super) fn asks_for_ips(&self) -> bool {
        self.ips.as_ref().is_ok_and(|ips| !ips.is_empty())
    }
}

impl Sharing {
    /// On which terms a service shares its addresses; `None` if it does not.
    pub fn of(service: &Service) -> Option<Self> {
        let key = annotation(service, "allow-shared-ip")?;
        Some(Self {
            key: key.to_owned(),
            backend: backend(service),
            ports: ports(service),
        })
    }

    /// Whether two services with these terms may hold one address.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.key == other.key
            && self.backend == other.backend
            && self.ports.is_disjoint(&other.ports)
    }
}

fn ports(service: &Service) -> BTreeSet<Port> {
    service.ports.iter().map(|p| (p.protocol, p.port)).collect()
}

/// The value of one of MetalLB's annotations unless it is empty. An empty new one hides an old one.
fn annotation<'a>(service: &'a Service, name: &str) -> Option<&'a str> {
    let get = |prefix| service.annotations.get(&format!("{prefix}{name}"));
    let value = get(PREFIX).or_else(|| get(OLD_PREFIX))?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

fn ips(service: &Service) -> Result<Vec<IpAddr>, String> {
    let listed = annotation(service, "loadBalancerIPs");
    let ips = match (listed, &service.load_balancer_ip) {
        (None, None) => return Ok(Vec::new()),
        (Some(_), Some(_)) => {
            let why =
                "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP";
            return Err(why.to_owned());
        }
        (None, Some(one)) => {
            let ip = ip(one).ok_or_else(|| format!("invalid spec.loadBalancerIP {one:?}"))?;
            vec![ip]
        }
        (Some(list), None) => {
            let ips: Option<Vec<_>> = list.split(',').map(|one| ip(one.trim())).collect();
            ips.ok_or_else(|| format!("invalid metallb.io/loadBalancerIPs: {list:?}"))?
        }
    };
    families(&ips)?;
    Ok(ips)
}

/// An address; an IPv4 one in IPv6 clothes counts as IPv4.
fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// The families of one address, or of two of different families.
pub(super) fn families(ips: &[IpAddr]) -> Result<BTreeSet<Family>, String> {
    let families: BTreeSet<_> = ips.iter().copied().map(Family::of).collect();
    match ips.len() {
        1 | 2 if families.len() == ips.len() => Ok(families),
        2 => Err(format!(
            "IPFamilyForAddresses: same address family {}",
            list(ips)
        )),
        n => Err(format!(
            "IPFamilyForAddresses: invalid ips length {n} {}",
            list(ips)
        )),
    }
}

/// Services with policy Local share only if the same pods serve them: else no node might hold all of them.
fn backend(service: &Service) -> String {
    match service.policy {
        TrafficPolicy::Cluster => String::new(),
        TrafficPolicy::Local => {
            let labels: Vec<_> = service
                .selector
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            labels.join(",")
        }
    }
}

/// Addresses as event texts show them.
pub(super) fn list(ips: &[IpAddr]) -> String {
    let quoted: Vec<_> = ips.iter().map(|ip| format!("\"{ip}\"")).collect();
    format!("[{}]", quoted.join(" "))
}
