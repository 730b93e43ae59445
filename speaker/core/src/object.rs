//! Objects of every kind as parsed values.

use crate::crd::{BfdProfile, BgpAdvertisement, BgpPeer, Community, L2Advertisement, Pool};
use crate::key::{Kind, ObjectKey};
use crate::node::{Namespace, Node};
use crate::service::{EndpointSlice, Service};

/// A parsed object.
#[derive(Clone, PartialEq, Debug)]
pub enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// A node.
    Node(Node),
    /// A service.
    Service(Service),
    /// Endpoints of a service.
    EndpointSlice(EndpointSlice),
    /// An address pool.
    Pool(Pool),
    /// A layer 2 advertisement.
    L2Advertisement(L2Advertisement),
    /// Named BGP communities.
    Community(Community),
    /// A BGP advertisement.
    BgpAdvertisement(BgpAdvertisement),
    /// A router to speak BGP with.
    BgpPeer(BgpPeer),
    /// How fast a peer is missed.
    BfdProfile(BfdProfile),
}

impl Object {
    /// The key that names it.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Namespace(o) => ObjectKey::new(Kind::Namespace, "", &o.name),
            Self::Node(o) => ObjectKey::new(Kind::Node, "", o.name.as_str()),
            Self::Service(o) => ObjectKey::new(Kind::Service, &o.id.namespace, &o.id.name),
            Self::EndpointSlice(o) => ObjectKey::new(Kind::EndpointSlice, &o.namespace, &o.name),
            Self::Pool(o) => ObjectKey::new(Kind::Pool, &o.namespace, &o.name),
            Self::L2Advertisement(o) => {
                ObjectKey::new(Kind::L2Advertisement, &o.namespace, &o.name)
            }
            Self::Community(o) => ObjectKey::new(Kind::Community, &o.namespace, &o.name),
            Self::BgpAdvertisement(o) => {
                ObjectKey::new(Kind::BgpAdvertisement, &o.namespace, &o.name)
            }
            Self::BgpPeer(o) => ObjectKey::new(Kind::BgpPeer, &o.namespace, &o.name),
            Self::BfdProfile(o) => ObjectKey::new(Kind::BfdProfile, &o.namespace, &o.name),
        }
    }
}
