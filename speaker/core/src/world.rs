//! Everything that the source has said, in its last good version.
//!
//! A malformed edit keeps the last good version in force and stands beside it as a [`Problem`]: a typo must not
//! withdraw a VIP. A source calls [`World::put`], [`World::gone`] and [`World::synced`] and keeps nothing itself.
//!
//! Objects are shared and never changed in place, so that whoever remembers a result can tell by the pointer alone
//! whether what it came from is still in force. Whole kinds are shared as well, because whoever shows the world holds it
//! while it changes: a copy costs next to nothing, and a change what it touches.

use crate::allocator::assignment::Assignments;
use crate::crd::{BfdProfile, BgpAdvertisement, BgpPeer, Community, L2Advertisement, Pool};
use crate::key::{Kind, ObjectKey};
use crate::node::{Namespace, Node};
use crate::object::Object;
use crate::problem::Problem;
use crate::service::{Endpoint, EndpointSlice, Service, ServiceId};
use speaker_proto::NodeName;
use speaker_proto::shared_map::SharedMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The objects in force, what is wrong with newer versions of them, and which kinds are complete.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct World {
    /// Namespaces by name.
    pub namespaces: SharedMap<String, Arc<Namespace>>,
    /// Nodes by name.
    pub nodes: SharedMap<NodeName, Arc<Node>>,
    /// Services by namespace and name.
    pub services: SharedMap<ServiceId, Arc<Service>>,
    /// Endpoint slices by the service they belong to.
    pub slices: SharedMap<ServiceId, Vec<Arc<EndpointSlice>>>,
    /// The service of each slice, by the slice's namespace and name.
    slice_owners: SharedMap<(String, String), ServiceId>,
    /// Pools by name.
    pub pools: SharedMap<String, Arc<Pool>>,
    /// Layer 2 advertisements by name.
    pub l2_advertisements: SharedMap<String, Arc<L2Advertisement>>,
    /// Communities by name.
    pub communities: SharedMap<String, Arc<Community>>,
    /// BGP advertisements by name.
    pub bgp_advertisements: SharedMap<String, Arc<BgpAdvertisement>>,
    /// BGP advertisements as each last was when all communities that it names had values, with these values for names.
    pub(crate) settled: SharedMap<String, Arc<BgpAdvertisement>>,
    /// BGP peers by name.
    pub bgp_peers: SharedMap<String, Arc<BgpPeer>>,
    /// BFD profiles by name.
    pub bfd_profiles: SharedMap<String, Arc<BfdProfile>>,
    /// Addresses that the directory's allocator gave; `None` where an API server holds them in each status.
    pub assignments: Option<Arc<Assignments>>,
    /// What is wrong, by object.
    pub problems: SharedMap<ObjectKey, Problem>,
    /// Kinds of which every object has been seen once.
    pub synced: BTreeSet<Kind>,
}

impl World {
    /// Takes a new version of an object, or what is wrong with it. Whether anything changed.
    pub fn put(&mut self, object: Result<Object, Problem>) -> bool {
        match object {
            Ok(object) => {
                let key = object.key();
                let cleared = self.problems.remove(&key).is_some();
                let is_new = self.insert(object);
                if is_new && key.kind == Kind::BgpAdvertisement {
                    self.settle(Some(&key.name));
                } else if is_new && key.kind == Kind::Community {
                    self.settle(None);
                }
                is_new || cleared
            }
            Err(problem) => {
                let before = self
                    .problems
                    .insert(problem.object.clone(), problem.clone());
                before.as_ref() != Some(&problem)
            }
        }
    }

