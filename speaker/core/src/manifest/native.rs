//! Kubernetes' own kinds, with the defaults and refusals of an API server as far as the speaker looks.

use crate::key::{Kind, ObjectKey};
use crate::names;
use crate::node::{AUTOSCALER_TAINT, Ending, Namespace, Node, SHUTDOWN_MESSAGE};
use crate::object::Object;
use crate::problem::{Fault, Faults};
use crate::selector::Labels;
use crate::service::{
    Endpoint, EndpointSlice, Family, FamilyPolicy, Protocol, Service, ServiceId, ServicePort,
    TrafficPolicy,
};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use speaker_proto::NodeName;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What a document of a known kind turned out to be.
#[expect(clippy::large_enum_variant, reason = "short-lived, one at a time")]
pub(super) enum Parsed {
    Object(Object),
    Aside(&'static str),
}

/// Refuses names and namespaces that an API server refuses.
pub(super) fn check_names(key: &ObjectKey) -> Result<(), Faults> {
    let mut faults = Faults::default();
    let name = match key.kind {
        Kind::Namespace | Kind::Service => names::check_label_name(&key.name),
        Kind::Node
        | Kind::EndpointSlice
        | Kind::Pool
        | Kind::L2Advertisement
        | Kind::Community
        | Kind::BgpAdvertisement
        | Kind::BgpPeer
        | Kind::BfdProfile
        | Kind::Document => names::check_subdomain(&key.name),
    };
    faults.take(|| "metadata.name".into(), name);
    if !key.namespace.is_empty() {
        let namespace = names::check_label_name(&key.namespace);
        faults.take(|| "metadata.namespace".into(), namespace);
    }
    faults.none_or(|| ())
}

pub(super) fn namespace(raw: core::Namespace) -> Namespace {
    Namespace {
        name: raw.metadata.name.unwrap_or_default(),
        labels: raw.metadata.labels.unwrap_or_default(),
    }
}

pub(super) fn node(raw: core::Node) -> Result<Node, Faults> {
    let mut faults = Faults::default();
    let ending = ending(&raw);
    let name = raw.metadata.name.unwrap_or_default();
    let name: Option<NodeName> = faults.take(
        || "metadata.name".into(),
        name.parse().map_err(|e| format!("{e}")),
    );
    let status = raw.status.unwrap_or_default();
    let mut addresses = Vec::new();
    for (i, address) in status.addresses.into_iter().flatten().enumerate() {
        if !IP_ADDRESS_TYPES.contains(&address.type_.as_str()) {
            continue;
        }
        let field = || format!("status.addresses[{i}].address");
        addresses.extend(faults.take(field, ip(&address.address)));
    }
    let network_unavailable = status
        .conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "NetworkUnavailable" && condition.status == "True");
    let labels = raw.metadata.labels.unwrap_or_default();
    match name {
        Some(name) => faults.none_or(|| Node {
            name,
            labels,
            addresses,
            network_unavailable,
            ending,
        }),
        None => Err(faults),
    }
}

fn ending(raw: &core::Node) -> Option<Ending> {
    let taints = raw.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let status = raw.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let is_shutting_down = |condition: &core::NodeCondition| {
        condition.type_ == "Ready"
            && condition.status == "False"
            && condition.message.as_deref() == Some(SHUTDOWN_MESSAGE)
    };
    if raw.metadata.deletion_timestamp.is_some() {
        Some(Ending::Deleted)
    } else if (taints.into_iter().flatten()).any(|taint| taint.key == AUTOSCALER_TAINT) {
        Some(Ending::Doomed)
    } else if conditions.into_iter().flatten().any(is_shutting_down) {
        Some(Ending::ShuttingDown)
    } else {
        None
    }
}

