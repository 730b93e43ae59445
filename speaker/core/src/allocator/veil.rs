//! What may be there although it cannot be read.
//!
//! A service or pool whose manifest has a fault has no last good version after a restart. Its addresses must not go to
//! others in the meantime, since they would be lost to a typo.

use crate::key::Kind;
use crate::problem::Problem;
use crate::service::ServiceId;
use crate::world::World;
use std::collections::BTreeMap;

/// Problems behind which services and pools may stand.
pub(super) struct Veil<'w> {
    services: BTreeMap<(&'w str, &'w str), &'w Problem>,
    pools: BTreeMap<&'w str, &'w Problem>,
    /// A document of which not even the kind is known.
    document: Option<&'w Problem>,
}

impl<'w> Veil<'w> {
    pub(super) fn of(world: &'w World) -> Self {
        let mut veil = Self {
            services: BTreeMap::new(),
            pools: BTreeMap::new(),
            document: None,
        };
        for (key, problem) in &world.problems {
            match key.kind {
                Kind::Service => {
                    veil.services.insert((&key.namespace, &key.name), problem);
                }
                Kind::Pool => {
                    veil.pools.insert(&key.name, problem);
                }
                Kind::Document => veil.document = veil.document.or(Some(problem)),
                Kind::Namespace
                | Kind::Node
                | Kind::EndpointSlice
                | Kind::L2Advertisement
                | Kind::Community
                | Kind::BgpAdvertisement
                | Kind::BgpPeer
                | Kind::BfdProfile => {}
            }
        }
        veil
    }

    /// The problem behind which an absent service may stand.
    pub(super) fn over_service(&self, id: &ServiceId) -> Option<&'w Problem> {
        self.services
            .get(&(id.namespace.as_str(), id.name.as_str()))
            .copied()
            .or(self.document)
    }

    /// The problem behind which an absent pool may stand.
    pub(super) fn over_pool(&self, name: &str) -> Option<&'w Problem> {
        self.pools.get(name).copied().or(self.document)
    }

    /// A pool that is there, cannot be read, and has no last good version. It may hold any address.
    pub(super) fn unread_pool(&self, world: &World) -> Option<&'w str> {
        let mut names = self.pools.keys().copied();
        names.find(|name| !world.pools.contains_key(*name))
    }
}
