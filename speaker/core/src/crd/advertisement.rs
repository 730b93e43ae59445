//! L2Advertisement: which pools are announced on which nodes and links.

use super::{once, schema};
use crate::annotations;
use crate::election::Placement;
use crate::key::ObjectKey;
use crate::problem::Faults;
use crate::selector::{self, Selector};
use std::collections::{BTreeMap, BTreeSet};

/// A parsed `metallb.io/v1beta1` L2Advertisement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct L2Advertisement {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec.ipAddressPools`: pools by name.
    pub pools: BTreeSet<String>,
    /// `spec.ipAddressPoolSelectors`: pools by label; united with the names. Both empty: all pools.
    pub pool_selectors: Vec<Selector>,
    /// `spec.nodeSelectors`; empty: all nodes.
    pub node_selectors: Vec<Selector>,
    /// `spec.interfaces`; empty: all links.
    pub interfaces: BTreeSet<String>,
    /// `spec.serviceSelectors`; empty: all services.
    pub service_selectors: Vec<Selector>,
    /// `spec.preferredNodeSelectors`: a soft preference in the election.
    pub preferred_nodes: Vec<PreferredNodes>,
}

/// One weighted preference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PreferredNodes {
    /// 1 to 100; the weights of all that match a node add up.
    pub weight: u32,
    /// Which nodes.
    pub selector: Selector,
}

impl L2Advertisement {
    /// Which candidate its services are on, by its annotations `heliograph.io/spread-policy` and `heliograph.io/sticky`; `None`: they say nothing.
    /// An even spread keeps holders, too, so that with both it is that.
    pub fn placement(&self) -> Option<Placement> {
        let policy = match annotations::word(&self.annotations, "spread-policy") {
            Some("even") => Some(Placement::Even),
            Some(_) => Some(Placement::First),
            None => None,
        };
        let is_sticky = annotations::is_set(&self.annotations, "sticky");
        policy.max(is_sticky.then_some(Placement::Sticky))
    }
}

impl TryFrom<(&ObjectKey, schema::L2Advertisement)> for L2Advertisement {
    type Error = Faults;

    fn try_from((key, raw): (&ObjectKey, schema::L2Advertisement)) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let spec = raw.spec;
        let pools = once("spec.ipAddressPools", spec.ip_address_pools, &mut faults);
        let mut selectors =
            |field: &str, raw| selector::parse_list(&format!("spec.{field}"), raw, &mut faults);
        let pool_selectors = selectors("ipAddressPoolSelectors", spec.ip_address_pool_selectors);
        let node_selectors = selectors("nodeSelectors", spec.node_selectors);
        let service_selectors = selectors("serviceSelectors", spec.service_selectors);
        let mut preferred_nodes = Vec::with_capacity(spec.preferred_node_selectors.len());
        for (i, raw) in spec.preferred_node_selectors.into_iter().enumerate() {
            preferred_nodes.extend(preference(i, raw, &mut faults));
        }
        faults.none_or(|| Self {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            annotations: raw.metadata.annotations.unwrap_or_default(),
            pools,
            pool_selectors,
            node_selectors,
            interfaces: spec.interfaces.into_iter().collect(),
            service_selectors,
            preferred_nodes,
        })
    }
}

fn preference(
    i: usize,
    raw: schema::PreferredNodeSelector,
    faults: &mut Faults,
) -> Option<PreferredNodes> {
    let field = format!("spec.preferredNodeSelectors[{i}]");
    let selector = selector::parse(&format!("{field}.preference"), raw.preference, faults);
    match u32::try_from(raw.weight) {
        Ok(weight @ 1..=100) => Some(PreferredNodes { weight, selector }),
        Ok(_) | Err(_) => {
            let why = format!("{} is not between 1 and 100", raw.weight);
            faults.push(format!("{field}.weight"), why);
            None
        }
    }
}