pub(super) fn service(key: &ObjectKey, raw: core::Service) -> Result<Service, Faults> {
    let mut faults = Faults::default();
    let meta = raw.metadata;
    let spec = raw.spec.unwrap_or_default();
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    if !SERVICE_TYPES.contains(&kind) {
        faults.push(
            "spec.type",
            format!("{kind:?} is none of {SERVICE_TYPES:?}"),
        );
    }
    let is_load_balancer = kind == "LoadBalancer";
    if spec.load_balancer_class.is_some() && !is_load_balancer {
        faults.push("spec.loadBalancerClass", "is for type LoadBalancer only");
    }
    let cluster_ips = cluster_ips(&spec, is_load_balancer, &mut faults);
    let family_policy = family_policy(&spec, &mut faults);
    let families = families(&spec, &cluster_ips, family_policy, &mut faults);
    let ports = ports(&spec, is_load_balancer, &mut faults);
    let policy = traffic_policy(&spec, &mut faults);
    let is_by_client = is_by_client(&spec, &mut faults);
    check_labels("spec.selector", spec.selector.as_ref(), &mut faults);
    faults.none_or(|| Service {
        id: ServiceId {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        },
        uid: meta.uid.unwrap_or_default(),
        created: meta.creation_timestamp.map(|time| time.0),
        labels: meta.labels.unwrap_or_default(),
        annotations: meta.annotations.unwrap_or_default(),
        is_load_balancer,
        class: spec.load_balancer_class,
        cluster_ips,
        families,
        family_policy,
        policy,
        is_by_client,
        load_balancer_ip: spec.load_balancer_ip.filter(|ip| !ip.is_empty()),
        source_ranges: spec.load_balancer_source_ranges.unwrap_or_default(),
        ports,
        selector: spec.selector.unwrap_or_default(),
        proxied: raw.status.as_ref().map(proxied).unwrap_or_default(),
        ingress: raw.status.map(ingress).unwrap_or_default(),
    })
}

fn cluster_ips(
    spec: &core::ServiceSpec,
    is_load_balancer: bool,
    faults: &mut Faults,
) -> Vec<IpAddr> {
    let first = || spec.cluster_ip.iter().filter(|ip| !ip.is_empty());
    let all: Vec<&String> = match spec.cluster_ips.as_deref() {
        Some([_, ..]) => spec.cluster_ips.iter().flatten().collect(),
        Some([]) | None => first().collect(),
    };
    let mut ips = Vec::with_capacity(all.len());
    for (i, text) in all.into_iter().enumerate() {
        let field = || format!("spec.clusterIPs[{i}]");
        if text == "None" {
            if is_load_balancer {
                faults.push(field(), "a service of type LoadBalancer cannot be headless");
            }
            continue;
        }
        ips.extend(faults.take(field, ip(text)));
    }
    ips
}

fn family_policy(spec: &core::ServiceSpec, faults: &mut Faults) -> FamilyPolicy {
    match spec.ip_family_policy.as_deref() {
        None | Some("" | "SingleStack") => FamilyPolicy::SingleStack,
        Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
        Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
        Some(other) => {
            let why =
                format!("{other:?} is none of SingleStack, PreferDualStack, RequireDualStack");
            faults.push("spec.ipFamilyPolicy", why);
            FamilyPolicy::SingleStack
        }
    }
}

/// The families that the cluster addresses have; without any, those that a dual-stack cluster whose first family
/// is IPv4 would give.
fn families(
    spec: &core::ServiceSpec,
    cluster_ips: &[IpAddr],
    policy: FamilyPolicy,
    faults: &mut Faults,
) -> Vec<Family> {
    let mut families = asked_families(spec, faults);
    if !cluster_ips.is_empty() {
        return cluster_ips.iter().copied().map(Family::of).collect();
    }
    let first = *families.first().unwrap_or(&Family::V4);
    if families.is_empty() {
        families.push(first);
    }
    match policy {
        FamilyPolicy::SingleStack if families.len() > 1 => {
            faults.push(
                "spec.ipFamilies",
                "names two families of a SingleStack service",
            );
        }
        FamilyPolicy::SingleStack => {}
        FamilyPolicy::PreferDualStack | FamilyPolicy::RequireDualStack => {
            families = vec![first, first.other()];
        }
    }
    families
}

