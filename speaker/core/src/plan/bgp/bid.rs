//! What one service asks of BGP, whoever else there is: its routes, or why there are none. The order of the checks is MetalLB's.

use super::reason::{Conflict, Unrouted};
use super::setting::{Lot, NOTHING, Setting};
use super::terms::{Ad, Clash};
use crate::crd::AddressRange;
use crate::plan::demand::Demand;
use crate::plan::{BgpAnnounced, Reason, Unfit};
use crate::service::{ServiceId, TrafficPolicy};
use speaker_proto::Vip;
use speaker_proto::bgp::{Family, Prefix};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What one service asks for.
#[derive(Clone, Debug)]
pub(super) enum Bid {
    /// These routes.
    Offered(Offer),
    /// None, because of this.
    Silent(Reason),
}

/// The routes of one service.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    /// By audience and prefix, each once.
    pub(super) routes: Vec<Route>,
    /// The same for people.
    pub(super) announced: Arc<BgpAnnounced>,
    /// How many endpoints on this node its addresses of each family have, if they are why it announces.
    endpoints: [u32; 2],
}

/// A prefix that an audience is told of.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) audience: usize,
    pub(super) prefix: Prefix,
    pub(super) lot: Arc<Lot>,
}

impl Offer {
    /// How many endpoints on this node stand behind a route.
    pub(super) const fn endpoints(&self, prefix: Prefix) -> u32 {
        match prefix.family() {
            Family::V4 => self.endpoints[0],
            Family::V6 => self.endpoints[1],
        }
    }
}

/// What a service asks for.
pub(super) fn bid(setting: &mut Setting, demand: &Demand) -> Bid {
    match offer(setting, demand) {
        Ok(offer) => Bid::Offered(offer),
        Err(reason) => Bid::Silent(reason),
    }
}

fn offer(setting: &mut Setting, demand: &Demand) -> Result<Offer, Reason> {
    let Some(pool) = demand.pool.as_deref().filter(|_| !demand.vips.is_empty()) else {
        return Err(demand.fault.clone().unwrap_or(Reason::NoAddress));
    };
    let ads = advertisements(setting, demand, pool)?;
    let drawn = Drawn::of(setting, demand, pool, &ads)?;
    if let Some(unfit) = setting.unfit() {
        return Err(Reason::Unfit(unfit));
    }
    check_endpoints(setting, demand)?;
    if setting.local.is_finding && demand.is_spread {
        return Err(Reason::NoRoute(Unrouted::Finding));
    }
    drawn.into_offer(setting, demand, &ads)
}

/// The advertisements for a service on this node that are ready.
fn advertisements(setting: &Setting, demand: &Demand, pool: &str) -> Result<Vec<Ad>, Unrouted> {
    let all = setting.advertisements(pool);
    let pool = || pool.to_owned();
    if all.is_empty() {
        return Err(Unrouted::NoAdvertisement { pool: pool() });
    }
    let here: Vec<Ad> = all
        .iter()
        .copied()
        .filter(|ad| setting.terms(*ad).is_some())
        .collect();
    if here.is_empty() {
        return Err(Unrouted::NodeNotSelected { pool: pool() });
    }
    let mut kept = here;
    kept.retain(|ad| setting.selects(*ad, &demand.service));
    let mut unready = None;
    kept.retain(|ad| match setting.terms(*ad) {
        Some(Ok(_)) => true,
        Some(Err(why)) => {
            unready.get_or_insert((*ad, why.words(NOTHING)));
            false
        }
        None => false,
    });
    match unready {
        Some((ad, why)) if kept.is_empty() => Err(Unrouted::AdvertisementNotReady {
            advertisement: setting.name(ad).to_owned(),
            why,
        }),
        None if kept.is_empty() => Err(Unrouted::ServiceNotSelected),
        Some(_) | None => Ok(kept),
    }
}

/// With policy Local, whether an endpoint on this node can serve; with policy Cluster, whether any can.
fn check_endpoints(setting: &Setting, demand: &Demand) -> Result<(), Reason> {
    let is_nowhere = demand.fault == Some(Reason::NoEndpoints);
    match demand.service.policy {
        TrafficPolicy::Cluster if is_nowhere => Err(Reason::NoEndpoints),
        TrafficPolicy::Cluster => Ok(()),
        TrafficPolicy::Local => {
            let hosts = demand.hosts.as_ref().filter(|_| !is_nowhere);
            let is_here = hosts.is_some_and(|hosts| hosts.contains(&setting.local.node));
            let unfit = Reason::Unfit(Unfit::NoLocalEndpoints);
            is_here.then_some(()).ok_or(unfit)
        }
    }
}

/// The routes that advertisements make of a service's addresses.
struct Drawn {
    routes: Vec<Route>,
    left_out: Vec<Vip>,
    /// A prefix that would reach past the range of an address.
    overreach: Option<(Prefix, AddressRange)>,
}

