//! BGPAdvertisement: which pools are announced to which peers, and with which attributes.

use super::community::{self, CommunityValue};
use super::{once, schema};
use crate::key::ObjectKey;
use crate::problem::Faults;
use crate::selector::{self, Selector};
use std::collections::{BTreeMap, BTreeSet};

/// A parsed `metallb.io/v1beta1` BGPAdvertisement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BgpAdvertisement {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec.aggregationLength`: the length of IPv4 prefixes, 1 to 32.
    pub aggregation_length: u8,
    /// `spec.aggregationLengthV6`: the length of IPv6 prefixes, 0 to 128. MetalLB takes negative ones; they count as 0.
    pub aggregation_length_v6: u8,
    /// `spec.localPref`: LOCAL_PREF within one AS, at most 2147483647.
    pub local_pref: u32,
    /// `spec.communities`.
    pub communities: BTreeSet<CommunityRef>,
    /// `spec.ipAddressPools`: pools by name.
    pub pools: BTreeSet<String>,
    /// `spec.ipAddressPoolSelectors`: pools by label; united with the names. Both empty: all pools.
    pub pool_selectors: Vec<Selector>,
    /// `spec.nodeSelectors`; empty: all nodes.
    pub node_selectors: Vec<Selector>,
    /// `spec.peers`: BGPPeers by name; empty: all peers.
    pub peers: BTreeSet<String>,
    /// `spec.serviceSelectors`; empty: all services.
    pub service_selectors: Vec<Selector>,
}

/// A community, or the name that a Community object gives it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CommunityRef {
    /// A value.
    Value(CommunityValue),
    /// A name, which may be given its value later.
    Named(String),
}

impl TryFrom<(&ObjectKey, schema::BGPAdvertisement)> for BgpAdvertisement {
    type Error = Faults;

    fn try_from((key, raw): (&ObjectKey, schema::BGPAdvertisement)) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let spec = raw.spec;
        let lengths = lengths(&spec, &mut faults);
        if spec.local_pref > LOCAL_PREF_MAX {
            let why = format!("{} is more than {LOCAL_PREF_MAX}", spec.local_pref);
            faults.push("spec.localPref", why);
        }
        let communities = communities(spec.communities, &mut faults);
        let pools = once("spec.ipAddressPools", spec.ip_address_pools, &mut faults);
        let peers = once("spec.peers", spec.peers, &mut faults);
        let mut selectors =
            |field: &str, raw| selector::parse_list(&format!("spec.{field}"), raw, &mut faults);
        let pool_selectors = selectors("ipAddressPoolSelectors", spec.ip_address_pool_selectors);
        let node_selectors = selectors("nodeSelectors", spec.node_selectors);
        let service_selectors = selectors("serviceSelectors", spec.service_selectors);
        if !service_selectors.is_empty() && lengths != (V4_BITS, V6_BITS) {
            let why = "cannot stand beside an aggregationLength other than 32 or an aggregationLengthV6 other than 128";
            faults.push("spec.serviceSelectors", why);
        }
        faults.none_or(|| Self {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            annotations: raw.metadata.annotations.unwrap_or_default(),
            aggregation_length: lengths.0,
            aggregation_length_v6: lengths.1,
            local_pref: spec.local_pref,
            communities,
            pools,
            pool_selectors,
            node_selectors,
            peers,
            service_selectors,
        })
    }
}

fn lengths(spec: &schema::BGPAdvertisementSpec, faults: &mut Faults) -> (u8, u8) {
    let length = |raw: i32, most: u8| u8::try_from(raw.max(0)).ok().filter(|n| *n <= most);
    let v4 = length(spec.aggregation_length, V4_BITS).filter(|n| *n > 0);
    let v4 = v4.ok_or_else(|| format!("{} is not between 1 and 32", spec.aggregation_length));
    let v6 = length(spec.aggregation_length_v6, V6_BITS);
    let v6 = v6.ok_or_else(|| format!("{} is more than 128", spec.aggregation_length_v6));
    let v4 = faults.take(|| "spec.aggregationLength".into(), v4);
    let v6 = faults.take(|| "spec.aggregationLengthV6".into(), v6);
    (v4.unwrap_or(V4_BITS), v6.unwrap_or(V6_BITS))
}

/// What has a `:` is a value, anything else a name. A value that stands there twice in the same letters is refused; a
/// name is not, as with MetalLB, whose webhooks do not look at names.
fn communities(raw: Vec<String>, faults: &mut Faults) -> BTreeSet<CommunityRef> {
    let mut seen = BTreeSet::new();
    let mut communities = BTreeSet::new();
    for (i, text) in raw.into_iter().enumerate() {
        let field = || format!("spec.communities[{i}]");
        if !text.contains(':') {
            communities.insert(CommunityRef::Named(text));
            continue;
        }
        let value = faults.take(field, community::value(&text));
        communities.extend(value.map(CommunityRef::Value));
        if seen.contains(&text) {
            faults.push(field(), format!("{text:?} stands there twice"));
        }
        seen.insert(text);
    }
    communities
}

const V4_BITS: u8 = 32;
const V6_BITS: u8 = 128;
const LOCAL_PREF_MAX: u32 = 2_147_483_647; // 31 bits in MetalLB's schema
