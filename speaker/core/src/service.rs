//! Services and their endpoints, as far as announcing and allocating need them.

use crate::selector::Labels;
use speaker_proto::NodeName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// Namespace and name of a service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceId {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum TrafficPolicy {
    /// Any node may serve.
    #[default]
    Cluster,
    /// Only nodes with an endpoint may serve; the client address is kept.
    Local,
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum FamilyPolicy {
    /// One family.
    #[default]
    SingleStack,
    /// Both if possible.
    PreferDualStack,
    /// Both, or nothing.
    RequireDualStack,
}

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// Transport of a service port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A port that a service offers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ServicePort {
    /// Its name; empty when the only one.
    pub name: String,
    /// The transport.
    pub protocol: Protocol,
    /// The port on the VIP.
    pub port: u16,
}

/// A `v1` Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Its name.
    pub id: ServiceId,
    /// Its UID where there is an API server; else empty.
    pub uid: String,
    /// `metadata.creationTimestamp`; services without one come after those that have it.
    pub created: Option<jiff::Timestamp>,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations, unparsed; those of the allocator are read by [`crate::allocator`].
    pub annotations: BTreeMap<String, String>,
    /// Whether `spec.type` is LoadBalancer.
    pub is_load_balancer: bool,
    /// `spec.loadBalancerClass`.
    pub class: Option<String>,
    /// `spec.clusterIPs`, without `None`.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.ipFamilies`, or what the policy and the cluster addresses say; primary first, never empty.
    pub families: Vec<Family>,
    /// `spec.ipFamilyPolicy`.
    pub family_policy: FamilyPolicy,
    /// `spec.externalTrafficPolicy`.
    pub policy: TrafficPolicy,
    /// `spec.sessionAffinity` is ClientIP.
    pub is_by_client: bool,
    /// `spec.loadBalancerIP`.
    pub load_balancer_ip: Option<String>,
    /// `spec.loadBalancerSourceRanges`, as they were written.
    pub source_ranges: Vec<String>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.selector`.
    pub selector: Labels,
    /// `status.loadBalancer.ingress`, in order; a hostname or unreadable address is `Err` with its text.
    pub ingress: Vec<Result<IpAddr, String>>,
    /// Those of them with `ipMode: Proxy`: kube-proxy leaves them alone.
    pub proxied: BTreeSet<IpAddr>,
}

/// A `discovery.k8s.io/v1` EndpointSlice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointSlice {
    /// Namespace of the slice (and of its service).
    pub namespace: String,
    /// Name of the slice.
    pub name: String,
    /// The service, from the label `kubernetes.io/service-name`.
    pub service: ServiceId,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The ports, by the service port's name.
    pub ports: Vec<ServicePort>,
}

/// One endpoint of a slice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The node it runs on.
    pub node: Option<NodeName>,
    /// Whether it can serve: ready is true or unset, or serving is true (compat with MetalLB: a terminating endpoint
    /// that still serves counts).
    pub can_serve: bool,
    /// Whether it is ready, which is what a service proxy goes by.
    pub is_ready: bool,
}