impl Drawn {
    fn of(
        setting: &mut Setting,
        demand: &Demand,
        pool: &str,
        ads: &[Ad],
    ) -> Result<Self, Unrouted> {
        let mut drawn = Self {
            routes: Vec::new(),
            left_out: Vec::new(),
            overreach: None,
        };
        for vip in &demand.vips {
            let before = drawn.routes.len();
            let fitting = drawn.fitting(setting, *vip, pool, ads);
            for audience in 0..setting.audiences.len() {
                drawn.draw(setting, audience, *vip, &fitting)?;
            }
            if drawn.routes.len() == before {
                drawn.left_out.push(*vip);
            }
        }
        let key = |route: &Route| (route.audience, route.prefix);
        drawn.routes.sort_by_key(key);
        drawn.routes.dedup_by_key(|route| key(route));
        Ok(drawn)
    }

    /// The advertisements whose prefixes do not reach past the range of an address.
    fn fitting(&mut self, setting: &Setting, vip: Vip, pool: &str, ads: &[Ad]) -> Vec<Ad> {
        let mut fits = |ad: &Ad| {
            let length = setting.length(*ad, vip.0);
            let overreach = setting.overreach(pool, vip.0, length);
            let found = overreach.map(|range| (Prefix::of(vip.0, length), range));
            self.overreach = self.overreach.or(found);
            found.is_none()
        };
        ads.iter().copied().filter(|ad| fits(ad)).collect()
    }

    /// Adds what an audience is told of an address: a prefix for each length.
    fn draw(
        &mut self,
        setting: &mut Setting,
        audience: usize,
        vip: Vip,
        ads: &[Ad],
    ) -> Result<(), Unrouted> {
        let hearing = &setting.audiences[audience];
        if !hearing.families.contains(&Family::of(vip.0)) {
            return Ok(());
        }
        let mut by_length: BTreeMap<u8, Vec<Ad>> = BTreeMap::new();
        for ad in ads.iter().filter(|ad| hearing.ads.contains(ad)) {
            let length = setting.length(*ad, vip.0);
            by_length.entry(length).or_default().push(*ad);
        }
        for (length, ads) in by_length {
            let prefix = Prefix::of(vip.0, length);
            let lot = setting.lot(ads);
            self.routes.push(Route {
                audience,
                prefix,
                lot: lot.map_err(|clash| unrouted(setting, clash, prefix, None))?,
            });
        }
        Ok(())
    }

    fn into_offer(
        self,
        setting: &mut Setting,
        demand: &Demand,
        ads: &[Ad],
    ) -> Result<Offer, Reason> {
        if self.routes.is_empty() {
            return Err(Reason::NoRoute(self.why_none(setting, demand, ads)));
        }
        let prefixes: BTreeSet<Prefix> = self.routes.iter().map(|route| route.prefix).collect();
        let audiences = self.routes.iter().map(|route| route.audience).collect();
        let weight = |is_v4| match demand.service.policy {
            TrafficPolicy::Cluster => 0,
            TrafficPolicy::Local => demand.endpoints_on(&setting.local.node, is_v4),
        };
        let is_weighted = self
            .routes
            .iter()
            .any(|route| route.lot.attributes.is_none());
        let endpoints = match is_weighted {
            true => [weight(true), weight(false)],
            false => [0; 2],
        };
        let told = demand.vips.iter().copied();
        let told = told.filter(|vip| !self.left_out.contains(vip));
        Ok(Offer {
            announced: Arc::new(BgpAnnounced {
                vips: fitted(told.collect()),
                prefixes: prefixes.into_iter().collect(),
                peers: setting.told(audiences),
                left_out: self.left_out,
            }),
            routes: fitted(self.routes),
            endpoints,
        })
    }

    fn why_none(&self, setting: &Setting, demand: &Demand, ads: &[Ad]) -> Unrouted {
        let hears = |ad: &Ad| setting.audiences.iter().any(|a| a.ads.contains(ad));
        match (self.overreach, demand.vips.first()) {
            (Some((prefix, range)), _) => Unrouted::PrefixTooShort { prefix, range },
            (None, _) if setting.audiences.is_empty() => Unrouted::NoPeer,
            (None, Some(vip)) if ads.iter().any(hears) => Unrouted::NoFamily(Family::of(vip.0)),
            (None, _) => Unrouted::OtherPeers,
        }
    }
}

/// Without room for more: there is one of these for each of thousands of services.
fn fitted<T>(mut list: Vec<T>) -> Vec<T> {
    list.shrink_to_fit();
    list
}

/// Why advertisements cannot make a route together; `with`: the older service that has the route.
pub(super) fn unrouted(
    setting: &Setting,
    clash: Clash,
    prefix: Prefix,
    with: Option<&ServiceId>,
) -> Unrouted {
    match clash {
        Clash::Differing(attribute, by) => Unrouted::Conflict(Box::new(Conflict {
            prefix,
            attribute,
            advertisements: by.map(|ad| setting.name(ad).to_owned()),
            with: with.cloned(),
        })),
        Clash::TooMany(count) => Unrouted::TooManyCommunities { prefix, count },
    }
}
