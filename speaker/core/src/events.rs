//! Events of Kubernetes: all that is ever told of an object, by the reasons that tools and people look for.
//!
//! One table: who tells of an object takes a reason from it, and `docs/reference/events.md` is made from it. Reasons, types and
//! sources are MetalLB's wherever it has the same event.

/// Whether someone should look: the `type` of an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// News.
    Normal,
    /// Someone should look.
    Warning,
}

impl Severity {
    /// As it stands in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One kind of event. There are no others than those of [`REASONS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub struct Reason {
    /// The `reason` of the event.
    pub name: &'static str,
    /// Its `type`.
    pub severity: Severity,
    /// The object that it is about.
    pub on: &'static str,
    /// Which of our parts tells it.
    pub by: &'static str,
    /// When it is told.
    pub when: &'static str,
}

/// It has an address.
pub const IP_ALLOCATED: Reason = Reason {
    name: "IPAllocated",
    severity: Severity::Normal,
    on: "Service",
    by: "controller",
    when: "it has an address",
};

/// What it held may not be held any more.
pub const CLEAR_ASSIGNMENT: Reason = Reason {
    name: "ClearAssignment",
    severity: Severity::Normal,
    on: "Service; once on the controller's pod for many",
    by: "controller",
    when: "what it held may not be held any more",
};

/// The second family of a dual stack cannot be had.
pub const ADDITIONAL_ASSIGN_FAILED: Reason = Reason {
    name: "AdditionalAssignFailed",
    severity: Severity::Normal,
    on: "Service",
    by: "controller",
    when: "the second family of a dual stack cannot be had",
};

/// No address can be given; says why.
pub const ALLOCATION_FAILED: Reason = Reason {
    name: "AllocationFailed",
    severity: Severity::Warning,
    on: "Service",
    by: "controller",
    when: "no address can be given; says why",
};

/// The request for addresses cannot be read; what is held stays.
pub const LOAD_BALANCER_FAILED: Reason = Reason {
    name: "LoadBalancerFailed",
    severity: Severity::Warning,
    on: "Service",
    by: "controller",
    when: "the request for addresses cannot be read; what is held stays",
};

/// The status holds two addresses of one family, or more than two.
pub const STATUS_FAMILIES: Reason = Reason {
    name: "nolbIPsIPFamily",
    severity: Severity::Warning,
    on: "Service",
    by: "controller",
    when: "the status holds two addresses of one family, or more than two",
};

/// Both families are required, and the cluster gave one.
pub const NOT_ENOUGH_CLUSTER_IPS: Reason = Reason {
    name: "not enough clusterips",
    severity: Severity::Warning,
    on: "Service",
    by: "controller",
    when: "both families are required, and the cluster gave one",
};

/// An annotation has MetalLB's old prefix.
pub const DEPRECATED_ANNOTATION: Reason = Reason {
    name: "deprecatedAnnotation",
    severity: Severity::Warning,
    on: "Service",
    by: "controller",
    when: "an annotation has MetalLB's old prefix",
};

/// Somebody else writes addresses; nothing is written until that is over.
pub const ALLOCATION_PAUSED: Reason = Reason {
    name: "AllocationPaused",
    severity: Severity::Warning,
    on: "the controller's pod",
    by: "controller",
    when: "somebody else writes addresses; nothing is written until that is over",
};

/// A node begins to announce it, by layer 2 or BGP.
pub const NODE_ASSIGNED: Reason = Reason {
    name: "nodeAssigned",
    severity: Severity::Normal,
    on: "Service",
    by: "speaker",
    when: "a node begins to announce it, by layer 2 or BGP",
};

/// Its address came from another node, and by which ground.
pub const VIP_TAKEN: Reason = Reason {
    name: "vipTaken",
    severity: Severity::Normal,
    on: "Service",
    by: "speaker",
    when: "its address came from another node, and by which ground",
};

/// Links that its advertisements name do not exist on the node that announces it.
pub const ANNOUNCE_FAILED: Reason = Reason {
    name: "announceFailed",
    severity: Severity::Warning,
    on: "Service",
    by: "speaker",
    when: "links that its advertisements name do not exist on the node that announces it",
};

/// Somebody else keeps writing the `caBundle`.
pub const CA_BUNDLE_CONTESTED: Reason = Reason {
    name: "caBundleContested",
    severity: Severity::Warning,
    on: "webhook configuration or CustomResourceDefinition",
    by: "controller, operator",
    when: "somebody else keeps writing the `caBundle`",
};

/// All of them, in the order of the reference.
pub const REASONS: &[Reason] = &[
    IP_ALLOCATED,
    CLEAR_ASSIGNMENT,
    ADDITIONAL_ASSIGN_FAILED,
    ALLOCATION_FAILED,
    LOAD_BALANCER_FAILED,
    STATUS_FAMILIES,
    NOT_ENOUGH_CLUSTER_IPS,
    DEPRECATED_ANNOTATION,
    ALLOCATION_PAUSED,
    NODE_ASSIGNED,
    VIP_TAKEN,
    ANNOUNCE_FAILED,
    CA_BUNDLE_CONTESTED,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_is_among_them_once() {
        let source = include_str!("events.rs");
        let told = source.matches(": Reason = Reason {").count();
        // This test has the words, too.
        assert_eq!(REASONS.len(), told - 1);
        let names: BTreeSet<&str> = REASONS.iter().map(|reason| reason.name).collect();
        assert_eq!(names.len(), REASONS.len());
    }
}
