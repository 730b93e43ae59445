//! A service as far as its addresses go: what it asks for, on which terms, and what it holds.

use super::labels::{self, Labels};
use super::text;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// IPv4 and IPv6, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Single,
    Prefer,
    Require,
}

/// On which terms a service shares an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Empty for a service that shares with nobody.
    pub(super) key: String,
    /// Which pods serve it, if only their nodes may announce it.
    pub(super) backend: String,
    pub(super) ports: BTreeSet<(String, u64)>,
}

impl Terms {
    /// Whether services of these terms may have one address.
    pub(super) fn fit(&self, other: &Self) -> bool {
        self.fit_but_for_ports(other) && self.ports.is_disjoint(&other.ports)
    }

    pub(super) fn fit_but_for_ports(&self, other: &Self) -> bool {
        !self.key.is_empty() && self.key == other.key && self.backend == other.backend
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// Namespace and name.
    pub(super) id: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) is_going: bool,
    pub(super) labels: Labels,
    pub(super) is_load_balancer: bool,
    pub(super) class: Option<String>,
    /// The families of its cluster addresses.
    pub(super) families: BTreeSet<Family>,
    pub(super) policy: Policy,
    pub(super) terms: Terms,
    pub(super) asked_pool: Option<String>,
    /// Empty if it asks for none; else what is wrong with what it asks for.
    pub(super) asked: Result<Vec<IpAddr>, Malformed>,
    /// What its status says.
    pub(super) held: Vec<IpAddr>,
    /// Which pool the annotation says that is from.
    pub(super) from_pool: Option<String>,
}

/// Why a request for addresses cannot be met by anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// In the annotation and in the spec.
    Both,
    /// What is no address.
    Text,
    /// More than two, or two of one family.
    Families,
}

impl Service {
    pub(super) fn of(object: &Value) -> Self {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let annotations = labels::of(&metadata["annotations"]);
        let namespace = text(&metadata["namespace"]).to_owned();
        let policy = match text(&spec["ipFamilyPolicy"]) {
            "PreferDualStack" => Policy::Prefer,
            "RequireDualStack" => Policy::Require,
            _single => Policy::Single,
        };
        Self {
            id: format!("{namespace}/{}", text(&metadata["name"])),
            namespace,
            uid: text(&metadata["uid"]).to_owned(),
            is_going: !metadata["deletionTimestamp"].is_null(),
            labels: labels::of(&metadata["labels"]),
            is_load_balancer: text(&spec["type"]) == "LoadBalancer",
            class: spec["loadBalancerClass"].as_str().map(str::to_owned),
            families: families(spec, policy),
            policy,
            terms: terms(spec, &annotations),
            asked_pool: annotation(&annotations, "address-pool").map(str::to_owned),
            asked: asked(
                annotation(&annotations, "loadBalancerIPs"),
                text(&spec["loadBalancerIP"]),
            ),
            held: held(&object["status"]),
            from_pool: annotations.get(FROM_POOL).cloned(),
        }
    }

    /// Whether these are addresses of the families that it may have.
    pub(super) fn takes(&self, ips: &[IpAddr]) -> bool {
        let families: BTreeSet<_> = ips.iter().copied().map(Family::of).collect();
        let may_lack_one = self.policy == Policy::Prefer && families.is_subset(&self.families);
        families.len() == ips.len() && (families == self.families || may_lack_one)
    }

    /// Whether it is another service, or other things are asked of it than before.
    pub(super) fn differs(&self, before: &Self) -> bool {
        let mut same = self.clone();
        same.held.clone_from(&before.held);
        same.from_pool.clone_from(&before.from_pool);
        same != *before
    }
}

/// By the cluster addresses; where nobody gave any, as a dual-stack cluster would with IPv4 first.
fn families(spec: &Value, policy: Policy) -> BTreeSet<Family> {
    let one = || std::iter::once(&spec["clusterIP"]);
    let listed: Vec<&str> = match spec["clusterIPs"].as_array() {
        Some(list) => list.iter().map(text).collect(),
        None => one().map(text).filter(|ip| !ip.is_empty()).collect(),
    };
    if !listed.is_empty() {
        return listed
            .iter()
            .filter_map(|ip| ip.parse().ok().map(Family::of))
            .collect();
    }
    let wished = spec["ipFamilies"].as_array().into_iter().flatten();
    let wished: Vec<_> = wished
        .map(|family| match text(family) {
            "IPv6" => Family::V6,
            _v4 => Family::V4,
        })
        .collect();
    match (policy, wished.as_slice()) {
        (Policy::Single, []) => BTreeSet::from([Family::V4]),
        (Policy::Single, wished) => wished.iter().copied().collect(),
        (Policy::Prefer | Policy::Require, _) => BTreeSet::from(Family::BOTH),
    }
}

fn terms(spec: &Value, annotations: &Labels) -> Terms {
    let is_local = text(&spec["externalTrafficPolicy"]) == "Local";
    let selector = labels::of(&spec["selector"]);
    let pairs: Vec<_> = selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let ports = spec["ports"].as_array().into_iter().flatten();
    let ports = ports.map(|port| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        (protocol.to_owned(), port["port"].as_u64().unwrap_or(0))
    });
    Terms {
        key: annotation(annotations, "allow-shared-ip")
            .unwrap_or("")
            .to_owned(),
        backend: if is_local {
            pairs.join(",")
        } else {
            String::new()
        },
        ports: ports.collect(),
    }
}

/// The value under the new prefix, which hides one under the old even if it is empty.
fn annotation<'a>(annotations: &'a Labels, key: &str) -> Option<&'a str> {
    let mut prefixes = ["metallb.io", "metallb.universe.tf"].iter();
    let found = prefixes.find_map(|prefix| annotations.get(&format!("{prefix}/{key}")));
    found.map(String::as_str).filter(|value| !value.is_empty())
}

fn asked(listed: Option<&str>, single: &str) -> Result<Vec<IpAddr>, Malformed> {
    let texts: Vec<&str> = match (listed, single) {
        (Some(_), single) if !single.is_empty() => return Err(Malformed::Both),
        (Some(listed), _) => listed.split(',').collect(),
        (None, "") => return Ok(Vec::new()),
        (None, single) => vec![single],
    };
    let parsed: Result<Vec<IpAddr>, _> = texts.iter().map(|text| text.trim().parse()).collect();
    let ips = parsed.map_err(|_| Malformed::Text)?;
    let ips: Vec<_> = ips.iter().map(IpAddr::to_canonical).collect();
    let families: BTreeSet<_> = ips.iter().copied().map(Family::of).collect();
    if families.len() == ips.len() {
        Ok(ips)
    } else {
        Err(Malformed::Families)
    }
}

fn held(status: &Value) -> Vec<IpAddr> {
    let entries = status["loadBalancer"]["ingress"].as_array();
    let texts = entries
        .into_iter()
        .flatten()
        .map(|entry| text(&entry["ip"]));
    texts.filter_map(|ip| ip.parse().ok()).collect()
}

const FROM_POOL: &str = "metallb.io/ip-allocated-from-pool";
