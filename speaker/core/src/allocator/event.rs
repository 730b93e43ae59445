//! What the allocator has to say about a service, in MetalLB's words: tools match on them.

use crate::events::{self, Reason, Severity};
use crate::service::ServiceId;
use serde::Serialize;

/// One event of one service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Event {
    /// The service.
    pub service: ServiceId,
    /// What kind of event.
    pub reason: EventReason,
    /// The text for people.
    pub message: String,
}

/// The kinds of events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum EventReason {
    /// An address was given.
    Allocated,
    /// What was held may not be held any more.
    ClearAssignment,
    /// The address of the second family cannot be given.
    AdditionFailed,
    /// No address can be given.
    AllocationFailed,
    /// The request for addresses cannot be read, and what is held stays.
    LoadBalancerFailed,
    /// The status holds two addresses of one family, or more than two.
    StatusFamilies,
    /// Both families are required, and the cluster gave an address of only one.
    NotEnoughClusterIps,
    /// An annotation with MetalLB's old prefix is in use.
    DeprecatedAnnotation,
}

impl EventReason {
    /// The event of Kubernetes that it becomes.
    pub const fn told(self) -> &'static Reason {
        match self {
            Self::Allocated => &events::IP_ALLOCATED,
            Self::ClearAssignment => &events::CLEAR_ASSIGNMENT,
            Self::AdditionFailed => &events::ADDITIONAL_ASSIGN_FAILED,
            Self::AllocationFailed => &events::ALLOCATION_FAILED,
            Self::LoadBalancerFailed => &events::LOAD_BALANCER_FAILED,
            Self::StatusFamilies => &events::STATUS_FAMILIES,
            Self::NotEnoughClusterIps => &events::NOT_ENOUGH_CLUSTER_IPS,
            Self::DeprecatedAnnotation => &events::DEPRECATED_ANNOTATION,
        }
    }

    /// The reason as it stands in the event.
    pub const fn as_str(self) -> &'static str {
        self.told().name
    }

    /// Whether someone should look: an event of type Warning, not Normal.
    pub const fn is_warning(self) -> bool {
        matches!(self.told().severity, Severity::Warning)
    }

    /// Whether the event comes back with every pass while its cause lasts. Only its first time is news.
    pub const fn is_standing(self) -> bool {
        match self {
            Self::Allocated | Self::ClearAssignment | Self::StatusFamilies => false,
            Self::AdditionFailed
            | Self::AllocationFailed
            | Self::LoadBalancerFailed
            | Self::NotEnoughClusterIps
            | Self::DeprecatedAnnotation => true,
        }
    }
}

/// Why a service lost the addresses that it held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cleared {
    /// There is no pool at all.
    NoConfig,
    /// It lacks a cluster address of a family that it requires.
    NoClusterIps,
    /// They are not of the families that it has.
    Families,
    /// The pools do not allow them.
    NotAllowed,
    /// Another service has one of them and does not share it with this one.
    InUse,
    /// It asks for another pool.
    OtherPool,
    /// It asks for other addresses.
    OtherAddresses,
}

impl Cleared {
    /// What MetalLB's controller logs as `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoConfig => "noConfig",
            Self::NoClusterIps => "noClusterIPs",
            Self::Families => "nolbIPsIPFamily",
            Self::NotAllowed => "ipNotAllowed",
            Self::InUse => "ipInUse",
            Self::OtherPool => "differentPoolRequested",
            Self::OtherAddresses => "differentIPRequested",
        }
    }
}