fn asked_families(spec: &core::ServiceSpec, faults: &mut Faults) -> Vec<Family> {
    let mut asked = Vec::new();
    for (i, text) in spec.ip_families.iter().flatten().enumerate() {
        let field = || format!("spec.ipFamilies[{i}]");
        let family = match text.as_str() {
            "IPv4" => Ok(Family::V4),
            "IPv6" => Ok(Family::V6),
            other => Err(format!("{other:?} is neither IPv4 nor IPv6")),
        };
        let Some(family) = faults.take(field, family) else {
            continue;
        };
        if asked.contains(&family) {
            faults.push(field(), format!("{text} stands there twice"));
        } else {
            asked.push(family);
        }
    }
    asked
}

fn traffic_policy(spec: &core::ServiceSpec, faults: &mut Faults) -> TrafficPolicy {
    match spec.external_traffic_policy.as_deref() {
        None | Some("" | "Cluster") => TrafficPolicy::Cluster,
        Some("Local") => TrafficPolicy::Local,
        Some(other) => {
            let why = format!("{other:?} is neither Cluster nor Local");
            faults.push("spec.externalTrafficPolicy", why);
            TrafficPolicy::Cluster
        }
    }
}

fn is_by_client(spec: &core::ServiceSpec, faults: &mut Faults) -> bool {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => false,
        Some("ClientIP") => true,
        Some(other) => {
            let why = format!("{other:?} is neither None nor ClientIP");
            faults.push("spec.sessionAffinity", why);
            false
        }
    }
}

fn ports(
    spec: &core::ServiceSpec,
    is_load_balancer: bool,
    faults: &mut Faults,
) -> Vec<ServicePort> {
    let raw = spec.ports.as_deref().unwrap_or(&[]);
    if raw.is_empty() && is_load_balancer {
        faults.push("spec.ports", "is empty");
    }
    let mut ports = Vec::with_capacity(raw.len());
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in raw.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{i}].{name}");
        let name = port.name.clone().unwrap_or_default();
        if name.is_empty() && raw.len() > 1 {
            faults.push(field("name"), "is missing, and there is more than one port");
        } else if !name.is_empty() && !names.insert(name.clone()) {
            faults.push(field("name"), format!("{name:?} stands there twice"));
        }
        let number = faults.take(|| field("port"), port_number(port.port));
        let protocol = faults.take(|| field("protocol"), protocol(port.protocol.as_deref()));
        if let (Some(port), Some(protocol)) = (number, protocol) {
            if !numbers.insert((protocol, port)) {
                faults.push(
                    field("port"),
                    format!("{protocol}/{port} stands there twice"),
                );
            }
            ports.push(ServicePort {
                name,
                protocol,
                port,
            });
        }
    }
    ports
}

fn port_number(port: i32) -> Result<u16, String> {
    let number = u16::try_from(port).ok().filter(|port| *port > 0);
    number.ok_or_else(|| format!("{port} is not between 1 and 65535"))
}

