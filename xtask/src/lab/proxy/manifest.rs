//! What the service proxy needs of the manifests: addresses, ports, policy and ready endpoints.
//!
//! Reads the few fields that kube-proxy would and lets everything else pass, malformed or not.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// One port of a service on one of its addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frontend {
    /// Namespace and name of the service, with a slash.
    pub service: String,
    /// The address.
    pub vip: IpAddr,
    /// The transport.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// The external traffic policy.
    pub policy: Policy,
    /// Whether the status says `ipMode: Proxy` of the address: it is to be left alone.
    pub is_left_alone: bool,
    /// Whether `appProtocol` says that HTTP is spoken.
    pub is_http: bool,
    /// The ready endpoints of the address's family, each with its node.
    pub endpoints: Vec<(SocketAddr, String)>,
}

impl Frontend {
    /// Address and port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.vip, self.port)
    }
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Debug, Default)]
pub enum Policy {
    /// Any endpoint; the node puts its own address in place of the client's.
    #[default]
    Cluster,
    /// Endpoints of the same node only; the client's address is kept.
    Local,
}

/// Transports that the lab has backends for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Debug, Default)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// All frontends of the manifests in `dir`, and what could not be read.
///
/// # Errors
/// When the folder cannot be listed.
pub fn frontends(dir: &Path) -> Result<(Vec<Frontend>, Vec<String>)> {
    let mut read = Read::default();
    for path in files(dir)? {
        // A file may be gone since the listing.
        if let Ok(text) = std::fs::read_to_string(&path) {
            read.file(&path, &text);
        }
    }
    Ok((read.frontends(), read.faults))
}

/// The YAML files of a folder, by name.
///
/// # Errors
/// When the folder cannot be listed.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("failed to list {}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml" || e == "yml"))
        .collect();
    files.sort();
    Ok(files)
}

/// Cuts at the separator lines, so that a broken document hides no other.
fn documents(text: &str) -> impl Iterator<Item = String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line == "---" || line.starts_with("--- ") {
            documents.push(String::new());
        } else {
            let last = documents.last_mut().expect("there is at least the first");
            last.push_str(line);
            last.push('\n');
        }
    }
    documents.into_iter()
}

#[derive(Default)]
struct Read {
    services: BTreeMap<String, Service>,
    slices: Vec<Slice>,
    allocations: Vec<Allocation>,
    faults: Vec<String>,
}

impl Read {
    fn file(&mut self, path: &Path, text: &str) {
        if path.file_name().is_some_and(|name| name == ALLOCATIONS) {
            match serde_norway::from_str(text) {
                Ok(Allocations { allocations }) => self.allocations = allocations,
                Err(error) => self.faults.push(format!("{}: {error}", path.display())),
            }
            return;
        }
        for (number, document) in documents(text).enumerate() {
            if let Err(error) = self.take(&document) {
                let fault = format!("{}#{}: {error}", path.display(), number + 1);
                self.faults.push(fault);
            }
        }
    }

    fn take(&mut self, document: &str) -> Result<(), serde_norway::Error> {
        // An empty document has no kind either.
        let kind: Option<Typed> = serde_norway::from_str(document)?;
        match kind.map(|typed| typed.kind).as_deref() {
            Some("Service") => {
                let service: Service = parse(document)?;
                self.services.insert(service.metadata.id(), service);
            }
            Some("EndpointSlice") => self.slices.push(parse(document)?),
            _ => {}
        }
        Ok(())
    }

    fn frontends(&self) -> Vec<Frontend> {
        let mut frontends = Vec::new();
        for (id, service) in &self.services {
            for vip in self.vips(id, service) {
                for port in &service.spec.ports {
                    frontends.push(Frontend {
                        service: id.clone(),
                        vip,
                        protocol: port.protocol,
                        port: port.port,
                        policy: service.spec.policy,
                        is_left_alone: service.leaves_alone(vip),
                        is_http: port.app_protocol.as_deref() == Some("http"),
                        endpoints: self.endpoints(id, vip, port),
                    });
                }
            }
        }
        frontends
    }

    /// Those of the allocator, or else of the status.
    fn vips(&self, id: &str, service: &Service) -> Vec<IpAddr> {
        if service.spec.kind != "LoadBalancer" {
            return Vec::new();
        }
        match self.allocations.iter().find(|given| given.service == id) {
            Some(given) => given.addresses.clone(),
            None => {
                let ingress = &service.status.load_balancer.ingress;
                ingress.iter().filter_map(|ingress| ingress.ip).collect()
            }
        }
    }

    fn endpoints(&self, id: &str, vip: IpAddr, port: &Port) -> Vec<(SocketAddr, String)> {
        let mut endpoints = Vec::new();
        for slice in self.slices.iter().filter(|slice| slice.service() == id) {
            let Some(target) = slice
                .ports
                .iter()
                .find(|p| p.name == port.name && p.protocol == port.protocol)
            else {
                continue;
            };
            for endpoint in slice.endpoints.iter().filter(|e| e.conditions.ready) {
                for address in &endpoint.addresses {
                    if address.is_ipv4() == vip.is_ipv4() {
                        let at = SocketAddr::new(*address, target.port);
                        endpoints.push((at, endpoint.node_name.clone()));
                    }
                }
            }
        }
        endpoints.sort();
        endpoints.dedup();
        endpoints
    }
}

fn parse<T: DeserializeOwned>(document: &str) -> Result<T, serde_norway::Error> {
    serde_norway::from_str(document)
}

#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default = "default_namespace")]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Metadata {
    fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn default_namespace() -> String {
    "default".to_owned()
}

#[derive(Deserialize)]
struct Service {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(rename = "externalTrafficPolicy", default)]
    policy: Policy,
    #[serde(default)]
    ports: Vec<Port>,
}

#[derive(Deserialize)]
struct Port {
    #[serde(default)]
    name: String,
    #[serde(default)]
    protocol: Protocol,
    port: u16,
    #[serde(rename = "appProtocol")]
    app_protocol: Option<String>,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(rename = "loadBalancer", default)]
    load_balancer: LoadBalancer,
}

#[derive(Deserialize, Default)]
struct LoadBalancer {
    #[serde(default)]
    ingress: Vec<Ingress>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ingress {
    ip: Option<IpAddr>,
    ip_mode: Option<String>,
}

impl Service {
    fn leaves_alone(&self, vip: IpAddr) -> bool {
        let ingress = &self.status.load_balancer.ingress;
        let is_proxied = |entry: &Ingress| entry.ip_mode.as_deref() == Some("Proxy");
        ingress
            .iter()
            .any(|entry| entry.ip == Some(vip) && is_proxied(entry))
    }
}

#[derive(Deserialize)]
struct Slice {
    metadata: Metadata,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

impl Slice {
    fn service(&self) -> String {
        let name = self.metadata.labels.get("kubernetes.io/service-name");
        format!(
            "{}/{}",
            self.metadata.namespace,
            name.map_or("", String::as_str)
        )
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    addresses: Vec<IpAddr>,
    #[serde(default)]
    node_name: String,
    #[serde(default)]
    conditions: Conditions,
}

#[derive(Deserialize)]
struct Conditions {
    #[serde(default = "yes")]
    ready: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { ready: true }
    }
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Allocations {
    allocations: Vec<Allocation>,
}

#[derive(Deserialize)]
struct Allocation {
    service: String,
    addresses: Vec<IpAddr>,
}

/// Where the allocator of the speakers keeps what it gave.
const ALLOCATIONS: &str = "allocations.yaml";

#[cfg(test)]
mod tests;
