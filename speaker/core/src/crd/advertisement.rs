//! L2Advertisement: which pools are announced on which nodes and links.

use crate::selector::Selector;
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreferredNodes {
    /// 1 to 100; the weights of all that match a node add up.
    pub weight: u32,
    /// Which nodes.
    pub selector: Selector,
}