fn protocol(text: Option<&str>) -> Result<Protocol, String> {
    match text {
        None | Some("" | "TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(format!("{other:?} is none of TCP, UDP, SCTP")),
    }
}

fn check_labels(field: &str, labels: Option<&Labels>, faults: &mut Faults) {
    for (key, value) in labels.into_iter().flatten() {
        faults.take(|| format!("{field}.{key}"), names::check_key(key));
        faults.take(|| format!("{field}.{key}"), names::check_label_value(value));
    }
}

fn ingress(status: core::ServiceStatus) -> Vec<Result<IpAddr, String>> {
    let balancer = status.load_balancer.unwrap_or_default();
    let entries = balancer.ingress.into_iter().flatten();
    entries
        .map(|entry| {
            let text = entry.ip.or(entry.hostname).unwrap_or_default();
            ip(&text).map_err(|_| text)
        })
        .collect()
}

/// The addresses with `ipMode: Proxy`.
fn proxied(status: &core::ServiceStatus) -> BTreeSet<IpAddr> {
    let balancer = status.load_balancer.as_ref();
    let entries = balancer.and_then(|balancer| balancer.ingress.as_ref());
    let entries = entries.into_iter().flatten();
    let entries = entries.filter(|entry| entry.ip_mode.as_deref() == Some("Proxy"));
    entries
        .filter_map(|entry| ip(entry.ip.as_deref()?).ok())
        .collect()
}

pub(super) fn endpoint_slice(
    key: &ObjectKey,
    raw: discovery::EndpointSlice,
) -> Result<Parsed, Faults> {
    let mut labels = raw.metadata.labels.unwrap_or_default();
    let Some(service) = labels
        .remove(SERVICE_NAME_LABEL)
        .filter(|name| !name.is_empty())
    else {
        return Ok(Parsed::Aside(
            "belongs to no service: it has no label kubernetes.io/service-name",
        ));
    };
    match raw.address_type.as_str() {
        "IPv4" | "IPv6" => {}
        "FQDN" => return Ok(Parsed::Aside("has host names for addresses")),
        other => {
            let why = format!("{other:?} is none of IPv4, IPv6, FQDN");
            return Err(Fault::new("addressType", why).into());
        }
    }
    let mut faults = Faults::default();
    let mut endpoints = Vec::new();
    for (i, endpoint) in raw.endpoints.into_iter().flatten().enumerate() {
        endpoints.extend(self::endpoint(i, endpoint, &mut faults));
    }
    let ports = slice_ports(raw.ports, &mut faults);
    faults.none_or(|| {
        Parsed::Object(Object::EndpointSlice(EndpointSlice {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            service: ServiceId {
                namespace: key.namespace.clone(),
                name: service,
            },
            endpoints,
            ports,
        }))
    })
}

/// The ports of a slice; one without a number stands for all, and is left out.
fn slice_ports(raw: Option<Vec<discovery::EndpointPort>>, faults: &mut Faults) -> Vec<ServicePort> {
    let mut ports = Vec::new();
    for (i, port) in raw.into_iter().flatten().enumerate() {
        let field = |name: &str| format!("ports[{i}].{name}");
        let Some(number) = port.port else { continue };
        let number = faults.take(|| field("port"), port_number(number));
        let protocol = faults.take(|| field("protocol"), protocol(port.protocol.as_deref()));
        if let (Some(number), Some(protocol)) = (number, protocol) {
            ports.push(ServicePort {
                name: port.name.unwrap_or_default(),
                protocol,
                port: number,
            });
        }
    }
    ports
}

fn endpoint(i: usize, raw: discovery::Endpoint, faults: &mut Faults) -> Option<Endpoint> {
    let mut addresses = Vec::with_capacity(raw.addresses.len());
    for (j, text) in raw.addresses.iter().enumerate() {
        let field = || format!("endpoints[{i}].addresses[{j}]");
        addresses.extend(faults.take(field, ip(text)));
    }
    let node = match raw.node_name {
        None => None,
        Some(text) => {
            let field = || format!("endpoints[{i}].nodeName");
            Some(faults.take(field, text.parse().map_err(|e| format!("{text:?}: {e}")))?)
        }
    };
    let conditions = raw.conditions.unwrap_or_default();
    let is_ready = conditions.ready.unwrap_or(true);
    Some(Endpoint {
        addresses,
        node,
        can_serve: is_ready || conditions.serving.unwrap_or(false),
        is_ready,
    })
}

/// An address; an IPv4 address in IPv6 clothes (RFC 4291 §2.5.5.2) counts as IPv4.
pub(crate) fn ip(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is no IP address"))?;
    Ok(ip.to_canonical())
}

pub(super) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
const IP_ADDRESS_TYPES: [&str; 2] = ["InternalIP", "ExternalIP"];
const SERVICE_TYPES: [&str; 4] = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