    fn insert(&mut self, object: Object) -> bool {
        fn set<K: Ord + Clone, V: PartialEq>(
            map: &mut SharedMap<K, Arc<V>>,
            key: K,
            value: V,
        ) -> bool {
            let same = map.get(&key).is_some_and(|old| **old == value);
            if !same {
                map.insert(key, Arc::new(value));
            }
            !same
        }
        match object {
            Object::Namespace(o) => set(&mut self.namespaces, o.name.clone(), o),
            Object::Node(o) => set(&mut self.nodes, o.name.clone(), o),
            Object::Service(o) => set(&mut self.services, o.id.clone(), o),
            Object::EndpointSlice(o) => self.insert_slice(o),
            Object::Pool(o) => set(&mut self.pools, o.name.clone(), o),
            Object::L2Advertisement(o) => set(&mut self.l2_advertisements, o.name.clone(), o),
            Object::Community(o) => set(&mut self.communities, o.name.clone(), o),
            Object::BgpAdvertisement(o) => set(&mut self.bgp_advertisements, o.name.clone(), o),
            Object::BgpPeer(o) => set(&mut self.bgp_peers, o.name.clone(), o),
            Object::BfdProfile(o) => set(&mut self.bfd_profiles, o.name.clone(), o),
        }
    }

    fn insert_slice(&mut self, slice: EndpointSlice) -> bool {
        let key = (slice.namespace.clone(), slice.name.clone());
        let owner = self.slice_owners.get(&key);
        let siblings = owner.map_or(&[][..], |owner| self.slices_of(owner));
        if siblings.iter().any(|old| **old == slice) {
            return false;
        }
        self.remove_slice(&key);
        let others = self.slices_of(&slice.service);
        let at = others.partition_point(|s| s.name < slice.name);
        let mut siblings = Vec::with_capacity(others.len() + 1);
        siblings.extend_from_slice(others);
        self.slice_owners.insert(key, slice.service.clone());
        let service = slice.service.clone();
        siblings.insert(at, Arc::new(slice));
        self.slices.insert(service, siblings);
        true
    }

    /// By namespace and name. Whether there was one.
    fn remove_slice(&mut self, key: &(String, String)) -> bool {
        let Some(owner) = self.slice_owners.remove(key) else {
            return false;
        };
        let mut siblings = self.slices_of(&owner).to_vec();
        siblings.retain(|slice| slice.name != key.1);
        if siblings.is_empty() {
            self.slices.remove(&owner);
        } else {
            self.slices.insert(owner, siblings);
        }
        true
    }

    /// Takes away an object and what was wrong with it. Whether anything changed.
    pub fn gone(&mut self, key: &ObjectKey) -> bool {
        let problem = self.problems.remove(key).is_some();
        let object = match key.kind {
            Kind::Namespace => self.namespaces.remove(&key.name).is_some(),
            Kind::Node => key
                .name
                .parse()
                .is_ok_and(|name: NodeName| self.nodes.remove(&name).is_some()),
            Kind::Service => {
                let id = ServiceId {
                    namespace: key.namespace.clone(),
                    name: key.name.clone(),
                };
                self.services.remove(&id).is_some()
            }
            Kind::EndpointSlice => self.remove_slice(&(key.namespace.clone(), key.name.clone())),
            Kind::Pool => self.pools.remove(&key.name).is_some(),
            Kind::L2Advertisement => self.l2_advertisements.remove(&key.name).is_some(),
            Kind::Community => self.communities.remove(&key.name).is_some(),
            Kind::BgpAdvertisement => {
                self.settled.remove(&key.name);
                self.bgp_advertisements.remove(&key.name).is_some()
            }
            Kind::BgpPeer => self.bgp_peers.remove(&key.name).is_some(),
            Kind::BfdProfile => self.bfd_profiles.remove(&key.name).is_some(),
            Kind::Document => false,
        };
        problem || object
    }

    /// Every object of `kind` has been seen: from now on an absent one is absent. Whether that is news.
    pub fn synced(&mut self, kind: Kind) -> bool {
        self.synced.insert(kind)
    }

    /// Whether every kind has been seen whole: nothing may be withdrawn before.
    pub fn is_synced(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.synced.contains(kind))
    }

    /// The slices of a service, by name.
    pub fn slices_of(&self, id: &ServiceId) -> &[Arc<EndpointSlice>] {
        self.slices.get(id).map_or(&[], Vec::as_slice)
    }

    /// The endpoints of a service, of all its slices.
    pub fn endpoints(&self, id: &ServiceId) -> impl Iterator<Item = &Endpoint> {
        self.slices_of(id).iter().flat_map(|slice| &slice.endpoints)
    }
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;
