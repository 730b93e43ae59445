//! What is said of services: who announces them in layer 2, and on which links; which nodes announce them by BGP, and to which peers.
//!
//! Names, labels and fields are MetalLB's (its page on troubleshooting, "ServiceL2Status" and "ServiceBGPStatus"). In layer 2 there
//! is one object a service, made by the node that announces it: that node takes away those of other nodes, and a node that lost its
//! own. In BGP each node has its own, which says whom it means to tell; whether their sessions are up is not said here.

use super::{Form, Subject, Wanted};
use crate::plan::{BgpOutcome, Outcome, Plan};
use crate::service::ServiceId;
use serde_json::{Value, json};
use speaker_proto::NodeName;

/// ServiceL2Status.
pub const LAYER2: Form = Form {
    group: "metallb.io",
    kind: "ServiceL2Status",
    plural: "servicel2statuses",
    prefix: Some("l2-"),
    node_label: "metallb.io/node",
    subject_labels: ["metallb.io/service-namespace", "metallb.io/service-name"],
    mark: None,
    fixed: &["node", "serviceName", "serviceNamespace"],
    is_exclusive: true,
};

/// ServiceBGPStatus.
pub const BGP: Form = Form {
    kind: "ServiceBGPStatus",
    plural: "servicebgpstatuses",
    prefix: Some("bgp-"),
    is_exclusive: false,
    ..LAYER2
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

/// The services of which a node tells BGP peers, and the peers by name, sorted. One of which it tells nobody has no object.
pub fn bgp(node: &NodeName, plan: &Plan) -> Wanted {
    let announced = plan.bgp_outcomes.iter().filter_map(|(service, outcome)| {
        let BgpOutcome::Announced(announced) = outcome else {
            return None;
        };
        let peers = announced.peers.iter().map(|peer| json!(peer.to_string()));
        Some(said(node, service, "peers", peers.collect()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Announced, BgpAnnounced, PeerName, Reason};
    use speaker_proto::{Epoch, GroupKey};
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    fn id(name: &str) -> ServiceId {
        ServiceId {
            namespace: "default".into(),
            name: name.into(),
        }
    }

    fn check(wanted: &Wanted, field: &str, list: &Value) {
        let status = json!({
            "node": "n1", "serviceName": "web", "serviceNamespace": "default", field: list,
        });
        let subject = ["default", "web"].map(str::to_owned);
        assert_eq!(*wanted, Wanted::from([(subject, status)]));
    }

    #[test]
    fn metallb_1_6_an_announced_service_is_said_with_the_links_of_its_advertisements() {
        let announced = Announced {
            group: GroupKey(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
            epoch: Epoch(1),
            vips: Vec::new(),
            missing: Vec::new(),
            listed: vec!["eth0".into()],
        };
        let mut plan = Plan::default();
        plan.outcomes
            .insert(id("web"), Outcome::Announced(announced));
        plan.outcomes
            .insert(id("db"), Outcome::Silent(Reason::NoEndpoints));
        let wanted = layer2(&"n1".parse().unwrap(), &plan);
        check(&wanted, "interfaces", &json!([{"name": "eth0"}]));
    }

    #[test]
    fn metallb_1_6_the_peers_that_are_to_be_told_are_said_in_order() {
        let announced = BgpAnnounced {
            vips: Vec::new(),
            prefixes: Vec::new(),
            peers: Arc::new(["tor", "spine"].map(PeerName::from).into()),
            left_out: Vec::new(),
        };
        let mut plan = Plan::default();
        let announced = BgpOutcome::Announced(Arc::new(announced));
        plan.bgp_outcomes.insert(id("web"), announced);
        let silent = BgpOutcome::Silent(Reason::NoEndpoints);
        plan.bgp_outcomes.insert(id("db"), silent);
        let wanted = bgp(&"n1".parse().unwrap(), &plan);
        check(&wanted, "peers", &json!(["spine", "tor"]));
    }
}
