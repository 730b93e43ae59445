//! Judges a cluster by what MetalLB promises of addresses: from objects as an API server holds them to what is wrong.
//!
//! It knows what may be, not how it comes about: it has no order of pools, gives no address and shares no code with the
//! allocator that it judges. Where MetalLB leaves a choice, any choice is right. It looks at addresses one by one, which
//! is slow and plain.
//!
//! Governed by MetalLB's documents "Usage" and "Configuration", and by what its controller was seen to do
//! (`docs/metallb.md`, "Allocation").

mod counts;
mod holding;
mod judge;
mod labels;
mod moves;
mod pool;
mod service;
mod waiting;

pub use judge::{Actor, Judge};

use pool::{Pool, Standing};
use serde_json::Value;
use service::Service;
use std::collections::BTreeMap;
use std::fmt;

/// Which promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Two services have one address and may not share it.
    GivenTwice,
    /// A service has an address that it may not have.
    Unlawful,
    /// An address was taken away that could have stayed.
    Moved,
    /// A service has no address though there is one for it.
    WaitsInVain,
    /// What is said about a service without an address is not so.
    UntrueReason,
    /// The annotation and the status do not say the same.
    Disagreement,
    /// A pool's counters are wrong.
    Miscounted,
    /// A service of another class was written.
    NotOurs,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Which promise is broken.
    pub rule: Rule,
    /// How, with the objects concerned.
    pub what: String,
}

impl Violation {
    fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self {
            rule,
            what: what.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// A cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// By namespace and name.
    services: BTreeMap<String, Service>,
    /// By name; those in other namespaces than MetalLB's do not count.
    pools: BTreeMap<String, Pool>,
    /// Labels by name.
    namespaces: BTreeMap<String, labels::Labels>,
    /// The class of services that are looked at.
    class: Option<String>,
}

impl Picture {
    /// Of services, pools and namespaces; other kinds are left out. `class` is the controller's `--lb-class`.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>, class: Option<&str>) -> Self {
        let mut picture = Self {
            class: class.map(str::to_owned),
            ..Self::default()
        };
        for object in objects {
            let name = text(&object["metadata"]["name"]);
            match text(&object["kind"]) {
                "Service" => {
                    let service = Service::of(object);
                    picture.services.insert(service.id.clone(), service);
                }
                "IPAddressPool" if text(&object["metadata"]["namespace"]) == NAMESPACE => {
                    picture.pools.insert(name.to_owned(), Pool::of(object));
                }
                "Namespace" => {
                    let mut labels = labels::of(&object["metadata"]["labels"]);
                    labels.insert(NAME_LABEL.to_owned(), name.to_owned());
                    picture.namespaces.insert(name.to_owned(), labels);
                }
                _other => {}
            }
        }
        pool::rank(&mut picture.pools);
        picture
    }

    /// The services that the controller is for.
    fn ours(&self) -> impl Iterator<Item = &Service> {
        self.services
            .values()
            .filter(|service| self.is_ours(service))
    }

    fn is_ours(&self, service: &Service) -> bool {
        service.is_load_balancer && service.class == self.class
    }

    /// Whether a pool may be used for a service that asks for it.
    fn serves(&self, pool: &Pool, service: &Service) -> bool {
        pool.serves(service, &self.namespaces)
    }

    /// Whether a pool cannot be read. What it says is then not to be seen, nor what it once gave.
    fn hides_pools(&self) -> bool {
        let mut pools = self.pools.values();
        pools.any(|pool| pool.standing == Standing::Broken)
    }

    /// Whether every pool can be read and none overlaps another. If not, much is left open.
    fn is_regular(&self) -> bool {
        self.pools
            .values()
            .all(|pool| pool.standing == Standing::Regular)
    }
}

/// Everything that is wrong with a cluster in which nothing happens any more. `events` are those of its services, in
/// the order in which they were last told.
fn at_rest(picture: &Picture, events: &[Value]) -> Vec<Violation> {
    let mut violations = holding::shared(picture);
    violations.extend(holding::lawful(picture));
    violations.extend(waiting::waiting(picture, events));
    violations.extend(counts::counted(picture));
    violations
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// Where pools count.
const NAMESPACE: &str = "metallb-system";
/// Every namespace has its name as a label.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[cfg(test)]
mod tests;
