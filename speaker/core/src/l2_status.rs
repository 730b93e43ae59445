//! Which ServiceL2Status objects should exist, and the writes that lead there.
//!
//! One object a service, made by the node that announces it. That node takes away those of other nodes; a node that lost takes
//! away its own. Everything here is a function of what the plan says and of the objects that were seen, so that a lost
//! answer or a late event costs a write more and nothing else. Names, labels and fields are MetalLB's (its page on
//! troubleshooting, "ServiceL2Status").

use crate::plan::{Outcome, Plan};
use crate::service::ServiceId;
use serde_json::{Value, json};
use speaker_proto::NodeName;
use std::collections::{BTreeMap, BTreeSet};

/// The label that names the node of an object.
pub const NODE_LABEL: &str = "metallb.io/node";
/// The label that names the service of an object.
pub const SERVICE_NAME_LABEL: &str = "metallb.io/service-name";
/// The label that names the service's namespace.
pub const SERVICE_NAMESPACE_LABEL: &str = "metallb.io/service-namespace";

/// The services that this node announces, and the links that their advertisements list; none: all links.
pub type Wanted = BTreeMap<ServiceId, Vec<String>>;

/// What the plan wants.
pub fn wanted(plan: &Plan) -> Wanted {
    let announced = plan.outcomes.iter().filter_map(|(service, outcome)| {
        let Outcome::Announced(announced) = outcome else {
            return None;
        };
        let links = announced.listed.iter().map(ToString::to_string).collect();
        Some((service.clone(), links))
    });
    announced.collect()
}

/// An object as it was seen last.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    node: String,
    service: ServiceId,
    owner: Option<String>,
    status: Status,
    version: u128,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Status {
    node: Option<String>,
    service: Option<ServiceId>,
    links: Vec<String>,
}

/// One write.
#[derive(Clone, PartialEq, Debug)]
pub enum Write {
    /// Delete the object of that name.
    Delete(String),
    /// Make an object with this body; its status is a write of its own.
    Make(Value),
    /// Merge this into an object's metadata.
    Own(String, Value),
    /// Merge this into an object's status.
    Say(String, Value),
}

/// The objects that this node has to do with.
#[derive(Clone, PartialEq, Debug)]
pub struct L2Statuses {
    node: NodeName,
    seen: BTreeMap<String, Seen>,
}

impl L2Statuses {
    /// Nothing has been seen.
    pub const fn new(node: NodeName) -> Self {
        Self {
            node,
            seen: BTreeMap::new(),
        }
    }

    /// An object as a list, a watch or the answer to a write has it. One that is older than what was seen is late news.
    pub fn put(&mut self, object: &Value) {
        let Some((name, seen)) = read(object) else {
            return;
        };
        let is_late = |known: &Seen| known.version > seen.version;
        if !self.seen.get(&name).is_some_and(is_late) {
            self.seen.insert(name, seen);
        }
    }

    /// An object is gone.
    pub fn gone(&mut self, name: &str) {
        self.seen.remove(name);
    }

    /// Forgets the objects of other nodes, which are looked for when they matter and not followed.
    pub fn forget_others(&mut self) {
        self.seen.retain(|_, seen| seen.node == self.node.as_str());
    }

