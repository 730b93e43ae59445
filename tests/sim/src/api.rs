//! The objects of the cluster, and how late each node hears of their changes.
//!
//! The truth is a list of changes; every node follows it in order, after a delay of its own, or not at all while its API
//! server is away. What a node has heard outlives its process, as the cache of last good objects does. Nothing here knows what
//! objects lead to.

use crate::lan::{self, Lan};
use speaker_core::key::ObjectKey;
use speaker_core::manifest;
use speaker_core::object::Object;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One change of one object.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every change is a new version"
)]
#[derive(Clone, Debug)]
pub enum Change {
    /// A new version.
    Put(Object),
    /// It is gone.
    Gone(ObjectKey),
}

/// The truth, and what each node has heard of it.
#[derive(Debug)]
pub struct Api {
    log: Vec<Change>,
    nodes: Vec<Follower>,
}

/// One node's way to the API server.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    /// Changes that it has heard.
    heard: usize,
    objects: BTreeMap<ObjectKey, Object>,
    /// No API server answers it.
    pub is_cut: bool,
    /// How much later than usual it hears, in nanoseconds.
    pub lag: u64,
}

impl Api {
    /// A cluster that every node has seen as it is.
    pub fn new(nodes: usize, objects: Vec<Object>) -> Self {
        let mut api = Self {
            log: objects.into_iter().map(Change::Put).collect(),
            nodes: vec![Follower::default(); nodes],
        };
        for node in 0..nodes {
            api.hear(node, usize::MAX);
        }
        api
    }

    /// Changes an object for everybody; how many changes there are now.
    pub fn change(&mut self, change: Change) -> usize {
        self.log.push(change);
        self.log.len()
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// The changes up to `until` that `node` has not heard yet; it has now.
    pub fn hear(&mut self, node: usize, until: usize) -> Vec<Change> {
        let follower = &mut self.nodes[node];
        let until = until.min(self.log.len());
        if until <= follower.heard {
            return Vec::new();
        }
        let news = self.log[follower.heard..until].to_vec();
        follower.heard = until;
        for change in &news {
            match change {
                Change::Put(object) => follower.objects.insert(object.key(), object.clone()),
                Change::Gone(key) => follower.objects.remove(key),
            };
        }
        news
    }

    /// What `node` has heard, as objects.
    pub fn objects(&self, node: usize) -> impl Iterator<Item = &Object> {
        self.nodes[node].objects.values()
    }

    /// The way of `node`.
    pub fn follower(&mut self, node: usize) -> &mut Follower {
        &mut self.nodes[node]
    }
}

/// The name of a node by its number.
pub fn node_name(node: usize) -> String {
    format!("n{}", node + 1)
}

/// A node, excluded from load balancing or not.
pub fn node(node: usize, is_excluded: bool) -> Object {
    let name = node_name(node);
    let excluded = if is_excluded {
        ", node.kubernetes.io/exclude-from-external-load-balancers: \"\""
    } else {
        ""
    };
    object(format!(
        "apiVersion: v1\nkind: Node\n\
         metadata: {{name: {name}, labels: {{kubernetes.io/hostname: {name}{excluded}}}}}"
    ))
}

/// The pool that all addresses are from.
pub fn pool() -> Object {
    object(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: main, namespace: metallb-system}\n\
         spec: {addresses: [192.0.2.0/24, \"2001:db8::/120\"]}"
            .into(),
    )
}

/// A pool of these addresses only.
pub fn pool_of(number: usize, vips: &[IpAddr]) -> Object {
    let range = |vip: &IpAddr| format!("\"{vip}/{}\"", if vip.is_ipv4() { 32 } else { 128 });
    let ranges: Vec<String> = vips.iter().map(range).collect();
    object(format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: p{number}, namespace: metallb-system}}\n\
         spec: {{addresses: [{}]}}",
        ranges.join(", ")
    ))
}

/// The advertisement: of all nodes, or of these only; `is_spread`: packets are spread over them.
pub fn advertisement(nodes: Option<&[usize]>, is_spread: bool) -> Object {
    let spread = steering(is_spread);
    let spec = nodes.map_or(String::new(), |nodes| {
        format!("spec: {{{}}}", selectors(nodes))
    });
    object(format!(
        "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: all, namespace: metallb-system{spread}}}\n{spec}"
    ))
}

