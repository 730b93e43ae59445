//! What the objects say, as plain facts, and who may answer for what by an independent reading of the rules.
//!
//! Faults edit the facts; the objects that nodes hear of are made from them. The reading here shares nothing with `speaker_core::plan`.

use crate::api::{self, Change, Shape};
use crate::chance::Chance;
use crate::lan::Lan;
use speaker_core::key::{Kind, ObjectKey};
use speaker_core::object::Object;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The facts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Truth {
    /// By node: it carries the label that excludes it.
    pub excluded: Vec<bool>,
    /// The nodes that the advertisement is for; `None`: all.
    pub advertised: Option<Vec<usize>>,
    /// The services, by number.
    pub services: Vec<Service>,
    /// By node: it has a link on the second segment. Empty: there is none.
    pub second: Vec<bool>,
    /// The packets of every VIP are spread over the nodes that may serve it.
    pub is_spread: bool,
}

/// A service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Its addresses and policy.
    pub shape: Shape,
    /// The nodes of its endpoints.
    pub endpoints: Vec<usize>,
    /// It exists.
    pub exists: bool,
    /// The segments that it is announced on.
    pub lans: Vec<Lan>,
}

/// A change of the facts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// A node gets the exclude label, or loses it.
    Exclude(usize),
    /// The advertisement is for these nodes, or for all.
    Advertise(Option<Vec<usize>>),
    /// A service's endpoints move to these nodes.
    Endpoints(usize, Vec<usize>),
    /// A service goes, or comes back.
    Service(usize),
}

impl Truth {
    /// A small cluster: one service of both families, one with policy Local, and two that share an address.
    pub fn new(nodes: usize, chance: &mut Chance) -> Self {
        let all: Vec<usize> = (0..nodes).collect();
        let v4 = |n: u8| IpAddr::from(Ipv4Addr::new(192, 0, 2, n));
        let v6 = |n: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
        let service = |vips: Vec<IpAddr>, is_local, shares, endpoints: &[usize]| Service {
            shape: Shape {
                vips,
                is_local,
                shares,
            },
            endpoints: endpoints.to_vec(),
            exists: true,
            lans: vec![0],
        };
        // The last bytes vary, so that every node comes to win elections.
        let base = 1 + chance.below(60) as u8;
        let local: Vec<usize> = all.iter().copied().filter(|_| chance.hits(700)).collect();
        let local = if local.is_empty() { all.clone() } else { local };
        let mut services = vec![
            service(vec![v4(base), v6(u16::from(base))], false, false, &all),
            service(vec![v4(base + 60)], true, false, &local),
        ];
        if chance.hits(400) {
            services.push(service(vec![v4(base + 61)], false, true, &all));
            services.push(service(vec![v4(base + 61)], false, true, &all));
        }
        Self {
            excluded: vec![false; nodes],
            advertised: None,
            services,
            second: Vec::new(),
            is_spread: false,
        }
    }

    /// Gives it a second segment: some nodes are on it, and services are announced on either or on both.
    pub fn spread(&mut self, chance: &mut Chance) {
        let nodes = self.excluded.len();
        // On a segment of two nobody can tell who of them is cut off.
        self.second = (0..nodes).map(|n| n < 3 || chance.hits(500)).collect();
        for at in 0..self.services.len() {
            let vips = self.services[at].shape.vips.clone();
            let lans = chance.pick(&[&[0][..], &[1], &[1], &[0, 1], &[0, 1]]);
            for service in &mut self.services {
                if service.shape.vips == vips {
                    service.lans = lans.to_vec();
                }
            }
        }
    }

    /// How many segments there are.
    pub const fn lans(&self) -> usize {
        if self.second.is_empty() { 1 } else { 2 }
    }

    /// Whether a node has a link on a segment.
    pub fn is_on(&self, node: usize, lan: Lan) -> bool {
        lan == 0 || self.second.get(node) == Some(&true)
    }

    /// The segments that a VIP is announced on.
    pub fn lans_of(&self, vip: IpAddr) -> BTreeSet<Lan> {
        let with = self.services.iter().filter(|s| s.shape.vips.contains(&vip));
        with.flat_map(|service| service.lans.iter().copied())
            .collect()
    }

