//! Checks between objects of the configuration, each of which is good by itself.
//!
//! MetalLB's webhooks refuse the second of two objects that cannot stand together. Here there may be no webhook, so
//! that both are there, and the one that came later is at fault: the older by `creationTimestamp` stays, then the
//! first by name. A configuration that MetalLB accepts though it can have no effect is worth a note, never a problem.

use crate::allocator;
use crate::crd::community::{self, CommunityValue};
use crate::crd::{BgpAdvertisement, Community, CommunityRef, L2Advertisement, Pool};
use crate::key::{Kind, ObjectKey};
use crate::manifest::Note;
use crate::problem::Problem;
use crate::selector::Selector;
use crate::world::World;
use speaker_proto::bgp::{self, LargeCommunity};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl World {
    /// What is wrong between objects: pools that overlap an older one, which give no new addresses, and names of
    /// communities that an older object gives another value or the same.
    pub fn config_problems(&self) -> Vec<Problem> {
        let mut problems = allocator::overlaps(self);
        problems.extend(doubled_communities(self));
        problems
    }

    /// What has no effect: advertisements of pools that do not exist. Nothing before pools are synced.
    pub fn config_notes(&self) -> Vec<Note> {
        if !self.synced.contains(&Kind::Pool) {
            return Vec::new();
        }
        self.l2_advertisements
            .values()
            .flat_map(|advertisement| idle_parts(self, advertisement))
            .collect()
    }

    /// Remembers BGP advertisements, or the one of this name, where all communities that they name have values.
    pub(crate) fn settle(&mut self, only: Option<&str>) {
        let names = community_names(self);
        let ads = self.bgp_advertisements.values();
        let ads = ads.filter(|ad| only.is_none_or(|name| ad.name == name));
        let whole: Vec<_> = ads.filter_map(|ad| settled(ad, &names)).collect();
        for ad in whole {
            if self.settled.get(&ad.name) != Some(&ad) {
                self.settled.insert(ad.name.clone(), ad);
            }
        }
    }
}

/// An advertisement with values for the names of communities; `None` where one has none.
fn settled(
    ad: &Arc<BgpAdvertisement>,
    names: &BTreeMap<&str, CommunityValue>,
) -> Option<Arc<BgpAdvertisement>> {
    communities(ad, names).ok()?;
    let value = |community: &CommunityRef| match community {
        CommunityRef::Value(value) => Some(*value),
        CommunityRef::Named(name) => names.get(name.as_str()).copied(),
    };
    let values = ad.communities.iter().filter_map(value);
    let values: BTreeSet<_> = values.map(CommunityRef::Value).collect();
    Some(match values == ad.communities {
        true => Arc::clone(ad),
        false => Arc::new(BgpAdvertisement {
            communities: values,
            ..BgpAdvertisement::clone(ad)
        }),
    })
}

/// Why an advertisement cannot be in force as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Unready {
    /// No Community gives this name a value, or not yet. To announce without it could tell the world what was meant for one
    /// router.
    NoCommunity(String),
    /// It has so many communities.
    TooMany(usize),
}

impl Unready {
    /// In words, with what becomes of it meanwhile.
    pub(crate) fn words(&self, meanwhile: &str) -> String {
        match self {
            Self::NoCommunity(name) => {
                format!("no Community gives {name:?} a value yet: until then {meanwhile}")
            }
            Self::TooMany(count) => {
                format!("{count} communities are more than {COMMUNITIES_MAX}: {meanwhile}")
            }
        }
    }
}

/// Standard and large communities of an advertisement.
///
/// # Errors
/// When a name has no value, or there are too many.
pub(crate) fn communities(
    ad: &BgpAdvertisement,
    names: &BTreeMap<&str, CommunityValue>,
) -> Result<(BTreeSet<bgp::Community>, BTreeSet<LargeCommunity>), Unready> {
    let (mut standard, mut large) = (BTreeSet::new(), BTreeSet::new());
    for community in &ad.communities {
        let value = match community {
            CommunityRef::Value(value) => value,
            CommunityRef::Named(name) => names
                .get(name.as_str())
                .ok_or_else(|| Unready::NoCommunity(name.clone()))?,
        };
        match *value {
            CommunityValue::Standard(high, low) => {
                standard.insert(bgp::Community::of(high, low));
            }
            CommunityValue::Large(a, b, c) => {
                large.insert(LargeCommunity(a, b, c));
            }
        }
    }
    match standard.len() + large.len() {
        count if count > COMMUNITIES_MAX => Err(Unready::TooMany(count)),
        _ => Ok((standard, large)),
    }
}

/// A route has at most so many communities, as with MetalLB's own speaker: their attribute then fits into 255 bytes.
pub(crate) const COMMUNITIES_MAX: usize = 63;

