//! What names an object.

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