    /// Pools and who announces them where: one of all addresses, or, where there are two segments, one of the addresses of each service.
    fn config(&self) -> Vec<Object> {
        if self.second.is_empty() {
            return vec![api::pool(), self.advertisements().remove(0)];
        }
        let mut config: Vec<Object> = self
            .pools()
            .map(|(number, service)| api::pool_of(number, &service.shape.vips))
            .collect();
        config.extend(self.advertisements());
        config
    }

    fn advertisements(&self) -> Vec<Object> {
        let nodes = self.advertised.as_deref();
        if self.second.is_empty() {
            return vec![api::advertisement(nodes, self.is_spread)];
        }
        self.pools()
            .map(|(number, service)| {
                api::advertisement_of(number, nodes, &service.lans, self.is_spread)
            })
            .collect()
    }

    /// Of the services that share addresses the first has the pool.
    fn pools(&self) -> impl Iterator<Item = (usize, &Service)> {
        let services = self.services.iter().enumerate();
        services.filter(|(number, service)| {
            let mut before = self.services[..*number].iter();
            before.all(|other| other.shape.vips != service.shape.vips)
        })
    }

    /// Everything as objects.
    pub fn objects(&self) -> Vec<Object> {
        let nodes = self.excluded.iter().enumerate();
        let mut objects: Vec<Object> = nodes.map(|(n, excluded)| api::node(n, *excluded)).collect();
        objects.extend(self.config());
        for (number, service) in self.services.iter().enumerate() {
            objects.push(api::service(number, &service.shape));
            objects.push(api::slice(number, &service.endpoints));
        }
        objects
    }

    /// Every VIP that there may be.
    pub fn vips(&self) -> Vec<IpAddr> {
        let of = self.services.iter().flat_map(|service| &service.shape.vips);
        let vips: BTreeSet<IpAddr> = of.copied().collect();
        vips.into_iter().collect()
    }

    /// Makes a change; what nodes will hear of it.
    pub fn edit(&mut self, edit: &Edit) -> Vec<Change> {
        let change = match edit {
            Edit::Exclude(node) => {
                self.excluded[*node] = !self.excluded[*node];
                Change::Put(api::node(*node, self.excluded[*node]))
            }
            Edit::Advertise(nodes) => {
                self.advertised.clone_from(nodes);
                return self.advertisements().into_iter().map(Change::Put).collect();
            }
            Edit::Endpoints(number, nodes) => {
                self.services[*number].endpoints.clone_from(nodes);
                Change::Put(api::slice(*number, nodes))
            }
            Edit::Service(number) => {
                let service = &mut self.services[*number];
                service.exists = !service.exists;
                if service.exists {
                    Change::Put(api::service(*number, &service.shape))
                } else {
                    Change::Gone(ObjectKey::new(
                        Kind::Service,
                        "default",
                        format!("s{number}"),
                    ))
                }
            }
        };
        vec![change]
    }

    /// The nodes that may answer for a VIP: candidates of every service that has it and has a candidate at all, among those `fit`.
    pub fn candidates(&self, vip: IpAddr, fit: &BTreeSet<usize>) -> BTreeSet<usize> {
        let services = self.services.iter();
        let with = services.filter(|service| service.exists && service.shape.vips.contains(&vip));
        let sets = with.map(|service| self.candidates_of(service, fit));
        let wanting: Vec<_> = sets.filter(|set| !set.is_empty()).collect();
        let Some(first) = wanting.first() else {
            return BTreeSet::new();
        };
        let in_all = |node: &&usize| wanting.iter().all(|set| set.contains(node));
        first.iter().filter(in_all).copied().collect()
    }

    fn candidates_of(&self, service: &Service, fit: &BTreeSet<usize>) -> BTreeSet<usize> {
        let is_advertised = |node: &usize| {
            let of = self.advertised.as_ref();
            of.is_none_or(|nodes| nodes.contains(node))
        };
        let serves = |node: &usize| !service.shape.is_local || service.endpoints.contains(node);
        let fit = fit.iter().copied();
        if service.endpoints.is_empty() {
            return BTreeSet::new();
        }
        fit.filter(|node| !self.excluded[*node] && is_advertised(node) && serves(node))
            .collect()
    }
}