    /// The services for which this node has no object yet: those whose objects of other nodes it has not looked for.
    pub fn fresh<'w>(&self, wanted: &'w Wanted) -> Vec<&'w ServiceId> {
        let own = self
            .seen
            .values()
            .filter(|seen| seen.node == self.node.as_str());
        let known: BTreeSet<&ServiceId> = own.map(|seen| &seen.service).collect();
        wanted
            .keys()
            .filter(|service| !known.contains(service))
            .collect()
    }

    /// What is still to be written, what takes away first. `owner` is the `ownerReferences` entry of this pod.
    pub fn writes(&self, wanted: &Wanted, owner: Option<&Value>) -> Vec<Write> {
        let mut deletes = Vec::new();
        let mut rest = Vec::new();
        let mut missing: BTreeSet<&ServiceId> = wanted.keys().collect();
        for (name, seen) in &self.seen {
            let links = wanted.get(&seen.service);
            if seen.node != self.node.as_str() {
                // Where this node announces nothing, the object is its node's to take away.
                deletes.extend(links.map(|_| Write::Delete(name.clone())));
                continue;
            }
            // Of two of its own one is enough; one that speaks of something else cannot be set right.
            let (Some(links), true) = (links, seen.status.may_become(self.node.as_str(), seen))
            else {
                deletes.push(Write::Delete(name.clone()));
                continue;
            };
            if !missing.remove(&seen.service) {
                deletes.push(Write::Delete(name.clone()));
                continue;
            }
            rest.extend(self.mended(name, seen, links, owner));
        }
        let made = missing.into_iter();
        rest.extend(made.map(|service| Write::Make(self.object(service, owner))));
        deletes.extend(rest);
        deletes
    }

    fn mended(
        &self,
        name: &str,
        seen: &Seen,
        links: &[String],
        owner: Option<&Value>,
    ) -> Vec<Write> {
        let mut writes = Vec::new();
        if let Some(owner) = owner
            && owner["uid"].as_str() != seen.owner.as_deref()
        {
            let metadata = json!({"metadata": {"ownerReferences": [owner]}});
            writes.push(Write::Own(name.to_owned(), metadata));
        }
        let status = Status {
            node: Some(self.node.to_string()),
            service: Some(seen.service.clone()),
            links: links.to_vec(),
        };
        if seen.status != status {
            let interfaces: Vec<Value> = links.iter().map(|link| json!({"name": link})).collect();
            let status = json!({"status": {
                "node": self.node.as_str(),
                "serviceName": seen.service.name,
                "serviceNamespace": seen.service.namespace,
                "interfaces": interfaces,
            }});
            writes.push(Write::Say(name.to_owned(), status));
        }
        writes
    }

    fn object(&self, service: &ServiceId, owner: Option<&Value>) -> Value {
        let mut object = json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ServiceL2Status",
            "metadata": {
                "generateName": "l2-",
                "labels": {
                    NODE_LABEL: self.node.as_str(),
                    SERVICE_NAME_LABEL: service.name,
                    SERVICE_NAMESPACE_LABEL: service.namespace,
                },
            },
        });
        if let Some(owner) = owner {
            object["metadata"]["ownerReferences"] = json!([owner]);
        }
        object
    }
}

impl Status {
    /// Whether the fields that no write may change once they are there are absent or right.
    fn may_become(&self, node: &str, seen: &Seen) -> bool {
        self.node.as_deref().is_none_or(|own| own == node)
            && self
                .service
                .as_ref()
                .is_none_or(|service| *service == seen.service)
    }
}

/// Name and content; `None` if it lacks a label, since then it is not one of ours.
fn read(object: &Value) -> Option<(String, Seen)> {
    let metadata = &object["metadata"];
    let label = |key: &str| metadata["labels"][key].as_str().map(str::to_owned);
    let status = &object["status"];
    let text = |field: &str| status[field].as_str().map(str::to_owned);
    let service = text("serviceNamespace").zip(text("serviceName"));
    let links = status["interfaces"].as_array().into_iter().flatten();
    let seen = Seen {
        node: label(NODE_LABEL)?,
        service: ServiceId {
            namespace: label(SERVICE_NAMESPACE_LABEL)?,
            name: label(SERVICE_NAME_LABEL)?,
        },
        owner: metadata["ownerReferences"][0]["uid"]
            .as_str()
            .map(str::to_owned),
        status: Status {
            node: text("node"),
            service: service.map(|(namespace, name)| ServiceId { namespace, name }),
            links: links
                .filter_map(|link| link["name"].as_str().map(str::to_owned))
                .collect(),
        },
        version: metadata["resourceVersion"]
            .as_str()
            .and_then(|version| version.parse().ok())
            .unwrap_or_default(),
    };
    Some((metadata["name"].as_str()?.to_owned(), seen))
}

#[cfg(test)]
#[path = "l2_status_tests.rs"]
mod tests;