/// The values of named communities. Where two objects use one name, that of the older counts.
pub(crate) fn community_names(world: &World) -> BTreeMap<&str, CommunityValue> {
    let mut names = BTreeMap::new();
    for (name, text) in by_age(world).into_iter().flat_map(|c| &c.communities) {
        if let Ok(value) = community::value(text) {
            names.entry(name.as_str()).or_insert(value);
        }
    }
    names
}

/// Older ones first; those without a time come last, by name.
fn by_age(world: &World) -> Vec<&Arc<Community>> {
    let mut by_age: Vec<&Arc<Community>> = world.communities.values().collect();
    by_age.sort_by_key(|community| (community.created.is_none(), community.created));
    by_age
}

fn doubled_communities(world: &World) -> Vec<Problem> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for object in by_age(world) {
        for name in object.communities.keys() {
            let owner = *owners.entry(name).or_insert(&object.name);
            if owner != object.name {
                problems.push(Problem {
                    object: ObjectKey::new(Kind::Community, &object.namespace, &object.name),
                    origin: ORIGIN.to_owned(),
                    field: "spec.communities".to_owned(),
                    why: format!("{name:?} is named by {owner:?} already, which came first"),
                });
            }
        }
    }
    problems
}

fn idle_parts(world: &World, advertisement: &L2Advertisement) -> Vec<Note> {
    let unknown = advertisement
        .pools
        .iter()
        .filter(|pool| !world.pools.contains_key(*pool));
    let unknown = unknown.map(|pool| format!("names pool {pool:?}, which does not exist"));
    let matches = |selector: &Selector| {
        world
            .pools
            .values()
            .any(|pool: &Arc<Pool>| selector.matches(&pool.labels))
    };
    let selectors = advertisement.pool_selectors.iter().enumerate();
    let idle = selectors.filter(|(_, selector)| !matches(selector));
    let idle = idle.map(|(i, _)| format!("spec.ipAddressPoolSelectors[{i}] matches no pool"));
    let key = ObjectKey::new(
        Kind::L2Advertisement,
        &advertisement.namespace,
        &advertisement.name,
    );
    let note = |why| Note {
        origin: ORIGIN.to_owned(),
        subject: key.to_string(),
        why,
    };
    unknown.chain(idle).map(note).collect()
}

const ORIGIN: &str = "configuration";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{DEFAULT_NAMESPACE, read};

    fn world(text: &str) -> World {
        let mut world = World::default();
        for object in read("f.yaml", text, DEFAULT_NAMESPACE).objects {
            world.put(object);
        }
        world.synced(Kind::Pool);
        world
    }

    fn check(text: &str, problems: &[&str], notes: &[&str]) {
        let world = world(text);
        let told: Vec<_> = world
            .config_problems()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(told, problems);
        let told: Vec<_> = world
            .config_notes()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(told, notes);
    }

    fn object(kind: &str, metadata: &str, spec: &str) -> String {
        format!(
            "---\napiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n"
        )
    }

    #[test]
    fn the_older_of_two_overlapping_pools_stays() {
        let young = object(
            "IPAddressPool",
            "name: a",
            "addresses: [198.51.100.0/24, 192.0.2.4/30]",
        );
        let old = object(
            "IPAddressPool",
            "name: z, creationTimestamp: 2026-01-01T00:00:00Z",
            "addresses: [192.0.2.0-192.0.2.9]",
        );
        let why = "configuration: IPAddressPool metallb-system/a: spec.addresses[1]: overlaps pool \"z\", which came \
                   first; \"a\" gives no new addresses until it does not";
        check(&(young + &old), &[why], &[]);
    }

    #[test]
    fn without_a_time_the_first_by_name_stays() {
        let first = object("IPAddressPool", "name: a", "addresses: [192.0.2.0/24]");
        let second = object("IPAddressPool", "name: b", "addresses: [192.0.2.0/32]");
        let why = "configuration: IPAddressPool metallb-system/b: spec.addresses[0]: overlaps pool \"a\", which came \
                   first; \"b\" gives no new addresses until it does not";
        check(&(second + &first), &[why], &[]);
    }

    #[test]
    fn a_community_has_one_name_in_all_objects() {
        let first = object(
            "Community",
            "name: a",
            "communities: [{name: x, value: '1:1'}]",
        );
        let second = object(
            "Community",
            "name: b",
            "communities: [{name: x, value: '1:1'}, {name: y, value: '1:2'}]",
        );
        let why = "configuration: Community metallb-system/b: spec.communities: \"x\" is named by \"a\" already, \
                   which came first";
        check(&(first + &second), &[why], &[]);
    }

    #[test]
    fn an_advertisement_of_nothing_is_worth_a_note() {
        let text = object(
            "L2Advertisement",
            "name: l",
            "ipAddressPools: [gone], ipAddressPoolSelectors: [{matchLabels: {a: b}}]",
        );
        let notes = [
            "configuration: L2Advertisement metallb-system/l: names pool \"gone\", which does not exist",
            "configuration: L2Advertisement metallb-system/l: spec.ipAddressPoolSelectors[0] matches no pool",
        ];
        check(&text, &[], &notes);
    }
}
