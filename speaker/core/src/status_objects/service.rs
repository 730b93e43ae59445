//! What is said of services: who announces them in layer 2, and on which links.
//!
//! Names, labels and fields are MetalLB's (its page on troubleshooting, "ServiceL2Status"). One object a service, made by the node that
//! announces it: that node takes away those of other nodes, and a node that lost its own.

use super::{Form, Subject, Wanted};
use crate::plan::{Outcome, Plan};
use crate::service::ServiceId;
use serde_json::{Value, json};
use speaker_proto::NodeName;

/// ServiceL2Status.
pub const LAYER2: Form = Form {
    group: "metallb.io",
    kind: "ServiceL2Status",
    plural: "servicel2statuses",
    prefix: "l2-",
    node_label: "metallb.io/node",
    subject_labels: ["metallb.io/service-namespace", "metallb.io/service-name"],
    fixed: &["node", "serviceName", "serviceNamespace"],
    is_exclusive: true,
};

/// The services that a node answers for, and the links that their advertisements list; none: all links.
pub fn layer2(node: &NodeName, plan: &Plan) -> Wanted {
    let announced = plan.outcomes.iter().filter_map(|(service, outcome)| {
        let Outcome::Announced(announced) = outcome else {
            return None;
        };
        let links = announced.listed.iter();
        let links = links.map(|link| json!({"name": link.to_string()}));
        Some(said(node, service, "interfaces", links.collect()))
    });
    announced.collect()
}

fn said(node: &NodeName, service: &ServiceId, field: &str, list: Vec<Value>) -> (Subject, Value) {
    let ServiceId { namespace, name } = service;
    let status = json!({
        "node": node.as_str(),
        "serviceName": name,
        "serviceNamespace": namespace,
        field: list,
    });
    ([namespace.clone(), name.clone()], status)
}
