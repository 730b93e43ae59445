//! Peers that somebody else's frr-k8s has: the FRRConfigurations (`frrk8s.metallb.io/v1beta1`) that MetalLB did not write.
//!
//! Two speakers of one node with one peer end each other's sessions, so that what such an object names is left to it. Only its nodes and
//! neighbours are read. Whether an frr-k8s runs that heeds it is not known here.

use crate::link::LinkName;
use crate::peering::PeerRemote;
use crate::problem::Faults;
use crate::selector::{Labels, Selector, any_matches, parse_list};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize as _;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What FRRConfigurations of others name. Cheap to clone; two are equal if they say the same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ForeignPeers(Arc<Vec<Configuration>>);

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Configuration {
    /// Namespace and name.
    name: String,
    /// The nodes that it is for; none: all.
    nodes: Vec<Selector>,
    neighbours: BTreeSet<Neighbour>,
}

/// VRF (empty: the main one), place and port.
type Neighbour = (String, PeerRemote, u16);

impl ForeignPeers {
    /// Of the items of a list, [`CONFIGURATIONS_MAX`] of others at most. What is not understood names nobody.
    pub fn of(items: &[Value]) -> Self {
        let foreign = items.iter().filter(|item| !is_metallbs(item));
        let read = foreign.take(CONFIGURATIONS_MAX).map(Configuration::read);
        let named = read.filter(|one| !one.neighbours.is_empty());
        Self(Arc::new(named.collect()))
    }

    /// The first that names this peer of a node with these labels.
    pub(crate) fn owner(
        &self,
        labels: &Labels,
        vrf: &str,
        remote: &PeerRemote,
        port: u16,
    ) -> Option<&str> {
        let peer = (vrf.to_owned(), remote.clone(), port);
        let names = |one: &&Configuration| {
            one.neighbours.contains(&peer) && any_matches(&one.nodes, labels)
        };
        self.0.iter().find(names).map(|one| one.name.as_str())
    }
}

impl Configuration {
    fn read(item: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &item["metadata"];
        let routers = each(&item["spec"]["bgp"]["routers"]);
        let neighbours = routers.flat_map(|router| {
            let vrf = text(&router["vrf"]);
            each(&router["neighbors"]).filter_map(move |one| neighbour(&vrf, one))
        });
        Self {
            name: format!(
                "{}/{}",
                text(&metadata["namespace"]),
                text(&metadata["name"])
            ),
            nodes: nodes(&item["spec"]["nodeSelector"]),
            neighbours: neighbours.take(NEIGHBOURS_MAX).collect(),
        }
    }
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn neighbour(vrf: &str, one: &Value) -> Option<Neighbour> {
    let remote = match (one["address"].as_str(), one["interface"].as_str()) {
        (Some(address), _) if !address.is_empty() => PeerRemote::Address(address.parse().ok()?),
        (_, Some(link)) if !link.is_empty() => PeerRemote::Link(LinkName::from(link)),
        _ => return None,
    };
    let port = match one["port"].as_u64() {
        None | Some(0) => BGP_PORT,
        Some(port) => u16::try_from(port).ok()?,
    };
    Some((vrf.to_owned(), remote, port))
}

/// A selector that cannot be read is no reason to speak beside somebody: it selects every node.
fn nodes(raw: &Value) -> Vec<Selector> {
    let mut faults = Faults::default();
    let raw = LabelSelector::deserialize(raw).ok();
    let read = parse_list("spec.nodeSelector", raw.into_iter().collect(), &mut faults);
    faults.none_or(|| read).unwrap_or_default()
}

/// Of what a speaker says of its configuration (`errorSummary` of its ConfigurationState) the lines that say that somebody else's
/// frr-k8s has a peer, without the words that they begin with.
pub fn foreign_peers_told(summary: &str) -> impl Iterator<Item = &str> {
    let lines = summary.lines().filter(|line| line.contains(SOMEBODY_ELSES));
    lines.map(|line| line.strip_prefix("configuration error: ").unwrap_or(line))
}

/// What every text about such a peer says.
pub(crate) const SOMEBODY_ELSES: &str = "somebody else's frr-k8s speaks to it";

/// Whether MetalLB wrote this FRRConfiguration: its own are named after their nodes.
pub fn is_metallbs(item: &Value) -> bool {
    let name = item["metadata"]["name"].as_str();
    name.is_some_and(|name| name.starts_with("metallb-"))
}

/// Others write a few for a cluster, or one for a node.
const CONFIGURATIONS_MAX: usize = 2_000;
/// Of one configuration; a node has a few routers.
const NEIGHBOURS_MAX: usize = 256;
const BGP_PORT: u16 = 179;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: &Value, vrf: &str, remote: PeerRemote, port: u16, expected: bool) {
        let item = json!({"metadata": {"namespace": "frr", "name": "edge"}, "spec": spec});
        let labels = Labels::from([("rack".to_owned(), "a".to_owned())]);
        let foreign = ForeignPeers::of(&[item]);
        let owner = foreign.owner(&labels, vrf, &remote, port);
        assert_eq!(owner, expected.then_some("frr/edge"), "{spec}");
    }

    fn at(address: &str) -> PeerRemote {
        PeerRemote::Address(address.parse().unwrap())
    }

    #[test]
    fn a_neighbour_is_a_vrf_a_place_and_a_port() {
        let with =
            |neighbour: Value| json!({"bgp": {"routers": [{"asn": 1, "neighbors": [neighbour]}]}});
        let plain = with(json!({"asn": 2, "address": "192.0.2.1"}));
        check(&plain, "", at("192.0.2.1"), 179, true);
        check(&plain, "", at("192.0.2.2"), 179, false);
        check(&plain, "", at("192.0.2.1"), 1179, false);
        check(&plain, "red", at("192.0.2.1"), 179, false);
        let port = with(json!({"address": "2001:db8:0::1", "port": 1179}));
        check(&port, "", at("2001:db8::1"), 1179, true);
        let link = with(json!({"interface": "eth1"}));
        check(&link, "", PeerRemote::Link("eth1".into()), 179, true);
        check(
            &with(json!({"address": "no address"})),
            "",
            at("::"),
            179,
            false,
        );
    }

    #[test]
    fn a_configuration_is_for_the_nodes_that_it_selects() {
        let of = |nodes: Value| {
            json!({"nodeSelector": nodes, "bgp": {"routers": [
                {"vrf": "red", "neighbors": [{"address": "192.0.2.1"}]}]}})
        };
        for (nodes, expected) in [
            (json!({}), true),
            (json!({"matchLabels": {"rack": "a"}}), true),
            (json!({"matchLabels": {"rack": "b"}}), false),
            // Nothing that a cluster would take.
            (
                json!({"matchExpressions": [{"key": "rack", "operator": "Like"}]}),
                true,
            ),
            (json!("rack"), true),
        ] {
            check(&of(nodes), "red", at("192.0.2.1"), 179, expected);
        }
    }

    #[test]
    fn what_metallb_wrote_is_nobody_elses() {
        let item = json!({"metadata": {"name": "metallb-n1"}, "spec": {"bgp": {"routers": [
            {"neighbors": [{"address": "192.0.2.1"}]}]}}});
        assert_eq!(ForeignPeers::of(&[item]), ForeignPeers::default());
        assert_eq!(
            ForeignPeers::of(&[json!({}), json!([])]),
            ForeignPeers::default()
        );
    }
}