/// The advertisement of a pool: of all nodes, or of these only, on the links that lead to these segments; `is_spread`: packets are spread
/// over them.
pub fn advertisement_of(
    number: usize,
    nodes: Option<&[usize]>,
    lans: &[Lan],
    is_spread: bool,
) -> Object {
    let spread = steering(is_spread);
    let selectors = nodes.map_or(String::new(), |nodes| format!("{}, ", selectors(nodes)));
    let links: Vec<String> = lans.iter().map(|lan| lan::name(*lan).to_string()).collect();
    let interfaces = match lans.len() {
        // As an operator leaves it out.
        lan::LANS => String::new(),
        _ => format!("interfaces: [{}], ", links.join(", ")),
    };
    object(format!(
        "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: a{number}, namespace: metallb-system{spread}}}\n\
         spec: {{{selectors}{interfaces}ipAddressPools: [p{number}]}}"
    ))
}

const fn steering(is_spread: bool) -> &'static str {
    if is_spread {
        ", annotations: {heliograph.io/steering: spread}"
    } else {
        ""
    }
}

fn selectors(nodes: &[usize]) -> String {
    let of = |node: &usize| {
        format!(
            "{{matchLabels: {{kubernetes.io/hostname: {}}}}}",
            node_name(*node)
        )
    };
    let list: Vec<String> = nodes.iter().map(of).collect();
    format!("nodeSelectors: [{}]", list.join(", "))
}

/// A service by its number: its addresses, whether only nodes with an endpoint may announce it, and whether it shares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Its addresses.
    pub vips: Vec<IpAddr>,
    /// `externalTrafficPolicy: Local`.
    pub is_local: bool,
    /// It shares its address with others of that key.
    pub shares: bool,
}

/// A service of a shape.
pub fn service(number: usize, shape: &Shape) -> Object {
    let ingress: Vec<String> = shape
        .vips
        .iter()
        .map(|ip| format!("{{ip: \"{ip}\"}}"))
        .collect();
    let policy = if shape.is_local { "Local" } else { "Cluster" };
    let families = if shape.vips.len() > 1 {
        "ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6], "
    } else {
        ""
    };
    let shares = if shape.shares {
        ", annotations: {metallb.io/allow-shared-ip: k}"
    } else {
        ""
    };
    object(format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: default{shares}}}\n\
         spec: {{type: LoadBalancer, {families}externalTrafficPolicy: {policy}, selector: {{app: a}}, ports: [{{port: {}}}]}}\n\
         status: {{loadBalancer: {{ingress: [{}]}}}}",
        80 + number,
        ingress.join(", ")
    ))
}

/// Where a service's endpoints are.
pub fn slice(number: usize, nodes: &[usize]) -> Object {
    let endpoint = |node: &usize| {
        format!(
            "{{addresses: [10.0.0.{}], nodeName: {}}}",
            node + 1,
            node_name(*node)
        )
    };
    let endpoints: Vec<String> = nodes.iter().map(endpoint).collect();
    object(format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: s{number}-1, namespace: default, labels: {{kubernetes.io/service-name: s{number}}}}}\n\
         addressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [{}]",
        endpoints.join(", ")
    ))
}

thread_local! {
    /// Parsing costs more than a virtual second: each text is parsed once per thread.
    static PARSED: RefCell<BTreeMap<String, Object>> = const { RefCell::new(BTreeMap::new()) };
}

/// The object that a manifest of one sound document says.
fn object(text: String) -> Object {
    if let Some(known) = PARSED.with_borrow(|parsed| parsed.get(&text).cloned()) {
        return known;
    }
    let read = manifest::read("cluster.yaml", &text, "metallb-system");
    let [Ok(object)] = read.objects.as_slice() else {
        panic!("the simulator's own manifest: {text}\n{:?}", read.objects);
    };
    let object = object.clone();
    PARSED.with_borrow_mut(|parsed| parsed.insert(text, object.clone()));
    object
}
