//! Objects of every kind as parsed values, and the keys that name them.

use crate::crd::{BfdProfile, BgpAdvertisement, BgpPeer, Community, L2Advertisement, Pool};
use crate::node::{Namespace, Node};
use crate::service::{EndpointSlice, Service};
use serde::{Serialize, Serializer};
use std::fmt;

/// The kinds that the speaker reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// v1 Namespace.
    Namespace,
    /// v1 Node.
    Node,
    /// v1 Service.
    Service,
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice,
    /// metallb.io/v1beta1 IPAddressPool.
    Pool,
    /// metallb.io/v1beta1 L2Advertisement.
    L2Advertisement,
    /// metallb.io/v1beta1 Community.
    Community,
    /// metallb.io/v1beta1 BGPAdvertisement.
    BgpAdvertisement,
    /// metallb.io/v1beta2 BGPPeer.
    BgpPeer,
    /// metallb.io/v1beta1 BFDProfile.
    BfdProfile,
    /// A document whose kind could not be told.
    Document,
}

impl Kind {
    /// The kinds that a source delivers and syncs.
    pub const ALL: [Self; 10] = [
        Self::Namespace,
        Self::Node,
        Self::Service,
        Self::EndpointSlice,
        Self::Pool,
        Self::L2Advertisement,
        Self::Community,
        Self::BgpAdvertisement,
        Self::BgpPeer,
        Self::BfdProfile,
    ];

    /// Whether it is MetalLB's configuration, which counts in one namespace; a document may hold any of it.
    pub const fn is_config(self) -> bool {
        match self {
            Self::Pool
            | Self::L2Advertisement
            | Self::Community
            | Self::BgpPeer
            | Self::BgpAdvertisement
            | Self::BfdProfile
            | Self::Document => true,
            Self::Namespace | Self::Node | Self::Service | Self::EndpointSlice => false,
        }
    }

    /// As in the `kind` field of a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pool => "IPAddressPool",
            Self::L2Advertisement => "L2Advertisement",
            Self::Community => "Community",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::BgpPeer => "BGPPeer",
            Self::BfdProfile => "BFDProfile",
            Self::Document => "document",
        }
    }
}

/// Names one object: kind, namespace (empty for cluster-wide kinds) and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for cluster-wide kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        if self.namespace.is_empty() {
            write!(f, " {}", self.name)
        } else {
            write!(f, " {}/{}", self.namespace, self.name)
        }
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

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
